"""CSV files as columns of numbers and of words; every cell that does not fit is named by its line and column.

Source: docs/semantics/classify.md
"""

import contextlib
import csv
import gzip
import io
import math
import pathlib
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wnn_jax import files

_MOST = 1 << 31  # the most bytes of a file, as it is and unpacked
_NONE = frozenset(("", "?", "na", "nan"))  # cells of a missing value, in lower case


class Sheet(NamedTuple):
    """The columns of a CSV file of N rows.

    Attributes:
      names: the names of the columns, from the first line.
      cells: N cells of each column, without spaces around them.
      lines: the line of each row, counted from 1.
      path: the file, for messages.

    Source: docs/semantics/classify.md
    """

    names: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    path: str


def read(path: str | pathlib.Path) -> Sheet:
    """Read a CSV file, which may be compressed by gzip. Its first line names the columns.

    Args:
      path: the file, UTF-8, with commas, semicolons or tabs between the cells: whichever the first line has.

    Raises:
      ValueError: the file cannot be read or decoded, two columns have one name, there are no rows, or a row
        has more or fewer cells than there are columns.

    Source: docs/semantics/classify.md
    """
    text = _text(path)
    first = text.lstrip().splitlines()[0] if text.strip() else ""
    if not first:
        raise ValueError(f"{path} is empty: give a CSV file whose first line names the columns")
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, lines = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append([cell.strip() for cell in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(
            f"{path} line {reader.line_num} has wrong quotes ({error}): mend the line"
        ) from error
    names, *rest = rows
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path} has two columns {twice[0]!r}: give each column a name of its own")
    if not rest:
        raise ValueError(f"{path} has names of columns, but no rows: add rows below the first line")
    for line, row in zip(lines[1:], rest, strict=True):
        if len(row) != len(names):
            raise ValueError(
                f"{path} line {line} has {len(row)} cells, but the first line names {len(names)} columns: "
                "mend the line"
            )
    return Sheet(tuple(names), tuple(zip(*rest, strict=True)), tuple(lines[1:]), str(path))


def place(sheet: Sheet, name: str) -> int:
    """Return the number of a column.

    Args:
      sheet: the file.
      name: the name of the column.

    Raises:
      ValueError: there is no such column.

    Source: docs/semantics/classify.md
    """
    if name not in sheet.names:
        listed = ", ".join(sheet.names[:12]) + (", ..." if len(sheet.names) > 12 else "")
        raise ValueError(f"{sheet.path} has no column {name!r}: choose one of {listed}")
    return sheet.names.index(name)


def is_missing(cell: str) -> bool:
    """Whether a cell holds no value: it is empty, ``?``, ``NA`` or ``NaN``.

    Source: docs/semantics/classify.md
    """
    return cell.lower() in _NONE


def numbers(sheet: Sheet, column: int) -> np.ndarray:
    """Read a column of numbers.

    Args:
      sheet: the file.
      column: the number of the column.

    Returns:
      ``float64 [N]``, NaN for a missing value.

    Raises:
      ValueError: a cell holds something else than a finite number.

    Source: docs/semantics/classify.md
    """
    cells = sheet.cells[column]
    with contextlib.suppress(ValueError):
        # The quick way, for columns in which every cell is a plain number.
        found = np.array(cells, np.float64)
        if np.isfinite(found).all() and "_" not in "".join(cells):
            return found
    found = np.empty(len(cells), np.float64)
    for i, cell in enumerate(cells):
        x = _number(cell)
        if x is None:
            raise ValueError(
                f"{sheet.path} line {sheet.lines[i]}, column {sheet.names[column]!r}: {cell!r:.60} is no "
                "finite number; mend the cell, or name the column as a category"
            )
        found[i] = x
    return found


def is_words(sheet: Sheet, column: int) -> bool:
    """Whether a column holds words: it has a value, and no value of it is a number.

    Source: docs/semantics/classify.md
    """
    there = (cell for cell in sheet.cells[column] if not is_missing(cell))
    first = next(there, None)
    return first is not None and _number(first) is None and all(_number(cell) is None for cell in there)


def codes(cells: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number the distinct words of a column: by their values if all are numbers, else in alphabetical order.

    Args:
      cells: the words; a missing value is none.

    Returns:
      The code of each cell, ``float64 [N]``, NaN for a missing value, and the words by their codes.

    Source: docs/semantics/classify.md
    """
    distinct = sorted({cell for cell in cells if not is_missing(cell)})
    values = [_number(word) for word in distinct]
    if all(x is not None for x in values):
        distinct = [word for _, word in sorted(zip(values, distinct, strict=True))]
    code = {word: float(i) for i, word in enumerate(distinct)}
    return np.array([code.get(cell, math.nan) for cell in cells], np.float64), tuple(distinct)


def _number(cell: str) -> float | None:
    """Return the number in a cell, NaN for a missing value, and None for anything else."""
    if is_missing(cell):
        return math.nan
    try:
        x = float(cell)
    except ValueError:
        return None
    # Python reads 1_0 as ten, and inf as a number.
    return x if math.isfinite(x) and "_" not in cell else None


def _text(path: str | pathlib.Path) -> str:
    """Read and decode a file.

    Raises:
      ValueError: it cannot be read, unpacked or decoded.
    """
    data = files.read(path, _MOST)
    if data[:2] == b"\x1f\x8b":
        data = unpacked(path, data)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path} line {line} is not UTF-8: convert the file to UTF-8") from error


def unpacked(path: str | pathlib.Path, data: bytes) -> bytes:
    """Unpack the bytes of a file that gzip has compressed.

    Args:
      path: the file, for messages.
      data: its bytes.

    Raises:
      ValueError: the bytes are damaged, or expand to more than 2 GiB.

    Source: docs/semantics/classify.md
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            whole = file.read(_MOST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}): give another copy") from error
    if len(whole) > _MOST:
        raise ValueError(f"{path} expands to more than {_MOST} bytes: give a smaller file")
    return whole
