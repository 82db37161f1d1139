"""Search over connectivity: which input bits each neuron reads, and how many neurons there are.

Every algorithm is a `SearchAlgorithm` of two pure functions that `jit` takes whole:

    algorithm = annealing(objective, AnnealingConfig(chains=4))
    state = jax.jit(algorithm.init)(data, genomes)
    state, info = jax.jit(algorithm.step)(key, data, state)

Genomes of any size share one padded array (`connectivity.Bounds`). They are scored on examples that they
were not fitted on, and no algorithm returns anything worse than the best it has seen on the same data.
"""

from wnn_jax.search.adaptation import AdaptationConfig, adapt
from wnn_jax.search.annealing import AnnealingConfig, annealing
from wnn_jax.search.base import Data, Info, Objective, Scores, SearchAlgorithm, State
from wnn_jax.search.evaluate import evaluated, fits, full_votes, neighbours, replicate, revote, score
from wnn_jax.search.fitness import FITNESSES, FitnessConfig, fitness
from wnn_jax.search.genetic import GeneticConfig, genetic
from wnn_jax.search.phases import Phase, fold, grid, handed_on, parse, rescore
from wnn_jax.search.random import RandomConfig, random_search
from wnn_jax.search.tabu import TabuConfig, tabu

__all__ = [
    "FITNESSES",
    "AdaptationConfig",
    "AnnealingConfig",
    "Data",
    "FitnessConfig",
    "GeneticConfig",
    "Info",
    "Objective",
    "Phase",
    "RandomConfig",
    "Scores",
    "SearchAlgorithm",
    "State",
    "TabuConfig",
    "adapt",
    "annealing",
    "evaluated",
    "fitness",
    "fits",
    "fold",
    "full_votes",
    "genetic",
    "grid",
    "handed_on",
    "neighbours",
    "parse",
    "random_search",
    "replicate",
    "rescore",
    "revote",
    "score",
    "tabu",
]
