"""The cells that context neurons address by the fields that they observe.

A neuron hashes the fields (`fields`) that it is connected to. This hash and the name of a node of the token
tree address a cell: they give a bucket of the neuron's row, and a tag within the bucket. All arithmetic is
exact, in ``uint32``.

Source: docs/semantics/chain.md
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.chain import tokentree
from wnn_jax.chain.constants import BUCKET, FAST_LIMIT, FAST_MOST, FIELDS, VIEWS
from wnn_jax.chain.fields import mix


class Network(NamedTuple):
    """The wiring of a chain model: the parts that stay the same while it is fitted and while it reads.

    Attributes:
      tree: a `tokentree.TokenTree` of arrays.
      lexicon: ``uint32 [V, 23]``, see `constants.Lexicon`.
      connections: ``int32 [n, T]``: the fields that each of n context neurons observes, as places in
        `FIELDS`; -1 where it observes fewer than T.
      view: ``int32 [n]``: which of the three names of a node each neuron uses, as a place in `VIEWS`.
      sets: ``int32 [K]``: the sets of weights of an online model, see `WeightSet`; the first is `WeightSet.ONE`.

    Source: docs/semantics/chain.md
    """

    tree: tokentree.TokenTree
    lexicon: jax.Array
    connections: jax.Array
    view: jax.Array
    sets: jax.Array


def wire(described: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the connections ``int32 [n, T]`` and the views ``int32 [n]`` of context neurons.

    Args:
      described: for each neuron its view, one of `VIEWS`, and the fields that it observes, separated by
        spaces.

    Raises:
      ValueError: a view or a field is unknown, or no neuron is described.

    Source: docs/semantics/chain.md
    """
    words = [one.split() or [""] for one in described]
    views, wired = [row[0] for row in words], [row[1:] for row in words]
    unknown = [view for view in views if view not in VIEWS]
    unknown += [name for row in wired for name in row if name not in FIELDS]
    if unknown or not described:
        raise ValueError(
            (f"unknown view or field {unknown[0]!r}" if unknown else "no neuron is described")
            + f": name one of the views {', '.join(VIEWS)}, then some of the fields {', '.join(FIELDS)}"
        )
    connections = np.full((len(wired), max(1, *(len(row) for row in wired))), -1, np.int32)
    for row, names in zip(connections, wired, strict=True):
        row[: len(names)] = [FIELDS.index(name) for name in names]
    return connections, np.array([VIEWS.index(view) for view in views], np.int32)


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
    return _spread(mix(hashes.reshape(view.shape), network.tree.names[view, node[None]]), log_slots)


def _spread(h: jax.Array, log_slots: int):
    """Splits a hash into a bucket and a tag.

    Both are high bits of a product of the hash, each with its own factor, so neither determines the other.
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
        where, tag = _spread(h, slots.shape[1].bit_length() + 1)
        bucket = row[where]
        mine = bucket[..., 0] >> 16 == tag[..., None]
        return jnp.where(mine[..., None], bucket, 0).sum(axis=1, dtype=jnp.uint32)[:, 1:].astype(jnp.int32)

    counts = jax.lax.map(one, (slots, network.view, hashes))
    return counts[..., 0], counts[..., 1]
