"""Gates on a language model: their flags, and the rows that a model gets behind them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.shared import tables
from experiments.shared.commandline import Group
from wnn_jax import metrics
from wnn_jax.chain import contexts
from wnn_jax.data import text
from wnn_jax.gates import config, content
from wnn_jax.lm import bitwise

_TAUGHT = 0.1  # of the training text, its end, teaches content gates

GROUP = Group(
    config.GatingConfig,
    names={
        "kinds": "gating",
        "neurons": "gate_neurons",
        "address_bits": "gate_bits",
        "soft": "gate_soft",
        "threshold": "gate_threshold",
        "untrained": "gate_untrained",
        "leak": "gate_leak",
        "orders": "engram_orders",
        "heads": "engram_heads",
        "row_bits": "engram_rows",
    },
)


def watch(name: str, total: int, unit: str = "id") -> Callable[[Iterable], Iterator]:
    """A progress bar over places, or over chunks of clusters by the ids they stand for."""

    def watched(work: Iterable) -> Iterator:
        with tqdm(total=total, unit=unit, leave=False, desc=name) as bar:
            for item in work:
                yield item
                bar.update(int(np.count_nonzero(item[0].ids >= 0)) if isinstance(item, tuple) else 1)

    return watched


def add(results: tables.Results, name: str, scored: Mapping[str, Any], corpus: text.Corpus, seconds: float):
    """A row for each kind of gate, with how much it changed a token's nats: mean and its standard error.

    Args:
      scored: `bitwise.Scores` by kind, and those without gates as ``none``.
    """
    without = np.asarray(scored["none"].nats, np.float64)
    tokens = corpus.test[: len(without)]
    for kind, found in scored.items():
        if kind == "none":
            continue
        nats, best = np.asarray(found.nats, np.float64), np.asarray(found.best)
        summary = metrics.summarize(nats, best, tokens, corpus.token_bytes)._asdict()
        if best[0] < 0:
            summary["accuracy"] = float("nan")
        change = nats - without
        error = float(change.std() / np.sqrt(len(change)))
        results.add(
            f"{name} + {kind}", **summary, seconds=seconds, change=float(change.mean()), change_error=error
        )


def behind_engram(
    key: jax.Array,
    gating: config.GatingConfig,
    corpus: text.Corpus,
    nats: jax.Array,
    refit: Callable[[np.ndarray, np.ndarray], jax.Array],
) -> bitwise.Scores:
    """Scores of the evaluated text behind content gates; which token is the best is not known, and -1.

    Args:
      nats: without gates.
      refit: fits the model on its first argument alone, and gives the nats of its second, which follows.
    """
    train = corpus.train
    cut = len(train) - max(1, round(len(train) * _TAUGHT))
    held_out = refit(train[:cut], train[cut:])
    canonical = contexts.folded(corpus.pieces)
    sizes = gating.content(corpus.vocabulary)
    gated = content.nats(key, sizes, canonical, train, corpus.test, -nats, -held_out)
    return bitwise.Scores(gated, jnp.full(len(gated), -1))
