"""RAM neurons: address a cell by bits, write it by adding, read it out.

    layer = ram.fit(key, ram.LayerConfig(neurons=32, address_bits=12), X, Y)   # X [N, I], Y [N, K], bits
    probabilities = ram.predict(layer, X_new)                                  # float32 [N, K]

Below these, `layer` has the functions that they are made of (`init`, `write`, `read`, `fit_and_read`), to be
given to `jit` and `vmap`; `bits` packs, `connectivity` says which input bit goes where, `cells` what a cell
is, `xla` is the contract of every backend and `backend` chooses one.
"""

from wnn_jax.ram.cells import CELLS, UNIT, CellKind, RamConfig, row_bytes
from wnn_jax.ram.layer import (
    MAX_ADDRESS_BITS,
    MAX_NEURONS,
    Examples,
    Table,
    empty_votes,
    fit_and_read,
    fit_and_read_groups,
    fused_bytes,
    init,
    probability,
    read,
    seeds,
    shares,
    write,
)
from wnn_jax.ram.model import Layer, LayerConfig, examples, fit, learn, padded_length, predict
from wnn_jax.ram.xla import addresses

__all__ = [
    "CELLS",
    "MAX_ADDRESS_BITS",
    "MAX_NEURONS",
    "UNIT",
    "CellKind",
    "Examples",
    "Layer",
    "LayerConfig",
    "RamConfig",
    "Table",
    "addresses",
    "empty_votes",
    "examples",
    "fit",
    "fit_and_read",
    "fit_and_read_groups",
    "fused_bytes",
    "init",
    "learn",
    "padded_length",
    "predict",
    "probability",
    "read",
    "row_bytes",
    "seeds",
    "shares",
    "write",
]
