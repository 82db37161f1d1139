"""Cold start, as published and with fairer metrics: a row for each recommender, size R and seed."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.recommending import common
from experiments.shared import bars, plots, tables
from wnn_jax.data import movielens
from wnn_jax.recommender import cold_start, protocol

Rows = Sequence[Mapping[str, Any]]


def published(study: common.Study, wrong: movielens.Dataset | None) -> None:
    """Make the published table: whole stars; a fifth of the R ratings is asked."""
    rows = _rows(study, "published", cold_start.PUBLISHED, wrong)
    _print(rows, "within one star (published metric); R =", "within_one")
    plots.by_ratings(study.workdir / "published.png", rows, "within_one", "within one star, as published")


def fair(study: common.Study) -> None:
    """Make the fair tables: half stars, twenty films asked, and metrics that no constant wins."""
    rows = _rows(study, "twenty", cold_start.FAIR, None)
    _print(rows, "within one star, 20 films asked; R =", "within_one")
    _print(rows, "balanced accuracy of liking; R =", "balanced")
    _print(rows, "area under the curve; R =", "auc")
    _print(rows, "root mean squared error; R =", "rmse")
    label = "balanced accuracy of liking (4 stars or more)"
    plots.by_ratings(study.workdir / "cold_start.png", rows, "balanced", label)
    _verdict(rows, study.seeds)


def _rows(
    study: common.Study, kind: str, config: cold_start.ColdStartConfig, wrong: movielens.Dataset | None
) -> Rows:
    rows = []
    sizes = cold_start.sizes(config, study.data.ratings)
    for size in bars.each(sizes, f"cold start, {kind}", "size"):
        for seed in study.seeds:
            name = f"cold start, {kind}, {size} {seed}"
            found = study.answers.get(name, lambda at=(size, seed): _judged(study, config, *at, wrong))
            for entrant, people, seconds, values in found:
                scores = protocol.RatingScores(*values)._asdict()
                row = {"protocol": kind, "shown": size, "seed": seed, **scores, "people": people}
                study.results.add(entrant, **row, seconds=seconds)
                rows.append({"row": entrant, **row})
    return rows


def _judged(study: common.Study, config, size: int, seed: int, wrong: movielens.Dataset | None) -> list:
    """Judge every recommender on one size and seed: its name, the number of people, seconds and scores."""
    found = []
    for entrant in cold_start.entrants(jax.random.key(seed), config, size, study.data, wrong):
        started = time.perf_counter()
        scores = protocol.judge(entrant.trial, entrant.recommender)
        seconds = time.perf_counter() - started
        found.append((entrant.name, len(entrant.trial.tried.users), seconds, scores))
    return found


def _print(rows: Rows, title: str, name: str) -> None:
    sizes = sorted({row["shown"] for row in rows})
    table = {}
    for model in dict.fromkeys(row["row"] for row in rows):
        cells = []
        for size in sizes:
            values = [x[name] for x in rows if x["row"] == model and x["shown"] == size]
            cells.append(common.mean_range(values) if values else "-")
        table[model] = cells
    tables.print_grid(title, table, [str(size) for size in sizes])


def _verdict(rows: Rows, seeds: Sequence[int]) -> None:
    """Print whether the hybrid has a better balanced accuracy than both its parts, with the gains by seed."""
    for size in sorted({row["shown"] for row in rows}):
        value = {(x["row"], x["seed"]): x["balanced"] for x in rows if x["shown"] == size}
        gain = {
            part: [value["hybrid: vote on a prior", seed] - value[part, seed] for seed in seeds]
            for part in ("weighted vote", "matrix factorisation")
        }
        words = ", ".join(
            f"{np.mean(x):+.3f} over the {part} ({min(x):+.3f} to {max(x):+.3f})" for part, x in gain.items()
        )
        both = all(np.mean(x) > 0 for x in gain.values())
        print(f"R = {size}: the hybrid {'beats' if both else 'does not beat'} both its parts: {words}")
