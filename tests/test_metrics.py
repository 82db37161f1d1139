"""Metrics against rows and curves that were computed by hand."""

import numpy as np
import pytest

from wnn_jax import metrics


def test_summary_by_hand():
    nats = np.log([2.0, 8.0])
    got = metrics.summarize(nats, np.array([3, 1]), np.array([3, 2]), 3 + 1, 1)
    assert got.ce == pytest.approx(np.log(4))
    assert got.ppl == pytest.approx(4)
    assert got.accuracy == 0.5
    assert got.bits_per_byte == pytest.approx((1 + 3) / (3 + 1))
    assert got.word_ppl == pytest.approx(2 * 8)
    assert np.isnan(metrics.summarize(nats, np.array([3, 1]), np.array([3, 2]), 4, 0).word_ppl)


def test_summary_refuses_what_is_no_score():
    one = np.zeros(1, int)
    with pytest.raises(ValueError, match="1 of 1 scores are NaN"):
        metrics.summarize(np.array([np.nan]), one, one, 1, 1)
    with pytest.raises(ValueError, match="2 scores, 1 guesses, 1 tokens"):
        metrics.summarize(np.zeros(2), one, one, 1, 1)
    with pytest.raises(ValueError, match="size=0 is out of range: give a whole number of at least 1"):
        metrics.summarize(np.zeros(1), one, one, 0, 1)


def test_bit_accuracy_counts_a_half_as_zero():
    one = np.array([[0.5, 0.6, 0.4], [0.9, 0.9, 0.9]])
    targets = np.array([[False, True, True], [True, False, True]])
    assert metrics.bit_accuracy(one, targets).tolist() == pytest.approx([2 / 3, 2 / 3])


def test_reliability_of_a_calibrated_coin():
    rng = np.random.default_rng(0)
    one = rng.random(200_000)
    curve = metrics.reliability(one, rng.random(200_000) < one, bins=10)
    assert curve.size.sum() == 200_000
    np.testing.assert_allclose(curve.observed, curve.predicted, atol=0.02)
    np.testing.assert_allclose(curve.predicted, np.arange(10) / 10 + 0.05, atol=0.01)
