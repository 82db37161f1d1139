"""Language models of independent bits, and the counts they are compared with.

    config = lm.BitwiseConfig(corpus.vocabulary)
    model = lm.fit(key, config, corpus.train)                      # a bitwise model: a cluster for each bit
    nats = lm.score(model, corpus.train, corpus.test).nats

`bitwise` and `tiered` have the pieces, `ngram` the count baselines, `objective` what `wnn_jax.search` needs
to search a bitwise model's connectivity.
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
