"""Checks of settings and arrays from outside."""

import dataclasses
import json
import math
import re
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wnn_jax import checks
from wnn_jax.checks import Limits


@dataclasses.dataclass(frozen=True)
class _Config:
    count: int = 1
    rate: float = 0.5
    mode: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = (1,)
    name: str | None = None
    most: float | None = None
    seed: int = 0

    def __post_init__(self):
        checks.fields(self, count=Limits(least=1), rate=Limits(above=0, most=1), sizes=Limits(least=1))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"count": 0}, "count=0 is out of range: give a whole number of at least 1"),
        (
            {"count": 2**31},
            "count=2147483648 is out of range: give a whole number of at least 1 and at most 2147483647",
        ),
        ({"count": 1.0}, "count=1.0 is not a whole number: give a whole number of at least 1"),
        ({"count": True}, "count=True is not a whole number: give a whole number of at least 1"),
        ({"rate": math.nan}, "rate=nan is out of range: give a finite number above 0 and at most 1"),
        ({"rate": math.inf}, "rate=inf is out of range"),
        ({"rate": "1"}, "rate='1' is not a finite number"),
        ({"most": math.inf}, "most=inf is out of range: give a finite number"),
        ({"mode": "c"}, "unknown mode 'c': choose one of a, b"),
        ({"sizes": (1, 0)}, "sizes=0 is out of range"),
        ({"sizes": 3}, "sizes=3 is of type int: give a tuple"),
        ({"name": 3}, "name=3 is of type int: give a str"),
        ({"seed": -1}, "seed=-1 is out of range"),
        ({"seed": 2**63 - 1}, "seed=9223372036854775807 is out of range"),
    ],
)
def test_a_bad_field_is_named_with_its_value(given, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        _Config(**given)


def test_good_fields_are_accepted():
    _Config(count=np.int64(3), rate=1, mode="b", sizes=(), name="x", most=-1e300, seed=2**32 - 1)


@dataclasses.dataclass(frozen=True)
class _Outer:
    inner: _Config
    title: str = ""


@pytest.mark.parametrize("inner", [_Config(), _Config(sizes=(1, 2), mode="b", name="x")])
def test_a_config_is_made_again_from_json(inner):
    outer = _Outer(inner, "y")
    assert checks.made(_Outer, json.loads(json.dumps(dataclasses.asdict(outer))), "a file") == outer


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "a file holds no settings of a _Outer"),
        ({"inner": []}, "a file holds no settings of a _Config"),
        ({}, "a file lacks the setting 'inner'"),
        ({"inner": {}, "outer": 1}, "a file has an unknown setting 'outer'"),
        ({"inner": {"count": "1"}}, "a file has a bad setting: count='1' is not a whole number"),
        ({"inner": {"sizes": [[1]]}}, "a file has a bad setting: sizes=(1,) is not a whole number"),
        ({"inner": {"seed": math.nan}}, "a file has a bad setting: seed=nan is not a whole number"),
    ],
)
def test_damaged_settings_are_named(data, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        checks.made(_Outer, data, "a file")


@pytest.mark.parametrize(
    ("x", "kind", "said"),
    [
        ([1], "integers", "x is of type list: give an array of integers"),
        (np.ones((2, 3)), "integers", "x has dtype float64: give integers"),
        (np.ones((2, 3), np.uint8), "uint32", "x has dtype uint8: give uint32"),
        (np.ones((3, 2), int), "integers", "x has shape [3, 2]: give [K=2, n]"),
        (np.ones(2, int), "integers", "x has shape [2]: give [K=2, n]"),
        (
            np.array([[0, 1, 2], [3, 9, -1]]),
            "integers",
            "x[1, 1]=9 is out of range: give integers of at least 0",
        ),
        (np.array([[0, np.nan], [1, 2]]), "numbers", "x[0, 1]=nan is out of range: give finite numbers"),
        (jnp.array([[0, -jnp.inf], [1, 2]]), "numbers", "x[0, 1]=-inf is out of range: give finite numbers"),
    ],
)
def test_a_bad_array_is_named_with_its_place(x, kind, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        checks.array("x", x, kind, {"K": 2, "n": None}, Limits(0, 5))


def test_a_traced_array_is_checked_by_type_and_shape():
    jax.jit(lambda x: checks.array("x", x, "integers", {"K": 2}, Limits(0, 5)))(jnp.array([7, 8]))
    with pytest.raises(ValueError, match="x has dtype int32: give booleans"):
        jax.jit(lambda x: checks.array("x", x, "booleans", {"K": 2}))(jnp.array([7, 8]))


def test_arguments_of_another_class_are_named():
    from wnn_jax import chain, eam, lm, recommender, vocab

    key = jax.random.key(0)
    for call, said in [
        (lambda: lm.fit(key, None, [1]), "config is of type NoneType: give a BitwiseConfig"),
        (lambda: chain.score([], "text"), "model is of type list: give a ChainModel"),
        (lambda: chain.build(None, None), "config is of type NoneType: give a ChainConfig"),
        (lambda: recommender.ratings(3), "person is of type int: give a Person"),
        (lambda: vocab.score("x", [1]), "lm is of type str: give a VocabModel"),
        (lambda: eam.read({}, [[1.0]]), "memory is of type dict: give a AssociativeMemory"),
    ]:
        with pytest.raises(ValueError, match=said):
            call()


def test_a_long_value_is_one_line():
    with pytest.raises(
        ValueError, match=r"^size=array\(.*\.\.\. is not a whole number: give a whole number$"
    ):
        checks.integer("size", np.zeros((9, 9)))
