"""Local search, which annealing and tabu search share: moves of single neurons, in all clusters at once.

Each cluster chooses its move as if the other clusters stayed as they are. This is nearly right: in a bitwise
language model the nats of a token are the sum of its bits' losses plus one logarithm of the normaliser, and
only the latter joins the clusters. The genome with all moves is then scored exactly.

Source: docs/semantics/search.md
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.ram import connectivity
from wnn_jax.search import evaluate, whole
from wnn_jax.search.base import Evaluator, SearchState, select
from wnn_jax.search.moves import move_all
from wnn_jax.search.objective import Fold


def require_separable(evaluator: Evaluator, name: str) -> None:
    """Refuse a fitness that cannot judge a change of one cluster alone.

    Args:
      evaluator: gives the fitness.
      name: name of the algorithm, for the message.

    Raises:
      ValueError: the fitness needs the scores of whole genomes.

    Source: docs/semantics/search.md
    """
    if not evaluator.fitness.separable:
        raise ValueError(
            f"{name} judges one cluster at a time and needs the fitness loss with accuracy_floor 0, got "
            f"{evaluator.fitness.fitness!r} with accuracy_floor {evaluator.fitness.accuracy_floor}: use the "
            "genetic algorithm"
        )


def propose(key, evaluator: Evaluator, fold: Any, dimensions, genomes, sites: int, candidates: int):
    """Draw places of neurons and moves for each place.

    Slots with a neuron are preferred. If the dimension ``neurons`` may change, one cluster in ten prefers its
    empty slots instead. An objective that is `Whole` draws its own places and moves.

    Args:
      key: draws places and moves.
      evaluator: gives the bounds.
      fold: the data of an objective that is `Whole`; others do not look at it.
      dimensions: the parts of a genome that moves may change.
      genomes: ``int [P, K, n, T]``.
      sites: S, the number of places in each cluster.
      candidates: C, the number of moves for each place.

    Returns:
      The places ``int32 [P, K, S]``, distinct in a cluster, and the moves ``int [P, K, S, C, T]``.

    Source: docs/semantics/search.md
    """
    if evaluator.whole:
        return evaluator.objective.propose(key, fold, dimensions, np.asarray(genomes), sites, candidates)
    population, clusters = genomes.shape[:2]
    order_key, slot_key, move_key = jax.random.split(key, 3)
    present = jnp.any(genomes != connectivity.UNUSED, axis=-1)
    chance = jax.random.uniform(order_key, present.shape, jnp.float32)
    if "neurons" in dimensions:
        empty_first = jax.random.bernoulli(slot_key, jnp.float32(0.1), (population, clusters, 1))
        chance = chance - (present != empty_first)
    else:
        chance = chance - present
    places = jnp.argsort(chance, axis=-1)[..., :sites].astype(jnp.int32)
    keys = jax.random.split(move_key, (population, clusters, sites, candidates))
    return places, move_all(keys, evaluator.objective.bounds, dimensions, genomes, places)


def settle(
    evaluator: Evaluator, fold: Fold, state: SearchState, found: evaluate.Neighbours, taken
) -> SearchState:
    """Apply the chosen moves to the population and score it.

    Args:
      evaluator: gives the objective, the fitness and the mesh.
      fold: examples to fit on, and examples to score on.
      state: the state before the moves.
      found: all moves and their changes.
      taken: ``bool [P, K, S, C]``, the chosen moves, at most one for each place.

    Returns:
      The state after the moves; its memory is unchanged.

    Source: docs/semantics/search.md
    """
    population, clusters, _, _ = taken.shape
    p, k = (
        jnp.arange(population, dtype=jnp.int32)[:, None, None],
        jnp.arange(clusters, dtype=jnp.int32)[:, None],
    )
    at = taken.any(axis=-1)
    old = jnp.take_along_axis(state.genomes, found.places[..., None], axis=2)
    moved = jnp.take_along_axis(found.moves, jnp.argmax(taken, axis=-1)[..., None, None], axis=3)[..., 0, :]
    genomes = state.genomes.at[p, k, found.places].set(select(at, moved, old))
    if evaluator.whole:  # the losses of several moves do not add up
        votes = whole.losses(evaluator, fold, genomes)
    else:
        votes = state.votes + gained(found.votes, taken)
    scores = evaluate.score(evaluator, fold, genomes, votes)
    best, best_scores = evaluate.keep_best(evaluator, state, genomes, scores)
    step = state.step + 1
    return state._replace(
        genomes=genomes, votes=votes, scores=scores, best=best, best_scores=best_scores, step=step
    )


def compound(
    evaluator: Evaluator, fold: Fold, state: SearchState, found: evaluate.Neighbours, change, best, caution
):
    """Find the moves of a cluster that are made together, and their change.

    Args:
      evaluator: gives the objective, the fitness and the mesh.
      fold: examples to fit on, and examples to score on.
      state: the state before the moves.
      found: all moves and their changes.
      change: ``float32 [P, K, S, C]``, the change of each move, with caution; infinite if it is not allowed.
      best: ``float32 [P, K]``, the change of the best single move.
      caution: number of standard errors that are added to a change.

    Returns:
      The best move of every place where it is better than no move, ``bool [P, K, S, C]``; and their common
      change with caution, ``float32 [P, K]``. An objective that is `Whole` may give fewer of these moves, see
      `wnn_jax.search.whole.together`.

    Source: docs/semantics/search.md
    """
    better = first_in_place(change == change.min(axis=3, keepdims=True)) & (change < 0)
    if evaluator.whole:
        moves = found.places, found.moves, jnp.where(better, change, jnp.inf)
        return whole.together(evaluator, fold, (state.genomes, state.votes), moves, best, caution)
    gains = (gained(x, better) for x in (found.votes, found.neurons, found.table))
    together, error = evaluate.cluster_changes(evaluator, fold, state.genomes, state.votes, *gains)
    return better, together + caution * error


def first_in_place(marked: jax.Array) -> jax.Array:
    """Keep the first mark along the last axis of ``bool [P, K, S, C]``.

    Source: docs/semantics/search.md
    """
    return marked & (jnp.cumsum(marked, axis=-1) == 1)


def gained(gains: jax.Array, taken: jax.Array) -> jax.Array:
    """Sum the changes of the chosen moves of every cluster.

    Args:
      gains: ``[P, K, S, C, ...]``, the change that each move makes.
      taken: ``bool [P, K, S, C]``, the chosen moves.

    Returns:
      ``[P, K, ...]``, with the dtype of ``gains``.

    Source: docs/semantics/search.md
    """
    extra = gains.ndim - taken.ndim
    return jnp.where(taken.reshape(*taken.shape, *[1] * extra), gains, 0).sum(axis=(2, 3), dtype=gains.dtype)
