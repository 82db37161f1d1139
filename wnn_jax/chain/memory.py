"""The memories of a chain model: one of counts alone, and one that learns while it reads.

Source: docs/semantics/chain.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax import checks
from wnn_jax.chain import backend, fields, static_inputs, static_mixer
from wnn_jax.chain.constants import BUCKET, ORDERS, STATIC_CELL
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.online import OnlineMemory
from wnn_jax.checks import Limits

CELL_BYTES = 4 * STATIC_CELL


class StaticMemory(NamedTuple):
    """The counts of a text, and a readout of them. Reading changes the state of the text alone.

    Attributes:
      slots: ``uint32 [ORDERS + n, S / 4, 4, 4]``: the cells of the orders of Kneser-Ney and of n neurons, S
        for each, in buckets of 64 bytes. The words of a cell are its tag of 16 bits (0: EMPTY); the count of
        zeros; that of ones; and the parts of both that discounts leave, in 16 bits each. Tags descend within
        a bucket. Where more than four fall into a bucket, the four highest stay.
      weights: ``float32 [rows, I]``, the first layer of the readout, see `static_mixer`.
      finals: ``float32 [final rows, 8]``, its second layer.
      registers: ``uint32 [48]``; this and the next two are the state of the text, see `fields.TextState`.
      followed: ``uint32 [5, 2^18, 2]``.
      line: ``uint32 [2, 256]``.
      discounts: ``uint32 [ORDERS + n, 3]``, what counts of 1, of 2 and of at least 3 lose in the cells of
        each row, in units of 1 / `DISCOUNT_UNIT`; zeros if nothing was counted.

    Source: docs/semantics/chain.md
    """

    slots: jax.Array
    weights: jax.Array
    finals: jax.Array
    registers: jax.Array
    followed: jax.Array
    line: jax.Array
    discounts: jax.Array


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
    memory_mib = checks.integer("memory_mib", memory_mib, Limits(least=1, most=1 << 20))
    neurons = checks.integer("neurons", neurons, Limits(least=1))
    cell = checks.integer("cell", cell, Limits(least=1))
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
      log_slots: log2 of the number of cells in each row; a cell has 16 bytes.

    Raises:
      ValueError: ``log_slots`` is out of range.

    Source: docs/semantics/chain.md
    """
    neurons = network.view.shape[0]
    weights, finals = static_mixer.start(static_inputs.size(neurons))
    slots = empty_slots(neurons, log_slots)
    discounts = jnp.zeros((ORDERS + neurons, 3), jnp.uint32)
    return StaticMemory(slots, jnp.asarray(weights), jnp.asarray(finals), *fields.empty(), discounts)


def empty_slots(neurons: int, log_slots: int) -> jax.Array:
    """Makes the cells of a static memory in which nothing is counted.

    Args:
      neurons: n.
      log_slots: log2 of the number of cells in each row.

    Raises:
      ValueError: ``log_slots`` is out of range.

    Source: docs/semantics/chain.md
    """
    log_slots = checks.integer("log_slots", log_slots, Limits(least=2, most=28))
    return backend.zeros((ORDERS + neurons, 1 << log_slots - 2, BUCKET, STATIC_CELL))
