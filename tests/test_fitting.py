"""A bitwise model fitted to a text: its functions agree, and a new length of text compiles nothing."""

import jax
import numpy as np
import pytest

import wnn_jax as wnn
from wnn_jax import lm, ram
from wnn_jax.lm import bitwise, fitting

KEY = jax.random.key(0)
CONFIG = lm.BitwiseConfig(9, context=2, neurons=4, address_bits=5)


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(0).integers(0, 9, 400).cumsum() % 9


@pytest.fixture(scope="module")
def model(tokens):
    return lm.fit(KEY, CONFIG, tokens[:300])


def test_the_face_says_what_the_pieces_say(tokens, model):
    found = lm.score(model, tokens[:300], tokens[300:])
    evaluated = fitting.following(CONFIG, tokens[:300], tokens[300:])
    logs = bitwise.log_probabilities(fitting.read(model, evaluated.words), model.connections)
    plain = bitwise.score(CONFIG, *logs, evaluated.targets)
    np.testing.assert_allclose(found.nats, plain.nats, rtol=1e-6)
    np.testing.assert_array_equal(found.best, plain.best)


def test_a_table_that_is_kept_votes_as_one_that_is_dropped(tokens):
    connections, words = (
        bitwise.init(KEY, CONFIG),
        fitting.following(CONFIG, tokens[:300], tokens[300:]).words,
    )
    done = []
    dropped = fitting.votes(KEY, CONFIG, connections, tokens[:300], words, done.append)
    assert done == [1, 2, 3, 4]
    kept = lm.fit(KEY, CONFIG, tokens[:300], connections)
    np.testing.assert_array_equal(fitting.read(kept, words), dropped)
    full = float(bitwise.cross_entropy(CONFIG, connections, dropped, words_targets(tokens)).mean())
    evaluated = fitting.following(CONFIG, tokens[:300], tokens[300:])
    assert fitting.learning_curve(KEY, CONFIG, connections, tokens[:300], evaluated, [300]) == [full]


def words_targets(tokens):
    return fitting.following(CONFIG, tokens[:300], tokens[300:]).targets


def test_a_token_scores_alike_whatever_follows_it(tokens, model):
    """Neither padding nor later tokens change a score, and a new length compiles nothing."""
    whole = lm.score(model, tokens[:300], tokens[300:360])
    compiled = fitting._score._cache_size()
    for count in (1, 17, 59):
        part = lm.score(model, tokens[:300], tokens[300 : 300 + count])
        np.testing.assert_array_equal(part.nats, whole.nats[:count])
        np.testing.assert_array_equal(part.best, whole.best[:count])
    assert fitting._score._cache_size() == compiled


def test_bits_of_ones_own_add_and_are_padded():
    """fit(a ++ b) equals learn(fit(a), b), and a prediction does not depend on the other examples asked."""
    rng = np.random.default_rng(0)
    X, Y = rng.random((150, 10)) < 0.5, rng.random((150, 3)) < 0.5
    config = ram.LayerConfig(
        neurons=3, address_bits=4, memory=ram.RamConfig("quad_weighted", sample_rate=0.5)
    )
    both, first = ram.fit(KEY, config, X, Y), ram.fit(KEY, config, X[:90], Y[:90])
    before = np.array(first.table.cells)
    jax.tree.map(np.testing.assert_array_equal, ram.learn(first, X[90:], Y[90:]).table, both.table)
    np.testing.assert_array_equal(first.table.cells, before)
    whole = ram.predict(both, X)
    assert whole.dtype == np.float32
    for rows in (slice(0, 1), slice(3, 70), slice(0, 0)):
        np.testing.assert_array_equal(ram.predict(both, X[rows].astype(int)), whole[rows])
    assert [ram.padded_length(n) for n in (0, 1, 64, 65, 100, 1000, 5000)] == [0, 64, 64, 72, 104, 1024, 5120]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda layer: ram.predict(layer, [[0, 1, 2, 0]]), r"row 0, column 2 is 2 \(1 such entries\)"),
        (lambda layer: ram.predict(layer, [0, 1]), r"rows of bits, \[N, bits\], got shape \(2,\)"),
        (lambda layer: ram.predict(layer, np.zeros((2, 1))), "reads input bits up to 3, but X has only 1"),
        (lambda layer: ram.fit(KEY, ram.LayerConfig(), np.zeros((2, 4)), np.zeros(3)), "got 2 and 3"),
        (lambda layer: ram.fit(KEY, ram.LayerConfig(), np.zeros((2, 4)), np.zeros(2)), "got 12"),
        (lambda layer: ram.learn(layer, np.zeros((2, 4)), np.zeros((2, 2))), "has 1 clusters, but Y has 2"),
        (lambda layer: ram.fit(KEY, ram.LayerConfig(), np.zeros((2, 4)), np.zeros(2), [[[7]]]), "at most 3"),
    ],
)
def test_what_is_no_bit_is_refused(call, message):
    layer = ram.fit(KEY, ram.LayerConfig(neurons=1, address_bits=4), np.eye(4), np.arange(4) % 2)
    with pytest.raises(ValueError, match=message):
        call(layer)


def test_a_saved_layer_predicts_and_learns_on_as_before(tmp_path):
    rng = np.random.default_rng(0)
    X, Y = rng.random((80, 12)) < 0.5, rng.random((80, 2)) < 0.5
    config = wnn.LayerConfig(neurons=3, address_bits=4, memory=wnn.RamConfig("count", sample_rate=0.5))
    layer = wnn.fit(jax.random.key(1), config, X[:50], Y[:50])
    wnn.saving.layers.save(tmp_path, layer, {"accuracy": 0.5})
    again = wnn.saving.layers.load(tmp_path)
    assert again.config == layer.config
    for one, other in ((layer, again), (wnn.learn(layer, X[50:], Y[50:]), wnn.learn(again, X[50:], Y[50:]))):
        np.testing.assert_array_equal(wnn.predict(one, X), wnn.predict(other, X))


def test_a_checkpoint_of_something_else_is_no_layer(tmp_path):
    wnn.saving.checkpoint.save(tmp_path, np.zeros((1, 2, 3), np.int32), {}, {})
    with pytest.raises(ValueError, match=r"holds no layer: give a folder that saving\.layers\.save wrote"):
        wnn.saving.layers.load(tmp_path)
