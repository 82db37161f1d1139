"""Packed models: named arrays as compressed bytes, with large matrices rounded to int8 row by row.

Source: docs/architecture.md.
"""

import io
import json
import lzma
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def pack(kind: str, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Pack arrays and JSON data into compressed bytes, from which `unpack` makes the same again.

    Args:
      kind: the kind and edition of the model; `unpack` refuses any other.
      about: JSON data.
      arrays: arrays of any numeric type and shape, by name; they keep their types.

    Source: docs/architecture.md.
    """
    file = io.BytesIO()
    about = {"format": kind, **about}
    np.savez(file, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)
    return lzma.compress(file.getvalue(), preset=6)


def unpack(kind: str, data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Unpack the bytes of `pack`.

    Args:
      kind: the kind and edition that the bytes must have.
      data: the bytes.

    Returns:
      The JSON data, and the arrays by name.

    Raises:
      ValueError: the bytes are damaged, are not a packed model, or have another kind.

    Source: docs/architecture.md.
    """
    try:
        found = np.load(io.BytesIO(lzma.decompress(data)), allow_pickle=False)
        about = json.loads(str(found["about"]))
        arrays = {name: found[name] for name in found.files if name != "about"}
    except (lzma.LZMAError, ValueError, KeyError, OSError) as error:
        raise ValueError(f"these {len(data)} bytes are not a packed model, or damaged: {error}") from error
    if (found_kind := about.pop("format", None)) != kind:
        raise ValueError(f"these {len(data)} bytes are a model of kind {found_kind!r}: give one of {kind!r}")
    return about, arrays


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

    Source: docs/architecture.md.
    """
    return {
        name: float_rows(x, arrays[f"{name}/step"]) if f"{name}/step" in arrays else x
        for name, x in arrays.items()
        if not name.endswith("/step")
    }
