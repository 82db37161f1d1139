"""The genomes that a search may visit, and the moves that change one neuron of a genome.

Source: docs/semantics/search.md
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.ram import MAX_ADDRESS_BITS, MAX_NEURONS
from wnn_jax.ram.connectivity import UNUSED, dtype_for, random

Dimension = Literal["neurons", "bits", "connections"]
# The parts of a genome that a search may change.
DIMENSIONS: tuple[Dimension, ...] = ("neurons", "bits", "connections")


def phase_name(algorithm: str, dimensions: tuple[Dimension, ...]) -> str:
    """Name an algorithm and the parts of a genome that it may change.

    Args:
      algorithm: the algorithm's name.
      dimensions: the parts that it may change.

    Returns:
      The name alone if it may change all parts; otherwise such as ``tabu:bits+connections``.

    Source: docs/semantics/search.md
    """
    return algorithm if dimensions == DIMENSIONS else f"{algorithm}:{'+'.join(dimensions)}"


def need_dimensions(dimensions: tuple[Dimension, ...]) -> None:
    """Refuse moves that may change nothing.

    Args:
      dimensions: the parts of a genome that moves may change.

    Raises:
      ValueError: there is none.

    Source: docs/semantics/search.md
    """
    if not dimensions:
        raise ValueError(f"dimensions is empty: give one or more of {', '.join(DIMENSIONS)}")


@dataclasses.dataclass(frozen=True)
class Bounds:
    """The sizes of the genomes that a search may visit. Hashable, so it may be a static argument of `jit`.

    A genome of any size is stored in an array ``[K, max_neurons, max_bits]``, padded with `UNUSED`.

    Attributes:
      input_bits: number of input bits, I.
      max_neurons: largest number of neurons of a cluster.
      max_bits: largest number of connections of a neuron.
      min_neurons: smallest number of neurons of a cluster.
      min_bits: smallest number of connections of a neuron.
      group: number of neighbouring input bits that form a group, such as the bits of one token; 0 for none.
        With groups, moves draw more neurons that read one whole group and a part of another.

    Raises:
      ValueError: a number is out of range, no genome lies within the bounds, or the input bits do not divide
        into groups.

    Source: docs/semantics/search.md
    """

    input_bits: int
    max_neurons: int
    max_bits: int
    min_neurons: int = 1
    min_bits: int = 1
    group: int = 0

    def __post_init__(self):
        checks.fields(
            self,
            input_bits=Limits(least=1),
            max_neurons=Limits(least=1, most=MAX_NEURONS),
            max_bits=Limits(least=1, most=MAX_ADDRESS_BITS),
            min_neurons=Limits(least=1),
            min_bits=Limits(least=1),
            group=Limits(least=0),
        )
        if self.min_neurons > self.max_neurons:
            raise ValueError(
                f"no genome has {self.min_neurons} to {self.max_neurons} neurons in a cluster: set "
                "max_neurons to at least min_neurons"
            )
        if not self.min_bits <= self.max_bits <= self.input_bits:
            raise ValueError(
                f"no genome has {self.min_bits} to {self.max_bits} address bits of {self.input_bits} input "
                f"bits: set max_bits from min_bits to {self.input_bits}"
            )
        if self.group and self.input_bits % self.group:
            raise ValueError(
                f"{self.input_bits} input bits do not fall into groups of {self.group}: use a divisor of "
                f"{self.input_bits}, or 0"
            )


def pad(connections: jax.Array, bounds: Bounds) -> jax.Array:
    """Pad a genome to the largest size that the bounds allow.

    Args:
      connections: ``int [..., n, T]``.
      bounds: the largest size.

    Returns:
      ``int [..., max_neurons, max_bits]``, padded with `UNUSED`.

    Raises:
      ValueError: the connections are no whole numbers, or the genome is larger than the bounds allow.

    Source: docs/semantics/search.md
    """
    checks.array("connections", connections, "integers", limits=Limits(least=-1, most=bounds.input_bits - 1))
    if len(connections.shape) < 2:
        raise ValueError(f"connections has shape {list(connections.shape)}: give [..., n, T]")
    *_, neurons, address_bits = connections.shape
    if neurons > bounds.max_neurons or address_bits > bounds.max_bits:
        raise ValueError(
            f"a genome with {neurons} neurons of {address_bits} bits is outside the bounds of "
            f"{bounds.max_neurons} neurons of {bounds.max_bits} bits: raise max_neurons or max_bits"
        )
    room = [(0, 0)] * (connections.ndim - 2)
    room += [(0, bounds.max_neurons - neurons), (0, bounds.max_bits - address_bits)]
    return jnp.pad(connections, room, constant_values=UNUSED)


def sized(
    key: jax.Array, bounds: Bounds, clusters: int, neurons: jax.Array | int, address_bits: jax.Array | int
) -> jax.Array:
    """Draw a random genome of one size.

    Args:
      key: draws the connections.
      bounds: the size of the array, and the number of input bits.
      clusters: K.
      neurons: number of neurons of each cluster, ``int32 []``.
      address_bits: number of connections of each neuron, ``int32 []``.

    Returns:
      ``int [K, max_neurons, max_bits]``. Each neuron reads distinct input bits; the rest is `UNUSED`.

    Source: docs/semantics/search.md
    """
    full = random(key, clusters, bounds.max_neurons, bounds.max_bits, bounds.input_bits)
    kept = jnp.arange(bounds.max_neurons, dtype=jnp.int32)[:, None] < neurons
    return jnp.where(kept & (jnp.arange(bounds.max_bits, dtype=jnp.int32) < address_bits), full, UNUSED)


def move(
    key: jax.Array, bounds: Bounds, dimensions: tuple[Dimension, ...], cluster: jax.Array, place: jax.Array
) -> jax.Array:
    """Draw a new neuron for one slot of a cluster.

    The dimensions that may change decide what happens to the neuron in the slot:

    - ``connections``: one to four connections (none to four if ``bits`` may change too) get input bits that
      the neuron does not read. Half of the time every such bit is equally likely; otherwise a bit is drawn in
      proportion to the number of connections that read it in the cluster. With probability 1/4 the neuron
      first becomes a copy of a random neuron of the cluster. With probability 1/4 all connections are drawn
      anew, from all input bits or, half of the time if there are groups (`Bounds.group`), first from one
      group and then from another; half of the time the first group is read whole before the second, otherwise
      only a random part of it.
    - ``bits``: the neuron gains or loses up to four connections. A neuron that is drawn anew gets any number
      of connections, or half of the time the largest.
    - ``neurons``: the neuron is removed with probability 1/10. An empty slot gets a copy of another neuron,
      with one to four connections changed.

    The result lies within the bounds; if they allow no other neuron, the slot stays as it is. If no neuron of
    the cluster reads an input bit twice, the new one does not either. The order of connections is arbitrary.

    Args:
      key: draws the move.
      bounds: sizes that are allowed.
      dimensions: the parts of a genome that may change, of `DIMENSIONS`.
      cluster: ``int [n, T]``, with at least one neuron.
      place: ``int32 []``, the slot.

    Returns:
      ``int [T]``, the connections first and `UNUSED` after them; all `UNUSED` if the neuron is removed.

    Source: docs/semantics/search.md
    """
    keys = iter(jax.random.split(key, 10))
    neurons, lengths, connections = (name in dimensions for name in DIMENSIONS)
    slots = jnp.arange(bounds.max_bits, dtype=jnp.int32)
    present = jnp.any(cluster != UNUSED, axis=-1)
    alive, old = present[place], cluster[place]

    sibling = cluster[
        jnp.argmax(jnp.where(present, jax.random.uniform(next(keys), present.shape, jnp.float32), -1.0))
    ]
    copies = ~alive | (connections & _chance(next(keys), 0.25))
    source = jnp.where(copies, sibling, old)
    length = (source != UNUSED).sum()
    # Shuffled, so that the first few connections are a random choice.
    source = source[
        jnp.argsort(
            jnp.where(source == UNUSED, 2.0, jax.random.uniform(next(keys), slots.shape, jnp.float32))
        )
    ]
    if lengths:
        step = jax.random.randint(next(keys), (), -4, 5, jnp.int32)
        length = jnp.clip(length + step, bounds.min_bits, bounds.max_bits)
    moved = jax.random.randint(next(keys), (), 0 if lengths else 1, 5, jnp.int32)
    moved = jnp.where(copies | connections, moved, 0)
    new = jnp.where(
        (slots < moved) | (source == UNUSED), _others(next(keys), bounds, cluster, source), source
    )

    if connections:
        anew = _chance(next(keys), 0.25)
        drawn_key, length_key, most_key = jax.random.split(next(keys), 3)
        new = jnp.where(anew, _drawn(drawn_key, bounds), new)
        if lengths:
            any_length = jax.random.randint(length_key, (), bounds.min_bits, bounds.max_bits + 1, jnp.int32)
            any_length = jnp.where(_chance(most_key, 0.5), bounds.max_bits, any_length)
            length = jnp.where(anew, any_length, length)
    new = jnp.where(slots < length, new, UNUSED)
    if not neurons:
        return jnp.where(alive, new, UNUSED)
    goes = alive & _chance(next(keys), 0.1) & (present.sum() > bounds.min_neurons)
    stays = alive if not (lengths or connections) else jnp.zeros((), bool)
    return jnp.where(goes, UNUSED, jnp.where(stays, old, new))


def move_all(
    keys: jax.Array,
    bounds: Bounds,
    dimensions: tuple[Dimension, ...],
    genomes: jax.Array,
    places: jax.Array,
) -> jax.Array:
    """Draw moves for many places of many genomes; see `move`.

    Args:
      keys: keys ``[P, K, S, C]``, one for each move.
      bounds: sizes that are allowed.
      dimensions: the parts of a genome that may change.
      genomes: ``int [P, K, n, T]``.
      places: ``int32 [P, K, S]``, the slots.

    Returns:
      ``int [P, K, S, C, T]``, with the dtype of ``genomes``.

    Source: docs/semantics/search.md
    """
    shape = keys.shape
    clusters = jnp.broadcast_to(genomes[:, :, None, None], (*shape, *genomes.shape[2:]))
    chosen = jnp.broadcast_to(places[..., None], shape).reshape(-1)

    def one(key, cluster, place):
        return move(key, bounds, dimensions, cluster, place)

    # One long axis, because XLA compiles several short axes four times more slowly.
    moved = jax.vmap(one)(keys.reshape(-1), clusters.reshape(-1, *genomes.shape[2:]), chosen)
    return moved.reshape(*shape, -1).astype(genomes.dtype)


def _chance(key: jax.Array, probability: float) -> jax.Array:
    # As float32, because JAX draws other numbers for a probability of 64 bits.
    return jax.random.bernoulli(key, jnp.float32(probability))


def _others(key: jax.Array, bounds: Bounds, cluster: jax.Array, neuron: jax.Array) -> jax.Array:
    """Draw ``[max_bits]`` distinct input bits; those that the neuron already reads come last."""
    draw_key, alike_key = jax.random.split(key)
    beyond = bounds.input_bits  # an index outside the array: JAX drops what UNUSED writes there
    counts = jnp.zeros(beyond, jnp.float32).at[jnp.where(cluster == UNUSED, beyond, cluster)].add(1.0)
    alike = _chance(alike_key, 0.5)
    weight = jnp.where(alike, counts + 1e-3, 1.0)
    weight = weight.at[jnp.where(neuron == UNUSED, beyond, neuron)].set(1e-12)
    # Sampling without replacement by weight: the Gumbel top-k trick.
    order = jnp.argsort(-(jnp.log(weight) + jax.random.gumbel(draw_key, weight.shape, jnp.float32)))
    return order[: bounds.max_bits].astype(dtype_for(bounds.input_bits))


def _drawn(key: jax.Array, bounds: Bounds) -> jax.Array:
    """Draw ``[max_bits]`` distinct input bits from all, or half of the time from one group after another."""
    order_key, group_key, whole_key, part_key, grouped_key = jax.random.split(key, 5)
    order = jax.random.uniform(order_key, (bounds.input_bits,), jnp.float32)
    if bounds.group:
        groups = bounds.input_bits // bounds.group
        rank = jax.random.permutation(group_key, groups)
        part = jax.random.randint(part_key, (), 1, bounds.group + 1, jnp.int32)
        part = jnp.where(_chance(whole_key, 0.5), bounds.group, part)
        within = jnp.argsort(jnp.argsort(order.reshape(groups, bounds.group), axis=1), axis=1)
        # Only a part of the first group comes first; the rest of that group comes last.
        later = jnp.where((rank == 0)[:, None] & (within >= part), groups, rank[:, None])
        grouped = _chance(grouped_key, 0.5)
        order = order + jnp.where(grouped, later.reshape(-1), 0)
    return jnp.argsort(order)[: bounds.max_bits].astype(dtype_for(bounds.input_bits))
