"""Checkpoints: models that are saved and loaded. Connectivity and config are always saved, tables on request.

A checkpoint is a folder of numbered versions. Each version is written under another name and renamed when it
is complete: saving never changes an older version, and a save that is killed leaves no version. The digests
of all files of a version are compared before anything of it is decoded.

Source: docs/architecture.md.
"""

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from wnn_jax import checks, files
from wnn_jax.ram import connectivity
from wnn_jax.saving import folders, locks

_FORMAT = "wnn_jax checkpoint"
_KIND = "checkpoint"
_KINDS = ("chain", "layer", "model")  # settings of which a config has one, by what it is the config of
_LAST = 99_999_999
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
    root = check_target(path, _kind_of(config))
    genome = np.asarray(connections)
    # The smallest type that holds every index in use, and -1.
    arrays = {"connections": genome.astype(connectivity.dtype_for(int(genome.max(initial=0)) + 1))}
    if table is not None:
        arrays |= {f"table_{name}": np.asarray(x) for name, x in table.items()}
    about = {"config": json.loads(json.dumps(config)), "metrics": json.loads(json.dumps(metrics))}
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = locks.hold(root, wait=_WAIT)
    except OSError as error:
        raise ValueError(f"cannot write the checkpoint {root}: {error.strerror or error}") from error
    number = max(_versions(root), default=0) + 1
    if number > _LAST:
        raise ValueError(f"{root} holds version {_LAST}, after which there is none: choose another folder")
    folder = root / f"{number:08d}"
    folders.write(folder, _KIND, about, arrays, alone=lock.certain)
    return folder


def check_target(path: str | pathlib.Path, kind: str | None = None) -> pathlib.Path:
    """Check that `save` would accept a folder, and return its absolute path. Call it before hours of work.

    Args:
      path: the folder of the checkpoint.
      kind: the setting by which a config says what the model is: ``chain``, ``layer`` or ``model``.

    Raises:
      ValueError: the folder holds something that is not a checkpoint, or models of another kind, or cannot be
        made or written.

    Source: docs/architecture.md.
    """
    root = pathlib.Path(path).absolute()
    with files.reaching(root, "write"):
        if files.occupied(root, locks.FILE) and not _versions(root):
            raise ValueError(f"{root} exists and is not a wnn_jax checkpoint: choose another folder")
    files.check_place(root / "version", folders=True)
    found = _newest_kind(root)
    if kind and found and kind != found:
        raise ValueError(f"{root} holds versions of another model, a {found}: choose another folder")
    return root


def _newest_kind(root: pathlib.Path) -> str | None:
    """Return the kind of the newest version; None if there is none, or it cannot be read."""
    folder = root / f"{max(_versions(root), default=0):08d}"
    with contextlib.suppress(ValueError):
        about = files.opened_about(folder, _KIND, folders.SCHEMA)
        with files.contents(str(folder)):
            return _kind_of(about["about"]["config"])
    return None


def _kind_of(config: Mapping[str, Any]) -> str | None:
    return next((kind for kind in _KINDS if kind in config), None)


def load(path: str | pathlib.Path) -> Checkpoint:
    """Read a checkpoint. No file is changed.

    Args:
      path: the folder of a checkpoint, whose newest version is read, or the folder of one version.

    Raises:
      ValueError: the folder is not a checkpoint, is damaged, or was written by a newer schema. If an older
        version is whole, the message names it; it is not read in place of the newest, because it is another
        model.

    Source: docs/architecture.md.
    """
    root = pathlib.Path(path).absolute()
    with files.reaching(root, "read"):
        versions = _versions(root)
        folder = root / f"{max(versions):08d}" if versions else root
        known = versions or (folder / files.SEAL).exists() or (folder / "about").is_dir()
    if not known:
        raise ValueError(f"{root} is not a wnn_jax checkpoint: give the folder of one")
    try:
        return _read(folder)
    except files.Damaged as error:
        raise ValueError(f"{error}{_whole_version(root, versions)}") from error


def _read(folder: pathlib.Path) -> Checkpoint:
    """Read one version."""
    old = (folder / "about").is_dir() and not (folder / files.SEAL).exists()
    about, arrays = _read_schema_1(folder) if old else folders.read(folder, _KIND)
    with files.contents(str(folder)):
        checks.array("connections", arrays["connections"], "integers")
        table = {
            name.removeprefix("table_"): jax.numpy.asarray(x)
            for name, x in arrays.items()
            if name.startswith("table_")
        }
        data = dict(about["config"]), dict(about["metrics"])
        return Checkpoint(arrays["connections"], *data, table or None)


def _read_schema_1(folder: pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a version of schema 1: only its arrays have digests."""
    with files.contents(str(folder)):
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            about = checkpointer.restore(folder, args=ocp.args.Composite(about=ocp.args.JsonRestore())).about
            if about["format"] != _FORMAT or about["schema"] != 1:
                raise ValueError("its description is not of schema 1")
            kept = ocp.args.Composite(arrays=ocp.args.StandardRestore())
            arrays = checkpointer.restore(folder, args=kept).arrays
        changed = [name for name, digest in about["sha256"].items() if _digest(arrays[name]) != digest]
        if changed:
            raise ValueError(f"{changed[0]} is not what was saved")
        return about, arrays


def _versions(root: pathlib.Path) -> list[int]:
    if not root.is_dir():
        return []
    names = (x.name for x in root.iterdir())
    return [int(name) for name in names if len(name) == 8 and name.isascii() and name.isdecimal()]


def _whole_version(root: pathlib.Path, versions: list[int]) -> str:
    """Say which older version is whole, as the end of a message."""
    for version in sorted(versions)[-2::-1]:
        folder = root / f"{version:08d}"
        try:
            _read(folder)
        except files.Damaged:
            continue
        return f"; an older version is {folder}"
    return ""


def _digest(array: np.ndarray) -> str:
    array = np.ascontiguousarray(array)
    header = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(header + array.tobytes()).hexdigest()
