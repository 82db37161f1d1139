"""The five kinds of cells of a RAM neuron: the empty state, the write rule and the value that a state reads.

    kind           cell                    write rule                    value read            if EMPTY
    ternary        int32 net vote          += 1 if target else -1        1, e or 0, by sign    e
    quad_binary    int8 0..3, starts at 1  +1 or -1, kept within 0..3,   0, 0, 1, 1            0
    quad_weighted  (the same)              in the order of the examples  0, .25, .75, 1        .25
    true_wins      int8: EMPTY 0,          the higher of the old state   e, 0, 1               e
                   FALSE 1, TRUE 2         and FALSE or TRUE
    count          int32 (n0, n1)          n[target] += 1                (n1 + q) / (n0 + n1 + 1)  q

Here e is ``empty_value``; a ternary cell with as many ones as zeros reads e too. The prior q is the share of
ones among all written targets of the cluster, and 0.5 before the first example. An EMPTY cell was never
written.

Ternary and count cells add and TRUE-wins cells take a maximum, so the order of the examples does not change
the table. Quad cells saturate, so for them the order does.

Source: docs/semantics/ram.md
"""

import dataclasses
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from wnn_jax import checks
from wnn_jax.checks import Limits

CellKind = Literal["ternary", "quad_binary", "quad_weighted", "true_wins", "count"]
CELLS: tuple[CellKind, ...] = get_args(CellKind)
UNIT = 1 << 20

_QUAD_VALUES = {"quad_binary": (0.0, 0.0, 1.0, 1.0), "quad_weighted": (0.0, 0.25, 0.75, 1.0)}
_QUAD_START = 1


@dataclasses.dataclass(frozen=True)
class RamConfig:
    """Configures the cells of RAM neurons. Hashable, so it may be a static argument of `jit`.

    Attributes:
      cells: the kind of cells of every neuron.
      empty_value: the value that an EMPTY ternary or TRUE-wins cell reads, 0 to 1; a tied ternary cell reads
        it too. Count and quad cells ignore it.
      sample_rate: probability that a neuron writes an example, above 0 and at most 1. Each pair of a neuron
        and an example is drawn independently.

    Raises:
      ValueError: the kind is unknown, or a number is outside its range.

    Source: docs/semantics/ram.md
    """

    cells: CellKind = "count"
    empty_value: float = 0.0
    sample_rate: float = 1.0

    def __post_init__(self):
        checks.fields(self, empty_value=Limits(least=0, most=1), sample_rate=Limits(above=0, most=1))

    @property
    def is_quad(self) -> bool:
        """Whether a cell is a quad cell, whose state depends on the order of the examples."""
        return self.cells in _QUAD_VALUES

    @property
    def is_byte(self) -> bool:
        """Whether a cell takes one byte (quad and TRUE-wins cells)."""
        return self.is_quad or self.cells == "true_wins"


def row_width(config: RamConfig, address_bits: int) -> int:
    """Count the numbers that one neuron's row of cells holds.

    Args:
      config: the kind of cells.
      address_bits: T.

    Returns:
      A = 2^T; for count cells 2 A, because each cell is two numbers.

    Source: docs/semantics/ram.md
    """
    return (2 if config.cells == "count" else 1) << address_bits


def row_bytes(config: RamConfig, address_bits: int) -> int:
    """Count the bytes of one neuron's row of cells.

    Args:
      config: the kind of cells.
      address_bits: T.

    Returns:
      A for byte cells, 4 A for ternary cells, 8 A for count cells, with A = 2^T.

    Raises:
      ValueError: T is no whole number from 1 to 59: the bytes would overflow 64 bits.

    Source: docs/semantics/ram.md
    """
    address_bits = checks.integer("address_bits", address_bits, Limits(least=1, most=59))
    return (1 if config.is_byte else 4) * row_width(config, address_bits)


def empty(config: RamConfig, shape: tuple[int, ...]) -> jax.Array:
    """Make EMPTY cells.

    Args:
      config: the kind of cells.
      shape: shape of the array; a count cell takes two entries.

    Returns:
      ``int8`` (quad cells: all 1; TRUE-wins cells: all 0) or ``int32`` (all 0), of the given shape.

    Source: docs/semantics/ram.md
    """
    if config.is_quad:
        return jnp.full(shape, _QUAD_START, jnp.int8)
    return jnp.zeros(shape, jnp.int8 if config.is_byte else jnp.int32)


def value(config: RamConfig, row: jax.Array, address: jax.Array, prior: jax.Array) -> jax.Array:
    """Read the addressed cells of one neuron's row.

    Args:
      config: the kind of cells.
      row: ``[A]`` cells, or ``int32 [2 A]`` for count cells: n0 and n1 of each cell in turn.
      address: ``int32 [N]``, in ``[0, A)``.
      prior: ``float32 []``, the share of ones q of the neuron's cluster; only count cells use it.

    Returns:
      ``int32 [N]``: the values in units of ``1 / UNIT``, each from 0 to `UNIT`.

    Source: docs/semantics/ram.md
    """
    if config.cells == "count":
        # Two gathers of one number are twice as fast as one gather of a pair.
        zeros = row.at[2 * address].get(mode="promise_in_bounds").astype(jnp.float32)
        ones = row.at[2 * address + 1].get(mode="promise_in_bounds").astype(jnp.float32)
        share = (ones + prior) / (zeros + ones + 1.0)
        return jnp.rint(share * UNIT).astype(jnp.int32)
    cell = row.at[address].get(mode="promise_in_bounds")
    state = cell if config.is_byte else jnp.sign(cell) + 1
    first, *others = read_values(config)
    # Comparisons instead of a look-up: to gather from four numbers costs as much as to gather the cells.
    reads = jnp.full(cell.shape, first, jnp.int32)
    for least, higher in enumerate(others, start=1):
        reads = jnp.where(state >= least, higher, reads)
    return reads


def read_values(config: RamConfig) -> tuple[int, ...]:
    """List the value that each state of a cell reads.

    Args:
      config: the kind of cells.

    Returns:
      Integers in units of ``1 / UNIT``: for ternary cells of the signs -1, 0, 1; for byte cells of the states
      0, 1, 2, 3. Empty for count cells, which have no finite list of states.

    Source: docs/semantics/ram.md
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
    """Choose the examples that a neuron writes, by a hash of the neuron's seed and the example's place.

    Every backend can compute the hash of one example alone, in any order; `jax.random` inside the loop would
    not allow that.

    Args:
      config: gives the sample rate.
      seed: ``uint32 []``, the neuron's seed.
      place: ``uint32 [N]``, each example's place among all examples written so far.

    Returns:
      ``bool [N]``; all True if the sample rate is 1.

    Source: the hash is "lowbias32" of C. Wellons, hash-prospector (public domain); docs/semantics/ram.md
    """
    if config.sample_rate == 1.0:
        return jnp.ones(place.shape, bool)
    mixed = seed + place * jnp.uint32(0x9E3779B9)
    mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x7FEB352D)
    mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(0x846CA68B)
    mixed = mixed ^ (mixed >> 16)
    return mixed < jnp.uint32(sample_threshold(config))


def sample_threshold(config: RamConfig) -> int:
    """Return the number that an example's hash must be below for a neuron to write the example.

    Args:
      config: gives the sample rate.

    Returns:
      The sample rate times 2^32, rounded, 1 to 2^32 - 1; 0 means that every example is written.

    Source: docs/semantics/ram.md
    """
    if config.sample_rate == 1.0:
        return 0
    return min(max(round(config.sample_rate * 2**32), 1), 2**32 - 1)
