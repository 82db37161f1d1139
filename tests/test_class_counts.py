"""Count cells of classifiers, against a WiSARD of dictionaries; bleaching, calibration and explanations."""

import collections
import itertools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wnn_jax.classify import bleaching, calibration, counts, explain
from wnn_jax.classify.layer import UNUSED, Mapping, dense
from wnn_jax.ram import backend

NATIVE = not backend._register()[0] and jax.default_backend() == "cpu"
J, T, K = 4, 3, 3


def mapping_of(rng, neurons=5, tables=None, hashes=None):
    """Neurons with distinct pins, the last pin of the last neuron unused."""
    column = np.stack([rng.permutation(J)[:T] for _ in range(neurons)]).astype(np.int32)
    level = rng.integers(1, 4, (neurons, T)).astype(np.uint8)
    column[-1, -1], level[-1, -1] = 0, UNUSED
    table = np.arange(neurons) if tables is None else rng.permutation(np.resize(np.arange(tables), neurons))
    return Mapping(column, level, table.astype(np.int32), dense(T) if hashes is None else hashes)


KINDS = {
    "dense": lambda rng: mapping_of(rng),
    "shared": lambda rng: mapping_of(rng, tables=2),
    "hashed": lambda rng: mapping_of(rng, hashes=rng.integers(0, 8, (2, T)).astype(np.uint32)),
    "hashed_shared": lambda rng: mapping_of(rng, 4, 2, rng.integers(0, 4, (2, T)).astype(np.uint32)),
}
S = 8


def rows_of(rng, rows):
    levels = rng.integers(0, 4, (rows, J)).astype(np.uint8)
    return levels, rng.integers(0, K, rows), rng.integers(0, 4, rows)


class Dictionaries:
    """The oracle: dictionaries of counts by (table, entry, class)."""

    def __init__(self, mapping):
        self.mapping, self.cells = mapping, collections.Counter()

    def entries(self, row):
        """The entries of every neuron: one for each hash."""
        for columns, levels, table in zip(*self.mapping[:3], strict=True):
            found = []
            for hashes in self.mapping.hashes:
                entry = 0
                for t, (column, level) in enumerate(zip(columns, levels, strict=True)):
                    entry ^= int(hashes[t]) if row[column] >= level else 0
                found.append((int(table), entry))
            yield found

    def write(self, row, label, weight=1):
        for found in self.entries(row):
            for one in set(found):
                self.cells[(*one, label)] += weight

    def values(self, row):
        """The count that each neuron reads for each class."""
        return [
            [min(self.cells[(*one, k)] for one in found) for k in range(K)] for found in self.entries(row)
        ]

    def votes(self, row, threshold):
        return np.sum(np.asarray(self.values(row)) >= threshold, axis=0)

    def table(self):
        whole = np.zeros((max(self.mapping.table) + 1, S, K), np.int32)
        for place, count in self.cells.items():
            whole[place] = count
        return whole

    def dynamic(self, row):
        """Transcribe the rule: raise the threshold by 1 until one class is best, or none has a vote."""
        values, seen = np.asarray(self.values(row)), []
        for threshold in itertools.count(1):
            votes = (values >= threshold).sum(axis=0)
            if votes.max() == 0:
                break
            seen.append(votes)
            if (votes == votes.max()).sum() == 1:
                break
        if not seen:
            return np.zeros(K), 0
        left = range(K)
        for votes in reversed(seen):
            left = [k for k in left if votes[k] == max(votes[j] for j in left)]
        return seen[-1], left[0]


def shown(mapping, rows):
    oracle = Dictionaries(mapping)
    for row, label, weight in zip(*rows, strict=True):
        oracle.write(row, label, weight)
    return oracle


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10**6))
def test_counts_are_those_of_the_dictionaries(kind, seed):
    rng = np.random.default_rng(seed)
    mapping, rows = KINDS[kind](rng), rows_of(rng, 12)
    start = counts.empty(mapping, S, K)
    whole = np.asarray(counts.write(mapping, start, *rows))
    np.testing.assert_array_equal(whole, shown(mapping, rows).table())
    np.testing.assert_array_equal(whole, counts.first(mapping, S, K, *rows))
    # Any order, in parts, and a weight as that many rows.
    order = rng.permutation(12)
    np.testing.assert_array_equal(whole, counts.write(mapping, start, *(x[order] for x in rows)))
    one, other = (counts.write(mapping, start, *(x[part] for x in rows)) for part in (slice(7), slice(7, 12)))
    np.testing.assert_array_equal(whole, counts.merge(one, other))
    repeated = [np.repeat(x, rows[2], axis=0) for x in rows[:2]]
    np.testing.assert_array_equal(whole, counts.write(mapping, start, *repeated))
    # Forgotten is never shown.
    np.testing.assert_array_equal(one, counts.forget(mapping, whole, *(x[7:] for x in rows)))


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10**6))
def test_leaving_one_out_is_leaving_it_out(kind, seed):
    rng = np.random.default_rng(seed)
    mapping, rows = KINDS[kind](rng), rows_of(rng, 10)
    rows[2][0] = 3
    table = counts.write(mapping, counts.empty(mapping, S, K), *rows)
    thresholds = [1, 2, 4]
    votes = np.zeros((3, 10, K), int)
    rule = []
    for i in range(10):
        oracle = shown(mapping, [np.delete(x, i, axis=0) for x in rows])
        votes[:, i] = [oracle.votes(rows[0][i], b) for b in thresholds]
        rule.append(oracle.dynamic(rows[0][i]))
    curve = bleaching.choose(mapping, table, *rows, thresholds)
    right = (votes.argmax(axis=2) == rows[1]) @ rows[2]
    np.testing.assert_allclose(curve.accuracy, right / rows[2].sum())
    ties = ((votes == votes.max(axis=2, keepdims=True)).sum(axis=2) > 1) @ rows[2]
    np.testing.assert_allclose(curve.ties, ties / rows[2].sum())
    assert curve.chosen == min(zip(-right, ties, thresholds, strict=True))[2]
    np.testing.assert_array_equal(bleaching.left_out(mapping, table, *rows, 2), votes[1])
    # Of a row that is repeated one is left out, and the others stay.
    repeated = [np.repeat(x, rows[2], axis=0) for x in rows[:2]]
    one = np.minimum(rows[2], 1)
    apart = bleaching.choose(mapping, table, *repeated, thresholds=thresholds)
    whole = bleaching.choose(mapping, table, *rows, thresholds, one)
    np.testing.assert_allclose(apart.accuracy, whole.accuracy)
    scores, order = bleaching.dynamic_left_out(mapping, table, *rows)
    np.testing.assert_array_equal(scores, [x for x, _ in rule])
    np.testing.assert_array_equal(order.argmax(axis=1), [x for _, x in rule])


@pytest.mark.skipif(not NATIVE, reason="no native kernels here")
@pytest.mark.parametrize(
    ("neurons", "tables", "classes", "hashed", "most"),
    [(11, 11, 3, 0, 9), (9, 4, 17, 0, 9), (10, 10, 33, 2, 9), (12, 5, 1, 3, 9), (7, 7, 10, 0, 2**30)],
)
def test_native_votes_without_the_row_equal_xla(monkeypatch, neurons, tables, classes, hashed, most):
    """The kernel counts neurons eight at a time, in blocks of 64 rows and vectors of 16 classes."""
    rng = np.random.default_rng(neurons)
    hashes = rng.integers(0, S, (hashed, T)).astype(np.uint32) if hashed else None
    mapping = mapping_of(rng, neurons, tables, hashes)
    table = rng.integers(0, most, (tables, S, classes)).astype(np.int32)
    levels, labels, weight = rows_of(rng, 150)
    labels = rng.integers(0, classes, 150)
    thresholds = [1, 2, 5, most // 2 + 1]
    curves = []
    for name in ("xla", "cpu"):
        monkeypatch.setenv("WNN_JAX_BACKEND", name)
        jax.clear_caches()  # a compiled function keeps its backend
        blocks = list(bleaching._left_out(mapping, table, levels, labels, weight, thresholds))
        votes = [np.asarray(x)[:, : rows.stop - rows.start] for rows, x in blocks]
        curves.append(np.concatenate(votes, axis=1))
    np.testing.assert_array_equal(*curves)
    assert curves[0].any()


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10**6))
def test_dynamic_bleaching_is_its_rule(kind, seed):
    rng = np.random.default_rng(seed)
    mapping, rows = KINDS[kind](rng), rows_of(rng, 14)
    new = rng.integers(0, 4, (9, J)).astype(np.uint8)
    table = counts.write(mapping, counts.empty(mapping, S, K), *rows)
    rule = [shown(mapping, rows).dynamic(row) for row in new]
    scores, order = bleaching.dynamic(mapping, table, new)
    np.testing.assert_array_equal(scores, [x for x, _ in rule])
    np.testing.assert_array_equal(order.argmax(axis=1), [x for _, x in rule])
    np.testing.assert_array_equal(bleaching.dynamic(mapping, 256 * table, new)[1], order)


def test_padding_rows_change_nothing():
    rng = np.random.default_rng(0)
    mapping, rows = KINDS["shared"](rng), rows_of(rng, 150)
    table = np.asarray(counts.write(mapping, counts.empty(mapping, S, K), *rows))
    np.testing.assert_array_equal(table, shown(mapping, rows).table())
    assert [counts.padded(n) for n in (0, 1, 64, 65, 150, 20_000)] == [64, 64, 64, 128, 192, 20_480]
    assert counts.block(20_480, 1 << 16, 1 << 28) == 4096
    assert counts.block(64, 1 << 30) == 64


def test_conservative_counts_raise_only_the_smallest_cell():
    rng = np.random.default_rng(3)
    mapping = mapping_of(rng, 3, hashes=rng.integers(0, 4, (2, T)).astype(np.uint32))
    rows = rows_of(rng, 20)
    oracle = Dictionaries(mapping)
    for row, label, weight in zip(*rows, strict=True):
        for found in oracle.entries(row):
            least = min(oracle.cells[(*one, label)] for one in found)
            for one in found:
                oracle.cells[(*one, label)] = max(oracle.cells[(*one, label)], least + weight)
    start = counts.empty(mapping, S, K)
    kept = np.asarray(counts.write_conservative(mapping, start, *rows))
    np.testing.assert_array_equal(kept, oracle.table())
    plain = np.asarray(counts.write(mapping, start, *rows))
    assert (kept <= plain).all()
    assert kept.sum() < plain.sum()


def test_weights_are_whole_units():
    kept, unit = counts.units([2.0, 0.0, 5.0])
    assert (kept.tolist(), unit) == ([2, 0, 5], 1)
    kept, unit = counts.units(np.array([0.5, 1.5, 0.0]) * 1e-6)
    assert (kept.tolist(), unit) == ([128, 384, 0], 256)
    assert counts.units([0.5, 1.0], relative=False)[0].tolist() == [128, 256]
    with pytest.raises(ValueError, match="0 for every row"):
        counts.units([0.0, 0.0])
    with pytest.raises(ValueError, match=r"sample_weight\[1\]=-1.0"):
        counts.units([1.0, -1.0])


def test_thresholds_of_the_grid():
    assert bleaching.grid(0) == (1,)
    assert bleaching.grid(30) == (1, 2, 3, 4, 6, 8, 12, 16, 24)
    assert bleaching.grid(1000, 256) == (256, 512, 768)


def test_bad_rows_are_refused_in_one_line():
    mapping = mapping_of(np.random.default_rng(0))
    table = counts.empty(mapping, S, K)
    levels = np.zeros((2, J), np.uint8)
    for change, message in [
        ({"levels": levels[:, :2]}, "levels has 2 columns, but the neurons read column 3"),
        ({"labels": np.array([0, K])}, r"labels\[1\]=3 is out of range"),
        ({"weight": np.full(2, 2**30)}, "could reach a count of 2147483648"),
        ({"counts": np.zeros((5, S, K))}, "counts has dtype float64"),
    ]:
        call = {"counts": table, "levels": levels, "labels": np.array([0, 1])} | change
        with pytest.raises(ValueError, match=message):
            counts.write(mapping, **call)
    with pytest.raises(ValueError, match="would become -1"):
        counts.forget(mapping, table, levels, np.array([0, 1]))
    with pytest.raises(ValueError, match="entries=4 is out of range"):
        counts.empty(mapping, 4, K)


@pytest.mark.parametrize("kind", KINDS)
def test_contributions_are_the_effect_of_one_bit(kind):
    rng = np.random.default_rng(5)
    mapping, source = KINDS[kind](rng), np.array([0, 0, 1, 2])
    levels = rng.integers(0, 4, (3, J)).astype(np.uint8)
    frozen = rng.integers(-15, 16, (max(mapping.table) + 1, S, K)).astype(np.int8)
    wanted = np.zeros((3, 3, K), int)
    for n, r, t in itertools.product(range(3), range(len(mapping.table)), range(T)):
        column, level = mapping.column[r], mapping.level[r]
        bits = levels[n, column] >= level

        def cell(bits, r=r):
            entries = [np.bitwise_xor.reduce(h[bits], initial=np.uint32(0)) for h in mapping.hashes]
            return frozen[mapping.table[r], entries].astype(int).min(axis=0)

        flipped = bits.copy()
        flipped[t] = not flipped[t]
        if level[t] != UNUSED:
            wanted[n, source[column[t]]] += cell(bits) - cell(flipped)
    np.testing.assert_array_equal(explain.contributions(mapping, frozen, levels, source), wanted)


def test_a_mental_image_is_the_mean_of_the_bits_that_were_read():
    rng = np.random.default_rng(6)
    mapping, (levels, labels, weight) = KINDS["shared"](rng), rows_of(rng, 30)
    mapping = mapping._replace(table=np.arange(5, dtype=np.int32))
    table = counts.write(mapping, counts.empty(mapping, S, K), levels, labels, weight)
    image = explain.mental_images(mapping, table, np.arange(J), J + 1)
    for k, j in itertools.product(range(K), range(J)):
        mine = weight * (labels == k)
        reads = [
            (levels[:, j] >= x)
            for x in mapping.level[(mapping.column == j) & (mapping.level != UNUSED)].tolist()
        ]
        np.testing.assert_allclose(image[k, j], np.mean(reads, axis=0) @ mine / mine.sum())
    assert not image[:, J].any()
    hashed = KINDS["hashed"](rng)
    with pytest.raises(ValueError, match="mental images need dense tables"):
        explain.mental_images(hashed, counts.empty(hashed, S, K), np.arange(J))


@pytest.mark.parametrize("kind", KINDS)
def test_novelty_is_the_share_of_addresses_never_shown(kind):
    rng = np.random.default_rng(7)
    mapping = KINDS[kind](rng)
    normal, new = rows_of(rng, 4)[0], rows_of(rng, 6)[0]
    present = explain.presence(mapping, S, normal)
    oracle = shown(mapping, (normal, np.zeros(4, int), np.ones(4, int)))
    wanted = [1 - np.mean([x[0] > 0 for x in oracle.values(row)]) for row in new]
    np.testing.assert_allclose(explain.novelty(mapping, present, new), wanted)
    assert not explain.novelty(mapping, present, normal).any()


def test_the_temperature_has_the_smallest_loss():
    rng = np.random.default_rng(8)
    scores, labels = rng.integers(0, 30, (400, K)), rng.integers(0, K, 400)
    scores[np.arange(400), labels] += 8
    factor = calibration.temperature(scores, labels)

    def loss(factor):
        logs = np.log(calibration.probabilities(scores, factor))
        return -(logs[np.arange(400), labels] * (400 + 1) / 402 + logs.mean(axis=1) / 402).mean()

    assert loss(factor) < min(loss(factor * 1.05), loss(factor / 1.05))
    assert 0.05 < factor < 1
    repeated = np.repeat(scores, 2, axis=0), np.repeat(labels, 2)
    assert calibration.temperature(*repeated) == calibration.temperature(scores, labels, np.full(400, 2))
    sure = calibration.temperature(np.array([[9, 0], [0, 9]]), np.array([0, 1]))
    assert np.allclose(calibration.probabilities([[9, 0]], sure), [[7 / 8, 1 / 8]])
    assert calibration.temperature(np.zeros((3, 1)), np.zeros(3, int)) == 1


def test_the_largest_probability_is_that_of_the_largest_score():
    scores = np.array([[3, 3, 1], [2**30, 2**30 - 1, 0], [0, 5, 5]])
    for factor in (2.0**-20, 0.3, 16.0):
        p = calibration.probabilities(scores, factor)
        np.testing.assert_array_equal(p.argmax(axis=1), scores.argmax(axis=1))
        np.testing.assert_array_equal(
            p == p.max(axis=1, keepdims=True), scores == scores.max(axis=1)[:, None]
        )


@given(
    scores=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    rate=st.sampled_from([0, 0.1, 0.3, 0.5, 1]),
    data=st.data(),
)
def test_a_threshold_keeps_the_wanted_rate(scores, rate, data):
    scores = np.asarray(scores)
    positive = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    positive[0] = False
    found = calibration.threshold(scores, positive, rate)
    options = [calibration.at_threshold(scores, positive, x) for x in {*scores.tolist(), np.inf}]
    kept = [x for x in options if x.false_positive_rate <= rate]
    assert found.false_positive_rate <= rate
    np.testing.assert_equal(found.recall, max((x.recall for x in kept), default=np.nan))


def test_margins_and_ties():
    scores = np.array([[4, 1, 3], [2, 2, 0], [0, 0, 0]])
    np.testing.assert_allclose(calibration.margin(scores), [0.25, 0, 0])
    assert calibration.tie_share(scores) == pytest.approx(2 / 3)
    assert not calibration.margin(np.array([[5]])).any()
