"""What every command shares: flags, errors, the results table, ``results.jsonl``."""

import datetime
import importlib.metadata
import json
import math
import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import jax
import psutil
from absl import app, flags, logging

import wnn_jax
from wnn_jax.ram import backend

COLUMNS = ("ce", "ppl", "accuracy", "bits_per_byte", "seconds")
_FORMATS = {"ce": "{:.4f}", "ppl": "{:,.1f}", "accuracy": "{:.2%}", "bits_per_byte": "{:.4f}"}


def define_common_flags(experiment: str) -> None:
    """Flags of every command."""
    flags.DEFINE_integer("seed", 0, "Seed of everything drawn at random.")
    flags.DEFINE_string("workdir", f"runs/{experiment}", "Folder for results.jsonl and the pictures.")


def run(main: Callable[[], None]) -> None:
    """Run a command: a bad flag or input ends it with one line on stderr and exit code 2."""

    def parse(arguments: Sequence[str]) -> list[str]:
        try:
            rest = flags.FLAGS(arguments)
        except flags.Error as error:
            _stop(error)
        if len(rest) > 1:
            _stop(ValueError(f"unexpected argument {rest[1]!r}: every option is a --flag"))
        return rest

    def guarded(_: Sequence[str]) -> None:
        # jax and orbax narrate at INFO and WARNING; a command's output is its table.
        logging.set_verbosity(logging.ERROR)
        try:
            main()
        except (ValueError, OSError) as error:
            _stop(error)
        except KeyboardInterrupt:
            sys.exit(130)

    app.run(guarded, flags_parser=parse)


def _stop(error: Exception) -> NoReturn:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(2)


def make_workdir(path: str) -> pathlib.Path:
    """The folder, made and seen to be writable before any work is done.

    Raises:
      ValueError: it cannot be made or written.
    """
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"cannot write to the workdir {folder}: {error.strerror}") from error
    return folder


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
    """What a number depends on besides the code of the model."""
    names = ("jax", "jaxlib", "numpy")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"wnn_jax": wnn_jax.__version__, "python": platform.python_version(), **found}


class Results:
    """Rows of one run: printed as a table, appended to ``results.jsonl`` as they come."""

    def __init__(self, workdir: pathlib.Path, common: Mapping[str, Any]):
        self._path = workdir / "results.jsonl"
        self._common = {
            **common,
            "versions": versions(),
            "device": device(),
            "backend": backend_name(),
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        self.rows: list[dict[str, Any]] = []

    def add(self, row: str, **values: Any) -> None:
        """Append one object, in a single write, so a killed run leaves whole lines."""
        # What is not known of a row is null in the file and a dash in the table.
        known = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
        record = {"row": row, **known, **self._common}
        with open(self._path, "a") as file:
            file.write(json.dumps(record) + "\n")
        self.rows.append(record)

    def print(self) -> None:
        """The table, in the order the rows came."""
        width = max(len(row["row"]) for row in self.rows)
        print(f"{'':{width}}" + "".join(f"{name.replace('_', ' '):>15}" for name in COLUMNS))
        for row in self.rows:
            values = ((_FORMATS.get(name, "{:.1f}"), row[name]) for name in COLUMNS)
            cells = ("-" if value is None else form.format(value) for form, value in values)
            print(f"{row['row']:{width}}" + "".join(f"{cell:>15}" for cell in cells))


def print_grid(title: str, rows: Mapping[str, Sequence[str]], columns: Sequence[str]) -> None:
    """A table of ready cells."""
    width = max(len(title), *map(len, rows))
    wide = max(8, 2 + max(len(x) for cells in (*rows.values(), columns) for x in cells))
    print(f"\n{title:{width}}" + "".join(f"{name:>{wide}}" for name in columns))
    for name, cells in rows.items():
        print(f"{name:{width}}" + "".join(f"{cell:>{wide}}" for cell in cells))


def clock(call: Callable[[], Any], repeats: int) -> float:
    """Median seconds of a call, after one that compiles."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def define_text_flags() -> None:
    """Flags of every command that reads text."""
    flags.DEFINE_string("corpus", "builtin", "builtin, wikitext2, or a path to UTF-8 text or a token file.")
    flags.DEFINE_string("eval_corpus", None, "Path to the text to score; default: a split of the corpus.")
    flags.DEFINE_string(
        "tokenizer",
        "bytes",
        "gpt2, bpe:SIZE (trained on the training split), bytes, or sp:PATH (SentencePiece).",
    )
    flags.DEFINE_enum("overlap", "refuse", ["refuse", "drop"], "Training lines that the scored text repeats.")
    flags.DEFINE_integer("train_tokens", None, "Train on the first so many tokens.")


def text_settings() -> dict[str, Any]:
    """The text flags as the arguments of `wnn_jax.text.load`."""
    names = ("corpus", "tokenizer", "eval_corpus", "train_tokens", "overlap")
    return {name: getattr(flags.FLAGS, name) for name in names}


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
