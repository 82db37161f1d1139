"""Simulated annealing: parallel chains, one proposed neuron a cluster and step."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from wnn_jax.search import evaluate, local
from wnn_jax.search.base import Evaluator, SearchAlgorithm, SearchState, StepInfo
from wnn_jax.search.fitness import FitnessConfig
from wnn_jax.search.moves import DIMENSIONS, Dimension, phase_name
from wnn_jax.search.objective import Fold, Objective


@dataclasses.dataclass(frozen=True)
class AnnealingConfig:
    """How chains cool.

    Attributes:
      starts: chains.
      temperature: of the first step, in units of the loss (nats).
      cooling: factor on the temperature, every step. A temperature of 0 accepts nothing worse.
      caution: standard errors by which a move must be better to count as better (see `TabuConfig`).
      dimensions: what moves may change (`moves.DIMENSIONS`).

    Raises:
      ValueError: a value is out of range.
    """

    starts: int = 1
    temperature: float = 2e-5
    cooling: float = 0.995
    caution: float = 1.0
    dimensions: tuple[Dimension, ...] = DIMENSIONS

    def __post_init__(self):
        if self.starts < 1:
            raise ValueError(f"annealing needs at least 1 chain, got starts {self.starts}")
        if min(self.temperature, self.caution) < 0 or not 0 < self.cooling <= 1:
            raise ValueError(
                f"annealing needs a temperature and a caution of 0 or more and a cooling in (0, 1], got "
                f"{self.temperature}, {self.caution} and {self.cooling}"
            )


@functools.cache  # the same algorithm again is compiled already
def annealing(
    objective: Objective,
    config: AnnealingConfig = AnnealingConfig(),
    fitness: FitnessConfig = FitnessConfig(),
    mesh: jax.sharding.Mesh | None = None,
) -> SearchAlgorithm:
    """Simulated annealing by chains, one a genome of the population, that never meet.

    In every cluster one neuron's move is accepted if it is better, or with probability
    ``exp(-worse / temperature)``.

    Args:
      objective: what is searched for.
      config: how.
      fitness: what makes a genome fit.
      mesh: devices to spread neurons over, see `evaluate.mesh`.

    Raises:
      ValueError: the fitness needs whole genomes.
    """
    evaluator = Evaluator(objective, fitness, mesh)
    local.require_separable(evaluator, "annealing")

    def init(fold: Fold, genomes: jax.Array) -> SearchState:
        return evaluate.start(evaluator, fold, genomes, ())

    def step(key: jax.Array, fold: Fold, state: SearchState) -> tuple[SearchState, StepInfo]:
        move_key, accept_key = jax.random.split(key)
        places, moves = local.propose(move_key, evaluator, config.dimensions, state.genomes, 1, 1)
        found = evaluate.neighbours(evaluator, fold, state.genomes, state.votes, places, moves)
        temperature = config.temperature * config.cooling ** state.step.astype(jnp.float32)
        limit = -temperature * jnp.log(jax.random.uniform(accept_key, found.change.shape, minval=1e-30))
        taken = found.change + config.caution * found.error < jnp.maximum(limit, 0.0)
        new = local.settle(evaluator, fold, state, found, taken)
        candidates = jnp.int32(taken.size)
        info = StepInfo(candidates, fits=2 * candidates, accepted=taken.sum(), loss=new.scores.loss)
        return new, info

    name = phase_name("annealing", config.dimensions)
    return SearchAlgorithm(init, step, name, evaluator, config, config.starts)
