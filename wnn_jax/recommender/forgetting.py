"""Forgetting a genre: what agents expect before, after, and had they never been shown its films."""

import dataclasses
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.data import movielens
from wnn_jax.ram import bits
from wnn_jax.recommender import agent, fields, protocol, trials


@dataclasses.dataclass(frozen=True)
class ForgettingConfig:
    """Who forgets what.

    Attributes:
      genre: the genre that is forgotten.
      least: the number of its films that makes a person one who can forget it.
      shown: the most ratings shown of a person; half the people must have as many.
      asked: the most films of the genre, and of others, that are asked.
    """

    genre: str = "horror"
    least: int = 3
    shown: int = 100
    asked: int = 100


class Forgetting(NamedTuple):
    """Mean expected stars of films of the genre and of others.

    Attributes:
      before, after, never_shown: of films of the genre: before and after it is forgotten, and by agents that
        were never shown one.
      others_before, others_after: of other films.
      others_moved: mean distance between the two.
      largest_difference: between agents that forgot and agents never shown; 0 where forgetting is exact.
      seconds: that forgetting took, all agents together.
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
    """The number of people, and what they expect by how the genre's films were rated."""

    people: int
    found: dict[str, Forgetting]


def compare(key: jax.Array, config: ForgettingConfig, dataset: movielens.Dataset) -> Study:
    """Let people who rated films of a genre forget it: as they rated them, and had they rated all of them 5.

    Raises:
      ValueError: nobody was shown enough films of the genre.
    """
    shown = int(min(config.shown, np.median(np.bincount(dataset.ratings.user))))
    trial = protocol.divide_and_hold_out(key, dataset, shown, 0)
    member = np.array([config.genre in genres for genres in dataset.films.genres])
    of_genre = member[trial.tried.film]
    fans = of_genre.sum(1) >= config.least
    if not fans.any():
        raise ValueError(
            f"nobody was shown {config.least} {config.genre} films in {shown} ratings: give a larger data set"
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
