"""The class-count layer: XLA and the native kernels equal a NumPy oracle to the bit."""

from typing import NamedTuple

import class_reference as reference
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wnn_jax.classify import layer, training
from wnn_jax.classify.layer import UNUSED, Mapping
from wnn_jax.ram import backend


class Case(NamedTuple):
    rows: int = 20
    columns: int = 11
    neurons: int = 6
    pins: int = 4
    tables: int = 6
    classes: int = 3
    hashes: int = 1
    entries: int = 16
    bits: int = 1
    dropout: float = 0.0
    masked: bool = False


CASES = {
    "one bit": Case(rows=70),
    "several bits, shared tables, dropout, masks": Case(
        bits=4, tables=3, dropout=0.3, masked=True, classes=17
    ),
    "one column, one pin, one class": Case(columns=1, pins=1, entries=2, classes=1),
    "nine pins": Case(pins=9, entries=512, columns=30, classes=26),
    "hashed": Case(pins=20, hashes=2, entries=32, columns=30, tables=4, classes=5),
    "hashed, 64 pins": Case(pins=64, hashes=3, entries=8, columns=70, neurons=3, tables=3, classes=2),
    "many classes": Case(classes=40, bits=2, dropout=0.1, tables=2),
}
BACKENDS = ["xla", "cpu"] if not backend._register()[0] else ["xla"]


def draw(case: Case, seed: int = 0):
    rng = np.random.default_rng(seed)
    hashes = layer.dense(case.pins)
    if case.hashes > 1:
        hashes = rng.integers(0, case.entries, (case.hashes, case.pins), dtype=np.uint32)
    level = rng.integers(0, 4, (case.neurons, case.pins)).astype(np.uint8)
    column = rng.integers(0, case.columns, level.shape).astype(np.int32)
    if case.pins > 2:
        level[0, -1], column[0, -1] = UNUSED, 0
    table = (np.arange(case.neurons) % case.tables).astype(np.int32)
    levels = rng.integers(0, 4, (case.rows, case.columns)).astype(np.uint8)
    labels = rng.integers(0, case.classes, case.rows).astype(np.int32)
    return rng, Mapping(column, level, table, hashes), levels, labels


def on(monkeypatch, name, function, *args, **static):
    monkeypatch.setenv("WNN_JAX_BACKEND", name)
    place = lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x  # noqa: E731
    return function(*jax.tree.map(place, args), **static)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("name", BACKENDS)
def test_reading_and_adding_equal_the_oracle(monkeypatch, name, case):
    rng, mapping, levels, labels = draw(case)
    shape = (case.tables, case.entries, case.classes)
    for kind in (np.int8, np.int32):
        cells = rng.integers(-9, 9, shape).astype(kind)
        np.testing.assert_array_equal(
            on(monkeypatch, name, layer.read, mapping, cells, levels), reference.read(mapping, cells, levels)
        )
    weight = rng.integers(-3, 9, case.rows).astype(np.int32)
    before = rng.integers(0, 9, shape).astype(np.int32)
    np.testing.assert_array_equal(
        on(monkeypatch, name, layer.count, mapping, before, levels, labels, weight),
        reference.count(mapping, before, levels, labels, weight),
    )
    row = rng.integers(0, case.rows, 2 * case.rows + 1).astype(np.int32)
    offset = rng.integers(-3, 4, len(row)).astype(np.int32)
    values = rng.integers(-99, 99, (len(row), case.classes)).astype(np.int32)
    np.testing.assert_array_equal(
        on(monkeypatch, name, layer.sums, mapping, shape, levels, row, offset, values),
        reference.sums(mapping, shape, levels, row, offset, values),
    )


@pytest.mark.parametrize("case", [x for x in CASES.values() if x.hashes == 1])
@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_training_equals_the_oracle(monkeypatch, name, batch, case):
    rng, mapping, levels, labels = draw(case, seed=1)
    shape = (case.tables, case.entries, case.classes)
    weights = rng.integers(-(1 << 16), 1 << 16, shape).astype(np.int32)
    count = case.rows + 5
    epoch = training.Epoch(
        levels,
        labels,
        rng.integers(0, case.rows, count).astype(np.int32),
        rng.integers(-3, 4, count).astype(np.int32),
        np.int32(9000),
        np.array([int(case.dropout * 2**32), 5], np.uint32),
    )
    share = training.shares(0.3, 1 << 10)
    serves = rng.random((case.tables if case.masked else 0, case.classes)) < 0.6
    wanted, right = reference.train(mapping, weights, epoch, share, serves, batch, case.bits)
    found, hits = on(
        monkeypatch, name, training.train, mapping, weights, epoch, share, serves, batch=batch, bits=case.bits
    )
    np.testing.assert_array_equal(found, wanted)
    assert int(hits) == right
    assert (np.asarray(found) != weights).any() or case.classes == 1


def test_cells_are_odd_numbers_and_one_bit_is_the_sign():
    weights = jnp.asarray([-(1 << 16), -1, 0, (1 << 16) - 1], jnp.int32)
    assert training.quantised(weights, 1).tolist() == [-1, -1, 1, 1]
    assert training.quantised(weights, 4).tolist() == [-15, -1, 1, 15]


def test_shares_fall_from_one_to_nothing():
    share = training.shares(0.1, 1 << 20)
    assert share[0] == 1 << 16
    assert share[-1] <= 1
    assert (np.diff(share) <= 0).all()
    assert share[10] == round(np.exp(-1) * 2**16)
