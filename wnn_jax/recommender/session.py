"""A dialogue in which a person rates films, one line at a time, and the file that keeps the ratings.

    session = Session(person)
    film = question(session)
    session, said = answer(session, film, "4.5")

Source: docs/semantics/recommender.md.
"""

import csv
import dataclasses
import pathlib
from typing import Literal

from wnn_jax.data import movielens
from wnn_jax.recommender import person as people
from wnn_jax.recommender.person import Person

COMMANDS = "0.5 to 5: rate; s: skip; forget GENRE: forget a genre; undo: forget the last rating; q: end"
_HEADER = ("userId", "movieId", "rating", "timestamp")


@dataclasses.dataclass(frozen=True)
class Session:
    """The state of a dialogue with one person.

    Attributes:
      person: the person who rates.
      skipped: the ids of films that are not asked about again.

    Source: docs/semantics/recommender.md.
    """

    person: Person
    skipped: frozenset[int] = frozenset()


def question(session: Session, known: int = 300) -> int | None:
    """Choose the film to ask about next (`person.question`); skipped films are left out.

    Args:
      session: the state of the dialogue.
      known: the number of films that may be asked about: those with the most ratings in the world.

    Returns:
      The id of the film, or None if no film is left.

    Source: docs/semantics/recommender.md.
    """
    return people.question(session.person, known, session.skipped)


def answer(session: Session, film: int, line: str) -> tuple[Session, str]:
    """Carry out one line of input.

    Args:
      session: the state of the dialogue.
      film: the id of the film that was asked about.
      line: one of `COMMANDS`, except ``q``; an empty line skips the film.

    Returns:
      The new state, and a message for the person, which may be empty.

    Raises:
      ValueError: the line is not a command, no rating is left to undo, or the genre is unknown.

    Source: docs/semantics/recommender.md.
    """
    person, line = session.person, line.strip().lower()
    if line in ("s", "skip", ""):
        return dataclasses.replace(session, skipped=session.skipped | {film}), ""
    rated, said = people.ratings(person).place, ""
    if line == "undo":
        if not len(rated):
            raise ValueError("no rating is left to undo: rate a film first")
        person = people.forget(person, [int(person.catalogue.films.ids[rated[-1]])])
    elif line.startswith("forget "):
        person = people.forget(person, genre=line.removeprefix("forget "))
        said = f"ratings forgotten: {len(rated) - len(people.ratings(person).place)}"
    else:
        person = people.learn(person, [film], [_stars(line)])
    return dataclasses.replace(session, person=person), said


def _stars(line: str) -> float:
    try:
        return float(line)
    except ValueError:
        raise ValueError(f"{line!r} is not an answer") from None


def read_history(
    person: Person, path: str | pathlib.Path, bad_rows: Literal["skip", "refuse"] = "skip"
) -> tuple[Person, list[movielens.Problem]]:
    """Let a person learn the ratings of a file.

    Args:
      person: the person who gave the ratings.
      path: the file, as `write_history` writes it.
      bad_rows: ``skip`` leaves out rows that cannot be used and returns them; ``refuse`` raises at the first.

    Returns:
      The person after the ratings, and a `movielens.Problem` for each row that cannot be used.

    Raises:
      ValueError: the file cannot be read, or has a row that cannot be used and ``bad_rows`` is ``refuse``.

    Source: docs/semantics/recommender.md.
    """
    films = person.catalogue.films
    ratings, _, problems = movielens.read_ratings(path, films, bad_rows, ordered=True)
    return people.learn(person, films.ids[ratings.film].tolist(), ratings.stars), problems


def write_history(person: Person, path: str | pathlib.Path, now: int) -> None:
    """Write all ratings of a person to a file. A write that is killed leaves the old file as it was.

    Args:
      person: the person whose ratings are written, as user 1.
      path: the file, with the columns of MovieLens.
      now: the time that every rating gets, in seconds since 1970.

    Source: docs/semantics/recommender.md.
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
