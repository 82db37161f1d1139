"""The encoder as a transformer of scikit-learn: its own checks, data frames, words, names."""

import numpy as np
import pytest

estimator_checks = pytest.importorskip("sklearn.utils.estimator_checks")

from wnn_jax.classify import encoders  # noqa: E402
from wnn_jax.classify.transformer import ThermometerEncoder  # noqa: E402


@pytest.mark.parametrize("kind", ["quantile", "gaussian"])
def test_the_checks_of_scikit_learn_pass(kind):
    found = estimator_checks.check_estimator(ThermometerEncoder(kind), on_skip=None)
    assert len(found) > 30
    assert {one["status"] for one in found} <= {"passed", "skipped"}


def test_a_data_frame_with_words():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"size": [1.0, 2.0, 4.0], "kind": ["b", "a", None], "on": [True, False, True]})
    encoder = ThermometerEncoder(bits=2).set_output(transform="pandas").fit(frame)
    names = ["size>=2", "size>=3", "kind=a", "kind=b", "kind=unknown", "kind=missing", "on>=1"]
    assert encoder.get_feature_names_out().tolist() == names
    assert encoder.words_ == {1: ("a", "b")}
    other = pandas.DataFrame({"size": [3.0, 0.0], "kind": ["c", "b"], "on": [False, True]})
    found = encoder.transform(other)
    assert found.columns.tolist() == names
    assert found.to_numpy().tolist() == [[1, 1, 0, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0, 1]]
    with pytest.raises(ValueError, match="feature names"):
        encoder.transform(other.rename(columns={"size": "length"}))


def test_arrays_with_words_and_chosen_categories():
    X = np.array([["x", 1.0, 5], ["y", 2.0, 6], ["x", 3.0, 6]], object)
    encoder = ThermometerEncoder(categories=[0, 2]).fit(X)
    assert encoder.get_feature_names_out().tolist() == [
        "x0=x", "x0=y", "x0=unknown", "x1>=2", "x1>=3", "x2=5", "x2=6", "x2=unknown"
    ]  # fmt: skip
    assert encoder.transform(np.array([["z", 2, 7]], object)).tolist() == [[0, 0, 1, 1, 0, 0, 0, 1]]
    with pytest.raises(ValueError, match="names 5, but X has no such feature"):
        ThermometerEncoder(categories=[5]).fit(X)
    with pytest.raises(ValueError, match="could not convert string"):
        ThermometerEncoder().fit(X)


def test_the_bits_are_those_of_the_function():
    X = np.random.default_rng(0).normal(size=(40, 3))
    found = ThermometerEncoder(bits=4).fit_transform(X)
    assert np.array_equal(found, encoders.bits(encoders.fit(encoders.EncoderConfig(bits=4), X), X))
