"""Lines of JSON in files that others may have written: what is no record is named and left out."""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

_LONGEST = 1 << 20  # bytes of a line; a longer one is no record of ours
_NAMED = 10  # bad lines of a file that are named one by one


def records(path: pathlib.Path, problems: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a file with the numbers of their lines; a bad line is named in ``problems``."""
    bad = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file), 1):
                found = record(line)
                if found is not None:
                    yield number, found
                elif line is None or line.strip():
                    bad += 1
                    if bad <= _NAMED:
                        problems.append(f"{path} line {number} is not a whole row: it is left out")
    except OSError as error:
        problems.append(f"{path} cannot be read: {error.strerror}")
    if bad > _NAMED:
        problems.append(f"{path} has {bad - _NAMED:,} more lines that are not rows")


def _lines(file: Any) -> Iterator[bytes | None]:
    """The lines of a file; None in place of one that is too long."""
    while line := file.readline(_LONGEST):
        if len(line) == _LONGEST and not line.endswith(b"\n"):
            while (rest := file.readline(_LONGEST)) and not rest.endswith(b"\n"):
                pass
            yield None
        else:
            yield line


def record(line: bytes | None) -> dict[str, Any] | None:
    """The record in a line; None where it holds none."""
    try:
        found = json.loads(line) if line else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
