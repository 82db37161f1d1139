"""Compress a file with an online chain model of bytes, and decompress it to the same bytes.

python -m experiments.compress --input=book.txt --output=book.wnn
python -m experiments.compress --decompress --input=book.wnn --output=book.txt

The model starts empty. Each bit is coded with the probability that the model gave before it saw the bit, so
the size of the compressed file proves the cross-entropy that the model reports.
"""

import dataclasses
import functools
import pathlib
import sys
import time

from experiments.shared import bars, machine, tables
from experiments.shared.commandline import Command, Common, Group
from wnn_jax import checks, files
from wnn_jax.chain import archive

_MOST = 1 << 40  # bytes of a file: what the archive can say


@dataclasses.dataclass(frozen=True)
class Options:
    """The files to read and to write.

    Attributes:
      input: file to read.
      output: file to write; it must not exist yet.
      decompress: decompress the input instead of compressing it.
      compare: also print the sizes that gzip, bzip2 and xz reach.
      resume: folder to save the progress to, and to continue from.
    """

    input: str | None = None
    output: str | None = None
    decompress: bool = False
    compare: bool = True
    resume: str | None = None

    def __post_init__(self):
        checks.fields(self)
        if not self.input or not self.output:
            raise ValueError("--input and --output are needed: name the file to read and the file to write")


def main(options) -> None:
    source, output = options.files.input, pathlib.Path(options.files.output)
    folder = options.common.workdir and tables.make_workdir(options.common.workdir)
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
            packed, bits = archive.encode(data, on_step, options.files.resume)
    files.write(output, packed)
    if options.files.decompress:
        print(f"{source} -> {output}: {len(packed):,} bytes, equal to the original")
        return
    spent = time.perf_counter() - begun
    print(f"{source}: {len(data):,} bytes; {machine.device()}, {machine.backend_name()}")
    rows = {"chain": len(packed)}
    if options.files.compare:
        rows |= archive.standard_sizes(data)
    if folder:
        about = {"experiment": "compress", "config": {"input": source}, "data": f"{len(data)} bytes"}
        results = tables.Results(folder, about)
        for name, length in rows.items():
            own = {"summed_bytes": bits / 8, "bytes_per_second": len(data) / spent} if name == "chain" else {}
            results.add(name, bytes=length, bits_per_byte=8 * length / max(len(data), 1), **own)
    for name, length in rows.items():
        print(f"{name:10}{length:>12,} bytes{8 * length / max(len(data), 1):>9.4f} bits a byte")
    over = f", {8 * len(packed) / bits - 1:+.3%}" if bits else ""
    print(f"summed code length {bits / 8:,.0f} bytes{over}; {len(data) / spent:,.0f} bytes/s")


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
