"""Compress any file with an online chain model of bytes that starts empty, and give it back bit for bit.

python -m experiments.compress --input=book.txt --output=book.wnn
python -m experiments.compress --decompress --input=book.wnn --output=book.txt

Every bit is coded with the probability the model gave it before it was seen, so the size of the file is
the proof of what the model says it spends.
"""

import bz2
import ctypes
import hashlib
import lzma
import os
import pathlib
import struct
import tempfile
import time
import zlib

import constriction
import numpy as np
from absl import flags
from tqdm import tqdm

from experiments import base
from experiments.shared import machine
from wnn_jax import chain
from wnn_jax.chain import reader, tokentree
from wnn_jax.ram import backend

FLAGS = flags.FLAGS

flags.DEFINE_string("input", None, "File to read.")
flags.DEFINE_string("output", None, "File to write; must not be there yet.")
flags.DEFINE_bool("decompress", False, "Give back what was compressed.")
flags.DEFINE_bool("compare", True, "Also print what gzip, bzip2 and xz make of the file.")

_stream = constriction.stream  # pyright: ignore[reportAttributeAccessIssue] (made by its native module)

_MAGIC = b"WNNC"
_SCHEMA = 1
# Magic, schema, log2 of a row's cells, backend, bytes of the file and their hash, check of what follows.
_HEADER = struct.Struct("<4sBBBxQ16sI")
_BACKENDS = ("xla", "native")
_CALL = 4096  # bytes a call
_MAX_LOG_SLOTS = 22
_RATE = 0.02


def main() -> None:
    if not FLAGS.input or not FLAGS.output:
        raise ValueError("--input and --output name the files to read and to write")
    output = pathlib.Path(FLAGS.output)
    if output.exists():
        raise ValueError(f"{output} is there already: choose another --output, or remove it")
    try:
        data = pathlib.Path(FLAGS.input).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {FLAGS.input}: {error.strerror}") from error
    begun = time.perf_counter()
    if FLAGS.decompress:
        _write(output, decompress(data))
        print(f"{FLAGS.input} -> {output}: {output.stat().st_size:,} bytes, as they were")
        return
    packed, bits = compress(data)
    _write(output, packed)
    spent = time.perf_counter() - begun
    size = max(len(data), 1)
    print(f"{FLAGS.input}: {len(data):,} bytes; {machine.device()}, {machine.backend_name()}")
    rows = {"chain": len(packed)}
    if FLAGS.compare:
        rows |= {"gzip -9": len(zlib.compress(data, 9)), "bzip2 -9": len(bz2.compress(data, 9))}
        rows["xz -9e"] = len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
    for name, length in rows.items():
        print(f"{name:10}{length:>12,} bytes{8 * length / size:>9.4f} bits a byte")
    over = f", {8 * len(packed) / bits - 1:+.3%}" if bits else ""
    print(f"summed code length {bits / 8:,.0f} bytes{over}; {len(data) / spent:,.0f} bytes/s")


def compress(data: bytes) -> tuple[bytes, float]:
    """The compressed file, and the bits that the model's probabilities sum to."""
    log_slots = min(_MAX_LOG_SLOTS, max(8, (8 * len(data)).bit_length() - 1))
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    ones = np.zeros(len(bits))
    coded = 0

    def code(one: float) -> int:
        nonlocal coded
        ones[coded] = one
        coded += 1
        return int(bits[coded - 1])

    _run(len(data), log_slots, code)
    payload = b""
    if len(bits):
        encoder = _stream.queue.RangeEncoder()
        encoder.encode(bits.astype(np.int32), _stream.model.Bernoulli(perfect=False), ones)
        payload = encoder.get_compressed().astype("<u4").tobytes()
    backend = _BACKENDS.index(_kernels())
    digest = hashlib.sha256(data).digest()[:16]
    header = (_MAGIC, _SCHEMA, log_slots, backend, len(data), digest, zlib.crc32(payload))
    length = -np.log2(np.where(bits > 0, ones, 1.0 - ones)).sum() if len(bits) else 0.0
    return _HEADER.pack(*header) + payload, float(length)


def decompress(packed: bytes) -> bytes:
    """
    Raises:
      ValueError: this is no such file, it is damaged, or it was made by another backend.
    """
    if len(packed) < _HEADER.size or packed[: len(_MAGIC)] != _MAGIC:
        raise ValueError("the input was not compressed by experiments.compress")
    _, schema, log_slots, backend, size, digest, check = _HEADER.unpack_from(packed)
    payload = packed[_HEADER.size :]
    if schema != _SCHEMA:
        raise ValueError(
            f"the input has schema {schema} and this program reads {_SCHEMA}: use the version that made it"
        )
    damaged = ValueError("the input is damaged: nothing was written")
    if zlib.crc32(payload) != check or len(payload) % 4 or backend >= len(_BACKENDS):
        raise damaged
    if not 2 <= log_slots <= _MAX_LOG_SLOTS or size > 2**40:
        raise damaged
    here = _kernels()
    if _BACKENDS[backend] != here:
        raise ValueError(
            f"the input was made with {_BACKENDS[backend]} kernels, whose last digits {here} does not have: "
            "set WNN_JAX_BACKEND, or install the extension"
        )
    words = np.frombuffer(payload, "<u4").astype(np.uint32)
    decoder = _stream.queue.RangeDecoder(words)
    bits = np.zeros(8 * size, np.uint8)
    done = 0
    model, share = _stream.model.Bernoulli(perfect=False), np.zeros(1)

    def code(one: float) -> int:
        nonlocal done
        share[0] = one
        bit = int(decoder.decode(model, share)[0])
        bits[done] = bit
        done += 1
        return bit

    _run(size, log_slots, code)
    data = np.packbits(bits).tobytes()
    if hashlib.sha256(data).digest()[:16] != digest:
        raise damaged
    return data


def _kernels() -> str:
    """Which of `_BACKENDS` predicts here."""
    return "xla" if backend.chosen() == "xla" else "native"


def _run(size: int, log_slots: int, code) -> None:
    """An empty model reads ``size`` bytes, whose bits ``code`` gives in answer to P(bit = 1)."""
    model = chain.model(tokentree.plain(256), [bytes([i]) for i in range(256)], chain.BYTES)
    memory = chain.empty(model, log_slots, online=True)
    called = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_float)(lambda one: code(one))
    if _kernels() == "xla":
        callback = lambda one: np.int32(code(float(one)))  # noqa: E731
    else:
        callback = ctypes.cast(called, ctypes.c_void_p).value
    settings = reader.Settings("decoded", rate=_RATE, callback=callback)
    with tqdm(total=size, unit="B", unit_scale=True, leave=False) as bar:
        for at in range(0, size, _CALL):
            count = min(_CALL, size - at)
            memory = chain.drive(model, memory, count, settings)
            bar.update(count)


def _write(path: pathlib.Path, data: bytes) -> None:
    """All of it or nothing."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError as error:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise ValueError(f"cannot write {path}: {error.strerror}") from error


if __name__ == "__main__":
    base.run(main)
