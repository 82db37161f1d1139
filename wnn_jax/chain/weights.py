"""Two layers of weights, which mix the log-odds of all inputs into those of a bit.

The first layer has sets of rows. Each set chooses one of its rows by something that is known of the turn: the
node, the length of a match, the class of the last token ... . A chosen row mixes the inputs, and learns from
its own error by Adagrad. The second layer mixes the results of the sets in the same way; eight of its rows
are chosen, and their mean is the result.

In this module I is the number of inputs and K the number of sets, both padded.

Source: M. Mahoney, paq8 and lpaq (2005 to 2009; selected sets of weights); J. Veness et al., "Gated Linear
Networks", 2019 (layers of them); J. Duchi et al., "Adaptive Subgradient Methods", 2011 (Adagrad);
docs/semantics/chain.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.chain.constants import (
    CLASSES,
    COUNT_MOST,
    FINAL_RATE_HALF,
    FINAL_RATE_LEAST,
    FINAL_RATE_MORE,
    FINAL_SETS,
    HITS,
    RANGE,
    RATE,
    SEEN_STEPS,
    SET_ROWS,
    SHAPES,
    TOKEN_ROWS_LOG,
    TOP_KINDS,
    WeightSet,
)
from wnn_jax.chain.online import OnlineMemory

_FINAL_FIRST = np.cumsum((0, *(SET_ROWS[s] for s in FINAL_SETS[:-1])))


class Facts(NamedTuple):
    """The facts about a place in a text that choose rows; each is ``int32 []`` or ``uint32 []``.

    Attributes:
      class1: the class of the last token: 6 bits plus 1, or 0 without a token.
      class2: that of the token before it.
      class9: the class of the last token, in 9 bits.
      shape: the shape of the last token.
      token1: the last token's id plus 1.
      token2: that of the token before it.
      word: the word being written.
      byte: the last byte.
      byte_before: the byte before it.

    Source: docs/semantics/chain.md
    """

    class1: jax.Array
    class2: jax.Array
    class9: jax.Array
    shape: jax.Array
    token1: jax.Array
    token2: jax.Array
    word: jax.Array
    byte: jax.Array
    byte_before: jax.Array


class Turn(NamedTuple):
    """The facts about a turn that choose rows; each is ``int32 []``.

    Attributes:
      kind: the kind of the node.
      zone: 1 in the spelled branch of the tree, else 0.
      depth: the depth of the node.
      hits: which of the first six contexts are known, as bits.
      known: the number of known contexts, from 0 to n.
      neurons: n.
      expected: the bit that the longest match expects; -1 without one.
      step: the length of this match, as a step.

    Source: docs/semantics/chain.md
    """

    kind: jax.Array
    zone: jax.Array
    depth: jax.Array
    hits: jax.Array
    known: jax.Array
    neurons: int
    expected: jax.Array
    step: jax.Array


class Mixed(NamedTuple):
    """The mixture of the inputs of a turn.

    Attributes:
      odds: ``float32 []``, the log-odds of the bit.
      inputs: ``float32 [I]``, the inputs.
      rows: ``int32 [sets]``, the chosen rows of the first layer.
      visited: ``uint8 [sets]``, 1 for each row that was trained.
      held: ``float32 [sets, I]``, the weights that stand in them, or for them.
      logits: ``float32 [K]``, the log-odds that each of them makes, clipped.
      final_rows: ``int32 [8]``, the chosen rows of the second layer.
      final_held: ``float32 [8, K]``, their weights.
      final_logits: ``float32 [8]``, the log-odds that each of them makes, clipped.

    Source: docs/semantics/chain.md
    """

    odds: jax.Array
    inputs: jax.Array
    rows: jax.Array
    visited: jax.Array
    held: jax.Array
    logits: jax.Array
    final_rows: jax.Array
    final_held: jax.Array
    final_logits: jax.Array


def between(x: jax.Array, low: float, high: float) -> jax.Array:
    """Clips numbers to ``low`` .. ``high``; a number that is not one becomes ``low``.

    Source: docs/semantics/chain.md
    """
    return jnp.minimum(jnp.where(x > low, x, low), high)


def choose(facts: Facts, turn: Turn) -> jax.Array:
    """Returns the row of each set that applies at a turn, ``int32 [15]``, in the order of `WeightSet`.

    Args:
      facts: the place in the text.
      turn: the turn.

    Source: docs/semantics/chain.md
    """
    zone = turn.zone
    known = jnp.minimum(turn.known * SEEN_STEPS // (turn.neurons + 1), SEEN_STEPS - 1)
    class4 = jnp.maximum(facts.class1 - 1, 0) >> 2
    match = jnp.where(turn.expected < 0, 0, (1 + turn.expected) * 16 + turn.step)
    rows = {
        WeightSet.ONE: zone * 0,
        WeightSet.HITS: turn.hits + HITS // 2 * zone,
        WeightSet.KIND: turn.kind,
        WeightSet.CLASS1: facts.class1 + CLASSES * zone,
        WeightSet.CLASS2: facts.class2 + CLASSES * zone,
        WeightSet.MATCH: match + 48 * zone,
        WeightSet.DEPTH: jnp.minimum(turn.depth, 31) + 32 * zone,
        WeightSet.SEEN: known + SEEN_STEPS * (zone + 2 * jnp.minimum(turn.depth // 2, 7)),
        WeightSet.CLASS9: facts.class9,
        WeightSet.SHAPE: facts.shape + SHAPES * zone,
        WeightSet.TOKEN: facts.token1 * jnp.uint32(0x9E3779B1) >> (32 - TOKEN_ROWS_LOG),
        WeightSet.BYTE: facts.byte + 256 * zone,
        WeightSet.BYTE_BEFORE: facts.byte_before,
        WeightSet.SHAPE_DEPTH: facts.shape + SHAPES * (zone + 2 * jnp.minimum(turn.depth, 31)),
        WeightSet.KIND_CLASS: 16 * jnp.where(turn.kind < TOP_KINDS, turn.kind, TOP_KINDS + zone) + class4,
    }
    return jnp.stack([rows[one].astype(jnp.int32) for one in WeightSet])


def mix(memory: OnlineMemory, sets: jax.Array, inputs: jax.Array, choices: jax.Array) -> Mixed:
    """Mixes the inputs of a turn.

    A row of the first layer that was never trained is as its parent: a row of the nodes' kinds and classes is
    as that of the kind alone, and others are as the first row, which sees every turn.

    Args:
      memory: the memory that has the weights.
      sets: ``int32 [sets]``, the sets of the first layer.
      inputs: ``float32 [I]``.
      choices: ``int32 [15]``, the row of each set, from `choose`.

    Source: docs/semantics/chain.md
    """
    sizes = jnp.array(SET_ROWS, jnp.int32)[sets]
    rows = jnp.cumsum(sizes, dtype=jnp.int32) - sizes + choices[sets]
    place = jnp.arange(sets.shape[0], dtype=jnp.int32)
    visited = memory.visited[rows]
    own = ((visited > 0) | (place == 0))[:, None]
    held = memory.weights[rows]
    kind = jax.lax.argmax(sets == WeightSet.KIND, 0, jnp.int32)
    parted = (sets == WeightSet.KIND_CLASS) & (sets[kind] == WeightSet.KIND) & (kind < place)
    above = jnp.where(own, held, held[0])[jnp.where(parted, kind, 0)]
    held = jnp.where(own, held, above)
    logits = between((held * inputs).sum(axis=1), -RANGE, RANGE)
    logits = jnp.pad(logits, (0, memory.finals.shape[1] - logits.shape[0]))
    final_rows = jnp.array(_FINAL_FIRST, jnp.int32) + choices[jnp.array(FINAL_SETS, jnp.int32)]
    final_held = memory.finals[final_rows]
    final_logits = between((final_held * logits).sum(axis=1), -RANGE, RANGE)
    return Mixed(
        final_logits.mean(), inputs, rows, visited, held, logits, final_rows, final_held, final_logits
    )


def adagrad(weights: jax.Array, sums: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Takes a step of Adagrad up a gradient.

    Args:
      weights: ``float32 [...]``.
      sums: ``float32 [...]``, the sums of the squared gradients of earlier steps.
      gradient: ``float32 [...]``.

    Returns:
      the weights and the sums after the step.

    Source: J. Duchi et al., "Adaptive Subgradient Methods", 2011; docs/semantics/chain.md
    """
    sums = sums + gradient * gradient
    return weights + RATE * gradient / jnp.sqrt(sums + 1.0), sums


def final_rate(visits: jax.Array) -> jax.Array:
    """Returns the step sizes ``float32 [...]`` of rows of the second layer after ``uint32 [...]`` visits.

    Source: docs/semantics/chain.md
    """
    return FINAL_RATE_LEAST + FINAL_RATE_MORE * FINAL_RATE_HALF / (
        FINAL_RATE_HALF + visits.astype(jnp.float32)
    )


def learn(memory: OnlineMemory, mixed: Mixed, bit: jax.Array) -> OnlineMemory:
    """Moves the chosen rows of both layers towards a bit, each by its own error.

    Args:
      memory: the memory that has the weights.
      mixed: the mixture of the turn.
      bit: ``int32 []``.

    Source: docs/semantics/chain.md
    """
    target, rows, final_rows = bit.astype(jnp.float32), mixed.rows, mixed.final_rows
    error = target - jax.nn.sigmoid(mixed.logits[: len(rows)])
    moved, sums = adagrad(mixed.held, memory.sums[rows], error[:, None] * mixed.inputs)
    visits = memory.final_visits[final_rows]
    step = (target - jax.nn.sigmoid(mixed.final_logits)) * final_rate(visits)
    return memory._replace(
        weights=memory.weights.at[rows].set(moved),
        sums=memory.sums.at[rows].set(sums),
        visited=memory.visited.at[rows].set(mixed.visited | 1),
        finals=memory.finals.at[final_rows].set(mixed.final_held + step[:, None] * mixed.logits),
        final_visits=memory.final_visits.at[final_rows].set(
            jnp.where(visits < COUNT_MOST, visits + 1, visits)
        ),
    )
