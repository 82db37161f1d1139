"""The machine on which numbers are measured: its device, backend, versions, clock and free memory."""

import importlib.metadata
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import psutil

import wnn_jax
from wnn_jax.ram import backend


def backend_name() -> str:
    """Name the kernels that do the work on tables, in words."""
    chosen = backend.chosen()
    if chosen == "metal":
        return f"native kernels, large work on {backend.device_name()}"
    return {"cpu": "native kernels", "xla": "XLA"}[chosen]


def device() -> str:
    """Name the device that computes the results, in words."""
    first = jax.devices()[0]
    name = first.device_kind
    if first.platform == "cpu":
        name = f"{_processor()}, {os.cpu_count()} cores"
    return f"{first.platform}: {name}"


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of the software that a number depends on."""
    names = ("jax", "jaxlib", "numpy")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"wnn_jax": wnn_jax.__version__, "python": platform.python_version(), **found}


def clock(call: Callable[[], Any], repeats: int) -> float:
    """Return the median seconds of a call, measured after a first call that compiles."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def check_memory(need: int, remedy: str) -> None:
    """Refuse work that needs more memory than the machine has free.

    Args:
      need: the bytes that the work needs.
      remedy: the end of the message: what the user can do.

    Raises:
      ValueError: ``need`` is more than the free memory.
    """
    free = psutil.virtual_memory().available
    if need > free:
        raise ValueError(
            f"this needs about {need / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB are free: {remedy}"
        )
