"""The machine that a number was measured on: device, backend, versions; clocks; memory that is free."""

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
    """Which kernels do the table work, in words."""
    chosen = backend.chosen()
    if chosen == "metal":
        return f"native kernels, large work on {backend.device_name()}"
    return {"cpu": "native kernels", "xla": "XLA"}[chosen]


def device() -> str:
    """The device results are computed on, in words."""
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
    """Versions that a number depends on besides the code of the model."""
    names = ("jax", "jaxlib", "numpy")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"wnn_jax": wnn_jax.__version__, "python": platform.python_version(), **found}


def clock(call: Callable[[], Any], repeats: int) -> float:
    """Median seconds of a call, after one that compiles."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def check_memory(need: int, remedy: str) -> None:
    """Refuse work that the machine cannot hold.

    Raises:
      ValueError: ``need`` bytes are more than is free, with both numbers and the flag that helps.
    """
    free = psutil.virtual_memory().available
    if need > free:
        raise ValueError(
            f"this needs about {need / 2**30:.1f} GiB and the machine has {free / 2**30:.1f} GiB "
            f"free: {remedy}"
        )
