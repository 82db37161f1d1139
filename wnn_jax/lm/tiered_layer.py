"""One-hot layers: a cluster of RAM neurons for every token, larger for frequent tokens.

At each example, the context writes TRUE to the cluster of the token that follows, and FALSE to the clusters
of other tokens, the *negatives*. Clusters are fitted, read and dropped, some at a time, and their scores go
into a `tally`. So neither the tables of V clusters nor an ``[N, V]`` matrix are ever held. Clusters without
examples are not read: all those of a tier share one row of votes.

Source: docs/semantics/tiered.md
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, ram
from wnn_jax.checks import Limits
from wnn_jax.lm import bitwise, ngram
from wnn_jax.lm.tiered_config import TieredConfig
from wnn_jax.ram import connectivity

# The number of votes in one chunk. The allocator gives a chunk of 16 MiB the same memory again; one of 64 MiB
# got new pages every time, which took as long as the neurons took to vote.
VOTES = 1 << 22


class Wiring(NamedTuple):
    """The ranks of the tokens, and the connectivity of each tier.

    Attributes:
      order: ``int32 [V]``, the ids by rank: the most frequent first, equally frequent ones by id.
      connections: for each tier ``int [K, n, T]``, with K the number of its tokens.

    Source: docs/semantics/tiered.md
    """

    order: np.ndarray
    connections: tuple[jax.Array, ...]


class ClusterVotes(NamedTuple):
    """The votes of some clusters of one tier.

    Attributes:
      tier: number of the tier.
      ids: ``int32 [k]``, the tokens of the clusters; -1 marks padding.
      votes: ``int32 [k, N]``; or ``[1, N]`` if no cluster has an example, so that all share one row.
      frequency: ``float32 [k, 1]`` or ``[1, 1]``, the frequencies of the tokens, see `OneHotLayer`.

    Source: docs/semantics/tiered.md
    """

    tier: int
    ids: jax.Array
    votes: jax.Array
    frequency: jax.Array

    @property
    def size(self) -> int:
        """The number of ids, without padding."""
        return int(np.count_nonzero(self.ids >= 0))


def rank_tokens(tokens: np.ndarray, vocabulary: int) -> np.ndarray:
    """Rank token ids by their frequency in a text.

    Args:
      tokens: ``int [N]``, the text.
      vocabulary: V.

    Returns:
      ``int32 [V]``, the ids, the most frequent first; equally frequent ones by id.

    Raises:
      ValueError: an id is outside the vocabulary.

    Source: docs/semantics/tiered.md
    """
    tokens = ngram.check_ids("tokens", tokens, vocabulary)
    return np.argsort(-np.bincount(tokens, minlength=vocabulary), kind="stable").astype(np.int32)


def init(key: jax.Array, config: TieredConfig, tokens: np.ndarray) -> Wiring:
    """Draw a random connectivity, and rank the tokens by their frequency in a training text.

    Args:
      key: draws the input bits.
      config: sizes of the model.
      tokens: ``int [M + C]``, the training text.

    Returns:
      The ranks and the connectivity of each tier.

    Raises:
      ValueError: the text is not longer than the context, or an id is outside the vocabulary.

    Source: docs/semantics/tiered.md
    """
    tokens = bitwise.check_tokens(inputs_config(config), tokens)
    sizes = np.diff(config.borders).tolist()
    connections = tuple(
        connectivity.random(
            jax.random.fold_in(key, t), size, tier.neurons, tier.address_bits, config.input_bits
        )
        for t, (size, tier) in enumerate(zip(sizes, config.tiers, strict=True))
    )
    return Wiring(rank_tokens(tokens, config.vocabulary), connections)


def tier_of(config: TieredConfig, order: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Find the tier of each token.

    Args:
      config: gives the tiers.
      order: ``int [V]``, the ids by rank, from `rank_tokens`.
      tokens: ``int [N]``, token ids.

    Returns:
      ``int [N]``, numbers of tiers.

    Raises:
      ValueError: an id is outside the vocabulary.

    Source: docs/semantics/tiered.md
    """
    tokens = ngram.check_ids("tokens", tokens, config.vocabulary)
    checks.array("order", order, "integers", {"V": config.vocabulary}, Limits(0, config.vocabulary - 1))
    rank = np.empty(config.vocabulary, np.int32)
    rank[order] = np.arange(config.vocabulary)
    return np.searchsorted(config.borders[1:], rank[tokens], side="right")


def inputs(config: TieredConfig, tokens: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Make the inputs and the targets of every place of a text that has a full context.

    Args:
      config: gives the vocabulary and the context.
      tokens: ``int [N + C]``, token ids.

    Returns:
      The packed contexts ``uint32 [W, N]``, and the tokens that follow them, ``int32 [N]``.

    Raises:
      ValueError: the text is not longer than the context, or an id is outside the vocabulary.

    Source: docs/semantics/tiered.md
    """
    words = bitwise.examples(inputs_config(config), tokens).words
    return words, jnp.asarray(np.asarray(tokens)[config.context :], jnp.int32)


def inputs_config(config: TieredConfig) -> bitwise.BitwiseConfig:
    """Make the config of a bitwise model that reads the same input bits.

    Args:
      config: gives the vocabulary and the context.

    Returns:
      The config, with one neuron of one address bit.

    Source: docs/semantics/tiered.md
    """
    return bitwise.BitwiseConfig(config.vocabulary, config.context, 1, 1)


class OneHotLayer(NamedTuple):
    """A one-hot layer, and the examples with which its clusters are written.

    The clusters are sorted by rank. The first are written with every example, the next ones with a list of
    examples, and the last ones with none.

    Attributes:
      config: sizes and training rules.
      wiring: ranks of the tokens, and the connectivity.
      words: ``uint32 [W, M]``, the packed contexts of the training text.
      targets: ``int32 [M]``, the tokens that follow them.
      example: ``int32 [L]``, the lists of examples of all clusters, one after another.
      label: ``bool [L]``, whether the target of the example is the token of the cluster.
      start: ``int [V + 1]``; the list of the cluster of rank r has the entries ``start[r]`` to
        ``start[r + 1] - 1``, in the order of the text.
      whole: the first rank whose cluster is not written with every example.
      touched: the first rank from ``whole`` on whose cluster is not written at all.
      unread: ``int32 [1]``, the vote of a neuron that was never written.
      frequency: ``float32 [V]``, the share of the examples whose target is each id, with 0.1 added to each
        count.

    Source: docs/semantics/tiered.md
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
    """Prepare a one-hot layer: list the examples with which each cluster is written.

    An example that draws the same negative twice writes it once. Its target is never its own negative.

    Args:
      key: draws the negatives, if they are ``drawn``.
      config: sizes and training rules.
      wiring: ranks and connectivity, from `init`.
      tokens: ``int [M + C]``, the training text.

    Returns:
      The layer, ready for `votes`.

    Raises:
      ValueError: the text is not longer than the context, or an id is outside the vocabulary.

    Source: docs/semantics/tiered.md
    """
    words, targets = inputs(config, tokens)
    rank = np.empty(config.vocabulary, np.int64)
    rank[wiring.order] = np.arange(config.vocabulary)
    count, top = len(targets), min(config.top, config.vocabulary)
    cluster, example, label = rank[np.asarray(targets)], np.arange(count), np.ones(count, bool)
    seen = int(cluster.max()) + 1
    if config.negatives == "drawn":
        # A negative that was drawn twice counts once, and the target is not its own negative.
        ranks = np.asarray(draw_negatives(key, config, count)).astype(np.int64)
        wrong = np.unique(ranks * count + np.arange(count)[:, None])
        wrong = wrong[wrong // count != cluster[wrong % count]]
        cluster = np.concatenate([cluster, wrong // count])
        example = np.concatenate([example, wrong % count])
        label = np.concatenate([label, np.zeros(len(wrong), bool)])
        seen = int(cluster.max()) + 1
    by_cluster = np.lexsort((example, cluster))
    memory, everything = config.memory, config.negatives == "all"
    # A cell that was written FALSE only reads 0 (the prior of its cluster is 0 too). If an EMPTY cell reads 0
    # as well, tokens that never occur need no table, even if they are negatives of every example.
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
    """Fit the clusters of layers and read them on other contexts, some clusters at a time.

    Args:
      layers: layers with the same order of ids and the same numbers of tokens in their tiers, such as a model
        and its gates.
      words: ``uint32 [W, N]``, packed contexts to read, see `inputs`.

    Yields:
      For each layer the votes of the same clusters. The chunks come in the order of ranks and together have
      every id once.

    Source: docs/semantics/tiered.md
    """
    borders, order = layers[0].config.borders, layers[0].wiring.order
    room = max(1, min(512, VOTES // max(words.shape[1], 1)))
    # The ranks of each layer form three runs: written with every example, with a list, or with none.
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
    """Fit and read the clusters of ranks ``first .. last - 1``: ``[size, N]``, or a shared ``[1, N]``."""
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
    room = 1 << int(end - at).bit_length()  # few different lengths, so that JAX compiles few programs
    index, label = (_padded(x[at:end], room, 0) for x in (layer.example, layer.label))
    ends = _padded(layer.start[first : last + 1], size + 1, end) - at
    span = np.stack([ends[:-1], ends[1:]], axis=1).astype(np.int32)
    lists = (jnp.asarray(x) for x in (index, label, span))
    return _fit_listed(memory, own, *lists, layer.words, words)


def draw_negatives(key: jax.Array, config: TieredConfig, count: int) -> jax.Array:
    """Draw the negatives of each example, uniformly from the ``top`` most frequent tokens.

    Args:
      key: draws the negatives.
      config: gives ``top`` and ``draws``.
      count: number of examples.

    Returns:
      ``int32 [count, draws]``, ranks of tokens; a rank may occur twice.

    Source: docs/semantics/tiered.md
    """
    return jax.random.randint(key, (count, config.draws), 0, min(config.top, config.vocabulary), jnp.int32)


@functools.partial(jax.jit, static_argnames="memory")
def _fit_whole(memory, connections, ids, train, targets, words):
    """Fit and read clusters that are written with every example."""
    examples = ram.Examples(train, ids[:, None] == targets)
    return ram.fit_and_read(None, memory, connections, examples, words)


@functools.partial(jax.jit, static_argnames="memory")
def _fit_listed(memory, connections, index, label, span, train, words):
    """Fit and read clusters that have lists of examples, which stand one after another."""
    own = jnp.broadcast_to(label, (len(span), len(label)))
    examples = ram.Examples(train[:, index], own, span=span)
    return ram.fit_and_read(None, memory, connections, examples, words)


def _padded(array: np.ndarray, size: int, value) -> np.ndarray:
    return np.concatenate([array, np.full(size - len(array), value, array.dtype)])
