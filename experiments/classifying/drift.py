"""A stream that drifts: count tables that add every row, that decay, and that forget what left a window.

The rows come from clusters, one for each class. After a while each cluster moves, step by step, to the place
where the next class was at first, so that old rows speak for the wrong class.
"""

import dataclasses
import pathlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from experiments.classifying import pictures
from experiments.shared import bars, tables
from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.classify import bleaching, counts, encoders, layer
from wnn_jax.classify.encoders import EncoderConfig

_NEURONS, _ADDRESS_BITS, _BITS = 64, 8, 8


@dataclasses.dataclass(frozen=True)
class DriftConfig:
    """The stream of --drift, and how its models forget.

    Attributes:
      drift: whether to run the stream instead of a table.
      drift_rows: the number of rows of the stream.
      drift_begins: the number of rows after which the classes begin to move; they arrive with the last row.
      drift_block: the number of rows that are predicted, and then learnt, at once.
      drift_features: the number of features.
      drift_classes: the number of classes.
      drift_half: the number of rows after which decay halves all counts.
      drift_window: the number of rows that the model with a window remembers.

    Raises:
      ValueError: a value is out of range.
    """

    drift: bool = False
    drift_rows: int = 20_000
    drift_begins: int = 6_000
    drift_block: int = 200
    drift_features: int = 12
    drift_classes: int = 6
    drift_half: int = 1_000
    drift_window: int = 2_000

    def __post_init__(self):
        some = Limits(least=1, most=10_000_000)
        names = ("rows", "begins", "block", "features", "half", "window")
        checks.fields(
            self, **{f"drift_{name}": some for name in names}, drift_classes=Limits(least=2, most=1000)
        )
        if not self.drift_block <= self.drift_begins < self.drift_rows:
            raise ValueError(
                f"--drift_begins={self.drift_begins} must be at least --drift_block={self.drift_block} and "
                f"below --drift_rows={self.drift_rows}: change one of them"
            )


def stream(config: DriftConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the stream.

    Args:
      config: its sizes.
      seed: of the places of the clusters and of the rows.

    Returns:
      The rows ``float32 [N, F]`` and their classes ``int32 [N]``.
    """
    random = np.random.default_rng(np.asarray(jax.random.key_data(jax.random.key(seed))))
    first = random.normal(size=(config.drift_classes, config.drift_features))
    last = np.roll(first, -1, axis=0)
    y = random.integers(0, config.drift_classes, config.drift_rows)
    moved = (np.arange(config.drift_rows) - config.drift_begins) / (config.drift_rows - config.drift_begins)
    moved = moved.clip(0, 1)[:, None]
    middle = (1 - moved) * first[y] + moved * last[y]
    X = middle + 0.8 * random.normal(size=(config.drift_rows, config.drift_features))
    return X.astype(np.float32), y.astype(np.int32)


class _Memory:
    """Count tables that predict a block of rows, and then learn it."""

    def __init__(self, mapping: layer.Mapping, classes: int, half: int = 0, window: int = 0):
        self._mapping, self._half, self._window = mapping, half, window
        self._counts = counts.empty(mapping, 1 << _ADDRESS_BITS, classes)
        self._seen, self._kept = 0, []

    def predict(self, levels: np.ndarray) -> np.ndarray:
        return bleaching.dynamic(self._mapping, self._counts, levels)[1].argmax(axis=1)

    def learn(self, levels: np.ndarray, y: np.ndarray) -> None:
        self._counts = counts.write(self._mapping, self._counts, levels, y)
        before, self._seen = self._seen, self._seen + len(y)
        if self._half and before // self._half < self._seen // self._half:
            self._counts = counts.halve(self._counts)
        if self._window:
            self._kept.append((levels, y))
            if len(self._kept) > self._window // len(y):
                self._counts = counts.forget(self._mapping, self._counts, *self._kept.pop(0))


def blocks(config: DriftConfig) -> Iterator[slice]:
    """Yield the rows of each block."""
    for start in range(0, config.drift_rows - config.drift_block + 1, config.drift_block):
        yield slice(start, start + config.drift_block)


def curves(config: DriftConfig, seed: int) -> dict[str, np.ndarray]:
    """Return the accuracy on each block but the first, each predicted before it is learnt, by the model."""
    X, y = stream(config, seed)
    first = slice(0, config.drift_block)
    encoder = encoders.fit(EncoderConfig(bits=_BITS), X[first])
    mapping = _mapping(encoder, seed)
    memories = {
        "every row counts": _Memory(mapping, config.drift_classes),
        f"decay, halved every {config.drift_half:,} rows": _Memory(
            mapping, config.drift_classes, half=config.drift_half
        ),
        f"a window of {config.drift_window:,} rows, forgotten exactly": _Memory(
            mapping, config.drift_classes, window=config.drift_window
        ),
    }
    found: dict[str, list[float]] = {name: [] for name in (*memories, "majority")}
    for rows in blocks(config):
        levels = encoders.levels(encoder, X[rows])
        for name, memory in memories.items():
            if rows.start:
                found[name].append(float((memory.predict(levels) == y[rows]).mean()))
            memory.learn(levels, y[rows])
        if rows.start:
            often = np.bincount(y[: rows.start]).argmax()
            found["majority"].append(float((y[rows] == often).mean()))
    return {name: np.array(values) for name, values in found.items()}


def _mapping(encoder: encoders.Encoder, seed: int) -> layer.Mapping:
    random = np.random.default_rng(np.asarray(jax.random.key_data(jax.random.key(seed + 1))))
    column, level = encoders.places(encoder)
    bits = np.stack([random.choice(len(column), _ADDRESS_BITS, replace=False) for _ in range(_NEURONS)])
    table = np.arange(_NEURONS, dtype=np.int32)
    parts = column[bits], level[bits], table, layer.dense(_ADDRESS_BITS)
    return layer.Mapping(*map(jnp.asarray, parts))


def run(config: DriftConfig, results: tables.Results, workdir: pathlib.Path, seeds: range) -> None:
    """Run the stream for each seed; print the accuracy before the drift and at its end, and draw it."""
    found: dict[str, list[np.ndarray]] = {}
    for seed in bars.each(seeds, "streams", "seed"):
        for name, curve in curves(config, seed).items():
            found.setdefault(name, []).append(curve)
            before, after = shares(config, curve)
            results.add(f"drift: {name}", seed=seed, before=before, last_quarter=after, curve=curve.tolist())
    cells = {
        name: [f"{np.mean([shares(config, curve)[i] for curve in some]):.3f}" for i in (0, 1)]
        for name, some in found.items()
    }
    tables.print_grid("accuracy on the next rows of a stream", cells, ["before the drift", "last quarter"])
    means = {name: np.mean(some, axis=0) for name, some in found.items()}
    pictures.drift(workdir / "drift.png", means, config.drift_block, config.drift_begins)


def shares(config: DriftConfig, curve: np.ndarray) -> tuple[float, float]:
    """Return the mean accuracy in the last half before the drift, and in the last quarter of the stream."""
    begins = config.drift_begins // config.drift_block - 1
    return float(curve[begins // 2 : max(begins, 1)].mean()), float(curve[-max(len(curve) // 4, 1) :].mean())
