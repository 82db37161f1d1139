"""A person's file of ratings: lines are added to it, and none is ever changed.

The file has the columns ``movieId`` and ``rating``, and may have ``userId``, ``timestamp`` and any others, in
any order. The last line of a film counts, whatever its time; a line with an empty rating takes the film's
earlier ratings back. Whatever else the file holds (unknown films, comments after ``#``, other columns) stays
as it is.

Source: docs/semantics/recommender.md.
"""

import contextlib
import csv
import io
import os
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from wnn_jax import files
from wnn_jax.data import rows
from wnn_jax.data.movielens import Films
from wnn_jax.data.rows import Problem, Table

_HEADER = ("userId", "movieId", "rating", "timestamp")
_SEPARATORS = ",;\t"
_COLUMNS = (
    ("userId", rows.TEXT),
    ("movieId", rows.INTEGER),
    ("rating", rows.kind(*rows.SCALE, None)),
)


class History(NamedTuple):
    """A file of ratings, as its first line says.

    Attributes:
      path: the file.
      columns: the names of its columns; empty if it has no line that names them yet.
      separator: what stands between two fields.
      end: what ends its lines, ``"\\n"`` or ``"\\r\\n"``.
      user: the user whose ratings it holds.

    Source: docs/semantics/recommender.md.
    """

    path: pathlib.Path
    columns: tuple[str, ...] = ()
    separator: str = ","
    end: str = "\n"
    user: str = "1"


def find(path: str | os.PathLike) -> History:
    """Look at a file of ratings before any work is done: what its columns are, and whether it can be written.

    A file that is missing, empty or holds only comments is a beginning.

    Args:
      path: the file.

    Raises:
      ValueError: the file cannot be read or written, is not UTF-8, or names no columns ``movieId`` and
        ``rating``.

    Source: docs/semantics/recommender.md.
    """
    path = pathlib.Path(path)
    with files.reaching(path, "write"):
        real = pathlib.Path(os.path.realpath(path))
        target, verb = (real, "write") if real.exists() else (real.parent, "make a file in")
        right = real.is_file() if real.exists() else target.is_dir() and not real.is_symlink()
    if not right or not os.access(target, os.W_OK):
        raise ValueError(f"cannot keep ratings in {path}: {verb} {target} is not possible; give another file")
    if not path.exists():
        return History(path)
    for number, line in enumerate(io.StringIO(rows.text_of(path), newline=""), 1):
        if not line.strip() or line.startswith("#"):
            continue
        end = "\r\n" if line.endswith("\r\n") else "\n"
        for separator in _SEPARATORS:
            with contextlib.suppress(csv.Error):
                names = tuple(x.strip() for x in next(csv.reader([line], delimiter=separator)))
                if {"movieId", "rating"} <= set(names):
                    return History(path, names, separator, end)
        raise ValueError(
            f"{path} line {number} names no columns movieId and rating, it is {line.strip()!r:.60}: give a "
            f"file that begins with {','.join(_HEADER)}, or a new one"
        )
    return History(path)


def read(
    history: History, films: Films, bad: str = "skip"
) -> tuple[History, dict[int, float], list[Problem]]:
    """Read the ratings of a file.

    Args:
      history: the file, from `find`.
      films: the films that may be rated.
      bad: what to do with a line that cannot be used. ``skip``: list it in the problems. ``refuse``: raise.

    Returns:
      The file with its user; the stars of each film by the film's id, in the order of their last lines; and
      the problems by line.

    Raises:
      ValueError: the file holds ratings of several users, or a line cannot be used and ``bad`` is ``refuse``.

    Source: docs/semantics/recommender.md.
    """
    if not history.columns:
        return history, {}, []
    problems: list[Problem] = []
    path = history.path
    table = Table(path.name, _COLUMNS, separator=history.separator, optional=("userId",), comment="#")
    found, first = rows.parsed(path.parent, table, problems, set(films.ids.tolist()))
    users = [user for user in first if user]
    if len(users) > 1:
        lines = ", ".join(f"{user!r:.20} on line {first[user]}" for user in users[:2])
        raise ValueError(
            f"{path} holds the ratings of {len(users)} users ({lines}): give a file of one person's ratings"
        )
    rows.refuse(problems, bad)
    rated: dict[int, float] = {}
    for _, film, stars, _ in found:
        rated.pop(film, None)
        if stars is not None:
            rated[film] = stars
    return history._replace(user=users[0] if users else history.user), rated, problems


def append(history: History, changes: Mapping[int, float | None], now: int) -> History:
    """Add a line for each film that was rated or forgotten; nothing that the file holds is changed.

    The file is looked at again, because another program may have changed it since.

    Args:
      history: the file.
      changes: the new stars of films by their ids; None takes the earlier ratings of a film back.
      now: the time of the lines, in seconds since 1970.

    Returns:
      The file, which then has columns.

    Raises:
      ValueError: the file cannot be written, or no longer names its columns; it then has whole lines only.

    Source: docs/semantics/recommender.md.
    """
    if not changes:
        return history
    history = find(history.path)._replace(user=history.user)
    lines = [] if history.columns else [list(_HEADER)]
    history = history._replace(columns=history.columns or _HEADER)
    for film, stars in changes.items():
        known = {"userId": history.user, "movieId": film, "timestamp": now}
        known["rating"] = "" if stars is None else float(stars)
        lines.append([known.get(name, "") for name in history.columns])
    for fields in lines:
        line = io.StringIO()
        csv.writer(line, delimiter=history.separator, lineterminator="").writerow(fields)
        files.append(history.path, line.getvalue() + history.end.removesuffix("\n"))
    return history


def changes(before: Mapping[int, float], after: Mapping[int, float]) -> dict[int, float | None]:
    """Return the changes from some ratings to others, for `append`: new stars, and None for films forgotten.

    Source: docs/semantics/recommender.md.
    """
    gone = {film: None for film in before if film not in after}
    return gone | {film: stars for film, stars in after.items() if before.get(film) != stars}
