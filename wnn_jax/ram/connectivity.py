"""Which input bit goes where: the genome of a RAM network.

A connectivity is one integer array ``[K, n, T]``. Entry ``[k, j, t]`` is the input bit that address
bit ``t`` of neuron ``j`` of cluster ``k`` reads (``t = 0`` is the most significant). ``-1`` is an
unused connection: it reads as 0, so one array holds neurons of different T. A neuron with no
connection at all is absent: neither written, read nor counted. Duplicated bits in a neuron are legal;
some of its addresses are then unreachable.
"""

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


def table_bits(connections: jax.Array, cell_bits: int) -> jax.Array:
    """Mebibits ``float32 [...]`` of the tables of genomes ``[..., K, n, T]``, ``cell_bits`` a cell."""
    used = (connections != UNUSED).sum(axis=-1)
    cells = jnp.where(used > 0, jnp.exp2(used.astype(jnp.float32) - 20.0), 0.0)
    return cell_bits * cells.sum(axis=(-2, -1))
