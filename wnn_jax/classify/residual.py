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
from wnn_jax.classify.layer import Mapping
from wnn_jax.classify.mapping import Inputs, MappingConfig, Tables
from wnn_jax.search.base import SearchAlgorithm, StepInfo

_UNIT = 1 << 10  # residuals are summed in 2^-10


@dataclasses.dataclass(frozen=True)
class ResidualConfig:
    """Configures the search by residuals.

    Attributes:
      rounds: number of rounds; 0 keeps the first mapping.
      pool: the first mapping is chosen from this number of times its tables: all are trained for the first
        epochs, and those of most use are kept.
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
    pool: int = 1
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
            pool=Limits(least=1, most=100),
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
      step: number of rounds done.

    Source: docs/semantics/classify.md
    """

    tables: Tables
    weights: jax.Array
    step: int = 0


class Task(NamedTuple):
    """The settings of a search and of what it searches for.

    Attributes:
      config: settings of the search.
      mapping: number and kind of the tables.
      train: how cells are trained.
      inputs: the bits that pins may read.

    Source: docs/semantics/classify.md
    """

    config: ResidualConfig
    mapping: MappingConfig
    train: TrainingConfig
    inputs: Inputs

    @property
    def factor(self) -> jax.Array:
        """The factor of the scores in the softmax, ``float32 []``."""
        return jnp.float32(fitting.temperature(self.train, self.mapping.tables * self.mapping.slide**2))


def algorithm(task: Task) -> SearchAlgorithm:
    """Make the search by residuals.

    Its ``init(rows, start)`` returns ``start`` with the steps set to 0, and its ``step(key, rows, state)``
    does one round: both on the host, with compiled parts. The data of a step are training `fitting.Rows`,
    and the genome is the `State`, so `wnn_jax.search.run` does not take this algorithm; `search` does.

    Args:
      task: the settings.

    Returns:
      The algorithm. Its report counts the candidates, the tables that were judged and those that were taken,
      and gives the share of the rows that were wrong as the loss.

    Source: docs/semantics/classify.md
    """
    config, tables = task.config, task.mapping.tables
    between = dataclasses.replace(task.train, epochs=1, rate=task.train.rate * config.rate)

    def init(rows: Rows, start: State) -> State:
        return start._replace(step=0)

    def step(key: jax.Array, rows: Rows, state: State) -> tuple[State, StepInfo]:
        rng = pins.generator(key)
        share = config.share * (1 - config.cooling * state.step / config.rounds)
        count = max(1, int(share * tables))
        state = refill(rng, task, fitting.noisy(rng, task.train, rows), state, count)
        right: list[float] = []
        state = _trained(rng, between, task.mapping, state, rows, lambda _, share: right.append(share))
        tried = min(config.parts, count) * (config.candidates + count)
        wrong = jnp.asarray([1 - right[-1]], jnp.float32)
        info = StepInfo(jnp.int32(tried), jnp.int32(tried + tables), jnp.int32(count), wrong)
        return state._replace(step=state.step + 1), info

    return SearchAlgorithm(init, step, "residual", None, config, 1, config.rounds)


def search(
    key: jax.Array,
    task: Task,
    rows: Rows,
    classes: int,
    on_step: Callable[[int, float], None] | None = None,
) -> State:
    """Search for the tables of a mapping.

    Args:
      key: draws everything.
      task: the settings; ``rounds=0`` draws the tables only, or chooses them from a pool.
      rows: the training rows.
      classes: K.
      on_step: called after each round with its number and the share of the rows that were right.

    Returns:
      The tables, and weights that `fitting.train` trains further.

    Source: docs/semantics/classify.md
    """
    config, mapping = task.config, task.mapping
    rng = pins.generator(key)
    state = _chosen(rng, task, rows, classes) if config.pool > 1 else _drawn(rng, task, classes)
    if not config.rounds:
        return state
    state = _trained(rng, dataclasses.replace(task.train, epochs=config.first_epochs), mapping, state, rows)
    made = algorithm(task)
    state = made.init(rows, state)
    for r in range(config.rounds):
        state, info = made.step(jax.random.fold_in(key, r), rows, state)
        if on_step:
            on_step(r + 1, 1 - float(info.loss[0]))
    return state


def _drawn(rng: np.random.Generator, task: Task, classes: int) -> State:
    mapping = task.mapping
    tables = pins.draw(rng, mapping, task.inputs, mapping.tables)
    return State(tables, fitting.start(rng, (mapping.tables, mapping.entries, classes)))


def _chosen(rng: np.random.Generator, task: Task, rows: Rows, classes: int) -> State:
    """Choose the tables of most use from a pool; their weights are drawn anew."""
    count, config = task.mapping.tables, task.config
    larger = dataclasses.replace(task.mapping, tables=config.pool * count)
    pool = task._replace(mapping=larger)
    first = dataclasses.replace(task.train, epochs=config.first_epochs)
    state = _trained(rng, first, larger, _drawn(rng, pool, classes), rows)
    cells = training.quantised(state.weights, task.train.bits)
    use = uses(rng, pool, state.tables, cells, rows)
    kept = np.sort(np.argsort(-use, kind="stable")[:count])
    tables = Tables(state.tables.column[kept], state.tables.level[kept])
    return State(tables, fitting.start(rng, (count, task.mapping.entries, classes)))


def _trained(
    rng, config: TrainingConfig, mapping: MappingConfig, state: State, rows: Rows, on_step=None
) -> State:
    neurons = pins.neurons(mapping, state.tables, rows.width)
    weights = fitting.train(rng, config, neurons, state.weights, rows, falling=False, on_step=on_step)
    return state._replace(weights=weights)


def refill(rng: np.random.Generator, task: Task, rows: Rows, state: State, count: int) -> State:
    """Drop the tables of least use, and put the best of many candidates in their places.

    Args:
      rng: draws the candidates and the rows.
      task: the settings.
      rows: the training rows.
      state: the tables and weights.
      count: number of tables to drop. They stand as candidates too.

    Returns:
      The new tables and weights.

    Source: docs/semantics/classify.md
    """
    config, mapping = task.config, task.mapping
    cells = training.quantised(state.weights, task.train.bits)
    dropped = np.argsort(uses(rng, task, state.tables, cells, rows), kind="stable")[:count]
    old = Tables(state.tables.column[dropped], state.tables.level[dropped])
    column, level = state.tables.column.copy(), state.tables.level.copy()
    weights, frozen = np.array(state.weights), np.array(cells)
    frozen[dropped] = 0  # a place that is not filled yet has no vote
    for places in np.array_split(dropped, min(config.parts, count)):
        now = pins.neurons(mapping, Tables(column, level), rows.width)
        row, offset, residual = residuals(rng, task, now, jnp.asarray(frozen), rows)
        drawn = pins.draw(rng, mapping, task.inputs, config.candidates)
        found = Tables(np.concatenate([drawn.column, old.column]), np.concatenate([drawn.level, old.level]))
        candidates = pins.neurons(mapping, found, rows.width)
        shape = (len(found.column), mapping.entries, weights.shape[2])
        gradient, gain = _gains(candidates, shape, rows.levels, row, offset, residual)
        best = _different(np.asarray(gain), found, len(places))
        steep = np.asarray(gradient[best], np.float64)
        height = np.maximum(np.abs(steep).max(axis=(1, 2), keepdims=True), 1)
        new = np.round(steep / height * config.height * training.ONE).astype(np.int32)
        column[places], level[places], weights[places] = found.column[best], found.level[best], new
        frozen[places] = np.asarray(training.quantised(jnp.asarray(new), task.train.bits))
    return state._replace(tables=Tables(column, level), weights=jnp.asarray(weights))


def uses(rng: np.random.Generator, task: Task, tables: Tables, cells: jax.Array, rows: Rows) -> np.ndarray:
    """Compute how much the loss would rise without each table, on the rows that are hardest for the model.

    Args:
      rng: draws the rows.
      task: the settings.
      tables: the pins.
      cells: ``int8 [M, S, K]``.
      rows: the training rows.

    Returns:
      ``float32 [M]``, a sum of nats.

    Source: docs/semantics/classify.md
    """
    neurons = pins.neurons(task.mapping, tables, rows.width)
    row, offset, _ = residuals(rng, task, neurons, cells, rows)
    count = max(1, min(len(row), task.config.sample // 2))
    levels = layer.moved(rows.levels, row[:count], offset[:count])
    return np.asarray(_uses(neurons, cells, levels, rows.labels[row[:count]], task.factor))


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


def residuals(rng: np.random.Generator, task: Task, neurons: Mapping, cells: jax.Array, rows: Rows):
    """Find the rows of a random half that have the largest residuals.

    Args:
      rng: draws the half, and a move for each of its rows.
      task: the settings.
      neurons: the mapping.
      cells: ``int8 [M, S, K]``.
      rows: the training rows.

    Returns:
      The rows ``int32 [n]``, largest residual first, their moves ``int32 [n]``, and their residuals
      ``int32 [n, K]`` in 2^-10.

    Source: docs/semantics/classify.md
    """
    count, sample = rows.labels.shape[0], task.config.sample
    half = max(min(count, sample), count // 2)
    row = jnp.asarray(rng.permutation(count)[:half].astype(np.int32))
    offset = jnp.asarray(fitting.moves(rng, rows, task.train.jitter, half))
    return _residuals(neurons, cells, rows.levels, rows.labels, row, offset, task.factor, min(half, sample))


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
