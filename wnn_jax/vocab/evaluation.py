"""Measures how well a trained model predicts a text, and shows its prediction after every hop."""

import functools
from typing import NamedTuple

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.data import streams
from wnn_jax.vocab import model

_BATCH = 32


def scored_part(tokens: np.ndarray, window: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts the start of a text of which `score` scores ``count`` tokens, rounded down to whole half windows.

    Args:
      tokens: ids ``int [N]``; if the text is too short, all of it is used.
      window: the number of tokens that the model sees at once, an even number.
      count: the number of tokens to score.

    Returns:
      the ids to score, and windows ``int32 [M, window // 2 + 1]`` whose targets are the scored tokens.

    Raises:
      ValueError: the window is odd, or the text is shorter than a window.

    Source: docs/semantics/vocab.md
    """
    checks.integer("count", count, checks.Limits(least=1))
    checks.integer("window", window, checks.Limits(least=2))
    half = window // 2
    targets = streams.overlapping(tokens[: count + half + 1], window)[:, half:]
    return tokens[: half + 1 + targets[:, 1:].size], targets


@checks.classes
def score(lm: model.VocabModel, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores a text; each token is predicted from at least half a window and at most a window before it.

    Args:
      lm: the model.
      tokens: ids ``int [N]``, more than a window of them. The first ``window // 2 + 1`` are not scored.

    Returns:
      the nats ``float64 [N - window // 2 - 1]`` of the other tokens, and the most probable ids ``int`` at
      their places; on ties the id with the lowest number inside the model.

    Raises:
      ValueError: there are too few tokens, or ids outside the vocabulary.

    Source: docs/semantics/vocab.md
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
    checks.array("tokens", tokens if tokens.size else tokens.astype(np.int32), "integers")
    if tokens.ndim != 1 or not len(tokens) or tokens.min() < 0 or tokens.max() >= v:
        raise ValueError(
            f"a text must have one axis and at least one id, with ids from 0 to {v - 1}, "
            f"got shape {tokens.shape}"
            + (f" and ids from {tokens.min()} to {tokens.max()}" if tokens.size else "")
        )
    return tokens


def _score_windows(lm: model.VocabModel, windows: np.ndarray, skip: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns nats and most probable ids ``[N (T - skip)]``, without the first ``skip`` of each window."""
    windows, ids = lm.places[windows], np.argsort(lm.places)
    # The sizes are powers of 2, so that few shapes are compiled; the last batch is filled up.
    size = min(_BATCH, 1 << (len(windows) - 1).bit_length())
    nats, best = [], []
    for at in range(0, len(windows), size):
        some = windows[at : at + size]
        full = np.concatenate([some, np.repeat(some[-1:], size - len(some), 0)])
        found = model.score_windows(lm.config, lm.params, full)
        nats.append(np.asarray(found[0])[: len(some), skip:].ravel())
        best.append(np.asarray(found[1])[: len(some), skip:].ravel())
    return np.concatenate(nats).astype(np.float64), ids[np.concatenate(best)]


@checks.classes
def copy_gain(key: jax.Array, lm: model.VocabModel, tokens: np.ndarray) -> float:
    """Returns how many nats per token a random text costs less when it is repeated.

    It tells whether a model repeats what it has seen, or only predicts what is frequent.

    Args:
      key: draws 256 texts of half a window.
      lm: the model.
      tokens: ids ``int [N]`` from which the texts are drawn, each token independently.

    Returns:
      the difference; NaN if the window has fewer than 4 tokens.

    Raises:
      ValueError: there is no token, or ids are outside the vocabulary.

    Source: docs/semantics/vocab.md
    """
    tokens = _check(lm, tokens)
    half = lm.window // 2
    if half < 2:
        return float("nan")
    # NumPy's generator with the key's seed: it drew the published numbers.
    once = np.random.default_rng(seed_of(key)).choice(tokens, (256, half))
    nats = _score_windows(lm, np.concatenate([once, once, once[:, :1]], 1), 0)[0].reshape(256, -1)
    # Both means leave out the first word of a copy: nothing precedes the first copy, and the second begins at
    # the seam.
    return float(nats[:, : half - 1].mean() - nats[:, half : 2 * half - 1].mean())


def seed_of(key: jax.Array) -> int:
    """Returns the seed that ``jax.random.key`` made a key from; for a derived key, a number of its own.

    Source: docs/semantics/vocab.md
    """
    return int.from_bytes(np.asarray(jax.random.key_data(key), ">u4").tobytes(), "big")


class HopReading(NamedTuple):
    """The predictions of a model after each hop, at each position of a text.

    Attributes:
      ids: ``int32 [T]``, the text.
      probabilities: ``float32 [hops + 1, T, V]``, the probability of each id to come next, before the first
        hop and after each hop.
      words: the word of each id.

    Source: docs/semantics/vocab.md
    """

    ids: np.ndarray
    probabilities: np.ndarray
    words: list[str]

    def top(self, count: int = 6, position: int = -1) -> list[list[tuple[str, float]]]:
        """Returns the most probable next words after a position, with their probabilities, for each hop.

        On ties the lower id comes first.

        Raises:
          ValueError: ``count`` is below 1, or there is no such position.
        """
        checks.integer("count", count, checks.Limits(least=1))
        length = len(self.ids)
        checks.integer("position", position, checks.Limits(least=-length, most=length - 1))
        likeliest = np.argsort(-self.probabilities[:, position], kind="stable")[:, :count]
        return [
            [(self.words[i], float(shares[position, i])) for i in ids]
            for ids, shares in zip(likeliest, self.probabilities, strict=True)
        ]


@checks.classes
def inspect(lm: model.VocabModel, words: str) -> HopReading:
    """Predicts after each hop, at each position of a text.

    Args:
      lm: the model, with a tokenizer.
      words: the text.

    Raises:
      ValueError: the model has no tokenizer, or the text is empty or no ``str``.

    Source: docs/semantics/vocab.md
    """
    if lm.tokenizer is None:
        raise ValueError(
            "this model has no tokenizer, which inspect needs: add one with model._replace(tokenizer=...)"
        )
    if not isinstance(words, str):
        raise ValueError(f"words={words!r} is of type {type(words).__name__}: give a str")
    ids = _check(lm, lm.tokenizer.encode(words))
    # A causal model ignores later positions, so that padding to whole windows changes nothing and few lengths
    # are compiled. A leaky model reads later positions, so its text is not padded.
    length = len(ids) if lm.config.leaky else -(-len(ids) // lm.window) * lm.window
    padded = np.zeros((1, length), np.int32)
    padded[0, : len(ids)] = lm.places[ids]
    shares = np.asarray(_hop_probabilities(lm.config, lm.params, padded))
    pieces = [x.decode("utf-8", "replace") or f"<{i}>" for i, x in enumerate(lm.tokenizer.pieces)]
    return HopReading(ids, shares[:, 0, : len(ids)][..., lm.places], pieces)


@functools.partial(jax.jit, static_argnums=0)
def _hop_probabilities(config: model.VocabConfig, params, ids: jax.Array) -> jax.Array:
    """Returns probabilities ``[steps + 1, N, T, V]``."""
    return jax.nn.softmax(model.readout(params, model.states(config, params, ids)))
