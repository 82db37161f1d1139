"""The chain language model: exact probabilities of text from hashed counts.

    corpus = text.load(text.TextConfig("wikitext2", tokenizer="gpt2"))
    model = chain.fit(jax.random.key(0), chain.ChainConfig(mode="online"), corpus)
    nats = chain.score(model, "The game was played in Texas.").nats
    print(chain.generate(jax.random.key(1), model, "The game", 200))

A static model keeps the counts of its training text; an online model goes on learning while it reads.
Two models of different trees may be mixed (`MixtureConfig`); the same functions take both kinds. `STATIC`,
`FAST`, `BEST`, `TWO_TREES` and `STATIC_TWO_TREES` are settings to begin with. `compress` and `decompress`
code bytes with an online model, and `save` and `load` keep a model in a checkpoint. `count`, `merge` and
`forget` add documents to a static model and take them out again.

The functions below these work on two things: a `Network`, which holds the wiring of a model, and a memory,
which holds what the model has learnt. They are `read`, `sample` and `distribution`, and for the counts of a
static model `static.count` and `static.fit`.

Source: docs/semantics/chain.md
"""

from wnn_jax.chain.ablation import Worth, ablate
from wnn_jax.chain.archive import compress, decompress
from wnn_jax.chain.config import (
    BEST,
    BYTES_BEST,
    BYTES_FAST,
    FAST,
    STATIC,
    STATIC_IN_CONTEXT,
    STATIC_TWO_TREES,
    TWO_TREES,
    ChainConfig,
    MixtureConfig,
    ReadoutConfig,
    WritingConfig,
)
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.costs import TrainingCost, training_cost
from wnn_jax.chain.face import (
    build,
    check_target,
    continuations,
    evaluate,
    fit,
    generate,
    load,
    probabilities,
    save,
    score,
)
from wnn_jax.chain.fitted import ChainModel, ChainStep, Evaluation, TextScore, empty, unweighted
from wnn_jax.chain.memory import Memory, StaticMemory, empty_static, log_slots, log_slots_for
from wnn_jax.chain.merging import count, forget, merge
from wnn_jax.chain.mixing import MixtureModel, constant_balance, mix
from wnn_jax.chain.model import decode, distribution, nats, network, read, sample, turns
from wnn_jax.chain.neurons import BYTES, WORDS
from wnn_jax.chain.online import OnlineMemory, empty_online
from wnn_jax.chain.reader import BitCallback, Reading, ReadSettings
from wnn_jax.chain.searching import (
    ContextObjective,
    ContextSearchConfig,
    ContextText,
    FoundContexts,
    search_contexts,
)

__all__ = [
    "BEST",
    "BYTES",
    "BYTES_BEST",
    "BYTES_FAST",
    "FAST",
    "STATIC",
    "STATIC_IN_CONTEXT",
    "STATIC_TWO_TREES",
    "TWO_TREES",
    "WORDS",
    "BitCallback",
    "ChainConfig",
    "ChainModel",
    "ChainStep",
    "ContextObjective",
    "ContextSearchConfig",
    "ContextText",
    "Evaluation",
    "FoundContexts",
    "Memory",
    "MixtureConfig",
    "MixtureModel",
    "Network",
    "OnlineMemory",
    "ReadSettings",
    "Reading",
    "ReadoutConfig",
    "StaticMemory",
    "TextScore",
    "TrainingCost",
    "Worth",
    "WritingConfig",
    "ablate",
    "build",
    "check_target",
    "compress",
    "constant_balance",
    "continuations",
    "count",
    "decode",
    "decompress",
    "distribution",
    "empty",
    "empty_online",
    "empty_static",
    "evaluate",
    "fit",
    "forget",
    "generate",
    "load",
    "log_slots",
    "log_slots_for",
    "merge",
    "mix",
    "nats",
    "network",
    "probabilities",
    "read",
    "sample",
    "save",
    "score",
    "search_contexts",
    "training_cost",
    "turns",
    "unweighted",
]
