"""A catalogue: films, their keys, and what the ratings of other people say of them: factors, counts and bits.

Source: docs/semantics/recommender.md.
"""

import dataclasses
import numbers
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import movielens
from wnn_jax.recommender import company
from wnn_jax.recommender import factors as factorisation
from wnn_jax.recommender import fields as encoder


@dataclasses.dataclass(frozen=True)
class CatalogueConfig:
    """How films become bits.

    Attributes:
      fields: the encoder of a film's facts; the bits of its factors follow the bits of its facts.
      factors: the factorisation of the world's ratings, which gives the prior of a new person.
      lists: the bits of films from the people who rated them, and the votes that make a list.

    Raises:
      ValueError: there is no field, or a value has another type.

    Source: docs/semantics/recommender.md.
    """

    fields: tuple[encoder.Field, ...] = encoder.DEFAULT
    factors: factorisation.FactorConfig = factorisation.FactorConfig()
    lists: company.CompanyConfig = company.CompanyConfig()

    def __post_init__(self):
        checks.fields(self)
        if not self.fields:
            raise ValueError("fields is empty: give at least one field")


class Catalogue(NamedTuple):
    """F films. A catalogue does not change while persons learn and forget.

    Attributes:
      config: how the catalogue was built.
      films: titles, genres, ids and other facts of the films.
      keys: ``uint32 [F, W]``, the key of each film.
      factors: the factors of the films, fitted to the world's ratings.
      ratings: ``int64 [F]``, the number of ratings of each film in the world.
      signs: the bits of the films from the people of the world who rated them.

    Source: docs/semantics/recommender.md.
    """

    config: CatalogueConfig
    films: movielens.Films
    keys: jax.Array
    factors: factorisation.Factors
    ratings: np.ndarray
    signs: company.Signs


@checks.classes
def build(key: jax.Array, dataset: movielens.Dataset, config: CatalogueConfig | None = None) -> Catalogue:
    """Build the catalogue of the films of a data set; all its ratings together are the world.

    Args:
      key: draws the first factors, and the codes of the films.
      dataset: from `wnn_jax.data.movielens.load` or `wnn_jax.recommender.synthetic.world`.
      config: how films become bits; None means the tuned default.

    Raises:
      ValueError: there is no film or no rating, or the ratings are not as `movielens.Ratings` describes them.

    Source: docs/semantics/recommender.md.
    """
    films, ratings = dataset.films, dataset.ratings
    count = len(films.ids)
    if not count or not len(ratings.stars):
        raise ValueError(
            f"a catalogue needs films and ratings, got {count} films and {len(ratings.stars)} ratings: give "
            "another data set"
        )
    movielens.check_ratings(ratings, count)
    config = config or CatalogueConfig()
    world = factorisation.factorise(key, config.factors, ratings, count)
    facts = encoder.encode(config.fields, columns(films, ratings))
    film_bits = np.concatenate([facts, factorisation.code_bits(world)])
    drawn = company.empty(jax.random.fold_in(key, 1), config.lists.bits, count)
    return Catalogue(
        config,
        films,
        encoder.pack(film_bits),
        world,
        np.bincount(ratings.film, minlength=count),
        company.signs(company.add(drawn, ratings)),
    )


def columns(films: movielens.Films, world: movielens.Ratings) -> dict[str, Any]:
    """Collect the facts of F films by name, as `fields.encode` takes them.

    Args:
      films: the films; their TMDB facts and tags become columns.
      world: the ratings from which the columns ``crowd_stars`` and ``crowd_count`` are made (`crowd`).

    Source: docs/semantics/recommender.md.
    """
    names = ("genres", "language", "tags", "vote_average", "vote_count", "popularity")
    known = {name: getattr(films, name) for name in names}
    return known | crowd(world.film, world.stars, len(films.ids))


def crowd(film: np.ndarray, stars: np.ndarray, films: int) -> dict[str, np.ndarray]:
    """Return the mean and the number of the ratings of each film.

    In an experiment, leave out the ratings of the users that a model is tried on.

    Args:
      film: integers ``[N]``, the rated films.
      stars: ``float32 [N]``, their ratings.
      films: F, the number of films.

    Returns:
      ``crowd_stars``, ``float64 [F]``, the mean, NaN for a film that nobody rated; and ``crowd_count``,
      ``float64 [F]``, the number of ratings.

    Raises:
      ValueError: an array has another type or length, or a film is not one of the F films.

    Source: docs/semantics/recommender.md.
    """
    checks.array("film", film, "integers", {"N": None}, Limits(0, films - 1))
    checks.array("stars", stars, "numbers", {"N": len(film)})
    count = np.bincount(film, minlength=films)
    total = np.bincount(film, stars, minlength=films)
    mean = np.divide(total, count, out=np.full(films, np.nan), where=count > 0)
    return {"crowd_stars": mean, "crowd_count": count.astype(float)}


@checks.classes
def places(catalogue: Catalogue, films: Iterable[int | str]) -> np.ndarray:
    """Find the places of films in the catalogue: ``int32 [n]``, in the order given.

    Args:
      catalogue: the films.
      films: n ids of the data set, or titles; a title of several films means the first of them.

    Raises:
      ValueError: a film is not in the catalogue.

    Source: docs/semantics/recommender.md.
    """
    if not isinstance(films, Iterable) or isinstance(films, str):
        raise ValueError(f"films is of type {type(films).__name__}: give titles or ids in a list")
    found = films.tolist() if isinstance(films, np.ndarray | jax.Array) else films
    return np.array([_place(catalogue.films, film) for film in found], np.int32)


def _place(films: movielens.Films, film: int | str) -> int:
    if isinstance(film, str):
        if film in films.titles:
            return films.titles.index(film)
        close = [title for title in films.titles if film.lower() in title.lower()][:3]
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "give a title or an id of one"
        raise ValueError(f"no film is called {film!r} among {len(films.titles):,} films: {hint}")
    if not isinstance(film, numbers.Real) or isinstance(film, (bool, np.bool_)):
        raise ValueError(f"film {film!r:.60} is of type {type(film).__name__}: give a title or an id")
    # A film such as 2**40 or 3.7 is compared as it is, before it becomes an index.
    place = int(np.searchsorted(films.ids, film))
    if place == len(films.ids) or films.ids[place] != film:
        raise ValueError(
            f"no film has the id {film} among {len(films.ids):,} films: give a title or an id of one"
        )
    return place


@checks.classes
def of_genre(catalogue: Catalogue, genre: str) -> np.ndarray:
    """Find the places of the films of a genre in the catalogue: ``int32 [n]``, ascending.

    Raises:
      ValueError: no film has the genre.

    Source: docs/semantics/recommender.md.
    """
    found = [i for i, genres in enumerate(catalogue.films.genres) if genre in genres]
    if not found:
        known = sorted({name for genres in catalogue.films.genres for name in genres})
        raise ValueError(f"no film is of the genre {genre!r}: use {', '.join(known)}")
    return np.array(found, np.int32)
