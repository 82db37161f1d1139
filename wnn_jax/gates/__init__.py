"""Gates on language models: a second memory decides how far what a model says is believed.

    gating = gates.GatingConfig(kinds=("token", "bit", "engram"))
    model = tiered.fit(key, tiered.TieredConfig(corpus.vocabulary), corpus.train)
    scores = gates.on_tiered(key, gating, model, corpus.train, corpus.test, corpus.pieces)
    for kind in scores:
        print(kind, scores[kind].nats.mean())  # without gates as "none"

`on_bitwise`, `on_tiered` and `on_chain` score a model behind every kind of gate that is asked for;
`engram.score` puts engram gates on any other language model. What a gate is stands in `gate`.
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
