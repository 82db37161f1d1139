"""Gates on a language model: their flags, and the rows of a model with gates."""

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
    """Add a row for each kind of gate. It holds the mean change in nats a token, and its standard error.

    Args:
      results: the rows of the run.
      name: the name of the row of the model without gates.
      scores: `bitwise.Scores` by kind of gate; ``none`` are the scores without gates.
      corpus: the corpus; the scored tokens are the first tokens of its test text.
    """
    without = np.asarray(scores["none"].nats, np.float64)
    for kind, behind in scores.items():
        if kind != "none":
            change = np.asarray(behind.nats, np.float64) - without
            error = float(change.std() / np.sqrt(len(change)))
            more = {"change": float(change.mean()), "change_error": error}
            baselines.add_row(results, corpus, f"{name} + {kind}", behind, **more)
