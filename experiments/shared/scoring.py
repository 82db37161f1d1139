"""Rows of models that read a text in windows, and rows of baselines that count the same training text."""

import time

import numpy as np

from experiments.shared import tables
from wnn_jax import metrics
from wnn_jax.data import streams, text
from wnn_jax.lm import ngram


def targets_of(windows: np.ndarray) -> np.ndarray:
    """Return the tokens ``[N T]`` that windows ``[N, T + 1]`` score, in order."""
    return windows[:, 1:].ravel()


def add(
    results: tables.Results, corpus: text.Corpus, row: str, nats, best, windows, seconds: float, **more
) -> None:
    """Add the row of a model that scored every target of the windows once.

    Args:
      results: the rows of the run.
      corpus: the corpus of the tokens.
      row: the name of the row.
      nats: floats ``[N T]``, the loss of each target.
      best: integers ``[N T]``, the most probable token at each target, or None if it is not known.
      windows: integers ``[N, T + 1]``.
      seconds: the time that the model took.
      more: other values of the row.
    """
    tokens = targets_of(windows)
    guesses = np.full(len(tokens), -1) if best is None else best
    size = text.count_bytes(corpus, tokens, windows[:, :-1].ravel())
    words = text.count_words(corpus, tokens)
    summary = metrics.summarize(np.asarray(nats, np.float64), guesses, tokens, size, words)._asdict()
    summary["accuracy"] = float("nan") if best is None else summary["accuracy"]
    results.add(row, **summary, seconds=seconds, **more)


def add_baselines(
    results: tables.Results,
    corpus: text.Corpus,
    train: np.ndarray,
    scored: np.ndarray,
    orders: tuple[int, ...] = (2, 5),
) -> None:
    """Add the rows of `ngram.baselines`, counted on the training windows; contexts may cross their ends."""
    names = {"Kneser-Ney 2": "bigram (Kneser-Ney 2)", "Kneser-Ney 3": "trigram (Kneser-Ney 3)"}
    stream, seen = streams.stream(scored), streams.stream(train)
    started = time.perf_counter()
    for row, guess in ngram.baselines(seen, stream, corpus.vocabulary, orders):
        seconds = time.perf_counter() - started
        add(results, corpus, names.get(row, row), guess.nats[1:], guess.best[1:], scored, seconds)
        started = time.perf_counter()
