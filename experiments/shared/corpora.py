"""A run on a corpus: the text that it scores, and its results, opened with a line that says what is run."""

import pathlib
from collections.abc import Mapping
from typing import Any

from experiments.shared import machine, tables
from wnn_jax.data import text


def load(config: text.TextConfig) -> text.Corpus:
    """The corpus of a run.

    Raises:
      ValueError: it cannot be read, or has no token to evaluate.
    """
    corpus = text.load(config)
    if not len(corpus.test):
        raise ValueError(f"{corpus.description} leaves no token to evaluate")
    return corpus


def open_results(
    workdir: pathlib.Path, experiment: str, corpus: text.Corpus, settings: Mapping[str, Any], seed: int
) -> tables.Results:
    """Results that record the settings, the sizes of the texts and the seed in every row."""
    sizes = {"train_tokens": len(corpus.train), "eval_tokens": len(corpus.test)}
    print(
        f"{corpus.description}: {len(corpus.train):,} training tokens, {len(corpus.test):,} evaluated, "
        f"{corpus.vocabulary:,} ids; {machine.device()}, {machine.backend_name()}; seed {seed}"
    )
    return tables.Results(workdir, {"experiment": experiment, **sizes, "config": settings, "seed": seed})
