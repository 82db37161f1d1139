"""Recipes and repairs of vocabulary-space models; all seventeen trained; packing."""

import dataclasses
import functools
import lzma
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from wnn_jax import vocab
from wnn_jax.data import streams, tokenizers
from wnn_jax.saving import packing
from wnn_jax.vocab import counts, mixing, model, pointwise, recipe, repairs, zoo

KEY = jax.random.key(0)
long = pytest.mark.long


def chain_text(vocabulary, length, seed=0, branches=4):
    """Draw a Markov chain in which few words follow each word."""
    rng = np.random.default_rng(seed)
    after = rng.integers(0, vocabulary, (vocabulary, branches))
    choice = rng.integers(0, branches, length)
    text = [0]
    for i in range(length - 1):
        text.append(after[text[-1], choice[i]])
    return np.array(text, np.int32)


def init(config):
    return jax.jit(functools.partial(model.init, config=config))(KEY)


class Stop(Exception):
    pass


@long
@pytest.mark.parametrize("name", zoo.NAMES)
def test_all_seventeen_train(name):
    """200 steps at V = 256 give a finite loss, better than chance, and the same bits when run again."""
    variant = vocab.variant(name, 256, hops=4, repairs=[x for x in repairs.suited(name) if x != "bigram"])
    config = vocab.TrainConfig(steps=200, tokens_per_step=128, window=32)
    text = chain_text(256, 200 * 128 + 1)
    reports, again = [], []
    model = vocab.train(KEY, variant, text, config, on_step=reports.append)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(model.params))
    losses = reports[-1].losses
    assert np.isfinite(losses).all()
    # v15 keeps only an eighth of its state, and learns nothing in so few steps.
    if name != "v15_predictive":
        assert losses[-1] < losses[0]
        assert losses[-1] < np.log(256)

    def stop(report):
        again.append(report)
        raise Stop

    with pytest.raises(Stop):
        vocab.train(KEY, variant, text, config, on_step=stop)
    assert all(map(np.array_equal, *map(jax.tree.leaves, (again[0].params, reports[0].params))))


# The recipe.


def test_rates():
    published = recipe.Recipe().optimiser(10)
    warmed = recipe.Recipe(0.003, 0.2).optimiser(10)
    for optimiser, sizes in (
        (published, 0.03 * np.arange(10, 0, -1) / 10),
        (warmed, np.r_[0.001, 0.002, 0.003 * np.arange(8, 0, -1) / 8]),
    ):
        state, moved = optimiser.init(jnp.zeros(1)), []
        update = jax.jit(optimiser.update)
        for _ in range(10):
            step, state = update(jnp.ones(1), state, jnp.zeros(1))
            moved.append(-float(step[0]))
        np.testing.assert_allclose(moved, sizes, rtol=1e-4)


def test_muon_is_for_matrices():
    rng = np.random.default_rng(0)
    params = {
        "w": rng.normal(size=(24, 8)),
        "bank": rng.normal(size=(2, 8, 8)),
        "taps": rng.normal(size=(8, 8)),
    }
    params = {name: jnp.asarray(x, jnp.float32) for name, x in params.items()} | {"bias": jnp.ones(8)}
    optimiser = recipe.Recipe(rate=0.003, muon_rate=0.01).optimiser(5)
    step, _ = jax.jit(lambda x: optimiser.update(x, optimiser.init(x), x))(params)
    for matrix in (step["w"], *step["bank"]):
        size = np.linalg.svd(np.asarray(matrix) / 0.01, compute_uv=False)
        assert 0.5 < size.min() <= size.max() < 1.5
    for vectors in ("taps", "bias"):
        # Adam's first step has the same length for every number.
        np.testing.assert_allclose(np.abs(step[vectors]), np.abs(step["bias"]).max(), rtol=1e-3)


def test_repairs_that_there_are_not():
    with pytest.raises(ValueError, match=r"unknown repair 'luck': choose among rate, warmup"):
        repairs.check(["rate", "luck"])
    with pytest.raises(ValueError, match="both order the words"):
        repairs.check(["frequency", "cluster"])
    for old, new in zoo.NAMES.items():
        repairs.check(repairs.suited(old))
        assert repairs.suited(old) == repairs.suited(new)


def test_each_repair_is_what_it_says():
    def operations(name, chosen):
        return [x.operation for x in repairs.repair(zoo.config(name), chosen).sublayers]

    def same(name, chosen):
        return repairs.repair(zoo.config(name), chosen) == zoo.config(name)

    assert repairs.recipe(["rate"]) == recipe.Recipe(rate=0.004)
    assert repairs.recipe(["warmup"]) == recipe.Recipe(warmup=0.1)
    assert repairs.recipe(["muon"]) == recipe.Recipe(muon_rate=0.01)
    assert operations("v12_sparse", ["scores"])[0].sublayers[0].operation == mixing.LinearAttention(
        256, unit_length=True
    )
    assert operations("v6_wave", ["scores"])[0].slow.unit_length
    assert operations("v11_tpg", ["scores"])[0].unit_length
    assert operations("v9_meta", ["fades"])[0].decays == (-2.0, 0.0, 2.0, 4.0)
    assert operations("v8_graph", ["fades"])[0].decays == (0.0,)
    assert same("v11_brainwave", ["fades"])  # two memories, one long and one short, as published
    assert repairs.repair(zoo.config("v2_conv"), ["gain"]).drop_input
    for name in zoo.NAMES:
        assert same(name, ["rate", "warmup", "muon", "frequency", "bigram"])
    assert repairs.effective(zoo.config("v2_conv"), repairs.REPAIRS) == tuple(
        name for name in repairs.REPAIRS if name not in ("scores", "fades", "bigram")
    )
    assert repairs.effective(zoo.config("v8_graph"), repairs.REPAIRS) == tuple(repairs.REPAIRS)


def test_a_forgotten_word_says_nothing_of_itself():
    v, ids = 32, jnp.arange(12).reshape(2, 6)
    config = repairs.repair(zoo.config("v9_meta", v, zoo.scaled(v, 1)), ["gain"])
    params = init(config)
    dropped = jax.jit(functools.partial(model.states, config))
    plain = jax.jit(functools.partial(model.states, dataclasses.replace(config, drop_input=False)))
    np.testing.assert_array_equal(dropped(params | {"share": jnp.ones(v)}, ids), plain(params, ids))
    states = dropped(params, ids)
    np.testing.assert_array_equal(states[0], 0)
    np.testing.assert_allclose(jax.nn.softmax(model.readout(params, states[0])), 1 / v, rtol=1e-5)
    token = jax.nn.one_hot(ids, v) * np.sqrt(v)
    np.testing.assert_allclose(states[-1] + token, plain(params, ids)[-1], atol=1e-4)


# The order of words.


@given(
    arrays.arrays(np.int32, st.integers(2, 60), elements=st.integers(0, 9)),
    st.sampled_from(["frequency", "cluster"]),
)
def test_places_are_a_permutation(tokens, kind):
    found = counts.places([kind], tokens, 10)
    np.testing.assert_array_equal(np.sort(found), np.arange(10))
    np.testing.assert_array_equal(found, counts.places([kind], tokens, 10))


def test_the_frequent_come_first():
    np.testing.assert_array_equal(
        counts.places(["frequency"], np.array([3, 3, 1, 1, 3, 2]), 5), [3, 1, 2, 0, 4]
    )
    np.testing.assert_array_equal(counts.places(["rate"], np.array([3, 3, 1]), 5), np.arange(5))


def test_words_in_like_places_come_together():
    """Even words are followed only by odd words of the same half; the four kinds are mixed over the ids."""
    rng = np.random.default_rng(0)
    kind = rng.permutation(np.repeat(np.arange(4), 8))
    of = [np.flatnonzero(kind == k) for k in range(4)]
    follows = {0: 1, 1: 0, 2: 3, 3: 2}
    text = [of[0][0]]
    for i in range(6000):
        k = follows[kind[text[-1]]]
        k = (k + 2) % 4 if i % 500 == 0 else k
        text.append(rng.choice(of[k]))
    places = counts.places(["cluster"], np.array(text), 32)
    in_order = kind[np.argsort(places)]
    changes = int((in_order[1:] != in_order[:-1]).sum())
    assert changes <= 5  # at best 3; of random orders about 24
    assert int((kind[1:] != kind[:-1]).sum()) > 15


# The word graph of counts.


def test_a_graph_of_full_rank_holds_the_counts():
    v, text = 12, chain_text(12, 3000, branches=3)
    sizes = dataclasses.replace(zoo.scaled(32, 2), rank=v)
    config = repairs.repair(zoo.config("v8_graph", v, sizes), ["gain", "scores"])
    params = counts.bigram_params(config, init(config), text)
    graph = params["steps"][0][1]
    shown = np.sqrt(v) * np.asarray(graph["from"]) @ np.asarray(graph["to"]).T + np.asarray(graph["bias"])
    pairs = np.zeros((v, v))
    np.add.at(pairs, (text[:-1], text[1:]), 1)
    alone = (pairs.sum(0) + 0.1) / (pairs.sum() + 0.1 * v)
    kinds = np.maximum((pairs > 0).sum(1, keepdims=True), 1)
    shares = (pairs + kinds * alone) / (pairs.sum(1, keepdims=True) + kinds)
    np.testing.assert_allclose(jax.nn.softmax(shown), shares, rtol=2e-3)
    untouched = init(config)
    assert all(
        map(np.array_equal, jax.tree.leaves(params["steps"][1:]), jax.tree.leaves(untouched["steps"][1:]))
    )
    windows = jnp.asarray(streams.cut(text, 8))
    loss = jax.jit(functools.partial(model.loss, config))
    assert loss(params, windows) < loss(untouched, windows) - 0.5


def test_only_a_graph_can_hold_counts():
    config = zoo.config("v9_meta", 32, zoo.scaled(32, 1))
    with pytest.raises(ValueError, match="needs a word graph"):
        counts.bigram_params(config, init(config), np.arange(32))


# Packing.


@given(arrays.arrays(np.float32, (3, 7), elements=st.floats(-1e3, 1e3, width=32)))
def test_int8_rows(x):
    whole, steps = packing.int8_rows(x)
    assert whole.dtype == np.int8
    # Half a step, and the error of float16 over 127 steps.
    most = np.abs(x).max(1, keepdims=True)
    assert (np.abs(packing.float_rows(whole, steps) - x) <= most * (0.5 / 127 + 1e-3) + 1e-5).all()


@pytest.mark.parametrize(
    "name", ["v8_graph", pytest.param("v6_wave", marks=long), pytest.param("v15_predictive", marks=long)]
)
def test_packed_and_back(name):
    config = repairs.repair(zoo.config(name, 64, zoo.scaled(64, 1)), ["scores", "gain"])
    places = np.random.default_rng(0).permutation(64).astype(np.int32)
    lm = vocab.VocabModel(config, init(config), places, window=16)
    again = vocab.unpack(vocab.pack(lm))
    assert again.config == config
    assert again.window == 16
    np.testing.assert_array_equal(again.places, places)
    for x, y in zip(jax.tree.leaves(lm.params), jax.tree.leaves(again.params), strict=True):
        np.testing.assert_allclose(x, y, atol=float(np.abs(x).max()) * 0.006)
    windows = jnp.asarray(streams.cut(chain_text(64, 200), 8))
    loss = jax.jit(functools.partial(model.loss, config))
    assert abs(loss(lm.params, windows) - loss(again.params, windows)) < 0.01


def old_config():
    """Read the model in golden/vocab.bin; its classes and fields had other names when it was packed."""
    waves = vocab.WordMap("soft fourier", (1, 2))
    memory = mixing.LinearAttention(
        4,
        waves,
        write=vocab.WordMap("fft", (1, 2)),
        decays=(0.5, 1.5),
        unit_length=True,
        rate_shift=True,
    )
    routed = pointwise.Mlp(
        8,
        vocab.WordMap("dct", (1, 3)),
        vocab.WordMap("diagonal"),
        activations=("gelu", "relu"),
        routed=True,
    )
    bank = pointwise.Mlp(8, vocab.WordMap("same"), mix="bank", activations=("same", "tanh"))
    low, middle, high = (
        pointwise.Mlp(4, waves, mix=mix, rank=2, scaled=False) for mix in ("low", "bias", "full")
    )
    policy = vocab.Sublayer(pointwise.Policy(("gelu", "square")), replaces=True)
    experts = vocab.Sublayer(pointwise.Experts(2, 2))
    sublayers = (
        vocab.Sublayer(mixing.SoftmaxAttention(2, 1), "vector", shared=("*",), group="attention"),
        vocab.Sublayer(mixing.Convolution(512, gated=False), "one"),
        vocab.Sublayer(mixing.MovingAverage(2.0), parallel=True),
        vocab.Sublayer(
            mixing.CoupledAttention(memory, mixing.LinearAttention(4, divisor=2.0)), factor_per_use=True
        ),
        vocab.Sublayer(
            mixing.MultiScaleAttention(4, (0.0, 2.0), unit_length=True), shared=("q",), group="scales"
        ),
        vocab.Sublayer(routed, "one"),
        vocab.Sublayer(bank),
        vocab.Sublayer(pointwise.Bands(low, middle, high)),
        vocab.Sublayer(pointwise.WordGraph(2), "one"),
        vocab.Sublayer(pointwise.WordGate(2), normed=False, replaces=True),
        vocab.Sublayer(vocab.Subspace(4, (policy,), window=False), normed=False),
        vocab.Sublayer(vocab.Subspace(4, (experts,), by_entropy=True)),
        vocab.Sublayer(pointwise.TopK(6), normed=False, replaces=True),
        vocab.Sublayer(pointwise.Factor(), normed=False, replaces=True),
    )
    return vocab.VocabConfig(
        8, 2, sublayers, repeats=2, halting=True, embedding=4, early_loss=0.1, drop_input=True
    )


def old_model():
    return vocab.unpack((pathlib.Path(__file__).parent / "golden" / "vocab.bin").read_bytes())


def test_a_file_from_before_classes_were_renamed():
    lm = old_model()
    assert lm.config == old_config()
    assert lm.window == 64
    np.testing.assert_array_equal(np.sort(lm.places), np.arange(8))
    again = vocab.unpack(vocab.pack(lm))
    assert again.config == lm.config
    assert all(map(np.array_equal, *map(jax.tree.leaves, (again.params, lm.params))))


@long
def test_a_file_from_before_has_the_loss_it_had():
    lm, tokens = old_model(), np.arange(54).reshape(6, 9) ** 2 % 7 % 8
    loss = jax.jit(functools.partial(model.loss, lm.config))(lm.params, lm.places[tokens])
    np.testing.assert_allclose(loss, 2.641038656234741, rtol=1e-5)


def test_bytes_that_are_no_model():
    config = zoo.config("v8_graph", 32, zoo.scaled(32, 1))
    lm = vocab.VocabModel(config, init(config), np.arange(32))
    data = vocab.pack(lm)
    other = packing.pack("something else 1", {}, {"x": np.arange(3)})
    for bad, message in (
        (data[:-20], "damaged"),
        (b"words", "damaged"),
        (lzma.compress(b"words"), "does not hold what it should"),
        (other, "of kind 'something else 1': give one of 'wnn_jax vocab 1'"),
    ):
        with pytest.raises(ValueError, match=message):
            vocab.unpack(bad)
    with pytest.raises(ValueError, match="32 ids, but the tokenizer has 256"):
        vocab.unpack(data, tokenizers.parse_tokenizer("bytes")(""))
