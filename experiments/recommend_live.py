"""Rate films in a terminal and watch the list change after each answer, and after "forget horror".

python -m experiments.recommend_live --data_dir=DIR
"""

import csv
import dataclasses
import pathlib
import sys
import time

import jax
import numpy as np

from experiments.recommending import common
from experiments.shared import machine
from experiments.shared.commandline import Command, Group
from wnn_jax import recommender
from wnn_jax.data import movielens

_HELP = "0.5 .. 5 rates the film; s skips it; forget GENRE; undo; q ends"
_HEADER = ("userId", "movieId", "rating", "timestamp")


@dataclasses.dataclass(frozen=True)
class SessionConfig:
    """What is shown and asked.

    Attributes:
      top: the number of films on the list.
      known: films to ask about: this many of those that most people rated.
      history: file of your ratings, read first and kept up to date.
    """

    top: int = 8
    known: int = 300
    history: str | None = None

    def __post_init__(self):
        if self.top < 1 or self.known < 1:
            raise ValueError(f"--top and --known must be at least 1, got {self.top} and {self.known}")


@dataclasses.dataclass(frozen=True)
class Session:
    """One person at the terminal, and the films that are not asked about again."""

    person: recommender.Person
    skipped: frozenset[int] = frozenset()


def main(options) -> None:
    """Ask until the input ends."""
    config: SessionConfig = options.session
    key = jax.random.key(options.common.seed)
    films = recommender.build_catalogue(key, common.load(options.ratings))
    session = Session(read_history(recommender.new(key, films), config.history, options.ratings.bad_rows))
    places: dict[int, int] = {}
    print(f"{len(films.films.ids):,} films; {machine.device()}. {_HELP}")
    while True:
        places = show(session.person, config.top, places)
        film = recommender.question(session.person, config.known, session.skipped)
        if film is None:
            print("there is no film left to ask about")
            return
        place = int(np.searchsorted(films.films.ids, film))
        title = f"{films.films.titles[place]} ({', '.join(films.films.genres[place])})"
        answer = ask(session, film, title)
        if answer is None:
            return
        session = answer
        write_history(session.person, config.history)


def show(person: recommender.Person, top: int, before: dict[int, int]) -> dict[int, int]:
    """Print the films it expects most of, and how far each moved; return their places."""
    started = time.perf_counter()
    films = recommender.recommend(person, top)
    seconds = time.perf_counter() - started
    rated = len(recommender.ratings(person).place)
    print(f"\n{rated} rated; all films asked in {1e3 * seconds:.0f} ms")
    for place, (film, title, stars) in enumerate(films):
        moved = "new" if film not in before else f"{before[film] - place:+d}" if before[film] != place else ""
        print(f"{place + 1:3} {stars:.2f} {moved if before else '':>4}  {title}")
    return {film.film: place for place, film in enumerate(films)}


def ask(session: Session, film: int, title: str) -> Session | None:
    """Ask about a film until the answer means something; None at the end of the input."""
    while True:
        print(f"\n{title}? ", end="", flush=True)
        line = sys.stdin.readline()
        if not line or line.strip() in ("q", "quit"):
            print()
            return None
        try:
            return answered(session, film, line.strip().lower())
        except ValueError as error:
            print(f"{error}: {_HELP}")


def answered(session: Session, film: int, line: str) -> Session:
    """The session after one line of input.

    Raises:
      ValueError: the line means nothing, or there is nothing to undo or forget.
    """
    person = session.person
    if line in ("s", "skip", ""):
        return dataclasses.replace(session, skipped=session.skipped | {film})
    if line == "undo":
        rated = recommender.ratings(person).place
        if not len(rated):
            raise ValueError("nothing was rated")
        person = recommender.forget(person, [int(person.catalogue.films.ids[rated[-1]])])
    elif line.startswith("forget "):
        known = len(recommender.ratings(person).place)
        person = recommender.forget(person, genre=line.removeprefix("forget "))
        print(f"{known - len(recommender.ratings(person).place)} ratings forgotten")
    else:
        try:
            stars = float(line)
        except ValueError:
            raise ValueError(f"{line!r} is no answer") from None
        person = recommender.learn(person, [film], [stars])
    return dataclasses.replace(session, person=person)


def read_history(person: recommender.Person, history: str | None, bad_rows: str) -> recommender.Person:
    """The person after the ratings of the history file, if there is one."""
    if history is None or not pathlib.Path(history).exists():
        return person
    films = person.catalogue.films
    ratings, _, problems = movielens.read_ratings(history, films, bad_rows, ordered=True)
    common.print_problems(problems)
    return recommender.learn(person, films.ids[ratings.film].tolist(), ratings.stars)


def write_history(person: recommender.Person, history: str | None) -> None:
    """Write the history anew, whole; the times are when it was written."""
    if history is None:
        return
    path = pathlib.Path(history)
    partial = path.with_name(path.name + ".partial")
    ids, now = person.catalogue.films.ids, int(time.time())
    with open(partial, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        rated = zip(*recommender.ratings(person), strict=True)
        writer.writerows((1, int(ids[place]), float(stars), now) for place, stars in rated)
    partial.replace(path)


COMMAND = Command(
    "recommend_live", __doc__, main, session=Group(SessionConfig), ratings=Group(common.RatingsConfig)
)

if __name__ == "__main__":
    sys.exit(COMMAND.run())
