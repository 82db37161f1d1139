"""Chooses the settings of a model by cross-validation on the training rows, at the size that is wanted."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from experiments.classifying import baselines, models
from experiments.classifying.models import Cells, Settings
from experiments.shared import bars, tables
from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data.tables import TableData

_STREAM = 1 << 20  # the keys of the choice lie apart from those of the models
_FIELDS = {
    "address_bits": ("mapping", "address_bits"),
    "thresholds": ("encoder", "kind"),
    "threshold_bits": ("encoder", "bits"),
    "cell_bits": ("training", "bits"),
    "noise": ("training", "noise"),
    "search_rounds": ("residual", "rounds"),
    "prior": ("regression", "prior"),
}
"""The part of the settings and its field that each list of `ChoiceConfig` sets."""
_OF_TRAINED = ("cell_bits", "noise", "search_rounds", "prior")  # count cells do not read them


@dataclasses.dataclass(frozen=True)
class ChoiceConfig:
    """The settings to choose from: every combination of the lists.

    An empty list keeps what the flag of the setting itself says.

    Attributes:
      folds: the training rows are split into this number of parts, and a model of the others predicts each
        part; 0 makes no choice.
      mappings: the mappings that are drawn for each combination and part.
      address_bits: numbers of address bits.
      thresholds: ways to choose thresholds.
      threshold_bits: numbers of thresholds of a feature.
      cell_bits: bits of a trained cell.
      noise: noise of the levels in training.
      search_rounds: rounds of the search by residuals; 0 draws the mapping.
      prior: of a regression, the number of rows that would hold a cell at 0.

    Raises:
      ValueError: a value is out of range.
    """

    folds: int = 0
    mappings: int = 1
    address_bits: tuple[int, ...] = ()
    thresholds: tuple[Literal["quantile", "linear", "gaussian"], ...] = ()
    threshold_bits: tuple[int, ...] = ()
    cell_bits: tuple[int, ...] = ()
    noise: tuple[float, ...] = ()
    search_rounds: tuple[int, ...] = ()
    prior: tuple[float, ...] = ()

    def __post_init__(self):
        checks.fields(
            self,
            folds=Limits(least=0, most=100),
            mappings=Limits(least=1, most=100),
            search_rounds=Limits(least=0),
        )
        given = [name for name in _FIELDS if getattr(self, name)]
        if given and self.folds < 2:
            raise ValueError(
                f"--choose_{given[0]} needs --choose of at least 2 parts, got {self.folds}: give --choose=5"
            )


class Choice(NamedTuple):
    """A combination of settings.

    Attributes:
      cells: the kind of cells.
      settings: all settings.
      label: what it sets, in words.
    """

    cells: Cells
    settings: Settings
    label: str


def choices(config: ChoiceConfig, settings: Settings, kinds: tuple[Cells, ...]) -> Iterator[Choice]:
    """Make every combination of the lists, and of the kinds of cells.

    Args:
      config: the lists.
      settings: what the combinations do not set.
      kinds: the kinds of cells.
    """
    for kind in kinds:
        lists = {name: getattr(config, name) for name in _FIELDS}
        lists = {
            name: some
            for name, some in lists.items()
            if some and (kind == "trained" or name not in _OF_TRAINED)
        }
        for values in itertools.product(*lists.values()):
            changed: dict[str, Any] = {}
            for name, value in zip(lists, values, strict=True):
                part, field = _FIELDS[name]
                old = changed.get(part, getattr(settings, part))
                changed[part] = dataclasses.replace(old, **{field: value})
            words = [kind, *(f"{name}={value}" for name, value in zip(lists, values, strict=True))]
            yield Choice(kind, settings._replace(**changed), " ".join(words))


def fold(data: TableData, order: np.ndarray, folds: int, number: int) -> TableData:
    """Split the training rows: one part of them stands for the test rows.

    Args:
      data: the table; its test rows are dropped.
      order: ``int [N]``, the rows in the order in which they are cut into parts of equal size.
      folds: the number of parts. Rows that are left over always train.
      number: the part that is predicted.
    """
    size = len(order) // folds
    held = order[number * size : (number + 1) * size]
    kept = np.setdiff1d(order, held)
    return data._replace(X=data.X[kept], y=data.y[kept], X_test=data.X[held], y_test=data.y[held])


def choose(
    results: tables.Results,
    config: ChoiceConfig,
    settings: Settings,
    data: TableData,
    kinds: tuple[Cells, ...],
    kib: float,
    seed: int,
) -> Choice:
    """Return the combination of the best mean score, and add a row for each; of equal ones the first.

    The score is the accuracy, or R2. A combination of which no table is so small is left out.

    Args:
      results: where the rows go.
      config: the lists.
      settings: what the combinations do not set.
      data: the table; the test rows are not read.
      kinds: the kinds of cells.
      kib: the size of the tables in KiB.
      seed: of the parts and the mappings.

    Raises:
      ValueError: no combination has a model of that size, or there are fewer rows than parts.
    """
    if len(data.y) < config.folds:
        raise ValueError(f"--choose={config.folds} parts of {len(data.y)} training rows: give fewer")
    key = jax.random.fold_in(jax.random.key(seed), _STREAM)
    order = np.asarray(jax.random.permutation(key, len(data.y)))
    parts = [fold(data, order, config.folds, number) for number in range(config.folds)]
    measure = "accuracy" if data.labels else "r2"
    fit = models.fit if data.labels else models.fit_number
    possible = [one for one in choices(config, settings, kinds) if _fits(one, data, kib)]
    best, found = -np.inf, None
    for one in bars.each(possible, f"choice of {kib:g} KiB", "setting"):
        scores = []
        for number, part in enumerate(parts):
            for mapping in range(config.mappings):
                drawn = jax.random.fold_in(key, number * config.mappings + mapping)
                scored = fit(drawn, one.settings, part, one.cells, kib).scored
                scores.append(baselines.judged(part, scored.predicted)[measure])
        mean = float(np.mean(scores))
        error = float(np.std(scores) / np.sqrt(len(scores)))
        results.add(f"choice: {one.label}", **{measure: mean, "error": error}, size=kib)
        if mean > best:
            best, found = mean, one
    if found is None:
        raise ValueError(f"--sizes={kib:g} KiB holds no table of any setting: give a larger size")
    print(f"{kib:g} KiB: {found.label} has {measure} {best:.4f} in {config.folds} parts of the training rows")
    return found


def _fits(one: Choice, data: TableData, kib: float) -> bool:
    try:
        models.number_of_tables(one.settings, data, one.cells, kib)
    except ValueError:
        return False
    return True
