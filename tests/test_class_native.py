"""The native kernels of class-count tables refuse calls that make no sense, and compile for other processors.

`test_class_layer` and `test_class_counts` compare what they return with XLA.
"""

import pathlib
import platform
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wnn_jax.ram import backend

SOURCES = pathlib.Path(__file__).parents[1] / "metal_ext" / "src"
N, J, R, T, M, S, K, B = 5, 6, 3, 2, 3, 4, 2, 2

needs_extension = pytest.mark.skipif(
    bool(backend._register()[0]) or jax.default_backend() != "cpu", reason="no native kernels here"
)


def arguments() -> dict[str, np.ndarray]:
    """Make arguments that every handler takes."""
    i32 = np.int32
    return {
        "column": np.zeros((R, T), i32),
        "level": np.ones((R, T), np.uint8),
        "table": np.arange(R, dtype=i32),
        "hashes": np.array([[1, 2]], np.uint32),
        "cells": np.zeros((M, S, K), i32),
        "levels": np.zeros((N, J), np.uint8),
        "label": np.zeros(N, i32),
        "weight": np.ones(N, i32),
        "threshold": np.ones(B, i32),
        "row": np.zeros(4, i32),
        "offset": np.zeros(4, i32),
        "values": np.zeros((4, K), i32),
        "share": np.array([1 << 16, 0], i32),
        "serves": np.zeros((0, K), bool),
        "rate": np.array([9], i32),
        "drop": np.zeros(2, np.uint32),
    }


MAPPING = ("column", "level", "table", "hashes")
ROWS = (*MAPPING, "cells", "levels")
CALLS = {
    "read": (ROWS, [(N, K)]),
    "count": ((*ROWS, "label", "weight"), [(M, S, K)]),
    "left_out": ((*ROWS, "label", "weight", "threshold"), [(B, N, K)]),
    "sum": ((*MAPPING, "levels", "row", "offset", "values"), [(M, S, K)]),
    "train": ((*ROWS, "label", "row", "offset", "share", "serves", "rate", "drop"), [(M, S, K), (1,)]),
}
NUMBERS = {"train": {"batch": np.int64(4), "bits": np.int64(1)}}


def call(target, changes, results=None):
    names, shapes = CALLS[target]
    shapes = [jax.ShapeDtypeStruct(shape, jnp.int32) for shape in results or shapes]
    operands = {**arguments(), **changes}
    function = jax.ffi.ffi_call(f"wnn_class_{target}", shapes)
    return jax.block_until_ready(function(*(operands[x] for x in names), **NUMBERS.get(target, {})))


EVERY = [
    ({"column": np.full((R, T), J, np.int32)}, "column 6 is outside the 6 columns"),
    ({"column": np.full((R, T), -1, np.int32)}, "column -1 is outside"),
    ({"column": np.zeros((R, T), np.int16)}, "dtype"),
    ({"level": np.ones((R, T + 1), np.uint8)}, "shape of column"),
    ({"table": np.full(R, M, np.int32)}, "a table is out of range"),
    ({"table": np.full(R, -1, np.int32)}, "a table is out of range"),
    ({"hashes": np.array([[1, S]], np.uint32)}, "a hash is larger than the table"),
    ({"hashes": np.zeros((9, T), np.uint32)}, "1 to 8 hashes"),
    ({"hashes": np.zeros((1, T + 1), np.uint32)}, "one number for each pin"),
    ({"levels": np.zeros(N, np.uint8)}, "rank"),
]
LABELS = [
    ({"label": np.full(N, K, np.int32)}, "a label is out of range"),
    ({"label": np.full(N, -1, np.int32)}, "a label is out of range"),
    ({"label": np.zeros(N - 1, np.int32)}, "one class for each row"),
]
PICKED = [
    ({"row": np.full(4, N, np.int32)}, "a row is out of range"),
    ({"offset": np.zeros(5, np.int32)}, "row and offset differ"),
]
WEIGHTS = [({"weight": np.ones(N + 1, np.int32)}, "one number for each row")]
OWN = {
    "read": [({"cells": np.zeros((M, S, K), np.int16)}, "int8 or int32")],
    "count": [*LABELS, *WEIGHTS, ({"cells": np.zeros((M - 1, S, K), np.int32)}, "another shape")],
    "left_out": [
        *LABELS,
        *WEIGHTS,
        ({"threshold": np.zeros(B, np.int32)}, "a threshold is below 1"),
        ({"threshold": np.ones(257, np.int32)}, "at most 256"),
        ({"threshold": np.ones(B + 1, np.int32)}, "another shape"),
    ],
    "sum": [*PICKED, ({"values": np.zeros((4, K + 1), np.int32)}, "each row and class")],
    "train": [*LABELS, *PICKED, ({"serves": np.zeros((M + 1, K), bool)}, "a row for each table")],
}
BAD = [(target, *one) for target, own in OWN.items() for one in (*EVERY, *own)]


@needs_extension
@pytest.mark.parametrize(("target", "changes", "message"), BAD)
def test_the_handlers_refuse_nonsense(target, changes, message):
    with pytest.raises(Exception, match=message) as caught:
        call(target, changes)
    assert isinstance(caught.value, (ValueError, jax.errors.JaxRuntimeError))


@needs_extension
@pytest.mark.parametrize("target", CALLS)
def test_the_handlers_take_what_makes_sense(target):
    assert call(target, {})[0].shape == CALLS[target][1][0]


@needs_extension
@pytest.mark.parametrize("target", ["read", "count", "left_out", "sum"])
def test_no_rows_and_no_neurons(target):
    nothing = {name: x[:0] for name, x in arguments().items() if len(x) == N and name != "threshold"}
    shape = {"read": (0, K), "left_out": (B, 0, K)}.get(target, (M, S, K))
    if target != "sum":
        assert not np.any(call(target, nothing, [shape])[0])
    nobody = {name: arguments()[name][:0] for name in ("column", "level", "table")}
    assert not np.any(call(target, nobody)[0])


@needs_extension
def test_tables_that_counted_no_row_are_given_by_none():
    empty, whole = call("count", {"cells": np.zeros((0, S, K), np.int32)})[0], call("count", {})[0]
    np.testing.assert_array_equal(empty, whole)
    assert np.asarray(whole).sum() == R * N


@needs_extension
def test_memory_that_is_not_there_is_an_error():
    """Tables of a terabyte cannot be had; the error says so, and Python lives on."""
    wide = {
        "hashes": np.array([[1, 2]], np.uint32),
        "values": np.zeros((4, 1 << 14), np.int32),
        "table": np.zeros(R, np.int32),
    }
    with pytest.raises(Exception, match=r"(?i)memory|allocat"):
        call("sum", wide, [(1, 1 << 26, 1 << 14)])


HEADERS = [
    f"/usr/include/{x}"
    for x in ("c++/12", f"{platform.machine()}-linux-gnu/c++/12", f"{platform.machine()}-linux-gnu")
]
# The headers of this machine ask for its processor; the kernels do not.
BORROWED = ("--target=aarch64-linux-gnu", "-D__x86_64__", *(f"-isystem{x}" for x in HEADERS))
COMPILERS = [("g++", ()), ("clang++", ()), ("clang++", BORROWED)]


@pytest.mark.parametrize(("compiler", "flags"), COMPILERS, ids=["g++", "clang++", "aarch64"])
def test_the_kernels_compile_for_every_processor(compiler, flags):
    """Without the levels of x86-64, which CMakeLists.txt adds where they are."""
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    if flags and not all(pathlib.Path(x).is_dir() for x in HEADERS):
        pytest.skip("no headers that another processor can borrow")
    strict = ("-std=c++17", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", *flags)
    subprocess.run([compiler, *strict, str(SOURCES / "classify_base.cc")], check=True)
