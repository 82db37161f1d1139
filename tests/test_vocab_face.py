"""Vocabulary-space models from Python: train, score, inspect and compare."""

import dataclasses

import jax
import numpy as np
import pytest

from wnn_jax import vocab
from wnn_jax.data import streams, text, tokenizers

KEY = jax.random.key(0)
TINY = vocab.TrainConfig(steps=20, tokens_per_step=64, window=16)


@pytest.fixture(scope="module")
def corpus():
    rng = np.random.default_rng(0)
    bytes_ = tokenizers.parse_tokenizer("bytes")("")
    ids = bytes_.encode(" ".join(rng.choice(["tables", "read", "bits", "and", "write", "cells"], 600)))
    return text.Corpus(ids[:2000], ids[:0], ids[2000:2200], bytes_, "words")


@pytest.fixture(scope="module")
def variant(corpus):
    return vocab.variant("v8_graph", corpus.vocabulary, hops=1)


@pytest.fixture(scope="module")
def model(corpus, variant):
    return vocab.train(KEY, variant, corpus, TINY)


def test_train_score_inspect(corpus, model):
    nats, best = vocab.score(model, corpus.test)
    hops = vocab.inspect(model, "tables read").top(5)
    again = vocab.unpack(vocab.pack(model), corpus.tokenizer)
    assert nats.mean() < 3.2
    assert len(nats) == len(best) == len(corpus.test) - TINY.window // 2 - 1
    assert [len(hop) for hop in hops] == [5, 5]
    assert abs(vocab.score(again, corpus.test)[0].mean() - nats.mean()) < 0.01


def test_each_token_is_scored_once_with_half_a_window_before_it(model, corpus):
    """Scores equal those of windows cut by hand, and a longer text changes no score before its end."""
    half, tokens = TINY.window // 2, corpus.test[:60]
    nats, best = vocab.score(model, tokens)
    assert len(nats) == 60 - half - 1
    for place in (half + 1, half + 5, 2 * half, 2 * half + 1, 47):
        start = (place - 1) // half * half - half
        window = vocab.score(model, tokens[start : start + 2 * half + 1])
        at = place - half - 1
        np.testing.assert_allclose(window[0][place - start - half - 1], nats[at], rtol=1e-5)
        assert window[1][place - start - half - 1] == best[at]
    longer, _ = vocab.score(model, corpus.test[:56])
    whole = 56 - half - 1 - (56 - half - 1) % half
    np.testing.assert_allclose(longer[:whole], nats[:whole], rtol=1e-6)


def test_the_last_hop_is_the_prediction(model, corpus):
    words = "bits and tables w"
    reading = vocab.inspect(model, words)
    ids = corpus.tokenizer.encode(words)
    assert reading.probabilities.shape == (2, 17, 256)
    np.testing.assert_array_equal(reading.ids, ids)
    np.testing.assert_allclose(reading.probabilities.sum(-1), 1, rtol=1e-5)
    nats, best = vocab.score(model, ids)
    np.testing.assert_allclose(reading.probabilities[-1, range(8, 16), ids[9:]], np.exp(-nats), rtol=1e-5)
    np.testing.assert_array_equal(reading.probabilities[-1, 8:16].argmax(-1), best)
    word, share = reading.top(1, position=7)[-1][0]
    assert (ord(word), share) == (
        reading.probabilities[-1, 7].argmax(),
        reading.probabilities[-1, 7].max(),
    )


def test_an_interrupted_training_continues_to_the_same_end(tmp_path, model, corpus, variant):
    """A finished training is read back, too. A text may be ids alone, but then it cannot be inspected."""
    reports = []

    def stop(report):
        if report.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vocab.train(KEY, variant, corpus, TINY, resume=tmp_path, on_step=stop)
    for _ in range(2):
        alone = vocab.train(KEY, variant, corpus.train, TINY, resume=tmp_path, on_step=reports.append)
        assert all(map(np.array_equal, *map(jax.tree.leaves, (alone.params, model.params))))
    done = [report.done for report in reports]
    assert done[0] in (4, 6)  # saving takes at most a twentieth of the time
    assert done[1:] == [*range(done[0] + 2, 21, 2), 20]
    with pytest.raises(ValueError, match="no tokenizer"):
        vocab.inspect(alone, "words")
    for key, other, name in (
        (KEY, variant._replace(repairs=()), "repairs"),
        (jax.random.key(1), variant, "seed"),
    ):
        with pytest.raises(ValueError, match=rf"differs in {name}( \(.*\))?: choose another folder"):
            vocab.train(key, other, corpus, TINY, resume=tmp_path)


def test_texts_that_cannot_be_trained_on(corpus, variant):
    with pytest.raises(ValueError, match="256 ids and the text has ids from 97 to 300"):
        vocab.train(KEY, variant, np.r_[np.full(500, 97), 300, np.full(500, 97)], TINY)
    with pytest.raises(ValueError, match="has 3 windows of 16 and a step takes 4: lower tokens_per_step"):
        vocab.train(KEY, variant, corpus.train[:50], TINY)


def test_parts_to_score(corpus):
    ids, targets = vocab.scored_part(corpus.test, 16, 30)
    assert len(ids) == 8 + 1 + 24
    np.testing.assert_array_equal(targets[:, 1:].ravel(), ids[9:])
    np.testing.assert_array_equal(streams.stream(targets), ids[8:])


def test_what_a_table_says_of_a_model(model, corpus):
    texts = vocab.cut_texts(corpus, TINY, 191)
    np.testing.assert_array_equal(texts.learned, corpus.train[: len(texts.learned)])
    found = vocab.measure(KEY, model, texts)
    nats, best = vocab.score(model, texts.test)
    np.testing.assert_array_equal(found.nats, nats)
    np.testing.assert_array_equal(found.best, best)
    assert len(nats) == texts.targets[:, 1:].size
    assert found.gap == nats.mean() - vocab.score(model, texts.learned)[0].mean()
    assert found.int8 == vocab.score(vocab.unpack(found.packed), texts.test)[0].mean() - nats.mean()
    assert found.copy == vocab.copy_gain(KEY, model, texts.windows.ravel())


def test_what_cannot_be_scored(model):
    with pytest.raises(ValueError, match="got 10 tokens and windows of 16"):
        vocab.score(model, np.zeros(10, np.int32))
    with pytest.raises(ValueError, match=r"ids from 0 to 255, got shape .* and ids from 0 to 256"):
        vocab.score(model, np.arange(257))
    with pytest.raises(ValueError, match="one axis and at least one id"):
        vocab.inspect(model, "")


def test_copying_is_seen(model, corpus):
    gain = vocab.copy_gain(KEY, model, corpus.train)
    assert np.isfinite(gain)
    assert gain == vocab.copy_gain(KEY, model, corpus.train)
    assert gain != vocab.copy_gain(jax.random.key(1), model, corpus.train)
    assert np.isnan(vocab.copy_gain(KEY, model._replace(window=2), corpus.train))


def test_comparisons():
    def rows(**settings):
        config = vocab.ComparisonConfig(models=("v9_linattn",), hops=2, **settings)
        return {variant.name: variant for variant in vocab.compare(config, 64)}

    assert list(rows()) == ["v9_linattn, as published", "v9_linattn"]
    hops = rows(ablate="hops", leaky=True, published=False)
    assert [variant.config.steps for variant in hops.values()] == [2, 1, 2, 4, 8]
    assert [variant.config.leaky for variant in hops.values()] == [True] + 4 * [False]
    assert {
        name: variant.repairs
        for name, variant in rows(ablate="repairs", repairs=("rate", "gain", "bigram")).items()
    } == {
        "v9_linattn, as published": (),
        "v9_linattn, only rate": ("rate",),
        "v9_linattn, only gain": ("gain",),
        "v9_linattn, without rate": ("gain",),
        "v9_linattn, without gain": ("rate",),
        "v9_linattn": ("rate", "gain"),
    }
    assert rows(repairs=("gain",))["v9_linattn"].config.drop_input
    everything = vocab.ComparisonConfig(models=("all",), published=False)
    assert [variant.name for variant in vocab.compare(everything, 64)] == list(vocab.zoo.NAMES)
    with pytest.raises(ValueError, match="nothing to train"):
        vocab.compare(vocab.ComparisonConfig(repairs=(), published=False), 64)
    with pytest.raises(ValueError, match="32 to 8,192 ids, got 50,257"):
        vocab.variant("v8_graph", 50_257)


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (vocab.TrainConfig(), {"steps": 0}, "steps=0 is out of range: give a whole number of at least 1"),
        (vocab.TrainConfig(), {"window": 33}, "window must be even, got 33"),
        (vocab.TrainConfig(), {"tokens_per_step": 100}, "a multiple of window, got 100 and 64"),
        (vocab.ComparisonConfig(), {"rank": 0}, "rank=0 is out of range: give a whole number of at least 1"),
        (vocab.ComparisonConfig(), {"models": ("v17",)}, "unknown model 'v17'"),
        (vocab.ComparisonConfig(), {"repairs": ("luck",)}, "unknown repair 'luck'"),
        (
            vocab.ComparisonConfig(),
            {"ablate": "luck"},
            "unknown ablate 'luck': choose one of none, hops, repairs",
        ),
        (vocab.Sublayer(vocab.pointwise.Factor()), {"scale": "luck"}, "unknown scale 'luck'"),
        (vocab.WordMap(), {"kind": "luck"}, "unknown kind 'luck'"),
        (vocab.pointwise.Mlp(8), {"mix": "luck"}, "unknown mix 'luck'"),
        (vocab.pointwise.Mlp(8), {"activations": ("luck",)}, "unknown activation 'luck'"),
    ],
)
def test_bad_settings(config, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(config, **change)
