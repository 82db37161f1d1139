"""Ratings, play counts and uses from files in many forms, as the arrays of `movielens.Dataset`.

A folder of MovieLens or of HetRec's Last.fm is known by its files. Of any other file the columns are named.
The items of a data set that is not about films are its ``films``, and their names are its titles.

Source: docs/semantics/recommender.md.
"""

import contextlib
import dataclasses
import datetime
import math
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from wnn_jax import checks, files
from wnn_jax.checks import Limits
from wnn_jax.data import movielens, rows
from wnn_jax.data.rows import Problem, Table

BITS = 10
"""The number of label bits."""
_ROLES = ("user", "item", "rating", "count", "time")
_SEPARATORS = ("\t", ";", "::", ",", "|")
_WORDS = {"tab": "\t", "semicolon": ";", "comma": ",", "bar": "|"}
_ENDINGS = (".csv", ".tsv", ".dat", ".txt", ".csv.gz", ".tsv.gz", ".dat.gz", ".txt.gz")
_BAD = ("skip", "refuse")
_MOST_LEVELS = 1_000
_MANY = 10  # fewer bad rows are rows to skip; more, and a tenth of all, are a file that was described wrongly
_PLAYS = ("user_artists.dat", "user_artists.dat.gz")
_ARTISTS = "artists.dat"


@dataclasses.dataclass(frozen=True)
class FileConfig:
    """A file of ratings whose form is not known, and the rows that are uses.

    Attributes:
      columns: what the columns hold, such as user:User-ID,item:ISBN,rating:Book-Rating. Each is user, item,
        rating, count or time, and then the name of the column, or its number from 1 if there is no header.
        user and item are needed. count is a number of uses, such as plays. Without rating and count each row
        is one use. time is in seconds since 1970, or a date such as 2005-04-02 23:00:40.
      separator: the text between two fields, or tab, semicolon, comma or bar; by default whichever of these
        and :: the first line has most.
      encoding: the encoding of the file.
      scale: the lowest and the highest rating; other ratings are not read. By default every number is read.
      uses: ratings or counts of at least this number are uses, all alike, and no others are kept; by default
        ratings stay ratings. It applies to every data set.

    Raises:
      ValueError: a column is unknown, named twice or missing, or a value is out of range.

    Source: docs/semantics/recommender.md.
    """

    columns: tuple[str, ...] = ()
    separator: str | None = None
    encoding: str = "utf-8-sig"
    scale: tuple[float, ...] = ()
    uses: float | None = None

    def __post_init__(self):
        checks.fields(self)
        if self.columns:
            _roles(self.columns)
        if self.scale and (len(self.scale) != 2 or self.scale[0] >= self.scale[1]):
            raise ValueError(
                f"scale {self.scale} is no scale: give the lowest and the highest rating, as 0,10"
            )
        if self.separator == "":
            raise ValueError("separator is empty: give the text between two fields, or leave it out")
        try:
            "".encode(self.encoding)
        except LookupError as error:
            raise ValueError(f"unknown encoding {self.encoding!r}: use utf-8, latin-1 or cp1252") from error


def load(path: str | os.PathLike, config: FileConfig | None = None, bad: str = "skip") -> movielens.Dataset:
    """Read a data set in a known form, or a file whose columns the config names.

    Known are a folder of ml-latest or ml-25m (ratings.csv and movies.csv), ml-1m (ratings.dat), ml-100k
    (u.data) and HetRec's Last.fm (user_artists.dat, which gzip may have compressed, and artists.dat if it is
    there). With ``columns``, a folder stands for the only file of text in it.

    Ratings are turned into half stars by `levels`, counts too. Ids that are integers of 32 bits stay; if one
    is not, users and items are numbered from 1 in the alphabetical order of their ids. Of several ratings of
    one item by one user the newest is kept, the others become problems. Counts of one item by one user are
    added, except in HetRec's Last.fm, where a second one is a problem.

    Args:
      path: the folder or the file.
      config: the columns of a file that is in no known form, and which ratings are uses.
      bad: what to do with a row that cannot be used. ``skip``: list it in the problems. ``refuse``: raise.

    Raises:
      ValueError: ``bad`` is unknown, nothing is at the path, it is in no known form and no columns are named,
        a column is missing, no row can be used, at least ten rows and a tenth of all cannot be used, there
        are too many different ratings, or a row cannot be used and ``bad`` is ``refuse``.

    Source: docs/semantics/recommender.md.
    """
    config = config or FileConfig()
    if bad not in _BAD:
        raise ValueError(f"unknown bad {bad!r}: use {' or '.join(_BAD)}")
    path = pathlib.Path(path)
    with files.reaching(path, "read"):
        there = path.exists()
        names = {x.name for x in path.iterdir()} if path.is_dir() else set()
    if not there:
        raise ValueError(f"{path} is not there: give a file of ratings, or the folder of a data set")
    plays = next((x for x in _PLAYS if x in names), None)
    if config.columns:
        return _described(_only(path, names), config, bad)
    if plays:
        return _lastfm(path, plays, config, bad)
    known = {"u.data": "ml-100k", "ratings.dat": "ml-1m", "ratings.csv": "ml-latest-small"}
    name = next((kind for file, kind in known.items() if file in names), None)
    if name is None:
        raise ValueError(
            f"{path} is in no known form: say what the columns of the file hold, such as "
            "columns=user:NAME,item:NAME,rating:NAME"
        )
    return of_uses(movielens.load(str(path), name, bad), config.uses)


def of_uses(dataset: movielens.Dataset, least: float | None) -> movielens.Dataset:
    """Keep the ratings of at least ``least`` stars, all as 5 stars; None keeps the data set as it is.

    Args:
      dataset: the films and ratings; all films are kept, and the users who have a rating left.
      least: the least number of stars, or None.

    Raises:
      ValueError: no rating has that many stars.

    Source: docs/semantics/recommender.md.
    """
    if least is None:
        return dataset
    kept = dataset.ratings.stars >= least
    if not kept.any():
        raise ValueError(
            f"no rating of {len(kept):,} is {least:g} stars or more: give a smaller number of uses"
        )
    user, film, stars, time = (x[kept] for x in dataset.ratings)
    left, user = np.unique(user, return_inverse=True)
    ratings = movielens.Ratings(user.astype(np.int32), film, np.full_like(stars, 5), time)
    said = (
        f"{dataset.description}; uses: {len(user):,} ratings of {least:g} stars or more, {len(left):,} users"
    )
    return dataset._replace(
        ratings=ratings, users=dataset.users[left], description=said, levels=(least,) * BITS
    )


def levels(values: np.ndarray) -> tuple[float, ...]:
    """Find the ten edges that turn the values of a data set into half stars, by its own levels.

    With n <= 10 different values, the k-th gets ``ceil(10 k / n)`` half stars: 1 to 5 become 1 to 5 stars.
    With more, the two neighbouring levels that together have the fewest ratings are joined, of equal ones the
    lower, until ten are left; more than a thousand values are first cut into a thousand of equal numbers.

    Args:
      values: numbers ``[N]``, N >= 1.

    Returns:
      Ten numbers, ascending: the smallest value that sets each label bit.

    Raises:
      ValueError: there is no value, or one is not finite.

    Source: docs/semantics/recommender.md.
    """
    checks.array("values", values, "numbers", {"N": None})
    checks.integer("the number of values", len(values), Limits(least=1))
    low, count = np.unique(values, return_counts=True)
    if len(low) > _MOST_LEVELS:
        part = (np.cumsum(count) - count) * _MOST_LEVELS // count.sum()
        first = np.unique(part, return_index=True)[1]
        low, count = low[first], np.add.reduceat(count, first)
    while len(low) > BITS:
        at = int(np.argmin(count[1:] + count[:-1]))
        count[at] += count[at + 1]
        low, count = np.delete(low, at + 1), np.delete(count, at + 1)
    height = np.ceil(BITS * np.arange(1, len(low) + 1) / len(low))
    return tuple(float(low[np.searchsorted(height, bit)]) for bit in range(1, BITS + 1))


def stars_of(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Turn the values of a data set into stars, ``float32`` of the same shape, by the edges of `levels`.

    Source: docs/semantics/recommender.md.
    """
    return (np.searchsorted(np.asarray(edges), values, side="right") / 2).astype(np.float32)


def _roles(columns: Sequence[str]) -> dict[str, str]:
    """Return the name or number of the column of each role.

    Raises:
      ValueError: a role is unknown, named twice or missing.
    """
    found: dict[str, str] = {}
    for entry in columns:
        role, _, name = entry.partition(":")
        if role not in _ROLES or not name or role in found:
            raise ValueError(
                f"columns has {entry!r}: give each of {', '.join(_ROLES)} at most once, as user:NAME"
            )
        found[role] = name
    if missing := {"user", "item"} - found.keys():
        raise ValueError(f"columns names no {' and no '.join(sorted(missing))}: give user:NAME and item:NAME")
    if len({"rating", "count"} & found.keys()) == 2:
        raise ValueError("columns names a rating and a count: give one of them")
    if len(set(found.values())) < len(found):
        raise ValueError(f"columns {','.join(columns)} gives one column two roles: name each column once")
    return found


def _only(path: pathlib.Path, names: set[str]) -> pathlib.Path:
    if not path.is_dir():
        return path
    found = sorted(name for name in names if name.lower().endswith(_ENDINGS))
    if len(found) != 1:
        raise ValueError(f"{path} holds {len(found)} files of text ({', '.join(found[:5])}): give one file")
    return path / found[0]


def _described(path: pathlib.Path, config: FileConfig, bad: str) -> movielens.Dataset:
    """Read a file whose columns are named."""
    role = _roles(config.columns)
    separator = _WORDS.get(config.separator or "", config.separator or "")
    numbered = all(name.isdecimal() for name in role.values())
    first = next((x for x in rows.text_of(path, config.encoding).splitlines() if x.strip()), "")
    separator = separator or max(_SEPARATORS, key=first.count)
    head = [x.strip().strip('"') for x in first.split(separator)]
    missing = [name for name in role.values() if name not in head]
    if not numbered and missing:
        raise ValueError(
            f"{path} has no column {', '.join(missing)}: line 1, split at {separator!r}, has "
            f"{', '.join(map(repr, head[:8]))}; name those, give another separator, or numbers from 1 if no "
            "line names the columns"
        )
    kinds = {"user": _ID, "item": _ID, "rating": _rating(config.scale), "count": _COUNT, "time": _TIME}
    order = [x for x in _ROLES if x in role]
    table = Table(
        path.name,
        tuple((role[x], kinds[x]) for x in order),
        separator=separator,
        encoding=config.encoding,
        places=tuple(int(role[x]) for x in order) if numbered else (),
    )
    problems: list[Problem] = []
    read = rows.parsed(path.parent, table, problems)[0]
    _usable(path, len(read), problems)
    return _dataset(path, [dict(zip((*order, "line"), x, strict=True)) for x in read], problems, config, bad)


def _lastfm(folder: pathlib.Path, file: str, config: FileConfig, bad: str) -> movielens.Dataset:
    """Read HetRec's Last.fm; its file of plays may begin with a header, or with lines of one number."""
    columns = (("userID", rows.INTEGER), ("artistID", rows.INTEGER), ("weight", _COUNT))
    lines = [line.strip() for line in rows.text_of(folder / file, "utf-8-sig").splitlines()]
    counts = []
    while len(counts) < len(lines) and lines[len(counts)].isdecimal():
        counts.append(int(lines[len(counts)]))
    named = bool(lines) and lines[0].startswith("userID")
    table = Table(file, columns, separator="\t", skip=len(counts), places=() if named else (1, 2, 3))
    problems: list[Problem] = []
    read = rows.parsed(folder, table, problems)[0]
    _usable(folder / file, len(read), problems)
    left = sum(bool(x) for x in lines[len(counts) :])
    if counts and counts[-1] != left:
        problems.append(Problem(file, len(counts), f"it says {counts[-1]:,} rows, and {left:,} rows follow"))
    first: dict[tuple[int, int], int] = {}
    found = []
    for user, item, plays, line in read:
        if first.setdefault((user, item), line) != line:
            again = f"user {user} has artist {item} on line {first[user, item]} already, which is kept"
            problems.append(Problem(file, line, again))
        else:
            found.append({"user": str(user), "item": str(item), "count": plays, "line": line})
    _usable(folder / file, len(found), problems)
    names = {}
    if (folder / _ARTISTS).exists():
        table = Table(_ARTISTS, (("id", rows.INTEGER), ("name", rows.TEXT)), unique=True, separator="\t")
        names = {str(x): name for x, name, _ in rows.parsed(folder, table, problems)[0]}
    return _dataset(folder / file, found, problems, config, bad, names)


def _dataset(
    path: pathlib.Path,
    read: list[dict],
    problems: list[Problem],
    config: FileConfig,
    bad: str,
    names: Mapping[str, str] | None = None,
) -> movielens.Dataset:
    """Turn joined rows into arrays: values into stars, and ids into places."""
    counted, timed = "rating" not in read[0], "time" in read[0]
    best = _joined(path, read, problems)
    problems.sort(key=lambda x: (x.file != path.name, x.file, x.line))
    rows.refuse(problems, bad)
    if config.uses is not None:
        best = {pair: x for pair, x in best.items() if x[2] >= config.uses}
        if not best:
            raise ValueError(f"no value of {path} is {config.uses:g} or more: give a smaller number of uses")
    users, items = (_ids([pair[i] for pair in best]) for i in range(2))
    values = np.array([x[2] for x in best.values()])
    if not counted and len(np.unique(values)) > _MOST_LEVELS:
        raise ValueError(
            f"{path} has {len(np.unique(values)):,} different ratings, and {_MOST_LEVELS:,} are allowed: "
            "name a column of counts as count, or swap columns that were mistaken for each other"
        )
    edges = levels(values) if config.uses is None else (config.uses,) * BITS
    user, item = (np.array([i[p[k]] for p in best], np.int32) for k, i in ((0, users[1]), (1, items[1])))
    time, line = (np.array([x[k] for x in best.values()], np.int64) for k in range(2))
    order = np.lexsort((line, time, user))
    ratings = movielens.Ratings(user[order], item[order], stars_of(values, edges)[order], time[order])
    films, unknown = len(items[0]), np.full(len(items[0]), np.nan, np.float32)
    whole = all(str(number) == text for number, text in zip(items[0].tolist(), items[1], strict=True))
    titles = [(names or {}).get(x, f"item {x}" if whole else x) for x in items[1]]
    facts = movielens.Films(
        items[0], titles, [()] * films, [()] * films, [""] * films, unknown, unknown, unknown
    )
    kind = "uses" if config.uses is not None else "counts" if counted else "ratings"
    description = (
        f"{path.name}: {len(values):,} {kind}, {len(users[0]):,} users, {films:,} items, "
        f"{len(np.unique(values)):,} different values; problems: {len(problems):,}"
    )
    return movielens.Dataset(facts, ratings, users[0], problems, description, timed, edges)


def _joined(
    path: pathlib.Path, read: list[dict], problems: list[Problem]
) -> dict[tuple[str, str], tuple[int, int, float]]:
    """Return the time, line and value of each user and item: counts are added, the newest rating is kept."""
    best: dict[tuple[str, str], tuple[int, int, float]] = {}
    for x in read:
        pair = x["user"], x["item"]
        new = x.get("time", 0), x["line"], float(x.get("rating", x.get("count", 1.0)))
        old = best.setdefault(pair, new)
        if old is not new and "rating" in x:
            best[pair], (_, line, _) = max(old, new), min(old, new)
            reason = f"user {pair[0]} rated item {pair[1]} twice: line {best[pair][1]} is kept"
            problems.append(Problem(path.name, line, reason))
        elif old is not new:
            best[pair] = *max(old[:2], new[:2]), old[2] + new[2]
    return best


def _ids(given: Sequence[str]) -> tuple[np.ndarray, dict[str, int]]:
    """Return ids, ascending, and the place of each: integers stay, others are numbered by the alphabet."""
    distinct = set(given)
    by_number: dict[int, str] = {}
    with contextlib.suppress(ValueError):
        by_number = {int(x): x for x in distinct}
    whole = len(by_number) == len(distinct) and all(-(1 << 31) <= x < 1 << 31 for x in by_number)
    ordered = [by_number[x] for x in sorted(by_number)] if whole else sorted(distinct)
    ids = np.array(ordered if whole else range(1, len(ordered) + 1), np.int32)
    return ids, {x: place for place, x in enumerate(ordered)}


def _usable(path: pathlib.Path, read: int, problems: list[Problem]) -> None:
    """Check that rows are left, and that few are bad: the rest would be a biased part.

    Raises:
      ValueError: no row is left, or many rows are bad.
    """
    bad = len(problems)
    if read and (bad < _MANY or bad < 0.1 * (read + bad)):
        return
    first = f"line {problems[0].line}: {problems[0].reason}" if problems else "it has no row"
    raise ValueError(
        f"{bad:,} of {read + bad:,} rows of {path} cannot be used, the first is {first}: look at the "
        "separator, the columns and the scale"
    )


def _rating(scale: Sequence[float]):
    if not scale:
        return rows.kind("a finite number", _number, math.isfinite)
    low, high = scale
    return rows.kind(f"a number from {low:g} to {high:g}", _number, lambda x: low <= x <= high)


def _number(field: str) -> float:
    if "_" in field:  # Python would read 1_0 as ten
        raise ValueError
    return float(field)


def _moment(field: str) -> int:
    with contextlib.suppress(ValueError):
        return int(_number(field))
    moment = datetime.datetime.fromisoformat(field.strip())
    return int((moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp())


_ID = rows.kind("an id", str.strip)
_COUNT = rows.kind("a finite number above 0", _number, lambda x: 0 < x < math.inf)
_TIME = rows.kind("a number of seconds or a date", _moment, range(-(1 << 63), 1 << 63).__contains__)
