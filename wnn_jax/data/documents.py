"""Documents: the texts of which a corpus is made, from text files, JSON lines, Parquet or `datasets`.

A document is never cut: it is training text, validation text or test text as a whole. Its own words decide
which, so the split does not depend on the order of the files, on their number, or on a key, and two documents
of the same words are always on the same side.

Source: docs/architecture.md.
"""

import dataclasses
import glob
import hashlib
import json
import os
import pathlib
import sysconfig
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from wnn_jax import checks, optional
from wnn_jax.checks import Limits
from wnn_jax.data import lines

SPLITS = "train", "validation", "test"
SHARE = Limits(least=0, below=1)
_ENDINGS = ".txt", ".md", ".jsonl", ".parquet"  # the files of a folder that are read
_ROWS = 256  # of a Parquet file that are in memory at a time
_HUB = "datasets:"
_STDLIB = "stdlib"
_NOT_SOURCE = {"site-packages", "dist-packages", "test", "tests", "__pycache__"}


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """Where documents come from.

    Attributes:
      source: files, folders and patterns such as ``src/**/*.py``; of a folder, all files whose names end in
        ``.txt``, ``.md``, ``.jsonl`` or ``.parquet``, at any depth. Each is read in the order of its paths. A
        document is a line of a ``.jsonl`` file, a row of a ``.parquet`` file, or a part of any other file,
        which is a UTF-8 text. ``stdlib``: the Python source of this machine's standard library, without
        tests. ``datasets:NAME``: a data set of Hugging Face, or a folder of one, that `datasets` streams.
      documents: what a document of a text file is: the ``file``, a ``paragraph`` between blank lines, or a
        ``line``.
      field: the field of the text in JSON lines, Parquet and `datasets`.
      subset: the configuration of a data set, if it has several.
      split: the split of a data set.

    Raises:
      ValueError: a value is unknown.

    Source: docs/architecture.md.
    """

    source: tuple[str, ...] = ()
    documents: Literal["file", "paragraph", "line"] = "file"
    field: str = "text"
    subset: str | None = None
    split: str = "train"

    def __post_init__(self):
        checks.fields(self)


class Source(NamedTuple):
    """One file, or one data set.

    Attributes:
      name: the path of the file, or ``datasets:NAME``.
      size: the bytes of the file; 0 for a data set.

    Source: docs/architecture.md.
    """

    name: str
    size: int


def is_source(corpus: str) -> bool:
    """Whether the name of a corpus says that it consists of documents: see `SourceConfig.source`.

    Source: docs/architecture.md.
    """
    ending = pathlib.Path(corpus).suffix
    named = corpus == _STDLIB or corpus.startswith(_HUB) or ending in (".jsonl", ".parquet")
    return named or "*" in corpus or os.path.isdir(corpus)


def found(config: SourceConfig) -> list[Source]:
    """Find the files of a source, in the order in which they are read.

    Raises:
      ValueError: there is none, or a name stands for no file.

    Source: docs/architecture.md.
    """
    if not config.source:
        raise ValueError("--source names no file: give files, folders, patterns, stdlib, or datasets:NAME")
    listed: list[Source] = []
    for name in config.source:
        if name.startswith(_HUB):
            listed.append(Source(name, 0))
            continue
        paths = _paths(name)
        if not paths:
            raise ValueError(
                f"the source {name} has no file: give a file, a folder with files that end in "
                f"{', '.join(_ENDINGS)}, or a pattern such as 'src/**/*.py'"
            )
        listed += [Source(str(path), path.stat().st_size) for path in paths]
    return listed


def _paths(name: str) -> list[pathlib.Path]:
    if name == _STDLIB:
        root = pathlib.Path(sysconfig.get_paths()["stdlib"])
        every = sorted(root.rglob("*.py"))
        return [path for path in every if not _NOT_SOURCE & {*path.relative_to(root).parts}]
    path = pathlib.Path(name)
    if path.is_dir():
        return sorted(x for x in path.rglob("*") if x.suffix in _ENDINGS and x.is_file())
    if path.is_file():
        return [path]
    return sorted(x for x in map(pathlib.Path, glob.glob(name, recursive=True)) if x.is_file())


def read(config: SourceConfig, source: Source, skip: int = 0) -> Iterator[str]:
    """Read the documents of one source.

    Args:
      config: the settings of all sources.
      source: one of those that `found` returned.
      skip: the number of documents at its start that are left out.

    Yields:
      The text of each document, without newlines at its ends. It may be empty.

    Raises:
      ValueError: a file is missing, damaged or not UTF-8, or a document has no text in the field.

    Source: docs/architecture.md.
    """
    try:
        for text in _read(config, source.name, skip):
            yield text.strip("\r\n")
    except OSError as error:
        raise ValueError(f"cannot read {source.name}: {error.strerror or error}") from error


def _read(config: SourceConfig, name: str, skip: int) -> Iterator[str]:
    ending = pathlib.Path(name).suffix
    if name.startswith(_HUB):
        return _streamed(config, name, skip)
    if ending == ".parquet":
        return _parquet(config, name, skip)
    return (_json_lines if ending == ".jsonl" else _texts)(config, name, skip)


def _texts(config: SourceConfig, name: str, skip: int) -> Iterator[str]:
    if config.documents == "line":
        with open(name, "rb") as file:
            for number, line in enumerate(file):
                if number >= skip:
                    yield _decoded(line, f"line {number + 1} of {name}")
        return
    text = _decoded(pathlib.Path(name).read_bytes(), name)
    whole = config.documents == "file"
    for number, document in enumerate([text] if whole else lines.BLANK.split(text)):
        if number >= skip:
            yield document


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}: convert it"
        ) from error


def _json_lines(config: SourceConfig, name: str, skip: int) -> Iterator[str]:
    with open(name, "rb") as file:
        for number, line in enumerate(file):
            if number < skip:
                continue
            try:
                row = json.loads(line) if line.strip() else {config.field: ""}
            except ValueError as error:
                raise ValueError(
                    f"line {number + 1} of {name} is not JSON: {error}; give JSON lines"
                ) from error
            yield _field(config, row, f"line {number + 1} of {name}")


def _field(config: SourceConfig, row: Any, name: str) -> str:
    text = row.get(config.field) if isinstance(row, dict) else None
    if not isinstance(text, str):
        known = f"its fields are {', '.join(map(str, row))}" if isinstance(row, dict) else "it has no fields"
        raise ValueError(f"{name} has no text in the field {config.field!r}: {known:.200}; choose the field")
    return text


def _parquet(config: SourceConfig, name: str, skip: int) -> Iterator[str]:
    parquet = optional.need("pyarrow.parquet", "corpora")
    try:
        file = parquet.ParquetFile(name)
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} is not a Parquet file: {error}") from error
    with file:
        if config.field not in file.schema_arrow.names:
            known = f"{', '.join(file.schema_arrow.names):.200}"
            raise ValueError(
                f"{name} has no field {config.field!r}: its fields are {known}; choose the field"
            )
        number = 0
        for rows in file.iter_batches(_ROWS, columns=[config.field]):
            for text in rows.column(0).to_pylist():
                number += 1
                if number > skip:
                    yield _field(config, {config.field: text}, f"row {number} of {name}")


def _streamed(config: SourceConfig, name: str, skip: int) -> Iterator[str]:
    datasets = optional.need("datasets", "corpora")
    try:
        rows = datasets.load_dataset(
            name.removeprefix(_HUB), config.subset, split=config.split, streaming=True
        )
        rows = iter(rows.skip(skip) if skip else rows)
    except Exception as error:  # datasets fails in many ways: no network, no such name, a damaged file
        raise ValueError(f"{name} cannot be opened ({type(error).__name__}): {_line(error)}") from error
    number = skip
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:
            raise ValueError(f"row {number + 1} of {name} cannot be read: {_line(error)}") from error
        number += 1
        yield _field(config, row, f"row {number} of {name}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def split_of(text: str, test: float, validation: float) -> str:
    """Return the part of the corpus that a document belongs to: one of `SPLITS`.

    The first 64 bits of the SHA-256 of its words, with one space between two, are a number from 0 to 1. A
    document below ``test`` is test text, one below ``test + validation`` is validation text, and all others
    are training text.

    Args:
      text: the document.
      test: the share of documents that are test text.
      validation: the share of documents that are validation text.

    Source: docs/architecture.md.
    """
    place = rank(text) / 2**64
    return "test" if place < test else "validation" if place < test + validation else "train"


def rank(text: str) -> int:
    """Return the number of 64 bits that decides the split of a document.

    Source: docs/architecture.md.
    """
    return int.from_bytes(hashlib.sha256(" ".join(text.split()).encode()).digest()[:8], "big")
