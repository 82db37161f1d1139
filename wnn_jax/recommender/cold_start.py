"""Cold start: how well recommenders do with few ratings of a person, by the published metric and by others.

Source: docs/semantics/recommender.md.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import movielens
from wnn_jax.recommender import agent, baselines, fields, protocol, trials
from wnn_jax.recommender import factors as factorisation

_LEAST_PEOPLE = 8


@dataclasses.dataclass(frozen=True)
class ColdStartConfig:
    """The ratings shown and asked, and the hyper-parameters to choose from.

    Attributes:
      sizes: the numbers R of a person's ratings; four fifths of the R ratings are shown.
      asked: the number of films asked of every person.
      published: whether to do as arXiv 2511.05499 did: cut ratings to whole stars, and ask only the fifth of
        the R ratings that is not shown.
      scales: scales of the vote to choose from.
      decays: decays of the factorisation to choose from.
      shrinks: ridges of a new person's factors to choose from.
      hybrid_scales: scales of the hybrid's vote to choose from.
      hybrid_weights: weights of the hybrid's prior to choose from.

    Raises:
      ValueError: a value has another type or is out of range, or there is nothing to choose from.

    Source: docs/semantics/recommender.md.
    """

    sizes: tuple[int, ...] = (5, 10, 25, 100, 200)
    asked: int = 20
    published: bool = False
    scales: tuple[float, ...] = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
    decays: tuple[float, ...] = (0.06, 0.2)
    shrinks: tuple[float, ...] = (3.0, 12.0, 48.0)
    hybrid_scales: tuple[float, ...] = (2.0, 4.0, 8.0)
    hybrid_weights: tuple[float, ...] = (0.3, 1.0, 3.0)

    def __post_init__(self):
        above = Limits(least=1e-30, most=1e30)
        lists = {name: above for name in ("scales", "decays", "shrinks", "hybrid_scales")}
        checks.fields(
            self, sizes=Limits(least=2), asked=Limits(least=1), hybrid_weights=Limits(0, 1e6), **lists
        )
        for name in ("sizes", *lists, "hybrid_weights"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty: give at least one number")

    @property
    def measure(self) -> str:
        """The name of the score that chooses hyper-parameters."""
        return "within_one" if self.published else "rmse"

    def shown(self, size: int) -> int:
        """Return the number of ratings that are shown of R = ``size`` ratings."""
        return 4 * size // 5

    def held_out(self, size: int) -> int:
        """Return the number of films that are asked of a person with R = ``size`` ratings."""
        return size - self.shown(size) if self.published else self.asked


FAIR = ColdStartConfig()
PUBLISHED = ColdStartConfig(published=True)


class Entrant(NamedTuple):
    """A recommender and the trial that it takes part in.

    Attributes:
      name: the name of its result row.
      trial: the people, the ratings shown and the ratings asked.
      recommender: the recommender, fitted to the world of the trial.

    Source: docs/semantics/recommender.md.
    """

    name: str
    trial: protocol.Trial
    recommender: protocol.Recommender


def sizes(config: ColdStartConfig, ratings: movielens.Ratings) -> list[int]:
    """Return the sizes R for which at least eight people rated ``R + asked`` films or more.

    Raises:
      ValueError: there is none.

    Source: docs/semantics/recommender.md.
    """
    count = np.bincount(ratings.user)
    found = [x for x in config.sizes if (count >= x + config.asked).sum() >= _LEAST_PEOPLE]
    if not found:
        least = min(config.sizes) + config.asked
        raise ValueError(
            f"{(count >= least).sum()} people rated {least} films or more, and cold start needs at least "
            f"{_LEAST_PEOPLE}: give a larger data set"
        )
    return found


def entrants(
    key: jax.Array,
    config: ColdStartConfig,
    size: int,
    dataset: movielens.Dataset,
    wrong: movielens.Dataset | None = None,
) -> list[Entrant]:
    """Fit every recommender of the study to the world and choose its hyper-parameters.

    Args:
      key: decides everything drawn at random; the size is folded in.
      config: the ratings shown and asked, and the hyper-parameters to choose from.
      size: R, the number of ratings of a person.
      dataset: films and ratings.
      wrong: the data set with films joined by the ids of another system, or None; only the published study
        uses it.

    Returns:
      The recommenders, in the order of their result rows.

    Raises:
      ValueError: too few people rated enough films (`protocol.divide`).

    Source: docs/semantics/recommender.md.
    """
    key = jax.random.fold_in(key, size)
    shown, asked = config.shown(size), config.held_out(size)
    trial = protocol.divide_and_hold_out(key, dataset, shown, asked, config.published)
    found = [Entrant(name, trial, each) for name, each in _recommenders(key, config, trial).items()]
    if not config.published:
        return found
    films = trial.films.ids
    shuffled = np.asarray(jax.random.permutation(key, len(films)))
    found.append(Entrant("per-bit Hamming, right films", trial, published(key, trial)))
    found.append(Entrant("per-bit Hamming, films' facts shuffled", trial, published(key, trial, shuffled)))
    needed = shown + max(asked, protocol.LEAST_ASKED)
    if wrong is not None and (np.bincount(wrong.ratings.user) >= needed).sum() >= _LEAST_PEOPLE:
        other = protocol.divide_and_hold_out(key, wrong, shown, asked, whole=True)
        found.append(Entrant("per-bit Hamming, joined by the wrong ids", other, published(key, other)))
    return found


def published(key: jax.Array, trial: protocol.Trial, order: np.ndarray | None = None) -> protocol.Recommender:
    """Return agents with the published encoder: per-bit Hamming distance, random ties.

    Args:
      key: decides random ties.
      trial: the people and the facts of films.
      order: integers ``[F]``, a permutation that gives every film the facts of another, or None.

    Source: arXiv 2511.05499; docs/semantics/recommender.md.
    """
    film_bits = fields.encode(fields.PUBLISHED, trial.columns)
    film_keys = fields.pack(film_bits if order is None else film_bits[:, order])
    return trials.recommender(key, agent.AgentConfig(read="hamming", ties="random"), film_keys)


def _recommenders(
    key: jax.Array, config: ColdStartConfig, trial: protocol.Trial
) -> dict[str, protocol.Recommender]:
    """Return the recommenders that get the right facts of films, by the names of their rows."""
    film_bits = fields.encode(fields.DEFAULT, trial.columns)
    film_keys = fields.pack(film_bits)
    found = baselines.plain(key) | baselines.networks(key, film_bits)
    hamming = agent.AgentConfig(read="hamming", ties="random")
    found["per-bit Hamming"] = trials.recommender(key, hamming, film_keys)
    discrimination = dataclasses.replace(hamming, read="discrimination")
    found["discrimination distance"] = trials.recommender(key, discrimination, film_keys)
    votes = {
        str(scale): trials.recommender(key, agent.AgentConfig(scale=scale), film_keys)
        for scale in config.scales
    }
    found["weighted vote"] = protocol.choose(votes, trial.choosing, config.measure)[1]
    films = len(trial.films.ids)
    found["item-kNN"] = baselines.neighbours(baselines.NeighbourConfig(), trial.world, films)
    weights = _factorised(key, config, trial)
    found["matrix factorisation"] = weights.estimate
    code = fields.pack(np.concatenate([film_bits, factorisation.code_bits(weights.factors)]))
    hybrids = {}
    for scale in config.hybrid_scales:
        for weight in config.hybrid_weights:
            vote = agent.AgentConfig(scale=scale, prior_weight=weight)
            for name, some in (("facts", film_keys), ("facts and code", code)):
                hybrids[f"{scale} {weight} {name}"] = trials.recommender(key, vote, some, weights.prior)
    found["hybrid: vote on a prior"] = protocol.choose(hybrids, trial.choosing, config.measure)[1]
    return found


class _Weights(NamedTuple):
    """A factorisation of the world, which is a recommender and the prior of the hybrid."""

    factors: factorisation.Factors
    config: factorisation.FactorConfig
    whole: bool

    def stars(self, holdout: protocol.Holdout) -> np.ndarray:
        found = factorisation.fold_in(self.factors, self.config, holdout.film, holdout.stars, holdout.asked)
        return np.asarray(found)

    def estimate(self, holdout: protocol.Holdout) -> protocol.Estimate:
        return protocol.from_stars(self.stars(holdout))

    def prior(self, holdout: protocol.Holdout) -> jax.Array:
        return factorisation.prior(self.config, jnp.asarray(self.stars(holdout)), self.whole)


def _factorised(key: jax.Array, config: ColdStartConfig, trial: protocol.Trial) -> _Weights:
    made: dict[str, _Weights] = {}
    for decay in config.decays:
        fitted = factorisation.FactorConfig(decay=decay)
        world = factorisation.factorise(key, fitted, trial.world, len(trial.films.ids))
        for shrink in config.shrinks:
            each = dataclasses.replace(fitted, shrink=shrink)
            made[f"{decay} {shrink}"] = _Weights(world, each, config.published)
    estimates = {name: weights.estimate for name, weights in made.items()}
    return made[protocol.choose(estimates, trial.choosing, config.measure)[0]]
