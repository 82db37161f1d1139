"""RAM neurons: address a cell by bits, write it by adding, read it out.

The only module that knows table layout. Everything is neuron-major: one neuron's row of
``A = 2**T`` cells is filled and read by all examples before the next neuron is touched, so the row
stays in cache, and addresses are computed on the fly from packed words (design decision 1).

Cells (`RamConfig.cells`) and what an unvisited one reads:

    kind           cell                      write                          read          unvisited
    ternary        int32 net vote            += 1 if target else -1         1, e, 0       e
    quad_binary    int8 0..3, starts at 1    nudge +-1, saturating, in      0, 0, 1, 1    0
    quad_weighted  (the same)                the order of the examples      0 .25 .75 1   .25
    count          int32 (n0, n1)            n[target] += 1                 (n1 + prior) / (n0 + n1 + 1)

where e is ``empty_value`` (also what a tied ternary cell reads) and prior is the share of ones among
all written targets of the cluster (0.5 before the first). Ternary and count writes are sums, so the
order of the examples never matters; quad writes are a saturating walk, where it does.

Reads are **votes**: integers in units of ``1 / UNIT``, summed over the neurons of a cluster. Integer
sums have no order, so a score is the same to the bit on any device, under `vmap`, and when neurons
are added or taken away one by one.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax import bits, connectivity

CELLS = ("ternary", "quad_binary", "quad_weighted", "count")
UNIT = 1 << 20
MAX_NEURONS = (2**31 - 1) // UNIT
MAX_ADDRESS_BITS = 24

_QUAD_VALUES = {"quad_binary": (0.0, 0.0, 1.0, 1.0), "quad_weighted": (0.0, 0.25, 0.75, 1.0)}
_QUAD_START = 1
_CHUNK = 4096


@dataclasses.dataclass(frozen=True)
class RamConfig:
    """What a cell is and how it is written and read. Hashable: static under `jit`.

    Attributes:
      cells: one of `CELLS`.
      empty_value: what an EMPTY ternary cell reads, in [0, 1].
      sample_rate: probability with which a neuron writes an example, in (0, 1]; each (neuron,
        example) pair is drawn on its own.

    Raises:
      ValueError: a value is outside its range.
    """

    cells: str = "count"
    empty_value: float = 0.0
    sample_rate: float = 1.0

    def __post_init__(self):
        if self.cells not in CELLS:
            raise ValueError(f"unknown cells {self.cells!r}: choose one of {', '.join(CELLS)}")
        if not 0.0 <= self.empty_value <= 1.0:
            raise ValueError(f"empty_value must be in [0, 1], got {self.empty_value}")
        if not 0.0 < self.sample_rate <= 1.0:
            raise ValueError(f"sample_rate must be in (0, 1], got {self.sample_rate}")

    @property
    def is_quad(self) -> bool:
        return self.cells in _QUAD_VALUES


class Examples(NamedTuple):
    """Inputs and targets of N examples.

    Attributes:
      words: ``uint32 [W, N]`` packed input bits (`bits.pack`).
      targets: ``bool [K, N]`` target bit of every cluster.
      weight: ``bool [N]``; False marks padding, which changes nothing. None means all True.
    """

    words: jax.Array
    targets: jax.Array
    weight: jax.Array | None = None


class Table(NamedTuple):
    """Everything a layer remembers.

    Attributes:
      cells: ``[K, n, A]`` int32 (ternary) or int8 (quad), or ``[K, n, A, 2]`` int32 (count).
      ones: ``int32 [K]`` targets that were 1, over all written examples.
      written: ``int32 []`` examples written.
    """

    cells: jax.Array
    ones: jax.Array
    written: jax.Array


class _Stream(NamedTuple):
    """Examples as the kernels want them: weights filled in, and each example's place in the stream."""

    words: jax.Array  # uint32 [W, N]
    targets: jax.Array  # bool [K, N]
    weight: jax.Array  # bool [N]
    place: jax.Array  # uint32 [N]


class _Neurons(NamedTuple):
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
    start = jnp.zeros(words.shape[1], jnp.uint32)
    address = jax.lax.fori_loop(0, connections.shape[0], append, start)
    return address.astype(jnp.int32)


def init(config: RamConfig, clusters: int, neurons: int, address_bits: int) -> Table:
    """An empty table of K clusters of n neurons with ``2**T`` cells each."""
    _check_size(neurons, address_bits)
    cells = _empty_rows(config, clusters * neurons, address_bits)
    return Table(
        cells=cells.reshape(_cells_shape(config, clusters, neurons, address_bits)),
        ones=jnp.zeros(clusters, jnp.int32),
        written=jnp.zeros((), jnp.int32),
    )


def write(
    key: jax.Array | None,
    config: RamConfig,
    table: Table,
    connections: jax.Array,
    train: Examples,
) -> Table:
    """The table after the examples were written, in their order.

    Donate ``table`` at the `jit` site and the update is in place. Writing a then b is the same as
    writing a ++ b, for every kind of cell and with sampling too (given the same key).

    Args:
      key: draws which examples each neuron samples; may be None when ``sample_rate`` is 1.
      connections: ``[K, n, T]``, see `wnn_jax.connectivity`.
      train: K targets an example.

    Raises:
      ValueError: shapes disagree.
    """
    _check(key, config, connections, train)
    neurons = _flatten(key, config, connections)
    stream = _stream(train, table.written)
    count, address_bits = neurons.connections.shape
    block = _block(config, count, address_bits)

    def step(index, rows):
        start, some = _take(neurons, index, block)
        old = jax.lax.dynamic_slice_in_dim(rows, start, block)
        new = _write_rows(config, old, some, stream)
        return jax.lax.dynamic_update_slice_in_dim(rows, new, start, axis=0)

    rows = jax.lax.fori_loop(0, -(-count // block), step, table.cells.reshape(count, -1))
    return Table(
        cells=rows.reshape(table.cells.shape),
        ones=table.ones + _ones(stream),
        written=table.written + stream.weight.sum(dtype=jnp.int32),
    )


def read(config: RamConfig, table: Table, connections: jax.Array, words: jax.Array) -> jax.Array:
    """Votes ``int32 [K, N]`` of every cluster on every example, in units of ``1 / UNIT``.

    Args:
      connections: ``[K, n, T]``, the connectivity the table was written with.
      words: ``uint32 [W, N]`` packed input bits.
    """
    clusters, neurons, address_bits = connections.shape
    _check_size(neurons, address_bits)
    flat = _flatten(None, config, connections)
    rows = table.cells.reshape(flat.seed.shape[0], -1)
    votes = jnp.zeros((clusters, words.shape[1]), jnp.int32)
    return _read_rows(config, rows, flat, _prior(table.ones, table.written), words, votes)


def fit_and_read(
    key: jax.Array | None,
    config: RamConfig,
    connections: jax.Array,
    train: Examples,
    words: jax.Array,
) -> jax.Array:
    """Train on the examples, vote on ``words``, and keep no table (design decision 2).

    Equal to `read` of `write` of `init`, but only a few rows exist at a time. Under `vmap` over
    ``connections`` (and ``key``) the population becomes one longer list of neurons, so memory stays
    a few rows plus the votes.

    Args:
      key: draws which examples each neuron samples; may be None when ``sample_rate`` is 1.
      connections: ``[K, n, T]``.
      train: what to write.
      words: ``uint32 [W, N']`` packed input bits to read.

    Returns:
      Votes ``int32 [K, N']``.

    Raises:
      ValueError: shapes disagree, or a table size is out of range.
    """
    _check(key, config, connections, train)
    stream = _stream(train, jnp.zeros((), jnp.int32))
    prior = _prior(_ones(stream), stream.weight.sum(dtype=jnp.int32))
    fused = _fused(config, connections.shape[0])
    return fused(_flatten(key, config, connections), stream, prior, words)


def probability(votes: jax.Array, connections: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Share of the vote for 1 and for 0, both ``float32 [K, N]``; a cluster with no neuron says 1/2.

    Both are divided out of exact integers, so neither loses digits to ``1 - p``.
    """
    total = connectivity.neurons_present(connections)[:, None] * UNIT
    silent = total == 0
    one = jnp.where(silent, 0.5, votes / jnp.maximum(total, 1))
    zero = jnp.where(silent, 0.5, (total - votes) / jnp.maximum(total, 1))
    return one.astype(jnp.float32), zero.astype(jnp.float32)


def row_bytes(config: RamConfig, address_bits: int) -> int:
    """Bytes of one neuron's row."""
    per_cell = {"ternary": 4, "count": 8}.get(config.cells, 1)
    return per_cell << address_bits


def fused_bytes(
    config: RamConfig,
    *,
    clusters: int,
    neurons: int,
    address_bits: int,
    input_bits: int,
    train: int,
    evaluated: int,
) -> int:
    """Upper estimate of what `fit_and_read` of one connectivity holds at once, in bytes.

    Args:
      clusters, neurons, address_bits, input_bits: K, n, T, I.
      train, evaluated: examples written and examples read.
    """
    block = _block(config, clusters * neurons, address_bits)
    rows = 2 * block * row_bytes(config, address_bits)
    words = 4 * -(-input_bits // bits.WORD) * (train + evaluated)
    votes = 2 * 4 * clusters * evaluated
    lanes = _LANES * 4 * (address_bits + 4) * max(train if not config.is_quad else 0, evaluated)
    return rows + words + votes + lanes + clusters * train


# Below: a flat list of neurons, in blocks.

# Neurons written side by side. Additive cells: two keep both rows of 2**20 cells in L2 and give the
# second core work. Quad cells walk the examples one by one, so the block is what fills the vector
# units and the memory system; 256 is where a step costs less than its loop overhead.
_LANES = 2
_QUAD_BLOCK = 256
_QUAD_BLOCK_BYTES = 1 << 28


def _block(config: RamConfig, neurons: int, address_bits: int) -> int:
    """Neurons in flight, in blocks of nearly equal size."""
    most = min(_QUAD_BLOCK, _QUAD_BLOCK_BYTES >> address_bits) if config.is_quad else _LANES
    return -(-neurons // -(-neurons // most))


def _check(
    key: jax.Array | None, config: RamConfig, connections: jax.Array, train: Examples
) -> None:
    if key is None and config.sample_rate < 1.0:
        raise ValueError(f"sample_rate {config.sample_rate} needs a key to draw with")
    if connections.ndim != 3:
        raise ValueError(f"connections must be [K, n, T], got shape {connections.shape}")
    if train.targets.ndim != 2 or train.targets.shape[0] != connections.shape[0]:
        raise ValueError(
            f"{connections.shape[0]} clusters need targets [{connections.shape[0]}, N], "
            f"got shape {train.targets.shape}"
        )
    if train.words.shape[1:] != train.targets.shape[1:]:
        raise ValueError(
            f"words {train.words.shape} and targets {train.targets.shape} differ in their examples"
        )
    _check_size(connections.shape[1], connections.shape[2])


def _check_size(neurons: int, address_bits: int) -> None:
    if not 1 <= address_bits <= MAX_ADDRESS_BITS:
        raise ValueError(
            f"a dense table takes 1 to {MAX_ADDRESS_BITS} address bits, got {address_bits}"
        )
    if not 1 <= neurons <= MAX_NEURONS:
        raise ValueError(f"a cluster takes 1 to {MAX_NEURONS} neurons, got {neurons}")


def _cells_shape(config, clusters, neurons, address_bits):
    shape = (clusters, neurons, 1 << address_bits)
    return (*shape, 2) if config.cells == "count" else shape


def _empty_rows(config: RamConfig, rows: int, address_bits: int) -> jax.Array:
    if config.is_quad:
        return jnp.full((rows, 1 << address_bits), _QUAD_START, jnp.int8)
    return jnp.zeros((rows, (2 if config.cells == "count" else 1) << address_bits), jnp.int32)


def _flatten(key: jax.Array | None, config: RamConfig, connections: jax.Array) -> _Neurons:
    clusters, neurons, address_bits = connections.shape
    count = clusters * neurons
    cluster = jnp.repeat(jnp.arange(clusters, dtype=jnp.int32), neurons)
    sampling = key is not None and config.sample_rate < 1.0
    seed = jax.random.bits(key, (count,)) if sampling else jnp.zeros(count, jnp.uint32)
    flat = connections.reshape(count, address_bits).astype(jnp.int32)
    return _Neurons(flat, seed, cluster, cluster)


def _take(neurons: _Neurons, index: jax.Array, block: int) -> tuple[jax.Array, _Neurons]:
    """Block number ``index`` of a list, and where it starts.

    The last block is moved back so that it ends with the list; what it would repeat is made absent.
    """
    start = jnp.minimum(index * block, neurons.seed.shape[0] - block)
    some = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, block), neurons)
    fresh = start + jnp.arange(block) >= index * block
    connections = jnp.where(fresh[:, None], some.connections, connectivity.UNUSED)
    return start, some._replace(connections=connections)


def _stream(train: Examples, already: jax.Array) -> _Stream:
    count = train.targets.shape[1]
    weight = jnp.ones(count, bool) if train.weight is None else train.weight.astype(bool)
    place = already + jnp.cumsum(weight, dtype=jnp.int32) - 1
    return _Stream(train.words, train.targets.astype(bool), weight, place.astype(jnp.uint32))


def _ones(stream: _Stream) -> jax.Array:
    return (stream.targets & stream.weight).sum(axis=1, dtype=jnp.int32)


def _prior(ones: jax.Array, written: jax.Array) -> jax.Array:
    share = ones.astype(jnp.float32) / jnp.maximum(written, 1).astype(jnp.float32)
    return jnp.where(written > 0, share, 0.5)


def _fused(config: RamConfig, rows: int):
    """`_fit_and_read` with a batching rule that keeps a population neuron-major."""

    @jax.custom_batching.custom_vmap
    def fused(neurons, stream, prior, words):
        return _fit_and_read(config, rows, neurons, stream, prior, words)

    @fused.def_vmap
    def rule(size, batched, neurons, stream, prior, words):
        if any(jax.tree.leaves(batched[1:])):
            return _one_by_one(fused, size, batched, (neurons, stream, prior, words)), True
        many = jax.tree.map(
            lambda x, is_batched: x if is_batched else jnp.broadcast_to(x, (size, *x.shape)),
            neurons,
            batched[0],
        )
        offset = jnp.arange(size, dtype=jnp.int32)[:, None] * rows
        many = many._replace(row=many.row + offset)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), many)
        votes = _fused(config, size * rows)(flat, stream, prior, words)
        return votes.reshape(size, rows, -1), True

    return fused


def _one_by_one(function, size, batched, arguments):
    """The loop that `vmap` becomes when the genomes do not share their examples."""
    leaves, tree = jax.tree.flatten(arguments)
    flags = jax.tree.leaves(batched)

    def call(index):
        picked = [x[index] if flag else x for x, flag in zip(leaves, flags, strict=True)]
        return function(*jax.tree.unflatten(tree, picked))

    return jax.lax.map(call, jnp.arange(size))


def _fit_and_read(config, rows, neurons, stream, prior, words):
    count, address_bits = neurons.connections.shape
    block = _block(config, count, address_bits)

    def step(index, votes):
        _, some = _take(neurons, index, block)
        cells = _write_rows(config, _empty_rows(config, block, address_bits), some, stream)
        return _read_rows(config, cells, some, prior, words, votes)

    votes = jnp.zeros((rows, words.shape[1]), jnp.int32)
    return jax.lax.fori_loop(0, -(-count // block), step, votes)


def _write_rows(config: RamConfig, cells: jax.Array, neurons: _Neurons, stream: _Stream):
    """Write all examples into the rows ``[block, cells]`` of some neurons."""
    if config.is_quad:
        return _walk_rows(config, cells, neurons, stream)

    def one(row, connections, seed, cluster):
        address = addresses(stream.words, connections)
        target = stream.targets[cluster].astype(jnp.int32)
        weight = (_sampled(config, seed, stream) & _present(connections)).astype(jnp.int32)
        if config.cells == "count":
            address, amount = 2 * address + target, weight
        else:
            amount = (2 * target - 1) * weight
        return row.at[address].add(amount, mode="promise_in_bounds")

    return jax.vmap(one)(cells, neurons.connections, neurons.seed, neurons.cluster)


def _walk_rows(config: RamConfig, cells: jax.Array, neurons: _Neurons, stream: _Stream):
    """Saturating +-1 in the order of the examples: parallel over neurons, never over examples.

    A clipped net sum is not a substitute (design decision 4).
    """
    count = stream.weight.shape[0]
    chunk = min(_CHUNK, count)
    padded = jax.tree.map(lambda x: jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -count % chunk)]), stream)
    chunks = jax.tree.map(
        lambda x: jnp.moveaxis(x.reshape(*x.shape[:-1], -1, chunk), -2, 0), padded
    )
    start = jnp.arange(cells.shape[0], dtype=jnp.int32) * cells.shape[1]
    present = jax.vmap(_present)(neurons.connections)[:, None]

    def nudge(flat, step):
        place, amount = step
        nudged = jnp.clip(flat[place] + amount, 0, 3)
        return flat.at[place].set(nudged, mode="promise_in_bounds", unique_indices=True), None

    def walk(flat, part):
        address = jax.vmap(addresses, (None, 0))(part.words, neurons.connections)
        weight = jax.vmap(_sampled, (None, 0, None))(config, neurons.seed, part) & present
        amount = jnp.where(part.targets[neurons.cluster], 1, -1) * weight
        steps = ((address + start[:, None]).T, amount.astype(jnp.int8).T)
        return jax.lax.scan(nudge, flat, steps)[0], None

    return jax.lax.scan(walk, cells.reshape(-1), chunks)[0].reshape(cells.shape)


def _read_rows(config, rows, neurons, prior, words, votes):
    """Add the votes of some neurons, held in ``rows [R, ...]``, to ``votes [clusters, N]``."""
    count = neurons.seed.shape[0]
    lanes = min(_LANES, count)

    def one(row, connections, cluster):
        value = _value(config, row, addresses(words, connections), prior[cluster])
        return jnp.where(_present(connections), value, 0)

    def step(index, votes):
        start, some = _take(neurons, index, lanes)
        cells = jax.lax.dynamic_slice_in_dim(rows, start, lanes)
        value = jax.vmap(one)(cells, some.connections, some.cluster)
        for lane in range(lanes):
            votes = votes.at[some.row[lane]].add(value[lane])
        return votes

    return jax.lax.fori_loop(0, -(-count // lanes), step, votes)


def _present(connections: jax.Array) -> jax.Array:
    return jnp.any(connections != connectivity.UNUSED)


def _value(config: RamConfig, row: jax.Array, address: jax.Array, prior: jax.Array) -> jax.Array:
    """What the addressed cells of one row read, ``int32 [N]`` in units of ``1 / UNIT``."""
    if config.cells == "count":
        pair = row.reshape(-1, 2).at[address].get(mode="promise_in_bounds").astype(jnp.float32)
        share = (pair[:, 1] + prior) / (pair[:, 0] + pair[:, 1] + 1.0)
        return jnp.rint(share * UNIT).astype(jnp.int32)
    cell = row.at[address].get(mode="promise_in_bounds")
    if config.is_quad:
        values = jnp.array([round(v * UNIT) for v in _QUAD_VALUES[config.cells]], jnp.int32)
        return values[cell]
    empty = round(config.empty_value * UNIT)
    return jnp.where(cell > 0, UNIT, jnp.where(cell < 0, 0, empty)).astype(jnp.int32)


def _sampled(config: RamConfig, seed: jax.Array, stream: _Stream) -> jax.Array:
    """Which examples one neuron writes, ``bool [N]``: a hash of its seed and their place.

    A counter-based hash rather than a `jax.random` call inside the loop: every backend computes the
    same bits for any example on its own, in whatever order it walks. The mixer is the 32-bit
    "lowbias32" of C. Wellons' hash-prospector (public domain).
    """
    if config.sample_rate == 1.0:
        return stream.weight
    mixed = seed + stream.place * jnp.uint32(0x9E3779B9)
    mixed = (mixed ^ (mixed >> 16)) * jnp.uint32(0x7FEB352D)
    mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(0x846CA68B)
    mixed = mixed ^ (mixed >> 16)
    return stream.weight & (mixed < jnp.uint32(min(round(config.sample_rate * 2**32), 2**32 - 1)))
