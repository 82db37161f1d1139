"""Count cells: how often each neuron saw each address with each class, ``int32 [M, S, K]``.

Plain counting is a sum over rows. So the order of the rows does not matter, tables of two parts of the data
add up to the table of both, a weight of 2 is the row shown twice, and a row is forgotten exactly by writing
it with a negative weight.

Shape letters are those of `layer`.

Source: docs/semantics/classify.md
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.classify import backend, layer
from wnn_jax.classify.layer import Mapping, entries_of

FINE = 256  # the units of weight 1, where the weights are no whole numbers


def empty(mapping: Mapping, entries: int, classes: int) -> jax.Array:
    """Make the counts of neurons that have seen no row.

    Args:
      mapping: the neurons.
      entries: S, the entries of a table: more than the largest entry that the hashes give.
      classes: K.

    Returns:
      Zeros, ``int32 [M, S, K]``.

    Raises:
      ValueError: the tables are too small for the hashes, or there is no class.

    Source: docs/semantics/classify.md
    """
    return jnp.zeros(_shape(mapping, entries, classes), jnp.int32)


def _shape(mapping: Mapping, entries: int, classes: int) -> tuple[int, int, int]:
    """Return M, S and K.

    Raises:
      ValueError: the tables are too small for the hashes, or there is no class.
    """
    hashes = np.asarray(mapping.hashes)
    least = 1 << int(np.bitwise_or.reduce(hashes, axis=None, initial=0)).bit_length()
    entries = checks.integer("entries", entries, Limits(least=least))
    classes = checks.integer("classes", classes, Limits(least=1))
    return int(np.max(mapping.table, initial=-1)) + 1, entries, classes


def first(
    mapping: Mapping, entries: int, classes: int, levels: Any, labels: Any, weight: Any = None
) -> jax.Array:
    """Count the first rows: what `write` makes of `empty` counts, without the time to read these.

    Args:
      mapping: the neurons.
      entries: S, as for `empty`.
      classes: K.
      levels: ``uint8 [N, J]``.
      labels: integers ``[N]``, the class of each row, 0 to K - 1.
      weight: integers ``[N]``; None is 1 for every row.

    Returns:
      The counts, ``int32 [M, S, K]``.

    Raises:
      ValueError: as `empty` and `write` do.

    Source: docs/semantics/classify.md
    """
    shape = _shape(mapping, entries, classes)
    weight = given(mapping, np.zeros((0, *shape[1:]), np.int32), levels, labels, weight)
    return _first_write(shape, mapping, *as_rows(levels, labels, weight))


def write(mapping: Mapping, counts: Any, levels: Any, labels: Any, weight: Any = None) -> jax.Array:
    """Count rows: every neuron adds the weight of a row to the cell of its entry and the row's class.

    Two hashes of one neuron that give one entry count it once. Two neurons that share a table count the same
    entry twice.

    Args:
      mapping: the neurons.
      counts: ``int32 [M, S, K]``.
      levels: ``uint8 [N, J]``.
      labels: integers ``[N]``, the class of each row, 0 to K - 1.
      weight: integers ``[N]``; a negative weight forgets. None is 1 for every row.

    Returns:
      The new counts, ``int32 [M, S, K]``.

    Raises:
      ValueError: an array has a wrong type, shape or entry, or a count could leave the range of int32.

    Source: docs/semantics/classify.md
    """
    weight = given(mapping, counts, levels, labels, weight)
    return _write(mapping, jnp.asarray(counts), *as_rows(levels, labels, weight))


def forget(mapping: Mapping, counts: Any, levels: Any, labels: Any, weight: Any = None) -> jax.Array:
    """Forget rows exactly: the counts become those of a memory that was never shown them.

    Args:
      mapping: the neurons.
      counts: ``int32 [M, S, K]``, made by `write` alone.
      levels: ``uint8 [N, J]``.
      labels: integers ``[N]``.
      weight: integers ``[N]``, at least 0, with which the rows were written; None is 1.

    Returns:
      The new counts, ``int32 [M, S, K]``.

    Raises:
      ValueError: an array is wrong, or the counts do not hold these rows.

    Source: docs/semantics/classify.md
    """
    weight = given(mapping, counts, levels, labels, weight)
    checks.array("weight", weight, "integers", limits=Limits(least=0))
    left = _write(mapping, jnp.asarray(counts), *as_rows(levels, labels, -weight))
    least = int(left.min(initial=0))
    if least < 0:
        raise ValueError(
            f"a count would become {least}: the rows to forget were not all shown; give only rows that were, "
            "with the weights that they had"
        )
    return left


def write_conservative(
    mapping: Mapping, counts: Any, levels: Any, labels: Any, weight: Any = None
) -> jax.Array:
    """Count rows in hashed tables, and raise only the cells that hold a neuron's smallest count.

    After a row of weight w each of the neuron's cells is at least the former smallest one plus w. Collisions
    raise fewer cells than with `write`. But the counts depend on the order of the rows, two tables do not add
    up, and no row can be forgotten.

    Args:
      mapping: the neurons.
      counts: ``int32 [M, S, K]``.
      levels: ``uint8 [N, J]``, read in their order.
      labels: integers ``[N]``.
      weight: integers ``[N]``, at least 0; None is 1.

    Returns:
      The new counts, ``int32 [M, S, K]``.

    Raises:
      ValueError: an array has a wrong type, shape or entry, or a weight is negative.

    Source: docs/semantics/classify.md; Estan and Varghese 2002, "New Directions in Traffic Measurement"
    """
    weight = given(mapping, counts, levels, labels, weight)
    checks.array("weight", weight, "integers", limits=Limits(least=0))
    return _write_conservative(mapping, jnp.asarray(counts), *as_rows(levels, labels, weight))


def merge(one: Any, other: Any) -> jax.Array:
    """Add the counts of two parts of the data that were written with one mapping.

    Args:
      one: ``int32 [M, S, K]``, made by `write`.
      other: the same.

    Returns:
      ``int32 [M, S, K]``, the counts of both parts.

    Raises:
      ValueError: the shapes differ, or a count leaves the range of int32.

    Source: docs/semantics/classify.md
    """
    checks.array("one", one, "int32", {"M": None, "S": None, "K": None})
    checks.array("other", other, "int32", dict(zip("MSK", np.shape(one), strict=True)))
    _need_room(int(np.max(one, initial=0)) + int(np.max(other, initial=0)))
    return jnp.asarray(one) + jnp.asarray(other)


def halve(counts: Any) -> jax.Array:
    """Halve all counts and round down, so that old rows count less than new ones.

    Args:
      counts: ``int32 [M, S, K]``.

    Returns:
      ``int32 [M, S, K]``. A row that was written before can no longer be forgotten.

    Source: docs/semantics/classify.md
    """
    return jnp.asarray(counts) // 2


def units(weight: Any, relative: bool = True) -> tuple[np.ndarray, int]:
    """Turn the weights of rows into whole units.

    Whole numbers stay as they are, and a weight of 2 is exactly the row shown twice. Other weights become
    multiples of 1/256, rounded, and at least 1/256 where they are above 0.

    Args:
      weight: numbers ``[N]``, at least 0 and not all 0.
      relative: whether weights that are no whole numbers are first divided by the mean of those above 0,
        because only their ratios matter.

    Returns:
      The weights, ``int32 [N]``, and the number of units of weight 1: 1 or `FINE`.

    Raises:
      ValueError: a weight is negative or not finite, all are 0, or their sum leaves the range of int32.

    Source: docs/semantics/classify.md
    """
    weight = np.asarray(weight)
    checks.array("sample_weight", weight, "numbers", {"N": None}, Limits(least=0))
    weight = weight.astype(np.float64)
    if not weight.any():
        raise ValueError("sample_weight is 0 for every row: give at least one row a weight above 0")
    unit = 1
    if (weight != np.rint(weight)).any():
        unit = FINE
        scale = unit / weight[weight > 0].mean() if relative else float(unit)
        weight = np.where(weight > 0, np.maximum(np.rint(weight * scale), 1), 0)
    _need_room(int(weight.sum()))
    return weight.astype(np.int32), unit


def given(mapping: Mapping, counts: Any, levels: Any, labels: Any, weight: Any) -> np.ndarray:
    """Check rows and the counts that they are written to, or compared with.

    Args:
      mapping: the neurons.
      counts: ``int32 [M, S, K]``.
      levels: ``uint8 [N, J]``.
      labels: integers ``[N]``.
      weight: integers ``[N]``, or None.

    Returns:
      The weights, ``int32 [N]``; ones where None was given.

    Raises:
      ValueError: an array has a wrong type, shape or entry, or a count could leave the range of int32.

    Source: docs/semantics/classify.md
    """
    checks.array("counts", counts, "int32", {"M": None, "S": None, "K": None})
    checks.array("levels", levels, "uint8", {"N": None, "J": None})
    rows, columns = levels.shape
    most = int(np.max(mapping.column, initial=0))
    if most >= columns:
        raise ValueError(
            f"levels has {columns} columns, but the neurons read column {most}: encode the rows with the "
            "encoder of the mapping"
        )
    checks.array("labels", labels, "integers", {"N": rows}, Limits(least=0, most=counts.shape[2] - 1))
    if weight is None:
        weight = np.ones(rows, np.int32)
    checks.array("weight", weight, "integers", {"N": rows}, Limits(least=-checks.MOST, most=checks.MOST))
    sharing = int(np.bincount(np.asarray(mapping.table)).max(initial=1))
    total = int(np.abs(np.asarray(weight, np.int64)).sum())
    _need_room(int(np.max(np.asarray(counts), initial=0)) + sharing * total)
    return np.asarray(weight, np.int32)


def _need_room(most: int) -> None:
    """Refuse counts that could leave the range of int32.

    Raises:
      ValueError: the largest possible count is above 2^31 - 1.
    """
    if most > checks.MOST:
        raise ValueError(
            f"a cell could reach a count of {most}, above {checks.MOST}: use smaller weights, or halve the "
            "counts first"
        )


def padded(rows: int) -> int:
    """Round a number of rows up by at most an eighth, so that few sizes are compiled.

    Args:
      rows: N.

    Returns:
      64, or a multiple of an eighth of the largest power of two below N.

    Source: docs/architecture.md
    """
    step = 1 << max((rows - 1).bit_length() - 4, 6)
    return max(-(-rows // step) * step, 64)


def block(rows: int, each: int, most: int = 1 << 26) -> int:
    """Choose the rows of a block, so that its arrays stay small.

    Args:
      rows: N, from `padded`.
      each: bytes that one row takes.
      most: bytes that a block may take; a block has at least 64 rows.

    Returns:
      A divisor of N, close to the largest that is possible.

    Source: docs/architecture.md
    """
    parts = -(-rows // max(most // max(each, 1), 64))
    while rows % parts:
        parts += 1
    return rows // parts


def as_rows(levels: Any, *others: Any) -> tuple[jax.Array, ...]:
    """Pad rows with zeros, so that few sizes are compiled; a padding row has weight 0.

    Args:
      levels: ``uint8 [N, J]``.
      *others: integers ``[N]``, such as labels and weights.

    Returns:
      The levels, and the others as int32, of `padded` rows.

    Source: docs/architecture.md
    """
    rows, many = len(levels), padded(len(levels))
    wide = layer.in_place((many, np.shape(levels)[1]), np.uint8)
    wide[:rows], wide[rows:] = levels, 0
    more = (np.pad(np.asarray(x, np.int32), (0, many - rows)) for x in others)
    return jax.device_put(wide), *(jnp.asarray(x) for x in more)


@functools.partial(jax.jit, static_argnums=0)
def _first_write(shape: tuple[int, int, int], mapping: Mapping, levels, labels, weight):
    if backend.native():
        nothing = jnp.zeros((0, *shape[1:]), jnp.int32)
        return backend.count(mapping, shape[0], nothing, levels, labels, weight)
    return _write(mapping, jnp.zeros(shape, jnp.int32), levels, labels, weight)


@jax.jit
def _write(mapping: Mapping, counts, levels, labels, weight):
    if backend.native():
        return layer.count(mapping, counts, levels, labels, weight)
    rows, (neurons, bits) = len(levels), mapping.column.shape
    size = block(rows, neurons * (bits + 8 * len(mapping.hashes)))

    def some(counts, part):
        return layer.count(mapping, counts, *part), None

    parts = (x.reshape(-1, size, *x.shape[1:]) for x in (levels, labels, weight))
    return jax.lax.scan(some, counts, tuple(parts))[0]


@jax.jit
def _write_conservative(mapping: Mapping, counts, levels, labels, weight):
    tables = mapping.table[:, None]

    def row(counts, one):
        levels, label, weight = one
        entry = entries_of(mapping.column, mapping.level, mapping.hashes, levels[:, None])[..., 0]  # [R, H]
        least = counts[tables, entry, label].min(axis=1, keepdims=True)
        return counts.at[tables, entry, label].max(least + weight), None

    return jax.lax.scan(row, counts, (levels, labels, weight))[0]
