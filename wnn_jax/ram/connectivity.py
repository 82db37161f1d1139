"""Connectivity: the input bits that each neuron reads, which is the genome of a search.

A connectivity is one integer array ``[K, n, T]``. Entry ``[k, j, t]`` is the number of the input bit that
becomes address bit ``t`` of neuron ``j`` of cluster ``k``; ``t = 0`` is the most significant address bit.

An entry of -1 is an unused connection. Its address bit is always 0, so one array can hold neurons of
different T. A neuron whose connections are all unused is absent: it is not written, read or counted.

A neuron may read the same input bit twice. It then never forms some of its addresses.

Source: docs/semantics/ram.md
"""

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.ram import given

UNUSED = -1


def random(key: jax.Array, clusters: int, neurons: int, address_bits: int, input_bits: int) -> jax.Array:
    """Draw a random connectivity: every neuron reads T distinct input bits, chosen uniformly.

    Args:
      key: draws the input bits.
      clusters: K.
      neurons: n, the number of neurons of each cluster.
      address_bits: T.
      input_bits: I.

    Returns:
      ``[K, n, T]`` of dtype ``dtype_for(input_bits)``, entries 0 to I - 1.

    Raises:
      ValueError: the key is no key, K, n or I is below 1, T is below 1 or above I, or K * n * I numbers are
        more than an array holds.

    Source: docs/semantics/ram.md
    """
    given.key(key)
    clusters = checks.integer("clusters", clusters, given.COUNT)
    neurons = checks.integer("neurons", neurons, given.COUNT)
    input_bits = checks.integer("input_bits", input_bits, given.COUNT)
    address_bits = checks.integer("address_bits", address_bits)
    if not 1 <= address_bits <= input_bits:
        raise ValueError(
            f"a neuron needs 1 to {input_bits} address bits, because there are {input_bits} input bits, "
            f"got {address_bits}: set a number in this range"
        )
    given.room("the numbers to draw", clusters * neurons * input_bits)
    order = jnp.argsort(jax.random.uniform(key, (clusters, neurons, input_bits), jnp.float32), axis=-1)
    return order[..., :address_bits].astype(dtype_for(input_bits))


def dtype_for(input_bits: int) -> np.dtype:
    """Choose the smallest signed integer type that holds -1 and the number of every input bit.

    Args:
      input_bits: I.

    Returns:
      ``int8``, ``int16`` or ``int32``.

    Raises:
      ValueError: I is no whole number from 0 to 2^31 - 1.

    Source: docs/semantics/ram.md
    """
    input_bits = checks.integer("input_bits", input_bits, Limits(least=0))
    return np.dtype(np.min_scalar_type(-max(input_bits, 1)))


def neurons_present(connections: jax.Array) -> jax.Array:
    """Count the neurons of each cluster that have at least one connection.

    Args:
      connections: ``int [..., n, T]``.

    Returns:
      ``int32 [...]``.

    Raises:
      ValueError: the connections are not integers, or have fewer than two axes.

    Source: docs/semantics/ram.md
    """
    checks.array("connections", connections, "integers")
    if len(connections.shape) < 2:
        raise ValueError(f"connections has shape {list(connections.shape)}: give [..., n, T]")
    connections = jnp.asarray(connections)
    return jnp.any(connections != UNUSED, axis=-1).sum(axis=-1, dtype=jnp.int32)


def table_bits(connections: jax.Array, cell_bits: int) -> jax.Array:
    """Measure the tables that connectivities need, in mebibits (2^20 bits).

    Args:
      connections: ``int [..., K, n, T]``, such as a population of genomes. Absent neurons need no table.
      cell_bits: bits of one cell.

    Returns:
      ``float32 [...]``.

    Raises:
      ValueError: the connections are not integers, or have fewer than three axes.

    Source: docs/semantics/search.md
    """
    checks.array("connections", connections, "integers")
    checks.integer("cell_bits", cell_bits, Limits(least=1))
    if len(connections.shape) < 3:
        raise ValueError(f"connections has shape {list(connections.shape)}: give [..., K, n, T]")
    connections = jnp.asarray(connections)
    used = (connections != UNUSED).sum(axis=-1)
    cells = jnp.where(used > 0, jnp.exp2(used.astype(jnp.float32) - 20.0), 0.0)
    return cell_bits * cells.sum(axis=(-2, -1))
