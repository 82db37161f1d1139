"""The transformer row: causal, each token scored once and as it would be in one window, and it learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wnn_jax import transformer

CONFIG = transformer.TransformerConfig(20, layers=2, width=16, heads=2, window=8, batch=4)
TOKENS = np.random.default_rng(0).integers(0, 20, 400)


def test_the_future_is_not_read():
    params = transformer.init(jax.random.key(0), CONFIG)
    one = transformer.apply(CONFIG, params, jnp.asarray(TOKENS[:8]))
    other = transformer.apply(CONFIG, params, jnp.asarray(TOKENS[:8]).at[5:].add(-1) % 20)
    np.testing.assert_array_equal(one[:5], other[:5])
    assert (one[5:] != other[5:]).any()


@pytest.mark.parametrize("count", [1, 4, 11])
def test_every_token_once_and_from_its_past(count):
    params = transformer.init(jax.random.key(0), CONFIG)
    nats, best = transformer.score(CONFIG, params, TOKENS[:100], TOKENS[100 : 100 + count])
    for i in range(count):
        begin = 100 + i // 4 * 4 - 4
        logits = transformer.apply(CONFIG, params, jnp.asarray(TOKENS[begin : 100 + i]))[-1]
        shares = jax.nn.softmax(logits)
        assert nats[i] == pytest.approx(-np.log(shares[TOKENS[100 + i]]), abs=1e-5)
        assert best[i] == logits.argmax()


def test_it_learns_and_stops():
    config = dataclasses.replace(CONFIG, rate=1e-2, dropout=0.1)
    pattern = np.tile([1, 2, 3, 4, 5], 400)
    steps = list(transformer.train(jax.random.key(1), config, pattern, epochs=4))
    first, last = steps[0][1], min(nats for _, nats, _ in steps)
    assert last < 0.3 < first
    again = list(transformer.train(jax.random.key(1), config, pattern, epochs=4))
    assert [nats for _, nats, _ in again] == [nats for _, nats, _ in steps]
    with pytest.raises(ValueError, match="longer than the window of 8"):
        next(transformer.train(jax.random.key(1), CONFIG, pattern[:100], epochs=1))
    with pytest.raises(ValueError, match="width 15"):
        transformer.TransformerConfig(20, width=15, heads=2)
