"""Compresses and decompresses bytes with an online chain model that starts empty.

The arithmetic coder codes each bit with the probability that the model gave it before the model saw it. The
length of the result is therefore a proof of the model's cost. Bytes that were compressed with the native
kernels cannot be decompressed with XLA, and the other way round, because the last digits of their
probabilities differ.

Source: docs/semantics/chain.md
"""

import functools
import pathlib
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, files
from wnn_jax.chain import backend, coder, given, header, tokentree
from wnn_jax.chain import model as models
from wnn_jax.chain.config import ChainConfig
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.header import Header, Preset, hashed
from wnn_jax.chain.online import OnlineMemory, empty_online
from wnn_jax.chain.reader import BitCallback
from wnn_jax.saving import folders
from wnn_jax.saving.progress import Progress

OnStep = Callable[[int, int], None]  # called with the number of bytes that are done, and of all bytes

_BLOCK = 4096  # bytes in a call
# Bytes of the data that are coded together. The code of each part but the last begins with its length.
_PART = 1 << 22
_LENGTH = struct.Struct("<I")
_SAVE_SECONDS = 60.0  # least time between two saves
_LEAST_ROOM, _MOST_ROOM = 128, 1 << 22  # bytes in which matches are looked for
_OTHER = (
    "the input was compressed by a version whose probabilities differ in their last digits from those of the "
    "{kernels} kernels with jax {jax} here: use the versions that compressed it"
)


def compress(
    data: bytes,
    preset: Preset | ChainConfig = "best",
    on_step: OnStep | None = None,
    resume: str | pathlib.Path | None = None,
) -> bytes:
    """Compresses bytes; `decompress` gives them back.

    Bytes without any regularity do not become shorter.

    Args:
      data: the bytes, also none.
      preset: ``best`` or ``fast``: the models `config.BYTES_BEST` and `config.BYTES_FAST`. Or the settings of
        another online model with a plain tree, which the result then describes.
      on_step: called with the number of bytes that are done, and the number of all bytes.
      resume: a folder to save progress to, and to continue from; a killed run loses a few minutes at most.

    Raises:
      ValueError: ``data`` is no bytes, there is no such preset, or the folder holds the progress of other
        work.

    Source: docs/semantics/chain.md
    """
    return encode(data, preset, on_step, resume)[0]


def encode(
    data: bytes,
    preset: Preset | ChainConfig = "best",
    on_step: OnStep | None = None,
    resume: str | pathlib.Path | None = None,
) -> tuple[bytes, float]:
    """Returns the bytes that `compress` returns, and their ideal length in bits.

    The ideal length is the sum of ``-log2`` of the model's probabilities for the bits of the data.

    Args:
      data: the bytes, also none.
      preset: see `compress`.
      on_step: called with the number of bytes that are done, and the number of all bytes.
      resume: see `compress`.

    Raises:
      ValueError: ``data`` is no bytes, there is no such preset, or the folder holds the progress of other
        work.

    Source: docs/semantics/chain.md
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ValueError(f"data is of type {type(data).__name__}: give bytes")
    config, data = header.settings(preset), bytes(data)
    size = len(data)
    work = _Work(config, header.log_slots_for(size, config), size)

    def read(state: _State, count: int, report: Callable[[int], None]) -> _State:
        part, encoder = np.frombuffer(data, np.uint8, count, state.done), coder.Encoder()
        first, cost = state.first, 0.0

        def take(block: np.ndarray, ones: np.ndarray) -> None:
            nonlocal first, cost
            bits = np.unpackbits(block)
            encoder.add(bits, ones)
            first = first or _start(ones)
            cost -= float(np.log2(np.where(bits > 0, ones, 1.0 - ones.astype(np.float64))).sum())

        memory = _foretell(work, state.memory, part, take, report)
        code, last = encoder.finish(), state.done + count == size
        out = (*state.out, b"" if last else _LENGTH.pack(len(code)), code)
        return _State(memory, state.done + count, out, first, state.bits + cost)

    state = _run(work, read, on_step, _progress(resume, "compress", data, config))
    payload = b"".join(state.out)
    said = Header(config, work.log_slots, size, state.first or _start(np.zeros(0)), hashed(data)[:8])
    return header.pack(said, payload) + payload, state.bits


def decompress(
    packed: bytes, on_step: OnStep | None = None, resume: str | pathlib.Path | None = None
) -> bytes:
    """Returns the bytes that `compress` was given.

    Args:
      packed: what `compress` returned.
      on_step: called with the number of bytes that are done, and the number of all bytes.
      resume: see `compress`.

    Raises:
      ValueError: ``packed`` was not made by `compress`, is damaged, or was made by another backend, preset or
        version. Where versions differ in the digits of their probabilities, that shows after the first 4,096
        bytes, or at the end. Or the folder holds the progress of other work.

    Source: docs/semantics/chain.md
    """
    if not isinstance(packed, (bytes, bytearray, memoryview)):
        raise ValueError(f"packed is of type {type(packed).__name__}: give bytes")
    said, payload = header.unpack(bytes(packed))
    codes = _parts(said.size, payload)
    work = _Work(said.config, said.log_slots, said.size)

    def read(state: _State, count: int, report: Callable[[int], None]) -> _State:
        decoder = coder.Decoder(codes[state.done // _PART])
        bits, ones = bytearray(), []

        def code(one: float) -> int:
            bit = decoder.bit(one)
            bits.append(bit)
            if len(ones) < 8 * _BLOCK:
                ones.append(one)
            return bit

        def finish_block(read: int) -> None:
            if not state.done and _start(np.array(ones)) != said.first:
                raise _other()
            report(read)

        memory = _decode(work, state.memory, count, code, finish_block)
        if not decoder.whole:
            raise header.damaged()
        out = np.packbits(np.frombuffer(bits, np.uint8)).tobytes()
        return _State(memory, state.done + count, (*state.out, out), said.first, 0.0)

    state = _run(work, read, on_step, _progress(resume, "decompress", packed, work.config))
    data = b"".join(state.out)
    if hashed(data)[:8] != said.digest:
        raise _other()
    return data


def _other() -> ValueError:
    return ValueError(_OTHER.format(kernels=header.kernels(), jax=jax.__version__))


def _start(ones: np.ndarray) -> bytes:
    """Returns 4 bytes of the hash of the first probabilities, whose bytes have one order on every machine."""
    return hashed(ones.astype("<f4").tobytes())[:4]


class _Work(NamedTuple):
    """The data that are coded, and the model that codes them."""

    config: ChainConfig
    log_slots: int
    size: int

    @property
    def network(self) -> Network:
        return _network(self.config)


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
            (length,) = _LENGTH.unpack_from(payload, at)
        at += _LENGTH.size + length
        code = payload[at - length : at]
        if len(code) != length:
            raise header.damaged()
        codes.append(code)
    return [*codes, payload[at:]]


def _run(work: _Work, read, on_step: OnStep | None, saved: Progress | None) -> _State:
    """Reads the data with an empty model, part by part, or from the last part that was saved."""
    room = min(_MOST_ROOM, max(_LEAST_ROOM, 1 << work.size.bit_length()))
    parts = {"lists": work.config.lists, "runs": work.config.runs}
    empty = empty_online(work.network, work.log_slots, **parts, room=room)
    state = (saved and saved.latest(functools.partial(_resumed, work, empty))) or _State(
        empty, 0, (), b"", 0.0
    )
    while state.done < work.size:
        begun = state.done
        report = (
            (lambda done, begun=begun: on_step(begun + done, work.size)) if on_step else lambda done: None
        )
        state = read(state, min(_PART, work.size - begun), report)
        if saved and state.done < work.size and saved.due(_SAVE_SECONDS):
            arrays = {**state.memory._asdict(), "out": np.frombuffer(b"".join(state.out), np.uint8)}
            saved.save(arrays, {"done": state.done, "first": state.first.hex(), "bits": state.bits})
    return state


def _resumed(work: _Work, empty: OnlineMemory, arrays: dict[str, Any], data: dict[str, Any]) -> _State:
    """Makes a saved state again.

    Raises:
      ValueError: it is not a state of this work.
    """
    out = arrays.pop("out")
    folders.check_form(arrays, empty._asdict())
    checks.array("out", out, "uint8", {"bytes": None})
    done = checks.integer("done", data["done"], checks.Limits(least=1, most=work.size - 1))
    if done % _PART:
        raise ValueError(f"done={done} is not at the end of a part")
    memory = OnlineMemory(**{name: jnp.asarray(x) for name, x in arrays.items()})
    given.memory(work.network, memory)
    return _State(memory, done, (out.tobytes(),), bytes.fromhex(data["first"]), float(data["bits"]))


def _progress(
    resume: str | pathlib.Path | None, work: str, data: bytes, config: ChainConfig
) -> Progress | None:
    if resume is None:
        return None
    return Progress(resume, {"work": work, "input": hashed(data).hex(), "model": header.digest(config).hex()})


@functools.cache
def _network(config: ChainConfig) -> Network:
    pieces = [bytes([i]) for i in range(256)]
    return models.network(tokentree.plain(256), pieces, config.described, config.sets)


def _foretell(
    work: _Work,
    memory: OnlineMemory,
    part: np.ndarray,
    take: Callable[[np.ndarray, np.ndarray], None],
    report: Callable[[int], None],
) -> OnlineMemory:
    """Reads bytes that are known; ``take`` gets those of a block, and P(bit = 1) of each of their bits.

    The native kernel computes the same probabilities whether it is given the bytes or asks for each bit. XLA
    compiles two programs, whose last digits may differ, so there the bits are asked for as a decoder does.
    """
    blocks = [part[at : at + _BLOCK] for at in range(0, len(part), _BLOCK)]
    if backend.native():
        done = 0
        for block in blocks:
            ids = block.astype(np.int32)
            memory, reading = models.read(work.network, memory, ids, learn=True, block=_BLOCK)
            take(block, np.asarray(reading.ones).reshape(-1))
            done += len(block)
            report(done)
        return memory
    bits, found = iter(np.unpackbits(part).tolist()), []

    def code(one: float) -> int:
        found.append(one)
        return next(bits)

    def finish_block(read: int) -> None:
        take(blocks[(read - 1) // _BLOCK], np.array(found, np.float32))
        found.clear()
        report(read)

    return _decode(work, memory, len(part), code, finish_block)


def _decode(
    work: _Work,
    memory: OnlineMemory,
    size: int,
    code: Callable[[float], int],
    report: Callable[[int], None],
) -> OnlineMemory:
    """Reads ``size`` bytes; ``code`` gets P(bit = 1) and returns the bit."""
    callback = BitCallback(code)
    for at in range(0, size, _BLOCK):
        count = min(_BLOCK, size - at)
        memory = models.decode(work.network, memory, count, callback, block=_BLOCK)
        report(at + count)
    return memory
