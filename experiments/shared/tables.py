"""The rows of a run: a table on the terminal, lines in ``results.jsonl``, and the folder of that file."""

import datetime
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.shared import machine, running
from wnn_jax import files
from wnn_jax.data import text
from wnn_jax.data.shards import ShardedCorpus
from wnn_jax.saving import progress

COLUMNS = ("ce", "ppl", "accuracy", "bits_per_byte", "word_ppl", "seconds")
_DIGITS = 16  # of a digest that rows hold
_FORMATS = {
    "ce": "{:.4f}",
    "ppl": "{:,.1f}",
    "accuracy": "{:.2%}",
    "bits_per_byte": "{:.4f}",
    "word_ppl": "{:,.1f}",
}


def make_workdir(path: str) -> pathlib.Path:
    """Make a folder and check that it can be written, before any work is done.

    Raises:
      ValueError: the folder cannot be made or written.
    """
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
        rows = folder / "results.jsonl"
        if rows.exists() and not (rows.is_file() and os.access(rows, os.W_OK)):
            raise ValueError(f"cannot write {rows}: choose another --workdir")
    except OSError as error:
        raise ValueError(f"cannot write to the workdir {folder}: {error.strerror}") from error
    running.work_in(folder)
    return folder


class Results:
    """The rows of one run. Each row is appended to ``results.jsonl`` at once; `print` shows the table."""

    def __init__(self, workdir: pathlib.Path, common: Mapping[str, Any]):
        self._path = workdir / "results.jsonl"
        self._common = {
            **common,
            "versions": machine.versions(),
            "device": machine.device(),
            "backend": machine.backend_name(),
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        if running.line():
            self._common["command"] = running.line()
        self.rows: list[dict[str, Any]] = []

    def add(self, row: str, **values: Any) -> None:
        """Append a row to the file, whole or not at all.

        Raises:
          ValueError: the file cannot be written.
        """
        # An unknown value is NaN here, null in the file and a dash in the table.
        known = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
        record = {"row": row, **known, **self._common}
        files.append(self._path, json.dumps(record))
        self.rows.append(record)

    def print(self, kinds: Mapping[str, str] | None = None) -> None:
        """Print the table, in the order in which the rows were added.

        Args:
          kinds: the titles of the kinds of rows that are not to be ranked together, by the ``kind`` of a row;
            each kind has a table of its own. A row without a kind is of the first.
        """
        width = max(len(row["row"]) for row in self.rows)
        heads = "".join(f"{name.replace('_', ' '):>15}" for name in COLUMNS)
        first = next(iter(kinds or {"": ""}))
        for kind, title in (kinds or {"": ""}).items():
            rows = [row for row in self.rows if not kinds or row.get("kind", first) == kind]
            if title and rows:
                print(f"\n{title}")
            if rows:
                print(f"{'':{width}}{heads}")
            for row in rows:
                values = ((_FORMATS.get(name, "{:.1f}"), row.get(name)) for name in COLUMNS)
                print(f"{row['row']:{width}}" + "".join(f"{_cell(*pair):>15}" for pair in values))


def _cell(form: str, value: float | None) -> str:
    """Write a number; one that would touch its neighbour has three digits and an exponent."""
    written = "-" if value is None else form.format(value)
    return written if len(written) < 15 or value is None else f"{value:.3g}"


def print_grid(title: str, rows: Mapping[str, Sequence[str]], columns: Sequence[str]) -> None:
    """Print a table of cells that are text already."""
    width = max(len(title), *map(len, rows))
    wide = max(8, 2 + max(len(x) for cells in (*rows.values(), columns) for x in cells))
    print(f"\n{title:{width}}" + "".join(f"{name:>{wide}}" for name in columns))
    for name, cells in rows.items():
        print(f"{name:{width}}" + "".join(f"{cell:>{wide}}" for cell in cells))


def begin(
    experiment: str,
    workdir: pathlib.Path,
    corpus: text.Corpus | ShardedCorpus,
    config: Mapping[str, Any],
    seed: int,
) -> Results:
    """Start the results of a command that scores the test text of a corpus, and print the sizes of the texts.

    Args:
      experiment: the name of the command.
      workdir: the folder of ``results.jsonl``.
      corpus: the corpus.
      config: all settings that decide the numbers, as JSON data.
      seed: the seed of the run.
    """
    print(
        f"{corpus.description}: {len(corpus.train):,} training tokens, {len(corpus.test):,} evaluated, "
        f"{corpus.vocabulary:,} ids; {machine.device()}, {machine.backend_name()}; seed {seed}"
    )
    sizes = {"train_tokens": len(corpus.train), "eval_tokens": len(corpus.test)}
    scored = progress.digest(np.asarray(corpus.test, np.int32))[:_DIGITS]
    about = {"experiment": experiment, **sizes, "scored_sha256": scored}
    return Results(workdir, {**about, "config": config, "seed": seed})
