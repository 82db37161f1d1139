"""Gates: what they learn, what they keep and add, and that a model with gates is a distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from wnn_jax import chain, gates, ram
from wnn_jax.chain import static, tokentree
from wnn_jax.lm import bitwise, ngram, tiered, tiered_layer, tiered_readout
from wnn_jax.ram import bits, connectivity

V, C = 9, 2
TRAIN, SCORED = 250, 50  # the same in all tests, so that compiled code is reused
GATE = gates.RamGateConfig(neurons=3, address_bits=4, soft=False, leak=0.05)
KINDS = gates.RAM_KINDS

log_probabilities = jax.jit(bitwise.log_probabilities)
bitwise_score = jax.jit(bitwise.score, static_argnums=0)
fit_and_read = jax.jit(ram.fit_and_read, static_argnums=1)


def text(length=TRAIN + SCORED, seed=0):
    rng = np.random.default_rng(seed)
    follows = rng.permutation(V)
    tokens = [0]
    for _ in range(length - 1):
        tokens.append(int(follows[tokens[-1]]) if rng.random() < 0.6 else int(rng.integers(V - 2)))
    return np.array(tokens)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 0.99))
def test_a_bit_behind_a_gate_is_still_a_bit(openness, one, rest):
    gate = gates.bit_gate(jnp.float32(openness))
    both = [jnp.exp(gates.apply(gate, jnp.log(jnp.float32(p)))) for p in (one, 1 - one)]
    assert float(both[0] + both[1]) == pytest.approx(1, abs=1e-5)
    assert float(both[0]) == pytest.approx(openness * one + (1 - openness) / 2, abs=1e-5)
    other = jnp.exp(gates.apply(gates.bit_gate(jnp.float32(openness), rest), jnp.log(jnp.float32(one))))
    assert float(other) == pytest.approx(openness * one + (1 - openness) * rest, abs=1e-5)


def test_hard_and_soft_gates_and_thresholds():
    votes = jnp.arange(9) * ram.UNIT
    hard = gates.RamGateConfig(neurons=8, soft=False)
    assert gates.openness(hard, votes).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    high = gates.RamGateConfig(neurons=8, soft=False, threshold=7)
    assert gates.openness(high, votes).tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1]
    soft = gates.RamGateConfig(neurons=8, soft=True)
    np.testing.assert_allclose(gates.openness(soft, votes), np.arange(9) / 8)
    assert gates.openness(gates.RamGateConfig(neurons=1, soft=False), votes[:2]).tolist() == [0, 1]


@pytest.mark.parametrize("untrained", gates.UNTRAINED)
def test_bit_gates_equal_the_oracle_in_any_order(untrained):
    """A cell reads the value of most of its targets; a tie reads as a cell without examples."""
    gate = gates.RamGateConfig(neurons=3, address_bits=4, soft=True, untrained=untrained)
    rng = np.random.default_rng(0)
    inputs, targets = rng.random((TRAIN - C, 8)) < 0.5, rng.random((TRAIN - C, 4)) < 0.6
    asked = rng.random((SCORED, 8)) < 0.5
    key = jax.random.key(3)
    found = []
    for order in (np.arange(TRAIN - C), rng.permutation(TRAIN - C)):
        train = ram.Examples(bits.pack(jnp.asarray(inputs[order].T)), jnp.asarray(targets[order].T))
        found.append(gates.bit_openness(key, gate, 8, train, bits.pack(jnp.asarray(asked.T))))
    np.testing.assert_array_equal(*found)
    connections = np.asarray(connectivity.random(key, 4, 3, 4, 8))
    tables = reference.fit("ternary", connections, inputs, targets)
    votes = reference.votes("ternary", tables, connections, asked, [0.5] * 4, float(untrained == "open"))
    np.testing.assert_allclose(found[0], votes / (3 * ram.UNIT), rtol=1e-6)


@pytest.mark.parametrize("untrained", gates.UNTRAINED)
def test_token_gates_equal_the_oracle(untrained):
    """A cell is TRUE if the token came at its address, FALSE if only others came, else untrained."""
    gate = gates.RamGateConfig(neurons=3, address_bits=4, soft=False, untrained=untrained)
    tokens = text()
    order = tiered_layer.rank_tokens(tokens[:TRAIN], V)
    layer = gates.token_layer(jax.random.key(0), gate, gates.single_tier(V, C), order, tokens[:TRAIN])
    words, _ = tiered_layer.inputs(layer.config, tokens[TRAIN - C :])
    found = gates.votes_by_id(layer, words)
    train, targets = tiered_layer.inputs(layer.config, tokens[:TRAIN])
    inputs, asked = (np.asarray(bits.unpack(x, layer.config.input_bits)).T for x in (train, words))
    for rank, token in enumerate(order):
        connections = np.asarray(layer.wiring.connections[0][rank])[None]
        label = np.asarray(targets == token)[:, None]
        tables = reference.fit("true_wins", connections, inputs, label)
        votes = reference.votes(
            "true_wins", tables, connections, asked, [0.5, 0.5], float(untrained == "open")
        )
        np.testing.assert_array_equal(found[token], votes[0])


def test_gates_read_the_bits_they_were_taught():
    """Writing and reading use one order of bits: if a context fixes the next token, gates repeat its bits."""
    tokens = np.tile(np.arange(V), 4)
    config = bitwise.BitwiseConfig(V, C, 1, 1)
    train = bitwise.examples(config, tokens)
    gate = gates.RamGateConfig(neurons=3, address_bits=config.input_bits, soft=False)
    openness = gates.bit_openness(jax.random.key(0), gate, config.input_bits, train, train.words)
    np.testing.assert_array_equal(openness, train.targets)


def every_token(words):
    """Return every place followed by each of the V tokens in turn, ``[W, V N]``, and these tokens."""
    count = words.shape[1]
    return jnp.tile(words, (1, V)), np.repeat(np.arange(V), count)


def on_bitwise(train, stream):
    config = bitwise.BitwiseConfig(V, C, 3, 4)
    connections = bitwise.init(jax.random.key(0), config)
    words, ids = every_token(bitwise.examples(config, stream).words)
    votes = fit_and_read(None, config.memory, connections, bitwise.examples(config, train), words)
    logs = log_probabilities(votes, connections)
    evaluated = ram.Examples(words, bits.unpack_code(jnp.asarray(ids), config.clusters))
    return gates.bitwise_behind_ram_gates(jax.random.key(1), GATE, KINDS, config, train, evaluated, logs, ids)


def on_tiered(train, stream):
    config = tiered.TieredConfig(V, tiered.parse("3,3,4;3,3,4;rest,3,4"), C)
    wiring = tiered_layer.init(jax.random.key(0), config, train)
    layer = tiered_layer.one_hot_layer(jax.random.key(0), config, wiring, train)
    readout = tiered_readout.Readout(*(jnp.asarray([x, x, 2 * x]) for x in (1.1, 0.2, 1e-3, 0.4)))
    words, ids = every_token(tiered_layer.inputs(config, stream)[0])
    return gates.tiered_behind_ram_gates(jax.random.key(1), GATE, KINDS, layer, readout, train, words, ids)


@pytest.mark.parametrize("score", [on_bitwise, on_tiered])
def test_gated_probabilities_sum_to_one(score):
    tokens = text()
    scores = score(tokens[:TRAIN], tokens[TRAIN - C :])
    assert set(scores) - {"none"} == set(KINDS)
    for one in scores.values():
        nats = np.reshape(one.nats, (V, SCORED))
        np.testing.assert_allclose(np.exp(-nats).sum(axis=0), 1, atol=1e-5)
        best = np.reshape(one.best, (V, SCORED))
        np.testing.assert_array_equal(best, best[:1].repeat(V, axis=0))
        np.testing.assert_allclose(nats.min(axis=0), nats[best[0], np.arange(SCORED)], atol=1e-6)


def chain_model(train):
    pieces = [bytes([97 + i]) for i in range(V)]
    network = chain.network(tokentree.clustered(train, pieces, 4), pieces)
    memory = chain.empty_static(network, 10)
    return network, static.fit(jax.random.key(0), network, memory, train, chain.ReadoutConfig(tokens=200))


def test_chain_behind_gates_is_a_distribution():
    """Gates on turns, on whole tokens, and on both; gates on turns are scored along the token tree."""
    tokens = text()
    train, rest = tokens[:TRAIN], tokens[TRAIN : TRAIN + 6]
    network, memory = chain_model(train)
    words = bitwise.examples(bitwise.BitwiseConfig(V, C, 1, 1), np.append(train[-C:], rest)).words
    turns = gates.turn_openness(jax.random.key(1), GATE, network, C, train, words)
    layer = gates.token_layer(
        jax.random.key(2), GATE, gates.single_tier(V, C), tiered_layer.rank_tokens(train, V), train
    )
    votes = gates.votes_by_id(layer, words)
    whole = gates.chain_behind_ram_gates(GATE, KINDS, network, memory, rest, turns, votes)
    nats = gates.read_frozen(network, memory, rest)
    np.testing.assert_allclose(whole["none"].nats, nats, rtol=1e-4, atol=1e-5)
    behind = gates.read_frozen(network, memory, rest, turns)
    np.testing.assert_allclose(whole["bit"].nats, behind, rtol=1e-4, atol=1e-5)
    # All tokens that might come at the first place.
    share = {kind: 0.0 for kind in ("none", *KINDS)}
    for token in range(V):
        first, ahead = np.array([token]), (turns[:, :1], votes[:, :1])
        scores = gates.chain_behind_ram_gates(GATE, KINDS, network, memory, first, *ahead)
        for kind in share:
            share[kind] += float(jnp.exp(-scores[kind].nats[0]))
    assert share == pytest.approx({kind: 1.0 for kind in share}, abs=1e-4)


def test_a_turn_is_taught_only_by_paths_that_have_it():
    """A token at the end of a short path must not count as a 0 at turns that its path does not have."""
    pieces = [bytes([97 + i]) for i in range(5)]  # ids 0 .. 4: id 4 has one turn, the others three
    model = chain.network(tokentree.plain(5), pieces)
    assert chain.turns(model, np.array([4, 3]))[1].tolist() == [[True, False, False], [True] * 3]
    # After 3 comes mostly 4, and sometimes 3, whose second and third turns are always 1.
    tokens = np.array([3, 4, 3, 4, 3, 4, 3, 4, 3, 3] * 20)
    words = bitwise.examples(bitwise.BitwiseConfig(5, 1, 1, 1), np.array([3, 3])).words
    gate = gates.RamGateConfig(neurons=2, address_bits=3, soft=False)
    openness = gates.turn_openness(jax.random.key(0), gate, model, 1, tokens, words)
    assert openness[:, 0].tolist() == [1, 1, 1]


def test_no_gate_reads_its_future():
    tokens = text()
    train, rest = tokens[:TRAIN], tokens[TRAIN:]
    changed = rest.copy()
    changed[20:] = (rest[20:] + 1 + np.arange(len(rest) - 20) % (V - 1)) % V
    order = tiered_layer.rank_tokens(train, V)
    layer = gates.token_layer(jax.random.key(0), GATE, gates.single_tier(V, C), order, train)
    config = bitwise.BitwiseConfig(V, C, 1, 1)
    found = []
    for stream in (rest, changed):
        evaluated = bitwise.examples(config, np.concatenate([train[-C:], stream]))
        taught = bitwise.examples(config, train)
        openness = gates.bit_openness(jax.random.key(1), GATE, config.input_bits, taught, evaluated.words)
        found.append((openness, gates.votes_by_id(layer, evaluated.words)))
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one[:, :21], two[:, :21])
        assert np.any(one[:, 21:] != two[:, 21:])


def test_token_gates_must_help_where_bits_are_not_independent():
    """After A come 0b00 or 0b11, after B come 0b01 or 0b10; each bit by itself is 0 or 1 equally often."""
    rng = np.random.default_rng(0)
    which = rng.random(4000) < 0.5
    pairs = np.where(which, rng.choice([0, 3], 4000), rng.choice([1, 2], 4000))
    tokens = np.stack([4 + which, pairs], axis=1).reshape(-1)  # 4 or 5, and the token after it
    train, rest = tokens[:6000], tokens[6000:]
    config = bitwise.BitwiseConfig(6, 1, 4, 3)
    connections = bitwise.init(jax.random.key(0), config)
    evaluated = bitwise.examples(config, rest)
    taught = bitwise.examples(config, train)
    votes = fit_and_read(None, config.memory, connections, taught, evaluated.words)
    logs = log_probabilities(votes, connections)
    after = rest[:-1] > 3
    without = np.asarray(bitwise_score(config, *logs, evaluated.targets).nats)[after].mean()
    gate = gates.RamGateConfig(neurons=4, address_bits=3, soft=False, leak=0.01)
    scores = gates.bitwise_behind_ram_gates(
        jax.random.key(1), gate, ["token"], config, train, evaluated, logs, rest[1:]
    )
    within = np.asarray(scores["token"].nats)[after].mean()
    assert without > np.log(4) - 0.05
    assert within < np.log(2) + 0.1


def test_bit_gates_must_help_where_empty_cells_are_sure_of_zero():
    """Ternary neurons read an EMPTY cell as a certain 0; a gate that learnt nothing there is closed."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(256, size=3000)
    config = bitwise.BitwiseConfig(256, 2, 4, 12, memory=ram.RamConfig("ternary"))
    connections = bitwise.init(jax.random.key(0), config)
    train, rest = tokens[:2000], tokens[2000:]
    evaluated = bitwise.examples(config, rest)
    taught = bitwise.examples(config, train)
    votes = fit_and_read(None, config.memory, connections, taught, evaluated.words)
    logs = log_probabilities(votes, connections)
    without = bitwise_score(config, *logs, evaluated.targets).nats.mean()
    gate = gates.RamGateConfig(neurons=4, address_bits=12, soft=True)
    scores = gates.bitwise_behind_ram_gates(
        jax.random.key(1), gate, ["bit"], config, train, evaluated, logs, rest[2:]
    )
    uniform = ngram.uniform(256, rest).nats.mean()
    assert without > uniform + 2
    assert scores["bit"].nats.mean() < without - 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"neurons": 0}, "neurons=0 is out of range: give a whole number of at least 1 and at most 2047"),
        (
            {"address_bits": 25},
            "address_bits=25 is out of range: give a whole number of at least 1 and at most 24",
        ),
        ({"threshold": 9}, "threshold must be 1 to 8 neurons, got 9"),
        ({"untrained": "ajar"}, "unknown untrained 'ajar'"),
        ({"leak": 0.0}, "leak=0.0 is out of range: give a finite number above 0 and at most 1"),
    ],
)
def test_configs_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        gates.RamGateConfig(**arguments)


def test_scores_of_a_tiered_model_are_read_where_they_were_saved(tmp_path):
    tokens = text()
    config = tiered.VARIANTS["published"].config(V, tiers=tiered.parse("4,2,3;rest,2,3"), context=C)
    work = {"train": tokens[:TRAIN], "tokens": tokens[TRAIN:], "pieces": [bytes([i]) for i in range(V)]}
    gating, key, steps = gates.GatingConfig(ram=GATE), jax.random.key(0), []
    first = gates.fit_tiered(key, config, gating, **work, resume=tmp_path / "run")
    again = gates.fit_tiered(
        key, config, gating, **work, resume=tmp_path / "run", on_step=lambda *x: steps.append(x)
    )
    assert steps == []
    jax.tree.map(np.testing.assert_array_equal, again, first)
    with pytest.raises(ValueError, match="other work, which differs in seed"):
        gates.fit_tiered(jax.random.key(1), config, gating, **work, resume=tmp_path / "run")
    work["tokens"] = work["tokens"][1:]
    with pytest.raises(ValueError, match="other work, which differs in text"):
        gates.fit_tiered(key, config, gating, **work, resume=tmp_path / "run")
