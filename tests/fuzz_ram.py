"""Random calls of `wnn_jax.ram`, and its native kernels with random contents; see `fuzz`."""

import fuzz
import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import ram
from wnn_jax.ram import bits, connectivity

# One shape for all calls, so that JAX compiles few programs.
K, I, N, READ, SIZE, T = 2, 33, 40, 9, 3, 5


def good(rng):
    """Make valid arguments of all functions of a layer."""
    config = ram.RamConfig(ram.CELLS[rng.integers(len(ram.CELLS))])
    inputs = rng.random((I, N + READ)) < 0.5
    words = np.asarray(bits.pack(inputs))
    wide = (K, SIZE, 1 << T, 2) if config.cells == "count" else (K, SIZE, 1 << T)
    written = int(rng.integers(3, 9))
    return {
        "config": config,
        "key": jax.random.key(int(rng.integers(9))),
        "connections": rng.integers(-1, I, (K, SIZE, T)).astype(rng.choice(["int8", "int32", "int64"])),
        "neuron": rng.integers(-1, I, T).astype(np.int32),
        "words": words[:, :N].copy(),
        "targets": rng.random((K, N)) < 0.5,
        "weight": rng.random(N) < 0.9,
        "span": np.array([[0, N], [3, 20]], np.int32),
        "read": words[:, N:].copy(),
        "cells": rng.integers(0, 3, wide).astype(np.int8 if config.is_byte else np.int32),
        "ones": rng.integers(0, written + 1, K).astype(np.int32),
        "written": np.array(written, np.int32),
        "seed": rng.integers(2**32, size=(K, SIZE), dtype=np.uint32),
        "cluster": rng.integers(K, size=K).astype(np.int32),
        "votes": rng.integers(0, 3 * ram.UNIT, (K, N)).astype(np.int32),
        "present": rng.integers(0, 4, (K, 1)).astype(np.int32),
        "bits": inputs,
        "codes": rng.integers(0, 2**10, N).astype(np.int32),
        "X": inputs.T[:N].copy(),
        "Y": rng.random((N, K)) < 0.5,
        "one": 1,
        "few": 3,
        "some": 8,
    }


def train(x):
    return ram.Examples(x["words"], x["targets"], x["weight"], x["span"])


def table(x):
    return ram.Table(x["cells"], x["ones"], x["written"])


def sizes(x):
    return {"clusters": x["one"], "neurons": x["few"], "address_bits": x["some"], "input_bits": I}


def groups(x):
    return ram.fit_and_read_groups(
        x["config"], x["connections"], x["seed"], x["cluster"], train(x), x["read"]
    )


# By function, the arguments that may be hostile, and the call.
CALLS = {
    "fit_and_read": (
        ("config", "key", "connections", "words", "targets", "weight", "span", "read"),
        lambda x: ram.fit_and_read(x["key"], x["config"], x["connections"], train(x), x["read"]),
    ),
    "write": (
        ("config", "key", "connections", "words", "targets", "weight", "cells", "ones", "written"),
        lambda x: ram.write(x["key"], x["config"], table(x), x["connections"], train({**x, "span": None})),
    ),
    "read": (
        ("config", "connections", "read", "cells", "ones", "written"),
        lambda x: ram.read(x["config"], table(x), x["connections"], x["read"]),
    ),
    "fit_and_read_groups": (("config", "connections", "seed", "cluster", "words", "read"), groups),
    "empty_votes": (
        ("config", "words", "targets", "weight", "span"),
        lambda x: ram.empty_votes(x["config"], train(x)),
    ),
    "init": (
        ("config", "one", "few", "some"),
        lambda x: ram.init(x["config"], x["one"], x["few"], x["some"]),
    ),
    "seeds": (
        ("config", "key", "one", "few"),
        lambda x: ram.seeds(x["key"], x["config"], x["one"], x["few"]),
    ),
    "probability": (("votes", "connections"), lambda x: ram.probability(x["votes"], x["connections"])),
    "shares": (("votes", "present"), lambda x: ram.shares(x["votes"], x["present"])),
    "addresses": (("words", "neuron"), lambda x: ram.addresses(x["words"], x["neuron"])),
    "fused_bytes": (
        ("config", "one", "few", "some"),
        lambda x: ram.fused_bytes(x["config"], **sizes(x), train=x["some"], evaluated=x["few"]),
    ),
    "row_bytes": (("some",), lambda x: ram.row_bytes(x["config"], x["some"])),
    "padded_length": (("few",), lambda x: ram.padded_length(x["few"])),
    "examples": (("X", "Y"), lambda x: ram.examples(x["X"], x["Y"])),
    "fit": (("key", "X", "Y", "connections"), lambda x: fitted(x, x["connections"]).table),
    "learn": (
        ("X", "Y"),
        lambda x: ram.learn(fitted({**x, "X": x["bits"].T[:N], "Y": GOOD}), x["X"], x["Y"]).table,
    ),
    "predict": (("X",), lambda x: ram.predict(fitted({**x, "X": x["bits"].T[:N]}), x["X"])),
    "pack": (("bits",), lambda x: bits.pack(x["bits"])),
    "unpack": (("words", "some"), lambda x: bits.unpack(x["words"], x["some"])),
    "unpack_code": (("codes", "some"), lambda x: bits.unpack_code(x["codes"], x["some"])),
    "windows": (("bits", "few"), lambda x: bits.windows(x["bits"], x["few"])),
    "gray": (("codes",), lambda x: bits.gray(x["codes"])),
    "code_length": (("few",), lambda x: bits.code_length(x["few"])),
    "random": (
        ("key", "one", "few"),
        lambda x: connectivity.random(x["key"], x["one"], x["few"], T, I),
    ),
    "neurons_present": (("connections",), lambda x: connectivity.neurons_present(x["connections"])),
    "table_bits": (("connections", "few"), lambda x: connectivity.table_bits(x["connections"], x["few"])),
    "RamConfig": ((), lambda x: None),
    "LayerConfig": ((), lambda x: None),
}
CONFIGS = {"RamConfig": ram.RamConfig(), "LayerConfig": ram.LayerConfig()}
GOOD = np.arange(N * K).reshape(N, K) % 3 == 0


def fitted(x, connections=None):
    return ram.fit(x["key"], ram.LayerConfig(SIZE, T, x["config"]), x["X"], x["Y"], connections)


def call(rng):
    """Return a public function's name and a random call of it; four calls of five have a hostile argument."""
    x = good(rng)
    title = list(CALLS)[rng.integers(len(CALLS))]
    if title in CONFIGS:
        return title, fuzz.changed(rng, CONFIGS[title])
    names, function = CALLS[title]
    hostile = rng.choice(names, min(len(names), rng.choice([0, 1, 1, 1, 2])), replace=False)
    for name in hostile:
        plain = not isinstance(x[name], np.ndarray)
        x[name] = fuzz.number(rng) if plain else fuzz.array(rng, x[name])
    for name in ("one", "few", "some"):  # sizes that are right but take a gigabyte
        if isinstance(x[name], int) and 10**3 < x[name] < 2**31:
            x[name] = 2**31
    for name in ("weight", "span"):
        if name not in hostile and rng.random() < 0.5:
            x[name] = None
    if rng.random() < 0.5:  # arrays of JAX instead of NumPy's
        x = {
            name: jnp.asarray(v) if isinstance(v, np.ndarray) and v.dtype.itemsize < 8 else v
            for name, v in x.items()
        }
    return title, lambda: function(x)


def _attributes(rng):
    kind = int(rng.integers(4))
    # JAX compiles a program for each value of an attribute, so there are only a few.
    some = np.random.default_rng(rng.integers(3))
    values = fuzz.contents(some, ({0: 3, 2: 0}.get(kind, 4),), np.int32)
    numbers = {"kind": kind, "threshold": int(rng.choice([0, 1, 2**31, 2**32 - 1])), "device": 0}
    return {name: np.int64(value) for name, value in numbers.items()} | {"values": values}


def _neurons(rng, rows):
    """Mostly valid indices, so that most calls reach the kernel's loops."""
    connections = rng.integers(-1, I, (K * SIZE, T)).astype(np.int32)
    cluster, row = rng.integers(K, size=K * SIZE), rng.integers(rows, size=K * SIZE)
    seed = fuzz.contents(rng, (K * SIZE,), np.uint32)
    found = [connections, seed, cluster.astype(np.int32), row.astype(np.int32)]
    if rng.random() < 0.3:
        place = rng.choice([0, 2, 3])
        found[place] = fuzz.contents(rng, found[place].shape, np.int32)
    return found


def _stream(rng):
    span = np.sort(rng.integers(0, N + 1, (K, 2)), axis=1).astype(np.int32)
    if rng.random() < 0.2:
        span = fuzz.contents(rng, span.shape, np.int32)
    shapes = [((-(-I // 32), N), np.uint32), ((K, N), bool), ((N,), bool), ((N,), np.uint32)]
    return [*(fuzz.contents(rng, *one) for one in shapes), span]


def _table(rng, kind):
    shape = (K * SIZE, 1 << T, 2) if kind == 2 else (K * SIZE, 1 << T)
    return fuzz.contents(rng, shape, np.int32 if kind in (0, 2) else np.int8)


def _fused(rng):
    about = _attributes(rng)
    words = fuzz.contents(rng, (-(-I // 32), READ), np.uint32)
    kernel = jax.ffi.ffi_call("wnn_fit_and_read", jax.ShapeDtypeStruct((K, READ), jnp.int32))
    prior = fuzz.contents(rng, (K,), np.float32)
    return kernel(*_neurons(rng, K), *_stream(rng), prior, words, **about)


def _write(rng):
    about = _attributes(rng)
    cells = _table(rng, about["kind"])
    kernel = jax.ffi.ffi_call("wnn_write", jax.ShapeDtypeStruct(cells.shape, cells.dtype))
    return kernel(cells, *_neurons(rng, K), *_stream(rng), **about)


def _read(rng):
    about = _attributes(rng)
    words = fuzz.contents(rng, (-(-I // 32), READ), np.uint32)
    kernel = jax.ffi.ffi_call("wnn_read", jax.ShapeDtypeStruct((K, READ), jnp.int32))
    prior = fuzz.contents(rng, (K,), np.float32)
    return kernel(_table(rng, about["kind"]), *_neurons(rng, K), prior, words, **about)


KERNELS = {"wnn_fit_and_read": _fused, "wnn_write": _write, "wnn_read": _read}
