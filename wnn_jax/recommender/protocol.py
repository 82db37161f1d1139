"""What a recommender is asked, and how its answers are judged. Host code.

People are divided three ways: those it is tried on, others to choose hyper-parameters on, and the world,
whose ratings were there before and are all that a global model or a film's popularity may know. Of the first
two a task shows some ratings and asks for others.
"""

from typing import NamedTuple

import jax
import numpy as np
from sklearn import metrics as sk

LIKED = 4.0  # stars from which a film counts as liked (spec 3.5)


class Task(NamedTuple):
    """Ratings shown and asked of U people; -1 in ``film`` and NaN in ``stars`` where there are fewer.

    Attributes:
      users: ``[U]``.
      film, stars, time: ``[U, n]``, shown.
      asked, truth: ``[U, q]``, the films asked for and how they were rated.
    """

    users: np.ndarray
    film: np.ndarray
    stars: np.ndarray
    time: np.ndarray
    asked: np.ndarray
    truth: np.ndarray


class Answer(NamedTuple):
    """What a model says, ``[U, q]`` each.

    Attributes:
      code: label bits that are set, the published metric's unit.
      stars: the rating it expects, which also says how surely a film is liked.
    """

    code: np.ndarray
    stars: np.ndarray


class Scores(NamedTuple):
    """Judgements of one answer.

    Attributes:
      within_one: share of codes within 2 bits, one star, of the true: mean over people (arXiv 2511.05499).
      median: the median over people.
      balanced: balanced accuracy of liking, over all answers.
      auc: area under the curve of liking within a person, mean over people who like some and not others.
      rmse: in stars.
    """

    within_one: float
    median: float
    balanced: float
    auc: float
    rmse: float


class Division(NamedTuple):
    """Who is tried, who is for choosing, who is the world: arrays of users."""

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


def task(key: jax.Array, ratings, users: np.ndarray, shown: int, asked: int) -> Task:
    """For every one of ``users``, ``shown`` and ``asked`` ratings at random; shown ones in order of time.

    Args:
      key: decides which.
      ratings: `wnn_jax.movielens.Ratings`.
      users: who; each rated at least ``shown + asked`` films.
      shown, asked: how many.
    """
    starts = np.searchsorted(ratings.user, users)
    counts = np.searchsorted(ratings.user, users, side="right") - starts
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    drawn = np.stack([at + rng.permutation(n)[: shown + asked] for at, n in zip(starts, counts, strict=True)])
    first, last = np.sort(drawn[:, :shown], 1), drawn[:, shown:]
    return Task(
        users,
        ratings.film[first],
        ratings.stars[first],
        ratings.time[first],
        ratings.film[last],
        ratings.stars[last],
    )


def whole_stars(task: Task) -> Task:
    """The task in the published labels: whole stars, 4.5 reads as 4 and 0.5 as 0."""
    return task._replace(stars=np.floor(task.stars), truth=np.floor(task.truth))


def of_stars(stars: np.ndarray) -> Answer:
    """The answer of a model that names a rating: as many bits as half stars."""
    return Answer(np.round(2 * stars), stars)


def of_bits(chances: np.ndarray) -> Answer:
    """The answer of a model that names the chance of every label bit, ``[U, q, 10]``.

    A bit at 1/2 is set; the rating expected is half the expected number of bits.
    """
    return Answer((chances >= 0.5).sum(-1), chances.sum(-1) / 2)


def threshold(task: Task, answer: Answer) -> float:
    """The expected stars from which on to say "liked", best in this task by balanced accuracy.

    Between the two values it parts; of equally good places the lowest.
    """
    stars, liked = answer.stars.ravel(), task.truth.ravel() >= LIKED
    values = np.unique(stars)
    places = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])
    order = np.sort(stars[liked]), np.sort(stars[~liked])
    hit, wrong = (1 - np.searchsorted(x, places) / max(1, len(x)) for x in order)
    return float(places[np.argmax(hit - wrong)])


def score(task: Task, answer: Answer, threshold: float) -> Scores:
    """Judge an answer; ``threshold`` is that of people who are not in the task."""
    liked = task.truth >= LIKED
    right = (np.abs(answer.code - 2 * task.truth) <= 2).mean(1)
    mixed = liked.any(1) & ~liked.all(1)
    areas = [sk.roc_auc_score(liked[u], answer.stars[u]) for u in np.flatnonzero(mixed)]
    said = answer.stars >= threshold
    recall = [(said[liked == side] == side).mean() for side in (True, False) if (liked == side).any()]
    return Scores(
        float(right.mean()),
        float(np.median(right)),
        float(np.mean(recall)),
        float(np.mean(areas)) if areas else float("nan"),
        float(np.sqrt(((answer.stars - task.truth) ** 2).mean())),
    )
