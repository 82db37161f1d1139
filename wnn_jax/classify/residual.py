"""Searches for a mapping by residuals: drops the tables of least use and refills them where the model errs.

A round drops the tables whose removal raises the loss least. Then it draws candidates. The residual of a row
is its target less the probabilities of the model. The gain of a candidate is the sum, over its cells, of the
absolute sums of the residuals of the rows that read the cell: the gradient of the loss by the cells that the
candidate would bring. One pass over the rows judges it. The best candidates are taken, with cells in the
direction of the gradient, and the whole is trained for an epoch.

Shape letters are those of `layer`; P candidates, Q positions of a table.

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
from wnn_jax.classify import fitting, layer, training
from wnn_jax.classify import mapping as pins
from wnn_jax.classify.fitting import Rows, TrainingConfig
from wnn_jax.classify.mapping import Inputs, MappingConfig, Tables

_UNIT = 1 << 10  # residuals are summed in 2^-10


@dataclasses.dataclass(frozen=True)
class ResidualConfig:
    """Configures the search by residuals.

    Attributes:
      rounds: number of rounds; 0 keeps the first mapping.
      share: the share of the tables that the first round drops; it falls by ``cooling`` over the rounds.
      cooling: how much of the share is gone in the last round.
      candidates: candidates of each part.
      parts: a round refills in this number of parts, with new residuals for each.
      first_epochs: epochs of training before the first round.
      sample: rows whose residuals are summed: the largest ones of half of the training rows.
      height: the largest weight of a new table.
      rate: rate of learning between rounds, as a share of that of the training.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/classify.md
    """

    rounds: int = 12
    share: float = 0.15
    cooling: float = 0.7
    candidates: int = 3000
    parts: int = 4
    first_epochs: int = 3
    sample: int = 8192
    height: float = 0.3
    rate: float = 0.75

    def __post_init__(self):
        checks.fields(
            self,
            rounds=Limits(least=0),
            share=Limits(above=0, below=1),
            cooling=Limits(least=0, most=1),
            candidates=Limits(least=1),
            parts=Limits(least=1),
            first_epochs=Limits(least=1),
            sample=Limits(least=1, most=1 << 17),
            height=Limits(above=0, below=1),
            rate=Limits(above=0, most=1),
        )


class State(NamedTuple):
    """Tables and their weights.

    Attributes:
      tables: the pins.
      weights: ``int32 [M, S, K]``.

    Source: docs/semantics/classify.md
    """

    tables: Tables
    weights: jax.Array


def search(
    rng: np.random.Generator,
    config: ResidualConfig,
    mapping: MappingConfig,
    train: TrainingConfig,
    inputs: Inputs,
    rows: Rows,
    classes: int,
    on_step: Callable[[int, float], None] | None = None,
) -> State:
    """Search for the tables of a mapping.

    Args:
      rng: draws everything.
      config: settings of the search.
      mapping: number and kind of the tables.
      train: how cells are trained.
      inputs: the bits.
      rows: the training rows.
      classes: K.
      on_step: called after each round with its number and the share of the rows that were right.

    Returns:
      The tables, and weights that are trained further by `fitting.train`.

    Source: docs/semantics/classify.md
    """
    tables = pins.draw(rng, mapping, inputs, mapping.tables)
    state = State(tables, fitting.start(rng, (mapping.tables, mapping.entries, classes)))
    if not config.rounds:
        return state
    first = dataclasses.replace(train, epochs=config.first_epochs)
    between = dataclasses.replace(train, epochs=1, rate=train.rate * config.rate)
    state = _trained(rng, first, mapping, state, rows)
    for r in range(config.rounds):
        share = config.share * (1 - config.cooling * r / config.rounds)
        state = refill(rng, config, mapping, train, inputs, rows, state, max(1, int(share * mapping.tables)))
        report = functools.partial(_report, on_step, r + 1) if on_step else None
        state = _trained(rng, between, mapping, state, rows, report)
    return state


def _report(on_step, number: int, epoch: int, right: float) -> None:
    on_step(number, right)


def _trained(
    rng, config: TrainingConfig, mapping: MappingConfig, state: State, rows: Rows, on_step=None
) -> State:
    neurons = pins.neurons(mapping, state.tables, rows.width)
    weights = fitting.train(rng, config, neurons, state.weights, rows, falling=False, on_step=on_step)
    return state._replace(weights=weights)


def refill(
    rng: np.random.Generator,
    config: ResidualConfig,
    mapping: MappingConfig,
    train: TrainingConfig,
    inputs: Inputs,
    rows: Rows,
    state: State,
    count: int,
) -> State:
    """Drop the tables of least use, and put the best of many candidates in their places.

    Args:
      rng: draws the candidates and the rows.
      config: settings of the search.
      mapping: number and kind of the tables.
      train: how cells are trained.
      inputs: the bits.
      rows: the training rows.
      state: the tables and weights.
      count: number of tables to drop. They stand as candidates too.

    Returns:
      The new tables and weights.

    Source: docs/semantics/classify.md
    """
    factor = jnp.float32(fitting.temperature(train, mapping.tables * mapping.slide**2))
    cells = training.quantised(state.weights, train.bits)
    use = uses(rng, config, mapping, state.tables, cells, rows, train.jitter, factor)
    dropped = np.argsort(use, kind="stable")[:count]
    old = Tables(state.tables.column[dropped], state.tables.level[dropped])
    column, level = state.tables.column.copy(), state.tables.level.copy()
    weights = np.array(state.weights)
    frozen = np.array(cells)
    frozen[dropped] = 0  # a place that is not filled yet has no vote
    for places in np.array_split(dropped, min(config.parts, count)):
        now = pins.neurons(mapping, Tables(column, level), rows.width)
        row, offset, residual = residuals(rng, config, now, jnp.asarray(frozen), rows, train.jitter, factor)
        drawn = pins.draw(rng, mapping, inputs, config.candidates)
        found = Tables(np.concatenate([drawn.column, old.column]), np.concatenate([drawn.level, old.level]))
        candidates = pins.neurons(mapping, found, rows.width)
        shape = (len(found.column), mapping.entries, weights.shape[2])
        gradient, gain = _gains(candidates, shape, rows.levels, row, offset, residual)
        best = _different(np.asarray(gain), found, len(places))
        steep = np.asarray(gradient[best], np.float64)
        height = np.maximum(np.abs(steep).max(axis=(1, 2), keepdims=True), 1)
        new = np.round(steep / height * config.height * training.ONE).astype(np.int32)
        column[places], level[places], weights[places] = found.column[best], found.level[best], new
        frozen[places] = np.asarray(training.quantised(jnp.asarray(new), train.bits))
    return State(Tables(column, level), jnp.asarray(weights))


def uses(
    rng, config: ResidualConfig, mapping: MappingConfig, tables, cells, rows, jitter, factor
) -> np.ndarray:
    """Compute how much the loss would rise without each table, on the rows that are hardest for the model.

    Args:
      rng: draws the rows.
      config: gives their number.
      mapping: number and kind of the tables.
      tables: the pins.
      cells: ``int8 [M, S, K]``.
      rows: the training rows.
      jitter: the most pixels by which an image is moved.
      factor: the factor of the scores in the softmax.

    Returns:
      ``float32 [M]``, a sum of nats.

    Source: docs/semantics/classify.md
    """
    neurons = pins.neurons(mapping, tables, rows.width)
    row, offset, _ = residuals(rng, config, neurons, cells, rows, jitter, factor)
    count = min(len(row), config.sample // 2)
    levels = layer.moved(rows.levels, row[:count], offset[:count])
    return np.asarray(_uses(neurons, cells, levels, rows.labels[row[:count]], factor))


@jax.jit
def _uses(neurons, cells, levels, labels, factor):
    scores = layer.read(neurons, cells, levels).astype(jnp.float32) * factor
    p = jax.nn.softmax(scores, axis=1)
    tables, positions = cells.shape[0], neurons.table.shape[0] // cells.shape[0]
    entry = layer.entries(neurons, levels)[:, :, 0].reshape(-1, tables, positions)

    def one(table):
        found, cells = table  # [N, Q], [S, K]
        vote = cells[found].astype(jnp.float32).sum(axis=1) * factor  # [N, K]
        own = jnp.take_along_axis(vote, labels[:, None], axis=1)[:, 0]
        return (own + jnp.log((p * jnp.exp(-vote)).sum(axis=1))).sum()

    return jax.lax.map(one, (entry.transpose(1, 0, 2), cells))


def residuals(rng, config: ResidualConfig, neurons, cells, rows: Rows, jitter: int, factor):
    """Find the rows of a random half that have the largest residuals.

    Args:
      rng: draws the half, and a move for each of its rows.
      config: gives the number of rows to return.
      neurons: the mapping.
      cells: ``int8 [M, S, K]``.
      rows: the training rows.
      jitter: the most pixels by which an image is moved.
      factor: the factor of the scores in the softmax.

    Returns:
      The rows ``int32 [n]``, largest residual first, their moves ``int32 [n]``, and their residuals
      ``int32 [n, K]`` in 2^-10.

    Source: docs/semantics/classify.md
    """
    count = rows.labels.shape[0]
    half = max(min(count, config.sample), count // 2)
    row = jnp.asarray(rng.permutation(count)[:half].astype(np.int32))
    offset = jnp.asarray(fitting.moves(rng, rows, jitter, half))
    return _residuals(neurons, cells, rows.levels, rows.labels, row, offset, factor, min(half, config.sample))


@functools.partial(jax.jit, static_argnums=7)
def _residuals(neurons, cells, levels, labels, row, offset, factor, most: int):
    scores = layer.read(neurons, cells, layer.moved(levels, row, offset)).astype(jnp.float32)
    p = jax.nn.softmax(scores * factor, axis=1)
    target = labels[row][:, None] == jnp.arange(p.shape[1], dtype=jnp.int32)
    left = target - p
    _, largest = jax.lax.top_k(jnp.abs(left).max(axis=1), most)
    return row[largest], offset[largest], jnp.round(left[largest] * _UNIT).astype(jnp.int32)


@functools.partial(jax.jit, static_argnums=1)
def _gains(neurons, shape, levels, row, offset, residual):
    gradient = layer.sums(neurons, shape, levels, row, offset, residual)
    return gradient, jnp.abs(gradient).sum(axis=(1, 2))


def _different(gain: np.ndarray, tables: Tables, count: int) -> np.ndarray:
    """Choose the candidates of the largest gains, no two of which read the same columns."""
    keys = np.sort(tables.column, axis=1)
    order = np.argsort(-gain.astype(np.int64), kind="stable")
    _, first = np.unique(keys[order], axis=0, return_index=True)
    best = order[np.sort(first)][:count]
    if len(best) < count:
        best = np.concatenate([best, np.setdiff1d(order, best)[: count - len(best)]])
    return best
