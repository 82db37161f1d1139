"""The fields that context neurons observe, and the cells that they address.

A *field* is a fact about a place in a text: one of the last tokens, its class, or the word being written. A
neuron hashes the fields that it is connected to. This hash and the name of a node of the token tree address a
cell: they give a bucket of the neuron's row, and a tag within the bucket. All arithmetic is exact, in
``uint32``.

Source: docs/semantics/chain.md
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
    """The wiring of a chain model: the parts that stay the same while it is fitted and while it reads.

    Attributes:
      tree: a `tokentree.TokenTree` of arrays.
      lexicon: ``uint32 [9, V]``, see `Lexicon`.
      connections: ``int32 [n, T]``: the fields that each of n context neurons observes, as places in
        `FIELDS`; -1 where it observes fewer than T.
      view: ``int32 [n]``: which of the three names of a node each neuron uses, as a place in `VIEWS`.

    Source: docs/semantics/chain.md
    """

    tree: tokentree.TokenTree
    lexicon: jax.Array
    connections: jax.Array
    view: jax.Array


def lexicon(pieces: list[bytes], codes: np.ndarray) -> np.ndarray:
    """Returns the lexicon ``uint32 [9, V]``, see `Lexicon`.

    Letters and digits of ASCII and all bytes above it belong to words; any other byte is a border between
    words. Letters of ASCII are lowered.

    Args:
      pieces: the bytes of each of the V ids.
      codes: ``int32 [V]``, the codes of the token tree.

    Source: docs/semantics/chain.md
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
    """Returns canonical ids ``int32 [V]``: tokens that differ only in case or in outer spaces share one.

    Args:
      pieces: the bytes of each of the V ids. A piece of spaces alone is kept as it is.

    Source: docs/semantics/chain.md
    """
    known: dict[bytes, int] = {}
    names = (piece.strip(b" ").lower() or piece for piece in pieces)
    return np.array([known.setdefault(name, len(known)) for name in names], np.int32)


def wire(described: Sequence[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the connections ``int32 [n, T]`` and the views ``int32 [n]`` of context neurons.

    Args:
      described: the view of each neuron, one of `VIEWS`, and the fields that it observes, separated by
        spaces.

    Raises:
      ValueError: a view or a field is unknown, or no neuron is described.

    Source: docs/semantics/chain.md
    """
    wired = [fields.split() for _, fields in described]
    unknown = [name for row in wired for name in row if name not in FIELDS]
    unknown += [view for view, _ in described if view not in VIEWS]
    if unknown or not described:
        raise ValueError(
            (f"unknown field or view {unknown[0]!r}" if unknown else "no neuron is described")
            + f": choose among {', '.join((*FIELDS, *VIEWS))}"
        )
    connections = np.full((len(wired), max(1, *(len(row) for row in wired))), -1, np.int32)
    for row, names in zip(connections, wired, strict=True):
        row[: len(names)] = [FIELDS.index(name) for name in names]
    return connections, np.array([VIEWS.index(view) for view, _ in described], np.int32)


def remember(network: Network, registers: jax.Array, token: jax.Array) -> jax.Array:
    """Returns the registers after a token; those of the count and of the match stay as they are.

    Args:
      network: the wiring.
      registers: ``uint32 [12]``, see `Register`.
      token: ``int32 []``.

    Source: docs/semantics/chain.md
    """
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
    """Hashes two ``uint32`` into one: a multiplication and the finalizer of murmur3.

    Args:
      h: ``uint32 [...]``, the hash so far.
      x: ``uint32 [...]``, the value to add to it.

    Source: MurmurHash3 (A. Appleby, public domain); docs/semantics/chain.md
    """
    h = h ^ x * jnp.uint32(0x9E3779B1)
    h = (h ^ h >> 15) * jnp.uint32(0x85EBCA6B)
    h = (h ^ h >> 13) * jnp.uint32(0xC2B2AE35)
    return h ^ h >> 16


def fields(network: Network, registers: jax.Array) -> jax.Array:
    """Returns the fields ``uint32 [F]`` of one place in a text, in the order of `FIELDS`.

    A field of a token that does not exist yet is 0.

    Args:
      network: the wiring.
      registers: ``uint32 [12]``, see `Register`.

    Source: docs/semantics/chain.md
    """
    recent = registers[:FOLDED]
    there = recent > 0
    token = jnp.maximum(recent, 1) - 1
    folded = jnp.where(there, network.lexicon[Lexicon.FOLDED][token] + 1, 0)
    code = jnp.where(there, network.lexicon[Lexicon.CODE][token], 0)
    classes = [(code >> CODE_BITS - bits) + there.astype(jnp.uint32) for bits in CLASS_BITS]
    words = registers[jnp.array([Register.WORD, Register.LAST_WORD, Register.BYTES])]
    return jnp.concatenate([registers[:RECENT], folded, *classes, words])


def classes(fields: jax.Array) -> jax.Array:
    """Returns the classes ``int32 [2]`` of the last two tokens: 6 bits plus 1, or 0 without a token.

    Args:
      fields: ``uint32 [F]``, the fields of a place.

    Source: docs/semantics/chain.md
    """
    return fields[jnp.array([FIELDS.index("class6_1"), FIELDS.index("class6_2")])].astype(jnp.int32)


def hash_fields(network: Network, fields: jax.Array) -> jax.Array:
    """Returns the hash ``uint32 [n]`` of the fields that each neuron observes at one place.

    Args:
      network: the wiring.
      fields: ``uint32 [F]``, the fields of the place.

    Source: docs/semantics/chain.md
    """
    h = jnp.arange(1, network.view.shape[0] + 1, dtype=jnp.uint32)
    for t in range(network.connections.shape[1]):
        field = network.connections[:, t]
        h = jnp.where(field >= 0, mix(h, fields[jnp.maximum(field, 0)]), h)
    return h


def address(network: Network, log_slots: int, hashes: jax.Array, node: jax.Array):
    """Returns the buckets and the tags that the neurons address at nodes.

    Args:
      network: the wiring.
      log_slots: log2 of the number of cells in a neuron's row.
      hashes: ``uint32 [n]``, the hash of each neuron's fields.
      node: ``int32 [...]``, nodes of the token tree.

    Returns:
      the buckets ``int32 [n, ...]`` and the tags ``uint32 [n, ...]``, from 1 to 65,535.

    Source: docs/semantics/chain.md
    """
    view = network.view.reshape(-1, *[1] * node.ndim)
    return spread(mix(hashes.reshape(view.shape), network.tree.names[view, node[None]]), log_slots)


def spread(h: jax.Array, log_slots: int):
    """Splits a hash into a bucket ``int32 [...]`` and a tag ``uint32 [...]``.

    Both are high bits of a product of the hash, each with its own factor, so neither determines the other.

    Args:
      h: ``uint32 [...]``, the hash.
      log_slots: log2 of the number of cells in a row.

    Source: docs/semantics/chain.md
    """
    bucket = (h * jnp.uint32(0x9E3779B1)) >> (34 - log_slots) if log_slots > 2 else jnp.zeros_like(h)
    return bucket.astype(jnp.int32), jnp.maximum((h * jnp.uint32(0x2545F491)) >> 16, 1)


def write_bit(cells: jax.Array, tag: jax.Array, bit: jax.Array) -> jax.Array:
    """Writes one bit into the cell that each neuron addresses; adds the cell if it is not in the bucket.

    The cells of a bucket are in descending order of their tags. A new cell in a full bucket drops the cell
    with the lowest tag, which may be the new one.

    Args:
      cells: ``uint32 [n, 4, 3]``, the buckets.
      tag: ``uint32 [n]``, the tags of the cells.
      bit: ``int32 []``, 0 or 1.

    Returns:
      the buckets ``uint32 [n, 4, 3]``.

    Source: docs/semantics/chain.md
    """
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
    """Adds ``sign`` to the count of every bit of a text.

    All bits are written at once. Four rounds find the four highest tags of each bucket, and the cells of
    these tags stay; other cells are dropped.

    Args:
      network: the wiring.
      slots: ``uint32 [n, S / 4, 4, 3]``.
      hashes: ``uint32 [n, N]``, the hash of each neuron's fields at each place.
      tokens: ``int32 [N]``.
      sign: 1 to add the text to the counts, -1 to take it out.
      depth: D, the number of turns of the longest path.

    Returns:
      the new slots.

    Source: docs/semantics/chain.md
    """
    tree = network.tree
    turns = jnp.arange(depth, dtype=jnp.int32)
    first, after = tree.start[tokens], tree.start[tokens + 1]
    entry = jnp.minimum(first[:, None] + turns, tree.node.shape[0] - 1)
    there = first[:, None] + turns < after[:, None]
    buckets = slots.shape[1]

    def one(neuron):
        hashed, view, table = neuron
        h = mix(hashed[:, None], tree.names[view][tree.node[entry]])
        where, tag = spread(h, buckets.bit_length() + 1)
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
    """Returns the counts of zeros and of ones, ``int32 [n, L]`` each, that nodes address.

    The counts are 0 where there is no cell.

    Args:
      network: the wiring.
      slots: ``uint32 [n, S / 4, 4, 3]``.
      hashes: ``uint32 [n, L]``, the hash of each neuron's fields at the place of each node.
      node: ``int32 [L]``.

    Source: docs/semantics/chain.md
    """

    def one(neuron):
        row, view, hashed = neuron
        h = mix(hashed, network.tree.names[view][node])
        where, tag = spread(h, slots.shape[1].bit_length() + 1)
        bucket = row[where]
        mine = bucket[..., 0] >> 16 == tag[..., None]
        return jnp.where(mine[..., None], bucket, 0).sum(axis=1, dtype=jnp.uint32)[:, 1:].astype(jnp.int32)

    counts = jax.lax.map(one, (slots, network.view, hashes))
    return counts[..., 0], counts[..., 1]
