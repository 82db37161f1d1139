"""How lists are tested: items are held out, and a recommender ranks all items that the person has not used.

Where the ratings have times, the last item of each person is held out; where they have none, a drawn fifth,
at least one. People are divided into folds. What is scored on the people of a fold has been fitted to the
items shown of all other people: no item that is held out of anybody is ever read.

Source: docs/semantics/recommender.md.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import movielens

LEAST = 3  # a person with fewer items is never asked
SHARE = 5  # without times, one item of this many is held out

Ranker = Callable[[movielens.Ratings, int], np.ndarray]
"""A function from the items shown of U people, and U, to a score of every item, ``[U, F]``."""


class ListScores(NamedTuple):
    """How good the lists of people are; each is a mean over the people asked.

    Attributes:
      recall: the share of the items held out that are among the first ten.
      ndcg: the normalised discounted cumulative gain of the first ten.
      hit: whether an item held out is among the first ten.

    Source: Jarvelin and Kekalainen 2002, "Cumulated gain-based evaluation of IR techniques".
    """

    recall: float
    ndcg: float
    hit: float


class Asked(NamedTuple):
    """Items shown and held out of the same people.

    Attributes:
      shown: the ratings that recommenders see, ordered by user and then by time.
      held: the ratings held out.

    Source: docs/semantics/recommender.md.
    """

    shown: movielens.Ratings
    held: movielens.Ratings


def hold_out(key: jax.Array, ratings: movielens.Ratings, timed: bool) -> Asked:
    """Hold out the last item of each person, or a drawn fifth where there are no times.

    Nothing is held out of people with fewer than three items. Of items of one time the last row is held out.

    Args:
      key: draws the items held out, where there are no times.
      ratings: the ratings of all people, ordered by user, then by time.
      timed: whether the times are known.

    Raises:
      ValueError: the ratings are not ordered by user, or nobody has three items.

    Source: docs/semantics/recommender.md.
    """
    user = ratings.user
    if np.any(np.diff(user) < 0):
        raise ValueError("the ratings are not ordered by user: sort them by user, then by time")
    count = np.bincount(user)
    if count.max(initial=0) < LEAST:
        raise ValueError(f"nobody of {len(count)} people has {LEAST} items: give a larger data set")
    if timed:
        place = np.searchsorted(user, user, side="right") - 1 - np.arange(len(user))
    else:
        drawn = np.random.default_rng(np.asarray(jax.random.key_data(key))).random(len(user))
        order = np.lexsort((drawn, user))
        place = np.empty(len(user), int)
        place[order] = np.arange(len(user)) - np.searchsorted(user, user[order])
    number = np.where(count < LEAST, 0, 1 if timed else np.maximum(1, count // SHARE))
    held = place < number[user]
    return Asked(*(movielens.Ratings(*(x[side] for x in ratings)) for side in (~held, held)))


def of_people(ratings: movielens.Ratings, people: Sequence[int] | np.ndarray) -> movielens.Ratings:
    """Take the ratings of some people and number the people from 0 in the order given.

    Source: docs/semantics/recommender.md.
    """
    people = np.asarray(people, int)
    start = np.searchsorted(ratings.user, people)
    stop = np.searchsorted(ratings.user, people, side="right")
    rows = np.concatenate([np.arange(a, b) for a, b in zip(start, stop, strict=True)] or [np.arange(0)])
    user = np.repeat(np.arange(len(people), dtype=np.int32), stop - start)
    return movielens.Ratings(user, *(x[rows] for x in ratings[1:]))


def cut(key: jax.Array, ratings: movielens.Ratings, most: int, timed: bool) -> movielens.Ratings:
    """Keep at most ``most`` ratings of each person: the last in time, or drawn ones where there are no times.

    Args:
      key: draws the ratings that are kept, where there are no times.
      ratings: ratings ordered by user, then by time.
      most: R, the number of ratings to keep; 0 keeps all.
      timed: whether the times are known.

    Source: docs/semantics/recommender.md.
    """
    checks.integer("most", most, Limits(least=0))
    if not most:
        return ratings
    rank = np.arange(len(ratings.user), dtype=float)
    if not timed:
        rank = np.random.default_rng(np.asarray(jax.random.key_data(key))).random(len(rank))
    order = np.lexsort((-rank, ratings.user))
    place = np.arange(len(order)) - np.searchsorted(ratings.user, ratings.user[order])
    kept = np.sort(order[place < most])
    return movielens.Ratings(*(x[kept] for x in ratings))


def folds(key: jax.Array, people: int, number: int = 5) -> list[np.ndarray]:
    """Divide people at random into folds of sizes that differ by one at most.

    Raises:
      ValueError: there are fewer people than folds.

    Source: docs/semantics/recommender.md.
    """
    if people < number:
        raise ValueError(f"{people} people do not fill {number} folds: give a larger data set")
    order = np.asarray(jax.random.permutation(key, np.arange(people, dtype=np.int32)))
    return [np.sort(order[k::number]) for k in range(number)]


def best(scores: np.ndarray, shown: movielens.Ratings, top: int = 10) -> np.ndarray:
    """Return the items with the best scores that are not shown, ``int [U, top]``; of equals the first item.

    Args:
      scores: ``[U, F]``, finite numbers.
      shown: the items that may not be listed.
      top: the length of a list.

    Source: docs/semantics/recommender.md.
    """
    scores = np.array(scores, np.float64)
    scores[shown.user, shown.film] = -np.inf
    top = min(top, scores.shape[1])
    # The best come from a partition; ties at its edge are taken in the order of the items.
    edge = -np.partition(-scores, top - 1, axis=1)[:, top - 1]
    out = np.empty((len(scores), top), int)
    for i, row in enumerate(scores):
        near = np.flatnonzero(row >= edge[i])
        out[i] = near[np.argsort(-row[near], kind="stable")[:top]]
    return out


def gains(lists: np.ndarray, held: movielens.Ratings) -> np.ndarray:
    """Score each person's list: ``float64 [U, 3]`` in the order of `ListScores`; NaN if nothing is held out.

    Args:
      lists: integers ``[U, top]``, items, the best first.
      held: the items held out of the U people.

    Source: docs/semantics/recommender.md.
    """
    people, top = lists.shape
    items = max(int(lists.max(initial=0)), int(held.film.max(initial=0))) + 1
    pairs = held.user.astype(np.int64) * items + held.film
    hit = np.isin(np.arange(people)[:, None] * items + lists, pairs)
    count = np.bincount(held.user, minlength=people)
    discount = 1 / np.log2(np.arange(2, top + 2))
    ideal = np.append(0, np.cumsum(discount))[np.minimum(count, top)]
    with np.errstate(invalid="ignore"):
        found = [hit.sum(1) / count, hit @ discount / ideal, np.where(count, hit.any(1), np.nan)]
    return np.stack(found, 1)


def judge(ranker: Ranker, asked: Asked, people: int, shown: movielens.Ratings | None = None) -> np.ndarray:
    """Score a ranker on U people, ``float64 [U, 3]`` (`gains`).

    Args:
      ranker: the recommender, fitted to other people.
      asked: the items shown and held out; items shown are not listed.
      people: U, the number of people.
      shown: the items that the ranker sees, if they are fewer than those shown.

    Raises:
      ValueError: a score is not finite.

    Source: docs/semantics/recommender.md.
    """
    scores = ranker(asked.shown if shown is None else shown, people)
    checks.array("scores", scores, "numbers", {"U": people, "F": None})
    return gains(best(scores, asked.shown), asked.held)


def mean(found: np.ndarray) -> ListScores:
    """Average the scores of people, ``[U, 3]``; people of whom nothing is held out do not count.

    Source: docs/semantics/recommender.md.
    """
    return ListScores(*(float(x) for x in np.nanmean(found, 0)))
