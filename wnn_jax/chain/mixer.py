"""The memory of a chain model and its mixer: what cells say of a bit, and what is learnt when it came."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.chain import backend, tokentree
from wnn_jax.chain.contexts import BUCKET, RECENT, Model, Register, address, mix, written

STATES = 144
MATCH_LENGTHS, MATCH_LOG, MATCH_ORDER = 32, 18, 3
REFINE_LOG, REFINE_STEPS = 16, 33
_HITS, _CLASSES = 128, 65
_GAIN_STATES = _HITS + tokentree.KINDS + 2 * _CLASSES
GAIN_ROWS = _GAIN_STATES + 2 * STATES
LANES = 8
_SMOOTH, _RANGE, _LEAST = 0.4, 13.0, 2e-6


class Memory(NamedTuple):
    """What changes while a model reads.

    Attributes:
      slots: ``uint32 [n, S / 4, 4, 3]``, cells in buckets of four: 16 bits of tag and two fast counts of 8;
        zeros seen; ones seen. In a bucket tags fall; of more than four the highest stay.
      gain, gain_sum: ``float32 [GAIN_ROWS, I]`` weights on the evidence of I inputs, and their summed squared
        gradients. Inputs are the n neurons' counts, in an online memory also their fast counts.
      offset, offset_sum: ``float32 [2 * STATES, I]``: what the state of a cell says beside its odds.
      match_share, match_gain: ``float32 [2, 32]`` how often a match of that length is right; its weight.
      refined: ``float32 [2, 2^16, 33]`` what a mixed probability turned out to be, by node and last token.
      text: ``int32 [room]`` the last tokens read, as a ring.
      match_table: ``int32 [2^18]`` where three tokens were last followed by what.
      registers: ``uint32 [12]``, see `Register`.
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

    @property
    def online(self) -> bool:
        """Whether this memory has what online models have: fast counters, matches and refinement."""
        return self.match_table.shape[0] > 1

    @property
    def log_slots(self) -> int:
        return self.slots.shape[1].bit_length() + 1


def empty(neurons: int, log_slots: int, online: bool, room: int) -> Memory:
    """The memory of a model that has read nothing.

    Args:
      neurons: n.
      log_slots: log2 of S, the cells of a neuron's row.
      online: see `Memory.online`.
      room: tokens that a match may look back.
    """
    sources = 2 if online else 1
    inputs = -(-neurons * sources // LANES) * LANES
    gain = np.zeros((GAIN_ROWS, inputs), np.float32)
    # By hits, kind and state every input begins with an equal part of a mean, a little sharper than one.
    for rows in (slice(_HITS + tokentree.KINDS), slice(_GAIN_STATES, None)):
        gain[rows, : sources * neurons] = 0.4 / (sources * neurons)
    offset = np.zeros((2 * STATES, inputs), np.float32)
    stretched = (np.arange(REFINE_STEPS) - REFINE_STEPS // 2) * 0.75
    refined = (1 / (1 + np.exp(-stretched))).astype(np.float32)
    shape = (2, 1 << REFINE_LOG, REFINE_STEPS) if online else (1, 1, REFINE_STEPS)
    match = (2, MATCH_LENGTHS) if online else (1, 1)
    return Memory(
        slots=backend.zeros((neurons, 1 << log_slots - 2, BUCKET, 3)),
        gain=jnp.asarray(gain),
        gain_sum=jnp.zeros(gain.shape, jnp.float32),
        offset=jnp.asarray(offset),
        offset_sum=jnp.zeros(offset.shape, jnp.float32),
        match_share=jnp.full(match, 0.8, jnp.float32),
        match_gain=jnp.full(match, 0.3, jnp.float32),
        refined=jnp.array(np.broadcast_to(refined, shape)),
        text=jnp.zeros(room if online else 1, jnp.int32),
        match_table=jnp.zeros(1 << MATCH_LOG if online else 1, jnp.int32),
        registers=jnp.zeros(len(Register) + RECENT, jnp.uint32),
    )


class Evidence(NamedTuple):
    """What the cells say at nodes ``[...]``.

    Attributes:
      odds: ``float32 [I, ...]`` log-odds of each input.
      state: ``int32 [I, ...]`` its two counts in 12 steps each.
      hits: ``int32 [...]`` which of the first six neurons have seen this before, as bits.
    """

    odds: jax.Array
    state: jax.Array
    hits: jax.Array


def evidence(inputs: int, zeros: jax.Array, ones: jax.Array, fast: jax.Array | None) -> Evidence:
    """Evidence of counts ``[n, ...]``, and of fast counts ``[2, n, ...]`` if there are any."""
    pairs = [(zeros, ones)] if fast is None else [(zeros, ones), (fast[0], fast[1])]
    odds = jnp.concatenate([_log(one) - _log(zero) for zero, one in pairs])
    state = jnp.concatenate([step(zero) * 12 + step(one) for zero, one in pairs])
    known = (zeros[:6] + ones[:6] > 0).astype(jnp.int32)
    hits = (known << jnp.arange(known.shape[0]).reshape(-1, *[1] * (zeros.ndim - 1))).sum(axis=0)
    room = [(0, inputs - odds.shape[0])] + [(0, 0)] * (zeros.ndim - 1)
    return Evidence(jnp.pad(odds, room), jnp.pad(state, room), hits)


def _log(count: jax.Array) -> jax.Array:
    return jnp.log(count.astype(jnp.float32) + _SMOOTH)


def step(count: jax.Array) -> jax.Array:
    """A count in 12 steps: 0 .. 5, 6-7, 8-11, 12-19, 20-39, 40-99, more."""
    edges = jnp.array([1, 2, 3, 4, 5, 6, 8, 12, 20, 40, 100], count.dtype)
    return (count[..., None] >= edges).sum(axis=-1, dtype=jnp.int32)


def gain_rows(model: Model, node: jax.Array, hits: jax.Array, classes: jax.Array) -> jax.Array:
    """``int32 [4, ...]`` rows of the gains that hold for all inputs at nodes ``[...]``.

    Args:
      hits: see `Evidence`.
      classes: ``int32 [2, ...]`` classes of the last two tokens, 6 bits and 1 for "none".
    """
    spelled = model.tree.spelled[node]
    kind = _HITS + model.tree.kind[node]
    first = _HITS + tokentree.KINDS
    rows = [hits + 64 * spelled, kind, first + classes[0], first + _CLASSES + classes[1]]
    return jnp.stack([jnp.broadcast_to(row, node.shape) for row in rows])


def logit(gain, offset, rows: jax.Array, state_rows: jax.Array, odds: jax.Array) -> jax.Array:
    """Mixed log-odds ``[...]``: each input's offset, and its odds times the sum of its five gains.

    Args:
      rows: from `gain_rows`.
      state_rows: ``int32 [I, ...]`` states, plus `STATES` in the spelled branch.
      odds: ``float32 [I, ...]``.
    """
    inputs = jnp.arange(odds.shape[0]).reshape(-1, *[1] * (odds.ndim - 1))
    shared = jnp.moveaxis(gain[rows].sum(axis=0), -1, 0)
    own = gain[_GAIN_STATES + state_rows, inputs]
    return (offset[state_rows, inputs] + (shared + own) * odds).sum(axis=0)


class Place(NamedTuple):
    """A place in a text before its token came."""

    context: jax.Array
    classes: jax.Array
    last: jax.Array
    guess: jax.Array
    match_length: jax.Array


class Bit(NamedTuple):
    """A prediction, and what learning from it needs."""

    one: jax.Array
    mixed: jax.Array
    evidence: Evidence
    rows: jax.Array
    state_rows: jax.Array
    matched: jax.Array
    match_row: jax.Array
    match_odds: jax.Array
    nearer: tuple[jax.Array, ...]  # in each refining map, the cell that learns: its place, and what it holds
    old: jax.Array
    share: jax.Array  # what the match's cell holds
    bucket: jax.Array
    tag: jax.Array
    cells: jax.Array  # of the buckets


def predict(model: Model, memory: Memory, place: Place, node: jax.Array, depth: jax.Array) -> Bit:
    """P(bit = 1) at nodes ``[...]``, which lie ``depth`` turns below the root."""
    bucket, tag = address(model, memory.log_slots, place.context, node)
    neuron = jnp.arange(bucket.shape[0]).reshape(-1, *[1] * node.ndim)
    held = memory.slots[neuron, bucket]
    mine = held[..., 0] >> 16 == tag[..., None]
    cells = jnp.where(mine[..., None], held, 0).sum(axis=-2, dtype=jnp.uint32)
    fast = None
    if memory.online:
        fast = jnp.stack([cells[..., 0] >> 8 & 255, cells[..., 0] & 255])
    seen = evidence(memory.gain.shape[1], cells[..., 1], cells[..., 2], fast)
    classes = place.classes.reshape(2, *[1] * node.ndim)
    rows = gain_rows(model, node, seen.hits, classes)
    state_rows = seen.state + STATES * model.tree.spelled[node]
    dot = logit(memory.gain, memory.offset, rows, state_rows, seen.odds)
    zero = jnp.zeros(node.shape, jnp.int32)
    if not memory.online:
        one = jax.nn.sigmoid(jnp.clip(dot, -_RANGE, _RANGE))
        nothing = jnp.zeros(node.shape)
        return Bit(
            clamped(one),
            one,
            seen,
            rows,
            state_rows,
            zero - 1,
            zero,
            nothing,
            (),
            nothing,
            nothing,
            bucket,
            tag,
            held,
        )

    start, token = model.tree.start, jnp.maximum(place.guess, 0)
    entry = start[token] + depth
    on_path = (place.guess >= 0) & (entry < start[token + 1])
    entry = jnp.minimum(entry, model.tree.node.shape[0] - 1)
    matched = jnp.where(on_path & (model.tree.node[entry] == node), model.tree.bit[entry], -1)
    zone = model.tree.spelled[node]
    match_row = jnp.minimum(place.match_length, MATCH_LENGTHS - 1)
    share = memory.match_share[zone, match_row]
    match_odds = jnp.where(matched == 0, -1.0, 1.0) * jnp.log(share / (1.0 - share))
    dot = dot + jnp.where(matched >= 0, memory.match_gain[zone, match_row] * match_odds, 0.0)
    dot = jnp.clip(dot, -_RANGE, _RANGE)
    mixed = jax.nn.sigmoid(dot)

    z = jnp.clip(dot * jnp.float32(1 / 0.75), -15.99, 15.99) + 16.0
    below = z.astype(jnp.int32)
    part = z - below
    name = model.tree.names[0, node]
    hashed = mix(jnp.broadcast_to(place.last, name.shape), name)
    places = jnp.stack([name, hashed]) >> 32 - REFINE_LOG
    which = jnp.arange(2).reshape(-1, *[1] * node.ndim)
    low, high = memory.refined[which, places, below], memory.refined[which, places, below + 1]
    refined = low * (1.0 - part) + high * part
    one = clamped(0.5 * mixed + 0.25 * refined[0] + 0.25 * refined[1])
    nearer = places, jnp.broadcast_to(below + (part > 0.5), places.shape)
    old = jnp.where(part > 0.5, high, low)
    found = one, mixed, seen, rows, state_rows, matched, match_row, match_odds, nearer, old, share
    return Bit(*found, bucket, tag, held)


def clamped(p: jax.Array) -> jax.Array:
    return jnp.clip(p, _LEAST, 1.0 - _LEAST)


def learn(model: Model, memory: Memory, node, bit, found: Bit, rate: float) -> Memory:
    """The memory after the bit that came at one node."""
    target = bit.astype(jnp.float32)
    error = target - found.mixed
    zone = model.tree.spelled[node]

    def adapt(weights, sums, index, gradient):
        total = sums[index] + gradient**2
        change = rate * gradient / jnp.sqrt(total + 1.0)
        return weights.at[index].add(change), sums.at[index].set(total)

    # Nothing that was read to predict is read again: XLA would copy it.
    cell, old = (jnp.arange(2), *found.nearer), found.old
    refined = memory.refined.at[cell].set(old + (target - old) * 0.02)
    row = zone, found.match_row
    share, on = found.share, found.matched >= 0
    hit = (found.matched == bit).astype(jnp.float32)
    moved = jnp.where(on, jnp.clip(share + (hit - share) * 0.005, 0.001, 0.9999), share)
    match_share = memory.match_share.at[row].set(moved)
    match_gain = memory.match_gain.at[row].add(jnp.where(on, 0.002 * error * found.match_odds, 0.0))

    inputs = jnp.arange(found.evidence.odds.shape[0])
    shared = jnp.broadcast_to(found.rows[:, None], (len(found.rows), len(inputs)))
    index = jnp.concatenate([shared, _GAIN_STATES + found.state_rows[None]]), inputs[None]
    gain, gain_sum = adapt(memory.gain, memory.gain_sum, index, error * found.evidence.odds[None])
    silent = jnp.where(inputs < 2 * model.view.shape[0], error, 0.0)
    own = found.state_rows, inputs
    offset, offset_sum = adapt(memory.offset, memory.offset_sum, own, silent)
    cells = written(found.cells, found.tag, bit)
    slots = memory.slots.at[jnp.arange(len(cells)), found.bucket].set(cells)
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
