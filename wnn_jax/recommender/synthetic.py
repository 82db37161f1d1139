"""A made-up world of films and people, for tests and for machines without data.

Source: docs/semantics/recommender.md.
"""

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import movielens
from wnn_jax.recommender import fields


def world(key: jax.Array, users: int = 120, films: int = 400, most: int = 160) -> movielens.Dataset:
    """Make up a data set: films of one to three genres, and people who love some genres and hate the others.

    A rating is 3 stars, plus .7 for each loved genre of the film, less .7 for each hated one, plus the
    quality of the film (standard deviation .5) and noise (standard deviation .4); it is rounded to halves and
    cut to 0.5 .. 5. Each person rates 30 to ``most`` films.

    Args:
      key: decides everything that is drawn.
      users: the number of people.
      films: the number of films.
      most: the most films that one person rates, at least 30.

    Raises:
      ValueError: a number is too small, or not a whole number.

    Source: docs/semantics/recommender.md.
    """
    for name, x, least in (("users", users, 1), ("films", films, 1), ("most", most, 30)):
        checks.integer(name, x, Limits(least=least))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    names = (*fields.GENRES, *fields.MORE_GENRES)
    popular = np.array([3.0] * len(fields.GENRES) + [1.0] * len(fields.MORE_GENRES))
    genres = [
        tuple(rng.choice(names, rng.integers(1, 4), replace=False, p=popular / popular.sum()).tolist())
        for _ in range(films)
    ]
    member = np.array([[name in some for name in names] for some in genres])
    quality = rng.normal(0, 0.5, films)
    taste = rng.choice([-1.0, 1.0], (users, len(names)))
    rows = []
    for user in range(users):
        seen = rng.permutation(films)[: rng.integers(30, most + 1)]
        stars = 3 + 0.7 * member[seen] @ taste[user] + quality[seen] + rng.normal(0, 0.4, len(seen))
        rows.append(
            (np.full(len(seen), user), seen, np.clip(np.round(2 * stars) / 2, 0.5, 5), np.arange(len(seen)))
        )
    user, film, stars, time = (np.concatenate(x) for x in zip(*rows, strict=True))
    tags = [(f"about {some[0]}",) if rng.random() < 0.3 else () for some in genres]
    facts = movielens.Films(
        np.arange(1, films + 1, dtype=np.int32),
        [f"Film {i}" for i in range(1, films + 1)],
        genres,
        tags,
        [str(x) for x in rng.choice(["en", "fr", ""], films)],
        (6 + quality).astype(np.float32),
        rng.integers(1, 3000, films).astype(np.float32),
        np.full(films, np.nan, np.float32),
    )
    ratings = movielens.Ratings(
        user.astype(np.int32), film.astype(np.int32), stars.astype(np.float32), time.astype(np.int64)
    )
    about = f"made up: {len(user):,} ratings, {users} users, {films} films"
    return movielens.Dataset(facts, ratings, np.arange(1, users + 1, dtype=np.int32), [], about)
