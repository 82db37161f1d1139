"""Training on scored places alone, the choice of a rate, and the score of every place."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wnn_jax import answering, vocab
from wnn_jax.data import tasks
from wnn_jax.vocab import fading, mixing
from wnn_jax.vocab import model as vocab_model

V = 6


def successor(ids):
    return (ids * 5 + 1) % V


def examples(seed, count=40, length=9):
    """Return sequences whose token after an even id is its successor, where alone they are scored."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, V, (count, length))
    for place in range(1, length):
        before = tokens[:, place - 1]
        tokens[:, place] = np.where(before % 2 == 0, successor(before), tokens[:, place])
    scored = np.zeros(tokens.shape, bool)
    scored[:, 1:] = tokens[:, :-1] % 2 == 0
    distance = jnp.asarray(scored, jnp.int32)
    answer = jnp.where(scored, tokens, 0)
    return tasks.Examples(jnp.asarray(tokens, jnp.int32), distance, answer, jnp.ones(tokens.shape))


TABLE = answering.Predictor(lambda key: jnp.zeros((V, V)), lambda table, ids: table[ids])


def test_a_table_learns_the_scored_places_and_no_others():
    train, test = examples(0), examples(1)
    config = answering.AnswerConfig(steps=200, batch=8, rates=(1e-6, 0.3))
    calls = []
    made = answering.fit(jax.random.key(0), TABLE, train, examples(2), config, lambda *x: calls.append(x))
    assert made.rate == 0.3
    assert made.held_out[0.3] < made.held_out[1e-6] == pytest.approx(np.log(V), abs=1e-3)
    assert calls[-1] == ("training", 200, 200)
    assert ("rate 1e-06", 20, 20) in calls
    nats, best = answering.score(TABLE, made.params, test)
    scored = np.asarray(test.distance)[:, 1:] > 0
    assert (best == np.asarray(test.tokens)[:, 1:])[scored].all()
    assert nats[scored].mean() < 0.1
    assert (np.asarray(made.params)[1::2] == 0).all()  # odd ids are never before a scored place
    again = answering.fit(jax.random.key(0), TABLE, train, test, config)
    assert (np.asarray(again.params) == np.asarray(made.params)).all()


def test_one_rate_needs_no_choice():
    config = answering.AnswerConfig(steps=3, batch=4, rates=(0.1,))
    made = answering.fit(jax.random.key(0), TABLE, examples(0), examples(1), config)
    assert (made.rate, made.held_out, made.trained.done) == (0.1, {}, 3)


@pytest.mark.parametrize("count", [1, 32, 33])
def test_scores_are_those_of_the_logits_however_many_sequences(count):
    table = jax.random.normal(jax.random.key(0), (V, V)).at[2].set(0.0)
    test = examples(3, count)
    nats, best = answering.score(TABLE, table, test)
    tokens = np.asarray(test.tokens)
    log = np.asarray(jax.nn.log_softmax(table))
    np.testing.assert_allclose(nats, -log[tokens[:, :-1], tokens[:, 1:]], rtol=1e-5)
    assert (best == np.asarray(table).argmax(1)[tokens[:, :-1]]).all()
    assert (best[tokens[:, :-1] == 2] == 0).all()  # the lowest id on a tie


def test_sequences_weigh_the_same():
    weights = answering.weights(examples(4))
    sums = weights.sum(1)
    assert set(np.round(sums, 5)) <= {0.0, 1.0}
    assert weights.dtype == np.float32
    none = examples(4)._replace(distance=jnp.zeros((40, 9), jnp.int32))
    assert (answering.weights(none) == 0).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rates": ()}, "no rate"),
        ({"rates": (0.0,)}, "rates"),
        ({"steps": 1}, "steps"),
        ({"choice": 0.0}, "choice"),
    ],
)
def test_bad_settings_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        answering.AnswerConfig(**fields)


def test_too_few_sequences_are_refused():
    config = answering.AnswerConfig(batch=64)
    with pytest.raises(ValueError, match="takes 64 sequences and there are 40"):
        answering.fit(jax.random.key(0), TABLE, examples(0), examples(1), config)


@pytest.mark.parametrize("parameters", [4_000, 12_400, 50_000])
def test_models_of_any_depth_have_the_parameters_asked_for(parameters):
    shape = answering.sized_transformer(32, 96, parameters)
    size = answering.count_parameters(answering.of_transformer(shape))
    assert abs(size - parameters) <= parameters / 20
    for hops in (1, 2, 4):
        for name in ("v8_graph", "v9_linattn"):
            made = vocab.sized_variant(name, 32, hops, parameters)
            assert made.config.steps == hops
            assert made.config.drop_input
            assert abs(vocab.count_parameters(made.config) - parameters) <= parameters / 20


def test_sizes_that_no_model_has_are_refused():
    with pytest.raises(ValueError, match="no single size"):
        vocab.sized_variant("v2_conv", 32, 2, 10_000)
    with pytest.raises(ValueError, match="where 2000 are"):
        vocab.sized_variant("v9_meta", 32, 8, 2_000)
    with pytest.raises(ValueError, match="about 10 parameters"):
        answering.sized_transformer(32, 96, 10)


@pytest.mark.parametrize("length", [1, 31, 65, 100])
def test_chunks_recall_what_the_whole_matrix_recalls(length):
    keys = jax.random.split(jax.random.key(length), 3)
    query, key, value = (jax.random.normal(k, (2, length, 3, 4)) for k in keys)
    rates = jnp.array([-3.0, 0.5, 6.0])

    def whole(rates, value):
        return mixing.recall(query, key, value, mixing.decay_weights(rates[:, None, None], length, False))

    def chunks(rates, value):
        return fading.recall_in_chunks(query, key, value, rates)

    np.testing.assert_allclose(chunks(rates, value), whole(rates, value), atol=2e-4)
    weight = jax.random.normal(keys[0], value.shape)
    slopes = [jax.grad(lambda *x, f=f: (f(*x) * weight).sum(), (0, 1))(rates, value) for f in (whole, chunks)]
    for one, other in zip(*slopes, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("name", ["v8_graph", "v9_meta"])
def test_a_long_window_reads_the_past_alone(name):
    config = vocab.sized_variant(name, 32, 2, 4_000).config
    params = vocab_model.init(jax.random.key(0), config)
    logits = jax.jit(functools.partial(vocab_model.logits, config))
    ids = jax.random.randint(jax.random.key(1), (2, 3 * fading.CHUNK), 0, 32)
    changed = ids.at[:, 70:].set((ids[:, 70:] + 1) % 32)
    one, other = logits(params, ids), logits(params, changed)
    np.testing.assert_allclose(one[:, :70], other[:, :70], atol=1e-4)
    assert not np.allclose(one[:, 70:], other[:, 70:], atol=1e-2)
    short = logits(params, ids[:, : 2 * fading.CHUNK])  # a window of this length is read whole
    np.testing.assert_allclose(one[:, : 2 * fading.CHUNK], short, atol=1e-3)
