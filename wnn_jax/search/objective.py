"""Objectives: the cells that are fitted, the genomes that may be visited, and the score of their votes.

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

Every algorithm can use it. If the class has the two members of `Separable` too, local search scores a
neighbour by the one cluster that changed, which is faster.

An objective of another kind is `Whole`: it runs a model on data, and its neurons have no votes that add up.

Shape letter of this module: M scored examples.

Source: docs/semantics/search.md
"""

import dataclasses
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, ram
from wnn_jax.checks import Limits
from wnn_jax.ram import given
from wnn_jax.search.moves import Bounds

_LEAST = 1e-7  # least probability of a bit


class Objective(Protocol):
    """The goal of a search. It must be hashable, because it is a static argument of `jit`.

    Attributes:
      memory: the kind of cells.
      bounds: the genomes that may be visited.
      clusters: K, the number of target bits.

    Source: docs/semantics/search.md
    """

    @property
    def memory(self) -> ram.RamConfig:
        """The kind of cells."""
        ...

    @property
    def bounds(self) -> Bounds:
        """The genomes that may be visited."""
        ...

    @property
    def clusters(self) -> int:
        """K, the number of target bits."""
        ...

    def score(self, votes: jax.Array, neurons: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Score one genome on M examples on which it was not fitted.

        Args:
          votes: ``int32 [K, M]``, the votes of every cluster, in units of ``1 / ram.UNIT``; see `ram.shares`.
          neurons: ``int32 [K]``, the number of neurons of each cluster.
          targets: ``bool [K, M]``.

        Returns:
          The loss, which a search minimises, and the accuracy in [0, 1], both ``float32 []``.
        """
        ...


@runtime_checkable
class Separable(Protocol):
    """An objective that can score a change of one cluster while the other clusters stay as they are.

    Source: docs/semantics/search.md
    """

    def others(self, votes: jax.Array, neurons: jax.Array) -> Any:
        """Compute what `losses` of each cluster needs to know about the other clusters.

        Args:
          votes: ``int32 [K, M]``, the votes of one genome.
          neurons: ``int32 [K]``, the number of neurons of each cluster.

        Returns:
          A pytree of arrays ``[K, M]``.
        """
        ...

    def losses(self, others: Any, targets: jax.Array, votes: jax.Array, neurons: jax.Array) -> jax.Array:
        """Compute the part of each example's loss that depends on the votes of one cluster.

        If the votes change, the mean change of this part must equal the change of the loss of
        `Objective.score`.

        Args:
          others: this cluster's entries of `others`, arrays ``[M]``.
          targets: ``bool [M]``, the cluster's target bits.
          votes: ``int32 [..., M]``, possible votes of the cluster.
          neurons: ``int32 [...]``, its number of neurons with these votes.

        Returns:
          ``float32 [..., M]``.
        """
        ...


@runtime_checkable
class Whole(Protocol):
    """An objective that judges each genome as a whole, by running a model on data of any kind in their order.

    Its neurons have no votes that add up. So it says itself what its examples are, what a genome costs on
    each of them, and which moves there are. It works on the host, outside of `jit`, and must be hashable.
    Tabu search with one start and annealing take it. `wnn_jax.chain.searching` has one.

    Attributes:
      bounds: the sizes of the genomes that may be visited.
      clusters: K, the number of clusters of neurons.

    Source: docs/semantics/search.md
    """

    @property
    def bounds(self) -> Bounds:
        """The sizes of the genomes that may be visited."""
        ...

    @property
    def clusters(self) -> int:
        """K, the number of clusters of neurons."""
        ...

    def count(self, data: Any) -> int:
        """Check the data of a search and count their examples, N."""
        ...

    def part(self, data: Any, first: int, last: int) -> Any:
        """Take the examples ``first`` to ``last - 1`` of the data, in their order."""
        ...

    def shorter(self, data: Any) -> Any:
        """Take a beginning of the data, on which moves are judged first; None to judge them once."""
        ...

    def losses(self, data: Any, genomes: np.ndarray) -> np.ndarray:
        """Run genomes on data.

        Args:
          data: the data, or a part of them.
          genomes: ``int [P, K, n, T]``.

        Returns:
          ``float32 [P, M]``, the loss of each scored example. M, which examples are scored and the losses
          depend on nothing but the data and the genome.
        """
        ...

    def propose(
        self,
        key: jax.Array,
        data: Any,
        dimensions: tuple[str, ...],
        genomes: np.ndarray,
        sites: int,
        candidates: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw moves of single neurons within the bounds.

        Args:
          key: draws the moves.
          data: the part on which the moves will be judged.
          dimensions: the parts of a genome that may change, of `wnn_jax.search.DIMENSIONS`.
          genomes: ``int [P, K, n, T]``.
          sites: S, the number of slots of each cluster.
          candidates: C, the number of moves for each slot.

        Returns:
          The slots ``int32 [P, K, S]``, distinct in a cluster, and the new neurons ``int [P, K, S, C, T]``. A
          genome with any moves of different slots is within the bounds too, but for ``min_neurons``.
        """
        ...

    def mebibits(self, genomes: np.ndarray) -> np.ndarray:
        """Compute the sizes of the tables of genomes ``int [P, K, n, T]``, ``float32 [P]`` in 2^20 bits."""
        ...


@dataclasses.dataclass(frozen=True)
class TargetBits:
    """The objective of independent target bits: its loss is the mean nats of a bit.

    Its accuracy is the share of bits that were predicted right. A vote of exactly 1/2 predicts 0.

    Attributes:
      bounds: the genomes that may be visited.
      clusters: number of target bits, K.
      memory: the kind of cells.

    Raises:
      ValueError: the number of clusters is below 1, or a setting has another type.

    Source: docs/semantics/search.md
    """

    bounds: Bounds
    clusters: int
    memory: ram.RamConfig = ram.RamConfig()

    def __post_init__(self):
        checks.fields(self, clusters=Limits(least=1))

    def score(self, votes: jax.Array, neurons: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Score one genome, see `Objective.score`. A probability below 1e-7 counts as 1e-7."""
        one, zero = ram.shares(votes, neurons[:, None])
        right = ((one > 0.5) == targets).mean(dtype=jnp.float32)
        return _bit_nats(one, zero, targets).mean(), right

    def others(self, votes: jax.Array, neurons: jax.Array) -> tuple[()]:
        """Return an empty tuple, because the bits are independent; see `Separable.others`."""
        return ()

    def losses(self, others: Any, targets: jax.Array, votes: jax.Array, neurons: jax.Array) -> jax.Array:
        """Compute the losses of one bit, see `Separable.losses`."""
        one, zero = ram.shares(votes, neurons[..., None])
        return _bit_nats(one, zero, targets) / self.clusters


def _bit_nats(one: jax.Array, zero: jax.Array, targets: jax.Array) -> jax.Array:
    return -jnp.log(jnp.maximum(jnp.where(targets, one, zero), _LEAST))


class Fold(NamedTuple):
    """The examples on which genomes are fitted, and other examples on which they are scored.

    Attributes:
      train: examples to write; one with weight False is not written.
      words: ``uint32 [W, M]``, the inputs of the examples to score.
      targets: ``bool [K, M]``, their targets.
      seed: ``uint32 [K, n]``, from `ram.seeds`.

    Source: docs/semantics/search.md
    """

    train: ram.Examples
    words: jax.Array
    targets: jax.Array
    seed: jax.Array


def fold(examples: ram.Examples, seed: jax.Array, index: jax.Array, folds: int) -> Fold:
    """Cut a stream of examples into equal parts: score on one part, and fit on the others.

    Args:
      examples: N examples; the last ``N % folds`` are left out.
      seed: ``uint32 [K, n]``, from `ram.seeds`.
      index: ``int32 []``, the number of the scored part, 0 to ``folds - 1``.
      folds: number of parts.

    Returns:
      The fold. Its examples to fit on are those after the scored part, and then those before it, both in the
      order of the stream.

    Raises:
      ValueError: an array has a wrong type, shape or entry (`ram.given`), or there are fewer examples than
        parts.

    Source: docs/semantics/search.md
    """
    given.examples(examples)
    folds = checks.integer("folds", folds, Limits(least=2, most=examples.targets.shape[1]))
    examples = jax.tree.map(jnp.asarray, examples)
    size = examples.targets.shape[1] // folds

    def parts(x):
        cut = jnp.roll(x[..., : folds * size], -(index + 1) * size, axis=-1)
        return cut[..., :-size], cut[..., -size:]

    words, scored = parts(examples.words)
    targets, wanted = parts(examples.targets)
    weight = None if examples.weight is None else parts(examples.weight)[0]
    return Fold(ram.Examples(words, targets, weight), scored, wanted, seed)
