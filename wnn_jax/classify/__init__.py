"""Classification and regression on tables: encoders, mappings, cells, training, search, and estimators.

    model = classify.fit(key, classify.ClassifyConfig(), X, y)   # X [N, F] numbers, y [N] labels
    labels = classify.predict(model, X_new)

`encoders` makes bits of features, `mapping` draws the neurons, `layer` reads tables (its reference and
`backend`), `counts` and `bleaching` hold cells that count, `training` and `fitting` train cells, `residual`
searches for the mapping, `distort` makes copies of images, and `model` puts them together.

Source: docs/semantics/classify.md
"""

from wnn_jax.classify.distort import DistortConfig
from wnn_jax.classify.encoders import Encoder, EncoderConfig
from wnn_jax.classify.fitting import TrainingConfig
from wnn_jax.classify.layer import Mapping
from wnn_jax.classify.mapping import MappingConfig
from wnn_jax.classify.model import (
    Classifier,
    ClassifyConfig,
    fit,
    pack,
    predict,
    probabilities,
    scores,
    unpack,
)
from wnn_jax.classify.residual import ResidualConfig

__all__ = [
    "Classifier",
    "ClassifyConfig",
    "DistortConfig",
    "Encoder",
    "EncoderConfig",
    "Mapping",
    "MappingConfig",
    "ResidualConfig",
    "TrainingConfig",
    "fit",
    "pack",
    "predict",
    "probabilities",
    "scores",
    "unpack",
]
