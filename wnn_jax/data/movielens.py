"""MovieLens: films, ratings and TMDB metadata as arrays.

A row that cannot be used is never dropped silently: it becomes a `Problem`, or an error.

Source: Harper and Konstan 2015, "The MovieLens Datasets: History and Context"; docs/semantics/recommender.md.
"""

import contextlib
import csv
import hashlib
import http.client
import io
import itertools
import math
import os
import pathlib
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import numpy as np

from wnn_jax import files
from wnn_jax.data import tokenizers

URL = "https://files.grouplens.org/datasets/movielens"
_OPTIONAL = ("popularity", "original_language")
_NO_GENRE = ("", "(no genres listed)", "unknown")
_UNKNOWN = (math.nan, math.nan, math.nan, "")


class Films(NamedTuple):
    """F films.

    Attributes:
      ids: ``int32 [F]``, the film ids of the data set, ascending.
      titles: F strings.
      genres: F tuples of genres in lower case, in the order of the file; ``()`` if no genre is listed.
      tags: F tuples of free-text tags in lower case, distinct and sorted; ``()`` if there is no tag.
      language: F strings, TMDB's ``original_language``; "" if it is unknown.
      vote_average: ``float32 [F]``, TMDB's mean vote, 0 to 10; NaN if it is unknown.
      vote_count: ``float32 [F]``, TMDB's number of votes; NaN if it is unknown.
      popularity: ``float32 [F]``, TMDB's popularity; NaN if it is unknown.

    Source: docs/semantics/recommender.md.
    """

    ids: np.ndarray
    titles: list[str]
    genres: list[tuple[str, ...]]
    tags: list[tuple[str, ...]]
    language: list[str]
    vote_average: np.ndarray
    vote_count: np.ndarray
    popularity: np.ndarray


class Ratings(NamedTuple):
    """N ratings, ordered by user, then by time, then by line. No pair of a user and a film occurs twice.

    Attributes:
      user: ``int32 [N]``, indices into the users.
      film: ``int32 [N]``, indices into the films.
      stars: ``float32 [N]``, 0.5 to 5.0 in halves.
      time: ``int64 [N]``, seconds since 1970.

    Source: docs/semantics/recommender.md.
    """

    user: np.ndarray
    film: np.ndarray
    stars: np.ndarray
    time: np.ndarray


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


class Dataset(NamedTuple):
    """A data set, as it was read.

    Attributes:
      films: the films.
      ratings: the ratings.
      users: ``int32 [U]``, the user ids of the data set, ascending; each user has a rating.
      problems: the rows that were not read, file by file, then by line.
      description: the name, the sizes, whether films were joined by the wrong ids, and the number of
        problems.

    Source: docs/semantics/recommender.md.
    """

    films: Films
    ratings: Ratings
    users: np.ndarray
    problems: list[Problem]
    description: str


class _Bad(Exception):
    """The reason why a row cannot be used."""


class _Table(NamedTuple):
    file: str
    columns: tuple[tuple[str, Callable[[str, str], Any]], ...]
    unique: bool = False  # of rows with the same first column, the first is kept
    separator: str = ","
    old: bool = False  # the format of 1998: latin-1, no header, no quotes
    multiline: bool = False


def _kind(what: str, read: Callable[[str], Any], valid: Callable[[Any], bool] = bool, *blank: Any):
    """Make a function that converts a field of a column; an empty field gives ``blank`` if that is given."""

    def convert(name: str, field: str):
        if blank and not field.strip():
            return blank[0]
        with contextlib.suppress(ValueError):
            # Python would read 1_0 as ten.
            if ("_" not in field or read not in (int, float)) and valid(value := read(field)):
                return value
        raise _Bad(f"{name} {field!r:.80} is not {what}")

    return convert


def _genres(field: str) -> tuple[str, ...]:
    return tuple(x for genre in field.split("|") if (x := genre.strip().lower()) not in _NO_GENRE)


_BITS_32 = "an integer of 32 bits", int, range(-(1 << 31), 1 << 31).__contains__
_INTEGER, _OR_NONE = _kind(*_BITS_32), _kind(*_BITS_32, None)
_TIME = _kind("an integer of 64 bits", int, range(-(1 << 63), 1 << 63).__contains__)
_STARS = _kind("a number from 0.5 to 5.0 in halves", float, [x / 2 for x in range(1, 11)].__contains__)
_VOTE = _kind("a finite number", float, math.isfinite, math.nan)
_FLAG = _kind("0 or 1", ("0", "1").index, lambda _: True)
_TAG = _kind("a word", lambda x: x.strip().lower())
_TEXT = _kind("text", str.strip, bool, "")
_FILM, _TITLE, _LANGUAGE = ("movieId", _INTEGER), ("title", _TEXT), ("original_language", _TEXT)
_RATING = (("userId", _INTEGER), _FILM, ("rating", _STARS), ("timestamp", _TIME))
_VOTES = (("vote_average", _VOTE), ("vote_count", _VOTE), ("popularity", _VOTE))
_TMDB = _Table("tmdb_metadata.csv", (("id", _INTEGER), *_VOTES, _LANGUAGE), unique=True, multiline=True)
_FORMATS: dict[str, dict[str, _Table]] = {
    "ml-latest-small": {
        "ratings": _Table("ratings.csv", _RATING),
        "films": _Table("movies.csv", (_FILM, _TITLE, ("genres", lambda _, x: _genres(x))), unique=True),
        "links": _Table("links.csv", (_FILM, ("tmdbId", _OR_NONE)), unique=True),
        "tags": _Table("tags.csv", (_FILM, ("tag", _TAG))),
    },
    "ml-100k": {
        "ratings": _Table("u.data", _RATING, separator="\t", old=True),
        "films": _Table("u.item", (_FILM, _TITLE, *[("", _TEXT)] * 3), unique=True, separator="|", old=True),
        # The names of the last columns of a row of films, which are 0 or 1.
        "genres": _Table("u.genre", (("name", _TEXT), ("index", _INTEGER)), separator="|", old=True),
    },
}
_KIND = "movielens"  # of a sealed download
_CHOICES = {"name": tuple(_FORMATS), "bad": ("skip", "refuse"), "join": ("links", "ids")}


def load(
    data_dir: str | None = None, name: str = "ml-latest-small", bad: str = "skip", join: str = "links"
) -> Dataset:
    """Read a data set, with ``tmdb_metadata.csv`` if that file is in the same folder or in the one above.

    Args:
      data_dir: the folder of the data set, or a folder that holds a folder called ``name``. None means
        ``$WNN_JAX_DATA/movielens`` if the data set is there, else the official download, kept in the cache.
      name: ``ml-latest-small``, or ``ml-100k``, which has neither tags nor TMDB fields.
      bad: what to do with a row that cannot be used. ``skip``: list it in the problems. ``refuse``: raise. Of
        rows with the same id in movies.csv, links.csv or the metadata, the first is kept and the others
        cannot be used. Blank lines are ignored.
      join: how a film gets its metadata. ``links``: by the TMDB id that links.csv gives. ``ids``: by a
        published mistake, which takes the MovieLens id m of a film for a TMDB id. Film m then gets the
        genres, tags and TMDB fields of the film whose TMDB id is m (of several such films, the one with the
        lowest MovieLens id; no genres and tags if there is no such film). Films whose id is not in the
        metadata are removed with their ratings, and so are users who have no rating left.

    Returns:
      The data set.

    Raises:
      ValueError: a choice is unknown; the data set is not there and cannot be downloaded; a file is missing,
        empty, not decodable or lacks a column; ``ids`` is chosen without links.csv or metadata; or a row
        cannot be used and ``bad`` is ``refuse``.

    Source: docs/semantics/recommender.md.
    """
    _check(name=name, bad=bad, join=join)
    form, folder = _FORMATS[name], _folder(data_dir, name)
    places = folder, pathlib.Path(os.path.abspath(folder)).parent
    above = next((x for x in places if (x / _TMDB.file).exists()), None)
    if join == "ids" and not ("links" in form and (folder / form["links"].file).exists() and above):
        raise ValueError(
            f"join='ids' needs links.csv and {_TMDB.file}, and {folder} lacks one of them: use join='links'"
        )
    problems: list[Problem] = []
    known, links, tmdb, tags = _films(folder, form, problems), {}, {}, {}
    if "links" in form:
        rows, _ = _parsed(folder, form["links"], problems, known)
        links = {film: key for film, key, _ in rows if key is not None}
        rows, _ = _parsed(above, _TMDB, problems) if above else ((), {})
        tmdb = {key: fields for key, *fields, _ in rows}
    if "tags" in form and (folder / form["tags"].file).exists():
        for film, tag, _ in _parsed(folder, form["tags"], problems, known)[0]:
            tags.setdefault(film, set()).add(tag)

    ids = sorted(known)
    source, key = {x: x for x in ids}, links
    if join == "ids":
        source, key = {links[x]: x for x in reversed(ids) if x in links}, source
    fields = [tmdb[key[x]] if key.get(x) in tmdb else _UNKNOWN for x in ids]
    films = Films(
        np.array(ids, np.int32),
        [known[x][0] for x in ids],
        [known[source[x]][1] if x in source else () for x in ids],
        [tuple(sorted(tags.get(source.get(x), ()))) for x in ids],
        [x[-1] for x in fields],
        *np.array([x[:-1] for x in fields], np.float32).reshape(-1, 3).T,
    )
    ratings, users, found = _ratings(folder, form["ratings"], films, False)
    problems += found
    _refuse(problems, bad)
    total, joined = len(ratings.user), ""
    if join == "ids":
        films, ratings, users = _keep(films, ratings, users, np.isin(films.ids, list(tmdb)))
        joined = f"; joined by the wrong ids: {len(ratings.user):,} of {total:,} ratings left"
    voted = np.isfinite(films.vote_average).sum()
    description = (
        f"{name}: {len(ratings.user):,} ratings, {len(users):,} users, {len(films.ids):,} films, "
        f"{voted:,} of them with TMDB votes{joined}; problems: {len(problems):,}"
    )
    return Dataset(films, ratings, users, problems, description)


def read_ratings(
    path: str | os.PathLike, films: Films, bad: str = "skip", ordered: bool = False
) -> tuple[Ratings, np.ndarray, list[Problem]]:
    """Read one file in the format of ratings.csv: the columns userId, movieId, rating and timestamp, by name.

    Of several rows for one user and film the newest is kept; of equally new ones the last. The others become
    problems.

    Args:
      path: the file.
      films: the films that may be rated.
      bad: what to do with a row that cannot be used. ``skip``: list it in the problems. ``refuse``: raise.
      ordered: whether the file is a log in the order of time. A row that is older than an earlier row of the
        same user is then a problem too.

    Returns:
      The ratings; the user ids ``int32 [U]``, ascending, each with a rating; and the problems by line. A user
      who has no usable row is one more problem, at the line of the user's first row.

    Raises:
      ValueError: the file is missing, empty, not UTF-8 or lacks a column; or a row cannot be used and ``bad``
        is ``refuse``.

    Source: docs/semantics/recommender.md.
    """
    _check(bad=bad)
    folder, file = os.path.split(path)
    read = _ratings(pathlib.Path(folder), _Table(file, _RATING), films, ordered)
    _refuse(read[2], bad)
    return read


def _check(**chosen: str) -> None:
    for what, value in chosen.items():
        if value not in _CHOICES[what]:
            raise ValueError(f"unknown {what} {value!r}: use {' or '.join(_CHOICES[what])}")


def _refuse(problems: list[Problem], bad: str) -> None:
    if problems and bad == "refuse":
        raise ValueError("{} line {}: {}".format(*problems[0]))


def _keep(films: Films, ratings: Ratings, users: np.ndarray, kept: np.ndarray):
    """Keep the films where ``kept`` is true, their ratings, and the users who still have a rating."""
    places = np.flatnonzero(kept)
    films = Films._make(x[kept] if isinstance(x, np.ndarray) else [x[i] for i in places] for x in films)
    user, film, stars, time = (x[kept[ratings.film]] for x in ratings)
    left, user = np.unique(user, return_inverse=True)
    film = np.searchsorted(places, film).astype(np.int32)
    return films, Ratings(user.astype(np.int32), film, stars, time), users[left]


def _films(folder: pathlib.Path, form: dict[str, _Table], problems: list[Problem]) -> dict[int, tuple]:
    """Return the title and genres of each film, by film id."""
    table, names, width = form["films"], [], len(form["films"].columns)
    if "genres" in form:
        wrong: list[Problem] = []
        found = sorted(_parsed(folder, form["genres"], wrong)[0], key=lambda x: x[1])
        _refuse(wrong, "refuse")  # this file decides what the columns of all films mean, as a header does
        if [index for _, index, _ in found] != list(range(len(found))):
            raise ValueError(f"{folder / form['genres'].file} must number its genres from 0, each once")
        names = [name for name, *_ in found]
        table = table._replace(columns=table.columns + tuple((name, _FLAG) for name in names))
    rows, _ = _parsed(folder, table, problems)
    if names:
        rows = [(*x[:2], _genres("|".join(itertools.compress(names, x[width:-1])))) for x in rows]
    return {film: (title, genres) for film, title, genres, *_ in rows}


def _ratings(folder: pathlib.Path, table: _Table, films: Films, ordered: bool):
    index = {film: i for i, film in enumerate(films.ids.tolist())}
    problems, read, newest, best = [], [], {}, {}
    rows, first = _parsed(folder, table, problems, index)
    for row in rows:
        user, film, _, time, line = row
        last, above = newest.get(user, (time, line))
        if ordered and time < last:
            reason = f"time {time} is before time {last} on line {above} of the same user"
            problems.append(Problem(table.file, line, reason))
        else:
            newest[user] = time, line
            best[user, film] = max(best.get((user, film), (time, line)), (time, line))
            read.append(row)
    for user, film, _, _, line in read:
        if line != (stays := best[user, film][1]):
            why = f"older than line {stays}" if line > stays else f"rated again on line {stays}"
            reason = f"user {user} rated film {film} twice: {why}, which is kept"
            problems.append(Problem(table.file, line, reason))
    lost = first.keys() - {user for user, _ in best}
    problems += [Problem(table.file, first[x], f"user {x} has no rating left") for x in lost]
    problems.sort(key=lambda x: x.line)  # stable: the problem of a row comes before the problem of its user

    rows = sorted((x for x in read if best[x[:2]][1] == x[4]), key=lambda x: (x[0], x[3], x[4]))
    user, film, stars, time, _ = zip(*rows, strict=True) if rows else ((),) * 5
    users, place = np.unique(np.array(user, np.int32), return_inverse=True)
    columns = (place, np.int32), ([index[x] for x in film], np.int32), (stars, np.float32), (time, np.int64)
    return Ratings._make(np.array(x, dtype) for x, dtype in columns), users, problems


def _parsed(
    folder: pathlib.Path, table: _Table, problems: list[Problem], known: Collection[int] | None = None
) -> tuple[list[tuple], dict[Any, int]]:
    """Read a table: the values and line of each good row, and the first line of each value of column one."""
    records = ((line, row) for line, row in _records(folder / table.file, table) if row)
    header = names = [name for name, _ in table.columns]
    if not table.old:
        _, row = next(records)
        header = [x.strip() for x in row] if isinstance(row, list) else []
        wanted = [x for x in names if x not in _OPTIONAL]
        if missing := [x for x in wanted if x not in header]:
            lacking = f"{folder / table.file} has no column {', '.join(missing)}"
            raise ValueError(f"{lacking}: line 1 must name {', '.join(wanted)}")
    pick = [i if table.old else header.index(x) if x in header else -1 for i, x in enumerate(names)]
    fields = [(place, *column) for place, column in zip(pick, table.columns, strict=True)]
    good, first, taken = [], {}, {}
    for line, row in records:
        try:
            if isinstance(row, str):
                raise _Bad(row)
            if len(row) != len(header):
                raise _Bad(f"{len(row)} columns instead of {len(header)}: {table.separator.join(row)!r:.60}")
            row.append("")  # place -1, the field of a column that the file does not have
            values = []
            for place, name, convert in fields:
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


def _records(path: pathlib.Path, table: _Table) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the first line of every record with its fields, or with the reason why its quotes are wrong."""
    try:
        content = path.read_bytes().decode("latin-1" if table.old else "utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        byte, line = error.object[error.start], error.object.count(10, 0, error.start) + 1
        raise ValueError(f"{path} is not UTF-8: byte 0x{byte:02x} on line {line}") from error
    if not content.strip():
        raise ValueError(f"{path} is empty: give the file of the data set")
    stream = io.StringIO(content, newline="")
    # If each row has one line, a stray quote must not swallow all rows up to the next quote.
    chunks = [stream] if table.multiline else ([x] for x in stream)
    quoting, above = csv.QUOTE_NONE if table.old else csv.QUOTE_MINIMAL, 0
    for chunk in chunks:
        reader = csv.reader(chunk, delimiter=table.separator, quoting=quoting, strict=True)
        while True:
            line = above + reader.line_num + 1
            try:
                yield line, next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                yield line, f"wrong quotes ({error} on line {above + reader.line_num})"
        above += reader.line_num


def _folder(data_dir: str | None, name: str) -> pathlib.Path:
    root, form = os.environ.get("WNN_JAX_DATA"), _FORMATS[name]
    cache = tokenizers.cache_folder() / "movielens"
    places = [pathlib.Path(root) / "movielens", cache] if root else [cache]
    for place in places if data_dir is None else [pathlib.Path(data_dir)]:
        for folder in (place / name, place):
            there = (folder / form["ratings"].file).exists() or (folder / form["films"].file).exists()
            if there and (place is not cache or _is_whole(folder)):
                return folder
    if data_dir is not None:
        raise ValueError(f"{data_dir} has no {form['ratings'].file}: data_dir must be the folder of {name}")
    return _download(cache, name)


def _is_whole(folder: pathlib.Path) -> bool:
    """Say whether a download in the cache is as it was; files that a user added do not matter."""
    if not (folder / files.SEAL).exists():
        return True  # a user put it there, or a version that did not seal it
    try:
        files.opened_folder(folder, _KIND, 1, more=True)
    except files.Damaged:
        return False
    return True


def _download(cache: pathlib.Path, name: str) -> pathlib.Path:
    address = f"{URL}/{name}.zip"
    by_hand = f"download {address}, unpack it and give its folder as data_dir"
    try:
        pages = (urllib.request.urlopen(x, timeout=60) for x in (address, f"{address}.md5"))
        data, listed = (page.read() for page in pages)
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if digest not in listed.decode("latin-1").lower():
            raise ValueError(f"{address} is damaged: MD5 is {digest}, not {listed.strip()!r}: {by_hand}")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            zipfile.ZipFile(io.BytesIO(data)).extractall(temporary)
            made = pathlib.Path(temporary) / name
            files.seal_folder(made, _KIND, 1, {"address": address})
            if not (cache / name).exists():
                os.rename(made, cache / name)
            else:  # it was damaged; what a user added to it stays
                for path in sorted(x for x in made.rglob("*") if x.is_file()):
                    os.replace(path, cache / name / path.relative_to(made))
    except (OSError, http.client.HTTPException, zipfile.BadZipFile) as error:
        raise ValueError(f"{name} could not be downloaded ({type(error).__name__}): {by_hand}") from error
    return cache / name
