"""What callers give to RAM layers is refused with the same words on every backend, or computed alike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_ram
from test_ram import NEURONS, I, K, N, T

from wnn_jax import ram
from wnn_jax.ram import bits

# What is given instead of a good argument, and the message.
REFUSED = [
    (
        "connections",
        lambda x: 0 * x + 10**6,
        r"connections\[0, 0, 0\]=1000000 is out .* at most 63",
    ),
    ("connections", lambda x: 0 * x - 5, r"connections\[0, 0, 0\]=-5 .*: give integers of at least -1 and"),
    ("connections", lambda x: 0 * x + 2**32, r"connections\[0, 0, 0\]=4294967296 is out of range"),
    ("connections", lambda x: 1.0 * x, "connections has dtype float64: give integers"),
    ("connections", lambda x: x[:, :, :0], "address_bits=0 is out of range"),
    ("read", lambda x: x[:1], r"the words to read has shape \[1, 60\]: give \[W=2, N\]"),
    ("read", lambda x: x.astype(np.uint8), "the words to read has dtype uint8: give uint32"),
    ("words", lambda x: x.astype(np.uint8), "words has dtype uint8: give uint32"),
    ("words", lambda x: x[:0], r"words has shape \[0, 200\], without an input bit"),
    ("targets", lambda x: np.where(x, 1, -1), "targets has dtype int64: give booleans"),
    ("targets", lambda x: (3 * x.astype(np.uint8)).view(bool), r"targets\[.*\]=3 is out of range"),
    ("weight", lambda x: np.ones(N), "weight has dtype float64: give booleans"),
    ("weight", lambda x: np.ones(N - 1, bool), r"weight has shape \[199\]: give \[N=200\]"),
    (
        "span",
        lambda x: np.array([[-5, 10**6]] * K),
        r"span\[0, 0\]=-5 .* at least 0 and at most 200",
    ),
    ("span", lambda x: np.array([[9, 3]] * K), r"span\[0\] begins at 9 and ends at 3: give a begin no later"),
    ("key", lambda x: 5, "key is of type int: give a key"),
    ("config", lambda x: "count", "config is of type str: give a RamConfig"),
]


def given():
    _, _, train, words, connections = test_ram.make()
    found = {
        "words": train.words,
        "targets": train.targets,
        "read": words,
        "connections": connections.astype(int),
    }
    return {name: np.asarray(x) for name, x in found.items()} | {
        "key": None,
        "config": ram.RamConfig(),
        "weight": None,
        "span": None,
    }


@pytest.mark.parametrize(("name", "change", "message"), REFUSED)
def test_every_backend_refuses_the_same_arrays(monkeypatch, name, change, message):
    x = given()
    x[name] = change(x[name])
    train = ram.Examples(x["words"], x["targets"], x["weight"], x["span"])
    # The check stands before the choice of a backend, so the native kernels need not be installed.
    for backend in ("xla", "cpu"):
        monkeypatch.setenv("WNN_JAX_BACKEND", backend)
        with pytest.raises(ValueError, match=message):
            ram.fit_and_read(x["key"], x["config"], x["connections"], train, x["read"])


def test_a_table_of_another_layer_is_refused():
    _, _, train, words, connections = test_ram.make()
    config = ram.RamConfig()
    table = ram.write(None, config, ram.init(config, K, NEURONS, T), connections, train)
    wide = np.zeros((K, NEURONS, T + 3), int)
    for call in (
        lambda: ram.read(config, table, wide, words),
        lambda: ram.write(None, config, table, wide, train),
        lambda: ram.read(ram.RamConfig("ternary"), table, connections, words),
    ):
        with pytest.raises(ValueError, match=r"table.cells has shape .*: give \[K=3, n=5, A="):
            call()
    bad = table._replace(cells=table.cells.at[0, 0, 1, 0].set(-7))
    with pytest.raises(ValueError, match=r"table.cells\[0, 0, 1, 0\]=-7 is out of range"):
        ram.read(config, bad, connections, words)
    with pytest.raises(ValueError, match=r"table.ones\[0\]=9999 is out of range"):
        ram.read(config, table._replace(ones=table.ones + 9999 - table.ones[0]), connections, words)


def test_numpy_arrays_and_nothing_to_read_are_taken():
    _, _, train, _, connections = test_ram.make()
    config = ram.RamConfig()
    numpy = ram.Examples(*(None if x is None else np.asarray(x) for x in train))
    empty = ram.init(config, K, NEURONS, T)
    one, other = (ram.write(None, config, empty, np.asarray(connections), x) for x in (numpy, train))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    nothing = bits.pack(np.zeros((I, 0), bool))
    assert ram.fit_and_read(None, config, connections, train, nothing).shape == (K, 0)


@pytest.mark.parametrize("backend", ["xla", None])
def test_a_layer_with_contents_that_no_layer_has_is_refused(monkeypatch, backend):
    X = np.eye(9, dtype=bool)
    layer = ram.fit(jax.random.key(0), ram.LayerConfig(3, 4), X, X[:, :2])
    if backend:
        monkeypatch.setenv("WNN_JAX_BACKEND", backend)
    low = np.asarray(layer.connections).copy()
    low[0, 0, 0] = -7
    for broken, said in [
        (layer._replace(connections=jnp.asarray(low)), r"connections\[0, 0, 0\]=-7 is out of range"),
        (layer._replace(connections=None), "connections is of type NoneType"),
        (
            layer._replace(table=layer.table._replace(cells=layer.table.cells - 5)),
            r"table.cells\[.*\]=-\d is out of range",
        ),
        (layer._replace(seed="0"), "key is of type str"),
        (None, "the layer is of type NoneType"),
    ]:
        for call in (lambda x: ram.predict(x, X), lambda x: ram.learn(x, X, X[:, :2])):
            with pytest.raises(ValueError, match=said):
                call(broken)
