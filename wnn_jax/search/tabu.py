"""Tabu search: the best neighbour that is not tabu, better or not (Glover 1989)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from wnn_jax.ram import connectivity
from wnn_jax.search import evaluate, local
from wnn_jax.search.base import Evaluator, SearchAlgorithm, SearchState, StepInfo, select, take
from wnn_jax.search.fitness import FitnessConfig, fitness_of
from wnn_jax.search.moves import DIMENSIONS, Dimension, phase_name
from wnn_jax.search.objective import Fold, Objective


@dataclasses.dataclass(frozen=True)
class TabuConfig:
    """The neighbourhood and its memory.

    Attributes:
      starts: genomes that are improved side by side and share the best found.
      sites: neurons of every cluster that a step considers.
      neighbours: moves considered for each of them.
      tenure: steps for which a neuron that was moved is tabu.
      share: steps after which the worst of several starts goes on from the best genome; 0 for never.
      caution: standard errors by which a move must be better to count as better. A step sees thousands of
        moves, and the best of many that only seem good are what does not hold on other text.
      ramp: steps over which caution rises from 0 to that; early moves gain much and need little of it.
      dimensions: what moves may change (`moves.DIMENSIONS`).

    Raises:
      ValueError: a value is out of range.
    """

    starts: int = 1
    sites: int = 16
    neighbours: int = 4
    tenure: int = 10
    share: int = 20
    caution: float = 1.0
    ramp: int = 0
    dimensions: tuple[Dimension, ...] = DIMENSIONS

    def __post_init__(self):
        if min(self.starts, self.sites, self.neighbours) < 1:
            raise ValueError(
                f"tabu search needs at least 1 start and 1 neighbour, got starts {self.starts}, sites "
                f"{self.sites} and neighbours {self.neighbours}"
            )
        if min(self.tenure, self.share, self.caution, self.ramp) < 0:
            raise ValueError(
                f"tenure, share, caution and ramp must be 0 or more, got {self.tenure}, {self.share}, "
                f"{self.caution} and {self.ramp}"
            )


@functools.cache  # the same algorithm again is compiled already
def tabu(
    objective: Objective,
    config: TabuConfig = TabuConfig(),
    fitness: FitnessConfig = FitnessConfig(),
    mesh: jax.sharding.Mesh | None = None,
) -> SearchAlgorithm:
    """Tabu search from several starts, one a genome of the population, that share the best found.

    In every cluster the best of the neighbours is taken whose neuron is not tabu; one that is, if it alone
    would make the genome better than the best ever seen (aspiration). Where all are tabu the cluster waits.
    A cluster's moves nearly add up, so its neighbours also include one compound move: the best at every
    site where something is better than staying.

    Args:
      objective: what is searched for.
      config: how.
      fitness: what makes a genome fit.
      mesh: devices to spread neurons over, see `evaluate.mesh`.

    Raises:
      ValueError: the fitness needs whole genomes, or a cluster has fewer neurons than sites.
    """
    evaluator = Evaluator(objective, fitness, mesh)
    local.require_separable(evaluator, "tabu search")
    if config.sites > objective.bounds.max_neurons:
        raise ValueError(
            f"tabu search of {config.sites} sites needs as many neurons a cluster, and the bounds allow "
            f"{objective.bounds.max_neurons}"
        )

    def init(fold: Fold, genomes: jax.Array) -> SearchState:
        return evaluate.start(evaluator, fold, genomes, jnp.zeros(genomes.shape[:3], jnp.int32))

    def step(key: jax.Array, fold: Fold, state: SearchState) -> tuple[SearchState, StepInfo]:
        sites, count = config.sites, config.neighbours
        places, moves = local.propose(key, evaluator, config.dimensions, state.genomes, sites, count)
        found = evaluate.neighbours(evaluator, fold, state.genomes, state.votes, places, moves)
        forbidden = jnp.take_along_axis(state.memory, places, axis=2) > state.step
        worth = fitness_of(evaluator.fitness, state.scores)
        record = fitness_of(evaluator.fitness, jax.tree.map(lambda x: x[None], state.best_scores))
        caution = config.caution * jnp.minimum(1.0, (state.step + 1) / max(config.ramp, 1))
        change = found.change + caution * found.error
        aspires = change < (record - worth)[:, None, None, None]
        allowed = jnp.where(forbidden[..., None] & ~aspires, jnp.inf, change)

        least = allowed.min(axis=(2, 3), keepdims=True)
        best = _first(allowed == least) & jnp.isfinite(least)
        site_best = _first_in_site(allowed == allowed.min(axis=3, keepdims=True))
        all_better = site_best & (allowed < 0)
        gains = (local.gained(x, all_better) for x in (found.votes, found.neurons, found.table))
        together, error = evaluate.cluster_changes(evaluator, fold, state.genomes, state.votes, *gains)
        together = together + caution * error
        enough = jax.vmap(connectivity.neurons_present)(state.genomes) + local.gained(
            found.neurons, all_better
        )
        compound = (together < least[..., 0, 0]) & (enough >= evaluator.objective.bounds.min_neurons)
        taken = select(compound, all_better, best)

        new = local.settle(evaluator, fold, state, found, taken)
        p, k = jnp.arange(taken.shape[0])[:, None, None], jnp.arange(taken.shape[1])[:, None]
        until = jnp.take_along_axis(state.memory, places, axis=2)
        until = jnp.where(taken.any(axis=-1), new.step + config.tenure, until)
        new = new._replace(memory=state.memory.at[p, k, places].set(until))
        info = StepInfo(
            candidates=jnp.int32(taken.size + together.size),
            fits=jnp.int32(taken.size + places.size),
            accepted=taken.sum(),
            loss=new.scores.loss,
        )
        return (share(fold, new) if config.share and taken.shape[0] > 1 else new), info

    def share(fold: Fold, state: SearchState) -> SearchState:
        worst = jnp.argmax(fitness_of(evaluator.fitness, state.scores))

        def move(state: SearchState) -> SearchState:
            votes = evaluate.revote(
                evaluator, fold, take(state.votes, worst)[None], state.genomes[worst][None], state.best[None]
            )
            return state._replace(
                genomes=state.genomes.at[worst].set(state.best),
                votes=state.votes.at[worst].set(votes[0]),
                scores=jax.tree.map(
                    lambda all, best: all.at[worst].set(best), state.scores, state.best_scores
                ),
            )

        return jax.lax.cond(state.step % config.share == 0, move, lambda state: state, state)

    name = phase_name("tabu", config.dimensions)
    return SearchAlgorithm(init, step, name, evaluator, config, config.starts)


def _first_in_site(marked: jax.Array) -> jax.Array:
    """The first mark of every site, of ``bool [P, K, S, C]``."""
    return marked & (jnp.cumsum(marked, axis=-1) == 1)


def _first(marked: jax.Array) -> jax.Array:
    """The first mark of every cluster."""
    flat = marked.reshape(*marked.shape[:2], -1)
    return _first_in_site(flat).reshape(marked.shape)
