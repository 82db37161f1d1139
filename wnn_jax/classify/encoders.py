"""Encoders: maps from the values of a row to levels, fitted on training rows and frozen.

A *column* is made of one input feature. A thermometer column counts the thresholds that a value reaches; the
columns of a category, of "unknown" and of "missing" hold 0 or 1. The bits of a column of width w are
``level >= 1`` to ``level >= w``.

Source: docs/semantics/classify.md
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.classify import cuts
from wnn_jax.classify.cuts import Seen
from wnn_jax.classify.layer import MAX_LEVEL, in_place

THERMOMETER, CATEGORY, MISSING, UNKNOWN = range(4)  # the kinds of columns
_BLOCK = 64  # columns that are copied into one piece at once
_FEW = 8  # thresholds up to which comparing with each of them is quicker than a binary search
_CACHED = 1 << 16  # values that are compared at a time


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """How an encoder chooses its thresholds.

    Attributes:
      kind: ``quantile``: midpoints between neighbouring distinct values, so chosen that the rows fall into
        parts of equal weight. ``linear``: equal steps between the smallest and the largest value.
        ``gaussian``: equal shares of the normal distribution with the mean and the standard deviation of the
        values.
      bits: the largest number of thresholds of a feature.
      widths: the same for each feature; 0 leaves a feature out. None means `bits` for all.
      categories: the features whose values are codes of categories, which get one column for each code.
      shared: whether all features have the same thresholds, fitted on all their values together, as the
        pixels of an image do. Every feature then has a column, also one whose value never changes.

    Raises:
      ValueError: a field is out of range, or `shared` is combined with `widths` or `categories`.

    Source: docs/semantics/classify.md
    """

    kind: Literal["quantile", "linear", "gaussian"] = "quantile"
    bits: int = 8
    widths: tuple[int, ...] | None = None
    categories: tuple[int, ...] = ()
    shared: bool = False

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.fields(
            self,
            bits=Limits(least=1, most=MAX_LEVEL),
            widths=Limits(least=0, most=MAX_LEVEL),
            categories=Limits(least=0),
        )
        if self.shared and (self.widths is not None or self.categories):
            raise ValueError("shared=True has one width and no categories: leave out widths and categories")


class Encoder(NamedTuple):
    """A fitted encoder of F features into J columns with I thresholds and codes. All arrays are NumPy's.

    The columns are ordered by feature; of one feature the thermometer or the codes come first, then unknown,
    then missing.

    Attributes:
      source: ``int32 [J]``, the feature of each column.
      kind: ``int8 [J]``: `THERMOMETER`, `CATEGORY`, `MISSING` or `UNKNOWN`.
      start: ``int32 [J + 1]``, the places in `threshold` where the entries of the columns begin.
      threshold: ``float32 [I]``: the thresholds of a thermometer column, ascending; the code of a column of a
        category; none for the other kinds.
      missing: ``bool [F]``, whether a feature may be missing: NaN was seen when the encoder was fitted.
      whole: ``bool [F]``, whether all values of a feature were whole numbers; its thresholds then are too.
      low: ``float32 [F]``, the smallest value that was seen of each feature.
      high: ``float32 [F]``, the largest one; `low` and `high` are 0 where there was none.

    Source: docs/semantics/classify.md
    """

    source: np.ndarray
    kind: np.ndarray
    start: np.ndarray
    threshold: np.ndarray
    missing: np.ndarray
    whole: np.ndarray
    low: np.ndarray
    high: np.ndarray


def fit(config: EncoderConfig, X: Any, weight: Any = None) -> Encoder:
    """Choose the thresholds and codes of all features.

    The result depends only on the weight of each distinct value: a row of weight 2 counts as two rows, a row
    of weight 0 as none, and the order of the rows does not matter.

    Args:
      config: how thresholds are chosen.
      X: numbers ``[N, F]``, used as float32; NaN is a missing value.
      weight: the weight of each row, ``[N]``, at least 0; None means 1.

    Returns:
      The encoder. Features that hold one value have no column; it has no column at all if all are so.

    Raises:
      ValueError: `X` is no matrix of numbers, has no row or no feature, or holds an infinite number; the
        weights are not one number for each row, or all 0; `widths` or `categories` do not fit the features.

    Source: docs/semantics/classify.md
    """
    X = _matrix(X)
    _finite(X, None)
    rows, features = X.shape
    if not rows or not features:
        raise ValueError(f"X has shape {list(X.shape)}: give at least one row and one feature")
    widths = (config.bits,) * features if config.widths is None else config.widths
    if len(widths) != features:
        raise ValueError(f"widths has {len(widths)} entries, but X has {features} features: give one each")
    if config.categories and max(config.categories) >= features:
        wrong = max(config.categories)
        raise ValueError(f"categories names feature {wrong}, but X has the features 0 to {features - 1}")
    mass = _weights(weight, rows)
    if mass is not None and not mass.all():
        X, mass = X[mass > 0], mass[mass > 0]
    seen, missing = [], np.zeros(features, bool)
    for feature, x in enumerate(_columns(X, np.arange(features))):
        there = ~np.isnan(x)
        missing[feature] = not there.all()
        seen.append(cuts.distinct(x[there], None if mass is None else mass[there]))
    whole = [cuts.is_whole(one.values) for one in seen]
    if config.shared:
        pooled = cuts.distinct(
            np.concatenate([one.values for one in seen]), np.concatenate([one.weights for one in seen])
        )
        whole = [all(whole)] * features
        columns = [_thermometer(config.kind, pooled, config.bits, whole[0])] * features
    else:
        columns = [
            _codes(seen[i])
            if i in config.categories
            else _thermometer(config.kind, seen[i], widths[i], whole[i])
            for i in range(features)
        ]
    return _made(columns, missing, np.array(whole), seen)


def given(thresholds: Sequence[float], features: int) -> Encoder:
    """Make an encoder whose features all have the same given thresholds, such as the pixels of an image.

    Args:
      thresholds: the thresholds, ascending; they are rounded to float32.
      features: F.

    Returns:
      The encoder; no value may be missing, and `Encoder.low` and `Encoder.high` are the ends of float32.

    Raises:
      ValueError: there is no threshold or more than 254, or they do not ascend.

    Source: docs/semantics/classify.md
    """
    features = checks.integer("features", features, Limits(least=1))
    edges = np.asarray([checks.number("thresholds", one) for one in thresholds], np.float32)
    if not 1 <= len(edges) <= MAX_LEVEL:
        raise ValueError(f"there are {len(edges)} thresholds: give 1 to {MAX_LEVEL}")
    if (np.diff(edges) <= 0).any():
        raise ValueError(f"the thresholds {list(map(float, edges))} do not ascend: sort them, each once")
    most = np.finfo(np.float32).max
    all_values = Seen(np.array([-most, most], np.float32), np.ones(2, np.float64))
    none, whole = np.zeros(features, bool), np.full(features, cuts.is_whole(edges))
    return _made([[(THERMOMETER, edges)]] * features, none, whole, [all_values] * features)


def levels(encoder: Encoder, X: Any) -> np.ndarray:
    """Encode rows.

    Args:
      encoder: the encoder.
      X: numbers ``[N, F]``; they are rounded to float32 before they are compared.

    Returns:
      ``uint8 [N, J]``. A thermometer column holds the number of its thresholds t with ``x >= t``, and 0 for a
      missing value; a column of a category is 1 where x is its code; unknown is 1 where x is none of the
      codes; missing is 1 where x is NaN.

    Raises:
      ValueError: `X` is no matrix of numbers, has another number of features than the encoder, holds an
        infinite number, or lacks a value of a feature that lacked none when the encoder was fitted.

    Source: docs/semantics/classify.md
    """
    X = _matrix(X)
    if X.shape[1] != len(encoder.missing):
        raise ValueError(
            f"X has {X.shape[1]} features, but the encoder was fitted on {len(encoder.missing)}: give these"
        )
    _finite(X, encoder.missing)
    found = in_place((len(X), len(encoder.source)), np.uint8)
    narrow = (encoder.kind == THERMOMETER) & (np.diff(encoder.start) <= _FEW)
    if narrow.any():
        _compare(encoder, X, np.flatnonzero(narrow), found)
    wide = np.flatnonzero(~narrow)
    block = np.empty((_BLOCK, len(X)), np.uint8)
    for i, x in enumerate(_columns(X, encoder.source[wide])):
        _encode(encoder, wide[i], x, block[i % _BLOCK])
        if (i + 1) % _BLOCK == 0 or i + 1 == len(wide):
            first = i - i % _BLOCK
            found[:, wide[first : i + 1]] = block[: i + 1 - first].T
    return found


def bits(encoder: Encoder, X: Any) -> np.ndarray:
    """Encode rows as single bits: the levels of `levels`, written out.

    Args:
      encoder: the encoder.
      X: numbers ``[N, F]``.

    Returns:
      ``uint8 [N, B]`` of 0 and 1, in the order of `names`.

    Raises:
      ValueError: as `levels` does.

    Source: docs/semantics/classify.md
    """
    column, level = places(encoder)
    return (levels(encoder, X)[:, column] >= level).astype(np.uint8)


def widths(encoder: Encoder) -> np.ndarray:
    """Return the number of bits of each column, ``int32 [J]``: its number of thresholds, or 1.

    Source: docs/semantics/classify.md
    """
    return np.where(encoder.kind == THERMOMETER, np.diff(encoder.start), 1).astype(np.int32)


def places(encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """List all bits: a bit is 1 where the level of its column is at least its level.

    Args:
      encoder: the encoder.

    Returns:
      The column of each bit, ``int32 [B]``, and its level, ``uint8 [B]``, from 1 on.

    Source: docs/semantics/classify.md
    """
    width = widths(encoder)
    column = np.repeat(np.arange(len(width), dtype=np.int32), width)
    first = np.repeat(np.cumsum(width) - width, width)
    return column, (np.arange(len(column)) - first + 1).astype(np.uint8)


def names(
    encoder: Encoder,
    features: Sequence[str] | None = None,
    categories: Mapping[int, Sequence[str]] | None = None,
) -> list[str]:
    """Name all bits, such as ``length>=2.5``, ``colour=red``, ``colour=unknown`` and ``length=missing``.

    Args:
      encoder: the encoder.
      features: the names of the features; None means ``x0``, ``x1`` and so on.
      categories: the names of the codes 0, 1, and so on of features whose values are categories.

    Returns:
      B names, in the order of `places`.

    Raises:
      ValueError: there are more or fewer names than features.

    Source: docs/semantics/classify.md
    """
    known = [f"x{i}" for i in range(len(encoder.missing))] if features is None else list(features)
    if len(known) != len(encoder.missing):
        raise ValueError(f"there are {len(known)} names for {len(encoder.missing)} features: give one each")
    found = []
    for j, (source, kind) in enumerate(zip(encoder.source.tolist(), encoder.kind.tolist(), strict=True)):
        entries = encoder.threshold[encoder.start[j] : encoder.start[j + 1]]
        if kind == THERMOMETER:
            found += [f"{known[source]}>={_short(one)}" for one in entries]
        elif kind == CATEGORY:
            said = (categories or {}).get(source)
            found.append(f"{known[source]}={said[int(entries[0])] if said else _short(entries[0])}")
        else:
            found.append(f"{known[source]}={'missing' if kind == MISSING else 'unknown'}")
    return found


def outside(encoder: Encoder, X: Any) -> float:
    """Return the share of values that lie below or above all values that the encoder was fitted on.

    Args:
      encoder: the encoder.
      X: numbers ``[N, F]``; missing values count as inside.

    Raises:
      ValueError: as `levels` does.

    Source: docs/semantics/classify.md
    """
    X = _matrix(X)
    if X.shape[1] != len(encoder.low):
        raise ValueError(f"X has {X.shape[1]} features: give the {len(encoder.low)} of the encoder")
    return float(((encoder.low > X) | (encoder.high < X)).mean()) if X.size else 0.0


def _compare(encoder: Encoder, X: np.ndarray, columns: np.ndarray, found: np.ndarray) -> None:
    """Write the levels of thermometer columns with few thresholds: each is compared with a block of rows."""
    width = np.diff(encoder.start)[columns]
    edges = np.full((width.max(), len(columns)), np.inf, np.float32)
    for k in range(len(edges)):
        edges[k, width > k] = encoder.threshold[encoder.start[columns[width > k]] + k]
    source = encoder.source[columns]
    every = np.array_equal(source, np.arange(X.shape[1]))
    size = max(_CACHED // len(columns), 1)
    for first in range(0, len(X), size):
        part = X[first : first + size]
        part = (part if every else part[:, source]).astype(np.float32, copy=False)
        level = np.zeros(part.shape, np.uint8)
        for edge in edges:
            level += part >= edge
        found[first : first + size, columns if len(columns) < found.shape[1] else slice(None)] = level


def _encode(encoder: Encoder, j: int, x: np.ndarray, out: np.ndarray) -> None:
    """Write the levels of column j for the values ``float32 [N]`` of its feature."""
    kind, entries = encoder.kind[j], encoder.threshold[encoder.start[j] : encoder.start[j + 1]]
    if kind == THERMOMETER:
        out[:] = np.searchsorted(entries, x, side="right")
        out[np.isnan(x)] = 0  # NaN sorts above everything
    elif kind == CATEGORY:
        out[:] = x == entries[0]
    elif kind == MISSING:
        out[:] = np.isnan(x)
    else:
        mine = (encoder.source == encoder.source[j]) & (encoder.kind == CATEGORY)
        out[:] = ~np.isin(x, encoder.threshold[encoder.start[:-1][mine]]) & ~np.isnan(x)


def _matrix(X: Any) -> np.ndarray:
    """Return a matrix as float32; integers of 8 bits stay as they are, which are the same numbers.

    Raises:
      ValueError: it is no dense matrix of numbers.
    """
    if hasattr(X, "toarray"):
        raise ValueError(f"X is a sparse {type(X).__name__}: give a dense array, such as X.toarray()")
    X = np.asarray(X)
    if X.dtype == np.bool_:
        X = X.view(np.uint8)
    if X.dtype.kind not in "iuf":
        raise ValueError(f"X has dtype {X.dtype}: give numbers; categories are codes 0, 1, 2, ...")
    if X.ndim != 2:
        raise ValueError(f"X has shape {list(X.shape)}: give a matrix with a row for each example")
    if X.dtype == np.uint8 or X.dtype == np.float32:
        return X
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused by its place
        return X.astype(np.float32)


def _finite(X: np.ndarray, missing: np.ndarray | None) -> None:
    """Check that no value is infinite, and that NaN stands only where it may; None lets it stand anywhere.

    Raises:
      ValueError: a value is not so; the message names the first one.
    """
    if X.dtype == np.uint8 or np.isfinite(X).all():
        return
    row, feature = np.nonzero(np.isinf(X))
    if len(row):
        raise ValueError(
            f"row {row[0]}, feature {feature[0]} of X is infinite or too large for float32: give finite "
            "numbers, or NaN for a missing value"
        )
    if missing is None:
        return
    row, feature = np.nonzero(np.isnan(X) & ~missing)
    if len(row):
        raise ValueError(
            f"row {row[0]}, feature {feature[0]} of X is NaN, but no value of that feature was missing "
            "when the encoder was fitted: fill it in, or fit on rows that lack it too"
        )


def _weights(weight: Any, rows: int) -> np.ndarray | None:
    """Return the weights as float64.

    Raises:
      ValueError: they are not one number of at least 0 for each row, or all are 0.
    """
    if weight is None:
        return None
    checks.array("weight", weight, "numbers", {"N": rows}, Limits(least=0))
    mass = np.asarray(weight, np.float64)
    if not mass.any():
        raise ValueError(f"all {rows} weights are 0: give at least one row a weight above 0")
    return mass


def _columns(X: np.ndarray, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the chosen columns one by one, each as float32 in one piece; a copy of few columns at a time."""
    for first in range(0, len(chosen), _BLOCK):
        yield from np.ascontiguousarray(X[:, chosen[first : first + _BLOCK]].T, np.float32)


def _codes(seen: Seen) -> list[tuple[int, np.ndarray]]:
    """Make the columns of a category; one code alone tells nothing."""
    if len(seen.values) < 2:
        return []
    return [(CATEGORY, one[None]) for one in seen.values] + [(UNKNOWN, np.zeros(0, np.float32))]


def _thermometer(kind: str, seen: Seen, width: int, whole: bool) -> list[tuple[int, np.ndarray]]:
    """Make the column of a number, if a threshold tells its values apart."""
    edges = cuts.choose(kind, seen, width, whole)
    return [(THERMOMETER, edges)] if len(edges) else []


def _made(columns: list, missing: np.ndarray, whole: np.ndarray, seen: list[Seen]) -> Encoder:
    """Put the columns of all features together, and a column for missing values where they were seen."""
    none = np.zeros(0, np.float32)
    listed = [
        (feature, kind, entries)
        for feature, some in enumerate(columns)
        for kind, entries in [*some, *([(MISSING, none)] if missing[feature] else [])]
    ]
    lengths = [len(entries) for *_, entries in listed]
    ends = [(one.values[[0, -1]] if len(one.values) else np.zeros(2, np.float32)) for one in seen]
    low, high = np.asarray(ends, np.float32).T.copy()
    return Encoder(
        np.array([feature for feature, *_ in listed], np.int32),
        np.array([kind for _, kind, _ in listed], np.int8),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        np.concatenate([none, *(entries for *_, entries in listed)]).astype(np.float32),
        missing,
        whole,
        low,
        high,
    )


def _short(x: np.floating) -> str:
    return str(int(x)) if float(x).is_integer() and abs(x) < 1e15 else str(np.float32(x))
