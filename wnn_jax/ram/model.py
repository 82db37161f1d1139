"""A fitted layer of RAM neurons: it reads input bits and gives the probability of each target bit.

    layer = fit(key, LayerConfig(neurons=32, address_bits=12), X, Y)
    probabilities = predict(layer, X_new)

Arrays have the examples first here: ``X`` is ``[N, I]``. `examples` packs them bit-major, which is the form
that the functions of `wnn_jax.ram.layer` take.

Source: docs/semantics/ram.md
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.ram import bits, connectivity, given, layer
from wnn_jax.ram.cells import RamConfig

_BLOCK = 1 << 14  # examples that are read at a time
_STEPS = 8  # padded lengths between two powers of 2: at most an eighth of the work is padding


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class LayerConfig:
    """Configures a layer. Hashable, so it may be a static argument of `jit`.

    Attributes:
      neurons: number of neurons of each cluster, n.
      address_bits: number of input bits that a neuron reads, T; at most the number of input bits.
      memory: the kind of cells, a `RamConfig`.

    Raises:
      ValueError: a size is out of range.

    Source: docs/semantics/ram.md
    """

    neurons: int = 32
    address_bits: int = 12
    memory: RamConfig = RamConfig()

    def __post_init__(self):
        checks.fields(self)
        given.size(self.neurons, self.address_bits)


class Layer(NamedTuple):
    """A fitted layer: its connectivity and its table. It is a pytree.

    Attributes:
      config: its sizes and its kind of cells.
      connections: ``int [K, n, T]``, see `wnn_jax.ram.connectivity`.
      table: its cells and counts.
      seed: a key; it draws which examples each neuron writes if the sample rate is below 1.

    Source: docs/semantics/ram.md
    """

    config: LayerConfig
    connections: jax.Array
    table: layer.Table
    seed: jax.Array


def examples(X: Any, Y: Any) -> layer.Examples:
    """Check and pack rows of bits as examples for a fit or a search.

    Args:
      X: ``[N, I]`` input bits: booleans, or numbers that are 0 or 1.
      Y: ``[N, K]`` target bits, one cluster for each; ``[N]`` is taken as one cluster.

    Returns:
      N examples, with ``uint32 [W, N]`` words and ``bool [K, N]`` targets.

    Raises:
      ValueError: an entry is not a bit, X and Y differ in length, or there is no example.

    Source: docs/semantics/ram.md
    """
    inputs, targets = _bits("X", X), _bits("Y", Y if np.ndim(Y) != 1 else np.asarray(Y)[:, None])
    if len(inputs) != len(targets) or not len(inputs):
        raise ValueError(
            f"X and Y must have the same number of rows, at least 1, got {len(inputs)} and {len(targets)}: "
            "give one row for each example"
        )
    return layer.Examples(bits.pack(jnp.asarray(inputs.T)), jnp.asarray(targets.T))


def fit(key: jax.Array, config: LayerConfig, X: Any, Y: Any, connections: Any = None) -> Layer:
    """Make a layer and write all examples to it, in their order.

    Args:
      key: draws the connectivity, and which examples each neuron writes.
      config: sizes of the layer and kind of cells.
      X: ``[N, I]`` input bits: booleans, or numbers that are 0 or 1.
      Y: ``[N, K]`` target bits, one cluster for each; ``[N]`` is taken as one cluster.
      connections: ``int [K, n, T]``, used instead of a random connectivity, such as the best genome of a
        search. Its n and T replace those of ``config``.

    Returns:
      The fitted layer.

    Raises:
      ValueError: an entry is not a bit, shapes disagree, there is no example, T exceeds I, or a connection
        names an input bit that X lacks.

    Source: docs/semantics/ram.md
    """
    given.key(key)
    connect_key, sample_key = jax.random.split(key)
    data = examples(X, Y)
    clusters, inputs = data.targets.shape[0], np.shape(X)[1]
    if connections is None:
        sizes = config.neurons, config.address_bits
        connections = connectivity.random(connect_key, clusters, *sizes, inputs)
    # Before JAX takes them, because it would cut off numbers of 64 bits.
    connections = connections if hasattr(connections, "dtype") else np.asarray(connections)
    given.connections(connections, inputs, clusters)
    connections = jnp.asarray(connections)
    config = dataclasses.replace(config, neurons=connections.shape[1], address_bits=connections.shape[2])
    table = layer.init(config.memory, clusters, config.neurons, config.address_bits)
    return _written(Layer(config, connections, table, sample_key), data)


def learn(model: Layer, X: Any, Y: Any) -> Layer:
    """Write more examples to a layer.

    Args:
      model: the layer; it stays as it is.
      X: ``[N, I]`` input bits: booleans, or numbers that are 0 or 1.
      Y: ``[N, K]`` target bits; ``[N]`` is taken as one cluster.

    Returns:
      A new layer, the same as if `fit` had been given the earlier and the new examples at once.

    Raises:
      ValueError: an entry is not a bit, there is no example, Y has not K columns, X has too few columns, or
        the layer has contents that no layer has.

    Source: docs/semantics/ram.md
    """
    _check_layer(model)
    data = examples(X, Y)
    if data.targets.shape[0] != model.connections.shape[0]:
        raise ValueError(
            f"the layer has {model.connections.shape[0]} clusters, but Y has {data.targets.shape[0]} target "
            "bits: give one column for each cluster"
        )
    _check_inputs(model, X)
    # `_written` donates its table, so it gets a copy: the caller's layer must stay as it is.
    return _written(model._replace(table=jax.tree.map(jnp.copy, model.table)), data)


def predict(model: Layer, X: Any) -> np.ndarray:
    """Predict the probability that each target bit is 1, the mean of the values that its neurons read.

    Inputs are padded to a few lengths, so that JAX compiles few programs.

    Args:
      model: a fitted layer.
      X: ``[N, I]`` input bits; N may be 0.

    Returns:
      ``float32 [N, K]``; 1/2 for a cluster without neurons.

    Raises:
      ValueError: an entry is not a bit, X has too few columns, or the layer has contents that no layer has.

    Source: docs/semantics/ram.md
    """
    _check_layer(model)
    inputs = _bits("X", X)
    _check_inputs(model, inputs)
    parts = [np.zeros((0, model.connections.shape[0]), np.float32)]
    for start in range(0, len(inputs), _BLOCK):
        some = inputs[start : start + _BLOCK]
        words = bits.pack(jnp.asarray(_padded(some, padded_length(len(some))).T))
        parts.append(np.asarray(_read(model, words)).T[: len(some)])
    return np.concatenate(parts)


def padded_length(count: int) -> int:
    """Choose the padded length for a number of examples.

    Few lengths are used, so that JAX compiles few programs: eight between two powers of 2, 64 at least.

    Args:
      count: number of examples.

    Returns:
      The smallest of these lengths that is at least ``count``; 0 for no examples.

    Raises:
      ValueError: the number is below 0, or no whole number.

    Source: docs/architecture.md
    """
    count = checks.integer("count", count, checks.Limits(least=0))
    step = max(8, 1 << max(count - 1, 0).bit_length() - 1) // _STEPS if count > 64 else 64
    return -(-count // step) * step


def _padded(rows: np.ndarray, length: int) -> np.ndarray:
    return np.pad(rows, ((0, length - len(rows)), (0, 0)))


def _written(model: Layer, data: layer.Examples) -> Layer:
    count = data.targets.shape[1]
    room = ((0, 0), (0, padded_length(count) - count))
    weight = jnp.arange(count + room[1][1], dtype=jnp.int32) < count
    padded = layer.Examples(jnp.pad(data.words, room), jnp.pad(data.targets, room), weight)
    table = _write(model.seed, model.config.memory, model.table, model.connections, padded)
    return model._replace(table=table)


_write = jax.jit(layer.write, static_argnums=1, donate_argnums=2)


@jax.jit
def _read(model: Layer, words: jax.Array) -> jax.Array:
    votes = layer.read(model.config.memory, model.table, model.connections, words)
    return layer.probability(votes, model.connections)[0]


def _bits(name: str, rows: Any) -> np.ndarray:
    """Check rows of bits and return them as ``bool [N, I]``.

    Raises:
      ValueError: there are not two axes, there is no column, or an entry is neither 0 nor 1.
    """
    rows = np.asarray(rows)
    if rows.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {rows.dtype}: give bits, booleans or numbers that are 0 or 1")
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(
            f"{name} must be rows of bits, [N, bits], got shape {rows.shape}: give one row for each example"
        )
    if rows.dtype != bool:
        wrong = np.argwhere((rows != 0) & (rows != 1))
        if len(wrong):
            row, column = wrong[0].tolist()
            raise ValueError(
                f"{name} must hold bits, 0 or 1: row {row}, column {column} is {rows[row, column]} "
                f"({len(wrong)} such entries); turn the data into bits first"
            )
    else:
        checks.array(name, rows, "booleans")
    return rows.astype(bool)


def _check_layer(model: Layer) -> None:
    """Check a layer that may come from elsewhere than `fit`.

    Raises:
      ValueError: it is no layer, or a part has another type or shape, or an entry that no layer has.
    """
    if not isinstance(model, Layer) or not isinstance(model.config, LayerConfig):
        raise ValueError(f"the layer is of type {type(model).__name__}: give one from `fit`")
    given.connections(model.connections)
    given.table(model.config.memory, model.table, tuple(model.connections.shape))
    given.key(model.seed)


def _check_inputs(model: Layer, X: Any) -> None:
    """Refuse inputs that lack an input bit which a neuron reads."""
    needed = int(model.connections.max(initial=-1)) + 1
    if np.shape(X)[1] < needed:
        raise ValueError(
            f"the layer reads input bits up to {needed - 1}, but X has only {np.shape(X)[1]}: give at least "
            f"{needed} columns"
        )
