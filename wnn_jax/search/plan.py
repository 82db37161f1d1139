"""A plan of a search, made of settings alone: several algorithms in turn, each on some of the dimensions."""

import dataclasses
from typing import Literal

import jax

from wnn_jax.search.annealing import AnnealingConfig, annealing
from wnn_jax.search.base import SearchAlgorithm
from wnn_jax.search.fitness import FitnessConfig
from wnn_jax.search.genetic import GeneticConfig, genetic
from wnn_jax.search.grid import GridConfig, grid
from wnn_jax.search.moves import DIMENSIONS, Dimension
from wnn_jax.search.objective import Objective
from wnn_jax.search.random import RandomConfig, random_search
from wnn_jax.search.tabu import TabuConfig, tabu

Name = Literal["ga", "tabu", "annealing", "random"]


@dataclasses.dataclass(frozen=True)
class SearchPlan:
    """Algorithms, what they may change, and their settings.

    Attributes:
      algorithms: algorithms that look for a better connectivity, one after another; none leaves it as it is.
      phases: what each of them may change, one after another: grid, all, or neurons, bits and connections
        joined by +.
      fitness: what makes a genome fit.
      ga: settings of the genetic algorithm.
      tabu: settings of tabu search.
      annealing: settings of simulated annealing.
      random: settings of random search.
      grid: sizes of the grid phase.

    Raises:
      ValueError: a phase is unknown, or there is none.
    """

    algorithms: tuple[Name, ...] = ()
    phases: tuple[str, ...] = ("all",)
    fitness: FitnessConfig = FitnessConfig()
    ga: GeneticConfig = GeneticConfig()
    tabu: TabuConfig = TabuConfig()
    annealing: AnnealingConfig = AnnealingConfig()
    random: RandomConfig = RandomConfig()
    grid: GridConfig = GridConfig()

    def __post_init__(self):
        if self.algorithms and not self._steps():
            raise ValueError("a search needs at least one phase, got none")

    def build(self, objective: Objective, mesh: jax.sharding.Mesh | None = None) -> list[SearchAlgorithm]:
        """The algorithms in their order: every one for each phase in turn; a grid is a phase alone.

        Raises:
          ValueError: an algorithm refuses its settings.
        """
        return [self._algorithm(objective, mesh, *step) for step in self._steps()]

    def _algorithm(self, objective, mesh, name: str, dimensions: tuple[Dimension, ...]) -> SearchAlgorithm:
        if name == "grid":
            return grid(objective, self.grid, self.fitness, mesh)
        if name == "random":
            return random_search(objective, self.random, self.fitness, mesh)
        make, config = {
            "ga": (genetic, self.ga),
            "tabu": (tabu, self.tabu),
            "annealing": (annealing, self.annealing),
        }[name]
        return make(objective, dataclasses.replace(config, dimensions=dimensions), self.fitness, mesh)

    def _steps(self) -> list[tuple[str, tuple[Dimension, ...]]]:
        """Algorithms by name, and the dimensions that they may change."""
        steps: list[tuple[str, tuple[Dimension, ...]]] = []
        dimensions: tuple[Dimension, ...]
        for phase in self.phases:
            if phase == "grid":
                steps.append(("grid", ()))
                continue
            asked = DIMENSIONS if phase == "all" else phase.split("+")
            dimensions = tuple(name for name in DIMENSIONS if name in asked)
            unknown = [name for name in asked if name not in DIMENSIONS]
            if unknown:
                raise ValueError(
                    f"unknown phase {unknown[0]!r}: use grid, all, or {', '.join(DIMENSIONS)} joined by +"
                )
            steps += [(name, dimensions) for name in self.algorithms]
        return steps
