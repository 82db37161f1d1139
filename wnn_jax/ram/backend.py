"""Chooses the backend that writes and reads tables: the native kernels of `metal_ext`, or pure XLA.

Only this module knows that there are several backends. All of them return the same numbers to the bit:
`wnn_jax.ram.xla` is the reference, and the tests compare the native kernels with it.

The environment variable ``WNN_JAX_BACKEND`` forces a backend: ``xla``, ``cpu`` for the native CPU kernels,
or ``metal`` for the native GPU kernels of a Mac. If it is not set, the native kernels are used where they
are installed and JAX computes on the CPU; on a Mac they send large work to the GPU. The variable is read
when a function is traced, so a function that is already compiled keeps its backend.

The environment variable ``WNN_JAX_THREADS`` is the number of threads with which the native kernel of an
online chain model reads, 1 if it is not set. The numbers are the same for any number of threads.

Source: docs/architecture.md
"""

import ctypes
import functools
import logging
import os

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.ram import cells, xla

_KINDS = {"ternary": 0, "quad_binary": 1, "quad_weighted": 1, "count": 2, "true_wins": 3}
EDITION = 8  # edition of the kernels' arguments; metal_ext must have the same
MOST_THREADS = 16
MAX_WORDS = 32  # most words of input that the native kernels take: 1,024 bits


def chosen() -> str:
    """Choose the backend from ``WNN_JAX_BACKEND``, the installed packages and JAX's platform.

    Returns:
      ``xla``, ``cpu`` (native kernels) or ``metal`` (native kernels that may use the GPU of a Mac).

    Raises:
      ValueError: ``WNN_JAX_BACKEND`` is unknown, or names a backend that cannot be used here.

    Source: docs/architecture.md
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
        raise ValueError(f"WNN_JAX_BACKEND={forced} cannot be used: {reason}; unset it, or use xla")
    if reason:
        return "xla"
    return forced or ("metal" if gpu else "cpu")


def threads() -> int:
    """Return the number of threads of an online chain model from ``WNN_JAX_THREADS``.

    The threads wait for each other by looking again and again, so more of them than idle cores are slow.

    Raises:
      ValueError: the variable is no number from 1 to `MOST_THREADS`.

    Source: docs/architecture.md
    """
    said = os.environ.get("WNN_JAX_THREADS") or "1"
    if not said.isdecimal() or not 1 <= int(said) <= MOST_THREADS:
        raise ValueError(f"WNN_JAX_THREADS={said!r} is no number of threads: use 1 to {MOST_THREADS}")
    return int(said)


@functools.cache
def _register() -> tuple[str, str]:
    """Register the native kernels with JAX, once.

    Returns:
      The reason why the native kernels cannot be used, and the name of the Metal device. Each is empty if
      there is none.
    """
    try:
        import wnn_metal_ext  # pyright: ignore[reportMissingImports]

        edition = getattr(wnn_metal_ext, "EDITION", 1)
        if edition != EDITION:
            raise ImportError(
                f"it has edition {edition}, and {EDITION} is needed: run pip install ./metal_ext again"
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
    """Name the Metal device that the native kernels may use.

    Returns:
      The name; empty if there is no such device or no native kernels.

    Source: docs/architecture.md
    """
    return _register()[1]


def fit_and_read(config, clusters, neurons, stream, prior, words):
    """Run `xla.fit_and_read` on the chosen backend.

    Args:
      config: a `cells.RamConfig`, the kind of cells.
      clusters: number of rows of votes.
      neurons: an `xla.Neurons`, with ``int32 [R, T]`` connections.
      stream: an `xla.Stream`, the examples to write.
      prior: ``float32 [K]``.
      words: ``uint32 [W, N']``, the inputs to read.

    Returns:
      Votes ``int32 [clusters, N']``, the same bits as `xla.fit_and_read` returns.

    Source: docs/semantics/ram.md
    """
    if _on_xla(words):
        return xla.fit_and_read(config, clusters, neurons, stream, prior, words)
    votes = jax.ShapeDtypeStruct((clusters, words.shape[1]), jnp.int32)
    call = jax.ffi.ffi_call("wnn_fit_and_read", votes, vmap_method="sequential")
    return call(*neurons, *_spanned(stream), prior, words, **_attributes(config))


def write(config, table, neurons, stream):
    """Run `xla.write` on the chosen backend; the update is in place where XLA may reuse ``table``.

    Args:
      config: a `cells.RamConfig`, the kind of cells.
      table: the cells of all R neurons, one row after another.
      neurons: an `xla.Neurons`, with ``int32 [R, T]`` connections.
      stream: an `xla.Stream`, the examples to write.

    Returns:
      The cells after writing, with the shape and dtype of ``table``.

    Source: docs/semantics/ram.md
    """
    if _on_xla(stream.words):
        return xla.write(config, table, neurons, stream)
    result = jax.ShapeDtypeStruct(table.shape, table.dtype)
    aliases = {0: 0}
    call = jax.ffi.ffi_call("wnn_write", result, vmap_method="sequential", input_output_aliases=aliases)
    return call(table, *neurons, *_spanned(stream), **_attributes(config))


def read(config, clusters, table, neurons, prior, words):
    """Run `xla.read` on the chosen backend.

    Args:
      config: a `cells.RamConfig`, the kind of cells.
      clusters: number of rows of votes.
      table: the cells of all R neurons, one row after another.
      neurons: an `xla.Neurons`, with ``int32 [R, T]`` connections.
      prior: ``float32 [K]``.
      words: ``uint32 [W, N]``, the inputs to read.

    Returns:
      Votes ``int32 [clusters, N]``, the same bits as `xla.read` returns.

    Source: docs/semantics/ram.md
    """
    if _on_xla(words):
        return xla.read(config, clusters, table, neurons, prior, words)
    votes = jax.ShapeDtypeStruct((clusters, words.shape[1]), jnp.int32)
    call = jax.ffi.ffi_call("wnn_read", votes, vmap_method="sequential")
    return call(table, *neurons, prior, words, **_attributes(config))


def touch(row_bytes: int, touches: int, tasks: int) -> jax.Array:
    """Read, change and write back random places of memory rows: a lower bound on the time of any table write.

    `experiments.benchmark` times it. It needs the native kernels.

    Args:
      row_bytes: size of a row, in bytes.
      touches: number of random read-modify-writes in each row.
      tasks: number of rows.

    Returns:
      ``uint32 [tasks]``; the values mean nothing.

    Raises:
      ValueError: a number is out of range.

    Source: docs/architecture.md
    """
    checks.integer("row_bytes", row_bytes, Limits(least=1, most=2**32))
    checks.integer("touches", touches, Limits(least=0))
    checks.integer("tasks", tasks, Limits(least=1))
    call = jax.ffi.ffi_call("wnn_probe", jax.ShapeDtypeStruct((tasks,), jnp.uint32))
    return call(row_bytes=np.int64(row_bytes), touches=np.int64(touches))


def _spanned(stream: xla.Stream) -> xla.Stream:
    if stream.span is not None:
        return stream
    clusters, count = stream.targets.shape
    return stream._replace(span=jnp.broadcast_to(jnp.array([0, count], jnp.int32), (clusters, 2)))


def _on_xla(words: jax.Array) -> bool:
    """Whether XLA does the work: it is the backend, or the input is wider than the native kernels take."""
    return chosen() == "xla" or words.shape[0] > MAX_WORDS


def _attributes(config: cells.RamConfig) -> dict:
    # Use of the GPU: 0 never, 1 where the work is large, 2 always (metal_ext/src/metal.h).
    forced = os.environ.get("WNN_JAX_BACKEND") == "metal"
    device = 2 if forced else 1 if chosen() == "metal" else 0
    return {
        "kind": np.int64(_KINDS[config.cells]),
        "values": np.array(cells.read_values(config), np.int32),
        "threshold": np.int64(cells.sample_threshold(config)),
        "device": np.int64(device),
    }
