"""Layers of RAM neurons: each neuron addresses a cell by input bits, writes targets to it, and reads it.

    layer = ram.fit(key, ram.LayerConfig(neurons=32, address_bits=12), X, Y)   # X [N, I], Y [N, K], bits
    probabilities = ram.predict(layer, X_new)                                  # float32 [N, K]

`model` defines these functions. They call the functions of `layer` (`init`, `write`, `read`,
`fit_and_read`), which are pure and may be passed to `jit` and `vmap`. `bits` packs bits into words,
`connectivity` draws and measures connectivities, and `cells` defines the kinds of cells. `xla` is the
reference that every backend must equal, and `backend` chooses a backend.

Source: docs/semantics/ram.md
"""

from wnn_jax.ram.cells import CELLS, UNIT, CellKind, RamConfig, row_bytes
from wnn_jax.ram.given import MAX_ADDRESS_BITS, MAX_NEURONS
from wnn_jax.ram.layer import (
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
