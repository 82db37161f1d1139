"""Content gating: what followed the last tokens before, retrieved by hash, and a gate that reads the context.

After Engram (Cheng et al., arXiv 2601.07372), in tables and counts instead of embeddings:

- *Canonical ids*: tokens that differ in case or a leading space are one (`chain_cells.folded`).
- *Heads*: the last o canonical ids, o in ``orders``, are hashed by several heads to one of ``2**T`` rows
  each. A row counts which tokens followed. Two contexts that share a row in one head hardly do in another,
  and a row's total can only be too large, so of the heads the one whose row was written least is read (the
  argument of the count-min sketch, Cormode and Muthukrishnan 2005). One row is one distribution, so what is
  retrieved sums to one whichever head it is.
- *Gate*: RAM neurons of count cells that read what kind of row was found, and the last token's bits, and have
  counted how often such a row knew better than what lies below it. They are taught on text that neither the
  model nor the rows were fitted on. Each order gates what the orders below it and the model make:

      P_o(t) = (1 - g_o) P_{o-1}(t) + g_o * count(row, t) / count(row)

A token's own count in the text that is scored is never in a row: rows are fitted on the training text alone.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import ram
from wnn_jax.chain.contexts import mix
from wnn_jax.gates import layers
from wnn_jax.ram import bits, connectivity

_TOTALS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 512)
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.95)
_PARTS = 8  # a responsibility is written in eighths: cells count whole examples
_ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class EngramConfig:
    """Sizes of a content memory. Hashable: static under `jit`.

    Attributes:
      vocabulary: V.
      orders: how many last tokens an n-gram has, rising.
      heads: hash functions an order.
      row_bits: T, there are ``2**T`` rows a head.
      gate: sizes of the gates' neurons; how they are read is always soft.

    Raises:
      ValueError: a value is out of range.
    """

    vocabulary: int
    orders: tuple[int, ...] = (2, 3)
    heads: int = 4
    row_bits: int = 18
    gate: layers.GateConfig = layers.GateConfig()

    def __post_init__(self):
        if not self.orders or min(self.orders) < 1 or list(self.orders) != sorted(set(self.orders)):
            raise ValueError(f"orders must be 1 or more, and rise, got {self.orders}")
        if self.heads < 1 or not 1 <= self.row_bits <= 24:
            raise ValueError(
                f"a memory has 1 or more heads of 2^1 to 2^24 rows, got {self.heads} of 2^{self.row_bits}"
            )
        if self.gate.address_bits > self.feature_bits:
            raise ValueError(
                f"a gate observes 1 to {self.feature_bits} bits here, got {self.gate.address_bits}"
            )

    @property
    def feature_bits(self) -> int:
        """Input bits of a gate."""
        return len(_TOTALS) + 2 * len(_SHARES) + 1 + bits.code_length(self.vocabulary)


class Engram(NamedTuple):
    """What followed which row. O orders, H heads, L distinct (row, follower) pairs at most.

    Attributes:
      canonical: ``int32 [V]``.
      start: ``int32 [O, H, 2**T + 1]``; a row's followers are entries ``start[r] .. start[r + 1] - 1``.
      follower, times: ``int32 [O, H, L]``: who followed, rising within a row, and how often.
      total, most: ``int32 [O, H, 2**T]`` times the row was written, and its most frequent follower came.
    """

    canonical: jax.Array
    start: jax.Array
    follower: jax.Array
    times: jax.Array
    total: jax.Array
    most: jax.Array


class Found(NamedTuple):
    """What the rows say at N places, for each order.

    Attributes:
      share: ``float32 [O, N]`` of the token that came; 0 if the row does not know it.
      features: ``bool [O, F, N]`` that the gates read.
      known: ``bool [O, N]`` whether there is anything in the row.
    """

    share: jax.Array
    features: jax.Array
    known: jax.Array


def rows(config: EngramConfig, canonical: jax.Array, tokens: jax.Array) -> jax.Array:
    """Rows ``int32 [O, H, N]``: place i is before token ``i + max(orders)``."""
    longest = max(config.orders)
    ids = canonical[tokens].astype(jnp.uint32)
    count = len(tokens) - longest
    found = []
    for order in config.orders:
        head = jnp.arange(config.heads, dtype=jnp.uint32)[:, None] * 64 + order
        h = jnp.broadcast_to(head, (config.heads, count))
        for back in range(1, order + 1):
            h = mix(h, ids[longest - back : longest - back + count] + 1)
        found.append((h >> (32 - config.row_bits)).astype(jnp.int32))
    return jnp.stack(found)


def fit(config: EngramConfig, canonical: np.ndarray, tokens: np.ndarray) -> Engram:
    """Rows of a training text. Counts add, so the order of its windows has no effect.

    Args:
      canonical: ``int32 [V]``, see `chain_cells.folded`.
      tokens: ids; the first ``max(orders)`` are context only.

    Raises:
      ValueError: the text is no longer than that.
    """
    longest = max(config.orders)
    if len(tokens) <= longest:
        raise ValueError(f"n-grams of {longest} tokens need more than {longest} tokens, got {len(tokens)}")
    where = np.asarray(rows(config, jnp.asarray(canonical), jnp.asarray(tokens))).astype(np.int64)
    size = 1 << config.row_bits
    parts = []
    for row in where.reshape(-1, where.shape[-1]):
        pairs, count = np.unique(row * config.vocabulary + tokens[longest:], return_counts=True)
        owner, follower = np.divmod(pairs, config.vocabulary)
        most = np.zeros(size, np.int32)
        np.maximum.at(most, owner, count)
        start = np.searchsorted(owner, np.arange(size + 1))
        total = np.bincount(row, minlength=size)
        parts.append((start, follower, count, total, most))
    length = 1 << max(len(part[1]) for part in parts).bit_length()  # few shapes

    def stacked(arrays, width):
        array = np.stack([np.pad(x, (0, width - len(x))) for x in arrays]).astype(np.int32)
        return jnp.asarray(array.reshape(*where.shape[:2], width))

    widths = size + 1, length, length, size, size
    columns = (stacked(x, width) for x, width in zip(zip(*parts, strict=True), widths, strict=True))
    return Engram(jnp.asarray(canonical, jnp.int32), *columns)


@functools.partial(jax.jit, static_argnames="config")
def look(config: EngramConfig, memory: Engram, tokens: jax.Array) -> Found:
    """What the rows say of every token after the first ``max(orders)`` of a stream, from its true past."""
    longest = max(config.orders)
    targets, last = tokens[longest:], tokens[longest - 1 : -1]
    where = rows(config, memory.canonical, tokens)
    total = jnp.take_along_axis(memory.total, where, axis=2)
    # The least written row of an order; the first head on ties.
    head = jnp.argmin(total, axis=1)[:, None]

    def best(x):
        return jnp.take_along_axis(x, head, axis=1)[:, 0]

    alike = (total == best(total)[:, None]).all(axis=1)
    share, features, known = [], [], []
    last_bits = bits.unpack_code(last, bits.code_length(config.vocabulary))
    for o in range(len(config.orders)):
        row, which = best(where)[o], head[o, 0]
        begin, end = memory.start[o, which, row], memory.start[o, which, row + 1]
        written = jnp.maximum(best(total)[o], 1)
        place = _search(memory.follower[o], which, begin, end, targets)
        inside = jnp.minimum(place, memory.follower.shape[2] - 1)
        there = (place < end) & (memory.follower[o, which, inside] == targets)
        share.append(jnp.where(there, memory.times[o, which, inside], 0) / written)
        variety = (end - begin) / written
        top = memory.most[o, which, row] / written
        of_row = [best(total)[o] >= x for x in _TOTALS]
        of_row += [variety > x for x in _SHARES] + [top > x for x in _SHARES] + [alike[o]]
        features.append(jnp.concatenate([jnp.stack(of_row), last_bits]))
        known.append(best(total)[o] > 0)
    return Found(jnp.stack(share).astype(jnp.float32), jnp.stack(features), jnp.stack(known))


def _search(follower, which, begin, end, targets):
    """The first entry of rows ``[begin, end)`` that is not below the target: a binary search in each."""
    steps = max(1, int(follower.shape[1]).bit_length())

    def halve(_, ends):
        low, high = ends
        middle = (low + high) // 2
        below = (low < high) & (follower[which, jnp.minimum(middle, follower.shape[1] - 1)] < targets)
        return jnp.where(below, middle + 1, low), jnp.where(below | (low >= high), high, middle)

    return jax.lax.fori_loop(0, steps, halve, (begin, end))[0]


class Gates(NamedTuple):
    """Taught gates: the M examples they were taught, from which their few rows are fitted at each reading.

    Attributes:
      connections: ``int [O, n, T]``.
      words: ``uint32 [O, W, M]`` packed features.
      known: ``bool [O, M]``.
      won: ``bool [O, 8 * M]`` the eighths of every example that the row is responsible for.
    """

    connections: jax.Array
    words: jax.Array
    known: jax.Array
    won: jax.Array


@functools.partial(jax.jit, static_argnames="config")
def teach(key: jax.Array, config: EngramConfig, found: Found, log_p: jax.Array) -> Gates:
    """Gates taught on M places of text that neither the rows nor the model were fitted on.

    A gate's cells count who explains the token: of the mixture of a row and of what lies below it, the row's
    share, to an eighth. That changes the gate, and the gate that share, so it is counted 5 times over, from
    half open: expectation maximisation, an order after another.

    Args:
      key: draws the connectivity.
      found: from `look`.
      log_p: ``float32 [M]`` log-probabilities that the model gave the tokens that came.
    """
    gate, orders = config.gate, len(config.orders)
    connections = connectivity.random(key, orders, gate.neurons, gate.address_bits, config.feature_bits)
    words = jax.vmap(bits.pack)(found.features)
    parts = (jnp.arange(_PARTS) + 0.5) / _PARTS
    won, below = [], log_p
    for o in range(orders):
        start = jnp.where(found.known[o], 0.5, 0.0)

        def count_again(_, carry, o=o, below=below):
            openness, _ = carry
            both = layers.attach(_gate(openness, found.share[o]), below)
            mine = jnp.exp(jnp.log(openness * found.share[o]) - both)
            ahead = (mine > parts[:, None]).reshape(-1)
            one = Gates(connections[o], words[o], found.known[o], ahead)
            return _openness(config, one, words[o], found.known[o]), ahead

        nothing = jnp.zeros(_PARTS * len(log_p), bool)
        open_, ahead = jax.lax.fori_loop(0, _ROUNDS, count_again, (start, nothing))
        won.append(ahead)
        below = layers.attach(_gate(open_, found.share[o]), below)
    return Gates(connections, words, found.known, jnp.stack(won))


@functools.partial(jax.jit, static_argnames="config")
def gates(config: EngramConfig, taught: Gates, found: Found) -> list[layers.Gate]:
    """The gate ``[N]`` of every order, to be attached one after another to what the model gave the tokens."""
    words = jax.vmap(bits.pack)(found.features)
    result = []
    for o in range(len(config.orders)):
        one = jax.tree.map(lambda x, o=o: x[o], taught)
        result.append(_gate(_openness(config, one, words[o], found.known[o]), found.share[o]))
    return result


def nats(
    key: jax.Array,
    config: EngramConfig,
    canonical: np.ndarray,
    train: np.ndarray,
    tokens: np.ndarray,
    log_p: jax.Array,
    held_out: jax.Array,
) -> jax.Array:
    """Nats ``float32 [N]`` of a text that continues the training text, behind content gates.

    Args:
      key: draws the gates' connectivity.
      canonical: see `chain_cells.folded`.
      train: M ids; the gates are taught on the last of them, by rows fitted on the others.
      tokens: ``[N]``.
      log_p: ``[N]`` what a model fitted on ``train`` gave them.
      held_out: ``[H]`` what the same model, fitted on all but the last H of ``train``, gave those H.
    """
    longest, cut = max(config.orders), len(train) - len(held_out)
    early = fit(config, canonical, train[:cut])
    taught = teach(key, config, look(config, early, jnp.asarray(train[cut - longest :])), held_out)
    stream = jnp.asarray(np.concatenate([train[-longest:], tokens]))
    for gate in gates(config, taught, look(config, fit(config, canonical, train), stream)):
        log_p = layers.attach(gate, log_p)
    return -log_p


def _gate(openness: jax.Array, share: jax.Array) -> layers.Gate:
    return layers.Gate(jnp.log1p(-openness), jnp.log(openness * share))


def _openness(config: EngramConfig, taught: Gates, words: jax.Array, known: jax.Array) -> jax.Array:
    """``float32 [N]`` in [0, 1): how much of an order is believed; 0 where its row is empty."""
    eighths = jnp.tile(taught.words, (1, _PARTS))
    examples = ram.Examples(eighths, taught.won[None], jnp.tile(taught.known, _PARTS))
    votes = ram.fit_and_read(None, ram.RamConfig("count"), taught.connections[None], examples, words)
    share = votes[0] / jnp.float32(config.gate.neurons * ram.UNIT)
    return jnp.where(known, jnp.clip(share, 0.0, 1.0 - config.gate.leak), 0.0)
