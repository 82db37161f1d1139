"""The surroundings of a command while it runs: its command line, progress, interrupts and warnings.

The progress is a file of lines in the workdir, which `experiments.report --live` reads: the first says which
process works, each further one how far it is, and the last how it ended. A process that was killed writes no
last line.
"""

import contextlib
import contextvars
import datetime
import json
import math
import os
import pathlib
import shlex
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import psutil

from wnn_jax import files

PROGRESS = "progress.jsonl"
_PAUSE = 0.5  # seconds between two lines of progress, at the least
_SHARE = 100  # the time between two lines is at least this many times what a line took
_LINE: contextvars.ContextVar[str | None] = contextvars.ContextVar("line", default=None)
_LINES: contextvars.ContextVar["Lines | None"] = contextvars.ContextVar("lines", default=None)


def line() -> str | None:
    """The command that runs, as a user types it; None where the work was not started by a command."""
    return _LINE.get()


@contextlib.contextmanager
def command(name: str, arguments: Sequence[str]) -> Iterator[None]:
    """Run a command: `line` names it, an interrupt ends it, and a warning is one line.

    Args:
      name: the name of the module in ``experiments``.
      arguments: the words behind it.
    """
    typed = _LINE.set(shlex.join(["python", "-m", f"experiments.{name}", *arguments]))
    lines = _LINES.set(None)
    state = "failed"
    try:
        with _interrupts(), _warnings():
            yield
        state = "ended"
    except KeyboardInterrupt:
        state = "stopped"
        raise
    finally:
        if made := _LINES.get():
            made.end(state)
        _LINES.reset(lines)
        _LINE.reset(typed)


class Lines:
    """The progress of a command, in the file ``progress.jsonl`` of its workdir.

    Args:
      folder: the workdir.
    """

    def __init__(self, folder: pathlib.Path):
        self._path = folder / PROGRESS
        self._began: float | None = None  # None until the first step
        self._next = 0.0
        self._writes = True

    def note(self, work: str, done: int, total: int | None, unit: str, **numbers: Any) -> None:
        """Write how far the work is.

        Where the last line is young, only the last step and validated ones are written.

        Args:
          work: the kind of work.
          done: the number of pieces that are done.
          total: the number of all pieces; None where it is not known.
          unit: what a piece is.
          numbers: more numbers of this step, such as losses, and lists of numbers; those that are None or
            not finite are left out.
        """
        if self._began is None:
            self._begin()
        now = time.perf_counter()
        if now < self._next and done != total and numbers.get("validation") is None:
            return
        known = {key: x for key, x in numbers.items() if _known(x)}
        seconds = round(now - (self._began or now), 3)
        self._write({"work": work, "done": done, "total": total, "unit": unit, "seconds": seconds, **known})
        self._next = time.perf_counter() + max(_PAUSE, _SHARE * (time.perf_counter() - now))

    def end(self, state: str) -> None:
        """Write how the command ended, if it made a step: ``ended``, ``stopped`` or ``failed``."""
        if self._began is not None:
            self._write({"state": state, "time": _now()})

    def _begin(self) -> None:
        self._began = time.perf_counter()
        # Another process may get the same number later, but it begins later too.
        process = [os.getpid(), psutil.Process().create_time()]
        self._write({"state": "working", "process": process, "command": line(), "time": _now()})

    def _write(self, record: dict[str, Any]) -> None:
        if self._writes:
            try:
                files.append(self._path, json.dumps(record))
            except ValueError:  # work goes on where nobody can watch it
                self._writes = False


def _known(value: Any) -> bool:
    return value is not None and (isinstance(value, list | tuple) or math.isfinite(value))


def work_in(folder: pathlib.Path) -> None:
    """Write the progress of the command that runs into its workdir."""
    if line():
        _LINES.set(Lines(folder))


def lines() -> Lines | None:
    """The progress of the command that runs; None where no command runs, or it has no workdir."""
    return _LINES.get()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@contextlib.contextmanager
def _warnings() -> Iterator[None]:
    """Print the warnings of the library in one line each, without the line of code that gave them."""
    usual = warnings.formatwarning

    def one_line(message, category, *place, **more) -> str:
        if category is not UserWarning:
            return usual(message, category, *place, **more)
        return f"warning: {' '.join(str(message).split())}\n"

    warnings.formatwarning = one_line
    try:
        yield
    finally:
        warnings.formatwarning = usual


@contextlib.contextmanager
def _interrupts() -> Iterator[None]:
    """Raise an interrupt as a KeyboardInterrupt, again each second until one is handled.

    The first may be lost: JAX calls Python at each garbage collection, where Python ignores what is raised.
    """
    main = threading.get_ident()
    if main != threading.main_thread().ident:
        yield
        return
    left, begun = threading.Event(), threading.Event()

    def repeat() -> None:
        while not left.wait(1.0):
            found = sys._current_exceptions().get(main)
            handled = found[1] if isinstance(found, tuple) else found  # Python 3.11 has tuples
            if not isinstance(handled, KeyboardInterrupt):  # while one is handled, the work is being saved
                signal.pthread_kill(main, signal.SIGINT)

    def interrupted(*_) -> None:
        if not begun.is_set():
            begun.set()
            threading.Thread(target=repeat, daemon=True).start()
        raise KeyboardInterrupt

    def unraisable(ignored) -> None:
        if not issubclass(ignored.exc_type, KeyboardInterrupt):
            hook(ignored)

    handler, hook = signal.signal(signal.SIGINT, interrupted), sys.unraisablehook
    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        left.set()
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, handler or signal.SIG_DFL)
