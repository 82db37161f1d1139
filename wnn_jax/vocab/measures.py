"""The parts of a corpus that models train on and are scored on, and what a table says of a trained model."""

from typing import NamedTuple

import jax
import numpy as np

from wnn_jax.data import streams, text
from wnn_jax.vocab import artifact, evaluation
from wnn_jax.vocab.model import VocabModel
from wnn_jax.vocab.training import TrainConfig, training_windows


class VocabTexts(NamedTuple):
    """The parts of a corpus.

    Attributes:
      windows: windows to train on, ``int32 [N, window + 1]``.
      test: the ids to score.
      targets: those of them that are scored, in windows ``int32 [M, window // 2 + 1]``.
      learned: as many ids that are trained on, to score too.
    """

    windows: np.ndarray
    test: np.ndarray
    targets: np.ndarray
    learned: np.ndarray


def cut_texts(corpus: text.Corpus, config: TrainConfig, count: int) -> VocabTexts:
    """The training part of a corpus, and ``count`` tokens each of its test split and of that part.

    Raises:
      ValueError: there are fewer windows than one step takes, or none to score.
    """
    windows = training_windows(corpus.train, config)
    test, targets = evaluation.scored_part(corpus.test, config.window, count)
    learned, _ = evaluation.scored_part(streams.stream(windows), config.window, count)
    return VocabTexts(windows, test, targets, learned)


class Measures(NamedTuple):
    """Measurements of a trained model.

    Attributes:
      nats: ``float64 [N]``, the costs of the scored tokens.
      best: ``int [N]``, the likeliest ids in their places.
      gap: mean nats of the scored tokens less those of tokens that were trained on.
      int8: nats a token that packing costs.
      copy: nats a token that a random text gets cheaper when it is repeated; see `copy_gain`.
      packed: the model as bytes.
    """

    nats: np.ndarray
    best: np.ndarray
    gap: float
    int8: float
    copy: float
    packed: bytes


def measure(key: jax.Array, lm: VocabModel, texts: VocabTexts) -> Measures:
    """Score a model on what it has and has not seen, packed and not; the key draws texts to copy."""
    nats, best = evaluation.score(lm, texts.test)
    learned, _ = evaluation.score(lm, texts.learned)
    packed = artifact.pack(lm)
    rounded, _ = evaluation.score(artifact.unpack(packed), texts.test)
    return Measures(
        nats,
        best,
        gap=float(nats.mean() - learned.mean()),
        int8=float(rounded.mean() - nats.mean()),
        copy=evaluation.copy_gain(key, lm, texts.windows.ravel()),
        packed=packed,
    )
