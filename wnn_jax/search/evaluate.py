"""The one way in which genomes are scored: in full, or only where they changed.

A cluster's vote is a sum of its neurons' integers, so a child costs the neurons in which it differs, and
its votes are exactly those of a full evaluation. Local search goes one further where the objective is
`Separable`: a neighbour then costs one neuron and a look at one cluster.
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
from wnn_jax.search.base import Evaluator, SearchState, take
from wnn_jax.search.fitness import GenomeScores, fitness_of
from wnn_jax.search.objective import Fold, Separable

AXIS = "population"


def mesh() -> jax.sharding.Mesh | None:
    """All devices, of all processes, side by side; None where there is only one."""
    devices = jax.devices()
    return jax.sharding.Mesh(np.array(devices), (AXIS,)) if len(devices) > 1 else None


def replicate(mesh: jax.sharding.Mesh | None, tree: Any) -> Any:
    """Arrays and keys on every device of a mesh, of every process; the same ones must be given by each."""
    if mesh is None:
        return tree

    def place(x):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(x)))
        # From the host: a device's array may not leave its process.
        return _placer(mesh)(np.asarray(x))

    return jax.tree.map(place, tree)


@functools.cache
def _placer(mesh: jax.sharding.Mesh):
    return jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))


def _alike(mesh: jax.sharding.Mesh | None, function):
    """``function`` computed in whole by every device, as one alone would: floats then sum in one order."""
    if mesh is None:
        return function
    whole = PartitionSpec()
    return jax.shard_map(function, mesh=mesh, in_specs=whole, out_specs=whole, check_vma=False)


def group_votes(evaluator: Evaluator, fold: Fold, connections, seed, cluster) -> jax.Array:
    """`ram.fit_and_read_groups`, its groups spread over the objective's mesh.

    Args:
      connections: ``[G, R, T]``.
      seed: ``uint32 [G, R]``.
      cluster: ``int32 [G]``.

    Returns:
      Votes ``int32 [G, M]``, on every device: integers, so the same on any number of them.
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
    # The native call says nothing of how its result varies over the mesh, so that is not checked.
    votes = jax.shard_map(share, mesh=mesh, in_specs=specs, out_specs=spread, check_vma=False)(
        connections, seed, cluster, fold.train, fold.words
    )
    return jax.lax.with_sharding_constraint(votes, NamedSharding(mesh, whole))[:groups]


def full_votes(evaluator: Evaluator, fold: Fold, genomes: jax.Array) -> jax.Array:
    """Votes ``int32 [P, K, M]`` of genomes ``[P, K, n, T]``, every neuron fitted."""
    population, clusters, size, _ = genomes.shape
    votes = group_votes(
        evaluator,
        fold,
        genomes.reshape(-1, *genomes.shape[2:]),
        jnp.broadcast_to(fold.seed, (population, *fold.seed.shape)).reshape(-1, size),
        jnp.tile(jnp.arange(clusters), population),
    )
    return votes.reshape(population, clusters, -1)


def revote(evaluator: Evaluator, fold: Fold, votes, before, after) -> jax.Array:
    """Votes of genomes ``after`` from those of ``before``: exactly `full_votes`, of fewer neurons.

    A cluster in which more than half of the neurons changed is fitted anew, which is then cheaper.

    Args:
      votes: ``int32 [P, K, M]`` of ``before``.
      before, after: ``[P, K, n, T]``.
    """
    population, clusters, size, _ = after.shape
    added, removed, anew = _differences(before, after)
    parts = group_votes(
        evaluator,
        fold,
        jnp.concatenate([added, removed]).reshape(-1, *after.shape[2:]),
        jnp.broadcast_to(fold.seed, (2 * population, *fold.seed.shape)).reshape(-1, size),
        jnp.tile(jnp.arange(clusters), 2 * population),
    )
    plus, minus = parts.reshape(2, population, clusters, -1)
    return jnp.where(anew[..., None], 0, votes) + plus - minus


def fits(before: jax.Array, after: jax.Array) -> jax.Array:
    """Neurons that `revote` fits, ``int32 []``."""
    added, removed, _ = _differences(before, after)
    return connectivity.neurons_present(added).sum() + connectivity.neurons_present(removed).sum()


def _differences(before, after):
    changed = jnp.any(before != after, axis=-1)
    anew = 2 * changed.sum(axis=-1) > after.shape[2]
    added = jnp.where((changed | anew[..., None])[..., None], after, UNUSED)
    removed = jnp.where((changed & ~anew[..., None])[..., None], before, UNUSED)
    return added, removed, anew


def score(evaluator: Evaluator, fold: Fold, genomes: jax.Array, votes: jax.Array) -> GenomeScores:
    """Scores ``[P]`` of genomes ``[P, K, n, T]`` by their votes; one genome at a time in memory."""

    def all_genomes(genomes, votes, targets):
        return jax.lax.map(lambda pair: one(pair[0], pair[1], targets), (genomes, votes))

    def one(genome, votes, targets):
        return evaluator.objective.score(votes, connectivity.neurons_present(genome), targets)

    loss, accuracy = _alike(evaluator.mesh, all_genomes)(genomes, votes, fold.targets)
    return GenomeScores(loss, accuracy, connectivity.table_bits(genomes, evaluator.cell_bits))


def evaluated(evaluator: Evaluator, fold: Fold, genomes: jax.Array) -> tuple[jax.Array, GenomeScores]:
    """Votes and scores of genomes ``[P, K, n, T]``, every neuron fitted."""
    votes = full_votes(evaluator, fold, genomes)
    return votes, score(evaluator, fold, genomes, votes)


def start(evaluator: Evaluator, fold: Fold, genomes: jax.Array, memory) -> SearchState:
    """The state of a population that has only been scored."""
    votes, scores = evaluated(evaluator, fold, genomes)
    first = jnp.argmin(fitness_of(evaluator.fitness, scores))
    zero = jnp.zeros((), jnp.int32)
    return SearchState(genomes, votes, scores, genomes[first], take(scores, first), memory, zero)


def keep_best(
    evaluator: Evaluator, state: SearchState, genomes: jax.Array, scores: GenomeScores
) -> tuple[jax.Array, GenomeScores]:
    """The fittest of the best so far and a population; the old one on a tie."""
    pool = jax.tree.map(lambda old, new: jnp.concatenate([old[None], new]), state.best_scores, scores)
    first = jnp.argmin(fitness_of(evaluator.fitness, pool))
    best = jnp.where(first == 0, state.best, genomes[jnp.maximum(first - 1, 0)])
    return best, take(pool, first)


def rescore(evaluator: Evaluator, fold: Fold, state: SearchState) -> SearchState:
    """A state on another fold: votes and scores of the population and of the best, elites and all."""
    genomes = jnp.concatenate([state.genomes, state.best[None]])
    votes, scores = evaluated(evaluator, fold, genomes)
    moved = state._replace(
        votes=votes[:-1], scores=take(scores, slice(None, -1)), best_scores=take(scores, -1)
    )
    best, best_scores = keep_best(evaluator, moved, moved.genomes, moved.scores)
    return moved._replace(best=best, best_scores=best_scores)


def fittest_first(evaluator: Evaluator, genomes: jax.Array, scores: GenomeScores) -> jax.Array:
    """Genomes ``[P, K, n, T]`` in the order of their fitness; equals keep theirs."""
    return genomes[jnp.argsort(fitness_of(evaluator.fitness, scores), stable=True)]


class Neighbours(NamedTuple):
    """Moves of single neurons, and what each does to its cluster.

    Attributes:
      places: ``int32 [P, K, S]`` neurons of each cluster to replace.
      moves: ``[P, K, S, C, T]`` candidates for each of these places.
      change: ``float32 [P, K, S, C]`` of the fitness (CE and size penalty), had only this cluster moved.
      error: ``float32 [P, K, S, C]`` the standard error of that change, the tokens taken as independent.
      votes: ``int32 [P, K, S, C, M]`` that the cluster gains by the move.
      neurons: ``int32 [P, K, S, C]`` neurons that it gains: -1, 0 or 1.
      table: ``float32 [P, K, S, C]`` mebibits that it gains.
    """

    places: jax.Array
    moves: jax.Array
    change: jax.Array
    error: jax.Array
    votes: jax.Array
    neurons: jax.Array
    table: jax.Array


def neighbours(evaluator: Evaluator, fold: Fold, genomes, votes, places, moves) -> Neighbours:
    """The change that each move of one neuron would make, the other clusters staying as they are.

    Args:
      genomes, votes: ``[P, K, n, T]`` and their ``int32 [P, K, M]``.
      places, moves: see `Neighbours`.
    """
    clusters = genomes.shape[1]
    old = jnp.take_along_axis(genomes, places[..., None], axis=2)  # [P, K, S, T]
    seed = jnp.take_along_axis(jnp.broadcast_to(fold.seed, genomes.shape[:3]), places, axis=2)
    single = jnp.concatenate([old[..., None, :], moves], axis=3)
    parts = group_votes(
        evaluator,
        fold,
        single.reshape(-1, 1, single.shape[-1]),
        jnp.broadcast_to(seed[..., None], single.shape[:4]).reshape(-1, 1),
        jnp.broadcast_to(jnp.arange(clusters)[:, None, None], single.shape[:4]).reshape(-1),
    ).reshape(*single.shape[:4], -1)
    there = jnp.any(single != UNUSED, axis=-1).astype(jnp.int32)
    table = connectivity.table_bits(single[..., None, None, :], evaluator.cell_bits)

    def gain(x):
        return x[:, :, :, 1:] - x[:, :, :, :1]

    votes_gain, neurons_gain, table_gain = gain(parts), gain(there), gain(table)
    gains = votes_gain, neurons_gain, table_gain
    return Neighbours(places, moves, *cluster_changes(evaluator, fold, genomes, votes, *gains), *gains)


def cluster_changes(evaluator: Evaluator, fold: Fold, genomes, votes, gain, neurons, table):
    """Change of the fitness if one cluster alone gained votes, and its standard error.

    Args:
      genomes, votes: ``[P, K, n, T]`` and their ``int32 [P, K, M]``.
      gain: ``int32 [P, K, ..., M]``.
      neurons, table: ``[P, K, ...]``, as in `Neighbours`.

    Returns:
      Two ``float32 [P, K, ...]``; the change is infinite where it is not a number, and the error is 0 where
      the objective is not `Separable`.
    """
    separable = isinstance(evaluator.objective, Separable)
    one_genome = _separable_changes if separable else _whole_changes

    def all_genomes(targets, *population):
        return jax.lax.map(lambda x: one_genome(evaluator.objective, targets, *x), population)

    change, error = _alike(evaluator.mesh, all_genomes)(fold.targets, genomes, votes, gain, neurons)
    change = change + evaluator.fitness.size_weight * table
    return jnp.where(jnp.isnan(change), jnp.inf, change), error


def _separable_changes(objective, targets, genome, votes, gain, neurons):
    """Of one genome, by what each cluster must know of the others."""
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
    """Of one genome, every change scored in whole."""
    present = connectivity.neurons_present(genome)
    loss, _ = objective.score(votes, present, targets)

    def one_cluster(x):
        k, gain, neurons = x

        def one_change(y):
            after = votes.at[k].add(y[0]), present.at[k].add(y[1])
            return objective.score(*after, targets)[0] - loss

        flat = gain.reshape(-1, gain.shape[-1]), neurons.reshape(-1)
        return jax.lax.map(one_change, flat).reshape(neurons.shape)

    change = jax.lax.map(one_cluster, (jnp.arange(len(present)), gain, neurons))
    return change, jnp.zeros_like(change)
