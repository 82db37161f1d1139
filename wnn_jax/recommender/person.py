"""A person: one agent and its catalogue. A person learns ratings, recommends films, and forgets exactly.

Lengths are padded to powers of two, so that compiled functions are reused as a person rates more films.

Source: docs/semantics/recommender.md.
"""

import itertools
from collections.abc import Collection, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import movielens
from wnn_jax.recommender import agent, company, factors, fields, ranking
from wnn_jax.recommender import catalogue as films_of
from wnn_jax.recommender.catalogue import Catalogue

Film = int | str
"""A film: an id of the data set, or a title."""

DEFAULT = agent.AgentConfig(prior_weight=1.0)
_LIKED = 7  # the label bit of four stars
_REASONS = 3


class Person(NamedTuple):
    """A person: the ratings that were learnt, and the catalogue of the films.

    Attributes:
      key: decides random ties and nothing else.
      catalogue: the films.
      config: how the agent reads and forgets.
      agents: one agent (U = 1), whose rows are the ratings.

    Source: docs/semantics/recommender.md.
    """

    key: jax.Array
    catalogue: Catalogue
    config: agent.AgentConfig
    agents: agent.Agents


class Recommendation(NamedTuple):
    """A film that a person has not rated, and why it stands in the list.

    Attributes:
      film: the id of the film in the data set.
      title: the title of the film.
      stars: the rating that the person is expected to give.
      people: the number of people of the world who rated the film.
      because: titles of at most three rated films that gave the film the most votes, the strongest first.

    Source: docs/semantics/recommender.md.
    """

    film: int
    title: str
    stars: float
    people: int
    because: tuple[str, ...]


class RatedFilms(NamedTuple):
    """The films that a person rated, in the order of learning.

    Attributes:
      place: ``int32 [n]``, the places of the films in the catalogue.
      stars: ``float32 [n]``, the ratings.

    Source: docs/semantics/recommender.md.
    """

    place: np.ndarray
    stars: np.ndarray


@checks.classes
def new(key: jax.Array, catalogue: Catalogue, config: agent.AgentConfig = DEFAULT) -> Person:
    """Make a person who has rated nothing; the person's answers come from the ratings of the world alone.

    Args:
      key: decides random ties and nothing else.
      catalogue: the films.
      config: how the agent reads and forgets.

    Source: docs/semantics/recommender.md.
    """
    return Person(key, catalogue, config, agent.empty(1, catalogue.keys.shape[1]))


@checks.classes
def learn(
    person: Person,
    films: Sequence[Film],
    stars: Sequence[float] | np.ndarray,
    time: Sequence[int] | None = None,
) -> Person:
    """Learn ratings. Of several ratings of one film, earlier ones included, only the last is kept.

    Args:
      person: the person who rates.
      films: n ids of the data set, or titles.
      stars: n ratings, 0.5 to 5 in halves.
      time: n integers of 32 bits, in the unit of the config's ``half_life``; needed only if the half life is
        finite.

    Raises:
      ValueError: a film is unknown, a rating is not allowed, the lengths differ, times are missing, or a time
        is not a whole number of 32 bits.

    Source: docs/semantics/recommender.md.
    """
    places = films_of.places(person.catalogue, films)
    stars = np.asarray(stars, np.float64)
    if time is None and np.isfinite(person.config.half_life):
        raise ValueError(f"with half_life {person.config.half_life} every rating needs a time: give time")
    times = np.zeros(len(places), np.int64) if time is None else np.asarray(time)
    if times.size:
        checks.array("time", times, "integers", limits=agent.TIMES)
    if not len(places) == len(stars) == len(times):
        raise ValueError(
            f"got {len(places)} films, {len(stars)} ratings and {len(times)} times: give the same number of "
            "each"
        )
    wrong = stars[~np.isin(stars, np.arange(1, 11) / 2)]
    if len(wrong):
        raise ValueError(f"{wrong[0]:g} is not a rating: give one of 0.5, 1, ... 5 stars")
    last = [i for i, place in enumerate(places) if place not in places[i + 1 :]]
    places, stars, times = places[last], stars[last], times[last]
    person = _without(person, places)
    room = _padded(len(places))
    film, rating, when = np.full((1, room), -1), np.zeros((1, room)), np.zeros((1, room), np.int64)
    film[0, : len(places)], rating[0, : len(places)], when[0, : len(places)] = places, stars, times
    rows = agent.rows(person.catalogue.keys, film, fields.stars_to_bits(rating), when)
    return person._replace(agents=agent.learn(person.config, person.agents, rows))


@checks.classes
def forget(person: Person, films: Sequence[Film] = (), *, genre: str | None = None) -> Person:
    """Forget ratings: the person then answers, to the last bit, as one who never gave them.

    One exception: ratings that an eviction or a contradiction deleted earlier do not come back. Films that
    the person did not rate are ignored.

    Args:
      person: the person who forgets.
      films: ids of the data set, or titles.
      genre: a genre whose films are all forgotten too, or None.

    Raises:
      ValueError: a film or the genre is not in the catalogue.

    Source: docs/semantics/recommender.md.
    """
    places = films_of.places(person.catalogue, films)
    if genre is not None:
        places = np.concatenate([places, films_of.of_genre(person.catalogue, genre)])
    return _without(person, places)


@checks.classes
def ratings(person: Person) -> RatedFilms:
    """List the ratings that a person gave and did not forget, in the order of learning.

    Source: docs/semantics/recommender.md.
    """
    agents = jax.tree.map(lambda x: np.asarray(x[0]), person.agents)
    rows = np.argsort(agents.order, kind="stable")
    rows = rows[agents.order[rows] > 0]
    return RatedFilms(agents.item[rows], fields.bits_to_stars(agents.labels[rows]))


@checks.classes
def chances(person: Person, now: int = 0) -> np.ndarray:
    """Estimate the chance of every label bit of every film, ``float32 [F, L]``.

    The person's rows vote, and the factors of the world, fitted to the person's ratings, are the prior.

    Args:
      person: the person to ask.
      now: the age of a rating is the time from the rating to ``now``; not used if ``half_life`` is infinite.

    Raises:
      ValueError: ``now`` is not a whole number of 32 bits.

    Source: docs/semantics/recommender.md.
    """
    checks.integer("now", now, agent.TIMES)
    catalogue, known = person.catalogue, ratings(person)
    room = _padded(len(known.place))
    place, stars = np.full((1, room), -1, np.int32), np.zeros((1, room), np.float32)
    place[0, : len(known.place)], stars[0, : len(known.place)] = known
    everything = jnp.arange(len(catalogue.films.ids), dtype=jnp.int32)[None]
    config = catalogue.config.factors
    prior = factors.prior(config, factors.fold_in(catalogue.factors, config, place, stars, everything))
    queries = catalogue.keys[everything]
    return np.asarray(agent.predict(person.key, person.config, person.agents, queries, now, prior))[0]


@checks.classes
def expected_stars(person: Person, films: Sequence[Film] | None = None, now: int = 0) -> np.ndarray:
    """Estimate the stars that a person will give, ``float32 [n]``: half the expected number of label bits.

    Args:
      person: the person to ask.
      films: n ids of the data set, or titles; None means all F films of the catalogue, in its order.
      now: see `chances`.

    Raises:
      ValueError: a film is not in the catalogue, or ``now`` is not a whole number of 32 bits.

    Source: docs/semantics/recommender.md.
    """
    stars = chances(person, now).sum(1) / 2
    return stars if films is None else stars[films_of.places(person.catalogue, films)]


def expected_of(catalogue: Catalogue, ratings: movielens.Ratings, people: int) -> np.ndarray:
    """Estimate the stars that each of U people will give every film, ``float32 [U, F]``.

    Args:
      catalogue: the films; these people should not be part of its world.
      ratings: the ratings of the people, ordered by user; their times do not count.
      people: U, the number of people.

    Source: docs/semantics/recommender.md.
    """
    out = np.empty((people, len(catalogue.films.ids)), np.float32)
    blank = new(jax.random.key(0), catalogue)
    bounds = np.searchsorted(ratings.user, np.arange(people + 1))
    for i, (start, stop) in enumerate(itertools.pairwise(bounds)):
        rated = catalogue.films.ids[ratings.film[start:stop]].tolist()
        out[i] = expected_stars(learn(blank, rated, ratings.stars[start:stop]))
    return out


@checks.classes
def recommend(person: Person, top: int = 8, now: int = 0) -> list[Recommendation]:
    """Recommend the films that get the most votes of the person's rows and that the person has not rated.

    The votes count the films that people choose together, by the company of the films (`company.votes`): what
    tests of lists show to be right. The films of the most expected stars are those that one or two people
    ever rated. Without ratings the list is that of the most popular films. Of films with equal votes, the
    first in the catalogue comes first.

    Args:
      person: the person to recommend to.
      top: the number of films; fewer are returned if fewer are left.
      now: see `chances`; it decides the expected stars, not the list.

    Raises:
      ValueError: ``top`` is less than 1, or ``now`` is not a whole number of 32 bits.

    Source: docs/semantics/recommender.md.
    """
    checks.integer("top", top, Limits(least=1))
    catalogue, known = person.catalogue, ratings(person)
    config, films = catalogue.config.lists, catalogue.films
    expected = expected_stars(person, now=now)
    mine = np.zeros(len(known.place), np.int32)
    rows = movielens.Ratings(mine, known.place, known.stars, mine.astype(np.int64))
    votes = company.votes(config, catalogue.signs, rows, 1)
    top = min(top, len(films.ids) - len(rows.film))
    listed = ranking.best(votes, rows, top)[0].tolist() if top else []
    found = []
    for film in listed:
        share = company.reasons(config, catalogue.signs, rows, film)
        first = np.argsort(-share, kind="stable")[:_REASONS]
        because = tuple(films.titles[rows.film[i]] for i in first if share[i] > 0)
        each = int(films.ids[film]), films.titles[film], float(expected[film]), int(catalogue.ratings[film])
        found.append(Recommendation(*each, because))
    return found


@checks.classes
def question(person: Person, known: int = 300, skip: Collection[Film] = (), now: int = 0) -> int | None:
    """Choose the film to ask about next: of the well-known films, the one whose liking is least certain.

    A film is liked if it gets four stars or more; the chance of that is least certain at 1/2.

    Args:
      person: the person to ask.
      known: the number of well-known films: those with the most ratings in the world.
      skip: films not to ask about, ids or titles.
      now: see `chances`.

    Returns:
      The id of the film; of equally uncertain films the one with the most ratings; None if all well-known
      films were rated or skipped.

    Raises:
      ValueError: a film of ``skip`` is not in the catalogue, or ``known`` is less than 1.

    Source: docs/semantics/recommender.md.
    """
    checks.integer("known", known, Limits(least=1))
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
    """Return the next power of two, at least 8."""
    return 1 << max(3, (count - 1).bit_length())
