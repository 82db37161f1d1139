"""What the recommender's experiments share: a division of people, agents that were shown a task, tables."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags

from wnn_jax.data import movielens
from wnn_jax.recommender import agent, encode, made_up, protocol

FLAGS = flags.FLAGS
LEAST_ASKED = 16
Model = Callable[[protocol.Task], protocol.Answer]


class Setting(NamedTuple):
    """One division of people, what the world says, and a task each for those tried and those for choosing."""

    films: movielens.Films
    world: movielens.Ratings
    columns: dict[str, Any]
    tried: protocol.Task
    choosing: protocol.Task


def define_data_flags() -> None:
    """Flags of every command that reads ratings."""
    flags.DEFINE_enum("data", "ml-latest-small", ["ml-latest-small", "ml-100k", "made-up"], "Ratings.")
    flags.DEFINE_string("data_dir", None, "Folder of the ratings; default: the official download.")
    flags.DEFINE_enum("bad_rows", "skip", ["skip", "refuse"], "Rows that cannot be used.")


def load_data() -> movielens.Data:
    """The ratings the flags name; bad rows are printed by line."""
    if FLAGS.data == "made-up":
        data = made_up.world(jax.random.key(0))
    else:
        data = movielens.load(FLAGS.data_dir, FLAGS.data, FLAGS.bad_rows)
    print(data.description)
    print_problems(data.problems)
    return data


def print_problems(problems: Sequence[movielens.Problem], most: int = 20) -> None:
    """Rows that were not read, by line; after ``most`` how many more there are."""
    for problem in problems[:most]:
        print(f"not read: {problem.file} line {problem.line}: {problem.reason}")
    if len(problems) > most:
        print(f"not read: {len(problems) - most:,} more rows; --bad_rows=refuse stops at the first")


def setting(key: jax.Array, data: movielens.Data, shown: int, asked: int, whole: bool = False) -> Setting:
    """Divide people who rated ``shown + asked`` films; ``whole``: in the published whole stars."""
    keys = jax.random.split(key, 3)
    # Those for choosing are asked more where the published metric asks little: one answer chooses nothing.
    enough = max(asked, LEAST_ASKED) if asked else 0
    division = protocol.divide(keys[0], data.ratings.user, shown + enough)
    tasks = [
        protocol.task(keys[1], data.ratings, division.tried, shown, asked),
        protocol.task(keys[2], data.ratings, division.choosing, shown, enough),
    ]
    kept = np.isin(data.ratings.user, division.world)
    world = movielens.Ratings(*(x[kept] for x in data.ratings))
    if whole:
        tasks, world = [protocol.whole_stars(x) for x in tasks], world._replace(stars=np.floor(world.stars))
    return Setting(data.films, world, columns(data.films, world), *tasks)


def columns(films: movielens.Films, world: movielens.Ratings) -> dict[str, Any]:
    """What is known of films, with what the world thinks of them."""
    names = ("genres", "language", "tags", "vote_average", "vote_count", "popularity")
    known = {name: getattr(films, name) for name in names}
    return known | encode.crowd(world.film, world.stars, len(films.ids))


def rows(keys: jax.Array, task: protocol.Task) -> agent.Rows:
    """What the task shows; time is the rating's place."""
    place = np.broadcast_to(np.arange(task.film.shape[1]), task.film.shape)
    return agent.rows(keys, task.film, encode.stars_to_bits(task.stars), place)


def keys_of(fields: Sequence[encode.Field], columns: Mapping[str, Any]) -> jax.Array:
    """``uint32 [F, W]``."""
    return encode.words(encode.encode(fields, columns))


def shown(config: agent.AgentConfig, keys: jax.Array, task: protocol.Task) -> agent.Agents:
    """Agents that learnt what the task shows."""
    start = agent.empty(len(task.users), keys.shape[1], task.film.shape[1])
    return agent.learn(config, start, rows(keys, task))


def ask(
    key: jax.Array,
    config: agent.AgentConfig,
    keys: jax.Array,
    task: protocol.Task,
    prior: Callable[[protocol.Task], jax.Array] | None = None,
) -> protocol.Answer:
    """What agents say that learnt what the task shows, where a prior may speak first."""
    agents = shown(config, keys, task)
    believed = None if prior is None else prior(task)
    chances = agent.predict(key, config, agents, keys[task.asked], task.film.shape[1], believed)
    return protocol.of_bits(np.asarray(chances))


def choose(models: Mapping[str, Model], task: protocol.Task, by: str) -> tuple[str, Model]:
    """The model that does best for people who are not tried, by ``rmse`` or ``within_one``; the first."""
    sign = -1 if by == "rmse" else 1

    def worth(name: str) -> float:
        return sign * getattr(protocol.score(task, models[name](task), 0.5), by)

    best = max(models, key=worth)
    return best, models[best]


def mean_range(values: Sequence[float], digits: int = 3) -> str:
    """Mean, and the range in brackets where there are several."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({np.ptp(values):.{digits}f})"
