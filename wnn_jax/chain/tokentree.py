"""Arranges a vocabulary as a binary tree: a token is the path to its leaf, and its bits are the turns.

Every id hangs below the root exactly once, and every inner node has two children. The probabilities of the V
leaves therefore sum to 1, whatever the probabilities of the bits are. All of it runs on the host, in NumPy.

Frequent tokens are split by their neighbours in the text: PPMI of the neighbours, truncated SVD, and
recursive splits along the principal direction. A bit is then a property that the context predicts, and the
first bits of a path are a class. Rare tokens have too few neighbours for that. They have a branch of their
own, which spells them byte by byte, so that the counts of letters serve tokens that were never seen.

Source: docs/semantics/chain.md
"""

import itertools
from typing import NamedTuple

import jax
import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from wnn_jax import checks
from wnn_jax.chain.constants import CODE_BITS, OWN_KINDS
from wnn_jax.checks import Limits
from wnn_jax.data.tokens import WINDOW, Tokens

Array = np.ndarray | jax.Array

_NEIGHBOURS = (1, 2, -1, -2)
_CONTEXTS = 5000  # number of the most frequent tokens, which are the columns of the PPMI matrix
_DIMENSIONS = 64
_PARTS, _SPREAD = 10, 3  # a frequent token is in at least 3 of 10 parts of the text


class TokenTree(NamedTuple):
    """The paths of V tokens through M = V - 1 inner nodes; node 0 is the root.

    Attributes:
      children: ``int32 [M, 2]``, a node, or ``-1 - id`` for a leaf.
      start: ``int32 [V + 1]``; the path of id v is entries ``start[v]`` to ``start[v + 1] - 1`` of the next
        two arrays.
      node: ``int32 [L]``, the inner nodes of all paths.
      bit: ``int32 [L]``, the turns taken there.
      names: ``uint32 [3, M]``, three names of each node, by which cells know it. The first is the node's own.
        In the spelled branch the second depends on the last whole byte, on whether a byte came before it, and
        on the bits after it; the third depends on the last three whole bytes and the bits after them.
        Elsewhere all three are equal.
      kind: ``int32 [M]``, below `KINDS`. Each of the most visited nodes has its own kind; the others share
        one by depth and branch.
      spelled: ``int32 [M]``, 1 in the spelled branch, else 0.
      codes: ``int32 [V]``, the first `CODE_BITS` turns of each path; the first turn is the most significant
        bit.
      rank: ``int32 [V]``, the number of ids that are more frequent in the training text (the lower id on a
        tie); V for all ids without a training text.

    Source: docs/semantics/chain.md
    """

    children: Array
    start: Array
    node: Array
    bit: Array
    names: Array
    kind: Array
    spelled: Array
    codes: Array
    rank: Array

    @property
    def depth(self) -> int:
        """D, the number of turns of the longest path."""
        return int(np.diff(np.asarray(self.start)).max())


class _Builder:
    """The nodes made so far, and the names that spelled nodes share."""

    def __init__(self):
        self.children: list[list[int]] = []
        self.alias: list[tuple[int, int] | None] = []

    def add(self, alias: tuple[int, int] | None = None) -> int:
        self.children.append([0, 0])
        self.alias.append(alias)
        return len(self.children) - 1


def plain(vocabulary: int) -> TokenTree:
    """Makes a tree that splits ids by their binary digits, as the bitwise model does.

    Args:
      vocabulary: V, the number of ids.

    Raises:
      ValueError: there are fewer than 2 ids, or more than 2^24.

    Source: docs/semantics/chain.md
    """
    vocabulary = checks.integer("vocabulary", vocabulary, Limits(most=1 << 24))
    _check_size(vocabulary)
    build = _Builder()
    _halve(build, np.arange(vocabulary))
    return _finish(build, vocabulary, np.ones(vocabulary), np.full(vocabulary, vocabulary))


def clustered(train: np.ndarray | Tokens, pieces: list[bytes], rare: int = 16) -> TokenTree:
    """Makes a tree that splits frequent tokens by their neighbours in a text, and spells the others.

    Args:
      train: ids ``int [N]`` of the training text, of which one window at a time is in memory.
      pieces: the bytes of each of the V ids; those of spelled tokens must differ.
      rare: tokens that occur fewer times than this are spelled. So are tokens that occur in fewer than 3 (or
        ``rare``, if that is less) of 10 equal parts of the text: in text that is left out or still to come
        they are as good as unseen. 0 spells none.

    Raises:
      ValueError: there are fewer than 2 ids, ``rare`` is below 0, a token is outside the vocabulary, or two
        of the spelled tokens have the same bytes.

    Source: docs/semantics/chain.md
    """
    vocabulary = len(pieces)
    _check_size(vocabulary)
    rare = checks.integer("rare", rare, Limits(least=0))
    whole = train if isinstance(train, Tokens) else Tokens.of(_checked(np.asarray(train), vocabulary))
    counts, spread = _counted(whole, vocabulary)
    often = (counts >= rare) & (spread >= min(_SPREAD, rare))
    frequent, spelled = np.flatnonzero(often), np.flatnonzero(~often)
    if len({pieces[i] for i in spelled}) != len(spelled):
        raise ValueError(
            "two rare tokens have the same bytes, so spelling cannot tell them apart: give different pieces, "
            "or rare=0"
        )
    build = _Builder()
    both = len(frequent) > 0 and len(spelled) > 0
    root = build.add() if both else None
    ends = [0, 0]
    if len(frequent):
        ends[0] = _split(build, frequent, _embed(whole, frequent, counts), np.sqrt(counts[frequent] + 1.0))
    if len(spelled):
        ends[1] = _spell(build, spelled.tolist(), pieces, b"")
    if root is not None:
        build.children[root] = ends
    rank = np.empty(vocabulary)
    rank[np.argsort(-counts, kind="stable")] = np.arange(vocabulary)
    return _finish(build, vocabulary, counts, rank)


def _checked(train: np.ndarray, vocabulary: int) -> np.ndarray:
    checks.array("train", train, "integers", {"N": None}, Limits(least=0, most=vocabulary - 1))
    return train


def _counted(train: Tokens, vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns how often each token occurs ``int64 [V]``, and in how many parts of the text ``int64 [V]``."""
    size, rest = divmod(len(train), _PARTS)
    borders = [part * size + min(part, rest) for part in range(_PARTS + 1)]
    counts, spread = np.zeros(vocabulary, np.int64), np.zeros(vocabulary, np.int64)
    for begin, end in itertools.pairwise(borders):
        found = np.zeros(vocabulary, np.int64)
        for window in train.windows(begin, end):
            _checked(window, vocabulary)
            found += np.bincount(window, minlength=vocabulary)
        counts, spread = counts + found, spread + (found > 0)
    return counts, spread


def _check_size(vocabulary: int) -> None:
    if vocabulary < 2:
        raise ValueError(f"a token tree needs at least 2 tokens, got {vocabulary}: give a larger vocabulary")


def _halve(build: _Builder, ids: np.ndarray) -> int:
    if len(ids) == 1:
        return -1 - int(ids[0])
    node = build.add()
    # The highest digit in which the ids differ: with 2^B ids, the path of an id is its B digits.
    cut = 1 << (int(ids[0] ^ ids[-1]).bit_length() - 1)
    middle = int(np.searchsorted(ids & cut, cut))
    build.children[node] = [_halve(build, ids[:middle]), _halve(build, ids[middle:])]
    return node


def _embed(train: Tokens, frequent: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns a vector for each frequent token: positive PMI with its neighbours, truncated SVD, unit length.

    Vectors of tokens with fewer than 20 neighbours are shorter.
    """
    place = np.full(len(counts), -1)
    place[frequent] = np.arange(len(frequent))
    column = np.full(len(counts), -1)
    common = frequent[np.argsort(-counts[frequent], kind="stable")[:_CONTEXTS]]
    column[common] = np.arange(len(common))
    shape = len(frequent), len(_NEIGHBOURS) * len(common)
    seen = scipy.sparse.csr_matrix(shape)
    for begin in range(0, len(train), WINDOW):
        # The sums are whole numbers, so they do not depend on the windows.
        seen = seen + _neighbours(train[begin : begin + WINDOW + 2], place, column, shape)
    seen = seen.tocoo()
    total = np.bincount(seen.row, seen.data, shape[0]) + 1, np.bincount(seen.col, seen.data, shape[1]) + 1
    pmi = np.log(seen.data * max(seen.data.sum(), 1) / (total[0][seen.row] * total[1][seen.col]))
    matrix = scipy.sparse.coo_matrix((np.maximum(pmi, 0), (seen.row, seen.col)), shape=shape).tocsr()
    if min(shape) > 4 * _DIMENSIONS and matrix.count_nonzero() > 4 * _DIMENSIONS:
        start = np.random.default_rng(0).random(min(shape))
        left, sizes, _ = scipy.sparse.linalg.svds(matrix, k=_DIMENSIONS, v0=start)
    else:
        left, sizes, _ = np.linalg.svd(matrix.toarray(), full_matrices=False)
        left, sizes = left[:, :_DIMENSIONS], sizes[:_DIMENSIONS]
    vectors = left * sizes
    # The directions of tokens that were seen a few times are mostly noise: their vectors are shortened.
    trust = np.sqrt(np.minimum(1.0, total[0] / 20))
    return vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-6) * trust[:, None]


def _neighbours(window: np.ndarray, place: np.ndarray, column: np.ndarray, shape: tuple[int, int]):
    """Counts the neighbours of the tokens of one window, which ends with the two tokens after it."""
    rows, columns = [], []
    for block, offset in enumerate(_NEIGHBOURS):
        apart = abs(offset)
        former, latter = window[:-apart][:WINDOW], window[apart:][:WINDOW]
        center, other = (former, latter) if offset > 0 else (latter, former)
        kept = (place[center] >= 0) & (column[other] >= 0)
        rows.append(place[center[kept]])
        columns.append(column[other[kept]] + block * (shape[1] // len(_NEIGHBOURS)))
    row, col = np.concatenate(rows), np.concatenate(columns)
    return scipy.sparse.coo_matrix((np.ones(len(row)), (row, col)), shape=shape).tocsr()


def _split(build: _Builder, ids: np.ndarray, vectors: np.ndarray, weights: np.ndarray) -> int:
    """Splits tokens along their principal direction into halves of about equal weight, recursively."""
    if len(ids) == 1:
        return -1 - int(ids[0])
    node = build.add()
    centred = vectors - np.average(vectors, axis=0, weights=weights)
    scatter = (centred * weights[:, None]).T @ centred
    direction = np.linalg.eigh(scatter)[1][:, -1]
    direction = direction * np.sign(direction[np.argmax(np.abs(direction))])
    order = np.argsort(centred @ direction, kind="stable")
    mass = np.cumsum(weights[order])
    middle = int(np.argmin(np.abs(mass[:-1] - mass[-1] / 2))) + 1
    build.children[node] = [
        _split(build, ids[part], vectors[part], weights[part]) for part in (order[:middle], order[middle:])
    ]
    return node


def _spell(build: _Builder, ids: list[int], pieces: list[bytes], prefix: bytes) -> int:
    """Makes the trie of these tokens' bytes; a bit that is the same for all of them has no node."""
    if len(ids) == 1:
        return -1 - ids[0]
    length = len(prefix)
    names = _hash(4, prefix[-1] if prefix else 256, min(length, 2)), _hash(5, *prefix[-3:])
    ended = [i for i in ids if len(pieces[i]) == length]
    if ended:
        node = build.add((_hash(names[0], 256), _hash(names[1], 256)))
        longer = [i for i in ids if len(pieces[i]) > length]
        build.children[node] = [_spell_byte(build, longer, pieces, prefix, names, 7, 1), -1 - ended[0]]
        return node
    return _spell_byte(build, ids, pieces, prefix, names, 7, 1)


def _spell_byte(build, ids, pieces, prefix, names, place, part) -> int:
    """Makes the nodes for the digits of the next byte from ``place`` on.

    ``part`` holds the digits before ``place``, after a leading 1.
    """
    while place >= 0:
        halves: list[list[int]] = [[], []]
        for i in ids:
            halves[pieces[i][len(prefix)] >> place & 1].append(i)
        place -= 1
        if halves[0] and halves[1]:
            node = build.add((_hash(names[0], part), _hash(names[1], part)))
            build.children[node] = [
                _spell_byte(build, half, pieces, prefix, names, place, 2 * part + bit)
                for bit, half in enumerate(halves)
            ]
            return node
        part = 2 * part + (1 if halves[1] else 0)
    return _spell(build, ids, pieces, prefix + bytes([part & 255]))


def _hash(*values: int) -> int:
    h = 0x9E3779B9
    for value in values:
        h = ((h ^ value) * 0x85EBCA6B) & 0xFFFFFFFF
        h ^= h >> 15
        h = (h * 0xC2B2AE35) & 0xFFFFFFFF
        h ^= h >> 16
    return h


def _finish(build: _Builder, vocabulary: int, counts: np.ndarray, rank: np.ndarray) -> TokenTree:
    paths: list[list[tuple[int, int]]] = [[] for _ in range(vocabulary)]
    stack: list[tuple[int, list[tuple[int, int]]]] = [(0, [])]
    depth = np.zeros(len(build.children), np.int64)
    while stack:
        node, path = stack.pop()
        depth[node] = len(path)
        for bit, child in enumerate(build.children[node]):
            turn = [*path, (node, bit)]
            if child < 0:
                paths[-1 - child] = turn
            else:
                stack.append((child, turn))
    start = np.concatenate([[0], np.cumsum([len(path) for path in paths])])
    node = np.array([i for path in paths for i, _ in path])
    bit = np.array([b for path in paths for _, b in path])
    spelled = np.array([alias is not None for alias in build.alias])
    own = np.array([_hash(7, i) for i in range(len(depth))])
    alias = np.array([(h, h) if a is None else a for a, h in zip(build.alias, own, strict=True)])
    visits = np.bincount(node, np.repeat(counts, np.diff(start)), minlength=len(depth))
    often = np.argsort(-visits, kind="stable")[:OWN_KINDS]
    kind = OWN_KINDS + np.minimum(depth, 31) + 32 * spelled
    kind[often] = np.arange(len(often))
    codes = [sum(b << (CODE_BITS - 1 - k) for k, (_, b) in enumerate(path[:CODE_BITS])) for path in paths]
    return TokenTree(
        children=np.array(build.children, np.int32),
        start=start.astype(np.int32),
        node=node.astype(np.int32),
        bit=bit.astype(np.int32),
        names=np.stack([own, alias[:, 0], alias[:, 1]]).astype(np.uint32),
        kind=kind.astype(np.int32),
        spelled=spelled.astype(np.int32),
        codes=np.array(codes, np.int32),
        rank=rank.astype(np.int32),
    )
