"""Rate films in a terminal and watch the list change after each answer, and after "forget horror".

python -m experiments.recommend_live --data_dir=DIR
"""

import csv
import pathlib
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import base
from experiments.recommending import common
from experiments.shared import machine
from wnn_jax.data import movielens
from wnn_jax.recommender import agent, baselines, encode

FLAGS = flags.FLAGS

base.define_common_flags("recommend_live")
common.define_data_flags()
flags.DEFINE_integer("top", 8, "Films on the list.")
flags.DEFINE_integer("known", 300, "Asks about so many of the films most people rated.")
flags.DEFINE_string("history", None, "File of your ratings, read first and kept up to date.")

_HELP = "0.5 .. 5 rates the film; s skips it; forget GENRE; undo; q ends"
_CONFIG = agent.AgentConfig(scale=4.0, prior_weight=1.0)
_HEADER = ("userId", "movieId", "rating", "timestamp")


class Shop(NamedTuple):
    """What does not change while a person answers."""

    films: movielens.Films
    fields: tuple[encode.Field, ...]
    keys: jax.Array
    factors: baselines.Factors
    popular: np.ndarray


class Person(NamedTuple):
    """One agent, the stars behind its rows, and the films that are not asked about again."""

    agents: agent.Agents
    stars: dict[int, float]
    skipped: frozenset[int]


def main() -> None:
    if FLAGS.top < 1 or FLAGS.known < 1:
        raise ValueError(f"--top and --known must be at least 1, got {FLAGS.top} and {FLAGS.known}")
    shop = open_shop(common.load_data())
    person = remembered(shop)
    ranks: dict[int, int] = {}
    print(f"{len(shop.films.ids):,} films; {machine.device()}. {_HELP}")
    while True:
        started = time.perf_counter()
        chances = believed(shop, person)
        seconds = time.perf_counter() - started
        ranks = show(shop, person, chances, ranks, seconds)
        film = question(shop, person, chances)
        if film is None:
            print("there is no film left to ask about")
            return
        while True:
            print(f"\n{shop.films.titles[film]} ({', '.join(shop.films.genres[film])})? ", end="", flush=True)
            line = sys.stdin.readline()
            if not line or line.strip() in ("q", "quit"):
                print()
                return
            try:
                person = answered(shop, person, film, line.strip().lower())
            except ValueError as error:
                print(f"{error}: {_HELP}")
                continue
            break
        remember(shop, person)


def open_shop(data: movielens.Data) -> Shop:
    """Keys of all films and the world's factors, of everybody's ratings."""
    ratings, films = data.ratings, data.films
    count = len(films.ids)
    columns = common.columns(films, ratings)
    config = baselines.FactorConfig()
    key = jax.random.key(FLAGS.seed)
    factors = baselines.factorise(key, config, ratings.user, ratings.film, ratings.stars, count)
    film_bits = np.concatenate([encode.encode(encode.DEFAULT, columns), baselines.code_bits(factors)])
    popular = np.argsort(-columns["crowd_count"], kind="stable")[: FLAGS.known]
    return Shop(films, encode.DEFAULT, encode.words(film_bits), factors, popular)


def believed(shop: Shop, person: Person) -> np.ndarray:
    """``[F, 10]``: the chance of every label bit of every film, rows voting on the world's prior."""
    films = jnp.arange(len(shop.films.ids))[None]
    # Padded to a power of two, so that a new rating seldom means a new compilation.
    size = 1 << max(3, (len(person.stars) - 1).bit_length())
    rated = np.full((1, size), -1, np.int32)
    stars = np.zeros((1, size), np.float32)
    rated[0, : len(person.stars)], stars[0, : len(person.stars)] = (
        list(person.stars),
        list(person.stars.values()),
    )
    config = baselines.FactorConfig()
    prior = baselines.prior(config, baselines.fold_in(shop.factors, config, rated, stars, films))
    return np.asarray(agent.predict(jax.random.key(0), _CONFIG, person.agents, shop.keys[films], 0, prior))[0]


def show(
    shop: Shop, person: Person, chances: np.ndarray, before: dict[int, int], seconds: float
) -> dict[int, int]:
    """Print the films it expects most of, and how far each moved; returns their places."""
    expected = chances.sum(1) / 2
    order = [int(x) for x in np.argsort(-expected, kind="stable") if int(x) not in person.stars][: FLAGS.top]
    print(f"\n{len(person.stars)} rated; all films asked in {1e3 * seconds:.0f} ms")
    for place, film in enumerate(order):
        moved = "new" if film not in before else f"{before[film] - place:+d}" if before[film] != place else ""
        print(f"{place + 1:3} {expected[film]:.2f} {moved if before else '':>4}  {shop.films.titles[film]}")
    return {film: place for place, film in enumerate(order)}


def question(shop: Shop, person: Person, chances: np.ndarray) -> int | None:
    """The well-known film it is least sure the person likes; of several the better known."""
    left = [int(x) for x in shop.popular if int(x) not in person.stars and int(x) not in person.skipped]
    if not left:
        return None
    return left[int(np.argmin(np.abs(chances[left, 7] - 0.5)))]


def answered(shop: Shop, person: Person, film: int, line: str) -> Person:
    """The person after one line of input.

    Raises:
      ValueError: the line means nothing, or there is nothing to undo or forget.
    """
    if line in ("s", "skip", ""):
        return person._replace(skipped=person.skipped | {film})
    if line == "undo":
        if not person.stars:
            raise ValueError("nothing was rated")
        return without(person, agent.of_items(person.agents, jnp.array([list(person.stars)[-1]])))
    if line.startswith("forget "):
        where = agent.with_bit(
            person.agents, encode.bit_of(shop.fields, "genres", line.removeprefix("forget "))
        )
        print(f"{int(where.sum())} ratings forgotten")
        return without(person, where)
    try:
        stars = float(line)
    except ValueError:
        raise ValueError(f"{line!r} is no answer") from None
    if stars * 2 not in range(1, 11):
        raise ValueError(f"{line} is not among 0.5, 1, ... 5 stars")
    return rated(shop, person, film, stars)


def rated(shop: Shop, person: Person, film: int, stars: float) -> Person:
    """Learn one rating, at once."""
    label = encode.stars_to_bits(np.array([[stars]]))
    row = agent.rows(shop.keys, np.array([[film]]), label, np.array([[len(person.stars)]]))
    return person._replace(
        agents=agent.learn(_CONFIG, person.agents, row), stars={**person.stars, film: stars}
    )


def without(person: Person, where: jax.Array) -> Person:
    """Forget rows, and the stars behind them."""
    gone = set(np.asarray(person.agents.item)[np.asarray(where)].tolist())
    kept = {film: stars for film, stars in person.stars.items() if film not in gone}
    return person._replace(agents=agent.forget(person.agents, where), stars=kept)


def remembered(shop: Shop) -> Person:
    """The person of the history file, or a new one."""
    person = Person(agent.empty(1, shop.keys.shape[1]), {}, frozenset())
    if FLAGS.history is None or not pathlib.Path(FLAGS.history).exists():
        return person
    ratings, _, problems = movielens.read_ratings(FLAGS.history, shop.films, FLAGS.bad_rows, ordered=True)
    common.print_problems(problems)
    for film, stars in zip(ratings.film.tolist(), ratings.stars.tolist(), strict=True):
        person = rated(shop, person, film, stars)
    return person


def remember(shop: Shop, person: Person) -> None:
    """Write the history anew, whole; the times are when it was written."""
    if FLAGS.history is None:
        return
    path = pathlib.Path(FLAGS.history)
    partial = path.with_name(path.name + ".partial")
    now = int(time.time())
    with open(partial, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        writer.writerows((1, int(shop.films.ids[film]), stars, now) for film, stars in person.stars.items())
    partial.replace(path)


if __name__ == "__main__":
    base.run(main)
