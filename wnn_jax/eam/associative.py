"""An associative memory together with its config, for any keys in any number, NumPy or JAX.

Shapes: N rows, K size of a key, D size of a value.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.eam import memory as stores
from wnn_jax.eam.memory import MemoryConfig, Store

# Rows are padded to blocks of these lengths, so that two compiled programs serve all lengths.
_BLOCKS = (32, 1024)


class AssociativeMemory(NamedTuple):
    """An associative memory; `write` adds values to it and `read` returns them.

    Attributes:
      config: how the memory is written and read.
      store: its locations and the values that were written there.

    Source: openai/parameter-golf PR 1146; docs/semantics/eam.md
    """

    config: MemoryConfig
    store: Store


@checks.classes
def create(
    key: jax.Array, config: MemoryConfig, keys: Any, *, locations: int, width: int
) -> AssociativeMemory:
    """Makes a memory in which nothing is written; its locations begin at means of keys.

    Args:
      key: the random key that chooses the keys where the means begin.
      config: how the memory is written and read.
      keys: ``[N, K]``, keys like those that will be written; their lengths do not matter.
      locations: the number of locations, 1 to N. Patterns share locations if there are fewer locations.
      width: D, the size of a value.

    Raises:
      ValueError: a number is out of range, or the keys are not finite numbers ``[N, K]``.

    Source: docs/semantics/eam.md
    """
    keys = _rows("keys", keys)
    checks.integer("locations", locations)
    if not 1 <= locations <= len(keys):
        raise ValueError(
            f"locations must be 1 to {len(keys)}, got {locations}: each begins at one of the {len(keys)} keys"
        )
    checks.integer("width", width, checks.Limits(least=1, most=1 << 20))
    addresses = stores.addresses_of(key, np.asarray(stores.unit(jnp.asarray(keys))), locations)
    return AssociativeMemory(config, stores.empty(config, addresses, width))


@checks.classes
def write(memory: AssociativeMemory, keys: Any, values: Any) -> AssociativeMemory:
    """Adds values at the locations nearest to their keys; returns the new memory.

    The rows are written in blocks of up to 1,024, in their order. The order within a block changes nothing
    but rounding. Every write counts: a pair that is written twice weighs twice. Writing no rows changes
    nothing.

    Args:
      memory: the memory to add to; it stays as it is.
      keys: ``[N, K]``, of any lengths. A key of zeros is skipped. A key with no cosine above 0 adds its value
        nowhere.
      values: ``[N, D]``.

    Raises:
      ValueError: the numbers of rows differ, a width is not that of the memory, or a number is not finite.

    Source: docs/semantics/eam.md
    """
    _check(memory.store)
    keys = _rows("keys", keys, memory.store.addresses.shape[1])
    values = _rows("values", values, memory.store.counters.shape[1])
    if len(keys) != len(values):
        raise ValueError(
            f"each key needs one value, got {len(keys)} keys and {len(values)} values: give equal numbers"
        )
    store = memory.store
    for start, rows, block in _blocks(len(keys)):
        some = slice(start, start + rows)
        store = _write(memory.config, store, _padded(keys[some], block), _padded(values[some], block), rows)
    return AssociativeMemory(memory.config, store)


@checks.classes
def read(memory: AssociativeMemory, keys: Any) -> np.ndarray:
    """Reads values at keys: means of the values at the nearest locations, weighted by nearness.

    Args:
      memory: the memory to read.
      keys: ``[N, K]``, of any lengths.

    Returns:
      ``float32 [N, D]``; 0 where none of the nearest locations was written.

    Raises:
      ValueError: the width is not that of the memory, or a number is not finite.

    Source: docs/semantics/eam.md
    """
    _check(memory.store)
    keys = _rows("keys", keys, memory.store.addresses.shape[1])
    values = np.empty((len(keys), memory.store.counters.shape[1]), np.float32)
    for start, rows, block in _blocks(len(keys)):
        some = slice(start, start + rows)
        values[some] = _read(memory.config, memory.store, _padded(keys[some], block))[:rows]
    return values


@checks.classes
def merge(first: AssociativeMemory, second: AssociativeMemory) -> AssociativeMemory:
    """Joins two memories into one that has all locations of both.

    Args:
      first: a memory.
      second: a memory of the same config and sizes; its locations come last.

    Raises:
      ValueError: their configs differ, or the sizes of their keys or values.

    Source: docs/semantics/eam.md
    """
    if first.config != second.config:
        raise ValueError(
            f"memories of different configs cannot be merged, got {first.config} and {second.config}: create "
            "both with one config"
        )
    return AssociativeMemory(first.config, stores.merge(first.store, second.store))


@functools.partial(jax.jit, static_argnums=0)
def _write(config: MemoryConfig, store: Store, keys: jax.Array, values: jax.Array, rows) -> Store:
    keys = stores.unit(keys)
    valid = (jnp.arange(len(keys)) < rows) & (keys != 0).any(1)
    return stores.write(config, store, keys, values, valid)


@functools.partial(jax.jit, static_argnums=0)
def _read(config: MemoryConfig, store: Store, keys: jax.Array) -> jax.Array:
    return stores.read(config, store, stores.contents(store), stores.unit(keys))


def _check(store: Store) -> None:
    """Check the arrays of a memory, which may come from a file.

    Raises:
      ValueError: an array has another type or shape, or an entry that no memory has.
    """
    room = {"L": len(store.weights)}
    checks.array("addresses", store.addresses, "float32", {**room, "K": None}, checks.Limits(-1.001, 1.001))
    checks.array("counters", store.counters, "float32", {**room, "D": None})
    checks.array("weights", store.weights, "float32", room, checks.Limits(least=0))
    checks.array("used", store.used, "int32", {}, checks.Limits(least=0, most=len(store.weights)))
    checks.array("eta", store.eta, "float32", {}, checks.Limits(least=0, most=1))


def _rows(name: str, rows: Any, width: int | None = None) -> np.ndarray:
    """Checks rows and returns them as ``float32 [N, width]``."""
    try:
        with np.errstate(over="ignore"):
            rows = np.asarray(rows, np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is of type {type(rows).__name__}: give rows of numbers") from error
    if rows.ndim != 2 or (width is not None and rows.shape[1] != width):
        wanted = "N, width" if width is None else f"N, {width}"
        raise ValueError(f"{name} must have the shape [{wanted}], got {list(rows.shape)}")
    if not np.isfinite(rows).all():
        raise ValueError(
            f"{name} must be finite, got {(~np.isfinite(rows)).any(1).sum()} rows that are not: remove them"
        )
    return rows


def _blocks(count: int):
    """Yields the start, the number of rows and the padded length of each block."""
    small, large = _BLOCKS
    for start in range(0, count, large):
        rows = min(large, count - start)
        yield start, rows, small if rows <= small else large


def _padded(rows: np.ndarray, block: int) -> np.ndarray:
    return np.pad(rows, ((0, block - len(rows)), (0, 0)))
