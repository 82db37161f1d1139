"""Keeps what the cells of a static chain model lack: the sums of their discounts, and cells without a place.

A cell keeps the share that its discounts leave, in 16 bits, and a full bucket drops cells. To take a document
out of the cells, the numbers behind both are needed: what the counts of each cell lost, and the *spill*, the
cells that found no place. Both are functions of the ledger and change with it.

Source: docs/semantics/chain_static.md
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.chain import backend, ledger, static_cells, static_inputs
from wnn_jax.chain.contexts import Network, spread
from wnn_jax.chain.ledger import Ledger
from wnn_jax.chain.static_cells import Followers, Rows
from wnn_jax.hashing import mix

SPILLED = 6  # the words of a cell of the spill
_BLOCK = 8  # rows whose followers are in memory at the same time
_SPILL = 1 << 12  # cells of a row's spill for which there is room at first


class Books(NamedTuple):
    """The ledger of a static model, and the numbers that its cells cannot tell.

    Attributes:
      ledger: what was counted.
      lost: ``uint32 [R, S / 4, 4, 2]``, what the zeros and the ones of each cell lost, in units of 1 /
        `DISCOUNT_UNIT`.
      spill: ``uint32 [R, X, 6]``, the cells that found no place: the bucket, the tag, the zeros, the ones,
        and what both lost. They ascend by bucket and descend by tag; zeros follow. X is the least power of
        two that holds the longest row.

    Source: docs/semantics/chain_static.md
    """

    ledger: Ledger
    lost: jax.Array
    spill: jax.Array


def books(
    network: Network, slots: jax.Array, discounts: np.ndarray, held: Ledger, followers: Callable[[int], Rows]
) -> Books:
    """Makes the books of a ledger and of the slots that were filled from it.

    Args:
      network: the wiring, not from `static_inputs.wired`.
      slots: ``uint32 [R, S / 4, 4, 4]``.
      discounts: ``uint32 [R, 3]``.
      held: the ledger.
      followers: returns what follows the contexts of a row.

    Source: docs/semantics/chain_static.md
    """
    wiring, rows, size = static_inputs.wired(network), slots.shape[0], held.counts.shape[1]
    lost, spills = backend.zeros((*slots.shape[:3], 2)), []
    for first in range(0, rows, _BLOCK):
        chosen = range(first, min(first + _BLOCK, rows))
        found = static_cells.stacked([followers(c) for c in chosen], size, discounts[list(chosen)])
        lost, spill = _block(wiring, slots, lost, first, found)
        spills.append(spill)
    longest = max(int(np.count_nonzero(one[..., 1], axis=1).max()) for one in spills)
    spill = np.zeros((rows, ledger.room(longest), SPILLED), np.uint32)
    for into, one in zip(spill, (row for block in spills for row in block), strict=True):
        into[: min(len(one), len(into))] = one[: len(into)]
    kept = Ledger(*(jnp.asarray(x) for x in held))
    return Books(kept, lost, jnp.asarray(spill))


def _block(network: Network, slots, lost, first: int, found: Followers):
    """Returns ``lost``, in which some rows are written, and the spills of these rows."""
    if backend.native():
        lost, spill, sizes = _audit(network, slots, lost, np.int32(first), found, _SPILL)
        room = ledger.room(int(np.max(sizes)))
        if room > _SPILL:
            lost, spill, _ = _audit(network, slots, lost, np.int32(first), found, room)
        return lost, np.asarray(spill)[:, :room]
    rows = [
        check(network, slots, first + i, Followers(*(x[i : i + 1] for x in found)))
        for i in range(len(found.counts))
    ]
    longest = max(len(one[1]) for one in rows)
    spill = np.stack([np.pad(one[1], ((0, longest - len(one[1])), (0, 0))) for one in rows])
    return lost.at[first : first + len(rows)].set(np.stack([one[0] for one in rows])), spill


_audit = functools.partial(jax.jit, static_argnums=5, donate_argnums=2)(backend.audit)


def check(network: Network, slots: jax.Array, row: int, found: Followers) -> tuple[np.ndarray, np.ndarray]:
    """Returns what the cells of a row lost, ``uint32 [S / 4, 4, 2]``, and its spill ``uint32 [X, 6]``.

    This is the contract of the native kernel.

    Args:
      network: the wiring, from `static_inputs.wired`.
      slots: ``uint32 [R, S / 4, 4, 4]``.
      row: the row.
      found: the followers of its contexts, of one neuron.

    Source: docs/semantics/chain_static.md
    """
    size = int(np.count_nonzero(found.counts[0]))
    tokens, counts = found.tokens[0][:size], found.counts[0][:size].astype(np.int64)
    begins = np.asarray(network.tree.start)
    lengths = begins[tokens + 1] - begins[tokens]
    pair = np.repeat(np.arange(size), lengths)
    entry = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + begins[tokens][pair]
    node, bit = np.asarray(network.tree.node)[entry], np.asarray(network.tree.bit)[entry]
    names = np.asarray(network.tree.names)[int(network.view[row]), node]
    hashed = mix(jnp.asarray(found.hashes[0][:size][pair]), jnp.asarray(names))
    bucket, tag = (np.asarray(x, np.int64) for x in spread(hashed, slots.shape[1].bit_length() + 1))
    cut = found.discounts[0].astype(np.int64)[np.minimum(counts, 3) - 1][pair]
    keys, place = np.unique(bucket << 16 | (0xFFFF - tag), return_inverse=True)
    sums = np.zeros((len(keys), 4), np.int64)
    np.add.at(sums, (place, bit), counts[pair])
    np.add.at(sums, (place, 2 + bit), cut)
    buckets, tags = keys >> 16, 0xFFFF - (keys & 0xFFFF)
    mine = np.asarray(slots[row])[buckets, :, 0] == tags[:, None]
    there = mine.any(axis=1)
    lost = np.zeros((*slots.shape[1:3], 2), np.uint32)
    lost[buckets[there], mine[there].argmax(axis=1)] = sums[there, 2:]
    spill = np.column_stack([buckets, tags, sums])[~there].astype(np.uint32)
    return lost, spill
