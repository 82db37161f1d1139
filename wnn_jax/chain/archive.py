"""Compresses and decompresses bytes with an online chain model that starts empty.

The arithmetic coder codes each bit with the probability that the model gave it before the model saw it. The
length of the result is therefore a proof of the model's cost. Bytes that were compressed with the native
kernels cannot be decompressed with XLA, and the other way round, because the last digits of their
probabilities differ.

Source: docs/semantics/chain.md
"""

import bz2
import hashlib
import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from wnn_jax import optional
from wnn_jax.chain import memory as memories
from wnn_jax.chain import model as models
from wnn_jax.chain import tokentree
from wnn_jax.chain.config import BYTES
from wnn_jax.chain.reader import BitCallback
from wnn_jax.ram import backend

OnStep = Callable[[int, int], None]  # called with the number of bytes that are done, and of all bytes

_MAGIC = b"WNNC"
_SCHEMA = 1
# Magic, schema, log2 of the cells in a row, backend, size and hash of the data, CRC of the payload.
_HEADER = struct.Struct("<4sBBBxQ16sI")
_BACKENDS = ("xla", "native")
_BLOCK = 4096  # bytes in a call
_MAX_LOG_SLOTS = 22
_RATE = 0.02


def compress(data: bytes, on_step: OnStep | None = None) -> bytes:
    """Compresses bytes; `decompress` gives them back.

    Bytes without any regularity do not become shorter.

    Args:
      data: the bytes, also none.
      on_step: called with the number of bytes that are done, and the number of all bytes.

    Raises:
      ValueError: ``data`` is no bytes.

    Source: docs/semantics/chain.md
    """
    return encode(data, on_step)[0]


def encode(data: bytes, on_step: OnStep | None = None) -> tuple[bytes, float]:
    """Returns the bytes that `compress` returns, and their ideal length in bits.

    The ideal length is the sum of ``-log2`` of the model's probabilities for the bits of the data.

    Args:
      data: the bytes, also none.
      on_step: called with the number of bytes that are done, and the number of all bytes.

    Raises:
      ValueError: ``data`` is no bytes.

    Source: docs/semantics/chain.md
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ValueError(f"data is of type {type(data).__name__}: give bytes")
    stream = _coder()
    log_slots = min(_MAX_LOG_SLOTS, max(8, (8 * len(data)).bit_length() - 1))
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    ones = np.zeros(len(bits))
    coded = 0

    def code(one: float) -> int:
        nonlocal coded
        ones[coded] = one
        coded += 1
        return int(bits[coded - 1])

    _run(len(data), log_slots, code, on_step)
    payload = b""
    if len(bits):
        encoder = stream.queue.RangeEncoder()
        encoder.encode(bits.astype(np.int32), stream.model.Bernoulli(perfect=False), ones)
        payload = encoder.get_compressed().astype("<u4").tobytes()
    kernels = _BACKENDS.index(_kernels())
    digest = hashlib.sha256(data).digest()[:16]
    header = _HEADER.pack(_MAGIC, _SCHEMA, log_slots, kernels, len(data), digest, zlib.crc32(payload))
    length = -np.log2(np.where(bits > 0, ones, 1.0 - ones)).sum() if len(bits) else 0.0
    return header + payload, float(length)


def decompress(packed: bytes, on_step: OnStep | None = None) -> bytes:
    """Returns the bytes that `compress` was given.

    Args:
      packed: what `compress` returned.
      on_step: called with the number of bytes that are done, and the number of all bytes.

    Raises:
      ValueError: ``packed`` was not made by `compress`, is damaged, or was made by another backend or
        version.

    Source: docs/semantics/chain.md
    """
    log_slots, size, digest, payload = _unpack(packed)
    stream = _coder()
    decoder = stream.queue.RangeDecoder(np.frombuffer(payload, "<u4").astype(np.uint32))
    bits = np.zeros(8 * size, np.uint8)
    done = 0
    model, share = stream.model.Bernoulli(perfect=False), np.zeros(1)

    def code(one: float) -> int:
        nonlocal done
        share[0] = one
        bit = int(decoder.decode(model, share)[0])
        bits[done] = bit
        done += 1
        return bit

    _run(size, log_slots, code, on_step)
    data = np.packbits(bits).tobytes()
    if hashlib.sha256(data).digest()[:16] != digest:
        raise _damaged()
    return data


def standard_sizes(data: bytes) -> dict[str, int]:
    """Returns the number of bytes that gzip, bzip2 and xz need at their strongest setting.

    Args:
      data: the bytes.

    Returns:
      the number of bytes by command: ``gzip -9``, ``bzip2 -9`` and ``xz -9e``. The size for gzip is that of a
        zlib stream, whose header is shorter.

    Source: docs/semantics/chain.md
    """
    return {
        "gzip -9": len(zlib.compress(data, 9)),
        "bzip2 -9": len(bz2.compress(data, 9)),
        "xz -9e": len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)),
    }


def _unpack(packed: bytes) -> tuple[int, int, bytes, bytes]:
    """Checks compressed bytes.

    Returns:
      log2 of the cells in a row, the size and the hash of the data, and the payload.
    """
    if len(packed) < _HEADER.size or packed[: len(_MAGIC)] != _MAGIC:
        raise ValueError("the input was not compressed by wnn_jax: give bytes that `compress` returned")
    _, schema, log_slots, kernels, size, digest, check = _HEADER.unpack_from(packed)
    payload = packed[_HEADER.size :]
    if schema != _SCHEMA:
        raise ValueError(
            f"the input has schema {schema}, but this version of wnn_jax reads schema {_SCHEMA}: use the "
            "version that compressed it"
        )
    if zlib.crc32(payload) != check or len(payload) % 4 or kernels >= len(_BACKENDS):
        raise _damaged()
    if not 2 <= log_slots <= _MAX_LOG_SLOTS or size > 2**40:
        raise _damaged()
    if _BACKENDS[kernels] != _kernels():
        raise ValueError(
            f"the input was compressed with the {_BACKENDS[kernels]} kernels and cannot be decompressed with "
            f"the {_kernels()} kernels: set WNN_JAX_BACKEND, or install the extension"
        )
    return log_slots, size, digest, payload


def _damaged() -> ValueError:
    return ValueError("the input is damaged: nothing was written; use an undamaged copy")


def _kernels() -> str:
    """Returns the entry of `_BACKENDS` that predicts in this process."""
    return "xla" if backend.chosen() == "xla" else "native"


def _coder() -> Any:
    return optional.need("constriction", "compress").stream


def _run(size: int, log_slots: int, code: Callable[[float], int], on_step: OnStep | None) -> None:
    """Reads ``size`` bytes with an empty model; ``code`` gets P(bit = 1) and returns the bit."""
    network = models.network(tokentree.plain(256), [bytes([i]) for i in range(256)], BYTES)
    memory = memories.empty_online(network, log_slots)
    callback = BitCallback(code)
    for at in range(0, size, _BLOCK):
        count = min(_BLOCK, size - at)
        memory = models.decode(network, memory, count, callback, rate=_RATE, block=_BLOCK)
        if on_step:
            on_step(at + count, size)
