"""A fitted layer of RAM neurons: bits in, the probability of each target bit out.

    layer = fit(key, LayerConfig(neurons=32, address_bits=12), X, Y)
    probabilities = predict(layer, X_new)

Examples come first here (``X`` is ``[N, I]``), as everybody has them; `examples` packs them bit-major, as the
functions of `wnn_jax.ram.layer` take them.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.ram import bits, connectivity, layer
from wnn_jax.ram.cells import RamConfig

_BLOCK = 1 << 14  # examples read at a time
_STEPS = 8  # paddings to an octave: at most an eighth of the work is padding


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class LayerConfig:
    """Sizes of a layer. Hashable: static under `jit`.

    Attributes:
      neurons: n, neurons of each cluster.
      address_bits: T, input bits a neuron observes; no more than there are.
      memory: the cells.

    Raises:
      ValueError: a size is out of range.
    """

    neurons: int = 32
    address_bits: int = 12
    memory: RamConfig = RamConfig()

    def __post_init__(self):
        layer.check_size(self.neurons, self.address_bits)


class Layer(NamedTuple):
    """A layer and all that it remembers; a pytree.

    Attributes:
      config: its sizes.
      connections: ``[K, n, T]``, see `wnn_jax.ram.connectivity`.
      table: its cells.
      seed: a key: which examples each neuron samples, if it does not write all.
    """

    config: LayerConfig
    connections: jax.Array
    table: layer.Table
    seed: jax.Array


def examples(X: Any, Y: Any) -> layer.Examples:
    """Packed examples of bits, to fit a layer on or to search with.

    Args:
      X: ``[N, I]`` input bits: booleans, or numbers that are 0 or 1.
      Y: ``[N, K]`` target bits; ``[N]`` is one cluster's.

    Raises:
      ValueError: something is no bit, the shapes disagree, or there is no example.
    """
    inputs, targets = _bits("X", X), _bits("Y", Y if np.ndim(Y) != 1 else np.asarray(Y)[:, None])
    if len(inputs) != len(targets) or not len(inputs):
        raise ValueError(
            f"X and Y need as many examples, and at least one: got {len(inputs)} and {len(targets)}"
        )
    return layer.Examples(bits.pack(jnp.asarray(inputs.T)), jnp.asarray(targets.T))


def fit(key: jax.Array, config: LayerConfig, X: Any, Y: Any, connections: Any = None) -> Layer:
    """A layer that has been written all examples, in their order.

    Args:
      key: draws the connectivity, and which examples each neuron samples.
      X: ``[N, I]`` input bits: booleans, or numbers that are 0 or 1.
      Y: ``[N, K]`` target bits, one cluster each; ``[N]`` is one cluster's.
      connections: ``[K, n, T]`` to use instead of random ones, such as a search's best genome; its sizes then
        are the layer's.

    Raises:
      ValueError: something is no bit, shapes disagree, or T exceeds I.
    """
    connect_key, sample_key = jax.random.split(key)
    data = examples(X, Y)
    clusters, inputs = data.targets.shape[0], np.shape(X)[1]
    if connections is None:
        sizes = config.neurons, config.address_bits
        connections = connectivity.random(connect_key, clusters, *sizes, inputs)
    connections = jnp.asarray(connections)
    if connections.ndim != 3 or connections.shape[0] != clusters or int(connections.max(initial=0)) >= inputs:
        raise ValueError(
            f"connections must be [{clusters}, n, T] with input bits below {inputs}, got shape "
            f"{connections.shape} with bits up to {int(connections.max(initial=-1))}"
        )
    config = dataclasses.replace(config, neurons=connections.shape[1], address_bits=connections.shape[2])
    table = layer.init(config.memory, clusters, config.neurons, config.address_bits)
    return _written(Layer(config, connections, table, sample_key), data)


def learn(model: Layer, X: Any, Y: Any) -> Layer:
    """The layer after more examples: the same as if `fit` had been given all of them at once.

    Raises:
      ValueError: something is no bit, or the shapes are not the layer's.
    """
    data = examples(X, Y)
    if data.targets.shape[0] != model.connections.shape[0]:
        raise ValueError(
            f"the layer has {model.connections.shape[0]} clusters, and Y {data.targets.shape[0]} target bits"
        )
    _check_inputs(model, X)
    # `_written` gives its table away, and the caller keeps this one.
    return _written(model._replace(table=jax.tree.map(jnp.copy, model.table)), data)


def predict(model: Layer, X: Any) -> np.ndarray:
    """Probability ``float32 [N, K]`` that each target bit is 1: the mean of what its neurons read.

    Lengths are padded, so that few of them are compiled.

    Args:
      X: ``[N, I]`` input bits.

    Raises:
      ValueError: something is no bit, or X has too few input bits.
    """
    inputs = _bits("X", X)
    _check_inputs(model, inputs)
    parts = [np.zeros((0, model.connections.shape[0]), np.float32)]
    for start in range(0, len(inputs), _BLOCK):
        some = inputs[start : start + _BLOCK]
        words = bits.pack(jnp.asarray(_padded(some, padded_length(len(some))).T))
        parts.append(np.asarray(_read(model, words)).T[: len(some)])
    return np.concatenate(parts)


def padded_length(count: int) -> int:
    """The least length of a few that holds ``count`` examples: eight to an octave, and at least 64."""
    step = max(8, 1 << max(count - 1, 0).bit_length() - 1) // _STEPS if count > 64 else 64
    return -(-count // step) * step


def _padded(rows: np.ndarray, length: int) -> np.ndarray:
    return np.pad(rows, ((0, length - len(rows)), (0, 0)))


def _written(model: Layer, data: layer.Examples) -> Layer:
    count = data.targets.shape[1]
    room = ((0, 0), (0, padded_length(count) - count))
    weight = jnp.arange(count + room[1][1]) < count
    padded = layer.Examples(jnp.pad(data.words, room), jnp.pad(data.targets, room), weight)
    table = _write(model.seed, model.config.memory, model.table, model.connections, padded)
    return model._replace(table=table)


_write = jax.jit(layer.write, static_argnums=1, donate_argnums=2)


@jax.jit
def _read(model: Layer, words: jax.Array) -> jax.Array:
    votes = layer.read(model.config.memory, model.table, model.connections, words)
    return layer.probability(votes, model.connections)[0]


def _bits(name: str, rows: Any) -> np.ndarray:
    """Rows as ``bool [N, I]``.

    Raises:
      ValueError: there are not two axes, or an entry is neither 0 nor 1.
    """
    rows = np.asarray(rows)
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(f"{name} must be rows of bits, [N, bits], got shape {rows.shape}")
    if rows.dtype != bool:
        wrong = np.argwhere((rows != 0) & (rows != 1))
        if len(wrong):
            row, column = wrong[0].tolist()
            raise ValueError(
                f"{name} must hold bits, 0 or 1: row {row}, column {column} is {rows[row, column]} "
                f"({len(wrong)} such entries)"
            )
    return rows.astype(bool)


def _check_inputs(model: Layer, X: Any) -> None:
    """Refuse inputs in which a connected bit is missing."""
    needed = int(model.connections.max(initial=-1)) + 1
    if np.shape(X)[1] < needed:
        raise ValueError(f"the layer reads input bits up to {needed - 1}, and X has {np.shape(X)[1]}")
