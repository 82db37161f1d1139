"""The associative memory against its rules in NumPy; causality, sums to one, neighbours, the artifact."""

import dataclasses
import functools
import lzma
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wnn_jax import eam, transformer
from wnn_jax.eam import artifact, distill, knn, memory

KEY = jax.random.key(0)
CONFIG = memory.MemoryConfig(nearest=3)
SIZES = {"width": 8, "heads": 2, "expand": 2, "window": 6, "style": "eam", "dropout": 0.0}
ENCODER = transformer.TransformerConfig(11, layers=1, positions=False, spread=0.005, **SIZES)
STUDENT = distill.StudentConfig(ENCODER, 4, 8, 5, CONFIG)

# These functions are compiled once for all examples.
WRITE = jax.jit(memory.write, static_argnums=0)
READ = jax.jit(memory.read, static_argnums=0)
REGULATE = jax.jit(memory.regulate, static_argnums=1)


def random_params(init, config):
    """Draw parameters of the shapes that an initialiser gives, with NumPy, so that nothing is compiled."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: init(KEY, config))
    return jax.tree.map(
        lambda x: (rng.uniform(-1, 1, x.shape) / np.sqrt(x.shape[0])).astype(np.float32), shapes
    )


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def some_memory(seed=0, locations=7, room=10, keys=4, values=5):
    rng = np.random.default_rng(seed)
    addresses = np.zeros((room, keys), np.float32)
    addresses[:locations] = unit(rng.normal(size=(locations, keys)))
    counters = np.where(np.arange(room)[:, None] < locations, rng.normal(size=(room, values)), 0)
    weights = np.where(np.arange(room) < locations, rng.random(room) * 5, 0)
    arrays = (jnp.asarray(x, jnp.float32) for x in (addresses, counters, weights))
    return memory.Store(*arrays, jnp.int32(locations), jnp.float32(CONFIG.eta))


def batch(seed, count, keys=4, values=5):
    rng = np.random.default_rng(seed)
    return unit(rng.normal(size=(count, keys))).astype(np.float32), rng.normal(size=(count, values)).astype(
        np.float32
    )


def written(config, held, keys, values):
    """Apply the rules of a write in float64; n wins of a location move it as n single wins would."""
    addresses, counters, weights = (np.array(x, np.float64) for x in held[:3])
    used, before = int(held.used), np.array(held.weights, np.float64)
    wins: dict[int, list] = {}
    for key, value in zip(keys, values, strict=True):
        cosine = np.array(held.addresses)[:used] @ key
        at = np.argsort(-cosine, kind="stable")[: config.nearest]
        best = max(cosine[at[0]], 1e-8)
        strength = np.maximum(cosine[at], 0) / best
        counters[at] += strength[:, None] * value
        weights[at] += strength
        winner = at[np.argmax(cosine[at] - config.conscience * before[at] / max(before.sum(), 1e-8))]
        wins.setdefault(int(winner), []).append(key)
    for at, came in wins.items():
        eta = float(held.eta) / (1 + weights[at] / config.damping)
        stays = (1 - eta) ** len(came)
        addresses[at] = unit(stays * addresses[at] + (1 - stays) * np.mean(came, 0))
    eta = max(config.eta_least, float(held.eta) * config.cooling ** len(keys))
    return addresses, counters, weights, eta


@given(st.integers(0, 10_000), st.sampled_from([1, 9]))
def test_a_write_follows_the_rules(seed, count):
    held, (keys, values) = some_memory(seed), batch(seed + 1, count)
    found = WRITE(CONFIG, held, keys, values)
    for name, expected in zip(
        ("addresses", "counters", "weights", "eta"), written(CONFIG, held, keys, values), strict=True
    ):
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-4, atol=1e-5)
    assert not np.asarray(found.weights)[int(held.used) :].any(), "room that is not used was written"


@given(st.integers(0, 10_000))
def test_the_order_within_a_batch_does_not_matter_and_runs_repeat(seed):
    held, (keys, values) = some_memory(seed), batch(seed + 1, 9)
    order = np.random.default_rng(seed).permutation(9)
    first, second = (WRITE(CONFIG, held, k, v) for k, v in ((keys, values), (keys[order], values[order])))
    for x, y in zip(first, second, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)
    for x, y in zip(first, WRITE(CONFIG, held, keys, values), strict=True):
        np.testing.assert_array_equal(x, y)


@given(st.integers(0, 10_000))
def test_a_read_is_a_mean_of_what_was_written_near(seed):
    held, (keys, _) = some_memory(seed), batch(seed + 1, 5)
    held = held._replace(weights=held.weights.at[2].set(0.0))
    used, means = int(held.used), np.asarray(memory.contents(held), np.float64)
    read = READ(CONFIG, held, jnp.asarray(means, jnp.float32), jnp.asarray(keys))
    for key, got in zip(keys, np.asarray(read), strict=True):
        cosine = np.asarray(held.addresses)[:used] @ key
        at = [x for x in np.argsort(-cosine, kind="stable")[: CONFIG.nearest] if held.weights[x] > 0]
        share = np.exp(CONFIG.sharpness * cosine[at])
        np.testing.assert_allclose(got, (share / share.sum()) @ means[at], rtol=1e-4, atol=1e-5)


def test_a_memory_gives_back_what_was_written_alone():
    keys = np.eye(4, dtype=np.float32)
    values = np.arange(20, dtype=np.float32).reshape(4, 5)
    config = memory.MemoryConfig(nearest=1)
    held = WRITE(config, memory.empty(config, jnp.asarray(keys), 5), keys, values)
    read = READ(config, held, memory.contents(held), jnp.asarray(keys))
    np.testing.assert_allclose(read, values, rtol=1e-5)


def test_overloaded_locations_split_and_both_halves_give_back_the_same():
    held = some_memory()._replace(weights=np.array([0, 100, 0, 400, 0, 0, 0, 0, 0, 0], np.float32))
    config = memory.MemoryConfig(merge=0, grow=0)
    after = jax.tree.map(np.asarray, REGULATE(KEY, config, held, np.eye(4, dtype=np.float32)))
    assert int(after.used) == 8
    assert float(after.weights[3]) == float(after.weights[7]) == 200.0
    means = np.asarray(memory.contents(after))
    np.testing.assert_allclose(means[3], means[7])
    np.testing.assert_allclose(after.counters[3] + after.counters[7], held.counters[3], rtol=1e-6)
    apart = np.asarray(after.addresses)
    assert 0.9 < apart[3] @ apart[7] < 0.999
    np.testing.assert_array_equal(after.addresses[1], held.addresses[1])


def test_new_keys_make_new_locations_within_the_room():
    eye = np.eye(4, dtype=np.float32)
    held = memory.empty(CONFIG, eye[:1], 5, room=3)
    keys = np.concatenate([-eye, eye])
    after = REGULATE(KEY, memory.MemoryConfig(merge=0), held, keys)
    assert int(after.used) == 3
    np.testing.assert_array_equal(np.asarray(after.addresses)[1], -eye[0])
    assert not np.asarray(after.weights).any()


def test_alike_locations_become_one():
    addresses = np.zeros((5, 4), np.float32)
    addresses[:4] = unit(np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, 0.01, 0, 0], [0, 0, 1, 0]]))
    counters = np.array([[0, 1], [2, 3], [4, 5], [6, 7], [0, 0]], np.float32)
    weights = np.array([1, 2, 3, 4, 0], np.float32)
    held = memory.Store(addresses, counters, weights, np.int32(4), np.float32(CONFIG.eta))
    config = memory.MemoryConfig(split=0, grow=0, merge=3)
    after = jax.tree.map(np.asarray, REGULATE(KEY, config, held, np.eye(4, dtype=np.float32)))
    assert int(after.used) == 3
    np.testing.assert_allclose(after.weights, [4.0, 2, 4, 0, 0])
    np.testing.assert_allclose(after.counters[:3], [[4.0, 6], [2, 3], [6, 7]])
    np.testing.assert_allclose(after.counters.sum(0), held.counters[:4].sum(0))


def test_two_stores_become_one():
    first, second = some_memory(1), some_memory(2, locations=3)
    both = memory.merge(first, second)
    assert int(both.used) == 10 == len(both.weights)
    np.testing.assert_array_equal(both.counters[7:], second.counters[:3])
    with pytest.raises(ValueError, match="addresses of 4 and 3 numbers"):
        memory.merge(first, some_memory(2, keys=3))


def test_means_are_nearer_than_random_addresses():
    keys = jnp.asarray(batch(0, 500)[0])
    near = [
        float((keys @ x.T).max(1).mean())
        for x in (memory.kmeans_addresses(KEY, keys, 20), memory.random_addresses(KEY, 20, 4))
    ]
    assert near[0] > near[1]
    with pytest.raises(ValueError, match="501 means need at least 501 keys, got 500"):
        memory.kmeans_addresses(KEY, keys, 501)


@pytest.mark.parametrize("positions", [False, True])
def test_the_teacher_is_causal(positions):
    config = transformer.TransformerConfig(11, layers=2, positions=positions, spread=0.005, **SIZES)
    params = random_params(transformer.init, config)
    ids = np.array([[1, 2, 3, 4, 5, 6]])
    hidden = jax.jit(transformer.hidden, static_argnums=0)
    states = np.asarray(hidden(config, params, ids))
    for place in range(6):
        other = ids.copy()
        other[0, place] = 9
        change = np.abs(states - hidden(config, params, other))[0].max(1)
        assert not change[:place].any()
        assert change[place:].all()


@functools.cache
def a_student(repaired=True):
    config = dataclasses.replace(STUDENT, repaired=repaired)
    params = random_params(functools.partial(distill.init, embedding=jnp.zeros((11, 8))), config)
    return config, distill.Student(params, some_memory(values=8))


@pytest.mark.parametrize("repaired", [True, False])
def test_the_student_is_causal_and_says_distributions(repaired):
    predict = eam.student_predictor(*a_student(repaired))
    ids = np.array([[1, 2, 3, 4, 5, 6]])
    log_probs = np.asarray(predict(ids).log_probs)
    np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1.0, atol=1e-5)
    for place in range(1, 6):
        other = ids.copy()
        other[0, place:] = 9
        changed = np.asarray(predict(other).log_probs)
        np.testing.assert_allclose(changed[0, :place], log_probs[0, :place], atol=1e-5)
        assert np.abs(changed - log_probs)[0, place:].max() > 1e-4


def some_text(count=40, seed=0):
    rng = np.random.default_rng(seed)
    keys, tokens = batch(seed, count)[0], rng.integers(0, 11, count).astype(np.int32)
    log_probs = jax.nn.log_softmax(jnp.asarray(rng.normal(size=(count, 11)), jnp.float32))
    return keys, tokens, log_probs


GATE = knn.MixtureGate(jnp.float32(0.5), jnp.float32(1.0), jnp.float32(-0.2))
NEAR = knn.KnnConfig(nearest=3, block=8)


def test_neighbours_are_earlier_blocks_each_place_once():
    keys, tokens, _ = some_text()
    for i, found in enumerate(knn.neighbours(NEAR, keys, tokens)):
        for j in range(len(found.cosine)):
            before = keys[: 8 * i]
            if not len(before):
                assert not found.shares[j].any()
                continue
            cosine = before @ keys[8 * i + j]
            at = np.argsort(-cosine, kind="stable")[:3]
            share = np.exp(20 * cosine[at])
            expected = np.bincount(tokens[at], share / share.sum(), minlength=11)
            got = np.bincount(np.asarray(found.tokens[j]), np.asarray(found.shares[j]), minlength=11)
            np.testing.assert_allclose(got, expected, atol=1e-4)


def test_mixtures_sum_to_one_and_the_published_minimum_does_not():
    keys, tokens, log_probs = some_text()
    for i, found in enumerate(knn.neighbours(NEAR, keys, tokens)):
        some = slice(8 * i, 8 * i + 8)
        mixed = np.asarray(knn.mixture(GATE, found, log_probs[some]))
        np.testing.assert_allclose(mixed.sum(1), 1.0, atol=1e-5)
        seen = knn.evidence(found, log_probs[some], tokens[some])
        cost = -np.log(mixed[np.arange(8), tokens[some]])
        np.testing.assert_allclose(knn.nats(GATE, seen), cost, rtol=1e-4, atol=1e-5)
        # The probability of each token if the better of two answers is taken for it:
        whole = sum(
            np.exp(-knn.oracle(knn.evidence(found, log_probs[some], np.full(8, token, np.int32))))
            for token in range(11)
        )
        if i:
            assert (whole > 1 + 1e-3).all()


def test_a_gate_is_fitted_to_what_neighbours_are_worth():
    rng = np.random.default_rng(0)
    cosine = rng.random(2000).astype(np.float32)
    near = np.where(cosine > 0.5, 0.9, 0.0).astype(np.float32)
    seen = knn.Evidence(
        np.full(2000, 0.2, np.float32), near, np.ones(2000, np.float32), cosine, np.ones(2000, np.float32)
    )
    gate = knn.fit_gate(seen)
    assert float(gate.by_cosine) > 2
    assert knn.nats(gate, seen).mean() < 0.7 * -np.log(0.2)


@settings(max_examples=5)
@given(st.integers(0, 1000))
def test_what_is_packed_comes_back(seed):
    config, student = a_student()
    student = student._replace(store=some_memory(seed, values=8))
    ids = np.array([[1, 2, 3, 4, 5, 6]])
    before = np.asarray(eam.student_predictor(config, student)(ids).log_probs)
    packed = artifact.pack(config, student)
    assert packed == artifact.pack(config, student)
    same, unpacked = artifact.unpack(packed)
    assert same == config
    assert int(unpacked.store.used) == int(student.store.used)
    after = np.asarray(eam.student_predictor(same, unpacked)(ids).log_probs)
    # A step of an int8 row is 1/127 of the largest number of the row.
    assert np.abs(after - before).mean() < 0.02


def test_bytes_of_the_first_edition_are_read():
    golden = pathlib.Path(__file__).parent / "golden"
    config, student = artifact.unpack((golden / "student_1.eam").read_bytes())
    assert config == STUDENT
    log_probs = eam.student_predictor(config, student)(np.array([[1, 2, 3, 4, 5, 6]])).log_probs
    then = [
        -4.9091,
        -5.9604,
        -9.7274,
        -8.2787,
        -11.2188,
        -0.1668,
        -7.7709,
        -1.9518,
        -7.0481,
        -12.669,
        -15.8634,
    ]
    np.testing.assert_allclose(np.asarray(log_probs)[0, 5], then, atol=2e-4)


def test_damaged_bytes_are_refused():
    packed = artifact.pack(*a_student())
    for bad in (b"", b"nothing", packed[:-20], lzma.compress(b"other")):
        with pytest.raises(ValueError, match=r"this packed model .*(was not|is damaged|does not)"):
            artifact.unpack(bad)
    assert 10_000 < artifact.code_bytes() < 100_000


def test_regulation_in_a_run_of_writes():
    keys, values = batch(0, 64)
    keys = np.abs(keys)  # no key is opposite to all locations, because nothing would be written then
    held = memory.empty(CONFIG, jnp.abs(memory.random_addresses(KEY, 4, 4)), 5, room=12)
    # Each value is written to one location only, so that all sums are known.
    config = memory.MemoryConfig(nearest=1, overload=4.0)
    parts = keys.reshape(8, 8, 4), values.reshape(8, 8, 5)
    after = memory.write_all(KEY, config, jax.tree.map(jnp.copy, held), *parts, 2)
    assert 4 < int(after.used) <= 12
    plain = memory.write_all(KEY, config, jax.tree.map(jnp.copy, held), *parts, 0)
    assert int(plain.used) == 4
    assert np.isfinite(np.asarray(after.addresses)).all()
    # Splits, merges and growth neither lose patterns nor add any.
    np.testing.assert_allclose(after.counters.sum(0), values.sum(0), rtol=1e-3, atol=1e-3)


@pytest.mark.long
def test_the_published_size_fits_its_budget():
    """The full preset fits its budget even with random numbers, which compression cannot make smaller."""
    config = eam.PUBLISHED.student(repaired=True)
    keys = jax.random.split(KEY, 4)
    params = distill.init(keys[0], config, jax.random.normal(keys[0], (1024, config.values)))
    params["decoder"]["out"] = jax.random.normal(keys[0], params["decoder"]["out"].shape)
    locations = eam.PUBLISHED.locations(4_096_000)
    held = memory.empty(
        config.memory, memory.random_addresses(keys[1], locations, config.keys), config.values
    )
    held = held._replace(
        counters=jax.random.normal(keys[2], held.counters.shape), weights=jnp.ones(locations)
    )
    assert len(artifact.pack(config, distill.Student(params, held))) + artifact.code_bytes() <= 16_000_000
