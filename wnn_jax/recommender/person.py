"""A person: one agent with its catalogue, which learns ratings, recommends films, and forgets exactly.

Lengths are padded to powers of two, so that compiled functions are reused as a person rates more.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.recommender import agent, factors, fields
from wnn_jax.recommender import catalogue as films_of
from wnn_jax.recommender.catalogue import Catalogue

Film = int | str
"""An id of the data set, or a title."""

DEFAULT = agent.AgentConfig(prior_weight=1.0)
_LIKED = 7  # the label bit of four stars


class Person(NamedTuple):
    """A person: the ratings learnt, and the catalogue they are of.

    Attributes:
      key: decides random ties and nothing else.
      catalogue: the films.
      config: how the agent reads and forgets.
      agents: the one agent, its rows the ratings.
    """

    key: jax.Array
    catalogue: Catalogue
    config: agent.AgentConfig
    agents: agent.Agents


class Recommendation(NamedTuple):
    """A film and the stars the person is expected to give it."""

    film: int
    title: str
    stars: float


class RatedFilms(NamedTuple):
    """Rated films, in the order of learning: places in the catalogue ``[n]``, stars ``[n]``."""

    place: np.ndarray
    stars: np.ndarray


def new(key: jax.Array, catalogue: Catalogue, config: agent.AgentConfig = DEFAULT) -> Person:
    """A person who has rated nothing: until then the catalogue's world speaks alone.

    Args:
      key: decides random ties and nothing else.
      catalogue: the films.
      config: how the agent reads and forgets.
    """
    return Person(key, catalogue, config, agent.empty(1, catalogue.keys.shape[1]))


def learn(
    person: Person,
    films: Sequence[Film],
    stars: Sequence[float] | np.ndarray,
    time: Sequence[int] | None = None,
) -> Person:
    """Learn ratings. A film that was rated before, or is given twice, keeps its last rating alone.

    Args:
      person: who rates.
      films: n ids of the data set, or titles.
      stars: n ratings, 0.5 to 5 in halves.
      time: n integers in the unit of the config's ``half_life``; needed only where that is finite.

    Raises:
      ValueError: a film is unknown, stars are none, lengths differ, or times are missing.
    """
    places = films_of.places(person.catalogue, films)
    stars = np.asarray(stars, np.float64)
    if time is None and np.isfinite(person.config.half_life):
        raise ValueError(f"with half_life {person.config.half_life} every rating needs a time")
    times = np.zeros(len(places), np.int64) if time is None else np.asarray(time)
    if not len(places) == len(stars) == len(times):
        raise ValueError(
            f"{len(places)} films, {len(stars)} ratings and {len(times)} times: give as many of each"
        )
    wrong = stars[~np.isin(stars, np.arange(1, 11) / 2)]
    if len(wrong):
        raise ValueError(f"{wrong[0]:g} is not among 0.5, 1, ... 5 stars")
    last = [i for i, place in enumerate(places) if place not in places[i + 1 :]]
    places, stars, times = places[last], stars[last], times[last]
    person = _without(person, places)
    room = _padded(len(places))
    film, rating, when = np.full((1, room), -1), np.zeros((1, room)), np.zeros((1, room), np.int64)
    film[0, : len(places)], rating[0, : len(places)], when[0, : len(places)] = places, stars, times
    rows = agent.rows(person.catalogue.keys, film, fields.stars_to_bits(rating), when)
    return person._replace(agents=agent.learn(person.config, person.agents, rows))


def forget(person: Person, films: Sequence[Film] = (), *, genre: str | None = None) -> Person:
    """Forget ratings: the person then answers as one who never gave them, to the last bit.

    Only what an eviction or a contradiction had deleted because of them does not come back. Films that were
    not rated are no error.

    Args:
      person: who forgets.
      films: ids of the data set, or titles.
      genre: forget all films of this genre too.

    Raises:
      ValueError: a film or the genre is not in the catalogue.
    """
    places = films_of.places(person.catalogue, films)
    if genre is not None:
        places = np.concatenate([places, films_of.of_genre(person.catalogue, genre)])
    return _without(person, places)


def ratings(person: Person) -> RatedFilms:
    """The ratings that a person gave and did not forget."""
    agents = jax.tree.map(lambda x: np.asarray(x[0]), person.agents)
    rows = np.argsort(agents.order, kind="stable")
    rows = rows[agents.order[rows] > 0]
    return RatedFilms(agents.item[rows], fields.bits_to_stars(agents.labels[rows]))


def chances(person: Person, now: int = 0) -> np.ndarray:
    """The chance of every label bit of every film, ``float32 [F, L]``: rows that vote on the world's prior.

    Args:
      person: whose rows.
      now: the time from which the age of ratings counts; of no matter where ``half_life`` is infinite.
    """
    catalogue, known = person.catalogue, ratings(person)
    room = _padded(len(known.place))
    place, stars = np.full((1, room), -1, np.int32), np.zeros((1, room), np.float32)
    place[0, : len(known.place)], stars[0, : len(known.place)] = known
    everything = jnp.arange(len(catalogue.films.ids))[None]
    config = catalogue.config.factors
    prior = factors.prior(config, factors.fold_in(catalogue.factors, config, place, stars, everything))
    queries = catalogue.keys[everything]
    return np.asarray(agent.predict(person.key, person.config, person.agents, queries, now, prior))[0]


def expected_stars(person: Person, films: Sequence[Film] | None = None, now: int = 0) -> np.ndarray:
    """The stars a person is expected to give, ``float32 [n]``; of the whole catalogue without ``films``."""
    stars = chances(person, now).sum(1) / 2
    return stars if films is None else stars[films_of.places(person.catalogue, films)]


def recommend(person: Person, top: int = 8, now: int = 0) -> list[Recommendation]:
    """The films a person has not rated and is expected to like most; of equals the first in the catalogue.

    Args:
      person: for whom.
      top: the number of films, fewer if the catalogue ends.
      now: the time from which the age of ratings counts.

    Raises:
      ValueError: ``top`` is less than 1.
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    expected, films = expected_stars(person, now=now), person.catalogue.films
    order = np.argsort(-expected, kind="stable")
    order = order[~np.isin(order, ratings(person).place)][:top].tolist()
    return [Recommendation(int(films.ids[i]), films.titles[i], float(expected[i])) for i in order]


def question(person: Person, known: int = 300, skip: Collection[Film] = (), now: int = 0) -> int | None:
    """The id of the film to ask about next: the well-known one whose liking is least sure.

    Args:
      person: whom to ask.
      known: the number of films, most rated first, that count as well known.
      skip: films not to ask about.
      now: the time from which the age of ratings counts.

    Returns:
      Of equally unsure films the best known; None if all were rated or skipped.
    """
    catalogue = person.catalogue
    popular = np.argsort(-catalogue.ratings, kind="stable")[:known]
    gone = np.concatenate([ratings(person).place, films_of.places(catalogue, skip)])
    left = popular[~np.isin(popular, gone)]
    if not len(left):
        return None
    unsure = np.abs(chances(person, now)[left, _LIKED] - 0.5)
    return int(catalogue.films.ids[left[np.argmin(unsure)]])


def _without(person: Person, places: np.ndarray) -> Person:
    where = agent.of_items(person.agents, places)
    return person._replace(agents=agent.forget(person.agents, where)) if where.any() else person


def _padded(count: int) -> int:
    """A power of two, at least 8."""
    return 1 << max(3, (count - 1).bit_length())
