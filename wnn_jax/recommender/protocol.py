"""How recommenders are tested: the ratings shown, the ratings to estimate, and scores. It runs on the host.

The people of a data set are divided into three groups: the people tried, on whom a recommender is scored; the
people for choosing, on whom hyper-parameters are chosen; and the world, all the others. Global models and
facts such as a film's popularity may use the ratings of the world only. Of each person in the first two
groups, some ratings are shown and others are held out.

Source: docs/semantics/recommender.md.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import movielens
from wnn_jax.recommender import catalogue

LIKED = 4.0  # a film with at least this number of stars counts as liked
LEAST_ASKED = 16
_LEAST_PEOPLE = 4


class Holdout(NamedTuple):
    """The ratings of U people that are shown, and those that are held out.

    A gap, where a person has fewer than n ratings, has -1 in ``film`` and NaN in ``stars``.

    Attributes:
      users: integers ``[U]``, the people.
      film: ``int32 [U, n]``, the films of the ratings shown.
      stars: ``float32 [U, n]``, the ratings shown.
      time: ``int64 [U, n]``, the times of the ratings shown.
      asked: ``int32 [U, q]``, the films of the ratings held out.
      truth: ``float32 [U, q]``, the ratings held out.

    Source: docs/semantics/recommender.md.
    """

    users: np.ndarray
    film: np.ndarray
    stars: np.ndarray
    time: np.ndarray
    asked: np.ndarray
    truth: np.ndarray


class Estimate(NamedTuple):
    """A recommender's estimates of the ratings of the films asked.

    Attributes:
      code: numbers ``[U, q]``, the number of label bits that are set, in which the published metric counts.
      stars: floats ``[U, q]``, the expected rating; liking is judged by it too.

    Source: docs/semantics/recommender.md.
    """

    code: np.ndarray
    stars: np.ndarray


Recommender = Callable[[Holdout], Estimate]


class RatingScores(NamedTuple):
    """How good an estimate is.

    Attributes:
      within_one: the share of films whose code is within 2 bits, which is one star, of the true code; the
        mean over people. It is the published metric (arXiv 2511.05499).
      median: the same share, the median over people.
      balanced: balanced accuracy of liking, over all ratings asked.
      auc: the area under the receiver operating characteristic of liking, for each person: the mean over
        people who like some of the films asked and not all; NaN if there is nobody of that kind.
      rmse: root mean squared error, in stars.

    Source: docs/semantics/recommender.md.
    """

    within_one: float
    median: float
    balanced: float
    auc: float
    rmse: float


class Trial(NamedTuple):
    """One division of people: the ratings of the world, the facts of films, and two holdouts.

    Attributes:
      films: the films of the data set.
      world: the ratings of the people in neither holdout.
      columns: the facts of films, with the mean and number of the world's ratings.
      tried: the holdout on which recommenders are scored.
      choosing: the holdout on which hyper-parameters are chosen.

    Source: docs/semantics/recommender.md.
    """

    films: movielens.Films
    world: movielens.Ratings
    columns: dict[str, Any]
    tried: Holdout
    choosing: Holdout


class Division(NamedTuple):
    """The three groups of users.

    Attributes:
      tried: integers, the users on whom recommenders are scored.
      choosing: integers, the users on whom hyper-parameters are chosen.
      world: integers, all other users who have a rating.

    Source: docs/semantics/recommender.md.
    """

    tried: np.ndarray
    choosing: np.ndarray
    world: np.ndarray


def divide(key: jax.Array, user: np.ndarray, needed: int, tried: int = 250, choosing: int = 90) -> Division:
    """Draw the people tried and the people for choosing from those who rated at least ``needed`` films.

    At most three quarters of those people, and at least one of them, are tried. The people for choosing are
    at most half of all people who are not tried, so that a world is left.

    Args:
      key: decides the draw.
      user: integers ``[N]``, the user of each rating.
      needed: the number of ratings that a person tried or for choosing must have.
      tried: the most people tried.
      choosing: the most people for choosing.

    Raises:
      ValueError: fewer than two people rated ``needed`` films, there are fewer than four people, so that a
        group would be empty, or a user or number is not a whole number of at least 0.

    Source: docs/semantics/recommender.md.
    """
    checks.array("user", user, "integers", {"N": None}, Limits(0, checks.MOST))
    checks.integer("needed", needed, Limits(least=0))
    for name, x in (("tried", tried), ("choosing", choosing)):
        checks.integer(name, x, Limits(least=1))
    count = np.bincount(user)
    able = np.flatnonzero(count >= needed)
    if len(able) < 2:
        raise ValueError(
            f"{len(able)} people rated {needed} films or more, and at least 2 are needed: show and ask fewer "
            "ratings, or give a larger data set"
        )
    if (count > 0).sum() < _LEAST_PEOPLE:
        raise ValueError(
            f"{(count > 0).sum()} people rated films, and {_LEAST_PEOPLE} are needed for people tried, "
            "people for choosing and a world: give a larger data set"
        )
    able = np.asarray(jax.random.permutation(key, able.astype(np.int32)))
    cut = min(tried, max(1, 3 * len(able) // 4))
    choosing = min(choosing, (int((count > 0).sum()) - cut) // 2)  # the world needs people too
    chosen = able[:cut], able[cut : cut + choosing]
    return Division(*chosen, np.setdiff1d(np.flatnonzero(count), np.concatenate(chosen)))


def hold_out(
    key: jax.Array, ratings: movielens.Ratings, users: np.ndarray, shown: int, asked: int
) -> Holdout:
    """Draw the ratings shown and held out of each user. The ratings shown are in the order of time.

    Args:
      key: decides which ratings are drawn.
      ratings: the ratings of all people, ordered by user (`movielens.Ratings`).
      users: integers ``[U]``; each of these users has at least ``shown + asked`` ratings.
      shown: n, the number of ratings shown of each user.
      asked: q, the number of ratings held out of each user.

    Raises:
      ValueError: there is no user, a user has too few ratings, the ratings are not ordered by user, ``shown``
        is less than 1 or ``asked`` less than 0.

    Source: docs/semantics/recommender.md.
    """
    checks.integer("shown", shown, Limits(least=1))
    checks.integer("asked", asked, Limits(least=0))
    checks.array("users", users, "integers", {"U": None}, Limits(least=0))
    if np.any(np.diff(ratings.user) < 0):
        raise ValueError("the ratings are not ordered by user: sort them by user, then by time")
    starts = np.searchsorted(ratings.user, users)
    counts = np.searchsorted(ratings.user, users, side="right") - starts
    if not len(users) or counts.min() < shown + asked:
        few = (
            f"user {users[counts.argmin()]} has {counts.min()} ratings" if len(users) else "there are 0 users"
        )
        raise ValueError(f"{few}, and {shown} are shown and {asked} asked: give users with that many ratings")
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
    """Cut the ratings of a holdout to whole stars, as published: 4.5 becomes 4, and 0.5 becomes 0.

    Source: arXiv 2511.05499; docs/semantics/recommender.md.
    """
    return holdout._replace(stars=np.floor(holdout.stars), truth=np.floor(holdout.truth))


def divide_and_hold_out(
    key: jax.Array, dataset: movielens.Dataset, shown: int, asked: int, whole: bool = False
) -> Trial:
    """Divide the people of a data set, and draw the ratings that are shown and held out.

    People for choosing are asked at least `LEAST_ASKED` films, because a few answers cannot tell
    hyper-parameters apart. If ``asked`` is 0, nobody is asked a film.

    Args:
      key: decides the division and the ratings.
      dataset: films and ratings.
      shown: n, the number of ratings shown of each person.
      asked: q, the number of ratings held out of each person who is tried.
      whole: whether to cut all ratings to whole stars, as published.

    Raises:
      ValueError: too few people rated enough films (`divide`), ``shown`` is less than 1 or ``asked`` less
        than 0, or the ratings are not as `movielens.Ratings` describes them.

    Source: docs/semantics/recommender.md.
    """
    movielens.check_ratings(dataset.ratings, len(dataset.films.ids))
    checks.integer("shown", shown, Limits(least=1))
    checks.integer("asked", asked, Limits(least=0))
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
    """Make an estimate from expected stars ``[U, q]``; the code is the number of half stars, rounded.

    Source: docs/semantics/recommender.md.
    """
    return Estimate(np.round(2 * stars), stars)


def from_chances(chances: np.ndarray) -> Estimate:
    """Make an estimate from the chance of every label bit, ``[U, q, 10]``.

    The code counts the bits whose chance is at least 1/2. The expected rating is half the sum of the chances.

    Source: docs/semantics/recommender.md.
    """
    return Estimate((chances >= 0.5).sum(-1), chances.sum(-1) / 2)


def _check(holdout: Holdout, estimate: Estimate) -> None:
    """Check the estimates for a holdout.

    Raises:
      ValueError: nothing is asked, an array has another shape, or a number is not finite.
    """
    if not holdout.truth.size:
        raise ValueError(
            f"the holdout asks {list(holdout.truth.shape)} films: ask at least one of each person"
        )
    shape = dict(zip("Uq", holdout.truth.shape, strict=True))
    checks.array("truth", holdout.truth, "numbers", shape, Limits(0, 5))
    checks.array("code", estimate.code, "numbers", shape)
    checks.array("stars", estimate.stars, "numbers", shape)


def liking_threshold(holdout: Holdout, estimate: Estimate) -> float:
    """Find the threshold of expected stars that judges liking with the best balanced accuracy in a holdout.

    Thresholds lie halfway between two neighbouring estimates, or at the lowest estimate. Of equally good
    thresholds the lowest is returned.

    Args:
      holdout: the ratings held out.
      estimate: the estimates for this holdout.

    Raises:
      ValueError: nothing is asked, or the estimates have another shape or are not finite.

    Source: docs/semantics/recommender.md.
    """
    _check(holdout, estimate)
    stars, liked = estimate.stars.ravel(), holdout.truth.ravel() >= LIKED
    values = np.unique(stars)
    places = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])
    order = np.sort(stars[liked]), np.sort(stars[~liked])
    hit, wrong = (1 - np.searchsorted(x, places) / max(1, len(x)) for x in order)
    return float(places[np.argmax(hit - wrong)])


def score(holdout: Holdout, estimate: Estimate, threshold: float) -> RatingScores:
    """Score an estimate.

    Args:
      holdout: the ratings held out.
      estimate: the estimates for this holdout.
      threshold: a film is judged as liked if its expected stars are at least this number; take it from
        `liking_threshold` on other people.

    Raises:
      ValueError: nothing is asked, or the estimates have another shape or are not finite.

    Source: docs/semantics/recommender.md.
    """
    _check(holdout, estimate)
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
    last = np.append(np.flatnonzero(np.diff(stars[order])), len(stars) - 1)  # the last of each run of ties
    hits = np.cumsum(liked[order])[last]
    false = 1 + last - hits
    # Points inside a straight line do not change the area and would only add rounding: they are left out.
    corner = np.r_[True, (np.diff(false, 2) != 0) | (np.diff(hits, 2) != 0), True][-len(last) :]
    recall, alarms = (np.r_[0, x[corner] / x[-1]] for x in (hits, false))
    return float(np.trapezoid(recall, alarms))


def judge(trial: Trial, recommender: Recommender) -> RatingScores:
    """Score a recommender on the people tried, with the liking threshold of the people for choosing.

    Args:
      trial: the two holdouts.
      recommender: a function from a holdout to an estimate.

    Source: docs/semantics/recommender.md.
    """
    threshold = liking_threshold(trial.choosing, recommender(trial.choosing))
    return score(trial.tried, recommender(trial.tried), threshold)


def choose(recommenders: Mapping[str, Recommender], holdout: Holdout, by: str) -> tuple[str, Recommender]:
    """Choose the recommender with the best score in a holdout; of equally good ones the first.

    Args:
      recommenders: the recommenders by name.
      holdout: ratings of people who are not tried.
      by: the score to compare, a field of `RatingScores`; the lowest ``rmse`` is best, or the highest of
        another score.

    Returns:
      The name of the best recommender, and the recommender.

    Raises:
      ValueError: there is no recommender, or ``by`` is not a score.

    Source: docs/semantics/recommender.md.
    """
    if not recommenders:
        raise ValueError("there are 0 recommenders to choose from: give at least one")
    if by not in RatingScores._fields:
        raise ValueError(f"unknown score {by!r}: choose one of {', '.join(RatingScores._fields)}")
    sign = -1 if by == "rmse" else 1

    def worth(name: str) -> float:
        return sign * getattr(score(holdout, recommenders[name](holdout), 0.5), by)

    best = max(recommenders, key=worth)
    return best, recommenders[best]
