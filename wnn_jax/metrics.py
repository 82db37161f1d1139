"""Computes the numbers and curves that judge a model, with NumPy in float64.

Source: docs/glossary.md
"""

from typing import NamedTuple

import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits

_SHARE = Limits(least=0, most=1 + 1e-6)  # sums of probabilities may be rounded up


class Summary(NamedTuple):
    """The scores of a model on a text: one row of a results table.

    Attributes:
      ce: cross-entropy, the mean nats of a token.
      ppl: perplexity, ``exp(ce)``; infinite above 709 nats.
      accuracy: the share of tokens that were the model's best guess.
      bits_per_byte: the bits of all tokens, divided by the number of UTF-8 bytes that the tokens stand for.
      word_ppl: perplexity of a word, the exponential of the nats of all tokens, divided by the number of
        words of the raw text; NaN if the text has no word. It does not depend on the tokenizer.

    Source: docs/glossary.md
    """

    ce: float
    ppl: float
    accuracy: float
    bits_per_byte: float
    word_ppl: float


def summarize(nats: np.ndarray, best: np.ndarray, tokens: np.ndarray, size: int, words: int) -> Summary:
    """Summarise the scores of N tokens.

    Args:
      nats: ``float [N]``, the negative log-probability of each token.
      best: ``int [N]``, the id that the model held most probable.
      tokens: ``int [N]``, the ids of the text.
      size: the number of UTF-8 bytes that the tokens stand for (`wnn_jax.data.text.count_bytes`).
      words: the number of words of the text (`wnn_jax.data.text.count_words`).

    Returns:
      The means.

    Raises:
      ValueError: lengths differ, there is no token, a score is NaN, the size is less than 1, or the number
        of words is negative.

    Source: docs/glossary.md
    """
    nats = np.asarray(nats, np.float64)
    if not len(nats) == len(best) == len(tokens) or not len(tokens):
        raise ValueError(
            f"a summary needs one score and one guess for each token, and at least one token, got "
            f"{len(nats)} scores, {len(best)} guesses, {len(tokens)} tokens: score every token"
        )
    if np.isnan(nats).any():
        raise ValueError(
            f"{np.isnan(nats).sum()} of {len(nats)} scores are NaN, and all must be numbers: check the model"
        )
    checks.integer("size", size, Limits(least=1, most=1 << 62))
    checks.integer("words", words, Limits(least=0, most=1 << 62))
    ce = float(nats.mean())
    with np.errstate(over="ignore"):
        ppl = float(np.exp(ce))
        word_ppl = float(np.exp(nats.sum() / words)) if words else float("nan")
    return Summary(
        ce=ce,
        ppl=ppl,
        accuracy=float(np.mean(np.asarray(best) == tokens)),
        bits_per_byte=float(nats.sum() / np.log(2) / size),
        word_ppl=word_ppl,
    )


def bit_accuracy(one: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Compute the accuracy of each bit: the share of examples on which ``P(bit = 1) > 1/2`` is right.

    Args:
      one: ``float [B, N]``, the probability that each bit is 1; exactly 1/2 is taken as a guess of 0.
      targets: ``bool [B, N]``, the bits of the text.

    Returns:
      ``float64 [B]``.

    Raises:
      ValueError: the arrays are not of one shape, or hold something else than probabilities and bits.

    Source: docs/glossary.md
    """
    one, targets = _predictions(one, targets)
    return np.mean((one > 0.5) == targets, axis=1)


def _predictions(one: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and the bits that came as arrays.

    Raises:
      ValueError: the arrays are not of one shape, or hold something else.
    """
    one, targets = np.asarray(one), np.asarray(targets)
    checks.array("one", one, "numbers", limits=_SHARE)
    shape = {f"axis {i}": size for i, size in enumerate(one.shape)}
    checks.array("targets", targets, "booleans" if targets.dtype == bool else "numbers", shape, _SHARE)
    return one, targets


class Reliability(NamedTuple):
    """A reliability curve: in each bin of probabilities, the mean prediction and the observed frequency.

    Empty bins are left out, so the arrays are as long as the number of bins that hold a prediction.

    Attributes:
      predicted: ``float64 [bins]``, the mean prediction of the bin.
      observed: ``float64 [bins]``, the share of ones among the targets of the bin.
      size: ``int [bins]``, the number of predictions in the bin.

    Source: docs/glossary.md
    """

    predicted: np.ndarray
    observed: np.ndarray
    size: np.ndarray


def reliability(one: np.ndarray, targets: np.ndarray, bins: int = 20) -> Reliability:
    """Compare probabilities with the bits that came, in bins of equal width.

    Args:
      one: ``float [...]``, the predicted probability that each bit is 1.
      targets: ``bool [...]`` of the same shape, the bits that came.
      bins: number of bins between 0 and 1; a prediction of exactly 1 falls into the last.

    Returns:
      The curve, without its empty bins.

    Raises:
      ValueError: the arrays are not of one shape, or hold something else than probabilities and bits; or
        there is no bin, or are more than a million.

    Source: docs/glossary.md
    """
    bins = checks.integer("bins", bins, checks.Limits(least=1, most=1_000_000))
    one, targets = (np.ravel(x) for x in _predictions(one, targets))
    one = one.astype(np.float64)
    place = np.minimum((one * bins).astype(int), bins - 1)
    size = np.bincount(place, minlength=bins)
    kept = size > 0
    predicted = np.bincount(place, one, minlength=bins)[kept] / size[kept]
    observed = np.bincount(place, targets, minlength=bins)[kept] / size[kept]
    return Reliability(predicted, observed, size[kept])
