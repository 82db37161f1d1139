"""Rate films or other items in a terminal. The list changes after each answer, and after "forget horror".

python -m experiments.recommend_live --data_dir=DIR
"""

import dataclasses
import sys
import time

import jax

from experiments.recommending import common
from experiments.shared import machine
from experiments.shared.commandline import Command, Group
from wnn_jax import checks, recommender
from wnn_jax.checks import Limits
from wnn_jax.data import history
from wnn_jax.recommender import session as dialogue


@dataclasses.dataclass(frozen=True)
class SessionConfig:
    """The films that are shown and asked about.

    Attributes:
      top: the number of recommended films to show.
      known: the number of films that may be asked about, those with the most ratings.
      history: file of your ratings, which is read at the start; a line is added to it for each answer, and no
        line is ever changed.
    """

    top: int = 8
    known: int = 300
    history: str | None = None

    def __post_init__(self):
        checks.fields(self, top=Limits(least=1), known=Limits(least=1))


def main(options) -> None:
    """Ask about films until the input ends or no film is left."""
    config: SessionConfig = options.session
    kept = history.find(config.history) if config.history else None
    key = jax.random.key(options.common.seed)
    dataset = common.load(options.ratings)
    catalogue = recommender.build_catalogue(key, dataset)
    films, person = catalogue.films, recommender.new(key, catalogue)
    if kept:
        kept, rated, problems = history.read(kept, films, options.ratings.bad_rows)
        common.print_problems(problems)
        person = recommender.learn(person, list(rated), list(rated.values()))
    session, places = dialogue.Session(person), {}
    print(f"{len(films.ids):,} items; {machine.device()}. {dialogue.COMMANDS}")
    common.print_levels(dataset)
    while True:
        places = show(session.person, config.top, places)
        film = dialogue.question(session, config.known)
        if film is None:
            print("there is no film left to ask about")
            return
        place = films.ids.tolist().index(film)
        genres = f" ({', '.join(films.genres[place])})" if films.genres[place] else ""
        answered = ask(session, film, films.titles[place] + genres)
        if answered is None:
            return
        if kept:
            changes = history.changes(rated_by(session.person), rated_by(answered.person))
            kept = history.append(kept, changes, int(time.time()))
        session = answered


def rated_by(person: recommender.Person) -> dict[int, float]:
    """Return the stars of the films that a person rated, by the ids of the films."""
    places, stars = recommender.ratings(person)
    return dict(zip(person.catalogue.films.ids[places].tolist(), stars.tolist(), strict=True))


def show(person: recommender.Person, top: int, before: dict[int, int]) -> dict[int, int]:
    """Print the recommended films and how far each moved on the list; return their places by film id."""
    started = time.perf_counter()
    films = recommender.recommend(person, top)
    seconds = time.perf_counter() - started
    rated = len(recommender.ratings(person).place)
    print(f"\n{rated} rated; all films estimated in {1e3 * seconds:.0f} ms")
    for place, film in enumerate(films):
        old = before.get(film.film)
        moved = "new" if old is None else f"{old - place:+d}" if old != place else ""
        print(f"{place + 1:3} {film.stars:.2f} {moved if before else '':>4}  {film.title}  ({why(film)})")
    return {film.film: place for place, film in enumerate(films)}


def why(film: recommender.Recommendation) -> str:
    """Say why a film stands in the list: the films that gave it votes, and how many people rated it."""
    source = f"because of {', '.join(film.because)}; " if film.because else ""
    return f"{source}{film.people} people"


def ask(session: dialogue.Session, film: int, title: str) -> dialogue.Session | None:
    """Ask about a film until the answer is valid; return None at the end of the input."""
    while True:
        print(f"\n{title}? ", end="", flush=True)
        line = sys.stdin.readline()
        if not line or line.strip() in ("q", "quit"):
            print()
            return None
        try:
            session, said = dialogue.answer(session, film, line)
        except ValueError as error:
            print(f"{error} ({dialogue.COMMANDS})")
            continue
        if said:
            print(said)
        return session


COMMAND = Command(
    "recommend_live", __doc__, main, session=Group(SessionConfig), ratings=Group(common.RatingsConfig)
)

if __name__ == "__main__":
    sys.exit(COMMAND.run())
