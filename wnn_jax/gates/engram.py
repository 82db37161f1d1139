"""Content gates: what followed the last tokens before, found by hash, and a gate that reads the context.

After Engram (Cheng et al., arXiv 2601.07372), in tables and counts instead of embeddings:

- *Canonical ids*: tokens that differ in case or a leading space are one (`chain.contexts.folded`).
- *Heads*: the last o canonical ids, o in ``orders``, are hashed by several heads to one of ``2**T`` rows
  each. A row counts which tokens followed. Two contexts that share a row in one head hardly do in another,
  and a row's total can only be too large, so of the heads the one whose row was written least is read (the
  argument of the count-min sketch, Cormode and Muthukrishnan 2005). One row is one distribution, so it sums
  to one whichever head it comes from.
- *Gate*: RAM neurons of count cells that read what kind of row it is, and the last token's bits, and have
  counted how often such a row knew better than what lies below it. They are taught on text that neither the
  model nor the rows were fitted on. Each order gates the mixture of the model and the orders below it:

      P_o(t) = (1 - g_o) P_{o-1}(t) + g_o * count(row, t) / count(row)

A token's own count in the text that is scored is never in a row: rows are fitted on the training text alone.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import ram
from wnn_jax.chain import contexts
from wnn_jax.gates.gate import LogGate, apply
from wnn_jax.gates.ram_gates import RamGateConfig
from wnn_jax.lm import bitwise
from wnn_jax.ram import bits, connectivity

HELD_OUT = 0.1  # share of the training text, its end, that teaches gates
_TOTALS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 512)
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.95)
_PARTS = 8  # a responsibility is written in eighths: cells count whole examples
_ROUNDS = 5
_DOUBT = 1e-3  # share of the model below that is always kept: a row may not know a token at all


@dataclasses.dataclass(frozen=True)
class EngramConfig:
    """Sizes of a memory of n-grams. Hashable: static under `jit`.

    Attributes:
      orders: lengths of the n-grams of engram gates, rising.
      heads: hash heads of each of these orders.
      row_bits: log2 of the rows of a head.

    Raises:
      ValueError: a value is out of range.
    """

    orders: tuple[int, ...] = (2, 3)
    heads: int = 4
    row_bits: int = 18

    def __post_init__(self):
        if not self.orders or min(self.orders) < 1 or list(self.orders) != sorted(set(self.orders)):
            raise ValueError(f"orders must be 1 or more, and rise, got {self.orders}")
        if self.heads < 1 or not 1 <= self.row_bits <= 24:
            raise ValueError(
                f"a memory has 1 or more heads of 2^1 to 2^24 rows, got {self.heads} of 2^{self.row_bits}"
            )


class Engram(NamedTuple):
    """Followers of each row. O orders, H heads, L distinct (row, follower) pairs at most.

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


class Lookup(NamedTuple):
    """Predictions by the rows of each order at N places.

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
    hashed = []
    for order in config.orders:
        head = jnp.arange(config.heads, dtype=jnp.uint32)[:, None] * 64 + order
        h = jnp.broadcast_to(head, (config.heads, count))
        for back in range(1, order + 1):
            h = contexts.mix(h, ids[longest - back : longest - back + count] + 1)
        hashed.append((h >> (32 - config.row_bits)).astype(jnp.int32))
    return jnp.stack(hashed)


_rows = jax.jit(rows, static_argnames="config")


def fit(config: EngramConfig, canonical: np.ndarray, tokens: np.ndarray) -> Engram:
    """The memory of a training text. Counts add, so the order of its windows has no effect.

    Args:
      config: its sizes.
      canonical: ``int32 [V]``, see `chain.contexts.folded`.
      tokens: ids; the first ``max(orders)`` are context only.

    Raises:
      ValueError: the text is no longer than that.
    """
    longest = max(config.orders)
    if len(tokens) <= longest:
        raise ValueError(f"n-grams of {longest} tokens need more than {longest} tokens, got {len(tokens)}")
    where = np.asarray(_rows(config, jnp.asarray(canonical), jnp.asarray(tokens))).astype(np.int64)
    size, vocabulary = 1 << config.row_bits, len(canonical)
    parts = []
    for row in where.reshape(-1, where.shape[-1]):
        pairs, count = np.unique(row * vocabulary + tokens[longest:], return_counts=True)
        owner, follower = np.divmod(pairs, vocabulary)
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
def look_up(config: EngramConfig, memory: Engram, tokens: jax.Array) -> Lookup:
    """Predictions by rows of every token after the first ``max(orders)`` of a stream, from its true past."""
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
    last_bits = bits.unpack_code(last, bits.code_length(len(memory.canonical)))
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
    return Lookup(jnp.stack(share).astype(jnp.float32), jnp.stack(features), jnp.stack(known))


def _search(follower, which, begin, end, targets):
    """The first entry of rows ``[begin, end)`` that is not below the target: a binary search in each."""
    steps = max(1, int(follower.shape[1]).bit_length())

    def halve(_, ends):
        low, high = ends
        middle = (low + high) // 2
        below = (low < high) & (follower[which, jnp.minimum(middle, follower.shape[1] - 1)] < targets)
        return jnp.where(below, middle + 1, low), jnp.where(below | (low >= high), high, middle)

    return jax.lax.fori_loop(0, steps, halve, (begin, end))[0]


class TaughtGates(NamedTuple):
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


@functools.partial(jax.jit, static_argnames="gate")
def teach(key: jax.Array, gate: RamGateConfig, lookup: Lookup, log_p: jax.Array) -> TaughtGates:
    """Gates taught on M places of text that neither the rows nor the model were fitted on.

    A gate's cells count who explains the token: of the mixture of a row and of what lies below it, the row's
    share, to an eighth. That changes the gate, and the gate changes that share, so it is counted 5 times,
    from half open: expectation maximisation, one order after another.

    Args:
      key: draws the connectivity.
      gate: sizes of the gates' neurons; how they are read is always soft.
      lookup: from `look_up`.
      log_p: ``float32 [M]`` log-probabilities that the model gave the tokens that came.
    """
    orders, input_bits = lookup.features.shape[:2]
    connections = connectivity.random(key, orders, gate.neurons, gate.address_bits, input_bits)
    words = jax.vmap(bits.pack)(lookup.features)
    parts = (jnp.arange(_PARTS) + 0.5) / _PARTS
    won, below = [], log_p
    for o in range(orders):
        start = jnp.where(lookup.known[o], 0.5, 0.0)

        def count_responsible(_, carry, o=o, below=below):
            openness, _ = carry
            both = apply(_mixture(openness, lookup.share[o]), below)
            responsible = jnp.exp(jnp.log(openness * lookup.share[o]) - both)
            eighths = (responsible > parts[:, None]).reshape(-1)
            one = TaughtGates(connections[o], words[o], lookup.known[o], eighths)
            return _openness(gate, one, words[o], lookup.known[o]), eighths

        nothing = jnp.zeros(_PARTS * len(log_p), bool)
        openness, eighths = jax.lax.fori_loop(0, _ROUNDS, count_responsible, (start, nothing))
        won.append(eighths)
        below = apply(_mixture(openness, lookup.share[o]), below)
    return TaughtGates(connections, words, lookup.known, jnp.stack(won))


@functools.partial(jax.jit, static_argnames="gate")
def open_gates(gate: RamGateConfig, taught: TaughtGates, lookup: Lookup) -> list[LogGate]:
    """The gate ``[N]`` of every order, to be applied one after another to what the model gave the tokens."""
    words = jax.vmap(bits.pack)(lookup.features)
    gates = []
    for o in range(lookup.features.shape[0]):
        one = jax.tree.map(lambda x, o=o: x[o], taught)
        gates.append(_mixture(_openness(gate, one, words[o], lookup.known[o]), lookup.share[o]))
    return gates


def nats(
    key: jax.Array,
    config: EngramConfig,
    gate: RamGateConfig,
    canonical: np.ndarray,
    train: np.ndarray,
    tokens: np.ndarray,
    log_p: jax.Array,
    held_out: jax.Array,
) -> jax.Array:
    """Nats ``float32 [N]`` of a text that continues the training text, behind engram gates.

    Args:
      key: draws the gates' connectivity.
      config: sizes of the memory of n-grams.
      gate: sizes of the gates' neurons.
      canonical: ``int32 [V]``, see `chain.contexts.folded`.
      train: M ids; the gates are taught on the last of them, by rows fitted on the others.
      tokens: ``[N]``.
      log_p: ``[N]`` what a model fitted on ``train`` gave them.
      held_out: ``[H]`` what the same model, fitted on all but the last H of ``train``, gave those H.
    """
    longest, cut = max(config.orders), len(train) - len(held_out)
    early = fit(config, canonical, train[:cut])
    taught = teach(key, gate, look_up(config, early, jnp.asarray(train[cut - longest :])), held_out)
    stream = jnp.asarray(np.concatenate([train[-longest:], tokens]))
    for one in open_gates(gate, taught, look_up(config, fit(config, canonical, train), stream)):
        log_p = apply(one, log_p)
    return -log_p


def score(
    key: jax.Array,
    config: EngramConfig,
    gate: RamGateConfig,
    pieces: list[bytes],
    train: np.ndarray,
    tokens: np.ndarray,
    nats_without: jax.Array,
    refit: Callable[[np.ndarray, np.ndarray], jax.Array],
) -> bitwise.Scores:
    """Scores of a text behind engram gates, which are taught on the last tenth of the training text.

    Any language model can be gated so. Which token is the best is not known, and -1.

    Args:
      key: draws the gates' connectivity.
      config, gate: sizes of the memory of n-grams and of the gates' neurons.
      pieces: the bytes of each of the V ids.
      train: M ids.
      tokens: ``[N]`` ids that continue the training text.
      nats_without: ``[N]`` of the model alone.
      refit: fits the model on its first argument alone, and gives the nats of its second, which follows.
    """
    cut = len(train) - max(1, round(len(train) * HELD_OUT))
    held_out = refit(train[:cut], train[cut:])
    canonical = contexts.folded(pieces)
    gated = nats(key, config, gate, canonical, train, tokens, -nats_without, -held_out)
    return bitwise.Scores(gated, jnp.full(len(gated), -1))


def _mixture(openness: jax.Array, share: jax.Array) -> LogGate:
    return LogGate(jnp.log1p(-openness), jnp.log(openness * share))


def _openness(gate: RamGateConfig, taught: TaughtGates, words: jax.Array, known: jax.Array) -> jax.Array:
    """``float32 [N]`` in [0, 1): how much of an order is believed; 0 where its row is empty."""
    eighths = jnp.tile(taught.words, (1, _PARTS))
    examples = ram.Examples(eighths, taught.won[None], jnp.tile(taught.known, _PARTS))
    votes = ram.fit_and_read(None, ram.RamConfig("count"), taught.connections[None], examples, words)
    share = votes[0] / jnp.float32(gate.neurons * ram.UNIT)
    return jnp.where(known, jnp.clip(share, 0.0, 1.0 - _DOUBT), 0.0)
