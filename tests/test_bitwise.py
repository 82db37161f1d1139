"""The bitwise language model: exact scores, no reading of the future, the numbers of a fitted model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from wnn_jax import ram
from wnn_jax.lm import bitwise
from wnn_jax.ram import bits

# All tests use these sizes, so that scoring is compiled for them only.
VOCABULARIES = (2, 3, 5, 8, 11, 37, 50, 63, 64, 70)
COLUMNS = 72
score = jax.jit(bitwise.score, static_argnums=0)
log_clamped = jax.jit(bitwise.log_clamped)
log_probabilities = jax.jit(bitwise.log_probabilities)
init = jax.jit(bitwise.init, static_argnums=1)
fit_and_read = jax.jit(ram.fit_and_read, static_argnums=1)


@functools.partial(jax.jit, static_argnums=0)
def code_bits(config, ids):
    return bits.unpack_code(bitwise.encode(config, ids), config.clusters)


def config_for(vocabulary, code="binary", **sizes):
    return bitwise.BitwiseConfig(
        vocabulary, **{"context": 2, "neurons": 4, "address_bits": 1, "code": code, **sizes}
    )


def codes_of(config):
    ids = np.arange(max(config.vocabulary, COLUMNS))
    return np.asarray(code_bits(config, ids)).T[: config.vocabulary]


def random_logs(config, count, seed):
    """Draw log-probabilities as a layer gives them, from certain to undecided."""
    rng = np.random.default_rng(seed)
    one = rng.beta(0.3, 0.3, (config.clusters, count)).astype(np.float32)
    one[rng.random(one.shape) < 0.1] = 0.5
    one[rng.random(one.shape) < 0.05] = rng.integers(2)
    return log_clamped(one, np.float32(1) - one)


def check_against_all_ids(config, log_one, log_zero, tokens):
    targets = code_bits(config, tokens)
    scores = score(config, log_one, log_zero, targets)
    nats, best = reference.brute_force(log_one, log_zero, codes_of(config))
    place = np.arange(len(tokens))
    np.testing.assert_allclose(scores.nats, nats[tokens, place], rtol=1e-6, atol=1e-5)
    # The guess must score as well as the best id; it may be another id if rounding hides the difference.
    guess = np.asarray(scores.best)
    assert guess.min() >= 0
    assert guess.max() < config.vocabulary
    np.testing.assert_allclose(nats[guess, place], nats[best, place], rtol=1e-6, atol=1e-5)
    return np.mean(guess == best)


@pytest.mark.parametrize("code", bitwise.CODES)
def test_closed_form_equals_all_50257_ids(code):
    config = config_for(50257, code)
    tokens = np.random.default_rng(0).integers(50257, size=400)
    log_one, log_zero = random_logs(config, 400, seed=1)
    assert check_against_all_ids(config, log_one, log_zero, tokens) > 0.95


@given(st.sampled_from(VOCABULARIES), st.sampled_from(bitwise.CODES), st.integers(0, 1000))
def test_closed_form_equals_brute_force_for_any_vocabulary(vocabulary, code, seed):
    config = config_for(vocabulary, code)
    tokens = np.random.default_rng(seed).integers(vocabulary, size=COLUMNS)
    log_one, log_zero = random_logs(config, COLUMNS, seed)
    check_against_all_ids(config, log_one, log_zero, tokens)


@pytest.mark.parametrize("code", bitwise.CODES)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_probabilities_sum_to_one(vocabulary, code):
    config = config_for(vocabulary, code)
    log_one, log_zero = random_logs(config, 1, seed=vocabulary)
    every = np.pad(codes_of(config).T, [(0, 0), (0, COLUMNS - vocabulary)])
    wide = [np.broadcast_to(x, every.shape) for x in (log_one, log_zero)]
    nats = np.asarray(score(config, *wide, every).nats)[:vocabulary]
    assert np.exp(-nats).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("code", bitwise.CODES)
def test_ties_go_to_the_lowest_id(code):
    config = config_for(11, code)
    even = np.full((4, COLUMNS), np.log(np.float32(0.5)))
    scores = score(config, even, even, np.zeros((4, COLUMNS), bool))
    assert scores.best.tolist() == [0] * COLUMNS
    assert np.exp(-scores.nats) == pytest.approx(1 / 11)


def test_the_clamp_is_the_same_on_both_sides():
    one = jnp.asarray([[0.0, 1e-9, 0.25, 1.0]])
    log_one, log_zero = bitwise.log_clamped(one, 1 - one)
    floor, ceiling = np.log(1e-7), np.log1p(-1e-7)
    np.testing.assert_allclose(log_one[0], [floor, floor, np.log(0.25), ceiling], rtol=1e-6)
    np.testing.assert_allclose(log_zero[0], [ceiling, ceiling, np.log(0.75), floor], rtol=1e-6)


@pytest.mark.parametrize("cells", ram.CELLS)
def test_no_prediction_reads_its_future(cells):
    """Changing tokens from position i on leaves every prediction up to position i as it was."""
    config = config_for(50, context=3, address_bits=6, memory=ram.RamConfig(cells))
    rng = np.random.default_rng(0)
    train, tokens = rng.integers(50, size=300), rng.integers(50, size=40)
    changed = tokens.copy()
    changed[25:] = (tokens[25:] + 1 + rng.integers(48, size=15)) % 50
    connections = init(jax.random.key(0), config)
    taught = bitwise.examples(config, train)
    votes = [
        fit_and_read(None, config.memory, connections, taught, bitwise.examples(config, stream).words)
        for stream in (tokens, changed)
    ]
    # Example i predicts token i + 3 from tokens i .. i + 2.
    np.testing.assert_array_equal(votes[0][:, :23], votes[1][:, :23])
    assert np.any(votes[0][:, 23:] != votes[1][:, 23:]), "the context must matter at all"


def test_a_rule_of_the_text_is_learnt():
    """The last token of this stream decides the next one; count cells that read the token learn the rule."""
    rng = np.random.default_rng(0)
    follows = rng.permutation(37)
    tokens = [0]
    for _ in range(3000):
        tokens.append(int(follows[tokens[-1]]) if rng.random() < 0.9 else int(rng.integers(37)))
    config = config_for(37, context=1, neurons=2, address_bits=6)
    data = bitwise.examples(config, np.array(tokens))
    connections = init(jax.random.key(0), config)
    train = jax.tree.map(lambda x: x[:, :2500], data)
    votes = fit_and_read(None, config.memory, connections, train, data.words[:, 2500:])
    scores = score(config, *log_probabilities(votes, connections), data.targets[:, 2500:])
    assert np.mean(np.asarray(scores.best) == tokens[2501:]) > 0.8
    assert float(scores.nats.mean()) < 0.5 * np.log(37)


def test_tokens_are_checked():
    config = config_for(50)
    with pytest.raises(ValueError, match=r"token 50 at position 2 is outside .* 50 ids \(1 such"):
        bitwise.examples(config, np.array([1, 2, 50, 3]))
    with pytest.raises(ValueError, match=r"token -1 at position 0"):
        bitwise.examples(config, np.array([-1, 2, 5, 3]))
    with pytest.raises(ValueError, match="context of 2 needs more than 2 tokens, got 2"):
        bitwise.examples(config, np.array([1, 2]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"context": 0}, "context=0 is out of range: give a whole number of at least 1"),
        ({"neurons": 0}, "neurons=0 is out of range: give a whole number of at least 1 and at most 2047"),
        (
            {"address_bits": 13},
            "address_bits=13 are more than the 12 input bits of 2 tokens of 6 bits: set a number up to 12",
        ),
        (
            {"context": 16, "address_bits": 25},
            "address_bits=25 is out of range: give a whole number of at least 1 and at most 24",
        ),
        ({"code": "roman"}, "unknown code 'roman'"),
    ],
)
def test_configs_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        config_for(50, **arguments)
