"""Which backend does the table work: the native kernels of `metal_ext`, or pure XLA.

The only module that knows of more than one. Whatever it chooses, the numbers are the same to the bit:
`wnn_jax.ram.xla` is the contract, and the native kernels are tested against it.

``WNN_JAX_BACKEND`` forces one: ``xla``, ``cpu`` for the native CPU kernels, or ``metal`` for the native
GPU kernels of a Mac. Unset, the native kernels are used where they are installed and JAX computes on the
CPU; on a Mac they send large work to the GPU. It is read when a function is traced, so a function that
is already compiled keeps its backend.
"""

import ctypes
import functools
import logging
import os

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.ram import cells, xla

_KINDS = {"ternary": 0, "quad_binary": 1, "quad_weighted": 1, "count": 2, "true_wins": 3}
EDITION = 2  # of the kernels' arguments, as in metal_ext
MAX_WORDS = 32  # of inputs to the native kernels; 1,024 bits


def chosen() -> str:
    """``xla``, ``cpu`` (native) or ``metal`` (native, on the GPU of a Mac where that may pay).

    Raises:
      ValueError: ``WNN_JAX_BACKEND`` is unknown, or names a backend that cannot be used here.
    """
    forced = os.environ.get("WNN_JAX_BACKEND") or None
    if forced not in (None, "xla", "cpu", "metal"):
        raise ValueError(f"WNN_JAX_BACKEND={forced!r} is unknown: use xla, cpu or metal")
    if forced == "xla":
        return "xla"
    platform, (reason, gpu) = jax.default_backend(), _register()
    if platform != "cpu":
        reason = reason or f"JAX computes on {platform}"
    elif forced == "metal" and not gpu:
        reason = reason or "there is no Metal device, or its kernels do not compile"
    if forced and reason:
        raise ValueError(f"WNN_JAX_BACKEND={forced} cannot be used: {reason}")
    if reason:
        return "xla"
    return forced or ("metal" if gpu else "cpu")


@functools.cache
def _register() -> tuple[str, str]:
    """Register the native kernels once: why there are none, or nothing; and the Metal device's name."""
    try:
        import wnn_metal_ext  # pyright: ignore[reportMissingImports]

        edition = getattr(wnn_metal_ext, "EDITION", 1)
        if edition != EDITION:
            raise ImportError(
                f"it is of edition {edition} and not {EDITION}: run pip install ./metal_ext again"
            )
        library = wnn_metal_ext.library()
        for target, symbol in wnn_metal_ext.TARGETS.items():
            handler = jax.ffi.pycapsule(getattr(library, symbol))
            jax.ffi.register_ffi_target(target, handler, platform="cpu")
        name = library.WnnMetalDevice
    except (ImportError, OSError, AttributeError) as error:
        reason = f"metal_ext is not installed, or cannot be used ({error})"
        logging.getLogger("wnn_jax").warning("table work runs on XLA, several times slower: %s", reason)
        return reason, ""
    name.restype = ctypes.c_char_p
    return "", name().decode()


def device_name() -> str:
    """The Metal device that the native kernels may use, or nothing."""
    return _register()[1]


def fit_and_read(config, clusters, neurons, stream, prior, words):
    """`xla.fit_and_read` on the chosen backend."""
    if _on_xla(words):
        return xla.fit_and_read(config, clusters, neurons, stream, prior, words)
    votes = jax.ShapeDtypeStruct((clusters, words.shape[1]), jnp.int32)
    call = jax.ffi.ffi_call("wnn_fit_and_read", votes, vmap_method="sequential")
    return call(*neurons, *_spanned(stream), prior, words, **_attributes(config))


def write(config, table, neurons, stream):
    """`xla.write` on the chosen backend; in place where XLA may reuse ``table``."""
    if _on_xla(stream.words):
        return xla.write(config, table, neurons, stream)
    result = jax.ShapeDtypeStruct(table.shape, table.dtype)
    aliases = {0: 0}
    call = jax.ffi.ffi_call("wnn_write", result, vmap_method="sequential", input_output_aliases=aliases)
    return call(table, *neurons, *_spanned(stream), **_attributes(config))


def read(config, clusters, table, neurons, prior, words):
    """`xla.read` on the chosen backend."""
    if _on_xla(words):
        return xla.read(config, clusters, table, neurons, prior, words)
    votes = jax.ShapeDtypeStruct((clusters, words.shape[1]), jnp.int32)
    call = jax.ffi.ffi_call("wnn_read", votes, vmap_method="sequential")
    return call(table, *neurons, prior, words, **_attributes(config))


def touch(row_bytes: int, touches: int, tasks: int) -> jax.Array:
    """The work that bounds any write: ``tasks`` walks of random read-modify-writes in a row of that size.

    For `experiments.benchmark`; needs the native kernels.

    Returns:
      ``uint32 [tasks]``, of no meaning.
    """
    call = jax.ffi.ffi_call("wnn_probe", jax.ShapeDtypeStruct((tasks,), jnp.uint32))
    return call(row_bytes=np.int64(row_bytes), touches=np.int64(touches))


def _spanned(stream: xla.Stream) -> xla.Stream:
    if stream.span is not None:
        return stream
    clusters, count = stream.targets.shape
    return stream._replace(span=jnp.broadcast_to(jnp.array([0, count], jnp.int32), (clusters, 2)))


def _on_xla(words: jax.Array) -> bool:
    """Inputs wider than the native kernels take stay on XLA, whatever the backend."""
    return chosen() == "xla" or words.shape[0] > MAX_WORDS


def _attributes(config: cells.RamConfig) -> dict:
    # On the GPU: never, where the work is large, or always (metal_ext/src/metal.h).
    forced = os.environ.get("WNN_JAX_BACKEND") == "metal"
    device = 2 if forced else 1 if chosen() == "metal" else 0
    return {
        "kind": np.int64(_KINDS[config.cells]),
        "values": np.array(cells.read_values(config), np.int32),
        "threshold": np.int64(cells.sample_threshold(config)),
        "device": np.int64(device),
    }
