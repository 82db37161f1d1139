"""The class-count layer: neurons that address one table for all K classes, and its reference in plain JAX.

An example is a row of *levels*: ``uint8 [J]``, one for each column that an encoder makes (see `encoders`). A
*pin* reads one bit of it: the bit is 1 where the level of a column is at least the pin's level. The T pins of
a neuron give its address. The neuron reads the K cells at this address of its table, one for each class, and
the score of a class is the sum of its cells. Several neurons may share one table.

Shape letters of this package: N examples, J columns of levels, R neurons, M tables, T pins of a neuron, H
hashes, S entries of a table, K classes.

Source: docs/semantics/classify.md
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.classify import backend

UNUSED = 255  # the level of an unused pin; no column has it, so the bit is always 0
MAX_LEVEL = 254  # the largest level of a column
_LINE = 64  # bytes of a cache line


class Mapping(NamedTuple):
    """The neurons: which bits each of them reads, and from which table. It is a pytree of arrays.

    The unused pins of a neuron come after its used pins, and have the level `UNUSED` and the column 0.

    Attributes:
      column: ``int32 [R, T]``, the column that each pin reads.
      level: ``uint8 [R, T]``; the bit of a pin is 1 where the level of its column is at least this one.
      table: ``int32 [R]``, the table that each neuron reads, 0 to M - 1.
      hashes: ``uint32 [H, T]``. Entry h of an example is the exclusive or of ``hashes[h, t]`` over the pins t
        whose bit is 1 (an H3 hash). A dense table has one row of hashes, 1, 2, 4, ..., so that the entry is
        the address, with pin 0 as its lowest bit.

    Source: docs/semantics/classify.md; Carter and Wegman 1979, "Universal Classes of Hash Functions" (H3)
    """

    column: Any
    level: Any
    table: Any
    hashes: Any


def dense(address_bits: int) -> np.ndarray:
    """Return the hashes of a dense table: the entry of an address is the address itself.

    Args:
      address_bits: T, at most 24.

    Returns:
      ``uint32 [1, T]``: 1, 2, 4, and so on.

    Source: docs/semantics/classify.md
    """
    return (np.uint32(1) << np.arange(address_bits, dtype=np.uint32))[None]


def in_place(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Make an array of NumPy, not yet filled, that XLA reads where it lies: one that begins at a cache line.

    An array that begins elsewhere is copied at each call.

    Args:
      shape: the shape.
      dtype: the type of the entries.

    Returns:
      The array.

    Source: docs/architecture.md
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def entries(mapping: Mapping, levels: jax.Array) -> jax.Array:
    """Compute the table entries that every neuron reads.

    Args:
      mapping: the neurons.
      levels: ``uint8 [N, J]``.

    Returns:
      ``int32 [N, R, H]``.

    Source: docs/semantics/classify.md
    """
    bits = jnp.take(levels, mapping.column, axis=1) >= mapping.level  # [N, R, T]
    parts = jnp.where(bits[:, :, None], mapping.hashes, jnp.uint32(0))
    return jax.lax.reduce(parts, jnp.uint32(0), jax.lax.bitwise_xor, (3,)).astype(jnp.int32)


def entries_of(column: jax.Array, level: jax.Array, hashes: jax.Array, by_column: jax.Array) -> jax.Array:
    """Compute the entries of a few neurons, from levels whose columns come first.

    One neuron reads a few whole columns, so this order is quicker than `entries`, which gives the same
    numbers.

    Args:
      column: ``int32 [..., T]``, the columns of the pins.
      level: ``uint8 [..., T]``, their levels.
      hashes: ``uint32 [H, T]``.
      by_column: ``uint8 [J, N]``, the levels.

    Returns:
      ``int32 [..., H, N]``.

    Source: docs/semantics/classify.md
    """
    bits = by_column[column] >= level[..., None]  # [..., T, N]
    entry = jnp.zeros((*column.shape[:-1], hashes.shape[0], by_column.shape[1]), jnp.uint32)
    for t in range(hashes.shape[1]):
        entry ^= jnp.where(bits[..., None, t, :], hashes[:, t, None], jnp.uint32(0))
    return entry.astype(jnp.int32)


def read(mapping: Mapping, cells: jax.Array, levels: jax.Array) -> jax.Array:
    """Compute the score of every class: the sum of the cells that the neurons read.

    A neuron of a hashed table takes the smallest cell of its H entries.

    Args:
      mapping: the neurons.
      cells: integers ``[M, S, K]``.
      levels: ``uint8 [N, J]``.

    Returns:
      ``int32 [N, K]``.

    Source: docs/semantics/classify.md
    """
    if backend.native():
        return backend.read(mapping, cells, levels)
    found = cells[mapping.table[:, None], entries(mapping, levels)]  # [N, R, H, K]
    return found.min(axis=2).astype(jnp.int32).sum(axis=1)


def count(
    mapping: Mapping, counts: jax.Array, levels: jax.Array, labels: jax.Array, weight: jax.Array
) -> jax.Array:
    """Add examples to counts: each neuron adds the weight of a row to one cell of the row's class.

    Sums of integers do not depend on the order of the rows, and a negative weight takes a row out again. If
    several hashes of a neuron give the same entry, it counts once.

    Args:
      mapping: the neurons.
      counts: ``int32 [M, S, K]``.
      levels: ``uint8 [N, J]``.
      labels: ``int32 [N]``.
      weight: ``int32 [N]``.

    Returns:
      ``int32 [M, S, K]``.

    Source: docs/semantics/classify.md
    """
    if backend.native():
        return backend.count(mapping, counts.shape[0], counts, levels, labels, weight)
    # The neurons come first in the order of the scatter, so that one table at a time is in the cache.
    entry = entries_of(mapping.column, mapping.level, mapping.hashes, levels.T)  # [R, H, N]
    once = _first(entry.transpose(2, 0, 1)).transpose(1, 2, 0)
    return counts.at[mapping.table[:, None, None], entry, labels].add(jnp.where(once, weight, 0))


def sums(mapping: Mapping, shape: tuple[int, int, int], levels, row, offset, values) -> jax.Array:
    """Add the values of rows in empty tables: each neuron adds them to the cells that it reads.

    Args:
      mapping: the neurons.
      shape: M, S and K.
      levels: ``uint8 [N, J]``.
      row: ``int32 [n]``, the rows that are added.
      offset: ``int32 [n]``, added to the columns of every pin. A column outside the row has level 0.
      values: ``int32 [n, K]``.

    Returns:
      ``int32 [M, S, K]``.

    Source: docs/semantics/classify.md
    """
    if backend.native():
        return backend.sums(mapping, shape, levels, row, offset, values)
    entry = entries(mapping, moved(levels, row, offset))
    amount = jnp.where(_first(entry)[..., None], values[:, None, None, :], 0)
    return jnp.zeros(shape, jnp.int32).at[mapping.table[:, None], entry].add(amount)


def moved(levels: jax.Array, row: jax.Array, offset: jax.Array) -> jax.Array:
    """Return rows whose columns are moved: column j of the result is column ``j + offset`` of the row, or 0.

    Args:
      levels: ``uint8 [N, J]``.
      row: ``int32 [n]``.
      offset: ``int32 [n]``.

    Returns:
      ``uint8 [n, J]``.

    Source: docs/semantics/classify.md
    """
    columns = levels.shape[1]
    column = jnp.arange(columns, dtype=jnp.int32) + offset[:, None]
    inside = (column >= 0) & (column < columns)
    return jnp.where(inside, levels[row[:, None], jnp.clip(column, 0, columns - 1)], jnp.uint8(0))


def _first(entry: jax.Array) -> jax.Array:
    """Say which hashes give an entry that no earlier hash of the neuron gives, ``bool [N, R, H]``."""
    same = entry[..., :, None] == entry[..., None, :]  # [N, R, H, H]
    earlier = jnp.tril(jnp.ones(same.shape[-2:], bool), -1)
    return ~(same & earlier).any(axis=-1)
