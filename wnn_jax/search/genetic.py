"""A genetic algorithm over whole genomes, with elites, tournaments, crossover and mutation.

Source: Holland 1975, "Adaptation in Natural and Artificial Systems"; docs/semantics/search.md
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.ram import connectivity
from wnn_jax.search import evaluate, whole
from wnn_jax.search.base import Evaluator, SearchAlgorithm, SearchState, StepInfo, select, take
from wnn_jax.search.fitness import FitnessConfig, fitness_of
from wnn_jax.search.moves import DIMENSIONS, Dimension, move_all, need_dimensions, phase_name
from wnn_jax.search.objective import Fold, Objective


@dataclasses.dataclass(frozen=True)
class GeneticConfig:
    """Configures the genetic algorithm.

    Attributes:
      population: number of genomes of a generation, P.
      elites: number of the fittest genomes that are kept unchanged.
      tournament: number of genomes drawn for each parent; the fittest of them becomes the parent.
      crossover: probability that a child has two parents.
      mixing: probability that a child of two parents also takes one cluster from both, neuron by neuron.
      mutation: probability that a move changes a neuron or an empty slot.
      dimensions: the parts of a genome that moves may change: neurons, bits, connections.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/search.md
    """

    population: int = 50
    elites: int = 5
    tournament: int = 3
    crossover: float = 0.7
    mixing: float = 0.1
    mutation: float = 0.01
    dimensions: tuple[Dimension, ...] = DIMENSIONS

    def __post_init__(self):
        chance = Limits(least=0, most=1)
        checks.fields(
            self,
            population=Limits(least=2),
            elites=Limits(least=1),
            tournament=Limits(least=1),
            crossover=chance,
            mixing=chance,
            mutation=chance,
        )
        need_dimensions(self.dimensions)
        if self.elites >= self.population:
            raise ValueError(
                f"a population of {self.population} cannot keep {self.elites} elites: the number of elites "
                f"must be 1 to {self.population - 1}; change elites or population"
            )


@functools.cache  # a second call returns the same functions, which are compiled already
def genetic(
    objective: Objective,
    config: GeneticConfig = GeneticConfig(),
    fitness: FitnessConfig = FitnessConfig(),
    mesh: jax.sharding.Mesh | None = None,
) -> SearchAlgorithm:
    """Make a genetic search. A generation has the elites of the last one, fittest first, and then children.

    Args:
      objective: the objective that the search improves.
      config: settings.
      fitness: the order of genomes.
      mesh: devices over which neurons are spread, see `evaluate.mesh`; None for one device.

    Returns:
      The algorithm, for `run`.

    Raises:
      ValueError: the objective is `Whole`; or in ``init``, if the number of genomes is not the population of
        ``config``.

    Source: Holland 1975; docs/semantics/search.md
    """
    evaluator = Evaluator(objective, fitness, mesh)
    whole.refuse(evaluator, "the genetic algorithm")
    bounds = objective.bounds

    def init(fold: Fold, genomes: jax.Array) -> SearchState:
        if genomes.shape[0] != config.population:
            raise ValueError(
                f"init needs {config.population} genomes, the population of its config, got "
                f"{genomes.shape[0]}: give that number"
            )
        return evaluate.start(evaluator, fold, genomes, ())

    def step(key: jax.Array, fold: Fold, state: SearchState) -> tuple[SearchState, StepInfo]:
        parent_key, cross_key, mutate_key = jax.random.split(key, 3)
        children = config.population - config.elites
        worth = fitness_of(evaluator.fitness, state.scores)
        drawn = jax.random.randint(
            parent_key, (2, children, config.tournament), 0, config.population, jnp.int32
        )
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
        """Draw the clusters that come from the second parent, ``[children, K]``, and the mixed neurons.

        The mixed neurons ``[children, K, n]`` are half of the neurons of one cluster; they come from the
        parent that did not give this cluster.
        """
        clusters, size = shape
        two_key, cut_key, within_key, where_key, which_key = jax.random.split(key, 5)
        two = jax.random.bernoulli(two_key, jnp.float32(config.crossover), (children, 1))
        cut = jax.random.randint(cut_key, (children, 1), 1, max(clusters, 2), jnp.int32)
        from_second = two & (jnp.arange(clusters) >= cut)
        mixes = two & jax.random.bernoulli(within_key, jnp.float32(config.mixing), (children, 1))
        where = jnp.arange(clusters) == jax.random.randint(where_key, (children, 1), 0, clusters, jnp.int32)
        mixed = (mixes & where)[..., None] & jax.random.bernoulli(
            which_key, jnp.float32(0.5), (children, clusters, size)
        )
        return from_second, mixed

    def mutate(key, genome):
        rate_key, move_key = jax.random.split(key)
        clusters, size, _ = genome.shape
        # Moves are made for some slots, not for all: for six standard deviations more than the mean number.
        mean = config.mutation * size
        most = min(size, math.ceil(mean + 6 * math.sqrt(mean)))
        if not most:
            return genome
        chance = jax.random.uniform(rate_key, (clusters, size), jnp.float32)
        places = jnp.argsort(chance, axis=-1)[:, :most]
        hit = jnp.take_along_axis(chance, places, axis=-1) < config.mutation
        keys = jax.random.split(move_key, (1, clusters, most, 1))
        moves = move_all(keys, bounds, config.dimensions, genome[None], places[None])[0, :, :, 0]
        kept = jnp.take_along_axis(genome, places[..., None], axis=1)
        mutant = genome.at[jnp.arange(clusters, dtype=jnp.int32)[:, None], places].set(
            select(hit, moves, kept)
        )
        # Each move keeps the bounds, but several moves together may remove too many neurons of a cluster.
        enough = connectivity.neurons_present(mutant) >= bounds.min_neurons
        return select(enough, mutant, genome)

    name = phase_name("ga", config.dimensions)
    return SearchAlgorithm(init, step, name, evaluator, config, config.population)
