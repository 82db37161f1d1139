"""Proof that an exported model computes what Python computes: it is run, and every score is compared.

Source: docs/semantics/export.md
"""

import os
import pathlib
import re
import tempfile
import time
from typing import Any, Literal, NamedTuple

import numpy as np

from wnn_jax import files
from wnn_jax.export import bench, circuit, harness, header, plan, tools
from wnn_jax.export import inputs as types
from wnn_jax.export.circuit import Circuit
from wnn_jax.export.plan import Plan

Backend = Literal["c", "avr", "verilator", "iverilog"]
_BACKENDS = ("c", "avr", "verilator", "iverilog")
_STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
_MOST_FILE = 1 << 30
_FLASH = 32_256  # bytes of an Arduino Uno that its boot loader leaves
_RAM = 2_048


class Report(NamedTuple):
    """The result of a comparison.

    Attributes:
      backend: what ran the model.
      rows: the number of rows.
      equal: whether every score and every prediction was the one of Python.
      wrong: the number of scores and predictions that were not.
      first: the first row that differs, or None.
      seconds: the time that compiling and running took.
      microseconds: the time of a row on this machine, with ``c``; otherwise None.
      cycles: the clock cycles of each row, with ``avr``; otherwise none.
      flash: the bytes of program and tables, without the rows, with ``avr``; otherwise None.
      ram: the bytes of static memory, with ``avr``, of which the row takes its own; otherwise None.

    Source: docs/semantics/export.md
    """

    backend: str
    rows: int
    equal: bool
    wrong: int
    first: int | None
    seconds: float
    microseconds: float | None = None
    cycles: tuple[int, ...] = ()
    flash: int | None = None
    ram: int | None = None


class Run(NamedTuple):
    """The output of a backend.

    Attributes:
      scores: ``float64 [N, K]``.
      answers: ``float64 [N]``, the index of the class, or the value of a regression.
      report: the fields of `Report` that only the backend knows.

    Source: docs/semantics/export.md
    """

    scores: np.ndarray
    answers: np.ndarray
    report: dict[str, Any]


def verify(
    model: Any,
    X: Any,
    backend: Backend = "c",
    path: str | os.PathLike | None = None,
    inputs: types.Inputs = "auto",
    optimise: str = "-O3",
) -> Report:
    """Compile or simulate an exported model, run rows, and compare every score with Python's.

    Args:
      model: a frozen classifier or regressor.
      X: rows ``[N, F]``.
      backend: ``c`` (gcc), ``avr`` (avr-gcc and simavr, an Arduino Uno at 16 MHz), ``verilator`` or
        ``iverilog``.
      path: the header, or the Verilog file, that is run; None exports the model anew.
      inputs: the type of an input value, as it was exported.
      optimise: the flag of gcc for ``c``.

    Returns:
      What was found; `Report.equal` says whether all scores and predictions agree.

    Raises:
      MissingProgramError: a program is not installed; the message names its Debian package.
      FailedProgramError: the file does not compile, or is of another model or type.
      ValueError: the backend is unknown, or the rows do not fit the model or the type.

    Source: docs/semantics/export.md
    """
    if backend not in _BACKENDS:
        raise ValueError(f"unknown backend {str(backend)!r:.60}: choose one of {', '.join(_BACKENDS)}")
    made = plan.make(model, inputs)
    rows = plan.rows(made, X)
    if not len(rows):
        raise ValueError("X has no row: give at least one")
    expected = plan.scores(model, X)
    text = None if path is None else files.read(path, _MOST_FILE).decode()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if backend == "c":
            found = _on_host(folder, made, text or header.text(model, None, inputs), rows, optimise)
        elif backend == "avr":
            found = _on_avr(folder, made, text or header.text(model, None, inputs, "avr"), rows)
        else:
            drawn = circuit.make(model, inputs)
            found = _simulated(folder, backend, drawn, text or circuit.text(drawn), rows)
    return _compared(made, backend, expected, found, time.perf_counter() - begun)


def _compared(made: Plan, backend: str, expected: np.ndarray, found: Run, seconds: float) -> Report:
    if made.labels:
        answers = expected.argmax(axis=1)  # the first of several that are largest
        wrong = found.answers != answers
    else:
        answers = np.float32(made.offset) + np.float32(made.scale) * expected[:, 0].astype(np.float32)
        size = abs(made.offset) + abs(made.scale * expected[:, 0].astype(np.float64))
        wrong = ~(abs(found.answers - answers) <= 1e-6 * size)  # compilers may fuse the two operations
    apart = np.concatenate([found.scores != expected, wrong[:, None]], axis=1)
    rows = np.flatnonzero(apart.any(axis=1))
    first = int(rows[0]) if len(rows) else None
    count = int(apart.sum())
    return Report(backend, len(expected), not count, count, first, seconds, **found.report)


def _defined(made: Plan, rows: int) -> list[str]:
    return [
        f"-DROWS={rows}",
        f"-DFEATURES={made.features}",
        f"-DSCORES={len(made.bias)}",
        f"-DINPUT=WNN_INPUT_{made.input.name.upper()}",
    ]


def _on_host(folder: pathlib.Path, made: Plan, text: str, rows: np.ndarray, optimise: str) -> Run:
    """Compile and run a header on this machine.

    Raises:
      ValueError: gcc is missing, the header does not compile, or the program failed.
    """
    files.write(folder / "model.h", text.encode())
    files.write(folder / "main.c", harness.HOST.encode())
    files.write(folder / "rows.bin", rows.tobytes())
    extra = ["-DSELFTEST"] if "wnn_selftest" in text else []
    flags = [*_STRICT, optimise, *_defined(made, len(rows)), *extra]
    tools.run(folder, "gcc", *flags, "-o", "model", "main.c")
    seconds = float(tools.run(folder, "./model"))
    found = np.fromfile(folder / "scores.bin", np.float64).reshape(len(rows), -1)
    return Run(found[:, 1:], found[:, 0], {"microseconds": 1e6 * seconds})


def _on_avr(folder: pathlib.Path, made: Plan, text: str, rows: np.ndarray) -> Run:
    """Compile a header for an Arduino Uno and simulate it, with as many rows at a time as its flash holds.

    Raises:
      ValueError: a program is missing, the header does not compile, or the model does not fit.
    """
    tools.need("avr-gcc", "avr-size", "simavr")
    files.write(folder / "model.h", text.encode())
    files.write(folder / "main.c", harness.AVR.encode())
    each = rows[0].nbytes
    flash, ram = _built(folder, made, rows[:1])
    flash -= each
    room = (_FLASH - flash) // each
    if room < 1 or ram > _RAM:
        raise ValueError(
            f"program and tables take {flash:,} of {_FLASH:,} bytes of flash, and {ram:,} of {_RAM:,} "
            "bytes of memory, which leaves no room for a row: give a smaller model"
        )
    found = []
    for first in range(0, len(rows), room):
        some = rows[first : first + room]
        _built(folder, made, some)
        said = tools.run(folder, "simavr", "-m", "atmega328p", "-f", "16000000", "model.elf")
        plain = re.sub("\x1b\\[[0-9;]*m", "", said)  # the simulator colours what is sent
        found += [int(word, 16) for word in re.findall(r"\b[0-9a-f]{8}\b", plain)]
    table = np.array(found, np.int64).reshape(len(rows), -1)
    answers = table[:, 1].astype(np.uint32).view(np.float32).astype(np.float64)
    scores = table[:, 2:].astype(np.uint32).view(np.int32).astype(np.float64)
    return Run(scores, answers, {"cycles": tuple(table[:, 0].tolist()), "flash": flash, "ram": ram})


def _built(folder: pathlib.Path, made: Plan, rows: np.ndarray) -> tuple[int, int]:
    """Compile a program with rows, and return its bytes of flash and of static memory."""
    data = np.frombuffer(rows.tobytes(), np.uint8)
    files.write(folder / "rows.h", header.array("rows", "uint8_t", data).encode())
    flags = ["-mmcu=atmega328p", "-DF_CPU=16000000UL", *_STRICT, "-Os", *_defined(made, len(rows))]
    tools.run(folder, "avr-gcc", *flags, "-o", "model.elf", "main.c")
    said = tools.run(folder, "avr-size", "model.elf").splitlines()[1].split()
    text, data_bytes, bss = map(int, said[:3])
    return text + data_bytes, data_bytes + bss


def _simulated(folder: pathlib.Path, backend: str, drawn: Circuit, text: str, rows: np.ndarray) -> Run:
    """Simulate a circuit.

    Raises:
      ValueError: a simulator is missing or refuses the file.
    """
    made = drawn.plan
    empty = np.zeros((len(rows), len(drawn.adders)), np.int64) + drawn.low
    files.write(folder / "model.v", text.encode())
    files.write(folder / "bench.v", bench.bench(drawn, len(rows), "model").encode())
    files.write(folder / "model_rows.hex", bench.hexadecimal(*bench.words(drawn, rows)).encode())
    files.write(folder / "model_expected.hex", bench.hexadecimal(*bench.packed(drawn, empty)).encode())
    if backend == "iverilog":
        tools.need("iverilog", "vvp")
        tools.run(folder, "iverilog", "-g2005", "-Wall", "-s", "wnn_tb", "-o", "model", "bench.v", "model.v")
        said = tools.run(folder, "vvp", "-n", "model", "+print")
    else:
        tools.need("verilator", "g++", "make")
        flags = [
            "--binary",
            "--timing",
            "-Wno-fatal",
            "-MAKEFLAGS",
            "OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0",
        ]
        flags += ["--top-module", "wnn_tb"]
        tools.run(folder, "verilator", *flags, "bench.v", "model.v")
        said = tools.run(folder, str(folder / "obj_dir" / "Vwnn_tb"), "+print")
    lines = re.findall(r"^row ([0-9a-fx]+)", said, re.M)
    if len(lines) != len(rows) or any("x" in line for line in lines):
        raise tools.FailedProgramError(
            f"{backend} gave {len(lines)} outputs for {len(rows)} rows: {said[:200]!r}"
        )
    scores, answers = bench.unpacked(drawn, lines)
    if not made.labels:
        answers = np.float32(made.offset) + np.float32(made.scale) * scores[:, 0].astype(np.float32)
    return Run(scores.astype(np.float64), answers.astype(np.float64), {})
