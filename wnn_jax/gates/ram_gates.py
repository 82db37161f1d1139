"""RAM gates: clusters of RAM neurons that read the bits of the context, one cluster for every bit or token.

The gate of a bit learns whether the bit is 1; the gate of a token learns whether the token follows. The order
of the examples does not change a gate. A cell of a bit's gate holds the majority of its targets. A cell of a
token's gate is TRUE if the token followed at least once, because one token of thousands hardly ever has a
majority.

Source: docs/semantics/gates.md
"""

import dataclasses
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, ram
from wnn_jax.checks import Limits
from wnn_jax.gates.gate import LogGate
from wnn_jax.lm import tiered_config, tiered_layer
from wnn_jax.ram import connectivity

Untrained = Literal["closed", "open"]
UNTRAINED: tuple[Untrained, ...] = get_args(Untrained)


@dataclasses.dataclass(frozen=True)
class RamGateConfig:
    """Configures RAM gates. Hashable, so it may be a static argument of `jit`.

    Attributes:
      neurons: number of neurons of each gate.
      address_bits: number of input bits that a neuron of a gate reads.
      soft: whether a gate is partly open, by the share of its neurons that read TRUE; otherwise it is open or
        closed.
      threshold: number of neurons that must read TRUE to open a gate that is not soft; by default half of
        them, rounded down, but at least 1.
      untrained: reading of an EMPTY cell: TRUE (``open``) or FALSE (``closed``).
      leak: share of a token's probability that a closed gate lets through, above 0 and at most 1.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/gates.md
    """

    neurons: int = 8
    address_bits: int = 12
    soft: bool = True
    threshold: int | None = None
    untrained: Untrained = "closed"
    leak: float = 0.1

    def __post_init__(self):
        checks.fields(
            self,
            neurons=Limits(least=1, most=ram.MAX_NEURONS),
            address_bits=Limits(least=1, most=ram.MAX_ADDRESS_BITS),
            threshold=Limits(least=1),
            leak=Limits(above=0, most=1),
        )
        if self.threshold is not None and self.threshold > self.neurons:
            raise ValueError(
                f"a threshold must be 1 to {self.neurons} neurons, got {self.threshold}: change threshold"
            )

    def memory(self, cells: ram.CellKind) -> ram.RamConfig:
        """Make the config of the gates' cells, with the reading of EMPTY cells.

        Args:
          cells: the kind of cells.

        Returns:
          The config.
        """
        return ram.RamConfig(cells, empty_value=float(self.untrained == "open"))


def bit_gate(openness: jax.Array, rest: jax.Array | float = 0.5) -> LogGate:
    """Make a bit gate: if it is closed, the bit's probability is replaced by a fixed guess.

    Args:
      openness: ``float32 [...]``, in [0, 1], from `openness`.
      rest: the fixed guess, a number or ``float32 [...]``; 1/2 as published.

    Returns:
      The gate.

    Source: docs/semantics/gates.md
    """
    return LogGate(jnp.log(openness), jnp.log((1 - openness) * rest))


def token_gate(config: RamGateConfig, openness: jax.Array) -> LogGate:
    """Make a token gate: if it is closed, only the share ``leak`` of the token's probability is kept.

    Args:
      config: gives the leak.
      openness: ``float32 [...]``, in [0, 1], from `openness`.

    Returns:
      The gate. The gated probabilities must be normalised over the V tokens.

    Source: docs/semantics/gates.md
    """
    return LogGate(jnp.log(openness + config.leak))


def openness(config: RamGateConfig, votes: jax.Array) -> jax.Array:
    """Compute the openness of gates from the votes of their neurons.

    Args:
      config: gives the number of neurons, and whether gates are soft.
      votes: ``int32 [...]``, in units of ``1 / ram.UNIT``.

    Returns:
      ``float32 [...]``, in [0, 1]; 0 or 1 if gates are not soft.

    Source: docs/semantics/gates.md
    """
    true = votes // ram.UNIT
    if config.soft:
        return true / jnp.float32(config.neurons)
    threshold = max(1, config.neurons // 2) if config.threshold is None else config.threshold
    return (true >= threshold).astype(jnp.float32)


def bit_openness(
    key: jax.Array, config: RamGateConfig, input_bits: int, train: ram.Examples, words: jax.Array
) -> jax.Array:
    """Fit the gates of K bits to a text, and read their openness on other contexts.

    Args:
      key: draws the connectivity.
      config: sizes of the gates.
      input_bits: I, the number of bits of a context.
      train: M examples whose targets ``bool [K, M]`` are the bits; spans may leave out examples that lack a
        bit.
      words: ``uint32 [W, N]``, packed contexts to read.

    Returns:
      ``float32 [K, N]``, in [0, 1].

    Raises:
      ValueError: a gate reads more address bits than there are input bits, or shapes disagree.

    Source: docs/semantics/gates.md
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
    """Make the gates of all V tokens as a one-hot layer, for `tiered_layer.votes` and `openness`.

    Args:
      key: draws the connectivity.
      config: sizes of the gates.
      model: gives the vocabulary, the context and the tiers; for a model without tiers use `single_tier`.
      order: ``int32 [V]``, the ids by rank, see `tiered_layer.Wiring`.
      tokens: ``int [M + C]``, the training text.

    Returns:
      The layer.

    Raises:
      ValueError: a gate reads more address bits than the context has, or an id is outside the vocabulary.

    Source: docs/semantics/gates.md
    """
    tiers = tuple(tiered_config.Tier(x.clusters, config.neurons, config.address_bits) for x in model.tiers)
    # A token's gate learns FALSE where another token followed. If EMPTY cells are closed, FALSE reads like
    # EMPTY, so it is not written.
    negatives = "all" if config.untrained == "open" else "none"
    gates = tiered_config.TieredConfig(
        model.vocabulary, tiers, model.context, config.memory("true_wins"), negatives
    )
    wiring = tiered_layer.init(key, gates, tokens)._replace(order=order)
    return tiered_layer.one_hot_layer(key, gates, wiring, tokens)


def single_tier(vocabulary: int, context: int, address_bits: int = 1) -> tiered_config.TieredConfig:
    """Make the config of one tier of all tokens, which `token_layer` takes for a model without tiers.

    Args:
      vocabulary: V.
      context: C.
      address_bits: T, the number of input bits that a neuron reads.

    Returns:
      The config.

    Raises:
      ValueError: T is above the number of bits of the context.

    Source: docs/semantics/gates.md
    """
    return tiered_config.TieredConfig(vocabulary, (tiered_config.Tier(None, 1, address_bits),), context)
