"""Which input bit goes where: the genome of a RAM network.

A connectivity is one integer array ``[K, n, T]``. Entry ``[k, j, t]`` is the input bit that address
bit ``t`` of neuron ``j`` of cluster ``k`` reads (``t = 0`` is the most significant). ``-1`` is an
unused connection: it reads as 0, so one array holds neurons of different T. A neuron with no
connection at all is absent: neither written, read nor counted. Duplicated bits in a neuron are legal;
some of its addresses are then unreachable.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

UNUSED = -1


def random(key: jax.Array, clusters: int, neurons: int, address_bits: int, input_bits: int) -> jax.Array:
    """Every neuron observes ``address_bits`` distinct input bits, drawn uniformly.

    Args:
      key: consumed.
      clusters, neurons, address_bits, input_bits: K, n, T, I.

    Returns:
      ``[K, n, T]`` in `dtype_for(input_bits)`.

    Raises:
      ValueError: T is below 1 or above I.
    """
    if not 1 <= address_bits <= input_bits:
        raise ValueError(
            f"a neuron needs 1 to {input_bits} address bits (there are {input_bits} input bits), "
            f"got {address_bits}"
        )
    order = jnp.argsort(jax.random.uniform(key, (clusters, neurons, input_bits)), axis=-1)
    return order[..., :address_bits].astype(dtype_for(input_bits))


def dtype_for(input_bits: int) -> np.dtype:
    """The smallest signed integer that holds every input bit's index and ``-1``."""
    return np.dtype(np.min_scalar_type(-max(input_bits, 1)))


def neurons_present(connections: jax.Array) -> jax.Array:
    """``int32 [K]``: how many neurons of each cluster have at least one connection."""
    return jnp.any(connections != UNUSED, axis=-1).sum(axis=-1, dtype=jnp.int32)


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What genomes a search may visit. Hashable: static under `jit`.

    A genome of any size lives in one array ``[K, max_neurons, max_bits]``, padded with `UNUSED`.

    Attributes:
      input_bits: I.
      min_neurons, max_neurons: neurons present in a cluster.
      min_bits, max_bits: connections of a neuron.
      group: neighbouring input bits that belong together, such as those of a token; 0 for none. It only
        makes neurons likelier that read one group whole and part of another.

    Raises:
      ValueError: no genome can meet them.
    """

    input_bits: int
    min_neurons: int
    max_neurons: int
    min_bits: int
    max_bits: int
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


# What a search may change of a genome.
DIMENSIONS = ("neurons", "bits", "connections")


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


def table_bits(connections: jax.Array, cell_bits: int) -> jax.Array:
    """Mebibits ``float32 [...]`` of the tables of genomes ``[..., K, n, T]``, ``cell_bits`` a cell."""
    used = (connections != UNUSED).sum(axis=-1)
    cells = jnp.where(used > 0, jnp.exp2(used.astype(jnp.float32) - 20.0), 0.0)
    return cell_bits * cells.sum(axis=(-2, -1))


def move(
    key: jax.Array, bounds: Bounds, dimensions: tuple[str, ...], cluster: jax.Array, place: jax.Array
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
