"""The types that all search algorithms share: evaluator, state, report of a step, and algorithm.

Source: docs/semantics/search.md
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax import checks
from wnn_jax.search.fitness import FitnessConfig, GenomeScores
from wnn_jax.search.objective import Whole


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """Settings by which genomes are judged. Hashable, so it may be a static argument of `jit`.

    Attributes:
      objective: the objective that the search improves.
      fitness: the order of genomes.
      mesh: devices over which neurons are spread, along an axis ``population``; None for one device.

    Raises:
      ValueError: the objective or the fitness has another type, or an objective that is `Whole` has a mesh.

    Source: docs/semantics/search.md
    """

    objective: Any  # an Objective or Whole
    fitness: FitnessConfig = FitnessConfig()
    mesh: jax.sharding.Mesh | None = None

    def __post_init__(self):
        checks.fields(self)
        if self.mesh is not None and not isinstance(self.mesh, jax.sharding.Mesh):
            raise ValueError(
                f"mesh is of type {type(self.mesh).__name__}: give one from search.mesh, or None"
            )
        if self.whole:
            if self.mesh is not None:
                raise ValueError(
                    f"objective is of type {type(self.objective).__name__} and runs on the host: give no mesh"
                )
            return
        for name in ("memory", "bounds", "clusters", "score"):
            if not hasattr(self.objective, name):
                raise ValueError(
                    f"objective is of type {type(self.objective).__name__}, without {name}: give an Objective"
                )

    @property
    def whole(self) -> bool:
        """Whether the objective is `Whole`, so that genomes have losses in place of votes."""
        return isinstance(self.objective, Whole)

    @property
    def cell_bits(self) -> int:
        """Bits of one cell in a packed table: 32 for a count cell, 2 for every other kind."""
        return 32 if self.objective.memory.cells == "count" else 2


class SearchState(NamedTuple):
    """The state that a search carries from step to step.

    Attributes:
      genomes: ``int [P, K, n, T]``, the population.
      votes: ``int32 [P, K, M]``, the votes of every genome on the M scored examples; of an objective that is
        `Whole`, their losses ``float32 [P, 1, M]``.
      scores: the scores of every genome, arrays ``[P]``.
      best: ``int [K, n, T]``, the fittest genome seen on this fold.
      best_scores: its scores, arrays ``[]``.
      memory: a pytree that only the algorithm uses, such as its list of tabu neurons.
      step: ``int32 []``, number of steps done.

    Source: docs/semantics/search.md
    """

    genomes: jax.Array
    votes: jax.Array
    scores: GenomeScores
    best: jax.Array
    best_scores: GenomeScores
    memory: Any
    step: jax.Array


class StepInfo(NamedTuple):
    """The report of one step. It is not part of the state.

    Attributes:
      candidates: ``int32 []``, number of genomes that were scored.
      fits: ``int32 []``, number of neurons that were fitted and read, which measures the work; of an
        objective that is `Whole`, number of genomes that were run.
      accepted: ``int32 []``, number of candidates that were taken.
      loss: ``float32 [P]``, the losses of the population.

    Source: docs/semantics/search.md
    """

    candidates: jax.Array
    fits: jax.Array
    accepted: jax.Array
    loss: jax.Array


class SearchAlgorithm(NamedTuple):
    """A search algorithm: two pure functions, which `jit` can compile, and the facts that `run` needs.

    Attributes:
      init: ``init(fold, genomes) -> SearchState`` scores a population.
      step: ``step(key, fold, state) -> (SearchState, StepInfo)`` improves it.
      name: name in reports.
      evaluator: settings by which it judges genomes; None if its genomes are not layers of RAM neurons, such
        as those of `wnn_jax.classify.residual`. `run` does not take such an algorithm.
      config: its settings.
      population: P, the number of genomes that ``init`` takes.
      steps: number of steps, if the algorithm has a fixed number; None takes that of `RunConfig`.

    Source: docs/semantics/search.md
    """

    init: Callable[[Any, Any], Any]
    step: Callable[[jax.Array, Any, Any], tuple[Any, StepInfo]]
    name: str
    evaluator: Evaluator | None
    config: Any
    population: int
    steps: int | None = None


def take(tree: Any, index: Any) -> Any:
    """Take entry ``index`` of every leaf of a pytree.

    Args:
      tree: a pytree of arrays.
      index: an index, slice or index array for the first axis.

    Returns:
      The pytree of these entries.

    Source: docs/architecture.md
    """
    return jax.tree.map(lambda x: x[index], tree)


def select(condition: jax.Array, one: Any, other: Any) -> Any:
    """Choose between two pytrees along the leading axes of every leaf.

    Args:
      condition: ``bool [...]``, the leading axes.
      one: a pytree of arrays ``[..., *]``, taken where the condition is True.
      other: the same, taken where it is False.

    Returns:
      The pytree of chosen entries.

    Source: docs/architecture.md
    """

    def pick(x, y):
        return jnp.where(condition.reshape(condition.shape + (1,) * (x.ndim - condition.ndim)), x, y)

    return jax.tree.map(pick, one, other)
