"""The progress of long work: a run that was killed continues and ends with the same result.

Source: docs/architecture.md.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from wnn_jax.saving.checkpoint import SCHEMA

_FORMAT = "wnn_jax progress"


class Progress:
    """A folder in which long work saves its state, so that a run that was killed can continue.

    orbax's `CheckpointManager` writes each step under another name and renames it when it is complete. The
    last two steps are kept.

    Args:
      path: a folder for this work alone; it is made if it is missing.
      about: JSON data that identifies the work; the folder of other work is refused.

    Raises:
      ValueError: the folder holds something else, or the progress of other work.

    Source: docs/architecture.md.
    """

    def __init__(self, path: str | pathlib.Path, about: Mapping[str, Any]):
        self._root = pathlib.Path(path).absolute()
        self._about = {"format": _FORMAT, "schema": SCHEMA, **json.loads(json.dumps(about))}
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
            other = sorted(key for key in {*found, *self._about} if found.get(key) != self._about.get(key))
            if other:
                raise ValueError(
                    f"{self._root} holds the progress of other work, which differs in {', '.join(other)}: "
                    "choose another folder, or the flags that it was begun with"
                )
        elif self._root.exists() and (not self._root.is_dir() or any(self._root.iterdir())):
            raise ValueError(f"{self._root} exists and holds no progress of wnn_jax: choose another folder")
        else:
            self._root.mkdir(parents=True, exist_ok=True)
            partial = mark.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(self._about))
            partial.replace(mark)
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self._manager = ocp.CheckpointManager(self._root / "steps", options=options)

    def latest(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return the arrays, by name, and the JSON data of the last complete step; None if there is none."""
        step = self._manager.latest_step()
        if step is None:
            return None
        parts = {"arrays": ocp.args.StandardRestore(), "data": ocp.args.JsonRestore()}
        found: Any = self._manager.restore(step, args=ocp.args.Composite(**parts))
        return found.arrays, found.data

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
