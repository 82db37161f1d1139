"""Well-known models of the same table: majority, linear, nearest neighbours, forest, and wisardpkg."""

import importlib.util
import pickle
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from sklearn import ensemble, linear_model, metrics, neighbors
from sklearn.preprocessing import StandardScaler

from wnn_jax.classify import encoders
from wnn_jax.classify.encoders import EncoderConfig
from wnn_jax.data.tables import TableData

Name = Literal["majority", "linear", "neighbours", "forest", "wisardpkg"]

LABELS = {
    "majority": ("majority", "mean"),
    "linear": ("logistic regression", "ridge regression"),
    "neighbours": ("5 nearest neighbours", "5 nearest neighbours"),
    "forest": ("random forest of 300", "random forest of 300"),
    "wisardpkg": ("wisardpkg", ""),
}
"""The rows of the baselines, for classes and for numbers."""
_MACRO: dict[str, Any] = {"average": "macro", "zero_division": 0}


class Scored(NamedTuple):
    """The predictions of one model for the test rows, and their costs.

    Attributes:
      predicted: the class or number of each test row.
      kib: the size of the model in KiB.
      train_seconds: the time of the fit.
      seconds: the time of the prediction of all test rows.
      positive: how much each test row looks like class 1, if there are two classes and the model can say.
    """

    predicted: np.ndarray
    kib: float
    train_seconds: float
    seconds: float
    positive: np.ndarray | None = None


def run(name: Name, data: TableData, seed: int) -> Scored | None:
    """Fit a baseline on the training rows and predict the test rows; None if it is not to be had.

    Args:
      name: the baseline.
      data: the table.
      seed: of the forest.
    """
    if name == "wisardpkg":
        if not data.labels or not importlib.util.find_spec("wisardpkg"):
            return None
        # Pixels have few useful thresholds, and wisardpkg takes lists of Python's integers.
        bits = 2 if data.image and data.X.shape[1] > 256 else 8
        return wisardpkg(data, bits, 14)
    train, test = features(data, scaled=name in ("linear", "neighbours"))
    model = _model(name, bool(data.labels), seed)
    started = time.perf_counter()
    model.fit(train, data.y)
    fitted = time.perf_counter()
    predicted = model.predict(test)
    ended = time.perf_counter()
    positive = None
    if len(data.labels) == 2 and hasattr(model, "predict_proba"):
        positive = model.predict_proba(test)[:, 1].astype(np.float64)
    kib = len(pickle.dumps(model)) / 1024
    return Scored(predicted, kib, fitted - started, ended - fitted, positive)


def features(data: TableData, scaled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Make the numbers that models of scikit-learn read: categories as 0 and 1, medians for missing values.

    Args:
      data: the table.
      scaled: whether each feature gets mean 0 and variance 1 on the training rows.

    Returns:
      The training and the test rows, ``float32``.
    """
    parts = []
    for i in range(data.X.shape[1]):
        x, other = data.X[:, i], data.X_test[:, i]
        if i in data.categories:
            codes = np.unique(x[~np.isnan(x)])
            parts.append([(one[:, None] == codes).astype(np.float32) for one in (x, other)])
        else:
            middle = 0.0 if np.isnan(x).all() else np.nanmedian(x)
            parts.append([np.where(np.isnan(one), middle, one)[:, None] for one in (x, other)])
    train, test = (np.concatenate(one, axis=1).astype(np.float32) for one in zip(*parts, strict=True))
    if not scaled:
        return train, test
    scaler: Any = StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


class _Constant:
    """The model that says the same of every row: the most frequent class, or the mean."""

    def __init__(self, classes: bool):
        self.classes, self.value = classes, 0.0

    def fit(self, X: np.ndarray, y: np.ndarray) -> None:
        self.value = np.bincount(y).argmax() if self.classes else y.mean()

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.full(len(X), self.value)


def _model(name: Name, classes: bool, seed: int) -> Any:
    makers: dict[str, Callable[[], Any]] = {
        "majority": lambda: _Constant(classes),
        "linear": lambda: (
            linear_model.LogisticRegression(max_iter=200) if classes else linear_model.Ridge(alpha=1.0)
        ),
        "neighbours": lambda: (
            neighbors.KNeighborsClassifier(5) if classes else neighbors.KNeighborsRegressor(5)
        ),
        "forest": lambda: (
            ensemble.RandomForestClassifier(300, random_state=seed)
            if classes
            else ensemble.RandomForestRegressor(300, random_state=seed)
        ),
    }
    return makers[name]()


def wisardpkg(data: TableData, bits: int, address_bits: int) -> Scored:
    """Train wisardpkg on the bits of our encoder. Its mapping has no seed: it follows the clock.

    Args:
      data: the table.
      bits: the thresholds of a feature.
      address_bits: the bits of a tuple.
    """
    package: Any = importlib.import_module("wisardpkg")
    encoder = encoders.fit(EncoderConfig(bits=bits), data.X)
    train, test = (encoders.bits(encoder, X).tolist() for X in (data.X, data.X_test))
    labels = [str(label) for label in data.y]
    model = package.Wisard(min(address_bits, len(train[0])), ignoreZero=False)
    started = time.perf_counter()
    model.train(train, labels)
    fitted = time.perf_counter()
    predicted = np.array(model.classify(test)).astype(np.int32)
    ended = time.perf_counter()
    return Scored(predicted, model.getsizeof() / 1024, fitted - started, ended - fitted)


def judged(data: TableData, predicted: np.ndarray) -> dict[str, float]:
    """Score predictions of the test rows: accuracy and macro-F1, or R2 and the mean absolute error."""
    if not data.labels:
        return {
            "r2": float(metrics.r2_score(data.y_test, predicted)),
            "mean_error": float(metrics.mean_absolute_error(data.y_test, predicted)),
        }
    return {
        "accuracy": float(metrics.accuracy_score(data.y_test, predicted)),
        "macro_f1": float(metrics.f1_score(data.y_test, predicted, **_MACRO)),
    }
