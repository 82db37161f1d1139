"""Scores genomes: all neurons of a genome, or only the neurons in which it differs from another.

The vote of a cluster is a sum of integers, one from each neuron. So the votes of a child follow from those of
its parent: only the neurons that differ are fitted, and the result equals a full evaluation to the bit. If
the objective is `Separable`, local search also scores a neighbour by the one cluster that changed.

Shape letters of this module: M scored examples, S places of a cluster, C candidates of a place.

Source: docs/semantics/search.md
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from wnn_jax import ram
from wnn_jax.ram import connectivity
from wnn_jax.ram.connectivity import UNUSED
from wnn_jax.search import whole
from wnn_jax.search.base import Evaluator, SearchState, take
from wnn_jax.search.fitness import GenomeScores, fitness_of
from wnn_jax.search.objective import Fold, Separable

AXIS = "population"


def mesh() -> jax.sharding.Mesh | None:
    """Make a mesh of all devices of all processes.

    Returns:
      A mesh with the axis ``population``, or None if there is only one device.

    Source: docs/architecture.md
    """
    devices = jax.devices()
    return jax.sharding.Mesh(np.array(devices), (AXIS,)) if len(devices) > 1 else None


def replicate(mesh: jax.sharding.Mesh | None, tree: Any) -> Any:
    """Copy arrays and keys to every device of a mesh.

    Args:
      mesh: the devices; None returns the tree as it is.
      tree: a pytree of arrays and keys. Every process must give the same.

    Returns:
      The same pytree, on all devices.

    Source: docs/architecture.md
    """
    if mesh is None:
        return tree

    def place(x):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(x)))
        # Through the host, because an array on a device may not leave its process.
        return _placer(mesh)(np.asarray(x))

    return jax.tree.map(place, tree)


@functools.cache
def _placer(mesh: jax.sharding.Mesh):
    return jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))


def _alike(mesh: jax.sharding.Mesh | None, function):
    """Make every device compute the whole function, so that floats are summed in one order."""
    if mesh is None:
        return function
    whole = PartitionSpec()
    return jax.shard_map(function, mesh=mesh, in_specs=whole, out_specs=whole, check_vma=False)


def group_votes(evaluator: Evaluator, fold: Fold, connections, seed, cluster) -> jax.Array:
    """Fit and read groups of neurons (`ram.fit_and_read_groups`), spread over the devices of the mesh.

    Args:
      evaluator: gives the kind of cells and the mesh.
      fold: examples to fit on, and M inputs to read.
      connections: ``int [G, n, T]``, n neurons in each of G groups.
      seed: ``uint32 [G, n]``.
      cluster: ``int32 [G]``, the cluster whose targets a group is written with.

    Returns:
      Votes ``int32 [G, M]``, on every device. They do not depend on the number of devices.

    Source: docs/semantics/search.md
    """
    memory, mesh = evaluator.objective.memory, evaluator.mesh
    if mesh is None:
        return ram.fit_and_read_groups(memory, connections, seed, cluster, fold.train, fold.words)
    groups, devices = connections.shape[0], mesh.shape[AXIS]
    room = -groups % devices
    connections = jnp.pad(connections, ((0, room), (0, 0), (0, 0)), constant_values=UNUSED)
    seed, cluster = jnp.pad(seed, ((0, room), (0, 0))), jnp.pad(cluster, (0, room))

    def share(connections, seed, cluster, train, words):
        return ram.fit_and_read_groups(memory, connections, seed, cluster, train, words)

    spread, whole = PartitionSpec(AXIS), PartitionSpec()
    specs = (spread, spread, spread, whole, whole)
    # check_vma=False, because the native call does not declare how its result varies over the mesh.
    votes = jax.shard_map(share, mesh=mesh, in_specs=specs, out_specs=spread, check_vma=False)(
        connections, seed, cluster, fold.train, fold.words
    )
    return jax.lax.with_sharding_constraint(votes, NamedSharding(mesh, whole))[:groups]


def full_votes(evaluator: Evaluator, fold: Fold, genomes: jax.Array) -> jax.Array:
    """Fit and read every neuron of genomes.

    Args:
      evaluator: gives the kind of cells and the mesh.
      fold: examples to fit on, and M inputs to read.
      genomes: ``int [P, K, n, T]``.

    Returns:
      Votes ``int32 [P, K, M]``; of an objective that is `Whole`, losses ``float32 [P, 1, M]``.

    Source: docs/semantics/search.md
    """
    if evaluator.whole:
        return whole.losses(evaluator, fold, genomes)
    population, clusters, size, _ = genomes.shape
    votes = group_votes(
        evaluator,
        fold,
        genomes.reshape(-1, *genomes.shape[2:]),
        jnp.broadcast_to(fold.seed, (population, *fold.seed.shape)).reshape(-1, size),
        jnp.tile(jnp.arange(clusters, dtype=jnp.int32), population),
    )
    return votes.reshape(population, clusters, -1)


def revote(evaluator: Evaluator, fold: Fold, votes, before, after) -> jax.Array:
    """Compute the votes of changed genomes from their votes before the change.

    Only neurons that differ are fitted: the old ones are subtracted, the new ones added. If more than half of
    a cluster's neurons changed, the whole cluster is fitted anew, which takes less work.

    Args:
      evaluator: gives the kind of cells and the mesh.
      fold: examples to fit on, and M inputs to read.
      votes: ``int32 [P, K, M]``, the votes of ``before``.
      before: ``int [P, K, n, T]``.
      after: ``int [P, K, n, T]``.

    Returns:
      ``int32 [P, K, M]``, equal to `full_votes` of ``after``.

    Source: docs/semantics/search.md
    """
    population, clusters, size, _ = after.shape
    added, removed, anew = _differences(before, after)
    parts = group_votes(
        evaluator,
        fold,
        jnp.concatenate([added, removed]).reshape(-1, *after.shape[2:]),
        jnp.broadcast_to(fold.seed, (2 * population, *fold.seed.shape)).reshape(-1, size),
        jnp.tile(jnp.arange(clusters, dtype=jnp.int32), 2 * population),
    )
    plus, minus = parts.reshape(2, population, clusters, -1)
    return jnp.where(anew[..., None], 0, votes) + plus - minus


def fits(before: jax.Array, after: jax.Array) -> jax.Array:
    """Count the neurons that `revote` fits.

    Args:
      before: ``int [P, K, n, T]``.
      after: ``int [P, K, n, T]``.

    Returns:
      ``int32 []``; absent neurons are not counted.

    Source: docs/semantics/search.md
    """
    added, removed, _ = _differences(before, after)
    added, removed = (connectivity.neurons_present(x).sum(dtype=jnp.int32) for x in (added, removed))
    return added + removed


def _differences(before, after):
    changed = jnp.any(before != after, axis=-1)
    anew = 2 * changed.sum(axis=-1) > after.shape[2]
    added = jnp.where((changed | anew[..., None])[..., None], after, UNUSED)
    removed = jnp.where((changed & ~anew[..., None])[..., None], before, UNUSED)
    return added, removed, anew


def score(evaluator: Evaluator, fold: Fold, genomes: jax.Array, votes: jax.Array) -> GenomeScores:
    """Score genomes by their votes, one genome at a time to save memory.

    Args:
      evaluator: gives the objective.
      fold: gives the targets of the M scored examples.
      genomes: ``int [P, K, n, T]``.
      votes: ``int32 [P, K, M]``.

    Returns:
      The scores, arrays ``[P]``.

    Source: docs/semantics/search.md
    """

    if evaluator.whole:
        return whole.score(evaluator, genomes, votes)

    def all_genomes(genomes, votes, targets):
        return jax.lax.map(lambda pair: one(pair[0], pair[1], targets), (genomes, votes))

    def one(genome, votes, targets):
        return evaluator.objective.score(votes, connectivity.neurons_present(genome), targets)

    loss, accuracy = _alike(evaluator.mesh, all_genomes)(genomes, votes, fold.targets)
    return GenomeScores(loss, accuracy, sizes(evaluator, genomes))


def sizes(evaluator: Evaluator, genomes: Any) -> jax.Array:
    """Compute the sizes of the tables of genomes ``int [P, K, n, T]``, ``float32 [P]`` in 2^20 bits.

    Source: docs/semantics/search.md
    """
    if evaluator.whole:
        return jnp.asarray(evaluator.objective.mebibits(np.asarray(genomes)), jnp.float32)
    return connectivity.table_bits(jnp.asarray(genomes), evaluator.cell_bits)


def evaluated(evaluator: Evaluator, fold: Fold, genomes: jax.Array) -> tuple[jax.Array, GenomeScores]:
    """Fit, read and score genomes in full.

    Args:
      evaluator: gives the objective and the mesh.
      fold: examples to fit on, and M examples to score on.
      genomes: ``int [P, K, n, T]``.

    Returns:
      The votes ``int32 [P, K, M]``, and the scores, arrays ``[P]``.

    Source: docs/semantics/search.md
    """
    votes = full_votes(evaluator, fold, genomes)
    return votes, score(evaluator, fold, genomes, votes)


def start(evaluator: Evaluator, fold: Fold, genomes: jax.Array, memory) -> SearchState:
    """Make the first state of a search: score its population.

    Args:
      evaluator: gives the objective, the fitness and the mesh.
      fold: examples to fit on, and examples to score on.
      genomes: ``int [P, K, n, T]``.
      memory: the algorithm's own memory, a pytree.

    Returns:
      The state after 0 steps. Its best genome is the first of the fittest.

    Source: docs/semantics/search.md
    """
    votes, scores = evaluated(evaluator, fold, genomes)
    first = jnp.argmin(fitness_of(evaluator.fitness, scores))
    zero = jnp.zeros((), jnp.int32)
    return SearchState(genomes, votes, scores, genomes[first], take(scores, first), memory, zero)


def keep_best(
    evaluator: Evaluator, state: SearchState, genomes: jax.Array, scores: GenomeScores
) -> tuple[jax.Array, GenomeScores]:
    """Compare the best genome so far with a population.

    Args:
      evaluator: gives the fitness.
      state: holds the best genome so far.
      genomes: ``int [P, K, n, T]``.
      scores: their scores, arrays ``[P]``.

    Returns:
      The fittest genome ``int [K, n, T]`` and its scores. On a tie the old best is kept.

    Source: docs/semantics/search.md
    """
    pool = jax.tree.map(lambda old, new: jnp.concatenate([old[None], new]), state.best_scores, scores)
    first = jnp.argmin(fitness_of(evaluator.fitness, pool))
    best = jnp.where(first == 0, state.best, genomes[jnp.maximum(first - 1, 0)])
    return best, take(pool, first)


def rescore(evaluator: Evaluator, fold: Fold, state: SearchState) -> SearchState:
    """Move a state to another fold: fit and score the population and the best genome anew.

    Args:
      evaluator: gives the objective, the fitness and the mesh.
      fold: the new fold.
      state: the state on the old fold.

    Returns:
      The state on the new fold; its best genome may be another one.

    Source: docs/semantics/search.md
    """
    genomes = jnp.concatenate([state.genomes, state.best[None]])
    votes, scores = evaluated(evaluator, fold, genomes)
    moved = state._replace(
        votes=votes[:-1], scores=take(scores, slice(None, -1)), best_scores=take(scores, -1)
    )
    best, best_scores = keep_best(evaluator, moved, moved.genomes, moved.scores)
    return moved._replace(best=best, best_scores=best_scores)


def fittest_first(evaluator: Evaluator, genomes: jax.Array, scores: GenomeScores) -> jax.Array:
    """Sort genomes by fitness, the fittest first.

    Args:
      evaluator: gives the fitness.
      genomes: ``int [P, K, n, T]``.
      scores: their scores, arrays ``[P]``.

    Returns:
      ``int [P, K, n, T]``. Equally fit genomes keep their order.

    Source: docs/semantics/search.md
    """
    return genomes[jnp.argsort(fitness_of(evaluator.fitness, scores), stable=True)]


class Neighbours(NamedTuple):
    """Moves of single neurons, and the change that each makes in its cluster.

    Attributes:
      places: ``int32 [P, K, S]``, the neurons of each cluster that may be replaced.
      moves: ``int [P, K, S, C, T]``, the candidates for each of these places.
      change: ``float32 [P, K, S, C]``, the change of the fitness (loss and size penalty) if only this cluster
        changes.
      error: ``float32 [P, K, S, C]``, the standard error of that change, if examples are independent.
      votes: ``int32 [P, K, S, C, M]``, the change of the cluster's votes; empty if the objective is `Whole`.
      neurons: ``int32 [P, K, S, C]``, the change of the number of neurons: -1, 0 or 1.
      table: ``float32 [P, K, S, C]``, the change of the table's size, in mebibits.

    Source: docs/semantics/search.md
    """

    places: jax.Array
    moves: jax.Array
    change: jax.Array
    error: jax.Array
    votes: jax.Array
    neurons: jax.Array
    table: jax.Array


def neighbours(evaluator: Evaluator, fold: Fold, genomes, votes, places, moves) -> Neighbours:
    """Compute the change that each move of one neuron would make while the other clusters stay as they are.

    Args:
      evaluator: gives the objective, the fitness and the mesh.
      fold: examples to fit on, and M examples to score on.
      genomes: ``int [P, K, n, T]``.
      votes: ``int32 [P, K, M]``, the votes of the genomes.
      places: ``int32 [P, K, S]``, the neurons that may be replaced.
      moves: ``int [P, K, S, C, T]``, the candidates for each place.

    Returns:
      The moves with their changes.

    Source: docs/semantics/search.md
    """
    old = jnp.take_along_axis(genomes, places[..., None], axis=2)  # [P, K, S, T]
    if evaluator.whole:
        there, was = (jnp.any(x != UNUSED, axis=-1).astype(jnp.int32) for x in (moves, old[..., None, :]))
        change, error, table = whole.neighbours(evaluator, fold, (genomes, votes), places, moves)
        return Neighbours(places, moves, change, error, jnp.zeros(0), there - was, table)
    clusters = genomes.shape[1]
    seed = jnp.take_along_axis(jnp.broadcast_to(fold.seed, genomes.shape[:3]), places, axis=2)
    single = jnp.concatenate([old[..., None, :], moves], axis=3)
    parts = group_votes(
        evaluator,
        fold,
        single.reshape(-1, 1, single.shape[-1]),
        jnp.broadcast_to(seed[..., None], single.shape[:4]).reshape(-1, 1),
        jnp.broadcast_to(jnp.arange(clusters, dtype=jnp.int32)[:, None, None], single.shape[:4]).reshape(-1),
    ).reshape(*single.shape[:4], -1)
    there = jnp.any(single != UNUSED, axis=-1).astype(jnp.int32)
    table = connectivity.table_bits(single[..., None, None, :], evaluator.cell_bits)

    def gain(x):
        return x[:, :, :, 1:] - x[:, :, :, :1]

    votes_gain, neurons_gain, table_gain = gain(parts), gain(there), gain(table)
    gains = votes_gain, neurons_gain, table_gain
    return Neighbours(places, moves, *cluster_changes(evaluator, fold, genomes, votes, *gains), *gains)


def cluster_changes(evaluator: Evaluator, fold: Fold, genomes, votes, gain, neurons, table):
    """Compute the change of the fitness if the votes of one cluster change, and its standard error.

    Args:
      evaluator: gives the objective and the fitness.
      fold: gives the targets of the M scored examples.
      genomes: ``int [P, K, n, T]``.
      votes: ``int32 [P, K, M]``, the votes of the genomes.
      gain: ``int32 [P, K, ..., M]``, the change of a cluster's votes.
      neurons: ``int32 [P, K, ...]``, the change of its number of neurons.
      table: ``float32 [P, K, ...]``, the change of its table's size, in mebibits.

    Returns:
      The change and its standard error, two ``float32 [P, K, ...]``. A change that is NaN becomes infinite.
      The error is 0 if the objective is not `Separable`.

    Source: docs/semantics/search.md
    """
    separable = isinstance(evaluator.objective, Separable)
    one_genome = _separable_changes if separable else _whole_changes

    def all_genomes(targets, *population):
        return jax.lax.map(lambda x: one_genome(evaluator.objective, targets, *x), population)

    change, error = _alike(evaluator.mesh, all_genomes)(fold.targets, genomes, votes, gain, neurons)
    change = change + evaluator.fitness.size_weight * table
    return jnp.where(jnp.isnan(change), jnp.inf, change), error


def _separable_changes(objective, targets, genome, votes, gain, neurons):
    """Compute the changes of one genome cluster by cluster, with the members of `Separable`."""
    present = connectivity.neurons_present(genome)

    def one_cluster(x):
        others, targets, votes, present, gain, neurons = x
        after = objective.losses(others, targets, votes + gain, present + neurons)
        changes = after - objective.losses(others, targets, votes, present)
        mean, square = changes.mean(axis=-1), jnp.square(changes).mean(axis=-1)
        return mean, jnp.sqrt(jnp.maximum(square - mean**2, 0.0) / changes.shape[-1])

    others = objective.others(votes, present)
    return jax.lax.map(one_cluster, (others, targets, votes, present, gain, neurons))


def _whole_changes(objective, targets, genome, votes, gain, neurons):
    """Compute the changes of one genome by scoring the whole genome for every change."""
    present = connectivity.neurons_present(genome)
    loss, _ = objective.score(votes, present, targets)

    def one_cluster(x):
        k, gain, neurons = x

        def one_change(y):
            after = votes.at[k].add(y[0]), present.at[k].add(y[1])
            return objective.score(*after, targets)[0] - loss

        flat = gain.reshape(-1, gain.shape[-1]), neurons.reshape(-1)
        return jax.lax.map(one_change, flat).reshape(neurons.shape)

    change = jax.lax.map(one_cluster, (jnp.arange(len(present), dtype=jnp.int32), gain, neurons))
    return change, jnp.zeros_like(change)
