"""A fitted classifier: it encodes rows, reads its tables, and gives the score of each class.

    model = fit(key, ClassifyConfig(), X, y)
    labels = predict(model, X_new)

`fit` does the whole of the work: encoder, mapping, cells. The functions that it calls are public, so that
other work can be made of them.

Shape letters are those of `layer`, and F features.

Source: docs/semantics/classify.md
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.classify import bleaching, calibration, counts, distort, encoders, fitting, residual, training
from wnn_jax.classify import mapping as pins
from wnn_jax.classify.distort import DistortConfig
from wnn_jax.classify.encoders import Encoder, EncoderConfig
from wnn_jax.classify.fitting import Rows, TrainingConfig
from wnn_jax.classify.layer import UNUSED, Mapping
from wnn_jax.classify.mapping import Inputs, MappingConfig, Tables
from wnn_jax.classify.residual import ResidualConfig
from wnn_jax.narrow import in_32_bits

_BLOCK = 1 << 13  # rows that are read at a time


@dataclasses.dataclass(frozen=True)
class ClassifyConfig:
    """Configures a classifier.

    Attributes:
      cells: ``trained``: cells of 1 to 7 bits, by steps of the softmax. ``count``: cells that count rows,
        read by bleaching at a threshold that leaving one out chooses.
      encoder: how features become bits.
      mapping: the neurons.
      training: how cells are trained; count cells do not use it.
      search: how the mapping is searched for; ``rounds=0`` keeps a random mapping. Count cells do not use it.
      distort: the distorted copies of images on which cells are trained too. Count cells do not use it.

    Raises:
      ValueError: a setting is out of range, or trained cells are to be hashed.

    Source: docs/semantics/classify.md
    """

    cells: Literal["trained", "count"] = "trained"
    encoder: EncoderConfig = EncoderConfig()
    mapping: MappingConfig = MappingConfig()
    training: TrainingConfig = TrainingConfig()
    search: ResidualConfig = ResidualConfig(rounds=0)
    distort: DistortConfig = DistortConfig()

    def __post_init__(self):
        checks.fields(self)
        if self.cells == "trained" and self.mapping.entry_bits is not None:
            raise ValueError(
                f"entry_bits={self.mapping.entry_bits} hashes the tables, which only count cells may be: use "
                "cells='count', or entry_bits=None"
            )


class Classifier(NamedTuple):
    """A fitted classifier with frozen cells. All arrays are NumPy's.

    Attributes:
      encoder: makes the levels of rows.
      mapping: the neurons.
      cells: ``int8 [M, S, K]``, what the neurons add to the scores.
      temperature: the factor of the scores in the softmax that gives probabilities.
      labels: the K labels, in the order of the classes.

    Source: docs/semantics/classify.md
    """

    encoder: Encoder
    mapping: Mapping
    cells: np.ndarray
    temperature: float
    labels: tuple[Any, ...]


@in_32_bits
def fit(
    key: jax.Array,
    config: ClassifyConfig,
    X: Any,
    y: Any,
    *,
    weight: Any = None,
    image: tuple[int, int] | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Classifier:
    """Fit a classifier.

    Args:
      key: draws the mapping, the first weights, the order of the rows and all of the search.
      config: settings.
      X: numbers ``[N, F]``; NaN is a missing value.
      y: labels ``[N]``, of any type that sorts.
      weight: the weight of each row, ``[N]``, at least 0; None is 1.
      image: height and width, if the features are the pixels of an image, row by row.
      on_step: called after each round of the search and each epoch, with its number and the share of the
        training rows that were right.

    Returns:
      The classifier.

    Raises:
      ValueError: an array has a wrong shape or entry, or the mapping does not fit the input.

    Source: docs/semantics/classify.md
    """
    labels, classes = np.unique(np.asarray(y), return_inverse=True)
    encoder = encoders.fit(config.encoder, X, weight)
    levels = encoders.levels(encoder, X)
    if len(classes) != len(levels):
        raise ValueError(f"X has {len(levels)} rows and y has {len(classes)} labels: give one for each row")
    if config.cells == "trained" and config.distort.copies:
        key, drawn = jax.random.split(key)
        levels = np.concatenate([levels, _distorted(drawn, config.distort, encoder, X, image)])
        classes = np.tile(classes, 1 + config.distort.copies)
        weight = None if weight is None else np.tile(np.asarray(weight), 1 + config.distort.copies)
    model = fit_levels(
        *(key, config, encoder, levels, classes.astype(np.int32), len(labels)),
        weight=weight,
        image=image,
        on_step=on_step,
    )
    return model._replace(labels=tuple(labels.tolist()))


def _distorted(key, config: DistortConfig, encoder: Encoder, X, image) -> np.ndarray:
    """Encode the distorted copies of images, one copy of all at a time.

    Raises:
      ValueError: the rows are no images.
    """
    if image is None:
        raise ValueError(f"copies={config.copies} distorts images: give the height and width, or no copies")
    rng, one, X = pins.generator(key), dataclasses.replace(config, copies=1), np.asarray(X)
    return np.concatenate(
        [encoders.levels(encoder, distort.copies(rng, one, X, image)) for _ in range(config.copies)]
    )


def fit_levels(
    key: jax.Array,
    config: ClassifyConfig,
    encoder: Encoder,
    levels: np.ndarray,
    classes: np.ndarray,
    number: int,
    *,
    weight: Any = None,
    image: tuple[int, int] | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> Classifier:
    """Fit a classifier on rows that are encoded already.

    Args:
      key: see `fit`.
      config: settings.
      encoder: the encoder of the levels.
      levels: ``uint8 [N, J]``.
      classes: ``int32 [N]``, classes 0 to K - 1.
      number: K.
      weight: see `fit`.
      image: see `fit`.
      on_step: see `fit`.

    Returns:
      The classifier; its labels are the numbers of the classes.

    Raises:
      ValueError: the mapping does not fit the input.

    Source: docs/semantics/classify.md
    """
    rng = pins.generator(jax.random.fold_in(key, 0))
    if config.cells == "count":
        mapping = draw_mapping(rng, config.mapping, encoder, image)
        return count_cells(config, encoder, mapping, levels, classes, number, weight)
    margin = config.training.jitter if image else 0
    inputs = inputs_of(encoder, image, margin)
    rows = rows_of(levels, classes, weight, image, margin)._replace(steps=None if image else _steps(encoder))
    task = residual.Task(config.search, config.mapping, config.training, inputs)
    state = residual.search(jax.random.fold_in(key, 1), task, rows, number, on_step)
    neurons = pins.neurons(config.mapping, state.tables, inputs.width)
    weights = fitting.train(rng, config.training, neurons, state.weights, rows, on_step=on_step)
    return Classifier(
        encoder,
        _host(
            pins.neurons(
                config.mapping, without_margin(state.tables, image, margin), image[1] if image else 0
            )
        ),
        np.asarray(training.quantised(weights, config.training.bits)),
        fitting.temperature(config.training, len(neurons.table)),
        tuple(range(number)),
    )


def _steps(encoder: Encoder) -> np.ndarray:
    """Return the largest level of each column that noise may move, ``uint8 [J]``, and 0 for the others."""
    moves = (encoder.kind == encoders.THERMOMETER) & ~encoder.missing[encoder.source]
    return np.where(moves, np.diff(encoder.start), 0).astype(np.uint8)


def draw_mapping(
    rng: np.random.Generator, config: MappingConfig, encoder: Encoder, image: tuple[int, int] | None = None
) -> Mapping:
    """Draw a random mapping for the bits of an encoder.

    Args:
      rng: draws it.
      config: the neurons.
      encoder: gives the bits.
      image: height and width, if the features are pixels.

    Returns:
      The mapping, arrays of NumPy.

    Raises:
      ValueError: the mapping does not fit the input.

    Source: docs/semantics/classify.md
    """
    inputs = inputs_of(encoder, image, 0)
    tables = pins.draw(rng, config, inputs, config.tables)
    return _host(pins.neurons(config, tables, inputs.width, pins.draw_hashes(rng, config)))


def count_cells(
    config: ClassifyConfig,
    encoder: Encoder,
    mapping: Mapping,
    levels,
    classes,
    number: int,
    weight: Any = None,
) -> Classifier:
    """Count rows, choose the threshold of bleaching by leaving one out, and freeze the cells.

    Args:
      config: gives the entries of a table.
      encoder: the encoder of the levels.
      mapping: the neurons.
      levels: ``uint8 [N, J]``.
      classes: ``int32 [N]``.
      number: K.
      weight: the weight of each row; None is 1.

    Returns:
      The classifier; its labels are the numbers of the classes.

    Source: docs/semantics/classify.md
    """
    whole = None if weight is None else counts.units(weight)[0]
    written = counts.first(mapping, config.mapping.entries, number, levels, classes, whole)
    curve = bleaching.choose(mapping, written, levels, classes, whole)
    scores = bleaching.left_out(mapping, written, levels, classes, whole, curve.chosen)
    factor = calibration.temperature(scores, classes, whole)
    return Classifier(encoder, mapping, bleaching.freeze(written, curve.chosen), factor, tuple(range(number)))


def inputs_of(encoder: Encoder, image: tuple[int, int] | None = None, margin: int = 0) -> Inputs:
    """List the bits of an encoder that pins may read.

    Args:
      encoder: the encoder.
      image: height and width, if the features are pixels; every pixel must have a column.
      margin: pixels of level 0 that `rows_of` puts around an image.

    Returns:
      The bits; their columns are those of the rows with the margin.

    Raises:
      ValueError: the image has another number of pixels than there are features with a column.

    Source: docs/semantics/classify.md
    """
    column, level = encoders.places(encoder)
    feature = encoder.source[column]
    if image is None:
        return Inputs(feature, column, level)
    height, width = image
    if len(encoder.source) != height * width or (np.diff(encoder.source) != 1).any():
        raise ValueError(
            f"an image of {height} x {width} needs {height * width} features with a column each, and the "
            f"encoder has {len(encoder.source)} columns: set shared in the encoder"
        )
    wide = width + 2 * margin
    place = (feature // width + margin) * wide + feature % width + margin
    return Inputs(feature, place.astype(np.int32), level, image, wide)


def rows_of(levels, classes, weight=None, image: tuple[int, int] | None = None, margin: int = 0) -> Rows:
    """Make the rows on which cells are trained.

    Args:
      levels: ``uint8 [N, J]``.
      classes: ``int32 [N]``.
      weight: the weight of each row; None is 1.
      image: height and width, if the features are pixels.
      margin: pixels of level 0 around the image, so that it can be moved.

    Returns:
      The rows.

    Source: docs/semantics/classify.md
    """
    width = 0
    if image:
        height, width = image
        levels = np.asarray(levels).reshape(-1, height, width)
        levels = np.pad(levels, ((0, 0), (margin, margin), (margin, margin))).reshape(len(levels), -1)
        width += 2 * margin
    weight = None if weight is None else np.asarray(weight, np.float64)
    return Rows(jnp.asarray(levels), jnp.asarray(classes, jnp.int32), weight, width)


def without_margin(tables: Tables, image: tuple[int, int] | None, margin: int) -> Tables:
    """Return tables whose columns count the pixels of the image without its margin.

    Args:
      tables: the pins on rows with the margin.
      image: height and width; None returns the tables as they are.
      margin: pixels around the image.

    Source: docs/semantics/classify.md
    """
    if image is None or not margin:
        return tables
    wide = image[1] + 2 * margin
    plain = (tables.column // wide - margin) * image[1] + tables.column % wide - margin
    return Tables(np.where(tables.level == UNUSED, 0, plain).astype(np.int32), tables.level)


def _host(mapping: Mapping) -> Mapping:
    return Mapping(*map(np.asarray, mapping))


def scores(model: Classifier, X: Any) -> np.ndarray:
    """Compute the score of each class.

    Args:
      model: the classifier.
      X: numbers ``[N, F]``.

    Returns:
      ``int32 [N, K]``.

    Raises:
      ValueError: the rows do not fit the encoder.

    Source: docs/semantics/classify.md
    """
    return level_scores(model, encoders.levels(model.encoder, X))


@in_32_bits
def level_scores(model: Any, levels: np.ndarray) -> np.ndarray:
    """Compute the scores of rows that are encoded already, in blocks.

    Args:
      model: has ``mapping`` and ``cells``.
      levels: ``uint8 [N, J]``.

    Returns:
      ``int32 [N, K]``.

    Source: docs/semantics/classify.md
    """
    count = len(levels)
    mapping, cells = jax.device_put((model.mapping, model.cells))  # once; it does not copy what XLA can read
    found = np.empty((count, model.cells.shape[2]), np.int32)
    for first in range(0, count, _BLOCK):
        block = levels[first : first + _BLOCK]
        if more := min(counts.padded(len(block)), _BLOCK) - len(block):
            block = np.pad(block, ((0, more), (0, 0)))
        found[first : first + _BLOCK] = np.asarray(fitting.read(mapping, cells, block))[: count - first]
    return found


def predict(model: Classifier, X: Any) -> np.ndarray:
    """Classify rows: the label of the largest score, the first class of equal ones.

    Args:
      model: the classifier.
      X: numbers ``[N, F]``.

    Returns:
      Labels ``[N]``.

    Raises:
      ValueError: the rows do not fit the encoder.

    Source: docs/semantics/classify.md
    """
    return np.asarray(model.labels)[scores(model, X).argmax(axis=1)]


def probabilities(model: Classifier, X: Any) -> np.ndarray:
    """Compute the probability of each class: the softmax of the scores times the temperature.

    Args:
      model: the classifier.
      X: numbers ``[N, F]``.

    Returns:
      ``float64 [N, K]``; each row sums to 1.

    Raises:
      ValueError: the rows do not fit the encoder.

    Source: docs/semantics/classify.md
    """
    return calibration.probabilities(scores(model, X), model.temperature)
