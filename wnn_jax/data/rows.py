"""Rows of tables in text files: each is read, or becomes a `Problem` that says why not.

Source: docs/semantics/recommender.md.
"""

import contextlib
import csv
import io
import pathlib
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from wnn_jax.data import spreadsheet


class Problem(NamedTuple):
    """A row that was not read, or a user who has no row left.

    Attributes:
      file: the name of the file.
      line: the first line of the row, counted from 1.
      reason: why the row was not read, in words.

    Source: docs/semantics/recommender.md.
    """

    file: str
    line: int
    reason: str


class Table(NamedTuple):
    """The form of a table.

    Attributes:
      file: the name of its file.
      columns: the name of each column that is read, and a function from the name and a field to a value.
      unique: whether of several rows with the same first value the first is kept.
      separator: what stands between two fields.
      old: the format of 1998: latin-1, no header, no quotes.
      multiline: whether a quoted field may hold ends of lines.
      optional: names of columns that may be missing; their fields are then empty.
      comment: lines that begin with it are skipped; none if it is empty.
      places: the number of each column, from 1, in a file without a header; empty if a header names them.
      skip: the number of lines at the beginning that are no rows.
      encoding: the encoding; empty for UTF-8, and for latin-1 if ``old``.

    Source: docs/semantics/recommender.md.
    """

    file: str
    columns: tuple[tuple[str, Callable[[str, str], Any]], ...]
    unique: bool = False
    separator: str = ","
    old: bool = False
    multiline: bool = False
    optional: tuple[str, ...] = ()
    comment: str = ""
    places: tuple[int, ...] = ()
    skip: int = 0
    encoding: str = ""

    @property
    def headless(self) -> bool:
        """Whether no line of the file names the columns."""
        return self.old or bool(self.places)


class _Bad(Exception):
    """The reason why a row cannot be used."""


def kind(what: str, read: Callable[[str], Any], valid: Callable[[Any], bool] = bool, *blank: Any):
    """Make a function that converts a field of a column, as `Table.columns` holds it.

    Args:
      what: a good field, in words.
      read: a function from a field to its value; it raises ValueError.
      valid: whether a value is good.
      *blank: the value of an empty field; by default an empty field is bad.

    Source: docs/semantics/recommender.md.
    """

    def convert(name: str, field: str):
        if blank and not field.strip():
            return blank[0]
        with contextlib.suppress(ValueError):
            # Python would read 1_0 as ten.
            if ("_" not in field or read not in (int, float)) and valid(value := read(field)):
                return value
        raise _Bad(f"{name} {field!r:.80} is not {what}")

    return convert


BITS_32 = "an integer of 32 bits", int, range(-(1 << 31), 1 << 31).__contains__
"""What `kind` needs to read an integer."""
SCALE = "a number from 0.5 to 5.0 in halves", float, [x / 2 for x in range(1, 11)].__contains__
"""What `kind` needs to read stars."""
INTEGER = kind(*BITS_32)
TEXT = kind("text", str.strip, bool, "")


def refuse(problems: list[Problem], bad: str) -> None:
    """Raise the first problem if bad rows are to be refused.

    Args:
      problems: the problems.
      bad: ``skip``, or ``refuse``.

    Raises:
      ValueError: there is a problem, and ``bad`` is ``refuse``.

    Source: docs/semantics/recommender.md.
    """
    if problems and bad == "refuse":
        raise ValueError("{} line {}: {}".format(*problems[0]))


def parsed(
    folder: pathlib.Path, table: Table, problems: list[Problem], known: Collection[int] | None = None
) -> tuple[list[tuple], dict[Any, int]]:
    """Read a table.

    Args:
      folder: the folder of its file.
      table: its form.
      problems: the rows that cannot be used are added here.
      known: the values that the column ``movieId`` may have; by default any.

    Returns:
      The values and the line of each good row, and the first line of each value of the first column.

    Raises:
      ValueError: the file is missing, empty, not decodable or lacks a column.

    Source: docs/semantics/recommender.md.
    """
    found = ((line, row) for line, row in records(folder / table.file, table) if row)
    header = names = [name for name, _ in table.columns]
    pick = list(range(len(names)))
    if table.places:
        found, header, pick = _counted(folder, table, found)
    elif not table.old:
        named = ((line, row) for line, row in found if isinstance(row, str) or "".join(row).strip())
        line, row = next(named, (1, []))
        header = [x.strip() for x in row] if isinstance(row, list) else []
        wanted = [x for x in names if x not in table.optional]
        if missing := [x for x in wanted if x not in header]:
            lacking = f"{folder / table.file} has no column {', '.join(missing)}"
            raise ValueError(f"{lacking}: line {line} must name {', '.join(wanted)}")
        pick = [header.index(x) if x in header else -1 for x in names]
    fields = [(place, *column) for place, column in zip(pick, table.columns, strict=True)]
    good, first, taken = [], {}, {}
    for line, row in found:
        try:
            if isinstance(row, str):
                raise _Bad(row)
            if not table.headless and [x.strip() for x in row] == header:
                continue  # files with a header that were joined
            if len(row) != len(header):
                raise _Bad(f"{len(row)} columns instead of {len(header)}: {table.separator.join(row)!r:.60}")
            row.append("")  # place -1, the field of a column that the file does not have
            values = []
            for place, name, convert in fields:
                if ends := row[place].count("\n"):
                    raise _Bad(f"{name} holds the lines {line} to {line + ends}: its quotes do not end")
                values.append(convert(name, row[place]))
                first.setdefault(values[0], line)
            if known is not None and (film := values[names.index("movieId")]) not in known:
                raise _Bad(f"film {film} is not one of the {len(known)} films")
            if table.unique and taken.setdefault(values[0], line) != line:
                raise _Bad(f"{names[0]} {values[0]} is on line {taken[values[0]]} already, which is kept")
            good.append((*values, line))
        except _Bad as error:
            problems.append(Problem(table.file, line, str(error)))
    return good, first


def _counted(folder: pathlib.Path, table: Table, found: Iterator[tuple[int, list[str] | str]]):
    """Return the rows of a file without a header, its columns by number, and the places of those read.

    Raises:
      ValueError: the first row has fewer columns than are read.
    """
    read = [(line, row) for line, row in found if isinstance(row, str) or "".join(row).strip()]
    line, width = next(((line, len(row)) for line, row in read if isinstance(row, list)), (1, 0))
    if width < max(table.places):
        raise ValueError(
            f"{folder / table.file} has {width} columns on line {line}, split at {table.separator!r}, and "
            f"column {max(table.places)} is to be read: give another separator, or other columns"
        )
    return read, [str(place + 1) for place in range(width)], [place - 1 for place in table.places]


def records(path: pathlib.Path, table: Table) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the first line of every record with its fields, or with the reason why its quotes are wrong.

    Raises:
      ValueError: the file is missing, empty or not decodable.

    Source: docs/semantics/recommender.md.
    """
    content = text_of(path, table.encoding or ("latin-1" if table.old else "utf-8-sig"))
    if not content.strip():
        raise ValueError(f"{path} is empty: give the file of the data set")
    stream = io.StringIO(content, newline="")
    above = sum(1 for _ in zip(range(table.skip), stream, strict=False))
    if len(table.separator) > 1:  # csv knows separators of one character only
        for line, row in enumerate(stream, above + 1):
            yield line, row.rstrip("\r\n").split(table.separator) if row.strip() else []
        return
    # If each row has one line, a stray quote must not swallow all rows up to the next quote.
    chunks = [stream] if table.multiline else ([x] for x in stream)
    quoting = csv.QUOTE_NONE if table.old else csv.QUOTE_MINIMAL
    for chunk in chunks:
        if table.comment and isinstance(chunk, list) and chunk[0].startswith(table.comment):
            above += 1
            continue
        reader = csv.reader(chunk, delimiter=table.separator, quoting=quoting, strict=True)
        while True:
            line = above + reader.line_num + 1
            try:
                yield line, next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                yield line, f"wrong quotes ({error}); lines {line} to {above + reader.line_num} are not read"
        above += reader.line_num


def text_of(path: pathlib.Path, encoding: str = "utf-8-sig") -> str:
    """Read a whole text file, which may be compressed by gzip; no character is lost or replaced.

    Args:
      path: the file.
      encoding: ``utf-8-sig``, or another encoding that Python knows.

    Raises:
      ValueError: the file cannot be read or unpacked, or is not in the encoding.

    Source: docs/semantics/recommender.md.
    """
    try:
        data = path.read_bytes()
        return (spreadsheet.unpacked(path, data) if data[:2] == b"\x1f\x8b" else data).decode(encoding)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        byte, line = error.object[error.start], error.object.count(10, 0, error.start) + 1
        name = encoding.upper().removesuffix("-SIG")
        raise ValueError(
            f"{path} is not {name}: byte 0x{byte:02x} on line {line}: convert it to {name}"
        ) from error
