"""Searches connectivities: the input bits that each neuron reads, and the number of neurons.

    objective = search.TargetBits(search.Bounds(inputs, max_neurons=8, max_bits=6), clusters)
    algorithm = search.tabu(objective, search.TabuConfig(sites=4))
    result = search.run(key, algorithm, ram.examples(X, Y), search.RunConfig(steps=200), on_step=print)
    layer = ram.fit(key, ram.LayerConfig(), X, Y, connections=result.genome)

`run` cuts the examples into folds, validates the best genome, stops when its patience or budget is used up,
and can resume a stopped search. An algorithm is two pure functions, which `jit` can compile:
``state = algorithm.init(fold, genomes)`` and ``state, info = algorithm.step(key, fold, state)``.

Genomes of different sizes are stored in arrays of one size, padded (`Bounds`). A genome is scored on examples
on which it was not fitted. An algorithm never returns a genome that is worse than the best one that it has
seen on the same fold. `objective` shows how to write an objective of your own in 15 lines.

Source: docs/semantics/search.md
"""

from wnn_jax.search.adaptation import AdaptationConfig, adapt
from wnn_jax.search.annealing import AnnealingConfig, annealing
from wnn_jax.search.base import Evaluator, SearchAlgorithm, SearchState, StepInfo
from wnn_jax.search.cut import votes_mebibytes
from wnn_jax.search.evaluate import mesh
from wnn_jax.search.fitness import FITNESSES, FitnessConfig, GenomeScores, fitness_of
from wnn_jax.search.genetic import GeneticConfig, genetic
from wnn_jax.search.grid import GridConfig, grid
from wnn_jax.search.moves import DIMENSIONS, Bounds
from wnn_jax.search.objective import Fold, Objective, Separable, TargetBits, Whole, fold
from wnn_jax.search.plan import SearchPlan
from wnn_jax.search.random import RandomConfig, random_search
from wnn_jax.search.report import Report, Result, RunConfig
from wnn_jax.search.run import run
from wnn_jax.search.tabu import TabuConfig, tabu

__all__ = [
    "DIMENSIONS",
    "FITNESSES",
    "AdaptationConfig",
    "AnnealingConfig",
    "Bounds",
    "Evaluator",
    "FitnessConfig",
    "Fold",
    "GeneticConfig",
    "GenomeScores",
    "GridConfig",
    "Objective",
    "RandomConfig",
    "Report",
    "Result",
    "RunConfig",
    "SearchAlgorithm",
    "SearchPlan",
    "SearchState",
    "Separable",
    "StepInfo",
    "TabuConfig",
    "TargetBits",
    "Whole",
    "adapt",
    "annealing",
    "fitness_of",
    "fold",
    "genetic",
    "grid",
    "mesh",
    "random_search",
    "run",
    "tabu",
    "votes_mebibytes",
]
