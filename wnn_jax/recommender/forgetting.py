"""Forgetting: agents forget the films of a genre, beside agents that were never shown those films.

Source: docs/semantics/recommender.md.
"""

import dataclasses
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import movielens
from wnn_jax.ram import bits
from wnn_jax.recommender import agent, fields, protocol, trials


@dataclasses.dataclass(frozen=True)
class ForgettingConfig:
    """The genre that is forgotten, and the people who forget it.

    Attributes:
      genre: the genre that is forgotten.
      least: a person takes part if at least this number of films of the genre are among the ratings shown.
      shown: the most ratings shown of a person; the median number of ratings a person is a limit too.
      asked: the most films that are asked, of the genre and of the others each.

    Raises:
      ValueError: a value has another type or is out of range.

    Source: docs/semantics/recommender.md.
    """

    genre: str = "horror"
    least: int = 3
    shown: int = 100
    asked: int = 100

    def __post_init__(self):
        checks.fields(self, least=Limits(least=1), shown=Limits(least=1), asked=Limits(least=1))


class Forgetting(NamedTuple):
    """The expected stars of films, before and after the genre is forgotten.

    Attributes:
      before: the mean for films of the genre, before it is forgotten.
      after: the mean for films of the genre, after it is forgotten.
      never_shown: the mean for films of the genre, of agents that were never shown its films.
      others_before: the mean for other films, before.
      others_after: the mean for other films, after.
      others_moved: the mean absolute change for other films.
      largest_difference: the largest absolute difference between agents that forgot and agents that were
        never shown the films; 0 if forgetting is exact.
      seconds: the time that all agents together took to forget.

    Source: docs/semantics/recommender.md.
    """

    before: float
    after: float
    never_shown: float
    others_before: float
    others_after: float
    others_moved: float
    largest_difference: float
    seconds: float


class Study(NamedTuple):
    """The result of the study.

    Attributes:
      people: the number of people who took part.
      found: a `Forgetting` for each way in which the films of the genre were rated, by the way's name.

    Source: docs/semantics/recommender.md.
    """

    people: int
    found: dict[str, Forgetting]


def compare(key: jax.Array, config: ForgettingConfig, dataset: movielens.Dataset) -> Study:
    """Let people forget a genre, once with the ratings they gave its films, once with all its films rated 5.

    Args:
      key: decides the division of people, the films asked and random ties.
      config: the genre, and the ratings shown and asked.
      dataset: films and ratings.

    Raises:
      ValueError: nobody was shown enough films of the genre, all films are of the genre, or too few people
        rated films.

    Source: docs/semantics/recommender.md.
    """
    movielens.check_ratings(dataset.ratings, len(dataset.films.ids))
    if not len(dataset.ratings.user):
        raise ValueError("the data set has 0 ratings: give a larger data set")
    shown = int(min(config.shown, np.median(np.bincount(dataset.ratings.user))))
    trial = protocol.divide_and_hold_out(key, dataset, shown, 0)
    member = np.array([config.genre in genres for genres in dataset.films.genres])
    if member.all():
        raise ValueError(f"all {len(member)} films are {config.genre} films: give a data set with others")
    of_genre = member[trial.tried.film]
    fans = of_genre.sum(1) >= config.least
    if not fans.any():
        raise ValueError(
            f"nobody has {config.least} or more {config.genre} films among {shown} ratings: give a larger "
            "data set, or lower least"
        )
    real = protocol.Holdout(*(x[fans] for x in trial.tried))
    loved = real._replace(stars=np.where(of_genre[fans], np.float32(5), real.stars))
    asked = [
        jnp.asarray(jax.random.permutation(key, np.flatnonzero(kind))[: config.asked])
        for kind in (member, ~member)
    ]
    film_keys = fields.film_keys(fields.DEFAULT, trial.columns)
    bit = fields.bit_of(fields.DEFAULT, "genres", config.genre)
    ratings = {"as rated": real, f"all {config.genre} rated 5": loved}
    return Study(
        int(fans.sum()),
        {name: _forget(key, film_keys, bit, holdout, asked) for name, holdout in ratings.items()},
    )


def _forget(
    key: jax.Array, film_keys: jax.Array, bit: int, holdout: protocol.Holdout, asked: list[jax.Array]
) -> Forgetting:
    config = agent.AgentConfig()
    people = len(holdout.users)
    rows, blank = trials.rows(film_keys, holdout), agent.empty(people, film_keys.shape[1])
    agents = agent.learn(config, blank, rows)
    started = time.perf_counter()
    after = jax.block_until_ready(agent.forget(agents, agent.with_bit(agents, bit)))
    seconds = time.perf_counter() - started
    of_genre = ((rows.keys[..., bit // bits.WORD] >> (bit % bits.WORD)) & 1).astype(bool)
    never = agent.learn(config, blank, rows._replace(item=jnp.where(of_genre, -1, rows.item)))

    def stars(agents: agent.Agents, films: jax.Array) -> np.ndarray:
        queries = jnp.broadcast_to(film_keys[films], (people, *film_keys[films].shape))
        return np.asarray(agent.predict(key, config, agents, queries)).sum(-1) / 2

    expected = {
        name: [stars(agents, films) for films in asked]
        for name, agents in (("before", agents), ("after", after), ("never", never))
    }
    genre, others = zip(*expected.values(), strict=True)
    gaps = [np.abs(x - y).max() for x, y in zip(expected["after"], expected["never"], strict=True)]
    return Forgetting(
        *(float(x.mean()) for x in genre),
        others_before=float(others[0].mean()),
        others_after=float(others[1].mean()),
        others_moved=float(np.abs(others[1] - others[0]).mean()),
        largest_difference=float(max(gaps)),
        seconds=seconds,
    )
