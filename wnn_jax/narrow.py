"""Runs functions with the 32-bit types of JAX, so that results do not depend on ``JAX_ENABLE_X64``.

Source: docs/architecture.md
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


def in_32_bits(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function with the 32-bit types of JAX, also where 64-bit types are on.

    The schedules and moments of optax, sums and quotients of integers, and numbers that are drawn are of the
    widest type that JAX has, so the same seed would give other results.

    Args:
      function: a function of arrays of 32 bits.

    Source: docs/architecture.md
    """

    @functools.wraps(function)
    def narrow(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.enable_x64(False):
            return function(*args, **kwargs)

    return narrow
