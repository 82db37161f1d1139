"""Objectives: which memory is fitted, which genomes may be visited, how votes become a score.

An objective of your own is a frozen dataclass with the members of `Objective`:

    @dataclasses.dataclass(frozen=True)
    class Hits:
        bounds: moves.Bounds
        clusters: int
        memory: ram.RamConfig = ram.RamConfig()

        def score(self, votes, neurons, targets):
            one, _ = ram.shares(votes, neurons[:, None])
            hits = ((one > 0.5) == targets).all(axis=0).mean()
            return 1 - hits, hits

That is enough for every algorithm. With the two members of `Separable` as well, local search scores a
neighbour by what changed instead of anew.
"""

import dataclasses
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from wnn_jax import ram
from wnn_jax.search.moves import Bounds

_LEAST = 1e-7  # probability that a bit keeps whatever its neurons say


class Objective(Protocol):
    """The goal of a search. Hashable: static under `jit`.

    Attributes:
      memory: what a neuron's cells are.
      bounds: the genomes that may be visited.
      clusters: K.
    """

    @property
    def memory(self) -> ram.RamConfig: ...

    @property
    def bounds(self) -> Bounds: ...

    @property
    def clusters(self) -> int: ...

    def score(self, votes: jax.Array, neurons: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """How good one genome is on M examples that it was not fitted on.

        Args:
          votes: ``int32 [K, M]`` of every cluster, in units of ``1 / ram.UNIT``; see `ram.shares`.
          neurons: ``int32 [K]`` neurons of each cluster.
          targets: ``bool [K, M]``.

        Returns:
          ``float32 []`` loss, which a search makes small, and accuracy in [0, 1].
        """
        ...


@runtime_checkable
class Separable(Protocol):
    """How a change of one cluster's votes changes the score, the other clusters staying as they are."""

    def others(self, votes: jax.Array, neurons: jax.Array) -> Any:
        """All that each cluster must know of the others: a pytree of arrays ``[K, M]``.

        Args:
          votes, neurons: of one genome, as in `Objective.score`.
        """
        ...

    def losses(self, others: Any, targets: jax.Array, votes: jax.Array, neurons: jax.Array) -> jax.Array:
        """The loss of each example under some votes of one cluster, but for what does not depend on them.

        The mean of their change over the examples must be the change of `Objective.score`'s loss.

        Args:
          others: of this cluster, arrays ``[M]``.
          targets: ``bool [M]``.
          votes: ``int32 [..., M]``.
          neurons: ``int32 [...]``.

        Returns:
          ``float32 [..., M]``.
        """
        ...


@dataclasses.dataclass(frozen=True)
class TargetBits:
    """Target bits, each on its own. The loss is the mean nats of a bit, the accuracy the share of bits that
    are on the likelier side.

    Attributes:
      bounds: the genomes that may be visited.
      clusters: K, target bits.
      memory: what a neuron's cells are.
    """

    bounds: Bounds
    clusters: int
    memory: ram.RamConfig = ram.RamConfig()

    def score(self, votes: jax.Array, neurons: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """See `Objective.score`."""
        one, zero = ram.shares(votes, neurons[:, None])
        right = ((one > 0.5) == targets).mean(dtype=jnp.float32)
        return _bit_nats(one, zero, targets).mean(), right

    def others(self, votes: jax.Array, neurons: jax.Array) -> tuple[()]:
        """Nothing: see `Separable.others`."""
        return ()

    def losses(self, others: Any, targets: jax.Array, votes: jax.Array, neurons: jax.Array) -> jax.Array:
        """See `Separable.losses`."""
        one, zero = ram.shares(votes, neurons[..., None])
        return _bit_nats(one, zero, targets) / self.clusters


def _bit_nats(one: jax.Array, zero: jax.Array, targets: jax.Array) -> jax.Array:
    return -jnp.log(jnp.maximum(jnp.where(targets, one, zero), _LEAST))


class Fold(NamedTuple):
    """Examples that genomes are fitted on, and others that they are scored on.

    Attributes:
      train: examples to write; a weight of False keeps one out.
      words: ``uint32 [W, M]`` inputs of the examples to score.
      targets: ``bool [K, M]``.
      seed: ``uint32 [K, n]``, from `ram.seeds`.
    """

    train: ram.Examples
    words: jax.Array
    targets: jax.Array
    seed: jax.Array


def fold(examples: ram.Examples, seed: jax.Array, index: jax.Array, folds: int) -> Fold:
    """One contiguous part of a stream to score on, the others to fit on.

    Args:
      examples: N of them; the last ``N % folds`` are left out.
      seed: ``uint32 [K, n]``, from `ram.seeds`.
      index: ``int32 []``, below ``folds``.

    Returns:
      The scored part, and the others in their order, those after it before those that precede it.
    """
    size = examples.targets.shape[1] // folds

    def parts(x):
        cut = jnp.roll(x[..., : folds * size], -(index + 1) * size, axis=-1)
        return cut[..., :-size], cut[..., -size:]

    words, scored = parts(examples.words)
    targets, wanted = parts(examples.targets)
    weight = None if examples.weight is None else parts(examples.weight)[0]
    return Fold(ram.Examples(words, targets, weight), scored, wanted, seed)
