"""Tabu search: each step takes the best neighbour that is not tabu, even if it is worse.

Source: Glover 1989, "Tabu Search, Part I"; docs/semantics/search.md
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.ram import connectivity
from wnn_jax.search import evaluate, local
from wnn_jax.search.base import Evaluator, SearchAlgorithm, SearchState, StepInfo, select, take
from wnn_jax.search.fitness import FitnessConfig, fitness_of
from wnn_jax.search.moves import DIMENSIONS, Dimension, need_dimensions, phase_name
from wnn_jax.search.objective import Fold, Objective


@dataclasses.dataclass(frozen=True)
class TabuConfig:
    """Configures tabu search.

    Attributes:
      starts: number of genomes that are improved side by side, which is the population.
      sites: number of neurons of every cluster for which a step tries moves.
      neighbours: number of moves that a step tries for each of these neurons.
      tenure: number of steps for which a changed neuron is tabu.
      share: number of steps after which the worst genome is replaced by the best one; 0 for never.
      caution: number of standard errors that are added to the change of every move. A step tries thousands of
        moves, and without caution it would take some that are better only by chance.
      ramp: number of steps over which caution rises from 0 to its value, because early moves gain much.
      dimensions: the parts of a genome that moves may change: neurons, bits, connections.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/search.md
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
        one, none = Limits(least=1), Limits(least=0)
        checks.fields(
            self,
            starts=one,
            sites=one,
            neighbours=one,
            tenure=none,
            share=none,
            caution=none,
            ramp=none,
        )
        need_dimensions(self.dimensions)


@functools.cache  # a second call returns the same functions, which are compiled already
def tabu(
    objective: Objective,
    config: TabuConfig = TabuConfig(),
    fitness: FitnessConfig = FitnessConfig(),
    mesh: jax.sharding.Mesh | None = None,
) -> SearchAlgorithm:
    """Make a tabu search. Each genome of the population is improved on its own.

    A step takes the best move of every cluster whose neuron is not tabu, the first of equal ones. A move of a
    tabu neuron is allowed if it alone would make the genome better than the best one so far (aspiration). If
    no move of a cluster is allowed, the cluster stays as it is.

    The gains of several moves in a cluster nearly add up. So a step also tries one compound move: the best
    allowed move of every site at which it is better than no move. It is taken if it is better than the best
    single move.

    Args:
      objective: the objective that the search improves.
      config: settings.
      fitness: the order of genomes.
      mesh: devices over which neurons are spread, see `evaluate.mesh`; None for one device.

    Returns:
      The algorithm, for `run`.

    Raises:
      ValueError: the fitness cannot judge one cluster alone, a cluster has fewer neurons than sites, or there
        are several starts for an objective that is `Whole`.

    Source: Glover 1989, "Tabu Search, Part I"; docs/semantics/search.md
    """
    evaluator = Evaluator(objective, fitness, mesh)
    local.require_separable(evaluator, "tabu search")
    if evaluator.whole and config.starts > 1:
        raise ValueError(
            f"tabu search of {type(objective).__name__}, which judges genomes as a whole, has one start, got "
            f"starts={config.starts}: lower it to 1"
        )
    if config.sites > objective.bounds.max_neurons:
        raise ValueError(
            f"tabu search with {config.sites} sites needs at least {config.sites} neurons in a cluster, but "
            f"the bounds allow {objective.bounds.max_neurons}: lower sites, or raise max_neurons"
        )

    def init(fold: Fold, genomes: jax.Array) -> SearchState:
        return evaluate.start(evaluator, fold, genomes, jnp.zeros(genomes.shape[:3], jnp.int32))

    def step(key: jax.Array, fold: Fold, state: SearchState) -> tuple[SearchState, StepInfo]:
        sites, count = config.sites, config.neighbours
        places, moves = local.propose(key, evaluator, fold, config.dimensions, state.genomes, sites, count)
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
        all_better, together = local.compound(
            evaluator, fold, state, found, allowed, least[..., 0, 0], caution
        )
        enough = jax.vmap(connectivity.neurons_present)(state.genomes) + local.gained(
            found.neurons, all_better
        )
        compound = (together < least[..., 0, 0]) & (enough >= evaluator.objective.bounds.min_neurons)
        taken = select(compound, all_better, best)

        new = local.settle(evaluator, fold, state, found, taken)
        p, k = (
            jnp.arange(taken.shape[0], dtype=jnp.int32)[:, None, None],
            jnp.arange(taken.shape[1], dtype=jnp.int32)[:, None],
        )
        until = jnp.take_along_axis(state.memory, places, axis=2)
        until = jnp.where(taken.any(axis=-1), new.step + config.tenure, until)
        new = new._replace(memory=state.memory.at[p, k, places].set(until))
        info = StepInfo(
            candidates=jnp.int32(taken.size + together.size),
            fits=jnp.int32(taken.size + (together.size if evaluator.whole else places.size)),
            accepted=taken.sum(dtype=jnp.int32),
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


def _first(marked: jax.Array) -> jax.Array:
    """Keep the first mark of every cluster of ``bool [P, K, S, C]``."""
    flat = marked.reshape(*marked.shape[:2], -1)
    return local.first_in_place(flat).reshape(marked.shape)
