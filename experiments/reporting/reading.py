"""The runs of a report: folders with a ``results.jsonl``, or a folder of kept results such as ``results/``.

A report shows what can be read. A line that is not a row is named and left out; it stops nothing.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from experiments.reporting import lines
from experiments.reporting import views as views_of
from experiments.reporting.following import Progress
from experiments.reporting.rows import HEAD
from experiments.shared.running import PROGRESS

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
      progress: the progress of the command that works in the folder, or last worked in it.
      views: the pictures that the command made.
    """

    name: str
    base: str
    place: str
    head: dict[str, Any]
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    more: int = 0
    progress: Progress | None = None
    views: views_of.Views = dataclasses.field(default_factory=views_of.Views)

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
        places = kept_files(folder) or workdirs(folder)
        if not places:
            problems.append(f"{folder} holds no results.jsonl")
        for place in places:
            own = _kept(place, most, problems) if place.is_file() else _workdir(place, most, problems)
            if not own:
                problems.append(f"{place} holds no rows")
            runs += own
    return runs, problems


def kept_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The files of rows in a folder of kept results; none where it is no such folder."""
    return sorted(folder.glob("*.jsonl")) if (folder / "runs.toml").is_file() else []


def workdirs(folder: pathlib.Path) -> list[pathlib.Path]:
    """The workdirs of commands: the folder itself, or those below it."""
    if any((folder / name).is_file() for name in ("results.jsonl", PROGRESS)):
        return [folder]
    below = ("*/" * deep + name for deep in range(1, _DEEP + 1) for name in ("results.jsonl", PROGRESS))
    return sorted({path.parent for pattern in below for path in folder.glob(pattern)})


def _workdir(folder: pathlib.Path, most: int, problems: list[str]) -> list[Run]:
    """The runs of a workdir; one without rows where a command has not written any yet."""
    path, progress = folder / "results.jsonl", Progress(folder / PROGRESS)
    runs = _run(path, most, problems) if path.is_file() else []
    if progress.update():
        if not runs or progress.command not in (None, runs[-1].head.get("command")):
            name = folder.name or folder.resolve().name
            head = {"command": progress.command, "time": progress.began}
            runs.append(
                Run(f"{name} ({len(runs) + 1})" if runs else name, name, str(folder / PROGRESS), head)
            )
        runs[-1].progress = progress
    if runs:
        runs[-1].views = views_of.read(folder, problems)
    return runs


def _run(path: pathlib.Path, most: int, problems: list[str]) -> list[Run]:
    """The runs that wrote into one folder, one after another."""
    runs: list[Run] = []
    known = None
    for number, record in lines.records(path, problems):
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
    for number, record in lines.records(path, problems):
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
