"""The pure-XLA kernels: a flat list of neurons, in blocks, each row written and read before the next.

The reference for every other backend. Neuron-major order keeps one row of ``2**T`` cells in cache while
all examples pass, and addresses are computed on the fly from packed words.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax.ram import bits, cells, connectivity

# Neurons written side by side. Additive cells: two keep both rows of 2**20 cells in L2 and give the
# second core work. Quad cells walk the examples one by one, so the block is what fills the vector
# units and the memory system; 256 is where a step costs less than its loop overhead.
LANES = 2
_QUAD_BLOCK = 256
_QUAD_BLOCK_BYTES = 1 << 28

_CHUNK = 4096


def block_size(config: cells.RamConfig, neurons: int, address_bits: int) -> int:
    """Neurons in flight, in blocks of nearly equal size."""
    most = min(_QUAD_BLOCK, _QUAD_BLOCK_BYTES >> address_bits) if config.is_quad else LANES
    return -(-neurons // -(-neurons // most))


class Stream(NamedTuple):
    """Examples as the kernels want them: weights filled in, and each example's place in the stream."""

    words: jax.Array  # uint32 [W, N]
    targets: jax.Array  # bool [K, N]
    weight: jax.Array  # bool [N]
    place: jax.Array  # uint32 [N]
    span: jax.Array | None = None  # int32 [K, 2], the examples that a cluster is written; None: all


class Neurons(NamedTuple):
    """A flat list of neurons; a population is just a longer list."""

    connections: jax.Array  # int32 [R, T]
    seed: jax.Array  # uint32 [R]
    cluster: jax.Array  # int32 [R], whose targets and prior
    row: jax.Array  # int32 [R], whose votes


def addresses(words: jax.Array, connections: jax.Array) -> jax.Array:
    """The address one neuron forms for every example.

    Args:
      words: ``uint32 [W, N]`` packed input bits.
      connections: ``[T]`` input bits, most significant first; -1 reads as 0.

    Returns:
      ``int32 [N]`` in ``[0, 2**T)``.
    """
    connections = connections.astype(jnp.int32)
    used = (connections >= 0).astype(jnp.uint32)
    source = jnp.maximum(connections, 0)
    shift = (source % bits.WORD).astype(jnp.uint32)

    def append(t, address):
        word = jax.lax.dynamic_index_in_dim(words, source[t] // bits.WORD, keepdims=False)
        return (address << 1) | ((word >> shift[t]) & used[t])

    # A loop and not T unrolled steps: unrolled, XLA fuses them into the scatter or gather that
    # consumes the addresses and computes them one scalar at a time, 2-10 times slower on the CPU.
    # Two bits a step halve the passes over the addresses.
    start = jnp.zeros(words.shape[1], jnp.uint32)
    address = jax.lax.fori_loop(0, connections.shape[0], append, start, unroll=2)
    return address.astype(jnp.int32)


def fit_and_read(
    config: cells.RamConfig,
    clusters: int,
    neurons: Neurons,
    stream: Stream,
    prior: jax.Array,
    words: jax.Array,
) -> jax.Array:
    """Votes ``int32 [clusters, N']`` on ``words`` of neurons that saw the stream; no table is kept.

    Absent neurons cost nothing: a search passes long lists of which few are there.

    Args:
      clusters: rows of votes.
      prior: ``float32 [K]``, read by count cells.
    """
    count, address_bits = neurons.connections.shape
    block = block_size(config, count, address_bits)
    width = cells.row_width(config, address_bits)

    def step(index, votes):
        _, some = _take(neurons, index, block)
        if config.is_quad:
            rows = _walk_rows(config, cells.empty(config, (block, width)), some, stream)
            return _add_votes(config, rows, some, prior, words, votes)
        lanes = _add_lanes(config, [cells.empty(config, (width,))] * block, some, stream)
        return _read_lanes(config, lanes, some, prior, words, votes)

    present = jax.vmap(_present)(neurons.connections)
    order = jnp.argsort(~present, stable=True)
    neurons = jax.tree.map(lambda x: x[order], neurons)
    votes = jnp.zeros((clusters, words.shape[1]), jnp.int32)
    return jax.lax.fori_loop(0, -(-present.sum() // block), step, votes)


def write(config: cells.RamConfig, table: jax.Array, neurons: Neurons, stream: Stream) -> jax.Array:
    """A table's cells after the examples were written into them.

    Args:
      table: the rows of all R neurons, in any shape that holds them one after another.
    """
    count, address_bits = neurons.connections.shape
    block = block_size(config, count, address_bits)

    def step(index, rows):
        start, some = _take(neurons, index, block)
        old = jax.lax.dynamic_slice_in_dim(rows, start, block)
        if config.is_quad:
            new = _walk_rows(config, old, some, stream)
        else:
            new = jnp.stack(_add_lanes(config, list(old), some, stream))
        return jax.lax.dynamic_update_slice_in_dim(rows, new, start, axis=0)

    rows = jax.lax.fori_loop(0, -(-count // block), step, table.reshape(count, -1))
    return rows.reshape(table.shape)


def _add_lanes(config: cells.RamConfig, rows: list, neurons: Neurons, stream: Stream) -> list:
    """Write all examples to the rows of a few neurons, where order has no effect: all but quad cells.

    One scatter a lane and not one for all, so that the CPU runs them side by side.
    """
    address = jax.vmap(addresses, (None, 0))(stream.words, neurons.connections)
    written = []
    for lane, row in enumerate(rows):
        target = stream.targets[neurons.cluster[lane]].astype(jnp.int32)
        drawn = cells.sampled(config, neurons.seed[lane], stream.place)
        weight = drawn & stream.weight & _present(neurons.connections[lane])
        if stream.span is not None:
            weight &= within(stream.span[neurons.cluster[lane]], weight.shape[0])
        if config.cells == "true_wins":
            mark = jnp.where(weight, 1 + target, 0).astype(jnp.int8)
            written.append(row.at[address[lane]].max(mark, mode="promise_in_bounds"))
            continue
        if config.cells == "count":
            place, amount = 2 * address[lane] + target, weight.astype(jnp.int32)
        else:
            place, amount = address[lane], (2 * target - 1) * weight
        written.append(row.at[place].add(amount, mode="promise_in_bounds"))
    return written


def _walk_rows(config: cells.RamConfig, rows: jax.Array, neurons: Neurons, stream: Stream):
    """Saturating +-1 in the order of the examples: parallel over neurons, never over examples.

    A clipped net sum is not a substitute: it changes a language model's loss by nats.
    """
    count = stream.weight.shape[0]
    chunk = min(_CHUNK, count)
    inside = jnp.ones((rows.shape[0], count), bool)
    if stream.span is not None:
        inside = jax.vmap(within, (0, None))(stream.span[neurons.cluster], count)
    stream = stream._replace(span=None)
    padded = jax.tree.map(
        lambda x: jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -count % chunk)]), (stream, inside)
    )
    chunks = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(*x.shape[:-1], -1, chunk), -2, 0), padded)
    start = jnp.arange(rows.shape[0], dtype=jnp.int32) * rows.shape[1]
    present = jax.vmap(_present)(neurons.connections)[:, None]

    def nudge(flat, step):
        place, amount = step
        nudged = jnp.clip(flat[place] + amount, 0, 3)
        return flat.at[place].set(nudged, mode="promise_in_bounds", unique_indices=True), None

    def walk(flat, both):
        part, inside = both
        address = jax.vmap(addresses, (None, 0))(part.words, neurons.connections)
        drawn = jax.vmap(lambda seed: cells.sampled(config, seed, part.place))(neurons.seed)
        weight = drawn & part.weight & present & inside
        amount = jnp.where(part.targets[neurons.cluster], 1, -1) * weight
        steps = ((address + start[:, None]).T, amount.astype(jnp.int8).T)
        return jax.lax.scan(nudge, flat, steps)[0], None

    return jax.lax.scan(walk, rows.reshape(-1), chunks)[0].reshape(rows.shape)


def read(
    config: cells.RamConfig,
    clusters: int,
    table: jax.Array,
    neurons: Neurons,
    prior: jax.Array,
    words: jax.Array,
) -> jax.Array:
    """Votes ``int32 [clusters, N]`` of the neurons whose rows the table holds."""
    rows = table.reshape(neurons.seed.shape[0], -1)
    votes = jnp.zeros((clusters, words.shape[1]), jnp.int32)
    return _add_votes(config, rows, neurons, prior, words, votes)


def _add_votes(config, rows, neurons, prior, words, votes):
    count = neurons.seed.shape[0]
    lanes = min(LANES, count)

    def step(index, votes):
        start, some = _take(neurons, index, lanes)
        lane_rows = jax.lax.dynamic_slice_in_dim(rows, start, lanes)
        return _read_lanes(config, list(lane_rows), some, prior, words, votes)

    return jax.lax.fori_loop(0, -(-count // lanes), step, votes)


def _read_lanes(config, rows: list, neurons, prior, words, votes):
    address = jax.vmap(addresses, (None, 0))(words, neurons.connections)
    for lane, row in enumerate(rows):
        value = cells.value(config, row, address[lane], prior[neurons.cluster[lane]])
        value = jnp.where(_present(neurons.connections[lane]), value, 0)
        votes = votes.at[neurons.row[lane]].add(value)
    return votes


def within(span: jax.Array, count: int) -> jax.Array:
    """Which of N examples lie in a span ``[2]``: begin included, end not."""
    place = jnp.arange(count)
    return (place >= span[0]) & (place < span[1])


def _present(connections: jax.Array) -> jax.Array:
    return jnp.any(connections != connectivity.UNUSED)


def _take(neurons: Neurons, index: jax.Array, block: int) -> tuple[jax.Array, Neurons]:
    """Block number ``index`` of a list, and where it starts.

    The last block is moved back so that it ends with the list; what it would repeat is made absent.
    """
    start = jnp.minimum(index * block, neurons.seed.shape[0] - block)
    some = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, block), neurons)
    fresh = start + jnp.arange(block) >= index * block
    connections = jnp.where(fresh[:, None], some.connections, connectivity.UNUSED)
    return start, some._replace(connections=connections)
