"""Cells of RAM neurons: how one starts, what it reads, which examples are written.

    kind           cell                    write                         reads           unvisited
    ternary        int32 net vote          += 1 if target else -1        1, e, 0         e
    quad_binary    int8 0..3, starts at 1  nudge +-1, saturating, in     0, 0, 1, 1      0
    quad_weighted  (the same)              the order of the examples     0, .25, .75, 1  .25
    true_wins      int8 EMPTY, FALSE, TRUE the higher of it and what is  e, 0, 1         e
                   as 0, 1, 2              written, FALSE or TRUE
    count          int32 (n0, n1)          n[target] += 1                (n1 + q) / (n0 + n1 + 1)  q

where e is ``empty_value`` (also what a tied ternary cell reads) and the prior q is the share of ones
among all written targets of the cluster (0.5 before the first). Ternary and count writes are sums and
TRUE-wins writes are maxima, so the order of the examples never matters; quad writes are a saturating walk,
where it does.
"""

import dataclasses
from typing import Literal, get_args

import jax
import jax.numpy as jnp

CellKind = Literal["ternary", "quad_binary", "quad_weighted", "true_wins", "count"]
CELLS: tuple[CellKind, ...] = get_args(CellKind)
UNIT = 1 << 20

_QUAD_VALUES = {"quad_binary": (0.0, 0.0, 1.0, 1.0), "quad_weighted": (0.0, 0.25, 0.75, 1.0)}
_QUAD_START = 1


@dataclasses.dataclass(frozen=True)
class RamConfig:
    """The kind of a cell, and how it is written and read. Hashable: static under `jit`.

    Attributes:
      cells: the kind of a neuron's cell.
      empty_value: what an EMPTY cell, ternary or TRUE-wins, reads, in [0, 1].
      sample_rate: probability with which a neuron writes an example, in (0, 1]; each (neuron,
        example) pair is drawn on its own.

    Raises:
      ValueError: a value is outside its range.
    """

    cells: CellKind = "count"
    empty_value: float = 0.0
    sample_rate: float = 1.0

    def __post_init__(self):
        if self.cells not in CELLS:
            raise ValueError(f"unknown cells {self.cells!r}: choose one of {', '.join(CELLS)}")
        if not 0.0 <= self.empty_value <= 1.0:
            raise ValueError(f"empty_value must be in [0, 1], got {self.empty_value}")
        if not 0.0 < self.sample_rate <= 1.0:
            raise ValueError(f"sample_rate must be in (0, 1], got {self.sample_rate}")

    @property
    def is_quad(self) -> bool:
        return self.cells in _QUAD_VALUES

    @property
    def is_byte(self) -> bool:
        """Whether a cell is one byte."""
        return self.is_quad or self.cells == "true_wins"


def row_width(config: RamConfig, address_bits: int) -> int:
    """Numbers in one neuron's row: a count cell is two."""
    return (2 if config.cells == "count" else 1) << address_bits


def row_bytes(config: RamConfig, address_bits: int) -> int:
    """Bytes of one neuron's row."""
    return (1 if config.is_byte else 4) * row_width(config, address_bits)


def empty(config: RamConfig, shape: tuple[int, ...]) -> jax.Array:
    """Unvisited cells."""
    if config.is_quad:
        return jnp.full(shape, _QUAD_START, jnp.int8)
    return jnp.zeros(shape, jnp.int8 if config.is_byte else jnp.int32)


def value(config: RamConfig, row: jax.Array, address: jax.Array, prior: jax.Array) -> jax.Array:
    """The values that the addressed cells of one row read, ``int32 [N]`` in units of ``1 / UNIT``."""
    if config.cells == "count":
        # Two gathers of one number are twice as fast as one gather of a pair.
        zeros = row.at[2 * address].get(mode="promise_in_bounds").astype(jnp.float32)
        ones = row.at[2 * address + 1].get(mode="promise_in_bounds").astype(jnp.float32)
        share = (ones + prior) / (zeros + ones + 1.0)
        return jnp.rint(share * UNIT).astype(jnp.int32)
    cell = row.at[address].get(mode="promise_in_bounds")
    state = cell if config.is_byte else jnp.sign(cell) + 1
    first, *others = read_values(config)
    # Comparisons, not a look-up of the state: a gather of four numbers costs as much as the cell's.
    reads = jnp.full(cell.shape, first, jnp.int32)
    for least, higher in enumerate(others, start=1):
        reads = jnp.where(state >= least, higher, reads)
    return reads


def read_values(config: RamConfig) -> tuple[int, ...]:
    """The value that each state of a cell reads: by sign (ternary: -1, 0, 1) or by value (0 .. 3).

    A count cell has no finite list of them; its is empty.
    """
    if config.cells == "count":
        return ()
    if config.cells == "ternary":
        shares = 0.0, config.empty_value, 1.0
    elif config.cells == "true_wins":
        shares = config.empty_value, 0.0, 1.0, 1.0
    else:
        shares = _QUAD_VALUES[config.cells]
    return tuple(round(share * UNIT) for share in shares)


def sampled(config: RamConfig, seed: jax.Array, place: jax.Array) -> jax.Array:
    """Which examples a neuron writes, ``bool [N]``: a hash of its seed and their place in the stream.

    A counter-based hash rather than a `jax.random` call inside the loop: every backend computes the
    same bits for any example on its own, in whatever order it walks. The mixer is the 32-bit
    "lowbias32" of C. Wellons' hash-prospector (public domain).
    """
    if config.sample_rate == 1.0:
        return jnp.ones(place.shape, bool)
    mixed = seed + place * jnp.uint32(0x9E3779B9)
    mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x7FEB352D)
    mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(0x846CA68B)
    mixed = mixed ^ (mixed >> 16)
    return mixed < jnp.uint32(sample_threshold(config))


def sample_threshold(config: RamConfig) -> int:
    """An example is written if its hash is below this; 0 means that all are."""
    if config.sample_rate == 1.0:
        return 0
    return min(max(round(config.sample_rate * 2**32), 1), 2**32 - 1)
