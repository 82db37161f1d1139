"""Gates on language models: a second memory decides how much of a model's probability is kept.

    gating = gates.GatingConfig(kinds=("token", "bit", "engram"))
    model = tiered.fit(key, tiered.TieredConfig(corpus.vocabulary), corpus.train)
    scores = gates.on_tiered(key, gating, model, corpus.train, corpus.test, corpus.pieces)
    for kind in scores:
        print(kind, scores[kind].nats.mean())  # "none" is the model without gates

`on_bitwise`, `on_tiered` and `on_chain` score a model without gates and behind each chosen kind of gate.
`engram.score` puts engram gates on any other language model. `gate` defines the kinds of gates.

Source: docs/semantics/gates.md
"""

from wnn_jax.gates import engram
from wnn_jax.gates.bitwise_scores import bitwise_behind_ram_gates, on_bitwise
from wnn_jax.gates.chain_scores import (
    ChainScores,
    chain_behind_ram_gates,
    gate_turns,
    on_chain,
    read_frozen,
    turn_openness,
    votes_by_id,
)
from wnn_jax.gates.config import GatingConfig
from wnn_jax.gates.engram import EngramConfig
from wnn_jax.gates.gate import KINDS, RAM_KINDS, LogGate, OnStep, apply
from wnn_jax.gates.ram_gates import (
    UNTRAINED,
    RamGateConfig,
    bit_gate,
    bit_openness,
    openness,
    single_tier,
    token_gate,
    token_layer,
)
from wnn_jax.gates.tiered_scores import TieredScores, fit_tiered, on_tiered, tiered_behind_ram_gates

__all__ = [
    "KINDS",
    "RAM_KINDS",
    "UNTRAINED",
    "ChainScores",
    "EngramConfig",
    "GatingConfig",
    "LogGate",
    "OnStep",
    "RamGateConfig",
    "TieredScores",
    "apply",
    "bit_gate",
    "bit_openness",
    "bitwise_behind_ram_gates",
    "chain_behind_ram_gates",
    "engram",
    "fit_tiered",
    "gate_turns",
    "on_bitwise",
    "on_chain",
    "on_tiered",
    "openness",
    "read_frozen",
    "single_tier",
    "tiered_behind_ram_gates",
    "token_gate",
    "token_layer",
    "turn_openness",
    "votes_by_id",
]
