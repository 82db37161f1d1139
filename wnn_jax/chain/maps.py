"""Adaptive maps: how often the bit was 1 in each state of something, and how often the state was met.

A map learns what a state is worth, whatever it stands for. It moves towards each bit, at first quickly, and
then as slowly as an average over all visits would.

Source: M. Mahoney, "Adaptive weighing of context models for lossless data compression", 2005 (adaptive
probability maps); docs/semantics/chain.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax.chain.constants import MAP_LEAST, MAP_LIMIT


class Entries(NamedTuple):
    """One entry of each of n maps.

    Attributes:
      state: ``int32 [n]``, the state.
      there: ``bool [n]``, whether there is such a state now. The other entries count for nothing.
      share: ``float32 [n]``, how often the bit was 1.
      visits: ``float32 [n]``, how often the state was met, up to a limit.

    Source: docs/semantics/chain.md
    """

    state: jax.Array
    there: jax.Array
    share: jax.Array
    visits: jax.Array


def look_up(maps: jax.Array, state: jax.Array, there: jax.Array) -> Entries:
    """Looks up the entries of states.

    Args:
      maps: ``float32 [n, states, 2]``.
      state: ``int32 [n]``, the state in each map.
      there: ``bool [n]``, whether there is such a state now.

    Source: docs/semantics/chain.md
    """
    share, visits = maps[jnp.arange(state.shape[0], dtype=jnp.int32), state].T
    return Entries(state, there, share, visits)


def odds(entries: Entries) -> jax.Array:
    """Returns log-odds ``float32 [n]``; 0 where there is no state.

    Source: docs/semantics/chain.md
    """
    return jnp.where(entries.there, jnp.log(entries.share / (1.0 - entries.share)), 0.0)


def moved(entries: Entries, bit: jax.Array) -> Entries:
    """Moves entries towards a bit: by 2/3 at their first visit, then more and more slowly.

    Args:
      entries: the entries.
      bit: ``int32 []``.

    Source: docs/semantics/chain.md
    """
    share, visits = entries.share, entries.visits
    share = share + (bit.astype(jnp.float32) - share) / (visits + 1.5)
    visits = jnp.where(visits < MAP_LIMIT, visits + 1.0, visits)
    return entries._replace(share=jnp.clip(share, MAP_LEAST, 1.0 - MAP_LEAST), visits=visits)


def write(maps: jax.Array, before: Entries, after: Entries) -> jax.Array:
    """Writes entries where there is a state; returns the maps ``float32 [n, states, 2]``.

    Args:
      maps: the maps.
      before: the entries as they are in the maps.
      after: the entries as they are going to be.

    Source: docs/semantics/chain.md
    """
    rows = [jnp.stack([one.share, one.visits], axis=1) for one in (after, before)]
    # The entries that stay are written too, so that each write depends on its read: otherwise XLA copies the
    # maps.
    entries = jnp.where(before.there[:, None], *rows)
    return maps.at[jnp.arange(len(entries), dtype=jnp.int32), before.state].set(entries)
