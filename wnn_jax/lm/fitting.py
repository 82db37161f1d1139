"""A bitwise language model fitted to a text, a cluster at a time, and what it says of other text.

    model = fit(key, BitwiseConfig(corpus.vocabulary), corpus.train)
    nats = score(model, corpus.train, corpus.test).nats

`votes` is the same without a table: each cluster's rows are fitted, read and dropped.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import ram
from wnn_jax.lm import bitwise, ngram

OnCluster = Callable[[int], Any]  # called with the number of clusters that are done


class BitwiseModel(NamedTuple):
    """A fitted bitwise model.

    Attributes:
      config: its sizes.
      connections: ``[B, n, T]``.
      table: its cells.
    """

    config: bitwise.BitwiseConfig
    connections: jax.Array
    table: ram.Table


def fit(
    key: jax.Array,
    config: bitwise.BitwiseConfig,
    tokens: Any,
    connections: jax.Array | None = None,
    on_cluster: OnCluster | None = None,
) -> BitwiseModel:
    """A model that has been written a text.

    Args:
      key: draws the connectivity, if it is not given, and which examples each neuron samples.
      tokens: ids, more than the context.
      connections: ``[B, n, T]``, such as a search's best genome.

    Raises:
      ValueError: the text is no longer than the context, or an id is not below V.
    """
    if connections is None:
        draw_key, key = jax.random.split(key)
        connections = bitwise.init(draw_key, config)
    train = bitwise.examples(config, tokens)
    _, neurons, address_bits = connections.shape

    def one(cluster_key, k):
        empty = ram.init(config.memory, 1, neurons, address_bits)
        part = train._replace(targets=train.targets[k : k + 1])
        return _write(cluster_key, config.memory, empty, connections[k : k + 1], part)

    parts = _by_cluster(key, config, one, on_cluster)
    table = ram.Table(
        cells=jnp.concatenate([part.cells for part in parts]),
        ones=jnp.concatenate([part.ones for part in parts]),
        written=parts[0].written,
    )
    return BitwiseModel(config, connections, table)


def votes(
    key: jax.Array,
    config: bitwise.BitwiseConfig,
    connections: jax.Array,
    tokens: Any,
    words: jax.Array,
    on_cluster: OnCluster | None = None,
) -> jax.Array:
    """Votes ``int32 [B, N]`` on packed contexts ``uint32 [W, N]`` of a model fitted to a text, and not kept.

    Args:
      key: draws which examples each neuron samples; `fit` with the same key has the same table.
    """
    train = bitwise.examples(config, tokens)

    def one(cluster_key, k):
        part = train._replace(targets=train.targets[k : k + 1])
        return _fit_and_read(cluster_key, config.memory, connections[k : k + 1], part, words)

    return jnp.concatenate(_by_cluster(key, config, one, on_cluster))


def read(model: BitwiseModel, words: jax.Array) -> jax.Array:
    """Votes ``int32 [B, N]`` of a fitted model on packed contexts ``uint32 [W, N]``."""
    return _read(model.config.memory, model.table, model.connections, words)


def following(config: bitwise.BitwiseConfig, before: Any, tokens: Any) -> ram.Examples:
    """Examples of every token of a text that continues another: each has a full context.

    Args:
      before: at least C ids, of which the last C are seen.
      tokens: ``[N]`` ids.

    Raises:
      ValueError: an id is not below V, there is none to score, or too few came before.
    """
    before, tokens = np.asarray(before), np.asarray(tokens)
    if not len(tokens) or len(before) < config.context:
        raise ValueError(
            f"a context of {config.context} needs as many tokens before the first of those to score: got "
            f"{len(before)} before {len(tokens)}"
        )
    return bitwise.examples(config, np.concatenate([before[-config.context :], tokens]))


def score(model: BitwiseModel, before: Any, tokens: Any) -> ngram.Prediction:
    """Nats and best guesses of a text that continues another, each token from its true past.

    Lengths are padded, so that few of them are compiled.

    Args:
      before, tokens: see `following`.
    """
    tokens = bitwise.check_ids(model.config, tokens)
    padded = np.pad(tokens, (0, ram.padded_length(len(tokens)) - len(tokens)))
    evaluated = following(model.config, before, padded)
    found = _score(model.config, model.table, model.connections, evaluated)
    return ngram.Prediction(*(np.asarray(x)[: len(tokens)] for x in found))


@functools.partial(jax.jit, static_argnums=0)
def _score(config: bitwise.BitwiseConfig, table: ram.Table, connections, evaluated: ram.Examples):
    votes = ram.read(config.memory, table, connections, evaluated.words)
    return bitwise.score(config, *bitwise.log_probabilities(votes, connections), evaluated.targets)


def learning_curve(
    key: jax.Array,
    config: bitwise.BitwiseConfig,
    connections: jax.Array,
    tokens: Any,
    evaluated: ram.Examples,
    sizes: Sequence[int],
) -> list[float]:
    """Mean nats a token of models fitted to growing prefixes of a text, on the same examples.

    Args:
      key: as in `votes`.
      sizes: tokens of each prefix.
    """
    nats = []
    for size in sizes:
        read = votes(key, config, connections, tokens[:size], evaluated.words)
        nats.append(float(bitwise.cross_entropy(config, connections, read, evaluated.targets).mean()))
    return nats


def needed_bytes(config: bitwise.BitwiseConfig, train: int, evaluated: int, keep_table: bool) -> int:
    """Upper estimate of the memory that fitting and scoring take.

    Args:
      train, evaluated: the number of tokens written and read.
      keep_table: whether the table of all neurons is kept, as `fit` does and `votes` does not.
    """
    sizes = {"clusters": config.clusters, "neurons": config.neurons, "address_bits": config.address_bits}
    need = ram.fused_bytes(
        config.memory, **sizes, input_bits=config.input_bits, train=train, evaluated=evaluated
    )
    table = config.clusters * config.neurons * ram.row_bytes(config.memory, config.address_bits)
    return need + 2 * table * keep_table


_write = jax.jit(ram.write, static_argnums=1, donate_argnums=2)
_read = jax.jit(ram.read, static_argnums=0)
_fit_and_read = jax.jit(ram.fit_and_read, static_argnums=1)


def _by_cluster(key, config: bitwise.BitwiseConfig, function, on_cluster: OnCluster | None) -> list:
    parts = []
    for k, cluster_key in enumerate(jax.random.split(key, config.clusters)):
        parts.append(jax.block_until_ready(function(cluster_key, k)))
        if on_cluster:
            on_cluster(k + 1)
    return parts
