"""The tiered model equals an oracle that writes one example after another by the rules of the predecessor."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from wnn_jax import ram
from wnn_jax.lm import bitwise, ngram, tiered, tiered_layer, tiered_readout
from wnn_jax.ram import bits

V, C = 24, 2
TIERS = tiered.parse("12,3,4;rest,3,3")
TRAIN, SCORED = 350, 50  # the same in all tests, so that compiled code is reused


@pytest.fixture(autouse=True)
def nine_clusters_a_chunk(monkeypatch):
    monkeypatch.setattr(tiered_layer, "VOTES", 9 * SCORED)


def config_for(**changes):
    published = tiered.VARIANTS["published"]._asdict()
    sizes = {"tiers": TIERS, "context": C, "top": 4, "draws": 3}
    return tiered.TieredConfig(V, **{**published, **sizes, **changes})


def stream(length=TRAIN + SCORED, seed=0, types=17):
    """Draw tokens whose last ones decide the next; some ids are rare and some never come."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, types + 1)
    follows = rng.integers(types, size=types)
    tokens = [0]
    for drawn in rng.choice(types, size=length - 1, p=share / share.sum()):
        tokens.append(int(follows[tokens[-1]]) if rng.random() < 0.5 else int(drawn))
    return rng.permutation(V)[np.array(tokens)]


def oracle(config, wiring, tokens, words, wrong):
    """Return votes ``[V, N]`` by id; TRUE goes into the target's cluster first, then FALSE into EMPTY cells.

    ``wrong[i]`` are the ids that are negatives of example i. Other cells get the same examples in order.
    """
    train, targets = tiered_layer.inputs(config, tokens)
    inputs, asked = (np.asarray(bits.unpack(x, config.input_bits)).T for x in (train, words))
    found = np.zeros((V, len(asked)), np.int64)
    memory = config.memory
    for t, (begin, end) in enumerate(zip(config.borders[:-1], config.borders[1:], strict=True)):
        for rank in range(begin, end):
            token = wiring.order[rank]
            own = [i for i in range(len(inputs)) if targets[i] == token or token in wrong[i]]
            label = np.array([[targets[i] == token] for i in own]).reshape(-1, 1)
            connections = np.asarray(wiring.connections[t][rank - begin])[None]
            if memory.cells == "true_wins":
                tables = [[{} for _ in connections[0]]]
                for true in (True, False):
                    for i, is_target in zip(own, label[:, 0], strict=True):
                        for j, neuron in enumerate(connections[0]):
                            table, place = tables[0][j], reference.address(inputs[i], neuron)
                            if true and is_target:
                                table[place] = 2
                            elif not true and not is_target and place not in table:
                                table[place] = 1
            else:
                tables = reference.fit(memory.cells, connections, inputs[own], label)
            prior = label.mean(dtype=np.float32) if len(own) else np.float32(0.5)
            found[token] = reference.votes(
                memory.cells, tables, connections, asked, [prior], memory.empty_value
            )
    return found


def negatives_of(key, config, wiring, tokens):
    targets = np.asarray(tokens[C:])
    everyone = {
        "top": set(wiring.order[: config.top].tolist()),
        "all": set(range(V)),
        "none": set(),
    }
    if config.negatives in everyone:
        return [everyone[config.negatives] - {t} for t in targets]
    drawn = np.asarray(tiered_layer.draw_negatives(key, config, len(targets)))
    return [set(wiring.order[ranks].tolist()) - {t} for ranks, t in zip(drawn, targets, strict=True)]


def votes(key, config, wiring, tokens, words):
    layer = tiered_layer.one_hot_layer(key, config, wiring, tokens)
    return [chunk for (chunk,) in tiered_layer.votes([layer], words)]


def by_id(chunks):
    found = {}
    for chunk in chunks:
        for k, token in enumerate(np.asarray(chunk.ids).tolist()):
            if token >= 0:
                assert token not in found, "every id once"
                found[token] = np.asarray(chunk.votes[min(k, len(chunk.votes) - 1)])
    return np.stack([found[token] for token in range(V)])


@pytest.mark.parametrize(
    ("cells", "empty_value", "negatives"),
    [
        ("true_wins", 0.5, "drawn"),
        ("count", 0.0, "all"),
        *(pytest.param("true_wins", 0.0, x, marks=pytest.mark.long) for x in tiered.NEGATIVES),
        *(pytest.param("true_wins", 0.5, x, marks=pytest.mark.long) for x in ("top", "all")),
        *(pytest.param("ternary", 0.5, x, marks=pytest.mark.long) for x in ("top", "all")),
        *(pytest.param("quad_weighted", 0.0, x, marks=pytest.mark.long) for x in ("drawn", "all")),
        *(pytest.param("count", 0.0, x, marks=pytest.mark.long) for x in ("drawn", "none")),
    ],
)
def test_every_training_rule_equals_the_oracle(negatives, cells, empty_value):
    config = config_for(negatives=negatives, memory=ram.RamConfig(cells, empty_value))
    wiring, train, rest = fitted(config)
    words, _ = tiered_layer.inputs(config, rest)
    key = jax.random.key(1)
    found = by_id(votes(key, config, wiring, train, words))
    wrong = negatives_of(key, config, wiring, train)
    np.testing.assert_array_equal(found, oracle(config, wiring, train, words, wrong))


def test_the_order_of_the_text_does_not_matter_to_true_wins():
    """Two texts have the same windows, because they are one cycle with two starts."""
    config = config_for()
    cycle = np.tile(stream((TRAIN - C) // 6), 7)
    one, two = cycle[:TRAIN], cycle[7 : TRAIN + 7]
    wiring = tiered_layer.init(jax.random.key(0), config, one)
    words, _ = tiered_layer.inputs(config, stream(SCORED + C, seed=3))
    first, second = (by_id(votes(jax.random.key(0), config, wiring, x, words)) for x in (one, two))
    np.testing.assert_array_equal(first, second)


def test_ranks_and_tiers():
    config = config_for()
    tokens = stream()
    wiring = tiered_layer.init(jax.random.key(0), config, tokens)
    counts = Counter(tokens.tolist())
    assert wiring.order.tolist() == sorted(range(V), key=lambda t: (-counts[t], t))
    assert [x.shape for x in wiring.connections] == [(12, 3, 4), (12, 3, 3)]
    three = config_for(tiers=tiered.parse("3,4,5;4,3,4;rest,2,3"))
    tier = tiered_layer.tier_of(three, wiring.order, wiring.order)
    assert tier.tolist() == [0] * 3 + [1] * 4 + [2] * 17
    for config in (tiered.TieredConfig(50257, tiered.parse("five")), tiered.TieredConfig(50257)):
        assert config.borders == (0, 50, 100, 500, 20500, 50257)
    assert tiered.TieredConfig(256).tiers == tiered.parse("two")


def fitted(config, tokens=None, cut=TRAIN):
    tokens = stream() if tokens is None else tokens
    wiring = tiered_layer.init(jax.random.key(0), config, tokens[:cut])
    return wiring, tokens[:cut], tokens[cut - C :]


def read(config, readout, wiring, train, words, targets):
    chunks = votes(jax.random.key(1), config, wiring, train, words)
    return tiered_readout.score(config, readout, chunks, jnp.asarray(targets, jnp.int32))


READOUT = tiered_readout.Readout(*(jnp.asarray(x) for x in ([0.7, 1.2], [1.0, -1], [1e-3, 0.1], [0.5, 0.2])))


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("cells", ["true_wins", "count"])
def test_probabilities_sum_to_one(cells, calibrated):
    config = config_for(memory=ram.RamConfig(cells), negatives="all")
    readout = READOUT if calibrated else None
    wiring, train, rest = fitted(config)
    words, _ = tiered_layer.inputs(config, rest)
    chunks = votes(jax.random.key(1), config, wiring, train, words)
    scores = [
        tiered_readout.score(config, readout, chunks, jnp.full(SCORED, token, jnp.int32))
        for token in range(V)
    ]
    nats = np.stack([x.nats for x in scores])
    np.testing.assert_allclose(np.exp(-nats).sum(axis=0), 1, atol=1e-5)
    best = scores[0].best
    np.testing.assert_allclose(nats.min(axis=0), nats[best, np.arange(len(best))], rtol=1e-6)


def test_no_prediction_reads_its_future():
    config = config_for(memory=ram.RamConfig("count"), negatives="all")
    wiring, train, rest = fitted(config)
    changed = rest.copy()
    changed[25:] = (rest[25:] + 1 + np.arange(len(rest) - 25) % (V - 1)) % V
    one, two = (
        read(config, None, wiring, train, *tiered_layer.inputs(config, x)).nats for x in (rest, changed)
    )
    # Place i predicts token i + C.
    np.testing.assert_allclose(one[: 25 - C], two[: 25 - C], rtol=1e-6)
    assert np.any(one[25 - C :] != two[25 - C :])


def test_the_published_score_cannot_leave_its_band():
    """The best tables have one full cluster and V - 1 empty ones, and the worst the reverse."""
    config = config_for(memory=ram.RamConfig("true_wins"))
    wiring, train, _ = fitted(config)
    words, targets = tiered_layer.inputs(config, train[: SCORED + C])  # even on training text
    nats = np.asarray(read(config, None, wiring, train, words, targets).nats)
    low, high = tiered_readout.published_band(V)
    assert (low, high) == pytest.approx((np.log(1 + (V - 1) / np.e), np.log(V)))
    assert nats.min() >= low - 1e-5
    assert nats.max() <= np.log(1 + (V - 1) * np.e) + 1e-5


@pytest.mark.long
def test_a_calibrated_count_model_leaves_it_and_beats_the_unigram():
    config = config_for(memory=ram.RamConfig("count"), negatives="all", tiers=tiered.parse("6,6,8;rest,4,6"))
    tokens = stream(6000)
    wiring, train, rest = fitted(config, tokens, 5000)
    words, targets = tiered_layer.inputs(config, rest)
    readout = tiered_readout.calibrate(jax.random.key(2), config, train)
    nats = read(config, readout, wiring, train, words, targets).nats
    raw = read(config, None, wiring, train, words, targets).nats
    counts = np.bincount(train, minlength=V) + 0.1
    unigram = -np.log(counts / counts.sum())[targets].mean()
    assert raw.mean() > np.log(1 + (V - 1) / np.e)
    assert nats.mean() < unigram - 0.2


def test_the_readout_is_learnt_from_its_text_alone():
    """The same text gives the same readout; the end of the text is held out, so that the end matters."""
    config = config_for(memory=ram.RamConfig("count"), negatives="all")
    tokens, share = stream(), SCORED / (TRAIN + SCORED)
    one, two = (tiered_readout.calibrate(jax.random.key(0), config, tokens, share) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, one, two)
    tokens[-30:] = tokens[-60:-30]
    other = tiered_readout.calibrate(jax.random.key(0), config, tokens, share)
    assert any(np.any(np.asarray(a) != np.asarray(b)) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"negatives": "some"}, "unknown negatives 'some'"),
        ({"top": 0}, "top=0 is out of range: give a whole number of at least 1"),
        ({"tiers": tiered.parse("3,4,5;4,3,4")}, "the tiers hold 7 tokens of 24"),
        ({"tiers": tiered.parse("rest,4,5;4,3,4")}, "let the last tier, and no other, take the rest"),
        ({"tiers": tiered.parse("24,4,5;rest,4,5")}, "the tiers need at least 25 tokens, but there are 24"),
        ({"tiers": tiered.parse("rest,4,11")}, "address_bits=11 are more than the 10 input bits"),
        ({"tiers": tiered.parse("rest,0,5")}, r"neurons of tiers\[0\]=0 is out of range"),
        ({"memory": ram.RamConfig("count", sample_rate=0.5)}, "sample_rate must be 1, got 0.5"),
    ],
)
def test_configs_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        config_for(**arguments)


@pytest.mark.parametrize("text", ["", "four", "5,4", "5,4,x", "-1,4,4", "rest,4,4,4"])
def test_a_bad_tier_is_named(text):
    with pytest.raises(ValueError, match="a tier is COUNT,NEURONS,BITS or rest,NEURONS,BITS"):
        tiered.parse(text)


def test_a_bitwise_model_of_the_same_context_sees_the_same_bits():
    config = config_for()
    tokens = stream(SCORED + C)
    words, targets = tiered_layer.inputs(config, tokens)
    same = bitwise.examples(bitwise.BitwiseConfig(V, C, 1, 1), tokens)
    np.testing.assert_array_equal(words, same.words)
    np.testing.assert_array_equal(targets, tokens[C:])


def test_a_model_in_four_lines_is_its_pieces():
    """`fit` and `score` equal their parts called one by one, and a saved readout is used for the score."""
    config = config_for(memory=ram.RamConfig("count"), negatives="all")
    tokens = stream()
    model = tiered.fit(jax.random.key(0), config, tokens[:TRAIN])
    steps = []
    scores = tiered.score(model, tokens[TRAIN:], on_step=lambda *step: steps.append(step))
    keys = tiered.split(jax.random.key(0))
    wiring = tiered_layer.init(keys.wiring, config, tokens[:TRAIN])
    words, targets = tiered_layer.inputs(config, tokens[TRAIN - C :])
    chunks = votes(keys.negatives, config, wiring, tokens[:TRAIN], words)
    same = tiered_readout.score(config, None, chunks, targets)
    jax.tree.map(np.testing.assert_array_equal, scores, same)
    assert [step[1:] for step in steps] == sorted({step[1:] for step in steps})
    assert steps[-1] == ("fit and read", V, V)
    calibrated = config_for(memory=ram.RamConfig("count"), negatives="all", calibrated=True)
    early = tiered.fit(jax.random.key(0), calibrated, tokens[:TRAIN], READOUT)
    nats = tiered.score(early, tokens[TRAIN:]).nats
    np.testing.assert_array_equal(nats, tiered_readout.score(config, READOUT, chunks, targets).nats)


def test_scores_by_tier():
    config = config_for()
    tier, tokens = np.array([0, 0, 0, 0]), np.array([1, 2, 3, 4])
    scores = ngram.Prediction(np.array([1.0, 2, 3, 4]), np.array([1, 2, 3, 0]))
    first, second = tiered.by_tier(config, tier, scores, tokens)
    assert first == (2.5, 0.75)
    assert second == (None, None)
    wiring = tiered_layer.init(jax.random.key(0), config, stream())
    assert tiered_layer.tier_of(config, wiring.order, wiring.order[[0, 11, 12]]).tolist() == [0, 0, 1]


def test_a_table_by_tier():
    config, tokens = config_for(), stream()
    train, scored = tokens[:TRAIN], tokens[TRAIN:]
    right = ngram.Prediction(np.ones(SCORED), scored)
    table = tiered.tier_table(config, train, scored, {"right": right})
    assert table.ranks == [(1, 12), (13, V)]
    common = [token for token, _ in Counter(train.tolist()).most_common(12)]
    assert table.train_share[0] == pytest.approx(np.isin(train, common).mean())
    assert sum(table.train_share) == pytest.approx(1)
    assert sum(table.share) == pytest.approx(1)
    known = [one == (1.0, 1.0) for one, share in zip(table.rows["right"], table.share, strict=True) if share]
    assert all(known)


def test_clamped_scores_are_at_most_a_uniform_guess():
    high = tiered_readout.published_band(V)[1]
    assert tiered_readout.clamped_nats(np.array([1.0, 2 * high]), V) == pytest.approx((1 + high) / 2)
