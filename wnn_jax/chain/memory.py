"""The memories of a chain model: one of counts alone, and one that learns while it reads.

Source: docs/semantics/chain.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.chain import backend, fields
from wnn_jax.chain.constants import (
    BUCKET,
    CELL,
    GAIN_ROWS,
    GAIN_STATES,
    HITS,
    KINDS,
    LANES,
    STATES,
)
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.online import OnlineMemory
from wnn_jax.checks import Limits


class StaticMemory(NamedTuple):
    """The counts of a text, and a readout of them. Reading changes the state of the text alone.

    Attributes:
      slots: ``uint32 [n, S / 4, 4, 3]``, the cells of n neurons, S for each, in buckets of four. The first
        word of a cell is its tag in 16 bits (0: EMPTY) and two fast counts of 8 bits, which stay 0; the
        second is the count of zeros, the third that of ones. Tags descend within a bucket. Where more than
        four fall into a bucket, the four highest stay.
      gain: ``float32 [GAIN_ROWS, I]``, weights on the log-odds of I inputs, which are the counts of the n
        neurons.
      offset: ``float32 [2 * STATES, I]``, log-odds that the state of a cell adds.
      registers: ``uint32 [47]``; this and the next two are the state of the text, see `fields.TextState`.
      followed: ``uint32 [5, 2^18, 2]``.
      line: ``uint32 [2, 256]``.

    Source: docs/semantics/chain.md
    """

    slots: jax.Array
    gain: jax.Array
    offset: jax.Array
    registers: jax.Array
    followed: jax.Array
    line: jax.Array


Memory = StaticMemory | OnlineMemory


def log_slots(memory: Memory) -> int:
    """Returns log2 of S, the number of cells in a neuron's row.

    Source: docs/semantics/chain.md
    """
    return memory.slots.shape[1].bit_length() + 1


def log_slots_for(memory_mib: int, neurons: int, cell: int) -> int:
    """Returns log2 of the largest number of cells in a row for which all rows fit into a memory; at most 28.

    Args:
      memory_mib: the size of the memory in MiB.
      neurons: the number of rows.
      cell: the number of bytes that a cell takes, with its share of whatever else grows with the rows.

    Raises:
      ValueError: a number is out of range, or the smallest rows, of four cells, do not fit.

    Source: docs/semantics/chain.md
    """
    checks.integer("memory_mib", memory_mib, Limits(least=1, most=1 << 20))
    checks.integer("neurons", neurons, Limits(least=1))
    checks.integer("cell", cell, Limits(least=1))
    cells = (memory_mib << 20) // (cell * neurons)
    if cells < BUCKET:
        raise ValueError(
            f"memory_mib={memory_mib} is too few MiB for the tables of {neurons} neurons: raise memory_mib"
        )
    return min(cells.bit_length() - 1, 28)


def empty_static(network: Network, log_slots: int) -> StaticMemory:
    """Makes a static memory in which nothing is counted.

    Args:
      network: the wiring.
      log_slots: log2 of the number of cells in each neuron's row; a cell has 12 bytes.

    Raises:
      ValueError: ``log_slots`` is out of range.

    Source: docs/semantics/chain.md
    """
    gain, offset = _start(network.view.shape[0])
    return StaticMemory(_zeros(network, log_slots), gain, offset, *fields.empty())


def _zeros(network: Network, log_slots: int) -> jax.Array:
    checks.integer("log_slots", log_slots, Limits(least=2, most=28))
    return backend.zeros((network.view.shape[0], 1 << log_slots - 2, BUCKET, CELL))


def _start(sources: int) -> tuple[jax.Array, jax.Array]:
    """Returns the gains and offsets of an untrained readout of ``sources`` inputs, padded to whole lanes."""
    inputs = -(-sources // LANES) * LANES
    gain = np.zeros((GAIN_ROWS, inputs), np.float32)
    # The gains by hits, by kind and by state begin at 0.4 / sources each. Their sum, 1.2 / sources, makes the
    # mixture a little sharper than the mean of the inputs.
    for rows in (slice(HITS + KINDS), slice(GAIN_STATES, None)):
        gain[rows, :sources] = 0.4 / sources
    return jnp.asarray(gain), jnp.zeros((2 * STATES, inputs), jnp.float32)
