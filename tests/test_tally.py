"""Scores over a vocabulary, which are added in chunks of any size and order."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wnn_jax.lm import tally


def whole(scores, targets):
    """Return nats and best ids from all scores ``[V, N]`` at once, in float64."""
    scores = scores.astype(np.float64)
    with np.errstate(divide="ignore"):
        mass = np.log(np.exp(scores).sum(axis=0))
    return mass - scores[targets, np.arange(len(targets))], scores.argmax(axis=0)


@given(st.integers(1, 20), st.integers(0, 1000))
def test_any_cut_of_the_vocabulary_scores_alike(vocabulary, seed):
    """All chunks are padded to a few shapes, so that compiled code is reused."""
    rng, places, most = np.random.default_rng(seed), 5, 20
    # The scores have few levels, so that there are ties; some ids are impossible.
    scores = rng.integers(-3, 4, (vocabulary, places)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    scores[rng.integers(vocabulary)] = 0.0
    shared = rng.random(vocabulary) < 0.3
    scores[shared] = rng.integers(-3, 4, places)
    targets = rng.integers(vocabulary, size=places)

    def padded(ids):
        return jnp.asarray(np.append(ids, np.full(most - len(ids), -1)), jnp.int32)

    chunks = [(padded(np.flatnonzero(shared)), jnp.asarray(scores[shared][:1]))] if shared.any() else []
    others = rng.permutation(np.flatnonzero(~shared))
    while len(others):
        ids, others = np.split(others, [rng.integers(1, len(others) + 1)])
        noise = rng.random((most - len(ids), places))
        chunks.append((padded(ids), jnp.asarray(np.concatenate([scores[ids], noise]), jnp.float32)))
    rng.shuffle(chunks)
    found = tally.scores(chunks, jnp.asarray(targets, jnp.int32))
    nats, best = whole(scores, targets)
    np.testing.assert_allclose(found.nats, nats, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found.best, best)  # the lowest id on ties


def test_places_beyond_one_block_are_each_scored_once():
    rng = np.random.default_rng(0)
    places = tally._BLOCK + 17
    scores = rng.normal(size=(50, places)).astype(np.float32)
    targets = rng.integers(50, size=places)
    heard = [
        (jnp.arange(first, first + 10, dtype=jnp.int32), jnp.asarray(scores[first : first + 10]))
        for first in range(0, 50, 10)
    ]
    found = tally.scores(heard, jnp.asarray(targets, jnp.int32))
    nats, best = whole(scores, targets)
    np.testing.assert_allclose(found.nats, nats, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found.best, best)


def test_scores_far_from_zero_do_not_overflow():
    scores = jnp.asarray([[900.0, -900.0], [899.0, -901.0]])
    found = tally.scores([(jnp.arange(2, dtype=jnp.int32), scores)], jnp.asarray([0, 1], jnp.int32))
    np.testing.assert_allclose(found.nats, np.log1p(np.exp([-1.0, 1.0])) - [0, 0], rtol=1e-4)
