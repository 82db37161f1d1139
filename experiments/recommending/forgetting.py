"""Forgetting: people who rated horror films forget them, and their agents answer before and after."""

import jax
import numpy as np

from experiments.recommending import common
from experiments.shared import bars, plots, tables
from wnn_jax.recommender import forgetting


def run(study: common.Study) -> None:
    """Compare expected stars before and after forgetting, beside agents that were never shown the rows.

    Raises:
      ValueError: agents that forgot answer differently from agents that were never shown the rows.
    """
    config = forgetting.ForgettingConfig()
    table: dict[str, list[list[float]]] = {}
    for seed in bars.each(study.seeds, "forgetting", "seed"):
        key = jax.random.key(seed)
        kept = study.answers.get(
            f"forgetting {seed}", lambda key=key: forgetting.compare(key, config, study.data)
        )
        found = forgetting.Study(*kept)
        for name, values in found.found.items():
            scores = forgetting.Forgetting(*values)
            row = f"forget {config.genre}, {name}"
            study.results.add(row, people=found.people, seed=seed, **scores._asdict())
            table.setdefault(name, []).append(list(scores[:-2]))
            if scores.largest_difference != 0:
                raise ValueError(f"forgetting is not exact, which is a fault of the library: {scores}")
    heads = ["before", "after", "never shown", "others before", "others after", "others moved"]
    cells = {name: [common.mean_range(x) for x in zip(*rows, strict=True)] for name, rows in table.items()}
    title = f'mean stars of {config.genre} films, "forget {config.genre}"'
    tables.print_grid(title, cells, heads)
    print("after forgetting, every answer equals, to the last bit, that of an agent never shown the rows")
    means = {name: np.mean(rows, 0) for name, rows in table.items()}
    plots.forgetting(study.workdir / "forgetting.png", means, heads[:5])
