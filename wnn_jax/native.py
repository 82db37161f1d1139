"""Which backend does the table work: the native kernels of `metal_ext`, or pure XLA.

The only module that knows of more than one. Whatever it chooses, the numbers are the same to the bit:
`wnn_jax.kernels` is the contract, and the native kernels are tested against it.

``WNN_JAX_BACKEND`` forces one: ``xla``, or ``cpu`` for the native kernels. Unset, the native kernels
are used where they are installed and JAX computes on the CPU. It is read when a function is traced, so
a function that is already compiled keeps its backend.
"""

import functools
import logging
import os

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import cells, kernels

_KINDS = {"ternary": 0, "quad_binary": 1, "quad_weighted": 1, "count": 2}
_MAX_WORDS = 32  # kMaxWords of metal_ext/src/addresses.h


def backend() -> str:
    """``cpu`` (native) or ``xla``.

    Raises:
      ValueError: ``WNN_JAX_BACKEND`` is unknown, or names a backend that cannot be used here.
    """
    forced = os.environ.get("WNN_JAX_BACKEND")
    if forced not in (None, "", "xla", "cpu"):
        raise ValueError(f"WNN_JAX_BACKEND={forced!r} is unknown: use xla or cpu")
    if forced == "xla":
        return "xla"
    platform, reason = jax.default_backend(), _register()
    if platform == "cpu" and not reason:
        return "cpu"
    reason = reason or f"JAX computes on {platform}"
    if forced:
        raise ValueError(f"WNN_JAX_BACKEND=cpu cannot be used: {reason}")
    return "xla"


@functools.cache
def _register() -> str:
    """Register the native kernels once; why there are none, or nothing."""
    try:
        import wnn_metal_ext  # pyright: ignore[reportMissingImports]

        library = wnn_metal_ext.library()
        for target, symbol in wnn_metal_ext.TARGETS.items():
            handler = jax.ffi.pycapsule(getattr(library, symbol))
            jax.ffi.register_ffi_target(target, handler, platform="cpu")
    except (ImportError, OSError, AttributeError) as error:
        reason = f"metal_ext is not installed ({error})"
        logging.getLogger("wnn_jax").info("table work runs on XLA: %s", reason)
        return reason
    return ""


def fit_and_read(config, clusters, neurons, stream, prior, words):
    """`kernels.fit_and_read` on the chosen backend."""
    if _on_xla(words):
        return kernels.fit_and_read(config, clusters, neurons, stream, prior, words)
    votes = jax.ShapeDtypeStruct((clusters, words.shape[1]), jnp.int32)
    call = jax.ffi.ffi_call("wnn_fit_and_read", votes, vmap_method="sequential")
    return call(*neurons, *stream, prior, words, **_attributes(config))


def write(config, table, neurons, stream):
    """`kernels.write` on the chosen backend; in place where XLA may reuse ``table``."""
    if _on_xla(stream.words):
        return kernels.write(config, table, neurons, stream)
    result = jax.ShapeDtypeStruct(table.shape, table.dtype)
    aliases = {0: 0}
    call = jax.ffi.ffi_call("wnn_write", result, vmap_method="sequential", input_output_aliases=aliases)
    return call(table, *neurons, *stream, **_attributes(config))


def read(config, clusters, table, neurons, prior, words):
    """`kernels.read` on the chosen backend."""
    if _on_xla(words):
        return kernels.read(config, clusters, table, neurons, prior, words)
    votes = jax.ShapeDtypeStruct((clusters, words.shape[1]), jnp.int32)
    call = jax.ffi.ffi_call("wnn_read", votes, vmap_method="sequential")
    return call(table, *neurons, prior, words, **_attributes(config))


def _on_xla(words: jax.Array) -> bool:
    """Inputs wider than the native kernels take stay on XLA, whatever the backend."""
    return backend() == "xla" or words.shape[0] > _MAX_WORDS


def _attributes(config: cells.RamConfig) -> dict:
    return {
        "kind": np.int64(_KINDS[config.cells]),
        "values": np.array(cells.read_values(config), np.int32),
        "threshold": np.int64(cells.sample_threshold(config)),
    }
