"""From scores to probabilities and decisions: a temperature, and thresholds for a false-positive rate.

Source: docs/semantics/classify.md
"""

from typing import Any, NamedTuple

import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits

_STEPS = 40  # halvings of the interval of the temperature's logarithm
_LOW, _HIGH = 2.0**-20, 16.0


def temperature(scores: Any, labels: Any, weight: Any = None) -> float:
    """Fit the factor of the scores whose softmax has the smallest cross-entropy.

    A share of 1 / (N + 2) of the targets is spread over all classes, so that scores without any error do not
    become certainties.

    Args:
      scores: numbers ``[N, K]``, of rows that the model was not fitted on; of training rows take
        `bleaching.left_out`.
      labels: integers ``[N]``, 0 to K - 1.
      weight: numbers ``[N]``, at least 0; None is 1.

    Returns:
      The factor, from 2^-20 to 16; the loss is convex in it, so there is one best. One class gives 1.

    Raises:
      ValueError: an array has a wrong type, shape or entry.

    Source: docs/semantics/classify.md; Guo et al. 2017, "On Calibration of Modern Neural Networks"; Platt
    1999, "Probabilistic Outputs for Support Vector Machines" (the spread targets)
    """
    scores = np.asarray(scores)
    checks.array("scores", scores, "numbers", {"N": None, "K": None})
    rows, classes = scores.shape
    checks.array("labels", labels, "integers", {"N": rows}, Limits(least=0, most=classes - 1))
    weight = np.ones(rows) if weight is None else np.asarray(weight)
    checks.array("weight", weight, "numbers", {"N": rows}, Limits(least=0))
    if classes == 1 or not weight.any():
        return 1.0
    scores = scores - scores[np.arange(rows), labels, None].astype(np.float64)  # the own class has 0
    share = weight / weight.sum()
    doubt = 1 / (weight.sum() + 2) / classes

    def slope(factor: float) -> float:
        p = probabilities(scores, factor)
        return float(share @ ((p - doubt) * scores).sum(axis=1))

    low, high = np.log2(_LOW), np.log2(_HIGH)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(2.0**middle) < 0 else (low, middle)
    return float(2.0 ** ((low + high) / 2))


def probabilities(scores: Any, factor: float) -> np.ndarray:
    """Turn scores into probabilities, whose largest one is where the largest score is.

    Args:
      scores: numbers ``[N, K]``.
      factor: from `temperature`, above 0.

    Returns:
      ``float64 [N, K]``; each row sums to 1. Equal scores have equal probabilities, so the first of the
      largest ones is the class that is predicted.

    Source: docs/semantics/classify.md
    """
    scores = np.asarray(scores, np.float64)
    # The best class has exp(0) = 1, and every worse score a smaller number: neighbours are 2^-20 apart.
    p = np.exp(factor * (scores - scores.max(axis=1, keepdims=True)))
    return p / p.sum(axis=1, keepdims=True)


class Operating(NamedTuple):
    """A threshold of a score, and what it does on the rows that it was chosen on.

    Attributes:
      threshold: rows whose score is at least this are called positive; infinite if no row may be.
      false_positive_rate: the share of the negative rows that are called positive.
      recall: the share of the positive rows that are called positive; NaN if there is none.

    Source: docs/semantics/classify.md
    """

    threshold: float
    false_positive_rate: float
    recall: float


def threshold(scores: Any, positive: Any, rate: float) -> Operating:
    """Choose the lowest threshold whose false-positive rate is at most a wanted one.

    Args:
      scores: numbers ``[N]`` of validation rows; larger ones are more positive.
      positive: booleans ``[N]``, the rows that should be found.
      rate: the largest share of the negative rows that may be called positive.

    Returns:
      The threshold and its rates. Rows of equal score are called alike, so the rate may stay below the
      wanted one.

    Raises:
      ValueError: an array is wrong, no row is negative, or the rate is outside of [0, 1].

    Source: docs/semantics/classify.md
    """
    scores, positive = _scored(scores, positive)
    rate = checks.number("rate", rate, Limits(least=0, most=1))
    negative = np.sort(scores[~positive])[::-1]
    if not len(negative):
        raise ValueError(f"none of {len(scores)} rows is negative: give rows that must not be found")
    allowed = int(np.floor(rate * len(negative) * (1 + 1e-12)))  # negative rows that may be called positive
    above = scores[scores > negative[allowed]] if allowed < len(negative) else scores
    chosen = float(above.min()) if len(above) else np.inf
    return at_threshold(scores, positive, chosen)


def at_threshold(scores: Any, positive: Any, chosen: float) -> Operating:
    """Measure a threshold on other rows, such as the test rows.

    Args:
      scores: numbers ``[N]``.
      positive: booleans ``[N]``.
      chosen: rows whose score is at least this are called positive.

    Returns:
      The threshold and its rates; a rate of no rows is NaN.

    Raises:
      ValueError: an array has a wrong type, shape or entry.

    Source: docs/semantics/classify.md
    """
    scores, positive = _scored(scores, positive)
    called = scores >= chosen
    rates = [float(called[x].mean()) if x.any() else float("nan") for x in (~positive, positive)]
    return Operating(float(chosen), *rates)


def _scored(scores: Any, positive: Any) -> tuple[np.ndarray, np.ndarray]:
    scores, positive = np.asarray(scores), np.asarray(positive)
    checks.array("scores", scores, "numbers", {"N": None})
    checks.array("positive", positive, "booleans", {"N": len(scores)})
    return scores, positive


def margin(scores: Any) -> np.ndarray:
    """Compute the margin of each row: the best score less the second best, as a share of the best.

    Args:
      scores: numbers ``[N, K]``.

    Returns:
      ``float64 [N]``; 0 at a tie, and 0 where the best score is not above 0 or there is one class.

    Source: docs/semantics/classify.md
    """
    scores = np.asarray(scores, np.float64)
    if scores.shape[1] == 1:
        return np.zeros(len(scores))
    second, best = np.sort(scores, axis=1)[:, -2:].T
    return np.where(best > 0, (best - second) / np.where(best > 0, best, 1), 0.0)


def tie_share(scores: Any) -> float:
    """Compute the share of the rows whose best score several classes have.

    Args:
      scores: numbers ``[N, K]``.

    Returns:
      The share, from 0 to 1.

    Source: docs/semantics/classify.md
    """
    scores = np.asarray(scores)
    return float(((scores == scores.max(axis=1, keepdims=True)).sum(axis=1) > 1).mean())
