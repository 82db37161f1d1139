"""A search plan: settings that name several algorithms, and the parts of a genome that each may change.

Source: docs/semantics/search.md
"""

import dataclasses
from typing import Literal

import jax

from wnn_jax import checks
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
    """Configures a search: its algorithms, its phases and the settings of each.

    Attributes:
      algorithms: search algorithms, one after another in every phase; without one there is no search.
      phases: phases of the search, one after another. A phase is grid, all, or a list of neurons, bits and
        connections joined by +, such as bits+connections: the parts of a genome that may change.
      fitness: the order of genomes.
      ga: settings of the genetic algorithm.
      tabu: settings of tabu search.
      annealing: settings of simulated annealing.
      random: settings of random search.
      grid: sizes of the grid phase.

    Raises:
      ValueError: an algorithm or a phase is unknown, or there are algorithms but no phase.

    Source: docs/semantics/search.md
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
        checks.fields(self)
        if self.algorithms and not self._steps():
            raise ValueError("a search needs at least one phase, got none: use the phase all")

    def build(self, objective: Objective, mesh: jax.sharding.Mesh | None = None) -> list[SearchAlgorithm]:
        """Make the algorithms of all phases, in their order.

        Args:
          objective: the objective that the search improves.
          mesh: devices over which neurons are spread; None for one device.

        Returns:
          All algorithms of the first phase, then those of the next. The phase grid is one algorithm.

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
        """List the names of the algorithms in their order, each with the dimensions that it may change."""
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
                    f"unknown phase {unknown[0]!r}: use grid, all, or names of {', '.join(DIMENSIONS)} with +"
                )
            steps += [(name, dimensions) for name in self.algorithms]
        return steps
