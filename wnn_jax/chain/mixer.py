"""The readout of a static chain model: it turns cells into the probability of a bit.

A prediction has two steps: the evidence of the cells (`evidence`) and its weighted sum (`choose_rows` and
`logit`).

In this module I is the number of inputs of the mixer, and n the number of context neurons.

Source: docs/semantics/chain.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax.chain import memory as memories
from wnn_jax.chain.constants import (
    CLASSES,
    COUNT_EDGES,
    COUNT_STEPS,
    GAIN_STATES,
    HIT_NEURONS,
    HITS,
    KINDS,
    LEAST,
    RANGE,
    SMOOTH,
    STATES,
)
from wnn_jax.chain.contexts import Network, address
from wnn_jax.chain.memory import StaticMemory


class Place(NamedTuple):
    """A place in a text, before its token is known.

    Attributes:
      hashes: ``uint32 [n]``, the hash of the fields that each neuron observes.
      classes: ``int32 [2]``, the classes of the last two tokens.

    Source: docs/semantics/chain.md
    """

    hashes: jax.Array
    classes: jax.Array


class Cells(NamedTuple):
    """The cells that the neurons address at nodes ``[...]``.

    Attributes:
      zeros: ``uint32 [n, ...]``, the count of zeros; 0 where there is no such cell.
      ones: ``uint32 [n, ...]``, the count of ones; 0 where there is no such cell.

    Source: docs/semantics/chain.md
    """

    zeros: jax.Array
    ones: jax.Array


class Evidence(NamedTuple):
    """The evidence of the cells at nodes ``[...]``.

    Attributes:
      odds: ``float32 [I, ...]``, the log-odds of each input.
      state: ``int32 [I, ...]``, the two counts of each input, in 12 steps each.
      hits: ``int32 [...]``, whether each of the first six neurons has seen this context before, as bits.

    Source: docs/semantics/chain.md
    """

    odds: jax.Array
    state: jax.Array
    hits: jax.Array


class Rows(NamedTuple):
    """The rows of the weights that apply at nodes ``[...]``.

    Attributes:
      shared: ``int32 [4, ...]``, the rows of the four gains that all inputs share: by hits, by the kind of
        the node, and by the class of each of the last two tokens.
      state: ``int32 [I, ...]``, the row of each input's offset. The row of its own gain is this plus
        `GAIN_STATES`.

    Source: docs/semantics/chain.md
    """

    shared: jax.Array
    state: jax.Array


def predict(network: Network, memory: StaticMemory, place: Place, node: jax.Array) -> jax.Array:
    """Returns P(bit = 1), ``float32 [...]``, at nodes ``[...]``.

    Args:
      network: the wiring.
      memory: a static memory.
      place: the place in the text.
      node: ``int32 [...]``.

    Source: docs/semantics/chain.md
    """
    cells = look_up(network, memory, place.hashes, node)
    seen = evidence(memory.gain.shape[1], cells.zeros, cells.ones)
    rows = choose_rows(network, node, seen, place.classes.reshape(2, *[1] * node.ndim))
    dot = logit(memory.gain, memory.offset, rows, seen.odds)
    return clamped(jax.nn.sigmoid(jnp.clip(dot, -RANGE, RANGE)))


def look_up(network: Network, memory: StaticMemory, hashes: jax.Array, node: jax.Array) -> Cells:
    """Looks up the cells that the neurons address at nodes ``[...]``.

    Args:
      network: the wiring.
      memory: the memory that has the cells.
      hashes: ``uint32 [n]``, the hash of each neuron's fields.
      node: ``int32 [...]``.

    Source: docs/semantics/chain.md
    """
    bucket, tag = address(network, memories.log_slots(memory), hashes, node)
    neuron = jnp.arange(bucket.shape[0]).reshape(-1, *[1] * node.ndim)
    held = memory.slots[neuron, bucket]
    mine = held[..., 0] >> 16 == tag[..., None]
    cells = jnp.where(mine[..., None], held, 0).sum(axis=-2, dtype=jnp.uint32)
    return Cells(zeros=cells[..., 1], ones=cells[..., 2])


def evidence(inputs: int, zeros: jax.Array, ones: jax.Array) -> Evidence:
    """Turns counts into evidence: log-odds and states.

    A count of 0 is evidence too: every count is increased by 0.4 before its logarithm, so that no counts at
    all give log-odds of 0.

    Args:
      inputs: I, to which the evidence is padded with zeros.
      zeros: ``[n, ...]``, the counts of zeros.
      ones: ``[n, ...]``, the counts of ones.

    Source: docs/semantics/chain.md
    """
    odds = _log(ones) - _log(zeros)
    state = step(zeros) * COUNT_STEPS + step(ones)
    known = (zeros[:HIT_NEURONS] + ones[:HIT_NEURONS] > 0).astype(jnp.int32)
    place = jnp.arange(known.shape[0], dtype=jnp.int32).reshape(-1, *[1] * (zeros.ndim - 1))
    hits = (known << place).sum(axis=0, dtype=jnp.int32)
    room = [(0, inputs - odds.shape[0])] + [(0, 0)] * (zeros.ndim - 1)
    return Evidence(jnp.pad(odds, room), jnp.pad(state, room), hits)


def _log(count: jax.Array) -> jax.Array:
    return jnp.log(count.astype(jnp.float32) + SMOOTH)


def step(count: jax.Array) -> jax.Array:
    """Returns a count as one of 12 steps: 0, 1, 2, 3, 4, 5, 6-7, 8-11, 12-19, 20-39, 40-99, 100 and more.

    Args:
      count: an integer array of any shape.

    Source: docs/semantics/chain.md
    """
    edges = jnp.array(COUNT_EDGES, count.dtype)
    return (count[..., None] >= edges).sum(axis=-1, dtype=jnp.int32)


def choose_rows(network: Network, node: jax.Array, seen: Evidence, classes: jax.Array) -> Rows:
    """Chooses the weights that apply at nodes ``[...]``.

    Args:
      network: the wiring.
      node: ``int32 [...]``.
      seen: the evidence at these nodes.
      classes: ``int32 [2, ...]``, the classes of the last two tokens: 6 bits plus 1, or 0 without a token.

    Source: docs/semantics/chain.md
    """
    spelled = network.tree.spelled[node]
    first = HITS + KINDS
    rows = [
        seen.hits + HITS // 2 * spelled,
        HITS + network.tree.kind[node],
        first + classes[0],
        first + CLASSES + classes[1],
    ]
    shared = jnp.stack([jnp.broadcast_to(row, node.shape) for row in rows])
    return Rows(shared, seen.state + STATES * spelled)


def logit(gain: jax.Array, offset: jax.Array, rows: Rows, odds: jax.Array) -> jax.Array:
    """Mixes the log-odds of the inputs into log-odds ``float32 [...]``.

    An input adds its offset, and its log-odds times the sum of its five gains (four shared ones and its own).

    Args:
      gain: ``float32 [GAIN_ROWS, I]``.
      offset: ``float32 [2 * STATES, I]``.
      rows: the rows of both that apply.
      odds: ``float32 [I, ...]``.

    Source: docs/semantics/chain.md
    """
    inputs = jnp.arange(odds.shape[0]).reshape(-1, *[1] * (odds.ndim - 1))
    shared = jnp.moveaxis(gain[rows.shared].sum(axis=0), -1, 0)
    own = gain[GAIN_STATES + rows.state, inputs]
    return (offset[rows.state, inputs] + (shared + own) * odds).sum(axis=0)


def clamped(p: jax.Array) -> jax.Array:
    """Clips a probability to `LEAST` .. 1 - `LEAST`, so that no bit is certain.

    Source: docs/semantics/chain.md
    """
    return jnp.clip(p, LEAST, 1.0 - LEAST)
