"""New categories: buckets for names that an encoder does not know, and a field that is added later."""

import dataclasses
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from wnn_jax.data import movielens
from wnn_jax.recommender import agent, fields, protocol, trials


def vectors(sets: Iterable[Iterable[str]]) -> tuple[list[str], np.ndarray]:
    """Names and their vectors ``[n, n]``: positive pointwise mutual information of coming together."""
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
    """Vectors ``[n, width]`` of names: their runs of 2 to 4 characters, hashed and counted."""
    out = np.zeros((len(names), width))
    for row, name in zip(out, names, strict=True):
        padded = f" {name} "
        for size in (2, 3, 4):
            for start in range(len(padded) - size + 1):
                row[zlib.crc32(padded[start : start + size].encode()) % width] += 1
    return out


def buckets(unseen: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which known category each unseen one falls in: ``int [n]``, the nearest by cosine, -1 where all are 0.

    Args:
      unseen, known: vectors ``[n, d]`` and ``[m, d]``; ties go to the first.
    """
    norm = np.linalg.norm(unseen, axis=1)[:, None] * np.linalg.norm(known, axis=1)[None]
    cosine = np.divide(unseen @ known.T, norm, out=np.zeros((len(unseen), len(known))), where=norm > 0)
    return np.where(cosine.max(1) > 0, cosine.argmax(1), -1)


def rename(column: Sequence[Sequence[str]], into: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The column with the categories that have a bucket called by its name; others stay."""
    return [tuple(into.get(name, name) for name in names) for names in column]


@dataclasses.dataclass(frozen=True)
class CategoriesConfig:
    """Films shown and asked, and which categories are new.

    Attributes:
      shown: the most ratings shown of a person; half the people must have ``asked`` more.
      asked: the number of films asked of everybody.
      tags: the number of tags that the encoder of tags knows.
      added: the genre that gets a bit after agents have learnt.
    """

    shown: int = 80
    asked: int = 20
    tags: int = 32
    added: str = "sci-fi"


class Bucketed(NamedTuple):
    """One way to treat unknown names: the bits that the field takes, and how good the agents are."""

    bits: int
    scores: protocol.RatingScores


def bucketing(key: jax.Array, config: CategoriesConfig, dataset: movielens.Dataset) -> dict[str, Bucketed]:
    """Try agents by how their encoder treats genres and tags that it does not know: five ways each."""
    trial = _trial(key, config, dataset)
    found = {}
    for column, known in (("genres", fields.GENRES), ("tags", _commonest(dataset.films.tags, config.tags))):
        rest = fields.DEFAULT if column == "tags" else ()
        for name, (field, names) in _ways(column, known, trial).items():
            columns = {**trial.columns, column: names}
            film_keys = fields.film_keys((field, *rest), columns)
            scores = protocol.judge(trial, trials.recommender(key, agent.AgentConfig(), film_keys))
            found[f"{column}: {name}"] = Bucketed(field.width, scores)
    return found


class Added(NamedTuple):
    """Agents after a genre got a bit.

    Attributes:
      within_one, rmse: of films of the genre, by the published metric and in stars.
      others_within_one, others_rmse: of other films.
      old_films_moved: the largest change of a label bit of other films.
    """

    within_one: float
    others_within_one: float
    rmse: float
    others_rmse: float
    old_films_moved: float


def addition(key: jax.Array, config: CategoriesConfig, dataset: movielens.Dataset) -> dict[str, Added]:
    """Try agents whose encoder gets a bit for a genre after they have learnt.

    Old rows get 0 there, or are read again, or the genre uses the bit of the nearest known one.

    Raises:
      ValueError: no film is of the genre; or the bit moved predictions of other films, where old rows have 0.
    """
    genre, genres = config.added, dataset.films.genres
    if not any(genre in x for x in genres):
        raise ValueError(f"no film of the data set is of the genre {genre!r}")
    trial = _trial(key, config, dataset)
    old = (fields.one_hot("genres", fields.GENRES), *fields.DEFAULT[1:])
    new = (*old, fields.Field("genres", (genre,), ((1,),), (0,)))
    before, after = (fields.film_keys(x, trial.columns) for x in (old, new))
    near = _nearest_company(genres, [genre], fields.GENRES)[genre]
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
        raise ValueError("widening moved the predictions of films without the new genre")
    return found


def _trial(key: jax.Array, config: CategoriesConfig, dataset: movielens.Dataset) -> protocol.Trial:
    shown = int(min(config.shown, np.median(np.bincount(dataset.ratings.user)) - config.asked))
    return protocol.divide_and_hold_out(key, dataset, shown, config.asked, whole=True)


def _ways(column: str, known: Sequence[str], trial: protocol.Trial) -> dict[str, tuple[fields.Field, list]]:
    """The field and the column's names by how a name that is not ``known`` is treated."""
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
    """The known name nearest to each unseen one that has any."""
    found = buckets(vectors_of(unseen), vectors_of(known)).tolist()
    return {name: known[int(i)] for name, i in zip(unseen, found, strict=True) if i >= 0}


def _nearest_company(
    sets: Iterable[Iterable[str]], unseen: Sequence[str], known: Sequence[str]
) -> dict[str, str]:
    """The same by the names that come together with them in ``sets``."""
    names, vector = vectors(sets)
    place = {name: i for i, name in enumerate(names)}
    listed = [name for name in known if name in place]
    return _nearest(lambda some: vector[[place[name] for name in some]], unseen, listed)


def _commonest(column: Sequence[Sequence[str]], count: int) -> list[str]:
    names, times = np.unique([name for some in column for name in some], return_counts=True)
    return [str(names[i]) for i in np.lexsort((names, -times))[:count]]
