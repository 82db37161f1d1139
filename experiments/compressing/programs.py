"""Other compressors at their strongest settings: those of Python's library, and programs if installed."""

import bz2
import lzma
import pathlib
import resource
import shutil
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple


class Packed(NamedTuple):
    """The size and the times of one file.

    Attributes:
      size: bytes of the compressed file.
      pack_seconds: processor time to compress.
      unpack_seconds: processor time to decompress.
      summed: bytes that the probabilities of the model add up to; None for programs that do not say.
    """

    size: int
    pack_seconds: float
    unpack_seconds: float
    summed: float | None = None


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns, and the seconds of processor time that it and its programs took.

    On a machine that does other work too, this is steadier than the time that passes.
    """
    begun = _processor_seconds()
    result = call()
    return result, max(_processor_seconds() - begun, 1e-6)


def _processor_seconds() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def round_trip(name: str, data: bytes, pack: Callable[[bytes], bytes], unpack: Callable[[bytes], bytes]):
    """Compress and decompress, and compare.

    Args:
      name: of the program, for the message.
      data: the bytes.
      pack: compresses them.
      unpack: decompresses them.

    Raises:
      ValueError: the bytes that come back are not the same.
    """
    packed, before = timed(lambda: pack(data))
    back, after = timed(lambda: unpack(packed))
    if back != data:
        raise ValueError(f"{name} does not give back the same {len(data):,} bytes: report it with the file")
    return Packed(len(packed), before, after)


def run(name: str, data: bytes) -> Packed | None:
    """Run one program.

    Args:
      name: one of `NAMES`.
      data: the bytes to compress.

    Returns:
      its numbers; None if it is not installed.

    Raises:
      ValueError: it fails, or gives other bytes back.
    """
    if name in _LIBRARY:
        return round_trip(name, data, *_LIBRARY[name])
    if not shutil.which(name.split()[0]):
        return None
    with tempfile.TemporaryDirectory() as folder:
        return round_trip(name, data, *_PROGRAMS[name](pathlib.Path(folder)))


def _zstd(_: pathlib.Path):
    return (
        lambda data: _call(["zstd", "--ultra", "-22", "-q", "-c"], data),
        lambda packed: _call(["zstd", "-d", "-q", "-c"], packed),
    )


def _zpaq(folder: pathlib.Path):
    archive, file = folder / "packed.zpaq", folder / "data"

    def pack(data: bytes) -> bytes:
        file.write_bytes(data)
        _call(["zpaq", "add", archive.name, file.name, "-m5"], cwd=folder)
        file.unlink()
        return archive.read_bytes()

    def unpack(packed: bytes) -> bytes:
        _call(["zpaq", "extract", archive.name], cwd=folder)
        return file.read_bytes()

    return pack, unpack


def _call(command: list[str], data: bytes | None = None, cwd: pathlib.Path | None = None) -> bytes:
    """Run a program, and return what it writes.

    Raises:
      ValueError: it fails.
    """
    done = subprocess.run(command, input=data, capture_output=True, check=False, cwd=cwd)
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[:200]
        raise ValueError(f"{' '.join(command)} failed with {done.returncode}: {said}")
    return done.stdout


_LIBRARY: dict[str, Any] = {
    "gzip -9": (
        lambda data: zlib.compress(data, 9, wbits=31),
        lambda packed: zlib.decompress(packed, wbits=31),
    ),
    "bzip2 -9": (lambda data: bz2.compress(data, 9), bz2.decompress),
    "xz -9e": (lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME), lzma.decompress),
}
_PROGRAMS: dict[str, Any] = {"zstd --ultra -22": _zstd, "zpaq -m5": _zpaq}
NAMES = (*_LIBRARY, *_PROGRAMS)
