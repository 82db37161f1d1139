"""Rows of what needs no table: counts of the training text, scored on the same tokens."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.shared import tables
from wnn_jax import metrics
from wnn_jax.data import text
from wnn_jax.lm import bitwise, ngram


def add(
    results: tables.Results,
    corpus: text.Corpus,
    orders: Sequence[int] = (2, 5),
    cache: bool = False,
    extra: Mapping[str, Callable[[], ngram.Prediction | bitwise.Scores]] | None = None,
) -> dict[str, ngram.Prediction]:
    """Rows of `ngram.baselines`; their predictions by name.

    Args:
      results: gets a row for each.
      corpus: its training and its test text.
      orders, cache: see `ngram.baselines`.
      extra: rows of the command's own by name, made when their turn comes: after the uniform one.
    """
    rows: dict[str, ngram.Prediction] = {}
    started = time.perf_counter()
    for name, prediction in ngram.baselines(corpus.train, corpus.test, corpus.vocabulary, orders, cache):
        add_row(results, corpus, name, prediction, time.perf_counter() - started)
        rows[name] = prediction
        for own, predict in (extra or {}).items() if name == "uniform" else ():
            started = time.perf_counter()
            add_row(results, corpus, own, predict(), time.perf_counter() - started)
        started = time.perf_counter()
    return rows


def add_row(
    results: tables.Results,
    corpus: text.Corpus,
    name: str,
    prediction: ngram.Prediction | bitwise.Scores,
    seconds: float = float("nan"),
    **more: Any,
) -> None:
    """One row, of the first test tokens or all; accuracy is not known where the best tokens are not."""
    nats, best = np.asarray(prediction.nats, np.float64), np.asarray(prediction.best)
    tokens = corpus.test[: len(nats)]
    summary = metrics.summarize(nats, best, tokens, corpus.token_bytes)._asdict()
    if best[0] < 0:
        summary["accuracy"] = float("nan")
    results.add(name, **summary, seconds=seconds, **more)
