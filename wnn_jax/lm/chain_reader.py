"""How a chain model reads: what its neurons address, how their cells are mixed, what is learnt from a bit.

This is the contract of the native kernels (metal_ext/src/chain.h): the same functions in plain JAX, one
token after another, used where the kernels are not. Counts, hashes and choices agree to the bit; mixed
probabilities to a few units in the sixth digit, for XLA adds floats in an order of its own.
"""

import enum
from typing import Any, NamedTuple

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np

from wnn_jax import native
from wnn_jax.lm import tokentree

FIELDS = (
    *("token1", "token2", "token3", "token4", "token5", "token6"),
    *("folded1", "folded2", "folded3"),
    *("class6_1", "class6_2", "class6_3", "class9_1", "class9_2", "class9_3"),
    *("class12_1", "class12_2", "class12_3"),
    *("word", "last_word", "bytes3"),
)
VIEWS = ("node", "byte", "bytes3")
BUCKET = 4
STATES = 144
MATCH_LENGTHS, MATCH_LOG, MATCH_ORDER = 32, 18, 3
REFINE_LOG, REFINE_STEPS = 16, 33
_RECENT = 6
_HITS, _CLASSES = 128, 65
_GAIN_STATES = _HITS + tokentree.KINDS + 2 * _CLASSES
GAIN_ROWS = _GAIN_STATES + 2 * STATES
LANES = 8
_LIMIT = 2  # the opposite fast count is halved above it
_SMOOTH, _RANGE, _LEAST = 0.4, 13.0, 2e-6


class Lexicon(enum.IntEnum):
    """Rows of ``uint32 [9, V]``: what the fields need of each token, from its bytes and its code.

    The word being written is a polynomial of its letters, so a token without a border maps it by
    ``word * multiply + add``, and one with a border finishes it by ``word * head_multiply + head``.
    """

    FOLDED = 0
    CODE = 1
    MULTIPLY = 2
    ADD = 3
    HEAD = 4
    HEAD_MULTIPLY = 5
    ENDS = 6
    TAIL = 7
    SIZE = 8


class Register(enum.IntEnum):
    """What is remembered of the text, ``uint32 [12]``; the first six are the last tokens, plus one."""

    WORD = 6
    LAST_WORD = 7
    BYTES = 8
    COUNT = 9
    MATCH_AT = 10
    MATCH_LENGTH = 11


class Model(NamedTuple):
    """What stays as it is while a model reads.

    Attributes:
      tree: `tokentree.TokenTree` of arrays.
      lexicon: ``uint32 [9, V]``, see `Lexicon`.
      connections: ``int32 [n, T]``: which of `FIELDS` each context neuron observes, -1 for none.
      view: ``int32 [n]``: by which of its three names a neuron knows a node.
    """

    tree: tokentree.TokenTree
    lexicon: jax.Array
    connections: jax.Array
    view: jax.Array


class Memory(NamedTuple):
    """What changes while a model reads.

    Attributes:
      slots: ``uint32 [n, S / 4, 4, 3]``, cells in buckets of four: 16 bits of tag and two fast counts of 8; zeros
        seen; ones seen. In a bucket tags fall; of more than four the highest stay.
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


class Reading(NamedTuple):
    """What was read.

    Attributes:
      tokens: ``int32 [N]``.
      ones: ``float32 [N, D]`` P(bit = 1) at every turn of each token's path, 0 after its end.
      best: ``int32 [N]`` the most probable token at each place, the lowest on ties; -1 if not asked for.
    """

    tokens: jax.Array
    ones: jax.Array
    best: jax.Array


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
    # Each of four rows begins with an equal part of a mean over the inputs, a little sharper than a mean.
    gain[:_HITS, : sources * neurons] = 0.4 / (sources * neurons)
    gain[_HITS : _HITS + tokentree.KINDS, : sources * neurons] = 0.4 / (sources * neurons)
    gain[_GAIN_STATES:, : sources * neurons] = 0.4 / (sources * neurons)
    offset = np.zeros((2 * STATES, inputs), np.float32)
    stretched = (np.arange(REFINE_STEPS) - REFINE_STEPS // 2) * 0.75
    refined = (1 / (1 + np.exp(-stretched))).astype(np.float32)
    shape = (2, 1 << REFINE_LOG, REFINE_STEPS) if online else (1, 1, REFINE_STEPS)
    match = (2, MATCH_LENGTHS) if online else (1, 1)
    return Memory(
        slots=native.chain_zeros((neurons, 1 << log_slots - 2, BUCKET, 3)),
        gain=jnp.asarray(gain),
        gain_sum=jnp.zeros(gain.shape, jnp.float32),
        offset=jnp.asarray(offset),
        offset_sum=jnp.zeros(offset.shape, jnp.float32),
        match_share=jnp.full(match, 0.8, jnp.float32),
        match_gain=jnp.full(match, 0.3, jnp.float32),
        refined=jnp.array(np.broadcast_to(refined, shape)),
        text=jnp.zeros(room if online else 1, jnp.int32),
        match_table=jnp.zeros(1 << MATCH_LOG if online else 1, jnp.int32),
        registers=jnp.zeros(len(Register) + _RECENT, jnp.uint32),
    )


def mix(h: jax.Array, x: jax.Array) -> jax.Array:
    """A hash of two ``uint32``: a multiply and murmur3's finalizer (A. Appleby, public domain)."""
    h = h ^ x * jnp.uint32(0x9E3779B1)
    h = (h ^ h >> 15) * jnp.uint32(0x85EBCA6B)
    h = (h ^ h >> 13) * jnp.uint32(0xC2B2AE35)
    return h ^ h >> 16


def fields(model: Model, registers: jax.Array) -> jax.Array:
    """``uint32 [F]`` of one place in a text, in the order of `FIELDS`; 0 where there is no token yet."""
    recent = registers[:3]
    there = recent > 0
    token = jnp.maximum(recent, 1) - 1
    folded = jnp.where(there, model.lexicon[Lexicon.FOLDED][token] + 1, 0)
    code = jnp.where(there, model.lexicon[Lexicon.CODE][token], 0)
    classes = [(code >> tokentree.CODE_BITS - bits) + there.astype(jnp.uint32) for bits in (6, 9, 12)]
    words = registers[jnp.array([Register.WORD, Register.LAST_WORD, Register.BYTES])]
    return jnp.concatenate([registers[:_RECENT], folded, *classes, words])


def contexts(model: Model, fields: jax.Array) -> jax.Array:
    """What each neuron sees of one place, hashed: ``uint32 [n]``."""
    h = jnp.arange(1, model.view.shape[0] + 1, dtype=jnp.uint32)
    for t in range(model.connections.shape[1]):
        field = model.connections[:, t]
        h = jnp.where(field >= 0, mix(h, fields[jnp.maximum(field, 0)]), h)
    return h


def address(model: Model, log_slots: int, context: jax.Array, node: jax.Array):
    """Buckets and tags ``[n, ...]`` of nodes ``[...]`` in a context ``[n]``."""
    view = model.view.reshape(-1, *[1] * node.ndim)
    return _spread(mix(context.reshape(view.shape), model.tree.names[view, node[None]]), log_slots)


def _spread(h: jax.Array, log_slots: int):
    """Bucket and tag of a hash: the high bits of two products, so that neither says the other."""
    bucket = (h * jnp.uint32(0x9E3779B1)) >> (34 - log_slots) if log_slots > 2 else jnp.zeros_like(h)
    return bucket.astype(jnp.int32), jnp.maximum((h * jnp.uint32(0x2545F491)) >> 16, 1)


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


class _Bit(NamedTuple):
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


class _Place(NamedTuple):
    """A place in a text before its token came."""

    context: jax.Array
    classes: jax.Array
    last: jax.Array
    guess: jax.Array
    match_length: jax.Array


def _predict(model: Model, memory: Memory, place: _Place, node: jax.Array, depth: jax.Array) -> _Bit:
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
        return _Bit(_clamped(one), one, seen, rows, state_rows, zero - 1, zero, nothing, (), nothing, nothing, bucket, tag, held)

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
    one = _clamped(0.5 * mixed + 0.25 * refined[0] + 0.25 * refined[1])
    nearer = places, jnp.broadcast_to(below + (part > 0.5), places.shape)
    old = jnp.where(part > 0.5, high, low)
    found = one, mixed, seen, rows, state_rows, matched, match_row, match_odds, nearer, old, share
    return _Bit(*found, bucket, tag, held)


def _clamped(p: jax.Array) -> jax.Array:
    return jnp.clip(p, _LEAST, 1.0 - _LEAST)


def _learn(model: Model, memory: Memory, node, bit, found: _Bit, rate: float) -> Memory:
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


def written(cells: jax.Array, tag: jax.Array, bit: jax.Array) -> jax.Array:
    """Buckets ``[n, 4, 3]`` after a bit was written to the cell of a tag ``[n]``, made if it was not there."""
    tags = cells[..., 0] >> 16
    at = (tags > tag[:, None]).sum(axis=1)
    there = (tags == tag[:, None]).any(axis=1)
    slot = jnp.arange(BUCKET)
    shifted = jnp.concatenate([cells[:, :1], cells[:, :-1]], axis=1)
    fresh = jnp.stack([tag << 16, tag * 0, tag * 0], axis=1)[:, None]
    here = slot == at[:, None]
    grown = jnp.where((slot > at[:, None])[..., None], shifted, jnp.where(here[..., None], fresh, cells))
    cells = jnp.where(there[:, None, None], cells, grown)

    fast = jnp.stack([cells[..., 0] >> 8 & 255, cells[..., 0] & 255])
    same, other = jnp.where(bit > 0, fast[1], fast[0]), jnp.where(bit > 0, fast[0], fast[1])
    same, other = jnp.minimum(same + 1, 255), jnp.where(other > _LIMIT, other // 2 + 1, other)
    low, high = jnp.where(bit > 0, same, other), jnp.where(bit > 0, other, same)
    head = cells[..., 0] & jnp.uint32(0xFFFF0000) | high << 8 | low
    counts = cells[..., 1:] + (jnp.arange(2) == bit).astype(jnp.uint32)
    return jnp.where(here[..., None], jnp.concatenate([head[..., None], counts], axis=-1), cells)


def count(model: Model, slots, context, tokens, sign: int, depth: int) -> jax.Array:
    """Add ``sign`` to the cells of every bit of a text, ``context`` being ``uint32 [n, N]``.

    In whole, not bit by bit: the tags of a bucket are found in four rounds, each the highest of those left.
    """
    tree = model.tree
    turns = jnp.arange(depth)
    first, after = tree.start[tokens], tree.start[tokens + 1]
    entry = jnp.minimum(first[:, None] + turns, tree.node.shape[0] - 1)
    there = first[:, None] + turns < after[:, None]
    buckets = slots.shape[1]

    def one(args):
        context, view, table = args
        h = mix(context[:, None], tree.names[view][tree.node[entry]])
        where, tag = _spread(h, buckets.bit_length() + 1)
        where, tag = jnp.where(there, where, buckets).reshape(-1), tag.reshape(-1)
        old = table[..., 0] >> 16
        below = jnp.full(buckets, 1 << 17, jnp.uint32)
        kept = []
        for _ in range(BUCKET):
            least = jnp.append(below, 0)[where]
            highest = jnp.where(old < below[:, None], old, 0).max(axis=1)
            highest = highest.at[where].max(jnp.where(tag < least, tag, 0), mode="drop")
            kept.append(highest)
            below = jnp.where(highest > 0, highest, 0)
        tags = jnp.stack(kept, axis=1)  # [S / 4, 4]
        same = (old[:, None, :] == tags[:, :, None]) & (tags > 0)[:, :, None]
        cells = jnp.where(same[..., None], table[:, None], 0).sum(axis=2, dtype=jnp.uint32)
        cells = cells.at[..., 0].set(jnp.where(same.any(axis=2), cells[..., 0], tags << 16))
        mine = jnp.concatenate([tags, jnp.zeros((1, BUCKET), jnp.uint32)])[where] == tag[:, None]
        slot = jnp.where(mine.any(axis=1), jnp.argmax(mine, axis=1), BUCKET)
        bit = tree.bit[entry].reshape(-1)
        return cells.at[where, slot, 1 + bit].add(jnp.uint32(sign % 2**32), mode="drop")

    return jax.lax.map(one, (context, model.view, slots))


def counts(model: Model, memory: Memory, context: jax.Array, node: jax.Array):
    """Counts ``int32 [n, L]`` of zeros and ones met by nodes ``[L]``, each in its own context ``[n, L]``."""

    def one(neuron):
        row, view, context = neuron
        h = mix(context, model.tree.names[view][node])
        where, tag = _spread(h, memory.log_slots)
        found = row[where]
        mine = found[..., 0] >> 16 == tag[:, None]
        return jnp.where(mine[..., None], found, 0).sum(axis=1, dtype=jnp.uint32)[:, 1:].astype(jnp.int32)

    found = jax.lax.map(one, (memory.slots, model.view, context))
    return found[..., 0], found[..., 1]


def _begin(model: Model, memory: Memory) -> tuple[Memory, _Place]:
    """Before a token: its contexts, and what the longest match says comes next."""
    r = memory.registers
    seen = fields(model, r)
    classes = seen[jnp.array([FIELDS.index("class6_1"), FIELDS.index("class6_2")])].astype(jnp.int32)
    guess, length = jnp.int32(-1), jnp.int32(0)
    if memory.online:
        room, text = memory.text.shape[0], memory.text
        count = r[Register.COUNT].astype(jnp.int32)
        h = jnp.uint32(7)
        for k in range(MATCH_ORDER):
            h = mix(h, r[k])
        entry = h >> 32 - MATCH_LOG
        enough = count > MATCH_ORDER
        last = memory.match_table[entry]
        usable = enough & (r[Register.MATCH_LENGTH] == 0) & (last > 0) & (count - last < room)
        back = jnp.arange(MATCH_LENGTHS - 1)
        same = text[(last - 1 - back) % room] == text[(count - 1 - back) % room]
        same &= (back < last) & (count - last + back + 1 < room)
        run = jnp.cumprod(same.astype(jnp.uint32)).sum(dtype=jnp.uint32)
        at = jnp.where(usable, last.astype(jnp.uint32), r[Register.MATCH_AT])
        found = jnp.where(usable, jnp.where(run >= 2, run, 0), r[Register.MATCH_LENGTH])
        r = r.at[Register.MATCH_AT].set(at).at[Register.MATCH_LENGTH].set(found)
        table = memory.match_table.at[entry].set(jnp.where(enough, count, last))
        memory = memory._replace(registers=r, match_table=table)
        length = found.astype(jnp.int32)
        guess = jnp.where(length > 0, text[at.astype(jnp.int32) % room], -1)
    return memory, _Place(contexts(model, seen), classes, r[0], guess, length)


def remember(model: Model, registers: jax.Array, token: jax.Array) -> jax.Array:
    """The registers after a token, but for those of the match."""
    row = model.lexicon[:, token]
    word = registers[Register.WORD]
    finished = word * row[Lexicon.HEAD_MULTIPLY] + row[Lexicon.HEAD]
    ends = row[Lexicon.ENDS] > 0
    last = jnp.where(ends & (finished > 0), finished, registers[Register.LAST_WORD])
    word = jnp.where(ends, row[Lexicon.ADD], word * row[Lexicon.MULTIPLY] + row[Lexicon.ADD])
    size = row[Lexicon.SIZE]
    shifted = jnp.where(size >= 3, 0, registers[Register.BYTES] << jnp.minimum(8 * size, 24))
    spelled = (shifted | row[Lexicon.TAIL]) & jnp.uint32(0xFFFFFF)
    newest = token.astype(jnp.uint32)[None] + 1
    words = jnp.stack([word, last, spelled])
    return jnp.concatenate([newest, registers[: _RECENT - 1], words, registers[Register.COUNT :]])


def _end(model: Model, memory: Memory, token: jax.Array) -> Memory:
    """After a token: what is remembered of it."""
    r = memory.registers
    if memory.online:
        room, count = memory.text.shape[0], r[Register.COUNT].astype(jnp.int32)
        text = memory.text.at[count % room].set(token)
        at, length = r[Register.MATCH_AT], r[Register.MATCH_LENGTH]
        right = (length > 0) & (text[at.astype(jnp.int32) % room] == token)
        r = r.at[Register.COUNT].add(1)
        r = r.at[Register.MATCH_AT].set(jnp.where(length > 0, at + 1, at))
        r = r.at[Register.MATCH_LENGTH].set(jnp.where(right, length + 1, 0))
        memory = memory._replace(text=text)
    return memory._replace(registers=remember(model, r, token))


def distribution(model: Model, memory: Memory) -> jax.Array:
    """P ``float32 [V]`` of every token at the place where the memory stands; their sum is 1."""
    return _shares(model, *_begin(model, memory), 1.0)


def _shares(model: Model, memory: Memory, place: _Place, temperature: float) -> jax.Array:
    tree = model.tree
    first, entries = tree.start[:-1], tree.node.shape[0]
    owner = jnp.repeat(jnp.arange(first.shape[0]), jnp.diff(tree.start), total_repeat_length=entries)
    nodes = jnp.arange(tree.children.shape[0])
    depth = jnp.zeros(nodes.shape, jnp.int32).at[tree.node].set(jnp.arange(entries) - first[owner])
    one = heated(_predict(model, memory, place, nodes, depth).one, temperature)
    turns = jnp.where(tree.bit > 0, jnp.log(one[tree.node]), jnp.log1p(-one[tree.node]))
    return jnp.exp(jnp.zeros(first.shape[0]).at[owner].add(turns))


class Settings(NamedTuple):
    """How `read_on` goes on; static under `jit`.

    Attributes:
      mode: ``given`` tokens are read; ``sampled`` ones are drawn, by one chance in [0, 1) a turn; ``decoded``
        ones come from a callback that is told P(bit = 1) and answers the bit.
      learn: whether what was read is written and the mixer adapted.
      argmax: whether to look for the most probable token at every place.
      rate: of the mixer's Adagrad (Duchi et al. 2011).
      temperature: divides the log-odds of every sampled turn.
      top_p: tokens are drawn from the fewest most probable ones that have this much of the probability.
      callback: of ``decoded``: the address of a C function ``int32 (float)`` for the native kernel, or
        a Python function without it.
    """

    mode: str = "given"
    learn: bool = True
    argmax: bool = False
    rate: float = 0.03
    temperature: float = 1.0
    top_p: float = 1.0
    callback: Any = 0


_MODES = ("given", "sampled", "decoded")


def kernel_settings(memory: Memory, settings: Settings) -> dict[str, Any]:
    """The attributes of the native kernel."""
    numbers = {"log_slots": memory.log_slots, "online": memory.online, "learn": settings.learn}
    numbers |= {"mode": _MODES.index(settings.mode), "argmax": settings.argmax, "callback": settings.callback}
    rates = {"rate": settings.rate, "temperature": settings.temperature, "top_p": settings.top_p}
    return {k: np.int64(v) for k, v in numbers.items()} | {k: np.float32(v) for k, v in rates.items()}


def read_on(
    model: Model, memory: Memory, depth: int, count: int, tokens, chance, settings: Settings
) -> tuple[Memory, Reading]:
    """Read, draw or decode ``count`` tokens, each bit predicted before it is seen.

    Args:
      depth: D, turns of the longest path.
      tokens: ``int32 [N]`` if given, else ``[0]``.
      chance: ``float32 [N, D]`` if sampled, else ``[0, 0]``.
    """
    if native.backend() != "xla":
        numbers = kernel_settings(memory, settings)
        memory, *found = native.chain_read_on(*model, memory, tokens, chance, count, depth, numbers)
        return Memory(*memory), Reading(*found)
    tree = model.tree

    def one_token(memory: Memory, index):
        memory, place = _begin(model, memory)
        best, token = jnp.int32(-1), jnp.int32(-1)
        nucleus = settings.mode == "sampled" and settings.top_p < 1
        if settings.argmax or nucleus:
            if settings.argmax:
                best = jnp.argmax(_shares(model, memory, place, 1.0)).astype(jnp.int32)
            if nucleus:
                shares = _shares(model, memory, place, settings.temperature)
                token = _drawn(shares, settings.top_p, chance[index, 0])
        if settings.mode == "given":
            token = tokens[index]

        def choose(at, one):
            if settings.mode == "given" or nucleus:
                return tree.bit[tree.start[token] + at]
            if settings.mode == "sampled":
                return (chance[index, at] < heated(one, settings.temperature)).astype(jnp.int32)
            shape = jax.ShapeDtypeStruct((), jnp.int32)
            return jax.experimental.io_callback(settings.callback, shape, one, ordered=True)

        def turn(carry):
            node, at, memory, ones = carry
            found = _predict(model, memory, place, node, at)
            bit = choose(at, found.one)
            if settings.learn:
                # All reads first: else XLA may want to write before them, and copies the memory to be able to.
                memory, found, bit = jax.lax.optimization_barrier((memory, found, bit))
                memory = _learn(model, memory, node, bit, found, settings.rate)
            return tree.children[node, bit], at + 1, memory, ones.at[at].set(found.one)

        first = jnp.int32(0), jnp.int32(0), memory, jnp.zeros(depth)
        leaf, _, memory, ones = jax.lax.while_loop(lambda carry: carry[0] >= 0, turn, first)
        token = -1 - leaf
        return _end(model, memory, token), Reading(token, ones, best)

    return jax.lax.scan(one_token, memory, jnp.arange(count))


def heated(one: jax.Array, temperature: float) -> jax.Array:
    """A bit's probability with its log-odds divided by the temperature."""
    if temperature == 1.0:
        return one
    return jax.nn.sigmoid(jnp.clip(jnp.log(one / (1.0 - one)) / temperature, -30.0, 30.0))


def _drawn(shares: jax.Array, top_p: float, chance: jax.Array) -> jax.Array:
    """One of the fewest most probable ids that have ``top_p`` of the probability."""
    order = jnp.argsort(-shares, stable=True)
    mass = jnp.cumsum(shares[order])
    last = jnp.minimum(jnp.sum(mass < top_p), len(shares) - 1)
    return order[jnp.minimum(jnp.sum(mass <= chance * mass[last]), last)].astype(jnp.int32)
