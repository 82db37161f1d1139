"""A catalogue: films, their bits, and what the ratings of the world say of them."""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from wnn_jax.data import movielens
from wnn_jax.recommender import factors as factorisation
from wnn_jax.recommender import fields as encoder


@dataclasses.dataclass(frozen=True)
class CatalogueConfig:
    """How films become bits.

    Attributes:
      fields: the encoder of a film's facts; bits of its factors follow them.
      factors: the factorisation of the world's ratings, a new person's prior.
    """

    fields: tuple[encoder.Field, ...] = encoder.DEFAULT
    factors: factorisation.FactorConfig = factorisation.FactorConfig()


class Catalogue(NamedTuple):
    """F films; nothing in it changes while persons learn and forget.

    Attributes:
      config: how it was built.
      films: titles, genres, ids.
      keys: ``uint32 [F, W]``, the address of each film.
      factors: what the world says of the films.
      ratings: ``int64 [F]``, the number of ratings each film has in the world.
    """

    config: CatalogueConfig
    films: movielens.Films
    keys: jax.Array
    factors: factorisation.Factors
    ratings: np.ndarray


def build(key: jax.Array, dataset: movielens.Dataset, config: CatalogueConfig | None = None) -> Catalogue:
    """The catalogue of a data set's films, with everybody's ratings as the world.

    Args:
      key: the first factors.
      dataset: of `wnn_jax.data.movielens.load`, or made up by `wnn_jax.recommender.synthetic.world`.
      config: by default the tuned one.

    Raises:
      ValueError: there is no film or no rating.
    """
    films, ratings = dataset.films, dataset.ratings
    count = len(films.ids)
    if not count or not len(ratings.stars):
        raise ValueError(
            f"a catalogue needs films and ratings, got {count} films and {len(ratings.stars)} ratings"
        )
    config = config or CatalogueConfig()
    world = factorisation.factorise(key, config.factors, ratings, count)
    facts = encoder.encode(config.fields, columns(films, ratings))
    film_bits = np.concatenate([facts, factorisation.code_bits(world)])
    return Catalogue(
        config, films, encoder.pack(film_bits), world, np.bincount(ratings.film, minlength=count)
    )


def columns(films: movielens.Films, world: movielens.Ratings) -> dict[str, Any]:
    """The facts of films by name, as `fields.encode` takes them, with what the world thinks of the films."""
    names = ("genres", "language", "tags", "vote_average", "vote_count", "popularity")
    known = {name: getattr(films, name) for name in names}
    return known | crowd(world.film, world.stars, len(films.ids))


def crowd(film: np.ndarray, stars: np.ndarray, films: int) -> dict[str, np.ndarray]:
    """Columns ``crowd_stars`` (the mean; NaN where nobody rated) and ``crowd_count`` of ratings.

    In an experiment they must not be ratings of the users that a model is tried on.
    """
    count = np.bincount(film, minlength=films)
    total = np.bincount(film, stars, minlength=films)
    mean = np.divide(total, count, out=np.full(films, np.nan), where=count > 0)
    return {"crowd_stars": mean, "crowd_count": count.astype(float)}


def places(catalogue: Catalogue, films: Iterable[int | str]) -> np.ndarray:
    """Where films stand in the catalogue: ``int32 [n]``.

    Args:
      catalogue: the films.
      films: ids of the data set, or titles; of films with one title the first.

    Raises:
      ValueError: a film is not in the catalogue.
    """
    return np.array([_place(catalogue.films, film) for film in films], np.int32)


def _place(films: movielens.Films, film: int | str) -> int:
    if isinstance(film, str):
        if film in films.titles:
            return films.titles.index(film)
        close = [title for title in films.titles if film.lower() in title.lower()][:3]
        hint = f": did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(f"no film is called {film!r} among {len(films.titles):,}{hint}")
    place = int(np.searchsorted(films.ids, film))
    if place == len(films.ids) or films.ids[place] != film:
        raise ValueError(f"no film has the id {film} among {len(films.ids):,} films")
    return place


def of_genre(catalogue: Catalogue, genre: str) -> np.ndarray:
    """Where the films of a genre stand: ``int32 [n]``.

    Raises:
      ValueError: no film has the genre.
    """
    found = [i for i, genres in enumerate(catalogue.films.genres) if genre in genres]
    if not found:
        known = sorted({name for genres in catalogue.films.genres for name in genres})
        raise ValueError(f"no film is of the genre {genre!r}: use {', '.join(known)}")
    return np.array(found, np.int32)
