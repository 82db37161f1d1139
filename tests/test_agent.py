"""Agents against an oracle that applies the rules to a list of rows; forgetting, growth, caps, wider keys."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wnn_jax.ram import bits
from wnn_jax.recommender import agent

KEY = jax.random.key(0)
BITS = 5
CONFIGS = {
    "vote": agent.AgentConfig(scale=1.5),
    "aged vote": agent.AgentConfig(scale=1.5, half_life=3.0),
    "hamming": agent.AgentConfig(read="hamming", ties="half"),
    "hamming, majority": agent.AgentConfig(read="hamming", ties="majority"),
    "discrimination": agent.AgentConfig(read="discrimination", ties="half"),
    "exact": agent.AgentConfig(read="exact", ties="majority"),
    "random": agent.AgentConfig(read="hamming", ties="random"),
}
# Few bits, so that exact hits, ties and contradictions are common.
row = st.tuples(st.integers(0, 2**BITS - 1), st.integers(0, 10), st.integers(0, 6), st.integers(0, 9))
shown = st.lists(row, max_size=12)


def label(stars):
    return (1 << stars) - 1


def rows(listed, length=None):
    """Make the rows of one agent from tuples (key, number of label bits set, item, time), with padding."""
    length = length or max(1, len(listed))
    arrays = np.zeros((4, 1, length), np.int64)
    arrays[2] = -1
    for i, (key, stars, item, time) in enumerate(listed):
        arrays[:, 0, i] = key, label(stars), item, time
    keys, labels, item, time = arrays
    return agent.Rows(
        keys[..., None].astype(np.uint32),
        labels.astype(np.uint32),
        item.astype(np.int32),
        time.astype(np.int32),
    )


def learnt(config, listed, room=16):
    return agent.learn(config, agent.empty(1, 1, room), rows(listed, 12))


def everything(config, agents, now=10, words=1):
    queries = np.zeros((1, 2**BITS, words), np.uint32)
    queries[0, :, 0] = np.arange(2**BITS)
    return np.asarray(agent.predict(KEY, config, agents, queries, now))[0]


def oracle(config, listed, query, now):
    """Apply the rules of `AgentConfig.read` to one query, label bit by label bit, over a list of rows."""
    out = np.zeros(config.label_bits)
    apart = [(key ^ query).bit_count() for key, *_ in listed]
    for bit in range(config.label_bits):
        on = [bool(label(stars) >> bit & 1) for _, stars, *_ in listed]
        tie = 0.5
        if config.ties == "majority" and listed:
            tie = (np.sign(sum(on) - (len(on) - sum(on))) + 1) / 2
        if config.read == "vote":
            far = [
                d / config.scale + np.log(2) / config.half_life * (now - x[3])
                for d, x in zip(apart, listed, strict=True)
            ]
            steps = [round(256 * x) for x in far]
            votes = [round(16384 * np.exp(-(x - min(steps)) / 256)) for x in steps]
            out[bit] = sum(v for v, o in zip(votes, on, strict=True) if o) / sum(votes) if votes else tie
            continue
        rules = [] if config.read == "hamming" else [exact]
        if config.read == "discrimination":
            rules.append(lambda apart, on, listed: nearer(weighted(on, listed, query), on, listed))
        if config.read != "exact":
            rules.append(nearer)
        decided = [x for x in (rule(apart, on, listed) for rule in rules) if x is not None]
        out[bit] = decided[0] if decided else tie
    return out


def exact(apart, on, listed):
    here = [i for i, d in enumerate(apart) if d == 0]
    if not here:
        return None
    ones = sum(on[i] for i in here)
    if 2 * ones == len(here):
        return float(on[max(here, key=lambda i: (listed[i][3], i))])
    return float(2 * ones > len(here))


def nearer(apart, on, listed):
    sides = [[d for d, o in zip(apart, on, strict=True) if o == side] for side in (False, True)]
    clear, set_ = (min(x, default=np.inf) for x in sides)
    return None if clear == set_ else float(set_ < clear)


def weighted(on, listed, query):
    features = np.array([[key >> i & 1 for i in range(BITS)] for key, *_ in listed]).reshape(-1, BITS)
    on = np.array(on, bool)
    share = [features[side].mean(0) if side.any() else np.zeros(BITS) for side in (~on, on)]
    matters = np.round(16384 * np.abs(share[1].astype(np.float32) - share[0].astype(np.float32)))
    return (features != [query >> i & 1 for i in range(BITS)]) @ matters


@pytest.mark.parametrize("name", [x for x in CONFIGS if x != "random"])
@settings(max_examples=10)
@given(listed=shown)
def test_reads_as_the_rules_say(name, listed):
    config = CONFIGS[name]
    said = everything(config, learnt(config, listed))
    expected = np.stack([oracle(config, listed, query, 10) for query in range(2**BITS)])
    if config.read == "vote":
        np.testing.assert_allclose(said, expected, atol=2e-4)  # a weight may round to the next integer
    else:
        np.testing.assert_array_equal(said, expected)


@given(listed=shown)
def test_a_tie_is_broken_by_the_key_alone(listed):
    config = CONFIGS["random"]
    half = everything(dataclasses.replace(config, ties="half"), learnt(config, listed))
    said = everything(config, learnt(config, listed))
    assert set(np.unique(said)) <= {0.0, 1.0}
    np.testing.assert_array_equal(said[half != 0.5], half[half != 0.5])
    none = everything(config, learnt(config, []))
    assert 0.3 < none.mean() < 0.7
    np.testing.assert_array_equal(said[half == 0.5], none[half == 0.5])


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=10)
@given(listed=shown, gone=st.sets(st.integers(0, 6)), more=st.lists(row, max_size=4))
def test_what_is_forgotten_was_never_there(name, listed, gone, more):
    config = CONFIGS[name]
    agents = learnt(config, listed)
    agents = agent.forget(agents, agent.of_items(agents, jnp.array(sorted(gone), jnp.int32)))
    never = learnt(config, [x for x in listed if x[2] not in gone])
    np.testing.assert_array_equal(everything(config, agents), everything(config, never))
    after, before = (agent.learn(config, x, rows(more, 12)) for x in (agents, never))
    np.testing.assert_array_equal(everything(config, after), everything(config, before))


@given(listed=shown, bit=st.integers(0, BITS - 1), time=st.integers(0, 10))
def test_rows_can_be_forgotten_by_bit_and_by_age(listed, bit, time):
    agents = learnt(CONFIGS["vote"], listed)
    kept = agent.forget(agents, agent.with_bit(agents, bit) | agent.before(agents, time))
    expected = [x for x in listed if not x[0] >> bit & 1 and x[3] >= time]
    assert int(kept.alive.sum()) == len(expected)
    never = learnt(CONFIGS["vote"], expected)
    np.testing.assert_array_equal(everything(CONFIGS["vote"], kept), everything(CONFIGS["vote"], never))


@given(listed=shown, cut=st.integers(0, 12), cap=st.sampled_from([1, 3, 8, 11]))
def test_learning_in_parts_and_growing_change_nothing_and_the_oldest_go_first(listed, cut, cap):
    listed = [(key, stars, item, i) for i, (key, stars, item, _) in enumerate(listed)]
    config = CONFIGS["vote"]
    parts = agent.learn(config, learnt(config, listed[:cut], 8), rows(listed[cut:], 12))
    np.testing.assert_array_equal(everything(config, parts), everything(config, learnt(config, listed)))
    capped = dataclasses.replace(config, cap=cap)
    few = learnt(capped, listed, 8)
    assert few.order.shape[1] <= max(cap, 8)
    assert int(few.alive.sum()) == min(cap, len(listed))
    np.testing.assert_array_equal(everything(config, few), everything(config, learnt(config, listed[-cap:])))


def test_growth_doubles():
    config = CONFIGS["vote"]
    agents = agent.empty(1, 1, 2)
    rooms = []
    for i in range(9):
        agents = agent.learn(config, agents, rows([(i, 1, i, i)], 12))
        rooms.append(agents.order.shape[1])
    assert rooms == [2, 2, 4, 4, 8, 8, 8, 8, 16]
    assert sum(x.nbytes for x in agents) == agent.memory_bytes(1, 16, 1) == 16 * (4 + 16)


def test_the_redundant_row_goes_where_asked():
    config = agent.AgentConfig(cap=3, eviction="redundant")
    kept = learnt(config, [(0b00000, 1, 0, 0), (0b11111, 1, 1, 1), (0b00001, 1, 2, 2), (0b11000, 1, 3, 3)])
    assert sorted(np.asarray(kept.item)[np.asarray(kept.alive)].tolist()) == [1, 2, 3]


@given(listed=shown)
def test_a_contradiction_deletes_rows_near_it(listed):
    config = agent.AgentConfig(contradiction=1, tolerance=2)
    left = []
    for x in listed:
        left = [
            y for y in left if (y[0] ^ x[0]).bit_count() > 1 or (label(y[1]) ^ label(x[1])).bit_count() <= 2
        ] + [x]
    agents = learnt(config, listed)
    assert int(agents.alive.sum()) == len(left)
    plain = dataclasses.replace(config, contradiction=-1)
    np.testing.assert_array_equal(everything(config, agents), everything(plain, learnt(plain, left)))


@pytest.mark.parametrize("name", [x for x in CONFIGS if x not in ("hamming, majority", "random")])
@settings(max_examples=10)
@given(listed=shown)
def test_wider_keys_say_the_same(name, listed):
    config = CONFIGS[name]
    agents = learnt(config, listed)
    wider = agent.widen(agents, 2)
    np.testing.assert_array_equal(everything(config, agents), everything(config, wider, words=2))
    with pytest.raises(ValueError, match="2 words cannot be cut to 1: give words of at least 2"):
        agent.widen(wider, 1)


def test_many_agents_are_each_as_if_alone():
    rng = np.random.default_rng(0)
    lists = [[tuple(rng.integers(0, (32, 11, 7, 10))) for _ in range(n)] for n in (0, 3, 12, 7)]
    together = agent.Rows(*(np.concatenate(x) for x in zip(*(rows(x, 12) for x in lists), strict=True)))
    config = CONFIGS["aged vote"]
    agents = agent.learn(config, agent.empty(4, 1), together)
    queries = jnp.broadcast_to(jnp.arange(32, dtype=jnp.uint32)[None, :, None], (4, 32, 1))
    said = np.asarray(agent.predict(KEY, config, agents, queries, jnp.array([10, 10, 10, 10])))
    for i, listed in enumerate(lists):
        np.testing.assert_array_equal(said[i], everything(config, learnt(config, listed)))


@settings(max_examples=5)
@given(listed=st.lists(row, min_size=1, max_size=12))
def test_replay_asks_before_it_learns(listed):
    config = CONFIGS["aged vote"]
    agents, said = agent.replay(KEY, config, agent.empty(1, 1, 16), rows(listed, 12))
    for i, (key, *_, time) in enumerate(listed):
        known = learnt(config, listed[:i])
        np.testing.assert_array_equal(said[0, i], everything(config, known, time)[key])
    np.testing.assert_array_equal(everything(config, agents), everything(config, learnt(config, listed)))


@given(listed=shown, weight=st.sampled_from([0.0, 0.5, 4.0]))
def test_a_prior_counts_as_so_many_rows(listed, weight):
    config = agent.AgentConfig(scale=2.0, prior_weight=weight)
    prior = jnp.linspace(0.9, 0.1, 10)[None, None]
    query = 0b00110
    agents = learnt(config, listed)
    said = np.asarray(agent.predict(KEY, config, agents, jnp.array([[[query]]], jnp.uint32), 0, prior))[0, 0]
    votes = np.array([np.exp(-(x[0] ^ query).bit_count() / 2) for x in listed])
    on = np.array([[label(x[1]) >> i & 1 for i in range(10)] for x in listed]).reshape(-1, 10)
    total = votes.sum() + weight
    expected = (votes @ on + weight * np.asarray(prior)[0, 0]) / total if total else np.asarray(prior)[0, 0]
    np.testing.assert_allclose(said, expected, atol=1e-3)


def test_words_beyond_the_first_count():
    config = CONFIGS["hamming"]
    film_bits = np.zeros((40, 2), bool)
    film_bits[35, 1] = True
    keys = bits.pack(jnp.asarray(film_bits)).T
    given_rows = agent.rows(keys, np.array([[0, 1]]), np.array([[0, 1023]]), np.array([[0, 1]]))
    agents = agent.learn(config, agent.empty(1, 2, 16), given_rows)
    queries = np.zeros((1, 2**BITS, 2), np.uint32)
    queries[0, :2] = keys
    said = np.asarray(agent.predict(KEY, config, agents, queries, 10))[0]
    np.testing.assert_array_equal(said[:2], [np.zeros(10), np.ones(10)])
    assert int(agent.with_bit(agents, 35).sum()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"read": "guess"}, "unknown read 'guess'"),
        ({"ties": "no"}, "unknown ties 'no'"),
        ({"eviction": "none"}, "unknown eviction"),
        (
            {"label_bits": 33},
            "label_bits=33 is out of range: give a whole number of at least 1 and at most 32",
        ),
        ({"scale": 0.0}, "scale=0.0 is out of range: give a finite number of at least 1e-30"),
        ({"cap": 1 << 17}, "cap=131072 is out of range: give a whole number of at least 1 and at most 65536"),
    ],
)
def test_configs_that_mean_nothing_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        agent.AgentConfig(**change)


def test_rows_of_other_agents_are_refused():
    with pytest.raises(ValueError, match="1 agents with 1 words a key, but there are 2 agents with 1"):
        agent.learn(CONFIGS["vote"], agent.empty(2, 1), rows([(1, 1, 1, 1)]))
