"""What annealing and tabu search share: neighbours of one neuron, taken in every cluster at once.

A token's nats are the sum of its bits' losses and one logarithm of the normaliser, so clusters hardly
feel each other: each decides on its own, with the others as they were, and the genome that results is
scored exactly.
"""

import jax
import jax.numpy as jnp

from wnn_jax.ram import connectivity
from wnn_jax.search import evaluate
from wnn_jax.search.base import Data, Objective, Scores, State, select, take
from wnn_jax.search.fitness import fitness


def require_separable(objective: Objective, name: str) -> None:
    """
    Raises:
      ValueError: the fitness needs whole genomes.
    """
    if not objective.fitness.separable:
        raise ValueError(
            f"{name} judges one cluster at a time and needs the fitness ce without an accuracy floor, got "
            f"{objective.fitness.kind!r} with floor {objective.fitness.accuracy_floor}: use ga"
        )


def start(objective: Objective, data: Data, genomes: jax.Array, memory) -> State:
    """The state of a population that has only been scored."""
    votes, scores = evaluate.evaluated(objective, data, genomes)
    first = jnp.argmin(fitness(objective.fitness, scores))
    zero = jnp.zeros((), jnp.int32)
    return State(genomes, votes, scores, genomes[first], take(scores, first), memory, zero)


def keep_best(objective: Objective, state: State, genomes, scores: Scores) -> tuple[jax.Array, Scores]:
    """The fittest of the best so far and a population; the old one on a tie."""
    pool = jax.tree.map(lambda old, new: jnp.concatenate([old[None], new]), state.best_scores, scores)
    first = jnp.argmin(fitness(objective.fitness, pool))
    best = jnp.where(first == 0, state.best, genomes[jnp.maximum(first - 1, 0)])
    return best, take(pool, first)


def propose(key, objective: Objective, dimensions, genomes, sites: int, candidates: int):
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

    def one(key, cluster, place):
        return connectivity.move(key, objective.bounds, dimensions, cluster, place)

    per_candidate = jax.vmap(one, (0, None, None))
    per_site = jax.vmap(per_candidate, (0, None, 0))
    moves = jax.vmap(jax.vmap(per_site))(keys, genomes, places)
    return places, moves.astype(genomes.dtype)


def settle(objective: Objective, data: Data, state: State, found: evaluate.Neighbours, taken) -> State:
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
    scores = evaluate.score(objective, data, genomes, votes)
    best, best_scores = keep_best(objective, state, genomes, scores)
    step = state.step + 1
    return state._replace(
        genomes=genomes, votes=votes, scores=scores, best=best, best_scores=best_scores, step=step
    )


def gained(gains: jax.Array, taken: jax.Array) -> jax.Array:
    """The sum of what the taken moves of every cluster gain, ``[P, K, ...]``."""
    extra = gains.ndim - taken.ndim
    return jnp.where(taken.reshape(*taken.shape, *[1] * extra), gains, 0).sum(axis=(2, 3), dtype=gains.dtype)
