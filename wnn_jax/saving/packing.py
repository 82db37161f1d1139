"""Packed models: named arrays as compressed bytes, with large matrices rounded to int8 row by row.

Source: docs/architecture.md.
"""

import io
import json
import lzma
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from wnn_jax import files
from wnn_jax.saving import folders

_SCHEMA = 2
_XZ = b"\xfd7zXZ\0"  # the first bytes of a packed model of schema 1, which had no digest but that of xz
_MOST = 1 << 30  # the most bytes that a packed model may expand to
_WORKING = 1 << 28  # the most bytes that xz may use for itself; `pack` lets it use a tenth of that
_LONGEST_HEADER = 10_000  # of an array


def pack(kind: str, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Pack arrays and JSON data into compressed bytes, from which `unpack` makes the same again.

    Args:
      kind: the kind and edition of the model; `unpack` refuses any other.
      about: JSON data.
      arrays: arrays of any numeric type and shape, by name; they keep their types.

    Raises:
      ValueError: the arrays have more bytes than `unpack` accepts.

    Source: docs/architecture.md.
    """
    file = io.BytesIO()
    about = {"format": kind, **about}
    np.savez(file, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)
    whole = file.getvalue()
    if len(whole) > _MOST:
        raise ValueError(f"the model has {len(whole)} bytes, but a packed model has at most {_MOST}")
    return files.seal("model", _SCHEMA, lzma.compress(whole, preset=6))


def unpack(kind: str, data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Unpack the bytes of `pack`.

    Args:
      kind: the kind and edition that the bytes must have.
      data: the bytes.

    Returns:
      The JSON data, and the arrays by name.

    Raises:
      ValueError: the bytes are damaged, are not a packed model, have another kind, or expand to more than a
        model may have.

    Source: docs/architecture.md.
    """
    name = naming(data)
    body = data if data[: len(_XZ)] == _XZ else files.opened("model", _SCHEMA, data, name)
    with files.contents(name):
        arrays = _arrays(_expanded(body))
        about = dict(json.loads(str(arrays.pop("about"))))
    if (found := about.pop("format", None)) != kind:
        raise ValueError(f"{name} is of kind {str(found)[:40]!r}: give one of {kind!r}")
    return about, arrays


def naming(data: bytes) -> str:
    """Return the words that name packed bytes in a message; they have no path.

    Source: docs/architecture.md.
    """
    return f"this packed model of {len(data)} bytes"


def _expanded(data: bytes) -> bytes:
    """Decompress, as far as a model may go.

    Raises:
      ValueError: the result is too large, or is not the whole of the bytes.
    """
    machine = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_WORKING)
    whole = machine.decompress(data, max_length=_MOST + 1)
    if len(whole) > _MOST:
        raise ValueError(f"it expands to more than {_MOST} bytes")
    if not machine.eof or machine.unused_data:
        raise ValueError("it is cut short, or something follows it")
    return whole


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    """Read the arrays of an ``.npz`` file, none of which can have more bytes than its part of the file.

    Raises:
      ValueError: it is not what `numpy.savez` writes.
    """
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as parts:
        members = parts.infolist()
        stored = all(x.compress_type == zipfile.ZIP_STORED for x in members)
        # Several entries of a hostile file may share the same bytes.
        if not stored or sum(x.file_size for x in members) > len(data):
            raise ValueError("its parts are compressed a second time, or overlap")
        for member in members:
            if not member.filename.endswith(".npy") or member.filename[:-4] in arrays:
                raise ValueError(f"its part {member.filename[:40]!r} is not an array, or is there twice")
            arrays[member.filename[:-4]] = _array(parts.read(member))
    return arrays


def _array(data: bytes) -> np.ndarray:
    """Read one array of an ``.npy`` file.

    Raises:
      ValueError: it is not numbers or text, or its header asks for another number of bytes than there are.
    """
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array of it has another version than 1.0")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=_LONGEST_HEADER)
    count = math.prod(shape)
    if dtype.kind not in "biufU" or min(shape, default=0) < 0 or not dtype.itemsize:
        raise ValueError(f"an array of it has dtype {dtype} and shape {shape}")
    if count * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"an array of {count} entries has {len(data) - file.tell()} bytes of them")
    flat = np.frombuffer(data, dtype, count, file.tell())
    return flat.reshape(shape, order="F" if by_columns else "C").copy()


def int8_rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round numbers to int8 row by row; 127 steps are the largest absolute value of a row.

    Args:
      x: floats ``[..., n]``.

    Returns:
      The number of steps, ``int8 [..., n]``, and the step of each row, ``float16 [..., 1]``. A row whose step
      is too small for float16 becomes 0.

    Source: docs/architecture.md.
    """
    steps = (np.abs(x).max(-1, keepdims=True) / 127).astype(np.float16)
    # A step that is too small for float16 is 0; the numbers of its row become 0.
    whole = np.round(x / np.maximum(steps.astype(np.float32), 1e-30))
    return np.where(steps > 0, whole, 0).clip(-127, 127).astype(np.int8), steps


def float_rows(whole: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Multiply the steps of `int8_rows` out again.

    Args:
      whole: ``int8 [..., n]``, the number of steps.
      steps: ``float16 [..., 1]``, the step of each row.

    Returns:
      ``float32 [..., n]``.

    Source: docs/architecture.md.
    """
    return whole.astype(np.float32) * steps.astype(np.float32)


def packed_leaves(leaves: Mapping[str, np.ndarray], least: int = 4096) -> dict[str, np.ndarray]:
    """Prepare arrays for `pack`: large matrices become int8 rows, all other arrays float32.

    Args:
      leaves: arrays by name.
      least: the number of entries from which an array of two or more axes counts as large.

    Returns:
      Arrays by name; the steps of a large matrix have its name and ``/step``.

    Source: docs/architecture.md.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, x in leaves.items():
        if x.ndim > 1 and math.prod(x.shape) >= least:
            arrays[name], arrays[f"{name}/step"] = int8_rows(np.asarray(x, np.float32))
        else:
            arrays[name] = np.asarray(x, np.float32)
    return arrays


def unpacked_leaves(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn the arrays of `packed_leaves` into ``float32`` arrays by name.

    Args:
      arrays: arrays by name.

    Raises:
      ValueError: a large matrix and its steps have other types or shapes than `packed_leaves` gives them.

    Source: docs/architecture.md.
    """
    leaves: dict[str, np.ndarray] = {}
    for name, x in arrays.items():
        if name.endswith("/step"):
            if name.removesuffix("/step") not in arrays:
                raise ValueError(f"the array {name} has no matrix")
            continue
        steps = arrays.get(f"{name}/step")
        if steps is not None:
            check_rows(name, x, steps)
        leaves[name] = x if steps is None else float_rows(x, steps)
    return leaves


def check_rows(name: str, whole: np.ndarray, steps: np.ndarray) -> None:
    """Check the types and shapes of a matrix that `int8_rows` rounded, before it is multiplied out.

    Args:
      name: the name of the matrix, for the message.
      whole: the number of steps.
      steps: the step of each row.

    Raises:
      ValueError: they are not of one matrix.

    Source: docs/architecture.md.
    """
    folders.check_form(
        {name: whole, f"{name}/step": steps},
        {
            name: jax.ShapeDtypeStruct(whole.shape, np.int8),
            f"{name}/step": jax.ShapeDtypeStruct((*whole.shape[:-1], 1), np.float16),
        },
    )
