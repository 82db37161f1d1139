"""The runs of a report: folders with a ``results.jsonl``, or a folder of kept results such as ``results/``.

A report shows what can be read. A line that is not a row is named and left out; it stops nothing.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from experiments.reporting.rows import HEAD

_LONGEST = 1 << 20  # bytes of a line; a longer one is no row of ours
_NAMED = 10  # bad lines of a file that are named one by one
_DEEP = 3  # folders below a given one that are looked into
_NAME = 200  # characters of the name of a row that are kept


@dataclasses.dataclass
class Run:
    """One run of one command.

    Attributes:
      name: the folder of the run, or its name in a file of kept rows.
      base: the name without the seed behind an @; runs of one base differ in the seed alone.
      place: the file that the rows were read from.
      head: what all rows share: the command, the settings, the versions, the device, the seed, the time.
      rows: the rows, in the order they were written.
      more: the number of rows behind the last one that is kept here.
    """

    name: str
    base: str
    place: str
    head: dict[str, Any]
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    more: int = 0

    def records(self) -> list[dict[str, Any]]:
        """The rows, each with what all rows of the run share."""
        return [{**self.head, **row} for row in self.rows]

    def take(self, row: dict[str, Any], most: int) -> None:
        """Keep a row, or count it where the run has the most rows already."""
        if len(self.rows) < most:
            self.rows.append(row)
        else:
            self.more += 1


def read(paths: Sequence[str | pathlib.Path], most: int = 1000) -> tuple[list[Run], list[str]]:
    """Read the runs of some folders.

    Args:
      paths: folders of runs, folders that hold such folders, and folders of kept results.
      most: the number of rows of a run that are kept; those behind them are counted.

    Returns:
      The runs, and a line for everything that could not be read.

    Raises:
      ValueError: a path is not a folder.
    """
    runs: list[Run] = []
    problems: list[str] = []
    for given in paths:
        folder = pathlib.Path(given)
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder: give folders that hold a results.jsonl")
        found = _files(folder)
        if not found:
            problems.append(f"{folder} holds no results.jsonl")
        for path in found:
            own = _kept(path, most, problems) if path.name != "results.jsonl" else _run(path, most, problems)
            if not own:
                problems.append(f"{path} holds no rows")
            runs += own
    return runs, problems


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of rows in a folder, or in the folders below it."""
    if (folder / "results.jsonl").is_file():
        return [folder / "results.jsonl"]
    if (folder / "runs.toml").is_file():
        return sorted(folder.glob("*.jsonl"))
    levels = ("*/" * deep + "results.jsonl" for deep in range(1, _DEEP + 1))
    return sorted(path for level in levels for path in folder.glob(level) if path.is_file())


def _run(path: pathlib.Path, most: int, problems: list[str]) -> list[Run]:
    """The runs that wrote into one folder, one after another."""
    runs: list[Run] = []
    known = None
    for number, record in _records(path, problems):
        if not isinstance(record.get("row"), str):
            problems.append(f"{path} line {number} is not a row: it has no name")
            continue
        head = {key: record.pop(key) for key in (*HEAD, "command") if key in record}
        began = head.get("experiment"), head.get("time"), head.get("command")
        if not runs or began != known:
            base = path.parent.name or path.parent.resolve().name
            name = f"{base} ({len(runs) + 1})" if runs else base
            runs.append(Run(name, name, str(path), head))
            known = began
        run = runs[-1]
        record["row"] = record["row"][:_NAME]
        own = {key: value for key, value in head.items() if run.head.get(key) != value}
        run.take({**record, **own}, most)
    return runs


def _kept(path: pathlib.Path, most: int, problems: list[str]) -> list[Run]:
    """The runs of one file of kept rows."""
    runs: dict[str, Run] = {}
    for number, record in _records(path, problems):
        name = record.pop("run", None)
        if not isinstance(name, str):
            problems.append(f"{path} line {number} is not a row: it names no run")
        elif "row" not in record:
            runs.setdefault(name, Run(name, name.partition("@")[0], str(path), record))
        elif name in runs and isinstance(record["row"], str):
            runs[name].take(record, most)
        else:
            problems.append(f"{path} line {number} is not a row of a run that has a head")
    return list(runs.values())


def _records(path: pathlib.Path, problems: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a file with the numbers of their lines; a bad line is named in ``problems``."""
    bad = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file), 1):
                record = _record(line)
                if record is not None:
                    yield number, record
                elif line is None or line.strip():
                    bad += 1
                    if bad <= _NAMED:
                        problems.append(f"{path} line {number} is not a whole row: it is left out")
    except OSError as error:
        problems.append(f"{path} cannot be read: {error.strerror}")
    if bad > _NAMED:
        problems.append(f"{path} has {bad - _NAMED:,} more lines that are not rows")


def _lines(file: Any) -> Iterator[bytes | None]:
    """The lines of a file; None in place of one that is too long."""
    while line := file.readline(_LONGEST):
        if len(line) == _LONGEST and not line.endswith(b"\n"):
            while (rest := file.readline(_LONGEST)) and not rest.endswith(b"\n"):
                pass
            yield None
        else:
            yield line


def _record(line: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(line) if line else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
