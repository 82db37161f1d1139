"""The part that annealing and tabu search share: neighbours of one neuron, taken in every cluster at once.

Clusters hardly feel each other: in a bitwise language model a token's nats are the sum of its bits' losses
and one logarithm of the normaliser. So each decides on its own, with the others as they were, and the
genome that results is scored exactly.
"""

import jax
import jax.numpy as jnp

from wnn_jax.ram import connectivity
from wnn_jax.search import evaluate
from wnn_jax.search.base import Evaluator, SearchState, select
from wnn_jax.search.moves import move_all
from wnn_jax.search.objective import Fold


def require_separable(evaluator: Evaluator, name: str) -> None:
    """Refuse a fitness for which one cluster's change cannot be judged alone.

    Raises:
      ValueError: the fitness needs whole genomes.
    """
    if not evaluator.fitness.separable:
        raise ValueError(
            f"{name} judges one cluster at a time and needs the fitness loss without an accuracy floor, got "
            f"{evaluator.fitness.fitness!r} with floor {evaluator.fitness.accuracy_floor}: use the genetic "
            "algorithm"
        )


def propose(key, evaluator: Evaluator, dimensions, genomes, sites: int, candidates: int):
    """Random places ``[P, K, S]``, distinct in a cluster, and moves ``[P, K, S, C, T]`` for each.

    A place holds a neuron; where ``neurons`` may change, one place in ten tries an empty slot instead.
    """
    population, clusters = genomes.shape[:2]
    order_key, slot_key, move_key = jax.random.split(key, 3)
    present = jnp.any(genomes != connectivity.UNUSED, axis=-1)
    chance = jax.random.uniform(order_key, present.shape)
    if "neurons" in dimensions:
        empty_first = jax.random.bernoulli(slot_key, 0.1, (population, clusters, 1))
        chance = chance - (present != empty_first)
    else:
        chance = chance - present
    places = jnp.argsort(chance, axis=-1)[..., :sites].astype(jnp.int32)
    keys = jax.random.split(move_key, (population, clusters, sites, candidates))
    return places, move_all(keys, evaluator.objective.bounds, dimensions, genomes, places)


def settle(
    evaluator: Evaluator, fold: Fold, state: SearchState, found: evaluate.Neighbours, taken
) -> SearchState:
    """The genomes after some moves, at most one of each place, scored anew.

    Args:
      taken: ``bool [P, K, S, C]``.
    """
    population, clusters, _, _ = taken.shape
    p, k = jnp.arange(population)[:, None, None], jnp.arange(clusters)[:, None]
    at = taken.any(axis=-1)
    old = jnp.take_along_axis(state.genomes, found.places[..., None], axis=2)
    moved = jnp.take_along_axis(found.moves, jnp.argmax(taken, axis=-1)[..., None, None], axis=3)[..., 0, :]
    genomes = state.genomes.at[p, k, found.places].set(select(at, moved, old))
    votes = state.votes + gained(found.votes, taken)
    scores = evaluate.score(evaluator, fold, genomes, votes)
    best, best_scores = evaluate.keep_best(evaluator, state, genomes, scores)
    step = state.step + 1
    return state._replace(
        genomes=genomes, votes=votes, scores=scores, best=best, best_scores=best_scores, step=step
    )


def gained(gains: jax.Array, taken: jax.Array) -> jax.Array:
    """The sum of what the taken moves of every cluster gain, ``[P, K, ...]``."""
    extra = gains.ndim - taken.ndim
    return jnp.where(taken.reshape(*taken.shape, *[1] * extra), gains, 0).sum(axis=(2, 3), dtype=gains.dtype)
