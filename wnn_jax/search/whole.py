"""Scores genomes of objectives that judge each genome as a whole (`wnn_jax.search.objective.Whole`).

Such an objective runs a model on data on the host. The losses of the M scored examples stand where other
objectives have votes, as ``float32 [P, 1, M]``. Two genomes are compared example by example: the standard
error of a change is that of the mean difference, with the examples' differences taken as independent.

Shape letters of this module: M scored examples, S places of a cluster, C candidates of a place.

Source: docs/semantics/search.md
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.search.base import Evaluator
from wnn_jax.search.fitness import GenomeScores

_PASSING = 2  # one of this number of moves passes the first judgement


def refuse(evaluator: Evaluator, name: str) -> None:
    """Refuse an objective that is `Whole` for an algorithm that needs votes.

    Args:
      evaluator: gives the objective.
      name: name of the algorithm, for the message.

    Raises:
      ValueError: the objective is `Whole`.

    Source: docs/semantics/search.md
    """
    if evaluator.whole:
        raise ValueError(
            f"{name} needs neurons with votes, but {type(evaluator.objective).__name__} judges genomes as a "
            "whole: use tabu search with one start, or annealing"
        )


def losses(evaluator: Evaluator, data: Any, genomes: Any) -> jax.Array:
    """Run genomes on data; equal genomes are run once.

    Args:
      evaluator: gives the objective.
      data: data of the objective.
      genomes: ``int [P, K, n, T]``.

    Returns:
      ``float32 [P, 1, M]``, the losses of the scored examples.

    Source: docs/semantics/search.md
    """
    genomes = np.asarray(genomes)
    rows: dict[bytes, int] = {}
    which = [rows.setdefault(genome.tobytes(), len(rows)) for genome in genomes]
    first = [which.index(k) for k in range(len(rows))]
    found = np.asarray(evaluator.objective.losses(data, genomes[first]), np.float32)
    return jnp.asarray(found[which][:, None])


def score(evaluator: Evaluator, genomes: Any, losses: jax.Array) -> GenomeScores:
    """Score genomes by their losses.

    Args:
      evaluator: gives the objective.
      genomes: ``int [P, K, n, T]``.
      losses: ``float32 [P, 1, M]``.

    Returns:
      The scores, arrays ``[P]``: the mean loss, the mean of ``exp(-loss)`` as the accuracy (for nats it is
      the mean probability of what came), and the size.

    Source: docs/semantics/search.md
    """
    each = np.asarray(losses[:, 0], np.float64)
    mean, right = each.mean(axis=1), np.exp(-np.maximum(each, 0)).mean(axis=1)
    size = evaluator.objective.mebibits(np.asarray(genomes))
    return GenomeScores(*(jnp.asarray(x, jnp.float32) for x in (mean, right, size)))


def moved(genomes: Any, places: Any, moves: Any) -> np.ndarray:
    """Make the genomes of single moves.

    Args:
      genomes: ``int [P, K, n, T]``.
      places: ``int32 [P, K, S]``.
      moves: ``int [P, K, S, C, T]``.

    Returns:
      ``int [P, K, S, C, K, n, T]``, each genome with one neuron replaced.

    Source: docs/semantics/search.md
    """
    genomes, places, moves = np.asarray(genomes), np.asarray(places), np.asarray(moves)
    population, clusters, sites, candidates, _ = moves.shape
    new = np.broadcast_to(genomes[:, None, None, None], (*moves.shape[:4], *genomes.shape[1:])).copy()
    p, k, s, c = np.ogrid[:population, :clusters, :sites, :candidates]
    new[p, k, s, c, k, places[..., None]] = moves
    return new


def changes(evaluator: Evaluator, data: Any, before: tuple[Any, jax.Array], after: np.ndarray):
    """Compute the change of the fitness, its standard error and the changed losses of genomes.

    Args:
      evaluator: gives the objective and the fitness.
      data: data of the objective.
      before: the genomes ``int [P, K, n, T]`` and their losses ``float32 [P, 1, M]``.
      after: ``int [P, ..., K, n, T]``, the changed genomes of each.

    Returns:
      The change of the mean loss and size penalty, ``float32 [P, ...]``; its standard error; and the change
      of the size in mebibits.

    Source: docs/semantics/search.md
    """
    genomes, old = np.asarray(before[0]), np.asarray(before[1][:, 0])
    shape, flat = after.shape[:-3], after.reshape(-1, *after.shape[-3:])
    new = np.asarray(losses(evaluator, data, flat)[:, 0]).reshape(*shape, -1)
    middle = (1,) * (len(shape) - 1)
    gain = new.astype(np.float64) - old.reshape(len(old), *middle, -1)
    objective = evaluator.objective
    sizes = np.asarray(objective.mebibits(flat), np.float32).reshape(shape)
    table = sizes - np.asarray(objective.mebibits(genomes), np.float32).reshape(-1, *middle)
    change = gain.mean(axis=-1) + evaluator.fitness.size_weight * table
    error = gain.std(axis=-1) / np.sqrt(gain.shape[-1])
    change = np.where(np.isnan(change), np.inf, change)
    return change.astype(np.float32), error.astype(np.float32), table


def neighbours(evaluator: Evaluator, data: Any, before: tuple[Any, jax.Array], places: Any, moves: Any):
    """Compute the change that each move of one neuron would make.

    If the objective has a shorter beginning of the data, all moves are judged on it first, and only the
    better half of the moves of a cluster on all data. The others get an infinite change.

    Args:
      evaluator: gives the objective and the fitness.
      data: data of the objective.
      before: the genomes ``int [P, K, n, T]`` and their losses ``float32 [P, 1, M]``.
      places: ``int32 [P, K, S]``, the neurons that may be replaced.
      moves: ``int [P, K, S, C, T]``, the candidates for each place.

    Returns:
      The changes, their standard errors, and the changes of the size, ``float32 [P, K, S, C]`` each.

    Source: docs/semantics/search.md
    """
    shape = np.shape(moves)[:4]
    after = moved(before[0], places, moves)
    short = evaluator.objective.shorter(data)
    if short is None:
        return (*(jnp.asarray(x) for x in changes(evaluator, data, before, after)),)
    after = after.reshape(*shape[:2], -1, *after.shape[4:])
    first = changes(evaluator, short, (before[0], losses(evaluator, short, before[0])), after)[0]
    best = np.argsort(first, axis=-1, kind="stable")[..., : -(-first.shape[-1] // _PASSING)]
    p, k, _ = np.ogrid[: shape[0], : shape[1], :1]
    found = [np.full(first.shape, x, np.float32) for x in (np.inf, 0, 0)]
    for whole, some in zip(found, changes(evaluator, data, before, after[p, k, best]), strict=True):
        whole[p, k, best] = some
    return (*(jnp.asarray(x.reshape(shape)) for x in found),)


def together(
    evaluator: Evaluator,
    data: Any,
    before: tuple[Any, jax.Array],
    moves: tuple[Any, Any, Any],
    best: Any,
    caution: Any,
):
    """Find moves that are better together than the best one alone: all of them, or else the better half.

    The half is halved again as long as it holds two moves.

    Args:
      evaluator: gives the objective and the fitness.
      data: data of the objective.
      before: the genomes ``int [P, K, n, T]`` and their losses ``float32 [P, 1, M]``.
      moves: the places ``int32 [P, K, S]``, the moves ``int [P, K, S, C, T]``, and the change ``float32
        [P, K, S, C]`` of those that may be taken, at most one for each place; infinite for the others.
      best: ``float32 [P, K]``, the change of the best move.
      caution: number of standard errors that are added to a change.

    Returns:
      ``bool [P, K, S, C]``, the moves; and ``float32 [P, K]``, their change with caution.

    Source: docs/semantics/search.md
    """
    genomes, held = np.asarray(before[0]), before[1]
    places, neurons, single = (np.asarray(x) for x in moves)
    taken, total = np.zeros(single.shape, bool), np.full(single.shape[:2], np.inf, np.float32)
    for p, k in np.ndindex(*single.shape[:2]):
        order = np.argsort(single[p, k], axis=None, kind="stable")
        count = int(np.isfinite(single[p, k]).sum())
        while count > 1 and not total[p, k] < best[p, k]:
            chosen = np.unravel_index(order[:count], single.shape[2:])
            genome = genomes[p].copy()
            genome[k, places[p, k, chosen[0]]] = neurons[p, k][chosen]
            pair = genomes[p][None], held[p][None]
            change, error, *_ = changes(evaluator, data, pair, genome[None])
            total[p, k] = change[0] + caution * error[0]
            taken[p, k] = False
            taken[p, k][chosen] = True
            count //= 2
    return jnp.asarray(taken), jnp.asarray(total)
