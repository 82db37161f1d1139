"""Numbers on real text: the baselines, and the scores of the predecessor.

The text is raw WikiText-2 in GPT-2 ids. The expected numbers were measured with other code on the same files.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from wnn_jax import chain, ram
from wnn_jax.chain import static, tokentree
from wnn_jax.data import text
from wnn_jax.lm import bitwise, ngram, tiered, tiered_layer, tiered_readout
from wnn_jax.ram import bits


@pytest.fixture(scope="module")
def wikitext(data, gpt2):
    return text.load(text.TextConfig("wikitext2", gpt2))


def test_the_corpus_is_the_one_that_was_measured(wikitext):
    assert wikitext.vocabulary == 50257
    assert (len(wikitext.train), len(wikitext.test)) == (217_565, 283_287)
    assert wikitext.description.startswith("wiki.train.1MB.raw -> wiki.test.raw")


def test_baselines(wikitext):
    train, test = wikitext.train, wikitext.test
    unigram = ngram.unigram(train, test, wikitext.vocabulary, add=1).nats.mean()
    assert unigram == pytest.approx(7.654, abs=0.01)
    model = ngram.fit_kneser_ney(train, 5, wikitext.vocabulary)
    assert ngram.predict(model, test).nats.mean() <= 6.636 + 0.02


def test_baselines_on_the_split_test_text(data, gpt2):
    corpus = text.load(text.TextConfig(str(data / "wikitext2" / "wiki.test.raw"), gpt2, train_tokens=200_000))
    assert len(corpus.test) == 83_287
    unigram = ngram.unigram(corpus.train, corpus.test, corpus.vocabulary, add=0.1).nats.mean()
    assert unigram == pytest.approx(7.743, abs=0.01)
    model = ngram.fit_kneser_ney(corpus.train, 5, corpus.vocabulary)
    assert ngram.predict(model, corpus.test).nats.mean() <= 6.721 + 0.02


def test_bit_marginals(wikitext):
    config = bitwise.BitwiseConfig(wikitext.vocabulary)
    targets = bitwise.examples(config, wikitext.test).targets
    share = bitwise.examples(config, wikitext.train).targets.mean(axis=1)[:, None]
    log_one, log_zero = (jnp.broadcast_to(x, targets.shape) for x in bitwise.log_clamped(share, 1 - share))
    nats = bitwise.score(config, log_one, log_zero, targets).nats
    assert float(nats.mean()) == pytest.approx(9.185, abs=0.01)


PARITY = [
    pytest.param(9.394, "quad_weighted", 4, 20, 1.0, marks=pytest.mark.long),
    pytest.param(9.605, "quad_weighted", 4, 20, 0.25, marks=pytest.mark.long),
    pytest.param(9.340, "quad_weighted", 4, 14, 1.0),
    pytest.param(10.615, "quad_binary", 4, 20, 1.0, marks=pytest.mark.long),
    pytest.param(11.870, "ternary", 4, 20, 1.0, marks=pytest.mark.long),
    pytest.param(8.970, "count", 4, 20, 1.0, marks=pytest.mark.long),
    pytest.param(8.769, "count", 2, 18, 1.0),
]


@pytest.mark.long
@pytest.mark.parametrize(("expected", "cells", "context", "address_bits", "rate"), PARITY)
def test_parity_with_the_predecessor(wikitext, expected, cells, context, address_bits, rate):
    config = bitwise.BitwiseConfig(
        wikitext.vocabulary, context, 200, address_bits, memory=ram.RamConfig(cells, 0.0, rate)
    )
    keys = jax.random.split(jax.random.key(0))
    connections = bitwise.init(keys[0], config)
    train, test = (bitwise.examples(config, x) for x in (wikitext.train, wikitext.test))
    fit = jax.jit(ram.fit_and_read, static_argnums=1)
    votes = fit(keys[1], config.memory, connections, train, test.words)
    nats = bitwise.cross_entropy(config, connections, votes, test.targets)
    assert np.asarray(nats, np.float64).mean() == pytest.approx(expected, abs=0.03)


@pytest.mark.long
def test_closed_form_on_a_trained_model(wikitext):
    config = bitwise.BitwiseConfig(wikitext.vocabulary, 2, 20, 14)
    connections = bitwise.init(jax.random.key(0), config)
    train = bitwise.examples(config, wikitext.train[:50_000])
    test = bitwise.examples(config, wikitext.test[:300])
    votes = ram.fit_and_read(None, config.memory, connections, train, test.words)
    log_one, log_zero = bitwise.log_probabilities(votes, connections)
    scores = bitwise.score(config, log_one, log_zero, test.targets)
    codes = np.asarray(bits.unpack_code(jnp.arange(config.vocabulary), config.clusters)).T
    nats, best = reference.brute_force(log_one, log_zero, codes)
    place = np.arange(len(best))
    np.testing.assert_allclose(scores.nats, nats[wikitext.test[2:300], place], atol=1e-5, rtol=0)
    np.testing.assert_array_equal(scores.best, best)


@pytest.mark.long
def test_the_chain_model_beats_kneser_ney(wikitext):
    """Both modes beat Kneser-Ney on the first part of the text, and their 50,257 probabilities sum to 1."""
    train, test = wikitext.train[:60_000], wikitext.test[:5_000]
    model = ngram.fit_kneser_ney(train, 5, wikitext.vocabulary)
    bar = ngram.predict(model, test).nats.mean()
    words = chain.network(tokentree.clustered(train, wikitext.pieces), wikitext.pieces)
    memory, _ = chain.read(words, chain.empty_online(words, 18), train, learn=True)
    memory, found = chain.read(words, memory, test, learn=True)
    assert chain.nats(words, found).mean() < bar - 0.5
    assert chain.distribution(words, memory).sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    config = chain.ReadoutConfig(tokens=30_000)
    empty = chain.empty_static(words, 18)
    memory = static.fit(jax.random.key(0), words, empty, train, config)
    memory, found = chain.read(words, memory, test[:2_000], learn=False, argmax=True)
    assert chain.nats(words, found).mean() < ngram.predict(model, test[:2_000]).nats.mean() - 0.1
    for token in test[2_000:2_003]:
        shares = chain.distribution(words, memory)
        assert shares.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
        memory, found = chain.read(words, memory, [token], learn=False, argmax=True)
        assert found.best[0] == shares.argmax()
        assert chain.nats(words, found)[0] == pytest.approx(-np.log(shares[token]), abs=1e-4)


def test_the_tiers_hold_the_published_shares_of_the_text(wikitext):
    """The published shares are of 2.4 million tokens; here they are counted on the tokens of the files."""
    config = tiered.TieredConfig(wikitext.vocabulary, tiered.parse("five"))
    order = tiered_layer.rank_tokens(wikitext.train, wikitext.vocabulary)
    everything = np.concatenate([wikitext.train, wikitext.test])
    share = np.bincount(tiered_layer.tier_of(config, order, everything), minlength=5) / len(everything)
    np.testing.assert_allclose(share, [0.42, 0.046, 0.13, 0.369, 0.036], atol=0.01)


@pytest.mark.long
def test_tiered_models_as_published_and_repaired(wikitext):
    """On a part of the test text, the published score lies in its band and the repaired model below it."""
    train, test = wikitext.train, wikitext.test[:6_000]

    def ce(memory, negatives, calibrated=False):
        config = tiered.TieredConfig(wikitext.vocabulary, tiered.parse("five"), 4, memory, negatives)
        wiring = tiered_layer.init(jax.random.key(0), config, train)
        words, targets = tiered_layer.inputs(config, np.concatenate([train[-4:], test]))
        readout = tiered_readout.calibrate(jax.random.key(1), config, train) if calibrated else None
        layer = tiered_layer.one_hot_layer(jax.random.key(2), config, wiring, train)
        chunks = (chunk for (chunk,) in tiered_layer.votes([layer], words))
        return tiered_readout.score(config, readout, chunks, targets).nats.mean()

    published = ce(ram.RamConfig("true_wins"), "top")
    half = ce(ram.RamConfig("true_wins", empty_value=0.5), "top")
    assert 9.825 < published < 10.825
    assert published < half
    unigram = ngram.unigram(train, test, wikitext.vocabulary, add=0.1).nats.mean()
    assert ce(ram.RamConfig("count"), "all", calibrated=True) < unigram - 0.15
