"""The weight sets of a static chain model's readout, and what chooses their rows.

A set is chosen only by what carries over from one token tree to another, because the readout is trained on
trees that were made without a part of the text, and is then used with the tree of all of it.

Source: docs/semantics/chain.md
"""

import jax
import jax.numpy as jnp

from wnn_jax.chain.constants import ORDERS
from wnn_jax.chain.static_inputs import Cells, totals

# The number of rows of each set, in order.
SETS = {
    "one": 1,
    "hits": 2 * 2**ORDERS,
    "depth": 64,
    "many": 64 * 8,
    "order": (ORDERS + 1) * 2 * 32,
    "totals": 64 * 2 * 8,
    "shape": 128,
}
FINAL = ("one", "totals", "many", "order")


def rows(cells: Cells, roots: Cells, spelled: jax.Array, depth: jax.Array, shape: jax.Array) -> dict[str, jax.Array]:
    neurons = cells.zeros.shape[0] - ORDERS
    seen = cells.zeros + cells.ones > 0
    zone = spelled.astype(jnp.int32)
    hits = sum(seen[k].astype(jnp.int32) << k for k in range(ORDERS))
    many = seen[ORDERS:].sum(axis=0, dtype=jnp.int32)
    total = totals(roots)
    highest = jnp.zeros(zone.shape, jnp.int32)
    for k in range(ORDERS):
        highest = jnp.where(total[k] > 0, k + 1, highest)
    digits = jnp.zeros(zone.shape, jnp.int32)
    for k in range(1, 4):
        digits = 4 * digits + sum((total[k] >= edge).astype(jnp.int32) for edge in (1, 4, 30))
    half = jnp.minimum(depth // 2, 7)
    return {
        "one": jnp.zeros(zone.shape, jnp.int32),
        "hits": hits + 2**ORDERS * zone,
        "depth": jnp.minimum(depth, 31) + 32 * zone,
        "many": jnp.minimum(many * 32 // (neurons + 1), 31) + 32 * zone + 64 * half,
        "order": (highest * 2 + zone) * 32 + jnp.minimum(depth, 31),
        "totals": (digits * 2 + zone) * 8 + half,
        "shape": shape.astype(jnp.int32) + 64 * zone,
    }
