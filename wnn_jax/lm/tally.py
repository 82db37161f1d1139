"""Scores N places over a vocabulary, some ids at a time, so that no ``[N, V]`` matrix is needed.

For each place a tally holds a running log-sum-exp, the score of the text's token, and the best id so far. The
chunks into which the V ids are cut, and their order, change the result only by rounding.

Source: docs/semantics/tiered.md
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax.lm.bitwise import Scores

# A function that is called with the name of the work, the amount that is done, and the whole amount.
OnStep = Callable[[str, int, int], None]


class Tally(NamedTuple):
    """Running sums over the ids that were added so far.

    Attributes:
      mass: ``float32 [N]``, the logarithm of the sum of the exponentials of the scores.
      chosen: ``float32 [N]``, the score of the token of the text; -inf until its id is added.
      top: ``float32 [N]``, the highest score.
      best: ``int32 [N]``, the id with the highest score, the lowest on ties.

    Source: docs/semantics/tiered.md
    """

    mass: jax.Array
    chosen: jax.Array
    top: jax.Array
    best: jax.Array


def empty(count: int) -> Tally:
    """Make an empty tally: no id's score has been added yet.

    Args:
      count: N, the number of places.

    Returns:
      The tally; its best ids are the largest int32.

    Source: docs/semantics/tiered.md
    """
    nothing = jnp.full(count, -jnp.inf, jnp.float32)
    return Tally(nothing, nothing, nothing, jnp.full(count, jnp.iinfo(jnp.int32).max, jnp.int32))


_BLOCK = 4096  # places at a time, so that a chunk stays in cache: 20 times faster than long columns


@jax.jit
def add(tally: Tally, ids: jax.Array, scores: jax.Array, targets: jax.Array) -> Tally:
    """Add the scores of some ids to a tally.

    Args:
      tally: the tally so far.
      ids: ``int32 [k]``, ids that were not added before; -1 marks padding.
      scores: ``float32 [k, N]``, log-probabilities that are not normalised; or ``[1, N]``, shared by all ids.
      targets: ``int32 [N]``, the tokens of the text.

    Returns:
      The new tally.

    Source: docs/semantics/tiered.md
    """
    count = len(targets)
    block = min(_BLOCK, count)

    def step(index, new):
        # The last block is moved back to end with the places. A place that it repeats gets the same value.
        start = jnp.minimum(index * block, count - block)

        def cut(x):
            return jax.lax.dynamic_slice_in_dim(x, start, block, axis=-1)

        part = _add(jax.tree.map(cut, tally), ids, cut(scores), cut(targets))
        return jax.tree.map(lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y, start, axis=0), new, part)

    return jax.lax.fori_loop(0, -(-count // block), step, tally) if count else tally


def _add(tally: Tally, ids: jax.Array, scores: jax.Array, targets: jax.Array) -> Tally:
    real = ids >= 0
    lowest = jnp.iinfo(jnp.int32).max
    if scores.shape[0] < ids.shape[0]:
        score = jnp.where(real.any(), scores[0], -jnp.inf)
        mass = score + jnp.log(jnp.maximum(real.sum(), 1).astype(jnp.float32))
        top, best = score, jnp.full(score.shape, jnp.where(real, ids, lowest).min(), jnp.int32)
        # Sorted, so that to look up N targets costs N log k.
        ordered = jnp.sort(ids)
        inside = ordered[jnp.minimum(jnp.searchsorted(ordered, targets), ids.shape[0] - 1)] == targets
        chosen = jnp.where(inside, score, -jnp.inf)
    else:
        scores = jnp.where(real[:, None], scores, -jnp.inf)
        top = scores.max(axis=0)
        safe = jnp.where(jnp.isfinite(top), top, 0.0)
        mass = safe + jnp.log(jnp.exp(scores - safe).sum(axis=0))
        best = jnp.where(scores == top, ids[:, None], lowest).min(axis=0)
        chosen = jnp.where(ids[:, None] == targets, scores, -jnp.inf).max(axis=0)
    better = (top > tally.top) | ((top == tally.top) & (best < tally.best))
    return Tally(
        mass=jnp.logaddexp(tally.mass, mass),
        chosen=jnp.maximum(tally.chosen, chosen),
        top=jnp.maximum(tally.top, top),
        best=jnp.where(better, best, tally.best),
    )


def finish(tally: Tally) -> Scores:
    """Compute nats and best ids from a tally to which every id was added.

    Args:
      tally: the complete tally.

    Returns:
      Scores of the N places. The nats of a target whose id was never added are infinite.

    Source: docs/semantics/tiered.md
    """
    return Scores(nats=tally.mass - tally.chosen, best=tally.best)


def scores(chunks: Iterable[tuple[jax.Array, jax.Array]], targets: jax.Array) -> Scores:
    """Add chunk after chunk to a tally, and finish it.

    Args:
      chunks: pairs of ids ``int32 [k]`` and their scores ``float32 [k, N]`` or ``[1, N]``, see `add`. All
        chunks together must have every id once.
      targets: ``int32 [N]``, the tokens of the text.

    Returns:
      Scores of the N places.

    Source: docs/semantics/tiered.md
    """
    tally = empty(len(targets))
    for ids, some in chunks:
        tally = add(tally, ids, some, targets)
    return finish(tally)
