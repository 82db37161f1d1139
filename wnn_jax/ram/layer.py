"""Pure functions of a layer of RAM neurons: make a table, write examples to it, and read votes from it.

`wnn_jax.ram.cells` defines the kinds of cells, and `wnn_jax.ram.connectivity` defines a connectivity.

The **vote** of a cluster is the sum of the values that its neurons read, an integer in units of ``1 / UNIT``.
A sum of integers does not depend on the order of its terms. So votes are the same to the bit on every device
and under `vmap`, and also where neurons are added and removed one by one.

Source: docs/semantics/ram.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.ram import backend, bits, connectivity, given, xla
from wnn_jax.ram.cells import UNIT, RamConfig, empty, row_bytes, row_width, value


class Examples(NamedTuple):
    """The inputs and targets of N examples.

    Attributes:
      words: ``uint32 [W, N]``, packed input bits (`bits.pack`).
      targets: ``bool [K, N]``, the target bit of every cluster.
      weight: ``bool [N]``; False marks padding, which is never written. None means that all are True.
      span: ``int32 [K, 2]``; cluster k is written only with examples ``span[k, 0] .. span[k, 1] - 1``. With
        it, each cluster of a one-hot layer has its own examples. None means that every cluster is written
        with all of them. `write` refuses spans; `fit_and_read` takes them.

    Source: docs/semantics/ram.md
    """

    words: jax.Array
    targets: jax.Array
    weight: jax.Array | None = None
    span: jax.Array | None = None


class Table(NamedTuple):
    """The memory of a layer: its cells, and the counts that the prior of count cells needs.

    Attributes:
      cells: ``int32 [K, n, A]`` (ternary), ``int8 [K, n, A]`` (quad, true_wins) or ``int32 [K, n, A, 2]``
        (count: n0, n1).
      ones: ``int32 [K]``, the number of written targets that were 1.
      written: ``int32 []``, the number of examples written.

    Source: docs/semantics/ram.md
    """

    cells: jax.Array
    ones: jax.Array
    written: jax.Array


def init(config: RamConfig, clusters: int, neurons: int, address_bits: int) -> Table:
    """Make an empty table for K clusters of n neurons with 2^T cells each.

    Args:
      config: the kind of cells.
      clusters: K.
      neurons: n, the number of neurons of each cluster.
      address_bits: T.

    Returns:
      A table whose cells are all EMPTY; see `Table` for shapes and dtypes.

    Raises:
      ValueError: the number of clusters is below 1, or n or T is out of range, see `given.size`.

    Source: docs/semantics/ram.md
    """
    given.kind(config)
    clusters = checks.integer("clusters", clusters, given.COUNT)
    neurons, address_bits = given.size(neurons, address_bits)
    given.room("the cells of a table", clusters * neurons * row_width(config, address_bits))
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
    """Write examples to a table, in their order.

    To write a and then b gives the same table as to write both at once. This holds for every kind of cells,
    and with sampling if the key is the same. The update is in place if `jit` is told to donate ``table``.

    Args:
      key: draws which examples each neuron writes; may be None if the sample rate is 1.
      config: the kind of cells.
      table: the table to add to, see `Table`.
      connections: ``int [K, n, T]``, see `wnn_jax.ram.connectivity`. Absent neurons are not written.
      train: N examples with K targets, without spans. Equal examples are written once each.

    Returns:
      The new table, with the shapes of ``table``.

    Raises:
      ValueError: an array has a wrong type, shape or entry (`given`), there is no example, spans are given,
        or a key is missing.

    Source: docs/semantics/ram.md
    """
    _check(key, config, connections, train)
    given.table(config, table, connections.shape, more=train.targets.shape[1])
    if train.span is not None:
        raise ValueError(
            "write was given spans, but every cluster of a table has the same examples: spans are for "
            "fit_and_read"
        )
    neurons = _flatten(key, config, connections)
    stream = _stream(train, table.written)
    return Table(
        cells=backend.write(config, jnp.asarray(table.cells), neurons, stream),
        ones=table.ones + _seen(stream)[0],
        written=table.written + stream.weight.sum(dtype=jnp.int32),
    )


def read(config: RamConfig, table: Table, connections: jax.Array, words: jax.Array) -> jax.Array:
    """Read the votes of every cluster on every example.

    Args:
      config: the kind of cells.
      table: the table to read.
      connections: ``int [K, n, T]``, the connectivity with which the table was written. Absent neurons add
        nothing.
      words: ``uint32 [W, N]``, packed input bits.

    Returns:
      ``int32 [K, N]``, the sum over a cluster's neurons of the values read, in units of ``1 / UNIT``.

    Raises:
      ValueError: an array has a wrong type, shape or entry, see `given`.

    Source: docs/semantics/ram.md
    """
    given.kind(config)
    given.words("words", words)
    given.connections(connections, bits.WORD * words.shape[0])
    given.table(config, table, connections.shape)
    flat = _flatten(None, config, connections)
    prior = _prior(jnp.asarray(table.ones), jnp.asarray(table.written))
    cells, words = jnp.asarray(table.cells), jnp.asarray(words)
    return backend.read(config, connections.shape[0], cells, flat, prior, words)


def fit_and_read(
    key: jax.Array | None,
    config: RamConfig,
    connections: jax.Array,
    train: Examples,
    words: jax.Array,
) -> jax.Array:
    """Write examples to an empty table, read the votes on other inputs, and drop the table.

    The votes equal those of `init`, `write` and `read`, but only a few rows of cells exist at a time. Under
    `vmap` over ``connections`` (and ``key``) a population becomes one longer list of neurons, so the memory
    is still a few rows and the votes.

    Args:
      key: draws which examples each neuron writes; may be None if the sample rate is 1.
      config: the kind of cells.
      connections: ``int [K, n, T]``. Absent neurons add nothing.
      train: N examples to write; spans are allowed.
      words: ``uint32 [W, N']``, packed input bits to read.

    Returns:
      Votes ``int32 [K, N']``, in units of ``1 / UNIT``.

    Raises:
      ValueError: an array has a wrong type, shape or entry (`given`), there is no example, or a key is
        missing.

    Source: docs/semantics/ram.md
    """
    _check(key, config, connections, train)
    given.words("the words to read", words, rows=train.words.shape[0])
    stream = _stream(train, jnp.zeros((), jnp.int32))
    prior = _prior(*_seen(stream))
    fused = _fused(config, connections.shape[0])
    return fused(_flatten(key, config, connections), stream, prior, jnp.asarray(words))


def seeds(key: jax.Array | None, config: RamConfig, clusters: int, neurons: int) -> jax.Array:
    """Draw the seed of every neuron; the seed decides which examples the neuron writes.

    Args:
      key: draws the seeds; may be None.
      config: gives the sample rate.
      clusters: K.
      neurons: n, the number of neurons of each cluster.

    Returns:
      ``uint32 [K, n]``. A seed depends on the neuron's place in the layer. All are 0 if the sample rate is 1
      or there is no key.

    Raises:
      ValueError: there is no cluster or no neuron, or the key is no key.

    Source: docs/semantics/ram.md
    """
    given.kind(config)
    if key is not None:
        given.key(key)
    clusters = checks.integer("clusters", clusters, given.COUNT)
    neurons = checks.integer("neurons", neurons, given.COUNT)
    given.room("the seeds", clusters * neurons)
    if key is None or config.sample_rate == 1.0:
        return jnp.zeros((clusters, neurons), jnp.uint32)
    return jax.random.bits(key, (clusters * neurons,), jnp.uint32).reshape(clusters, neurons)


def fit_and_read_groups(
    config: RamConfig,
    connections: jax.Array,
    seed: jax.Array,
    cluster: jax.Array,
    train: Examples,
    words: jax.Array,
) -> jax.Array:
    """Fit groups of neurons as `fit_and_read` does, and read the summed votes of each group.

    A search uses it to read one candidate neuron, or only the neurons in which two genomes differ.

    Args:
      config: the kind of cells.
      connections: ``int [G, M, T]``, M neurons in each of G groups. Absent neurons take no time and add
        nothing.
      seed: ``uint32 [G, M]``, from `seeds` at each neuron's place in its layer.
      cluster: ``int [G]``, the cluster whose targets a group is written with.
      train: N examples to write.
      words: ``uint32 [W, N']``, packed input bits to read.

    Returns:
      Votes ``int32 [G, N']``, in units of ``1 / UNIT``.

    Raises:
      ValueError: an array has a wrong type, shape or entry (`given`), or there is no example.

    Source: docs/semantics/search.md
    """
    given.kind(config)
    given.examples(train)
    given.words("the words to read", words, rows=train.words.shape[0])
    given.connections(connections, bits.WORD * words.shape[0], axes="GMT")
    checks.array("seed", seed, "uint32", dict(zip("GM", connections.shape[:2], strict=True)))
    within = checks.Limits(least=0, most=train.targets.shape[0] - 1)
    checks.array("cluster", cluster, "integers", {"G": connections.shape[0]}, within)
    groups, size, address_bits = connections.shape
    stream = _stream(train, jnp.zeros((), jnp.int32))
    prior = _prior(*_seen(stream))
    neurons = xla.Neurons(
        jnp.asarray(connections, jnp.int32).reshape(groups * size, address_bits),
        jnp.asarray(seed).reshape(-1),
        jnp.repeat(jnp.asarray(cluster, jnp.int32), size),
        jnp.repeat(jnp.arange(groups, dtype=jnp.int32), size),
    )
    return backend.fit_and_read(config, groups, neurons, stream, prior, jnp.asarray(words))


def empty_votes(config: RamConfig, train: Examples) -> jax.Array:
    """Read an EMPTY cell of each cluster, given the examples that were written to the layer.

    Args:
      config: the kind of cells.
      train: N examples; the prior of count cells is the share of ones among their targets.

    Returns:
      ``int32 [K]``, in units of ``1 / UNIT``.

    Raises:
      ValueError: an array of the examples has a wrong type, shape or entry (`given`), or there is no example.

    Source: docs/semantics/ram.md
    """
    given.kind(config)
    given.examples(train)
    stream = _stream(train, jnp.zeros((), jnp.int32))
    prior = _prior(*_seen(stream))
    row = empty(config, (2 if config.cells == "count" else 1,))
    return jax.vmap(lambda q: value(config, row, jnp.zeros((), jnp.int32), q))(prior)


def probability(votes: jax.Array, connections: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Turn votes into the probabilities of bit 1 and of bit 0.

    Args:
      votes: ``int32 [K, N]``, from `read` or `fit_and_read`.
      connections: ``int [K, n, T]``; the votes are divided by the number of neurons that are present.

    Returns:
      Two ``float32 [K, N]``, in [0, 1]. A cluster without neurons gives 1/2 and 1/2.

    Raises:
      ValueError: an array has a wrong type, shape or entry, see `given`.

    Source: docs/semantics/ram.md
    """
    given.connections(connections)
    given.votes(votes, connections.shape[0])
    return shares(votes, connectivity.neurons_present(connections)[:, None])


def shares(votes: jax.Array, neurons: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Divide votes by the number of neurons that cast them, as `probability` does.

    Each of the two shares is one division of exact integers. So a share near 0 keeps its digits, which
    ``1 - p`` would lose.

    Args:
      votes: ``int32 [...]``, in units of ``1 / UNIT``.
      neurons: ``int32 [...]``, numbers of neurons; the two shapes must broadcast.

    Returns:
      The shares of the vote for bit 1 and for bit 0, two ``float32 [...]``; both are 1/2 where there is no
      neuron.

    Raises:
      ValueError: an array does not hold integers, the shapes do not broadcast, or a number of neurons is out
        of range.

    Source: docs/semantics/ram.md
    """
    checks.array("votes", votes, "integers")
    checks.array("neurons", neurons, "integers", limits=checks.Limits(least=0, most=given.MAX_NEURONS))
    try:
        np.broadcast_shapes(votes.shape, neurons.shape)
    except ValueError:
        raise ValueError(
            f"votes of shape {list(votes.shape)} and neurons of {list(neurons.shape)} do not broadcast: "
            "give a number of neurons for each vote"
        ) from None
    votes, total = jnp.asarray(votes), jnp.asarray(neurons).astype(jnp.int32) * UNIT
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
    """Estimate from above the memory that `fit_and_read` of one connectivity needs at once.

    Args:
      config: the kind of cells.
      clusters: K.
      neurons: n, the number of neurons of each cluster.
      address_bits: T.
      input_bits: I.
      train: number of examples written.
      evaluated: number of examples read.

    Returns:
      Bytes.

    Raises:
      ValueError: a number is out of range.

    Source: docs/architecture.md
    """
    given.kind(config)
    neurons, address_bits = given.size(neurons, address_bits)
    clusters = checks.integer("clusters", clusters, given.COUNT)
    input_bits = checks.integer("input_bits", input_bits, given.COUNT)
    train = checks.integer("train", train, checks.Limits(least=0))
    evaluated = checks.integer("evaluated", evaluated, checks.Limits(least=0))
    block = xla.block_size(config, clusters * neurons, address_bits)
    rows = 2 * block * row_bytes(config, address_bits)
    words = 4 * -(-input_bits // bits.WORD) * (train + evaluated)
    votes = 2 * 4 * clusters * evaluated
    lanes = xla.LANES * 4 * (address_bits + 4) * max(train if not config.is_quad else 0, evaluated)
    return rows + words + votes + lanes + clusters * train


def _check(key: jax.Array | None, config: RamConfig, connections: jax.Array, train: Examples) -> None:
    given.kind(config)
    if key is not None:
        given.key(key)
    elif config.sample_rate < 1.0:
        raise ValueError(
            f"sample_rate {config.sample_rate} needs a key, got None: pass a key, or use sample_rate 1"
        )
    given.examples(train)
    given.connections(connections, bits.WORD * train.words.shape[0], train.targets.shape[0])


def _flatten(key: jax.Array | None, config: RamConfig, connections: jax.Array) -> xla.Neurons:
    clusters, neurons, address_bits = connections.shape
    count = clusters * neurons
    cluster = jnp.repeat(jnp.arange(clusters, dtype=jnp.int32), neurons)
    seed = seeds(key, config, clusters, neurons).reshape(count)
    flat = jnp.asarray(connections, jnp.int32).reshape(count, address_bits)
    return xla.Neurons(flat, seed, cluster, cluster)


def _stream(train: Examples, already: jax.Array) -> xla.Stream:
    count = train.targets.shape[1]
    weight = jnp.ones(count, bool) if train.weight is None else jnp.asarray(train.weight)
    place = already + jnp.cumsum(weight, dtype=jnp.int32) - 1
    span = None if train.span is None else jnp.asarray(train.span, jnp.int32)
    words, targets = jnp.asarray(train.words), jnp.asarray(train.targets)
    return xla.Stream(words, targets, weight, place.astype(jnp.uint32), span)


def _seen(stream: xla.Stream) -> tuple[jax.Array, jax.Array]:
    """Count the targets that were 1, ``int32 [K]``, and the examples written, ``int32 []``.

    With spans each cluster has its own examples, so the second count is ``int32 [K]`` too.
    """
    weight = stream.weight
    if stream.span is not None:
        weight = weight & jax.vmap(xla.within, (0, None))(stream.span, weight.shape[0])
    return (stream.targets & weight).sum(axis=1, dtype=jnp.int32), weight.sum(axis=-1, dtype=jnp.int32)


def _prior(ones: jax.Array, written: jax.Array) -> jax.Array:
    share = ones.astype(jnp.float32) / jnp.maximum(written, 1).astype(jnp.float32)
    return jnp.where(written > 0, share, 0.5)


def _fused(config: RamConfig, clusters: int):
    """Make a `backend.fit_and_read` that `vmap` turns into one longer list of neurons."""

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
    """Call the function on one genome after another, because each genome has examples of its own."""
    leaves, tree = jax.tree.flatten(arguments)
    flags = jax.tree.leaves(batched)

    def call(index):
        picked = [x[index] if flag else x for x, flag in zip(leaves, flags, strict=True)]
        return function(*jax.tree.unflatten(tree, picked))

    return jax.lax.map(call, jnp.arange(size, dtype=jnp.int32))
