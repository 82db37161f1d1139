"""The table kernels in pure XLA, and the reference that every other backend must equal.

A kernel walks a flat list of neurons in blocks. It writes and reads the rows of one block before it starts
the next block. So a row of 2^T cells stays in cache while all examples pass. Addresses are computed from the
packed words when they are needed and are not stored.

Source: docs/semantics/ram.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax.ram import bits, cells, connectivity, given

# The number of neurons that are written side by side. For cells that add, two neurons keep both rows of 2**20
# cells in the L2 cache and occupy a second core. Quad cells take the examples one by one, so only the number
# of neurons can fill the vector units; with fewer than 256 a step would cost less than its loop's overhead.
LANES = 2
_QUAD_BLOCK = 256
_QUAD_BLOCK_BYTES = 1 << 28

_CHUNK = 4096


def block_size(config: cells.RamConfig, neurons: int, address_bits: int) -> int:
    """Choose the number of neurons of a block, so that all blocks have nearly the same size.

    Args:
      config: the kind of cells.
      neurons: R, the number of neurons of the list.
      address_bits: T.

    Returns:
      The number of neurons whose rows exist at once.

    Source: docs/architecture.md
    """
    most = min(_QUAD_BLOCK, _QUAD_BLOCK_BYTES >> address_bits) if config.is_quad else LANES
    return -(-neurons // -(-neurons // most))


class Stream(NamedTuple):
    """Examples in the form that the kernels take: with weights, and with each example's place.

    Attributes:
      words: ``uint32 [W, N]``, packed input bits.
      targets: ``bool [K, N]``.
      weight: ``bool [N]``; False marks padding.
      place: ``uint32 [N]``, the number of examples written before this one; it decides the sampling.
      span: ``int32 [K, 2]``, begin and end of the examples with which a cluster is written; None for all.

    Source: docs/semantics/ram.md
    """

    words: jax.Array
    targets: jax.Array
    weight: jax.Array
    place: jax.Array
    span: jax.Array | None = None


class Neurons(NamedTuple):
    """A flat list of neurons. The neurons of a whole population form one list too.

    Attributes:
      connections: ``int32 [R, T]``.
      seed: ``uint32 [R]``, decides which examples a neuron writes.
      cluster: ``int32 [R]``, the cluster whose targets and prior a neuron uses.
      row: ``int32 [R]``, the row of votes to which a neuron adds.

    Source: docs/semantics/ram.md
    """

    connections: jax.Array
    seed: jax.Array
    cluster: jax.Array
    row: jax.Array


def addresses(words: jax.Array, connections: jax.Array) -> jax.Array:
    """Compute the address that one neuron forms for every example.

    Args:
      words: ``uint32 [W, N]``, packed input bits.
      connections: ``int [T]``, the input bits; the first gives the most significant address bit. An unused
        connection (-1) gives 0.

    Returns:
      ``int32 [N]``, in ``[0, 2**T)``, whatever the connections are.

    Raises:
      ValueError: the words are not ``uint32 [W, N]``, or an entry of the connections is neither -1 nor an
        input bit.

    Source: docs/semantics/ram.md
    """
    given.words("words", words)
    given.connections(connections, bits.WORD * words.shape[0], axes="T")
    words, connections = jnp.asarray(words), jnp.asarray(connections, jnp.int32)
    used = (connections >= 0).astype(jnp.uint32)
    source = jnp.maximum(connections, 0)
    shift = (source % bits.WORD).astype(jnp.uint32)

    def append(t, address):
        word = jax.lax.dynamic_index_in_dim(words, source[t] // bits.WORD, keepdims=False)
        return (address << 1) | ((word >> shift[t]) & used[t])

    # A loop, not T unrolled steps: XLA would fuse unrolled steps into the scatter or gather that uses the
    # addresses, and compute one scalar at a time, 2-10 times slower on the CPU. Two bits in each step halve
    # the number of passes over the addresses.
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
    """Write a stream of examples to neurons, read their votes on other inputs, and drop their rows.

    Absent neurons take no time, because a search passes long lists in which most neurons are absent.

    Args:
      config: the kind of cells.
      clusters: number of rows of votes.
      neurons: R neurons.
      stream: N examples to write.
      prior: ``float32 [K]``, the share of ones of each cluster; only count cells use it.
      words: ``uint32 [W, N']``, packed input bits to read.

    Returns:
      Votes ``int32 [clusters, N']``, in units of ``1 / UNIT``.

    Source: docs/semantics/ram.md
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
    """Write a stream of examples to the rows of a table.

    Args:
      config: the kind of cells.
      table: the cells of all R neurons, in any shape that holds one row after another.
      neurons: R neurons.
      stream: N examples to write, in their order.

    Returns:
      The cells after writing, with the shape and dtype of ``table``.

    Source: docs/semantics/ram.md
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
    """Write all examples to the rows of a few neurons. For all cells but quad cells, whose order matters.

    Each row has its own scatter, so that the CPU runs the scatters side by side.
    """
    address = jax.vmap(addresses, (None, 0))(stream.words, neurons.connections)
    written = []
    for lane, row in enumerate(rows):
        # The mask keeps a boolean of other bytes than 0 and 1 within its cell.
        target = stream.targets[neurons.cluster[lane]].astype(jnp.int32) & 1
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
    """Write quad cells: add +1 or -1 and saturate, one example after another, for many neurons at once.

    To clip the sum of all steps once would be faster, but it changes the loss of a language model by nats.
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
    """Read the votes of the neurons whose rows a table holds.

    Args:
      config: the kind of cells.
      clusters: number of rows of votes.
      table: the cells of all R neurons, in any shape that holds one row after another.
      neurons: R neurons; absent neurons add nothing.
      prior: ``float32 [K]``, the share of ones of each cluster; only count cells use it.
      words: ``uint32 [W, N]``, packed input bits to read.

    Returns:
      Votes ``int32 [clusters, N]``, in units of ``1 / UNIT``.

    Source: docs/semantics/ram.md
    """
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
    """Mark the examples that lie in a span.

    Args:
      span: ``int32 [2]``, begin and end; the end is excluded.
      count: N, the number of examples.

    Returns:
      ``bool [N]``.

    Source: docs/semantics/ram.md
    """
    place = jnp.arange(count, dtype=jnp.int32)
    return (place >= span[0]) & (place < span[1])


def _present(connections: jax.Array) -> jax.Array:
    return jnp.any(connections != connectivity.UNUSED)


def _take(neurons: Neurons, index: jax.Array, block: int) -> tuple[jax.Array, Neurons]:
    """Take block number ``index`` of a list of neurons, and return its start too.

    The last block is moved back so that it ends with the list. The neurons that it would repeat are made
    absent.
    """
    start = jnp.minimum(index * block, neurons.seed.shape[0] - block)
    some = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, block), neurons)
    fresh = start + jnp.arange(block, dtype=jnp.int32) >= index * block
    connections = jnp.where(fresh[:, None], some.connections, connectivity.UNUSED)
    return start, some._replace(connections=connections)
