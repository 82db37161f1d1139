"""The progress of a command, read from the lines that it writes into its workdir as it goes."""

import collections
import itertools
import pathlib
from typing import Any

import psutil

from experiments.reporting import lines, measures

_KEPT = 20_000  # steps that are kept; older ones are forgotten
_MOST = 1 << 24  # bytes that are read in one go
_LOSSES = ("best", "mean", "validation", "loss")


class Progress:
    """The progress of one workdir. `update` reads what is new; a file that is missing has no progress.

    Args:
      path: the file of lines.

    Attributes:
      steps: the last steps of the command that began last: the work, how much of it is done, and the seconds
        since the command began.
      count: the number of its steps, also of those that are forgotten.
      command: its command line; None where it is not known.
      began: when it began.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.steps: collections.deque[dict[str, Any]] = collections.deque(maxlen=_KEPT)
        self.count = 0
        self.command: str | None = None
        self.began = ""
        self._process: tuple[int, float] | None = None
        self._ended = ""
        self._offset = 0

    def update(self) -> bool:
        """Read the new lines; half a line waits for its end. Return whether there is any progress."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, 2) < self._offset:  # the file was replaced
                    self._offset = 0
                while True:
                    file.seek(self._offset)
                    data = file.read(_MOST)
                    end = data.rfind(b"\n") + 1
                    self._offset += end or (len(data) if len(data) == _MOST else 0)
                    for line in data[:end].splitlines():
                        self._take(lines.record(line) or {})
                    if not end:
                        break
        except OSError:
            pass
        return bool(self._process or self.steps)

    @property
    def state(self) -> str:
        """``working``, ``ended``, ``failed``, or ``stopped``, also where the process was killed."""
        if self._ended:
            return self._ended
        return "working" if self._process and _lives(*self._process) else "stopped"

    @property
    def losses(self) -> bool:
        """Whether steps have losses, as those of a search or of training have."""
        return any(measures.is_number(step.get(key)) for step in self.steps for key in _LOSSES)

    def last(self) -> dict[str, Any]:
        """How far the work is: its state, the newest step, and the share that is done in percent."""
        step = self.steps[-1] if self.steps else {}
        percent = _percent(step)
        done, total = (measures.write(step.get(key)) for key in ("done", "total"))
        shown = "" if percent is None else f"{done} of {total} {step.get('unit', '')}"
        losses = ", ".join(f"{key} {measures.write(step[key])}" for key in _LOSSES if key in step)
        words = [str(step.get("work", "")), shown.strip(), losses]
        return {"state": self.state, "said": "; ".join(word for word in words if word), "percent": percent}

    def new(self, seen: int, losses: bool) -> list[dict[str, Any]]:
        """The points of the steps behind the first ``seen`` ones, as the pictures take them.

        Args:
          seen: the number of steps that are left out.
          losses: whether the points are losses, or else shares of work that is done.
        """
        behind = min(max(self.count - seen, 0), len(self.steps))
        chosen = itertools.islice(self.steps, len(self.steps) - behind, None)
        return [point for step in chosen for point in points(step, losses)]

    def _take(self, record: dict[str, Any]) -> None:
        process = record.get("process")
        if isinstance(process, list) and len(process) == 2 and all(map(measures.is_number, process)):
            self.steps.clear()
            self.count = 0
            self._process, self._ended = (int(process[0]), float(process[1])), ""
            self.command = record["command"] if isinstance(record.get("command"), str) else None
            self.began = str(record.get("time", ""))
        elif record.get("state") in ("ended", "stopped", "failed"):
            self._ended = record["state"]
        elif "work" in record and measures.is_number(record.get("seconds")):
            self.steps.append(record)
            self.count += 1


def points(step: dict[str, Any], losses: bool) -> list[dict[str, Any]]:
    """The points of a step: its losses, or else the share that is done in percent."""
    x, work = step["seconds"], str(step["work"])
    if losses:
        found = [(key, step[key]) for key in _LOSSES if measures.is_number(step.get(key))]
        found = [(f"{work}, {key}" if key == "loss" and work else key, y) for key, y in found]
    else:
        percent = _percent(step)
        found = [] if percent is None else [(work, percent)]
    return [{"x": x, "y": y, "low": y, "high": y, "line": line} for line, y in found]


def _percent(step: dict[str, Any]) -> float | None:
    """The share of the work that is done; None where it is not known."""
    done, total = step.get("done"), step.get("total")
    if not (isinstance(done, int | float) and isinstance(total, int | float) and total):
        return None
    known = measures.is_number(done) and measures.is_number(total)
    return 100 * float(done) / float(total) if known else None


def _lives(process: int, created: float) -> bool:
    """Whether a process still works; another one that got its number later is none."""
    try:
        found = psutil.Process(process)
        return abs(found.create_time() - created) < 2 and found.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError, OverflowError):
        return False
