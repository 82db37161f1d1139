"""Random search: the baseline that every other algorithm must beat with the same number of fitted neurons.

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
class RandomConfig:
    """Configures random search.

    Attributes:
      starts: number of genomes that a step draws.
      neurons: number of neurons of each cluster of a genome; by default the largest that the bounds allow.

    Raises:
      ValueError: a number is below 1.

    Source: docs/semantics/search.md
    """

    starts: int = 1
    neurons: int | None = None

    def __post_init__(self):
        checks.fields(self, starts=Limits(least=1), neurons=Limits(least=1))


@functools.cache  # a second call returns the same functions, which are compiled already
def random_search(
    objective: Objective,
    config: RandomConfig = RandomConfig(),
    fitness: FitnessConfig = FitnessConfig(),
    mesh: jax.sharding.Mesh | None = None,
) -> SearchAlgorithm:
    """Make a random search. Every step draws a new population, and the best genome of all is kept.

    In every second genome of a step each neuron has a random number of address bits within the bounds; in the
    others all neurons have the largest number.

    Args:
      objective: the objective that the search improves.
      config: settings.
      fitness: the order of genomes.
      mesh: devices over which neurons are spread, see `evaluate.mesh`; None for one device.

    Returns:
      The algorithm, for `run`.

    Raises:
      ValueError: the objective is `Whole`.

    Source: docs/semantics/search.md
    """
    evaluator = Evaluator(objective, fitness, mesh)
    whole.refuse(evaluator, "random search")
    bounds = objective.bounds
    neurons = config.neurons or bounds.max_neurons

    def init(fold: Fold, genomes: jax.Array) -> SearchState:
        return evaluate.start(evaluator, fold, genomes, ())

    def draw(key, ragged):
        genome_key, length_key = jax.random.split(key)
        full = sized(genome_key, bounds, objective.clusters, neurons, bounds.max_bits)
        lengths = jax.random.randint(
            length_key, full.shape[:2], bounds.min_bits, bounds.max_bits + 1, jnp.int32
        )
        kept = jnp.arange(bounds.max_bits) < jnp.where(ragged, lengths, bounds.max_bits)[..., None]
        return jnp.where(kept, full, connectivity.UNUSED)

    def step(key: jax.Array, fold: Fold, state: SearchState) -> tuple[SearchState, StepInfo]:
        keys = jax.random.split(key, config.starts)
        genomes = jax.vmap(draw)(keys, jnp.arange(config.starts, dtype=jnp.int32) % 2 == 1).astype(
            state.genomes.dtype
        )
        votes, scores = evaluate.evaluated(evaluator, fold, genomes)
        best, best_scores = evaluate.keep_best(evaluator, state, genomes, scores)
        new = SearchState(genomes, votes, scores, best, best_scores, (), state.step + 1)
        fits = jax.vmap(connectivity.neurons_present)(genomes).sum(dtype=jnp.int32)
        return new, StepInfo(jnp.int32(config.starts), fits, jnp.int32(config.starts), scores.loss)

    return SearchAlgorithm(init, step, "random", evaluator, config, config.starts)
