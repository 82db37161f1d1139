"""The parts of agents: their config, the rows that they are shown, and the rows that they hold.

Source: docs/semantics/recommender.md.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.ram import bits

Read = Literal["vote", "hamming", "discrimination", "exact"]
Ties = Literal["random", "majority", "half"]
Eviction = Literal["oldest", "redundant"]

MOST_ROWS = 1 << 16


@dataclasses.dataclass(frozen=True)
class AgentConfig:
    """How agents read and forget.

    Attributes:
      read: how the rows answer a query, for each label bit. ``vote``: every row votes with the weight
        ``exp(-distance / scale)``. ``hamming``: the rows that have the bit set are compared with the rows
        that have it clear, and the row nearest to the query decides. ``exact``: the rows whose key equals the
        query decide by majority; in a draw the newest of them decides. ``discrimination``: ``exact`` first,
        then as ``hamming`` but with weighted input bits, then ``hamming``; the weight of an input bit is the
        difference of its frequencies in the two groups of rows (after Aleksander, Clarke and Braga 1994).
      ties: the answer for a label bit that the rows leave undecided. ``random``: 0 or 1. ``majority``: the
        value that most rows have, 1/2 in a draw. ``half``: 1/2. An agent without rows leaves all bits
        undecided.
      label_bits: L, the number of label bits.
      scale: the distance in bits at which the weight of a vote is 1/e.
      half_life: the age of a row at which its vote is halved; at infinity the age does not count.
      prior_weight: the weight of the prior of `predict`, in rows at distance 0; at 0 the prior counts only if
        an agent has no rows.
      cap: the most rows that an agent may hold.
      eviction: the row that is deleted to make room at the cap. ``oldest``: the oldest row. ``redundant``:
        the row with the smallest distance to another row; of several the oldest.
      contradiction: learning a row deletes old rows whose keys differ from its key by at most this number of
        bits and whose labels differ by more than ``tolerance`` bits; a negative number deletes none.
      tolerance: the most label bits in which two rows may differ without contradiction.

    Raises:
      ValueError: a choice is unknown or a number is out of range.

    Source: docs/semantics/recommender.md.
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
        # The numbers become float32: the limits keep their products and quotients finite and above 0.
        checks.fields(
            self,
            label_bits=Limits(least=1, most=bits.WORD),
            scale=Limits(least=1e-30, most=1e30),
            half_life=Limits(least=1e-30, most=1e30, endless=True),
            prior_weight=Limits(least=0, most=1e6),
            cap=Limits(least=1, most=MOST_ROWS),
            tolerance=Limits(least=0),
        )


class Numbers(NamedTuple):
    """The numbers of an `AgentConfig`, as arguments of compiled functions: a new value compiles nothing.

    Source: docs/semantics/recommender.md.
    """

    scale: np.float32
    half_life: np.float32
    prior_weight: np.float32
    cap: np.int32
    contradiction: np.int32
    tolerance: np.int32


def numbers_of(config: AgentConfig) -> Numbers:
    """Take the numbers out of a config, each in the type that the compiled functions expect.

    Source: docs/semantics/recommender.md.
    """
    kinds = Numbers.__annotations__
    return Numbers(**{name: kinds[name](getattr(config, name)) for name in Numbers._fields})


def form_of(config: AgentConfig) -> AgentConfig:
    """Take the choices out of a config: its numbers are reset to the defaults, so that they compile nothing.

    Source: docs/semantics/recommender.md.
    """
    return dataclasses.replace(config, **{name: getattr(AgentConfig, name) for name in Numbers._fields})


TIMES = Limits(least=-(1 << 31), most=(1 << 31) - 1)
"""The times of rows: integers of 32 bits, as seconds are until 2038; milliseconds must be divided first."""


class Rows(NamedTuple):
    """Rows that agents are shown. A row whose ``item`` is -1 is padding and teaches nothing.

    Attributes:
      keys: ``uint32 [U, n, W]``, the bits of the films.
      labels: ``uint32 [U, n]``, the bits of the ratings; bit i of a label is bit i of the integer.
      item: ``int32 [U, n]``, the place of the film in the catalogue.
      time: ``int32 [U, n]``, the time of the rating, in any unit that grows.

    Source: docs/semantics/recommender.md.
    """

    keys: jax.Array
    labels: jax.Array
    item: jax.Array
    time: jax.Array


class Agents(NamedTuple):
    """The rows that agents hold, ``4 W + 16`` bytes each.

    Attributes:
      keys: ``uint32 [U, M, W]``, the bits of the films.
      labels: ``uint32 [U, M]``, the bits of the ratings.
      item: ``int32 [U, M]``, the places of the films.
      time: ``int32 [U, M]``, the times of the ratings.
      order: ``int32 [U, M]``, 0 for a free place; else a number that is larger for rows learnt later.

    Source: docs/semantics/recommender.md.
    """

    keys: jax.Array
    labels: jax.Array
    item: jax.Array
    time: jax.Array
    order: jax.Array

    @property
    def alive(self) -> jax.Array:
        """``bool [U, M]``, whether a place holds a row."""
        return self.order > 0
