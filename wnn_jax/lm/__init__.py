"""Language models of RAM neurons, bitwise and tiered, and the count baselines with which they are compared.

    config = lm.BitwiseConfig(corpus.vocabulary)
    model = lm.fit(key, config, corpus.train)                      # a bitwise model: a cluster for each bit
    nats = lm.score(model, corpus.train, corpus.test).nats

A bitwise model has one cluster for each bit of a token (`bitwise`, `fitting`); a tiered model has one cluster
for each token (`tiered`). `ngram` holds the count baselines. `objective` lets `wnn_jax.search` search the
connectivity of a bitwise model.

Source: docs/semantics/bitwise.md, docs/semantics/tiered.md
"""

from wnn_jax.lm import bitwise, fitting, ngram, objective, tiered, tiered_readout
from wnn_jax.lm.bitwise import BitwiseConfig
from wnn_jax.lm.fitting import BitwiseModel, fit, score
from wnn_jax.lm.objective import BitwiseObjective, GenomeSizes

__all__ = [
    "BitwiseConfig",
    "BitwiseModel",
    "BitwiseObjective",
    "GenomeSizes",
    "bitwise",
    "fit",
    "fitting",
    "ngram",
    "objective",
    "score",
    "tiered",
    "tiered_readout",
]
