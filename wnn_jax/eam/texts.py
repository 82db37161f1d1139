"""The parts of a corpus: text to train on, text to fit the gate on, and text to score."""

import hashlib
from typing import NamedTuple

import numpy as np

from wnn_jax.data import streams, text
from wnn_jax.eam.config import EamConfig


class Amounts(NamedTuple):
    """The largest number of tokens of each part.

    Attributes:
      train: tokens that teacher, memory and student learn from.
      tail: tokens that the gate of a mixture with neighbours is fitted on.
      scored: tokens that all models are scored on.

    Source: docs/semantics/eam.md
    """

    train: int
    tail: int
    scored: int


AMOUNTS = {"small": Amounts(1_000_000, 50_000, 100_000), "full": Amounts(4_096_000, 100_000, 1_000_000)}


class EamTexts(NamedTuple):
    """The parts of a corpus, in windows ``int32 [N, T + 1]`` each; see `Amounts`.

    Attributes:
      train: the windows to train on.
      tail: the windows to fit the gate on.
      scored: the windows to score.

    Source: docs/semantics/eam.md
    """

    train: np.ndarray
    tail: np.ndarray
    scored: np.ndarray

    def digest(self) -> str:
        """Returns the SHA-256 of all parts, in hex."""
        return hashlib.sha256(b"".join(part.tobytes() for part in self)).hexdigest()


def cut_texts(corpus: text.Corpus, window: int, amounts: Amounts) -> EamTexts:
    """Cuts the first tokens of each split of a corpus into windows.

    If there is no validation split, the end of the training text is the tail, at most a tenth of it.

    Args:
      corpus: the three splits.
      window: T, the number of tokens that a model sees at once.
      amounts: the largest number of tokens of each part.

    Raises:
      ValueError: a part has fewer tokens than a window needs.

    Source: docs/semantics/eam.md
    """
    train, tail = corpus.train[: amounts.train], corpus.validation[: amounts.tail]
    if not len(tail):
        cut = len(train) - min(amounts.tail, len(train) // 10)
        train, tail = train[:cut], train[cut:]
    parts = train, tail, corpus.test[: amounts.scored]
    return EamTexts(*(streams.cut(part, window) for part in parts))


def memory_bytes(config: EamConfig, texts: EamTexts) -> int:
    """Estimates the bytes that training and scoring take: for patterns, and for log-probabilities.

    Source: docs/semantics/eam.md
    """
    train, tail, scored = (part[:, 1:].size for part in texts)
    return 2 * (config.keys + 2 * config.teacher.width) * train + 8 * config.vocabulary * (tail + scored)
