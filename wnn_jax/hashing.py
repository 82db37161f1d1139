"""A hash of small numbers, which tables of contexts are addressed by."""

import jax
import jax.numpy as jnp


def mix(h: jax.Array, x: jax.Array) -> jax.Array:
    """Hashes two ``uint32`` into one: a multiplication and the finalizer of murmur3.

    Args:
      h: ``uint32 [...]``, the hash so far.
      x: ``uint32 [...]``, the value to add to it.

    Source: MurmurHash3 (A. Appleby, public domain); docs/semantics/chain.md
    """
    h = h ^ x * jnp.uint32(0x9E3779B1)
    h = (h ^ h >> 15) * jnp.uint32(0x85EBCA6B)
    h = (h ^ h >> 13) * jnp.uint32(0xC2B2AE35)
    return h ^ h >> 16
