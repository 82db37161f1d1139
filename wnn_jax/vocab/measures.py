"""Cuts a corpus into the texts for training and scoring, and measures a trained model for a table."""

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
      windows: ``int32 [N, window + 1]``, the windows to train on.
      test: ``int [M]``, the ids to score.
      targets: ``int32 [L, window // 2 + 1]``, windows whose targets are the scored tokens.
      learned: as many ids of the training text, to score too.

    Source: docs/semantics/vocab.md
    """

    windows: np.ndarray
    test: np.ndarray
    targets: np.ndarray
    learned: np.ndarray


def cut_texts(corpus: text.Corpus, config: TrainConfig, count: int) -> VocabTexts:
    """Cuts the windows to train on, and tokens to score of the test split and of these windows.

    Args:
      corpus: the training split and the test split.
      config: the length of the windows, and the number of training tokens.
      count: the number of tokens to score of each, rounded down to whole half windows.

    Raises:
      ValueError: there are fewer windows than one step takes, or no window to score.

    Source: docs/semantics/vocab.md
    """
    windows = training_windows(corpus.train, config)
    test, targets = evaluation.scored_part(corpus.test, config.window, count)
    learned, _ = evaluation.scored_part(streams.stream(windows), config.window, count)
    return VocabTexts(windows, test, targets, learned)


class Measures(NamedTuple):
    """The measurements of a trained model.

    Attributes:
      nats: ``float64 [N]``, the costs of the scored tokens.
      best: ``int [N]``, the most probable ids at their places.
      gap: mean nats of the scored tokens, minus the mean nats of tokens that were trained on.
      int8: nats per token that packing costs.
      copy: nats per token that a random text costs less when it is repeated; see `copy_gain`.
      packed: the model as bytes.

    Source: docs/semantics/vocab.md
    """

    nats: np.ndarray
    best: np.ndarray
    gap: float
    int8: float
    copy: float
    packed: bytes


def measure(key: jax.Array, lm: VocabModel, texts: VocabTexts) -> Measures:
    """Scores a model on new text, on text it was trained on, on repeated random text, and after packing.

    Args:
      key: draws the random text.
      lm: the model.
      texts: the parts of a corpus.

    Source: docs/semantics/vocab.md
    """
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
