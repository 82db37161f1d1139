"""Compresses and decompresses bytes with an online chain model that starts empty.

The arithmetic coder codes each bit with the probability that the model gave it before the model saw it. The
length of the result is therefore a proof of the model's cost. Bytes that were compressed with the native
kernels cannot be decompressed with XLA, and the other way round, because the last digits of their
probabilities differ.

Source: docs/semantics/chain.md
"""

import bz2
import functools
import hashlib
import lzma
import math
import pathlib
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, files, optional
from wnn_jax.chain import given, tokentree
from wnn_jax.chain import model as models
from wnn_jax.chain.config import BYTES
from wnn_jax.chain.constants import LEAST
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.online import OnlineMemory, empty_online
from wnn_jax.chain.reader import BitCallback
from wnn_jax.ram import backend
from wnn_jax.saving import folders
from wnn_jax.saving.progress import Progress

OnStep = Callable[[int, int], None]  # called with the number of bytes that are done, and of all bytes

_MAGIC = b"WNNC"
_SCHEMA = 2
# Magic, schema, backend, hash of the first probabilities, size and hash of the data, seal. The seal is the
# hash of all the rest: of the header before it and of the payload.
_HEADER = struct.Struct("<4sBB6sQ8s8s")
_SEAL = 8  # bytes of the seal, the last ones of the header
_BACKENDS = ("xla", "native")
_BLOCK = 4096  # bytes in a call
# Bytes of the data that are coded together. All parts but the last begin with the number of their words.
_PART = 1 << 22
_COUNT = struct.Struct("<I")
_SAVE_SECONDS = 60.0  # least time between two saves
_MAX_LOG_SLOTS = 22
# No bit has a probability above 1 - LEAST, which the coder rounds to 24 bits, so each byte of the data takes
# at least this part of a bit. A payload can thus stand for 390,000 times its own bytes at most.
_LEAST_BITS = -8 * math.log2(1 - 0.9 * LEAST)
_STATE = 64  # bits that the coder may hold besides the payload
_MOST = 1 << 40  # bytes of the data
_OTHER = (
    "the input was compressed by a version whose probabilities differ in their last digits from those of the "
    "{kernels} kernels with jax {jax} here: use the versions that compressed it"
)


def compress(data: bytes, on_step: OnStep | None = None, resume: str | pathlib.Path | None = None) -> bytes:
    """Compresses bytes; `decompress` gives them back.

    Bytes without any regularity do not become shorter.

    Args:
      data: the bytes, also none.
      on_step: called with the number of bytes that are done, and the number of all bytes.
      resume: a folder to save progress to, and to continue from; a killed run loses a few minutes at most.

    Raises:
      ValueError: ``data`` is no bytes, or the folder holds the progress of other work.

    Source: docs/semantics/chain.md
    """
    return encode(data, on_step, resume)[0]


def encode(
    data: bytes, on_step: OnStep | None = None, resume: str | pathlib.Path | None = None
) -> tuple[bytes, float]:
    """Returns the bytes that `compress` returns, and their ideal length in bits.

    The ideal length is the sum of ``-log2`` of the model's probabilities for the bits of the data.

    Args:
      data: the bytes, also none.
      on_step: called with the number of bytes that are done, and the number of all bytes.
      resume: see `compress`.

    Raises:
      ValueError: ``data`` is no bytes, or the folder holds the progress of other work.

    Source: docs/semantics/chain.md
    """
    _check(data)
    stream, size = _coder(), len(data)
    model = stream.model.Bernoulli(perfect=False)

    def read(state: _State, count: int, report: Callable[[int], None]) -> _State:
        bits = np.unpackbits(np.frombuffer(data, np.uint8, count, state.done))
        ones = np.zeros(len(bits))
        coded = 0

        def code(one: float) -> int:
            nonlocal coded
            ones[coded] = one
            coded += 1
            return int(bits[coded - 1])

        memory = _read(state.memory, count, code, report)
        encoder = stream.queue.RangeEncoder()
        encoder.encode(bits.astype(np.int32), model, ones)
        words = encoder.get_compressed().astype("<u4")
        last = state.done + count == size
        return _State(
            memory,
            state.done + count,
            (*state.out, b"" if last else _COUNT.pack(len(words)), words.tobytes()),
            state.first or _hash(_floats(ones[: 8 * _BLOCK]))[:6],
            state.bits - float(np.log2(np.where(bits > 0, ones, 1.0 - ones)).sum()),
        )

    state = _run(size, read, on_step, _progress(resume, "compress", data))
    first = state.first or _hash(b"")[:6]
    fields = _MAGIC, _SCHEMA, _BACKENDS.index(_kernels()), first, size, _hash(data)[:8]
    header = _HEADER.pack(*fields, b"")[:-_SEAL]
    payload = b"".join(state.out)
    header += _hash(header + payload)[:_SEAL]
    return header + payload, state.bits


def decompress(
    packed: bytes, on_step: OnStep | None = None, resume: str | pathlib.Path | None = None
) -> bytes:
    """Returns the bytes that `compress` was given.

    Args:
      packed: what `compress` returned.
      on_step: called with the number of bytes that are done, and the number of all bytes.
      resume: see `compress`.

    Raises:
      ValueError: ``packed`` was not made by `compress`, is damaged, or was made by another backend or
        version. Where versions differ in the digits of their probabilities, that shows after the first 4,096
        bytes, or at the end. Or the folder holds the progress of other work.

    Source: docs/semantics/chain.md
    """
    size, first, digest, payload = _unpack(packed)
    stream, codes = _coder(), _parts(size, payload)
    model, share = stream.model.Bernoulli(perfect=False), np.zeros(1)

    def read(state: _State, count: int, report: Callable[[int], None]) -> _State:
        words = np.frombuffer(codes[state.done // _PART], "<u4").astype(np.uint32)
        decoder = stream.queue.RangeDecoder(words)
        bits, ones = np.zeros(8 * count, np.uint8), np.zeros(8 * _BLOCK)
        done = 0

        def code(one: float) -> int:
            nonlocal done
            share[0] = one
            with files.contents("the input"):
                bits[done] = bit = int(decoder.decode(model, share)[0])
            if done < len(ones):
                ones[done] = one
            done += 1
            return bit

        def finish_block(read: int) -> None:
            if not state.done and _hash(_floats(ones[:done]))[:6] != first:
                raise ValueError(_OTHER.format(kernels=_kernels(), jax=jax.__version__))
            report(read)

        memory = _read(state.memory, count, code, finish_block)
        return _State(memory, state.done + count, (*state.out, np.packbits(bits).tobytes()), first, 0.0)

    state = _run(size, read, on_step, _progress(resume, "decompress", packed))
    data = b"".join(state.out)
    if _hash(data)[:8] != digest:
        raise ValueError(_OTHER.format(kernels=_kernels(), jax=jax.__version__))
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


def _check(data: Any) -> None:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ValueError(f"data is of type {type(data).__name__}: give bytes")


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


class _State(NamedTuple):
    """The state between two parts: the memory, the number of bytes of the data, and what came out so far."""

    memory: OnlineMemory
    done: int
    out: tuple[bytes, ...]  # joined once, at the end: a large file has many parts
    first: bytes  # hash of the first probabilities
    bits: float  # ideal length


def _parts(size: int, payload: bytes) -> list[bytes]:
    """Returns the code of each part of the data.

    Raises:
      Damaged: a part is longer than what is left.
    """
    codes, at = [], 0
    for _ in range(-(-size // _PART) - 1):
        with files.contents("the input"):
            (words,) = _COUNT.unpack_from(payload, at)
        at += _COUNT.size + 4 * words
        code = payload[at - 4 * words : at]
        if len(code) != 4 * words:
            raise _damaged()
        codes.append(code)
    return [*codes, payload[at:]]


def _run(size: int, read, on_step: OnStep | None, saved: Progress | None) -> _State:
    """Reads ``size`` bytes with an empty model, part by part, or from the last part that was saved."""
    log_slots = min(_MAX_LOG_SLOTS, max(8, (8 * size).bit_length() - 1))
    empty = empty_online(_network(), log_slots)
    state = (saved and saved.latest(functools.partial(_resumed, size, empty))) or _State(
        empty, 0, (), b"", 0.0
    )
    while state.done < size:
        begun = state.done
        report = (lambda done, begun=begun: on_step(begun + done, size)) if on_step else (lambda done: None)
        state = read(state, min(_PART, size - begun), report)
        if saved and state.done < size and saved.due(_SAVE_SECONDS):
            arrays = {**state.memory._asdict(), "out": np.frombuffer(b"".join(state.out), np.uint8)}
            saved.save(arrays, {"done": state.done, "first": state.first.hex(), "bits": state.bits})
    return state


def _resumed(size: int, empty: OnlineMemory, arrays: dict[str, Any], data: dict[str, Any]) -> _State:
    """Makes a saved state again.

    Raises:
      ValueError: it is not a state of this work.
    """
    out = arrays.pop("out")
    folders.check_form(arrays, empty._asdict())
    checks.array("out", out, "uint8", {"bytes": None})
    done = checks.integer("done", data["done"], checks.Limits(least=1, most=size - 1))
    if done % _PART:
        raise ValueError(f"done={done} is not at the end of a part")
    memory = OnlineMemory(**{name: jnp.asarray(x) for name, x in arrays.items()})
    given.memory(_network(), memory)
    return _State(memory, done, (out.tobytes(),), bytes.fromhex(data["first"]), float(data["bits"]))


def _progress(resume: str | pathlib.Path | None, work: str, data: bytes) -> Progress | None:
    return None if resume is None else Progress(resume, {"work": work, "input": _hash(data).hex()})


@functools.cache
def _network() -> Network:
    return models.network(tokentree.plain(256), [bytes([i]) for i in range(256)], BYTES)


def _read(
    memory: OnlineMemory, size: int, code: Callable[[float], int], report: Callable[[int], None]
) -> OnlineMemory:
    """Reads ``size`` bytes; ``code`` gets P(bit = 1) and returns the bit."""
    callback = BitCallback(code)
    for at in range(0, size, _BLOCK):
        count = min(_BLOCK, size - at)
        memory = models.decode(_network(), memory, count, callback, block=_BLOCK)
        report(at + count)
    return memory
