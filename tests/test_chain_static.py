"""The static chain model: counts, Kneser-Ney inputs, readout and reading equal oracles on every backend."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chain_texts import NETWORK, PIECES, TEXT, TREE, V, stream
from hypothesis import given, settings
from hypothesis import strategies as st

from wnn_jax import chain
from wnn_jax.chain import readout, static, static_cells, static_inputs, static_mixer, tokentree
from wnn_jax.chain.constants import DISCOUNT_UNIT, ORDERS, STATIC_FINALS, STATIC_ROWS, StaticSet
from wnn_jax.lm import ngram
from wnn_jax.ram import backend

LOG_SLOTS = 13
CONFIG = chain.ReadoutConfig(folds=3, tokens=900, epochs=4, batch=64, step_size=0.01)


def empty(log_slots=LOG_SLOTS):
    return chain.empty_static(NETWORK, log_slots)


def counted(tokens, log_slots=LOG_SLOTS):
    memory, text = static.observe(NETWORK, empty(log_slots), tokens)
    return static.count(NETWORK, memory, text)


@pytest.fixture(scope="module")
def fitted():
    return static.fit(jax.random.key(0), NETWORK, empty(), TEXT, CONFIG)


def slots_of(memory):
    return np.asarray(memory.slots)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 9)), max_size=60))
def test_followers_are_those_of_a_dict(places):
    hashes, tokens, longer = (np.array([p[i] for p in places], np.int64) for i in range(3))
    longer = longer * 4 + hashes  # a longer context says what the shorter one is
    found = static_cells.followers(hashes.astype(np.uint32), tokens.astype(np.int32))
    pairs = collections.Counter((h, w) for h, w, _ in places)
    assert (
        dict(zip(zip(found[0].tolist(), found[1].tolist(), strict=False), found[2].tolist(), strict=True))
        == pairs
    )
    found = static_cells.followers(
        hashes.astype(np.uint32), tokens.astype(np.int32), longer.astype(np.uint32)
    )
    pairs = collections.Counter((h, w) for h, w, _ in {(h, w, x) for h, w, x in places})
    assert (
        dict(zip(zip(found[0].tolist(), found[1].tolist(), strict=False), found[2].tolist(), strict=True))
        == pairs
    )


def masses_by_hand(tokens, context, longer):
    """Return the discounted counts of tokens after a context, its total and what the discounts free."""
    pairs = collections.defaultdict(collections.Counter)
    for key, token in {(longer[t], tokens[t]): (context[t], tokens[t]) for t in range(len(tokens))}.values():
        pairs[key][token] += 1
    counts = np.array([n for row in pairs.values() for n in row.values()])
    cut = np.round(ngram._discounts(counts) * DISCOUNT_UNIT) / DISCOUNT_UNIT
    return {
        key: ({w: n - cut[min(n, 3)] for w, n in row.items()}, sum(row.values()))
        for key, row in pairs.items()
    }


def kneser_ney_by_hand(tokens, place):
    """Return P(token) of each order at a place, from the text before it is read again."""
    probability, orders = np.full(V, 1 / V), []

    def context(k, t):
        return (k, tuple(tokens[max(t - k, 0) : t]))

    for k in range(ORDERS):
        longer = [(t if k + 1 == ORDERS else context(k + 1, t), tokens[t]) for t in range(len(tokens))]
        table = masses_by_hand(tokens, [context(k, t) for t in range(len(tokens))], longer)
        row, total = table.get(context(k, place), ({}, 0))
        if total:
            left = np.array([row.get(w, 0.0) for w in range(V)])
            probability = left / total + (1 - left.sum() / total) * probability
        orders.append(probability)
    return orders


def test_the_inputs_are_the_log_odds_of_kneser_ney_and_of_counts():
    tokens = TEXT[:300]
    memory, text = static.observe(NETWORK, empty(), tokens)
    memory = static.count(NETWORK, memory, text)
    met = static.examples(NETWORK, memory, text)
    neurons, row = NETWORK.view.shape[0], 0
    assert met.inputs.shape == (sum(len(path(w)) for w in tokens), static_inputs.size(neurons))
    for place in range(len(tokens)):
        for depth, (node, bit) in enumerate(path(tokens[place])):
            if place in (0, 7, 150, 299):
                x, below = np.asarray(met.inputs[row]), leaves_below(node)
                for k, chance in enumerate(kneser_ney_by_hand(tokens.tolist(), place)):
                    wanted = np.log(chance[below[1]].sum() / chance[below[0]].sum())
                    assert x[2 * neurons + k] == pytest.approx(np.clip(wanted, -12, 12), abs=2e-3)
                zeros, ones = plain_counts(tokens, place, node)
                assert x[neurons + 1] == pytest.approx(np.log((ones + 0.4) / (zeros + 0.4)), abs=1e-5)
                assert met.bit[row] == bit
                assert met.rows[row, StaticSet.DEPTH] % 32 == depth
            row += 1


def path(token):
    begin, end = TREE.start[token], TREE.start[token + 1]
    return list(zip(TREE.node[begin:end].tolist(), TREE.bit[begin:end].tolist(), strict=True))


def leaves_below(node):
    return [[w for w in range(V) if (node, bit) in path(w)] for bit in (0, 1)]


def plain_counts(tokens, place, node):
    """Count the turns at a node after the same last token, which is what the second neuron observes."""
    last = tokens[place - 1] if place else None
    places = [t for t in range(len(tokens)) if (tokens[t - 1] if t else None) == last]
    turns = [bit for t in places for at, bit in path(tokens[t]) if at == node]
    return turns.count(0), turns.count(1)


def test_kneser_ney_on_the_tree_is_kneser_ney():
    train, tokens = TEXT[:600], TEXT[600:640]
    memory, text = static.observe(NETWORK, empty(), train)
    memory = static.count(NETWORK, memory, text)
    _, after = static.observe(NETWORK, memory, tokens)
    met = static.examples(NETWORK, memory, after)
    odds, bit = np.asarray(met.inputs[:, -2], np.float64), np.asarray(met.bit)
    lengths = [len(path(w)) for w in tokens]
    costs = np.log1p(np.exp(np.where(bit > 0, -odds, odds)))
    nats = np.add.reduceat(costs, np.cumsum([0, *lengths[:-1]]))
    wanted = ngram.predict(ngram.fit_kneser_ney(train, ORDERS, V), tokens).nats
    # The other model has no n-grams that reach back before the text begins, and shares have 16 bits.
    np.testing.assert_allclose(nats, wanted, atol=0.05)
    assert abs(nats.mean() - wanted.mean()) < 3e-3


@pytest.mark.parametrize("log_slots", [4, LOG_SLOTS])
def test_counts_do_not_know_the_order(log_slots):
    memory, text = static.observe(NETWORK, empty(log_slots), TEXT[:200])
    order = np.random.default_rng(0).permutation(200)
    shuffled = jax.tree.map(lambda x: x[..., order], text)
    one = slots_of(static.count(NETWORK, memory, text))
    other = slots_of(static.count(NETWORK, empty(log_slots), shuffled))
    np.testing.assert_array_equal(one, other)
    assert one.any()
    again = static.count(NETWORK, counted(TEXT[300:400], log_slots), text)
    np.testing.assert_array_equal(slots_of(again), one)


def mix_by_hand(memory, x, rows):
    weights, finals = np.asarray(memory.weights, np.float64), np.asarray(memory.finals, np.float64)
    first = np.cumsum([0, *STATIC_ROWS])
    logit = np.array([weights[first[k] + rows[k]] @ x for k in range(len(rows))]).clip(-13, 13)
    at, ends = 0, []
    for one in STATIC_FINALS:
        ends.append(finals[at + rows[one]] @ logit)
        at += STATIC_ROWS[one]
    return 1 / (1 + np.exp(-np.clip(np.mean(ends), -13, 13)))


def test_reading_is_the_readout_of_the_inputs(fitted):
    start = static.stand_after(NETWORK, fitted, TEXT)
    tokens = stream(30, seed=5)
    _, text = static.observe(NETWORK, start, tokens)
    met = static.examples(NETWORK, fitted, text)
    _, reading = chain.read(NETWORK, start, tokens)
    ones = np.asarray(reading.ones)[np.arange(TREE.depth) < np.array([[len(path(w))] for w in tokens])]
    wanted = [
        mix_by_hand(fitted, np.asarray(x, np.float64), r)
        for x, r in zip(met.inputs, np.asarray(met.rows), strict=False)
    ]
    np.testing.assert_allclose(ones, np.clip(wanted, 2e-6, 1 - 2e-6), atol=2e-6)


def test_a_distribution_that_sums_to_one_and_its_argmax(fitted):
    memory = static.stand_after(NETWORK, fitted, TEXT[:50])
    for token in stream(5, seed=8):
        shares = chain.distribution(NETWORK, memory)
        assert abs(shares.sum() - 1) < 1e-5
        memory, reading = chain.read(NETWORK, memory, [token], argmax=True)
        assert shares[reading.best[0]] == pytest.approx(shares.max(), rel=1e-5)
        assert chain.nats(NETWORK, reading)[0] == pytest.approx(-np.log(shares[token]), abs=1e-4)


def test_the_readout_beats_its_start():
    memory = static.fit(jax.random.key(0), NETWORK, empty(), TEXT[:700], CONFIG)
    weights, finals = static_mixer.start(static_inputs.size(NETWORK.view.shape[0]))
    untrained = memory._replace(weights=jnp.asarray(weights), finals=jnp.asarray(finals))
    nats = [chain.nats(NETWORK, chain.read(NETWORK, m, TEXT[700:])[1]).mean() for m in (memory, untrained)]
    assert nats[0] < nats[1] - 0.05


def test_each_fold_is_read_by_a_model_of_the_other_folds():
    asked = []

    def build(tokens):
        asked.append(tokens)
        return chain.network(tokentree.clustered(tokens, PIECES, rare=12), PIECES)

    fitted = static.fit(jax.random.key(0), NETWORK, empty(), TEXT, CONFIG, build=build)
    thirds = [TEXT[:300], TEXT[300:600], TEXT[600:]]
    for i, tokens in enumerate(asked):
        np.testing.assert_array_equal(tokens, np.concatenate(thirds[:i] + thirds[i + 1 :]))
    assert len(asked) == 3
    np.testing.assert_array_equal(slots_of(fitted), slots_of(counted(TEXT)))


def test_training_that_was_stopped_ends_the_same(fitted):
    states = []

    def keep(state):
        states.append(readout.FitState.of(state.arrays()))

    whole = static.fit(jax.random.key(0), NETWORK, empty(), TEXT, CONFIG, on_state=keep)
    assert len(states) == readout.ROUNDS
    resumed = static.fit(jax.random.key(0), NETWORK, empty(), TEXT, CONFIG, state=states[6])
    for one in (whole, resumed):
        jax.tree.map(np.testing.assert_array_equal, one, fitted)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda met: met._replace(bit=met.bit[:0], inputs=met.inputs[:0], rows=met.rows[:0]),
            "at least one turn",
        ),
        (lambda met: met._replace(rows=met.rows + 2000), "rows has a row of a set beyond its number of rows"),
        (lambda met: met._replace(inputs=met.inputs[:, 1:]), "inputs"),
        (lambda met: met._replace(bit=met.bit + 7), "bit"),
    ],
)
def test_examples_that_no_text_gives_are_refused(change, words):
    memory, text = static.observe(NETWORK, empty(), TEXT[:20])
    met = static.examples(NETWORK, memory, text)
    with pytest.raises(ValueError, match=words):
        readout.train_readout(jax.random.key(0), NETWORK, change(met), CONFIG)


def test_neither_the_future_nor_the_length_of_a_piece_is_read(fitted):
    start, tokens = static.stand_after(NETWORK, fitted, TEXT[:60]), stream(40, seed=6)
    whole = np.asarray(chain.read(NETWORK, start, tokens)[1].ones)
    other = np.asarray(chain.read(NETWORK, start, np.r_[tokens[:25], stream(15, seed=7)])[1].ones)
    np.testing.assert_array_equal(whole[:25], other[:25])
    assert (whole[26:] != other[26:]).any()
    middle, first = chain.read(NETWORK, start, tokens[:25])
    _, last = chain.read(NETWORK, middle, tokens[25:])
    np.testing.assert_array_equal(np.concatenate([first.ones, last.ones]), whole)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m._replace(weights=m.weights.at[3, 2].set(np.nan)), "weights"),
        (lambda m: m._replace(weights=m.weights[:, 1:]), "weights"),
        (lambda m: m._replace(finals=m.finals.at[3, 2].set(1e12)), "finals"),
        (lambda m: m._replace(slots=m.slots[..., :3]), "slots"),
        (lambda m: m._replace(slots=m.slots[ORDERS:]), "slots"),
    ],
)
def test_a_memory_that_no_fit_gives_is_refused(fitted, change, words):
    with pytest.raises(ValueError, match=words):
        chain.read(NETWORK, change(fitted), TEXT[:3])


def everything(tokens):
    """Return all that a backend computes, as arrays by name."""
    memory, text = static.observe(NETWORK, empty(5), tokens)
    memory = static.count(NETWORK, memory, text)
    found = {"hashes": text.hashes, "shapes": text.shapes, "slots": np.array(memory.slots)}
    met = static.examples(NETWORK, memory, static.part(text, 20, 60))
    found |= met._asdict()
    memory, reading = chain.read(NETWORK, memory, tokens[:30], argmax=True)
    found |= {"ones": reading.ones, "best": reading.best, "distribution": chain.distribution(NETWORK, memory)}
    writing = chain.WritingConfig(temperature=0.8, top_p=0.7)
    found["nucleus"] = chain.sample(jax.random.key(0), NETWORK, memory, 8, writing)[1]
    memory, found["drawn"] = chain.sample(jax.random.key(1), NETWORK, memory, 8)
    found |= {name: getattr(memory, name) for name in ("registers", "followed", "line")}
    found |= static.unweighted_nats(NETWORK, memory, tokens[:20])
    return {name: np.asarray(x) for name, x in found.items()}


def test_native_equals_the_contract(monkeypatch):
    if backend.chosen() == "xla":
        pytest.skip("the native kernels are not installed")
    ours = everything(TEXT[:170])
    monkeypatch.setattr(backend, "chosen", lambda: "xla")
    jax.clear_caches()
    wanted = everything(TEXT[:170])
    jax.clear_caches()
    for name, want in wanted.items():
        if np.issubdtype(want.dtype, np.floating):
            loose = 2e-5 if name in ("inputs", "vote", "backoff") else 2e-6
            np.testing.assert_allclose(ours[name], want, atol=loose, rtol=loose, err_msg=name)
        else:
            np.testing.assert_array_equal(ours[name], want, err_msg=name)
