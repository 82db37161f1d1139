"""The ledger of a static chain model: what it counted, so that it can be added to and taken away from.

Cells cannot be subtracted. A discount depends on how often a token followed a context in all, the lower
orders of Kneser-Ney count what was seen at least once, and a full bucket has dropped cells. The ledger holds
the integers behind all of this: for each row how often each token followed each context. These numbers add,
and the cells are a function of them.

Source: docs/semantics/chain_static.md
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from wnn_jax.chain.constants import ORDERS

MOST = 2**31 - 1  # the largest count
Entries = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # hashes, longer, tokens and counts of a row


class Ledger(NamedTuple):
    """How often tokens followed contexts, for R rows of cells: the orders of Kneser-Ney and the neurons.

    The entries of a row ascend by hash, token and longer hash, all different. The row ends with zeros. U is
    the least power of two that holds the longest row, so equal counts are equal arrays.

    Attributes:
      hashes: ``uint32 [R, U]``, the context.
      longer: ``uint32 [ORDERS - 1, U]``, for each order of Kneser-Ney but the last the context of the next
        order at the same place.
      tokens: ``int32 [R, U]``, the token that followed.
      counts: ``int32 [R, U]``, how often; 0 after the last entry.

    Source: docs/semantics/chain_static.md
    """

    hashes: jax.Array | np.ndarray
    longer: jax.Array | np.ndarray
    tokens: jax.Array | np.ndarray
    counts: jax.Array | np.ndarray


def entries(
    hashes: np.ndarray, tokens: np.ndarray, longer: np.ndarray | None = None, counts: np.ndarray | None = None
) -> Entries:
    """Adds up equal triples of context, token and longer context.

    Args:
      hashes: ``uint32 [N]``, the contexts.
      tokens: ``int32 [N]``, the tokens that followed.
      longer: ``uint32 [N]``, the longer contexts; zeros if it is not given.
      counts: ``int [N]``, how often; once if it is not given.

    Returns:
      the hashes, longer hashes, tokens and counts ``[U]`` of all different triples, in the order of a ledger.

    Source: docs/semantics/chain_static.md
    """
    pairs = hashes.astype(np.uint64) << np.uint64(32) | tokens.astype(np.uint64)
    if longer is None and counts is None:
        pairs, order = np.sort(pairs), None  # several times faster than with the order
    else:
        order = np.argsort(pairs, kind="stable") if longer is None else np.lexsort((longer, pairs))
        pairs = pairs[order]
    more = np.zeros(len(pairs), np.uint32) if longer is None else longer[order]
    fresh = np.ones(len(pairs), bool)
    fresh[1:] = (pairs[1:] != pairs[:-1]) | (more[1:] != more[:-1])
    begins = np.flatnonzero(fresh)
    if counts is None:
        sums = np.diff(np.append(begins, len(pairs)))
    else:
        sums = np.add.reduceat(counts[order], begins, dtype=np.int64) if len(begins) else np.zeros(0, int)
    kept = pairs[begins]
    found = (kept >> np.uint64(32)).astype(np.uint32), more[begins], kept.astype(np.uint32).astype(np.int32)
    return (*found, sums)


def followers(row: Entries, continued: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the contexts, the tokens and the counts ``[U]`` of all different pairs, which make cells.

    Args:
      row: the entries of a row.
      continued: whether the count of a pair is the number of longer contexts in which it was seen, as in the
        lower orders of Kneser-Ney, instead of how often.

    Source: Chen and Goodman 1999, section 2.7; docs/semantics/chain_static.md
    """
    hashes, _, tokens, counts = row
    if not continued or not len(hashes):
        return hashes, tokens, counts.astype(np.int32)
    begins = np.flatnonzero(np.append(True, (hashes[1:] != hashes[:-1]) | (tokens[1:] != tokens[:-1])))
    sizes = np.diff(np.append(begins, len(hashes))).astype(np.int32)
    return hashes[begins], tokens[begins], sizes


def of(hashes: np.ndarray, tokens: np.ndarray) -> Ledger:
    """Returns the ledger of places.

    Args:
      hashes: ``uint32 [R, N]``, the contexts of each row at each place.
      tokens: ``int32 [N]``.

    Source: docs/semantics/chain_static.md
    """
    return _packed(
        [entries(hashes[c], tokens, hashes[c + 1] if c + 1 < ORDERS else None) for c in range(len(hashes))]
    )


def row(ledger: Ledger, c: int) -> Entries:
    """Returns the entries of a row.

    Source: docs/semantics/chain_static.md
    """
    counts = np.asarray(ledger.counts[c])
    size = int(np.count_nonzero(counts))
    longer = np.asarray(ledger.longer[c]) if c + 1 < ORDERS else np.zeros(size, np.uint32)
    return (
        np.asarray(ledger.hashes[c])[:size],
        longer[:size],
        np.asarray(ledger.tokens[c])[:size],
        counts[:size],
    )


def added(one: Ledger, other: Ledger) -> Ledger:
    """Returns the ledger of all places of two ledgers.

    Raises:
      ValueError: a count would be above `MOST`.

    Source: docs/semantics/chain_static.md
    """
    rows = [_added(row(one, c), row(other, c), c) for c in range(len(one.counts))]
    most = max((int(found[3].max(initial=0)) for found in rows), default=0)
    if most > MOST:
        raise ValueError(
            f"a token followed a context {most} times, but a count is at most {MOST}: merge less"
        )
    return _packed(rows)


def lacking(ledger: Ledger, part: Ledger) -> np.ndarray:
    """Returns the number of entries ``int32 [R]`` of ``part`` that the ledger has not, or not as often.

    Source: docs/semantics/chain_static.md
    """
    found = [_changed(row(ledger, c), row(part, c), c) for c in range(len(ledger.counts))]
    return np.array([np.count_nonzero(one[3] < 0) for one in found], np.int32)


def without(ledger: Ledger, part: Ledger) -> Ledger:
    """Returns the ledger of all places of ``ledger`` but those of ``part``, which must be among them.

    Source: docs/semantics/chain_static.md
    """
    changed = [_changed(row(ledger, c), row(part, c), c) for c in range(len(ledger.counts))]
    return _packed([_kept(one) for one in changed])


def _added(one: Entries, other: Entries, c: int) -> Entries:
    hashes, longer, tokens, counts = (np.concatenate(pair) for pair in zip(one, other, strict=True))
    return entries(hashes, tokens, longer if c + 1 < ORDERS else None, counts)


def _changed(one: Entries, other: Entries, c: int) -> Entries:
    return _added(one, (*other[:3], -other[3].astype(np.int64)), c)


def _kept(found: Entries) -> Entries:
    there = found[3] > 0
    return found[0][there], found[1][there], found[2][there], found[3][there]


def room(longest: int) -> int:
    """Returns U, the number of entries of a row's arrays, for the number of entries of the longest row.

    Source: docs/semantics/chain_static.md
    """
    return 1 << max(longest - 1, 0).bit_length()


def _packed(rows: Sequence[Entries]) -> Ledger:
    size = room(max((len(one[3]) for one in rows), default=0))

    def stacked(k: int, among: Sequence[Entries], dtype: type) -> np.ndarray:
        found = np.zeros((len(among), size), dtype)
        for into, one in zip(found, among, strict=True):
            into[: len(one[k])] = one[k]
        return found

    return Ledger(
        hashes=stacked(0, rows, np.uint32),
        longer=stacked(1, rows[: ORDERS - 1], np.uint32),
        tokens=stacked(2, rows, np.int32),
        counts=stacked(3, rows, np.int32),
    )
