"""Trains the weights of a mapping for several epochs.

Shape letters are those of `layer`, and Q positions of a table.

Source: docs/semantics/classify.md
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.classify import layer, training
from wnn_jax.classify.layer import Mapping

_SHARPNESS = 1.45  # the temperature times the root of the number of neurons
_SPREAD = 5.0  # a cell of several bits is this number of times as large as a sign, as trained cells spread
_LAST = 0.02  # the rate at the last epoch, as a share of the rate at the first
_MOST_SHARES = 1 << 20


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Configures the training of cells.

    Attributes:
      bits: bits of a cell, 1 to 7.
      epochs: passes over the rows.
      rate: rate of learning at the first epoch, for a table that is read at one position; Q positions divide
        it by the root of Q. It falls to 2 % of that.
      dropout: the share of the neurons that each row leaves out.
      batch: rows of a step.
      jitter: an image is moved by up to this number of pixels, drawn for each row and epoch.
      noise: each epoch and each round of a search moves the level of a feature by normal noise of this
        standard deviation, as a share of the number of its thresholds. Categories, features that may be
        missing, and pixels are not moved.
      temperature: the factor of the scores in the softmax. None takes 1.45 by the root of the number of
        neurons, and for cells of more than one bit a fifth of that.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/classify.md
    """

    bits: int = 1
    epochs: int = 16
    rate: float = 0.02
    dropout: float = 0.0
    batch: int = 32
    jitter: int = 0
    noise: float = 0.0
    temperature: float | None = None

    def __post_init__(self):
        checks.fields(
            self,
            bits=Limits(least=1, most=7),
            epochs=Limits(least=1),
            rate=Limits(above=0, most=0.5),
            dropout=Limits(least=0, most=0.9),
            batch=Limits(least=1, most=training.MAX_BATCH),
            jitter=Limits(least=0, most=16),
            noise=Limits(least=0, most=1),
            temperature=Limits(least=1e-6, most=16),
        )


class Rows(NamedTuple):
    """The rows on which cells are trained.

    Attributes:
      levels: ``uint8 [N, J]``.
      labels: ``int32 [N]``.
      weight: ``float64 [N]``, how often a row is shown beside the others; None shows each once an epoch.
      width: columns of a row of pixels, with the margin; 0 if the rows are no images.
      steps: ``uint8 [J]``, the largest level of each column that noise moves, and 0 for the other columns;
        None moves no column.

    Source: docs/semantics/classify.md
    """

    levels: jax.Array
    labels: jax.Array
    weight: np.ndarray | None = None
    width: int = 0
    steps: np.ndarray | None = None


def temperature(config: TrainingConfig, neurons: int) -> float:
    """Return the factor of the scores in the softmax.

    Args:
      config: may set it.
      neurons: R.

    Source: docs/semantics/classify.md
    """
    if config.temperature is not None:
        return config.temperature
    return _SHARPNESS / np.sqrt(neurons) / (1.0 if config.bits == 1 else _SPREAD)


def start(rng: np.random.Generator, shape: tuple[int, int, int]) -> jax.Array:
    """Draw small weights, between -0.1 and 0.1.

    Args:
      rng: draws them.
      shape: M, S and K.

    Returns:
      ``int32 [M, S, K]`` in 2^-16.

    Source: docs/semantics/classify.md
    """
    tenth = training.ONE // 10
    return jnp.asarray(rng.integers(-tenth, tenth, shape, dtype=np.int32))


def moves(rng: np.random.Generator, rows: Rows, jitter: int, count: int) -> np.ndarray:
    """Draw the offsets that move images, ``int32 [count]``; zeros for rows that are no images.

    Args:
      rng: draws them.
      rows: gives the width of an image.
      jitter: the most pixels of a move along each axis.
      count: number of offsets.

    Source: docs/semantics/classify.md
    """
    if not rows.width or not jitter:
        return np.zeros(count, np.int32)
    y, x = rng.integers(-jitter, jitter + 1, (2, count), dtype=np.int32)
    return y * np.int32(rows.width) + x


def noisy(rng: np.random.Generator, config: TrainingConfig, rows: Rows) -> Rows:
    """Move the levels of rows by noise.

    Args:
      rng: draws the noise.
      config: how large it is.
      rows: the rows.

    Returns:
      The rows, every level between 0 and the largest one of its column.

    Source: docs/semantics/classify.md
    """
    if not config.noise or rows.steps is None:
        return rows
    levels = np.array(rows.levels)
    here = np.flatnonzero(rows.steps)
    most = rows.steps[here].astype(np.float32)
    drawn = rng.standard_normal((len(levels), len(here)), np.float32) * (most * np.float32(config.noise))
    levels[:, here] = np.clip(np.rint(levels[:, here] + drawn), 0, most).astype(np.uint8)
    return rows._replace(levels=jnp.asarray(levels))


def train(
    rng: np.random.Generator,
    config: TrainingConfig,
    mapping: Mapping,
    weights: jax.Array,
    rows: Rows,
    *,
    falling: bool = True,
    serves: np.ndarray | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> jax.Array:
    """Train weights for all epochs.

    Args:
      rng: draws the order of the rows, their moves, their noise, and the neurons that are left out.
      config: settings.
      mapping: the neurons, of dense tables.
      weights: ``int32 [M, S, K]``.
      rows: the rows.
      falling: whether the rate falls; otherwise it stays that of the first epoch.
      serves: ``bool [M, K]``, whether a table has cells for a class; None if all have.
      on_step: called after each epoch with its number, from 1 on, and the share of the rows that were right.

    Returns:
      The new weights.

    Source: docs/semantics/classify.md
    """
    neurons, tables = mapping.table.shape[0], weights.shape[0]
    factor = temperature(config, neurons) / (1 - config.dropout)
    share = jnp.asarray(training.shares(factor, _MOST_SHARES))
    served = jnp.zeros((0, weights.shape[2]), bool) if serves is None else jnp.asarray(serves)
    rate = config.rate / np.sqrt(neurons / tables)
    count = rows.labels.shape[0]
    for e in range(config.epochs):
        left = (1 - e / config.epochs) * (1 - _LAST) + _LAST if falling else 1.0
        epoch = training.Epoch(
            noisy(rng, config, rows).levels,
            rows.labels,
            jnp.asarray(_order(rng, rows, count)),
            jnp.asarray(moves(rng, rows, config.jitter, count)),
            jnp.int32(max(1, round(rate * left * training.ONE))),
            jnp.asarray([int(config.dropout * 2**32), rng.integers(1 << 32)], jnp.uint32),
        )
        weights, right = _epoch(mapping, weights, epoch, share, served, config.batch, config.bits)
        if on_step:
            on_step(e + 1, int(right) / count)
    return weights


@functools.partial(jax.jit, static_argnums=(5, 6), donate_argnums=1)
def _epoch(mapping, weights, epoch, share, serves, batch: int, bits: int):
    return training.train(mapping, weights, epoch, share, serves, batch=batch, bits=bits)


def _order(rng: np.random.Generator, rows: Rows, count: int) -> np.ndarray:
    """Return the rows of an epoch in random order. A row comes about as often as its weight says."""
    if rows.weight is None:
        return rng.permutation(count).astype(np.int32)
    ends = np.cumsum(rows.weight) / rows.weight.sum() * count
    drawn = np.searchsorted(ends, np.arange(count) + rng.random(), side="right")
    return rng.permutation(np.minimum(drawn, count - 1)).astype(np.int32)


@jax.jit
def read(mapping: Mapping, cells: jax.Array, levels: jax.Array) -> jax.Array:
    """Call `layer.read`, compiled.

    Source: docs/semantics/classify.md
    """
    return layer.read(mapping, cells, levels)
