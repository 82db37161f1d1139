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
import math
import struct
import zlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from wnn_jax import files, optional
from wnn_jax.chain import memory as memories
from wnn_jax.chain import model as models
from wnn_jax.chain import tokentree
from wnn_jax.chain.config import BYTES
from wnn_jax.chain.constants import LEAST
from wnn_jax.chain.reader import BitCallback
from wnn_jax.ram import backend

OnStep = Callable[[int, int], None]  # called with the number of bytes that are done, and of all bytes

_MAGIC = b"WNNC"
_SCHEMA = 2
# Magic, schema, backend, hash of the first probabilities, size and hash of the data, seal. The seal is the
# hash of all the rest: of the header before it and of the payload.
_HEADER = struct.Struct("<4sBB6sQ8s8s")
_SEAL = 8  # bytes of the seal, the last ones of the header
_BACKENDS = ("xla", "native")
_BLOCK = 4096  # bytes in a call
_MAX_LOG_SLOTS = 22
# No bit has a probability above 1 - LEAST, which the coder rounds to 24 bits, so each byte of the data takes
# at least this part of a bit. A payload can thus stand for 390,000 times its own bytes at most.
_LEAST_BITS = -8 * math.log2(1 - 0.9 * LEAST)
_STATE = 64  # bits that the coder may hold besides the payload
_MOST = 1 << 40  # bytes of the data
_RATE = 0.02
_OTHER = (
    "the input was compressed by a version whose probabilities differ in their last digits from those of the "
    "{kernels} kernels with jax {jax} here: use the versions that compressed it"
)


def compress(data: bytes, on_step: OnStep | None = None) -> bytes:
    """Compresses bytes; `decompress` gives them back.

    Bytes without any regularity do not become shorter.

    Args:
      data: the bytes, also none.
      on_step: called with the number of bytes that are done, and the number of all bytes.

    Source: docs/semantics/chain.md
    """
    return encode(data, on_step)[0]


def encode(data: bytes, on_step: OnStep | None = None) -> tuple[bytes, float]:
    """Returns the bytes that `compress` returns, and their ideal length in bits.

    The ideal length is the sum of ``-log2`` of the model's probabilities for the bits of the data.

    Args:
      data: the bytes, also none.
      on_step: called with the number of bytes that are done, and the number of all bytes.

    Source: docs/semantics/chain.md
    """
    stream = _coder()
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    ones = np.zeros(len(bits))
    coded = 0

    def code(one: float) -> int:
        nonlocal coded
        ones[coded] = one
        coded += 1
        return int(bits[coded - 1])

    _run(len(data), code, on_step)
    payload = b""
    if len(bits):
        encoder = stream.queue.RangeEncoder()
        encoder.encode(bits.astype(np.int32), stream.model.Bernoulli(perfect=False), ones)
        payload = encoder.get_compressed().astype("<u4").tobytes()
    kernels, first = _BACKENDS.index(_kernels()), _hash(_floats(ones[: 8 * _BLOCK]))[:6]
    fields = _MAGIC, _SCHEMA, kernels, first, len(data), _hash(data)[:8]
    header = _HEADER.pack(*fields, b"")[:-_SEAL]
    header += _hash(header + payload)[:_SEAL]
    length = -np.log2(np.where(bits > 0, ones, 1.0 - ones)).sum() if len(bits) else 0.0
    return header + payload, float(length)


def decompress(packed: bytes, on_step: OnStep | None = None) -> bytes:
    """Returns the bytes that `compress` was given.

    Args:
      packed: what `compress` returned.
      on_step: called with the number of bytes that are done, and the number of all bytes.

    Raises:
      ValueError: ``packed`` was not made by `compress`, is damaged, or was made by another backend or
        version. Where versions differ in the digits of their probabilities, that shows after the first 4,096
        bytes, or at the end.

    Source: docs/semantics/chain.md
    """
    size, first, digest, payload = _unpack(packed)
    stream = _coder()
    decoder = stream.queue.RangeDecoder(np.frombuffer(payload, "<u4").astype(np.uint32))
    model, share = stream.model.Bernoulli(perfect=False), np.zeros(1)
    # Room for one block alone: the size is what the input says.
    data, bits, ones = bytearray(), np.zeros(8 * _BLOCK, np.uint8), np.zeros(8 * _BLOCK)
    done = 0

    def code(one: float) -> int:
        nonlocal done
        share[0] = ones[done] = one
        with files.contents("the input"):
            bits[done] = bit = int(decoder.decode(model, share)[0])
        done += 1
        return bit

    def finish_block(count: int, size: int) -> None:
        nonlocal done
        if not data and _hash(_floats(ones[:done]))[:6] != first:
            raise ValueError(_OTHER.format(kernels=_kernels(), jax=jax.__version__))
        data.extend(np.packbits(bits[:done]).tobytes())
        done = 0
        if on_step:
            on_step(count, size)

    _run(size, code, finish_block)
    if _hash(data)[:8] != digest:
        raise ValueError(_OTHER.format(kernels=_kernels(), jax=jax.__version__))
    return bytes(data)


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


def _unpack(packed: bytes) -> tuple[int, bytes, bytes, bytes]:
    """Checks compressed bytes.

    Returns:
      the size of the data, the hashes of the first probabilities and of the data, and the payload.

    Raises:
      ValueError: they are damaged, or are for another version or backend.
    """
    if len(packed) < _HEADER.size or packed[: len(_MAGIC)] != _MAGIC:
        raise ValueError("the input was not compressed by wnn_jax: give bytes that `compress` returned")
    _, schema, kernels, first, size, digest, seal = _HEADER.unpack_from(packed)
    header, payload = packed[: _HEADER.size - _SEAL], packed[_HEADER.size :]
    if schema != _SCHEMA:
        raise ValueError(
            f"the input has schema {schema}, but this version of wnn_jax reads schema {_SCHEMA}: use the "
            "version that compressed it"
        )
    if _hash(header + payload)[:_SEAL] != seal or len(payload) % 4 or kernels >= len(_BACKENDS):
        raise _damaged()
    most = min(_MOST, int((8 * len(payload) + _STATE) / _LEAST_BITS)) if payload else 0
    if size > most:
        raise files.Damaged(
            f"the input says that it holds {size} bytes, but its code of {len(payload)} bytes holds at most "
            f"{most}: use an undamaged copy"
        )
    if _BACKENDS[kernels] != _kernels():
        raise ValueError(
            f"the input was compressed with the {_BACKENDS[kernels]} kernels and cannot be decompressed with "
            f"the {_kernels()} kernels: set WNN_JAX_BACKEND, or install the extension"
        )
    return size, first, digest, payload


def _hash(data: bytes | bytearray) -> bytes:
    return hashlib.sha256(data).digest()


def _floats(ones: np.ndarray) -> bytes:
    """Returns probabilities as bytes that every machine writes in the same order."""
    return ones.astype("<f4").tobytes()


def _damaged() -> files.Damaged:
    return files.Damaged("the input is damaged: nothing was written; use an undamaged copy")


def _kernels() -> str:
    """Returns the entry of `_BACKENDS` that predicts in this process."""
    return "xla" if backend.chosen() == "xla" else "native"


def _coder() -> Any:
    return optional.need("constriction", "compress").stream


def _run(size: int, code: Callable[[float], int], on_step: OnStep | None) -> None:
    """Reads ``size`` bytes with an empty model; ``code`` gets P(bit = 1) and returns the bit."""
    log_slots = min(_MAX_LOG_SLOTS, max(8, (8 * size).bit_length() - 1))
    network = models.network(tokentree.plain(256), [bytes([i]) for i in range(256)], BYTES)
    memory = memories.empty_online(network, log_slots)
    callback = BitCallback(code)
    for at in range(0, size, _BLOCK):
        count = min(_BLOCK, size - at)
        memory = models.decode(network, memory, count, callback, rate=_RATE, block=_BLOCK)
        if on_step:
            on_step(at + count, size)
