"""Rewrites what wnn_jax stored, with digests that are right: only the contents are wrong."""

import json
import pathlib

from wnn_jax import files
from wnn_jax.saving import folders


def resealed(folder, change, kind="checkpoint"):
    """Let ``change`` change the JSON data of a sealed folder, and seal it again."""
    folder = pathlib.Path(folder)
    about = files.opened_folder(folder, kind, folders.SCHEMA)
    change(about)
    files.seal_folder(folder, kind, folders.SCHEMA, about)


def rewritten(folder, change, kind="checkpoint"):
    """Let ``change`` change the arrays and the JSON data of a sealed folder, and write it anew."""
    folder = pathlib.Path(folder)
    about, arrays = folders.read(folder, kind)
    change(arrays, about)
    folder.rename(folder.with_name("replaced"))
    folders.write(folder, kind, about, arrays)


def resealed_file(path, kind, schema, change):
    """Let ``change`` change the JSON data of a sealed file, and seal it again."""
    path = pathlib.Path(path)
    data = json.loads(files.opened(kind, schema, path.read_bytes(), "it"))
    path.write_bytes(files.seal(kind, schema, json.dumps(change(data)).encode()))
