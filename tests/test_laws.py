"""Laws that hold for every table, every stream and every genome (hypothesis)."""

import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wnn_jax import ram
from wnn_jax.ram import bits, connectivity
from wnn_jax.saving import checkpoint

# There are few shapes, so that examples reuse compiled code.
K, NEURONS, T, I, N = 2, 3, 3, 9, 24
seeds = st.integers(0, 2**31 - 1)
all_cells = st.sampled_from(ram.CELLS)
additive = st.sampled_from(["ternary", "true_wins", "count"])
# Every kind of cell with all pairs of a neuron and an example, and two kinds with a share of the pairs.
configs = st.sampled_from(
    [*map(ram.RamConfig, ram.CELLS), *(ram.RamConfig(x, sample_rate=0.6) for x in ("count", "quad_weighted"))]
)

fit_and_read = jax.jit(ram.fit_and_read, static_argnums=1)
write = jax.jit(ram.write, static_argnums=1)
read = jax.jit(ram.read, static_argnums=0)


def draw(seed):
    rng = np.random.default_rng(seed)
    inputs = rng.random((I, N)) < rng.random()
    targets = rng.random((K, N)) < rng.random()
    train = ram.Examples(bits.pack(jnp.asarray(inputs)), jnp.asarray(targets), jnp.ones(N, bool))
    evaluated = bits.pack(jnp.asarray(rng.random((I, N)) < 0.5))
    return train, evaluated, connectivity.random(jax.random.key(seed), K, NEURONS, T, I), rng


def take(examples, index):
    return jax.tree.map(lambda x: x[..., jnp.asarray(index)], examples)


@given(seeds, additive)
def test_permuting_examples_changes_nothing(seed, cells):
    train, evaluated, connections, rng = draw(seed)
    config = ram.RamConfig(cells)
    shuffled = take(train, rng.permutation(N))
    np.testing.assert_array_equal(
        fit_and_read(None, config, connections, train, evaluated),
        fit_and_read(None, config, connections, shuffled, evaluated),
    )


@given(seeds, configs)
def test_writing_a_then_b_is_writing_both(seed, config):
    train, evaluated, connections, _ = draw(seed)
    key = jax.random.key(seed)
    table = ram.init(config, K, NEURONS, T)
    for part in (range(N // 2), range(N // 2, N)):
        table = write(key, config, table, connections, take(train, list(part)))
    whole = write(key, config, ram.init(config, K, NEURONS, T), connections, train)
    jax.tree.map(np.testing.assert_array_equal, table, whole)
    fused = fit_and_read(key, config, connections, train, evaluated)
    np.testing.assert_array_equal(read(config, table, connections, evaluated), fused)


@given(seeds, configs)
def test_padding_changes_nothing(seed, config):
    """Examples of weight 0 change nothing, at any place of the stream."""
    train, evaluated, connections, rng = draw(seed)
    key = jax.random.key(seed)
    kept = np.sort(rng.choice(N, N // 2, replace=False))
    masked = train._replace(weight=jnp.zeros(N, bool).at[kept].set(True))
    np.testing.assert_array_equal(
        fit_and_read(key, config, connections, masked, evaluated),
        fit_and_read(key, config, connections, take(train, kept), evaluated),
    )


@given(seeds, all_cells)
def test_a_population_is_a_loop(seed, cells):
    train, evaluated, _, _ = draw(seed)
    config = ram.RamConfig(cells)
    keys = jax.random.split(jax.random.key(seed), 4)
    genomes = jax.vmap(lambda key: connectivity.random(key, K, NEURONS, T, I))(keys)
    population = jax.vmap(lambda c: fit_and_read(None, config, c, train, evaluated))(genomes)
    for votes, genome in zip(population, genomes, strict=True):
        np.testing.assert_array_equal(votes, fit_and_read(None, config, genome, train, evaluated))


@given(seeds, configs)
def test_the_same_seed_gives_the_same_votes(seed, config):
    train, evaluated, connections, _ = draw(seed)
    again = draw(seed)
    np.testing.assert_array_equal(
        fit_and_read(jax.random.key(seed), config, connections, train, evaluated),
        fit_and_read(jax.random.key(seed), config, again[2], again[0], again[1]),
    )


@settings(max_examples=8)
@given(seeds, all_cells)
def test_a_saved_and_restored_layer_votes_the_same(seed, cells):
    train, evaluated, connections, _ = draw(seed)
    config = ram.RamConfig(cells)
    table = write(None, config, ram.init(config, K, NEURONS, T), connections, train)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(folder, connections, {}, {}, table._asdict())
        loaded = checkpoint.load(folder)
    before = fit_and_read(None, config, connections, train, evaluated)
    restored = jnp.asarray(loaded.connections)
    np.testing.assert_array_equal(fit_and_read(None, config, restored, train, evaluated), before)
    np.testing.assert_array_equal(read(config, ram.Table(**loaded.table), restored, evaluated), before)


@given(seeds, all_cells)
def test_permuting_neurons_changes_nothing(seed, cells):
    train, evaluated, connections, rng = draw(seed)
    config = ram.RamConfig(cells)
    shuffled = connections[:, rng.permutation(NEURONS)]
    np.testing.assert_array_equal(
        fit_and_read(None, config, connections, train, evaluated),
        fit_and_read(None, config, shuffled, train, evaluated),
    )


@given(seeds, all_cells)
def test_votes_are_the_sum_of_the_neurons(seed, cells):
    """The vote of a cluster is exactly the sum over its neurons; delta evaluation relies on that."""
    train, evaluated, connections, _ = draw(seed)
    config = ram.RamConfig(cells)
    whole = fit_and_read(None, config, connections, train, evaluated)
    alone = [fit_and_read(None, config, connections[:, j : j + 1], train, evaluated) for j in range(NEURONS)]
    np.testing.assert_array_equal(whole, sum(alone))


@given(seeds, st.sampled_from([(1, 1), (31, 4), (32, 1), (33, 2), (64, 3), (100, 4)]))
def test_packing_is_lossless(seed, shape):
    rng = np.random.default_rng(seed)
    row, examples = rng.random(shape[0]) < rng.random(), shape[1]
    array = np.array([np.roll(row, i) for i in range(examples)]).T
    words = bits.pack(jnp.asarray(array))
    assert words.shape == (-(-len(row) // 32), examples)
    np.testing.assert_array_equal(bits.unpack(words, len(row)), array)
