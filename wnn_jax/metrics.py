"""Numbers and curves that judge a model. Host code, float64."""

from typing import NamedTuple

import numpy as np


class Summary(NamedTuple):
    """One row of a results table.

    Attributes:
      ce: nats a token.
      ppl: ``exp(ce)``, and infinite above 709 nats.
      accuracy: share of tokens that were the model's best guess.
      bits_per_byte: bits spent on all tokens over the UTF-8 bytes they stand for.
    """

    ce: float
    ppl: float
    accuracy: float
    bits_per_byte: float


def summarize(nats: np.ndarray, best: np.ndarray, tokens: np.ndarray, token_bytes: np.ndarray) -> Summary:
    """Mean scores of N tokens.

    Args:
      nats: ``[N]`` negative log-probabilities.
      best: ``[N]`` guesses.
      tokens: ``[N]`` ids that came.
      token_bytes: ``[V]`` bytes of each id.

    Raises:
      ValueError: lengths differ, there is no token, or a score is NaN.
    """
    nats = np.asarray(nats, np.float64)
    if not len(nats) == len(best) == len(tokens) or not len(tokens):
        raise ValueError(
            f"need as many scores as tokens, and at least one: {len(nats)} scores, "
            f"{len(best)} guesses, {len(tokens)} tokens"
        )
    if np.isnan(nats).any():
        raise ValueError(f"{np.isnan(nats).sum()} of {len(nats)} scores are NaN")
    ce = float(nats.mean())
    with np.errstate(over="ignore"):
        ppl = float(np.exp(ce))
    size = int(np.asarray(token_bytes)[tokens].sum())
    return Summary(
        ce=ce,
        ppl=ppl,
        accuracy=float(np.mean(np.asarray(best) == tokens)),
        bits_per_byte=float(nats.sum() / np.log(2) / size),
    )


def bit_accuracy(one: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Share of examples on which "P(bit = 1) > 1/2" is right, ``[B]`` from ``[B, N]`` arrays."""
    return np.mean((np.asarray(one) > 0.5) == np.asarray(targets), axis=1)


class Reliability(NamedTuple):
    """Predicted against observed frequency, in equal-width bins that hold something.

    ``predicted`` is the mean prediction of the bin, ``observed`` the share of ones, ``size`` its
    predictions.
    """

    predicted: np.ndarray
    observed: np.ndarray
    size: np.ndarray


def reliability(one: np.ndarray, targets: np.ndarray, bins: int = 20) -> Reliability:
    """Reliability of probabilities of ones against what came, arrays of any one shape."""
    one, targets = np.ravel(one).astype(np.float64), np.ravel(targets)
    place = np.minimum((one * bins).astype(int), bins - 1)
    size = np.bincount(place, minlength=bins)
    kept = size > 0
    predicted = np.bincount(place, one, minlength=bins)[kept] / size[kept]
    observed = np.bincount(place, targets, minlength=bins)[kept] / size[kept]
    return Reliability(predicted, observed, size[kept])
