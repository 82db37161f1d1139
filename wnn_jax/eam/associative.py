"""A memory with its config: any keys, any number of rows, NumPy or JAX."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.eam import memory as stores
from wnn_jax.eam.memory import MemoryConfig, Store

# Rows are padded to blocks of these lengths, so that no more than two programs are compiled for all lengths.
_BLOCKS = (32, 1024)


class AssociativeMemory(NamedTuple):
    """A memory that `write` adds to and `read` asks.

    Attributes:
      config: how it is written and read.
      store: its locations and what was written there.
    """

    config: MemoryConfig
    store: Store


def create(
    key: jax.Array, config: MemoryConfig, keys: Any, *, locations: int, width: int
) -> AssociativeMemory:
    """A memory with nothing written, whose locations begin at means of keys.

    Args:
      key: chooses the keys where the means begin.
      config: how it is written and read.
      keys: ``[N, K]``, keys like those that will be written; their lengths do not matter.
      locations: number of locations, at most N. Fewer locations make patterns share one.
      width: numbers of a value, D.

    Raises:
      ValueError: a number is out of range, or the keys are not finite numbers ``[N, K]``.
    """
    keys = _rows("keys", keys)
    if not 1 <= locations <= len(keys):
        raise ValueError(
            f"locations begin at keys: {len(keys)} keys allow 1 to {len(keys)} locations, got {locations}"
        )
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    addresses = stores.addresses_of(key, np.asarray(stores.unit(jnp.asarray(keys))), locations)
    return AssociativeMemory(config, stores.empty(config, addresses, width))


def write(memory: AssociativeMemory, keys: Any, values: Any) -> AssociativeMemory:
    """The memory after values were added at the locations nearest to their keys.

    Rows are written in blocks, in their order; the order within a block of up to 1,024 rows changes nothing
    but rounding. Every write counts: the same pair written twice weighs twice. No rows change nothing.

    Args:
      memory: stays as it is.
      keys: ``[N, K]``, of any lengths; a key of zeros, or opposite to all locations, is written nowhere.
      values: ``[N, D]``.

    Raises:
      ValueError: the numbers of rows differ, a width is not the memory's, or a number is not finite.
    """
    keys = _rows("keys", keys, memory.store.addresses.shape[1])
    values = _rows("values", values, memory.store.counters.shape[1])
    if len(keys) != len(values):
        raise ValueError(f"every key needs a value, got {len(keys)} keys and {len(values)} values")
    store = memory.store
    for start, rows, block in _blocks(len(keys)):
        some = slice(start, start + rows)
        store = _write(memory.config, store, _padded(keys[some], block), _padded(values[some], block), rows)
    return AssociativeMemory(memory.config, store)


def read(memory: AssociativeMemory, keys: Any) -> np.ndarray:
    """Values at keys: means of what was written at the nearest locations, by nearness.

    Args:
      memory: where to read.
      keys: ``[N, K]``, of any lengths.

    Returns:
      ``float32 [N, D]``; 0 where nothing was written near.

    Raises:
      ValueError: the width is not the memory's, or a number is not finite.
    """
    keys = _rows("keys", keys, memory.store.addresses.shape[1])
    values = np.empty((len(keys), memory.store.counters.shape[1]), np.float32)
    for start, rows, block in _blocks(len(keys)):
        some = slice(start, start + rows)
        values[some] = _read(memory.config, memory.store, _padded(keys[some], block))[:rows]
    return values


def merge(first: AssociativeMemory, second: AssociativeMemory) -> AssociativeMemory:
    """Two memories as one, with all locations of both.

    Raises:
      ValueError: their configs differ, or the sizes of their keys or values.
    """
    if first.config != second.config:
        raise ValueError(f"memories of different configs cannot be merged: {first.config}, {second.config}")
    return AssociativeMemory(first.config, stores.merge(first.store, second.store))


@functools.partial(jax.jit, static_argnums=0)
def _write(config: MemoryConfig, store: Store, keys: jax.Array, values: jax.Array, rows) -> Store:
    keys = stores.unit(keys)
    valid = (jnp.arange(len(keys)) < rows) & (keys != 0).any(1)
    return stores.write(config, store, keys, values, valid)


@functools.partial(jax.jit, static_argnums=0)
def _read(config: MemoryConfig, store: Store, keys: jax.Array) -> jax.Array:
    return stores.read(config, store, stores.contents(store), stores.unit(keys))


def _rows(name: str, rows: Any, width: int | None = None) -> np.ndarray:
    """``float32 [N, width]``, checked."""
    rows = np.asarray(rows, np.float32)
    if rows.ndim != 2 or (width is not None and rows.shape[1] != width):
        wanted = "N, width" if width is None else f"N, {width}"
        raise ValueError(f"{name} must have the shape [{wanted}], got {list(rows.shape)}")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} must be finite, and {(~np.isfinite(rows)).any(1).sum()} rows are not")
    return rows


def _blocks(count: int):
    """Beginning, number of rows, and padded length of each block."""
    small, large = _BLOCKS
    for start in range(0, count, large):
        rows = min(large, count - start)
        yield start, rows, small if rows <= small else large


def _padded(rows: np.ndarray, block: int) -> np.ndarray:
    return np.pad(rows, ((0, block - len(rows)), (0, 0)))
