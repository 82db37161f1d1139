"""Random calls of `wnn_jax.ram`, and its native kernels with random contents; see `fuzz`."""

import fuzz
import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import ram
from wnn_jax.ram import bits

# One shape for all calls, so that JAX compiles few programs.
K, I, N, READ, SIZE, T = 2, 33, 40, 9, 3, 5
KINDS = {"ternary": 0, "quad_binary": 1, "quad_weighted": 1, "count": 2, "true_wins": 3}


def good(rng):
    """Make valid arguments of all functions of a layer."""
    config = ram.RamConfig(ram.CELLS[rng.integers(len(ram.CELLS))])
    inputs = rng.random((I, N + READ)) < 0.5
    words = np.asarray(bits.pack(inputs))
    return {
        "config": config,
        "connections": rng.integers(-1, I, (K, SIZE, T)).astype(np.int32),
        "words": words[:, :N].copy(),
        "targets": rng.random((K, N)) < 0.5,
        "weight": rng.random(N) < 0.9,
        "span": np.array([[0, N], [3, 20]], np.int32),
        "read": words[:, N:].copy(),
    }


def call(rng):
    """Return a public function's name and a random call of it."""
    x = good(rng)
    names = [name for name in x if name != "config"]
    for name in rng.choice(names, rng.integers(0, 3), replace=False):
        x[name] = fuzz.array(rng, x[name])
    use = rng.random(2) < 0.5
    weight, span = (x["weight"] if use[0] else None), (x["span"] if use[1] else None)
    train = ram.Examples(x["words"], x["targets"], weight, span)
    return "fit_and_read", lambda: ram.fit_and_read(None, x["config"], x["connections"], train, x["read"])


def _attributes(rng):
    kind = int(rng.integers(4))
    values = fuzz.contents(rng, ({0: 3, 2: 0}.get(kind, 4),), np.int32)
    numbers = {"kind": kind, "threshold": int(rng.choice([0, 1, 2**31, 2**32 - 1])), "device": 0}
    return {name: np.int64(value) for name, value in numbers.items()} | {"values": values}


def _neurons(rng, rows):
    """Mostly valid indices, so that most calls reach the kernel's loops."""
    connections = rng.integers(-1, I, (K * SIZE, T)).astype(np.int32)
    cluster, row = rng.integers(K, size=K * SIZE), rng.integers(rows, size=K * SIZE)
    found = [connections, None, cluster.astype(np.int32), row.astype(np.int32)]
    found[1] = fuzz.contents(rng, (K * SIZE,), np.uint32)
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
    call = jax.ffi.ffi_call("wnn_fit_and_read", jax.ShapeDtypeStruct((K, READ), jnp.int32))
    prior = fuzz.contents(rng, (K,), np.float32)
    return call(*_neurons(rng, K), *_stream(rng), prior, words, **about)


def _write(rng):
    about = _attributes(rng)
    table = _table(rng, about["kind"])
    call = jax.ffi.ffi_call("wnn_write", jax.ShapeDtypeStruct(table.shape, table.dtype))
    return call(table, *_neurons(rng, K), *_stream(rng), **about)


def _read(rng):
    about = _attributes(rng)
    words = fuzz.contents(rng, (-(-I // 32), READ), np.uint32)
    call = jax.ffi.ffi_call("wnn_read", jax.ShapeDtypeStruct((K, READ), jnp.int32))
    prior = fuzz.contents(rng, (K,), np.float32)
    return call(_table(rng, about["kind"]), *_neurons(rng, K), prior, words, **about)


KERNELS = {"wnn_fit_and_read": _fused, "wnn_write": _write, "wnn_read": _read}
