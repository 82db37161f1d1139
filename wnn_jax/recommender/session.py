"""A dialogue in which a person rates films, one line at a time.

    session = Session(person)
    film = question(session)
    session, said = answer(session, film, "4.5")

Source: docs/semantics/recommender.md.
"""

import dataclasses

from wnn_jax.recommender import person as people
from wnn_jax.recommender.person import Person

COMMANDS = "0.5 to 5: rate; s: skip; forget GENRE: forget a genre; undo: forget the last rating; q: end"


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
