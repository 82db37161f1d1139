"""Checks of the arrays that callers give to layers of RAM neurons.

The public functions call these checks before a backend is chosen, so that every backend refuses the same
arrays with the same words. Inside a transformation of JAX only types and shapes are checked, which costs
nothing when the compiled function runs; there the kernels mask or clamp what they use as an index.

Source: docs/semantics/ram.md
"""

import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.ram import cells

MAX_NEURONS = (2**31 - 1) // cells.UNIT
MAX_ADDRESS_BITS = 24

COUNT = Limits(least=1)  # the limits of a number of things that must be there

_tables: dict[tuple, weakref.ref] = {}  # the cells that were checked, by identity and limits


def size(neurons: int, address_bits: int) -> tuple[int, int]:
    """Refuse sizes that a dense table cannot have.

    Args:
      neurons: n, 1 to `MAX_NEURONS`: more could overflow the 32 bits of a vote.
      address_bits: T, 1 to `MAX_ADDRESS_BITS`: a neuron has 2^T cells.

    Returns:
      n and T.

    Raises:
      ValueError: n or T is out of range.

    Source: docs/semantics/ram.md
    """
    address_bits = checks.integer("address_bits", address_bits, Limits(least=1, most=MAX_ADDRESS_BITS))
    return checks.integer("neurons", neurons, Limits(least=1, most=MAX_NEURONS)), address_bits


def room(name: str, count: int) -> None:
    """Refuse an array with more entries than JAX can count, before it is made.

    Args:
      name: the name of the entries, for the message.
      count: the number of entries, at most 2^31 - 1.

    Raises:
      ValueError: there would be more.

    Source: docs/architecture.md
    """
    if count > checks.MOST:
        raise ValueError(
            f"{name} would be {count:,} entries, more than the {checks.MOST:,} of an array: lower a size"
        )


def kind(config: Any) -> None:
    """Refuse what is no `RamConfig`.

    Args:
      config: the kind of cells.

    Raises:
      ValueError: it has another type.

    Source: docs/semantics/ram.md
    """
    if not isinstance(config, cells.RamConfig):
        raise ValueError(f"config is of type {type(config).__name__}: give a RamConfig, the kind of cells")


def key(value: Any) -> None:
    """Refuse what is no key of JAX.

    Args:
      value: the key, from `jax.random.key` or `jax.random.PRNGKey`.

    Raises:
      ValueError: it is no key.

    Source: docs/semantics/ram.md
    """
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    typed = dtype is not None and shape == () and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not typed and not (dtype == np.uint32 and shape is not None and len(shape) == 1):
        raise ValueError(f"key is of type {type(value).__name__}: give a key, such as jax.random.key(0)")


def connections(
    x: Any, input_bits: int | None = None, clusters: int | None = None, *, axes: str = "KnT"
) -> None:
    """Check a connectivity, or other connections.

    A connection to a bit of the last word that no input has is allowed, because words do not tell the number
    of input bits; it reads 0.

    Args:
      x: ``int [K, n, T]``.
      input_bits: the number of input bits; None where it is not known.
      clusters: K; None takes any number.
      axes: a letter for each axis; the last is T.

    Raises:
      ValueError: the type or the shape is another, a size is out of range, or an entry is neither -1 nor an
        input bit.

    Source: docs/semantics/ram.md
    """
    most = 2**31 - 1 if input_bits is None else input_bits - 1
    shape = {axis: clusters if axis == "K" else None for axis in axes}
    checks.array("connections", x, "integers", shape, Limits(least=-1, most=most))
    if not x.shape[0]:
        raise ValueError(f"connections has shape {list(x.shape)}, without a cluster: give at least one")
    size(x.shape[1] if len(axes) == 3 else 1, x.shape[-1])


def words(name: str, x: Any, rows: int | None = None, count: int | None = None) -> None:
    """Check packed input bits.

    Args:
      name: the name of the words, for the message.
      x: ``uint32 [W, N]``, from `bits.pack`.
      rows: W; None takes any number from 1.
      count: N; None takes any number.

    Raises:
      ValueError: the type or the shape is another.

    Source: docs/semantics/ram.md
    """
    checks.array(name, x, "uint32", {"W": rows, "N": count})
    if not x.shape[0]:
        raise ValueError(f"{name} has shape {list(x.shape)}, without an input bit: give at least one word")


def examples(train: Any, clusters: int | None = None) -> None:
    """Check the examples to write.

    Args:
      train: a `layer.Examples` with K targets of N examples, at least one.
      clusters: K; None takes any number from 1.

    Raises:
      ValueError: a type or a shape is another, there is no example, or a span is not one of the examples.

    Source: docs/semantics/ram.md
    """
    if not hasattr(train, "words") or not hasattr(train, "targets"):
        raise ValueError(f"the examples are of type {type(train).__name__}: give ram.Examples")
    words("words", train.words)
    count = train.words.shape[1]
    checks.array("targets", train.targets, "booleans", {"K": clusters, "N": count})
    if not train.targets.shape[0] or not count:
        raise ValueError(
            f"targets has shape {list(train.targets.shape)}: give at least one cluster and one example"
        )
    if train.weight is not None:
        checks.array("weight", train.weight, "booleans", {"N": count})
    if train.span is not None:
        shape = {"K": train.targets.shape[0], "ends": 2}
        checks.array("span", train.span, "integers", shape, Limits(least=0, most=count))
        if not isinstance(train.span, Tracer):
            ends = np.asarray(train.span)
            back = np.flatnonzero(ends[:, 0] > ends[:, 1])
            if back.size:
                begin, end = ends[back[0]]
                raise ValueError(
                    f"span[{back[0]}] begins at {begin} and ends at {end}: give a begin no later"
                )


def table(config: cells.RamConfig, x: Any, shape: tuple[int, ...], more: int = 0) -> None:
    """Check a table.

    JAX's arrays do not change, so the cells of one are looked at once.

    Args:
      config: the kind of cells.
      x: a `layer.Table`.
      shape: K, n and T.
      more: the number of examples that will be written to it.

    Raises:
      ValueError: a type or a shape is another, or a number cannot be in such a table.

    Source: docs/semantics/ram.md
    """
    if not hasattr(x, "cells") or not hasattr(x, "ones"):
        raise ValueError(f"table is of type {type(x).__name__}: give a ram.Table")
    sizes: dict[str, int | None] = {"K": shape[0], "n": shape[1], "A": 1 << shape[2]}
    if config.cells == "count":
        sizes["pair"] = 2
    room = Limits(least=0, most=2**31 - 1 - more)
    limits = {
        "ternary": Limits(least=-room.most, most=room.most),
        "count": room,
        "true_wins": Limits(least=0, most=2),
    }.get(config.cells, Limits(least=0, most=3))
    _once("table.cells", x.cells, "int8" if config.is_byte else "int32", sizes, limits)
    checks.array("table.written", x.written, "int32", {}, room)
    checks.array("table.ones", x.ones, "int32", {"K": shape[0]}, room)
    if not any(isinstance(part, Tracer) for part in (x.ones, x.written)):
        most = int(np.asarray(x.written))
        checks.entries("table.ones", np.asarray(x.ones), Limits(least=0, most=most))


def votes(x: Any, clusters: int | None = None) -> None:
    """Check votes.

    Args:
      x: ``int32 [K, N]``.
      clusters: K; None takes any number.

    Raises:
      ValueError: the type or the shape is another.

    Source: docs/semantics/ram.md
    """
    checks.array("votes", x, "int32", {"K": clusters, "N": None})


def _once(name: str, x: Any, dtype: str, shape: dict, limits: Limits) -> None:
    """Check an array as `checks.array` does, and the entries of one of JAX only the first time."""
    mark = (id(x), name, limits, *shape.items())
    known = _tables.get(mark)
    if known is not None and known() is x:
        return
    checks.array(name, x, dtype, shape, limits)
    if isinstance(x, jax.Array) and not isinstance(x, Tracer):
        _tables[mark] = weakref.ref(x, lambda _: _tables.pop(mark, None))
