"""The readout of a static chain model: two layers of weight sets.

Every set of the first layer has a row of weights on all inputs, chosen by one property of the turn, and gives
log-odds. Some of these properties also choose rows of the second layer, whose inputs are the log-odds of all
sets. The result is the mean of the second layer.

Source: docs/semantics/chain_static.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.chain import static_cells
from wnn_jax.chain.constants import (
    FIELDS,
    LEAST,
    ORDERS,
    RANGE,
    SHAPES,
    STATIC_FINALS,
    STATIC_ROWS,
    TOTAL_EDGES,
    StaticSet,
)
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.static_inputs import StaticCells, inputs, leaves, totals

# The first row of each set, and their number.
FIRST = np.cumsum([0, *STATIC_ROWS]).astype(np.int32)
FINAL_FIRST = np.cumsum([0, *(STATIC_ROWS[one] for one in STATIC_FINALS)]).astype(np.int32)


class StaticPlace(NamedTuple):
    """A place in a text, as a static model sees it.

    Attributes:
      hashes: ``uint32 [n]``, the hash of the fields that each neuron observes.
      shapes: ``int32 [2]``, the shapes of the last two tokens.

    Source: docs/semantics/chain_static.md
    """

    hashes: jax.Array
    shapes: jax.Array


def shapes(fields: jax.Array) -> jax.Array:
    """Returns the shapes of the last two tokens, ``int32 [2]``, from the fields ``uint32 [F]`` of a place.

    Source: docs/semantics/chain_static.md
    """
    both = fields[np.array([FIELDS.index("shape1"), FIELDS.index("shape2")])]
    return jnp.minimum(both, SHAPES - 1).astype(jnp.int32)


def choose_rows(
    cells: StaticCells, roots: StaticCells, spelled: jax.Array, depth: jax.Array, shapes: jax.Array
) -> jax.Array:
    """Returns the row of each set, ``int32 [len(StaticSet), ...]``, counted from the set's first row.

    Args:
      cells: the cells of turns, see `static_inputs.inputs`.
      roots: the cells of the root in the same contexts.
      spelled: ``int32 [...]``, 1 in the spelled branch of the tree.
      depth: ``int32 [...]``, the number of turns before.
      shapes: ``int32 [2, ...]``, the shapes of the last two tokens.

    Source: docs/semantics/chain_static.md
    """
    seen, total = cells.zeros + cells.ones > 0, totals(roots)
    neurons = len(seen) - ORDERS
    zone = spelled.astype(jnp.int32)
    hits, order, digits = zone * 2**ORDERS, jnp.zeros_like(zone), jnp.zeros_like(zone)
    for k in range(ORDERS):
        hits += seen[k].astype(jnp.int32) << k
        order = jnp.where(total[k] > 0, k + 1, order)
    for k in range(1, 4):
        digits = 4 * digits + sum((total[k] >= edge).astype(jnp.int32) for edge in TOTAL_EDGES)
    many = jnp.minimum(seen[ORDERS:].sum(axis=0, dtype=jnp.int32) * 32 // (neurons + 1), 31)
    half, deep = jnp.minimum(depth // 2, 7), jnp.minimum(depth, 31)
    rows = {
        StaticSet.ONE: jnp.zeros_like(zone),
        StaticSet.HITS: hits,
        StaticSet.DEPTH: deep + 32 * zone,
        StaticSet.MANY: many + 32 * zone + 64 * half,
        StaticSet.ORDER: (order * 2 + zone) * 32 + deep,
        StaticSet.TOTALS: (digits * 2 + zone) * 8 + half,
        StaticSet.SHAPE1: jnp.minimum(shapes[0], SHAPES - 1) + SHAPES * zone,
        StaticSet.SHAPE2: jnp.minimum(shapes[1], SHAPES - 1) + SHAPES * zone,
    }
    return jnp.stack([rows[one] for one in StaticSet])


def start(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weights of an untrained readout: half of Kneser-Ney, half of the mean of the neurons.

    Args:
      size: I, the number of inputs.

    Returns:
      weights ``float32 [rows, I]`` and final weights ``float32 [final rows, len(StaticSet)]``.

    Source: docs/semantics/chain_static.md
    """
    weights = np.zeros((FIRST[-1], size), np.float32)
    of_neurons = size - ORDERS - 1
    weights[:, :of_neurons] = 0.5 / max(of_neurons, 1)
    weights[:, -2] = 0.5
    finals = np.full((FINAL_FIRST[-1], len(StaticSet)), 1.0 / len(StaticSet), np.float32)
    return weights, finals


def mix(weights: jax.Array, finals: jax.Array, x: jax.Array, rows: jax.Array) -> jax.Array:
    """Returns P(bit = 1), ``float32 [...]``.

    Args:
      weights: ``float32 [rows, I]``.
      finals: ``float32 [final rows, len(StaticSet)]``.
      x: ``float32 [I, ...]``, the inputs.
      rows: ``int32 [len(StaticSet), ...]``, see `choose_rows`.

    Source: docs/semantics/chain_static.md
    """
    logits = [(weights[FIRST[k] + rows[k]] * jnp.moveaxis(x, 0, -1)).sum(axis=-1) for k in range(len(rows))]
    logit = jnp.clip(jnp.stack(logits, axis=-1), -RANGE, RANGE)
    ends = [(finals[FINAL_FIRST[k] + rows[one]] * logit).sum(axis=-1) for k, one in enumerate(STATIC_FINALS)]
    dot = jnp.clip(sum(ends) / len(ends), -RANGE, RANGE)
    return jnp.clip(jax.nn.sigmoid(dot), LEAST, 1.0 - LEAST)


def predict(network: Network, memory, place: StaticPlace, node: jax.Array, depth: jax.Array) -> jax.Array:
    """Returns P(bit = 1), ``float32 [...]``, at nodes of the token tree.

    Args:
      network: the wiring, from `static_inputs.wired`.
      memory: a `memory.StaticMemory`.
      place: the place in the text.
      node: ``int32 [...]``.
      depth: ``int32 [...]``, the number of turns before each.

    Source: docs/semantics/chain_static.md
    """
    hashes = place.hashes.reshape(-1, *[1] * node.ndim)
    cells = StaticCells(*static_cells.read(network, memory.slots, hashes, node))
    roots = StaticCells(
        *static_cells.read(network, memory.slots, hashes, jnp.zeros((1,) * node.ndim, jnp.int32))
    )
    x = inputs(network, cells, roots, leaves(network.tree)[node])
    shapes = place.shapes.reshape(-1, *[1] * node.ndim)
    rows = choose_rows(cells, roots, network.tree.spelled[node], depth, shapes)
    return mix(memory.weights, memory.finals, x, rows)
