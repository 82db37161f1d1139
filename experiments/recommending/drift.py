"""Drift: the number of ratings until each policy predicts well again after tastes flip."""

import jax
import numpy as np

from experiments.recommending import common
from experiments.shared import bars, plots, tables
from wnn_jax.recommender import drift


def run(study: common.Study) -> None:
    """Compare the policies on flipped tastes, and on real ratings in their real order (`drift.compare`)."""
    config = drift.DriftConfig()
    curves: dict[str, list[np.ndarray]] = {}
    real: dict[str, list[float]] = {}
    for seed in bars.each(study.seeds, "drift", "seed"):
        key = jax.random.key(seed)
        kept = study.answers.get(f"drift {seed}", lambda key=key: drift.compare(key, config, study.data))
        found = drift.Drift(*kept)
        for name, values in found.flipped.items():
            curve = np.array(values)
            curves.setdefault(name, []).append(curve)
            recovered = drift.recovery(config, curve)._asdict()
            study.results.add(f"drift, flipped: {name}", seed=seed, curve=curve.tolist(), **recovered)
        for name, share in found.real.items():
            real.setdefault(name, []).append(share)
            study.results.add(f"drift, real order: {name}", seed=seed, within_one=share)
    means = {name: np.mean(x, 0) for name, x in curves.items()}
    cells, quick = {}, []
    for name, curve in means.items():
        *shares, took = drift.recovery(config, curve)
        if name in drift.POLICIES and took is not None and took <= 10:
            quick.append(name)
        when = f"more than {config.after - 5}" if took is None else str(took)
        cells[name] = [*(f"{x:.3f}" for x in shares), when, common.mean_range(real[name])]
    heads = ["before", "first 5", "last 10", "recovered after", "real order"]
    tables.print_grid("share within one star of the next rating, tastes flipped", cells, heads)
    print(
        "back to within .05 of the share before the flip (mean of five ratings) after at most 10 ratings: "
        f"{', '.join(quick) or 'no policy'}"
    )
    plots.drift(study.workdir / "drift.png", means, config.before)
