"""Drift: a person's tastes flip, and each way of forgetting takes some time to follow.

Source: docs/semantics/recommender.md.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import movielens
from wnn_jax.narrow import in_32_bits
from wnn_jax.recommender import agent, factors, fields, protocol, trials

_GENRES = (fields.one_hot("genres", (*fields.GENRES, *fields.MORE_GENRES)),)
_ROOM = 128  # rows that an agent has room for: one number, so that the policies share compiled code
_LEAST_PEOPLE = 8
_SCALES = (0.5, 1.0, 2.0)

# The configs of each policy; the best one is chosen on people who are not tried.
POLICIES: dict[str, list[agent.AgentConfig]] = {
    "append only": [agent.AgentConfig(scale=s) for s in _SCALES],
    "sliding window": [agent.AgentConfig(scale=s, cap=c) for s in _SCALES for c in (10, 20, 40)],
    "age in the vote": [
        agent.AgentConfig(scale=s, half_life=h)
        for s in _SCALES
        for h in (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0)
    ],
    "delete what contradicts": [
        agent.AgentConfig(scale=s, contradiction=r) for s in _SCALES for r in (0, 1, 2)
    ],
}
Weights = Callable[[protocol.Holdout], np.ndarray]


@dataclasses.dataclass(frozen=True)
class DriftConfig:
    """The length of a history, and when tastes flip.

    Attributes:
      before: the number of ratings of a person before tastes flip.
      after: the number of ratings of a person after tastes flip.
      refit: the number of ratings between two fits of the weights that agents are compared with.

    Raises:
      ValueError: a value has another type or is out of range.

    Source: docs/semantics/recommender.md.
    """

    before: int = 40
    after: int = 40
    refit: int = 10

    def __post_init__(self):
        # `recovery` takes the second half of the ratings before, and means of five ratings after.
        checks.fields(self, before=Limits(least=1), after=Limits(least=5), refit=Limits(least=1))


class Drift(NamedTuple):
    """How well each policy predicts the next rating, by the policy's name.

    Attributes:
      flipped: ``float64 [before + after]``, for each place in the history the share of people whose rating
        was predicted within one star; tastes flip at place ``before``.
      real: the same share for real ratings in their real order, over the ratings from place ``before`` on.

    Source: docs/semantics/recommender.md.
    """

    flipped: dict[str, np.ndarray]
    real: dict[str, float]


class Recovery(NamedTuple):
    """How far a curve falls when tastes flip, and how soon it rises again.

    Attributes:
      before: the mean share over the second half of the ratings before the flip.
      first_five: the mean share over the first five ratings after the flip.
      last_ten: the mean share over the last ten ratings.
      ratings_to_recover: the number of ratings after the flip until the mean of the next five is no more than
        .05 below ``before``; None if that never happens.

    Source: docs/semantics/recommender.md.
    """

    before: float
    first_five: float
    last_ten: float
    ratings_to_recover: int | None


def compare(key: jax.Array, config: DriftConfig, dataset: movielens.Dataset) -> Drift:
    """Compare the policies on tastes that flip after ``before`` ratings, and on real ratings in real order.

    Args:
      key: decides the division of people, their made-up tastes and random ties.
      config: the length of a history, and when tastes flip.
      dataset: films and ratings.

    Raises:
      ValueError: fewer than eight people rated ``before + after`` films.

    Source: docs/semantics/recommender.md.
    """
    length = config.before + config.after
    enough = int((np.bincount(dataset.ratings.user) >= length).sum())
    if enough < _LEAST_PEOPLE:
        raise ValueError(
            f"{enough} people rated {length} films or more, and drift needs at least {_LEAST_PEOPLE}: give a "
            "larger data set"
        )
    trial = protocol.divide_and_hold_out(key, dataset, length, 0)
    tried, choosing = (
        _flip(config, k, holdout, trial.films)
        for k, holdout in zip(jax.random.split(key), (trial.tried, trial.choosing), strict=True)
    )
    flipped = trial._replace(tried=tried, choosing=choosing)
    told = _foretold(key, config, _GENRES, flipped, _ridge(config, trial))
    real = _foretold(key, config, fields.DEFAULT, trial, _factors(key, config, trial))
    return Drift(
        {name: right.mean(0) for name, right in told.items()},
        {name: float(right[:, config.before :].mean()) for name, right in real.items()},
    )


def recovery(config: DriftConfig, curve: np.ndarray) -> Recovery:
    """Measure one curve of `Drift.flipped`.

    Args:
      config: when tastes flip.
      curve: ``float64 [before + after]``, the share of ratings predicted within one star.

    Raises:
      ValueError: the curve has another length, or a share is not within 0 .. 1.

    Source: docs/semantics/recommender.md.
    """
    checks.array("curve", curve, "numbers", {"before + after": config.before + config.after}, Limits(0, 1))
    before = float(curve[config.before // 2 : config.before].mean())
    later = curve[config.before :]
    back = np.flatnonzero(np.convolve(later, np.ones(5) / 5, "valid") >= before - 0.05)
    first, last = float(later[:5].mean()), float(later[-10:].mean())
    return Recovery(before, first, last, int(back[0]) if len(back) else None)


def _flip(
    config: DriftConfig, key: jax.Array, holdout: protocol.Holdout, films: movielens.Films
) -> protocol.Holdout:
    """Give real histories made-up ratings: each person loves or hates a genre, later the reverse."""
    names = _GENRES[0].values
    member = np.array([[name in some for name in names] for some in films.genres])
    taste = np.asarray(
        in_32_bits(jax.random.choice)(key, jnp.array([-1, 1], jnp.int32), (len(holdout.users), len(names)))
    )
    turn = np.where(np.arange(holdout.film.shape[1]) < config.before, 1, -1)
    liking = np.sign(np.einsum("ung,ug->un", member[holdout.film], taste) * turn)
    return holdout._replace(stars=(3 + 1.5 * liking).astype(np.float32))


def _foretold(
    key: jax.Array, config: DriftConfig, encoder, trial: protocol.Trial, weights: Weights
) -> Mapping[str, np.ndarray]:
    """Mark the ratings of the people tried that are predicted within one star: ``bool [U, n]`` by policy.

    A policy uses the config that predicts most ratings after the flip, of the people for choosing.
    """
    film_keys = fields.film_keys(encoder, trial.columns)

    def worth(policy: agent.AgentConfig) -> float:
        return _replay(key, policy, film_keys, trial.choosing)[:, config.before :].mean()

    found = {}
    for name, policies in POLICIES.items():
        found[name] = _replay(key, max(policies, key=worth), film_keys, trial.tried)
    holdout = trial.tried
    places, nothing = range(holdout.film.shape[1]), np.full(len(holdout.users), 3.0)
    mean = np.stack([holdout.stars[:, :i].mean(1) if i else nothing for i in places], 1)
    found["mean so far"] = _within_one(holdout, mean)
    found[f"weights, fitted every {config.refit}"] = _within_one(holdout, weights(holdout))
    return found


def _replay(key, policy: agent.AgentConfig, film_keys: jax.Array, holdout: protocol.Holdout) -> np.ndarray:
    start = agent.empty(len(holdout.users), film_keys.shape[1], min(_ROOM, policy.cap))
    chances = np.asarray(agent.replay(key, policy, start, trials.rows(film_keys, holdout))[1])
    return np.abs((chances >= 0.5).sum(-1) - 2 * holdout.stars) <= 2


def _within_one(holdout: protocol.Holdout, stars: np.ndarray) -> np.ndarray:
    return np.abs(np.round(2 * stars) - 2 * holdout.stars) <= 2


def _ridge(config: DriftConfig, trial: protocol.Trial) -> Weights:
    """Return predictions by ridge regression on the genres."""
    film = jnp.asarray(fields.encode(_GENRES, trial.columns).T, jnp.float32)
    world = factors.Factors(jnp.float32(3), jnp.zeros(len(film), dtype=jnp.float32), film)
    ridge = factors.FactorConfig(shrink=1.0, bias_shrink=1.0)
    return lambda holdout: _refitted(config, world, ridge, holdout)


def _factors(key: jax.Array, config: DriftConfig, trial: protocol.Trial) -> Weights:
    """Return predictions by the factors of the world; a person's own factors are refitted."""
    fitted = factors.FactorConfig()
    world = factors.factorise(key, fitted, trial.world, len(trial.films.ids))
    return lambda holdout: _refitted(config, world, fitted, holdout)


def _refitted(
    config: DriftConfig, world: factors.Factors, ridge: factors.FactorConfig, holdout: protocol.Holdout
) -> np.ndarray:
    """Predict each rating by weights fitted to all ratings before the last refit."""
    length, found = holdout.film.shape[1], []
    for start in range(0, length, config.refit):
        seen = np.where(np.arange(length) < start, holdout.film, -1)
        asked = holdout.film[:, start : start + config.refit]
        found.append(np.asarray(factors.fold_in(world, ridge, seen, holdout.stars, asked)))
    return np.concatenate(found, 1)
