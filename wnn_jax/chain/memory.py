"""The memories of a chain model: of counts alone, or one that learns as it reads."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.chain import backend
from wnn_jax.chain.constants import (
    BUCKET,
    CELL,
    GAIN_ROWS,
    GAIN_STATES,
    HITS,
    KINDS,
    LANES,
    MATCH_LENGTHS,
    MATCH_LOG,
    REFINE_LOG,
    REFINE_STEPS,
    REFINE_WIDTH,
    REGISTERS,
    STATES,
)
from wnn_jax.chain.contexts import Network


class StaticMemory(NamedTuple):
    """Counts of a text, and a readout of them; reading moves the registers and nothing else.

    Attributes:
      slots: ``uint32 [n, S / 4, 4, 3]``, cells in buckets of four: 16 bits of tag and two fast counts of 8,
        which stay 0; zeros counted; ones counted. In a bucket tags fall; of more than four the highest stay.
      gain: ``float32 [GAIN_ROWS, I]`` weights on the evidence of I inputs, the n neurons' counts.
      offset: ``float32 [2 * STATES, I]``: what the state of a cell says beside its odds.
      registers: ``uint32 [12]``, see `constants.Register`.
    """

    slots: jax.Array
    gain: jax.Array
    offset: jax.Array
    registers: jax.Array


class OnlineMemory(NamedTuple):
    """The memory of a model that learns as it reads.

    Attributes:
      slots: as of `StaticMemory`; the fast counts forget.
      gain, gain_sum: ``float32 [GAIN_ROWS, I]`` weights on the evidence of I inputs, and their summed squared
        gradients. Inputs are the n neurons' counts and their fast counts.
      offset, offset_sum: ``float32 [2 * STATES, I]``: what the state of a cell says beside its odds.
      match_share, match_gain: ``float32 [2, 32]`` how often a match of that length is right; its weight.
      refined: ``float32 [2, 2^16, 33]`` how often the bit was 1 at a mixed probability, by node and by last
        token and node.
      text: ``int32 [room]`` the last tokens read, as a ring.
      match_table: ``int32 [2^18]`` where three tokens were last followed by a fourth.
      registers: ``uint32 [12]``, see `constants.Register`.
    """

    slots: jax.Array
    gain: jax.Array
    gain_sum: jax.Array
    offset: jax.Array
    offset_sum: jax.Array
    match_share: jax.Array
    match_gain: jax.Array
    refined: jax.Array
    text: jax.Array
    match_table: jax.Array
    registers: jax.Array


Memory = StaticMemory | OnlineMemory


def log_slots(memory: Memory) -> int:
    """log2 of S, the cells of a neuron's row."""
    return memory.slots.shape[1].bit_length() + 1


def log_slots_for(memory_mib: int, neurons: int) -> int:
    """The largest rows of which ``neurons`` fit into a memory.

    Raises:
      ValueError: not even the smallest do.
    """
    cells = (memory_mib << 20) // (4 * CELL * neurons)
    if cells < BUCKET:
        raise ValueError(f"memory_mib={memory_mib} are too few MiB for the tables of {neurons} neurons")
    return min(cells.bit_length() - 1, 28)


def empty_static(network: Network, log_slots: int) -> StaticMemory:
    """A static memory in which nothing is counted.

    Args:
      log_slots: log2 of the cells in each neuron's row, at 12 bytes each.

    Raises:
      ValueError: the size is out of range.
    """
    gain, offset = _start(network.view.shape[0])
    return StaticMemory(_zeros(network, log_slots), gain, offset, jnp.zeros(REGISTERS, jnp.uint32))


def empty_online(network: Network, log_slots: int, room: int = 1 << 22) -> OnlineMemory:
    """An online memory that has read nothing.

    Args:
      log_slots: log2 of the cells in each neuron's row, at 12 bytes each.
      room: tokens that a match may look back.

    Raises:
      ValueError: a size is out of range.
    """
    if room <= 2 * MATCH_LENGTHS:
        raise ValueError(f"matches need room for more than {2 * MATCH_LENGTHS} tokens, got {room}")
    gain, offset = _start(2 * network.view.shape[0])
    stretched = (np.arange(REFINE_STEPS) - REFINE_STEPS // 2) * REFINE_WIDTH
    refined = (1 / (1 + np.exp(-stretched))).astype(np.float32)
    return OnlineMemory(
        slots=_zeros(network, log_slots),
        gain=gain,
        gain_sum=jnp.zeros(gain.shape, jnp.float32),
        offset=offset,
        offset_sum=jnp.zeros(offset.shape, jnp.float32),
        match_share=jnp.full((2, MATCH_LENGTHS), 0.8, jnp.float32),
        match_gain=jnp.full((2, MATCH_LENGTHS), 0.3, jnp.float32),
        refined=jnp.array(np.broadcast_to(refined, (2, 1 << REFINE_LOG, REFINE_STEPS))),
        text=jnp.zeros(room, jnp.int32),
        match_table=jnp.zeros(1 << MATCH_LOG, jnp.int32),
        registers=jnp.zeros(REGISTERS, jnp.uint32),
    )


def _zeros(network: Network, log_slots: int) -> jax.Array:
    if not 2 <= log_slots <= 28:
        raise ValueError(f"a row has 2^2 to 2^28 cells, got 2^{log_slots}")
    return backend.zeros((network.view.shape[0], 1 << log_slots - 2, BUCKET, CELL))


def _start(sources: int) -> tuple[jax.Array, jax.Array]:
    """Gains and offsets of a readout that has learnt nothing, for as many inputs, padded to whole lanes."""
    inputs = -(-sources // LANES) * LANES
    gain = np.zeros((GAIN_ROWS, inputs), np.float32)
    # By hits, kind and state every input begins with an equal part of a mean, a little sharper than one.
    for rows in (slice(HITS + KINDS), slice(GAIN_STATES, None)):
        gain[rows, :sources] = 0.4 / sources
    return jnp.asarray(gain), jnp.zeros((2 * STATES, inputs), jnp.float32)
