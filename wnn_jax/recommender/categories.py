"""New categories: names that an encoder does not know, and a genre that gets a bit after agents have learnt.

A bucket is a known category whose bit an unknown name uses.

Source: docs/semantics/recommender.md.
"""

import dataclasses
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import movielens
from wnn_jax.recommender import agent, fields, protocol, trials


def vectors(sets: Iterable[Iterable[str]]) -> tuple[list[str], np.ndarray]:
    """Describe names by the names that they occur with: positive pointwise mutual information.

    Args:
      sets: the names of each film; a name that is given twice for a film counts once.

    Returns:
      The n names, sorted, and their vectors ``float64 [n, n]``; a pair that never occurs together has 0.

    Source: docs/semantics/recommender.md.
    """
    listed = [sorted(set(names)) for names in sets]
    names = sorted({name for one in listed for name in one})
    place = {name: i for i, name in enumerate(names)}
    together = np.zeros((len(names), len(names)))
    for one in listed:
        at = [place[name] for name in one]
        together[np.ix_(at, at)] += 1
    alone = np.diag(together).copy()
    np.fill_diagonal(together, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.log(together * max(1, len(listed)) / np.outer(alone, alone))
    return names, np.maximum(np.nan_to_num(information, neginf=0.0), 0.0)


def spelling(names: Sequence[str], width: int = 256) -> np.ndarray:
    """Describe names by their spelling: the runs of 2 to 4 characters, hashed and counted.

    Args:
      names: n names.
      width: the number of hash values.

    Returns:
      ``float64 [n, width]``.

    Raises:
      ValueError: the width is less than 1.

    Source: docs/semantics/recommender.md.
    """
    checks.integer("width", width, Limits(least=1))
    out = np.zeros((len(names), width))
    for row, name in zip(out, names, strict=True):
        padded = f" {name} "
        for size in (2, 3, 4):
            for start in range(len(padded) - size + 1):
                row[zlib.crc32(padded[start : start + size].encode()) % width] += 1
    return out


def buckets(unseen: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Find the known category nearest to each unseen one, by cosine.

    Args:
      unseen: ``float64 [n, d]``, the vectors of the unseen categories.
      known: ``float64 [m, d]``, the vectors of the known categories.

    Returns:
      ``int64 [n]``, the place of the nearest known category; of several nearest the first; -1 where no cosine
      is positive, or no category is known.

    Raises:
      ValueError: an array is not of finite numbers, or the vectors differ in length.

    Source: docs/semantics/recommender.md.
    """
    checks.array("known", known, "numbers", {"m": None, "d": None})
    checks.array("unseen", unseen, "numbers", {"n": None, "d": known.shape[1]})
    if not len(known):
        return np.full(len(unseen), -1)
    norm = np.linalg.norm(unseen, axis=1)[:, None] * np.linalg.norm(known, axis=1)[None]
    cosine = np.divide(unseen @ known.T, norm, out=np.zeros((len(unseen), len(known))), where=norm > 0)
    return np.where(cosine.max(1) > 0, cosine.argmax(1), -1)


def rename(column: Sequence[Sequence[str]], into: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Replace each category that has a bucket by the bucket's name; other categories stay.

    Args:
      column: the categories of each film.
      into: the bucket of a category, by the category's name.

    Source: docs/semantics/recommender.md.
    """
    return [tuple(into.get(name, name) for name in names) for names in column]


@dataclasses.dataclass(frozen=True)
class CategoriesConfig:
    """The ratings shown and asked, and the new categories.

    Attributes:
      shown: the most ratings shown of a person; the median number of ratings a person, less ``asked``, is a
        limit too.
      asked: the number of films asked of every person.
      tags: the number of tags that the encoder of tags knows, the most common ones.
      added: the genre that gets a bit after agents have learnt.

    Raises:
      ValueError: a value has another type or is out of range.

    Source: docs/semantics/recommender.md.
    """

    shown: int = 80
    asked: int = 20
    tags: int = 32
    added: str = "sci-fi"

    def __post_init__(self):
        checks.fields(self, shown=Limits(least=1), asked=Limits(least=1), tags=Limits(least=1))


class Bucketed(NamedTuple):
    """The result of one way to treat unknown names.

    Attributes:
      bits: the number of bits of the field.
      scores: how good agents with this field are.

    Source: docs/semantics/recommender.md.
    """

    bits: int
    scores: protocol.RatingScores


def bucketing(key: jax.Array, config: CategoriesConfig, dataset: movielens.Dataset) -> dict[str, Bucketed]:
    """Compare five ways to treat unknown genres, and the same five for unknown tags if the films have tags.

    The ways: drop the name; give it the bucket of its hash, of the nearest name by spelling, or of the
    nearest name by company (the names that it occurs with); or give it a bit of its own.

    Args:
      key: decides the division of people and random ties.
      config: the ratings shown and asked, and the number of known tags.
      dataset: films and ratings.

    Returns:
      A `Bucketed` for each column and way, by the name of its result row.

    Raises:
      ValueError: too few people rated enough films (`protocol.divide`).

    Source: docs/semantics/recommender.md.
    """
    trial = _trial(key, config, dataset)
    found = {}
    for column, known in (("genres", fields.GENRES), ("tags", _commonest(dataset.films.tags, config.tags))):
        if not known:
            continue
        rest = fields.DEFAULT if column == "tags" else ()
        for name, (field, names) in _ways(column, known, trial).items():
            columns = {**trial.columns, column: names}
            film_keys = fields.film_keys((field, *rest), columns)
            scores = protocol.judge(trial, trials.recommender(key, agent.AgentConfig(), film_keys))
            found[f"{column}: {name}"] = Bucketed(field.width, scores)
    return found


class Added(NamedTuple):
    """How good agents are after a genre got a bit.

    Attributes:
      within_one: the share of films of the genre that are estimated within one star.
      others_within_one: the same share of the other films.
      rmse: the root mean squared error on films of the genre, in stars.
      others_rmse: the same error on the other films.
      old_films_moved: the largest change of the chance of a label bit, over the other films.

    Source: docs/semantics/recommender.md.
    """

    within_one: float
    others_within_one: float
    rmse: float
    others_rmse: float
    old_films_moved: float


def addition(key: jax.Array, config: CategoriesConfig, dataset: movielens.Dataset) -> dict[str, Added]:
    """Compare ways to add a bit for a genre to agents that have learnt already.

    The ways: no bit; a bit that is 0 in old rows; a bit that old rows get by learning their films again; or
    the bit of the known genre that occurs with the same genres.

    Args:
      key: decides the division of people and random ties.
      config: the ratings shown and asked, and the genre.
      dataset: films and ratings.

    Returns:
      An `Added` for each way, by the name of its result row.

    Raises:
      ValueError: no film is of the genre, or none with another genre; the films asked are all of the genre or
        none is; too few people rated enough films; or a bit that is 0 in old rows changed the prediction of a
        film without it, which is a fault of the library.

    Source: docs/semantics/recommender.md.
    """
    genre, genres = config.added, dataset.films.genres
    if not any(genre in x for x in genres):
        raise ValueError(f"no film of the data set is of the genre {genre!r}: set added to a genre it has")
    trial = _trial(key, config, dataset)
    old = (fields.one_hot("genres", fields.GENRES), *fields.DEFAULT[1:])
    new = (*old, fields.Field("genres", (genre,), ((1,),), (0,)))
    before, after = (fields.film_keys(x, trial.columns) for x in (old, new))
    near = _nearest_company(genres, [genre], fields.GENRES).get(genre)
    if near is None:
        raise ValueError(f"no film of the genre {genre!r} has another genre: set added to a genre that does")
    renamed = {**trial.columns, "genres": rename(genres, {genre: near})}
    bucket = fields.film_keys(old, renamed)
    reading = agent.AgentConfig()
    learnt = trials.taught(reading, before, trial.tried)
    ways = {
        "without the genre": (learnt, before),
        "0 in old rows": (agent.widen(learnt, after.shape[1]), after),
        "rows read again": (trials.taught(reading, after, trial.tried), after),
        f"the bit of {near}": (trials.taught(reading, bucket, trial.tried), bucket),
    }
    asked, truth = trial.tried.asked, trial.tried.truth
    has = np.array([genre in x for x in genres])[asked]
    if has.all() or not has.any():
        raise ValueError(
            f"{has.sum()} of {has.size} films asked are of the genre {genre!r}, and some must be, not all: "
            "give a larger data set"
        )
    chances = {
        name: np.asarray(agent.predict(key, reading, agents, film_keys[asked]))
        for name, (agents, film_keys) in ways.items()
    }
    found = {}
    for name, each in chances.items():
        estimate = protocol.from_chances(each)
        right = np.abs(estimate.code - 2 * truth) <= 2
        off = (estimate.stars - truth) ** 2
        found[name] = Added(
            within_one=float(right[has].mean()),
            others_within_one=float(right[~has].mean()),
            rmse=float(np.sqrt(off[has].mean())),
            others_rmse=float(np.sqrt(off[~has].mean())),
            old_films_moved=float(np.abs(each - chances["without the genre"])[~has].max()),
        )
    if found["0 in old rows"].old_films_moved:
        raise ValueError("a bit that is 0 in old rows changed predictions of films without the new genre")
    return found


def _trial(key: jax.Array, config: CategoriesConfig, dataset: movielens.Dataset) -> protocol.Trial:
    movielens.check_ratings(dataset.ratings, len(dataset.films.ids))
    counts = np.bincount(dataset.ratings.user)
    median = np.median(counts) if len(counts) else 0
    shown = int(min(config.shown, median - config.asked))
    if shown < 1:
        raise ValueError(
            f"the median number of ratings a person is {median:g}, and {config.asked} are asked: give a "
            "larger data set, or ask fewer"
        )
    return protocol.divide_and_hold_out(key, dataset, shown, config.asked, whole=True)


def _ways(column: str, known: Sequence[str], trial: protocol.Trial) -> dict[str, tuple[fields.Field, list]]:
    """Return the field and the renamed column for each way to treat a name that is not ``known``."""
    films = trial.films
    values = getattr(films, column)
    unseen = sorted({name for some in values for name in some} - set(known))
    company = [(*a, *b) for a, b in zip(films.genres, films.tags, strict=True)]
    hashed = {name: known[zlib.crc32(name.encode()) % len(known)] for name in unseen}
    spelled = _nearest(spelling, unseen, known)
    together = _nearest_company(company, unseen, known)
    short = fields.one_hot(column, known)
    return {
        "dropped": (short, values),
        "a bucket by hash": (short, rename(values, hashed)),
        "nearest by spelling": (short, rename(values, spelled)),
        "nearest by company": (short, rename(values, together)),
        "a bit each": (fields.one_hot(column, (*known, *unseen)), values),
    }


def _nearest(
    vectors_of: Callable[[Sequence[str]], np.ndarray], unseen: Sequence[str], known: Sequence[str]
) -> dict[str, str]:
    """Find the nearest known name; unseen names without a positive cosine are left out."""
    found = buckets(vectors_of(unseen), vectors_of(known)).tolist()
    return {name: known[int(i)] for name, i in zip(unseen, found, strict=True) if i >= 0}


def _nearest_company(
    sets: Iterable[Iterable[str]], unseen: Sequence[str], known: Sequence[str]
) -> dict[str, str]:
    """Find the nearest known name by the names that occur with it in ``sets``."""
    names, vector = vectors(sets)
    place = {name: i for i, name in enumerate(names)}
    listed = [name for name in known if name in place]
    return _nearest(lambda some: vector[[place[name] for name in some]], unseen, listed)


def _commonest(column: Sequence[Sequence[str]], count: int) -> list[str]:
    names, times = np.unique([name for some in column for name in some], return_counts=True)
    return [str(names[i]) for i in np.lexsort((names, -times))[:count]]
