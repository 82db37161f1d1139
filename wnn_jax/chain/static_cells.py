"""The cells of a static chain model: how often tokens follow contexts, and discounts of these counts.

A neuron counts how often each token follows each context. For the lower orders of Kneser-Ney it counts after
how many different earlier tokens it does. Each such number is added to the cell of every turn of the token's
path. It loses a discount there, which depends on whether it is 1, 2, or at least 3. A cell keeps two sums,
and the part of each sum that the discounts leave. All of it is exact or rounded once, so the order of the
places of a text has no effect.

Source: Chen and Goodman 1999, eq. 26; docs/semantics/chain_static.md
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.chain import ledger
from wnn_jax.chain.constants import BUCKET, DISCOUNT_UNIT
from wnn_jax.chain.contexts import Network, spread
from wnn_jax.hashing import mix

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # contexts, tokens and counts, see `followers`


class Followers(NamedTuple):
    """How often tokens follow contexts, for some neurons, padded at the end with counts of 0.

    Attributes:
      hashes: ``uint32 [b, U]``, the context.
      tokens: ``int32 [b, U]``, the token that follows it.
      counts: ``int32 [b, U]``, how often, or after how many different earlier tokens.
      discounts: ``uint32 [b, 3]``, what a count of 1, of 2, and of at least 3 loses, in units of 1 /
        `DISCOUNT_UNIT`.

    Source: docs/semantics/chain_static.md
    """

    hashes: np.ndarray
    tokens: np.ndarray
    counts: np.ndarray
    discounts: np.ndarray


def followers(hashes: np.ndarray, tokens: np.ndarray, longer: np.ndarray | None = None):
    """Counts how often each token follows each context.

    Args:
      hashes: ``uint32 [N]``, the context of each place.
      tokens: ``int32 [N]``, the token of each place.
      longer: ``uint32 [N]``, a context that says more. If it is given, a token is counted once for each of
        these that it follows.

    Returns:
      the contexts ``uint32 [U]``, the tokens ``int32 [U]`` and the counts ``int32 [U]`` of all different
      pairs, ascending by context and token.

    Source: Chen and Goodman 1999, section 2.7; docs/semantics/chain_static.md
    """
    return ledger.followers(ledger.entries(hashes, tokens, longer), longer is not None)


def stacked(found: Sequence[Rows], size: int, lost: np.ndarray) -> Followers:
    """Returns the `Followers` of some neurons.

    Args:
      found: the contexts, tokens and counts of each of the b neurons.
      size: U, to which they are padded.
      lost: ``uint32 [b, 3]``, the discounts.

    Source: docs/semantics/chain_static.md
    """
    contexts, followed, counts = (
        np.stack([np.pad(one[k], (0, size - len(one[k]))) for one in found]) for k in range(3)
    )
    return Followers(contexts, followed, counts, lost)


def discounts(counts: np.ndarray) -> np.ndarray:
    """Returns the discounts ``uint32 [3]`` of counts, in units of 1 / `DISCOUNT_UNIT`.

    They come from the counts of counts. If one of these is 0, as in a short text, or a discount is not
    positive, the discounts are 1/2, 1 and 3/2.

    Args:
      counts: ``int32 [U]``.

    Source: Chen and Goodman 1999, eq. 26
    """
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == c)) for c in (1, 2, 3, 4))
    found = np.array([0.5, 1.0, 1.5])
    if n1 and n2 and n3 and n4:
        y = n1 / (n1 + 2 * n2)
        modified = np.array([1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        found = modified if (modified > 0).all() else found
    return np.round(found * DISCOUNT_UNIT).astype(np.uint32)


def share_of(counts: jax.Array, lost: jax.Array) -> jax.Array:
    """Returns the part of counts that discounts leave, ``uint32 [...]``, in units of 2^-16, rounded down.

    Args:
      counts: ``uint32 [...]``.
      lost: ``uint32 [...]``, the sum of the discounts, in units of 1 / `DISCOUNT_UNIT`.

    Source: docs/semantics/chain_static.md
    """
    whole = counts.astype(jnp.float32)
    left = whole - lost.astype(jnp.float32) / jnp.float32(DISCOUNT_UNIT)
    share = jnp.clip(left / jnp.maximum(whole, 1.0) * 65536.0, 0.0, 65535.0)
    return jnp.where(counts > 0, share, 0.0).astype(jnp.uint32)


def write(network: Network, slots: jax.Array, first: jax.Array, found: Followers, depth: int) -> jax.Array:
    """Writes the followers of contexts into rows that are empty.

    All turns are written at once. Four rounds find the four highest tags of each bucket, and the cells of
    these tags stay; others are dropped.

    Args:
      network: the wiring.
      slots: ``uint32 [n, S / 4, 4, 4]``.
      first: ``int32 []``, the first of the b neurons.
      found: what follows their contexts.
      depth: D, the number of turns of the longest path.

    Returns:
      the new slots.

    Source: docs/semantics/chain_static.md
    """
    tree, buckets = network.tree, slots.shape[1]
    rows = found.hashes.shape[0]
    turns = jnp.arange(depth, dtype=jnp.int32)

    def one(neuron):
        hashes, tokens, counts, lost, view = neuron
        begin, after = tree.start[tokens], tree.start[tokens + 1]
        entry = jnp.minimum(begin[:, None] + turns, tree.node.shape[0] - 1)
        there = (begin[:, None] + turns < after[:, None]) & (counts > 0)[:, None]
        where, tag = spread(
            mix(hashes[:, None], tree.names[view][tree.node[entry]]), buckets.bit_length() + 1
        )
        where, tag = jnp.where(there, where, buckets).reshape(-1), tag.reshape(-1)
        below, kept = jnp.full(buckets, 1 << 17, jnp.uint32), []
        for _ in range(BUCKET):
            least = jnp.append(below, 0)[where]
            highest = (
                jnp.zeros(buckets, jnp.uint32).at[where].max(jnp.where(tag < least, tag, 0), mode="drop")
            )
            kept.append(highest)
            below = highest
        tags = jnp.stack(kept, axis=1)  # [S / 4, 4]
        mine = jnp.concatenate([tags, jnp.zeros((1, BUCKET), jnp.uint32)])[where] == tag[:, None]
        cell = jnp.where(mine.any(axis=1), jnp.argmax(mine, axis=1), BUCKET)
        to = where, cell, tree.bit[entry].reshape(-1)
        numbers = counts, lost[jnp.clip(counts, 1, 3) - 1].astype(jnp.int32)
        sums = [
            jnp.zeros((buckets, BUCKET, 2), jnp.uint32)
            .at[to]
            .add(jnp.repeat(x.astype(jnp.uint32), depth), mode="drop")
            for x in numbers
        ]
        shares = share_of(*sums)
        joint = shares[..., 0] << 16 | shares[..., 1]
        return jnp.concatenate([tags[..., None], sums[0], joint[..., None]], axis=-1)

    view = jax.lax.dynamic_slice_in_dim(network.view, first, rows)
    made = jax.lax.map(one, (*(jnp.asarray(x) for x in found), view))
    return jax.lax.dynamic_update_slice_in_dim(slots, made, first, axis=0)


def read(network: Network, slots: jax.Array, hashes: jax.Array, node: jax.Array):
    """Returns the zeros, the ones and the shares, ``uint32 [n, ...]`` each, that nodes address.

    They are 0 where there is no cell.

    Args:
      network: the wiring.
      slots: ``uint32 [n, S / 4, 4, 4]``.
      hashes: ``uint32 [n, ...]``, the hash of each neuron's fields at the place of each node; the axes behind
        the first may be of size 1.
      node: ``int32 [...]``.

    Source: docs/semantics/chain_static.md
    """

    def one(neuron):
        row, view, hashed = neuron
        where, tag = spread(mix(hashed, network.tree.names[view][node]), slots.shape[1].bit_length() + 1)
        bucket = row[where]
        mine = bucket[..., 0] == tag[..., None]
        return jnp.where(mine[..., None], bucket, 0).sum(axis=-2, dtype=jnp.uint32)[..., 1:]

    cells = jax.lax.map(one, (slots, network.view, hashes))
    return cells[..., 0], cells[..., 1], cells[..., 2]
