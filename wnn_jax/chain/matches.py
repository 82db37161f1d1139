"""Three matches: earlier places in the text that came after the same tokens as this place.

A match expects the token that came there. While it is right it goes on and grows longer; when it was wrong it
ends, and a new one is looked for. How often matches of a length were right decides how much one counts.

Source: match models of the PAQ archivers (M. Mahoney, 2005), for tokens instead of bytes;
docs/semantics/chain.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax.chain import maps
from wnn_jax.chain.cells import steps
from wnn_jax.chain.constants import (
    FIELDS,
    MATCH_EDGES,
    MATCH_LEAST,
    MATCH_LONGEST,
    MATCH_ORDERS,
    MATCH_PLACES_LOG,
    MATCH_PROBABLE,
    MATCH_SLOWEST,
    MATCHED,
    MATCHES,
)
from wnn_jax.chain.online import OnlineMemory
from wnn_jax.chain.tokentree import TokenTree
from wnn_jax.hashing import mix


class Matches(NamedTuple):
    """The tokens that the three matches expect at a place.

    Attributes:
      guess: ``int32 [3]``, the tokens; -1 without a match.
      step: ``int32 [3]``, the lengths of the matches, as steps.

    Source: docs/semantics/chain.md
    """

    guess: jax.Array
    step: jax.Array


class Expected(NamedTuple):
    """The bits that the three matches expect at a node.

    Attributes:
      bit: ``int32 [3]``; -1 where the expected token's path does not reach the node.
      entries: how often such matches were right. A state is the length, the branch of the tree and the depth.
      odds: ``float32 [3]``, the log-odds of how often such matches were right, as log-odds of the bit.
      centred: ``float32 [3]``, the same as a probability, from -2 to 2.
      longest: ``int32 []``, the first of the longest matches that reach the node, or -1.

    Source: docs/semantics/chain.md
    """

    bit: jax.Array
    entries: maps.Entries
    odds: jax.Array
    centred: jax.Array
    longest: jax.Array


def begin(memory: OnlineMemory) -> tuple[OnlineMemory, Matches]:
    """Goes on with the matches at a place, or looks for new ones.

    The last place after the same hash of the last tokens is compared with this place. It is a match if at
    least as many tokens agree as were hashed.

    Args:
      memory: the memory; only what follows the text changes.

    Source: docs/semantics/chain.md
    """
    text, room = memory.text, memory.text.shape[0]
    count, at, length = memory.position[0], memory.position[1::2], memory.position[2::2]
    orders = jnp.array(MATCH_ORDERS, jnp.uint32)
    back = jnp.arange(MATCH_LONGEST, dtype=jnp.uint32)

    def before(place):
        return text[((place - 1 - back) % room).astype(jnp.int32)]

    recent = before(count)
    row = jnp.arange(MATCHES, dtype=jnp.int32)
    h = 7 + row.astype(jnp.uint32)
    for k in range(max(MATCH_ORDERS)):
        h = jnp.where(k < orders, mix(h, recent[k].astype(jnp.uint32) + 1), h)
    slot = (h >> (32 - MATCH_PLACES_LOG)).astype(jnp.int32)
    last = memory.match_table[row, slot]
    place = last.astype(jnp.uint32)
    distance = count - place
    old = jax.vmap(before)(place)
    agree = (back < place[:, None]) & (distance[:, None] + back + 1 < room) & (old == recent)
    same = jnp.cumprod(agree, axis=1, dtype=jnp.uint32).sum(axis=1, dtype=jnp.uint32)
    hashed = count >= orders
    found = hashed & (length == 0) & (last > 0) & (distance < room)
    at = jnp.where(found, place, at)
    length = jnp.where(found, jnp.where(same >= orders, same, 0), length)
    # What was read is written again if nothing is hashed, so that the write depends on the read: otherwise
    # XLA copies the table.
    table = memory.match_table.at[row, slot].set(jnp.where(hashed, count.astype(jnp.int32), last))
    position = jnp.concatenate([count[None], jnp.stack([at, length], axis=1).reshape(-1)])
    guess = jnp.where(length > 0, text[(at % room).astype(jnp.int32)], -1)
    return memory._replace(match_table=table, position=position), Matches(guess, steps(length, MATCH_EDGES))


def fill(seen: jax.Array, matches: Matches) -> jax.Array:
    """Returns the fields of a place ``uint32 [F]`` with those of the longest match: `MATCHED`.

    They are the token that it expects, plus 1, and the step of its length; both are 0 without a match. Among
    matches of equal steps the first counts.

    Args:
      seen: ``uint32 [F]``, the fields, see `fields.fields`.
      matches: the matches of the place.

    Source: docs/semantics/chain.md
    """
    step = jnp.where(matches.guess >= 0, matches.step, 0)
    longest = jax.lax.argmax(jnp.where(matches.guess >= 0, matches.step, -1), 0, jnp.int32)
    of_match = jnp.stack([matches.guess[longest] + 1, step[longest]]).astype(jnp.uint32)
    return seen.at[jnp.array([FIELDS.index(name) for name in MATCHED])].set(of_match)


def expect(
    tree: TokenTree, memory: OnlineMemory, matches: Matches, node: jax.Array, depth: jax.Array
) -> Expected:
    """Returns what the matches expect at a node.

    Args:
      tree: the token tree.
      memory: the memory that knows how often matches were right.
      matches: the matches of the place.
      node: ``int32 []``.
      depth: ``int32 []``, the depth of the node.

    Source: docs/semantics/chain.md
    """
    token = jnp.maximum(matches.guess, 0)
    at = tree.start[token] + depth
    entry = jnp.minimum(at, tree.node.shape[0] - 1)
    here = (matches.guess >= 0) & (at < tree.start[token + 1]) & (tree.node[entry] == node)
    bit = jnp.where(here, tree.bit[entry], -1)
    state = (matches.step * 2 + tree.spelled[node]) * 16 + jnp.minimum(depth, 15)
    entries = maps.look_up(memory.match_maps, state, here)
    sign = jnp.where(bit > 0, 1.0, -1.0).astype(jnp.float32)
    centred = jnp.where(here, sign * (4.0 * (entries.share - 0.5)), 0.0)
    longest = jax.lax.argmax(jnp.where(here, matches.step, -1), 0, jnp.int32)
    return Expected(bit, entries, sign * maps.odds(entries), centred, jnp.where(here.any(), longest, -1))


def learn(memory: OnlineMemory, expected: Expected, bit: jax.Array) -> OnlineMemory:
    """Learns whether the matches were right.

    Args:
      memory: the memory.
      expected: what the matches expected.
      bit: ``int32 []``.

    Source: docs/semantics/chain.md
    """
    share, visits = expected.entries.share, expected.entries.visits
    right = (expected.bit == bit).astype(jnp.float32)
    share = share + (right - share) * jnp.maximum(1.0 / (visits + 5.0), MATCH_SLOWEST)
    visits = jnp.where(visits < 1000.0, visits + 1.0, visits)
    share = jnp.clip(share, MATCH_LEAST, MATCH_PROBABLE)
    after = expected.entries._replace(share=share, visits=visits)
    return memory._replace(match_maps=maps.write(memory.match_maps, expected.entries, after))


def end(memory: OnlineMemory, token: jax.Array) -> OnlineMemory:
    """Adds a token to the text, and goes on with the matches that expected it.

    Args:
      memory: the memory; only what follows the text changes.
      token: ``int32 []``.

    Source: docs/semantics/chain.md
    """
    room = memory.text.shape[0]
    count, at, length = memory.position[0], memory.position[1::2], memory.position[2::2]
    text = memory.text.at[(count % room).astype(jnp.int32)].set(token)
    right = text[(at % room).astype(jnp.int32)] == token
    there = length > 0
    length = jnp.where(there & right, length + 1, 0)
    at = at + there.astype(jnp.uint32)
    position = jnp.concatenate([(count + 1)[None], jnp.stack([at, length], axis=1).reshape(-1)])
    return memory._replace(text=text, position=position)
