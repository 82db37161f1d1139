"""Regression on tables: against NumPy, and on numbers that a sum of tables can reach."""

import jax
import numpy as np
import pytest

from wnn_jax.classify import regression
from wnn_jax.classify.layer import Mapping, dense, read
from wnn_jax.classify.regression import RegressionConfig

J, T, R = 4, 2, 6
KEY = jax.random.key(0)


def mapping_of(tables=R):
    rng = np.random.default_rng(1)
    column = np.stack([rng.permutation(J)[:T] for _ in range(R)]).astype(np.int32)
    level = rng.integers(1, 4, (R, T)).astype(np.uint8)
    return Mapping(column, level, np.resize(np.arange(tables), R).astype(np.int32), dense(T))


def rows_of(seed, rows=200):
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 4, (rows, J)).astype(np.uint8)
    return levels, levels[:, 0] * 2.0 - levels[:, 3] * (levels[:, 1] > 1) + 100


def predicted(mapping, fitted, levels):
    score = np.asarray(read(mapping, fitted.cells, levels))[:, 0]
    return fitted.offset + fitted.scale * score


def entries(mapping, levels):
    return (levels[:, mapping.column] >= mapping.level) @ np.array([1, 2])


def rounded(x, divisor):
    return int(np.sign(x)) * ((abs(int(x)) + divisor // 2) // divisor)


@pytest.mark.parametrize(("tables", "batch"), [(R, 1), (2, 3)])
def test_training_is_that_of_the_rule_in_integers(tables, batch):
    mapping, (levels, targets) = mapping_of(tables), rows_of(2, 20)
    config = RegressionConfig(epochs=2, rate=0.4, prior=0.7, batch=batch)
    found = regression.train(KEY, config, mapping, 4, levels, targets)
    order = regression._order(KEY, config, np.full(20, 1 / 20))
    assert sorted(order[0].ravel())[-20:] == list(range(20))
    most = 1 << 26
    scale = np.abs(targets - targets.mean()).max() / most
    wanted = np.rint((targets - targets.mean()) / scale).astype(int)
    cells, entry = np.zeros((tables, 4), int), entries(mapping, levels)
    seen = np.zeros((tables, 4))
    np.add.at(seen, (mapping.table, entry), 1)
    for rate, epoch in zip((0.4, 0.4 / 50), order, strict=True):
        for step in epoch:
            asked = {}
            for row in step[step >= 0]:
                places = list(zip(mapping.table.tolist(), entry[row].tolist(), strict=True))
                error = wanted[row] - sum(cells[place] for place in places)
                for place in places:
                    pull = int(np.rint(np.float32(seen[place]) * np.float32(1 / (rate * 0.7))))
                    change = rounded(error, round(R / rate)) - rounded(cells[place], max(pull, 1))
                    asked.setdefault(place, []).append(change)
            for place, changes in asked.items():
                # A step of one row adds what each neuron asks for; a larger one adds their mean.
                moved = sum(rounded(x, len(changes) if batch > 1 else 1) for x in changes)
                cells[place] = np.clip(cells[place] + moved, -most, most)
    np.testing.assert_array_equal(found.cells[..., 0], cells)
    assert (found.scale, found.offset) == (scale, targets.mean())


def test_trained_cells_predict_new_rows():
    rng = np.random.default_rng(3)
    column = np.array([rng.permutation(J)[:2] for _ in range(60)], np.int32)
    level = rng.integers(1, 4, (60, 2)).astype(np.uint8)
    mapping = Mapping(column, level, np.arange(60, dtype=np.int32), dense(2))
    levels, targets = rows_of(4, 400)
    new, wanted = rows_of(5, 300)

    def error(fitted):
        return ((predicted(mapping, fitted, new) - wanted) ** 2).mean() / wanted.var()

    trained = regression.train(KEY, RegressionConfig(), mapping, 4, levels, targets)
    assert error(trained) < 0.03
    batches = regression.train(KEY, RegressionConfig(batch=16), mapping, 4, levels, targets)
    assert error(batches) < 0.3
    sums = regression.start(mapping, 4, targets)
    counted = regression.means(mapping, regression.add(mapping, sums, levels, targets))
    assert error(trained) < error(counted) < 0.8


def test_weights_show_rows_more_often():
    mapping, (levels, targets) = mapping_of(), rows_of(6, 50)
    weight = np.zeros(50)
    weight[:25] = 3
    found = regression.train(KEY, RegressionConfig(), mapping, 4, levels, targets, weight)
    half = regression.train(KEY, RegressionConfig(), mapping, 4, levels[:25], targets[:25])
    gap = np.abs(predicted(mapping, found, levels) - predicted(mapping, half, levels)).mean()
    assert gap < 0.1 * targets.std()


def test_means_are_those_of_the_cells():
    mapping, (levels, targets) = mapping_of(2), rows_of(7, 30)
    sums = regression.start(mapping, 4, targets)
    whole = regression.add(mapping, sums, levels, targets)
    fitted = regression.means(mapping, whole, prior=2.0)
    entry = entries(mapping, levels)
    units = np.rint((targets - sums.offset) / sums.scale)
    middle = units.mean()
    wanted = np.zeros(30)
    for r in range(R):
        for i in range(30):
            same = [
                (units[j] - middle)
                for q in np.flatnonzero(mapping.table == mapping.table[r])
                for j in np.flatnonzero(entry[:, q] == entry[i, r])
            ]
            wanted[i] += sum(same) / (len(same) + 2.0) / R
    wanted = sums.offset + sums.scale * (middle + wanted)
    np.testing.assert_allclose(predicted(mapping, fitted, levels), wanted, atol=1e-4)


def test_sums_add_and_forget():
    mapping, (levels, targets) = mapping_of(), rows_of(8, 30)
    start = regression.start(mapping, 4, targets)
    whole = regression.add(mapping, start, levels, targets)
    part = regression.add(mapping, start, levels[:10], targets[:10])
    both = regression.add(mapping, part, levels[10:], targets[10:])
    np.testing.assert_array_equal(whole.counts, both.counts)
    forgotten = regression.add(mapping, whole, levels[10:], targets[10:], np.full(20, -1))
    np.testing.assert_array_equal(forgotten.counts, part.counts)
    with pytest.raises(ValueError, match="would become -1"):
        regression.add(mapping, start, levels[:1], targets[:1], [-1] * np.ones(1, int))


def test_one_value_and_bad_targets():
    mapping, (levels, targets) = mapping_of(), rows_of(9, 5)
    flat = regression.train(KEY, RegressionConfig(), mapping, 4, levels, np.full(5, 7.0))
    np.testing.assert_array_equal(predicted(mapping, flat, levels), 7.0)
    with pytest.raises(ValueError, match=r"targets\[1\]=nan is out of range"):
        regression.train(KEY, RegressionConfig(), mapping, 4, levels, targets * [1, np.nan, 1, 1, 1])
    two = mapping._replace(hashes=np.ones((2, T), np.uint32))
    with pytest.raises(ValueError, match="2 hashes, and a sum needs 1"):
        regression.train(KEY, RegressionConfig(), two, 4, levels, targets)
    with pytest.raises(ValueError, match="prior=0"):
        regression.means(mapping, regression.start(mapping, 4, targets), 0.0)
