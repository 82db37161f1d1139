"""A grid search over sizes. The next algorithm starts from its genomes.

Source: docs/semantics/search.md
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.ram import connectivity
from wnn_jax.search import evaluate, whole
from wnn_jax.search.base import Evaluator, SearchAlgorithm, SearchState, StepInfo
from wnn_jax.search.fitness import FitnessConfig
from wnn_jax.search.moves import sized
from wnn_jax.search.objective import Fold, Objective


@dataclasses.dataclass(frozen=True)
class GridConfig:
    """Configures the sizes of the grid: every number of neurons is combined with every number of bits.

    Attributes:
      grid_neurons: numbers of neurons of each cluster to try.
      grid_bits: numbers of address bits of each neuron to try.

    Raises:
      ValueError: a number is below 1.

    Source: docs/semantics/search.md
    """

    grid_neurons: tuple[int, ...] = (50, 100, 150, 200)
    grid_bits: tuple[int, ...] = (14, 16, 18, 20)

    def __post_init__(self):
        checks.fields(self, grid_neurons=Limits(least=1), grid_bits=Limits(least=1))


@functools.cache  # a second call returns the same functions, which are compiled already
def grid(
    objective: Objective,
    config: GridConfig = GridConfig(),
    fitness: FitnessConfig = FitnessConfig(),
    mesh: jax.sharding.Mesh | None = None,
) -> SearchAlgorithm:
    """Make a grid search: one step that draws and scores one random genome of every size.

    Args:
      objective: the objective that the search improves.
      config: the sizes.
      fitness: the order of genomes.
      mesh: devices over which neurons are spread, see `evaluate.mesh`; None for one device.

    Returns:
      The algorithm, for `run`. Its population after the step has the genomes of the first number of neurons
      first.

    Raises:
      ValueError: a size is outside the bounds, there is no size, or the objective is `Whole`.

    Source: docs/semantics/search.md
    """
    evaluator, bounds = Evaluator(objective, fitness, mesh), objective.bounds
    whole.refuse(evaluator, "the grid search")
    for values, low, high, name in (
        (config.grid_neurons, bounds.min_neurons, bounds.max_neurons, "neurons"),
        (config.grid_bits, bounds.min_bits, bounds.max_bits, "address bits"),
    ):
        if not values or min(values) < low or max(values) > high:
            raise ValueError(
                f"the grid's {name} must lie within the bounds {low} to {high}, got {[*values]}: change the "
                "grid or the bounds"
            )
    sizes = jnp.array([(n, t) for n in config.grid_neurons for t in config.grid_bits], jnp.int32)

    def init(fold: Fold, genomes: jax.Array) -> SearchState:
        return evaluate.start(evaluator, fold, genomes, ())

    def step(key: jax.Array, fold: Fold, state: SearchState) -> tuple[SearchState, StepInfo]:
        def draw(key, size):
            return sized(key, bounds, objective.clusters, size[0], size[1])

        genomes = jax.vmap(draw)(jax.random.split(key, len(sizes)), sizes).astype(state.genomes.dtype)
        votes, scores = evaluate.evaluated(evaluator, fold, genomes)
        best, best_scores = evaluate.keep_best(evaluator, state, genomes, scores)
        new = SearchState(genomes, votes, scores, best, best_scores, (), state.step + 1)
        fits = jax.vmap(connectivity.neurons_present)(genomes).sum(dtype=jnp.int32)
        return new, StepInfo(jnp.int32(len(sizes)), fits, jnp.int32(len(sizes)), scores.loss)

    return SearchAlgorithm(init, step, "grid", evaluator, config, population=1, steps=1)
