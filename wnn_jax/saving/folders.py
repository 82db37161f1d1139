"""Sealed folders of arrays: how a version of a checkpoint and a step of progress lie on the disk.

orbax writes the arrays; `files.seal_folder` adds the digests of its files. Nothing of a folder is decoded
before all digests are right.

Source: docs/architecture.md.
"""

import gc
import math
import os
import pathlib
import shutil
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from wnn_jax import files

# Schema 1 had no digest of the description; checkpoints of it are still read, see `checkpoint`.
SCHEMA = 2
_ARRAYS = "arrays"


def write(
    folder: pathlib.Path,
    kind: str,
    about: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    alone: bool = False,
) -> None:
    """Write a folder as a whole.

    Args:
      folder: the place of the folder; it must not exist.
      kind: one word: the kind of the folder.
      about: JSON data.
      arrays: arrays by name; not all of them are empty.
      alone: whether no other process can be writing beside the folder; what killed ones left there is then
        removed.

    Raises:
      ValueError: the folder cannot be written; nothing of it is left.

    Source: docs/architecture.md.
    """
    listed = {name: [x.dtype.str, list(x.shape)] for name, x in arrays.items()}
    for left in (x for x in folder.parent.iterdir() if alone and files.left_over(x)):
        shutil.rmtree(left, ignore_errors=True)
    with files.writing_folder(folder) as partial:
        failed = ""
        try:
            with _checkpointer() as checkpointer:
                full = {name: x for name, x in arrays.items() if x.size}  # orbax refuses empty ones
                checkpointer.save(partial / _ARRAYS, args=ocp.args.StandardSave(full))
        except Exception as error:  # a full disk is another exception in every version of orbax
            failed = " ".join(str(error).split())[:300]
        if failed:
            _drop_the_rest()
            raise ValueError(f"cannot write {folder}: {failed}")
        files.seal_folder(partial, kind, SCHEMA, {"about": about, "arrays": listed})


def _drop_the_rest() -> None:
    """End what orbax leaves of a save that failed: at its end Python would print a traceback of it."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        gc.collect()
    finally:
        sys.unraisablehook = hook


def read(folder: pathlib.Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a folder that `write` wrote.

    Args:
      folder: the folder.
      kind: the kind that it must have.

    Returns:
      The JSON data, and the arrays by name.

    Raises:
      Damaged: the folder is damaged, of another kind or schema, or does not hold the arrays that it lists.

    Source: docs/architecture.md.
    """
    sealed = files.opened_folder(folder, kind, SCHEMA)
    with files.contents(str(folder)):
        about, arrays = dict(sealed["about"]), dict(sealed["arrays"])
        listed = {name: (np.dtype(dtype).str, tuple(shape)) for name, (dtype, shape) in arrays.items()}
        full = {name: form for name, form in listed.items() if 0 not in form[1]}
        empty = {name: np.zeros(shape, kind) for name, (kind, shape) in listed.items() if name not in full}
        return about, {**read_arrays(folder / _ARRAYS, full), **empty}


def read_arrays(folder: pathlib.Path, listed: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, Any]:
    """Read the arrays that orbax wrote, if they are those that are expected.

    Args:
      folder: the folder of orbax.
      listed: the dtype, as NumPy writes it, and the shape of each array by name.

    Raises:
      ValueError: there are other arrays, or they would not fit into the memory of this machine.

    Source: docs/architecture.md.
    """
    with _checkpointer() as checkpointer:
        about = checkpointer.metadata(folder)
        about = getattr(about, "item_metadata", about)  # orbax 0.11 returns it without a step around it
        found = dict(about.tree)
        there = {name: (np.dtype(x.dtype).str, tuple(x.shape)) for name, x in found.items()}
        if there != listed:
            other = sorted({*there.items()} ^ {*listed.items()})[0][0]
            raise ValueError(f"the array {other} has another type or shape than its description, or no place")
        size = sum(np.dtype(kind).itemsize * math.prod(shape) for kind, shape in listed.values())
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if size > memory:
            raise ValueError(f"its arrays need {size} bytes, and this machine has {memory}")
        arrays = checkpointer.restore(folder, args=ocp.args.StandardRestore())
    # orbax 0.11 returns an array without axes as a number.
    return {name: x if hasattr(x, "dtype") else np.asarray(x, listed[name][0]) for name, x in arrays.items()}


def check_form(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Check that arrays have the names, the shapes and the types of others.

    Args:
      found: arrays by name, as they were read.
      expected: arrays by name, or their `jax.ShapeDtypeStruct`.

    Raises:
      ValueError: a name is missing or too many, or an array has another shape or type.

    Source: docs/architecture.md.
    """
    apart = sorted(found.keys() ^ expected.keys())
    if apart:
        fault = "is missing" if apart[0] in expected else "does not belong to it"
        raise ValueError(f"the array {apart[0]} {fault}")
    for name, form in expected.items():
        x = found[name]
        if x.shape != form.shape or x.dtype != form.dtype:
            wanted = f"{form.dtype}{list(form.shape)}"
            raise ValueError(f"the array {name} is {x.dtype}{list(x.shape)}, not {wanted}")


def _checkpointer() -> ocp.Checkpointer:
    return ocp.Checkpointer(ocp.StandardCheckpointHandler())
