"""Encoders against an oracle that looks at every value alone, and their laws: weights, order, monotony."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wnn_jax.classify import cuts, encoders
from wnn_jax.classify.encoders import CATEGORY, MISSING, THERMOMETER, UNKNOWN, EncoderConfig

KINDS = ("quantile", "linear", "gaussian")
NAN = float("nan")


def column(*values):
    return np.array(values, np.float32)[:, None]


def same(a, b):
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


def oracle(encoder, X):
    """The levels by the words of the semantics, one value at a time."""
    found = np.zeros((len(X), len(encoder.source)), np.uint8)
    for n, row in enumerate(np.asarray(X, np.float32)):
        for j, feature in enumerate(encoder.source):
            entries, x = encoder.threshold[encoder.start[j] : encoder.start[j + 1]], row[feature]
            codes = [
                encoder.threshold[encoder.start[i]]
                for i in range(len(encoder.source))
                if encoder.source[i] == feature and encoder.kind[i] == CATEGORY
            ]
            found[n, j] = {
                THERMOMETER: sum(bool(x >= t) for t in entries),
                CATEGORY: len(entries) and x == entries[0],
                MISSING: np.isnan(x),
                UNKNOWN: not np.isnan(x) and x not in codes,
            }[int(encoder.kind[j])]
    return found


@st.composite
def tables(draw, rows=30, features=4):
    """Values with many repetitions, some columns of whole numbers, the last one a category."""
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    X = random.choice([-1.5, 0.0, 0.25, 3.0, 1e-3, 7.75, 1e6], (rows, features)).astype(np.float32)
    X[:, 1] = random.integers(-5, 300, rows)
    X[:, 2] = random.normal(size=rows)
    X[:, 3] = random.integers(0, 4, rows)
    return X, random


@given(tables(), st.sampled_from(KINDS), st.sampled_from([1, 2, 3, 8, 20, 254]), st.booleans())
def test_levels_are_what_the_oracle_says(table, kind, bits, missing):
    X, random = table
    if missing:
        X[random.random(X.shape) < 0.2] = NAN
        X[0] = NAN
    config = EncoderConfig(kind=kind, bits=bits, categories=(3,))
    encoder = encoders.fit(config, X)
    shown = np.concatenate([X, random.normal(size=X.shape) * 5, encoder.high[None], encoder.low[None]])
    shown[len(X) :, 3] = 9
    levels = encoders.levels(encoder, shown)
    assert levels.dtype == np.uint8
    assert np.array_equal(levels, oracle(encoder, shown))
    places = encoders.places(encoder)
    assert np.array_equal(encoders.bits(encoder, shown), levels[:, places[0]] >= places[1])
    assert len(encoders.names(encoder)) == len(set(encoders.names(encoder))) == len(places[0])
    # Every threshold tells rows of the training data apart, and they ascend.
    for j in np.flatnonzero(encoder.kind == THERMOMETER):
        edges = encoder.threshold[encoder.start[j] : encoder.start[j + 1]]
        known = X[:, encoder.source[j]]
        assert 1 <= len(edges) <= bits
        assert (np.diff(edges) > 0).all()
        assert np.nanmin(known) < edges[0]
        assert edges[-1] <= np.nanmax(known)


@given(tables(), st.sampled_from(KINDS), st.booleans())
def test_weight_is_repetition_and_order_does_not_matter(table, kind, shared):
    X, random = table
    X[3, 0] = NAN
    weight = random.integers(0, 4, len(X)).astype(np.float64)
    weight[5] = 2
    config = EncoderConfig(kind, bits=5, categories=() if shared else (3,), shared=shared)
    repeated = np.repeat(X, weight.astype(int), axis=0)
    expected = encoders.fit(config, repeated)
    assert same(encoders.fit(config, X, weight), expected)
    assert same(encoders.fit(config, random.permutation(repeated)), expected)
    assert same(encoders.fit(config, X, weight / 4), expected) or kind == "gaussian"


def test_quantiles_give_parts_of_equal_weight():
    encoder = encoders.fit(EncoderConfig(bits=3), column(*np.arange(100)))
    assert encoder.threshold.tolist() == [25, 50, 75]
    shown = column(24, 24.999, 25, 74, 75, -9, 900)
    assert encoders.levels(encoder, shown)[:, 0].tolist() == [0, 0, 1, 2, 3, 0, 3]
    # The 60 zeros are a part of their own, and the others are divided among the three parts that are left.
    encoder = encoders.fit(EncoderConfig(bits=3), column(*[0] * 60, *range(1, 31)))
    assert encoder.threshold.tolist() == [1, 11, 21]
    encoder = encoders.fit(EncoderConfig(bits=3), column(*range(1, 31), *[99] * 60))
    assert encoder.threshold.tolist() == [11, 21, 65]


@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=60), st.integers(1, 12), st.sampled_from([1, 0.125, 3])
)
def test_cuts_are_distinct_and_no_part_is_far_from_its_share(weights, width, unit):
    mass = np.array(weights, np.float64) * unit
    found = cuts._cuts(mass, width)
    assert len(found) == min(width, len(weights) - 1)
    assert (np.diff(found) > 0).all()
    parts = np.add.reduceat(mass, np.concatenate([[0], found + 1]))
    # A part of several values is never heavier than an equal share of all and one value more.
    several = np.diff(np.concatenate([[0], found + 1, [len(mass)]])) > 1
    if several.any() and len(weights) > width + 1:
        assert parts[several].max() < mass.sum() / (width + 1) + mass.max()


def test_thresholds_of_linear_and_gaussian():
    assert encoders.fit(EncoderConfig("linear", bits=3), column(0.5, 1.5, 2.5)).threshold.tolist() == [
        1,
        1.5,
        2,
    ]
    x = np.random.default_rng(0).normal(3, 2, 5000)
    found = encoders.fit(EncoderConfig("gaussian", bits=3), x[:, None]).threshold
    assert np.allclose(found, x.mean() + np.array([-0.67449, 0, 0.67449]) * x.std(), atol=1e-4)
    # Whole numbers get whole thresholds, which are rounded up; two that meet become one.
    assert encoders.fit(EncoderConfig("linear", bits=5), column(0, 1, 2)).threshold.tolist() == [1, 2]


@given(tables(), st.sampled_from(KINDS), st.sampled_from([np.uint8, np.int16, np.int64, np.float64, bool]))
def test_whole_data_of_every_type_has_whole_thresholds_and_one_result(table, kind, dtype):
    X = np.abs(table[0][:, 1:2]).astype(dtype)
    encoder = encoders.fit(EncoderConfig(kind, bits=6), X)
    assert same(encoder, encoders.fit(EncoderConfig(kind, bits=6), X.astype(np.float32)))
    assert encoder.whole.all()
    assert (encoder.threshold == np.rint(encoder.threshold)).all()
    assert np.array_equal(encoders.levels(encoder, X), oracle(encoder, X))


def test_a_whole_threshold_says_of_whole_numbers_what_the_midpoint_says():
    x = np.random.default_rng(1).integers(-50, 50, 200).astype(np.float32)
    whole = encoders.fit(EncoderConfig(bits=7), x[:, None])
    halves = encoders.fit(EncoderConfig(bits=7), x[:, None] / 2)  # 0.5 steps: midpoints are kept
    assert not halves.whole.any()
    assert whole.threshold.tolist() == np.ceil(halves.threshold * 2).tolist()
    assert np.array_equal(encoders.levels(whole, x[:, None]), encoders.levels(halves, x[:, None] / 2))


def test_neighbouring_numbers_of_float32_are_told_apart():
    low = np.float32(1)
    for _ in range(2):
        high = np.nextafter(low, np.float32(2))
        encoder = encoders.fit(EncoderConfig(), column(low, high))
        assert encoders.levels(encoder, column(low, high))[:, 0].tolist() == [0, 1]
        low = high


def test_constant_features_have_no_column():
    X = np.array([[1, 2, 3], [1, 2, 4]], np.float32)
    encoder = encoders.fit(EncoderConfig(categories=(1,)), X)
    assert encoder.source.tolist() == [2]
    assert encoders.levels(encoders.fit(EncoderConfig(), X[:1]), X).shape == (2, 0)
    assert encoders.fit(EncoderConfig(widths=(8, 8, 0)), X).source.tolist() == []


def test_shared_thresholds_give_every_feature_a_column():
    X = np.array([[0, 0, 9], [0, 5, 9]], np.float32)
    encoder = encoders.fit(EncoderConfig(bits=2, shared=True), X)
    assert encoder.source.tolist() == [0, 1, 2]
    assert encoder.threshold.tolist() == [3, 7] * 3
    assert encoders.levels(encoder, X).tolist() == [[0, 0, 2], [0, 1, 2]]
    fixed = encoders.given([41, 151], 3)
    assert encoders.levels(fixed, np.array([[40, 41, 200]], np.uint8)).tolist() == [[0, 1, 2]]
    assert encoders.names(fixed)[:3] == ["x0>=41", "x0>=151", "x1>=41"]


def test_categories_and_missing_values():
    X = np.array([[0.5, 7], [NAN, 3], [2.5, 7], [1.5, NAN]], np.float32)
    encoder = encoders.fit(EncoderConfig(bits=2, categories=(1,)), X)
    assert encoder.kind.tolist() == [THERMOMETER, MISSING, CATEGORY, CATEGORY, UNKNOWN, MISSING]
    assert encoder.missing.tolist() == [True, True]
    shown = np.array([[NAN, 7], [9, 4], [1, NAN]], np.float32)
    levels = encoders.levels(encoder, shown).tolist()
    assert levels == [
        [0, 1, 0, 1, 0, 0],
        [2, 0, 0, 0, 1, 0],
        [1, 0, 0, 0, 0, 1],
    ]
    assert encoders.names(encoder, ["size", "kind"], {1: list("abcdefgh")}) == [
        "size>=1",
        "size>=2",
        "size=missing",
        "kind=d",
        "kind=h",
        "kind=unknown",
        "kind=missing",
    ]


def test_an_encoder_survives_pickling_and_counts_what_lies_outside():
    encoder = encoders.fit(EncoderConfig(), column(1, 2, 3, 4))
    assert same(pickle.loads(pickle.dumps(encoder)), encoder)
    assert encoders.outside(encoder, column(0, 1, 4, 5, NAN)) == 0.4


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: EncoderConfig(bits=255), "bits=255 is out of range"),
        (lambda: EncoderConfig(kind="other"), "unknown kind"),  # pyright: ignore[reportArgumentType]
        (lambda: EncoderConfig(shared=True, categories=(1,)), "shared=True has one width"),
        (
            lambda: encoders.fit(EncoderConfig(widths=(3,)), np.ones((2, 2))),
            "widths has 1 entries",
        ),
        (lambda: encoders.fit(EncoderConfig(categories=(2,)), np.ones((2, 2))), "names feature 2, but X has"),
        (lambda: encoders.fit(EncoderConfig(), np.ones((0, 2))), r"X has shape \[0, 2\]"),
        (lambda: encoders.fit(EncoderConfig(), np.ones(3)), r"X has shape \[3\]"),
        (lambda: encoders.fit(EncoderConfig(), [["a"]]), "X has dtype <U1"),
        (lambda: encoders.fit(EncoderConfig(), column(1, np.inf)), "row 1, feature 0 of X is infinite"),
        (lambda: encoders.fit(EncoderConfig(), np.array([[1e300]])), "row 0, feature 0 of X is infinite"),
        (
            lambda: encoders.fit(EncoderConfig(), column(1, 2), np.ones(3)),
            r"weight has shape \[3\]: give",
        ),
        (lambda: encoders.fit(EncoderConfig(), column(1, 2), np.zeros(2)), "all 2 weights are 0"),
        (lambda: encoders.levels(encoders.given([1], 2), column(1)), "fitted on 2"),
        (
            lambda: encoders.levels(encoders.given([1], 1), column(1, NAN)),
            "row 1, feature 0 of X is NaN",
        ),
        (lambda: encoders.given([], 1), "there are 0 thresholds"),
        (lambda: encoders.given([1, 1], 1), "do not ascend"),
        (lambda: encoders.names(encoders.given([1], 2), ["a"]), "there are 1 names for 2"),
        (lambda: encoders.outside(encoders.given([1], 2), column(1)), "give the 2 of the encoder"),
    ],
)
def test_what_is_refused(call, said):
    with pytest.raises(ValueError, match=said) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_sparse_matrix_is_refused():
    scipy = pytest.importorskip("scipy.sparse")
    with pytest.raises(ValueError, match=r"X is a sparse csr_matrix: give a dense array"):
        encoders.fit(EncoderConfig(), scipy.csr_matrix(np.eye(3)))
