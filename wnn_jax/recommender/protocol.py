"""How recommenders are tried: the ratings they are shown, the ratings they estimate, and scores. Host code.

People are divided three ways: those a recommender is tried on, others to choose hyper-parameters on, and the
world, whose ratings were there before and are all that a global model or a film's popularity may know. Some
ratings of each person of the first two groups are shown, and others are held out.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from wnn_jax.data import movielens
from wnn_jax.recommender import catalogue

LIKED = 4.0  # stars from which a film counts as liked
LEAST_ASKED = 16


class Holdout(NamedTuple):
    """Ratings shown and held out of U people; -1 in ``film`` and NaN in ``stars`` where there are fewer.

    Attributes:
      users: ``[U]``.
      film, stars, time: ``[U, n]``, shown.
      asked, truth: ``[U, q]``, the films held out and how they were rated.
    """

    users: np.ndarray
    film: np.ndarray
    stars: np.ndarray
    time: np.ndarray
    asked: np.ndarray
    truth: np.ndarray


class Estimate(NamedTuple):
    """How a recommender estimates the ratings of the films asked, ``[U, q]`` each.

    Attributes:
      code: the number of label bits that are set, the unit of the published metric.
      stars: the expected rating, which also ranks films by how surely they are liked.
    """

    code: np.ndarray
    stars: np.ndarray


Recommender = Callable[[Holdout], Estimate]


class RatingScores(NamedTuple):
    """How good an estimate is.

    Attributes:
      within_one: share of codes within 2 bits, one star, of the true: mean over people (arXiv 2511.05499).
      median: the median over people.
      balanced: balanced accuracy of liking, over all ratings asked.
      auc: area under the curve of liking within a person: mean over people who like some films and not
        others; NaN if there is none.
      rmse: in stars.
    """

    within_one: float
    median: float
    balanced: float
    auc: float
    rmse: float


class Trial(NamedTuple):
    """One division of people, the facts of films, and a holdout each for those tried and those for choosing.

    Attributes:
      films: of the data set.
      world: ratings of the people in neither holdout.
      columns: the facts of films, with what the world thinks of them.
      tried: the holdout that is scored.
      choosing: the holdout that chooses hyper-parameters.
    """

    films: movielens.Films
    world: movielens.Ratings
    columns: dict[str, Any]
    tried: Holdout
    choosing: Holdout


class Division(NamedTuple):
    """Users who are tried, users for choosing, and users who are the world."""

    tried: np.ndarray
    choosing: np.ndarray
    world: np.ndarray


def divide(key: jax.Array, user: np.ndarray, needed: int, tried: int = 250, choosing: int = 90) -> Division:
    """Draw people who rated at least ``needed`` films; at most three quarters of those are tried.

    At most half of those who are not are for choosing.

    Raises:
      ValueError: fewer than two people rated as many.
    """
    count = np.bincount(user)
    able = np.flatnonzero(count >= needed)
    if len(able) < 2:
        raise ValueError(f"{len(able)} people rated {needed} films or more: ask for fewer ratings")
    able = np.asarray(jax.random.permutation(key, able))
    cut = min(tried, max(1, 3 * len(able) // 4))
    choosing = min(choosing, (int((count > 0).sum()) - cut) // 2)  # a world of nobody knows nothing
    chosen = able[:cut], able[cut : cut + choosing]
    return Division(*chosen, np.setdiff1d(np.flatnonzero(count), np.concatenate(chosen)))


def hold_out(
    key: jax.Array, ratings: movielens.Ratings, users: np.ndarray, shown: int, asked: int
) -> Holdout:
    """Draw ``shown`` and ``asked`` ratings of every one of ``users``; shown ones are in order of time.

    Args:
      key: decides which.
      ratings: of everybody.
      users: who; each rated at least ``shown + asked`` films.
      shown: the number of ratings shown of each.
      asked: the number of ratings held out of each.
    """
    starts = np.searchsorted(ratings.user, users)
    counts = np.searchsorted(ratings.user, users, side="right") - starts
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    drawn = np.stack([at + rng.permutation(n)[: shown + asked] for at, n in zip(starts, counts, strict=True)])
    first, last = np.sort(drawn[:, :shown], 1), drawn[:, shown:]
    return Holdout(
        users,
        ratings.film[first],
        ratings.stars[first],
        ratings.time[first],
        ratings.film[last],
        ratings.stars[last],
    )


def whole_stars(holdout: Holdout) -> Holdout:
    """The holdout in the published labels: whole stars, 4.5 reads as 4 and 0.5 as 0."""
    return holdout._replace(stars=np.floor(holdout.stars), truth=np.floor(holdout.truth))


def divide_and_hold_out(
    key: jax.Array, dataset: movielens.Dataset, shown: int, asked: int, whole: bool = False
) -> Trial:
    """Divide the people who rated ``shown + asked`` films.

    People for choosing are asked at least `LEAST_ASKED` films, because one answer chooses nothing. With
    ``asked`` 0 nobody is asked.

    Args:
      key: decides the division and the ratings.
      dataset: films and ratings.
      shown: the number of ratings shown of each person.
      asked: the number of ratings held out of each person who is tried.
      whole: cut all ratings to whole stars, as published.

    Raises:
      ValueError: fewer than two people rated enough films.
    """
    keys = jax.random.split(key, 3)
    ratings = dataset.ratings
    enough = max(asked, LEAST_ASKED) if asked else 0
    division = divide(keys[0], ratings.user, shown + enough)
    tried = hold_out(keys[1], ratings, division.tried, shown, asked)
    choosing = hold_out(keys[2], ratings, division.choosing, shown, enough)
    kept = np.isin(ratings.user, division.world)
    world = movielens.Ratings(*(x[kept] for x in ratings))
    if whole:
        tried, choosing = whole_stars(tried), whole_stars(choosing)
        world = world._replace(stars=np.floor(world.stars))
    columns = catalogue.columns(dataset.films, world)
    return Trial(films=dataset.films, world=world, columns=columns, tried=tried, choosing=choosing)


def from_stars(stars: np.ndarray) -> Estimate:
    """The estimate of a recommender that names a rating: it sets a bit for every half star."""
    return Estimate(np.round(2 * stars), stars)


def from_chances(chances: np.ndarray) -> Estimate:
    """The estimate of a recommender that names the chance of every label bit, ``[U, q, 10]``.

    A bit at 1/2 is set; the expected rating is half the expected number of bits.
    """
    return Estimate((chances >= 0.5).sum(-1), chances.sum(-1) / 2)


def liking_threshold(holdout: Holdout, estimate: Estimate) -> float:
    """The expected stars from which to say "liked": those of the best balanced accuracy in this holdout.

    They lie halfway between two estimates; of equally good thresholds the lowest.
    """
    stars, liked = estimate.stars.ravel(), holdout.truth.ravel() >= LIKED
    values = np.unique(stars)
    places = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])
    order = np.sort(stars[liked]), np.sort(stars[~liked])
    hit, wrong = (1 - np.searchsorted(x, places) / max(1, len(x)) for x in order)
    return float(places[np.argmax(hit - wrong)])


def score(holdout: Holdout, estimate: Estimate, threshold: float) -> RatingScores:
    """Score an estimate; ``threshold`` is the `liking_threshold` of people who are not in the holdout."""
    liked = holdout.truth >= LIKED
    right = (np.abs(estimate.code - 2 * holdout.truth) <= 2).mean(1)
    mixed = liked.any(1) & ~liked.all(1)
    areas = [_area(liked[u], estimate.stars[u]) for u in np.flatnonzero(mixed)]
    said = estimate.stars >= threshold
    recall = [(said[liked == side] == side).mean() for side in (True, False) if (liked == side).any()]
    return RatingScores(
        float(right.mean()),
        float(np.median(right)),
        float(np.mean(recall)),
        float(np.mean(areas)) if areas else float("nan"),
        float(np.sqrt(((estimate.stars - holdout.truth) ** 2).mean())),
    )


def _area(liked: np.ndarray, stars: np.ndarray) -> float:
    """Area under the receiver operating characteristic, by trapezoids over the distinct stars ``[q]``."""
    order = np.argsort(-stars, kind="stable")
    last = np.append(np.flatnonzero(np.diff(stars[order])), len(stars) - 1)  # of equal stars
    hits = np.cumsum(liked[order])[last]
    false = 1 + last - hits
    # Without the points between two others of a straight line, whose terms would only add rounding.
    corner = np.r_[True, (np.diff(false, 2) != 0) | (np.diff(hits, 2) != 0), True][-len(last) :]
    recall, alarms = (np.r_[0, x[corner] / x[-1]] for x in (hits, false))
    return float(np.trapezoid(recall, alarms))


def judge(trial: Trial, recommender: Recommender) -> RatingScores:
    """Score a recommender on the people tried, its threshold from the people for choosing."""
    threshold = liking_threshold(trial.choosing, recommender(trial.choosing))
    return score(trial.tried, recommender(trial.tried), threshold)


def choose(recommenders: Mapping[str, Recommender], holdout: Holdout, by: str) -> tuple[str, Recommender]:
    """The recommender that does best in a holdout by ``rmse`` or ``within_one``; of equals the first.

    The holdout must be of people who are not tried.
    """
    sign = -1 if by == "rmse" else 1

    def worth(name: str) -> float:
        return sign * getattr(score(holdout, recommenders[name](holdout), 0.5), by)

    best = max(recommenders, key=worth)
    return best, recommenders[best]
