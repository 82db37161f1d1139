"""The header of a compressed file: all that its decoding depends on.

    4 bytes  WNNC
    1        schema: the layout of this header and of the code
    1        edition: what a model of this description computes, see `EDITION`
    1        16 * backend (0 XLA, 1 native) + preset (0: described in the header, 1 fast, 2 best)
    1        log2 S, the number of cells in a neuron's row
    4        the first bytes of the SHA-256 of the description of the model
    4        the first bytes of the SHA-256 of P(bit = 1), float32, for the bits of the first 4,096 bytes
    8        the first bytes of the SHA-256 of the data
    8        the first bytes of the SHA-256 of all the rest, of the header and of the code
    1 to 6   the number of bytes of the data, 7 bits a byte, the lowest first
    2 + ...  only with preset 0: the number of bytes that follow, and the description as JSON in a zlib stream

The description names every setting and every number that decides a probability.

Source: docs/semantics/chain.md
"""

import dataclasses
import functools
import hashlib
import json
import math
import struct
import zlib
from typing import Any, Literal, NamedTuple

from wnn_jax import checks, files
from wnn_jax.chain import constants, online
from wnn_jax.chain import memory as memories
from wnn_jax.chain.config import BYTES_BEST, BYTES_FAST, ChainConfig
from wnn_jax.chain.constants import LEAST
from wnn_jax.ram import backend

Preset = Literal["fast", "best"]

PRESETS: dict[str, ChainConfig] = {"fast": BYTES_FAST, "best": BYTES_BEST}
EDITION = 1  # to be raised when the same description comes to give other probabilities
MOST = 1 << 40  # bytes of the data
_MAGIC = b"WNNC"
_SCHEMA = 3
_FIXED = struct.Struct("<4sBBBB4s4s8s8s")
_SEAL = 8  # bytes of the seal, the last ones of the part of fixed length
_BACKENDS = ("xla", "native")
_NAMES = ("described in its header", *PRESETS)  # of presets, by their number
_LENGTH = struct.Struct("<H")
_MOST_DESCRIPTION = 1 << 16  # bytes of JSON
_MOST_MIB = 4096  # of tables
_LEAST_LOG, _MOST_LOG = 8, 22  # log2 of the cells in a row
# Settings that change no probability, and those that a model of bytes cannot choose.
_APART = ("mode", "tree", "rare", "chunk", "readout")
# No bit has a probability above 1 - LEAST, so each byte of the data takes at least this part of a bit. A code
# can thus stand for 390,000 times its own bytes at most.
_LEAST_BITS = -8 * math.log2(1 - 0.9 * LEAST)
_STATE = 64  # bits that the coder may hold besides the code


class Header(NamedTuple):
    """The contents of a header.

    Attributes:
      config: the settings of the model.
      log_slots: log2 of the number of cells in a neuron's row.
      size: the number of bytes of the data.
      first: 4 bytes of the hash of the first probabilities.
      digest: 8 bytes of the hash of the data.

    Source: docs/semantics/chain.md
    """

    config: ChainConfig
    log_slots: int
    size: int
    first: bytes
    digest: bytes


def hashed(data: bytes | bytearray | memoryview) -> bytes:
    """Returns the SHA-256 of bytes.

    Source: docs/semantics/chain.md
    """
    return hashlib.sha256(data).digest()


def kernels() -> str:
    """Returns the backend that computes probabilities in this process: ``xla`` or ``native``.

    Source: docs/semantics/chain.md
    """
    return "xla" if backend.chosen() == "xla" else "native"


def settings(preset: Preset | ChainConfig) -> ChainConfig:
    """Returns the settings of a preset.

    Args:
      preset: the name of a preset, or settings of one's own.

    Raises:
      ValueError: there is no such preset, or the settings are not those of an online model of bytes, or its
        tables may become too large.

    Source: docs/semantics/chain.md
    """
    if not isinstance(preset, ChainConfig):
        if preset not in PRESETS:
            raise ValueError(
                f"preset={preset!r} is unknown: give {' or '.join(PRESETS)}, or a ChainConfig for bytes"
            )
        return PRESETS[preset]
    if preset.mode != "online" or preset.tree != "plain":
        raise ValueError(
            f"preset has mode={preset.mode} and tree={preset.tree}: compression needs mode=online and "
            "tree=plain"
        )
    if preset.memory_mib > _MOST_MIB:
        raise ValueError(
            f"preset has memory_mib={preset.memory_mib}: compression takes at most {_MOST_MIB} MiB of tables"
        )
    return preset


def description(config: ChainConfig) -> dict[str, Any]:
    """Returns the settings that decide a model's probabilities, as JSON data.

    Source: docs/semantics/chain.md
    """
    return {name: x for name, x in dataclasses.asdict(config).items() if name not in _APART}


@functools.cache
def digest(config: ChainConfig) -> bytes:
    """Returns 4 bytes that name a description, its neurons, and all numbers of `constants`.

    Source: docs/semantics/chain.md
    """
    numbers = {name: x for name, x in vars(constants).items() if name.isupper()}
    said = [description(config), config.described, numbers]
    return hashed(json.dumps(said, sort_keys=True).encode())[:4]


def log_slots_for(size: int, config: ChainConfig) -> int:
    """Returns log2 of the number of cells in each row of the tables for data of a size.

    There are 2 to 4 cells for each byte of the data, at least 2^8 and at most 2^22, and no more than
    ``memory_mib`` of the settings have room for. Twice as many would save less than a thousandth of the code.

    Args:
      size: the number of bytes of the data.
      config: the settings.

    Raises:
      ValueError: not even four cells have room.

    Source: docs/semantics/chain.md
    """
    cell = online.CELL_BYTES + (online.LIST_BYTES if config.lists else 0)
    most = min(_MOST_LOG, memories.log_slots_for(config.memory_mib, len(config.described), cell))
    return min(most, max(_LEAST_LOG, (4 * size).bit_length() - 1))


def pack(header: Header, payload: bytes) -> bytes:
    """Returns the bytes of a header, with the seal of a payload.

    Args:
      header: what it says.
      payload: the code that follows it.

    Source: docs/semantics/chain.md
    """
    wanted = digest(header.config)
    number = next((k for k, x in enumerate(PRESETS.values(), 1) if digest(x) == wanted), 0)
    kind = 16 * _BACKENDS.index(kernels()) + number
    fields = _MAGIC, _SCHEMA, EDITION, kind, header.log_slots, wanted, header.first, header.digest
    fixed = _FIXED.pack(*fields, b"")[:-_SEAL]
    rest = _number(header.size)
    if not number:
        said = zlib.compress(json.dumps(description(header.config), separators=(",", ":")).encode(), 9)
        rest += _LENGTH.pack(len(said)) + said
    return fixed + hashed(fixed + rest + payload)[:_SEAL] + rest


def unpack(packed: bytes) -> tuple[Header, bytes]:
    """Checks compressed bytes, from the outside to the inside.

    Args:
      packed: the bytes of a compressed file.

    Returns:
      what their header says, and the code.

    Raises:
      ValueError: they are damaged, or need another version, backend or preset than this process has.

    Source: docs/semantics/chain.md
    """
    if len(packed) <= len(_MAGIC) or packed[: len(_MAGIC)] != _MAGIC:
        raise ValueError("the input was not compressed by wnn_jax: give bytes that `compress` returned")
    if packed[len(_MAGIC)] != _SCHEMA:
        raise ValueError(
            f"the input has schema {packed[len(_MAGIC)]}, but this version of wnn_jax reads schema {_SCHEMA} "
            "alone: decompress it with the version that compressed it, and compress it again"
        )
    if len(packed) <= _FIXED.size:
        raise damaged()
    _, _, edition, kind, log_slots, wanted, first, whole, seal = _FIXED.unpack_from(packed)
    rest = packed[_FIXED.size :]
    if hashed(packed[: _FIXED.size - _SEAL] + rest)[:_SEAL] != seal:
        raise damaged()
    size, payload = _numbered(rest)
    config, payload = _described(kind, edition, payload)
    config = _compared(kind, edition, wanted, config)
    most = min(MOST, int((8 * len(payload) + _STATE) / _LEAST_BITS))
    if size > most:
        raise files.Damaged(
            f"the input says that it holds {size} bytes, but its code of {len(payload)} bytes holds at most "
            f"{most}: use an undamaged copy"
        )
    if log_slots != log_slots_for(size, config):
        raise ValueError(
            f"the input needs tables of 2^{log_slots} cells for {size} bytes, and this version makes them of "
            f"2^{log_slots_for(size, config)}: use the version that compressed it"
        )
    return Header(config, log_slots, size, first, whole), payload


def damaged() -> files.Damaged:
    """Returns the exception for bytes that are not those that were written.

    Source: docs/semantics/chain.md
    """
    return files.Damaged("the input is damaged: nothing was written; use an undamaged copy")


def _compared(kind: int, edition: int, wanted: bytes, config: ChainConfig | None) -> ChainConfig:
    """Compares what a file needs with what there is here, and returns the settings.

    Args:
      kind: backend and preset.
      edition: the edition.
      wanted: the digest of the description.
      config: the settings that the file names; None if they are not known here.

    Raises:
      ValueError: there is something else here.
    """
    needs, number = divmod(kind, 16)
    there = digest(config) if config else b""
    named = _NAMES[number] if number < len(_NAMES) else f"number {number}"
    kernel = _BACKENDS[needs] if needs < len(_BACKENDS) else f"number {needs}"
    if config is None or edition != EDITION or there != wanted:
        known = f"{named} ({there.hex()})" if config else " and ".join(PRESETS)
        raise ValueError(
            f"the input needs the preset {named} ({wanted.hex()}) of edition {edition}, and this version of "
            f"wnn_jax has {known} of edition {EDITION}: use the version that compressed it"
        )
    if kernel != kernels():
        raise ValueError(
            f"the input was compressed with the {kernel} kernels (preset {named}) and cannot be decompressed "
            f"with the {kernels()} kernels here: set WNN_JAX_BACKEND, or install the extension"
        )
    return config


def _described(kind: int, edition: int, rest: bytes) -> tuple[ChainConfig | None, bytes]:
    """Reads the settings that a file names.

    Args:
      kind: backend and preset.
      edition: the edition; settings of another one are not read.
      rest: the bytes behind the size.

    Returns:
      the settings, None if they are not known here; and the bytes behind them.

    Raises:
      ValueError: the description is not one.
    """
    number = kind % 16
    if number:
        return (list(PRESETS.values())[number - 1] if number <= len(PRESETS) else None), rest
    with files.contents("the input"):
        (length,) = _LENGTH.unpack_from(rest)
        said, payload = rest[_LENGTH.size :][:length], rest[_LENGTH.size + length :]
        machine = zlib.decompressobj()
        text = machine.decompress(said, _MOST_DESCRIPTION)
        if not machine.eof or machine.unused_data or len(said) != length:
            raise ValueError("its description does not end")
        if edition != EDITION:
            return None, payload
        data = dict(json.loads(text))
        config = checks.made(ChainConfig, {**data, "mode": "online", "tree": "plain"}, "its description")
        return settings(config), payload


def _number(value: int) -> bytes:
    """Returns a number as bytes of 7 bits, the lowest first; all but the last have their highest bit set."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _numbered(rest: bytes) -> tuple[int, bytes]:
    """Returns the number at the start of bytes, and the bytes behind it.

    Raises:
      Damaged: they begin with no number.
    """
    value = 0
    for place, byte in enumerate(rest[:6]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, rest[place + 1 :]
    raise damaged()
