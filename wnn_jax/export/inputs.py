"""The types of an exported model's input values, and the exact comparison that each of them needs.

Python rounds a value to float32 and compares it with a float32 threshold. A threshold for integers is the
smallest integer whose float32 reaches the threshold, so that both comparisons agree for every integer of the
type.

Source: docs/semantics/export.md
"""

from typing import Any, Literal, NamedTuple

import numpy as np

from wnn_jax.classify import encoders
from wnn_jax.classify.encoders import CATEGORY, Encoder

Inputs = Literal["auto", "uint8", "int16", "int32", "float"]
_EXACT = 1 << 24  # up to here every integer is a float32


class Input(NamedTuple):
    """A type of input values.

    Attributes:
      name: ``uint8``, ``int16``, ``int32`` or ``float``.
      ctype: its name in C.
      dtype: its name in NumPy.
      bits: its width.
      least: the smallest integer; it stands for a missing value where the type has a sign.
      most: the largest integer.

    Source: docs/semantics/export.md
    """

    name: str
    ctype: str
    dtype: str
    bits: int
    least: int
    most: int

    @property
    def whole(self) -> bool:
        """Whether the values are integers."""
        return self.name != "float"


FLOAT = Input("float", "float", "float32", 32, 0, 0)
INTEGERS = (
    Input("uint8", "uint8_t", "uint8", 8, 0, 255),
    Input("int16", "int16_t", "int16", 16, -(1 << 15), (1 << 15) - 1),
    Input("int32", "int32_t", "int32", 32, -(1 << 31), (1 << 31) - 1),
)
NAMES = ("auto", *(one.name for one in INTEGERS), FLOAT.name)


def chosen(inputs: str, encoder: Encoder, columns: np.ndarray) -> Input:
    """Choose the type of the input values.

    Args:
      inputs: its name. ``auto`` takes the smallest integer type that holds the values of the features as the
        encoder saw them, their thresholds and their codes, if all these values were whole; otherwise float.
      encoder: the encoder.
      columns: the columns that are read.

    Raises:
      ValueError: the name is unknown, or a threshold, a code or a missing value does not fit into the type.

    Source: docs/semantics/export.md
    """
    if inputs not in NAMES:
        raise ValueError(f"unknown inputs {str(inputs)!r:.60}: choose one of {', '.join(NAMES)}")
    if inputs == "float":
        return FLOAT
    if inputs != "auto":
        one = next(one for one in INTEGERS if one.name == inputs)
        if said := _unfit(one, encoder, columns):
            raise ValueError(f"{said}: give inputs='auto' or a larger type")
        return one
    read = np.unique(encoder.source[columns])
    if not encoder.whole[read].all():
        return FLOAT
    seen = np.stack([encoder.low[read], encoder.high[read]])
    seen = seen[np.abs(seen) < np.finfo(np.float32).max]  # thresholds that were given come without values
    for one in INTEGERS:
        inside = ((seen >= one.least) & (seen <= one.most)).all()
        if inside and not _unfit(one, encoder, columns):
            return one
    return FLOAT


def reaching(threshold: np.float32) -> int:
    """Return the smallest integer whose float32 is at least a threshold.

    Source: docs/semantics/export.md
    """
    if abs(threshold) <= _EXACT:
        return int(np.ceil(np.float64(threshold)))
    below = np.nextafter(threshold, np.float32(-np.inf))
    first = (int(below) + int(threshold)) // 2  # integers up to the middle round down, or to the even one
    while np.float32(first) < threshold:
        first += 1
    return first


def rows(kind: Input, encoder: Encoder, read: np.ndarray, X: Any) -> np.ndarray:
    """Return rows as an exported model takes them.

    Args:
      kind: the type of the input values.
      encoder: the encoder of the model.
      read: the features that pins read; the others become 0 where values are integers.
      X: numbers ``[N, F]``; NaN is a missing value.

    Raises:
      ValueError: `encoders.levels` refuses the rows, or a value is no integer of the type.

    Source: docs/semantics/export.md
    """
    encoders.levels(encoder, X)
    X = np.asarray(X)
    if not kind.whole:
        return np.ascontiguousarray(X, np.float32)
    X = np.where(np.isin(np.arange(X.shape[1]), read), X, 0)
    lacks = np.isnan(X) if X.dtype.kind == "f" else np.zeros(X.shape, bool)
    filled = np.where(lacks, kind.least, X)
    least = kind.least + bool(kind.least and encoder.missing[read].any())
    bad = ~lacks & ~((filled >= least) & (filled <= kind.most) & (filled == np.floor(filled)))
    if bad.any():
        row, feature = np.argwhere(bad)[0]
        raise ValueError(
            f"row {row}, feature {feature} of X is {X[row, feature]}, and the exported model reads "
            f"{kind.name}: give whole numbers from {least} to {kind.most}, or export with another inputs="
        )
    return np.ascontiguousarray(filled, kind.dtype)


def _unfit(kind: Input, encoder: Encoder, columns: np.ndarray) -> str:
    """Say which threshold, code or missing value an integer type cannot hold; nothing if it holds all."""
    if kind.least == 0 and encoder.missing[encoder.source[columns]].any():
        lacks = encoder.source[columns][encoder.missing[encoder.source[columns]]][0]
        return f"feature {lacks} may be missing, and {kind.name} has no value to say so"
    for j in columns:
        entries, feature = encoder.threshold[encoder.start[j] : encoder.start[j + 1]], encoder.source[j]
        for one in entries:
            code = encoder.kind[j] == CATEGORY
            value = int(one) if code else reaching(one)
            fits = kind.least < value <= kind.most or (code and value == kind.least == 0)
            if not fits or (code and (value != one or abs(value) >= _EXACT)):
                what = "the code" if code else "the threshold"
                return f"{what} {one} of feature {feature} is no value of {kind.name}"
    return ""
