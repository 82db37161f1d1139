"""The estimators for scikit-learn: its own checks, learning on and forgetting, explanations, bad input."""

import pickle

import jax
import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn import datasets
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from wnn_jax import classify
from wnn_jax.classify import explain
from wnn_jax.classify.estimators import WisardClassifier, WisardEnsemble
from wnn_jax.classify.regressor import WisardRegressor

SMALL = {"tables": 30, "address_bits": 6}
WEIGHT = {
    "check_sample_weight_equivalence_on_dense_data": "cells are trained in an order that is drawn, in which "
    "a row of weight 2 comes at other places than two rows"
}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5))
Y = np.array(["a", "b", "c"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)]


ONE_CLASS = pytest.mark.filterwarnings("ignore:y has one class")


def checked(estimator, failing=None):
    found = check_estimator(estimator, expected_failed_checks=failing or {}, on_skip=None)
    assert {one["status"] for one in found} <= {"passed", "skipped", "xfail"}
    assert {one["check_name"] for one in found if one["status"] == "xfail"} == set(failing or {})
    assert len(found) > 50


@ONE_CLASS
def test_the_checks_of_scikit_learn_pass_for_counts():
    checked(WisardClassifier(**SMALL))


def test_the_estimators_are_found_at_the_door():

    assert classify.WisardClassifier is WisardClassifier
    assert {"WisardEnsemble", "WisardRegressor", "ThermometerEncoder"} <= set(classify.__all__)
    for name in classify.__all__:
        assert getattr(classify, name).__name__ == name
    with pytest.raises(AttributeError, match=r"wnn_jax.classify has no 'Wizard': it has Classifier"):
        classify.Wizard  # noqa: B018


@pytest.mark.long
@ONE_CLASS
@pytest.mark.parametrize(
    ("estimator", "failing"),
    [
        (WisardClassifier(), None),
        (WisardClassifier(bleaching="dynamic"), None),
        (WisardClassifier(entry_bits=8, hashes=3, address_bits=20), None),
        (WisardEnsemble(), None),
        (WisardClassifier("binary"), WEIGHT),
        (WisardClassifier("int4"), WEIGHT),
        (WisardClassifier("auto"), WEIGHT),
        (WisardEnsemble("binary"), WEIGHT),
        (WisardRegressor("mean"), None),
        (WisardRegressor(), WEIGHT),
    ],
    ids=lambda x: str(x) if hasattr(x, "fit") else "",
)
def test_the_checks_of_scikit_learn_pass(estimator, failing):
    checked(estimator, failing)


@pytest.mark.parametrize("cells", ["count", "binary", "int4", pytest.param("auto", marks=pytest.mark.long)])
def test_a_classifier_learns_the_digits(cells):
    images, labels = datasets.load_digits(return_X_y=True)
    fitted = WisardClassifier(cells, tables=120, random_state=0, epochs=8).fit(images[:1200], labels[:1200])
    assert fitted.score(images[1200:], labels[1200:]) > 0.88
    again = clone(fitted).fit(images[:1200], labels[:1200])
    np.testing.assert_array_equal(again.decision_function(images), fitted.decision_function(images))
    other = clone(fitted).set_params(random_state=1).fit(images[:1200], labels[:1200])
    assert (other.decision_function(images) != fitted.decision_function(images)).any()


@pytest.mark.parametrize("mapping", ["local", "slid", pytest.param("searched", marks=pytest.mark.long)])
def test_mappings_of_images(mapping):
    images, labels = datasets.load_digits(return_X_y=True)
    made = WisardClassifier(
        "binary", 60, mapping=mapping, image=(8, 8), window=4, bits=4, epochs=4, jitter=1, random_state=0
    )
    fitted = made.fit(images[:900], labels[:900])
    assert fitted.score(images[900:], labels[900:]) > 0.85
    reads = np.bincount(fitted.model_.mapping.table)
    assert len(reads) == 60
    assert (reads == (1 if mapping == "local" else 4)).all()
    pins = fitted.model_.mapping.column
    assert (np.ptp(pins // 8, axis=1) < 4).all()
    assert (np.ptp(pins % 8, axis=1) < 4).all()


@pytest.mark.parametrize("bleaching", ["static", "dynamic", 2])
def test_predictions_are_the_most_probable_classes(bleaching):
    few = np.rint(X[:, :2])  # so few values that many rows tie
    fitted = WisardClassifier(tables=4, address_bits=2, bits=2, bleaching=bleaching, random_state=0).fit(
        few, Y
    )
    p = fitted.predict_proba(few)
    np.testing.assert_array_equal(fitted.classes_[p.argmax(axis=1)], fitted.predict(few))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    scores = fitted.decision_function(few)
    np.testing.assert_array_equal(p == p.max(axis=1, keepdims=True), scores == scores.max(axis=1)[:, None])
    assert fitted.tie_share(few) == ((scores == scores.max(axis=1)[:, None]).sum(axis=1) > 1).mean()


def test_learning_on_in_any_order_is_fitting_once_and_forgetting_is_never_shown():
    start = WisardClassifier(**SMALL, bleaching="dynamic", random_state=0)
    weight = RNG.integers(0, 3, 300).astype(float)
    one, other = clone(start), clone(start)
    one.partial_fit(X[:100], Y[:100], classes=["a", "b", "c"], sample_weight=weight[:100])
    other.partial_fit(X[:100], Y[:100], classes=["a", "b", "c"], sample_weight=weight[:100])
    for part in (slice(100, 180), slice(180, 300)):
        one.partial_fit(X[part], Y[part], sample_weight=weight[part])
    order = RNG.permutation(np.arange(100, 300))
    other.partial_fit(X[order], Y[order], sample_weight=weight[order])
    np.testing.assert_array_equal(one.memory_.counts, other.memory_.counts)
    np.testing.assert_array_equal(one.decision_function(X), other.decision_function(X))
    before = clone(start).partial_fit(X[:100], Y[:100], classes=["a", "b", "c"], sample_weight=weight[:100])
    one.forget(X[100:], Y[100:], weight[100:])
    np.testing.assert_array_equal(one.memory_.counts, before.memory_.counts)
    with pytest.raises(ValueError, match="would become -"):
        one.forget(X[100:], Y[100:])
    whole = clone(start).fit(X, Y)
    parts = clone(start).partial_fit(X, Y)
    np.testing.assert_array_equal(whole.memory_.counts, parts.memory_.counts)


def test_weights_that_are_no_whole_numbers_keep_what_was_counted():
    start = WisardClassifier(**SMALL, bleaching="dynamic", random_state=0)
    one = clone(start).partial_fit(X, Y).partial_fit(X, Y, sample_weight=np.full(300, 0.5))
    assert one.memory_.unit == 256
    np.testing.assert_array_equal(one.memory_.counts, clone(start).fit(X, Y).memory_.counts * 384)
    one.forget(X, Y, np.full(300, 1.5))
    assert not one.memory_.counts.any()
    small = clone(start).fit(X, Y, np.full(300, 1e-5))
    np.testing.assert_array_equal(small.predict(X), clone(start).fit(X, Y).predict(X))


def test_old_rows_fade():
    made = WisardClassifier(**SMALL, half_life=100, bleaching=1, random_state=0)
    made.partial_fit(X[:250], Y[:250], classes=["a", "b", "c"])
    made.partial_fit(X[250:], Y[250:])
    parts = [
        WisardClassifier(**SMALL, bleaching=1, random_state=0).partial_fit(X[:250], Y[:250], ["a", "b", "c"])
        for _ in range(3)
    ]
    whole = [x.forget(X[:250], Y[:250]).partial_fit(X[a:b], Y[a:b]).memory_.counts
             for x, a, b in zip(parts, (0, 100, 200), (100, 200, 300), strict=True)]  # fmt: skip
    np.testing.assert_array_equal(made.memory_.counts, (whole[0] // 2 + whole[1]) // 2 + whole[2])
    with pytest.raises(ValueError, match="halved"):
        made.forget(X, Y)


def test_what_counts_is_not_offered_by_trained_cells():
    trained = WisardClassifier("binary")
    assert not hasattr(trained, "partial_fit")
    assert not hasattr(trained, "forget")
    assert hasattr(WisardClassifier(), "partial_fit")


@pytest.mark.parametrize(("cells", "kib"), [("count", 24), ("binary", 1), ("int4", 4)])
def test_a_budget_is_kept_and_used(cells, kib):
    fitted = WisardClassifier(cells, size_kib=kib, random_state=0, epochs=2).fit(X, Y)
    bits = fitted.model_.cells.size * (4 if cells == "int4" else 1)
    assert 0.9 < bits / 8192 / kib <= 1
    given = WisardClassifier(cells, size_kib=kib, address_bits=3, random_state=0, epochs=2).fit(X, Y)
    assert given.model_.cells.shape[1] == 8


def test_an_ensemble_has_tables_of_several_sizes():
    fitted = WisardEnsemble(tables=20, address_bits=(2, 5, 7), random_state=0).fit(X, Y)
    used = (fitted.model_.mapping.level != 255).sum(axis=1)
    assert np.bincount(used).tolist() == [0, 0, 7, 0, 0, 7, 0, 6]
    assert fitted.score(X, Y) > 0.8
    trained = WisardEnsemble("binary", 60, (2, 4), random_state=0, epochs=4).fit(X, Y)
    assert trained.score(X, Y) > 0.9


def test_a_given_mapping_is_used():
    first = WisardClassifier(**SMALL, random_state=0).fit(X, Y)
    mapping = first.model_.mapping
    given = WisardClassifier(mapping=mapping, random_state=5).fit(X, Y)
    np.testing.assert_array_equal(given.memory_.counts, first.memory_.counts)
    assert WisardClassifier("binary", mapping=mapping, random_state=5, epochs=3).fit(X, Y).score(X, Y) > 0.8
    with pytest.raises(ValueError, match="out of range: give integers of at least 0 and at most 0"):
        WisardClassifier(mapping=mapping).fit(X[:, :1], Y)


def test_a_threshold_keeps_the_rate_of_the_validation_rows():
    attack = np.where(Y == "a", "normal", Y)
    fitted = WisardClassifier(**SMALL, random_state=0).fit(X[:150], attack[:150])
    rates = fitted.calibrate_threshold(X[150:], attack[150:], 0.1, normal="normal")
    called = fitted.predict(X[150:]) != "normal"
    normal = attack[150:] == "normal"
    assert called[normal].mean() == rates.false_positive_rate <= 0.1
    assert called[~normal].mean() == rates.recall > 0.5
    looser = fitted.calibrate_threshold(X[150:], attack[150:], 0.5, normal="normal")
    assert looser.recall >= rates.recall
    with pytest.raises(ValueError, match="normal='x'"):
        fitted.calibrate_threshold(X, attack, 0.1, normal="x")


@pytest.mark.parametrize("cells", ["count", "binary"])
def test_explanations_are_those_of_the_functions(cells):
    fitted = WisardClassifier(cells, **SMALL, random_state=0, epochs=2).fit(X, Y)
    parts = fitted.contributions(X[:4])
    assert parts.shape == (4, 5, 3)
    # On new rows the features of noise do not speak for the class.
    plain = WisardClassifier(cells, 60, 2, random_state=0).fit(X[:200], Y[:200])
    own = np.take_along_axis(
        plain.contributions(X[200:]), np.searchsorted(["a", "b", "c"], Y[200:])[:, None, None], 2
    ).mean(axis=0)
    assert own[:2].min() > 2 * np.abs(own[2:]).max()
    assert fitted.novelty(X).max() == 0
    assert fitted.novelty(X + 3, normal=["a"]).mean() > fitted.novelty(X[Y == "a"], normal=["a"]).mean()
    assert (fitted.novelty(X, normal=["c"])[Y == "a"] > 0).any()
    if cells == "count":
        image = fitted.mental_images()
        wanted = explain.mental_images(
            fitted.memory_.mapping, fitted.memory_.counts, fitted.encoder_.source, 5
        )
        np.testing.assert_array_equal(image, wanted)
        assert image[1:, 0].min() > image[0, 0]


def test_a_model_is_pickled_packed_and_exported(tmp_path):
    fitted = WisardClassifier(**SMALL, random_state=0).fit(X, Y)
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.decision_function(X), fitted.decision_function(X))
    assert not any(isinstance(x, jax.Array) for x in jax.tree.leaves(vars(fitted)))
    packed = classify.unpack(classify.pack(fitted.model_))
    np.testing.assert_array_equal(classify.predict(packed, X), fitted.predict(X))
    fitted.export_c(tmp_path / "model.h", tests=X[:2])
    fitted.export_verilog(tmp_path / "model.v")
    assert "wnn_predict" in (tmp_path / "model.h").read_text()
    assert "module" in (tmp_path / "model.v").read_text()
    dynamic = WisardClassifier(**SMALL, bleaching="dynamic").fit(X, Y)
    with pytest.raises(ValueError, match="dynamic bleaching reads the counts"):
        dynamic.export_c(tmp_path / "model.h")


def test_data_frames_words_and_missing_values():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("vwxyz"))
    frame["kind"] = np.where(Y == "a", "low", "high")
    frame.loc[::7, "v"] = np.nan
    fitted = WisardClassifier(**SMALL, random_state=0).fit(frame, Y)
    assert fitted.feature_names_in_.tolist() == [*"vwxyz", "kind"]
    assert {"kind=low", "kind=unknown", "v=missing"} <= set(fitted.get_bit_names())
    assert fitted.score(frame, Y) > 0.9
    frame.loc[0, "w"] = np.nan
    with pytest.raises(ValueError, match="row 0, feature 1 of X is NaN"):
        fitted.predict(frame)


BAD = {
    "columns": (lambda m: m.fit(X, Y).predict(X[:, :3]), "X has 3 features, but"),
    "words": (lambda m: m.fit(np.where(X > 2, "many", X.astype(str)), Y), "row .*, column . of X is 'many'"),
    "budget": (lambda m: m.set_params(size_kib=0.001).fit(X, Y), "size_kib=0.001 holds no table"),
    "cells": (lambda m: m.set_params(cells="float").fit(X, Y), "unknown cells 'float'"),
    "mapping": (lambda m: m.set_params(mapping="far").fit(X, Y), "unknown mapping 'far'"),
    "image": (lambda m: m.set_params(mapping="slid").fit(X, Y), "needs an image"),
    "searched": (lambda m: m.set_params(mapping="searched").fit(X, Y), "use binary or int4"),
    "bleaching": (lambda m: m.set_params(bleaching="never").fit(X, Y), "unknown bleaching 'never'"),
    "threshold": (lambda m: m.set_params(bleaching=0).fit(X, Y), "bleaching=0 is out of range"),
    "address_bits": (lambda m: m.set_params(address_bits=40).fit(X, Y), "address_bits=40 is too large"),
    "conservative": (lambda m: m.set_params(conservative=True).fit(X, Y), "is for hashed tables"),
    "hashed": (lambda m: m.set_params(cells="binary", entry_bits=4).fit(X, Y), "needs cells='count'"),
    "label": (lambda m: m.partial_fit(X[:9], ["a"] * 4 + ["b"] * 5).partial_fit(X, Y), "is a new label"),
    "sparse": (lambda m: m.fit(__import__("scipy.sparse").sparse.csr_array(X), Y), "Sparse data was passed"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_one_line(name):
    call, message = BAD[name]
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        call(WisardClassifier(**SMALL))
    assert "\n" not in str(caught.value) or name == "sparse"


def test_small_inputs():
    with pytest.warns(UserWarning, match="one class, 'a'"):
        one = WisardClassifier().fit(X, ["a"] * 300)
    assert (one.predict(X) == "a").all()
    assert (one.predict_proba(X) == 1).all()
    with pytest.warns(UserWarning, match="one class"):
        assert WisardClassifier().fit(X[:1], ["b"]).predict(X[:1]) == ["b"]
    column = WisardClassifier(random_state=0).fit(X[:, :1], X[:, 0] > 0.3)
    assert column.score(X[:, :1], X[:, 0] > 0.3) > 0.9
    assert WisardRegressor().fit(X[:1], [3.0]).predict(X[:1]) == [3.0]
    with pytest.warns(UserWarning, match="lie outside"):
        WisardClassifier(**SMALL).partial_fit(X, Y).partial_fit(X + 9, Y)


def test_a_memory_map_that_is_read_only(tmp_path):
    np.save(tmp_path / "rows.npy", X)
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    fitted = WisardClassifier(**SMALL, random_state=0).fit(rows, Y)
    np.testing.assert_array_equal(
        fitted.predict(rows), WisardClassifier(**SMALL, random_state=0).fit(X, Y).predict(X)
    )


@pytest.mark.long
def test_address_bits_are_chosen_by_cross_validation():
    y = X[:, 0] - 2 * (X[:, 1] > 0) + 5
    found = WisardRegressor(tables=60, address_bits="auto", random_state=0, epochs=8).fit(X[:200], y[:200])
    assert found.address_bits_ == min(found.cross_validation_, key=found.cross_validation_.get) < 14
    assert found.score(X[200:], y[200:]) > 0.8
    kind = WisardClassifier("auto", **SMALL, random_state=0, epochs=4).fit(X, Y)
    assert kind.cells_ == max(kind.cross_validation_, key=kind.cross_validation_.get)


def test_a_regressor_learns_and_its_means_add_and_forget():
    y = X[:, 0] - 2 * (X[:, 1] > 0) + 5
    trained = WisardRegressor(tables=60, random_state=0, epochs=8).fit(X[:200], y[:200])
    assert trained.score(X[200:], y[200:]) > 0.8
    means = WisardRegressor("mean", tables=60, address_bits=6, random_state=0).fit(X[:200], y[:200])
    assert 0.3 < means.score(X[200:], y[200:]) < trained.score(X[200:], y[200:])
    before = means.sums_.counts
    means.partial_fit(X[200:], y[200:])
    assert (means.sums_.counts != before).any()
    means.forget(X[200:], y[200:])
    np.testing.assert_array_equal(means.sums_.counts, before)
    budget = WisardRegressor(size_kib=40, address_bits=None, epochs=1, random_state=0).fit(X, y)
    assert budget.model_.cells.nbytes <= 40 * 1024
    assert not hasattr(trained, "partial_fit")
    for wrong, message in [
        ({"cells": "x"}, "unknown cells 'x'"),
        ({"address_bits": "x"}, "unknown address_bits"),
    ]:
        with pytest.raises(ValueError, match=message):
            WisardRegressor(**wrong).fit(X, y)


def test_exported_models_compute_the_same(tmp_path):
    export = pytest.importorskip("wnn_jax.export")
    y = (X[:, 0] > 0) + X[:, 1]
    models = [
        WisardRegressor(tables=12, address_bits=4, epochs=2, random_state=0).fit(X, y),
        WisardEnsemble(tables=9, address_bits=(2, 4, 5), random_state=0).fit(X, Y),
        WisardClassifier(tables=8, address_bits=10, entry_bits=5, random_state=0).fit(X, Y),
        WisardClassifier(**SMALL, random_state=0).fit(X[:1].repeat(2, axis=0), ["a", "b"]),
    ]
    try:
        assert all(export.verify(one.model_, X).equal for one in models)
    except export.MissingProgramError as missing:
        pytest.skip(str(missing))
