"""Functions that make input bits: token codes, Gray codes, context windows, and packing into words.

The most significant bit of a code comes first. Bits are ``bool [I, N]``; packed bits are ``uint32 [W, N]``,
with bit ``i`` at position ``i % 32`` of word ``i // 32``.

Source: docs/semantics/ram.md
"""

import functools
from typing import TypeVar

import jax
import jax.numpy as jnp

from wnn_jax import checks
from wnn_jax.checks import Limits

WORD = 32


def code_length(vocabulary: int) -> int:
    """Count the bits B that write every id ``0 .. vocabulary - 1``.

    Args:
      vocabulary: V, the number of ids.

    Returns:
      B, ``ceil(log2 V)``, and 1 for a vocabulary of one id.

    Raises:
      ValueError: the number is no whole number from 1 to 2^31 - 1.

    Source: docs/semantics/ram.md
    """
    vocabulary = checks.integer("vocabulary", vocabulary, Limits(least=1))
    return max(1, (vocabulary - 1).bit_length())


_Ids = TypeVar("_Ids", int, jax.Array)


def gray(ids: _Ids) -> _Ids:
    """Encode integers in the reflected Gray code: the codes of i and i + 1 differ in one bit.

    Args:
      ids: a non-negative integer, or an integer array of any shape.

    Returns:
      The codes, with the shape and dtype of ``ids``.

    Raises:
      ValueError: an id is no whole number, or is below 0.

    Source: F. Gray, US patent 2,632,058 (1953); docs/semantics/bitwise.md
    """
    if hasattr(ids, "dtype"):
        checks.array("ids", ids, "integers", limits=Limits(least=0))
    else:
        checks.integer("ids", ids, Limits(least=0))
    return ids ^ (ids >> 1)


def unpack_code(codes: jax.Array, length: int) -> jax.Array:
    """Split integer codes into their bits.

    Args:
      codes: ``int [N]``, non-negative.
      length: number of bits of a code; higher bits are dropped.

    Returns:
      ``bool [length, N]``, the most significant bit first.

    Raises:
      ValueError: the codes are not ``[N]``, one is below 0 or above 2^31 - 1, or the length is not 1 to 31.

    Source: docs/semantics/ram.md
    """
    checks.array("codes", codes, "integers", {"N": None}, Limits(least=0, most=2**31 - 1))
    length = checks.integer("length", length, Limits(least=1, most=31))
    return _unpack_code(codes, length)


@functools.partial(jax.jit, static_argnums=1)
def _unpack_code(codes: jax.Array, length: int) -> jax.Array:
    shifts = jnp.arange(length - 1, -1, -1, dtype=jnp.int32)
    return ((codes[None, :] >> shifts[:, None]) & 1).astype(bool)


def windows(code_bits: jax.Array, context: int) -> jax.Array:
    """Make the input bits of every prediction: the codes of the C tokens before a position, oldest first.

    Args:
      code_bits: ``bool [B, N + C]``, the codes of a token stream.
      context: C, the number of tokens that a prediction sees.

    Returns:
      ``bool [C * B, N]``. Column i holds the bits of tokens ``i .. i + C - 1``. It holds no bit of token
      ``i + C``, which it predicts.

    Raises:
      ValueError: the bits are not ``bool [B, N + C]``, or the context is not 1 to N + C.

    Source: docs/semantics/bitwise.md
    """
    checks.array("code_bits", code_bits, "booleans", {"B": None, "N + C": None})
    context = checks.integer("context", context, Limits(least=1, most=code_bits.shape[1]))
    return _windows(code_bits, context)


@functools.partial(jax.jit, static_argnums=1)
def _windows(code_bits: jax.Array, context: int) -> jax.Array:
    examples = code_bits.shape[1] - context
    return jnp.concatenate([code_bits[:, c : c + examples] for c in range(context)], axis=0)


def pack(bits: jax.Array) -> jax.Array:
    """Pack bits into words of 32.

    Args:
      bits: ``bool [I, N]``.

    Returns:
      ``uint32 [W, N]``, W = ceil(I / 32). Bit i is bit ``i % 32`` of word ``i // 32``; bits beyond I are 0.

    Raises:
      ValueError: the bits are not ``bool [I, N]``.

    Source: docs/semantics/ram.md
    """
    checks.array("bits", bits, "booleans", {"I": None, "N": None})
    return _pack(bits)


@jax.jit
def _pack(bits: jax.Array) -> jax.Array:
    count, examples = bits.shape
    padded = jnp.pad(bits, ((0, -count % WORD), (0, 0)))
    grouped = padded.reshape(-(-count // WORD), WORD, examples).astype(jnp.uint32)
    shifts = jnp.arange(WORD, dtype=jnp.uint32)
    return (grouped << shifts[None, :, None]).sum(axis=1, dtype=jnp.uint32)


def unpack(words: jax.Array, count: int) -> jax.Array:
    """Unpack words into bits, the inverse of `pack`.

    Args:
      words: ``uint32 [W, N]``.
      count: I, the number of bits; at most ``32 * W``.

    Returns:
      ``bool [count, N]``.

    Raises:
      ValueError: the words are not ``uint32 [W, N]``, or the count is not 0 to ``32 * W``.

    Source: docs/semantics/ram.md
    """
    checks.array("words", words, "uint32", {"W": None, "N": None})
    count = checks.integer("count", count, Limits(least=0, most=WORD * words.shape[0]))
    return _unpack(words, count)


@functools.partial(jax.jit, static_argnums=1)
def _unpack(words: jax.Array, count: int) -> jax.Array:
    positions = jnp.arange(count, dtype=jnp.int32)
    shifts = (positions % WORD).astype(jnp.uint32)
    return ((words[positions // WORD] >> shifts[:, None]) & 1).astype(bool)
