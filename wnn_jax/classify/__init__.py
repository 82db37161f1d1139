"""Classification and regression on tables: encoders, mappings, cells, training, search, and estimators.

    model = classify.fit(key, classify.ClassifyConfig(), X, y)   # X [N, F] numbers, y [N] labels
    labels = classify.predict(model, X_new)

    WisardClassifier(size_kib=16).fit(X, y).predict(X_new)       # an estimator of scikit-learn

`encoders` makes bits of features, `mapping` draws the neurons, `layer` reads tables (its reference and
`backend`), `counts` and `bleaching` hold cells that count, `training` and `fitting` train cells, `residual`
searches for the mapping, `distort` makes copies of images, `model` puts them together, and `artifact` packs a
model. The estimators `WisardClassifier`, `WisardEnsemble`, `WisardRegressor` and `ThermometerEncoder` need
scikit-learn, which is imported when one of them is first named.

Source: docs/semantics/classify.md
"""

import importlib
from typing import TYPE_CHECKING

from wnn_jax.classify.artifact import pack, unpack
from wnn_jax.classify.distort import DistortConfig
from wnn_jax.classify.encoders import Encoder, EncoderConfig
from wnn_jax.classify.fitting import TrainingConfig
from wnn_jax.classify.layer import Mapping
from wnn_jax.classify.mapping import MappingConfig
from wnn_jax.classify.model import (
    Classifier,
    ClassifyConfig,
    fit,
    predict,
    probabilities,
    scores,
)
from wnn_jax.classify.residual import ResidualConfig

if TYPE_CHECKING:
    from wnn_jax.classify.estimators import WisardClassifier, WisardEnsemble
    from wnn_jax.classify.regressor import WisardRegressor
    from wnn_jax.classify.transformer import ThermometerEncoder

__all__ = [
    "Classifier",
    "ClassifyConfig",
    "DistortConfig",
    "Encoder",
    "EncoderConfig",
    "Mapping",
    "MappingConfig",
    "ResidualConfig",
    "ThermometerEncoder",
    "TrainingConfig",
    "WisardClassifier",
    "WisardEnsemble",
    "WisardRegressor",
    "fit",
    "pack",
    "predict",
    "probabilities",
    "scores",
    "unpack",
]

_ESTIMATORS = {
    "ThermometerEncoder": "transformer",
    "WisardClassifier": "estimators",
    "WisardEnsemble": "estimators",
    "WisardRegressor": "regressor",
}


def __getattr__(name: str):
    if name in _ESTIMATORS:
        return getattr(importlib.import_module(f"wnn_jax.classify.{_ESTIMATORS[name]}"), name)
    raise AttributeError(f"wnn_jax.classify has no {name!r}: it has {', '.join(__all__)}")
