"""The tiered RAM language model: one cluster of RAM neurons a token, larger where tokens are frequent.

Tokens are ranked by their frequency in the training text and cut into tiers; every tier is a memory of its
own, with its own number of neurons and address bits (spec ram_lm 3.1). Training is one-hot: what stands
before a token writes TRUE into its cluster, and FALSE into the clusters of the *negatives* (3.2). What the
clusters' votes say of the next token is a matter of `tiered_readout`.

Clusters are fitted and read a few at a time and never kept (design decision 2), and their scores go into a
`tally`: neither the tables of V clusters nor an ``[N, V]`` matrix exist. A cluster without examples is not
read at all: all such clusters of a tier share one row of votes.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import ram
from wnn_jax.lm import bitwise
from wnn_jax.ram import bits, connectivity

NEGATIVES = ("top", "drawn", "all", "none")
PRESETS = {
    "five": "50,15,20;50,13,18;400,9,10;20000,7,9;rest,5,8",
    "three": "100,15,20;400,10,12;rest,5,8",
    "two": "50,15,16;rest,7,10",
}
# Of one chunk of clusters. At 16 MiB the allocator hands the same memory out again; at 64 MiB every chunk
# would be fresh pages, which took the system as long to give as the neurons took to vote.
VOTES = 1 << 22


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
        predecessor's model does), ``draws`` of these drawn uniformly (as its search does), ``all`` tokens',
        or ``none``.
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
            raise ValueError(
                f"tiered models write every example, sample_rate must be 1, got {self.memory.sample_rate}"
            )
        fixed = sum(tier.clusters or 0 for tier in self.tiers)
        rest = [tier.clusters is None for tier in self.tiers]
        if any(rest[:-1]) or not self.tiers or (not rest[-1] and fixed != self.vocabulary):
            raise ValueError(
                f"the tiers hold {fixed} tokens of {self.vocabulary}: "
                "the last one, and only it, takes the rest"
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
      frequency: ``float32 [k, 1]``, or ``[1, 1]``: how often their tokens come, see `Layer`.
    """

    tier: int
    ids: jax.Array
    votes: jax.Array
    frequency: jax.Array


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
        connectivity.random(
            jax.random.fold_in(key, t), size, tier.neurons, tier.address_bits, config.input_bits
        )
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


class Layer(NamedTuple):
    """A one-hot layer and what its clusters are written.

    Attributes:
      config, model: what it is.
      words, targets: ``uint32 [W, M]`` and ``int32 [M]`` of the training text.
      example, label, start: lists of examples and whether the target was the cluster's token; of the
        cluster of rank r the entries ``start[r] .. start[r + 1] - 1``, in the order of the text.
      whole: clusters of lower rank are written every example and have no need of a list.
      touched: those from ``whole`` up to here are written their list; the others nothing.
      unread: votes ``int32 [1]`` of a neuron of one of these.
      frequency: ``float32 [V]`` share of the examples that had each id as their target, 0.1 added to each.
    """

    config: TieredConfig
    model: Model
    words: jax.Array
    targets: jax.Array
    example: np.ndarray
    label: np.ndarray
    start: np.ndarray
    whole: int
    touched: int
    unread: jax.Array
    frequency: jax.Array


def layer(key: jax.Array, config: TieredConfig, model: Model, tokens: np.ndarray) -> Layer:
    """A layer ready to be fitted on a text.

    Args:
      key: draws the negatives, if they are ``drawn``.
      tokens: ``[M + C]`` the training text.
    """
    words, targets = inputs(config, tokens)
    rank = np.empty(config.vocabulary, np.int64)
    rank[model.order] = np.arange(config.vocabulary)
    count, top = len(targets), min(config.top, config.vocabulary)
    cluster, example, label = rank[np.asarray(targets)], np.arange(count), np.ones(count, bool)
    came = int(cluster.max()) + 1
    if config.negatives == "drawn":
        # Twice the same is once; the target itself is not its own negative.
        ranks = np.asarray(drawn(key, config, count)).astype(np.int64)
        wrong = np.unique(ranks * count + np.arange(count)[:, None])
        wrong = wrong[wrong // count != cluster[wrong % count]]
        cluster = np.concatenate([cluster, wrong // count])
        example = np.concatenate([example, wrong % count])
        label = np.concatenate([label, np.zeros(len(wrong), bool)])
        came = int(cluster.max()) + 1
    by_cluster = np.lexsort((example, cluster))
    memory, everything = config.memory, config.negatives == "all"
    # A cell that holds FALSE alone reads 0 (the prior of its cluster is 0 too). Where an unvisited one reads
    # 0 as well, tokens that never came need no table even if they are everyone's negatives.
    alike = memory.cells == "count" or (not memory.is_quad and memory.empty_value == 0.0)
    whole = {"top": top, "all": came if alike else config.vocabulary}.get(config.negatives, 0)
    nothing = ram.Examples(jnp.zeros((1, 1), jnp.uint32), jnp.zeros((1, 1), bool), jnp.full(1, everything))
    counts = np.bincount(np.asarray(targets), minlength=config.vocabulary) + 0.1
    return Layer(
        config,
        model,
        words,
        targets,
        example[by_cluster].astype(np.int32),
        label[by_cluster],
        np.searchsorted(cluster[by_cluster], np.arange(config.vocabulary + 1)),
        whole,
        max(came, whole),
        ram.empty_votes(memory, nothing),
        jnp.asarray(counts / counts.sum(), jnp.float32),
    )


def votes(layers: Sequence[Layer], words: jax.Array) -> Iterator[tuple[Chunk, ...]]:
    """Fit every cluster and read it on other words, a few clusters at a time.

    Args:
      layers: of one order and with tiers of the same sizes, such as a model and its gates.
      words: ``uint32 [W, N]`` to read, see `inputs`.

    Yields:
      The chunks of the same clusters in every layer, in the order of ranks; together they have every id once.
    """
    borders, order = layers[0].config.borders, layers[0].model.order
    room = max(1, min(512, VOTES // max(words.shape[1], 1)))
    # In each layer ranks fall into three runs: written everything, a list, or nothing.
    ends = sorted({x for one in layers for x in (*borders, one.whole, one.touched) if x})
    touched = max(one.touched for one in layers)
    begin = 0
    for end in ends:
        tier = int(np.searchsorted(borders, begin, side="right")) - 1
        size = min(room, borders[tier + 1] - borders[tier])
        for first in [begin] if begin >= touched else range(begin, end, size):
            last = end if begin >= touched else min(first + size, end)
            ids = jnp.asarray(order[first:last] if begin >= touched else _padded(order[first:last], size, -1))
            yield tuple(_chunk(one, tier, ids, _fit(one, tier, first, last, size, words)) for one in layers)
        begin = end


def _chunk(layer: Layer, tier: int, ids: jax.Array, votes: jax.Array) -> Chunk:
    return Chunk(tier, ids, votes, layer.frequency[ids[: len(votes)], None])


def _fit(layer: Layer, tier: int, first: int, last: int, size: int, words: jax.Array) -> jax.Array:
    """Votes ``[size, N]`` of ranks ``first .. last - 1``, or ``[1, N]`` that they share."""
    if first >= layer.touched:
        unread = layer.config.tiers[tier].neurons * layer.unread
        return jnp.broadcast_to(unread, (1, words.shape[1]))
    memory, begin = layer.config.memory, layer.config.borders[tier]
    own = layer.model.connections[tier][first - begin : last - begin]
    own = jnp.pad(own, ((0, size - len(own)), (0, 0), (0, 0)), constant_values=connectivity.UNUSED)
    if first < layer.whole:
        ids = jnp.asarray(_padded(layer.model.order[first:last], size, -1))
        return _fit_whole(memory, own, ids, layer.words, layer.targets, words)
    at, end = layer.start[first], layer.start[last]
    room = 1 << int(end - at).bit_length()  # few shapes, so that compiled code serves again
    index, label = (_padded(x[at:end], room, 0) for x in (layer.example, layer.label))
    ends = _padded(layer.start[first : last + 1], size + 1, end) - at
    span = np.stack([ends[:-1], ends[1:]], axis=1).astype(np.int32)
    lists = (jnp.asarray(x) for x in (index, label, span))
    return _fit_listed(memory, own, *lists, layer.words, words)


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


def _padded(array: np.ndarray, size: int, value) -> np.ndarray:
    return np.concatenate([array, np.full(size - len(array), value, array.dtype)])
