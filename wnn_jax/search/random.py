"""Random search: what any search must beat with the same number of fitted neurons."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from wnn_jax.ram import connectivity
from wnn_jax.search import evaluate
from wnn_jax.search.base import Evaluator, SearchAlgorithm, SearchState, StepInfo
from wnn_jax.search.fitness import FitnessConfig
from wnn_jax.search.moves import sized
from wnn_jax.search.objective import Fold, Objective


@dataclasses.dataclass(frozen=True)
class RandomConfig:
    """How much is drawn.

    Attributes:
      starts: genomes a step.
      neurons: of each cluster of a genome; by default the most that the bounds allow.

    Raises:
      ValueError: there is no genome a step.
    """

    starts: int = 1
    neurons: int | None = None

    def __post_init__(self):
        if self.starts < 1:
            raise ValueError(f"random search needs at least 1 genome a step, got starts {self.starts}")


@functools.cache  # the same algorithm again is compiled already
def random_search(
    objective: Objective,
    config: RandomConfig = RandomConfig(),
    fitness: FitnessConfig = FitnessConfig(),
    mesh: jax.sharding.Mesh | None = None,
) -> SearchAlgorithm:
    """Fresh genomes every step, of which the best is kept.

    Half of them have all neurons at the largest number of bits; the others give every neuron any number
    within the bounds. The population carried is the last one drawn.

    Args:
      objective: what is searched for.
      config: how.
      fitness: what makes a genome fit.
      mesh: devices to spread neurons over, see `evaluate.mesh`.
    """
    evaluator = Evaluator(objective, fitness, mesh)
    bounds = objective.bounds
    neurons = config.neurons or bounds.max_neurons

    def init(fold: Fold, genomes: jax.Array) -> SearchState:
        return evaluate.start(evaluator, fold, genomes, ())

    def draw(key, ragged):
        genome_key, length_key = jax.random.split(key)
        full = sized(genome_key, bounds, objective.clusters, neurons, bounds.max_bits)
        lengths = jax.random.randint(length_key, full.shape[:2], bounds.min_bits, bounds.max_bits + 1)
        kept = jnp.arange(bounds.max_bits) < jnp.where(ragged, lengths, bounds.max_bits)[..., None]
        return jnp.where(kept, full, connectivity.UNUSED)

    def step(key: jax.Array, fold: Fold, state: SearchState) -> tuple[SearchState, StepInfo]:
        keys = jax.random.split(key, config.starts)
        genomes = jax.vmap(draw)(keys, jnp.arange(config.starts) % 2 == 1).astype(state.genomes.dtype)
        votes, scores = evaluate.evaluated(evaluator, fold, genomes)
        best, best_scores = evaluate.keep_best(evaluator, state, genomes, scores)
        new = SearchState(genomes, votes, scores, best, best_scores, (), state.step + 1)
        fits = jax.vmap(connectivity.neurons_present)(genomes).sum()
        return new, StepInfo(jnp.int32(config.starts), fits, jnp.int32(config.starts), scores.loss)

    return SearchAlgorithm(init, step, "random", evaluator, config, config.starts)
