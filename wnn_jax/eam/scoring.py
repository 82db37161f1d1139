"""Scores of a text: a model's, and those of its mixture with nearest neighbours in the text itself."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.eam import knn
from wnn_jax.eam.distill import Predictions
from wnn_jax.eam.knn import KnnConfig

_NEAREST = KnnConfig()

Predict = Callable[[np.ndarray], Predictions]  # of windows ``int32 [N, T]``, at every place


class TokenScores(NamedTuple):
    """Scores of N tokens.

    Attributes:
      nats: ``float32 [N]``, their costs.
      best: ``int [N]``, the likeliest token at each place.
    """

    nats: np.ndarray
    best: np.ndarray


class NeighbourScores(NamedTuple):
    """Scores of N tokens with and without neighbours.

    Attributes:
      model: the model alone.
      mixture: the model and its neighbours.
      oracle: ``[N]`` nats of the better of two answers by looking at the token, which no model can have.
      error: by how much the probabilities of a mixture differ from a sum of 1, at most.
    """

    model: TokenScores
    mixture: TokenScores
    oracle: np.ndarray
    error: float


def predict_all(predict: Predict, windows: np.ndarray, batch: int = 16) -> Predictions:
    """Log-probabilities ``[N T, V]`` and keys ``[N T, K]`` at every place, in order and in host memory.

    Args:
      predict: a model.
      windows: ``int32 [N, T + 1]``; their last tokens are only targets.
      batch: windows at once.
    """
    parts = [predict(windows[i : i + batch, :-1]) for i in range(0, len(windows), batch)]
    flat = ([np.asarray(x).reshape(-1, x.shape[-1]) for x in part] for part in zip(*parts, strict=True))
    log_probs, keys = (np.concatenate(x) for x in flat)
    return Predictions(log_probs, keys)


def score(predict: Predict, windows: np.ndarray) -> TokenScores:
    """Scores of the tokens ``1 ..`` of windows ``int32 [N, T + 1]``, in order."""
    return _model_scores(predict_all(predict, windows), windows[:, 1:].ravel())


def fit_mixture(predict: Predict, windows: np.ndarray, config: KnnConfig = _NEAREST) -> knn.MixtureGate:
    """How much a model's neighbours are believed, learnt from windows that are not scored with it."""
    predictions, tokens = predict_all(predict, windows), windows[:, 1:].ravel()
    return knn.fit_gate(_look_up(config, predictions, tokens)[1])


def score_with_neighbours(
    predict: Predict, gate: knn.MixtureGate, windows: np.ndarray, config: KnnConfig = _NEAREST
) -> NeighbourScores:
    """Scores of a model and of its mixture with the neighbours of each place among earlier places.

    Args:
      predict: a model.
      gate: of `fit_mixture`.
      windows: ``int32 [N, T + 1]``, in the order of the text.
      config: how neighbours are found.

    Raises:
      ValueError: the probabilities of a mixture do not sum to 1 within 1e-4.
    """
    predictions, tokens = predict_all(predict, windows), windows[:, 1:].ravel()
    blocks, evidence = _look_up(config, predictions, tokens)
    best, errors, start = [], [], 0
    for near in blocks:
        some = slice(start, start + len(near.cosine))
        start = some.stop
        mixed = knn.mixture(gate, near, jnp.asarray(predictions.log_probs[some]))
        best.append(mixed.argmax(1))
        errors.append(float(np.abs(np.asarray(mixed.sum(1)) - 1).max()))
    if max(errors) > 1e-4:
        raise ValueError(f"the probabilities of a mixture sum to 1 within {max(errors):.1e}, not 1e-4")
    mixture = TokenScores(np.asarray(knn.nats(gate, evidence)), np.concatenate(best))
    return NeighbourScores(_model_scores(predictions, tokens), mixture, knn.oracle(evidence), max(errors))


def _model_scores(predictions: Predictions, tokens: np.ndarray) -> TokenScores:
    log_probs = np.asarray(predictions.log_probs)
    return TokenScores(-log_probs[np.arange(len(tokens)), tokens], log_probs.argmax(1))


def _look_up(
    config: KnnConfig, predictions: Predictions, tokens: np.ndarray
) -> tuple[list[knn.Neighbours], knn.Evidence]:
    """Neighbours by block, and the evidence of all places."""
    blocks, parts, start = [], [], 0
    for near in knn.neighbours(config, np.asarray(predictions.keys), tokens):
        some = slice(start, start + len(near.cosine))
        start = some.stop
        parts.append(knn.evidence(near, predictions.log_probs[some], tokens[some]))
        blocks.append(near)
    joined = jax.tree.map(lambda *x: jnp.concatenate(x), *parts)
    return blocks, joined
