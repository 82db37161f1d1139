"""A study of lists: which rule puts what a person uses next among the first ten.

Source: docs/semantics/recommender.md.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import movielens
from wnn_jax.recommender import catalogue, company, implicit, person, ranking
from wnn_jax.recommender.ranking import Ranker

_INFINITE = float("inf")
_TUNING = 2  # folds on which hyper-parameters are chosen


@dataclasses.dataclass(frozen=True)
class ListsConfig:
    """The items shown and held out, and the hyper-parameters to choose from.

    Attributes:
      hold: the items held out. ``last``: the last in time, or a drawn fifth if there are no times. ``drawn``:
        a drawn fifth always.
      sizes: the numbers R of a person's items that recommenders see, the last ones in time or drawn ones; 0
        is all of them.
      scales: scales of the agents' votes to choose from.
      half_lives: half-lives of rows to choose from, in later rows of the person, for all recommenders that
        read rows; without times, and with drawn items, rows have no age.
      exponents: exponents of popularity in the agents' votes to choose from.
      shrinks: shrinkages of item-kNN's cosine to choose from.
      factors: numbers of factors to choose from.
      weights: weights of a use in the factorisation to choose from.
      decays: decays of the factorisation to choose from.
      rated: the number of people, drawn from all folds, of whom lists by expected stars are scored, with all
        items shown; these lists take the most time.
      doubts: the numbers of people to choose from at which half of an item's difference from the mean of
        expected stars is believed.
      bounds: numbers of standard errors to choose from, by which a lower bound lies below the expected stars.
      bonuses: stars to choose from, that each doubling of an item's people adds.

    Raises:
      ValueError: a value has another type or is out of range, or there is nothing to choose from.

    Source: docs/semantics/recommender.md.
    """

    hold: Literal["last", "drawn"] = "last"
    sizes: tuple[int, ...] = (5, 20, 0)
    scales: tuple[float, ...] = (0.12, 0.2)
    half_lives: tuple[float, ...] = (_INFINITE, 5.0)
    exponents: tuple[float, ...] = (0.0, 0.15)
    shrinks: tuple[float, ...] = (0.0, 10.0, 50.0)
    factors: tuple[int, ...] = (64,)
    weights: tuple[float, ...] = (2.0, 5.0, 20.0)
    decays: tuple[float, ...] = (5.0, 20.0)
    rated: int = 100
    doubts: tuple[float, ...] = (3.0, 10.0, 30.0, 100.0)
    bounds: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    bonuses: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5)

    def __post_init__(self):
        above = Limits(above=0)
        lists = {name: above for name in ("scales", "decays", "doubts", "bounds", "bonuses")}
        least = {"exponents": 0, "shrinks": 0, "factors": 1, "weights": 0, "sizes": 0}
        lists |= {name: Limits(least=x) for name, x in least.items()}
        lists["half_lives"] = Limits(least=1e-3, endless=True)
        checks.fields(self, rated=Limits(least=0), **lists)
        for name in lists:
            if not getattr(self, name):
                raise ValueError(f"{name} is empty: give at least one number")


class Score(NamedTuple):
    """The lists of one recommender at one number of items shown.

    Attributes:
      name: the recommender.
      shown: R, the most items shown of a person; 0 for all.
      setting: the hyper-parameters that were chosen.
      people: the number of people scored.
      recall: see `ranking.ListScores`.
      ndcg: see `ranking.ListScores`.
      hit: see `ranking.ListScores`.

    Source: docs/semantics/recommender.md.
    """

    name: str
    shown: int
    setting: str
    people: int
    recall: float
    ndcg: float
    hit: float


class World(NamedTuple):
    """Items and people that recommenders are fitted to.

    Attributes:
      dataset: the items, and the ratings shown of the people of the world, who are numbered from 0.
      aged: whether the order of a person's rows is an order of time.

    Source: docs/semantics/recommender.md.
    """

    dataset: movielens.Dataset
    aged: bool


Rankers = dict[str, dict[str, Ranker]]
"""Rankers by recommender and by setting; a ranker is fitted when it is first asked."""

Make = Callable[[jax.Array, ListsConfig, World], Rankers]
"""A function that makes rankers for a world."""


def compare(key: jax.Array, config: ListsConfig, dataset: movielens.Dataset) -> list[Score]:
    """Score every recommender on everybody, by five folds of people.

    Hyper-parameters are those with the best NDCG on two folds, of whose items shown some are held out again.

    Args:
      key: decides everything that is drawn.
      config: the items shown and held out, and the hyper-parameters to choose from.
      dataset: items and ratings.

    Raises:
      ValueError: there are fewer than five people, or nobody has three items.

    Source: docs/semantics/recommender.md.
    """
    keys = jax.random.split(key, 3)
    timed = dataset.timed and config.hold == "last"
    asked = ranking.hold_out(keys[0], dataset.ratings, timed)
    again = ranking.hold_out(keys[1], asked.shown, timed)
    groups = ranking.folds(keys[2], len(dataset.users))
    plan = _Plan(key, config, dataset, timed, asked, again, groups)
    found = _scored(plan, rankers, groups, config.sizes)
    if config.rated and len(np.unique(dataset.ratings.stars)) > 1:
        few = -(-config.rated // len(groups))
        drawn = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        some = [np.sort(drawn.permutation(fold)[:few]) for fold in groups]
        found += _scored(plan, by_stars, some, (0,))
    return found


class _Plan(NamedTuple):
    """The items that are held out of people; ``again`` is held out of those that ``asked`` shows."""

    key: jax.Array
    config: ListsConfig
    dataset: movielens.Dataset
    timed: bool
    asked: ranking.Asked
    again: ranking.Asked
    groups: list[np.ndarray]

    def world(self, fold: np.ndarray) -> World:
        """Return what is shown of all people who are not in a fold."""
        others = np.setdiff1d(np.arange(len(self.dataset.users)), fold)
        shown = ranking.of_people(self.asked.shown, others)
        return World(self.dataset._replace(ratings=shown, users=self.dataset.users[others]), self.timed)


def _scored(plan: _Plan, make: Make, tried: list[np.ndarray], sizes: tuple[int, ...]) -> list[Score]:
    """Score rankers on the people tried of each fold."""
    made = {k: make(plan.key, plan.config, plan.world(plan.groups[k])) for k in range(_TUNING)}
    chosen = _chosen(plan, made, tried)
    found: dict[tuple[str, int], list[np.ndarray]] = {}
    for k, people in enumerate(tried):
        mine = ranking.Asked(*(ranking.of_people(x, people) for x in plan.asked))
        shown = {size: ranking.cut(plan.key, mine.shown, size, plan.timed) for size in sizes}
        here = made.pop(k, None) or make(plan.key, plan.config, plan.world(plan.groups[k]))
        for name, settings in here.items():
            for size in sizes:
                scores = ranking.judge(settings[chosen[name]], mine, len(people), shown[size])
                found.setdefault((name, size), []).append(scores)
    rows = []
    for (name, size), parts in found.items():
        scores = np.concatenate(parts)
        count = int(np.isfinite(scores[:, 0]).sum())
        rows.append(Score(name, size, chosen[name], count, *ranking.mean(scores)))
    return rows


def _chosen(plan: _Plan, made: dict[int, Rankers], tried: list[np.ndarray]) -> dict[str, str]:
    """Choose the setting of each recommender by its NDCG on the people tried of some folds."""
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for k, here in made.items():
        mine = ranking.Asked(*(ranking.of_people(x, tried[k]) for x in plan.again))
        for name, settings in here.items():
            for setting, ranker in settings.items():
                alone = len(settings) == 1
                scores = np.ones((1, 3)) if alone else ranking.judge(ranker, mine, len(tried[k]))
                found.setdefault(name, {}).setdefault(setting, []).append(scores)
    worth = {
        name: {setting: ranking.mean(np.concatenate(x)).ndcg for setting, x in settings.items()}
        for name, settings in found.items()
    }
    return {name: max(settings, key=settings.__getitem__) for name, settings in worth.items()}


def rankers(key: jax.Array, config: ListsConfig, world: World) -> Rankers:
    """Return recommenders of uses, by the names of their rows and their settings.

    Args:
      key: decides everything that is drawn.
      config: the hyper-parameters.
      world: what the recommenders are fitted to.

    Source: docs/semantics/recommender.md.
    """
    ratings, items = world.dataset.ratings, len(world.dataset.films.ids)
    return {
        "chance": {"": implicit.chance(key, items)},
        "popularity": {"": implicit.popularity(ratings, items)},
        "item-kNN": _knn(config, world),
        "ALS": _als(key, config, world),
        "agents": _agents(key, config, world),
    }


def _halves(config: ListsConfig, world: World) -> tuple[float, ...]:
    return config.half_lives if world.aged else (_INFINITE,)


def _knn(config: ListsConfig, world: World) -> dict[str, Ranker]:
    found, items = {}, len(world.dataset.films.ids)

    def ask(fitted, half: float, shown: movielens.Ratings, people: int) -> np.ndarray:
        return implicit.ask_knn(fitted(), half, shown, people)

    for shrink in config.shrinks:
        fitted = functools.cache(functools.partial(implicit.cosines, shrink, world.dataset.ratings, items))
        for half in _halves(config, world):
            found[f"shrink {shrink:g}, half-life {half:g}"] = functools.partial(ask, fitted, half)
    return found


def _als(key: jax.Array, config: ListsConfig, world: World) -> dict[str, Ranker]:
    found, items = {}, len(world.dataset.films.ids)

    def ask(als, fitted, half: float, shown: movielens.Ratings, people: int) -> np.ndarray:
        return implicit.ask_als(als, fitted(), half, shown, people)

    for factors, weight, decay in itertools.product(config.factors, config.weights, config.decays):
        als = implicit.AlsConfig(factors, weight, decay)
        fitted = functools.cache(functools.partial(implicit.als, key, als, world.dataset.ratings, items))
        for half in _halves(config, world):
            name = f"{factors} factors, weight {weight:g}, decay {decay:g}, half-life {half:g}"
            found[name] = functools.partial(ask, als, fitted, half)
    return found


def _agents(key: jax.Array, config: ListsConfig, world: World) -> dict[str, Ranker]:
    found, form = {}, company.CompanyConfig()

    @functools.cache
    def fitted() -> company.Signs:
        empty = company.empty(key, form.bits, len(world.dataset.films.ids))
        return company.signs(company.add(empty, world.dataset.ratings))

    kept: dict[int, tuple[movielens.Ratings, company.Apart]] = {}

    def ask(vote: company.CompanyConfig, shown: movielens.Ratings, people: int) -> np.ndarray:
        if id(shown) not in kept:
            kept.clear()  # settings are asked of the same rows, one after the other
            kept[id(shown)] = shown, company.distances(fitted(), shown)
        return company.votes(vote, fitted(), shown, people, kept[id(shown)][1])

    weighing = (False, True) if len(np.unique(world.dataset.ratings.stars)) > 1 else (False,)
    for choice in itertools.product(config.scales, _halves(config, world), config.exponents, weighing):
        name = "scale {:g}, half-life {:g}, popularity {:g}".format(*choice) + ", by stars" * choice[-1]
        found[name] = functools.partial(ask, company.CompanyConfig(form.bits, *choice))
    return found


def by_stars(key: jax.Array, config: ListsConfig, world: World) -> Rankers:
    """Return lists by the stars that agents expect: as they are, and corrected for items of few people.

    Args:
      key: decides everything that is drawn.
      config: the corrections to choose from.
      world: what the agents' catalogue is made of.

    Source: docs/semantics/recommender.md.
    """
    given = world.dataset.ratings.stars
    count = np.bincount(world.dataset.ratings.film, minlength=len(world.dataset.films.ids)).astype(float)
    middle, error = given.mean(), given.std() / np.sqrt(count + 1)
    rules = {
        "": {"": lambda x: x},
        ", shrunk": {
            f"{k:g} people": lambda x, k=k: middle + (x - middle) * (count / (count + k))
            for k in config.doubts
        },
        ", lower bound": {f"{k:g} errors": lambda x, k=k: x - k * error for k in config.bounds},
        ", popularity added": {
            f"{k:g} stars": lambda x, k=k: x + k * np.log2(1 + count) for k in config.bonuses
        },
    }
    films = functools.cache(functools.partial(catalogue.build, key, world.dataset))
    kept: dict[int, tuple[movielens.Ratings, np.ndarray]] = {}

    def ask(rule, shown: movielens.Ratings, people: int) -> np.ndarray:
        if id(shown) not in kept:
            kept[id(shown)] = shown, person.expected_of(films(), shown, people)
        return rule(kept[id(shown)][1])

    return {
        f"expected stars{name}": {k: functools.partial(ask, rule) for k, rule in settings.items()}
        for name, settings in rules.items()
    }
