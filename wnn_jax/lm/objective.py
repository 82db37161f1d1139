"""The bitwise language model as something to search for: `wnn_jax.search` asks it how good votes are."""

import dataclasses

import jax
import jax.numpy as jnp

from wnn_jax import ram
from wnn_jax.lm import bitwise
from wnn_jax.search.moves import Bounds


@dataclasses.dataclass(frozen=True)
class BitwiseObjective:
    """Nats a token, exact over all ids, and the share of tokens that were the most probable id.

    Attributes:
      model: the model; its own numbers of neurons and address bits are ignored.
      bounds: the genomes that may be visited.
    """

    model: bitwise.BitwiseConfig
    bounds: Bounds

    @property
    def memory(self) -> ram.RamConfig:
        return self.model.memory

    @property
    def clusters(self) -> int:
        return self.model.clusters

    def score(self, votes: jax.Array, neurons: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """See `wnn_jax.search.Objective`."""
        logs = bitwise.log_clamped(*ram.shares(votes, neurons[:, None]))
        found = bitwise.score(self.model, *logs, targets)
        # The best id is right exactly if all its code bits are.
        code = bitwise.encode(self.model, found.best)
        places = jnp.arange(targets.shape[0])[::-1, None]
        right = jnp.all((code[None, :] >> places & 1).astype(bool) == targets, axis=0)
        return found.nats.mean(), right.mean(dtype=jnp.float32)

    def others(self, votes: jax.Array, neurons: jax.Array) -> bitwise.Rest:
        """The normaliser as a function of each bit.

        A token's nats are linear in one bit's probability but for two logarithms, so a neighbour costs one
        neuron and O(M).
        """
        return bitwise.rest(self.model, *ram.shares(votes, neurons[:, None]))

    def losses(
        self, others: bitwise.Rest, targets: jax.Array, votes: jax.Array, neurons: jax.Array
    ) -> jax.Array:
        """See `wnn_jax.search.Separable`."""
        return bitwise.bit_nats(others, *ram.shares(votes, neurons[..., None]), targets)


@dataclasses.dataclass(frozen=True)
class GenomeSizes:
    """The sizes that a search may visit, beside a model's own.

    Attributes:
      min_neurons: fewest neurons a cluster; by default as many as the model has.
      max_neurons: most neurons a cluster; by default as many as the model has.
      min_bits: fewest address bits a neuron.
      max_bits: most address bits a neuron; by default as many as the model's.
    """

    min_neurons: int | None = None
    max_neurons: int | None = None
    min_bits: int = 4
    max_bits: int | None = None

    def bounds(self, model: bitwise.BitwiseConfig) -> Bounds:
        """Genomes of these sizes, whose input bits belong together by tokens.

        Raises:
          ValueError: there are none.
        """
        most = self.max_neurons or model.neurons
        return Bounds(
            model.input_bits,
            max_neurons=most,
            max_bits=self.max_bits or model.address_bits,
            min_neurons=self.min_neurons or min(model.neurons, most),
            min_bits=self.min_bits,
            group=model.clusters,
        )
