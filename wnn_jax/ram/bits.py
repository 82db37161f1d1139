"""Anything to bits: token codes, Gray codes, context windows, packing into words.

Codes are most significant bit first. Bits are ``bool [I, N]``; packed bits are ``uint32 [W, N]``
with bit ``i`` at position ``i % 32`` of word ``i // 32``.
"""

import functools
from typing import TypeVar

import jax
import jax.numpy as jnp

WORD = 32


def code_length(vocabulary: int) -> int:
    """Bits B needed to write the ids ``0 .. vocabulary - 1``; at least 1.

    Raises:
      ValueError: the vocabulary is empty.
    """
    if vocabulary < 1:
        raise ValueError(f"a vocabulary needs at least one id, got {vocabulary}")
    return max(1, (vocabulary - 1).bit_length())


_Ids = TypeVar("_Ids", int, jax.Array)


def gray(ids: _Ids) -> _Ids:
    """Reflected Gray code of non-negative integers: neighbours differ in one bit."""
    return ids ^ (ids >> 1)


@functools.partial(jax.jit, static_argnums=1)
def unpack_code(codes: jax.Array, length: int) -> jax.Array:
    """Integer codes ``[N]`` to bits ``bool [length, N]``, most significant first."""
    shifts = jnp.arange(length - 1, -1, -1, dtype=jnp.int32)
    return ((codes[None, :] >> shifts[:, None]) & 1).astype(bool)


@functools.partial(jax.jit, static_argnums=1)
def windows(code_bits: jax.Array, context: int) -> jax.Array:
    """The input bits of every prediction: the ``context`` codes before each position, oldest first.

    Args:
      code_bits: ``bool [B, N + C]``, the codes of a token stream.
      context: C.

    Returns:
      ``bool [C * B, N]``. Column i holds the tokens ``i .. i + C - 1``, and nothing of token
      ``i + C``, the one it predicts.
    """
    examples = code_bits.shape[1] - context
    return jnp.concatenate([code_bits[:, c : c + examples] for c in range(context)], axis=0)


@jax.jit
def pack(bits: jax.Array) -> jax.Array:
    """Bits ``bool [I, N]`` to words ``uint32 [ceil(I / 32), N]``; missing high bits are 0."""
    count, examples = bits.shape
    padded = jnp.pad(bits, ((0, -count % WORD), (0, 0)))
    grouped = padded.reshape(-1, WORD, examples).astype(jnp.uint32)
    shifts = jnp.arange(WORD, dtype=jnp.uint32)
    return (grouped << shifts[None, :, None]).sum(axis=1, dtype=jnp.uint32)


@functools.partial(jax.jit, static_argnums=1)
def unpack(words: jax.Array, count: int) -> jax.Array:
    """Inverse of `pack`: words ``uint32 [W, N]`` to bits ``bool [count, N]``."""
    positions = jnp.arange(count)
    shifts = (positions % WORD).astype(jnp.uint32)
    return ((words[positions // WORD] >> shifts[:, None]) & 1).astype(bool)
