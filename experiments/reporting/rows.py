"""The rows behind every published number: `results/runs.toml` says which runs there are, `results/*.jsonl`
keeps what each of them gave.

A file of rows has two kinds of lines. The head of a run holds what its rows share: the command, the
settings, the versions, the device, the seed, the time, and the seconds that the command took. The lines
behind a head are the rows of that run. Rows of others, which are not run here, stand in ``elsewhere.jsonl``
with their source. A head with the key ``printed`` has rows that were not kept when they were measured: they
hold only the numbers that were printed then.
"""

import dataclasses
import json
import os
import pathlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments.reporting import lines
from wnn_jax import files

_MOST = 1 << 30  # bytes of a file of rows
FOLDER = pathlib.Path(__file__).parents[2] / "results"
_SMALL = 0.1  # differences of smaller numbers are judged as those of this one
# Differences of two losses in nats: however small, each is known only as well as the losses.
_OF_LOSSES = ("gap", "int8", "copy", "nats", "change")
_YOUNG = ("word_ppl", "tokens_per_second_by_tenth")  # measures that rows of earlier versions lack
DATA = "$WNN_JAX_DATA"  # stands in rows and commands for the folder of the data sets
# Rows of programs that take no seed, or may not be installed.
_UNSEEDED = ("wisardpkg", "zstd --ultra -22", "zpaq -m5")
# Keys of a record that all rows of a run share; `Results` writes them into each.
HEAD = ("experiment", "train_tokens", "eval_tokens", "data", "config", "seed", "seeds", "versions", "device")
HEAD += ("backend", "time", "scored_sha256")


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a command whose rows are published.

    Attributes:
      name: the entry of ``runs.toml``, and behind an @ the seed where there are several.
      system: the file of rows that keeps it, without its ending.
      command: the arguments after ``python -m experiments.``; ``$WNN_JAX_DATA`` is the folder of the data
        sets.
      tolerance: the largest difference between a published number and a new one, as a share of the published
        number, or of a tenth where the number is smaller; 0 asks for the same digits.
      factor: the largest ratio between a published time and a new one; 0: times are not compared.
    """

    name: str
    system: str
    command: str
    tolerance: float
    factor: float

    @property
    def line(self) -> str:
        """The command as a user types it."""
        return f"python -m experiments.{self.command}"


def plan(folder: pathlib.Path = FOLDER) -> dict[str, Run]:
    """All runs of ``runs.toml``, by name, in its order.

    Raises:
      ValueError: two entries have one name, or an entry has a field that is not known.
    """
    entries = tomllib.loads((folder / "runs.toml").read_text(encoding="utf-8"))["run"]
    runs: dict[str, Run] = {}
    for entry in entries:
        unknown = set(entry) - {"name", "system", "command", "seeds", "tolerance", "factor"}
        if unknown:
            raise ValueError(f"runs.toml: {entry['name']} has the unknown field {sorted(unknown)[0]!r}")
        for seed in entry.get("seeds", [None]):
            name = entry["name"] if seed is None else f"{entry['name']}@{seed}"
            command = entry["command"] if seed is None else f"{entry['command']} --seed={seed}"
            if name in runs:
                raise ValueError(f"runs.toml has two runs of the name {name}")
            limits = entry.get("tolerance", 0.0), entry.get("factor", 0.0)
            runs[name] = Run(name, entry["system"], command, *limits)
    return runs


class Kept:
    """All rows of a folder of results.

    Attributes:
      heads: what the rows of a run share, by the run's name.
      rows: the rows of a run, in the order they came, by the run's name.
    """

    def __init__(self, folder: pathlib.Path = FOLDER):
        self.heads: dict[str, dict[str, Any]] = {}
        self.rows: dict[str, list[dict[str, Any]]] = {}
        for path in sorted(folder.glob("*.jsonl")):
            for number, line in enumerate(_lines(path), 1):
                self._take(line, f"{path.name} line {number}")

    def _take(self, record: dict[str, Any], where: str) -> None:
        if not isinstance(record.get("run"), str):
            raise ValueError(f"{where}: the record says no run")
        run = record.pop("run")
        if "row" in record:
            if run not in self.heads:
                raise ValueError(f"{where}: the row {record['row']!r} stands before the head of {run}")
            self.rows[run].append(record)
        elif run in self.heads:
            raise ValueError(f"{where}: {run} has two heads")
        else:
            self.heads[run], self.rows[run] = record, []


def read_workdir(workdir: pathlib.Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The head and the rows of a run that has just ended.

    Raises:
      ValueError: the command left no rows.
    """
    path = workdir / "results.jsonl"
    records = [_without_folders(line) for line in _lines(path)] if path.exists() else []
    if not records:
        raise ValueError(f"{path} holds no rows")
    for one in records:
        one.pop("command", None)  # names the folders of this machine; the plan has the command
    head = {key: records[0][key] for key in HEAD if key in records[0]}
    # A row of a command with many seeds says which one it is of.
    own = {key for record in records for key in head if record.get(key) != head[key]}
    head = {key: value for key, value in head.items() if key not in own}
    rows = [{key: value for key, value in record.items() if key not in head} for record in records]
    return head, rows


def record(run: Run, workdir: pathlib.Path, seconds: float, folder: pathlib.Path = FOLDER) -> None:
    """Keep the rows of a run, in place of those it had.

    Args:
      run: the run.
      workdir: where its command wrote ``results.jsonl``.
      seconds: the time that the whole command took.
      folder: the folder of results.
    """
    head, rows = read_workdir(workdir)
    first = {"run": run.name, "command": run.line, "command_seconds": round(seconds, 1), **head}
    path = folder / f"{run.system}.jsonl"
    old = zip(_lines(path), path.read_bytes().decode().splitlines(), strict=True) if path.exists() else ()
    kept = [line for found, line in old if found["run"] != run.name]
    new = [json.dumps(first), *(json.dumps({"run": run.name, **row}) for row in rows)]
    order = {name: position for position, name in enumerate(plan(folder))}
    # Lines of a run stay in their order: the sort is stable.
    sorted_lines = sorted(kept + new, key=lambda line: order.get(json.loads(line)["run"], -1))
    files.write(path, ("\n".join(sorted_lines) + "\n").encode())


def _lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The records of a file of rows.

    Raises:
      ValueError: a line is not a record, as where a full disk or a killed program has left half of one.
    """
    records = []
    for number, line in enumerate(files.read(path, _MOST).splitlines(), 1):
        found = lines.record(line)
        if found is None:
            raise ValueError(f"{path} line {number} is not a whole row: remove that line")
        records.append(found)
    return records


def varies(key: str) -> bool:
    """Whether a key of a row holds a time, a speed, memory that was used, or the size of the source code: no
    two machines or versions share those.
    """
    return key in ("ns", "peak_mib", "bound", "time", "code_bytes") or "second" in key


def differences(
    run: Run, published: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, float]]:
    """The names of rows with how far each is from the published one, in tolerances: 0 means equal, up to 1
    within the tolerance. A row that one side lacks is infinitely far. Rows of one name are compared in order.
    Rows of programs without a seed are left out.
    """
    places: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for side in (published, new):
        count: dict[str, int] = {}
        for row in (row for row in side if row["row"] not in _UNSEEDED):
            place = row["row"], count.setdefault(row["row"], 0)
            count[row["row"]] += 1
            places.setdefault(place, []).append(row)
    for (name, _), pair in places.items():
        yield name, _distance(run, *pair) if len(pair) == 2 else float("inf")


def narrowed(
    published: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """New rows with nothing but the rows and the keys that the published rows have."""
    keys = {row["row"]: row.keys() for row in published}
    return [{key: row[key] for key in keys[row["row"]]} for row in new if row["row"] in keys]


def _distance(run: Run, published: Mapping[str, Any], new: Mapping[str, Any]) -> float:
    farthest = 0.0
    for key in published.keys() | new.keys():
        if key in _YOUNG and key not in published:
            continue
        if key in published and key in new and varies(key):
            if run.factor and published[key] and new[key]:
                ratio = max(published[key] / new[key], new[key] / published[key])
                farthest = max(farthest, float("inf") if ratio > run.factor else 0.5)
            continue
        farthest = max(farthest, _apart(key, published.get(key), new.get(key), run.tolerance))
    return farthest


def _apart(key: str, a: Any, b: Any, tolerance: float) -> float:
    """How far two values of a key are apart, in tolerances."""
    if a == b:
        return 0.0
    if type(a) in (int, float) and type(b) in (int, float):
        least = 1.0 if key in _OF_LOSSES else _SMALL
        return abs(a - b) / (tolerance * max(abs(a), least)) if tolerance else float("inf")
    if isinstance(a, Mapping) and isinstance(b, Mapping) and a.keys() == b.keys():
        return max((_apart(key, a[key], b[key], tolerance) for key in a if not varies(key)), default=0.0)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return max((_apart(key, x, y, tolerance) for x, y in zip(a, b, strict=True)), default=0.0)
    return float("inf")


def _without_folders(value: Any) -> Any:
    """The value with the name of the data folder in place of the folder itself."""
    if isinstance(value, Mapping):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    folder = os.environ.get(DATA[1:])
    return value.replace(folder, DATA) if folder and isinstance(value, str) else value
