"""The parts of a corpus: the text that trains, the text that chooses, and the text that is scored."""

import hashlib
from typing import NamedTuple

import numpy as np

from wnn_jax.data import streams, text
from wnn_jax.eam.config import EamConfig


class Amounts(NamedTuple):
    """The most tokens that each part takes.

    Attributes:
      train: tokens that teacher, memory and student learn from.
      tail: tokens that decide how much a model's neighbours are believed.
      scored: tokens that all models are scored on.
    """

    train: int
    tail: int
    scored: int


AMOUNTS = {"small": Amounts(1_000_000, 50_000, 100_000), "full": Amounts(4_096_000, 100_000, 1_000_000)}


class EamTexts(NamedTuple):
    """Windows ``int32 [N, T + 1]`` of the parts of a corpus; see `Amounts`."""

    train: np.ndarray
    tail: np.ndarray
    scored: np.ndarray

    def digest(self) -> str:
        """SHA-256 of all parts, in hex."""
        return hashlib.sha256(b"".join(part.tobytes() for part in self)).hexdigest()


def cut_texts(corpus: text.Corpus, window: int, amounts: Amounts) -> EamTexts:
    """The first tokens of each split of a corpus, in windows.

    Without a validation split, up to a tenth of the training text is taken from its end to choose.

    Args:
      corpus: its three splits.
      window: tokens that a model sees at once.
      amounts: of tokens, at most.

    Raises:
      ValueError: a part holds no whole window.
    """
    train, tail = corpus.train[: amounts.train], corpus.validation[: amounts.tail]
    if not len(tail):
        cut = len(train) - min(amounts.tail, len(train) // 10)
        train, tail = train[:cut], train[cut:]
    parts = train, tail, corpus.test[: amounts.scored]
    return EamTexts(*(streams.cut(part, window) for part in parts))


def memory_bytes(config: EamConfig, texts: EamTexts) -> int:
    """About how many bytes training and scoring take: patterns, and log-probabilities of all tokens."""
    train, tail, scored = (part[:, 1:].size for part in texts)
    return 2 * (config.keys + 2 * config.teacher.width) * train + 8 * config.vocabulary * (tail + scored)
