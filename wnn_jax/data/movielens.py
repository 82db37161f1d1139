"""MovieLens: films, ratings and TMDB metadata as arrays.

A row that cannot be used is never dropped silently: it becomes a `Problem`, or an error.

Source: Harper and Konstan 2015, "The MovieLens Datasets: History and Context"; docs/semantics/recommender.md.
"""

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
from typing import NamedTuple

import numpy as np

from wnn_jax import checks, files
from wnn_jax.checks import Limits
from wnn_jax.data import rows, tokenizers
from wnn_jax.data.rows import Problem, Table

URL = "https://files.grouplens.org/datasets/movielens"
_NO_GENRE = ("", "(no genres listed)", "unknown")
_OFF_SCALE = 10  # fewer ratings that are no stars are rows to skip, and not another scale
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


class Dataset(NamedTuple):
    """A data set, as it was read.

    Attributes:
      films: the films.
      ratings: the ratings.
      users: ``int32 [U]``, the user ids of the data set, ascending; each user has a rating.
      problems: the rows that were not read, file by file, then by line.
      description: the name, the sizes, whether films were joined by the wrong ids, and the number of
        problems.
      timed: whether the ratings have times; otherwise all are 0.
      levels: ten numbers, ascending; a rating of the data set is turned into as many half stars as levels are
        at most the rating.

    Source: docs/semantics/recommender.md.
    """

    films: Films
    ratings: Ratings
    users: np.ndarray
    problems: list[Problem]
    description: str
    timed: bool = True
    levels: tuple[float, ...] = tuple(x / 2 for x in range(1, 11))


def _genres(field: str) -> tuple[str, ...]:
    return tuple(x for genre in field.split("|") if (x := genre.strip().lower()) not in _NO_GENRE)


_OR_NONE = rows.kind(*rows.BITS_32, None)
_TIME = rows.kind("an integer of 64 bits", int, range(-(1 << 63), 1 << 63).__contains__)
_VOTE = rows.kind("a finite number", float, math.isfinite, math.nan)
_FLAG = rows.kind("0 or 1", ("0", "1").index, lambda _: True)
_TAG = rows.kind("a word", lambda x: x.strip().lower())
_FILM, _TITLE, _LANGUAGE = ("movieId", rows.INTEGER), ("title", rows.TEXT), ("original_language", rows.TEXT)
_RATING = (("userId", rows.INTEGER), _FILM, ("rating", rows.kind(*rows.SCALE)), ("timestamp", _TIME))
_VOTES = (("vote_average", _VOTE), ("vote_count", _VOTE), ("popularity", _VOTE))
_TMDB = Table(
    "tmdb_metadata.csv",
    (("id", rows.INTEGER), *_VOTES, _LANGUAGE),
    unique=True,
    multiline=True,
    optional=("popularity", "original_language"),
)
_FORMATS: dict[str, dict[str, Table]] = {
    "ml-latest-small": {
        "ratings": Table("ratings.csv", _RATING),
        "films": Table("movies.csv", (_FILM, _TITLE, ("genres", lambda _, x: _genres(x))), unique=True),
        "links": Table("links.csv", (_FILM, ("tmdbId", _OR_NONE)), unique=True),
        "tags": Table("tags.csv", (_FILM, ("tag", _TAG))),
    },
    "ml-100k": {
        "ratings": Table("u.data", _RATING, separator="\t", old=True),
        "films": Table(
            "u.item", (_FILM, _TITLE, *[("", rows.TEXT)] * 3), unique=True, separator="|", old=True
        ),
        # The names of the last columns of a row of films, which are 0 or 1.
        "genres": Table("u.genre", (("name", rows.TEXT), ("index", rows.INTEGER)), separator="|", old=True),
    },
    "ml-1m": {
        "ratings": Table("ratings.dat", _RATING, separator="::", old=True),
        "films": Table(
            "movies.dat",
            (_FILM, _TITLE, ("genres", lambda _, x: _genres(x))),
            unique=True,
            separator="::",
            old=True,
        ),
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
      name: ``ml-latest-small``, or ``ml-100k`` or ``ml-1m``, which have neither tags nor TMDB fields.
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
        empty, not decodable or lacks a column; no rating can be used; at least ten ratings, and a tenth of
        those that are left, are not stars; ``ids`` is chosen without links.csv or metadata; or a row
        cannot be used and ``bad`` is ``refuse``.

    Source: docs/semantics/recommender.md.
    """
    _check(name=name, bad=bad, join=join)
    form = _FORMATS[name]
    with files.reaching(data_dir or "the folder of MovieLens", "read"):
        folder = _folder(data_dir, name)
        places = folder, pathlib.Path(os.path.abspath(folder)).parent
        above = next((x for x in places if (x / _TMDB.file).exists()), None)
    if join == "ids" and not ("links" in form and (folder / form["links"].file).exists() and above):
        raise ValueError(
            f"join='ids' needs links.csv and {_TMDB.file}, and {folder} lacks one of them: use join='links'"
        )
    problems: list[Problem] = []
    known, links, tmdb, tags = _films(folder, form, problems), {}, {}, {}
    if "links" in form and (above or (folder / form["links"].file).exists()):
        found, _ = rows.parsed(folder, form["links"], problems, known)
        links = {film: key for film, key, _ in found if key is not None}
        found, _ = rows.parsed(above, _TMDB, problems) if above else ((), {})
        tmdb = {key: fields for key, *fields, _ in found}
    if "tags" in form and (folder / form["tags"].file).exists():
        for film, tag, _ in rows.parsed(folder, form["tags"], problems, known)[0]:
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
    ratings, users, wrong = _ratings(folder, form["ratings"], films, False)
    problems += wrong
    rows.refuse(problems, bad)
    _usable(folder / form["ratings"].file, ratings, wrong)
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


def check_ratings(ratings: Ratings, films: int) -> None:
    """Check ratings that do not come from a file: the types, the lengths, the films and the stars.

    Args:
      ratings: the ratings.
      films: F, the number of films that they may be of.

    Raises:
      ValueError: an array has another type or length, a user or film is out of range, or stars are not finite
        numbers.

    Source: docs/semantics/recommender.md.
    """
    checks.array("user", ratings.user, "integers", {"N": None}, Limits(0, checks.MOST))
    shape = {"N": len(ratings.user)}
    checks.array("film", ratings.film, "integers", shape, Limits(0, films - 1))
    checks.array("stars", ratings.stars, "numbers", shape, Limits(0, 5))
    checks.array("time", ratings.time, "numbers", shape)


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
    read = _ratings(pathlib.Path(folder), Table(file, _RATING), films, ordered)
    rows.refuse(read[2], bad)
    return read


def _check(**chosen: str) -> None:
    for what, value in chosen.items():
        if value not in _CHOICES[what]:
            raise ValueError(f"unknown {what} {value!r}: use {' or '.join(_CHOICES[what])}")


def _usable(path: pathlib.Path, ratings: Ratings, problems: list[Problem]) -> None:
    """Check that ratings are left, and that few are on another scale: the rest would be a biased part.

    Raises:
      ValueError: no rating is left, or many are not stars.
    """
    wrong = [problem for problem in problems if problem.reason.startswith("rating ")]
    if len(wrong) >= _OFF_SCALE and len(wrong) >= 0.1 * len(ratings.user):
        raise ValueError(
            f"{len(wrong):,} ratings of {path} are not stars, the first on line {wrong[0].line}: "
            f"{wrong[0].reason}: convert all of them to 0.5 to 5 stars"
        )
    if not len(ratings.user):
        first = f"line {problems[0].line}: {problems[0].reason}" if problems else "it has no row"
        raise ValueError(
            f"{path} has no rating that can be used; {first}: give rows of user, film, stars and seconds"
        )


def _keep(films: Films, ratings: Ratings, users: np.ndarray, kept: np.ndarray):
    """Keep the films where ``kept`` is true, their ratings, and the users who still have a rating."""
    places = np.flatnonzero(kept)
    films = Films._make(x[kept] if isinstance(x, np.ndarray) else [x[i] for i in places] for x in films)
    user, film, stars, time = (x[kept[ratings.film]] for x in ratings)
    left, user = np.unique(user, return_inverse=True)
    film = np.searchsorted(places, film).astype(np.int32)
    return films, Ratings(user.astype(np.int32), film, stars, time), users[left]


def _films(folder: pathlib.Path, form: dict[str, Table], problems: list[Problem]) -> dict[int, tuple]:
    """Return the title and genres of each film, by film id."""
    table, names, width = form["films"], [], len(form["films"].columns)
    if "genres" in form:
        wrong: list[Problem] = []
        found = sorted(rows.parsed(folder, form["genres"], wrong)[0], key=lambda x: x[1])
        rows.refuse(wrong, "refuse")  # this file decides what the columns of all films mean, as a header does
        if [index for _, index, _ in found] != list(range(len(found))):
            raise ValueError(f"{folder / form['genres'].file} must number its genres from 0, each once")
        names = [name for name, *_ in found]
        table = table._replace(columns=table.columns + tuple((name, _FLAG) for name in names))
    read, _ = rows.parsed(folder, table, problems)
    if names:
        read = [(*x[:2], _genres("|".join(itertools.compress(names, x[width:-1])))) for x in read]
    return {film: (title, genres) for film, title, genres, *_ in read}


def _ratings(folder: pathlib.Path, table: Table, films: Films, ordered: bool):
    index = {film: i for i, film in enumerate(films.ids.tolist())}
    problems, read, newest, best = [], [], {}, {}
    good, first = rows.parsed(folder, table, problems, index)
    for row in good:
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

    kept = sorted((x for x in read if best[x[:2]][1] == x[4]), key=lambda x: (x[0], x[3], x[4]))
    user, film, stars, time, _ = zip(*kept, strict=True) if kept else ((),) * 5
    users, place = np.unique(np.array(user, np.int32), return_inverse=True)
    columns = (place, np.int32), ([index[x] for x in film], np.int32), (stars, np.float32), (time, np.int64)
    return Ratings._make(np.array(x, dtype) for x, dtype in columns), users, problems


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
