"""The parts of the chain model that learns: each equals its oracle alone."""

import functools
import math

import chain_reference as oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chain_texts import NETWORK, TEXT, TREE, V
from hypothesis import given
from hypothesis import strategies as st

from wnn_jax import chain
from wnn_jax.chain import cells, lists, maps, matches, recency, refinement, weights
from wnn_jax.chain import constants as c
from wnn_jax.chain.config import SETS

N = NETWORK.view.shape[0]
SEED = st.integers(0, 2**32 - 1)
FIND, WRITE, STATES, RUNS, ODDS = (
    jax.jit(f) for f in (cells.find, cells.write, cells.states, cells.runs, cells.odds)
)


@functools.cache
def empty():
    return chain.empty_online(NETWORK, 4, room=90)


def random_cells(rng):
    """Draw n oracle cells, and the same as words; some counts are at their limits, some are 0."""
    tick = int(rng.integers(0, 2**16))
    drawn, words = [], []
    for _ in range(N):
        cell = oracle.Cell(int(rng.choice([tick, tick - 1, rng.integers(0, 2**16)])) % 2**16)
        most = int(rng.choice([1, 3, 40, 65535]))
        cell.count = [int(x) for x in rng.integers(0, most, 2, endpoint=True)]
        cell.count[int(rng.integers(2))] *= int(rng.integers(2))
        cell.fading = [min(256 * x, 65256) for x in cell.count]
        cell.fast = [int(min(x, rng.choice([2, 3, 255]))) for x in cell.count]
        cell.last = int(rng.integers(2))
        drawn.append(cell)
        words.append(packed(cell))
    slot, known = jnp.zeros(N, jnp.int32), jnp.ones(N, bool)
    return tick, drawn, cells.Cells(slot, slot, jnp.array(words, jnp.uint32), known)


def packed(cell, tag=7):
    pairs = [pair[0] << 16 | pair[1] for pair in (cell.count, cell.fading)]
    return [tag << 16 | cell.fast[0] << 8 | cell.fast[1], *pairs, cell.last << 16 | cell.tick]


@given(SEED, st.integers(0, 1))
def test_cells_count_fade_and_forget(seed, bit):
    tick, drawn, found = random_cells(np.random.default_rng(seed))
    now = jnp.uint32(4 * tick + 2**18)  # cells know the time in 16 bits
    plain, fading = ODDS(found, now)
    wanted = np.array([cell.odds(tick) for cell in drawn])
    np.testing.assert_allclose(np.stack([plain, fading], axis=1), wanted, rtol=1e-5, atol=1e-6)
    words = WRITE(found, jnp.int32(bit), now)
    for cell in drawn:
        cell.write(bit, tick)
    np.testing.assert_array_equal(words, np.array([packed(cell) for cell in drawn]))


@given(SEED, st.integers(0, 1), st.integers(0, 20))
def test_states_and_runs_are_those_of_the_oracle_and_no_two_are_one(seed, zone, depth):
    tick, drawn, found = random_cells(np.random.default_rng(seed))
    state = np.asarray(STATES(found, jnp.int32(zone), jnp.int32(depth), jnp.uint32(4 * tick)))
    runs, single = RUNS(found, jnp.asarray(state))
    states = [cell.state(tick, zone, depth) for cell in drawn]
    sizes = c.FAST_STEPS, c.FAST_STEPS, 2, c.AGES, 2, 2, 8
    assert state.tolist() == [np.ravel_multi_index(one, sizes) for one in states]
    prior = np.asarray(empty().maps)[0, state, 0]
    np.testing.assert_allclose(prior, [oracle.state_prior(one) for one in states], rtol=1e-6)
    assert math.prod(sizes) == c.MAP_STATES
    for cell, at, there in zip(drawn, runs.tolist(), single, strict=True):
        one = cell.run(zone, depth)
        assert (one is not None) == there
        if one:
            right, length, *rest = one
            sizes = c.RUN_MOST + 1, 2, 2, 8
            assert at == np.ravel_multi_index((length, right, *rest), sizes)
            assert math.prod(sizes) == c.RUN_STATES
            assert np.asarray(empty().run_maps)[0, at, 0] == pytest.approx(oracle.run_prior(one))


def test_a_full_bucket_gives_its_least_met_cell_away():
    """All contexts of a neuron share one bucket of four cells; the oracle keeps them in a list."""
    memory, wanted = chain.empty_online(NETWORK, 2, room=90), [[None] * 4 for _ in range(N)]
    rng = np.random.default_rng(0)
    learn = jax.jit(cells.learn)
    for turn in range(60):
        hashes = jnp.asarray(rng.integers(0, 9, N), jnp.uint32)
        node, bit, now = jnp.int32(0), int(rng.integers(2)), jnp.uint32(turn)
        found = FIND(NETWORK, memory, hashes, node, now)
        memory = learn(memory, found, jnp.int32(bit), now)
        tags = np.asarray(found.words[:, 0]) >> 16
        for bucket, tag, known, slot in zip(wanted, tags, found.known, found.slot, strict=True):
            there = [k for k, one in enumerate(bucket) if one and one[0] == tag]
            seen = [1 + sum(one[1].count) if one else 0 for one in bucket]
            at = there[0] if there else seen.index(min(seen))
            if not there:
                bucket[at] = tag, oracle.Cell(turn >> 2)
            bucket[at][1].write(bit, turn >> 2)
            assert (bool(known), int(slot)) == (bool(there), at)
    words = [[packed(one[1], int(one[0])) for one in bucket] for bucket in wanted]
    np.testing.assert_array_equal(np.asarray(memory.slots)[:, 0], np.array(words))


@jax.jit
def visit(known, state, there, bit):
    """Move maps, and return them with the log-odds that they had."""
    entries = maps.look_up(known, state, there)
    return maps.write(known, entries, maps.moved(entries, bit)), maps.odds(entries)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 1)), max_size=60))
def test_adaptive_maps(visits):
    """The second map meets every state; the first one has some states only."""
    known = [oracle.AdaptiveMap(lambda state: 0.2 + 0.1 * state) for _ in range(2)]
    entries = jnp.array([[[0.2 + 0.1 * k, 0] for k in range(4)]] * 2, jnp.float32)
    for state, there, bit in visits:
        at, exists = jnp.array([state, 3 - state], jnp.int32), jnp.array([there, True])
        entries, odds = visit(entries, at, exists, jnp.int32(bit))
        assert odds[1] == pytest.approx(known[1].odds(3 - state), rel=1e-4, abs=1e-5)
        assert odds[0] == (pytest.approx(known[0].odds(state), rel=1e-4, abs=1e-5) if there else 0)
        known[1].learn(3 - state, bit)
        if there:
            known[0].learn(state, bit)
    for one, row in zip(known, np.asarray(entries), strict=True):
        np.testing.assert_allclose(row, [one.entry(state) for state in range(4)], rtol=1e-5)


def test_an_adaptive_map_at_its_limits():
    known, entries = oracle.AdaptiveMap(lambda state: 0.5), jnp.array([[[0.0006, 1022]]], jnp.float32)
    known.known[0] = [0.0006, 1022]
    for _ in range(400):
        entries, _ = visit(entries, jnp.zeros(1, jnp.int32), jnp.ones(1, bool), jnp.int32(0))
        known.learn(0, 0)
        np.testing.assert_allclose(entries[0, 0], known.entry(0), rtol=1e-5)
    assert known.entry(0) == [c.MAP_LEAST, c.MAP_LIMIT]


@given(st.lists(st.integers(0, 11), max_size=60))
def test_lists_move_a_token_to_the_front(tokens):
    words, wanted = np.zeros((1, 7), np.uint32), []
    for token in tokens:
        words = TO_FRONT(words, jnp.int32(token))
        wanted = oracle.to_front(wanted, token)
    held = [(int(word) >> 8, int(word) & 255) for word in words[0] if word & 255]
    assert held == wanted
    assert len(held) == min(len(set(tokens)), 7)


TO_FRONT = jax.jit(lists.to_front)


def test_counts_of_lists_end_at_255():
    words = TO_FRONT(jnp.array([[3 << 8 | 254, 9 << 8 | 255] + [0] * 5], jnp.uint32), jnp.int32(3))
    words = TO_FRONT(words, jnp.int32(9))
    assert words[0, :3].tolist() == [9 << 8 | 255, 3 << 8 | 255, 0]


def test_lists_of_contexts_and_their_votes():
    """Sixteen lists for each neuron: contexts replace each other, and what is found is of this context."""
    memory, kept = chain.empty_online(NETWORK, 8, room=90), [{} for _ in range(N)]
    rng, add = np.random.default_rng(1), jax.jit(lists.add)
    look_up, odds = jax.jit(lists.look_up), jax.jit(functools.partial(lists.odds, NETWORK.tree))
    assert memory.lists.shape == (N, 16, 8)
    replaced = 0
    for _ in range(120):
        hashes = rng.integers(0, 40, N).astype(np.uint32)
        listed = look_up(NETWORK, memory, jnp.asarray(hashes))
        entry = int(rng.integers(len(TREE.node)))
        node, depth = (
            int(TREE.node[entry]),
            entry - int(TREE.start[np.searchsorted(TREE.start, entry, "right") - 1]),
        )
        votes = np.asarray(odds(listed, jnp.int32(node), jnp.int32(depth)))
        token = int(rng.integers(V))
        for neuron, h in enumerate(hashes.tolist()):
            key = oracle.mix(h, c.LIST_KEY) | 1
            place = oracle.mix(h, c.LIST_KEY) >> 28
            held, known = kept[neuron].get(place, (key, []))
            replaced += held != key
            known = known if held == key else []
            assert votes[neuron] == pytest.approx(oracle.list_odds(known, TREE, node, depth), abs=1e-5)
            kept[neuron][place] = key, oracle.to_front(known, token)
        memory = add(memory, jnp.asarray(hashes), jnp.int32(token))
    assert replaced > 100


def test_an_id_that_no_token_has_is_not_listed():
    memory = empty()
    key = jnp.uint32(oracle.mix(3, c.LIST_KEY) | 1)
    row = jnp.concatenate(
        [key[None], jnp.array([2**24 - 1 << 8 | 9, V << 8 | 1, V - 1 << 8 | 2], jnp.uint32)]
    )
    held = memory.lists.at[:, 0, :4].set(row)
    listed = lists.look_up(NETWORK, memory._replace(lists=held), jnp.full(N, 3, jnp.uint32))
    assert listed.times[0].tolist() == [0, 0, 2, 0, 0, 0, 0]


@pytest.mark.parametrize("room", [90, 500])
def test_matches(room):
    """A text in which phrases come back, and at last one phrase again and again; the ring wraps around."""
    tokens = [*TEXT[:160].tolist(), *TEXT[20:90].tolist() * 2, *[1, 2, 3] * 30]
    memory = chain.empty_online(NETWORK, 4, room=room)
    known, read, lengths = [oracle.Match(order, room) for order in c.MATCH_ORDERS], [], []
    begin, end = (jax.jit(f, donate_argnums=0) for f in (matches.begin, matches.end))
    for token in tokens:
        memory, found = begin(memory)
        guesses = [match.begin(read) for match in known]
        assert found.guess.tolist() == [-1 if guess is None else guess for guess in guesses]
        assert found.step.tolist() == [oracle.step(match.length, c.MATCH_EDGES) for match in known]
        lengths.append([match.length for match in known])
        read.append(token)
        memory = end(memory, jnp.int32(token))
        for match in known:
            match.end(read)
    assert np.max(lengths, axis=0).min() > 32
    text = np.asarray(memory.text)
    assert all(text[at % room] == read[at] for at in range(max(len(read) - room, 0), len(read)))


@pytest.mark.parametrize(
    ("guess", "step", "wanted"),
    [([-1, -1, -1], [9, 0, 0], [0, 0]), ([5, 4, 0], [3, 3, 2], [6, 3]), ([-1, 5, 0], [9, 2, 4], [1, 4])],
)
def test_the_fields_of_the_longest_match(guess, step, wanted):
    """A tie goes to the first match; a match that expects id 0 is one, and no match has no step."""
    found = matches.Matches(jnp.array(guess, jnp.int32), jnp.array(step, jnp.int32))
    fields = matches.fill(jnp.full(len(c.FIELDS), 7, jnp.uint32), found)
    assert (fields.dtype, fields.tolist()) == (jnp.uint32, [7] * (len(c.FIELDS) - 2) + wanted)


def test_matches_learn_how_often_they_are_right():
    tree, memory, known = NETWORK.tree, empty(), oracle.MatchMap()
    expect, learn = jax.jit(matches.expect), jax.jit(matches.learn)
    found = matches.Matches(jnp.array([-1, 4, 7], jnp.int32), jnp.array([9, 3, 3], jnp.int32))
    zone = int(TREE.spelled[0])
    for bit in [1, 0, 1, 1, 0, 0, 1] * 5:
        share = known.entry(0)[0]
        said = expect(tree, memory, found, jnp.int32(0), jnp.int32(0))
        bits = [oracle.turn_at(TREE, token, 0, 0) for token in (4, 7)]
        assert said.bit.tolist() == [-1, *bits]
        assert said.entries.state.tolist()[1:] == [(3 * 2 + zone) * 16] * 2
        sign = 2 * bits[0] - 1
        assert said.odds[1] == pytest.approx(sign * oracle.log_odds(share, 1 - share), rel=1e-4)
        assert said.centred[1] == pytest.approx(sign * 4 * (share - 0.5), rel=1e-4)
        assert said.odds[0] == said.centred[0] == 0
        assert said.longest == 1  # the first of the two that reach the node
        memory = learn(memory, said, jnp.int32(bit))
        known.learn(0, bits[0] == bit)
    changed = np.argwhere((np.asarray(memory.match_maps) != np.asarray(empty().match_maps)).any(axis=2))
    assert changed.tolist() == [[m, (3 * 2 + zone) * 16] for m in (1, 2)]
    away = expect(tree, memory, found, jnp.int32(0), jnp.int32(1))
    assert (away.bit.tolist(), int(away.longest)) == ([-1] * 3, -1)


def test_recent_bits_fade():
    memory, known, now = empty(), oracle.Recent(), 0
    counts, learn = jax.jit(recency.counts), jax.jit(recency.learn)
    rng, node = np.random.default_rng(2), jnp.int32(3)
    for passed in [*[1] * 30, 0, 0, 100, 5000, 1, 30_000, 1, 2, 10**6, 1, 2**25, 1, 1]:
        now, bit = now + passed, int(rng.integers(2))
        counted = counts(memory, node, jnp.uint32(now))
        np.testing.assert_allclose(recency.odds(counted), known.odds(now), rtol=1e-4, atol=1e-5)
        memory = learn(memory, node, counted, jnp.int32(bit), jnp.uint32(now))
        known.learn(bit, now)
        np.testing.assert_allclose(memory.recent[3], known.counts, rtol=1e-5, atol=1e-30)
    assert np.asarray(memory.recent_at).nonzero()[0].tolist() == [3]


def random_choice(rng):
    """Draw a turn, and return what chooses its rows: as the library has it, and by set for the oracle."""
    zone, depth, known = (int(x) for x in rng.integers(0, (2, 40, N + 1)))
    facts = [int(x) for x in rng.integers(0, [65, 65, 513, c.SHAPES, 2**16, 2**16, 2**32, 256, 256])]
    kind, hits, expected, step = (int(x) for x in rng.integers(0, (c.KINDS, 64, 3, 13)))
    expected -= 1
    turn = weights.Turn(kind, zone, depth, hits, known, N, expected, step)
    turn = weights.Turn(*(x if x is N else jnp.int32(x) for x in turn))
    types = [jnp.int32] * 4 + [jnp.uint32] * 3 + [jnp.int32] * 2
    facts = weights.Facts(*(kind(x) for kind, x in zip(types, facts, strict=True)))
    return facts, turn


CHOOSE = jax.jit(lambda facts, turn: weights.choose(facts, turn._replace(neurons=N)))


def test_every_choice_has_its_row():
    rng = np.random.default_rng(3)
    found = np.array([CHOOSE(*random_choice(rng)) for _ in range(300)])
    assert (found >= 0).all()
    assert (found < np.array(c.SET_ROWS)).all()
    # Each set but the first is spread over the rows that it has.
    assert (found.max(axis=0)[1:] > 0.8 * np.array(c.SET_ROWS)[1:] - 2).all()


def small_layer(sets):
    network = chain.network(TREE, [b"%d" % k for k in range(V)], chain.WORDS[:2], sets)
    return network, chain.empty_online(network, 2, room=90)


@pytest.mark.parametrize("sets", [SETS, ("one", "kind", "hits", "kind_class"), ("one", "kind_class", "kind")])
def test_two_layers_of_weights(sets):
    """Rows begin as those of their parents; each set learns alone; the second layer mixes the sets."""
    network, memory = small_layer(sets)
    size = memory.weights.shape[1]
    first = oracle.Layer(list(sets), np.asarray(memory.weights[0], np.float64))
    second = oracle.SecondLayer(list(sets))
    rng, mix, learn = np.random.default_rng(4), jax.jit(weights.mix), jax.jit(weights.learn)
    for _ in range(80):
        choices = rng.integers(0, np.minimum(c.SET_ROWS, 3)).astype(np.int32)
        choices[c.WeightSet.KIND] = (
            choices[c.WeightSet.KIND_CLASS] // 2
        )  # a node's classes belong to the node
        inputs = (rng.normal(size=size) * rng.choice([1, 10])).astype(np.float32)
        bit, choice = int(rng.random() < 0.7), dict(zip(SETS, choices.tolist(), strict=True))
        said = mix(memory, network.sets, jnp.asarray(inputs), jnp.asarray(choices))
        logits = first.logits(inputs, choice)
        np.testing.assert_allclose(said.logits[: len(sets)], logits, rtol=1e-3, atol=2e-4)
        assert said.odds == pytest.approx(second.odds(logits, choice), rel=1e-3, abs=2e-4)
        memory = learn(memory, said, jnp.int32(bit))
        second.learn(logits, choice, bit)
        first.learn(inputs, choice, bit)
    visited = sum(name in sets for name, _ in first.weights)
    assert np.asarray(memory.visited).sum() == visited > len(sets)
    assert np.asarray(memory.final_visits).sum() == 80 * len(c.FINAL_SETS)


def test_rows_of_the_second_layer_learn_more_and_more_slowly():
    rates = np.asarray(weights.final_rate(jnp.array([0, 1000, c.COUNT_MOST], jnp.uint32)))
    least, more, half = c.FINAL_RATE_LEAST, c.FINAL_RATE_MORE, c.FINAL_RATE_HALF
    np.testing.assert_allclose(rates[:2], [least + more, least + more * half / (half + 1000)], rtol=1e-6)
    assert least < rates[2] < rates[1]


def test_adagrad_by_hand():
    moved, sums = weights.adagrad(jnp.float32([1, 1]), jnp.float32([0, 8]), jnp.float32([0, 4]))
    np.testing.assert_allclose(sums, [0, 24])
    np.testing.assert_allclose(moved, [1, 1 + c.RATE * 4 / 5])


@given(st.lists(st.tuples(st.floats(-20, 20), SEED, st.integers(0, 1)), min_size=1, max_size=20))
def test_refinement(turns):
    memory, known = empty(), oracle.Refinement()
    memory = memory._replace(refined=memory.refined[:, :2])  # copied at each step
    for odds, seed, bit in turns:
        places = np.random.default_rng(seed).integers(0, 2, 5)
        odds = float(np.float32(odds))
        said = REFINE(memory, jnp.float32(odds), jnp.asarray(places, jnp.int32))
        assert said.one == pytest.approx(known.one(odds, places.tolist()), abs=2e-6)
        below, part = known.steps(odds)
        if abs(part - 0.5) < 1e-4:
            return  # float32 may choose the other one of two equally near steps
        memory = REFINED(memory, said, jnp.int32(bit))
        known.learn(odds, places.tolist(), bit)
        assert int(said.step) == below + (part > 0.5)


REFINE, REFINED = jax.jit(refinement.refine), jax.jit(refinement.learn)


def test_contexts_of_the_refinement():
    names = np.asarray(TREE.names)
    facts = weights.Facts(*(jnp.uint32(k + 11) for k in range(9)))
    for guess in (-1, 5):
        found = refinement.places(NETWORK.tree, facts, jnp.int32(6), jnp.int32(guess))
        name, spelled, mix = int(names[0, 6]), int(names[2, 6]), oracle.mix
        token1, token2, word = (int(x) for x in (facts.token1, facts.token2, facts.word))
        wanted = (
            name,
            mix(token1, name),
            mix(mix(token1, token2), name),
            mix(guess + 1, name),
            mix(word, spelled),
        )
        assert found.tolist() == [h >> 16 for h in wanted]
