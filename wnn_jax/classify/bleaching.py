"""Bleaching: from which count on a cell votes.

The threshold is chosen by leaving one out: each training row is classified by the counts without itself, so
no rows are held out, and all thresholds of a grid are judged in one pass. Or it is dynamic, chosen for each
example as it is classified.

Shape letters are those of `layer`; B is the number of thresholds, P the most neurons that share a table.

Source: docs/semantics/classify.md
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.classify import backend
from wnn_jax.classify import counts as cells
from wnn_jax.classify.layer import Mapping, entries_of, in_place

_BLOCK = 1 << 22  # bytes of the votes of a block of rows, which should stay in the cache


class Curve(NamedTuple):
    """The leave-one-out accuracy by threshold, and the threshold that was chosen.

    Attributes:
      chosen: the threshold of the highest accuracy; of equal ones the one with the fewest ties, then the
        lowest.
      thresholds: ``int64 [B]``, ascending, in units of the weights.
      accuracy: ``float64 [B]``, the share of the rows' weight that is classified right when the row itself is
        left out.
      ties: ``float64 [B]``, the share of the rows' weight whose best score several classes have.

    Source: docs/semantics/classify.md
    """

    chosen: int
    thresholds: np.ndarray
    accuracy: np.ndarray
    ties: np.ndarray


@functools.cache
def grid(most: int, unit: int = 1) -> tuple[int, ...]:
    """List the thresholds that are tried: 1, 2, 3, 4, 6, 8, 12, 16, 24, and so on.

    Args:
      most: the largest count; no threshold but the first is above it.
      unit: the units of weight 1, see `counts.units`; the thresholds are multiples of it.

    Returns:
      The thresholds, in units, ascending.

    Source: docs/semantics/classify.md
    """
    found = sorted({1, *(x << i for i in range(30) for x in (2, 3))})
    return tuple(unit * x for x in found if x == 1 or unit * x <= most)


def choose(
    mapping: Mapping,
    counts: Any,
    levels: Any,
    labels: Any,
    weight: Any = None,
    thresholds: Sequence[int] | None = None,
    left: Any = None,
) -> Curve:
    """Choose the threshold by leaving one out, on the rows that the counts were made of.

    Args:
      mapping: the neurons.
      counts: ``int32 [M, S, K]``, to which `counts.write` wrote the rows. Counts of `write_conservative` give
        a lower bound of the votes of a row's own class, because they cannot be taken back.
      levels: ``uint8 [N, J]``.
      labels: integers ``[N]``.
      weight: integers ``[N]``, at least 0, with which the rows were written; None is 1.
      thresholds: the thresholds to try; None takes `grid`.
      left: integers ``[N]``, the part of each row's weight that is left out as it is judged; None is all of
        it. Where a weight is a number of equal rows, 1 judges each of them by the others.

    Returns:
      The curve.

    Raises:
      ValueError: an array is wrong, no row has a weight above 0, or a threshold is below 1.

    Source: docs/semantics/classify.md
    """
    weight = cells.given(mapping, counts, levels, labels, weight)
    checks.array("weight", weight, "integers", limits=Limits(least=0))
    if not weight.any():
        raise ValueError(f"none of {len(weight)} rows has a weight above 0: give at least one")
    if thresholds is None:
        thresholds = grid(int(np.max(np.asarray(counts))))
    tried = sorted({checks.integer("thresholds", x, Limits(least=1)) for x in thresholds})
    right, tied = np.zeros((2, len(tried)))
    left = weight if left is None else left
    for rows, votes in _left_out(mapping, counts, levels, labels, left, tried):
        share = weight[rows].astype(np.float64)
        good, equal = (np.asarray(x)[:, : len(share)] for x in _judged(votes))
        right += (good == np.asarray(labels)[rows]) @ share
        tied += equal @ share
    total = float(weight.sum(dtype=np.float64))
    first = min(range(len(tried)), key=lambda b: (-right[b], tied[b], b))
    return Curve(tried[first], np.asarray(tried, np.int64), right / total, tied / total)


def left_out(
    mapping: Mapping, counts: Any, levels: Any, labels: Any, left: Any = None, threshold: int = 1
) -> np.ndarray:
    """Compute the score of every class for every training row by the counts without that row.

    Args:
      mapping: the neurons.
      counts: ``int32 [M, S, K]``, to which the rows were written.
      levels: ``uint8 [N, J]``.
      labels: integers ``[N]``.
      left: integers ``[N]``, at least 0, the part of each row's weight that is left out; None is 1.
      threshold: the count from which on a cell votes.

    Returns:
      ``int32 [N, K]``.

    Raises:
      ValueError: an array is wrong, or the threshold is below 1.

    Source: docs/semantics/classify.md
    """
    left = cells.given(mapping, counts, levels, labels, left)
    threshold = checks.integer("threshold", threshold, Limits(least=1))
    scores = np.zeros((len(left), counts.shape[2]), np.int32)
    for rows, votes in _left_out(mapping, counts, levels, labels, left, [threshold]):
        scores[rows] = np.asarray(votes[0])[: rows.stop - rows.start]
    return scores


def freeze(counts: Any, threshold: int) -> np.ndarray:
    """Make the cells that a frozen model reads: 1 where the count reaches the threshold.

    Args:
      counts: ``int32 [M, S, K]``.
      threshold: the count from which on a cell votes, at least 1.

    Returns:
      Zeros and ones, ``int8 [M, S, K]``.

    Raises:
      ValueError: the threshold is below 1.

    Source: docs/semantics/classify.md
    """
    threshold = checks.integer("threshold", threshold, Limits(least=1))
    frozen = in_place(np.shape(counts), np.int8)
    np.greater_equal(np.asarray(counts), threshold, out=frozen.view(np.bool_))
    return frozen


def _left_out(mapping: Mapping, counts, levels, labels, weight, thresholds):
    """Yield blocks of rows: a slice, and votes ``int32 [B, N, K]`` without the rows themselves.

    The votes of padding rows, which mean nothing, come after those of the slice.
    """
    groups, rows = jnp.asarray(sharing(mapping)), len(levels)
    counts, tried = jnp.asarray(counts), jnp.asarray(thresholds, jnp.int32)
    wide = cells.as_rows(levels, labels, weight)
    size = cells.block(len(wide[0]), 4 * len(thresholds) * counts.shape[2] * groups.shape[1], _BLOCK)
    for first in range(0, rows, size):
        part = [x[first : first + size] for x in wide]
        yield (
            slice(first, min(first + size, rows)),
            _block_left_out(mapping, groups, counts, *part, tried),
        )


@jax.jit
def _judged(votes):
    """Return the first class with the most votes, ``int32 [B, N]``, and whether several have as many."""
    best = votes.max(axis=2, keepdims=True)
    most = votes == best
    classes = jnp.arange(votes.shape[2], dtype=jnp.int32)
    first = jnp.where(most, classes, votes.shape[2]).min(axis=2)
    return first, most.sum(axis=2, dtype=jnp.int32) > 1


def sharing(mapping: Mapping) -> np.ndarray:
    """Group the neurons by the table that they read.

    Args:
      mapping: the neurons.

    Returns:
      ``int32 [M, P]``, the neurons of each table in use, and -1 after them.

    Source: docs/semantics/classify.md
    """
    table = np.asarray(mapping.table)
    order = np.argsort(table, kind="stable").astype(np.int32)
    size = np.bincount(table)
    used = np.flatnonzero(size)
    groups = np.full((len(used), int(size.max(initial=1))), -1, np.int32)
    start = np.cumsum(size) - size
    for place, one in enumerate(used):
        groups[place, : size[one]] = order[start[one] : start[one] + size[one]]
    return groups


@jax.jit
def _block_left_out(mapping: Mapping, groups, counts, levels, labels, weight, thresholds):
    if backend.native() and len(thresholds) <= backend.MAX_THRESHOLDS:
        return backend.left_out(mapping, counts, levels, labels, weight, thresholds)
    by_column, classes = levels.T, counts.shape[2]
    own = jnp.where(jax.nn.one_hot(labels, classes, dtype=bool), weight[:, None], 0)  # [N, K]
    votes = jnp.zeros((len(thresholds), *own.shape), jnp.int32)

    def table(votes, group):
        entry = entries_of(
            mapping.column[group], mapping.level[group], mapping.hashes, by_column
        )  # [P, H, N]
        found = counts[mapping.table[group[0]], entry] - _times(entry, group)[..., None] * own
        least = found.min(axis=1)  # [P, N, K]
        passed = (least >= thresholds[:, None, None, None]) & (group >= 0)[:, None, None]
        return votes + passed.sum(axis=1, dtype=jnp.int32), None

    return jax.lax.scan(table, votes, groups)[0]


def _times(entry: jax.Array, group: jax.Array) -> jax.Array:
    """Count how many neurons of a table write each entry that one of them reads, ``int32 [P, H, N]``."""
    if entry.shape[0] == entry.shape[1] == 1:
        return jnp.ones_like(entry)
    same = (entry[:, :, None, None] == entry).any(axis=3)  # [P, H, P, N]
    return (same & (group >= 0)[:, None]).sum(axis=2, dtype=jnp.int32)


def dynamic(mapping: Mapping, counts: Any, levels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Read counts with a threshold for each example, which rises until one class is best.

    The threshold is the first one at which the best score is unique; if there is none, it is the last one at
    which the best score is above 0. Classes that are tied there are ordered by their scores at the next lower
    threshold, and so on; at last the lowest class wins. An example that no neuron knows scores 0 everywhere.

    Args:
      mapping: the neurons.
      counts: ``int32 [M, S, K]``.
      levels: ``uint8 [N, J]``.

    Returns:
      The scores at that threshold, ``int32 [N, K]``, and the order of the classes, ``int32 [N, K]``: a class
      with a larger number is better, and equal numbers are ties.

    Raises:
      ValueError: an array has a wrong type, shape or entry.

    Source: docs/semantics/classify.md; De Gregorio and Giordano 2014, "An experimental evaluation of
    weightless neural networks for multi-class classification"
    """
    rows = len(levels)
    weight = cells.given(mapping, counts, levels, np.zeros(rows, np.int32), np.zeros(rows, np.int32))
    return _dynamic_blocks(mapping, counts, levels, weight, weight)


def dynamic_left_out(
    mapping: Mapping, counts: Any, levels: Any, labels: Any, left: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read counts as `dynamic` does, and leave each training row out of the counts that classify it.

    Args:
      mapping: the neurons.
      counts: ``int32 [M, S, K]``, to which the rows were written.
      levels: ``uint8 [N, J]``.
      labels: integers ``[N]``.
      left: integers ``[N]``, at least 0, the part of each row's weight that is left out; None is 1.

    Returns:
      The scores and the order, as `dynamic` returns them.

    Raises:
      ValueError: an array has a wrong type, shape or entry.

    Source: docs/semantics/classify.md
    """
    left = cells.given(mapping, counts, levels, labels, left)
    return _dynamic_blocks(mapping, counts, levels, labels, left)


def _dynamic_blocks(mapping: Mapping, counts, levels, labels, weight):
    groups, rows = jnp.asarray(sharing(mapping)), len(levels)
    counts = jnp.asarray(counts)
    wide = cells.as_rows(levels, labels, weight)
    size = cells.block(len(wide[0]), 4 * groups.size * counts.shape[2])
    found = [
        _dynamic_block(mapping, groups, counts, *(x[i : i + size] for x in wide))
        for i in range(0, rows, size)
    ]
    scores, order = (
        np.concatenate([np.asarray(x) for x in part])[:rows] for part in zip(*found, strict=True)
    )
    return scores, order


@jax.jit
def _dynamic_block(mapping: Mapping, groups, counts, levels, labels, weight):
    by_column, classes = levels.T, counts.shape[2]
    own = jnp.where(jax.nn.one_hot(labels, classes, dtype=bool), weight[:, None], 0)

    def table(_, group):
        entry = entries_of(mapping.column[group], mapping.level[group], mapping.hashes, by_column)
        found = counts[mapping.table[group[0]], entry] - _times(entry, group)[..., None] * own
        return None, jnp.where((group >= 0)[:, None, None], found.min(axis=1), 0)

    values = jax.lax.scan(table, None, groups)[1]  # [M, P, N, K]
    values = values.reshape(-1, *own.shape)  # the counts that every neuron reads

    def rank(score, order):
        worth = score * classes + order
        return (worth[..., None, :] < worth[..., None]).sum(axis=-1, dtype=jnp.int32)

    def again(state):
        return state[3].any()

    def raised(state):
        scores, order, threshold, going = state
        new = (values >= threshold[:, None]).sum(axis=0, dtype=jnp.int32)
        best = new.max(axis=1)
        taken = going & (best > 0)
        scores = jnp.where(taken[:, None], new, scores)
        order = jnp.where(taken[:, None], rank(new, order), order)
        going = taken & ((new == best[:, None]).sum(axis=1) > 1)
        # Between two counts that occur nothing changes.
        above = jnp.where(values >= threshold[:, None], values, jnp.int32(checks.MOST))
        least = above.min(axis=(0, 2))
        return scores, order, jnp.where(going, jnp.minimum(least, checks.MOST - 1) + 1, threshold), going

    rows = own.shape[0]
    zero = jnp.zeros((rows, classes), jnp.int32)
    start = zero, zero, jnp.ones(rows, jnp.int32), jnp.ones(rows, bool)
    scores, order, _, _ = jax.lax.while_loop(again, raised, start)
    return scores, order
