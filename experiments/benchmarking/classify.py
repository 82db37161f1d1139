"""The cases of the table classify: rows that classifiers learn and classify in a second, on one core."""

import functools
import importlib.util
import os
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from sklearn import ensemble

from experiments.classifying import baselines
from wnn_jax import classify
from wnn_jax.classify import ClassifyConfig, EncoderConfig, MappingConfig, bleaching, counts, encoders, model
from wnn_jax.classify.mapping import generator
from wnn_jax.data import tables
from wnn_jax.data.tables import TableConfig, TableData

_WISARD = {"bits": 2, "tuple": 28}  # the setting of BTHOWeN's table for MNIST
_FEW = 12_000  # training rows, so that the slow ones end soon


def planned() -> list[str]:
    """List the cases: wisardpkg only where it is installed."""
    there = importlib.util.find_spec("wisardpkg") is not None
    return [f"classify:{way}:rows:0" for way in _RUNS if there or way != "wisardpkg"]


def run(seed: int, way: str) -> dict[str, float]:
    """Time one way on MNIST where its files are, or else on the digits of scikit-learn, repeated."""
    data = _data()
    predicted, train, read = _RUNS[way](data, seed)
    return {
        "train_rows_per_second": len(data.y) / train,
        "rows_per_second": len(data.y_test) / read,
        "accuracy": float((predicted == data.y_test).mean()),
        "train_rows": len(data.y),
        "features": data.X.shape[1],
    }


def _data() -> TableData:
    if os.environ.get("WNN_JAX_DATA"):
        data = tables.load(TableConfig("mnist"))
        return data._replace(X=data.X[:_FEW], y=data.y[:_FEW])
    data = tables.load(TableConfig("digits"))
    many, more = (-(-_FEW // len(data.X)), 10)
    return data._replace(
        X=np.tile(data.X, (many, 1)),
        y=np.tile(data.y, many),
        X_test=np.tile(data.X_test, (more, 1)),
        y_test=np.tile(data.y_test, more),
    )


def _config(data: TableData, cells: Any) -> ClassifyConfig:
    """The settings of our models: about as many pins as wisardpkg's tuples have."""
    windows = (10,) if data.image and data.image[0] >= 28 else (5,)
    mapping = MappingConfig(112, 14, windows) if cells == "count" else MappingConfig(432, 5, windows)
    return ClassifyConfig(cells, EncoderConfig("linear", bits=2, shared=True), mapping)


def _fitted(data: TableData, seed: int, cells: str) -> tuple[np.ndarray, float, float]:
    """Time the whole work, from rows of numbers to labels: encoder, mapping, cells, bleaching."""
    config, key = _config(data, cells), jax.random.key(seed)

    def fit() -> classify.Classifier:
        return classify.fit(key, config, data.X, data.y, image=data.image)

    model, train = _timed(fit)
    predicted, read = _timed(lambda: classify.predict(model, data.X_test))
    return predicted, train, read


def _one_pass(data: TableData, seed: int) -> tuple[np.ndarray, float, float]:
    """Time one pass of counting, without the choice of a threshold, and the reading of votes from count 1."""
    config, key = _config(data, "count"), jax.random.key(seed)
    encoder = encoders.fit(config.encoder, data.X)
    mapping = model.draw_mapping(generator(key), config.mapping, encoder, data.image)
    empty = counts.empty(mapping, config.mapping.entries, len(data.labels))

    def write() -> jax.Array:
        return counts.write(mapping, empty, encoders.levels(encoder, data.X), data.y).block_until_ready()

    written, train = _timed(write)
    frozen = classify.Classifier(encoder, mapping, bleaching.freeze(written, 1), 1.0, tuple(range(10)))
    predicted, read = _timed(lambda: classify.predict(frozen, data.X_test))
    return predicted, train, read


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result and the seconds of a second call; the first one compiles."""
    call()
    started = time.perf_counter()
    return call(), time.perf_counter() - started


def _wisardpkg(data: TableData, seed: int) -> tuple[np.ndarray, float, float]:
    scored = baselines.wisardpkg(data, _WISARD["bits"], _WISARD["tuple"])
    return scored.predicted, scored.train_seconds, scored.seconds


def _forest(data: TableData, seed: int) -> tuple[np.ndarray, float, float]:
    model = ensemble.RandomForestClassifier(300, random_state=seed, n_jobs=1)
    started = time.perf_counter()
    model.fit(data.X, data.y)
    fitted = time.perf_counter()
    predicted = model.predict(data.X_test)
    return predicted, fitted - started, time.perf_counter() - fitted


_RUNS: dict[str, Callable[[TableData, int], tuple[np.ndarray, float, float]]] = {
    "one pass": _one_pass,
    "count": functools.partial(_fitted, cells="count"),
    "trained": functools.partial(_fitted, cells="trained"),
    "wisardpkg": _wisardpkg,
    "forest": _forest,
}


def show(found: dict[str, dict[str, float]]) -> None:
    """Print the table of the cases, with the ratio to wisardpkg where it ran."""
    mine = {case.split(":")[1]: one for case, one in found.items() if case.startswith("classify:")}
    heads = ("model", "learnt a second", "classified a second", "accuracy", "learnt x", "classified x")
    print(("\n{:>12}" + " {:>20}" * 5).format(*heads))
    peer = mine.get("wisardpkg")
    for way, one in mine.items():
        rates = [one["train_rows_per_second"], one["rows_per_second"]]
        against = [peer["train_rows_per_second"], peer["rows_per_second"]] if peer else [float("nan")] * 2
        ratios = [a / b for a, b in zip(rates, against, strict=True)]
        print(
            f"{way:>12} {rates[0]:>20,.0f} {rates[1]:>20,.0f} {one['accuracy']:>20.4f}"
            + "".join(f" {ratio:>19.1f}x" for ratio in ratios)
        )
    first = next(iter(mine.values()))
    print(
        f"One core; {first['train_rows']:,.0f} rows of {first['features']:,.0f} features; "
        "x: the rate by wisardpkg's.\n"
        "one pass, count, trained: ours, from numbers to labels. one pass encodes and counts; count fits\n"
        "the encoder and chooses the threshold of bleaching too: 112 tables of 14 pins. trained: 432 tables\n"
        "of 5 pins, 16 epochs. wisardpkg: tuples of 28 bits, from lists of bits that were made before.\n"
        "forest: 300 trees."
    )
