"""One-hot layers: a cluster of RAM neurons for every token, larger where tokens are frequent.

What stands before a token writes TRUE into its cluster, and FALSE into the clusters of the *negatives*.
Clusters are fitted and read a few at a time and never kept, and their scores go into a `tally`: neither the
tables of V clusters nor an ``[N, V]`` matrix exist. A cluster without examples is not read at all: all such
clusters of a tier share one row of votes.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import ram
from wnn_jax.lm import bitwise
from wnn_jax.lm.tiered_config import TieredConfig
from wnn_jax.ram import connectivity

# Numbers in one chunk of votes. At 16 MiB the allocator hands the same memory out again; at 64 MiB every
# chunk would be fresh pages, which took the system as long to give as the neurons took to vote.
VOTES = 1 << 22


class Wiring(NamedTuple):
    """Which token has which rank, and which input bit goes where.

    Attributes:
      order: ``int32 [V]`` ids by rank: the most frequent first, equally frequent ones by id.
      connections: of each tier ``[K, n, T]``.
    """

    order: np.ndarray
    connections: tuple[jax.Array, ...]


class ClusterVotes(NamedTuple):
    """The votes of some clusters of one tier.

    Attributes:
      tier: its number.
      ids: ``int32 [k]`` the tokens they stand for; -1 marks padding.
      votes: ``int32 [k, N]``; or ``[1, N]``, that all of them share because none has an example.
      frequency: ``float32 [k, 1]``, or ``[1, 1]``: how often their tokens come, see `OneHotLayer`.
    """

    tier: int
    ids: jax.Array
    votes: jax.Array
    frequency: jax.Array

    @property
    def size(self) -> int:
        """How many ids there are, without padding."""
        return int(np.count_nonzero(self.ids >= 0))


def rank_tokens(tokens: np.ndarray, vocabulary: int) -> np.ndarray:
    """Ids ``int32 [V]`` by falling frequency in a text, equally frequent ones by id."""
    return np.argsort(-np.bincount(tokens, minlength=vocabulary), kind="stable").astype(np.int32)


def init(key: jax.Array, config: TieredConfig, tokens: np.ndarray) -> Wiring:
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
    return Wiring(rank_tokens(tokens, config.vocabulary), connections)


def tier_of(config: TieredConfig, order: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The tier ``[N]`` of each token; ``order`` are the ids by rank."""
    rank = np.empty(config.vocabulary, np.int32)
    rank[order] = np.arange(config.vocabulary)
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


class OneHotLayer(NamedTuple):
    """A one-hot layer and the examples that its clusters are written.

    Attributes:
      config, wiring: sizes and rules, and what its neurons observe.
      words, targets: ``uint32 [W, M]`` and ``int32 [M]`` of the training text.
      example, label, start: lists of examples and whether the target was the cluster's token; of the
        cluster of rank r the entries ``start[r] .. start[r + 1] - 1``, in the order of the text.
      whole: clusters of lower rank are written every example and have no need of a list.
      touched: those from ``whole`` up to here are written their list; the others nothing.
      unread: votes ``int32 [1]`` of a neuron of one of these.
      frequency: ``float32 [V]`` share of the examples that had each id as their target, 0.1 added to each.
    """

    config: TieredConfig
    wiring: Wiring
    words: jax.Array
    targets: jax.Array
    example: np.ndarray
    label: np.ndarray
    start: np.ndarray
    whole: int
    touched: int
    unread: jax.Array
    frequency: jax.Array


def one_hot_layer(key: jax.Array, config: TieredConfig, wiring: Wiring, tokens: np.ndarray) -> OneHotLayer:
    """A layer ready to be fitted on a text.

    Args:
      key: draws the negatives, if they are ``drawn``.
      config, wiring: from `init`.
      tokens: ``[M + C]`` the training text.
    """
    words, targets = inputs(config, tokens)
    rank = np.empty(config.vocabulary, np.int64)
    rank[wiring.order] = np.arange(config.vocabulary)
    count, top = len(targets), min(config.top, config.vocabulary)
    cluster, example, label = rank[np.asarray(targets)], np.arange(count), np.ones(count, bool)
    seen = int(cluster.max()) + 1
    if config.negatives == "drawn":
        # Twice the same is once; the target itself is not its own negative.
        ranks = np.asarray(draw_negatives(key, config, count)).astype(np.int64)
        wrong = np.unique(ranks * count + np.arange(count)[:, None])
        wrong = wrong[wrong // count != cluster[wrong % count]]
        cluster = np.concatenate([cluster, wrong // count])
        example = np.concatenate([example, wrong % count])
        label = np.concatenate([label, np.zeros(len(wrong), bool)])
        seen = int(cluster.max()) + 1
    by_cluster = np.lexsort((example, cluster))
    memory, everything = config.memory, config.negatives == "all"
    # A cell that holds FALSE alone reads 0 (the prior of its cluster is 0 too). Where an unvisited one reads
    # 0 as well, tokens that never seen need no table even if they are everyone's negatives.
    alike = memory.cells == "count" or (not memory.is_quad and memory.empty_value == 0.0)
    whole = {"top": top, "all": seen if alike else config.vocabulary}.get(config.negatives, 0)
    nothing = ram.Examples(jnp.zeros((1, 1), jnp.uint32), jnp.zeros((1, 1), bool), jnp.full(1, everything))
    counts = np.bincount(np.asarray(targets), minlength=config.vocabulary) + 0.1
    return OneHotLayer(
        config,
        wiring,
        words,
        targets,
        example[by_cluster].astype(np.int32),
        label[by_cluster],
        np.searchsorted(cluster[by_cluster], np.arange(config.vocabulary + 1)),
        whole,
        max(seen, whole),
        ram.empty_votes(memory, nothing),
        jnp.asarray(counts / counts.sum(), jnp.float32),
    )


def votes(layers: Sequence[OneHotLayer], words: jax.Array) -> Iterator[tuple[ClusterVotes, ...]]:
    """Fit every cluster and read it on other words, a few clusters at a time.

    Args:
      layers: of one order and with tiers of the same sizes, such as a model and its gates.
      words: ``uint32 [W, N]`` to read, see `inputs`.

    Yields:
      The chunks of the same clusters in every layer, in the order of ranks; together they have every id once.
    """
    borders, order = layers[0].config.borders, layers[0].wiring.order
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


def _chunk(layer: OneHotLayer, tier: int, ids: jax.Array, votes: jax.Array) -> ClusterVotes:
    return ClusterVotes(tier, ids, votes, layer.frequency[ids[: len(votes)], None])


def _fit(layer: OneHotLayer, tier: int, first: int, last: int, size: int, words: jax.Array) -> jax.Array:
    """Votes ``[size, N]`` of ranks ``first .. last - 1``, or ``[1, N]`` that they share."""
    if first >= layer.touched:
        unread = layer.config.tiers[tier].neurons * layer.unread
        return jnp.broadcast_to(unread, (1, words.shape[1]))
    memory, begin = layer.config.memory, layer.config.borders[tier]
    own = layer.wiring.connections[tier][first - begin : last - begin]
    own = jnp.pad(own, ((0, size - len(own)), (0, 0), (0, 0)), constant_values=connectivity.UNUSED)
    if first < layer.whole:
        ids = jnp.asarray(_padded(layer.wiring.order[first:last], size, -1))
        return _fit_whole(memory, own, ids, layer.words, layer.targets, words)
    at, end = layer.start[first], layer.start[last]
    room = 1 << int(end - at).bit_length()  # few shapes, so that compiled code serves again
    index, label = (_padded(x[at:end], room, 0) for x in (layer.example, layer.label))
    ends = _padded(layer.start[first : last + 1], size + 1, end) - at
    span = np.stack([ends[:-1], ends[1:]], axis=1).astype(np.int32)
    lists = (jnp.asarray(x) for x in (index, label, span))
    return _fit_listed(memory, own, *lists, layer.words, words)


def draw_negatives(key: jax.Array, config: TieredConfig, count: int) -> jax.Array:
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
