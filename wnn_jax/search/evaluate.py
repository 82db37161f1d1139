"""The one way in which genomes are scored: in full, or only where they changed.

A cluster's vote is a sum of its neurons' integers, so a child costs the neurons in which it differs, and
its votes are exactly those of a full evaluation. Local search goes one further: a token's nats are linear
in one bit's probability but for two logarithms (`bitwise.rest`), so a neighbour costs one neuron and O(M).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from wnn_jax import ram
from wnn_jax.lm import bitwise
from wnn_jax.ram import connectivity
from wnn_jax.ram.connectivity import UNUSED
from wnn_jax.search.base import Data, Objective, Scores

AXIS = "population"


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


def group_votes(objective: Objective, data: Data, connections, seed, cluster) -> jax.Array:
    """`ram.fit_and_read_groups`, its groups spread over the objective's mesh.

    Args:
      connections: ``[G, R, T]``.
      seed: ``uint32 [G, R]``.
      cluster: ``int32 [G]``.

    Returns:
      Votes ``int32 [G, M]``, on every device: integers, so the same on any number of them.
    """
    memory, mesh = objective.model.memory, objective.mesh
    if mesh is None:
        return ram.fit_and_read_groups(memory, connections, seed, cluster, data.train, data.words)
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
        connections, seed, cluster, data.train, data.words
    )
    return jax.lax.with_sharding_constraint(votes, NamedSharding(mesh, whole))[:groups]


def full_votes(objective: Objective, data: Data, genomes: jax.Array) -> jax.Array:
    """Votes ``int32 [P, K, M]`` of genomes ``[P, K, n, T]``, every neuron fitted."""
    population, clusters, size, _ = genomes.shape
    votes = group_votes(
        objective,
        data,
        genomes.reshape(-1, *genomes.shape[2:]),
        jnp.broadcast_to(data.seed, (population, *data.seed.shape)).reshape(-1, size),
        jnp.tile(jnp.arange(clusters), population),
    )
    return votes.reshape(population, clusters, -1)


def revote(objective: Objective, data: Data, votes, before, after) -> jax.Array:
    """Votes of genomes ``after`` from those of ``before``: exactly `full_votes`, of fewer neurons.

    A cluster in which more than half of the neurons changed is fitted anew, which is then cheaper.

    Args:
      votes: ``int32 [P, K, M]`` of ``before``.
      before, after: ``[P, K, n, T]``.
    """
    population, clusters, size, _ = after.shape
    added, removed, anew = _differences(before, after)
    parts = group_votes(
        objective,
        data,
        jnp.concatenate([added, removed]).reshape(-1, *after.shape[2:]),
        jnp.broadcast_to(data.seed, (2 * population, *data.seed.shape)).reshape(-1, size),
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


def score(objective: Objective, data: Data, genomes: jax.Array, votes: jax.Array) -> Scores:
    """Scores ``[P]`` of genomes ``[P, K, n, T]`` by their votes; one genome at a time in memory."""

    def all_genomes(genomes, votes, targets):
        return jax.lax.map(lambda pair: one(pair[0], pair[1], targets), (genomes, votes))

    def one(genome, votes, targets):
        logs = bitwise.log_probabilities(votes, genome)
        found = bitwise.score(objective.model, *logs, targets)
        # The best id is right exactly if all its code bits are.
        code = bitwise.encode(objective.model, found.best)
        places = jnp.arange(targets.shape[0])[::-1, None]
        right = jnp.all((code[None, :] >> places & 1).astype(bool) == targets, axis=0)
        return found.nats.mean(), right.mean(dtype=jnp.float32)

    ce, accuracy = _alike(objective.mesh, all_genomes)(genomes, votes, data.targets)
    return Scores(ce, accuracy, connectivity.table_bits(genomes, objective.cell_bits))


def evaluated(objective: Objective, data: Data, genomes: jax.Array) -> tuple[jax.Array, Scores]:
    """Votes and scores of genomes ``[P, K, n, T]``, every neuron fitted."""
    votes = full_votes(objective, data, genomes)
    return votes, score(objective, data, genomes, votes)


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


def neighbours(objective: Objective, data: Data, genomes, votes, places, moves) -> Neighbours:
    """What each move of one neuron would change, the other clusters staying as they are.

    Args:
      genomes, votes: ``[P, K, n, T]`` and their ``int32 [P, K, M]``.
      places, moves: see `Neighbours`.
    """
    clusters = genomes.shape[1]
    old = jnp.take_along_axis(genomes, places[..., None], axis=2)  # [P, K, S, T]
    seed = jnp.take_along_axis(jnp.broadcast_to(data.seed, genomes.shape[:3]), places, axis=2)
    single = jnp.concatenate([old[..., None, :], moves], axis=3)
    parts = group_votes(
        objective,
        data,
        single.reshape(-1, 1, single.shape[-1]),
        jnp.broadcast_to(seed[..., None], single.shape[:4]).reshape(-1, 1),
        jnp.broadcast_to(jnp.arange(clusters)[:, None, None], single.shape[:4]).reshape(-1),
    ).reshape(*single.shape[:4], -1)
    there = jnp.any(single != UNUSED, axis=-1).astype(jnp.int32)
    table = connectivity.table_bits(single[..., None, None, :], objective.cell_bits)

    def gain(x):
        return x[:, :, :, 1:] - x[:, :, :, :1]

    votes_gain, neurons_gain, table_gain = gain(parts), gain(there), gain(table)
    gains = votes_gain, neurons_gain, table_gain
    return Neighbours(places, moves, *cluster_changes(objective, data, genomes, votes, *gains), *gains)


def cluster_changes(objective: Objective, data: Data, genomes, votes, gain, neurons, table):
    """Change of the fitness if one cluster alone gained votes, and its standard error.

    Args:
      genomes, votes: ``[P, K, n, T]`` and their ``int32 [P, K, M]``.
      gain: ``int32 [P, K, ..., M]``.
      neurons, table: ``[P, K, ...]``, as in `Neighbours`.

    Returns:
      Two ``float32 [P, K, ...]``; the change is infinite where it is not a number.
    """

    def nats(rest, targets, votes, present):
        return bitwise.bit_nats(rest, *ram.shares(votes, present[..., None]), targets)

    def one_cluster(x):
        rest, targets, votes, present, gain, neurons = x
        changes = nats(rest, targets, votes + gain, present + neurons) - nats(rest, targets, votes, present)
        mean, square = changes.mean(axis=-1), jnp.square(changes).mean(axis=-1)
        return mean, jnp.sqrt(jnp.maximum(square - mean**2, 0.0) / changes.shape[-1])

    def all_genomes(targets, *population):
        def one_genome(x):
            genome, votes, gain, neurons = x
            rest = bitwise.rest(objective.model, *ram.probability(votes, genome))
            present = connectivity.neurons_present(genome)
            return jax.lax.map(one_cluster, (rest, targets, votes, present, gain, neurons))

        return jax.lax.map(one_genome, population)

    change, error = _alike(objective.mesh, all_genomes)(data.targets, genomes, votes, gain, neurons)
    change = change + objective.fitness.size_weight * table
    return jnp.where(jnp.isnan(change), jnp.inf, change), error
