"""How well a trained model predicts a text, and its prediction after every hop."""

import functools
from typing import NamedTuple

import jax
import numpy as np

from wnn_jax.data import streams
from wnn_jax.vocab import model

_BATCH = 32


def scored_part(tokens: np.ndarray, window: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The start of a text, of which `score` scores ``count`` tokens, less what does not fill half a window.

    Args:
      tokens: ids ``int [N]``; if the text is too short, all of it is taken.
      window: number of tokens the model sees at once, an even number.
      count: number of tokens to score.

    Returns:
      The ids to score, and the windows ``int32 [M, window // 2 + 1]`` whose targets are the scored tokens.

    Raises:
      ValueError: the window is odd, or there is no whole one.
    """
    half = window // 2
    targets = streams.overlapping(tokens[: count + half + 1], window)[:, half:]
    return tokens[: half + 1 + targets[:, 1:].size], targets


def score(lm: model.VocabModel, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Score a text; each token sees at least half a window of tokens before it, and at most a window.

    Args:
      lm: the model.
      tokens: ids ``int [N]``, more than a window of them. The first ``window // 2 + 1`` are not scored.

    Returns:
      Nats ``float64 [N - window // 2 - 1]`` of the other tokens, and the likeliest ids ``int`` in their
      places; equals go to the lowest number inside the model.

    Raises:
      ValueError: there are too few tokens, or ids beyond the vocabulary.
    """
    tokens, half = _check(lm, tokens), lm.window // 2
    windows = streams.overlapping(tokens, lm.window)
    nats, best = _score_windows(lm, windows, half)
    rest = len(tokens) - half - 1 - len(nats)
    if rest:  # the last window ends with the text, and its last tokens are new
        last = _score_windows(lm, tokens[None, -lm.window - 1 :], lm.window - rest)
        nats, best = np.concatenate([nats, last[0]]), np.concatenate([best, last[1]])
    return nats, best


def _check(lm: model.VocabModel, tokens: np.ndarray) -> np.ndarray:
    tokens, v = np.asarray(tokens), lm.config.vocabulary
    if tokens.ndim != 1 or not len(tokens) or tokens.min() < 0 or tokens.max() >= v:
        raise ValueError(
            f"a text is a line of ids from 0 to {v - 1}, got shape {tokens.shape}"
            + (f" and ids from {tokens.min()} to {tokens.max()}" if tokens.size else "")
        )
    return tokens


def _score_windows(lm: model.VocabModel, windows: np.ndarray, skip: int) -> tuple[np.ndarray, np.ndarray]:
    """Nats and best ids ``[N (T - skip)]`` of the tokens of all windows except the first ``skip`` of each."""
    windows, ids = lm.places[windows], np.argsort(lm.places)
    # Few sizes, so that few shapes are compiled; the last batch is filled up.
    size = min(_BATCH, 1 << (len(windows) - 1).bit_length())
    nats, best = [], []
    for at in range(0, len(windows), size):
        some = windows[at : at + size]
        full = np.concatenate([some, np.repeat(some[-1:], size - len(some), 0)])
        found = model.score_windows(lm.config, lm.params, full)
        nats.append(np.asarray(found[0])[: len(some), skip:].ravel())
        best.append(np.asarray(found[1])[: len(some), skip:].ravel())
    return np.concatenate(nats).astype(np.float64), ids[np.concatenate(best)]


def copy_gain(key: jax.Array, lm: model.VocabModel, tokens: np.ndarray) -> float:
    """Nats a token that a random text gets cheaper when it is repeated.

    It tells whether a model repeats what it has seen, rather than what is likely.

    Args:
      key: draws 256 texts of half a window.
      lm: the model.
      tokens: ids from which texts are drawn.

    Returns:
      The difference, or NaN if the window has fewer than 4 tokens.
    """
    half = lm.window // 2
    if half < 2:
        return float("nan")
    # NumPy's generator of the key's seed: the published numbers were drawn by it.
    once = np.random.default_rng(seed_of(key)).choice(tokens, (256, half))
    nats = _score_windows(lm, np.concatenate([once, once, once[:, :1]], 1), 0)[0].reshape(256, -1)
    # Neither the first words, which follow nothing, nor the seam.
    return float(nats[:, : half - 1].mean() - nats[:, half : 2 * half - 1].mean())


def seed_of(key: jax.Array) -> int:
    """The number that ``jax.random.key`` made a key of; of a key that was drawn, a number of its own."""
    return int.from_bytes(np.asarray(jax.random.key_data(key), ">u4").tobytes(), "big")


class HopReading(NamedTuple):
    """The predictions of a model after each hop, at each position of a text.

    Attributes:
      ids: the text, ``int32 [T]``.
      probabilities: ``float32 [hops + 1, T, V]`` of each id to come next, before the first hop and
        after each.
      words: the word of each id.
    """

    ids: np.ndarray
    probabilities: np.ndarray
    words: list[str]

    def top(self, count: int = 6, position: int = -1) -> list[list[tuple[str, float]]]:
        """The likeliest next words after a position and their probabilities, for each hop."""
        likeliest = np.argsort(-self.probabilities[:, position], kind="stable")[:, :count]
        return [
            [(self.words[i], float(shares[position, i])) for i in ids]
            for ids, shares in zip(likeliest, self.probabilities, strict=True)
        ]


def inspect(lm: model.VocabModel, words: str) -> HopReading:
    """A model's predictions after each hop, at each position of a text.

    Raises:
      ValueError: the model has no tokenizer, or the text is empty.
    """
    if lm.tokenizer is None:
        raise ValueError("this model has no tokenizer to read a text with: give it one by model._replace")
    ids = _check(lm, lm.tokenizer.encode(words))
    # A model reads no later position, so one compiled length serves many texts; a leaky one reads them.
    length = len(ids) if lm.config.leaky else -(-len(ids) // lm.window) * lm.window
    padded = np.zeros((1, length), np.int32)
    padded[0, : len(ids)] = lm.places[ids]
    shares = np.asarray(_hop_probabilities(lm.config, lm.params, padded))
    pieces = [x.decode("utf-8", "replace") or f"<{i}>" for i, x in enumerate(lm.tokenizer.pieces)]
    return HopReading(ids, shares[:, 0, : len(ids)][..., lm.places], pieces)


@functools.partial(jax.jit, static_argnums=0)
def _hop_probabilities(config: model.VocabConfig, params, ids: jax.Array) -> jax.Array:
    """``[steps + 1, N, T, V]``."""
    return jax.nn.softmax(model.readout(params, model.states(config, params, ids)))
