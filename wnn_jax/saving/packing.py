"""Named arrays as a few bytes: matrices in int8 by rows, compressed, and back."""

import io
import json
import lzma
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def pack(kind: str, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Bytes from which `unpack` makes the same again.

    Args:
      kind: what this is and which edition, for `unpack` to insist on.
      about: JSON data.
      arrays: numbers of any type; those of `int8_rows` stay as small as they are.
    """
    file = io.BytesIO()
    about = {"format": kind, **about}
    np.savez(file, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)
    return lzma.compress(file.getvalue(), preset=6)


def unpack(kind: str, data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """``about`` and the arrays.

    Raises:
      ValueError: the bytes are damaged, or something else.
    """
    try:
        found = np.load(io.BytesIO(lzma.decompress(data)), allow_pickle=False)
        about = json.loads(str(found["about"]))
        arrays = {name: found[name] for name in found.files if name != "about"}
    except (lzma.LZMAError, ValueError, KeyError, OSError) as error:
        raise ValueError(f"these {len(data)} bytes are no packed model, or are damaged: {error}") from error
    if about.pop("format", None) != kind:
        raise ValueError(f"these {len(data)} bytes are another kind of model than {kind!r}")
    return about, arrays


def int8_rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``int8`` of the same shape, and each row's step ``float16 [..., 1]``: 127 make its largest number."""
    steps = (np.abs(x).max(-1, keepdims=True) / 127).astype(np.float16)
    # A step too small for float16 is 0, and so are its row's numbers.
    whole = np.round(x / np.maximum(steps.astype(np.float32), 1e-30))
    return np.where(steps > 0, whole, 0).clip(-127, 127).astype(np.int8), steps


def float_rows(whole: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """``float32`` of what `int8_rows` gave."""
    return whole.astype(np.float32) * steps.astype(np.float32)


def packed_leaves(leaves: Mapping[str, np.ndarray], least: int = 4096) -> dict[str, np.ndarray]:
    """Arrays for `pack`: of matrices of ``least`` numbers or more int8 rows, of all else float32."""
    arrays: dict[str, np.ndarray] = {}
    for name, x in leaves.items():
        if x.ndim > 1 and math.prod(x.shape) >= least:
            arrays[name], arrays[f"{name}/step"] = int8_rows(np.asarray(x, np.float32))
        else:
            arrays[name] = np.asarray(x, np.float32)
    return arrays


def unpacked_leaves(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """``float32`` leaves of `packed_leaves`."""
    return {
        name: float_rows(x, arrays[f"{name}/step"]) if f"{name}/step" in arrays else x
        for name, x in arrays.items()
        if not name.endswith("/step")
    }
