"""The progress of long work: a run that was killed continues and ends with the same result.

Source: docs/architecture.md.
"""

import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

import wnn_jax
from wnn_jax.ram import backend
from wnn_jax.saving import locks
from wnn_jax.saving.checkpoint import SCHEMA

_FORMAT = "wnn_jax progress"


class Progress:
    """A folder in which long work saves its state, so that a run that was killed can continue.

    orbax's `CheckpointManager` writes each step under another name and renames it when it is complete. The
    last two steps are kept.

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
        about = {**json.loads(json.dumps(about)), "made_with": made_with()}
        self._about = {"format": _FORMAT, "schema": SCHEMA, **about}
        mark = self._root / "progress.json"
        if mark.exists():
            try:
                found = json.loads(mark.read_text())
            except ValueError as error:
                raise ValueError(
                    f"{mark} is damaged: remove {self._root} or choose another folder"
                ) from error
            if not isinstance(found, dict) or found.get("format") != _FORMAT:
                raise ValueError(f"{self._root} was not written by wnn_jax: choose another folder")
            if found.get("schema") != SCHEMA:
                raise ValueError(
                    f"{self._root} has schema {found.get('schema')} and this wnn_jax writes {SCHEMA}: "
                    "choose another folder"
                )
            other = list(_differences(found, self._about))
            if other:
                raise ValueError(
                    f"{self._root} holds the progress of other work, which differs in {', '.join(other)}: "
                    "choose another folder, or the settings that it was begun with"
                )
            self._lock = locks.hold(self._root)
        elif self._root.exists() and (not self._root.is_dir() or _strangers(self._root)):
            raise ValueError(f"{self._root} exists and holds no progress of wnn_jax: choose another folder")
        else:
            self._root.mkdir(parents=True, exist_ok=True)
            self._lock = locks.hold(self._root)
            partial = mark.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(self._about))
            partial.replace(mark)
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self._saved_at = time.monotonic()
        self._manager = ocp.CheckpointManager(self._root / "steps", options=options)

    def latest(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return the arrays, by name, and the JSON data of the last complete step; None if there is none."""
        step = self._manager.latest_step()
        if step is None:
            return None
        parts = {"arrays": ocp.args.StandardRestore(), "data": ocp.args.JsonRestore()}
        found: Any = self._manager.restore(step, args=ocp.args.Composite(**parts))
        return found.arrays, found.data

    def due(self, seconds: float) -> bool:
        """Say whether the last save, or the start, is at least this number of seconds ago."""
        return time.monotonic() - self._saved_at >= seconds

    def save(self, arrays: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Write the next step.

        Args:
          arrays: arrays by name.
          data: JSON data.
        """
        step = (self._manager.latest_step() or 0) + 1
        plain = {name: np.asarray(x) for name, x in arrays.items()}
        parts = {"arrays": ocp.args.StandardSave(plain), "data": ocp.args.JsonSave(dict(data))}
        self._manager.save(step, args=ocp.args.Composite(**parts))
        self._manager.wait_until_finished()
        self._saved_at = time.monotonic()


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
        found = self._saved.latest() if self._saved else None
        self._known: dict[str, Any] = found[1] if found else {}

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


def _strangers(root: pathlib.Path) -> bool:
    return any(one.name != locks.FILE for one in root.iterdir())


def _differences(found: Any, mine: Any, name: str = "") -> Iterator[str]:
    """Name each value of nested JSON data that differs; short values are said too."""
    if isinstance(found, dict) and isinstance(mine, dict):
        for key in sorted({*found, *mine}):
            yield from _differences(found.get(key), mine.get(key), f"{name}.{key}" if name else key)
    elif found != mine:
        there, here = json.dumps(found), json.dumps(mine)
        yield name if max(len(there), len(here)) > 24 else f"{name} ({there} there, {here} here)"
