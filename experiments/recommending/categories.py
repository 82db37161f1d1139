"""New categories: names that the encoder does not know, and a genre that gets a bit after learning."""

from collections.abc import Callable
from typing import Any

import jax

from experiments.recommending import common
from experiments.shared import bars, plots, tables
from wnn_jax.recommender import categories, protocol

CONFIG = categories.CategoriesConfig()


def bucketing(study: common.Study) -> None:
    """Compare ways to treat genres and tags that the encoder does not know (`categories.bucketing`)."""
    table: dict[str, list[categories.Bucketed]] = {}
    for seed in bars.each(study.seeds, "bucketing", "seed"):
        for row, (bits, values) in _answers(study, categories.bucketing, seed).items():
            found = categories.Bucketed(bits, protocol.RatingScores(*values))
            study.results.add(f"bucketing, {row}", seed=seed, bits=found.bits, **found.scores._asdict())
            table.setdefault(row, []).append(found)
    names = ("within_one", "auc", "rmse")
    cells = {
        row: [str(found[0].bits)]
        + [common.mean_range([getattr(x.scores, name) for x in found]) for name in names]
        for row, found in table.items()
    }
    tables.print_grid("names the encoder does not know", cells, ["bits", "within one", "auc", "rmse"])
    shown = {row: [x.scores.within_one for x in found] for row, found in table.items()}
    plots.bars(study.workdir / "bucketing.png", shown, "within one star")


def _answers(study: common.Study, work: Callable, seed: int) -> dict[str, Any]:
    """Run a part with one seed, or take its scores from a run before."""
    key = jax.random.key(seed)
    return study.answers.get(f"{work.__name__} {seed}", lambda: work(key, CONFIG, study.data))


def addition(study: common.Study) -> None:
    """Compare ways to add a bit for a genre after agents have learnt (`categories.addition`)."""
    genre = CONFIG.added
    table: dict[str, list[categories.Added]] = {}
    for seed in bars.each(study.seeds, "addition", "seed"):
        for name, values in _answers(study, categories.addition, seed).items():
            found = categories.Added(*values)
            study.results.add(
                f"feature added: {name}", seed=seed, old_films_moved=found[-1], scores=list(found[:-1])
            )
            table.setdefault(name, []).append(found)
    cells = {name: [common.mean_range(x) for x in zip(*rows, strict=True)] for name, rows in table.items()}
    heads = [f"{genre}: within one", "others", f"{genre}: rmse", "others", "change of others"]
    tables.print_grid(f"{genre} gets a bit after learning", cells, heads)
    shown = {name: [x.within_one for x in rows] for name, rows in table.items()}
    plots.bars(study.workdir / "addition.png", shown, f"within one star, {genre} films")
