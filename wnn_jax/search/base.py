"""The state that every search carries from step to step, and the report of a step."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax.search.fitness import FitnessConfig, GenomeScores
from wnn_jax.search.objective import Fold, Objective


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """How genomes are judged. Hashable: static under `jit`.

    Attributes:
      objective: what is searched for.
      fitness: what makes one genome better than another.
      mesh: devices over which neurons are spread, along an axis ``population``; None for one.
    """

    objective: Objective
    fitness: FitnessConfig = FitnessConfig()
    mesh: jax.sharding.Mesh | None = None

    @property
    def cell_bits(self) -> int:
        """Bits of one cell, as a table that is kept would hold it: 2 a quad or ternary cell, 32 a count."""
        return 32 if self.objective.memory.cells == "count" else 2


class SearchState(NamedTuple):
    """All that a search carries from step to step.

    Attributes:
      genomes: ``[P, K, n, T]``.
      votes: ``int32 [P, K, M]`` of every genome on the scored examples.
      scores: of every genome.
      best, best_scores: the fittest genome ``[K, n, T]`` seen on this fold, and its scores.
      memory: the algorithm's own; a pytree.
      step: ``int32 []`` steps done.
    """

    genomes: jax.Array
    votes: jax.Array
    scores: GenomeScores
    best: jax.Array
    best_scores: GenomeScores
    memory: Any
    step: jax.Array


class StepInfo(NamedTuple):
    """The report of one step; nothing carries it on.

    Attributes:
      candidates: genomes that were scored.
      fits: neurons that were fitted and read for it: the work.
      accepted: candidates that were taken over.
      loss: ``float32 [P]`` of the population.
    """

    candidates: jax.Array
    fits: jax.Array
    accepted: jax.Array
    loss: jax.Array


class SearchAlgorithm(NamedTuple):
    """Two pure functions, for `jit`, and what `run` must know of them.

    Attributes:
      init: ``init(fold, genomes) -> SearchState`` scores a population.
      step: ``step(key, fold, state) -> (SearchState, StepInfo)``.
      name: for reports.
      evaluator: how it judges genomes.
      config: its settings.
      population: P, genomes that ``init`` takes.
      steps: the number of steps that it takes, if not as many as there is time for.
    """

    init: Callable[[Fold, jax.Array], SearchState]
    step: Callable[[jax.Array, Fold, SearchState], tuple[SearchState, StepInfo]]
    name: str
    evaluator: Evaluator
    config: Any
    population: int
    steps: int | None = None


def take(tree: Any, index: Any) -> Any:
    """Entry ``index`` of every leaf."""
    return jax.tree.map(lambda x: x[index], tree)


def select(condition: jax.Array, one: Any, other: Any) -> Any:
    """`jnp.where` on the leading axes of every leaf."""

    def pick(x, y):
        return jnp.where(condition.reshape(condition.shape + (1,) * (x.ndim - condition.ndim)), x, y)

    return jax.tree.map(pick, one, other)
