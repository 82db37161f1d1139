"""A genetic algorithm over whole genomes: elites, tournaments, crossover, mutation."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from wnn_jax.ram import connectivity
from wnn_jax.search import evaluate
from wnn_jax.search.base import Evaluator, SearchAlgorithm, SearchState, StepInfo, select, take
from wnn_jax.search.fitness import FitnessConfig, fitness_of
from wnn_jax.search.moves import DIMENSIONS, Dimension, move_all, phase_name
from wnn_jax.search.objective import Fold, Objective


@dataclasses.dataclass(frozen=True)
class GeneticConfig:
    """How a generation follows from the last.

    Attributes:
      population: P, genomes of a generation.
      elites: genomes that are kept unchanged, the fittest.
      tournament: genomes drawn for each parent, of which the fittest is it.
      crossover: probability that a child has two parents.
      mixing: probability that a child of two parents also mixes one cluster of theirs, neuron by neuron.
      mutation: probability that a neuron (or empty slot) moves.
      dimensions: what moves may change (`moves.DIMENSIONS`).

    Raises:
      ValueError: a value is out of range.
    """

    population: int = 50
    elites: int = 5
    tournament: int = 3
    crossover: float = 0.7
    mixing: float = 0.1
    mutation: float = 0.01
    dimensions: tuple[Dimension, ...] = DIMENSIONS

    def __post_init__(self):
        if not 1 <= self.elites < self.population:
            raise ValueError(
                f"a population of {self.population} cannot keep {self.elites} elites: it needs 1 or more, "
                "and fewer than the population"
            )
        if self.tournament < 1:
            raise ValueError(f"a tournament needs at least 1 genome, got {self.tournament}")
        for name in ("crossover", "mixing", "mutation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability, got {getattr(self, name)}")


@functools.cache  # the same algorithm again is compiled already
def genetic(
    objective: Objective,
    config: GeneticConfig = GeneticConfig(),
    fitness: FitnessConfig = FitnessConfig(),
    mesh: jax.sharding.Mesh | None = None,
) -> SearchAlgorithm:
    """Generations of ``population`` genomes, sorted by fitness.

    Args:
      objective: what is searched for.
      config: how.
      fitness: what makes a genome fit.
      mesh: devices to spread neurons over, see `evaluate.mesh`.
    """
    evaluator = Evaluator(objective, fitness, mesh)
    bounds = objective.bounds

    def init(fold: Fold, genomes: jax.Array) -> SearchState:
        if genomes.shape[0] != config.population:
            raise ValueError(
                f"a population of {config.population} was promised, got {genomes.shape[0]} genomes"
            )
        return evaluate.start(evaluator, fold, genomes, ())

    def step(key: jax.Array, fold: Fold, state: SearchState) -> tuple[SearchState, StepInfo]:
        parent_key, cross_key, mutate_key = jax.random.split(key, 3)
        children = config.population - config.elites
        worth = fitness_of(evaluator.fitness, state.scores)
        drawn = jax.random.randint(parent_key, (2, children, config.tournament), 0, config.population)
        parents = jnp.take_along_axis(drawn, jnp.argmin(worth[drawn], axis=-1)[..., None], -1)[..., 0]
        from_second, mixed = crossover(cross_key, children, state.genomes.shape[1:3])
        base = select(from_second, state.genomes[parents[1]], state.genomes[parents[0]])
        other = select(from_second, state.genomes[parents[0]], state.genomes[parents[1]])
        keys = jax.random.split(mutate_key, children)
        genomes = jax.vmap(mutate)(keys, select(mixed, other, base))
        votes = select(from_second, state.votes[parents[1]], state.votes[parents[0]])
        votes = evaluate.revote(evaluator, fold, votes, base, genomes)
        scores = evaluate.score(evaluator, fold, genomes, votes)
        work = evaluate.fits(base, genomes).astype(jnp.int32)

        order = jnp.argsort(worth, stable=True)[: config.elites]
        pool = (take(state.genomes, order), take(state.votes, order), take(state.scores, order))
        genomes, votes, scores = jax.tree.map(
            lambda old, new: jnp.concatenate([old, new]), pool, (genomes, votes, scores)
        )
        best, best_scores = evaluate.keep_best(evaluator, state, genomes, scores)
        new = SearchState(genomes, votes, scores, best, best_scores, (), state.step + 1)
        info = StepInfo(jnp.int32(children), work, jnp.int32(children), new.scores.loss)
        return new, info

    def crossover(key, children: int, shape):
        """Clusters ``[C, K]`` that the second parent gives, and neurons ``[C, K, n]`` of one more."""
        clusters, size = shape
        two_key, cut_key, within_key, where_key, which_key = jax.random.split(key, 5)
        two = jax.random.bernoulli(two_key, config.crossover, (children, 1))
        cut = jax.random.randint(cut_key, (children, 1), 1, max(clusters, 2))
        from_second = two & (jnp.arange(clusters) >= cut)
        mixes = two & jax.random.bernoulli(within_key, config.mixing, (children, 1))
        where = jnp.arange(clusters) == jax.random.randint(where_key, (children, 1), 0, clusters)
        mixed = (mixes & where)[..., None] & jax.random.bernoulli(which_key, 0.5, (children, clusters, size))
        return from_second, mixed

    def mutate(key, genome):
        rate_key, move_key = jax.random.split(key)
        clusters, size, _ = genome.shape
        # Moves are made for a few slots and not for all: six standard deviations more than are expected.
        mean = config.mutation * size
        most = min(size, math.ceil(mean + 6 * math.sqrt(mean)))
        if not most:
            return genome
        chance = jax.random.uniform(rate_key, (clusters, size))
        places = jnp.argsort(chance, axis=-1)[:, :most]
        hit = jnp.take_along_axis(chance, places, axis=-1) < config.mutation
        keys = jax.random.split(move_key, (1, clusters, most, 1))
        moves = move_all(keys, bounds, config.dimensions, genome[None], places[None])[0, :, :, 0]
        kept = jnp.take_along_axis(genome, places[..., None], axis=1)
        mutant = genome.at[jnp.arange(clusters)[:, None], places].set(select(hit, moves, kept))
        # Each move kept to the bounds, but several may have taken the same cluster's last neurons.
        enough = connectivity.neurons_present(mutant) >= bounds.min_neurons
        return select(enough, mutant, genome)

    name = phase_name("ga", config.dimensions)
    return SearchAlgorithm(init, step, name, evaluator, config, config.population)
