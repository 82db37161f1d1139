"""Rows of baselines: counts of the training text, scored on the same tokens as the models."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.shared import tables
from wnn_jax import metrics
from wnn_jax.data import text
from wnn_jax.data.shards import ShardedCorpus
from wnn_jax.lm import bitwise, ngram


def add(
    results: tables.Results,
    corpus: text.Corpus,
    orders: Sequence[int] = (2, 5),
    cache: bool = False,
    extra: Mapping[str, Callable[[], ngram.Prediction | bitwise.Scores]] | None = None,
    more: Callable[[str], Mapping[str, Any]] = lambda _: {},
) -> dict[str, ngram.Prediction]:
    """Add the rows of `ngram.baselines`, and return their predictions by name.

    Args:
      results: the rows of the run.
      corpus: the corpus; its training text is counted and its test text is scored.
      orders: see `ngram.baselines`.
      cache: see `ngram.baselines`.
      extra: more rows, by name: functions that are called after the row ``uniform``.
      more: returns other values of a row by its name.
    """
    rows: dict[str, ngram.Prediction] = {}
    started = time.perf_counter()
    for name, prediction in ngram.baselines(corpus.train, corpus.test, corpus.vocabulary, orders, cache):
        add_row(results, corpus, name, prediction, time.perf_counter() - started, **more(name))
        rows[name] = prediction
        for own, predict in (extra or {}).items() if name == "uniform" else ():
            started = time.perf_counter()
            add_row(results, corpus, own, predict(), time.perf_counter() - started)
        started = time.perf_counter()
    return rows


def add_row(
    results: tables.Results,
    corpus: text.Corpus | ShardedCorpus,
    name: str,
    prediction: ngram.Prediction | bitwise.Scores,
    seconds: float = float("nan"),
    **more: Any,
) -> None:
    """Add the row of a prediction of all test tokens, or of the first ones.

    The accuracy is unknown if the prediction does not name the most probable tokens (its ``best`` is
    negative).
    """
    nats, best = np.asarray(prediction.nats, np.float64), np.asarray(prediction.best)
    tokens = corpus.test[: len(nats)]
    size, words = text.count_first(corpus, len(tokens)), text.count_words(corpus, tokens)
    summary = metrics.summarize(nats, best, tokens, size, words)._asdict()
    if best[0] < 0:
        summary["accuracy"] = float("nan")
    results.add(name, **summary, seconds=seconds, **more)
