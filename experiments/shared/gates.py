"""Gates on a language model: their flags, and the rows that a model gets behind them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.shared import baselines, tables
from experiments.shared.commandline import Group
from wnn_jax import gates
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


def add(results: tables.Results, name: str, scores: Mapping[str, Any], corpus: text.Corpus) -> None:
    """A row for each kind of gate, with how much it changed a token's nats: mean and its standard error.

    Args:
      results: gets the rows.
      name: of the model's own row.
      scores: `bitwise.Scores` by kind, and those without gates as ``none``.
      corpus: of whose test text the scored tokens are the first.
    """
    without = np.asarray(scores["none"].nats, np.float64)
    for kind, behind in scores.items():
        if kind != "none":
            change = np.asarray(behind.nats, np.float64) - without
            error = float(change.std() / np.sqrt(len(change)))
            more = {"change": float(change.mean()), "change_error": error}
            baselines.add_row(results, corpus, f"{name} + {kind}", behind, **more)
