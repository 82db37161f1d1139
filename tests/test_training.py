"""Windows of a stream, and training that goes on where it stopped."""

import functools

import jax
import numpy as np
import optax
import pytest

from wnn_jax import training

KEY = jax.random.key(0)


def test_windows_score_every_token_once():
    tokens = np.arange(20)
    windows = training.cut(tokens, 6)
    np.testing.assert_array_equal(windows[:, 1:].ravel(), tokens[1:19])
    np.testing.assert_array_equal(training.stream(windows), tokens[:19])
    with pytest.raises(ValueError, match="6 tokens hold no window of 6"):
        training.cut(tokens[:6], 6)


def test_overlapping_windows_score_every_token_once_after_half_a_window():
    tokens = np.arange(20)
    windows = training.overlapping(tokens, 6)
    assert (np.diff(windows) == 1).all()
    np.testing.assert_array_equal(windows[:, 4:].ravel(), tokens[4:19])
    for bad in (5, 20):
        with pytest.raises(ValueError, match=f"20 tokens and windows of {bad}"):
            training.overlapping(tokens, bad)


def table_loss(params, fixed, windows):
    """A bigram table's."""
    logits = params[windows[:, :-1]] + fixed
    return optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]).mean()


@pytest.mark.parametrize(("every", "stops"), [(5, [5, 10, 15, 20, 22]), (22, [22])])
def test_training_resumes_to_the_same_end_and_learns(every, stops):
    windows = training.cut(np.tile(np.arange(11), 40), 6)
    rows, steps = 8, 22  # two passes and a part of a third
    params = np.zeros((11, 11), np.float32)
    optimiser = optax.adam(0.3)
    run = functools.partial(
        training.train, KEY, optimiser, rows, steps, every, params, table_loss, np.float32(0), windows
    )
    whole = list(run())
    assert [x.done for x in whole] == stops
    assert whole[-1].loss < (0.5 if len(stops) > 1 else 0.9) * np.log(11)
    for before in whole[:-1]:
        kept, leaves = training.unnamed(training.named(before.leaves), params)
        np.testing.assert_array_equal(kept, before.params)
        again = list(run((before.done, leaves)))
        for x, y in zip(whole[-1].leaves, again[-1].leaves, strict=True):
            np.testing.assert_array_equal(x, y)


def test_a_pass_reads_every_row_once():
    seen = []

    def loss(params, fixed, rows):
        jax.debug.callback(lambda x: seen.extend(x.tolist()), rows)
        return params**2

    list(training.train(KEY, optax.sgd(0.1), 4, 6, 6, np.float32(1), loss, None, np.arange(12)))
    jax.effects_barrier()
    assert sorted(seen[:12]) == sorted(seen[12:]) == list(range(12))
    assert seen[:12] != seen[12:]
