"""The ranking of context neurons by the residuals of a model."""

import numpy as np
import pytest

from wnn_jax import chain
from wnn_jax.chain import genomes, pool
from wnn_jax.chain.constants import FIELDS, VIEWS
from wnn_jax.data import text

FIRST = len(VIEWS)  # the input of the first field


@pytest.fixture(scope="module")
def made():
    """Turns whose bits follow field 0, and less field 1; field 2 says what field 0 says, field 3 nothing."""
    rng, count = np.random.default_rng(0), 4000
    values = rng.integers(0, 6, (4, count)).astype(np.uint32)
    values[2] = values[0] ^ 5
    chance = np.where(values[0] % 2 == 1, 0.85, 0.15) + np.where(values[1] % 3 == 0, 0.1, -0.05)
    bit = rng.random(count) < chance
    scored = np.arange(count) >= 500
    return pool.Turns(
        place=np.arange(count, dtype=np.int32),
        names=rng.integers(0, 2, (3, count)).astype(np.uint32),
        bit=bit.astype(np.int8),
        spelled=rng.integers(0, 2, count).astype(np.int8),
        residual=np.where(scored, bit - 0.5, 0).astype(np.float32),
        slope=np.where(scored, 0.25, 0).astype(np.float32),
        observed=values,
    )


def plain_direction(turns, view, fields):
    """The definition, turn by turn."""
    counts, odds, which = {}, [], []
    for at in range(len(turns.bit)):
        place = turns.place[at]
        key = turns.names[view, at], *(turns.observed[field, place] for field in fields)
        zeros, ones = counts.setdefault(key, [0, 0])
        odds.append(np.log((ones + 0.4) / (zeros + 0.4)) if zeros + ones else 0.0)
        steps = sum(zeros + ones >= edge for edge in (1, 2, 4, 10))
        which.append((max(steps, 1), turns.spelled[at]))
        counts[key][turns.bit[at]] += 1
    gain, change = 0.0, np.zeros(len(odds))
    for one in set(which):
        mine = [k for k, x in enumerate(which) if x == one]
        push = sum(turns.residual[k] * odds[k] for k in mine)
        steep = sum(turns.slope[k] * odds[k] ** 2 for k in mine)
        weight = push / max(steep, 1.0)
        gain += push * weight - 0.5 * steep * weight**2
        change[mine] = [weight * odds[k] for k in mine]
    return gain, change


@pytest.mark.parametrize(("view", "fields"), [(0, ()), (1, (0,)), (2, (1, 3))])
def test_a_direction_is_that_of_its_definition(made, view, fields):
    gain, change = pool.direction(made, (view, *(FIRST + x for x in fields)))
    expected, expected_change = plain_direction(made, view, fields)
    assert gain == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(change, expected_change, rtol=1e-3, atol=1e-5)


def test_the_gain_is_near_the_nats_that_the_step_saves(made):
    gain, change = pool.direction(made, (0, FIRST))
    scored = made.slope > 0
    sign = np.where(made.bit, 1, -1)[scored]
    saved = np.log(2) - np.logaddexp(0, -sign * change[scored])
    assert gain == pytest.approx(saved.sum(), rel=0.15)
    assert gain > 500


def test_the_best_are_different(made):
    neurons = [(0, FIRST + 3), (0, FIRST + 2), (0, FIRST), (0, FIRST + 1)]
    gains = [pool.direction(made, one)[0] for one in neurons]
    assert gains[1] == pytest.approx(gains[2])
    assert gains[1] > 10 * gains[3] > 10 * max(gains[0], 0)
    # Of the two that say the same, the first is chosen, and then what is left to say.
    assert pool.best(made, neurons, 2) == [1, 3]
    assert pool.best(made, neurons, 0) == []
    assert sorted(pool.best(made, neurons, 9)) == [0, 1, 2, 3]
    # One competes for each place three times over: of six neurons, the worst three cannot be chosen.
    assert pool.best(made, [neurons[0]] * 3 + neurons[1:], 1) == [3]


def test_the_turns_of_a_text_have_the_residuals_of_the_model(tmp_path):
    rng, letters = np.random.default_rng(0), [0, 1, 2]
    while len(letters) < 700:
        letters.append((3 * letters[-3] + 1) % 8 if rng.random() < 0.9 else int(rng.integers(8)))
    path = tmp_path / "letters.txt"
    path.write_text("".join("abcdefgh"[x] for x in letters))
    corpus = text.load(text.TextConfig(str(path)))
    config = chain.ChainConfig(mode="online", neurons=("node", "node token1"))
    network = chain.build(config, corpus)
    tokens = corpus.train[:500]
    _, reading = chain.read(network, chain.empty_online(network, 8), tokens, learn=True)
    turns = pool.turns_of(network, tokens, np.asarray(reading.ones), 100)
    bits, there = chain.turns(network, tokens)
    assert len(turns.bit) == there.sum()
    np.testing.assert_array_equal(turns.bit, bits[there])
    scored = np.nonzero(there)[0] >= 100
    ones = np.asarray(reading.ones)[there]
    np.testing.assert_allclose(turns.residual, np.where(scored, bits[there] - ones, 0), atol=1e-6)
    np.testing.assert_allclose(turns.slope, np.where(scored, ones * (1 - ones), 0), atol=1e-6)
    node = np.asarray(network.tree.node)
    first = np.asarray(network.tree.start)[tokens]
    np.testing.assert_array_equal(
        turns.names[:, turns.place == 7][:, 0], network.tree.names[:, node[first[7]]]
    )
    # The letter of three places before is what the model misses.
    each = [(0, FIRST + field) for field in range(len(FIELDS))]
    gains = [pool.direction(turns, one)[0] for one in each]
    third = FIELDS.index("token3")
    assert gains[third] == max(gains)
    assert gains[third] > 5 * gains[FIELDS.index("token2")]
    drawn = [(0, FIRST + FIELDS.index(name)) for name in ("token2", "token3", "title")]
    assert pool.best(turns, drawn, 1) == [1]


def test_neurons_for_empty_slots_come_from_the_pool_the_best_to_different_slots():
    bounds = genomes.context_bounds(5, 2)
    genome = genomes.genome_of(("node", "node token1"), bounds)[0]
    pools = []

    def best(neurons, count):
        pools.append(neurons)
        return list(range(len(neurons)))[::-1][:count]

    rng = np.random.default_rng(0)
    places, moves = genomes.propose(rng, bounds, ("neurons", "connections"), genome, 4, 2, 30, best)
    assert len(pools) == 1
    assert len(set(pools[0])) == len(pools[0]) <= 30
    assert sorted(places[:2])[0] >= 2  # two empty slots come first, and the two neurons after them
    made = [tuple(x for x in row if x >= 0) for row in moves[:2].transpose(1, 0, 2).reshape(4, -1).tolist()]
    assert made == pools[0][::-1][:4]
    assert set(places[2:]) == {0, 1}
    genomes.propose(rng, bounds, ("connections",), genome, 2, 1, 30, best)
    assert len(pools) == 1
