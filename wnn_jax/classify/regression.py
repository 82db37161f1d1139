"""Regression on tables: cells that add up to the wanted number, trained, or means of what was shown.

A prediction is ``offset + scale * score``, where the score is the sum of the integer cells that the neurons
read. Trained cells follow the error of the sum, as least mean squares do. All arithmetic of cells is that of
integers, so every machine gives the same ones.

Shape letters are those of `layer`, with K = 1.

Source: docs/semantics/classify.md
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.classify import counts as cells_of
from wnn_jax.classify.encoders import Encoder
from wnn_jax.classify.layer import Mapping, entries_of

_LAST = 1 / 50  # the rate at the last epoch, as a share of the rate at the first
_STEP = 1 << 12  # the units of the largest distance of a target from the mean, in sums


@dataclasses.dataclass(frozen=True)
class RegressionConfig:
    """Configures the training of cells for regression.

    Attributes:
      epochs: passes over the rows.
      rate: the share of a row's error that one step corrects at the first epoch; it falls linearly to a
        fiftieth of that.
      prior: the number of rows that would hold a cell at 0; a larger one makes the model smoother.
      batch: rows of a step. A cell moves by the mean of what its rows ask for.

    Raises:
      ValueError: a setting has another type or is out of range.

    Source: docs/semantics/classify.md
    """

    epochs: int = 20
    rate: float = 0.3
    prior: float = 0.5
    batch: int = 1

    def __post_init__(self) -> None:
        """Check the fields."""
        one = Limits(least=1)
        checks.fields(self, epochs=one, rate=Limits(above=0, most=1), prior=Limits(least=0), batch=one)


class Regressor(NamedTuple):
    """A fitted regression. All arrays are NumPy's; the prediction is ``offset + scale * score``.

    Attributes:
      encoder: makes the levels of rows.
      mapping: the neurons.
      cells: ``int32 [M, S, 1]``, what the neurons add to the score.
      scale: the number that a score of 1 stands for.
      offset: the prediction of a score of 0.

    Source: docs/semantics/classify.md
    """

    encoder: Encoder
    mapping: Mapping
    cells: np.ndarray
    scale: float
    offset: float


class Fitted(NamedTuple):
    """Cells of a regression, as they are read: the prediction is ``offset + scale * score``.

    Attributes:
      cells: ``int32 [M, S, 1]``.
      scale: the number that a score of 1 stands for.
      offset: the prediction of a score of 0.

    Source: docs/semantics/classify.md
    """

    cells: np.ndarray
    scale: float
    offset: float


def train(
    key: jax.Array,
    config: RegressionConfig,
    mapping: Mapping,
    entries: int,
    levels: Any,
    targets: Any,
    weight: Any = None,
) -> Fitted:
    """Train cells by the error of their sum.

    Every step reads a batch, in the order that the key draws. Each cell that a row reads gets
    ``rate / R * (error - pull)``, where the pull is its part of the prior: ``prior * R * cell`` by the number
    of rows that read the cell.

    Args:
      key: draws the order of the rows.
      config: settings.
      mapping: the neurons, R of them; their tables have one hash.
      entries: S, the entries of a table.
      levels: ``uint8 [N, J]``.
      targets: numbers ``[N]``.
      weight: numbers ``[N]``, at least 0; None is 1. An epoch shows N rows, each about as often as its weight
        says.

    Returns:
      The cells.

    Raises:
      ValueError: an array is wrong, no row has a weight, or the tables have several hashes.

    Source: docs/semantics/classify.md; Widrow and Hoff 1960, "Adaptive Switching Circuits"
    """
    targets, share = _given(levels, targets, weight)
    if len(mapping.hashes) != 1:
        raise ValueError(f"the tables have {len(mapping.hashes)} hashes, and a sum needs 1: set hashes to 1")
    neurons, rows = mapping.column.shape[0], len(targets)
    # A cell is at most the largest distance, and the error of a sum of R cells fits into int32.
    bits = 29 - (neurons - 1).bit_length()
    offset, scale, wanted = _scaled(targets, share, 1 << bits)
    cells = cells_of.empty(mapping, entries, 1)[..., 0]
    entry = _entries(mapping, jnp.asarray(levels))
    seen = (
        jnp.zeros(cells.shape, jnp.float32)
        .at[mapping.table, entry]
        .add(jnp.asarray(share * rows, jnp.float32)[:, None])
    )
    rate = np.linspace(1, _LAST, config.epochs) * config.rate
    divisor = np.maximum(np.rint(neurons / rate), 1).astype(np.int32)
    slow = (1 / np.maximum(rate * config.prior, 1e-9)).astype(np.float32)
    order = jnp.asarray(_order(key, config, share))
    cells = _train(mapping.table, cells, entry, wanted, order, divisor, slow, seen, np.int32(1 << bits))
    return Fitted(np.asarray(cells)[..., None], scale, offset)


def _scaled(targets: np.ndarray, share: np.ndarray, most: int) -> tuple[float, float, jax.Array]:
    """Return the mean, the unit (the largest distance from the mean is `most`), and the targets in units."""
    offset = float(share @ targets)
    spread = float(np.abs(targets - offset)[share > 0].max())
    scale = spread / most if spread else 1.0
    wanted = np.clip(np.rint((targets - offset) / scale), -most, most)
    return offset, scale, jnp.asarray(wanted, jnp.int32)


def _order(key: jax.Array, config: RegressionConfig, share: np.ndarray) -> np.ndarray:
    """Draw the rows of every step, ``int32 [epochs, steps, batch]``; -1 where a step has none."""
    rows, steps = len(share), -(-len(share) // config.batch)
    drawn = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    ends = np.cumsum(share)
    order = np.full((config.epochs, steps * config.batch), -1, np.int32)
    for epoch in range(config.epochs):
        # Equally spaced places on the line of weights; rows of equal weight have one each.
        places = (np.arange(rows) + (drawn.random() if np.ptp(share) else 0.5)) / rows
        shown = np.minimum(np.searchsorted(ends, places, side="right"), rows - 1)
        order[epoch, :rows] = drawn.permutation(shown)
    return order.reshape(config.epochs, steps, config.batch)


@jax.jit
def _entries(mapping: Mapping, levels: jax.Array) -> jax.Array:
    by_column = levels.T
    return entries_of(mapping.column, mapping.level, mapping.hashes, by_column)[:, 0].T  # [N, R]


@jax.jit
def _train(table, cells, entry, wanted, order, divisor, slow, seen, most):
    def epoch(cells, one):
        order, divisor, slow = one

        def step(cells, rows):
            here = (rows >= 0)[:, None]
            row = jnp.maximum(rows, 0)
            place = table, entry[row]  # [b, R]
            found = cells[place]
            error = wanted[row] - found.sum(axis=1)
            pull = jnp.rint(jnp.clip(seen[place] * slow, 1.0, 2.0**30)).astype(jnp.int32)
            change = _rounded(error, divisor)[:, None] - _rounded(found, pull)
            if rows.shape[0] > 1:
                times = jnp.zeros_like(cells).at[place].add(here.astype(jnp.int32))
                change = _rounded(change, jnp.maximum(times[place], 1))
            cells = cells.at[place].add(jnp.where(here, change, 0))
            # Neurons that share a table may have read one cell twice: all set the same number.
            return cells.at[place].set(jnp.clip(cells[place], -most, most)), None

        return jax.lax.scan(step, cells, order)[0], None

    return jax.lax.scan(epoch, cells, (order, divisor, slow))[0]


def _rounded(x: jax.Array, divisor: jax.Array) -> jax.Array:
    """Divide integers and round to the nearest, half away from 0."""
    return jnp.sign(x) * ((jnp.abs(x) + divisor // 2) // divisor)


class Sums(NamedTuple):
    """The sums that means are made of. They add, so rows come in any order and are forgotten exactly.

    Attributes:
      counts: ``int32 [M, S, 2]``: the weight of the rows that addressed a cell, and the sum of their targets
        in units.
      scale: the unit of a target.
      offset: the target of 0 units.
      unit: the units of weight 1, see `counts.units`.

    Source: docs/semantics/classify.md
    """

    counts: np.ndarray
    scale: float
    offset: float
    unit: int = 1


def start(mapping: Mapping, entries: int, targets: Any, weight: Any = None, unit: int = 1) -> Sums:
    """Make sums of no rows, whose unit and offset are chosen by some targets.

    Args:
      mapping: the neurons.
      entries: S, the entries of a table.
      targets: numbers ``[N]``: a unit is 1/4096 of their largest distance from their mean.
      weight: numbers ``[N]``, at least 0; None is 1.
      unit: the units of weight 1.

    Returns:
      The sums.

    Raises:
      ValueError: an array is wrong, or no row has a weight.

    Source: docs/semantics/classify.md
    """
    targets, share = _given(np.zeros((len(targets), 0), np.uint8), targets, weight)
    offset, scale, _ = _scaled(targets, share, _STEP)
    return Sums(np.asarray(cells_of.empty(mapping, entries, 2)), scale, offset, unit)


def add(mapping: Mapping, sums: Sums, levels: Any, targets: Any, weight: Any = None) -> Sums:
    """Add rows to sums, or take them out again by negative weights.

    Args:
      mapping: the neurons.
      sums: the sums.
      levels: ``uint8 [N, J]``.
      targets: numbers ``[N]``.
      weight: integers ``[N]``, in the units of the sums; None is one row each.

    Returns:
      The new sums.

    Raises:
      ValueError: an array is wrong, a sum could leave the range of int32, or a row that is taken out was not
        there.

    Source: docs/semantics/classify.md
    """
    targets, _ = _given(levels, targets, None)
    weight = np.full(len(targets), sums.unit) if weight is None else np.asarray(weight)
    checks.array("weight", weight, "integers", {"N": len(targets)})
    units = np.rint((targets - sums.offset) / sums.scale) * weight
    if np.abs(units).sum() > checks.MOST:
        raise ValueError(
            f"the sums of {len(targets)} rows could reach {np.abs(units).sum():.0f}, above {checks.MOST}: "
            "give fewer rows at once, or smaller weights"
        )
    none, one = np.zeros(len(targets), np.int32), np.ones(len(targets), np.int32)
    counts = cells_of.write(mapping, sums.counts, levels, none, weight)
    counts = np.asarray(cells_of.write(mapping, counts, levels, one, units.astype(np.int32)))
    if counts[..., 0].min(initial=0) < 0:
        raise ValueError(
            f"a count would become {counts[..., 0].min()}: the rows to forget were not all shown; give only "
            "rows that were"
        )
    return sums._replace(counts=counts)


def means(mapping: Mapping, sums: Sums, prior: float = 1.0) -> Fitted:
    """Read sums as the mean, over the neurons, of the mean target of each cell.

    Args:
      mapping: the neurons.
      sums: the sums.
      prior: the number of rows of the mean target that are added to each cell.

    Returns:
      The cells. A cell that no row addressed has the mean target of all rows.

    Raises:
      ValueError: the prior is not above 0.

    Source: docs/semantics/classify.md; Lusquino Filho et al. 2020, "Extending the weightless WiSARD
    classifier for regression"
    """
    prior = checks.number("prior", prior, Limits(above=0))
    neurons = mapping.column.shape[0]
    fine = 1 << (29 - _STEP.bit_length() - (neurons - 1).bit_length())
    count, total = sums.counts[..., 0].astype(np.float64), sums.counts[..., 1].astype(np.float64)
    whole = count.sum()
    middle = total.sum() / whole if whole else 0.0
    cell = (total - middle * count) / (count + prior * sums.unit)
    scale, offset = sums.scale / fine / neurons, sums.offset + sums.scale * middle
    return Fitted(np.rint(cell * fine).astype(np.int32)[..., None], scale, offset)


def _given(levels: Any, targets: Any, weight: Any) -> tuple[np.ndarray, np.ndarray]:
    checks.array("levels", levels, "uint8", {"N": None, "J": None})
    rows = len(levels)
    targets = np.asarray(targets)
    checks.array("targets", targets, "numbers", {"N": rows})
    weight = np.ones(rows) if weight is None else np.asarray(weight)
    checks.array("weight", weight, "numbers", {"N": rows}, Limits(least=0))
    if not weight.any():
        raise ValueError(f"none of {rows} rows has a weight above 0: give at least one")
    return targets.astype(np.float64), weight / weight.sum(dtype=np.float64)
