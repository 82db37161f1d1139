"""Recommenders of uses to compare with: chance, popularity, item-kNN, and alternating least squares.

Stars do not count here: who rated an item used it.

Source: docs/semantics/recommender.md.
"""

import dataclasses

import jax
import numpy as np
import scipy.sparse

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import movielens
from wnn_jax.recommender import company
from wnn_jax.recommender.ranking import Ranker


def chance(key: jax.Array, items: int) -> Ranker:
    """Return a ranker that ranks F items at random, for each person anew.

    Source: docs/semantics/recommender.md.
    """

    def score(_: movielens.Ratings, people: int) -> np.ndarray:
        return np.random.default_rng(np.asarray(jax.random.key_data(key))).random((people, items))

    return score


def popularity(world: movielens.Ratings, items: int) -> Ranker:
    """Return a ranker that scores an item by the number of its people in the world.

    Source: docs/semantics/recommender.md.
    """
    count = np.bincount(world.film, minlength=items).astype(float)
    return lambda _, people: np.repeat(count[None], people, 0)


def cosines(shrink: float, world: movielens.Ratings, items: int) -> scipy.sparse.csr_array:
    """Return the cosine of the people of each pair of items, sparse ``[F, F]``; 0 of an item with itself.

    Args:
      shrink: a number that is added to the number of people of an item in the cosine.
      world: the uses of the world.
      items: F, the number of items.

    Source: Sarwar et al. 2001, "Item-based collaborative filtering recommendation algorithms".
    """
    used = company.matrix(world, int(world.user.max(initial=-1)) + 1, items).astype(np.float32)
    count = np.asarray(used.sum(0)).ravel()
    scaled = (used * (1 / np.sqrt(np.maximum(count + shrink, 1e-9)))[None]).tocsr()
    alike = (scaled.T @ scaled).tocsr()
    alike.setdiag(0)
    return alike


def ask_knn(
    alike: scipy.sparse.csr_array, half_life: float, shown: movielens.Ratings, people: int
) -> np.ndarray:
    """Score each item by the sum of its cosines with the items shown of a person, ``float64 [U, F]``.

    Args:
      alike: the cosines.
      half_life: the number of later rows at which the weight of a row is halved.
      shown: the items shown of the people, ordered by user and then by time.
      people: U, the number of people.

    Source: Sarwar et al. 2001, "Item-based collaborative filtering recommendation algorithms".
    """
    weight = company.weights(shown, half_life)
    theirs = company.matrix(shown, people, alike.indptr.size - 1, weight)
    return scipy.sparse.csr_array(theirs @ alike).toarray()


@dataclasses.dataclass(frozen=True)
class AlsConfig:
    """Factors of people and items for uses, fitted by alternating least squares.

    Attributes:
      factors: k, the number of factors.
      weight: how much more a use counts than a missing one, whose weight is 1.
      decay: the weight of the squared factors.
      rounds: the number of times that people and items are solved for in turn.
      steps: the number of steps of conjugate gradients of each solution.

    Raises:
      ValueError: a value is out of range.

    Source: Hu, Koren and Volinsky 2008, "Collaborative filtering for implicit feedback datasets".
    """

    factors: int = 64
    weight: float = 5.0
    decay: float = 5.0
    rounds: int = 8
    steps: int = 3

    def __post_init__(self):
        checks.fields(
            self,
            factors=Limits(least=1),
            weight=Limits(least=0),
            decay=Limits(above=0),
            rounds=Limits(least=0),
            steps=Limits(least=1),
        )


def als(key: jax.Array, config: AlsConfig, world: movielens.Ratings, items: int) -> np.ndarray:
    """Fit factors to the uses of the world and return those of the items, ``float32 [F, k]``.

    Args:
      key: draws the first factors.
      config: sizes and training.
      world: the uses of the world.
      items: F, the number of items.

    Source: Hu, Koren and Volinsky 2008; Takacs, Pilaszy and Tikk 2011, "Applications of the conjugate
      gradient method for implicit feedback collaborative filtering".
    """
    people = int(world.user.max(initial=-1)) + 1
    used = company.matrix(world, people, items, np.full(len(world.user), config.weight)).astype(np.float32)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    theirs, factors = (rng.normal(0, 0.1, (n, config.factors)).astype(np.float32) for n in (people, items))
    turned = used.T.tocsr()
    for _ in range(config.rounds):
        theirs = _solved(config, used, factors, theirs, config.steps)
        factors = _solved(config, turned, theirs, factors, config.steps)
    return factors


def ask_als(
    config: AlsConfig, factors: np.ndarray, half_life: float, shown: movielens.Ratings, people: int
) -> np.ndarray:
    """Solve for the factors of people and score every item, ``float32 [U, F]``; the items' factors stay.

    Args:
      config: as in `als`.
      factors: the factors of the items.
      half_life: the number of later rows at which the weight of a row is halved.
      shown: the items shown of the people, ordered by user and then by time.
      people: U, the number of people.

    Source: Hu, Koren and Volinsky 2008, "Collaborative filtering for implicit feedback datasets".
    """
    weight = config.weight * company.weights(shown, half_life) / company.WHOLE
    rows = company.matrix(shown, people, len(factors), weight).astype(np.float32)
    start = np.zeros((people, config.factors), np.float32)
    return _solved(config, rows, factors, start, 4 * config.steps) @ factors.T


def _solved(config: AlsConfig, used, factors: np.ndarray, start: np.ndarray, steps: int) -> np.ndarray:
    """Solve for the factors of the rows of ``used``, all at once, from a start."""
    gram = factors.T @ factors + config.decay * np.eye(config.factors, dtype=np.float32)
    row = np.repeat(np.arange(used.shape[0]), np.diff(used.indptr))

    def applied(x: np.ndarray) -> np.ndarray:
        along = np.einsum("nk,nk->n", x[row], factors[used.indices]) * used.data
        return x @ gram + scipy.sparse.csr_array((along, used.indices, used.indptr), used.shape) @ factors

    wanted = scipy.sparse.csr_array((used.data + 1, used.indices, used.indptr), used.shape) @ factors
    x = start
    rest = wanted - applied(x)
    way, size = rest, (rest**2).sum(1, keepdims=True)
    for _ in range(steps):
        moved = applied(way)
        step = size / np.maximum((way * moved).sum(1, keepdims=True), 1e-20)
        x, rest = x + step * way, rest - step * moved
        after = (rest**2).sum(1, keepdims=True)
        way, size = rest + after / np.maximum(size, 1e-20) * way, after
    return x
