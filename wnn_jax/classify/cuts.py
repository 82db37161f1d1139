"""Thresholds of an encoder: which cuts between the values of a feature become bits.

They depend only on the distinct values and the weight of each, so that a row of weight 2 counts as two rows.

Source: docs/semantics/classify.md
"""

import statistics
from typing import NamedTuple

import numpy as np

_WHOLE = 2.0**24  # up to here float32 holds every whole number


class Seen(NamedTuple):
    """The distinct values of a feature, with the weight of the rows that have each.

    Attributes:
      values: ``float32 [V]``, ascending.
      weights: ``float64 [V]``, above 0.

    Source: docs/semantics/classify.md
    """

    values: np.ndarray
    weights: np.ndarray


def distinct(x: np.ndarray, mass: np.ndarray | None) -> Seen:
    """Find the distinct values of a feature and the weight of each.

    Args:
      x: ``float32 [N]``, finite.
      mass: the weight of each row, ``float64 [N]``, above 0; None means 1.

    Source: docs/semantics/classify.md
    """
    if not len(x):
        return Seen(np.zeros(0, np.float32), np.zeros(0, np.float64))
    low = x.min()
    if float(x.max()) - float(low) < 1 << 16 and is_whole(x):
        weights = np.bincount((x - low).astype(np.int64), mass)
        there = np.flatnonzero(weights)
        return Seen((there + low).astype(np.float32), weights[there].astype(np.float64))
    if mass is None:
        values, weights = np.unique(x, return_counts=True)
    else:
        values, place = np.unique(x, return_inverse=True)
        weights = np.bincount(place, mass)
    return Seen(values, weights.astype(np.float64))


def is_whole(x: np.ndarray) -> bool:
    """Say whether all values are whole numbers that float32 holds without rounding.

    Source: docs/semantics/classify.md
    """
    return bool((np.abs(x) <= _WHOLE).all() and (x == np.rint(x)).all())


def choose(kind: str, seen: Seen, width: int, whole: bool) -> np.ndarray:
    """Choose the thresholds of a feature; each of them tells some of its values apart.

    Args:
      kind: ``quantile``, ``linear`` or ``gaussian``, as in `encoders.EncoderConfig`.
      seen: the values of the feature.
      width: the largest number of thresholds.
      whole: whether the thresholds are rounded up to whole numbers, which says the same of whole values.

    Returns:
      ``float32``, ascending: above the smallest value and at most the largest.

    Source: docs/semantics/classify.md
    """
    values = seen.values.astype(np.float64)
    if len(values) < 2 or not width:
        return np.zeros(0, np.float32)
    steps = np.arange(1, width + 1) / (width + 1)
    if kind == "quantile":
        cut = _cuts(seen.weights, width)
        edges = (values[cut] + values[cut + 1]) / 2
        edges = np.ceil(edges) if whole else edges
        # The midpoint of two neighbouring float32 numbers may be rounded down to the lower one.
        rounded = edges.astype(np.float32)
        return np.where(rounded > seen.values[cut], rounded, seen.values[cut + 1])
    if kind == "linear":
        edges = values[0] + steps * (values[-1] - values[0])
    else:
        mean = np.average(values, weights=seen.weights)
        spread = np.sqrt(np.average((values - mean) ** 2, weights=seen.weights))
        edges = mean + spread * np.array([statistics.NormalDist().inv_cdf(one) for one in steps], np.float64)
    edges = np.unique((np.ceil(edges) if whole else edges).astype(np.float32))
    return edges[(edges > seen.values[0]) & (edges <= seen.values[-1])]


def _cuts(weights: np.ndarray, width: int) -> np.ndarray:
    """Choose up to `width` cuts between neighbouring values, so that the parts have equal weight.

    A value that is heavier than a part is a part of its own; the rest is divided among the other parts. All
    sums are of the weights alone, so whole weights give exact comparisons.

    Args:
      weights: the weight of each distinct value, ascending.
      width: the largest number of cuts.

    Returns:
      Distinct places, ascending: place i is the cut between the values i and i + 1.
    """
    parts = width + 1
    if len(weights) <= parts:
        return np.arange(len(weights) - 1)
    order = np.sort(weights)[::-1]
    rest = order.sum() - np.concatenate([[0.0], np.cumsum(order)[: parts - 1]])
    # h values are heavy if the next one is not heavier than an equal part of what they leave.
    heavy = int(np.argmax(order[:parts] * (parts - np.arange(parts)) <= rest))
    light = np.where(weights > order[heavy], 0.0, weights)
    is_heavy = weights > order[heavy]
    left, share = light.sum(), parts - is_heavy.sum()
    reached = np.cumsum(light) * share + np.cumsum(is_heavy) * left
    cut = np.searchsorted(reached[:-1], np.arange(1, parts) * left)
    return np.unique(np.minimum(cut, len(weights) - 2))
