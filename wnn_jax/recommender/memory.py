"""The parts of agents: how they read and forget, the rows they are shown, and the rows they hold."""

import dataclasses
from typing import Literal, NamedTuple, get_args

import jax
import numpy as np

from wnn_jax.ram import bits

Read = Literal["vote", "hamming", "discrimination", "exact"]
Ties = Literal["random", "majority", "half"]
Eviction = Literal["oldest", "redundant"]

MOST_ROWS = 1 << 16


@dataclasses.dataclass(frozen=True)
class AgentConfig:
    """How agents read and forget.

    Attributes:
      read: how rows answer a query. ``vote``: every row votes with weight ``exp(-distance / scale)``.
        ``hamming``: each label bit is that of the nearer side, the rows that have it set or the rows that
        have it clear. ``exact``: the rows with the query's bits decide by majority, and the newest of them
        decides a draw. ``discrimination``: exact rows first, then sides by a distance in which an input bit
        counts as far as it tells the sides apart, then ``hamming`` (after Aleksander, Clarke and Braga 1994).
      ties: what an undecided bit reads. ``random``: 0 or 1. ``majority``: what most rows have, 1/2 in a draw.
        ``half``: 1/2. An agent without rows answers with ties alone.
      label_bits: L, the number of label bits.
      scale: distance in bits at which a vote falls to 1/e.
      half_life: time in which a vote falls to a half; at infinity age does not count.
      prior_weight: the number of rows at distance 0 that the prior of `predict` is worth; at 0 the prior
        only speaks where an agent has no rows.
      cap: the most rows that an agent may have.
      eviction: which row makes room at the cap. ``oldest``: the oldest. ``redundant``: the row whose nearest
        other row is nearest, and the oldest of several.
      contradiction: learning a row deletes the rows within this number of bits of it whose labels differ by
        more than ``tolerance`` bits; at a negative number it deletes none.
      tolerance: the number of label bits in which near rows may differ without contradiction.
    """

    read: Read = "vote"
    ties: Ties = "half"
    label_bits: int = 10
    scale: float = 4.0
    half_life: float = float("inf")
    prior_weight: float = 0.0
    cap: int = MOST_ROWS
    eviction: Eviction = "oldest"
    contradiction: int = -1
    tolerance: int = 2

    def __post_init__(self):
        for name, choices in (("read", Read), ("ties", Ties), ("eviction", Eviction)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"unknown {name} {getattr(self, name)!r}: use {', '.join(get_args(choices))}"
                )
        if not 1 <= self.label_bits <= bits.WORD:
            raise ValueError(f"label_bits must lie in 1 .. {bits.WORD}, got {self.label_bits}")
        if not (self.scale > 0 and self.half_life > 0 and self.prior_weight >= 0):
            raise ValueError(
                f"scale and half_life must be positive and prior_weight not negative, got {self.scale}, "
                f"{self.half_life} and {self.prior_weight}"
            )
        if not 1 <= self.cap <= MOST_ROWS:
            raise ValueError(f"cap must lie in 1 .. {MOST_ROWS:,}, got {self.cap:,}")


class Numbers(NamedTuple):
    """The numbers of a config: arguments of the compiled functions, so a new value compiles nothing."""

    scale: np.float32
    half_life: np.float32
    prior_weight: np.float32
    cap: np.int32
    contradiction: np.int32
    tolerance: np.int32


def numbers_of(config: AgentConfig) -> Numbers:
    """The numbers of a config, each in the type it is compiled for."""
    kinds = Numbers.__annotations__
    return Numbers(**{name: kinds[name](getattr(config, name)) for name in Numbers._fields})


def form_of(config: AgentConfig) -> AgentConfig:
    """The choices of a config, which functions are compiled for."""
    return dataclasses.replace(config, **{name: getattr(AgentConfig, name) for name in Numbers._fields})


class Rows(NamedTuple):
    """Ratings that agents are shown. ``item`` is -1 where there is none (padding), which teaches nothing.

    Attributes:
      keys: ``uint32 [U, n, W]``.
      labels: ``uint32 [U, n]``, bit i of the label at position i.
      item: ``int32 [U, n]``, what the row came of.
      time: ``int32 [U, n]``, in any unit that grows.
    """

    keys: jax.Array
    labels: jax.Array
    item: jax.Array
    time: jax.Array


class Agents(NamedTuple):
    """The rows agents hold; ``4 W + 16`` bytes each.

    Attributes:
      keys: ``uint32 [U, M, W]``.
      labels: ``uint32 [U, M]``.
      item: ``int32 [U, M]``.
      time: ``int32 [U, M]``.
      order: ``int32 [U, M]``, 0 where there is no row; else larger in rows learnt later.
    """

    keys: jax.Array
    labels: jax.Array
    item: jax.Array
    time: jax.Array
    order: jax.Array

    @property
    def alive(self) -> jax.Array:
        """``bool [U, M]``: which rows there are."""
        return self.order > 0
