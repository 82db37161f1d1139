"""The cases of the table classify: rows that classifiers learn and classify in a second, on one core.

Bounds stand beside our times, in nanoseconds for each pair of a row and a neuron. The K cells that a neuron
reads lie together, and it changes 4 bytes of the counts. So each hash costs a line of 64 bytes of its table.
The T bytes of levels stay in the fastest cache. The bound is the time of as many random read-modify-writes of
one thread in one table of the size of ours.
"""

import dataclasses
import importlib.util
import math
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
from wnn_jax.ram import backend

_FEW = 12_000  # training rows, so that the slow ones end soon
_LINEAR = EncoderConfig("linear", bits=2, shared=True)  # of images

_NOTES = """\
same, one pass, wisardpkg: learnt is counting; the time to encode the rows is in neither rate. judged: rows a
second of the choice of bleaching's threshold, which wisardpkg does as it classifies. same: the thresholds and
tuples of wisardpkg, in tables of 8,192 entries, two hashes. one pass: 112 tables of 14 pins. count, trained:
whole fits and predictions, from numbers to labels; count chooses the threshold, trained has 432 tables of 5
pins and 16 epochs. forest: 300 trees. bound: random read-modify-writes of one thread in one table, for each
hash."""

Numbers = dict[str, float]


def planned() -> list[str]:
    """List the cases: wisardpkg only where it is installed, letter only where its files are."""
    there = importlib.util.find_spec("wisardpkg") is not None
    ways = [way for way in _RUNS if there or way != "wisardpkg"]
    if not os.environ.get("WNN_JAX_DATA"):
        return [f"classify:{way}:digits:0" for way in ways]
    more = [way for way in ways if way in ("same", "wisardpkg", "forest")]
    return [f"classify:{way}:mnist:0" for way in ways] + [f"classify:{way}:letter:0" for way in more]


def run(seed: int, way: str, name: str) -> Numbers:
    """Time one way on ``mnist``, ``letter``, or the ``digits`` of scikit-learn, which are repeated."""
    data = _data(name)
    found = _RUNS[way](data, seed)
    return {**found, "train_rows": len(data.y), "features": data.X.shape[1]}


def _data(name: str) -> TableData:
    data = tables.load(TableConfig("uci:letter" if name == "letter" else name))
    if name != "digits":
        return data._replace(X=data.X[:_FEW], y=data.y[:_FEW])
    many, more = (-(-_FEW // len(data.X)), 10)
    return data._replace(
        X=np.tile(data.X, (many, 1)),
        y=np.tile(data.y, many),
        X_test=np.tile(data.X_test, (more, 1)),
        y_test=np.tile(data.y_test, more),
    )


def _wisard(data: TableData) -> tuple[int, int]:
    """Return the thresholds of a feature and the bits of a tuple, as in BTHOWeN's table."""
    return (2, 28) if data.image else (15, 20)


def _rates(data: TableData, predicted: np.ndarray, train: float, read: float, **more: float) -> Numbers:
    return {
        "train_rows_per_second": len(data.y) / train,
        "rows_per_second": len(data.y_test) / read,
        "accuracy": float((predicted == data.y_test).mean()),
        **more,
    }


def _fitted(data: TableData, seed: int, config: ClassifyConfig) -> Numbers:
    """Time the whole work, from rows of numbers to labels: encoder, mapping, cells, bleaching."""
    key = jax.random.key(seed)

    def fit() -> classify.Classifier:
        return classify.fit(key, config, data.X, data.y, image=data.image)

    fitted, train = _timed(fit, 1 if config.cells == "trained" else 5)
    predicted, read = _timed(lambda: classify.predict(fitted, data.X_test))
    return _rates(data, predicted, train, read)


def _counted(data: TableData, seed: int, encoder: EncoderConfig, mapping: MappingConfig) -> Numbers:
    """Time the parts of the work on rows that are encoded already: counting, bleaching, classifying."""
    fitted = encoders.fit(encoder, data.X)
    bits = int(encoders.widths(fitted).sum())
    if mapping.entry_bits is not None:  # every bit is read once
        mapping = dataclasses.replace(mapping, tables=-(-bits // mapping.address_bits))
    image = data.image if mapping.windows else None
    neurons = model.draw_mapping(generator(jax.random.key(seed)), mapping, fitted, image)
    classes, rows = len(data.labels), len(data.y)
    train, (test, encode) = (
        encoders.levels(fitted, data.X),
        _timed(lambda: encoders.levels(fitted, data.X_test)),
    )
    written, count = _timed(
        lambda: counts.first(neurons, mapping.entries, classes, train, data.y).block_until_ready()
    )
    curve, choose = _timed(lambda: bleaching.choose(neurons, written, train, data.y))
    cells, freeze = _timed(lambda: bleaching.freeze(written, curve.chosen))
    frozen = classify.Classifier(fitted, neurons, cells, 1.0, tuple(range(classes)))
    predicted, read = _timed(lambda: model.level_scores(frozen, test).argmax(axis=1))
    pairs = len(neurons.table)
    return _rates(
        *(data, predicted, count, read),
        encoded_rows_per_second=len(data.y_test) / encode,
        judged_rows_per_second=rows / (choose + freeze),
        count_ns=count / rows / pairs * 1e9,
        read_ns=read / len(data.y_test) / pairs * 1e9,
        count_bound_ns=_bound(neurons, 4 * mapping.entries * classes),
        read_bound_ns=_bound(neurons, mapping.entries * classes),
    )


def _bound(neurons: Any, table_bytes: int) -> float:
    """Time one random read-modify-write for each hash, in nanoseconds; NaN without the native kernels."""
    if backend.chosen() == "xla":
        return math.nan
    touches, tasks = 1 << 20, 8
    call = jax.jit(lambda: backend.touch(table_bytes, touches, tasks))
    return len(neurons.hashes) * _timed(lambda: call().block_until_ready())[1] / touches / tasks * 1e9


def _timed(call: Callable[[], Any], calls: int = 5) -> tuple[Any, float]:
    """Return the last result and the median seconds of a few calls, after one that compiles."""
    found, seconds = call(), []
    for _ in range(calls):
        started = time.perf_counter()
        found = call()
        seconds.append(time.perf_counter() - started)
    return found, float(np.median(seconds))


def _same(data: TableData, seed: int) -> Numbers:
    """Count with the bits and tuples of wisardpkg; its dictionaries become hashed tables."""
    bits, address_bits = _wisard(data)
    mapping = MappingConfig(1, address_bits, entry_bits=13, hashes=2)
    return _counted(data, seed, EncoderConfig(bits=bits), mapping)


def _one_pass(data: TableData, seed: int) -> Numbers:
    return _counted(data, seed, _LINEAR, MappingConfig(112, 14, _windows(data)))


def _count(data: TableData, seed: int) -> Numbers:
    return _fitted(data, seed, ClassifyConfig("count", _LINEAR, MappingConfig(112, 14, _windows(data))))


def _trained(data: TableData, seed: int) -> Numbers:
    return _fitted(data, seed, ClassifyConfig("trained", _LINEAR, MappingConfig(432, 5, _windows(data))))


def _windows(data: TableData) -> tuple[int, ...]:
    return (10,) if data.image and data.image[0] >= 28 else (5,)


def _wisardpkg(data: TableData, seed: int) -> Numbers:
    scored = baselines.wisardpkg(data, *_wisard(data))
    return _rates(data, scored.predicted, scored.train_seconds, scored.seconds)


def _forest(data: TableData, seed: int) -> Numbers:
    model = ensemble.RandomForestClassifier(300, random_state=seed, n_jobs=1)
    started = time.perf_counter()
    model.fit(data.X, data.y)
    fitted = time.perf_counter()
    predicted = model.predict(data.X_test)
    return _rates(data, predicted, fitted - started, time.perf_counter() - fitted)


_RUNS: dict[str, Callable[[TableData, int], Numbers]] = {
    "same": _same,
    "one pass": _one_pass,
    "count": _count,
    "trained": _trained,
    "wisardpkg": _wisardpkg,
    "forest": _forest,
}


def show(found: dict[str, Numbers]) -> None:
    """Print the table of the cases, with the ratio to wisardpkg where it ran on the same data."""
    mine = {tuple(case.split(":")[1:3]): one for case, one in found.items() if case.startswith("classify:")}
    heads = ("learnt a second", "judged", "classified", "encoded", "accuracy", "learnt x", "classified x")
    print(("\n{:<8} {:<10}" + " {:>15}" * 7).format("data", "model", *heads))
    for (way, name), one in mine.items():
        peer = mine.get(("wisardpkg", name), {})
        parts = (
            "train_rows_per_second",
            "judged_rows_per_second",
            "rows_per_second",
            "encoded_rows_per_second",
        )
        rates = [one.get(part, math.nan) for part in parts]
        ratios = [one[part] / peer.get(part, math.nan) for part in (parts[0], parts[2])]
        print(
            f"{name:<8} {way:<10}"
            + "".join(f" {rate:>15,.0f}" for rate in rates)
            + f" {one['accuracy']:>15.4f}"
            + "".join(f" {ratio:>14.1f}x" for ratio in ratios)
        )
    for (way, name), one in mine.items():
        if "count_ns" in one:
            print(
                f"{name}, {way}: {one['count_ns']:.2f} ns to count a row in a neuron (bound "
                f"{one['count_bound_ns']:.2f}), {one['read_ns']:.2f} ns to read it (bound "
                f"{one['read_bound_ns']:.2f})"
            )
    sizes = {name: (one["train_rows"], one["features"]) for (_, name), one in mine.items()}
    said = "; ".join(
        f"{name}: {rows:,.0f} rows of {features:,.0f}" for name, (rows, features) in sizes.items()
    )
    print(f"One core; {said} features. x: the rate by wisardpkg's.\n{_NOTES}")
