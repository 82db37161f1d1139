"""Five maps that refine the mixed probability: how often was the bit 1 when the mixture said so?

Each map has 33 steps of the mixed log-odds for each of its contexts. The result is read between two steps,
and the nearer one is moved towards the bit.

Source: adaptive probability maps (M. Mahoney, paq8 and lpaq, 2005 to 2009); docs/semantics/chain.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax.chain.constants import (
    MIXED_SHARE,
    REFINE_EDGE,
    REFINE_RATE,
    REFINE_STEPS,
    REFINE_WIDTH,
    REFINED_LOG,
    REFINEMENTS,
)
from wnn_jax.chain.online import OnlineMemory
from wnn_jax.chain.tokentree import TokenTree
from wnn_jax.chain.weights import Facts, between
from wnn_jax.hashing import mix


class Refined(NamedTuple):
    """A refined probability, and the entries of the maps that it comes from.

    Attributes:
      one: ``float32 []``, P(bit = 1).
      place: ``int32 [5]``, the context in each map.
      step: ``int32 []``, the nearer step.
      held: ``float32 [5]``, how often the bit was 1 at this step.

    Source: docs/semantics/chain.md
    """

    one: jax.Array
    place: jax.Array
    step: jax.Array
    held: jax.Array


def places(tree: TokenTree, facts: Facts, node: jax.Array, guess: jax.Array) -> jax.Array:
    """Returns the contexts of the five maps, ``int32 [5]``.

    They are the node; with the last token; with the last two; with the token that the longest match expects;
    and the spelled bytes with the word being written.

    Args:
      tree: the token tree.
      facts: the place in the text.
      node: ``int32 []``.
      guess: ``int32 []``, the token that the longest match expects; -1 without one.

    Source: docs/semantics/chain.md
    """
    name, spelled = tree.names[0, node], tree.names[2, node]
    hashes = [name, mix(facts.token1, name), mix(mix(facts.token1, facts.token2), name)]
    hashes += [mix((guess + 1).astype(jnp.uint32), name), mix(facts.word, spelled)]
    return (jnp.stack(hashes) >> (32 - REFINED_LOG)).astype(jnp.int32)


def refine(memory: OnlineMemory, odds: jax.Array, place: jax.Array) -> Refined:
    """Refines mixed log-odds.

    Args:
      memory: the memory that has the maps.
      odds: ``float32 []``, the mixed log-odds.
      place: ``int32 [5]``, the contexts.

    Source: docs/semantics/chain.md
    """
    z = between(odds * (1.0 / REFINE_WIDTH), -REFINE_EDGE, REFINE_EDGE) + REFINE_STEPS // 2
    below = z.astype(jnp.int32)
    part = z - below.astype(jnp.float32)
    row = jnp.arange(REFINEMENTS, dtype=jnp.int32)
    low, high = (memory.refined[row, place, below + k] for k in (0, 1))
    refined = (low * (1.0 - part) + high * part).sum() * ((1.0 - MIXED_SHARE) / REFINEMENTS)
    nearer = part > 0.5
    held = jnp.where(nearer, high, low)
    one = MIXED_SHARE * jax.nn.sigmoid(odds) + refined
    return Refined(one, place, below + nearer.astype(jnp.int32), held)


def learn(memory: OnlineMemory, refined: Refined, bit: jax.Array) -> OnlineMemory:
    """Moves the nearer step of each map towards a bit.

    Args:
      memory: the memory that has the maps.
      refined: what the maps said.
      bit: ``int32 []``.

    Source: docs/semantics/chain.md
    """
    where = jnp.arange(REFINEMENTS, dtype=jnp.int32), refined.place, refined.step
    moved = refined.held + (bit.astype(jnp.float32) - refined.held) * REFINE_RATE
    return memory._replace(refined=memory.refined.at[where].set(moved))
