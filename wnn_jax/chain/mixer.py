"""The mixer of a chain model: it turns cells into the probability of a bit, and learns from the bit.

A prediction has four steps: the evidence of the cells (`evidence`), its weighted sum (`choose_rows` and
`logit`), the vote of the longest match (`match_vote`) and the refinement of the mixed probability (`refine`).
A static memory takes the first two steps only.

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
from wnn_jax.chain.contexts import Network, address, write_bit
from wnn_jax.chain.fields import mix
from wnn_jax.chain.memory import Memory, OnlineMemory


class Place(NamedTuple):
    """A place in a text, before its token is known.

    Attributes:
      hashes: ``uint32 [n]``, the hash of the fields that each neuron observes.
      classes: ``int32 [2]``, the classes of the last two tokens.
      last: ``uint32 []``, the id of the last token plus 1; 0 if there is none.
      guess: ``int32 []``, the token that followed the longest match; -1 without a match.
      match_length: ``int32 []``, the number of tokens of the match.

    Source: docs/semantics/chain.md
    """

    hashes: jax.Array
    classes: jax.Array
    last: jax.Array
    guess: jax.Array
    match_length: jax.Array


class Cells(NamedTuple):
    """The cells that the neurons address at nodes ``[...]``.

    Attributes:
      bucket: ``int32 [n, ...]``, their buckets.
      tag: ``uint32 [n, ...]``, their tags.
      held: ``uint32 [n, ..., 4, 3]``, all cells of these buckets.
      zeros: ``uint32 [n, ...]``, the count of zeros; 0 where there is no such cell.
      ones: ``uint32 [n, ...]``, the count of ones; 0 where there is no such cell.
      fast: ``uint32 [2, n, ...]``, the fast counts of zeros and of ones.

    Source: docs/semantics/chain.md
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


class MatchVote(NamedTuple):
    """The vote of the longest match at nodes ``[...]``.

    Attributes:
      bit: ``int32 [...]``, the bit that the match predicts; -1 at a node that is not on the path of its
        token.
      cell: ``int32 [...]`` twice: the branch (1: spelled) and the length of the match, which address its
        share and its gain.
      share: ``float32 [...]``, how often a match of that length was right.
      odds: ``float32 [...]``, the log-odds of that share, positive towards a 1.

    Source: docs/semantics/chain.md
    """

    bit: jax.Array
    cell: tuple[jax.Array, jax.Array]
    share: jax.Array
    odds: jax.Array


class Refinement(NamedTuple):
    """The refined probabilities at nodes ``[...]``: how often the bit was 1 at such a mixed probability.

    There are two maps: the first is addressed by the node, the second by the last token and the node.

    Attributes:
      one: ``float32 [2, ...]``, P(bit = 1) by each map, interpolated between two of its steps.
      cell: ``[2, ...]`` twice: the place in the map and the nearer step, which learns.
      held: ``float32 [2, ...]``, the value of that cell.

    Source: docs/semantics/chain.md
    """

    one: jax.Array
    cell: tuple[jax.Array, jax.Array]
    held: jax.Array


class Prediction(NamedTuple):
    """P(bit = 1) at nodes ``[...]``, and the values that learning needs.

    Attributes:
      one: ``float32 [...]``, P(bit = 1).
      mixed: ``float32 [...]``, the same before the refinement.
      cells: the cells that were read.
      evidence: the evidence of these cells.
      rows: the rows of the weights.
      match: the vote of the longest match; None with a static memory.
      refinement: the refined probabilities; None with a static memory.

    Source: docs/semantics/chain.md
    """

    one: jax.Array
    mixed: jax.Array
    cells: Cells
    evidence: Evidence
    rows: Rows
    match: MatchVote | None
    refinement: Refinement | None


def predict(network: Network, memory: Memory, place: Place, node: jax.Array, depth: jax.Array) -> Prediction:
    """Predicts P(bit = 1) at nodes ``[...]``.

    Args:
      network: the wiring.
      memory: a static or an online memory.
      place: the place in the text.
      node: ``int32 [...]``.
      depth: ``int32 [...]``, the number of turns between the root and each node.

    Source: docs/semantics/chain.md
    """
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
    fast = jnp.stack([cells[..., 0] >> 8 & 255, cells[..., 0] & 255])
    return Cells(bucket, tag, held, zeros=cells[..., 1], ones=cells[..., 2], fast=fast)


def evidence(inputs: int, zeros: jax.Array, ones: jax.Array, fast: jax.Array | None) -> Evidence:
    """Turns counts into evidence: log-odds and states.

    A count of 0 is evidence too: every count is increased by 0.4 before its logarithm, so that no counts at
    all give log-odds of 0.

    Args:
      inputs: I, to which the evidence is padded with zeros.
      zeros: ``[n, ...]``, the counts of zeros.
      ones: ``[n, ...]``, the counts of ones.
      fast: ``[2, n, ...]``, the fast counts, which become n more inputs; None for a static memory.

    Source: docs/semantics/chain.md
    """
    pairs = [(zeros, ones)] if fast is None else [(zeros, ones), (fast[0], fast[1])]
    odds = jnp.concatenate([_log(one) - _log(zero) for zero, one in pairs])
    state = jnp.concatenate([step(zero) * COUNT_STEPS + step(one) for zero, one in pairs])
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


def match_vote(
    network: Network, memory: OnlineMemory, place: Place, node: jax.Array, depth: jax.Array
) -> MatchVote:
    """Returns the vote of the longest match at nodes ``[...]``.

    Args:
      network: the wiring.
      memory: an online memory.
      place: the place in the text, with its match.
      node: ``int32 [...]``.
      depth: ``int32 [...]``, the number of turns between the root and each node.

    Source: docs/semantics/chain.md
    """
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
    """Refines mixed log-odds by how often the bit was 1 at such log-odds before.

    Args:
      network: the wiring.
      memory: an online memory.
      place: the place in the text.
      node: ``int32 [...]``.
      dot: ``float32 [...]``, the mixed log-odds.

    Source: adaptive probability maps (M. Mahoney, PAQ8); docs/semantics/chain.md
    """
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
    """Clips a probability to `LEAST` .. 1 - `LEAST`, so that no bit is certain.

    Source: docs/semantics/chain.md
    """
    return jnp.clip(p, LEAST, 1.0 - LEAST)


def learn(
    network: Network, memory: OnlineMemory, node: jax.Array, bit: jax.Array, said: Prediction, rate: float
) -> OnlineMemory:
    """Learns the bit that came at one node; returns the new memory.

    Args:
      network: the wiring.
      memory: an online memory.
      node: ``int32 []``.
      bit: ``int32 []``.
      said: the prediction at that node.
      rate: the step size of Adagrad for the gains and offsets.

    Source: Adagrad (Duchi et al. 2011); docs/semantics/chain.md
    """
    assert said.match is not None  # a prediction from an online memory has both
    assert said.refinement is not None
    target = bit.astype(jnp.float32)
    error = target - said.mixed

    def adapt(weights, sums, index, gradient):
        total = sums[index] + gradient**2
        change = rate * gradient / jnp.sqrt(total + 1.0)
        return weights.at[index].add(change), sums.at[index].set(total)

    # The values that the prediction read are taken from it: a second read would make XLA copy the arrays.
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
