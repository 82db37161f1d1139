"""The genomes that a search may visit, and moves from one to its neighbours."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from wnn_jax.ram.connectivity import UNUSED, dtype_for, random

Dimension = Literal["neurons", "bits", "connections"]
# What a search may change of a genome.
DIMENSIONS: tuple[Dimension, ...] = ("neurons", "bits", "connections")


def phase_name(algorithm: str, dimensions: tuple[Dimension, ...]) -> str:
    """An algorithm's name, with what it may change if that is not everything."""
    return algorithm if dimensions == DIMENSIONS else f"{algorithm}:{'+'.join(dimensions)}"


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The genomes that a search may visit. Hashable: static under `jit`.

    A genome of any size lives in one array ``[K, max_neurons, max_bits]``, padded with `UNUSED`.

    Attributes:
      input_bits: I.
      max_neurons: most neurons of a cluster.
      max_bits: most connections of a neuron.
      min_neurons: fewest neurons of a cluster.
      min_bits: fewest connections of a neuron.
      group: neighbouring input bits that belong together, such as those of a token; 0 for none. It only
        makes neurons likelier that read one group whole and part of another.

    Raises:
      ValueError: no genome can meet them.
    """

    input_bits: int
    max_neurons: int
    max_bits: int
    min_neurons: int = 1
    min_bits: int = 1
    group: int = 0

    def __post_init__(self):
        if not 1 <= self.min_neurons <= self.max_neurons:
            raise ValueError(
                f"no genome has {self.min_neurons} to {self.max_neurons} neurons a cluster: "
                "the bounds must be 1 or more, and in order"
            )
        if not 1 <= self.min_bits <= self.max_bits <= self.input_bits:
            raise ValueError(
                f"no genome has {self.min_bits} to {self.max_bits} address bits of {self.input_bits} input "
                f"bits: the bounds must be 1 to {self.input_bits}, and in order"
            )
        if self.group < 0 or (self.group and self.input_bits % self.group):
            raise ValueError(f"{self.input_bits} input bits do not fall into groups of {self.group}")


def pad(connections: jax.Array, bounds: Bounds) -> jax.Array:
    """A genome ``[..., n, T]`` with room for the largest that the bounds allow.

    Raises:
      ValueError: it is larger.
    """
    *_, neurons, address_bits = connections.shape
    if neurons > bounds.max_neurons or address_bits > bounds.max_bits:
        raise ValueError(
            f"a genome of {neurons} neurons of {address_bits} bits is outside the bounds of "
            f"{bounds.max_neurons} neurons of {bounds.max_bits} bits"
        )
    room = [(0, 0)] * (connections.ndim - 2)
    room += [(0, bounds.max_neurons - neurons), (0, bounds.max_bits - address_bits)]
    return jnp.pad(connections, room, constant_values=UNUSED)


def sized(
    key: jax.Array, bounds: Bounds, clusters: int, neurons: jax.Array | int, address_bits: jax.Array | int
) -> jax.Array:
    """A random genome ``[K, max_neurons, max_bits]`` of ``neurons`` neurons of ``address_bits`` bits each."""
    full = random(key, clusters, bounds.max_neurons, bounds.max_bits, bounds.input_bits)
    kept = jnp.arange(bounds.max_neurons)[:, None] < neurons
    return jnp.where(kept & (jnp.arange(bounds.max_bits) < address_bits), full, UNUSED)


def move(
    key: jax.Array, bounds: Bounds, dimensions: tuple[Dimension, ...], cluster: jax.Array, place: jax.Array
) -> jax.Array:
    """A neighbour of one neuron: what slot ``place`` of a cluster may hold instead.

    - ``connections``: one to four of them go to input bits it does not read, any of them or, half of the
      time, such as the cluster's neurons read, each as often as they do; one time in four it first becomes
      a copy of a random neuron of its cluster; one time in four all are drawn anew: of any input bits, or
      half of the time of two groups (`Bounds.group`), one of them as likely whole as in part.
    - ``bits``: it gains or loses up to four connections (drawn anew, it has any number or, half of the
      time, the most).
    - ``neurons``: one time in ten it goes; an empty slot gets a copy of another, with one to four
      connections moved.

    Within ``bounds`` always: where they leave no other choice the slot stays as it is. No input bit comes
    twice, if none does in the cluster. Connections are packed to the front; their order means nothing.

    Args:
      key: consumed.
      dimensions: which of `DIMENSIONS` may change.
      cluster: ``[n, T]``, at least one neuron present.
      place: ``int32 []``.

    Returns:
      ``[T]``.
    """
    keys = iter(jax.random.split(key, 10))
    neurons, lengths, connections = (name in dimensions for name in DIMENSIONS)
    slots = jnp.arange(bounds.max_bits)
    present = jnp.any(cluster != UNUSED, axis=-1)
    alive, old = present[place], cluster[place]

    sibling = cluster[jnp.argmax(jnp.where(present, jax.random.uniform(next(keys), present.shape), -1.0))]
    copies = ~alive | (connections & jax.random.bernoulli(next(keys), 0.25))
    source = jnp.where(copies, sibling, old)
    length = (source != UNUSED).sum()
    # Shuffled, so that "the first few" are a random few.
    source = source[
        jnp.argsort(jnp.where(source == UNUSED, 2.0, jax.random.uniform(next(keys), slots.shape)))
    ]
    if lengths:
        step = jax.random.randint(next(keys), (), -4, 5)
        length = jnp.clip(length + step, bounds.min_bits, bounds.max_bits)
    moved = jax.random.randint(next(keys), (), 0 if lengths else 1, 5)
    moved = jnp.where(copies | connections, moved, 0)
    new = jnp.where(
        (slots < moved) | (source == UNUSED), _others(next(keys), bounds, cluster, source), source
    )

    if connections:
        anew = jax.random.bernoulli(next(keys), 0.25)
        drawn_key, length_key, most_key = jax.random.split(next(keys), 3)
        new = jnp.where(anew, _drawn(drawn_key, bounds), new)
        if lengths:
            any_length = jax.random.randint(length_key, (), bounds.min_bits, bounds.max_bits + 1)
            any_length = jnp.where(jax.random.bernoulli(most_key), bounds.max_bits, any_length)
            length = jnp.where(anew, any_length, length)
    new = jnp.where(slots < length, new, UNUSED)
    if not neurons:
        return jnp.where(alive, new, UNUSED)
    goes = alive & jax.random.bernoulli(next(keys), 0.1) & (present.sum() > bounds.min_neurons)
    stays = alive if not (lengths or connections) else jnp.zeros((), bool)
    return jnp.where(goes, UNUSED, jnp.where(stays, old, new))


def move_all(
    keys: jax.Array,
    bounds: Bounds,
    dimensions: tuple[Dimension, ...],
    genomes: jax.Array,
    places: jax.Array,
) -> jax.Array:
    """Moves ``[P, K, S, C, T]`` of the neurons at ``places [P, K, S]`` of genomes ``[P, K, n, T]``.

    Args:
      keys: ``[P, K, S, C]``, one a move.
    """
    shape = keys.shape
    clusters = jnp.broadcast_to(genomes[:, :, None, None], (*shape, *genomes.shape[2:]))
    chosen = jnp.broadcast_to(places[..., None], shape).reshape(-1)

    def one(key, cluster, place):
        return move(key, bounds, dimensions, cluster, place)

    # One long axis: XLA takes four times as long to compile the same over several short ones.
    moved = jax.vmap(one)(keys.reshape(-1), clusters.reshape(-1, *genomes.shape[2:]), chosen)
    return moved.reshape(*shape, -1).astype(genomes.dtype)


def _others(key: jax.Array, bounds: Bounds, cluster: jax.Array, neuron: jax.Array) -> jax.Array:
    """``[max_bits]`` distinct input bits, first those that the neuron does not read."""
    draw_key, alike_key = jax.random.split(key)
    beyond = bounds.input_bits  # where UNUSED goes, to be dropped
    counts = jnp.zeros(beyond, jnp.float32).at[jnp.where(cluster == UNUSED, beyond, cluster)].add(1.0)
    alike = jax.random.bernoulli(alike_key, 0.5)
    weight = jnp.where(alike, counts + 1e-3, 1.0)
    weight = weight.at[jnp.where(neuron == UNUSED, beyond, neuron)].set(1e-12)
    # Sampling without replacement by weight: the Gumbel top-k trick.
    order = jnp.argsort(-(jnp.log(weight) + jax.random.gumbel(draw_key, weight.shape)))
    return order[: bounds.max_bits].astype(dtype_for(bounds.input_bits))


def _drawn(key: jax.Array, bounds: Bounds) -> jax.Array:
    """``[max_bits]`` distinct input bits: of all, or half of the time of one group and then of another."""
    order_key, group_key, whole_key, part_key, grouped_key = jax.random.split(key, 5)
    order = jax.random.uniform(order_key, (bounds.input_bits,))
    if bounds.group:
        groups = bounds.input_bits // bounds.group
        rank = jax.random.permutation(group_key, groups)
        part = jax.random.randint(part_key, (), 1, bounds.group + 1)
        part = jnp.where(jax.random.bernoulli(whole_key), bounds.group, part)
        within = jnp.argsort(jnp.argsort(order.reshape(groups, bounds.group), axis=1), axis=1)
        # Of the first group only a part comes first; what is left of it comes last.
        later = jnp.where((rank == 0)[:, None] & (within >= part), groups, rank[:, None])
        grouped = jax.random.bernoulli(grouped_key, 0.5)
        order = order + jnp.where(grouped, later.reshape(-1), 0)
    return jnp.argsort(order)[: bounds.max_bits].astype(dtype_for(bounds.input_bits))
