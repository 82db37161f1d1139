"""Saving and loading what was learnt: connectivity and config always, tables only when asked.

A checkpoint is a folder of numbered versions, each written whole by orbax and renamed into place,
so saving never touches an older version and a killed save leaves none.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from wnn_jax.ram import connectivity

SCHEMA = 1
_FORMAT = "wnn_jax checkpoint"


class Checkpoint(NamedTuple):
    """A checkpoint, as `load` returns it.

    Attributes:
      connections: ``[K, n, T]`` in the integer type it was saved in.
      config: plain data that says how to rebuild the model and which text it was fitted on.
      metrics: the scores it had.
      table: the arrays of the memory itself, by the names of its fields, or None if it was not saved and
        must be rewritten from the text.
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
    """Write the next version under ``path`` and return its folder.

    Args:
      path: the checkpoint's folder; made if it is missing.
      connections: ``[K, n, T]``; stored in the smallest integer that holds its largest index.
      config, metrics: JSON data.
      table: arrays by name; saved only if given.

    Raises:
      ValueError: ``path`` holds something that is not a checkpoint, or cannot be written.
    """
    root = check_target(path)
    genome = np.asarray(connections)
    # The type that holds every index in use, and -1.
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
    folder = root / f"{max(_versions(root), default=0) + 1:08d}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _checkpointer() as checkpointer:
            checkpointer.save(
                folder,
                args=ocp.args.Composite(about=ocp.args.JsonSave(about), arrays=ocp.args.StandardSave(arrays)),
            )
    except OSError as error:
        raise ValueError(f"cannot write the checkpoint {folder}: {error.strerror}") from error
    return folder


def check_target(path: str | pathlib.Path) -> pathlib.Path:
    """The absolute path of a folder that `save` would accept, to know before hours of work.

    Raises:
      ValueError: it holds something that is not a checkpoint.
    """
    root = pathlib.Path(path).absolute()
    occupied = root.exists() and (not root.is_dir() or any(root.iterdir()))
    if occupied and not _versions(root):
        raise ValueError(f"{root} exists and is not a wnn_jax checkpoint: choose another folder")
    return root


def load(path: str | pathlib.Path) -> Checkpoint:
    """Read the newest version under ``path``, or the version ``path`` itself is. Changes nothing.

    Raises:
      ValueError: there is no checkpoint, it is damaged, it is something else, or it was written by
        a newer schema.
    """
    root = pathlib.Path(path).absolute()
    versions = _versions(root)
    folder = root / f"{max(versions):08d}" if versions else root
    if not (folder / "about").is_dir():
        raise ValueError(f"{root} is not a wnn_jax checkpoint")
    try:
        with _checkpointer() as checkpointer:
            about = checkpointer.restore(folder, args=ocp.args.Composite(about=ocp.args.JsonRestore())).about
    except Exception as error:  # orbax raises a different type for each way a file can be broken
        raise ValueError(_damaged(folder, versions, f"no readable description: {error}")) from error
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        raise ValueError(f"{folder} was not written by wnn_jax")
    if about["schema"] > SCHEMA:
        raise ValueError(
            f"{folder} has schema {about['schema']} and this wnn_jax reads up to {SCHEMA}: update wnn_jax"
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
