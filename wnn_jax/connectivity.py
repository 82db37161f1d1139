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

    Raises:
      ValueError: no genome can meet them.
    """

    input_bits: int
    min_neurons: int
    max_neurons: int
    min_bits: int
    max_bits: int

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

    - ``connections``: one to four of them go to any input bit; one time in four it first becomes a copy of
      a random neuron of its cluster; one time in five all are drawn anew, half of those within a random
      window of neighbouring input bits.
    - ``bits``: it gains or loses up to four connections (drawn anew, it has any number).
    - ``neurons``: one time in ten it goes; an empty slot gets a copy of another, with one to four
      connections moved.

    Within ``bounds`` always: where they leave no other choice the slot stays as it is. An input bit may
    come twice. Connections are packed to the front; their order means nothing.

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
    whole = _window(next(keys), bounds, jnp.zeros((), bool))
    new = jnp.where((slots < moved) | (source == UNUSED), whole, source)

    if connections:
        anew = jax.random.bernoulli(next(keys), 0.2)
        drawn_key, length_key = jax.random.split(next(keys))
        drawn = _window(drawn_key, bounds, jax.random.bernoulli(next(keys), 0.5))
        new = jnp.where(anew, drawn, new)
        if lengths:
            any_length = jax.random.randint(length_key, (), bounds.min_bits, bounds.max_bits + 1)
            length = jnp.where(anew, any_length, length)
    new = jnp.where(slots < length, new, UNUSED)
    if not neurons:
        return jnp.where(alive, new, UNUSED)
    goes = alive & jax.random.bernoulli(next(keys), 0.1) & (present.sum() > bounds.min_neurons)
    stays = alive if not (lengths or connections) else jnp.zeros((), bool)
    return jnp.where(goes, UNUSED, jnp.where(stays, old, new))


def _window(key: jax.Array, bounds: Bounds, narrow: jax.Array) -> jax.Array:
    """``[max_bits]`` distinct input bits, of all or (``narrow``) first of those in a random window."""
    order_key, width_key, start_key = jax.random.split(key, 3)
    width = jax.random.randint(width_key, (), bounds.min_bits, bounds.input_bits + 1)
    start = jax.random.randint(start_key, (), 0, bounds.input_bits - width + 1)
    place = jnp.arange(bounds.input_bits)
    outside = narrow & ((place < start) | (place >= start + width))
    order = jnp.argsort(jax.random.uniform(order_key, place.shape) + outside)
    return order[: bounds.max_bits].astype(dtype_for(bounds.input_bits))
