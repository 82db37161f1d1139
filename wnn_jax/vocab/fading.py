"""Reads a fading memory in chunks: a long window costs as much a token as a short one.

Source: "Transformers are SSMs" (Dao and Gu 2024), section 6; docs/semantics/vocab.md
"""

import jax
import jax.numpy as jnp
import numpy as np

CHUNK = 32  # positions; windows longer than two chunks are read in chunks


def recall_in_chunks(query: jax.Array, key: jax.Array, value: jax.Array, rates: jax.Array) -> jax.Array:
    """Does as `mixing.recall` with `mixing.decay_weights` that read the past, without a matrix of T by T.

    Sums are rounded in another order. Every power of a share is computed from its own exponent, so none
    overflows.

    Args:
      query: ``[N, T, H, D]``.
      key: ``[N, T, H, D]``.
      value: ``[N, T, H, D]``.
      rates: ``[H]``, the logit of the share that each head keeps per position.

    Returns:
      ``[N, T, H, D]``.

    Source: "Transformers are SSMs" (Dao and Gu 2024), section 6; docs/semantics/vocab.md
    """
    length = query.shape[1]
    count = -(-length // CHUNK)
    query, key, value = (_cut(x, count) for x in (query, key, value))
    place, log = np.arange(CHUNK), jax.nn.log_sigmoid(rates)

    def left(steps: np.ndarray) -> jax.Array:  # [H, ...]
        return jnp.exp(log.reshape(-1, *(1,) * steps.ndim) * np.maximum(steps, 0))

    apart = place[:, None] - place
    near = jnp.where(apart > 0, left(apart - 1), 0.0)
    scores = jnp.einsum("nchtd,nchsd->nchts", query, key) * near
    inside = jnp.einsum("nchts,nchsd->nchtd", scores, value)
    # What a chunk leaves at its end, and what of it each later chunk still finds at its beginning.
    kept = jnp.einsum("nchsd,hs,nchse->nchde", key, left(CHUNK - 1 - place), value)
    chunks = np.arange(count)
    later = chunks[:, None] - chunks
    found = jnp.where(later > 0, left(CHUNK * (later - 1)), 0.0)
    before = jnp.einsum("hbc,nchde->nbhde", found, kept)
    outside = jnp.einsum("nchtd,ht,nchde->nchte", query, left(place), before)
    whole = (inside + outside).swapaxes(2, 3)
    return whole.reshape(whole.shape[0], count * CHUNK, *whole.shape[3:])[:, :length]


def _cut(x: jax.Array, count: int) -> jax.Array:
    """Returns ``[N, chunks, H, CHUNK, D]`` of ``[N, T, H, D]``; the last chunk is filled with zeros."""
    x = jnp.pad(x, ((0, 0), (0, count * CHUNK - x.shape[1]), (0, 0), (0, 0)))
    return x.reshape(x.shape[0], count, CHUNK, *x.shape[2:]).swapaxes(2, 3)
