"""Hostile arguments and random buffers: the tools that every fuzz file shares, and a command that runs them.

A fuzz file, such as `fuzz_ram`, has

- ``call(rng)``, which returns the name of a public function and a random call of it. Every call must end in
  a result or in a ValueError of one line, and every backend must end in the same one (`same`);
- ``KERNELS``, for each native kernel a function that calls it once with random contents (`contents`) in
  every buffer. Every call must end in a result or in an error that JAX raises.

    python tests/fuzz.py 1000 fuzz_ram fuzz_chain

calls every kernel 1,000 times with random contents. Run so, in a process of its own, the kernels can be ones
that were built with sanitizers (`test_fuzz`).
"""

import collections
import dataclasses
import importlib
import os
import sys

import jax
import numpy as np

from wnn_jax.ram import backend

# Numbers at which arithmetic and indexing go wrong.
INTEGERS = (-(2**63), -(2**31), -(2**31) + 1, -(10**6), -5, -2, -1, 0, 1, 2, 31, 32, 33, 40, 63, 64, 10**6)
INTEGERS += (2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
FLOATS = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1.0, 0.5, 1.0, 1.5, 1e9, 3e38, -3e38)
OTHERS = (None, "seven", True, [], {}, 2.5, np.float32(3), np.int8(2), object())
DTYPES = ("bool", "int8", "uint8", "int16", "int32", "uint32", "int64", "float16", "float32", "float64")


def number(rng):
    """Draw a number that a caller should not give, or something that is no number."""
    pool = (INTEGERS, FLOATS, OTHERS)[rng.integers(3)]
    return pool[rng.integers(len(pool))]


def array(rng, x):
    """Change an array as a wrong caller would: its type, its shape, or some of its entries."""
    x = np.array(x)
    way = rng.integers(6)
    if way == 0:
        return x.astype(rng.choice(DTYPES))
    if way == 1:
        axis = rng.integers(max(x.ndim, 1))
        return x[..., None] if not x.ndim else np.take(x, np.arange(rng.integers(x.shape[axis])), axis)
    if way == 2:
        return (x[None], x[..., None], x.ravel(), x.T, np.zeros((0, *x.shape[1:]), x.dtype))[rng.integers(5)]
    if way == 3:
        return (None, x.tolist(), 3, "words", object())[rng.integers(5)]
    if not x.size:
        return x
    places = rng.integers(x.size, size=rng.integers(1, 4))
    if x.dtype == bool:
        bits = x.view(np.uint8).copy()
        bits.flat[places] = rng.integers(256, size=len(places))
        return bits.view(bool)
    worst = np.array(FLOATS) if np.issubdtype(x.dtype, np.floating) else np.array(INTEGERS[1:-1])
    if way == 4:
        x = x.astype(np.int64) if np.issubdtype(x.dtype, np.integer) else x
    x.flat[places] = worst[rng.integers(len(worst), size=len(places))].astype(x.dtype)
    return x


def changed(rng, config):
    """Return a call that makes a config again with one field that a caller should not give."""
    name = rng.choice([field.name for field in dataclasses.fields(config)])
    value = number(rng)
    if rng.random() < 0.2:
        value = (value, number(rng))

    def call():
        dataclasses.replace(config, **{name: value})
        return ()

    return call


def contents(rng, shape, dtype):
    """Fill a buffer of a kernel with random bytes, with the worst numbers, or with a mixture."""
    dtype = np.dtype(dtype)
    raw = rng.integers(256, size=(int(np.prod(shape)), dtype.itemsize), dtype=np.uint8)
    x = raw.view(dtype)[:, 0].reshape(shape).copy()
    way = rng.integers(4)
    if dtype.kind != "b" and way:
        worst = np.array(FLOATS) if np.issubdtype(dtype, np.floating) else np.array(INTEGERS)
        drawn = worst[rng.integers(len(worst), size=shape)].astype(dtype)
        small = rng.integers(0, 5, size=shape).astype(dtype)
        x = (drawn, small, np.where(rng.random(shape) < 0.9, small, drawn))[way - 1]
    return x


def outcome(call):
    """Make a call: return its arrays, or the words with which it was refused.

    Raises:
      AssertionError: it ended in anything but a result or a ValueError of one line.
    """
    try:
        return jax.tree.map(np.asarray, call())
    except ValueError as error:
        words = str(error)
    assert "\n" not in words, f"an error of several lines: {words}"
    return words


def same(monkeypatch, call, backends=("xla", "cpu")):
    """Make a call on every backend, and return its outcome, which must be the same on all.

    Raises:
      AssertionError: two backends ended differently.
    """
    found = []
    for name in backends:
        monkeypatch.setenv("WNN_JAX_BACKEND", name)
        found.append(outcome(call))
    for other in found[1:]:
        assert isinstance(found[0], str) == isinstance(other, str), found
        assert found[0] == other if isinstance(other, str) else True, found
        jax.tree.map(np.testing.assert_array_equal, found[0], other)
    return found[0]


def calls(monkeypatch, module, seeds, backends=("xla", "cpu")):
    """Make a random call for every seed, and count the outcomes by function.

    Returns:
      For every function the number of results and of refusals.
    """
    counts = collections.defaultdict(collections.Counter)
    for seed in seeds:
        if seed % 200 == 199:
            jax.clear_caches()  # nearly every call compiles programs of its own, which fill the memory
        with np.errstate(all="ignore"):
            name, call = module.call(np.random.default_rng(seed))
        try:
            found = same(monkeypatch, call, backends)
        except Exception as error:
            raise AssertionError(f"{module.__name__}: {name} with seed {seed}: {error!r}") from error
        counts[name]["refused" if isinstance(found, str) else "results"] += 1
    return {name: dict(count) for name, count in sorted(counts.items())}


def kernels(module, seeds):
    """Call every kernel of a module with random contents, once for each seed, and count the outcomes.

    Returns:
      For every kernel the number of results and of refusals.
    """
    counts = collections.defaultdict(collections.Counter)
    for name, kernel in module.KERNELS.items():
        for seed in seeds:
            try:
                with np.errstate(all="ignore"):
                    jax.block_until_ready(kernel(np.random.default_rng(seed)))
                counts[name]["results"] += 1
            except (ValueError, jax.errors.JaxRuntimeError):
                counts[name]["refused"] += 1
    return {name: dict(count) for name, count in counts.items()}


if __name__ == "__main__":
    os.environ["WNN_JAX_BACKEND"] = "cpu"
    backend.chosen()  # registers the kernels
    for title in sys.argv[2:]:
        for title_of_kernel, found in kernels(
            importlib.import_module(title), range(int(sys.argv[1]))
        ).items():
            print(title_of_kernel, found, flush=True)
