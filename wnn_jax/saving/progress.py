"""The progress of long work: a run that was killed continues and ends with the same result.

Source: docs/architecture.md.
"""

import hashlib
import json
import pathlib
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

import wnn_jax
from wnn_jax import files
from wnn_jax.ram import backend
from wnn_jax.saving import folders, locks

T = TypeVar("T")
_MARK = "progress.sealed"  # says which work the folder is of
_KIND = "progress"
_PARTS = "parts"
_MOST_MARK = 1 << 26  # the largest description of a piece of work, in bytes


class Progress:
    """A folder in which long work saves its state, so that a run that was killed can continue.

    Each step is written under another name and renamed when it is complete. The last two whole steps are
    kept: if the newer one is damaged later, the work continues from the older one.

    Args:
      path: a folder for this work alone; it is made if it is missing.
      about: JSON data that identifies the work; the folder of other work is refused. The versions and the
        backend, on which the last digits depend, are added to it.

    Raises:
      ValueError: the folder holds something else, or the progress of other work, or another process works in
        it.

    Source: docs/architecture.md.
    """

    def __init__(self, path: str | pathlib.Path, about: Mapping[str, Any]):
        self._root = pathlib.Path(path).absolute()
        self._steps = self._root / "steps"
        self._whole: int | None = None  # the newest step that is known to be whole
        described = {**json.loads(json.dumps(about)), "made_with": made_with()}
        with files.reaching(self._root, "write"):
            marked, occupied = (self._root / _MARK).exists(), files.occupied(self._root, locks.FILE)
        files.check_place(self._root / _MARK, folders=True)
        if marked:
            self._compare(described)
        elif occupied:
            raise ValueError(
                f"{self._root} exists and holds no progress that this wnn_jax reads: remove it, or choose "
                "another folder"
            )
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            self._lock = locks.hold(self._root)
            if (self._root / _MARK).exists():
                self._compare(described)  # again: now no other process can have written it since
            else:
                body = json.dumps(described).encode()
                files.write(self._root / _MARK, files.seal(_KIND, folders.SCHEMA, body))
            self._steps.mkdir(exist_ok=True)
        except OSError as error:
            said = error.strerror or error
            raise ValueError(f"cannot write to {self._root}: {said}; choose another folder") from error
        self._saved_at = time.monotonic()

    def _compare(self, about: dict[str, Any]) -> None:
        """Compare the work that the folder is of with this work.

        Raises:
          ValueError: the folder is damaged, or of other work.
        """
        mark = self._root / _MARK
        try:
            body = files.opened(_KIND, folders.SCHEMA, files.read(mark, _MOST_MARK), str(mark))
            with files.contents(str(mark)):
                found = dict(json.loads(body))
        except ValueError as error:
            raise ValueError(f"{error}; or remove {self._root}, and begin again") from error
        other = list(_differences(found, about))
        if other:
            raise ValueError(
                f"{self._root} holds the progress of other work, which differs in {', '.join(other)}: "
                "choose another folder, or the settings that it was begun with"
            )

    @property
    def folder(self) -> pathlib.Path:
        """The folder, for messages."""
        return self._root

    def latest(self, take: Callable[[dict[str, Any], dict[str, Any]], T]) -> T | None:
        """Return what the last whole step holds; None if there is no step.

        If the newest step is damaged, a warning names it, and the one before it is taken.

        Args:
          take: makes the result from the arrays, by name, and the JSON data; it raises an exception if they
            are not what the work saves.

        Raises:
          ValueError: there are steps, and each of them is damaged.

        Source: docs/architecture.md.
        """
        numbers = sorted(self._numbers(), reverse=True)
        said = ""
        for number in numbers:
            folder = self._steps / str(number)
            try:
                data, arrays = folders.read(folder, _KIND)
                with files.contents(str(folder)):
                    taken = take(arrays, data)
            except files.Damaged as error:
                said = said or str(error)
                continue
            if said:
                warnings.warn(f"{said}. The work continues from {folder}", stacklevel=2)
            self._whole = number
            return taken
        if numbers:
            raise ValueError(f"{said}; or remove {self._root}, and begin again")
        return None

    def due(self, seconds: float) -> bool:
        """Say whether the last save, or the start, is at least this number of seconds ago."""
        return time.monotonic() - self._saved_at >= seconds

    def save(self, arrays: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Write the next step.

        Args:
          arrays: arrays by name.
          data: JSON data.

        Raises:
          ValueError: the folder cannot be written; the steps before are as they were.

        Source: docs/architecture.md.
        """
        numbers = self._numbers()
        step = max(numbers, default=0) + 1
        plain = {name: np.asarray(x) for name, x in arrays.items()}
        folders.write(self._steps / str(step), _KIND, dict(data), plain, alone=self._lock.certain)
        before = self._whole or step - 1
        for number in numbers:
            if number != before:
                shutil.rmtree(self._steps / str(number), ignore_errors=True)
        self._whole = step
        self._saved_at = time.monotonic()

    def _numbers(self) -> list[int]:
        """Return the numbers of all steps, in no order."""
        if not self._steps.is_dir():
            return []
        names = (x.name for x in self._steps.iterdir())
        return [int(name) for name in names if len(name) < 18 and name.isascii() and name.isdecimal()]


def parts(path: str | pathlib.Path, kind: str) -> pathlib.Path:
    """Make, or check, a folder with the progress of several works, each in a folder of its own.

    Args:
      path: the folder.
      kind: the kind of the works; a folder of works of another kind is refused.

    Returns:
      The folder.

    Raises:
      ValueError: the folder holds something else, or cannot be written.

    Source: docs/architecture.md.
    """
    root = pathlib.Path(path).absolute()
    mark = root / _MARK
    with files.reaching(root, "write"):
        marked, occupied = mark.exists(), files.occupied(root, locks.FILE)
    files.check_place(mark, folders=True)
    if marked:
        found = files.opened(_PARTS, folders.SCHEMA, files.read(mark, _MOST_MARK), str(mark)).decode()
        if found != kind:
            raise ValueError(f"{root} holds the progress of {found}, not of {kind}: choose another folder")
    elif occupied:
        raise ValueError(f"{root} exists and holds no progress of {kind}: choose another folder")
    else:
        with files.reaching(root, "write"):
            root.mkdir(parents=True, exist_ok=True)
        files.write(mark, files.seal(_PARTS, folders.SCHEMA, kind.encode()))
    return root


class Answers:
    """The answers of the pieces of long work: what is answered already is not asked again.

    Args:
      path: a folder for this work alone, as for `Progress`; None keeps nothing.
      about: JSON data that identifies the work.

    Raises:
      ValueError: see `Progress`.

    Source: docs/architecture.md.
    """

    def __init__(self, path: str | pathlib.Path | None, about: Mapping[str, Any]):
        self._saved = None if path is None else Progress(path, about)
        found = self._saved.latest(lambda _, known: known) if self._saved else None
        self._known: dict[str, Any] = found or {}

    def get(self, name: str, work: Callable[[], Any]) -> Any:
        """Return the answer of one piece: the kept one, or that of ``work``, which is then kept.

        Args:
          name: the name of the piece.
          work: returns JSON data; numbers come back as Python's, and tuples as lists.
        """
        if name not in self._known:
            self._known[name] = json.loads(json.dumps(work(), default=_plain))
            if self._saved:
                self._saved.save({"answers": np.array(len(self._known))}, self._known)
        return self._known[name]


def _plain(x: Any) -> Any:
    return np.asarray(x).tolist()


def digest(*arrays: Any) -> str:
    """Return the SHA-256 of the bytes of arrays, in hexadecimal digits; progress describes its data with it.

    Source: docs/architecture.md.
    """
    return hashlib.sha256(b"".join(np.asarray(x).tobytes() for x in arrays)).hexdigest()


def made_with() -> dict[str, str]:
    """Return what the last digits of results depend on besides settings: versions, backend and platform.

    Source: docs/platforms.md.
    """
    return {
        "wnn_jax": wnn_jax.__version__,
        "jax": jax.__version__,
        "backend": backend.chosen(),
        "platform": jax.default_backend(),
    }


def _differences(found: Any, mine: Any, name: str = "") -> Iterator[str]:
    """Name each value of nested JSON data that differs; short values are said too."""
    if isinstance(found, dict) and isinstance(mine, dict):
        for key in sorted({*found, *mine}):
            yield from _differences(found.get(key), mine.get(key), f"{name}.{key}" if name else key)
    elif found != mine:
        there, here = json.dumps(found), json.dumps(mine)
        yield name if max(len(there), len(here)) > 24 else f"{name} ({there} there, {here} here)"
