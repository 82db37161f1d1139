"""Simulated annealing: independent chains that propose one new neuron for each cluster in every step.

Source: Kirkpatrick, Gelatt and Vecchi 1983, "Optimization by Simulated Annealing"; docs/semantics/search.md
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.search import evaluate, local
from wnn_jax.search.base import Evaluator, SearchAlgorithm, SearchState, StepInfo
from wnn_jax.search.fitness import FitnessConfig
from wnn_jax.search.moves import DIMENSIONS, Dimension, need_dimensions, phase_name
from wnn_jax.search.objective import Fold, Objective


@dataclasses.dataclass(frozen=True)
class AnnealingConfig:
    """Configures simulated annealing.

    Attributes:
      starts: number of chains, which is the population.
      temperature: temperature of the first step, in units of the loss (nats). 0 accepts no worse genome.
      cooling: factor by which every step multiplies the temperature, above 0 and at most 1.
      caution: number of standard errors that are added to the change of every move, so that a move must be
        clearly better.
      dimensions: the parts of a genome that moves may change: neurons, bits, connections.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/search.md
    """

    starts: int = 1
    temperature: float = 2e-5
    cooling: float = 0.995
    caution: float = 1.0
    dimensions: tuple[Dimension, ...] = DIMENSIONS

    def __post_init__(self):
        some = Limits(least=0)
        checks.fields(
            self, starts=Limits(least=1), temperature=some, cooling=Limits(above=0, most=1), caution=some
        )
        need_dimensions(self.dimensions)


@functools.cache  # a second call returns the same functions, which are compiled already
def annealing(
    objective: Objective,
    config: AnnealingConfig = AnnealingConfig(),
    fitness: FitnessConfig = FitnessConfig(),
    mesh: jax.sharding.Mesh | None = None,
) -> SearchAlgorithm:
    """Make a simulated annealing search. Each genome of the population is a chain of its own.

    A step proposes one move in every cluster. A move that is better is accepted; a move that is worse by d is
    accepted with probability ``exp(-d / temperature)``.

    Args:
      objective: the objective that the search improves.
      config: settings.
      fitness: the order of genomes.
      mesh: devices over which neurons are spread, see `evaluate.mesh`; None for one device.

    Returns:
      The algorithm, for `run`.

    Raises:
      ValueError: the fitness cannot judge one cluster alone.

    Source: Kirkpatrick, Gelatt and Vecchi 1983; docs/semantics/search.md
    """
    evaluator = Evaluator(objective, fitness, mesh)
    local.require_separable(evaluator, "annealing")

    def init(fold: Fold, genomes: jax.Array) -> SearchState:
        return evaluate.start(evaluator, fold, genomes, ())

    def step(key: jax.Array, fold: Fold, state: SearchState) -> tuple[SearchState, StepInfo]:
        move_key, accept_key = jax.random.split(key)
        places, moves = local.propose(move_key, evaluator, fold, config.dimensions, state.genomes, 1, 1)
        found = evaluate.neighbours(evaluator, fold, state.genomes, state.votes, places, moves)
        temperature = config.temperature * config.cooling ** state.step.astype(jnp.float32)
        limit = -temperature * jnp.log(
            jax.random.uniform(accept_key, found.change.shape, jnp.float32, minval=1e-30)
        )
        taken = found.change + config.caution * found.error < jnp.maximum(limit, 0.0)
        new = local.settle(evaluator, fold, state, found, taken)
        candidates = jnp.int32(taken.size)
        work = candidates if evaluator.whole else 2 * candidates
        info = StepInfo(candidates, fits=work, accepted=taken.sum(dtype=jnp.int32), loss=new.scores.loss)
        return new, info

    name = phase_name("annealing", config.dimensions)
    return SearchAlgorithm(init, step, name, evaluator, config, config.starts)
