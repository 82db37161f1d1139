"""The cells of a model that learns while it reads, and the maps of their states.

A cell knows how often each bit came in its context: counts of all time, the same counts fading, and *fast*
counts, which are cut as soon as the other bit comes. It also has the time and the bit of the last write. The
fast counts, the last bit and the age of a cell are its *state*. Each neuron has an *adaptive map*, which
learns how often the bit was 1 in each state, so a state may stand for anything: a bit that came once, long
ago, is trusted as much as such bits deserve.

All arithmetic on counts is exact, in ``uint32``. In this module n is the number of context neurons.

Source: M. Mahoney, "Adaptive weighing of context models for lossless data compression", 2005 (states and
adaptive probability maps); docs/semantics/chain.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax.chain.constants import (
    AGE_EDGES,
    AGES,
    COUNT_MOST,
    DECAY,
    FADING_MOST,
    FADING_ONE,
    FADING_SMOOTH,
    FAST_EDGES,
    FAST_LIMIT,
    FAST_MOST,
    FAST_STEPS,
    HIT_NEURONS,
    RUN_MOST,
    SMOOTH,
    TICK_LOG,
    ZONES,
)
from wnn_jax.chain.contexts import Network, address
from wnn_jax.chain.online import OnlineMemory

_LOW = 0xFFFF  # the low half of a word


class Cells(NamedTuple):
    """The cells that the neurons address at one node.

    Attributes:
      bucket: ``int32 [n]``, the bucket of each neuron's cell.
      slot: ``int32 [n]``, the place in the bucket where the cell is, or where it is going to be.
      words: ``uint32 [n, 4]``, the cell; see `online.OnlineMemory`. Without counts if the context is unknown.
      known: ``bool [n]``, whether the neuron has seen its context before.

    Source: docs/semantics/chain.md
    """

    bucket: jax.Array
    slot: jax.Array
    words: jax.Array
    known: jax.Array


def ticks(now: jax.Array) -> jax.Array:
    """Returns the time of a cell ``uint32 []`` in 16 bits, after ``now`` tokens.

    Source: docs/semantics/chain.md
    """
    return now >> TICK_LOG & _LOW


def find(network: Network, memory: OnlineMemory, hashes: jax.Array, node: jax.Array, now: jax.Array) -> Cells:
    """Finds the cells that the neurons address at a node.

    An unknown context gets the first empty cell of its bucket. If there is none, it gets the first one with
    the fewest observations.

    Args:
      network: the wiring.
      memory: the memory that has the cells.
      hashes: ``uint32 [n]``, the hash of each neuron's fields.
      node: ``int32 []``.
      now: ``uint32 []``, the number of tokens that were read.

    Source: docs/semantics/chain.md
    """
    log_slots = memory.slots.shape[1].bit_length() + 1
    bucket, tag = address(network, log_slots, hashes, node)
    neurons = jnp.arange(bucket.shape[0], dtype=jnp.int32)
    held = memory.slots[neurons, bucket]
    tags, counts = held[..., 0] >> 16, held[..., 1]
    mine = tags == tag[:, None]
    known = mine.any(axis=1)
    seen = jnp.where(tags > 0, 1 + (counts >> 16) + (counts & _LOW), 0)
    slot = jnp.where(known, jax.lax.argmax(mine, 1, jnp.int32), jax.lax.argmin(seen, 1, jnp.int32))
    zero = jnp.zeros_like(tag)
    fresh = jnp.stack([tag << 16, zero, zero, zero + ticks(now)], axis=1)
    return Cells(bucket, slot, jnp.where(known[:, None], held[neurons, slot], fresh), known)


def faded(count: jax.Array, age: jax.Array) -> jax.Array:
    """Returns ``count * 2^(-age / 256)``, rounded down.

    Args:
      count: ``uint32 [...]``, at most 65,535.
      age: ``uint32 [...]``, in ticks.

    Source: docs/semantics/chain.md
    """
    shift = 16 + (age >> 8)
    part = count * jnp.array(DECAY, jnp.uint32)[age & 255]
    return jnp.where(shift < 32, part >> jnp.minimum(shift, 31), 0)


def steps(count: jax.Array, edges: tuple[int, ...]) -> jax.Array:
    """Returns the number of edges that each count reaches, ``int32 [...]``.

    Args:
      count: ``uint32 [...]``.
      edges: ascending numbers.

    Source: docs/semantics/chain.md
    """
    return (count[..., None] >= jnp.array(edges, jnp.uint32)).sum(axis=-1, dtype=jnp.int32)


def odds(cells: Cells, now: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the log-odds ``float32 [n]`` of the counts, and those of the fading counts.

    They are 0 for an unknown context.

    Args:
      cells: the cells at a node.
      now: ``uint32 []``, the number of tokens that were read.

    Source: docs/semantics/chain.md
    """
    counts, fading = cells.words[:, 1], cells.words[:, 2]
    age = _age(cells, now)
    plain = _ratio(counts & _LOW, counts >> 16, SMOOTH)
    recent = _ratio(faded(fading & _LOW, age), faded(fading >> 16, age), FADING_SMOOTH)
    return jnp.where(cells.known, jnp.log(plain), 0.0), jnp.where(cells.known, jnp.log(recent), 0.0)


def states(cells: Cells, zone: jax.Array, depth: jax.Array, now: jax.Array) -> jax.Array:
    """Returns the state of each cell, ``int32 [n]`` below `MAP_STATES`.

    Args:
      cells: the cells at a node.
      zone: ``int32 []``, 1 in the spelled branch of the tree, else 0.
      depth: ``int32 []``, the depth of the node.
      now: ``uint32 []``, the number of tokens that were read.

    Source: docs/semantics/chain.md
    """
    head, counts, _, last = cells.words.T
    zeros, ones = head >> 8 & 255, head & 255
    old = (counts >> 16) + (counts & _LOW) > zeros + ones + 2
    state = steps(zeros, FAST_EDGES) * FAST_STEPS + steps(ones, FAST_EDGES)
    state = state * 2 + (last >> 16 & 1).astype(jnp.int32)
    state = state * AGES + steps(_age(cells, now), AGE_EDGES)
    state = state * 2 + old.astype(jnp.int32)
    return state * ZONES + zone * (ZONES // 2) + jnp.minimum(depth // 2, ZONES // 2 - 1)


def runs(cells: Cells, state: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the run of each cell, ``int32 [n]`` below `RUN_STATES`, and ``bool [n]`` whether there is one.

    Args:
      cells: the cells at a node.
      state: ``int32 [n]``, their states.

    Source: docs/semantics/chain.md
    """
    zeros, ones = cells.words[:, 1] >> 16, cells.words[:, 1] & _LOW
    length = jnp.minimum(zeros + ones, RUN_MOST).astype(jnp.int32)
    run = (length * 2 + (ones > 0).astype(jnp.int32)) * ZONES + state % ZONES
    return run, cells.known & ((zeros == 0) | (ones == 0))


def hits(cells: Cells) -> jax.Array:
    """Returns which of the first six contexts are known, ``int32 []``, as bits.

    Source: docs/semantics/chain.md
    """
    known = cells.known[:HIT_NEURONS].astype(jnp.int32)
    return (known << jnp.arange(known.shape[0], dtype=jnp.int32)).sum(dtype=jnp.int32)


def write(cells: Cells, bit: jax.Array, now: jax.Array) -> jax.Array:
    """Returns the words ``uint32 [n, 4]`` of the cells after one more bit.

    Args:
      cells: the cells at a node.
      bit: ``int32 []``.
      now: ``uint32 []``, the number of tokens that were read.

    Source: docs/semantics/chain.md
    """
    head, counts, fading, _ = cells.words.T
    age = _age(cells, now)
    pairs = [(head >> 8 & 255, head & 255)]
    pairs += [(word >> 16, word & _LOW) for word in (counts, fading)]
    (fast, count, fade), others = zip(*(_sides(pair, bit) for pair in pairs), strict=True)
    other_fast, other_count, other_fade = others
    fast = jnp.minimum(fast + 1, FAST_MOST)
    other_fast = jnp.where(other_fast > FAST_LIMIT, other_fast // 2 + 1, other_fast)
    count = jnp.minimum(count + 1, COUNT_MOST)
    fade, other_fade = jnp.minimum(faded(fade, age), FADING_MOST) + FADING_ONE, faded(other_fade, age)
    zeros, ones = zip(
        *(_sides(pair, bit) for pair in ((other_fast, fast), (other_count, count), (other_fade, fade))),
        strict=True,
    )
    last = jnp.broadcast_to(bit.astype(jnp.uint32) << 16 | ticks(now), head.shape)
    words = [head & jnp.uint32(0xFFFF0000) | ones[0] << 8 | zeros[0]]
    words += [ones[k] << 16 | zeros[k] for k in (1, 2)]
    return jnp.stack([*words, last], axis=1)


def learn(memory: OnlineMemory, cells: Cells, bit: jax.Array, now: jax.Array) -> OnlineMemory:
    """Writes a bit into the cells.

    Args:
      memory: the memory that has the cells.
      cells: the cells at a node.
      bit: ``int32 []``.
      now: ``uint32 []``, the number of tokens that were read.

    Source: docs/semantics/chain.md
    """
    neurons = jnp.arange(cells.slot.shape[0], dtype=jnp.int32)
    return memory._replace(
        slots=memory.slots.at[neurons, cells.bucket, cells.slot].set(write(cells, bit, now))
    )


def _age(cells: Cells, now: jax.Array) -> jax.Array:
    """Returns the ticks since each cell was written, ``uint32 [n]``: they wrap around after 2^16."""
    return ticks(now) - cells.words[:, 3] & _LOW


def _ratio(ones: jax.Array, zeros: jax.Array, smooth: float) -> jax.Array:
    return (ones.astype(jnp.float32) + smooth) / (zeros.astype(jnp.float32) + smooth)


def _sides(pair: tuple[jax.Array, jax.Array], bit: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the one of two numbers that belongs to a bit, and the other one."""
    zero, one = pair
    return jnp.where(bit > 0, one, zero), jnp.where(bit > 0, zero, one)
