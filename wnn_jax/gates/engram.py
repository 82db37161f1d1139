"""Engram gates: a hashed memory of n-grams, and gates that decide how much its predictions are believed.

The design follows Engram, with tables and counts instead of embeddings:

- *Canonical ids*: tokens that differ only in case or in spaces around them have the same id
  (`chain.lexicon.folded`).
- *Heads*: for each order o, several heads hash the last o canonical ids to one of ``2**T`` rows each. A row
  counts the tokens that followed. Two contexts that share a row in one head rarely share one in another.
  Other contexts can only raise the total of a row. So the head whose row was written least is read, as in a
  count-min sketch. The prediction is the distribution of this one row, so it sums to 1.
- *Gate*: RAM neurons with count cells read features of the row and the bits of the last token. They have
  counted how often such a row predicted better than the orders below it, on text on which neither the model
  nor the rows were fitted. The gate of each order mixes the row with the model and the orders below it:

      P_o(t) = (1 - g_o) P_{o-1}(t) + g_o * count(row, t) / count(row)

Rows are fitted on the training text only, so the scored text is never counted.

Shape letters of this module: O orders, H heads, F features of a row.

Source: Cheng et al., "Engram", arXiv 2601.07372; Cormode and Muthukrishnan 2005 (count-min sketch);
docs/semantics/gates.md
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, ram
from wnn_jax.chain import lexicon
from wnn_jax.checks import Limits
from wnn_jax.gates.gate import LogGate, apply
from wnn_jax.gates.ram_gates import RamGateConfig
from wnn_jax.hashing import mix
from wnn_jax.lm import bitwise, ngram
from wnn_jax.ram import bits, connectivity

HELD_OUT = 0.1  # share of the training text, at its end, on which gates learn
_TOTALS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 512)
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.95)
_PARTS = 8  # a responsibility is counted in eighths, because cells count whole examples
_ROUNDS = 5
_DOUBT = 1e-3  # least share of the model below that is kept, because a row may lack a token


_MOST_ROWS = 1 << 28  # each row takes 16 bytes and more


@dataclasses.dataclass(frozen=True)
class EngramConfig:
    """Configures a memory of n-grams. Hashable, so it may be a static argument of `jit`.

    Attributes:
      orders: numbers of tokens before the predicted one that are hashed, in rising order.
      heads: number of hash heads of each order.
      row_bits: log2 of the number of rows of a head, 1 to 24.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/gates.md
    """

    orders: tuple[int, ...] = (2, 3)
    heads: int = 4
    row_bits: int = 18

    def __post_init__(self):
        orders = Limits(least=1, most=1024)
        checks.fields(self, orders=orders, heads=Limits(least=1), row_bits=Limits(least=1, most=24))
        if not self.orders or list(self.orders) != sorted(set(self.orders)):
            raise ValueError(f"orders must be 1 or more, and rise, got {self.orders}: use 2,3, for example")
        rows = len(self.orders) * self.heads << self.row_bits
        if rows > _MOST_ROWS:
            raise ValueError(
                f"heads={self.heads} for {len(self.orders)} orders, with 2^{self.row_bits} rows each, are "
                f"{rows:,} rows, more than {_MOST_ROWS:,}: lower heads or row_bits"
            )


class Engram(NamedTuple):
    """A memory of n-grams: for each row the tokens that followed, and their counts.

    L is the largest number of distinct pairs of a row and a follower in one head, rounded up to a power of 2.

    Attributes:
      canonical: ``int32 [V]``, the canonical id of each token.
      start: ``int32 [O, H, 2**T + 1]``; the followers of row r are the entries ``start[r]`` to
        ``start[r + 1] - 1``.
      follower: ``int32 [O, H, L]``, the tokens that followed, in rising order within a row.
      times: ``int32 [O, H, L]``, the number of times that each followed.
      total: ``int32 [O, H, 2**T]``, the number of times that each row was written.
      most: ``int32 [O, H, 2**T]``, the count of each row's most frequent follower.

    Source: docs/semantics/gates.md
    """

    canonical: jax.Array
    start: jax.Array
    follower: jax.Array
    times: jax.Array
    total: jax.Array
    most: jax.Array


class Lookup(NamedTuple):
    """The predictions of the rows of each order at N places.

    Attributes:
      share: ``float32 [O, N]``, the share of the row's count that belongs to the token of the text; 0 if the
        token never followed.
      features: ``bool [O, F, N]``, the input bits of the gates.
      known: ``bool [O, N]``, whether the row was ever written.

    Source: docs/semantics/gates.md
    """

    share: jax.Array
    features: jax.Array
    known: jax.Array


def rows(config: EngramConfig, canonical: jax.Array, tokens: jax.Array) -> jax.Array:
    """Hash every place of a text to its rows.

    Args:
      config: sizes of the memory.
      canonical: ``int32 [V]``, the canonical id of each token.
      tokens: ``int [N + max(orders)]``, the text.

    Returns:
      ``int32 [O, H, N]``, the rows of each order and head. Place i is before token ``i + max(orders)``.

    Source: docs/semantics/gates.md
    """
    longest = max(config.orders)
    ids = canonical[tokens].astype(jnp.uint32)
    count = len(tokens) - longest
    hashed = []
    for order in config.orders:
        head = jnp.arange(config.heads, dtype=jnp.uint32)[:, None] * 64 + order
        h = jnp.broadcast_to(head, (config.heads, count))
        for back in range(1, order + 1):
            h = mix(h, ids[longest - back : longest - back + count] + 1)
        hashed.append((h >> (32 - config.row_bits)).astype(jnp.int32))
    return jnp.stack(hashed)


_rows = jax.jit(rows, static_argnames="config")


def fit(config: EngramConfig, canonical: np.ndarray, tokens: np.ndarray) -> Engram:
    """Count the followers of every row in a training text.

    Args:
      config: sizes of the memory.
      canonical: ``int32 [V]``, the canonical id of each token, from `chain.lexicon.folded`.
      tokens: ``int [M]``, the text; the first ``max(orders)`` tokens are only context.

    Returns:
      The memory.

    Raises:
      ValueError: the text is not longer than ``max(orders)``, or an id is outside the vocabulary.

    Source: docs/semantics/gates.md
    """
    canonical = np.asarray(canonical)
    checks.array("canonical", canonical, "integers", {"V": None}, Limits(least=0, most=canonical.size - 1))
    tokens = ngram.check_ids("tokens", tokens, len(canonical))
    longest = max(config.orders)
    if len(tokens) <= longest:
        raise ValueError(
            f"n-grams of {longest} tokens need more than {longest} tokens, got {len(tokens)}: give more text "
            "or lower orders"
        )
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
    length = 1 << max(len(part[1]) for part in parts).bit_length()  # few different lengths to compile for

    def stacked(arrays, width):
        array = np.stack([np.pad(x, (0, width - len(x))) for x in arrays]).astype(np.int32)
        return jnp.asarray(array.reshape(*where.shape[:2], width))

    widths = size + 1, length, length, size, size
    columns = (stacked(x, width) for x, width in zip(zip(*parts, strict=True), widths, strict=True))
    return Engram(jnp.asarray(canonical, jnp.int32), *columns)


@functools.partial(jax.jit, static_argnames="config")
def look_up(config: EngramConfig, memory: Engram, tokens: jax.Array) -> Lookup:
    """Read the memory at every place of a text that has a full context.

    The head whose row was written least is read; the first of equal ones.

    Args:
      config: sizes of the memory.
      memory: the memory.
      tokens: ``int [N + max(orders)]``, the text; each token is predicted from the tokens before it.

    Returns:
      The predictions at N places.

    Source: docs/semantics/gates.md
    """
    longest = max(config.orders)
    targets, last = tokens[longest:], tokens[longest - 1 : -1]
    where = rows(config, memory.canonical, tokens)
    total = jnp.take_along_axis(memory.total, where, axis=2)
    # The row of an order that was written least; of equal ones that of the first head.
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
    """Find by binary search in each row ``[begin, end)`` the first entry that is not below the target."""
    steps = max(1, int(follower.shape[1]).bit_length())

    def halve(_, ends):
        low, high = ends
        middle = (low + high) // 2
        below = (low < high) & (follower[which, jnp.minimum(middle, follower.shape[1] - 1)] < targets)
        return jnp.where(below, middle + 1, low), jnp.where(below | (low >= high), high, middle)

    return jax.lax.fori_loop(0, steps, halve, (begin, end))[0]


class TaughtGates(NamedTuple):
    """Gates that have learnt: their connectivity and their M examples. Every reading fits their tables anew.

    Attributes:
      connections: ``int [O, n, T]``, one cluster for each order.
      words: ``uint32 [O, W, M]``, packed features.
      known: ``bool [O, M]``, whether the row was ever written; an example without a row teaches nothing.
      won: ``bool [O, 8 * M]``, eight targets for each example: True for each eighth of the example for which
        the row is responsible.

    Source: docs/semantics/gates.md
    """

    connections: jax.Array
    words: jax.Array
    known: jax.Array
    won: jax.Array


@functools.partial(jax.jit, static_argnames="gate")
def teach(key: jax.Array, gate: RamGateConfig, lookup: Lookup, log_p: jax.Array) -> TaughtGates:
    """Teach gates on M places of text on which neither the rows nor the model were fitted.

    The gates learn by expectation maximisation, one order after another. The row's responsibility for a token
    is its share of the token's probability in the mixture of the row and the orders below it. The cells of
    the gate count responsibilities, rounded to eighths. The new gate gives new responsibilities, so both are
    computed 5 times; the first gate is half open.

    Args:
      key: draws the connectivity.
      gate: sizes of the gates; they are always soft.
      lookup: predictions at the M places, from `look_up`.
      log_p: ``float32 [M]``, the model's log-probabilities of the tokens at these places.

    Returns:
      The gates.

    Raises:
      ValueError: a gate reads more address bits than there are features.

    Source: Dempster, Laird and Rubin 1977 (expectation maximisation); docs/semantics/gates.md
    """
    orders, input_bits = lookup.features.shape[:2]
    connections = connectivity.random(key, orders, gate.neurons, gate.address_bits, input_bits)
    words = jax.vmap(bits.pack)(lookup.features)
    parts = (jnp.arange(_PARTS, dtype=jnp.float32) + 0.5) / _PARTS
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
    """Read the gates of all orders at N places.

    Args:
      gate: sizes of the gates.
      taught: the gates, from `teach`.
      lookup: predictions at the N places, from `look_up`.

    Returns:
      For each order a gate with arrays ``[N]``. They must be applied to the model's log-probabilities of the
      tokens one after another, the lowest order first.

    Source: docs/semantics/gates.md
    """
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
    """Score a text that continues the training text behind engram gates.

    Args:
      key: draws the connectivity of the gates.
      config: sizes of the memory of n-grams.
      gate: sizes of the gates.
      canonical: ``int32 [V]``, the canonical id of each token, from `chain.lexicon.folded`.
      train: ``int [M]``, the training text. The gates learn on its last G tokens, from rows that are fitted
        on the rest.
      tokens: ``int [N]``, the text to score.
      log_p: ``float32 [N]``, the log-probabilities of these tokens under the model fitted on ``train``.
      held_out: ``float32 [G]``, the log-probabilities of the last G tokens of ``train`` under the same model
        fitted on the rest.

    Returns:
      The nats of each token, ``float32 [N]``.

    Raises:
      ValueError: the training text without its last G tokens is not longer than ``max(orders)``, a gate
        reads more address bits than there are features, an id is outside the vocabulary, or a
        log-probability is missing, above 0 or not finite.

    Source: docs/semantics/gates.md
    """
    vocabulary = len(canonical)
    train, tokens = (
        ngram.check_ids(name, x, vocabulary) for name, x in (("train", train), ("tokens", tokens))
    )
    checks.array("log_p", log_p, "numbers", {"N": len(tokens)})
    checks.array("held_out", held_out, "numbers", {"G": None})
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
    """Score a text behind engram gates, for any language model.

    The gates learn on the last tenth of the training text.

    Args:
      key: draws the connectivity of the gates.
      config: sizes of the memory of n-grams.
      gate: sizes of the gates.
      pieces: the bytes of each of the V ids.
      train: ``int [M]``, the training text.
      tokens: ``int [N]``, the text to score; it continues the training text.
      nats_without: ``float32 [N]``, the nats of the text under the model without gates.
      refit: a function of two texts. It fits the model on the first text alone and returns the nats of the
        second, which continues the first.

    Returns:
      The scores of N tokens. The best ids are not known and are -1.

    Raises:
      ValueError: the training text is too short, or a gate reads more address bits than there are features.

    Source: docs/semantics/gates.md
    """
    cut = len(train) - max(1, round(len(train) * HELD_OUT))
    held_out = refit(train[:cut], train[cut:])
    canonical = lexicon.folded(pieces)
    gated = nats(key, config, gate, canonical, train, tokens, -nats_without, -held_out)
    return bitwise.Scores(gated, jnp.full(len(gated), -1, jnp.int32))


def _mixture(openness: jax.Array, share: jax.Array) -> LogGate:
    return LogGate(jnp.log1p(-openness), jnp.log(openness * share))


def _openness(gate: RamGateConfig, taught: TaughtGates, words: jax.Array, known: jax.Array) -> jax.Array:
    """Compute the openness of an order's gate, ``float32 [N]`` in [0, 1); 0 if its row was never written."""
    eighths = jnp.tile(taught.words, (1, _PARTS))
    examples = ram.Examples(eighths, taught.won[None], jnp.tile(taught.known, _PARTS))
    votes = ram.fit_and_read(None, ram.RamConfig("count"), taught.connections[None], examples, words)
    share = votes[0] / jnp.float32(gate.neurons * ram.UNIT)
    return jnp.where(known, jnp.clip(share, 0.0, 1.0 - _DOUBT), 0.0)
