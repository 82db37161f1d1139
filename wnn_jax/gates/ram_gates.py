"""RAM gates: neurons over the bits of the context, a cluster for every bit or token.

They learn the target: a bit's gate whether the bit came as 1, a token's gate whether the token came. The
predecessor's gates wrote a cell once and never again, in whatever order its threads ran, and read other bits
than they had been taught. Here both see `bits.windows`, and what is written has no order: a bit's cell holds
the majority; a token's cell is TRUE once the token came there, because one token among thousands never has
a majority.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import ram
from wnn_jax.gates.gate import LogGate
from wnn_jax.lm import tiered_config, tiered_layer
from wnn_jax.ram import connectivity

UNTRAINED = ("closed", "open")


@dataclasses.dataclass(frozen=True)
class RamGateConfig:
    """Sizes of RAM gates, and how they are read. Hashable: static under `jit`.

    Attributes:
      neurons: neurons of each gate.
      address_bits: input bits that a gate's neuron observes.
      soft: a gate is as open as the share of its neurons that read TRUE; else open or closed.
      threshold: neurons that must read TRUE to open a hard gate; by default half of them, rounded down.
      untrained: whether a cell that nothing was written to reads TRUE (``open``) or not (``closed``).
      leak: share of a token's probability that its closed gate lets through.

    Raises:
      ValueError: a value is out of range.
    """

    neurons: int = 8
    address_bits: int = 12
    soft: bool = True
    threshold: int | None = None
    untrained: Literal["closed", "open"] = "closed"
    leak: float = 0.1

    def __post_init__(self):
        if self.untrained not in UNTRAINED:
            raise ValueError(f"unknown untrained {self.untrained!r}: choose one of {', '.join(UNTRAINED)}")
        if not 1 <= self.neurons <= ram.MAX_NEURONS:
            raise ValueError(f"a gate takes 1 to {ram.MAX_NEURONS} neurons, got {self.neurons}")
        if not 1 <= self.address_bits <= ram.MAX_ADDRESS_BITS:
            raise ValueError(f"a gate takes 1 to {ram.MAX_ADDRESS_BITS} bits, got {self.address_bits}")
        if self.threshold is not None and not 1 <= self.threshold <= self.neurons:
            raise ValueError(f"a threshold must be 1 to {self.neurons} neurons, got {self.threshold}")
        if not 0 < self.leak <= 1:
            raise ValueError(
                f"leak must be in (0, 1], got {self.leak}: without one a token may be impossible"
            )

    def memory(self, cells: ram.CellKind) -> ram.RamConfig:
        """The gates' cells."""
        return ram.RamConfig(cells, empty_value=float(self.untrained == "open"))


def bit_gate(openness: jax.Array, rest: jax.Array | float = 0.5) -> LogGate:
    """A closed gate makes a bit say ``rest`` instead of what its neurons say.

    Args:
      openness: in [0, 1], see `openness`.
      rest: what the bit says without looking; 1/2 as published.
    """
    return LogGate(jnp.log(openness), jnp.log((1 - openness) * rest))


def token_gate(config: RamGateConfig, openness: jax.Array) -> LogGate:
    """A closed gate leaves a token the ``leak`` of its probability; normalise over all V afterwards."""
    return LogGate(jnp.log(openness + config.leak))


def openness(config: RamGateConfig, votes: jax.Array) -> jax.Array:
    """How open gates are, ``float32`` in [0, 1], by the votes of their neurons."""
    true = votes // ram.UNIT
    if config.soft:
        return true / jnp.float32(config.neurons)
    threshold = max(1, config.neurons // 2) if config.threshold is None else config.threshold
    return (true >= threshold).astype(jnp.float32)


def bit_openness(
    key: jax.Array, config: RamGateConfig, input_bits: int, train: ram.Examples, words: jax.Array
) -> jax.Array:
    """How open the gates of K bits are, ``float32 [K, N]``, after they were taught the bits that came.

    Args:
      key: draws the connectivity.
      config: sizes of the gates.
      input_bits: I, of the words.
      train: ``bool [K, M]`` targets are the bits; spans may leave out what has no such bit.
      words: ``uint32 [W, N]`` to read.
    """
    clusters = train.targets.shape[0]
    connections = connectivity.random(key, clusters, config.neurons, config.address_bits, input_bits)
    votes = ram.fit_and_read(None, config.memory("ternary"), connections, train, words)
    return openness(config, votes)


def token_layer(
    key: jax.Array,
    config: RamGateConfig,
    model: tiered_config.TieredConfig,
    order: np.ndarray,
    tokens: np.ndarray,
) -> tiered_layer.OneHotLayer:
    """Gates of all V tokens as a one-hot layer, to be read with `tiered_layer.votes` and `openness`.

    Args:
      key: draws the connectivity.
      config: sizes of the gates.
      model: whose vocabulary, context and tiers they have; `single_tier` where there is no tiered model.
      order: ids by rank, see `tiered_layer.Wiring`.
      tokens: the training text.
    """
    tiers = tuple(tiered_config.Tier(x.clusters, config.neurons, config.address_bits) for x in model.tiers)
    # Every token's gate is taught that all others did not come. In a closed gate that reads like nothing.
    negatives = "all" if config.untrained == "open" else "none"
    gates = tiered_config.TieredConfig(
        model.vocabulary, tiers, model.context, config.memory("true_wins"), negatives
    )
    wiring = tiered_layer.init(key, gates, tokens)._replace(order=order)
    return tiered_layer.one_hot_layer(key, gates, wiring, tokens)


def single_tier(vocabulary: int, context: int, address_bits: int = 1) -> tiered_config.TieredConfig:
    """The one tier of all tokens that `token_layer` takes for a model that is not tiered.

    Raises:
      ValueError: a gate cannot observe that many bits of the context.
    """
    return tiered_config.TieredConfig(vocabulary, (tiered_config.Tier(None, 1, address_bits),), context)
