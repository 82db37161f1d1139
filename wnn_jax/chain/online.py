"""The memory of a chain model that learns while it reads.

Source: docs/semantics/chain.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.chain import backend, fields
from wnn_jax.chain.constants import (
    AGES,
    BUCKET,
    FAST_EDGES,
    FINAL_SETS,
    LIST_WORDS,
    MATCH_LONGEST,
    MATCH_PLACES_LOG,
    MATCH_STATES,
    MATCH_TRUST,
    MATCH_WEIGHT,
    MATCHES,
    RECENCIES,
    REFINE_STEPS,
    REFINE_WIDTH,
    REFINED_LOG,
    REFINEMENTS,
    RUN_MOST,
    SET_ROWS,
    SMOOTH,
    WIDE_CELL,
    ZONES,
)
from wnn_jax.chain.contexts import Network
from wnn_jax.checks import Limits

INPUT_BLOCK = 16  # inputs are padded to whole blocks of this
SET_BLOCK = 8  # sets are padded to whole blocks of this
SLOTS_A_LIST = 16  # a neuron has this many cells for each of its lists
CELL_BYTES = 4 * WIDE_CELL
LIST_BYTES = 4 * LIST_WORDS // SLOTS_A_LIST  # of lists, for each cell


class OnlineMemory(NamedTuple):
    """The memory of a model that learns while it reads.

    Attributes:
      slots: ``uint32 [n, S / 4, 4, 4]``, the cells of n neurons, S for each, in buckets of four. The words of
        a cell are: its tag in 16 bits (0: empty) and two fast counts in 8 bits each, of zeros and of ones;
          the
        counts of zeros and of ones in 16 bits each; the same counts, fading, in units of 1/256; and the last
        bit in bit 16 with the time of the last write, in ticks of four tokens, in 16 bits.
      lists: ``uint32 [n, S / 16, 8]``, for each context the tokens that followed it last, newest first. The
        first word is the key, the others are ``id << 8 | count``. ``[0, 0, 8]`` in a model without lists.
      maps: ``float32 [n, MAP_STATES, 2]``, for each state of a cell how often the bit was 1, and how often
        the state was met.
      run_maps: ``float32 [n, RUN_STATES, 2]``, the same for contexts after which only one bit ever came, by
        how often it came. ``[0, RUN_STATES, 2]`` in a model without runs.
      match_maps: ``float32 [3, MATCH_STATES, 2]``, how often a match was right, and how often there was one.
      recent: ``float32 [M, 3, 2]``, fading counts of zeros and ones at each node of the tree, in three
        speeds.
      recent_at: ``uint32 [M]``, when they were written: the number of tokens before.
      weights: ``float32 [rows, I]``, the first layer: the sets of weights, one after another.
      sums: ``float32 [rows, I]``, the sums of the squared gradients of the weights.
      visited: ``uint8 [rows]``, 1 for each row that was trained. The others stand for the first row.
      finals: ``float32 [final rows, K]``, the second layer, which mixes the K sets.
      final_visits: ``uint32 [final rows]``, how often each of these rows was trained.
      refined: ``float32 [5, 2^16, 33]``, how often the bit was 1 at each step of the mixed probability, by
        five contexts.
      text: ``int32 [room]``, the last tokens that were read, as a ring.
      match_table: ``int32 [3, 2^20]``, the place after the latest occurrence of some tokens, by their hash; 0
        for none.
      position: ``uint32 [7]``, the number of tokens that were read; then for each match the place of the
        token that it expects, and its length (0: no match).
      registers: ``uint32 [48]``; this and the next two are the state of the text, see `fields.TextState`.
      followed: ``uint32 [5, 2^18, 2]``.
      line: ``uint32 [2, 256]``.

    Source: docs/semantics/chain.md
    """

    slots: jax.Array
    lists: jax.Array
    maps: jax.Array
    run_maps: jax.Array
    match_maps: jax.Array
    recent: jax.Array
    recent_at: jax.Array
    weights: jax.Array
    sums: jax.Array
    visited: jax.Array
    finals: jax.Array
    final_visits: jax.Array
    refined: jax.Array
    text: jax.Array
    match_table: jax.Array
    position: jax.Array
    registers: jax.Array
    followed: jax.Array
    line: jax.Array


def inputs(neurons: int, lists: bool, runs: bool) -> tuple[int, int]:
    """Returns the number of inputs of the first layer, and the same padded to whole blocks.

    The inputs are: the counts, the fading counts and the mapped states of all neurons, their lists and runs;
    three matches twice; three recent counts; and a constant.

    Source: docs/semantics/chain.md
    """
    real = (3 + lists + runs) * neurons + 2 * MATCHES + RECENCIES + 1
    return real, -(-real // INPUT_BLOCK) * INPUT_BLOCK


def lanes(sets: int) -> int:
    """Returns a number of sets padded to whole blocks.

    Source: docs/semantics/chain.md
    """
    return -(-sets // SET_BLOCK) * SET_BLOCK


def empty_online(
    network: Network, log_slots: int, *, lists: bool = True, runs: bool = True, room: int = 1 << 22
) -> OnlineMemory:
    """Makes the memory of a model that has read nothing.

    Args:
      network: the wiring.
      log_slots: log2 of the number of cells in each neuron's row; a cell has 16 bytes.
      lists: whether neurons list the tokens that followed their contexts last.
      runs: whether contexts after which only one bit ever came are an input of their own.
      room: the number of last tokens in which matches are looked for.

    Raises:
      ValueError: ``log_slots`` or ``room`` is out of range.

    Source: docs/semantics/chain.md
    """
    log_slots = checks.integer("log_slots", log_slots, Limits(least=2, most=28))
    room = checks.integer("room", room, Limits(above=2 * MATCH_LONGEST, most=1 << 28))
    n, nodes = network.view.shape[0], network.tree.children.shape[0]
    listing = n if lists else 0
    log_lists = max(log_slots - SLOTS_A_LIST.bit_length() + 1, 0)
    weights, finals = _mixers(network, lists, runs)
    steps = (np.arange(REFINE_STEPS) - REFINE_STEPS // 2) * REFINE_WIDTH
    refined = (1 / (1 + np.exp(-steps))).astype(np.float32)
    return OnlineMemory(
        slots=backend.zeros((n, 1 << log_slots - 2, BUCKET, WIDE_CELL)),
        lists=jnp.zeros((listing, 1 << log_lists if lists else 0, LIST_WORDS), jnp.uint32),
        maps=_maps(n, _cell_prior()),
        run_maps=_maps(n if runs else 0, _run_prior()),
        match_maps=_maps(MATCHES, np.full(MATCH_STATES, MATCH_TRUST)),
        recent=jnp.zeros((nodes, RECENCIES, 2), jnp.float32),
        recent_at=jnp.zeros(nodes, jnp.uint32),
        weights=weights,
        sums=jnp.zeros(weights.shape, jnp.float32),
        visited=jnp.zeros(weights.shape[0], jnp.uint8),
        finals=finals,
        final_visits=jnp.zeros(finals.shape[0], jnp.uint32),
        refined=jnp.array(np.broadcast_to(refined, (REFINEMENTS, 1 << REFINED_LOG, REFINE_STEPS))),
        text=jnp.zeros(room, jnp.int32),
        match_table=jnp.zeros((MATCHES, 1 << MATCH_PLACES_LOG), jnp.int32),
        position=jnp.zeros(1 + 2 * MATCHES, jnp.uint32),
        **fields.empty()._asdict(),
    )


def _mixers(network: Network, lists: bool, runs: bool) -> tuple[jax.Array, jax.Array]:
    """Returns the weights of the first layer and of the second.

    The first layer begins as the mean of the neurons' inputs, with a part of the matches. The second begins
    as the mean of the sets.
    """
    n, sets = network.view.shape[0], np.asarray(network.sets)
    sources = (3 + lists + runs) * n
    _, padded = inputs(n, lists, runs)
    row = np.zeros(padded, np.float32)
    row[:sources] = 1 / sources
    row[sources : sources + MATCHES] = MATCH_WEIGHT
    row[sources + MATCHES + RECENCIES : sources + 2 * MATCHES + RECENCIES] = MATCH_WEIGHT
    rows = sum(SET_ROWS[s] for s in sets)
    last = np.where(np.arange(lanes(len(sets))) < len(sets), 1 / len(sets), 0).astype(np.float32)
    final_rows = sum(SET_ROWS[s] for s in FINAL_SETS)
    return (
        jnp.array(np.broadcast_to(row, (rows, padded))),
        jnp.array(np.broadcast_to(last, (final_rows, len(last)))),
    )


def _maps(count: int, prior: np.ndarray) -> jax.Array:
    """Returns ``count`` maps ``float32 [count, states, 2]`` that begin with a probability for each state."""
    one = np.stack([prior, np.zeros(len(prior))], axis=-1).astype(np.float32)
    return jnp.array(np.broadcast_to(one, (count, *one.shape)))


def _middles(edges: tuple[int, ...]) -> np.ndarray:
    """Returns a number that stands for each step of a count: the middle of those between two edges."""
    ends = np.array([0, *edges, 2 * edges[-1]])
    return (ends[:-1] + np.maximum(ends[1:] - 1, ends[:-1])) / 2


def _cell_prior() -> np.ndarray:
    """Returns P(bit = 1) for each state of a cell before anything is known of the state."""
    counts = (_middles(FAST_EDGES) + SMOOTH) ** 0.8
    share = counts[None, :] / (counts[None, :] + counts[:, None])  # [fast zeros, fast ones]
    return np.repeat(share.ravel(), 2 * AGES * 2 * ZONES)


def _run_prior() -> np.ndarray:
    """Returns P(bit = 1) for each state of a run before anything is known of the state."""
    length = np.arange(RUN_MOST + 1)
    right = (length + SMOOTH) / (length + 2 * SMOOTH)
    return np.repeat(np.stack([1 - right, right], axis=-1).ravel(), ZONES)
