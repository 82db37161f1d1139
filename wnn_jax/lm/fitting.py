"""Fits a bitwise language model to a text, one cluster at a time, and scores other text with it.

    model = fit(key, BitwiseConfig(corpus.vocabulary), corpus.train)
    nats = score(model, corpus.train, corpus.test).nats

`votes` fits, reads and drops one cluster after another, so it keeps no table.

Source: docs/semantics/bitwise.md
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, ram
from wnn_jax.checks import Limits
from wnn_jax.lm import bitwise, ngram
from wnn_jax.ram import bits, given

OnCluster = Callable[[int], Any]  # is called with the number of clusters that are done


class BitwiseModel(NamedTuple):
    """A fitted bitwise model.

    Attributes:
      config: its sizes, code and kind of cells.
      connections: ``int [B, n, T]``.
      table: its cells and counts.

    Source: docs/semantics/bitwise.md
    """

    config: bitwise.BitwiseConfig
    connections: jax.Array
    table: ram.Table


@checks.classes
def fit(
    key: jax.Array,
    config: bitwise.BitwiseConfig,
    tokens: Any,
    connections: jax.Array | None = None,
    on_cluster: OnCluster | None = None,
) -> BitwiseModel:
    """Fit a bitwise model to a text.

    Args:
      key: draws the connectivity, if none is given, and which examples each neuron writes.
      config: sizes, code and kind of cells.
      tokens: ``int [N + C]``, token ids.
      connections: ``int [B, n, T]``, such as the best genome of a search; by default random.
      on_cluster: called with the number of clusters that are done.

    Returns:
      The fitted model.

    Raises:
      ValueError: the text is not longer than the context, an id is outside the vocabulary, or a connection is
        neither -1 nor an input bit.

    Source: docs/semantics/bitwise.md
    """
    given.key(key)
    if connections is None:
        draw_key, key = jax.random.split(key)
        connections = bitwise.init(draw_key, config)
    given.connections(connections, config.input_bits, config.clusters)
    connections = jnp.asarray(connections)
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


@checks.classes
def votes(
    key: jax.Array,
    config: bitwise.BitwiseConfig,
    connections: jax.Array,
    tokens: Any,
    words: jax.Array,
    on_cluster: OnCluster | None = None,
) -> jax.Array:
    """Fit a model to a text, read its votes on other contexts, and drop its table.

    Args:
      key: draws which examples each neuron writes. `fit` with these connections and this key has the same
        table.
      config: sizes, code and kind of cells.
      connections: ``int [B, n, T]``.
      tokens: ``int [M]``, the training text.
      words: ``uint32 [W, N]``, packed contexts to read.
      on_cluster: called with the number of clusters that are done.

    Returns:
      ``int32 [B, N]``.

    Raises:
      ValueError: the text is not longer than the context, an id is outside the vocabulary, a connection is
        neither -1 nor an input bit, or the words are not those of the config's contexts.

    Source: docs/semantics/bitwise.md
    """
    given.key(key)
    given.connections(connections, config.input_bits, config.clusters)
    given.words("words", words, rows=-(-config.input_bits // bits.WORD))
    connections = jnp.asarray(connections)
    train = bitwise.examples(config, tokens)

    def one(cluster_key, k):
        part = train._replace(targets=train.targets[k : k + 1])
        return _fit_and_read(cluster_key, config.memory, connections[k : k + 1], part, words)

    return jnp.concatenate(_by_cluster(key, config, one, on_cluster))


def read(model: BitwiseModel, words: jax.Array) -> jax.Array:
    """Read the votes of a fitted model.

    Args:
      model: a fitted model.
      words: ``uint32 [W, N]``, packed contexts.

    Returns:
      ``int32 [B, N]``.

    Raises:
      ValueError: the words are not those of the model's contexts, or the model is damaged.

    Source: docs/semantics/bitwise.md
    """
    check(model)
    given.words("words", words, rows=-(-model.config.input_bits // bits.WORD))
    return _read(model.config.memory, model.table, model.connections, words)


def check(model: BitwiseModel) -> None:
    """Refuse a model whose arrays do not fit its config, such as one from a damaged file.

    Args:
      model: the model.

    Raises:
      ValueError: an array has a wrong type, shape or entry, see `ram.given`.

    Source: docs/semantics/bitwise.md
    """
    given.connections(model.connections, model.config.input_bits, model.config.clusters)
    given.table(model.config.memory, model.table, model.connections.shape)


@checks.classes
def following(config: bitwise.BitwiseConfig, before: Any, tokens: Any) -> ram.Examples:
    """Make an example of every token of a text that continues another text.

    Args:
      config: gives the vocabulary, the context and the code.
      before: ``int [M]``, the ids before the text, at least C of them; the last C are used.
      tokens: ``int [N]``, the text, at least one id.

    Returns:
      N examples, each with a full context.

    Raises:
      ValueError: there is no token, fewer than C ids come before it, or an id is outside the vocabulary.

    Source: docs/semantics/bitwise.md
    """
    before = ngram.check_ids("before", before, config.vocabulary)
    tokens = bitwise.check_ids(config, tokens)
    if not len(tokens) or len(before) < config.context:
        raise ValueError(
            f"scoring needs at least 1 token, and at least {config.context} tokens before it (the context), "
            f"got {len(tokens)} tokens after {len(before)}: give the end of the training text as before"
        )
    return bitwise.examples(config, np.concatenate([before[-config.context :], tokens]))


@checks.classes
def score(model: BitwiseModel, before: Any, tokens: Any) -> ngram.Prediction:
    """Score every token of a text that continues another text.

    Texts are padded to a few lengths, so that JAX compiles few programs.

    Args:
      model: a fitted model.
      before: ``int [M]``, the ids before the text, at least C of them.
      tokens: ``int [N]``, the text.

    Returns:
      Nats ``float32 [N]``, and the most probable ids ``int32 [N]`` (the lowest on ties).

    Raises:
      ValueError: see `following`, or the model is damaged.

    Source: docs/semantics/bitwise.md
    """
    check(model)
    tokens = bitwise.check_ids(model.config, tokens)
    padded = np.pad(tokens, (0, ram.padded_length(len(tokens)) - len(tokens)))
    evaluated = following(model.config, before, padded)
    found = _score(model.config, model.table, model.connections, evaluated)
    return ngram.Prediction(*(np.asarray(x)[: len(tokens)] for x in found))


@functools.partial(jax.jit, static_argnums=0)
def _score(config: bitwise.BitwiseConfig, table: ram.Table, connections, evaluated: ram.Examples):
    votes = ram.read(config.memory, table, connections, evaluated.words)
    return bitwise.score(config, *bitwise.log_probabilities(votes, connections), evaluated.targets)


@checks.classes
def learning_curve(
    key: jax.Array,
    config: bitwise.BitwiseConfig,
    connections: jax.Array,
    tokens: Any,
    evaluated: ram.Examples,
    sizes: Sequence[int],
) -> list[float]:
    """Fit models to growing prefixes of a text, and score the same examples with each.

    Args:
      key: draws which examples each neuron writes.
      config: sizes, code and kind of cells.
      connections: ``int [B, n, T]``.
      tokens: ``int [M]``, the training text.
      evaluated: N examples to score.
      sizes: number of tokens of each prefix.

    Returns:
      For each prefix the mean nats of a token.

    Raises:
      ValueError: a size is not above the context and at most M, or see `votes`.

    Source: docs/semantics/bitwise.md
    """
    least = config.context + 1
    sizes = [checks.integer("sizes", x, Limits(least=least, most=len(tokens))) for x in sizes]
    nats = []
    for size in sizes:
        read = votes(key, config, connections, tokens[:size], evaluated.words)
        nats.append(float(bitwise.cross_entropy(config, connections, read, evaluated.targets).mean()))
    return nats


def needed_bytes(config: bitwise.BitwiseConfig, train: int, evaluated: int, keep_table: bool) -> int:
    """Estimate from above the memory that fitting and scoring need.

    Args:
      config: sizes and kind of cells.
      train: number of tokens that are written.
      evaluated: number of tokens that are read.
      keep_table: whether the table of all neurons is kept, as in `fit`; `votes` does not keep it.

    Returns:
      Bytes.

    Raises:
      ValueError: a number of tokens is below 0.

    Source: docs/architecture.md
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
