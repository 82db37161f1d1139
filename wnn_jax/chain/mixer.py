"""The mixer of a chain model: how cells become the probability of a bit, and what is learnt when it came.

A prediction has four steps: the evidence of the cells (`evidence`), its weighted sum (`choose_rows` and
`logit`), the vote of the longest match (`match_vote`) and the refinement of the mixed probability (`refine`).
A static memory takes the first two.
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
    MATCH_GAIN_RATE,
    MATCH_LEAST,
    MATCH_LENGTHS,
    MATCH_MOST,
    MATCH_RATE,
    RANGE,
    REFINE_EDGE,
    REFINE_LOG,
    REFINE_RATE,
    REFINE_STEPS,
    REFINE_WIDTH,
    SMOOTH,
    STATES,
)
from wnn_jax.chain.contexts import Network, address, mix, write_bit
from wnn_jax.chain.memory import Memory, OnlineMemory


class Place(NamedTuple):
    """A place in a text, before its token came.

    Attributes:
      hashes: ``uint32 [n]`` of the fields that each neuron observes.
      classes: ``int32 [2]`` of the last two tokens.
      last: ``uint32 []`` the last token plus one, 0 if there is none.
      guess: ``int32 []`` the token that followed the longest match, -1 without one.
      match_length: ``int32 []``.
    """

    hashes: jax.Array
    classes: jax.Array
    last: jax.Array
    guess: jax.Array
    match_length: jax.Array


class Cells(NamedTuple):
    """The cells that nodes ``[...]`` address.

    Attributes:
      bucket, tag: ``[n, ...]`` their addresses.
      held: ``uint32 [n, ..., 4, 3]`` all that their buckets hold.
      zeros, ones: ``uint32 [n, ...]`` their counts, 0 where there is no such cell.
      fast: ``uint32 [2, n, ...]`` their fast counts, of zeros and of ones.
    """

    bucket: jax.Array
    tag: jax.Array
    held: jax.Array
    zeros: jax.Array
    ones: jax.Array
    fast: jax.Array


class Evidence(NamedTuple):
    """The evidence of the cells at nodes ``[...]``.

    Attributes:
      odds: ``float32 [I, ...]`` log-odds of each input.
      state: ``int32 [I, ...]`` its two counts in 12 steps each.
      hits: ``int32 [...]`` which of the first six neurons have seen this before, as bits.
    """

    odds: jax.Array
    state: jax.Array
    hits: jax.Array


class Rows(NamedTuple):
    """Which weights hold at nodes ``[...]``.

    Attributes:
      shared: ``int32 [4, ...]`` rows of the gains that hold for all inputs: by hits, by the node's kind, and
        by the classes of the last two tokens.
      state: ``int32 [I, ...]`` rows of each input's offset; of its own gain they are `GAIN_STATES` below.
    """

    shared: jax.Array
    state: jax.Array


class MatchVote(NamedTuple):
    """The vote of the longest match on nodes ``[...]``.

    Attributes:
      bit: ``int32 [...]`` the bit it foretells, -1 where its token's path does not lead.
      cell: zone and length ``int32 [...]``, by which its share and gain are kept.
      share: ``float32 [...]`` how often a match of that length was right.
      odds: ``float32 [...]`` log-odds of that share, towards the bit.
    """

    bit: jax.Array
    cell: tuple[jax.Array, jax.Array]
    share: jax.Array
    odds: jax.Array


class Refinement(NamedTuple):
    """Probabilities as they turned out where they were mixed alike, at nodes ``[...]``, by two maps.

    Attributes:
      one: ``float32 [2, ...]`` P(bit = 1) by each map, on the line between two of its steps.
      cell: place and step ``int32 [2, ...]`` of the nearer one, which learns.
      held: ``float32 [2, ...]`` what it holds.
    """

    one: jax.Array
    cell: tuple[jax.Array, jax.Array]
    held: jax.Array


class Prediction(NamedTuple):
    """P(bit = 1) at nodes ``[...]``, and what learning from it needs.

    Attributes:
      one: ``float32 [...]`` P(bit = 1).
      mixed: ``float32 [...]`` the same before it was refined.
      match, refinement: None of a static memory.
    """

    one: jax.Array
    mixed: jax.Array
    cells: Cells
    evidence: Evidence
    rows: Rows
    match: MatchVote | None
    refinement: Refinement | None


def predict(network: Network, memory: Memory, place: Place, node: jax.Array, depth: jax.Array) -> Prediction:
    """P(bit = 1) at nodes ``[...]``, which lie ``depth`` turns below the root."""
    online = isinstance(memory, OnlineMemory)
    cells = look_up(network, memory, place.hashes, node)
    inputs = memory.gain.shape[1]
    seen = evidence(inputs, cells.zeros, cells.ones, cells.fast if online else None)
    rows = choose_rows(network, node, seen, place.classes.reshape(2, *[1] * node.ndim))
    dot = logit(memory.gain, memory.offset, rows, seen.odds)
    if not online:
        mixed = jax.nn.sigmoid(jnp.clip(dot, -RANGE, RANGE))
        return Prediction(clamped(mixed), mixed, cells, seen, rows, match=None, refinement=None)
    match = match_vote(network, memory, place, node, depth)
    dot = dot + jnp.where(match.bit >= 0, memory.match_gain[match.cell] * match.odds, 0.0)
    dot = jnp.clip(dot, -RANGE, RANGE)
    mixed = jax.nn.sigmoid(dot)
    refined = refine(network, memory, place, node, dot)
    one = clamped(0.5 * mixed + 0.25 * refined.one[0] + 0.25 * refined.one[1])
    return Prediction(one, mixed, cells, seen, rows, match, refined)


def look_up(network: Network, memory: Memory, hashes: jax.Array, node: jax.Array) -> Cells:
    """The cells of nodes ``[...]`` where the neurons' fields hash to ``uint32 [n]``."""
    bucket, tag = address(network, memories.log_slots(memory), hashes, node)
    neuron = jnp.arange(bucket.shape[0]).reshape(-1, *[1] * node.ndim)
    held = memory.slots[neuron, bucket]
    mine = held[..., 0] >> 16 == tag[..., None]
    cells = jnp.where(mine[..., None], held, 0).sum(axis=-2, dtype=jnp.uint32)
    fast = jnp.stack([cells[..., 0] >> 8 & 255, cells[..., 0] & 255])
    return Cells(bucket, tag, held, zeros=cells[..., 1], ones=cells[..., 2], fast=fast)


def evidence(inputs: int, zeros: jax.Array, ones: jax.Array, fast: jax.Array | None) -> Evidence:
    """Evidence of counts ``[n, ...]``, and of fast counts ``[2, n, ...]`` if there are any."""
    pairs = [(zeros, ones)] if fast is None else [(zeros, ones), (fast[0], fast[1])]
    odds = jnp.concatenate([_log(one) - _log(zero) for zero, one in pairs])
    state = jnp.concatenate([step(zero) * COUNT_STEPS + step(one) for zero, one in pairs])
    known = (zeros[:HIT_NEURONS] + ones[:HIT_NEURONS] > 0).astype(jnp.int32)
    hits = (known << jnp.arange(known.shape[0]).reshape(-1, *[1] * (zeros.ndim - 1))).sum(axis=0)
    room = [(0, inputs - odds.shape[0])] + [(0, 0)] * (zeros.ndim - 1)
    return Evidence(jnp.pad(odds, room), jnp.pad(state, room), hits)


def _log(count: jax.Array) -> jax.Array:
    return jnp.log(count.astype(jnp.float32) + SMOOTH)


def step(count: jax.Array) -> jax.Array:
    """A count in 12 steps: 0 .. 5, 6-7, 8-11, 12-19, 20-39, 40-99, more."""
    edges = jnp.array(COUNT_EDGES, count.dtype)
    return (count[..., None] >= edges).sum(axis=-1, dtype=jnp.int32)


def choose_rows(network: Network, node: jax.Array, seen: Evidence, classes: jax.Array) -> Rows:
    """The weights that hold at nodes ``[...]``.

    Args:
      classes: ``int32 [2, ...]`` classes of the last two tokens, 6 bits and 1 for "none".
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
    """Mixed log-odds ``[...]``: each input's offset, and its odds times the sum of its five gains.

    Args:
      odds: ``float32 [I, ...]``.
    """
    inputs = jnp.arange(odds.shape[0]).reshape(-1, *[1] * (odds.ndim - 1))
    shared = jnp.moveaxis(gain[rows.shared].sum(axis=0), -1, 0)
    own = gain[GAIN_STATES + rows.state, inputs]
    return (offset[rows.state, inputs] + (shared + own) * odds).sum(axis=0)


def match_vote(
    network: Network, memory: OnlineMemory, place: Place, node: jax.Array, depth: jax.Array
) -> MatchVote:
    """The vote of the longest match on nodes ``[...]``, which lie ``depth`` turns below the root."""
    tree = network.tree
    token = jnp.maximum(place.guess, 0)
    entry = tree.start[token] + depth
    on_path = (place.guess >= 0) & (entry < tree.start[token + 1])
    entry = jnp.minimum(entry, tree.node.shape[0] - 1)
    bit = jnp.where(on_path & (tree.node[entry] == node), tree.bit[entry], -1)
    cell = tree.spelled[node], jnp.minimum(place.match_length, MATCH_LENGTHS - 1)
    share = memory.match_share[cell]
    odds = jnp.where(bit == 0, -1.0, 1.0) * jnp.log(share / (1.0 - share))
    return MatchVote(bit, cell, share, odds)


def refine(
    network: Network, memory: OnlineMemory, place: Place, node: jax.Array, dot: jax.Array
) -> Refinement:
    """Probabilities as they turned out after mixed log-odds ``dot [...]`` at nodes ``[...]``."""
    middle = REFINE_STEPS // 2
    z = jnp.clip(dot * jnp.float32(1 / REFINE_WIDTH), -REFINE_EDGE, REFINE_EDGE) + float(middle)
    below = z.astype(jnp.int32)
    part = z - below
    name = network.tree.names[0, node]
    hashed = mix(jnp.broadcast_to(place.last, name.shape), name)
    places = jnp.stack([name, hashed]) >> 32 - REFINE_LOG
    which = jnp.arange(2).reshape(-1, *[1] * node.ndim)
    low, high = memory.refined[which, places, below], memory.refined[which, places, below + 1]
    nearer = places, jnp.broadcast_to(below + (part > 0.5), places.shape)
    return Refinement(low * (1.0 - part) + high * part, nearer, jnp.where(part > 0.5, high, low))


def clamped(p: jax.Array) -> jax.Array:
    """A probability that no bit can be certain of."""
    return jnp.clip(p, LEAST, 1.0 - LEAST)


def learn(
    network: Network, memory: OnlineMemory, node: jax.Array, bit: jax.Array, said: Prediction, rate: float
) -> OnlineMemory:
    """The memory after the bit that came at one node.

    Args:
      said: of that node.
      rate: of the gains and offsets, by Adagrad.
    """
    assert said.match is not None  # an online memory's prediction has both
    assert said.refinement is not None
    target = bit.astype(jnp.float32)
    error = target - said.mixed

    def adapt(weights, sums, index, gradient):
        total = sums[index] + gradient**2
        change = rate * gradient / jnp.sqrt(total + 1.0)
        return weights.at[index].add(change), sums.at[index].set(total)

    # Nothing that was read to predict is read again: XLA would copy it.
    cell, held = (jnp.arange(2), *said.refinement.cell), said.refinement.held
    refined = memory.refined.at[cell].set(held + (target - held) * REFINE_RATE)
    match, on = said.match, said.match.bit >= 0
    hit = (match.bit == bit).astype(jnp.float32)
    moved = jnp.clip(match.share + (hit - match.share) * MATCH_RATE, MATCH_LEAST, MATCH_MOST)
    match_share = memory.match_share.at[match.cell].set(jnp.where(on, moved, match.share))
    match_gain = memory.match_gain.at[match.cell].add(
        jnp.where(on, MATCH_GAIN_RATE * error * match.odds, 0.0)
    )

    odds, rows = said.evidence.odds, said.rows
    inputs = jnp.arange(odds.shape[0])
    shared = jnp.broadcast_to(rows.shared[:, None], (len(rows.shared), len(inputs)))
    index = jnp.concatenate([shared, GAIN_STATES + rows.state[None]]), inputs[None]
    gain, gain_sum = adapt(memory.gain, memory.gain_sum, index, error * odds[None])
    silent = jnp.where(inputs < 2 * network.view.shape[0], error, 0.0)
    offset, offset_sum = adapt(memory.offset, memory.offset_sum, (rows.state, inputs), silent)
    cells = write_bit(said.cells.held, said.cells.tag, bit)
    slots = memory.slots.at[jnp.arange(len(cells)), said.cells.bucket].set(cells)
    return memory._replace(
        slots=slots,
        gain=gain,
        gain_sum=gain_sum,
        offset=offset,
        offset_sum=offset_sum,
        match_share=match_share,
        match_gain=match_gain,
        refined=refined,
    )
