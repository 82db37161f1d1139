"""The objective of a search over the connectivity of a bitwise language model, for `wnn_jax.search`.

Source: docs/semantics/search.md
"""

import dataclasses

import jax
import jax.numpy as jnp

from wnn_jax import checks, ram
from wnn_jax.checks import Limits
from wnn_jax.lm import bitwise
from wnn_jax.search.moves import Bounds


@dataclasses.dataclass(frozen=True)
class BitwiseObjective:
    """The objective of a bitwise model: the loss is its mean nats a token, exact over all V ids.

    The accuracy is the share of tokens that were the most probable id.

    Attributes:
      model: the model; its numbers of neurons and address bits are ignored, because genomes have their own.
      bounds: the genomes that may be visited.

    Raises:
      ValueError: a setting has another type.

    Source: docs/semantics/search.md, docs/semantics/bitwise.md
    """

    model: bitwise.BitwiseConfig
    bounds: Bounds

    def __post_init__(self):
        checks.fields(self)

    @property
    def memory(self) -> ram.RamConfig:
        """The kind of cells."""
        return self.model.memory

    @property
    def clusters(self) -> int:
        """K = B, the number of bits of a token."""
        return self.model.clusters

    def score(self, votes: jax.Array, neurons: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Score one genome, see `wnn_jax.search.Objective`."""
        logs = bitwise.log_clamped(*ram.shares(votes, neurons[:, None]))
        found = bitwise.score(self.model, *logs, targets)
        # The best id is right exactly if all its code bits are.
        code = bitwise.encode(self.model, found.best)
        places = jnp.arange(targets.shape[0], dtype=jnp.int32)[::-1, None]
        right = jnp.all((code[None, :] >> places & 1).astype(bool) == targets, axis=0)
        return found.nats.mean(), right.mean(dtype=jnp.float32)

    def others(self, votes: jax.Array, neurons: jax.Array) -> bitwise.Rest:
        """Compute the normaliser of each token as a function of each bit, see `wnn_jax.search.Separable`.

        The normaliser is linear in the probability of one bit. So a neighbour costs one fitted neuron and
        O(M) more work.
        """
        return bitwise.rest(self.model, *ram.shares(votes, neurons[:, None]))

    def losses(
        self, others: bitwise.Rest, targets: jax.Array, votes: jax.Array, neurons: jax.Array
    ) -> jax.Array:
        """Compute the losses of one bit, see `wnn_jax.search.Separable`."""
        return bitwise.bit_nats(others, *ram.shares(votes, neurons[..., None]), targets)


@dataclasses.dataclass(frozen=True)
class GenomeSizes:
    """Configures the sizes of the genomes that a search over a bitwise model may visit.

    Attributes:
      min_neurons: smallest number of neurons of a cluster; by default that of the model.
      max_neurons: largest number of neurons of a cluster; by default that of the model.
      min_bits: smallest number of address bits of a neuron.
      max_bits: largest number of address bits of a neuron; by default that of the model.

    Raises:
      ValueError: a size is below 1.

    Source: docs/semantics/search.md
    """

    min_neurons: int | None = None
    max_neurons: int | None = None
    min_bits: int = 4
    max_bits: int | None = None

    def __post_init__(self):
        size = Limits(least=1)
        checks.fields(self, min_neurons=size, max_neurons=size, min_bits=size, max_bits=size)

    def bounds(self, model: bitwise.BitwiseConfig) -> Bounds:
        """Make the bounds of a search; the input bits of one token form a group.

        Args:
          model: gives the input bits and the sizes that are not set here.

        Returns:
          The bounds. If ``max_neurons`` is below the model's number, it is the default of ``min_neurons``.

        Raises:
          ValueError: no genome has these sizes.
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
