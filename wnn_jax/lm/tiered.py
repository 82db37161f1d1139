"""The tiered RAM language model: one cluster of RAM neurons for every token, larger where tokens are frequent.

Tokens are ranked by their frequency in the training text and cut into tiers; every tier is a memory of its
own, with its own number of neurons and address bits (spec ram_lm 3.1). Training is one-hot: what stands before
a token writes TRUE into its cluster, and FALSE into the clusters of the *negatives* (3.2). A cluster's share s
of the vote becomes a probability in one of two ways:

    published   P(t) ~ exp(s_t)                                  s in [0, 1], so P(t) <= e / (e + V - 1)
    calibrated  P(t) ~ exp(offset) * (s_t + floor) ** slope      three numbers a tier, from held-out text

With V = 50,257 the published one cannot leave 9.825 .. 11.825 nats, whatever was learnt (3.3).

Clusters are fitted and read a few at a time and never kept (design decision 2), and votes go into a `tally`: neither
the tables of V clusters nor an ``[N, V]`` matrix exist. A cluster without examples is not read at all: all
such clusters of a tier share one row of votes.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax import bits, connectivity, ram
from wnn_jax.lm import bitwise, tally

NEGATIVES = ("top", "drawn", "all", "none")
PRESETS = {
    "five": "50,15,20;50,13,18;400,9,10;20000,7,9;rest,5,8",
    "three": "100,15,20;400,10,12;rest,5,8",
    "one": "rest,7,10",
}
_VOTES = 1 << 24  # of one chunk of clusters, in int32


class Tier(NamedTuple):
    """So many of the tokens, by falling frequency; ``clusters`` None: all that are left."""

    clusters: int | None
    neurons: int
    address_bits: int


def parse(tiers: str) -> tuple[Tier, ...]:
    """``count,neurons,bits;...;rest,neurons,bits``, or the name of one of `PRESETS`.

    Raises:
      ValueError: it is not of that form.
    """
    found = []
    for part in PRESETS.get(tiers, tiers).split(";"):
        count, *sizes = part.strip().split(",")
        if len(sizes) != 2 or not all(x.strip().isdecimal() for x in sizes + [count] * (count != "rest")):
            raise ValueError(
                f"a tier is COUNT,NEURONS,BITS or rest,NEURONS,BITS, and presets are {', '.join(PRESETS)}; "
                f"got {part!r}"
            )
        found.append(Tier(None if count == "rest" else int(count), int(sizes[0]), int(sizes[1])))
    return tuple(found)


@dataclasses.dataclass(frozen=True)
class TieredConfig:
    """Sizes and training of a tiered model. Hashable: static under `jit`.

    Attributes:
      vocabulary: V.
      tiers: see `Tier`; only the last may take the rest.
      context: C, tokens seen.
      memory: the cells, ``true_wins`` as published.
      negatives: which clusters are written FALSE at an example: the ``top`` most frequent tokens' (as the
        predecessor's model does), ``draws`` of these drawn uniformly (as its search does), ``all``, or ``none``.
      top, draws: how many.

    Raises:
      ValueError: a size is out of range, or the tiers do not hold V tokens.
    """

    vocabulary: int
    tiers: tuple[Tier, ...]
    context: int = 4
    memory: ram.RamConfig = ram.RamConfig("true_wins")
    negatives: str = "top"
    top: int = 1000
    draws: int = 5

    def __post_init__(self):
        if self.negatives not in NEGATIVES:
            raise ValueError(f"unknown negatives {self.negatives!r}: choose one of {', '.join(NEGATIVES)}")
        if self.negatives in ("top", "drawn") and min(self.top, self.draws) < 1:
            raise ValueError(f"negatives need top and draws of at least 1, got {self.top} and {self.draws}")
        if self.memory.sample_rate < 1.0:
            raise ValueError(f"tiered models write every example, sample_rate must be 1, got {self.memory.sample_rate}")
        fixed = sum(tier.clusters or 0 for tier in self.tiers)
        rest = [tier.clusters is None for tier in self.tiers]
        if any(rest[:-1]) or not self.tiers or (not rest[-1] and fixed != self.vocabulary):
            raise ValueError(
                f"the tiers hold {fixed} tokens of {self.vocabulary}: the last one, and only it, takes the rest"
            )
        if fixed > self.vocabulary - rest[-1]:
            raise ValueError(f"the tiers want {fixed + rest[-1]} tokens and there are {self.vocabulary}")
        for tier in self.tiers:
            # The bitwise model's rules of sizes are these.
            bitwise.BitwiseConfig(self.vocabulary, self.context, tier.neurons, tier.address_bits)

    @property
    def input_bits(self) -> int:
        return self.context * bits.code_length(self.vocabulary)

    @property
    def borders(self) -> tuple[int, ...]:
        """The first rank of every tier, and V."""
        first = np.cumsum([0, *(tier.clusters or 0 for tier in self.tiers)])
        return (*first[:-1].tolist(), self.vocabulary)


class Model(NamedTuple):
    """Which token has which rank, and which input bit goes where.

    Attributes:
      order: ``int32 [V]`` ids by rank: the most frequent first, equally frequent ones by id.
      connections: of each tier ``[K, n, T]``.
    """

    order: np.ndarray
    connections: tuple[jax.Array, ...]


class Chunk(NamedTuple):
    """What some clusters of one tier vote.

    Attributes:
      tier: which.
      ids: ``int32 [k]`` the tokens they stand for; -1 marks padding.
      votes: ``int32 [k, N]``; or ``[1, N]``, that all of them share because none has an example.
    """

    tier: int
    ids: jax.Array
    votes: jax.Array


class Readout(NamedTuple):
    """Log-probability of a share: ``offset + slope * log(share + floor)``, each ``float32 [tiers]``."""

    slope: jax.Array
    offset: jax.Array
    floor: jax.Array


def ranked(tokens: np.ndarray, vocabulary: int) -> np.ndarray:
    """Ids ``int32 [V]`` by falling frequency in a text, equally frequent ones by id."""
    return np.argsort(-np.bincount(tokens, minlength=vocabulary), kind="stable").astype(np.int32)


def init(key: jax.Array, config: TieredConfig, tokens: np.ndarray) -> Model:
    """A random connectivity, and the tokens' ranks in a training text.

    Raises:
      ValueError: see `bitwise.check_tokens`.
    """
    tokens = bitwise.check_tokens(_inputs(config), tokens)
    sizes = np.diff(config.borders).tolist()
    connections = tuple(
        connectivity.random(jax.random.fold_in(key, t), size, tier.neurons, tier.address_bits, config.input_bits)
        for t, (size, tier) in enumerate(zip(sizes, config.tiers, strict=True))
    )
    return Model(ranked(tokens, config.vocabulary), connections)


def tier_of(config: TieredConfig, model: Model, tokens: np.ndarray) -> np.ndarray:
    """The tier ``[N]`` of each token."""
    rank = np.empty(config.vocabulary, np.int32)
    rank[model.order] = np.arange(config.vocabulary)
    return np.searchsorted(config.borders[1:], rank[tokens], side="right")


def inputs(config: TieredConfig, tokens: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Words ``uint32 [W, N]`` and targets ``int32 [N]`` of every place with a full context.

    Args:
      tokens: ``[N + C]`` ids.

    Raises:
      ValueError: see `bitwise.check_tokens`.
    """
    words = bitwise.examples(_inputs(config), tokens).words
    return words, jnp.asarray(tokens[config.context :], jnp.int32)


def _inputs(config: TieredConfig) -> bitwise.BitwiseConfig:
    """The bitwise model that reads the same input bits."""
    return bitwise.BitwiseConfig(config.vocabulary, config.context, 1, 1)


def votes(key: jax.Array, config: TieredConfig, model: Model, tokens: np.ndarray, words: jax.Array) -> Iterator[Chunk]:
    """Fit every cluster on a text and read it on other words, a few clusters at a time.

    Args:
      key: draws the negatives, if they are ``drawn``.
      tokens: ``[M + C]`` the training text.
      words: ``uint32 [W, N]`` to read, see `inputs`.

    Yields:
      Chunks in the order of ranks; together they have every id once.
    """
    train, targets = inputs(config, tokens)
    evaluated = words.shape[1]
    room = max(1, min(512, _VOTES // max(evaluated, 1)))
    seen = _Examples(key, config, model, np.asarray(targets))
    for t, (begin, end) in enumerate(itertools.pairwise(config.borders)):
        size = min(room, end - begin)
        # Written everything, then written a list, then written nothing: ranks fall into these three runs.
        whole, touched = (min(max(x, begin), end) for x in (seen.whole, seen.touched))
        for first in [*range(begin, whole, size), *range(whole, touched, size)]:
            last = min(first + size, whole if first < whole else touched)
            ids = jnp.asarray(_padded(model.order[first:last], size, -1))
            own = model.connections[t][first - begin : last - begin]
            own = jnp.pad(own, ((0, size - len(own)), (0, 0), (0, 0)), constant_values=connectivity.UNUSED)
            if first < whole:
                found = _fit_whole(config.memory, own, ids, train, targets, words)
            else:
                index, label, span = seen.of(first, last, size)
                found = _fit_listed(config.memory, own, index, label, span, train, words)
            yield Chunk(t, ids, found)
        if touched < end:
            unread = config.tiers[t].neurons * seen.unread
            yield Chunk(t, jnp.asarray(model.order[touched:end]), jnp.broadcast_to(unread, (1, evaluated)))


def drawn(key: jax.Array, config: TieredConfig, count: int) -> jax.Array:
    """Ranks ``int32 [count, draws]`` of the negatives of each example, uniform over the ``top``."""
    return jax.random.randint(key, (count, config.draws), 0, min(config.top, config.vocabulary))


@functools.partial(jax.jit, static_argnames="memory")
def _fit_whole(memory, connections, ids, train, targets, words):
    """Clusters that are written every example."""
    examples = ram.Examples(train, ids[:, None] == targets)
    return ram.fit_and_read(None, memory, connections, examples, words)


@functools.partial(jax.jit, static_argnames="memory")
def _fit_listed(memory, connections, index, label, span, train, words):
    """Clusters that have lists of examples, one behind the other."""
    own = jnp.broadcast_to(label, (len(span), len(label)))
    examples = ram.Examples(train[:, index], own, span=span)
    return ram.fit_and_read(None, memory, connections, examples, words)


class _Examples:
    """Which examples a cluster is written, by its rank.

    Attributes:
      whole: clusters of lower rank are written every example.
      touched: those from ``whole`` up to here are written a list of their own; the others nothing.
      unread: votes ``int32 [1]`` of a neuron of one of these.
    """

    def __init__(self, key: jax.Array, config: TieredConfig, model: Model, targets: np.ndarray):
        rank = np.empty(config.vocabulary, np.int64)
        rank[model.order] = np.arange(config.vocabulary)
        count, top = len(targets), min(config.top, config.vocabulary)
        cluster, example, label = rank[targets], np.arange(count), np.ones(count, bool)
        if config.negatives == "drawn":
            # Twice the same is once; the target itself is not its own negative.
            ranks = np.asarray(drawn(key, config, count)).astype(np.int64)
            wrong = np.unique(ranks * count + np.arange(count)[:, None])
            wrong = wrong[wrong // count != cluster[wrong % count]]
            cluster = np.concatenate([cluster, wrong // count])
            example = np.concatenate([example, wrong % count])
            label = np.concatenate([label, np.zeros(len(wrong), bool)])
        order = np.lexsort((example, cluster))  # in the order of the text within a cluster
        self._example, self._label = example[order].astype(np.int32), label[order]
        self._start = np.searchsorted(cluster[order], np.arange(config.vocabulary + 1))
        came = int(np.flatnonzero(np.diff(self._start))[-1]) + 1
        memory, everything = config.memory, config.negatives == "all"
        # A cell that holds FALSE alone reads 0 (the prior of its cluster is 0 too). Where an unvisited one reads
        # 0 as well, tokens that never came need no table even if they are everyone's negatives.
        alike = memory.cells == "count" or (not memory.is_quad and memory.empty_value == 0.0)
        self.whole = {"top": top, "all": came if alike else config.vocabulary}.get(config.negatives, 0)
        self.touched = max(came, self.whole)
        nothing = ram.Examples(jnp.zeros((1, 1), jnp.uint32), jnp.zeros((1, 1), bool), jnp.full(1, everything))
        self.unread = ram.empty_votes(memory, nothing)

    def of(self, first: int, last: int, size: int):
        """Lists of ranks ``first .. last - 1``, padded to ``size`` of them: indices, labels, spans."""
        begin, end = self._start[first], self._start[last]
        room = 1 << int(end - begin).bit_length()  # few shapes, so that compiled code serves again
        ends = _padded(self._start[first : last + 1], size + 1, end) - begin
        span = np.stack([ends[:-1], ends[1:]], axis=1).astype(np.int32)
        return (
            jnp.asarray(_padded(self._example[begin:end], room, 0)),
            jnp.asarray(_padded(self._label[begin:end], room, False)),
            jnp.asarray(span),
        )


def _padded(array: np.ndarray, size: int, value) -> np.ndarray:
    return np.concatenate([array, np.full(size - len(array), value, array.dtype)])


def published(config: TieredConfig, chunk: Chunk) -> jax.Array:
    """The predecessor's score ``float32 [k, N]``: the share of the vote, as if it were a log-probability."""
    return _share(chunk.votes, config.tiers[chunk.tier].neurons)


def calibrated(readout: Readout, config: TieredConfig, chunk: Chunk) -> jax.Array:
    """The score ``float32 [k, N]`` that a `Readout` makes of the share."""
    row = Readout(*(x[chunk.tier] for x in readout))
    return _read_out(row, _share(chunk.votes, config.tiers[chunk.tier].neurons))


@functools.partial(jax.jit, static_argnames="neurons")
def _share(votes, neurons: int):
    return votes.astype(jnp.float32) / (neurons * ram.UNIT)


@jax.jit
def _read_out(row: Readout, share):
    return row.offset + row.slope * jnp.log(share + row.floor)


def calibrate(
    key: jax.Array, config: TieredConfig, tokens: np.ndarray, held_out: float = 0.1, places: int = 2048
) -> Readout:
    """A readout learnt from the end of a training text by a model fitted on what comes before it.

    The cross-entropy of so many places, drawn from the held-out part, is minimised by L-BFGS (optax). Nothing
    that was written is scored, and no text beyond ``tokens`` is read.

    Args:
      key: draws the connectivity of that model, its negatives and the places.
      held_out: share of the text.
    """
    init_key, votes_key, place_key = jax.random.split(key, 3)
    cut = round(len(tokens) * (1 - held_out))
    model = init(init_key, config, tokens[:cut])
    words, targets = inputs(config, tokens[cut - config.context :])
    count = len(targets)
    at = jnp.sort(jax.random.permutation(place_key, count)[: min(places, count)])
    words, targets = words[:, at], np.asarray(targets[at])
    shares, tier, size, row = [], [], [], np.zeros(config.vocabulary, np.int32)
    for chunk in votes(votes_key, config, model, tokens[:cut], words):
        ids = np.asarray(chunk.ids)
        share = np.asarray(published(config, chunk))
        alike = len(share) < len(ids)
        row[ids[ids >= 0]] = len(tier) + (0 if alike else np.arange(np.count_nonzero(ids >= 0)))
        share = share[: 1 if alike else np.count_nonzero(ids >= 0)]
        shares.append(share)
        tier += [chunk.tier] * len(share)
        size += [len(ids) if alike else 1] * len(share)
    return _fit_readout(
        len(config.tiers),
        jnp.concatenate(shares),
        jnp.asarray(tier),
        jnp.log(jnp.asarray(size, jnp.float32)),
        jnp.asarray(row[targets]),
    )


_STEPS = 60


@functools.partial(jax.jit, static_argnums=0)
def _fit_readout(tiers: int, shares, tier, log_size, row) -> Readout:
    """Args: shares ``[rows, M]`` of clusters, their tier, log of how many each stands for; the targets' rows."""

    def loss(raw: Readout):
        readout = _positive(raw)
        slope, offset, floor = (x[tier][:, None] for x in readout)
        scores = offset + slope * jnp.log(shares + floor)
        mass = jax.nn.logsumexp(scores + log_size[:, None], axis=0)
        return (mass - scores[row, jnp.arange(len(row))]).mean()

    optimizer = optax.lbfgs()
    start = Readout(jnp.zeros(tiers), jnp.zeros(tiers), jnp.full(tiers, -9.0))
    value_and_grad = optax.value_and_grad_from_state(loss)

    def step(carry, _):
        raw, state = carry
        value, gradient = value_and_grad(raw, state=state)
        update, state = optimizer.update(gradient, state, raw, value=value, grad=gradient, value_fn=loss)
        return (optax.apply_updates(raw, update), state), value

    (raw, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=_STEPS)
    return _positive(raw)


def _positive(raw: Readout) -> Readout:
    return Readout(jnp.exp(raw.slope), raw.offset, jnp.exp(raw.floor))


def score(chunks: Iterable[Chunk], log_scores: Callable[[Chunk], jax.Array], targets: jax.Array) -> bitwise.Scores:
    """Nats of the tokens that came and the best ids, normalised over all V.

    Args:
      chunks: from `votes`.
      log_scores: what a chunk's votes mean: `published` or `calibrated` of a config.
    """
    return tally.scores(((chunk.ids, log_scores(chunk)) for chunk in chunks), targets)
