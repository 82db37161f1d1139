"""A dialogue in which a person rates films one line at a time, and the file that keeps the ratings.

session = Session(person)
film = question(session)
session, said = answer(session, film, "4.5")
"""

import csv
import dataclasses
import pathlib
from typing import Literal

from wnn_jax.data import movielens
from wnn_jax.recommender import person as people
from wnn_jax.recommender.person import Person

COMMANDS = "0.5 .. 5 rates the film; s skips it; forget GENRE; undo; q ends"
_HEADER = ("userId", "movieId", "rating", "timestamp")


@dataclasses.dataclass(frozen=True)
class Session:
    """One person in a dialogue.

    Attributes:
      person: who rates.
      skipped: ids of films that are not asked about again.
    """

    person: Person
    skipped: frozenset[int] = frozenset()


def question(session: Session, known: int = 300) -> int | None:
    """The id of the film to ask about next; None if none is left.

    Args:
      session: where the dialogue stands.
      known: the number of films, most rated first, that are asked about.
    """
    return people.question(session.person, known, session.skipped)


def answer(session: Session, film: int, line: str) -> tuple[Session, str]:
    """The session after one line of input, and what there is to say about it, which may be nothing.

    Args:
      session: where the dialogue stands.
      film: the id of the film that was asked about.
      line: one of `COMMANDS`, but for the end.

    Raises:
      ValueError: the line means nothing, there is nothing to undo, or the genre is unknown.
    """
    person, line = session.person, line.strip().lower()
    if line in ("s", "skip", ""):
        return dataclasses.replace(session, skipped=session.skipped | {film}), ""
    rated, said = people.ratings(person).place, ""
    if line == "undo":
        if not len(rated):
            raise ValueError("nothing was rated")
        person = people.forget(person, [int(person.catalogue.films.ids[rated[-1]])])
    elif line.startswith("forget "):
        person = people.forget(person, genre=line.removeprefix("forget "))
        said = f"{len(rated) - len(people.ratings(person).place)} ratings forgotten"
    else:
        person = people.learn(person, [film], [_stars(line)])
    return dataclasses.replace(session, person=person), said


def _stars(line: str) -> float:
    try:
        return float(line)
    except ValueError:
        raise ValueError(f"{line!r} is no answer") from None


def read_history(
    person: Person, path: str | pathlib.Path, bad_rows: Literal["skip", "refuse"] = "skip"
) -> tuple[Person, list[movielens.Problem]]:
    """The person after the ratings of a file, and the rows of it that cannot be used.

    Args:
      person: who gave them.
      path: of a file as `write_history` writes it.
      bad_rows: ``skip`` returns the rows that cannot be used, ``refuse`` stops at the first.

    Raises:
      ValueError: the file cannot be read, or has a bad row and ``bad_rows`` is ``refuse``.
    """
    films = person.catalogue.films
    ratings, _, problems = movielens.read_ratings(path, films, bad_rows, ordered=True)
    return people.learn(person, films.ids[ratings.film].tolist(), ratings.stars), problems


def write_history(person: Person, path: str | pathlib.Path, now: int) -> None:
    """Write all ratings of a person to a file, whole or not at all.

    Args:
      person: whose ratings.
      path: of the file, in the columns of MovieLens.
      now: seconds since 1970, the time that every rating gets.
    """
    path = pathlib.Path(path)
    partial = path.with_name(path.name + ".partial")
    ids = person.catalogue.films.ids
    with open(partial, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        rated = zip(*people.ratings(person), strict=True)
        writer.writerows((1, int(ids[place]), float(stars), now) for place, stars in rated)
    partial.replace(path)
