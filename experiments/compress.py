"""Compress a file with an online chain model of bytes, and decompress it to the same bytes.

python -m experiments.compress --input=book.txt --output=book.wnn
python -m experiments.compress --decompress --input=book.wnn --output=book.txt
python -m experiments.compress --compare=text,source,json,logs,binary,book.txt

The model starts empty. Each bit is coded with the probability that the model gave before it saw the bit, so
the size of the compressed file proves the cross-entropy that the model reports. With --compare, other
compressors compress the same files, and the sizes and speeds of all stand in one table. Speeds are bytes in a
second of processor time.
"""

import dataclasses
import functools
import pathlib
import sys
import time
from typing import Any, Literal

from experiments.compressing import pictures, programs, samples
from experiments.shared import bars, machine, tables
from experiments.shared.commandline import Command, Common, Group
from wnn_jax import checks, files
from wnn_jax.chain import archive
from wnn_jax.chain.header import PRESETS

_MOST = 1 << 40  # bytes of a file: what the archive can say


@dataclasses.dataclass(frozen=True)
class Options:
    """The files to read and to write.

    Attributes:
      input: file to read.
      output: file to write; it must not exist yet.
      decompress: decompress the input instead of compressing it.
      preset: the model that compresses: best is smaller, fast is faster.
      compare: print a table of compressors instead, for each of these files: text, source, json, logs and
        binary are made on the spot; a folder is a file of all files in it.
      resume: folder to save the progress to, and to continue from.
    """

    input: str | None = None
    output: str | None = None
    decompress: bool = False
    preset: Literal["fast", "best"] = "best"
    compare: tuple[str, ...] = ()
    resume: str | None = None

    def __post_init__(self):
        checks.fields(self)
        if self.compare and (self.input or self.output or self.decompress or self.resume):
            raise ValueError("--compare writes no file: leave out --input, --output and the flags about them")
        if not self.compare and (not self.input or not self.output):
            raise ValueError("--input and --output are needed: name the file to read and the file to write")


def main(options) -> None:
    folder = options.common.workdir and tables.make_workdir(options.common.workdir)
    if options.files.compare:
        compare(options.files.compare, folder)
        return
    source, output = options.files.input, pathlib.Path(options.files.output)
    if output.exists():
        raise ValueError(f"{output} exists already: choose another --output, or remove the file")
    files.check_place(output)
    data = files.read(source, _MOST, pipes=True)
    begun = time.perf_counter()
    with bars.bar(unit="B") as show:
        on_step = functools.partial(show, "")
        if options.files.decompress:
            packed, bits = _decompressed(source, data, on_step, options.files.resume), 0.0
        else:
            packed, bits = archive.encode(data, options.files.preset, on_step, options.files.resume)
    files.write(output, packed)
    spent = time.perf_counter() - begun
    speed = f"{max(len(data), len(packed)) / spent:,.0f} bytes/s"
    if options.files.decompress:
        print(f"{source} -> {output}: {len(packed):,} bytes, equal to the original; {speed}")
        return
    print(f"{source}: {len(data):,} bytes; {machine.device()}, {machine.backend_name()}; {speed}")
    one = programs.Packed(len(packed), spent, 0.0, bits / 8)
    if folder:
        _results(folder, source).add(**_row(options.files.preset, source, len(data), one))
    share = f" ({8 * len(packed) / bits - 1:+.3%})" if bits else ""
    print(
        f"{output}: {len(packed):,} bytes, {8 * len(packed) / max(len(data), 1):.4f} bits a byte; "
        f"summed code length {bits / 8:,.0f} bytes{share}"
    )


def compare(names: tuple[str, ...], folder: pathlib.Path | None) -> None:
    """Compress files with both presets and with every other program that is installed; print the tables."""
    made = {name: samples.make(name) for name in names}
    print(f"{machine.device()}, {machine.backend_name()}")
    results = _results(folder, ",".join(names)) if folder else None
    found: dict[str, dict[str, programs.Packed]] = {}
    missing = []
    for file, data in made.items():
        found[file] = {}
        for name in (*programs.NAMES, *PRESETS):
            one = _ours(name, file, data) if name in PRESETS else programs.run(name, data)
            if one is None:
                missing.append(name)
                continue
            row = _row(name, file, len(data), one)
            found[file][row["row"]] = one
            if results:
                results.add(**row)
        _show(file, len(data), found[file])
    for name in sorted(set(missing)):
        print(f"no row for {name}: it is not installed")
    if folder:
        pictures.size_and_speed(folder / "compress.png", found, {x: max(len(y), 1) for x, y in made.items()})
        print(f"results and picture in {folder}")


def _ours(preset: str, file: str, data: bytes) -> programs.Packed:
    """Compress and decompress with one of our presets, and compare.

    Raises:
      ValueError: the bytes that come back are not the same.
    """
    bits = 0.0
    with bars.bar(f"{file}, {preset}", unit="B") as show:

        def pack(data: bytes) -> bytes:
            nonlocal bits
            packed, bits = archive.encode(data, PRESETS[preset], functools.partial(show, "in"))
            return packed

        def unpack(packed: bytes) -> bytes:
            return archive.decompress(packed, functools.partial(show, "out"))

        return programs.round_trip(preset, data, pack, unpack)._replace(summed=bits / 8)


def _results(folder: pathlib.Path, source: str) -> tables.Results:
    return tables.Results(folder, {"experiment": "compress", "config": {"input": source}})


def _row(name: str, file: str, size: int, one: programs.Packed) -> dict[str, Any]:
    """Return the numbers of a row of results."""
    named = f"chain, {name}" if name in PRESETS else name
    row = {"row": named, "file": file, "size": size, "bytes": one.size}
    row |= {"bits_per_byte": 8 * one.size / max(size, 1), "pack_bytes_per_second": size / one.pack_seconds}
    if one.unpack_seconds:
        row["unpack_bytes_per_second"] = size / one.unpack_seconds
    return row if one.summed is None else {**row, "summed_bytes": one.summed}


def _show(file: str, size: int, found: dict[str, programs.Packed]) -> None:
    """Print the table of one file, the largest result first."""
    cells = {}
    for name, one in sorted(found.items(), key=lambda item: -item[1].size):
        speeds = (size / 1000 / seconds for seconds in (one.pack_seconds, one.unpack_seconds))
        cells[name] = [f"{one.size:,}", f"{8 * one.size / max(size, 1):.4f}", *(f"{x:,.1f}" for x in speeds)]
    heads = ["bytes", "bits a byte", "kB/s in", "kB/s out"]
    tables.print_grid(f"{file}, {size:,} bytes", cells, heads)


def _decompressed(source: str, data: bytes, on_step: archive.OnStep, resume: str | None) -> bytes:
    """Decompress the bytes of a file.

    Raises:
      ValueError: see `archive.decompress`; the message names the file.
    """
    try:
        return archive.decompress(data, on_step, resume)
    except ValueError as error:
        raise ValueError(f"cannot decompress {source}: {error}") from error


# Compressing a file leaves nothing behind but the archive, unless a --workdir for its rows is named.
COMMAND = Command("compress", __doc__, main, files=Group(Options), common=Group(Common()))

if __name__ == "__main__":
    sys.exit(COMMAND.run())
