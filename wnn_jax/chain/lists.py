"""Lists of the tokens that followed a context last, and how often each did.

A neuron keeps a list of up to seven tokens for each of its contexts, newest first. Other cells know a node of
the tree; a list knows whole tokens. It says what the tokens that are still possible would do at a node.

Source: run maps of the PAQ archivers (M. Mahoney, 2005), for tokens instead of bytes; docs/semantics/chain.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax.chain.constants import LIST_KEY, LIST_MOST, LIST_SMOOTH, LISTED
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.online import OnlineMemory
from wnn_jax.chain.tokentree import TokenTree
from wnn_jax.hashing import mix


class Listed(NamedTuple):
    """The tokens that the n neurons have listed for the contexts of a place.

    Attributes:
      first: ``int32 [n, 7]``, where the path of each token begins in the tree's paths.
      after: ``int32 [n, 7]``, where it ends.
      times: ``int32 [n, 7]``, how often the token came; 0 where there is none.

    Source: docs/semantics/chain.md
    """

    first: jax.Array
    after: jax.Array
    times: jax.Array


def _rows(memory: OnlineMemory, hashes: jax.Array):
    """Returns the keys ``uint32 [n]`` of contexts, their places, and the lists ``uint32 [n, 8]`` there."""
    hashed = mix(hashes, jnp.uint32(LIST_KEY))
    log = memory.lists.shape[1].bit_length() - 1
    place = (hashed >> (32 - log)).astype(jnp.int32) if log else jnp.zeros(hashed.shape, jnp.int32)
    return hashed | 1, place, memory.lists[jnp.arange(hashed.shape[0], dtype=jnp.int32), place]


def look_up(network: Network, memory: OnlineMemory, hashes: jax.Array) -> Listed:
    """Looks up the lists of the contexts of a place.

    Args:
      network: the wiring.
      memory: the memory that has the lists.
      hashes: ``uint32 [n]``, the hash of each neuron's fields.

    Source: docs/semantics/chain.md
    """
    start, ids = network.tree.start, network.lexicon.shape[0]
    key, _, rows = _rows(memory, hashes)
    token, count = rows[:, 1:] >> 8, (rows[:, 1:] & LIST_MOST).astype(jnp.int32)
    there = (rows[:, :1] == key[:, None]) & (token < ids)
    token = jnp.minimum(token, ids - 1).astype(jnp.int32)
    return Listed(start[token], start[token + 1], jnp.where(there, count, 0))


def odds(tree: TokenTree, listed: Listed, node: jax.Array, depth: jax.Array) -> jax.Array:
    """Returns the log-odds ``float32 [n]`` of a bit among the listed tokens whose paths reach a node.

    Args:
      tree: the token tree.
      listed: the tokens.
      node: ``int32 []``.
      depth: ``int32 []``, the depth of the node.

    Source: docs/semantics/chain.md
    """
    at = listed.first + depth
    entry = jnp.minimum(at, tree.node.shape[0] - 1)
    here = (at < listed.after) & (tree.node[entry] == node)
    count, bit = jnp.where(here, listed.times, 0), tree.bit[entry]
    ones, both = (count * bit).sum(axis=1, dtype=jnp.int32), count.sum(axis=1, dtype=jnp.int32)
    zeros = both - ones
    return jnp.log((ones.astype(jnp.float32) + LIST_SMOOTH) / (zeros.astype(jnp.float32) + LIST_SMOOTH))


def to_front(words: jax.Array, token: jax.Array) -> jax.Array:
    """Moves a token to the front of lists, and counts it.

    A token that is not listed takes the place after the last one; in a full list it drops the last one, which
    came longest ago. Counts end at 255.

    Args:
      words: ``uint32 [n, 7]``, each ``id << 8 | count``; a count of 0 ends the list.
      token: ``int32 []``.

    Returns:
      the lists ``uint32 [n, 7]``.

    Source: docs/semantics/chain.md
    """
    count, token = words & LIST_MOST, token.astype(jnp.uint32)
    stops = (count == 0) | (words >> 8 == token)
    at = jnp.where(stops.any(axis=1), jax.lax.argmax(stops, 1, jnp.int32), LISTED - 1)[:, None]
    before = jnp.where(stops.any(axis=1)[:, None], jnp.take_along_axis(count, at, axis=1), 0)
    front = token << 8 | jnp.minimum(before + 1, LIST_MOST)
    shifted = jnp.concatenate([front, words[:, :-1]], axis=1)
    return jnp.where(jnp.arange(LISTED, dtype=jnp.int32) <= at, shifted, words)


def add(memory: OnlineMemory, hashes: jax.Array, token: jax.Array) -> OnlineMemory:
    """Adds a token to the lists of the contexts that it followed. A context replaces another in its place.

    Args:
      memory: the memory that has the lists.
      hashes: ``uint32 [n]``, the hash of each neuron's fields before the token.
      token: ``int32 []``.

    Source: docs/semantics/chain.md
    """
    key, place, rows = _rows(memory, hashes)
    words = to_front(jnp.where(rows[:, :1] == key[:, None], rows[:, 1:], 0), token)
    rows = jnp.concatenate([key[:, None], words], axis=1)
    neurons = jnp.arange(rows.shape[0], dtype=jnp.int32)
    return memory._replace(lists=memory.lists.at[neurons, place].set(rows))
