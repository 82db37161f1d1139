"""Gates: a second memory that decides how far what a language model says is believed.

A gate keeps some of a probability and adds something in its place:

    p'  =  keep * p + add                                                        (`attach`)

and that one line serves every model, bitwise, tiered or chain, because each of them is made of probabilities
of *bits* (code bits; one-hot clusters; turns of a path) that make up probabilities of *tokens*:

    kind     attached to            keep                 add
    bit      each bit               g                    (1 - g) * rest, what is said without looking
    token    each token, and the    g + leak             nothing
             V tokens normalised
    dual     bit, and then token
    engram   each token             1 - g of an order    g * (what its n-grams say)    see `engram`

RAM gates (bit, token, dual; spec ram_lm 5) are RAM neurons over the context's bits, a cluster for every bit
or token. They learn the target: a bit's gate whether the bit came as 1, a token's whether the token came. The
predecessor's gates wrote a cell once and never again, in whatever order its threads ran, and read other bits
than they had been taught; here both see `bits.windows`, and what is written has no order: a bit's cell holds
the majority, a token's cell is TRUE once the token came there (a majority of "it came" is never had by one
token among thousands).
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import ram
from wnn_jax.lm import tiered
from wnn_jax.ram import connectivity

KINDS = ("token", "bit", "dual", "engram")
UNTRAINED = ("closed", "open")


@dataclasses.dataclass(frozen=True)
class GateConfig:
    """Sizes of RAM gates, and how they are read. Hashable: static under `jit`.

    Attributes:
      neurons: neurons of each gate.
      address_bits: input bits that a gate's neuron observes.
      soft: a gate is as open as the share of its neurons that read TRUE; else open or closed.
      threshold: neurons that must read TRUE to open a hard gate; None: half of them, rounded down.
      untrained: whether a cell that nothing was written to reads TRUE (``open``) or not (``closed``).
      leak: what a closed token gate lets through.

    Raises:
      ValueError: a value is out of range.
    """

    neurons: int = 8
    address_bits: int = 12
    soft: bool = False
    threshold: int | None = None
    untrained: Literal["closed", "open"] = "closed"
    leak: float = 1e-3

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

    def memory(self, cells: Literal["ternary", "true_wins"]) -> ram.RamConfig:
        return ram.RamConfig(cells, empty_value=float(self.untrained == "open"))


class Gate(NamedTuple):
    """Logarithms of what is kept and of what is added, in shapes that broadcast against what they gate.

    Attributes:
      keep: ``float32 [...]``.
      add: ``float32 [...]``, or None for nothing.
    """

    keep: jax.Array
    add: jax.Array | None = None


def attach(gate: Gate, log_p: jax.Array) -> jax.Array:
    """Log of the gated probability, of bits or tokens, normalised only if keep and add sum to 1 with p."""
    kept = gate.keep + log_p
    return kept if gate.add is None else jnp.logaddexp(kept, gate.add)


def bit(openness: jax.Array, rest: jax.Array | float = 0.5) -> Gate:
    """A closed gate makes a bit say ``rest`` (spec ram_lm 5.3: 1/2) instead of what its neurons say.

    Args:
      openness: in [0, 1], see `opened`.
    """
    return Gate(jnp.log(openness), jnp.log((1 - openness) * rest))


def token(config: GateConfig, openness: jax.Array) -> Gate:
    """A closed gate leaves a token the ``leak`` of its probability; normalise over all V afterwards."""
    return Gate(jnp.log(openness + config.leak))


def opened(config: GateConfig, votes: jax.Array) -> jax.Array:
    """How open gates are, ``float32`` in [0, 1], by the votes of their neurons."""
    true = votes // ram.UNIT
    if config.soft:
        return true / jnp.float32(config.neurons)
    threshold = max(1, config.neurons // 2) if config.threshold is None else config.threshold
    return (true >= threshold).astype(jnp.float32)


def bit_gates(
    key: jax.Array, config: GateConfig, input_bits: int, train: ram.Examples, words: jax.Array
) -> jax.Array:
    """How open the gates of K bits are, ``float32 [K, N]``, after they were taught the bits that came.

    Args:
      key: draws the connectivity.
      input_bits: I, of the words.
      train: ``bool [K, M]`` targets are the bits; spans may leave out what has no such bit.
      words: ``uint32 [W, N]`` to read.
    """
    clusters = train.targets.shape[0]
    connections = connectivity.random(key, clusters, config.neurons, config.address_bits, input_bits)
    votes = ram.fit_and_read(None, config.memory("ternary"), connections, train, words)
    return opened(config, votes)


def token_layer(
    key: jax.Array, config: GateConfig, model: tiered.TieredConfig, order: np.ndarray, tokens: np.ndarray
) -> tiered.Layer:
    """Gates of all V tokens as a one-hot layer, to be read with `tiered.votes` and `opened`.

    Args:
      key: draws the connectivity.
      model: whose vocabulary, context and tiers they have; `alone` where there is no tiered model.
      order: ids by rank, see `tiered.Model`.
      tokens: the training text.
    """
    tiers = tuple(tiered.Tier(x.clusters, config.neurons, config.address_bits) for x in model.tiers)
    # Every token's gate is taught that all others did not come. In a closed gate that reads like nothing.
    negatives = "all" if config.untrained == "open" else "none"
    gates = tiered.TieredConfig(model.vocabulary, tiers, model.context, config.memory("true_wins"), negatives)
    wired = tiered.init(key, gates, tokens)._replace(order=order)
    return tiered.layer(key, gates, wired, tokens)


def alone(vocabulary: int, context: int, address_bits: int = 1) -> tiered.TieredConfig:
    """What `token_layer` needs to know of a model that is not tiered.

    Raises:
      ValueError: a gate cannot observe so many bits of the context.
    """
    return tiered.TieredConfig(vocabulary, (tiered.Tier(None, 1, address_bits),), context)
