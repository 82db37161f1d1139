"""The classifier: mappings, training and the search by residuals, as their words say; packed and unpacked."""

import dataclasses

import jax
import numpy as np
import pytest

from wnn_jax import classify, search
from wnn_jax.classify import encoders, fitting, layer, model, residual
from wnn_jax.classify import mapping as pins
from wnn_jax.classify.layer import UNUSED
from wnn_jax.classify.mapping import MappingConfig

SIDE = 8
SHARED = classify.EncoderConfig(bits=2, kind="linear", shared=True)
QUICK = classify.TrainingConfig(epochs=3)


def rows_of_shapes(count: int, seed: int):
    """Images of a bar that lies or stands at a random place: no single pixel tells them apart."""
    rng = np.random.default_rng(seed)
    X, y = np.zeros((count, SIDE, SIDE), np.uint8), rng.integers(0, 2, count)
    for image, lies in zip(X, y, strict=True):
        a, b = rng.integers(1, SIDE - 4), rng.integers(1, SIDE - 2)
        image[(b, slice(a, a + 4)) if lies else (slice(a, a + 4), b)] = 255
    return X.reshape(count, -1), y


@pytest.fixture(scope="module")
def shapes():
    return rows_of_shapes(600, 0), rows_of_shapes(300, 1)


def inputs(bits: int, features: int, image=None) -> pins.Inputs:
    feature = np.repeat(np.arange(features, dtype=np.int32), bits)
    level = np.tile(np.arange(1, bits + 1), features).astype(np.uint8)
    return pins.Inputs(feature, feature.copy(), level, image, image[1] if image else 0)


@pytest.mark.parametrize(("bits", "features", "wanted"), [(3, 9, 4), (1, 5, 5), (4, 2, 6), (1, 3, 8)])
def test_pins_are_different_bits_and_of_different_features_where_there_are_enough(bits, features, wanted):
    drawn = pins.draw(np.random.default_rng(0), MappingConfig(50, wanted), inputs(bits, features), 50)
    used = drawn.level != UNUSED
    assert (used.sum(axis=1) == min(wanted, bits * features)).all()
    assert (np.diff(used.astype(int), axis=1) <= 0).all(), "unused pins come last"
    for column, level, on in zip(drawn.column, drawn.level, used, strict=True):
        assert len(set(zip(column[on], level[on], strict=True))) == on.sum()
        if wanted <= features:
            assert len(set(column[on])) == on.sum()


def test_features_are_dealt_about_equally_often():
    drawn = pins.draw(np.random.default_rng(0), MappingConfig(100, 3), inputs(2, 10), 100)
    often = np.bincount(drawn.column.ravel(), minlength=10)
    assert often.min() >= 25, often
    assert often.max() <= 35, often


def test_pins_of_a_window_lie_in_it_and_slid_tables_stay_in_the_image():
    config = MappingConfig(40, 5, windows=(3,), slide=2, stride=2)
    drawn = pins.draw(np.random.default_rng(0), config, inputs(2, 9 * 7, (9, 7)), 40)
    y, x = drawn.column // 7, drawn.column % 7
    assert (np.ptp(y, axis=1) < 3).all()
    assert (np.ptp(x, axis=1) < 3).all()
    made = pins.neurons(config, drawn, 7)
    column = np.asarray(made.column).reshape(40, 4, 5)
    assert (np.asarray(made.table) == np.repeat(np.arange(40), 4)).all()
    np.testing.assert_array_equal(column[:, 3] // 7, y + 2)
    np.testing.assert_array_equal(column[:, 3] % 7, x + 2)
    assert column.max() < 63


@pytest.mark.parametrize(
    ("config", "image", "message"),
    [
        (MappingConfig(windows=(3,)), None, "windows need an image"),
        (
            MappingConfig(windows=(9,)),
            (8, 8),
            r"a window of 9 pixels, slid by 0, does not fit an image of 8 x 8",
        ),
        (MappingConfig(windows=(7,), slide=3), (8, 8), r"a window of 7 pixels, slid by 2, does not fit"),
    ],
)
def test_mappings_that_do_not_fit_are_refused(config, image, message):
    with pytest.raises(ValueError, match=message):
        pins.draw(np.random.default_rng(0), config, inputs(1, 64, image), 3)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match=r"address_bits=30 is too large for a dense table: give at most 20"):
        MappingConfig(address_bits=30)
    with pytest.raises(ValueError, match=r"slide=2 needs windows"):
        MappingConfig(slide=2)
    with pytest.raises(ValueError, match=r"entry_bits=9 hashes the tables, which only count cells may be"):
        classify.ClassifyConfig(mapping=MappingConfig(entry_bits=9))


def test_rows_with_a_margin_move_as_the_image_does():
    levels = np.arange(1, 7, dtype=np.uint8)[None]
    rows = model.rows_of(levels, np.zeros(1, np.int32), image=(2, 3), margin=1)
    assert rows.width == 5
    up = layer.moved(rows.levels, np.zeros(1, np.int32), np.array([rows.width], np.int32))
    image = np.asarray(up).reshape(4, 5)[1:3, 1:4]
    np.testing.assert_array_equal(image, [[4, 5, 6], [0, 0, 0]])


def test_the_classifier_learns_what_no_single_bit_tells(shapes):
    (X, y), (X_new, y_new) = shapes
    config = classify.ClassifyConfig(
        encoder=SHARED,
        mapping=MappingConfig(60, 6, windows=(3, 4)),
        training=classify.TrainingConfig(jitter=1),
    )
    found = classify.fit(jax.random.key(0), config, X, y, image=(SIDE, SIDE))
    right = (classify.predict(found, X_new) == y_new).mean()
    assert right > 0.95, right
    chances = classify.probabilities(found, X_new)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-12)
    assert (chances.argmax(axis=1) == classify.scores(found, X_new).argmax(axis=1)).all()
    again = classify.fit(jax.random.key(0), config, X, y, image=(SIDE, SIDE))
    np.testing.assert_array_equal(again.cells, found.cells)


def test_backends_fit_the_same_classifier(shapes, monkeypatch):
    (X, y), _ = shapes
    config = classify.ClassifyConfig(
        encoder=SHARED,
        mapping=MappingConfig(12, 4, windows=(3,), slide=2),
        training=dataclasses.replace(QUICK, jitter=1, dropout=0.2),
    )
    monkeypatch.setenv("WNN_JAX_BACKEND", "xla")
    one = classify.fit(jax.random.key(3), config, X[:100], y[:100], image=(SIDE, SIDE))
    monkeypatch.delenv("WNN_JAX_BACKEND")
    jax.clear_caches()
    other = classify.fit(jax.random.key(3), config, X[:100], y[:100], image=(SIDE, SIDE))
    np.testing.assert_array_equal(one.cells, other.cells)


def test_a_searched_mapping_errs_less_than_a_random_one_of_the_same_size(shapes):
    (X, y), (X_new, y_new) = shapes
    config = classify.ClassifyConfig(encoder=SHARED, mapping=MappingConfig(4, 4), training=QUICK)
    searched = dataclasses.replace(
        config, search=classify.ResidualConfig(rounds=4, candidates=200, sample=512)
    )
    reported = []

    def right(config, seed):
        found = classify.fit(jax.random.key(seed), config, X, y, on_step=lambda *x: reported.append(x))
        return (classify.predict(found, X_new) == y_new).mean()

    gains = [right(searched, seed) - right(config, seed) for seed in range(3)]
    assert np.mean(gains) > 0.05, gains
    assert [x[0] for x in reported[:7]] == [1, 2, 3, 4, 1, 2, 3]


def test_refilling_takes_no_two_tables_with_the_same_columns_and_keeps_the_others(shapes):
    (X, y), _ = shapes
    encoder = encoders.fit(SHARED, X)
    bits = model.inputs_of(encoder)
    task = residual.Task(
        classify.ResidualConfig(candidates=50, parts=2, sample=256), MappingConfig(10, 3), QUICK, bits
    )
    rows = model.rows_of(encoders.levels(encoder, X), y.astype(np.int32))
    rng = np.random.default_rng(0)
    before = residual.State(pins.draw(rng, task.mapping, bits, 10), fitting.start(rng, (10, 8, 2)))
    after = residual.refill(rng, task, rows, before, 4)
    kept = (after.tables.column == before.tables.column).all(axis=1)
    assert kept.sum() >= 6
    same = (np.asarray(after.weights) == np.asarray(before.weights)).all(axis=(1, 2))
    assert same.sum() == 6
    assert kept[same].all()
    new = np.sort(after.tables.column[~kept], axis=1)
    assert len(np.unique(new, axis=0)) == len(new) > 0


def test_the_use_of_a_table_is_the_loss_without_it(shapes):
    (X, y), _ = shapes
    encoder = encoders.fit(SHARED, X)
    bits = model.inputs_of(encoder)
    task = residual.Task(classify.ResidualConfig(sample=2 * len(X)), MappingConfig(5, 3), QUICK, bits)
    rows = model.rows_of(encoders.levels(encoder, X), y.astype(np.int32))
    rng = np.random.default_rng(0)
    tables = pins.draw(rng, task.mapping, bits, 5)
    cells = rng.choice([-1, 1], (5, 8, 2)).astype(np.int8)
    found = residual.uses(rng, task, tables, cells, rows)

    def loss(cells):
        made = pins.neurons(task.mapping, tables, 0)
        scores = np.asarray(layer.read(made, cells, rows.levels)) * float(task.factor)
        return (np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(y)), y]).sum()

    without = [loss(np.where(np.arange(5)[:, None, None] == m, 0, cells).astype(np.int8)) for m in range(5)]
    np.testing.assert_allclose(found, np.array(without) - loss(cells), rtol=1e-3, atol=1e-2)


def test_tables_chosen_from_a_pool_are_those_of_most_use(shapes, monkeypatch):
    (X, y), _ = shapes
    encoder = encoders.fit(SHARED, X)
    bits = model.inputs_of(encoder)
    search_config = classify.ResidualConfig(rounds=0, pool=3, first_epochs=1)
    task = residual.Task(search_config, MappingConfig(4, 3), QUICK, bits)
    rows = model.rows_of(encoders.levels(encoder, X), y.astype(np.int32))
    seen = {}

    def use(rng, task, tables, cells, rows):
        seen["tables"] = tables
        return np.arange(len(tables.column), dtype=np.float32) % 5

    monkeypatch.setattr(residual, "uses", use)
    found = residual.search(jax.random.key(0), task, rows, 2)
    assert len(seen["tables"].column) == 12
    np.testing.assert_array_equal(found.tables.column, seen["tables"].column[[3, 4, 8, 9]])


def test_the_search_by_residuals_is_not_one_over_layers(shapes):
    (X, y), _ = shapes
    task = residual.Task(classify.ResidualConfig(), MappingConfig(), QUICK, inputs(1, 64))
    from wnn_jax import ram

    with pytest.raises(
        ValueError, match=r"the algorithm residual has no objective over layers of RAM neurons"
    ):
        search.run(jax.random.key(0), residual.algorithm(task), ram.examples(X > 0, y[:, None] > 0))


def test_weights_show_rows_as_often_as_they_say():
    rows = fitting.Rows(np.zeros((4, 1), np.uint8), np.zeros(4, np.int32), np.array([0.0, 1.0, 2.0, 1.0]))
    shown = np.concatenate([fitting._order(np.random.default_rng(s), rows, 4) for s in range(50)])
    assert np.bincount(shown, minlength=4).tolist() == [0, 50, 100, 50]


def test_a_packed_classifier_is_the_same_and_a_damaged_one_is_refused(shapes):
    (X, y), (X_new, _) = shapes
    labels = np.array(["stands", "lies"])[y]
    config = classify.ClassifyConfig(mapping=MappingConfig(9, 4), training=QUICK)
    found = classify.fit(jax.random.key(0), config, X, labels)
    data = classify.pack(found)
    again = classify.unpack(data)
    np.testing.assert_array_equal(classify.scores(again, X_new), classify.scores(found, X_new))
    assert again.labels == ("lies", "stands")
    with pytest.raises(ValueError, match="packed model"):
        classify.unpack(data[:-9])
    wrong = found._replace(mapping=found.mapping._replace(table=found.mapping.table + 9))
    with pytest.raises(ValueError, match=r"holds no classifier: table\[0\]=9 is out of range"):
        classify.unpack(classify.pack(wrong))


def test_count_cells_are_a_classifier_too(shapes):
    (X, y), (X_new, y_new) = shapes
    config = classify.ClassifyConfig("count", SHARED, MappingConfig(60, 12, windows=(4, 5)))
    found = classify.fit(jax.random.key(0), config, X, y, image=(SIDE, SIDE))
    assert set(np.unique(found.cells)) == {0, 1}
    assert (classify.predict(found, X_new) == y_new).mean() > 0.85


def test_a_weight_of_count_cells_is_the_row_repeated(shapes):
    (X, y), (X_new, _) = shapes
    X, y = X[:60], y[:60]
    weight = np.random.default_rng(0).integers(0, 4, 60)
    config = classify.ClassifyConfig("count", SHARED, MappingConfig(20, 8))
    one = classify.fit(jax.random.key(0), config, X, y, weight=weight)
    other = classify.fit(jax.random.key(0), config, np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_array_equal(one.cells, other.cells)
    np.testing.assert_allclose(classify.probabilities(one, X_new), classify.probabilities(other, X_new))


def test_a_row_too_few_is_named():
    with pytest.raises(ValueError, match="X has 2 rows and y has 3 labels"):
        classify.fit(jax.random.key(0), classify.ClassifyConfig(), np.eye(2), [0, 1, 1])


def test_noise_moves_thresholds_by_its_share_and_nothing_else():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=4000), rng.integers(0, 3, 4000), rng.normal(size=4000)])
    X[::7, 2] = np.nan
    encoder = encoders.fit(classify.EncoderConfig(bits=100, categories=(1,)), X)
    levels = encoders.levels(encoder, X)
    steps = model._steps(encoder)
    assert steps.tolist() == [100] + [0] * (levels.shape[1] - 1), "one column of numbers without a gap"
    rows = model.rows_of(levels, np.zeros(4000, np.int32))._replace(steps=steps)
    same = fitting.noisy(rng, dataclasses.replace(QUICK, noise=0.0), rows)
    assert same is rows
    found = np.asarray(fitting.noisy(rng, dataclasses.replace(QUICK, noise=0.05), rows).levels).astype(int)
    np.testing.assert_array_equal(found[:, 1:], levels[:, 1:])
    assert found[:, 0].min() >= 0
    assert found[:, 0].max() <= 100
    inner = (levels[:, 0] > 25) & (levels[:, 0] < 75)
    apart = (found[:, 0] - levels[:, 0])[inner]
    assert 4.5 < apart.std() < 5.5
    assert abs(apart.mean()) < 0.5


def test_a_classifier_trained_with_noise_is_another_one_and_still_learns():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(600, 4))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    config = classify.ClassifyConfig(training=QUICK, mapping=MappingConfig(60, 3))
    noisy = dataclasses.replace(config, training=dataclasses.replace(QUICK, noise=0.05))
    plain, moved = (classify.fit(jax.random.key(0), one, X[:400], y[:400]) for one in (config, noisy))
    np.testing.assert_array_equal(plain.mapping.column, moved.mapping.column)
    assert (plain.cells != moved.cells).any()
    assert (classify.predict(moved, X[400:]) == y[400:]).mean() > 0.75
