"""RAM tables equal the oracle with dicts bit for bit, and every wrong call raises its error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from wnn_jax import ram
from wnn_jax.ram import bits, connectivity, xla

K, NEURONS, T, I, N, EVALUATED = 3, 5, 4, 40, 200, 60

fit_and_read = jax.jit(ram.fit_and_read, static_argnums=1)
write = jax.jit(ram.write, static_argnums=1)
read = jax.jit(ram.read, static_argnums=0)


def make(seed=0, weight=None):
    rng = np.random.default_rng(seed)
    # A few prototypes with noise: cells fill up, saturate, and get examples of both targets.
    inputs = rng.random((4, I))[rng.integers(4, size=N + EVALUATED)] > rng.random((N + EVALUATED, I))
    targets = rng.random((N, K)) < 0.3 + 0.6 * inputs[:N, :K]
    words = bits.pack(jnp.asarray(inputs.T))
    train = ram.Examples(words[:, :N], jnp.asarray(targets.T), weight)
    connections = np.asarray(connectivity.random(jax.random.key(seed), K, NEURONS, T, I)).copy()
    connections[0, 0] = [3, 3, 7, 3]  # duplicates are legal
    connections[1, 1, :2] = -1  # a neuron of two bits
    connections[2, 3] = -1  # an absent neuron
    return inputs, targets, train, words[:, N:], connections


@pytest.mark.parametrize("cells", ram.CELLS)
@pytest.mark.parametrize("empty_value", [0.0, 0.5])
def test_fit_and_read_equals_the_oracle(cells, empty_value):
    inputs, targets, train, words, connections = make()
    config = ram.RamConfig(cells, empty_value)
    tables = reference.fit(cells, connections, inputs[:N], targets)
    priors = targets.mean(axis=0, dtype=np.float32)
    expected = reference.votes(cells, tables, connections, inputs[N:], priors, empty_value)
    votes = fit_and_read(None, config, jnp.asarray(connections), train, words)
    np.testing.assert_array_equal(votes, expected)


@pytest.mark.parametrize("cells", ram.CELLS)
def test_write_and_read_equal_the_fused_path(cells):
    _, _, train, words, connections = make(1)
    config = ram.RamConfig(cells)
    key = jax.random.key(0)
    table = write(key, config, ram.init(config, K, NEURONS, T), connections, train)
    expected = fit_and_read(key, config, jnp.asarray(connections), train, words)
    np.testing.assert_array_equal(read(config, table, connections, words), expected)


@pytest.mark.parametrize("cells", ram.CELLS)
def test_the_table_holds_what_the_oracle_holds(cells):
    inputs, targets, train, _, connections = make(2)
    config = ram.RamConfig(cells)
    table = write(None, config, ram.init(config, K, NEURONS, T), connections, train)
    tables = reference.fit(cells, connections, inputs[:N], targets)
    for k in range(K):
        for j in range(NEURONS):
            row = np.asarray(table.cells[k, j])
            for address in range(2**T):
                if address in tables[k][j]:
                    np.testing.assert_array_equal(row[address], tables[k][j][address])
                else:
                    np.testing.assert_array_equal(row[address], 1 if config.is_quad else 0)
    np.testing.assert_array_equal(table.ones, targets.sum(axis=0))
    assert int(table.written) == N


@pytest.mark.parametrize("cells", ram.CELLS)
def test_a_span_is_all_that_a_cluster_sees(cells):
    """Clusters that have their own examples, one of them none, equal clusters that are fitted one by one."""
    inputs, targets, train, words, connections = make(6, jnp.arange(N) % 7 > 0)
    config = ram.RamConfig(cells, empty_value=0.5)
    spans = [(20, 150), (199, 200), (40, 40)]
    spanned = train._replace(span=jnp.asarray(spans))
    votes = fit_and_read(None, config, jnp.asarray(connections), spanned, words)
    for k, (begin, end) in enumerate(spans):
        kept = np.flatnonzero((np.arange(N) % 7 > 0) & (np.arange(N) >= begin) & (np.arange(N) < end))
        own, asked = connections[k : k + 1], targets[kept, k : k + 1]
        tables = reference.fit(cells, own, inputs[kept], asked)
        prior = asked.mean(axis=0, dtype=np.float32) if len(kept) else [0.5]
        expected = reference.votes(cells, tables, own, inputs[N:], prior, 0.5)
        np.testing.assert_array_equal(votes[k], expected[0])
    with pytest.raises(ValueError, match="spans are for fit_and_read"):
        write(None, config, ram.init(config, K, NEURONS, T), connections, spanned)
    bad = train._replace(span=jnp.asarray(spans[:2]))
    with pytest.raises(ValueError, match=r"span has shape \[2, 2\]: give \[K=3, ends=2\]"):
        fit_and_read(None, config, jnp.asarray(connections), bad, words)


@pytest.mark.parametrize("cells", ["count", "quad_weighted"])
def test_sampling_trains_that_share_of_the_pairs(cells):
    """Every neuron draws its own examples, and the other examples leave no trace."""
    rng = np.random.default_rng(0)
    count = 4000
    train = ram.Examples(jnp.zeros((1, count), jnp.uint32), jnp.asarray(rng.random((1, count)) < 0.5))
    config = ram.RamConfig("count", sample_rate=0.25)
    connections = jnp.zeros((1, 8, 1), jnp.int8)
    table = write(jax.random.key(3), config, ram.init(config, 1, 8, 1), connections, train)
    written = np.asarray(table.cells)[0, :, 0].sum(axis=-1)
    assert np.all(np.abs(written / count - 0.25) < 0.03)
    assert len(set(written.tolist())) > 1, "neurons must not share their draw"
    # Each address has one example, so a cell shows whether its neuron drew the example; the oracle gets that.
    inputs = np.eye(64, dtype=bool)[:, :32]
    inputs[np.arange(64)] = (np.arange(64)[:, None] >> np.arange(32)[None, :] % 6) & 1
    targets = rng.random((64, 1)) < 0.5
    some = ram.Examples(bits.pack(jnp.asarray(inputs.T)), jnp.asarray(targets.T))
    connections = jnp.arange(6, dtype=jnp.int8)[None, None].repeat(5, axis=1)
    sampled = ram.RamConfig(cells, sample_rate=0.5)
    key = jax.random.key(5)
    table = write(key, sampled, ram.init(sampled, 1, 5, 6), connections, some)
    counted = ram.RamConfig("count", sample_rate=0.5)
    seen = write(key, counted, ram.init(counted, 1, 5, 6), connections, some).cells.sum(-1)
    address = [reference.address(row, range(6)) for row in inputs]
    keep = np.asarray(seen)[:, :, address] > 0
    assert 0.3 < keep.mean() < 0.7
    oracle = reference.fit(cells, np.asarray(connections), inputs, targets, keep)
    for j in range(5):
        for place, cell in oracle[0][j].items():
            np.testing.assert_array_equal(table.cells[0, j, place], cell)


def test_the_saturating_walk_is_not_a_clipped_sum():
    """Four ones and then two zeros end at 1, not at clip(1 + 4 - 2) = 3."""
    config = ram.RamConfig("quad_weighted")
    targets = jnp.asarray([[True] * 4 + [False] * 2])
    train = ram.Examples(jnp.zeros((1, 6), jnp.uint32), targets)
    connections = jnp.zeros((1, 1, 1), jnp.int8)
    table = write(None, config, ram.init(config, 1, 1, 1), connections, train)
    assert table.cells[0, 0].tolist() == [1, 1]
    backwards = train._replace(targets=targets[:, ::-1])
    table = write(None, config, ram.init(config, 1, 1, 1), connections, backwards)
    assert table.cells[0, 0].tolist() == [3, 1]


def test_more_examples_than_a_chunk_walk_in_order():
    rng = np.random.default_rng(0)
    count = xla._CHUNK + 17
    inputs, targets = rng.random((count, 3)) < 0.5, rng.random((count, 1)) < 0.6
    train = ram.Examples(bits.pack(jnp.asarray(inputs.T)), jnp.asarray(targets.T))
    connections = np.arange(3)[None, None]
    config = ram.RamConfig("quad_binary")
    table = write(None, config, ram.init(config, 1, 1, 3), jnp.asarray(connections), train)
    oracle = reference.fit("quad_binary", connections, inputs, targets)[0][0]
    assert table.cells[0, 0].tolist() == [oracle[a] for a in range(8)]


@pytest.mark.parametrize("cells", ram.CELLS)
def test_a_population_is_a_loop_over_genomes(cells):
    _, _, train, words, _ = make(4)
    config = ram.RamConfig(cells, sample_rate=0.7)
    keys = jax.random.split(jax.random.key(0), 6)
    genomes = jax.vmap(lambda key: connectivity.random(key, K, NEURONS, T, I))(keys)

    def one(key, genome):
        return fit_and_read(key, config, genome, train, words)

    loop = jnp.stack([one(*pair) for pair in zip(keys, genomes, strict=True)])
    np.testing.assert_array_equal(jax.jit(jax.vmap(one))(keys, genomes), loop)
    nested = jax.vmap(jax.vmap(one))(keys.reshape(2, 3), genomes.reshape(2, 3, K, NEURONS, T))
    np.testing.assert_array_equal(nested.reshape(loop.shape), loop)


def test_genomes_may_have_examples_of_their_own():
    sets = [make(seed) for seed in range(3)]
    stack = [jnp.stack(x) for x in zip(*[(s[2].words, s[2].targets, s[3], s[4]) for s in sets], strict=True)]
    config = ram.RamConfig("count")

    def one(words, targets, evaluated, connections):
        return fit_and_read(None, config, connections, ram.Examples(words, targets), evaluated)

    loop = jnp.stack([one(*(x[i] for x in stack)) for i in range(3)])
    np.testing.assert_array_equal(jax.vmap(one)(*stack), loop)
    # The same genome on other examples, too.
    shared = jax.vmap(lambda w, t: one(w, t, stack[2][0], stack[3][0]))(stack[0], stack[1])
    expected = jnp.stack([one(stack[0][i], stack[1][i], stack[2][0], stack[3][0]) for i in range(3)])
    np.testing.assert_array_equal(shared, expected)


def test_donated_tables_are_updated_in_place():
    _, _, train, _, connections = make()
    config = ram.RamConfig("count")
    write = jax.jit(ram.write, static_argnums=1, donate_argnums=2)
    table = ram.init(config, K, NEURONS, 12)
    wide = jnp.asarray(connectivity.random(jax.random.key(0), K, NEURONS, 12, I))
    compiled = write.lower(None, config, table, wide, train).compile()
    size = table.cells.nbytes
    assert compiled.memory_analysis().temp_size_in_bytes < size / 2
    before = table.cells.unsafe_buffer_pointer()
    after = write(None, config, table, wide, train)
    assert after.cells.unsafe_buffer_pointer() == before
    assert table.cells.is_deleted()
    assert connections.shape[0] == K


def test_a_wide_input_is_addressed_across_words():
    rng = np.random.default_rng(0)
    inputs = rng.random((50, 1000)) < 0.5
    words = bits.pack(jnp.asarray(inputs.T))
    assert words.shape == (32, 50)
    connections = np.array([999, 0, 31, 32, 512, -1])
    expected = [reference.address(row, connections) for row in inputs]
    np.testing.assert_array_equal(ram.addresses(words, jnp.asarray(connections)), expected)


def test_probability_counts_present_neurons_only():
    connections = jnp.asarray([[[0, 1], [-1, -1]], [[-1, -1], [-1, -1]]])
    votes = jnp.asarray([[ram.UNIT // 4], [0]])
    one, zero = ram.probability(votes, connections)
    assert one.ravel().tolist() == [0.25, 0.5]
    assert zero.ravel().tolist() == [0.75, 0.5]


def test_votes_of_the_largest_cluster_fit():
    """MAX_NEURONS neurons that all say 1 stay inside int32."""
    train = ram.Examples(jnp.zeros((1, 3), jnp.uint32), jnp.ones((1, 3), bool))
    connections = jnp.zeros((1, ram.MAX_NEURONS, 1), jnp.int8)
    votes = fit_and_read(None, ram.RamConfig("ternary"), connections, train, train.words)
    assert votes.tolist() == [[ram.MAX_NEURONS * ram.UNIT] * 3]
    assert ram.probability(votes, connections)[0].tolist() == [[1.0] * 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cells": "bloom"}, "unknown cells 'bloom'"),
        (
            {"empty_value": 1.5},
            "empty_value=1.5 is out of range: give a finite number of at least 0 and at most 1",
        ),
        ({"sample_rate": 0.0}, "sample_rate=0.0 is out of range"),
        ({"sample_rate": 1.1}, "sample_rate=1.1 .*: give a finite number above 0 and at most 1"),
    ],
)
def test_configs_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        ram.RamConfig(**arguments)


def test_shapes_are_checked_at_the_edge():
    _, _, train, words, connections = make()
    config = ram.RamConfig()
    for bad, message in [
        (connections[0], r"connections has shape \[5, 4\]: give \[K=3, n, T\]"),
        (connections[:2], r"connections has shape \[2, 5, 4\]: give \[K=3, n, T\]"),
        (
            np.zeros((K, 2, 25), np.int8),
            "address_bits=25 is out of range: give a whole number of at least 1 and at most 24",
        ),
        (np.zeros((K, ram.MAX_NEURONS + 1, 1), np.int8), "neurons=2048 is out of range"),
    ]:
        with pytest.raises(ValueError, match=message):
            ram.fit_and_read(None, config, bad, train, words)
    with pytest.raises(ValueError, match=r"targets has shape \[3, 200\]: give \[K, N=199\]"):
        ram.fit_and_read(None, config, connections, train._replace(words=train.words[:, 1:]), words)
    nothing = ram.Examples(train.words[:, :0], train.targets[:, :0])
    with pytest.raises(
        ValueError, match=r"targets has shape \[3, 0\]: give at least one cluster and one example"
    ):
        ram.fit_and_read(None, config, connections, nothing, words)
    with pytest.raises(ValueError, match=r"sample_rate 0.5 needs a key"):
        ram.fit_and_read(None, ram.RamConfig(sample_rate=0.5), connections, train, words)
