"""Detection: of two classes, the share of the positive rows that are found at a wanted false-positive rate.

The vote of a model is the score of class 1 less that of class 0. Beside it stands novelty: the share of
neurons whose address no training row of class 0 showed, which finds positive rows of kinds that the training
rows do not hold.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from experiments.classifying.models import Fitted, Settings, tables_for
from experiments.shared import tables
from wnn_jax.classify import calibration, counts, encoders, explain, model
from wnn_jax.classify.mapping import MappingConfig, generator
from wnn_jax.data.tables import TableData

RATES = (0.01, 0.027, 0.035, 0.05, 0.1)
"""False-positive rates on the test rows."""
_TRAIN_RATE = 0.01  # of the threshold that is set on training rows
_ADDRESS_BITS = 12  # of the neurons that know normal rows: few enough that normal test rows are mostly known


class Decision(NamedTuple):
    """How positive rows are; larger is more.

    Attributes:
      test: ``float64 [N']``.
      train: ``float64 [N]`` of rows of the fit, or None if the model has none that are fit for a threshold.
    """

    test: np.ndarray
    train: np.ndarray | None = None


def votes(one: Fitted, data: TableData) -> Decision:
    """Return the votes of a model of ours."""
    assert one.model is not None
    found = [model.scores(one.model, X) for X in (data.X_test, data.X)]
    test, train = (scores[:, 1].astype(np.float64) - scores[:, 0] for scores in found)
    return Decision(test, train)


def novelty(key: jax.Array, settings: Settings, data: TableData, kib: float) -> Decision:
    """Return the share of neurons whose address no training row of class 0 showed, but the row itself."""
    config = MappingConfig(tables_for(kib, 1 << _ADDRESS_BITS, 1, 1), _ADDRESS_BITS)
    encoder = encoders.fit(settings.encoder, data.X)
    levels, test = encoders.levels(encoder, data.X), encoders.levels(encoder, data.X_test)
    mapping = model.draw_mapping(generator(key), config, encoder)
    normal = data.y == 0
    seen = counts.empty(mapping, config.entries, 1)
    seen = np.asarray(counts.write(mapping, seen, levels[normal], np.zeros(normal.sum(), np.int32)))
    train = explain.novelty(mapping, (seen > 0).astype(np.int8), levels)
    train[normal] = explain.novelty(mapping, (seen > 1).astype(np.int8), levels[normal])
    return Decision(explain.novelty(mapping, (seen > 0).astype(np.int8), test), train)


def together(one: Decision, other: Decision) -> Decision:
    """Add two decisions, each in units of its spread over the training rows."""
    assert one.train is not None
    assert other.train is not None
    spread = [max(float(x.train.std()), 1e-9) for x in (one, other) if x.train is not None]
    return Decision(
        one.test / spread[0] + other.test / spread[1], one.train / spread[0] + other.train / spread[1]
    )


def report(results: tables.Results, data: TableData, found: Mapping[str, list[Decision]]) -> None:
    """Add a row for each decision, and print the means over seeds."""
    positive, known = data.y_test == 1, data.y == 1
    cells = {}
    for name, some in found.items():
        values = []
        for seed, one in enumerate(some):
            recalls = [calibration.threshold(one.test, positive, rate).recall for rate in RATES]
            set_there = [float("nan")] * 2
            if one.train is not None:
                chosen = calibration.threshold(one.train, known, _TRAIN_RATE).threshold
                set_there = list(calibration.at_threshold(one.test, positive, chosen)[1:])
            named = {f"recall_at_{rate}": recall for rate, recall in zip(RATES, recalls, strict=True)}
            kept = {"false_positive_rate": set_there[0], "recall": set_there[1]}
            results.add(f"detection: {name}", **named, **kept, number=seed)
            values.append([*recalls, *set_there])
        cells[name] = ["-" if np.isnan(x) else f"{x:.3f}" for x in np.mean(values, axis=0)]
    heads = [*(f"at {rate:g}" for rate in RATES), "set: FPR", "recall"]
    tables.print_grid(
        f"share of {data.labels[1]!r} found at a false-positive rate on the test rows", cells, heads
    )
    print(f"set: the threshold was set on training rows, for a false-positive rate of {_TRAIN_RATE:g} there")
