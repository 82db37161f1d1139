"""The inputs of a static chain model's readout: log-odds of a turn, from counts and from Kneser-Ney.

The first `ORDERS` neurons are the orders of Kneser-Ney. The mass that an order gives to a subtree is the sum
over its tokens, so the log-odds of a turn are those of two masses:

    mass_k(child) = discounted counts / total + freed * mass_{k-1}(child),    mass_0(child) = leaves / V

Every other neuron that knows a node by its own name backs off in the same way to order 2, if it observes the
last token, and else to order 1. It has a second input, the log-odds of its plain counts. A neuron that knows
nodes by their bytes has plain counts of several nodes, and no back-off.

Source: Chen and Goodman 1999; docs/semantics/chain.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax.chain import tokentree
from wnn_jax.chain.constants import FIELDS, ORDERS, SMOOTH, VIEWS
from wnn_jax.chain.contexts import Network

MOST = 12.0  # log-odds of masses are clipped to -MOST .. MOST
LEAST_MASS = 1e-30
CONSTANT = 0.3  # the last input


class Cells(NamedTuple):
    """The cells that n neurons address; 0 where there is no cell.

    Attributes:
      zeros: ``uint32 [n, ...]``.
      ones: ``uint32 [n, ...]``.
      shares: ``uint32 [n, ...]``, the parts that discounts leave of zeros (the high 16 bits) and ones.

    Source: docs/semantics/chain.md
    """

    zeros: jax.Array
    ones: jax.Array
    shares: jax.Array


def bases(network: Network) -> jax.Array:
    """Returns the order of Kneser-Ney that each neuron backs off to, ``int32 [n]`` from 0; -1 for none.

    Source: docs/semantics/chain.md
    """
    last = (network.connections == FIELDS.index("token1")).any(axis=1)
    return jnp.where(network.view == VIEWS.index("node"), last.astype(jnp.int32), -1)


def leaves(tree: tokentree.TokenTree) -> jax.Array:
    """Returns the number of tokens below each turn, ``int32 [M, 2]``.

    Source: docs/semantics/chain.md
    """
    return jnp.zeros(tree.children.shape, jnp.int32).at[tree.node, tree.bit].add(1)


def _masses(cells: Cells) -> jax.Array:
    """Returns the discounted counts of zeros and ones, ``float32 [2, n, ...]``."""
    parts = jnp.stack([cells.shares >> 16, cells.shares & 0xFFFF]).astype(jnp.float32) * (1.0 / 65536.0)
    return jnp.stack([cells.zeros, cells.ones]).astype(jnp.float32) * parts


def totals(roots: Cells) -> jax.Array:
    """Returns how often each neuron saw its context, ``uint32 [n, ...]``.

    Source: docs/semantics/chain.md
    """
    return roots.zeros + roots.ones


def odds(ones: jax.Array, zeros: jax.Array) -> jax.Array:
    """Returns log(ones / zeros), within -`MOST` .. `MOST`.

    Source: docs/semantics/chain.md
    """
    return jnp.clip(jnp.log(jnp.maximum(ones, LEAST_MASS) / jnp.maximum(zeros, LEAST_MASS)), -MOST, MOST)


def inputs(network: Network, cells: Cells, roots: Cells, below: jax.Array) -> jax.Array:
    """Returns the inputs of the readout, ``float32 [I, ...]`` with I = 2 (n - ORDERS) + ORDERS + 1.

    Args:
      network: the wiring of n neurons.
      cells: the cells of the turns.
      roots: the cells of the root of the tree, in the same contexts; their axes behind the first may have
        size 1.
      below: ``int32 [..., 2]``, the number of tokens below each turn.

    Source: docs/semantics/chain.md
    """
    vocabulary = network.tree.start.shape[0] - 1
    base = bases(network)
    total = totals(roots).astype(jnp.float32)
    inverse = jnp.where(total > 0, 1.0 / jnp.maximum(total, 1.0), 0.0)
    freed = jnp.where(total > 0, 1.0 - _masses(roots).sum(axis=0) * inverse, 1.0)
    own = _masses(cells) * inverse
    mass = jnp.moveaxis(below, -1, 0).astype(jnp.float32) * jnp.float32(1.0 / vocabulary)
    orders = []
    for k in range(ORDERS):
        mass = own[:, k] + freed[k] * mass
        orders.append(mass)
    shape = (-1, *[1] * (cells.zeros.ndim - 1))
    known, backs = base[ORDERS:].reshape(shape), freed[ORDERS:]
    first, second = orders[0][:, None], orders[1][:, None]
    backed = own[:, ORDERS:] + backs * jnp.where(known == 1, second, first)
    zeros, ones = (x[ORDERS:].astype(jnp.float32) for x in (cells.zeros, cells.ones))
    halves = odds(ones + 0.5, zeros + 0.5)
    plain = jnp.log((ones + SMOOTH) / (zeros + SMOOTH))
    masses = jnp.stack(orders)  # [ORDERS, 2, ...]
    every = [
        jnp.where(known >= 0, odds(backed[1], backed[0]), halves),
        plain,
        odds(masses[:, 1], masses[:, 0]),
        jnp.full((1, *cells.zeros.shape[1:]), CONSTANT, jnp.float32),
    ]
    return jnp.concatenate(every)
