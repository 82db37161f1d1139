"""Gates on a language model: their flags, and the rows that a model gets behind them."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from tqdm import tqdm

from experiments.shared import tables
from experiments.shared.commandline import Group
from wnn_jax import gates, metrics
from wnn_jax.data import text

GROUP = Group(
    gates.GatingConfig,
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


@contextlib.contextmanager
def bar(name: str) -> Iterator[gates.OnStep]:
    """A progress bar as an ``on_step``, which begins again with each kind of work."""
    with tqdm(unit="id", leave=False, desc=name) as shown:

        def on_step(work: str, done: int, total: int) -> None:
            shown.total = total
            shown.set_description_str(f"{name}, {work}", refresh=False)
            shown.update(done - shown.n)

        yield on_step


def add(results: tables.Results, name: str, scores: Mapping[str, Any], corpus: text.Corpus) -> None:
    """A row for each kind of gate, with how much it changed a token's nats: mean and its standard error.

    Args:
      results: gets the rows.
      name: of the model's own row.
      scores: `bitwise.Scores` by kind, and those without gates as ``none``.
      corpus: of whose test text the scored tokens are the first.
    """
    without = np.asarray(scores["none"].nats, np.float64)
    tokens = corpus.test[: len(without)]
    for kind, behind in scores.items():
        if kind == "none":
            continue
        nats, best = np.asarray(behind.nats, np.float64), np.asarray(behind.best)
        summary = metrics.summarize(nats, best, tokens, corpus.token_bytes)._asdict()
        if best[0] < 0:
            summary["accuracy"] = float("nan")
        change = nats - without
        results.add(
            f"{name} + {kind}",
            **summary,
            seconds=float("nan"),
            change=float(change.mean()),
            change_error=float(change.std() / np.sqrt(len(change))),
        )
