"""The seventeen vocabulary-space models: published sizes, causality, and operations that equal NumPy's."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wnn_jax.vocab import mixing, model, operation, pointwise, repairs, zoo

KEY = jax.random.key(0)
V, T = 64, 8
CONTEXT = operation.StepContext(leaky=False, use=0, uses=1, key=None)

PUBLISHED = {
    "v1_attention": 3_359_761,
    "v2_conv": 353_289,
    "v3_assoc": 328_745,
    "v4_golf": 101_743,
    "v5_gauss": 328_745,
    "v6_wave": 824_417,
    "v7_lgp": 328_809,
    "v8_graph": 163_881,
    "v9_meta": 4_195_369,
    "v10_policy": 1_386_585,
    "v11_brainwave": 3_425_329,
    "v11_tpg": 6_350_906,
    "v12_sparse": 4_198_433,
    "v13_embed": 4_460_577,
    "v14_adaptive": 2_542_633,
    "v15_predictive": 4_198_433,
    "v16_columnar": 1_579_893,
}
FADING = [name for name in PUBLISHED if name not in ("v1_attention", "v2_conv")]
variants = pytest.mark.parametrize("name", PUBLISHED)
long = pytest.mark.long  # many compilations


def small(name, leaky=False, steps=2):
    return zoo.config(name, V, zoo.scaled(V, steps), leaky)


def stirred(config):
    """Move parameters away from zero and one, so that every branch changes the result."""
    leaves, tree = jax.tree.flatten(model.init(KEY, config))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [x + 0.2 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, moved)


def ids(seed=0, windows=2, length=T):
    return jnp.asarray(np.random.default_rng(seed).integers(0, V, (windows, length)), jnp.int32)


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def applied(sizes, params, x):
    """Return the result of an operation."""
    apply = model.OPERATIONS[type(sizes)].apply
    return jax.jit(lambda params, x: apply(sizes, params, x, CONTEXT))(params, x)


def influence(config, *changed):
    """Change the tokens in each slice of places; return the largest change of the logits of each place."""
    logits = jax.jit(functools.partial(model.logits, config, stirred(config)))
    before = ids(windows=16)
    each = [before.at[:, places].set((before[:, places] + V // 2) % V) for places in changed]
    return [np.abs(np.asarray(logits(before) - logits(after))).max((0, 2)) for after in each]


# The zoo.


@variants
def test_sizes_are_the_published(name):
    assert model.count_parameters(zoo.config(name, vocabulary=1024)) == PUBLISHED[name]


@pytest.mark.parametrize(
    ("name", "change", "count"),
    [
        ("v5_gauss", {"harmonics": 64}, 918_569),
        ("v7_lgp", {"channels": 64}, 131_689),
        ("v8_graph", {"rank": 16}, 294_953),
        ("v8_graph", {"rank": 32}, 557_097),
        ("v8_graph", {"rank": 64}, 1_081_385),
        ("v12_sparse", {"steps": 12}, 6_297_649),
    ],
)
def test_other_published_sizes(name, change, count):
    sizes = dataclasses.replace(zoo.Sizes(), **change)
    assert model.count_parameters(zoo.config(name, 1024, sizes)) == count


def test_both_sets_of_names():
    assert list(zoo.NAMES) == list(PUBLISHED)
    for seed, folder in zoo.NAMES.items():
        assert zoo.config(seed) == zoo.config(folder)


def test_unknown_names_are_told_the_known():
    with pytest.raises(ValueError, match=r"unknown model 'v17'.*v8_graph.*v8_lowrank_vv"):
        zoo.config("v17")


def test_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match="window of 256"):
        model.count_parameters(zoo.config("v12_sparse", V))
    with pytest.raises(ValueError, match="at most 32 for 64 words, got 40"):
        model.count_parameters(zoo.config("v3_assoc", V, dataclasses.replace(zoo.Sizes(), harmonics=40)))
    with pytest.raises(ValueError, match="repeats must divide steps"):
        dataclasses.replace(small("v4_golf"), steps=3)
    with pytest.raises(ValueError, match="3 heads"):
        mixing.LinearAttention(8, decays=(1.0, 2.0, 3.0))


# Causality.


@long
@pytest.mark.parametrize("repaired", [False, True])
@variants
def test_the_past_is_read_and_the_future_is_not(name, repaired):
    config = repairs.repair(small(name), repairs.suited(name)) if repaired else small(name)
    future, past = influence(config, slice(4, None), slice(2, 3))
    assert future[:4].max() <= 1e-5
    assert future[4:].min() > 1e-3
    assert past[:2].max() <= 1e-5
    assert past[3:].max() > 1e-4


@long
@pytest.mark.parametrize("name", FADING)
def test_leaky_models_read_the_future(name):
    assert influence(small(name, leaky=True), slice(4, None))[0][:4].max() > 1e-4


@long
@pytest.mark.parametrize("name", ["v1_attention", "v2_conv"])
def test_models_that_never_leaked(name):
    assert influence(small(name, leaky=True), slice(4, None))[0][:4].max() <= 1e-5


# Losses that are added for training.


@long
def test_only_training_adds_to_the_loss():
    """The published v15 was scored with the loss that it adds for training, too."""
    windows = ids(4, 2, T + 1)
    config = small("v15_predictive")
    params = stirred(config)
    plain = dataclasses.replace(config, early_loss=0.0)
    loss = float(model.loss(config, params, windows))
    assert loss == float(model.objective(plain, params, windows))
    states = jax.jit(functools.partial(model.states, config))(params, windows[:, :-1])
    each = model.readout(params, states[1:])
    labels = jnp.broadcast_to(windows[:, 1:], each.shape[:-1])
    nats = np.asarray(optax.softmax_cross_entropy_with_integer_labels(each, labels)).mean((1, 2))
    early = float(jax.jit(functools.partial(model.objective, config))(params, windows))
    np.testing.assert_allclose(early, loss + 0.1 * (0.9 * nats[0] + nats[1]), rtol=1e-5)


@long
def test_halting():
    config = small("v11_tpg")
    params, windows = stirred(config), ids(5, 2, T + 1)
    sure = params | {"halt": {"w": jnp.zeros(V), "bias": jnp.array(20.0)}}
    states = jax.jit(functools.partial(model.states, config))(sure, windows[:, :-1])
    np.testing.assert_array_equal(states[1], states[2])  # all have halted after the first step
    never = params | {"halt": {"w": jnp.zeros(V), "bias": jnp.array(-20.0)}}
    loss = jax.jit(functools.partial(model.loss, config))(never, windows)
    cost = (
        jax.jit(functools.partial(model.objective, config))(never, windows) - loss
    )  # both steps are taken for certain
    np.testing.assert_allclose(float(cost), 0.01 * config.steps, rtol=1e-3)
    slopes = jax.jit(jax.grad(lambda halt: model.objective(config, params | {"halt": halt}, windows, KEY)))
    assert all(bool(jnp.isfinite(x).all() & (x != 0).any()) for x in slopes(params["halt"]).values())


# The forward pass.


@long
@variants
def test_every_state_can_be_read(name):
    config = small(name)
    params = stirred(config)
    states = jax.jit(functools.partial(model.states, config))(params, ids())
    assert states.shape == (config.steps + 1, 2, T, V)
    shares = jax.nn.softmax(model.readout(params, states))
    np.testing.assert_allclose(shares.sum(-1), 1.0, rtol=1e-5)
    if name != "v13_embed":
        np.testing.assert_array_equal(states[0].argmax(-1), ids())
        np.testing.assert_allclose(states[0].max(-1), np.sqrt(V), rtol=1e-4)


def test_windows_move_with_the_steps():
    """A step reads words from ``turn V / turns`` on and writes words half the vocabulary later."""
    twice = model.Sublayer(pointwise.Factor(), normed=False)
    config = model.VocabConfig(8, 2, (model.Sublayer(model.Subspace(3, (twice,)), normed=False),))
    params = model.init(KEY, config)
    tokens = jnp.arange(8)[None]
    one = np.sqrt(8) * np.eye(8)
    expected = [one]
    for start in (0, 4):
        x = expected[-1].copy()
        for i in range(3):
            x[:, (start + i + 4) % 8] += 0.1 / np.sqrt(3) * 2 * expected[-1][:, (start + i) % 8]
        expected.append(x)
    states = jax.jit(functools.partial(model.states, config))(params, tokens)
    np.testing.assert_allclose(states[:, 0], expected, rtol=1e-4, atol=1e-6)


@long
def test_columns_vote():
    config = small("v16_columnar")
    params = stirred(config)
    states = jax.jit(functools.partial(model.states, config))
    columns = []
    for c in range(config.columns):
        only = jnp.where(jnp.arange(config.columns) == c, 100.0, 0.0)
        alone = params | {"vote": {"trust": only, "against": jnp.zeros((4, 4))}}
        columns.append(states(alone, ids())[-1])
    trust, against = np.asarray(params["vote"]["trust"]), np.asarray(params["vote"]["against"])
    share = np.exp(trust - against @ trust)
    expected = np.tensordot(share / share.sum(), np.stack(columns), 1)
    np.testing.assert_allclose(states(params, ids())[-1], expected, rtol=1e-4, atol=1e-5)


def test_repeated_steps_share_all_but_their_own():
    config = small("v4_golf")
    params = jax.eval_shape(functools.partial(model.init, config=config), KEY)
    assert len(params["steps"]) == 2
    assert len(params["turns"]) == config.steps == 4
    assert set(params["shared"]["memory"]) == {"q", "k"}
    own = {name: np.size(x) for use in params["turns"][0] for name, x in use.items()}
    assert own == {"shift": 4, "again": 1, "factor": 1}


# Operations against NumPy.


@pytest.mark.parametrize("leaky", [False, True])
def test_fading(leaky):
    rate = 1 / (1 + np.exp(-0.7))
    expected = np.zeros((5, 5))
    for t in range(5):
        for s in range(t):
            expected[(s, t) if leaky else (t, s)] = rate ** (t - s - 1)
    np.testing.assert_allclose(mixing.decay_weights(jnp.full((1, 1), 0.7), 5, leaky), expected, rtol=1e-5)


@pytest.mark.parametrize("adaptive", [False, True])
def test_linear_attention(adaptive):
    sizes = mixing.LinearAttention(
        4, operation.WordMap(stddev=0.5), decays=(0.5,), divisor=2.0, adaptive=adaptive
    )
    params, x = mixing.OPERATIONS[mixing.LinearAttention].init(KEY, sizes, 6), random(1, 5, 6)
    if adaptive:
        params["fade"] = random(6, seed=1)
    q, k, v, o = (np.asarray(params[name]["w"], np.float64) for name in "qkvo")
    y, row = np.asarray(x[0], np.float64), np.zeros((5, 4))
    for t in range(5):
        for s in range(t):
            logit = y[s] @ np.asarray(params["fade"]) + 0.5 if adaptive else 0.5
            row[t] += (y[t] @ q) @ (y[s] @ k) / 2 * (1 / (1 + np.exp(-logit))) ** (t - s - 1) * (y[s] @ v)
    np.testing.assert_allclose(applied(sizes, params, x)[0], 0.1 * row @ o.T, rtol=1e-4, atol=1e-6)


def test_convolution_and_average():
    x = random(1, 6, 3)
    y = np.asarray(x[0])
    sizes = mixing.Convolution(taps=3)
    params = mixing.OPERATIONS[mixing.Convolution].init(KEY, sizes, 3)
    taps, expected = np.asarray(params["taps"]), np.zeros((6, 3))
    for t in range(6):
        for back in range(min(3, t + 1)):
            expected[t] += y[t - back] * taps[2 - back]
    np.testing.assert_allclose(
        applied(sizes, params, x)[0],
        expected,
        rtol=1e-4,
        atol=1e-7,
    )
    params = {"fades": random(3, seed=1), "scale": 0.1}
    rate, expected = 1 / (1 + np.exp(-np.asarray(params["fades"]))), np.zeros((6, 3))
    for t in range(6):
        for s in range(t):
            expected[t] += 0.1 * rate ** (t - s - 1) * y[s]
    np.testing.assert_allclose(applied(mixing.MovingAverage(), params, x)[0], expected, rtol=1e-4, atol=1e-6)


def test_long_averages_stay_finite():
    """The published division by powers of the rate overflows; a scan does not."""
    found = applied(mixing.MovingAverage(), {"fades": jnp.array([-2.0]), "scale": 1.0}, jnp.ones((1, 600, 1)))
    np.testing.assert_allclose(found[0, -1], 1 / (1 - 1 / (1 + np.exp(2.0))), rtol=1e-5)


def test_attention_turns_depend_on_distance_alone():
    query, key = random(1, 1, 1, 8), random(1, 1, 1, 8, seed=1)
    at = [jnp.broadcast_to(y, (1, T, 1, 8)) for y in (query, key)]
    query, key = (mixing.rotate(y, 1e4)[0, :, 0] for y in at)
    scores = np.asarray(query @ key.T)
    np.testing.assert_allclose(np.diag(scores, -2), scores[2, 0], rtol=1e-4, atol=1e-4)
    assert abs(scores[2, 0] - scores[4, 0]) > 1e-3


def test_fft_is_the_waves_by_another_way():
    width, waves = 16, (2, 5)
    fast, slow = operation.WordMap("fft", waves), operation.WordMap("fourier", waves)
    w, x, z = random(3, 8), random(4, width, seed=1), random(4, 3, seed=2)
    turned = jnp.stack([w[:, :4], -w[:, 4:]], -1).reshape(3, 8)  # a transform's sines have the other sign

    @jax.jit
    def both(w, turned):
        maps = (fast, {"w": w}), (slow, {"w": turned})
        there = [operation.to_channels(*each, x) for each in maps]
        return there, [operation.to_words(*each, z, width) for each in maps]

    there, back = both(w, turned)
    np.testing.assert_allclose(*there, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(back[0], back[1] * 2 / width, rtol=1e-4, atol=1e-5)


def test_cosine_waves_are_orthogonal():
    basis = operation.waves("dct", 16, 1, 15)
    np.testing.assert_allclose(basis.T @ basis, 8 * np.eye(15), atol=1e-4)


def test_hard_choices():
    logits = jnp.array([[0.0, 1.0, 3.0]])

    @jax.jit
    def choose(logits):
        drawn = pointwise.hard(jnp.broadcast_to(logits, (4000, 3)), KEY).mean(0)
        slope = jax.grad(lambda x: pointwise.hard(x, None)[0, 0])(logits)
        soft = jax.grad(lambda x: jax.nn.softmax(x)[0, 0])(logits)
        return pointwise.hard(logits, None), slope, soft, drawn

    likeliest, slope, soft, drawn = choose(logits)
    np.testing.assert_allclose(likeliest, [[0, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(slope, soft, rtol=1e-5)
    np.testing.assert_allclose(drawn, jax.nn.softmax(logits[0]), atol=0.03)


def test_the_largest_are_kept():
    x = jnp.array([[[3.0, -5.0, 1.0, 0.5]]])
    kept = applied(pointwise.TopK(2), {}, x)
    np.testing.assert_array_equal(kept[0, 0], [3, -5, 0, 0])
