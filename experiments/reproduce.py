"""List the runs behind the published numbers, or run some again and compare.

python -m experiments.reproduce
python -m experiments.reproduce --row=bitwise-count-c2@0
python -m experiments.reproduce --all --minutes=30

A run agrees if each of its rows is equal to the published one, or within the tolerance that results/runs.toml
states for it. Times and speeds are not compared, except by runs that state a factor.
"""

import contextlib
import dataclasses
import fnmatch
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import time

from experiments.reporting import rows
from experiments.shared import tables
from experiments.shared.commandline import Command, Group
from wnn_jax import checks, files
from wnn_jax.saving import progress


@dataclasses.dataclass(frozen=True)
class Options:
    """Which runs are run again.

    Attributes:
      row: names of runs, with * for any letters; a name without its @SEED means all seeds.
      all: run all of them, the shortest first.
      minutes: with --all, leave out runs that would not end within this number of minutes.
      record: keep the new rows as the published ones instead of comparing.
      resume: do not run again what has ended in the --workdir before.
    """

    row: tuple[str, ...] = ()
    all: bool = False
    minutes: float | None = None
    record: bool = False
    resume: bool = False

    def __post_init__(self):
        checks.fields(self, minutes=checks.Limits(above=0))
        if self.minutes is not None and not self.all:
            raise ValueError(f"--minutes={self.minutes} limits --all: add --all")
        if self.record and not (self.row or self.all):
            raise ValueError("--record needs the runs to keep: name them with --row, or take --all")


def main(options) -> int:
    """List or run; 1 if a run does not agree with its rows."""
    chosen, kept, planned = options.runs, rows.Kept(), rows.plan()
    if not (chosen.row or chosen.all):
        for run in planned.values():
            print(_listed(run, kept))
        return 0
    workdir = tables.make_workdir(options.common.workdir)
    selected = _select(chosen, planned, kept)
    failed = 0
    for run in selected:
        verdict, fine = _again(run, kept, workdir / run.name, chosen)
        print(f"{run.name}: {verdict}", flush=True)
        failed += not fine
    left = len(planned) - len(selected)
    print(
        f"{len(selected) - failed} of {len(selected)} runs agree; {left} runs were not asked for or too long"
    )
    return int(failed > 0)


def _listed(run: rows.Run, kept: rows.Kept) -> str:
    head = kept.heads.get(run.name, {})
    took = f"{head['command_seconds']:,.0f} s" if "command_seconds" in head else "no time"
    count = len(kept.rows.get(run.name, ()))
    return f"{run.name:24}{count:5} rows{took:>10}  {run.line}"


def _select(chosen: Options, planned: dict[str, rows.Run], kept: rows.Kept) -> list[rows.Run]:
    """The runs to run, in the order of the plan; with --all the shortest first.

    Raises:
      ValueError: a name fits no run.
    """
    if not chosen.all:
        found: dict[str, rows.Run] = {}
        for name in chosen.row:
            fits = {
                x: run for x, run in planned.items() if fnmatch.fnmatch(x, name) or x.startswith(f"{name}@")
            }
            if not fits:
                raise ValueError(f"no run is named {name}: python -m experiments.reproduce lists them")
            found |= fits
        return list(found.values())
    seconds = {name: kept.heads.get(name, {}).get("command_seconds", float("inf")) for name in planned}
    order = sorted(planned.values(), key=lambda run: seconds[run.name])
    if chosen.minutes is None:
        return order
    budget, within = 60 * chosen.minutes, []
    for run in order:
        budget -= seconds[run.name]
        if budget < 0:
            break
        within.append(run)
    return within


def _again(run: rows.Run, kept: rows.Kept, workdir: pathlib.Path, chosen: Options) -> tuple[str, bool]:
    """Run it and compare, or keep its rows: the verdict in words, and whether it is fine."""
    head = kept.heads.get(run.name, {})
    corpus = head.get("config", {}).get("text", {}).get("corpus")
    python = head.get("versions", {}).get("python")
    if corpus == "builtin" and python != platform.python_version() and not chosen.record:
        # CPython's documentation is another text in every version.
        return f"not compared: its text is the documentation of Python {python}", True
    try:
        seconds = _run(run, workdir, chosen.resume)
    except ValueError as error:
        return f"did not run: {error}", False
    if chosen.record:
        rows.record(run, workdir, seconds)
        return f"kept, {seconds:,.0f} s", True
    new_head, new = rows.read_workdir(workdir)
    if not head:
        return "has no published rows: keep them with --record", False
    if "printed" in head:
        new = rows.narrowed(kept.rows[run.name], new)
    apart = list(rows.differences(run, kept.rows[run.name], new))
    far = [row for row, distance in apart if distance > 1]
    where = "" if new_head["device"] == head["device"] else f" (published on {head['device']})"
    if far:
        return (
            f"DIFFERS in {len(far)} of {len(apart)} rows, first in {far[0]!r}{where}; rows in {workdir}",
            False,
        )
    same = not any(distance for _, distance in apart)
    limit = f"a factor of {run.factor:g} in time" if run.factor else f"its tolerance of {run.tolerance:g}"
    return f"{'equal' if same else f'within {limit}'}, {len(apart)} rows, {seconds:,.0f} s{where}", True


def _run(run: rows.Run, workdir: pathlib.Path, resume: bool) -> float:
    """Run the command in a process of its own; the seconds that it took.

    Raises:
      ValueError: the data sets are not there, or the command failed.
    """
    done = workdir / "done.sealed"
    if resume and done.exists():
        with contextlib.suppress(files.Damaged):  # a run whose end is not known is run again
            body = files.opened("run", 1, files.read(done, 1 << 20), str(done))
            with files.contents(str(done)):
                ended = json.loads(body)
                if ended["command"] == run.line and ended["made_with"] == progress.made_with():
                    return float(ended["seconds"])
    data = os.environ.get(rows.DATA[1:])
    if rows.DATA in run.command and not data:
        raise ValueError("it reads data sets: set WNN_JAX_DATA to their folder")
    if workdir.exists() and any(workdir.iterdir()) and not (workdir / "results.jsonl").exists():
        raise ValueError(f"{workdir} holds something else than a run: choose another --workdir")
    shutil.rmtree(workdir, ignore_errors=True)
    arguments = run.command.replace(rows.DATA, data or "").replace("$WORKDIR", str(workdir)).split()
    command = [sys.executable, "-m", f"experiments.{arguments[0]}", *arguments[1:], f"--workdir={workdir}"]
    begun = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = ended.stderr.strip().splitlines() or ["it said nothing"]
        raise ValueError(f"exit code {ended.returncode}: {said[-1]}")
    seconds = time.perf_counter() - begun
    tables.make_workdir(str(workdir))
    ended = {"command": run.line, "seconds": seconds, "made_with": progress.made_with()}
    files.write(done, files.seal("run", 1, json.dumps(ended).encode()))
    return seconds


COMMAND = Command("reproduce", __doc__, main, runs=Group(Options, repeats=("row",)))

if __name__ == "__main__":
    sys.exit(COMMAND.run())
