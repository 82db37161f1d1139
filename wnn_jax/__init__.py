"""Weightless neural networks in JAX: models that write to addressed tables and read them by voting.

    import wnn_jax as wnn

    layer = wnn.fit(key, wnn.LayerConfig(neurons=32, address_bits=12), X, Y)   # X [N, I], Y [N, K]: bits
    probabilities = wnn.predict(layer, X_new)                                  # [N, K]

Each system has a subpackage of its own: `ram` (layers of RAM neurons), `chain` and `lm` (language models),
`gates` (gates on language models), `search` (connectivity search for any objective), `eam` (an associative
memory), `recommender`, `vocab` (models in vocabulary space), `classify` (classification and regression),
and `export` (classifiers as C and Verilog). `data` reads texts, ratings and tables, `training` trains
parameters, `metrics` judges models, and `saving` saves them. A subpackage is imported when it is first used.

Models are pure functions over immutable pytrees of tables. Every docstring uses the same shape letters:

    N  examples                       I  input bits
    K  clusters (output units)        R  neurons of all clusters; n of one cluster
    T  address bits of a neuron       A  cells of a neuron, 2**T
    P  population                     C  context tokens
    V  vocabulary                     B  bits of a token, ceil(log2 V)
    W  packed words, ceil(I / 32)

`fit`, `learn` and `predict` take arrays with the examples first, ``[N, bits]``. The functions below them
store bits bit-major, ``[bits, N]``: a neuron reads one bit of all examples at a time, so the examples are
the contiguous axis.

Source: docs/architecture.md, docs/glossary.md
"""

import importlib
from typing import TYPE_CHECKING

from wnn_jax import ram
from wnn_jax.ram import Layer, LayerConfig, RamConfig, examples, fit, learn, predict

if TYPE_CHECKING:
    from wnn_jax import (
        chain,
        classify,
        data,
        eam,
        export,
        gates,
        lm,
        metrics,
        recommender,
        saving,
        search,
        training,
        vocab,
    )

__version__ = "0.2.0"

__all__ = [
    "Layer",
    "LayerConfig",
    "RamConfig",
    "chain",
    "classify",
    "data",
    "eam",
    "examples",
    "export",
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
    # Some subpackages import orbax or optax, which takes a second: import them only when they are needed.
    if name in _ROOMS:
        return importlib.import_module(f"wnn_jax.{name}")
    raise AttributeError(f"wnn_jax has no {name!r}: it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*globals(), *_ROOMS]
