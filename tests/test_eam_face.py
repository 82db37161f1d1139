"""The associative memory as a user holds it: any keys, any number of rows, NumPy in and out."""

import ast
import importlib.util
import pathlib
import sys

import jax
import numpy as np
import pytest

from wnn_jax import eam
from wnn_jax.eam import associative, memory

KEY = jax.random.key(0)


def some(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 8)) * 3, rng.normal(size=(count, 5))


def cosine(x, y):
    return ((x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)).mean()


@pytest.fixture(scope="module")
def written():
    keys, values = some(300)
    blank = eam.create(KEY, eam.MemoryConfig(nearest=3), keys, locations=300, width=5)
    return blank, eam.write(blank, keys, values)


def test_write_and_read():
    keys, values = some(300)
    memory = eam.create(KEY, eam.MemoryConfig(nearest=1), keys, locations=300, width=5)
    memory = eam.write(memory, keys, values)
    read = eam.read(memory, keys)
    assert isinstance(read, np.ndarray)
    assert read.dtype == np.float32
    assert cosine(read, values) > 0.99
    assert cosine(read[1:], values[:-1]) < 0.2


def test_a_write_leaves_the_old_memory_as_it_was(written):
    blank, after = written
    keys = some(300)[0]
    assert not eam.read(blank, keys).any()
    assert eam.read(after, keys).any(1).all()


@pytest.mark.parametrize("count", [1, 31, 33])
def test_rows_are_read_alike_whatever_comes_with_them(written, count):
    keys = some(300)[0]
    whole = eam.read(written[1], keys)
    np.testing.assert_allclose(eam.read(written[1], keys[:count]), whole[:count], rtol=1e-5, atol=1e-6)
    # The length of a key says nothing.
    np.testing.assert_allclose(eam.read(written[1], 7 * keys[:count]), whole[:count], rtol=1e-4, atol=1e-5)


def test_no_length_compiles_anew(written):
    for count in (1, 33):
        eam.write(written[0], *some(count))
        eam.read(written[1], some(count)[0])
    sizes = associative._write._cache_size(), associative._read._cache_size()
    for count in (2, 7, 32, 40, 1024, 1030):
        eam.write(written[0], *some(count))
        eam.read(written[1], some(count)[0])
    assert (associative._write._cache_size(), associative._read._cache_size()) == sizes


def test_padding_writes_nothing(written):
    blank = written[0]
    keys, values = (np.asarray(x, np.float32) for x in some(20, seed=1))
    units = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    plain = jax.jit(memory.write, static_argnums=0)(blank.config, blank.store, units, values)
    for x, y in zip(eam.write(blank, keys, values).store, plain, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    zeros = eam.write(blank, np.zeros((3, 8)), np.ones((3, 5))).store
    for x, y in zip(zeros, blank.store, strict=True):
        np.testing.assert_array_equal(x, y)


def test_no_rows_are_fine(written):
    nothing = np.zeros((0, 8)), np.zeros((0, 5))
    assert eam.read(written[1], nothing[0]).shape == (0, 5)
    assert eam.write(written[1], *nothing).store is written[1].store


def test_two_memories_become_one(written):
    keys, values = some(300)
    both = eam.merge(eam.write(written[0], keys[:150], values[:150]), written[0])
    assert int(both.store.used) == 600
    with pytest.raises(ValueError, match="different configs"):
        eam.merge(both, both._replace(config=eam.MemoryConfig()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, k, v: eam.read(m, k[:, :7]), r"keys must have the shape \[N, 8\], got \[300, 7\]"),
        (lambda m, k, v: eam.read(m, k[0]), r"keys must have the shape \[N, 8\], got \[8\]"),
        (lambda m, k, v: eam.write(m, k, v[:, :4]), r"values must have the shape \[N, 5\], got \[300, 4\]"),
        (lambda m, k, v: eam.write(m, k, v[:9]), "300 keys and 9 values"),
        (lambda m, k, v: eam.write(m, k * np.nan, v), "keys must be finite, and 300 rows are not"),
        (lambda m, k, v: eam.create(KEY, m.config, k, locations=301, width=5), "300 keys allow 1 to 300"),
        (lambda m, k, v: eam.create(KEY, m.config, k, locations=0, width=5), "got 0"),
        (lambda m, k, v: eam.create(KEY, m.config, k, locations=9, width=0), "width must be at least 1"),
        (lambda m, k, v: eam.MemoryConfig(nearest=0), "nearest must be at least 1, got 0"),
        (lambda m, k, v: eam.MemoryConfig(eta=2.0), "between 0 and 1"),
        (lambda m, k, v: eam.MemoryConfig(damping=0.0), r"damping must be positive, got 0\.0"),
        (lambda m, k, v: eam.MemoryConfig(grow=-1), "grow must be 0 or more"),
    ],
)
def test_bad_rows_are_refused(written, call, message):
    with pytest.raises(ValueError, match=message):
        call(written[1], *some(300))


def imported(module, seen):
    """Names of all packages outside wnn_jax that a module imports, through the modules of wnn_jax."""
    names = {module, module.rpartition(".")[0] or module}
    if module in seen:
        return set()
    seen.add(module)
    for node in ast.walk(ast.parse(pathlib.Path(importlib.util.find_spec(module).origin).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    inside = {name for name in names if name.split(".")[0] == "wnn_jax" and is_module(name)}
    outside = {name.split(".")[0] for name in names} - {"wnn_jax"}
    return outside.union(*(imported(name, seen) for name in inside))


def is_module(name):
    path = pathlib.Path(eam.__file__).parents[2].joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def test_the_core_packages_are_enough():
    core = {"jax", "numpy", "optax", "orbax", "wnn_metal_ext"}  # the last, our own, only if it is there
    found = imported("wnn_jax.eam", set()) - set(sys.stdlib_module_names)
    assert {"jax", "optax"} <= found <= core
