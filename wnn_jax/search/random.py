"""Random search: what any search must beat with the same number of fitted neurons."""

import dataclasses

import jax
import jax.numpy as jnp

from wnn_jax.ram import connectivity
from wnn_jax.search import evaluate, local
from wnn_jax.search.base import Data, Info, Objective, SearchAlgorithm, State


@dataclasses.dataclass(frozen=True)
class RandomConfig:
    """
    Attributes:
      population: genomes a step.
      neurons: of each cluster.
    """

    population: int = 4
    neurons: int = 200


def random_search(objective: Objective, config: RandomConfig) -> SearchAlgorithm:
    """Fresh genomes every step, of which the best is kept.

    Half of them have all neurons at the largest number of bits; the others give every neuron any number
    within the bounds. The population carried is the last one drawn.
    """
    bounds = objective.bounds

    def init(data: Data, genomes: jax.Array) -> State:
        return local.start(objective, data, genomes, ())

    def draw(key, ragged):
        genome_key, length_key = jax.random.split(key)
        clusters = objective.model.clusters
        full = connectivity.sized(genome_key, bounds, clusters, config.neurons, bounds.max_bits)
        lengths = jax.random.randint(length_key, full.shape[:2], bounds.min_bits, bounds.max_bits + 1)
        kept = jnp.arange(bounds.max_bits) < jnp.where(ragged, lengths, bounds.max_bits)[..., None]
        return jnp.where(kept, full, connectivity.UNUSED)

    def step(key: jax.Array, data: Data, state: State) -> tuple[State, Info]:
        keys = jax.random.split(key, config.population)
        genomes = jax.vmap(draw)(keys, jnp.arange(config.population) % 2 == 1).astype(state.genomes.dtype)
        votes, scores = evaluate.evaluated(objective, data, genomes)
        best, best_scores = local.keep_best(objective, state, genomes, scores)
        new = State(genomes, votes, scores, best, best_scores, (), state.step + 1)
        fits = jax.vmap(connectivity.neurons_present)(genomes).sum()
        return new, Info(jnp.int32(config.population), fits, jnp.int32(config.population), scores.ce)

    return SearchAlgorithm(init, step)
