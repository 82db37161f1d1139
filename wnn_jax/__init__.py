"""Weightless neural networks in JAX: memories that are addressed, written by adding, and read out.

    import wnn_jax as wnn

    layer = wnn.fit(key, wnn.LayerConfig(neurons=32, address_bits=12), X, Y)   # X [N, I], Y [N, K]: bits
    probabilities = wnn.predict(layer, X_new)                                  # [N, K]

Each system is a room of its own: `chain` and `lm` (language models), `gates`, `search` (connectivity for
any objective), `eam` (an associative memory), `recommender`, `vocab` (vocabulary-space models); `ram` is the
layer below them, `data` reads texts and ratings, `saving` keeps what was learnt. A room is imported when it
is first named.

Models are pure functions over immutable table pytrees. Shape letters, the same in every docstring:

    N  examples                       I  input bits
    K  clusters (output units)        R  neurons of all clusters; n of one cluster
    T  address bits of a neuron       A  cells of a neuron, 2**T
    P  population                     C  context tokens
    V  vocabulary                     B  bits of a token, ceil(log2 V)
    W  packed words, ceil(I / 32)

At the face examples come first, ``[N, bits]``. Below it arrays of bits are stored bit-major, ``[bits, N]``: a
neuron walks all examples of one bit, so the examples are the contiguous axis.
"""

import importlib
from typing import TYPE_CHECKING

from wnn_jax import ram
from wnn_jax.ram import Layer, LayerConfig, RamConfig, examples, fit, learn, predict

if TYPE_CHECKING:
    from wnn_jax import chain, data, eam, gates, lm, metrics, recommender, saving, search, training, vocab

__version__ = "0.2.0"

__all__ = [
    "Layer",
    "LayerConfig",
    "RamConfig",
    "chain",
    "data",
    "eam",
    "examples",
    "fit",
    "gates",
    "learn",
    "lm",
    "metrics",
    "predict",
    "ram",
    "recommender",
    "saving",
    "search",
    "training",
    "vocab",
]

_ROOMS = {name for name in __all__ if name.islower()} - {"examples", "fit", "learn", "predict", "ram"}


def __getattr__(name: str):
    # Some rooms import what takes a second (orbax, optax): not before they are needed.
    if name in _ROOMS:
        return importlib.import_module(f"wnn_jax.{name}")
    raise AttributeError(f"wnn_jax has no {name!r}: it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*globals(), *_ROOMS]
