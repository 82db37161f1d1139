"""The inputs of a static chain model's readout: log-odds of a turn, from Kneser-Ney and from counts.

The first `ORDERS` neurons of a static model are the orders of Kneser-Ney. The mass that an order gives to the
tokens below a turn is

    mass_k(turn) = discounted count / total + freed * mass_{k-1}(turn),    mass_0(turn) = leaves / V

and the log-odds of a turn are those of two masses. Every other neuron that knows a node by its own name backs
off in the same way to the second order, if it observes the last token, and else to the first. Its second
input is the log-odds of its plain counts. A neuron that knows nodes by their bytes adds up counts of several
nodes, so it does not back off.

Source: Chen and Goodman 1999; docs/semantics/chain_static.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.chain import contexts, tokentree
from wnn_jax.chain.constants import FIELDS, LEAST_MASS, ODDS_MOST, ORDERS, SMOOTH, STATIC_CONSTANT, VIEWS
from wnn_jax.chain.contexts import Network

_ORDERS, _ = contexts.wire(
    [" ".join(["node", *(f"token{i}" for i in range(1, k))]) for k in range(1, ORDERS + 1)]
)


class StaticCells(NamedTuple):
    """The cells that n neurons address; 0 where there is no cell.

    Attributes:
      zeros: ``uint32 [n, ...]``.
      ones: ``uint32 [n, ...]``.
      shares: ``uint32 [n, ...]``, the parts that discounts leave of zeros (the high 16 bits) and of ones.

    Source: docs/semantics/chain_static.md
    """

    zeros: jax.Array
    ones: jax.Array
    shares: jax.Array


def size(neurons: int) -> int:
    """Returns I, the number of inputs of a model of n context neurons.

    Source: docs/semantics/chain_static.md
    """
    return 2 * neurons + ORDERS + 1


def wired(network: Network) -> Network:
    """Returns the wiring of a static model: the orders of Kneser-Ney, and then the neurons of a network.

    Source: docs/semantics/chain_static.md
    """
    width = max(_ORDERS.shape[1], network.connections.shape[1])
    orders = np.pad(_ORDERS, ((0, 0), (0, width - _ORDERS.shape[1])), constant_values=-1)
    room = ((0, 0), (0, width - network.connections.shape[1]))
    connections = jnp.pad(jnp.asarray(network.connections), room, constant_values=-1)
    views = jnp.full(ORDERS, VIEWS.index("node"), jnp.int32)
    return network._replace(
        connections=jnp.concatenate([jnp.asarray(orders), connections]),
        view=jnp.concatenate([views, jnp.asarray(network.view)]),
    )


def leaves(tree: tokentree.TokenTree) -> jax.Array:
    """Returns the number of tokens below each turn, ``int32 [M, 2]``.

    Source: docs/semantics/chain_static.md
    """
    return jnp.zeros(tree.children.shape, jnp.int32).at[tree.node, tree.bit].add(1)


def totals(roots: StaticCells) -> jax.Array:
    """Returns how often each neuron saw its context, ``uint32 [n, ...]``: the counts at the root of the tree.

    Source: docs/semantics/chain_static.md
    """
    return roots.zeros + roots.ones


def _masses(cells: StaticCells) -> jax.Array:
    """Returns what the discounts leave of zeros and ones, ``float32 [2, n, ...]``."""
    parts = jnp.stack([cells.shares >> 16, cells.shares & 0xFFFF]).astype(jnp.float32) / 65536.0
    return jnp.stack([cells.zeros, cells.ones]).astype(jnp.float32) * parts


def _odds(one: jax.Array, zero: jax.Array) -> jax.Array:
    ratio = jnp.maximum(one, LEAST_MASS) / jnp.maximum(zero, LEAST_MASS)
    return jnp.clip(jnp.log(ratio), -ODDS_MOST, ODDS_MOST)


def inputs(network: Network, cells: StaticCells, roots: StaticCells, below: jax.Array) -> jax.Array:
    """Returns the inputs of the readout, ``float32 [I, ...]``.

    They are the log-odds of each context neuron with its back-off; those of its plain counts; those of the
    orders of Kneser-Ney; and a constant.

    Args:
      network: the wiring, from `wired`.
      cells: the cells of turns.
      roots: the cells of the root of the tree in the same contexts; their axes after the first may have size
        1.
      below: ``int32 [..., 2]``, the number of tokens below each turn.

    Source: docs/semantics/chain_static.md
    """
    last = (network.connections == FIELDS.index("token1")).any(axis=1)
    shape = (-1, *[1] * (cells.zeros.ndim - 1))
    backs, second = (x[ORDERS:].reshape(shape) for x in (network.view == VIEWS.index("node"), last))
    total = totals(roots).astype(jnp.float32)
    inverse = jnp.where(total > 0, 1.0 / jnp.maximum(total, 1.0), 0.0)
    freed = jnp.where(total > 0, 1.0 - _masses(roots).sum(axis=0) * inverse, 1.0)
    own = _masses(cells) * inverse
    vocabulary = network.tree.start.shape[0] - 1
    mass = jnp.moveaxis(below, -1, 0).astype(jnp.float32) * jnp.float32(1.0 / vocabulary)
    orders = []
    for k in range(ORDERS):
        mass = own[:, k] + freed[k] * mass
        orders.append(mass)
    backed = own[:, ORDERS:] + freed[ORDERS:] * jnp.where(second, orders[1][:, None], orders[0][:, None])
    zeros, ones = (x[ORDERS:].astype(jnp.float32) for x in (cells.zeros, cells.ones))
    masses = jnp.stack(orders, axis=1)
    every = [
        jnp.where(backs, _odds(backed[1], backed[0]), _odds(ones + 0.5, zeros + 0.5)),
        jnp.log(ones + SMOOTH) - jnp.log(zeros + SMOOTH),
        _odds(masses[1], masses[0]),
        jnp.full((1, *cells.zeros.shape[1:]), STATIC_CONSTANT, jnp.float32),
    ]
    return jnp.concatenate(every)
