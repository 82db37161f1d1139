"""Gates: what they are taught, what they keep and add, and that every model behind them is a distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from wnn_jax import chain, ram
from wnn_jax.chain import static, tokentree
from wnn_jax.gates import attach, layers
from wnn_jax.lm import bitwise, ngram, tiered, tiered_readout
from wnn_jax.ram import bits, connectivity

V, C = 9, 2
GATE = layers.GateConfig(neurons=3, address_bits=4, leak=0.05)
KINDS = attach.RAM_KINDS


def text(length=300, seed=0):
    rng = np.random.default_rng(seed)
    follows = rng.permutation(V)
    tokens = [0]
    for _ in range(length - 1):
        tokens.append(int(follows[tokens[-1]]) if rng.random() < 0.6 else int(rng.integers(V - 2)))
    return np.array(tokens)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 0.99))
def test_a_bit_behind_a_gate_is_still_a_bit(openness, one, rest):
    gate = layers.bit(jnp.float32(openness))
    both = [jnp.exp(layers.attach(gate, jnp.log(jnp.float32(p)))) for p in (one, 1 - one)]
    assert float(both[0] + both[1]) == pytest.approx(1, abs=1e-5)
    assert float(both[0]) == pytest.approx(openness * one + (1 - openness) / 2, abs=1e-5)
    other = jnp.exp(layers.attach(layers.bit(jnp.float32(openness), rest), jnp.log(jnp.float32(one))))
    assert float(other) == pytest.approx(openness * one + (1 - openness) * rest, abs=1e-5)


def test_hard_and_soft_gates_and_thresholds():
    votes = jnp.arange(9) * ram.UNIT
    hard = layers.GateConfig(neurons=8)
    assert layers.opened(hard, votes).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    high = layers.GateConfig(neurons=8, threshold=7)
    assert layers.opened(high, votes).tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1]
    soft = layers.GateConfig(neurons=8, soft=True)
    np.testing.assert_allclose(layers.opened(soft, votes), np.arange(9) / 8)
    assert layers.opened(layers.GateConfig(neurons=1), votes[:2]).tolist() == [0, 1]


@pytest.mark.parametrize("untrained", layers.UNTRAINED)
def test_bit_gates_equal_the_oracle_in_any_order(untrained):
    """A cell says what most of its targets were; a tie is as good as no example."""
    gate = layers.GateConfig(neurons=3, address_bits=4, soft=True, untrained=untrained)
    rng = np.random.default_rng(0)
    inputs, targets = rng.random((60, 9)) < 0.5, rng.random((60, 2)) < 0.6
    asked = rng.random((30, 9)) < 0.5
    key = jax.random.key(3)
    found = []
    for order in (np.arange(60), rng.permutation(60)):
        train = ram.Examples(bits.pack(jnp.asarray(inputs[order].T)), jnp.asarray(targets[order].T))
        found.append(layers.bit_gates(key, gate, 9, train, bits.pack(jnp.asarray(asked.T))))
    np.testing.assert_array_equal(*found)
    connections = np.asarray(connectivity.random(key, 2, 3, 4, 9))
    tables = reference.fit("ternary", connections, inputs, targets)
    votes = reference.votes("ternary", tables, connections, asked, [0.5, 0.5], float(untrained == "open"))
    np.testing.assert_allclose(found[0], votes / (3 * ram.UNIT), rtol=1e-6)


@pytest.mark.parametrize("untrained", layers.UNTRAINED)
def test_token_gates_equal_the_oracle(untrained):
    """TRUE once the token came at an address, else FALSE if anything did, else as an untrained cell reads."""
    gate = layers.GateConfig(neurons=3, address_bits=4, untrained=untrained)
    tokens = text()
    order = tiered.ranked(tokens[:200], V)
    layer = layers.token_layer(jax.random.key(0), gate, layers.alone(V, C), order, tokens[:200])
    words, _ = tiered.inputs(layer.config, tokens[200 - C :])
    found = attach.by_id(tiered.votes([layer], words), V)
    train, targets = tiered.inputs(layer.config, tokens[:200])
    inputs, asked = (np.asarray(bits.unpack(x, layer.config.input_bits)).T for x in (train, words))
    for rank, token in enumerate(order):
        connections = np.asarray(layer.model.connections[0][rank])[None]
        label = np.asarray(targets == token)[:, None]
        tables = reference.fit("true_wins", connections, inputs, label)
        votes = reference.votes(
            "true_wins", tables, connections, asked, [0.5, 0.5], float(untrained == "open")
        )
        np.testing.assert_array_equal(found[token], votes[0])


def test_gates_read_the_bits_they_were_taught():
    """One bit order: where a context fixes the next token, its bits' gates say that token again."""
    tokens = np.tile(np.arange(V), 4)
    config = bitwise.BitwiseConfig(V, C, 1, 1)
    train = bitwise.examples(config, tokens)
    gate = layers.GateConfig(neurons=8, address_bits=config.input_bits)
    openness = layers.bit_gates(jax.random.key(0), gate, config.input_bits, train, train.words)
    np.testing.assert_array_equal(openness, train.targets)


def models():
    """Models fitted on a text: functions from gates' kinds to scores of all V tokens at each place."""
    tokens = text()
    train, rest = tokens[:250], tokens[250:]
    stream = np.concatenate([train[-C:], rest])

    def on_bitwise(kinds):
        config = bitwise.BitwiseConfig(V, C, 4, 5)
        connections = bitwise.init(jax.random.key(0), config)
        evaluated = bitwise.examples(config, stream)
        votes = ram.fit_and_read(
            None, config.memory, connections, bitwise.examples(config, train), evaluated.words
        )
        logs = bitwise.log_probabilities(votes, connections)
        found = {kind: [] for kind in kinds}
        for token in range(V):
            ids = np.full(len(rest), token)
            code = bits.unpack_code(jnp.asarray(ids), config.clusters)
            asked = evaluated._replace(targets=code)
            scores = attach.on_bitwise(jax.random.key(1), GATE, kinds, config, train, asked, logs, ids)
            for kind in kinds:
                found[kind].append(scores[kind])
        return found

    def on_tiered(kinds):
        config = tiered.TieredConfig(V, tiered.parse("3,4,5;rest,2,4"), C, ram.RamConfig("count"), "all")
        model = tiered.init(jax.random.key(0), config, train)
        layer = tiered.layer(jax.random.key(0), config, model, train)
        readout = tiered_readout.Readout(*(jnp.asarray([x, x]) for x in (1.1, 0.2, 1e-3, 0.4)))
        words, _ = tiered.inputs(config, stream)
        found = {kind: [] for kind in kinds}
        for token in range(V):
            ids = np.full(len(rest), token)
            scores = attach.on_tiered(jax.random.key(1), GATE, kinds, layer, readout, train, words, ids)
            for kind in kinds:
                found[kind].append(scores[kind])
        return found

    return {"bitwise": on_bitwise, "tiered": on_tiered}


@pytest.mark.parametrize("name", ["bitwise", "tiered"])
def test_gated_probabilities_sum_to_one(name):
    for scores in models()[name](KINDS).values():
        nats = np.stack([x.nats for x in scores])
        np.testing.assert_allclose(np.exp(-nats).sum(axis=0), 1, atol=1e-5)
        best = np.asarray(scores[0].best)
        np.testing.assert_allclose(nats.min(axis=0), nats[best, np.arange(len(best))], atol=1e-6)


def chain_model(train):
    pieces = [bytes([97 + i]) for i in range(V)]
    model = chain.network(tokentree.clustered(train, pieces, 4), pieces)
    memory = chain.empty_static(model, 10)
    memory = static.fit(jax.random.key(0), model, memory, train, chain.ReadoutConfig(tokens=200))
    return model, memory


def test_chain_behind_gates_is_a_distribution():
    """Turns, whole tokens and both; the turns' way of scoring is the tree's."""
    tokens = text()
    train, rest = tokens[:250], tokens[250:256]
    model, memory = chain_model(train)
    words = bitwise.examples(
        bitwise.BitwiseConfig(V, C, 1, 1), np.concatenate([train[-C:], np.resize(rest, len(rest))])
    ).words
    turns = attach.turn_gates(jax.random.key(1), GATE, model, C, train, words)
    layer = layers.token_layer(jax.random.key(2), GATE, layers.alone(V, C), tiered.ranked(train, V), train)
    votes = attach.by_id(tiered.votes([layer], words), V)
    kept = [np.asarray(x) for x in memory]

    def again():
        return chain.StaticMemory(*(jnp.asarray(x) for x in kept))

    _, whole = attach.on_chain_places(GATE, KINDS, model, again(), rest, turns, votes)
    _, reading = chain.read(model, again(), rest, learn=False)
    np.testing.assert_allclose(whole["none"].nats, chain.nats(model, reading), rtol=1e-4, atol=1e-5)
    behind = reading._replace(ones=attach.gated_turns(turns, reading.ones))
    np.testing.assert_allclose(whole["bit"].nats, chain.nats(model, behind), rtol=1e-4, atol=1e-5)
    # At the first place, all tokens that might have come.
    share = {kind: 0.0 for kind in ("none", *KINDS)}
    for token in range(V):
        one = (turns[:, :1], votes[:, :1])
        _, scores = attach.on_chain_places(GATE, KINDS, model, again(), np.array([token]), *one)
        for kind in share:
            share[kind] += float(jnp.exp(-scores[kind].nats[0]))
    assert share == pytest.approx({kind: 1.0 for kind in share}, abs=1e-4)


def test_a_turn_is_taught_only_by_paths_that_have_it():
    """A token at the end of a short path must not count as a 0 of the turns it does not have."""
    pieces = [bytes([97 + i]) for i in range(5)]  # ids 0 .. 4: id 4 is one turn, the others three
    model = chain.network(tokentree.plain(5), pieces)
    assert chain.turns(model, np.array([4, 3]))[1].tolist() == [[True, False, False], [True] * 3]
    # After 3 comes mostly 4, now and then 3: whose second and third turns are 1, each time they are passed.
    tokens = np.array([3, 4, 3, 4, 3, 4, 3, 4, 3, 3] * 20)
    words = bitwise.examples(bitwise.BitwiseConfig(5, 1, 1, 1), np.array([3, 3])).words
    gate = layers.GateConfig(neurons=2, address_bits=3)
    openness = attach.turn_gates(jax.random.key(0), gate, model, 1, tokens, words)
    assert openness[:, 0].tolist() == [1, 1, 1]


def test_no_gate_reads_its_future():
    tokens = text()
    train, rest = tokens[:250], tokens[250:]
    changed = rest.copy()
    changed[20:] = (rest[20:] + 1 + np.arange(len(rest) - 20) % (V - 1)) % V
    order = tiered.ranked(train, V)
    layer = layers.token_layer(jax.random.key(0), GATE, layers.alone(V, C), order, train)
    config = bitwise.BitwiseConfig(V, C, 1, 1)
    found = []
    for stream in (rest, changed):
        evaluated = bitwise.examples(config, np.concatenate([train[-C:], stream]))
        taught = bitwise.examples(config, train)
        openness = layers.bit_gates(jax.random.key(1), GATE, config.input_bits, taught, evaluated.words)
        found.append((openness, attach.by_id(tiered.votes([layer], evaluated.words), V)))
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one[:, :21], two[:, :21])
        assert np.any(one[:, 21:] != two[:, 21:])


def test_token_gates_must_help_where_bits_are_not_independent():
    """Planted: after A come 0b00 or 0b11, after B 0b01 or 0b10. Bit by bit all four are alike."""
    rng = np.random.default_rng(0)
    which = rng.random(4000) < 0.5
    pairs = np.where(which, rng.choice([0, 3], 4000), rng.choice([1, 2], 4000))
    tokens = np.stack([4 + which, pairs], axis=1).reshape(-1)  # 4 or 5, and what follows it
    train, rest = tokens[:6000], tokens[6000:]
    config = bitwise.BitwiseConfig(6, 1, 4, 3)
    connections = bitwise.init(jax.random.key(0), config)
    evaluated = bitwise.examples(config, rest)
    votes = ram.fit_and_read(
        None, config.memory, connections, bitwise.examples(config, train), evaluated.words
    )
    logs = bitwise.log_probabilities(votes, connections)
    after = rest[:-1] > 3
    without = np.asarray(bitwise.score(config, *logs, evaluated.targets).nats)[after].mean()
    gate = layers.GateConfig(neurons=4, address_bits=3, leak=0.01)
    scores = attach.on_bitwise(jax.random.key(1), gate, ["token"], config, train, evaluated, logs, rest[1:])
    within = np.asarray(scores["token"].nats)[after].mean()
    assert without > np.log(4) - 0.05
    assert within < np.log(2) + 0.1


def test_bit_gates_must_help_where_empty_cells_are_sure_of_zero():
    """Planted: ternary neurons read an EMPTY cell as a sure 0; a gate that was not taught there is closed."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(256, size=3000)
    config = bitwise.BitwiseConfig(256, 2, 4, 12, memory=ram.RamConfig("ternary"))
    connections = bitwise.init(jax.random.key(0), config)
    train, rest = tokens[:2000], tokens[2000:]
    evaluated = bitwise.examples(config, rest)
    votes = ram.fit_and_read(
        None, config.memory, connections, bitwise.examples(config, train), evaluated.words
    )
    logs = bitwise.log_probabilities(votes, connections)
    without = bitwise.score(config, *logs, evaluated.targets).nats.mean()
    gate = layers.GateConfig(neurons=4, address_bits=12, soft=True)
    scores = attach.on_bitwise(jax.random.key(1), gate, ["bit"], config, train, evaluated, logs, rest[2:])
    uniform = ngram.uniform(256, rest).nats.mean()
    assert without > uniform + 2
    assert scores["bit"].nats.mean() < without - 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"neurons": 0}, "1 to 2047 neurons, got 0"),
        ({"address_bits": 25}, "1 to 24 bits, got 25"),
        ({"threshold": 9}, "threshold must be 1 to 8 neurons, got 9"),
        ({"untrained": "ajar"}, "unknown untrained 'ajar'"),
        ({"leak": 0.0}, r"leak must be in \(0, 1\], got 0.0"),
    ],
)
def test_configs_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        layers.GateConfig(**arguments)
