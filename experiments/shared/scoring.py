"""Rows of models that see a text in windows, beside counts of the same training text."""

import time

import numpy as np

from experiments.shared import tables
from wnn_jax import metrics
from wnn_jax.data import streams, text
from wnn_jax.lm import ngram


def targets_of(windows: np.ndarray) -> np.ndarray:
    """The tokens ``[N T]`` that windows ``[N, T + 1]`` score, in order."""
    return windows[:, 1:].ravel()


def add(
    results: tables.Results, corpus: text.Corpus, row: str, nats, best, windows, seconds: float, **more
) -> None:
    """One row: every evaluated token scored once."""
    tokens = targets_of(windows)
    guesses = np.full(len(tokens), -1) if best is None else best
    summary = metrics.summarize(np.asarray(nats, np.float64), guesses, tokens, corpus.token_bytes)._asdict()
    summary["accuracy"] = float("nan") if best is None else summary["accuracy"]
    size = text.count_bytes(corpus, tokens, windows[:, :-1].ravel())
    summary["bits_per_byte"] = float(np.sum(nats) / np.log(2) / size)
    results.add(row, **summary, seconds=seconds, **more)


def add_baselines(
    results: tables.Results,
    corpus: text.Corpus,
    train: np.ndarray,
    scored: np.ndarray,
    orders: tuple[int, ...] = (2, 5),
) -> None:
    """Counts of the same training windows; their contexts do not end where windows do."""
    names = {2: "bigram (Kneser-Ney 2)", 3: "trigram (Kneser-Ney 3)"}
    vocabulary = corpus.vocabulary
    stream, seen = streams.stream(scored), streams.stream(train)

    def kneser_ney(order: int) -> ngram.Prediction:
        return ngram.predict(ngram.fit_kneser_ney(seen, order, vocabulary), stream)

    guesses = {
        "uniform": lambda: ngram.uniform(vocabulary, stream),
        "unigram (add 0.1)": lambda: ngram.unigram(seen, stream, vocabulary, add=0.1),
        **{names.get(n, f"Kneser-Ney {n}"): (lambda n=n: kneser_ney(n)) for n in orders},
    }
    for row, guess in guesses.items():
        started = time.perf_counter()
        found = guess()
        seconds = time.perf_counter() - started
        add(results, corpus, row, found.nats[1:], found.best[1:], scored, seconds)
