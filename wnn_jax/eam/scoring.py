"""Scores a text by a model, and by its mixture with nearest neighbours in the text itself.

Shapes: N windows, T tokens of a window, V vocabulary, K size of a key.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.eam import knn
from wnn_jax.eam.distill import Predictions
from wnn_jax.eam.knn import KnnConfig

_NEAREST = KnnConfig()

Predict = Callable[[np.ndarray], Predictions]  # from windows ``int32 [N, T]`` to predictions at every place


class TokenScores(NamedTuple):
    """The scores of N tokens.

    Attributes:
      nats: ``float32 [N]``, the costs of the tokens.
      best: ``int [N]``, the most probable token at each place, the lowest id on ties.

    Source: docs/semantics/eam.md
    """

    nats: np.ndarray
    best: np.ndarray


class NeighbourScores(NamedTuple):
    """The scores of N tokens with and without neighbours.

    Attributes:
      model: the scores of the model alone.
      mixture: the scores of the model mixed with its neighbours.
      oracle: ``float [N]``, nats of the better of two answers, chosen by looking at the token; no model can
        have them.
      error: the largest difference of a sum of the mixture's probabilities from 1.

    Source: docs/semantics/eam.md
    """

    model: TokenScores
    mixture: TokenScores
    oracle: np.ndarray
    error: float


def predict_all(predict: Predict, windows: np.ndarray, batch: int = 16) -> Predictions:
    """Predicts at every place of windows; the results lie in order, in host memory.

    Args:
      predict: a model.
      windows: ``int32 [N, T + 1]``; the last token of each is only a target.
      batch: the number of windows that are predicted at once.

    Returns:
      log-probabilities ``float32 [N T, V]`` and keys ``float32 [N T, K]``.

    Raises:
      ValueError: there is no window, or an id is no integer below V.

    Source: docs/semantics/eam.md
    """
    checks.array("windows", windows, "integers", {"N": None, "T + 1": None}, checks.Limits(least=0))
    checks.integer("batch", batch, checks.Limits(least=1))
    if not len(windows) or windows.shape[1] < 2:
        raise ValueError(f"windows has shape {list(windows.shape)}: give at least one token to predict")
    parts = [predict(windows[i : i + batch, :-1]) for i in range(0, len(windows), batch)]
    flat = ([np.asarray(x).reshape(-1, x.shape[-1]) for x in part] for part in zip(*parts, strict=True))
    log_probs, keys = (np.concatenate(x) for x in flat)
    checks.entries("windows", np.asarray(windows), checks.Limits(most=log_probs.shape[1] - 1))
    return Predictions(log_probs, keys)


def score(predict: Predict, windows: np.ndarray) -> TokenScores:
    """Scores the tokens of windows, in order; the first token of each window is only context.

    Args:
      predict: a model.
      windows: ``int32 [N, T + 1]``.

    Source: docs/semantics/eam.md
    """
    return _model_scores(predict_all(predict, windows), windows[:, 1:].ravel())


def fit_mixture(predict: Predict, windows: np.ndarray, config: KnnConfig = _NEAREST) -> knn.MixtureGate:
    """Fits the gate that decides the neighbours' share of a mixture.

    Args:
      predict: a model.
      windows: ``int32 [N, T + 1]``, in the order of the text; they must not be scored with the gate.
      config: how neighbours are found.

    Source: docs/semantics/eam.md
    """
    predictions, tokens = predict_all(predict, windows), windows[:, 1:].ravel()
    return knn.fit_gate(_look_up(config, predictions, tokens)[1])


def score_with_neighbours(
    predict: Predict, gate: knn.MixtureGate, windows: np.ndarray, config: KnnConfig = _NEAREST
) -> NeighbourScores:
    """Scores a model, and its mixture with the neighbours of each place among the places before it.

    Args:
      predict: a model.
      gate: the result of `fit_mixture`.
      windows: ``int32 [N, T + 1]``, in the order of the text.
      config: how neighbours are found.

    Raises:
      ValueError: the probabilities of a mixture do not sum to 1 within 1e-4.

    Source: docs/semantics/eam.md
    """
    predictions, tokens = predict_all(predict, windows), windows[:, 1:].ravel()
    blocks, evidence = _look_up(config, predictions, tokens)
    best, errors, start = [], [], 0
    for near in blocks:
        some = slice(start, start + len(near.cosine))
        start = some.stop
        mixed = knn.mixture(gate, near, jnp.asarray(predictions.log_probs[some]))
        best.append(mixed.argmax(1).astype(jnp.int32))
        errors.append(float(np.abs(np.asarray(mixed.sum(1)) - 1).max()))
    if max(errors) > 1e-4:
        raise ValueError(
            f"the probabilities of a mixture must sum to 1 within 1e-4, got a difference of {max(errors):.1e}"
            ": check that the model's probabilities sum to 1"
        )
    mixture = TokenScores(np.asarray(knn.nats(gate, evidence)), np.concatenate(best))
    return NeighbourScores(_model_scores(predictions, tokens), mixture, knn.oracle(evidence), max(errors))


def _model_scores(predictions: Predictions, tokens: np.ndarray) -> TokenScores:
    log_probs = np.asarray(predictions.log_probs)
    return TokenScores(-log_probs[np.arange(len(tokens)), tokens], log_probs.argmax(1))


def _look_up(
    config: KnnConfig, predictions: Predictions, tokens: np.ndarray
) -> tuple[list[knn.Neighbours], knn.Evidence]:
    """Returns the neighbours of each block, and the evidence of all places."""
    blocks, parts, start = [], [], 0
    for near in knn.neighbours(config, np.asarray(predictions.keys), tokens):
        some = slice(start, start + len(near.cosine))
        start = some.stop
        parts.append(knn.evidence(near, predictions.log_probs[some], tokens[some]))
        blocks.append(near)
    joined = jax.tree.map(lambda *x: jnp.concatenate(x), *parts)
    return blocks, joined
