"""Our models of a table, at a wanted size: trained and count cells, random, searched and slid mappings."""

import dataclasses
import time
import types
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from experiments.classifying.baselines import Scored
from wnn_jax import search
from wnn_jax.classify import bleaching, calibration, counts, encoders, model, objective, regression
from wnn_jax.classify.bleaching import Curve
from wnn_jax.classify.distort import DistortConfig
from wnn_jax.classify.encoders import EncoderConfig
from wnn_jax.classify.fitting import TrainingConfig
from wnn_jax.classify.layer import Mapping
from wnn_jax.classify.mapping import MappingConfig, generator
from wnn_jax.classify.model import Classifier, ClassifyConfig
from wnn_jax.classify.regression import RegressionConfig
from wnn_jax.classify.residual import ResidualConfig
from wnn_jax.data.tables import TableData

Search = Literal["none", "residuals", "genetic", "tabu", "annealing"]
GENOMES: tuple[Search, ...] = get_args(Search)[2:]
"""The searches over genomes of count cells, in which each class has neurons of its own."""
Cells = Literal["trained", "count"]


class Settings(NamedTuple):
    """The settings of our models.

    Attributes:
      encoder: the encoder; its categories and shared thresholds follow from the table.
      mapping: the neurons, except their number, which follows from the size.
      training: how trained cells are trained.
      residual: the search by residuals.
      regression: how cells of a regression are trained.
      distort: the distorted copies of images.
      steps: the steps of a search over genomes.
    """

    encoder: EncoderConfig
    mapping: MappingConfig
    training: TrainingConfig
    residual: ResidualConfig
    regression: RegressionConfig
    distort: DistortConfig
    steps: int


class Fitted(NamedTuple):
    """A model of ours.

    Attributes:
      model: the classifier; None for a regression.
      scored: what it reached on the test rows.
      written: the counts of count cells, or None.
      curve: their accuracy by threshold, or None.
    """

    model: Classifier | None
    scored: Scored
    written: Any = None
    curve: Curve | None = None


def tables_for(kib: float, entries: int, classes: int, bits: int) -> int:
    """Return the largest number of tables whose cells take at most a number of KiB.

    Args:
      kib: the size in KiB.
      entries: S, the entries of a table.
      classes: K.
      bits: the bits of a cell.

    Raises:
      ValueError: one table is larger.
    """
    each = entries * classes * bits / 8192
    if each > kib:
        raise ValueError(
            f"--sizes={kib:g} KiB holds no table: one of {entries:,} entries and {classes} classes has "
            f"{each:g}; give a larger size or fewer --address_bits"
        )
    return int(kib / each)


def number_of_tables(settings: Settings, data: TableData, cells: Cells, kib: float) -> int:
    """Return the number of tables of a model of a wanted size.

    Raises:
      ValueError: no table is so small.
    """
    bits = settings.training.bits if cells == "trained" else 1
    bits = bits if data.labels else 32
    return tables_for(kib, settings.mapping.entries, max(len(data.labels), 1), bits)


def config_for(settings: Settings, data: TableData, cells: Cells, kib: float) -> ClassifyConfig:
    """Make the config of a model of a wanted size.

    Raises:
      ValueError: no table is so small.
    """
    number = number_of_tables(settings, data, cells, kib)
    return ClassifyConfig(
        cells,
        settings.encoder,
        dataclasses.replace(settings.mapping, tables=number),
        settings.training,
        settings.residual,
        settings.distort,
    )


def fit(key: jax.Array, settings: Settings, data: TableData, cells: Cells, kib: float) -> Fitted:
    """Fit a model on the training rows and predict the test rows.

    Args:
      key: draws all that is random.
      settings: the settings.
      data: the table.
      cells: the kind of cells.
      kib: the size of the tables in KiB.

    Raises:
      ValueError: no model is so small, or the mapping does not fit the input.
    """
    config = config_for(settings, data, cells, kib)
    started = time.perf_counter()
    if cells == "trained":
        found = model.fit(key, config, data.X, data.y, image=data.image)
        return Fitted(found, _scored(data, found, time.perf_counter() - started, settings.training.bits))
    encoder = encoders.fit(config.encoder, data.X)
    levels = encoders.levels(encoder, data.X)
    mapping = model.draw_mapping(generator(key), config.mapping, encoder, data.image)
    return _counted(data, encoder, mapping, levels, config.mapping.entries, started)


def fit_genome(key: jax.Array, settings: Settings, data: TableData, name: Search, kib: float) -> Fitted:
    """Search for the neurons of each class with an algorithm of `wnn_jax.search`, and count.

    The search fits on a part of the training rows and validates on another. A table serves one class, so a
    table has K times fewer cells than with one mapping for all classes.

    Args:
      key: draws all that is random.
      settings: the settings.
      data: the table.
      name: the algorithm.
      kib: the size of the tables in KiB.

    Raises:
      ValueError: no model is so small, or the settings do not fit.
    """
    started = time.perf_counter()
    classes, address_bits = len(data.labels), settings.mapping.address_bits
    encoder = encoders.fit(settings.encoder, data.X)
    levels = encoders.levels(encoder, data.X)
    column, level = encoders.places(encoder)
    each = max(1, tables_for(kib, 1 << address_bits, 1, 1) // classes)
    bounds = search.Bounds(len(column), max_neurons=each, max_bits=address_bits, min_neurons=1, min_bits=2)
    goal = objective.ClassObjective(bounds, classes)
    order, key_search = jax.random.split(key)
    rows = np.asarray(jax.random.permutation(order, len(levels)))
    examples = objective.examples(levels[rows], column, level, data.y[rows], classes)
    algorithm: Any = {"genetic": "ga"}.get(name, name)
    few = search.TabuConfig(sites=min(search.TabuConfig().sites, each))
    plan = search.SearchPlan(algorithms=(algorithm,), tabu=few)
    result = search.run(key_search, plan.build(goal), examples, search.RunConfig(steps=settings.steps))
    mapping, owner = objective.mapping_of(result.genome, column, level)
    return _counted(data, encoder, mapping, levels, 1 << mapping.column.shape[1], started, owner)


def _counted(data, encoder, mapping: Mapping, levels, entries: int, started: float, owner=None) -> Fitted:
    """Count the training rows, choose the threshold, and predict."""
    classes = len(data.labels)
    written = counts.write(mapping, counts.empty(mapping, entries, classes), levels, data.y)
    if owner is not None:
        written = jnp.asarray(objective.serve(written, owner))
    curve = bleaching.choose(mapping, written, levels, data.y)
    left = bleaching.left_out(mapping, written, levels, data.y, threshold=curve.chosen)
    frozen = bleaching.freeze(written, curve.chosen)
    if owner is not None:
        frozen = objective.serve(frozen, owner).astype(np.int8)
    factor = calibration.temperature(left, data.y)
    plain: Any = [np.asarray(x) for x in mapping]
    found = Classifier(encoder, Mapping(*plain), frozen, factor, tuple(range(classes)))
    bits = 1 / classes if owner is not None else 1
    return Fitted(found, _scored(data, found, time.perf_counter() - started, bits), written, curve)


def fit_number(key: jax.Array, settings: Settings, data: TableData, cells: Cells, kib: float) -> Fitted:
    """Fit a regression on the training rows and predict the test rows.

    Args:
      key: draws all that is random.
      settings: the settings.
      data: the table.
      cells: ``trained`` by the error of the sum, or ``count``: means of what was shown.
      kib: the size of the tables in KiB, 32 bits for each cell.

    Raises:
      ValueError: no model is so small, or the mapping does not fit the input.
    """
    started = time.perf_counter()
    entries = settings.mapping.entries
    number = number_of_tables(settings, data, cells, kib)
    config = dataclasses.replace(settings.mapping, tables=number)
    encoder = encoders.fit(settings.encoder, data.X)
    levels = encoders.levels(encoder, data.X)
    key_pins, key_order = jax.random.split(key)
    mapping = model.draw_mapping(generator(key_pins), config, encoder, data.image)
    if cells == "trained":
        found = regression.train(key_order, settings.regression, mapping, entries, levels, data.y)
    else:
        sums = regression.add(mapping, regression.start(mapping, entries, data.y), levels, data.y)
        found = regression.means(mapping, sums)
    fitted = time.perf_counter()

    def predict() -> np.ndarray:
        read = types.SimpleNamespace(mapping=mapping, cells=found.cells)
        scores = model.level_scores(read, encoders.levels(encoder, data.X_test))
        return found.offset + found.scale * scores[:, 0].astype(np.float64)

    predict()
    begun = time.perf_counter()
    predicted = predict()
    ended = time.perf_counter()
    return Fitted(None, Scored(predicted, found.cells.size * 4 / 1024, fitted - started, ended - begun))


def _scored(data: TableData, found: Classifier, train_seconds: float, bits: float) -> Scored:
    predicted = model.predict(found, data.X_test)
    started = time.perf_counter()  # the first call compiled
    model.predict(found, data.X_test)
    kib = found.cells.size * bits / 8192
    return Scored(predicted, kib, train_seconds, time.perf_counter() - started)
