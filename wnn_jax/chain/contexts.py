"""The fields that the context neurons of a chain model observe, and the cells they address.

A *field* is something known of a place in a text: one of the last tokens, its class, the word being
written. A neuron hashes the fields it is connected to, and with the name of a node of the token tree that
hash addresses a cell: a bucket of its row, and a tag within. All in ``uint32``, and exact.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.chain import tokentree
from wnn_jax.chain.constants import (
    BUCKET,
    CLASS_BITS,
    CODE_BITS,
    FAST_LIMIT,
    FAST_MOST,
    FIELDS,
    FOLDED,
    RECENT,
    VIEWS,
    Lexicon,
    Register,
)


class Network(NamedTuple):
    """How a chain model is wired: all of it that stays as it is while it is fitted and reads.

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


def lexicon(pieces: list[bytes], codes: np.ndarray) -> np.ndarray:
    """``uint32 [9, V]``, see `Lexicon`.

    Letters and digits of ASCII, lowered, and all bytes above it are of words; anything else is a border.
    """
    table = np.zeros((len(Lexicon), len(pieces)), np.uint32)
    table[Lexicon.FOLDED] = folded(pieces)
    for token, piece in enumerate(pieces):
        multiply, add, head, ends = 1, 0, (0, 1), False
        for byte in piece.lower():
            if byte >= 128 or bytes([byte]).isalnum():
                add = (add * 0x01000193 + byte + 1) & 0xFFFFFFFF
                multiply = multiply * 0x01000193 & 0xFFFFFFFF
            else:
                head = head if ends else (add, multiply)
                add, multiply, ends = 0, 0, True
        row = table[:, token]
        row[Lexicon.MULTIPLY], row[Lexicon.ADD], row[Lexicon.ENDS] = multiply, add, ends
        row[Lexicon.HEAD], row[Lexicon.HEAD_MULTIPLY] = head
        row[Lexicon.TAIL], row[Lexicon.SIZE] = int.from_bytes(piece[-3:], "big"), min(len(piece), 3)
    table[Lexicon.CODE] = codes
    return table


def folded(pieces: list[bytes]) -> np.ndarray:
    """Canonical ids ``int32 [V]``: tokens that differ only in case or in spaces around them are one."""
    known: dict[bytes, int] = {}
    names = (piece.strip(b" ").lower() or piece for piece in pieces)
    return np.array([known.setdefault(name, len(known)) for name in names], np.int32)


def wire(described: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Connections ``int32 [n, T]`` over `FIELDS` and views ``int32 [n]`` of context neurons.

    Args:
      described: for each neuron its view, of `VIEWS`, and the fields it observes, as words.

    Raises:
      ValueError: a view or field is unknown.
    """
    wired = [fields.split() for _, fields in described]
    unknown = [name for row in wired for name in row if name not in FIELDS]
    unknown += [view for view, _ in described if view not in VIEWS]
    if unknown or not described:
        raise ValueError(f"unknown field or view {unknown[:1]}: choose of {', '.join((*FIELDS, *VIEWS))}")
    connections = np.full((len(wired), max(1, *(len(row) for row in wired))), -1, np.int32)
    for row, names in zip(connections, wired, strict=True):
        row[: len(names)] = [FIELDS.index(name) for name in names]
    return connections, np.array([VIEWS.index(view) for view, _ in described], np.int32)


def remember(network: Network, registers: jax.Array, token: jax.Array) -> jax.Array:
    """The registers after a token, but for those of the match."""
    row = network.lexicon[:, token]
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
    return jnp.concatenate([newest, registers[: RECENT - 1], words, registers[Register.COUNT :]])


def mix(h: jax.Array, x: jax.Array) -> jax.Array:
    """A hash of two ``uint32``: a multiply and murmur3's finalizer (A. Appleby, public domain)."""
    h = h ^ x * jnp.uint32(0x9E3779B1)
    h = (h ^ h >> 15) * jnp.uint32(0x85EBCA6B)
    h = (h ^ h >> 13) * jnp.uint32(0xC2B2AE35)
    return h ^ h >> 16


def fields(network: Network, registers: jax.Array) -> jax.Array:
    """``uint32 [F]`` of one place in a text, in the order of `FIELDS`; 0 where there is no token yet."""
    recent = registers[:FOLDED]
    there = recent > 0
    token = jnp.maximum(recent, 1) - 1
    folded = jnp.where(there, network.lexicon[Lexicon.FOLDED][token] + 1, 0)
    code = jnp.where(there, network.lexicon[Lexicon.CODE][token], 0)
    classes = [(code >> CODE_BITS - bits) + there.astype(jnp.uint32) for bits in CLASS_BITS]
    words = registers[jnp.array([Register.WORD, Register.LAST_WORD, Register.BYTES])]
    return jnp.concatenate([registers[:RECENT], folded, *classes, words])


def classes(fields: jax.Array) -> jax.Array:
    """Classes ``int32 [2]`` of the last two tokens among the fields of a place: 6 bits, and 1 for "none"."""
    return fields[jnp.array([FIELDS.index("class6_1"), FIELDS.index("class6_2")])].astype(jnp.int32)


def hash_fields(network: Network, fields: jax.Array) -> jax.Array:
    """Hashes ``uint32 [n]`` of the fields that each neuron observes at one place."""
    h = jnp.arange(1, network.view.shape[0] + 1, dtype=jnp.uint32)
    for t in range(network.connections.shape[1]):
        field = network.connections[:, t]
        h = jnp.where(field >= 0, mix(h, fields[jnp.maximum(field, 0)]), h)
    return h


def address(network: Network, log_slots: int, hashes: jax.Array, node: jax.Array):
    """Buckets and tags ``[n, ...]`` of nodes ``[...]`` where the neurons' fields hash to ``[n]``."""
    view = network.view.reshape(-1, *[1] * node.ndim)
    return _spread(mix(hashes.reshape(view.shape), network.tree.names[view, node[None]]), log_slots)


def _spread(h: jax.Array, log_slots: int):
    """Bucket and tag of a hash: the high bits of two products, so that neither says the other."""
    bucket = (h * jnp.uint32(0x9E3779B1)) >> (34 - log_slots) if log_slots > 2 else jnp.zeros_like(h)
    return bucket.astype(jnp.int32), jnp.maximum((h * jnp.uint32(0x2545F491)) >> 16, 1)


def write_bit(cells: jax.Array, tag: jax.Array, bit: jax.Array) -> jax.Array:
    """Buckets ``[n, 4, 3]`` after a bit was written to the cells of tags ``[n]``, made if not there."""
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
    same, other = jnp.minimum(same + 1, FAST_MOST), jnp.where(other > FAST_LIMIT, other // 2 + 1, other)
    low, high = jnp.where(bit > 0, same, other), jnp.where(bit > 0, other, same)
    head = cells[..., 0] & jnp.uint32(0xFFFF0000) | high << 8 | low
    counts = cells[..., 1:] + (jnp.arange(2) == bit).astype(jnp.uint32)
    return jnp.where(here[..., None], jnp.concatenate([head[..., None], counts], axis=-1), cells)


def write_counts(network: Network, slots, hashes, tokens, sign: int, depth: int) -> jax.Array:
    """Add ``sign`` to the cells of every bit of a text whose fields hash to ``uint32 [n, N]``.

    All at once, not bit by bit: the tags of a bucket are found in four rounds, the highest first.
    """
    tree = network.tree
    turns = jnp.arange(depth)
    first, after = tree.start[tokens], tree.start[tokens + 1]
    entry = jnp.minimum(first[:, None] + turns, tree.node.shape[0] - 1)
    there = first[:, None] + turns < after[:, None]
    buckets = slots.shape[1]

    def one(neuron):
        hashed, view, table = neuron
        h = mix(hashed[:, None], tree.names[view][tree.node[entry]])
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

    return jax.lax.map(one, (hashes, network.view, slots))


def read_counts(network: Network, slots: jax.Array, hashes: jax.Array, node: jax.Array):
    """Counts ``int32 [n, L]`` of zeros and of ones that nodes ``[L]`` meet, by the hashes ``[n, L]``."""

    def one(neuron):
        row, view, hashed = neuron
        h = mix(hashed, network.tree.names[view][node])
        where, tag = _spread(h, slots.shape[1].bit_length() + 1)
        bucket = row[where]
        mine = bucket[..., 0] >> 16 == tag[..., None]
        return jnp.where(mine[..., None], bucket, 0).sum(axis=1, dtype=jnp.uint32)[:, 1:].astype(jnp.int32)

    counts = jax.lax.map(one, (slots, network.view, hashes))
    return counts[..., 0], counts[..., 1]
