"""Chooses between the native kernels of `metal_ext` and plain JAX for the tables of this package.

`layer` and `training` hold the plain JAX, which the kernels equal to the bit. `wnn_jax.ram.backend` says
which of the two works.

Source: docs/architecture.md
"""

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.ram import backend

MAX_CLASSES = 256  # the native kernels train no more classes
MAX_THRESHOLDS = 256  # the native kernels judge no more thresholds at once


def native() -> bool:
    """Say whether the native kernels do the work.

    Source: docs/architecture.md
    """
    return backend.chosen() != "xla"


def read(mapping, cells, levels) -> jax.Array:
    """Do the work of `layer.read` with the native kernels.

    Args:
      mapping: a `layer.Mapping`.
      cells: ``int8`` or ``int32 [M, S, K]``.
      levels: ``uint8 [N, J]``.

    Returns:
      ``int32 [N, K]``.

    Source: docs/architecture.md
    """
    scores = jax.ShapeDtypeStruct((levels.shape[0], cells.shape[2]), jnp.int32)
    return jax.ffi.ffi_call("wnn_class_read", scores, vmap_method="sequential")(*mapping, cells, levels)


def count(mapping, tables: int, counts, levels, labels, weight) -> jax.Array:
    """Do the work of `layer.count` with the native kernels.

    Args:
      mapping: a `layer.Mapping`.
      tables: M.
      counts: ``int32 [M, S, K]``, or ``[0, S, K]`` for tables that have counted no row.
      levels: ``uint8 [N, J]``.
      labels: ``int32 [N]``.
      weight: ``int32 [N]``.

    Returns:
      ``int32 [M, S, K]``.

    Source: docs/architecture.md
    """
    # The memory of the counts is not reused: the copy that XLA would make of it costs more than the kernel's.
    result = jax.ShapeDtypeStruct((tables, *counts.shape[1:]), jnp.int32)
    call = jax.ffi.ffi_call("wnn_class_count", result, vmap_method="sequential")
    return call(*mapping, counts, levels, labels, weight)


def left_out(mapping, counts, levels, labels, weight, thresholds) -> jax.Array:
    """Count the votes of `bleaching.left_out` with the native kernels.

    Args:
      mapping: a `layer.Mapping`.
      counts: ``int32 [M, S, K]``.
      levels: ``uint8 [N, J]``.
      labels: ``int32 [N]``.
      weight: ``int32 [N]``, what the counts hold of each row.
      thresholds: ``int32 [B]``, at least 1; at most `MAX_THRESHOLDS` of them.

    Returns:
      ``int32 [B, N, K]``.

    Source: docs/architecture.md
    """
    result = jax.ShapeDtypeStruct((len(thresholds), len(levels), counts.shape[2]), jnp.int32)
    call = jax.ffi.ffi_call("wnn_class_left_out", result, vmap_method="sequential")
    return call(*mapping, counts, levels, labels, weight, thresholds)


def sums(mapping, shape: tuple[int, int, int], levels, row, offset, values) -> jax.Array:
    """Do the work of `layer.sums` with the native kernels.

    Args:
      mapping: a `layer.Mapping`.
      shape: M, S and K.
      levels: ``uint8 [N, J]``.
      row: ``int32 [n]``.
      offset: ``int32 [n]``.
      values: ``int32 [n, K]``.

    Returns:
      ``int32 [M, S, K]``.

    Source: docs/architecture.md
    """
    result = jax.ShapeDtypeStruct(shape, jnp.int32)
    call = jax.ffi.ffi_call("wnn_class_sum", result, vmap_method="sequential")
    return call(*mapping, levels, row, offset, values)


def train(mapping, weights, epoch, share, serves, *, batch: int, bits: int) -> tuple[jax.Array, jax.Array]:
    """Do the work of `training.train` with the native kernel.

    Args:
      mapping: a `layer.Mapping`.
      weights: ``int32 [M, S, K]``.
      epoch: a `training.Epoch`.
      share: ``int32 [E]``.
      serves: ``bool [M, K]``, or ``[0, K]`` if every table serves every class.
      batch: rows of a step.
      bits: bits of a cell.

    Returns:
      The new weights, and the number of rows that were right, ``int32 []``.

    Source: docs/architecture.md
    """
    results = (jax.ShapeDtypeStruct(weights.shape, weights.dtype), jax.ShapeDtypeStruct((1,), jnp.int32))
    call = jax.ffi.ffi_call("wnn_class_train", results, vmap_method="sequential", input_output_aliases={4: 0})
    levels, labels, row, offset, rate, drop = epoch
    new, right = call(
        *mapping,
        *(weights, levels, labels, row, offset, share, serves, rate[None], drop),
        batch=np.int64(batch),
        bits=np.int64(bits),
    )
    return new, right[0]
