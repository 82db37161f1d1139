"""RAM neurons: address a cell by bits, write it by adding, read it out.

What cells are is in `wnn_jax.ram.cells`; a layer's connectivity in `wnn_jax.ram.connectivity`. Reads are
**votes**: integers in units of ``1 / UNIT``, summed over the neurons of a cluster. Integer sums have no
order, so a score is the same to the bit on any device, under `vmap`, and when neurons are added or taken
away one by one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax.ram import backend, bits, connectivity, xla
from wnn_jax.ram.cells import UNIT, RamConfig, empty, row_bytes, value

MAX_NEURONS = (2**31 - 1) // UNIT
MAX_ADDRESS_BITS = 24


class Examples(NamedTuple):
    """Inputs and targets of N examples.

    Attributes:
      words: ``uint32 [W, N]`` packed input bits (`bits.pack`).
      targets: ``bool [K, N]`` target bit of every cluster.
      weight: ``bool [N]``; False marks padding, which changes nothing. None means all True.
      span: ``int32 [K, 2]``: cluster k is written only examples ``span[k, 0] .. span[k, 1] - 1``, so that
        each cluster of a one-hot layer may have its own. None means all; only `fit_and_read` takes it.
    """

    words: jax.Array
    targets: jax.Array
    weight: jax.Array | None = None
    span: jax.Array | None = None


class Table(NamedTuple):
    """Everything a layer remembers.

    Attributes:
      cells: ``[K, n, A]`` int32 (ternary) or int8 (quad, true_wins), or ``[K, n, A, 2]`` int32 (count).
      ones: ``int32 [K]`` targets that were 1, over all written examples.
      written: ``int32 []`` examples written.
    """

    cells: jax.Array
    ones: jax.Array
    written: jax.Array


def init(config: RamConfig, clusters: int, neurons: int, address_bits: int) -> Table:
    """An empty table of K clusters of n neurons with ``2**T`` cells each."""
    check_size(neurons, address_bits)
    shape = (clusters, neurons, 1 << address_bits)
    return Table(
        cells=empty(config, (*shape, 2) if config.cells == "count" else shape),
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
      connections: ``[K, n, T]``, see `wnn_jax.ram.connectivity`.
      train: K targets an example; no spans.

    Raises:
      ValueError: shapes disagree.
    """
    _check(key, config, connections, train)
    if train.span is not None:
        raise ValueError("a table counts the examples of all its clusters alike: spans are for fit_and_read")
    neurons = _flatten(key, config, connections)
    stream = _stream(train, table.written)
    return Table(
        cells=backend.write(config, table.cells, neurons, stream),
        ones=table.ones + _seen(stream)[0],
        written=table.written + stream.weight.sum(dtype=jnp.int32),
    )


def read(config: RamConfig, table: Table, connections: jax.Array, words: jax.Array) -> jax.Array:
    """Votes ``int32 [K, N]`` of every cluster on every example, in units of ``1 / UNIT``.

    Args:
      connections: ``[K, n, T]``, the connectivity the table was written with.
      words: ``uint32 [W, N]`` packed input bits.
    """
    clusters, neurons, address_bits = connections.shape
    check_size(neurons, address_bits)
    flat = _flatten(None, config, connections)
    prior = _prior(table.ones, table.written)
    return backend.read(config, clusters, table.cells, flat, prior, words)


def fit_and_read(
    key: jax.Array | None,
    config: RamConfig,
    connections: jax.Array,
    train: Examples,
    words: jax.Array,
) -> jax.Array:
    """Train on the examples, vote on ``words``, and keep no table.

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
    prior = _prior(*_seen(stream))
    fused = _fused(config, connections.shape[0])
    return fused(_flatten(key, config, connections), stream, prior, words)


def seeds(key: jax.Array | None, config: RamConfig, clusters: int, neurons: int) -> jax.Array:
    """``uint32 [K, n]``: what each neuron draws its examples with, by its place in the layer."""
    if key is None or config.sample_rate == 1.0:
        return jnp.zeros((clusters, neurons), jnp.uint32)
    return jax.random.bits(key, (clusters * neurons,)).reshape(clusters, neurons)


def fit_and_read_groups(
    config: RamConfig,
    connections: jax.Array,
    seed: jax.Array,
    cluster: jax.Array,
    train: Examples,
    words: jax.Array,
) -> jax.Array:
    """Summed votes of any groups of neurons, trained as in `fit_and_read`; no table is kept.

    What a search needs: the votes of a candidate neuron alone, or of the neurons in which two genomes
    differ. Absent neurons cost nothing and add nothing.

    Args:
      connections: ``[G, R, T]``, R neurons a group.
      seed: ``uint32 [G, R]``, from `seeds` by each neuron's place.
      cluster: ``int32 [G]``, whose targets a group learns.
      train, words: as in `fit_and_read`.

    Returns:
      Votes ``int32 [G, N']``.
    """
    groups, size, address_bits = connections.shape
    stream = _stream(train, jnp.zeros((), jnp.int32))
    prior = _prior(*_seen(stream))
    neurons = xla.Neurons(
        connections.reshape(groups * size, address_bits).astype(jnp.int32),
        seed.reshape(-1),
        jnp.repeat(cluster.astype(jnp.int32), size),
        jnp.repeat(jnp.arange(groups, dtype=jnp.int32), size),
    )
    return backend.fit_and_read(config, groups, neurons, stream, prior, words)


def empty_votes(config: RamConfig, train: Examples) -> jax.Array:
    """``int32 [K]``: what a cell that no example met reads, given the examples that were written."""
    stream = _stream(train, jnp.zeros((), jnp.int32))
    prior = _prior(*_seen(stream))
    row = empty(config, (2 if config.cells == "count" else 1,))
    return jax.vmap(lambda q: value(config, row, jnp.zeros((), jnp.int32), q))(prior)


def probability(votes: jax.Array, connections: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Share of the vote for 1 and for 0, both ``float32 [K, N]``; a cluster with no neuron says 1/2."""
    return shares(votes, connectivity.neurons_present(connections)[:, None])


def shares(votes: jax.Array, neurons: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`probability` of votes and numbers of neurons, of any shapes that broadcast.

    Both are divided out of exact integers, so neither loses digits to ``1 - p``.
    """
    total = neurons * UNIT
    silent = total == 0
    one = jnp.where(silent, 0.5, votes / jnp.maximum(total, 1))
    zero = jnp.where(silent, 0.5, (total - votes) / jnp.maximum(total, 1))
    return one.astype(jnp.float32), zero.astype(jnp.float32)


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
    block = xla.block_size(config, clusters * neurons, address_bits)
    rows = 2 * block * row_bytes(config, address_bits)
    words = 4 * -(-input_bits // bits.WORD) * (train + evaluated)
    votes = 2 * 4 * clusters * evaluated
    lanes = xla.LANES * 4 * (address_bits + 4) * max(train if not config.is_quad else 0, evaluated)
    return rows + words + votes + lanes + clusters * train


def _check(key: jax.Array | None, config: RamConfig, connections: jax.Array, train: Examples) -> None:
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
    if not train.targets.shape[1]:
        raise ValueError("there is no example to write")
    if train.span is not None and train.span.shape != (connections.shape[0], 2):
        raise ValueError(f"spans must be [{connections.shape[0]}, 2], got shape {train.span.shape}")
    check_size(connections.shape[1], connections.shape[2])


def check_size(neurons: int, address_bits: int) -> None:
    """Refuse sizes that no dense table has.

    Raises:
      ValueError: which, and what is allowed.
    """
    if not 1 <= address_bits <= MAX_ADDRESS_BITS:
        raise ValueError(f"a dense table takes 1 to {MAX_ADDRESS_BITS} address bits, got {address_bits}")
    if not 1 <= neurons <= MAX_NEURONS:
        raise ValueError(f"a cluster takes 1 to {MAX_NEURONS} neurons, got {neurons}")


def _flatten(key: jax.Array | None, config: RamConfig, connections: jax.Array) -> xla.Neurons:
    clusters, neurons, address_bits = connections.shape
    count = clusters * neurons
    cluster = jnp.repeat(jnp.arange(clusters, dtype=jnp.int32), neurons)
    seed = seeds(key, config, clusters, neurons).reshape(count)
    flat = connections.reshape(count, address_bits).astype(jnp.int32)
    return xla.Neurons(flat, seed, cluster, cluster)


def _stream(train: Examples, already: jax.Array) -> xla.Stream:
    count = train.targets.shape[1]
    weight = jnp.ones(count, bool) if train.weight is None else train.weight.astype(bool)
    place = already + jnp.cumsum(weight, dtype=jnp.int32) - 1
    span = None if train.span is None else train.span.astype(jnp.int32)
    return xla.Stream(train.words, train.targets.astype(bool), weight, place.astype(jnp.uint32), span)


def _seen(stream: xla.Stream) -> tuple[jax.Array, jax.Array]:
    """Targets that were 1, ``int32 [K]``, and examples written: one number, with spans ``int32 [K]``."""
    weight = stream.weight
    if stream.span is not None:
        weight = weight & jax.vmap(xla.within, (0, None))(stream.span, weight.shape[0])
    return (stream.targets & weight).sum(axis=1, dtype=jnp.int32), weight.sum(axis=-1, dtype=jnp.int32)


def _prior(ones: jax.Array, written: jax.Array) -> jax.Array:
    share = ones.astype(jnp.float32) / jnp.maximum(written, 1).astype(jnp.float32)
    return jnp.where(written > 0, share, 0.5)


def _fused(config: RamConfig, clusters: int):
    """`backend.fit_and_read` with a batching rule that keeps a population neuron-major."""

    def unbatched(neurons, stream, prior, words):
        return backend.fit_and_read(config, clusters, neurons, stream, prior, words)

    fused = jax.custom_batching.custom_vmap(unbatched)

    @fused.def_vmap
    def rule(size, batched, neurons, stream, prior, words):
        if any(jax.tree.leaves(batched[1:])):
            return _one_by_one(fused, size, batched, (neurons, stream, prior, words)), True
        many = jax.tree.map(
            lambda x, is_batched: x if is_batched else jnp.broadcast_to(x, (size, *x.shape)),
            neurons,
            batched[0],
        )
        offset = jnp.arange(size, dtype=jnp.int32)[:, None] * clusters
        many = many._replace(row=many.row + offset)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), many)
        votes = _fused(config, size * clusters)(flat, stream, prior, words)
        return votes.reshape(size, clusters, -1), True

    return fused


def _one_by_one(function, size, batched, arguments):
    """The loop that `vmap` becomes when the genomes do not share their examples."""
    leaves, tree = jax.tree.flatten(arguments)
    flags = jax.tree.leaves(batched)

    def call(index):
        picked = [x[index] if flag else x for x, flag in zip(leaves, flags, strict=True)]
        return function(*jax.tree.unflatten(tree, picked))

    return jax.lax.map(call, jnp.arange(size))
