"""Checkpoints: models that are saved and loaded. Connectivity and config are always saved, tables on request.

A checkpoint is a folder of numbered versions. orbax writes each version under another name and renames it
when it is complete: saving never changes an older version, and a save that is killed leaves no version.

Source: docs/architecture.md.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from wnn_jax import files
from wnn_jax.ram import connectivity
from wnn_jax.saving import locks

SCHEMA = 1
_FORMAT = "wnn_jax checkpoint"
_WAIT = 300.0  # seconds to wait while another process saves a version: the work to save took longer


class Checkpoint(NamedTuple):
    """A checkpoint, as `load` returns it.

    Attributes:
      connections: integers ``[K, n, T]``, the connectivity, in the integer type in which it was saved.
      config: JSON data: how to rebuild the model, and the text it was fitted on.
      metrics: JSON data: the scores of the model when it was saved.
      table: the arrays of the tables, by the names of their fields; None if they were not saved and must be
        written again from the text.

    Source: docs/architecture.md.
    """

    connections: np.ndarray
    config: dict[str, Any]
    metrics: dict[str, Any]
    table: dict[str, jax.Array] | None


def save(
    path: str | pathlib.Path,
    connections: jax.Array,
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    table: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Write the next version of a checkpoint and return the folder of the version.

    Args:
      path: the folder of the checkpoint; it is made if it is missing.
      connections: integers ``[K, n, T]``; they are stored in the smallest integer type that holds the largest
        index and -1.
      config: JSON data: how to rebuild the model.
      metrics: JSON data: the scores of the model.
      table: the arrays of the tables by name, or None to save no tables.

    Raises:
      ValueError: ``path`` holds something that is not a checkpoint, or cannot be written.

    Source: docs/architecture.md.
    """
    root = check_target(path)
    genome = np.asarray(connections)
    # The smallest type that holds every index in use, and -1.
    arrays = {"connections": genome.astype(connectivity.dtype_for(int(genome.max(initial=0)) + 1))}
    if table is not None:
        arrays |= {f"table_{name}": np.asarray(x) for name, x in table.items()}
    about = {
        "format": _FORMAT,
        "schema": SCHEMA,
        "config": json.loads(json.dumps(config)),
        "metrics": json.loads(json.dumps(metrics)),
        "sha256": {name: _digest(x) for name, x in arrays.items()},
    }
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = locks.hold(root, wait=_WAIT)
        folder = root / f"{max(_versions(root), default=0) + 1:08d}"
        with _checkpointer() as checkpointer:
            checkpointer.save(
                folder,
                args=ocp.args.Composite(about=ocp.args.JsonSave(about), arrays=ocp.args.StandardSave(arrays)),
            )
    except OSError as error:
        raise ValueError(f"cannot write the checkpoint {root}: {error.strerror}") from error
    del lock
    return folder


def check_target(path: str | pathlib.Path) -> pathlib.Path:
    """Check that `save` would accept a folder, and return its absolute path. Call it before hours of work.

    Raises:
      ValueError: the folder holds something that is not a checkpoint, or cannot be made or written.

    Source: docs/architecture.md.
    """
    root = pathlib.Path(path).absolute()
    occupied = root.exists() and (not root.is_dir() or any(x.name != locks.FILE for x in root.iterdir()))
    if occupied and not _versions(root):
        raise ValueError(f"{root} exists and is not a wnn_jax checkpoint: choose another folder")
    files.check_place(root / "version", folders=True)
    return root


def load(path: str | pathlib.Path) -> Checkpoint:
    """Read a checkpoint. No file is changed.

    Args:
      path: the folder of a checkpoint, whose newest version is read, or the folder of one version.

    Raises:
      ValueError: the folder is not a checkpoint, is damaged, or was written by a newer schema.

    Source: docs/architecture.md.
    """
    root = pathlib.Path(path).absolute()
    versions = _versions(root)
    folder = root / f"{max(versions):08d}" if versions else root
    if not (folder / "about").is_dir():
        raise ValueError(f"{root} is not a wnn_jax checkpoint: give the folder of one")
    try:
        with _checkpointer() as checkpointer:
            about = checkpointer.restore(folder, args=ocp.args.Composite(about=ocp.args.JsonRestore())).about
    except Exception as error:  # orbax raises another type for each way in which a file can be damaged
        raise ValueError(_damaged(folder, versions, f"no readable description: {error}")) from error
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        raise ValueError(f"{folder} was not written by wnn_jax: give the folder of a checkpoint")
    if about["schema"] > SCHEMA:
        raise ValueError(
            f"{folder} has schema {about['schema']} and this wnn_jax reads up to {SCHEMA}: update wnn_jax to "
            "read it"
        )
    try:
        with _checkpointer() as checkpointer:
            arrays = checkpointer.restore(
                folder, args=ocp.args.Composite(arrays=ocp.args.StandardRestore())
            ).arrays
    except Exception as error:
        raise ValueError(_damaged(folder, versions, f"no readable arrays: {error}")) from error
    for name, digest in about["sha256"].items():
        if name not in arrays or _digest(arrays[name]) != digest:
            raise ValueError(_damaged(folder, versions, f"{name} is not what was saved"))
    table = {
        name.removeprefix("table_"): jax.numpy.asarray(x)
        for name, x in arrays.items()
        if name.startswith("table_")
    }
    return Checkpoint(arrays["connections"], about["config"], about["metrics"], table or None)


def _checkpointer() -> ocp.Checkpointer:
    return ocp.Checkpointer(ocp.CompositeCheckpointHandler())


def _versions(root: pathlib.Path) -> list[int]:
    if not root.is_dir():
        return []
    return [int(x.name) for x in root.iterdir() if x.name.isdecimal() and len(x.name) == 8]


def _damaged(folder: pathlib.Path, versions: list[int], reason: str) -> str:
    others = sorted(versions)[:-1]
    hint = f"; an older version is {folder.parent / f'{others[-1]:08d}'}" if others else ""
    return f"the checkpoint {folder} is damaged ({' '.join(reason.split())[:200]}){hint}"


def _digest(array: np.ndarray) -> str:
    array = np.ascontiguousarray(array)
    header = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(header + array.tobytes()).hexdigest()
