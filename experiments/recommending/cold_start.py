"""Cold start: what R ratings of a person are worth, by the published metric and by fairer ones."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from experiments.recommending import common
from experiments.shared import plots, tables
from wnn_jax.data import movielens
from wnn_jax.recommender import agent, baselines, encode, protocol

SIZES = (5, 10, 25, 100, 200)
ASKED = 20


def published(
    results: tables.Results, data: movielens.Data, wrong: movielens.Data | None, workdir, seeds
) -> None:
    """The published table: whole stars, and what is left of R ratings is asked."""
    rows = list(_rows(results, "published", data, wrong, seeds))
    _print(rows, "within one star (published metric); R =", "within_one")
    plots.by_ratings(workdir / "published.png", rows, "within_one", "within one star, as published")


def fair(results: tables.Results, data: movielens.Data, workdir, seeds) -> None:
    """Half stars, twenty films asked of everybody, and metrics that a constant does not win."""
    rows = list(_rows(results, "twenty", data, None, seeds))
    for name, title in (
        ("within_one", "within one star, 20 films asked"),
        ("balanced", "balanced accuracy of liking"),
        ("auc", "area under the curve"),
        ("rmse", "root mean squared error"),
    ):
        _print(rows, f"{title}; R =", name)
    plots.by_ratings(
        workdir / "cold_start.png", rows, "balanced", "balanced accuracy of liking (4 stars or more)"
    )
    _verdict(rows, seeds)


def _rows(results, kind: str, data: movielens.Data, wrong: movielens.Data | None, seeds: Sequence[int]):
    able = np.bincount(data.ratings.user)
    for size in tqdm(
        [x for x in SIZES if (able >= x + ASKED).sum() >= 8], desc=f"cold start, {kind}", unit="size"
    ):
        for seed in seeds:
            key = jax.random.fold_in(jax.random.key(seed), size)
            cut = 4 * size // 5
            asked = size - cut if kind == "published" else ASKED
            found = common.setting(key, data, cut, asked, whole=kind == "published")
            models = _models(key, found, kind == "published")
            if kind == "published":
                models |= _published(key, found, "right films")
                shuffled = np.asarray(jax.random.permutation(key, len(data.films.ids)))
                models |= _published(key, found, "films' facts shuffled", shuffled)
            yield from _score(results, found, models, {"protocol": kind, "shown": size, "seed": seed})
            if (
                wrong is not None
                and (np.bincount(wrong.ratings.user) >= cut + max(asked, common.LEAST_ASKED)).sum() >= 8
            ):
                other = common.setting(key, wrong, cut, asked, whole=True)
                models = _published(key, other, "joined by the wrong ids")
                yield from _score(results, other, models, {"protocol": kind, "shown": size, "seed": seed})


def _score(results, found: common.Setting, models: dict[str, common.Model], about: dict[str, Any]):
    for name, model in models.items():
        started = time.perf_counter()
        threshold = protocol.threshold(found.choosing, model(found.choosing))
        scores = protocol.score(found.tried, model(found.tried), threshold)
        row = {**about, **scores._asdict(), "people": len(found.tried.users)}
        results.add(name, **row, seconds=time.perf_counter() - started)
        yield {"row": name, **row}


def _published(
    key, found: common.Setting, what: str, order: np.ndarray | None = None
) -> dict[str, common.Model]:
    """The published encoder under its agent; ``order`` gives every film the facts of another."""
    film_bits = encode.encode(encode.PUBLISHED, found.columns)
    keys = encode.words(film_bits if order is None else film_bits[:, order])
    config = agent.AgentConfig(read="hamming", ties="random")
    return {f"per-bit Hamming, {what}": lambda task: common.ask(key, config, keys, task)}


def _models(key: jax.Array, found: common.Setting, whole: bool) -> dict[str, common.Model]:
    """Every row that knows the right films. Hyper-parameters are those best for people who are not tried."""
    by = "within_one" if whole else "rmse"
    films, world = len(found.films.ids), found.world
    film_bits = encode.encode(encode.DEFAULT, found.columns)
    keys = encode.words(film_bits)
    models: dict[str, common.Model] = {
        f"always {stars:g} stars": lambda task, stars=stars: baselines.constant(task, stars)
        for stars in (3, 3.5, 4)
    }
    models |= {
        "copy of a rating": lambda task: baselines.copied(key, task),
        "user mean": baselines.user_mean,
        "user median": baselines.user_median,
    }

    def network(config: baselines.MlpConfig) -> common.Model:
        def model(task):
            labels = encode.stars_to_bits(task.stars)
            return baselines.mlp_answer(key, config, task, film_bits, labels)

        return model

    models["MLP a person, as published"] = network(baselines.PUBLISHED_MLP)
    models["MLP a person, trained right"] = network(baselines.MlpConfig())
    reads = {
        "per-bit Hamming": agent.AgentConfig(read="hamming", ties="random"),
        "discrimination distance": agent.AgentConfig(read="discrimination", ties="random"),
    }
    for name, config in reads.items():
        models[name] = lambda task, config=config: common.ask(key, config, keys, task)

    def vote(scale: float, keys=keys, weight=0.0, prior=None) -> common.Model:
        config = agent.AgentConfig(scale=scale, prior_weight=weight)
        return lambda task: common.ask(key, config, keys, task, prior)

    scales = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
    models["weighted vote"] = common.choose({str(x): vote(x) for x in scales}, found.choosing, by)[1]
    neighbours = baselines.fit_neighbours(world.user, world.film, world.stars, films)
    models["item-kNN"] = lambda task: baselines.ask_neighbours(neighbours, task)

    weights: dict[str, common.Model] = {}
    made: dict[str, tuple[baselines.Factors, baselines.FactorConfig]] = {}
    for decay in (0.06, 0.2):
        config = baselines.FactorConfig(decay=decay)
        factors = baselines.factorise(key, config, world.user, world.film, world.stars, films)
        for shrink in (3.0, 12.0, 48.0):
            name = f"{decay} {shrink}"
            made[name] = factors, dataclasses.replace(config, shrink=shrink)
            weights[name] = lambda task, made=made[name]: protocol.of_stars(_fold_in(*made, task))
    chosen, models["matrix factorisation"] = common.choose(weights, found.choosing, by)
    factors, config = made[chosen]

    def prior(task):
        return baselines.prior(config, jnp.asarray(_fold_in(factors, config, task)), whole)

    code = encode.words(np.concatenate([film_bits, baselines.code_bits(factors)]))
    hybrids = {
        f"{scale} {weight} {name}": vote(scale, some, weight, prior)
        for scale in (2.0, 4.0, 8.0)
        for weight in (0.3, 1.0, 3.0)
        for name, some in (("facts", keys), ("facts and code", code))
    }
    models["hybrid: vote on a prior"] = common.choose(hybrids, found.choosing, by)[1]
    return models


def _fold_in(factors: baselines.Factors, config: baselines.FactorConfig, task: protocol.Task) -> np.ndarray:
    return np.asarray(baselines.fold_in(factors, config, task.film, task.stars, task.asked))


def _print(rows, title: str, name: str) -> None:
    sizes = sorted({row["shown"] for row in rows})
    table = {}
    for model in dict.fromkeys(row["row"] for row in rows):
        cells = []
        for size in sizes:
            values = [x[name] for x in rows if x["row"] == model and x["shown"] == size]
            cells.append(common.mean_range(values) if values else "-")
        table[model] = cells
    tables.print_grid(title, table, [str(size) for size in sizes])


def _verdict(rows, seeds) -> None:
    """Whether the hybrid beats both its parts, by balanced accuracy, seed by seed."""
    for size in sorted({row["shown"] for row in rows}):
        value = {(x["row"], x["seed"]): x["balanced"] for x in rows if x["shown"] == size}
        parts = ("weighted vote", "matrix factorisation")
        gain = {
            part: [value["hybrid: vote on a prior", seed] - value[part, seed] for seed in seeds]
            for part in parts
        }
        words = ", ".join(
            f"{np.mean(x):+.3f} over the {part} ({min(x):+.3f} to {max(x):+.3f})" for part, x in gain.items()
        )
        both = all(np.mean(x) > 0 for x in gain.values())
        print(f"R = {size}: the hybrid {'beats' if both else 'does not beat'} both its parts: {words}")
