"""The native kernels equal XLA bit for bit, and refuse calls that make no sense.

`test_ram` and `test_laws` run on the default backend; here both backends run side by side.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wnn_jax import ram
from wnn_jax.ram import backend, bits, connectivity, xla

reason, gpu = backend._register()
installed = not reason and jax.default_backend() == "cpu"
needs_extension = pytest.mark.skipif(
    not installed, reason=f"no native kernels here: {reason or jax.default_backend()}"
)


def kinds(*everyday):
    """Mark most kinds of cells as long tests, because compiling each of them takes seconds."""
    return [pytest.param(x, marks=[] if x in everyday else pytest.mark.long) for x in ram.CELLS]


def layer(seed, address_bits, input_bits, examples, evaluated, clusters=2, neurons=3, ragged=True):
    """Make a layer with duplicate connections, smaller neurons, an absent neuron and padded examples."""
    rng = np.random.default_rng(seed)
    prototypes = rng.random((3, input_bits)) < 0.5
    inputs = prototypes[rng.integers(3, size=examples + evaluated)]
    inputs ^= rng.random(inputs.shape) < 0.1
    words = bits.pack(jnp.asarray(inputs.T))
    connections = rng.integers(input_bits, size=(clusters, neurons, address_bits))
    if ragged:
        connections[0, 0, : address_bits // 2] = connectivity.UNUSED
        connections[-1, -1] = connectivity.UNUSED
    train = ram.Examples(
        words[:, :examples],
        jnp.asarray(rng.random((clusters, examples)) < 0.4),
        jnp.asarray(rng.random(examples) < 0.9),
    )
    return jnp.asarray(connections, jnp.int32), train, words[:, examples:]


def everywhere(monkeypatch, function, *arguments):
    """Return the results on XLA, on the native CPU kernels and, on a Mac, on its GPU, each compiled anew."""
    results = []
    for name in ("xla", "cpu", "metal") if gpu else ("xla", "cpu"):
        monkeypatch.setenv("WNN_JAX_BACKEND", name)
        compiled = jax.jit(lambda *arguments: function(*arguments))
        results.append(jax.tree.map(np.asarray, compiled(*arguments)))
    return results


def assert_same(results):
    for other in results[1:]:
        jax.tree.map(np.testing.assert_array_equal, results[0], other)


# Address bits, input bits, examples, evaluated examples; and the kinds of cells that are not long tests.
LAYERS = [
    ((1, 1, 1, 1), ["quad_weighted"]),
    ((2, 40, 33, 0), ["true_wins"]),
    ((5, 64, 2048, 2049), ram.CELLS),
    ((8, 31, 2047, 100), ["quad_weighted"]),
    ((12, 100, 4097, 333), ["ternary"]),
    ((13, 1024, 500, 70), ["count"]),
    ((20, 64, 3000, 3000), ["true_wins"]),
    ((24, 256, 100, 50), ["count"]),
]


@needs_extension
@pytest.mark.parametrize(
    ("address_bits", "input_bits", "examples", "evaluated", "cells"),
    [
        pytest.param(*sizes, *cells.values, marks=cells.marks)
        for sizes, everyday in LAYERS
        for cells in kinds(*everyday)
    ],
)
def test_native_equals_xla(monkeypatch, address_bits, input_bits, examples, evaluated, cells):
    connections, train, words = layer(0, address_bits, input_bits, examples, evaluated)
    config = ram.RamConfig(cells, empty_value=0.5, sample_rate=0.7)
    key = jax.random.key(1)

    def both(key, connections, train, words):
        fused = ram.fit_and_read(key, config, connections, train, words)
        if address_bits == 24:  # six tables of 2**24 cells of eight bytes would be 1.6 GB, twice
            return fused, None, fused
        table = ram.init(config, *connections.shape)
        table = ram.write(key, config, table, connections, train)
        return fused, table, ram.read(config, table, connections, words)

    results = everywhere(monkeypatch, both, key, connections, train, words)
    assert_same(results)
    np.testing.assert_array_equal(results[1][2], results[1][0])


@needs_extension
def test_wider_inputs_than_native_kernels_take_stay_on_xla(monkeypatch):
    connections, train, words = layer(0, 6, 1100, 200, 50)
    fit = functools.partial(ram.fit_and_read, None, ram.RamConfig())
    assert_same(everywhere(monkeypatch, fit, connections, train, words))


@pytest.mark.skipif(not gpu, reason="no Metal device here: the Metal kernels did not run")
def test_metal_takes_the_work():
    """`everywhere` compares Metal if there is a device; this test is skipped by name if there is none."""
    assert backend.chosen() == "metal"


@needs_extension
@pytest.mark.parametrize("cells", ram.CELLS)
def test_sums_beyond_sixteen_bits(monkeypatch, cells):
    """With two addresses and 150,000 examples the compact rows of the fused kernel must spill."""
    rng = np.random.default_rng(0)
    count = 150_000
    inputs = rng.random((1, count)) < 0.3
    targets = rng.random((2, count)) < [[0.02], [0.97]]
    train = ram.Examples(bits.pack(jnp.asarray(inputs)), jnp.asarray(targets))
    connections = jnp.zeros((2, 2, 1), jnp.int32)
    words = bits.pack(jnp.asarray([[False, True]]))
    config = ram.RamConfig(cells)
    fit = functools.partial(ram.fit_and_read, None, config)
    votes = everywhere(monkeypatch, fit, connections, train, words)
    assert_same(votes)
    if cells == "count":
        share = votes[1] / (2 * ram.UNIT)
        np.testing.assert_allclose(share, [[0.02] * 2, [0.97] * 2], atol=0.005)


@needs_extension
@pytest.mark.parametrize("cells", kinds("count", "quad_weighted"))
def test_populations_of_both_backends_agree(monkeypatch, cells):
    _, train, words = layer(3, 6, 50, 300, 100)
    keys = jax.random.split(jax.random.key(0), 6)
    genomes = jax.vmap(lambda key: connectivity.random(key, 2, 5, 6, 50))(keys)
    config = ram.RamConfig(cells, sample_rate=0.5)

    def populations(keys, genomes, train, words):
        def one(key, genome):
            return ram.fit_and_read(key, config, genome, train, words)

        def write(genome):
            return ram.write(keys[0], config, ram.init(config, 2, 5, 6), genome, train)

        nested = jax.vmap(jax.vmap(one))(keys.reshape(2, 3), genomes.reshape(2, 3, 2, 5, 6))
        tables = jax.vmap(write)(genomes)
        return nested, jax.vmap(lambda t, g: ram.read(config, t, g, words))(tables, genomes)

    assert_same(everywhere(monkeypatch, populations, keys, genomes, train, words))


@needs_extension
@pytest.mark.parametrize("cells", kinds("ternary", "quad_weighted"))
def test_spans_of_both_backends_agree(monkeypatch, cells):
    connections, train, words = layer(5, 6, 50, 5000, 100)
    train = train._replace(span=jnp.asarray([[100, 4300], [0, 0]], jnp.int32))
    config = ram.RamConfig(cells, sample_rate=0.5)

    def fit(key, connections, train, words):
        return ram.fit_and_read(key, config, connections, train, words)

    assert_same(everywhere(monkeypatch, fit, jax.random.key(0), connections, train, words))


@needs_extension
def test_shared_examples_are_not_copied_for_a_population(monkeypatch):
    monkeypatch.setenv("WNN_JAX_BACKEND", "cpu")
    _, train, words = layer(3, 6, 64, 20_000, 20_000)
    genomes = jnp.zeros((50, 2, 1, 6), jnp.int32)
    call = jax.jit(jax.vmap(lambda g: ram.fit_and_read(None, ram.RamConfig(), g, train, words)))
    temporary = call.lower(genomes).compile().memory_analysis().temp_size_in_bytes
    assert temporary < 2 * train.words.nbytes + 2 * words.nbytes


def test_the_backend_can_be_forced(monkeypatch):
    monkeypatch.setenv("WNN_JAX_BACKEND", "xla")
    assert backend.chosen() == "xla"
    monkeypatch.setenv("WNN_JAX_BACKEND", "cuda")
    with pytest.raises(ValueError, match="WNN_JAX_BACKEND='cuda' is unknown: use xla, cpu or metal"):
        backend.chosen()
    monkeypatch.delenv("WNN_JAX_BACKEND")
    assert backend.chosen() in (("cpu", "metal") if installed else ("xla",))
    monkeypatch.setattr(backend, "_register", lambda: ("", ""))
    assert backend.chosen() == "cpu"
    monkeypatch.setenv("WNN_JAX_BACKEND", "metal")
    with pytest.raises(ValueError, match=r"WNN_JAX_BACKEND=metal cannot be used: there is no Metal device"):
        backend.chosen()
    monkeypatch.setattr(backend, "_register", lambda: ("", "a GPU"))
    assert backend.chosen() == "metal"
    monkeypatch.delenv("WNN_JAX_BACKEND")
    assert backend.chosen() == "metal"
    monkeypatch.setattr(backend, "_register", lambda: ("metal_ext is not installed (test)", ""))
    assert backend.chosen() == "xla"
    monkeypatch.setenv("WNN_JAX_BACKEND", "cpu")
    with pytest.raises(ValueError, match=r"cannot be used: metal_ext is not installed \(test\)"):
        backend.chosen()


def arguments(**changes):
    """Make the operands of a valid call of the fused kernel, with some of them replaced."""
    found = {
        "connections": np.zeros((4, 3), np.int32),
        "seed": np.zeros(4, np.uint32),
        "cluster": np.zeros(4, np.int32),
        "row": np.zeros(4, np.int32),
        "words": np.zeros((2, 10), np.uint32),
        "targets": np.zeros((2, 10), bool),
        "weight": np.ones(10, bool),
        "place": np.arange(10, dtype=np.uint32),
        "span": np.tile(np.array([0, 10], np.int32), (2, 1)),
        "prior": np.zeros(2, np.float32),
        "evaluated": np.zeros((2, 5), np.uint32),
    }
    return list({**found, **changes}.values())


def call_fused(operands, votes=(1, 5), kind=2, values=(), threshold=0, device=0):
    call = jax.ffi.ffi_call("wnn_fit_and_read", jax.ShapeDtypeStruct(votes, jnp.int32))
    numbers = {"kind": kind, "threshold": threshold, "device": device}
    attributes = {name: np.int64(value) for name, value in numbers.items()}
    return np.asarray(call(*operands, values=np.array(values, np.int32), **attributes))


BAD_OPERANDS = [
    ({"connections": np.zeros((4, 25), np.int32)}, "1 to 24 address bits"),
    ({"connections": np.zeros((4, 0), np.int32)}, "1 to 24 address bits"),
    ({"connections": np.full((4, 3), 64, np.int32)}, "connection 64 is outside the 64 input bits"),
    ({"connections": np.full((4, 3), -2, np.int32)}, "connection -2 is outside"),
    ({"connections": np.zeros(4, np.int32)}, "rank"),
    ({"connections": np.zeros((4, 3), np.int16)}, "dtype"),
    ({"seed": np.zeros(3, np.uint32)}, "one entry for each neuron"),
    ({"cluster": np.full(4, 2, np.int32)}, "cluster out of range"),
    ({"cluster": np.full(4, -1, np.int32)}, "cluster out of range"),
    ({"row": np.full(4, 1, np.int32)}, "row out of range"),
    ({"words": np.zeros((33, 10), np.uint32)}, "at most 1024 input bits"),
    ({"words": np.zeros((2, 9), np.uint32)}, "differ in the number of examples"),
    ({"weight": np.ones(11, bool)}, "differ in the number of examples"),
    ({"span": np.zeros((1, 2), np.int32)}, "one span for each cluster"),
    ({"span": np.array([[0, 10], [0, 11]], np.int32)}, "span outside"),
    ({"span": np.array([[0, 10], [-1, 2]], np.int32)}, "span outside"),
    ({"span": np.array([[5, 4], [0, 10]], np.int32)}, "span outside"),
    ({"prior": np.zeros(1, np.float32)}, "one prior for each cluster"),
    ({"evaluated": np.zeros((1, 5), np.uint32)}, "differ in the number of bits"),
    ({"evaluated": np.zeros((2, 6), np.uint32)}, "one vote for each evaluated example"),
    ({"targets": np.zeros((0, 10), bool)}, "one span for each cluster"),
]


@needs_extension
@pytest.mark.parametrize(("changes", "message"), BAD_OPERANDS)
def test_the_handler_refuses_nonsense(changes, message):
    with pytest.raises(Exception, match=message) as caught:
        call_fused(arguments(**changes))
    assert isinstance(caught.value, (ValueError, jax.errors.JaxRuntimeError))


@needs_extension
@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"kind": 4}, "unknown kind of cell"),
        ({"kind": 0, "values": (1, 2)}, "wrong number of read values"),
        ({"threshold": -1}, "threshold out of range"),
        ({"device": 3}, "unknown device"),
    ],
)
def test_the_handler_refuses_unknown_configs(attributes, message):
    with pytest.raises(jax.errors.JaxRuntimeError, match=message):
        call_fused(arguments(), **attributes)


@needs_extension
def test_empty_batches():
    """Without neurons or examples votes are 0; with nothing to evaluate they are empty."""
    nobody = {
        name: np.zeros((0, *x.shape[1:]), x.dtype)
        for name, x in zip(("connections", "seed", "cluster", "row"), arguments()[:4], strict=True)
    }
    assert not call_fused(arguments(**nobody)).any()
    assert call_fused(arguments(evaluated=np.zeros((2, 0), np.uint32)), votes=(1, 0)).shape == (1, 0)
    untaught = {
        "words": np.zeros((2, 0), np.uint32),
        "targets": np.zeros((2, 0), bool),
        "weight": np.ones(0, bool),
        "place": np.zeros(0, np.uint32),
        "span": np.zeros((2, 2), np.int32),
        "prior": np.full(2, 0.5, np.float32),
    }
    np.testing.assert_array_equal(call_fused(arguments(**untaught)), np.full((1, 5), 4 * ram.UNIT // 2))


@needs_extension
def test_random_calls_end_in_votes_or_in_an_exception():
    """Calls with random shapes and dtypes must not crash Python, and most must be refused."""
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        operands = arguments()
        for place in rng.choice(len(operands), rng.integers(1, 3), replace=False):
            shape = tuple(rng.integers(0, 5, size=rng.integers(0, 4)))
            dtype = rng.choice([np.int32, np.uint32, np.float32, np.bool_, np.int8])
            operands[place] = (rng.integers(-3, 90, size=shape)).astype(dtype)
        try:
            call_fused(operands, votes=tuple(rng.integers(1, 4, size=2)))
        except (ValueError, jax.errors.JaxRuntimeError):
            refused += 1
    assert refused > 140


def test_kernels_and_native_take_the_same_arguments():
    import inspect

    for name in ("fit_and_read", "write", "read"):
        signatures = [inspect.signature(getattr(room, name)).parameters for room in (xla, backend)]
        assert list(signatures[0]) == list(signatures[1])


def test_kernels_of_another_edition_are_not_used(monkeypatch):
    wnn_metal_ext = pytest.importorskip("wnn_metal_ext", reason="no native kernels here")
    assert wnn_metal_ext.EDITION == backend.EDITION
    monkeypatch.setattr(wnn_metal_ext, "EDITION", 1)
    reason, gpu = backend._register.__wrapped__()
    assert f"it has edition 1, and {backend.EDITION} is needed: run pip install ./metal_ext again" in reason
    assert not gpu
