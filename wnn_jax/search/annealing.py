"""Simulated annealing: parallel chains, one proposed neuron a cluster and step (spec ram_lm 4.2)."""

import dataclasses

import jax
import jax.numpy as jnp

from wnn_jax.ram import connectivity
from wnn_jax.search import evaluate, local
from wnn_jax.search.base import Data, Info, Objective, SearchAlgorithm, State


@dataclasses.dataclass(frozen=True)
class AnnealingConfig:
    """How chains cool.

    Attributes:
      temperature: nats, of the first step.
      cooling: factor on the temperature, every step; 0 nats accepts nothing worse.
      caution: standard errors by which a move must be better to count as better (see `TabuConfig`).
      dimensions: what moves may change (`connectivity.DIMENSIONS`).

    Raises:
      ValueError: a value is out of range.
    """

    temperature: float = 2e-5
    cooling: float = 0.995
    caution: float = 1.0
    dimensions: tuple[str, ...] = connectivity.DIMENSIONS

    def __post_init__(self):
        if min(self.temperature, self.caution) < 0 or not 0 < self.cooling <= 1:
            raise ValueError(
                f"annealing needs a temperature and a caution of 0 or more and a cooling in (0, 1], got "
                f"{self.temperature}, {self.caution} and {self.cooling}"
            )


def annealing(objective: Objective, config: AnnealingConfig) -> SearchAlgorithm:
    """Chains, one a genome of the population, that never meet.

    In every cluster one neuron's move is accepted if it is better, or with probability
    ``exp(-worse / temperature)``.

    Raises:
      ValueError: the objective's fitness needs whole genomes.
    """
    local.require_separable(objective, "annealing")

    def init(data: Data, genomes: jax.Array) -> State:
        return local.start(objective, data, genomes, ())

    def step(key: jax.Array, data: Data, state: State) -> tuple[State, Info]:
        move_key, accept_key = jax.random.split(key)
        places, moves = local.propose(move_key, objective, config.dimensions, state.genomes, 1, 1)
        found = evaluate.neighbours(objective, data, state.genomes, state.votes, places, moves)
        temperature = config.temperature * config.cooling ** state.step.astype(jnp.float32)
        limit = -temperature * jnp.log(jax.random.uniform(accept_key, found.change.shape, minval=1e-30))
        taken = found.change + config.caution * found.error < jnp.maximum(limit, 0.0)
        new = local.settle(objective, data, state, found, taken)
        candidates = jnp.int32(taken.size)
        info = Info(candidates, fits=2 * candidates, accepted=taken.sum(), ce=new.scores.ce)
        return new, info

    return SearchAlgorithm(init, step)
