"""A memory that counts: counts, their units, and the way in which they are read.

    memory = start(mapping, 2**12, classes=10)
    memory = add(memory, levels, labels)
    memory = judge(memory, "static", levels, labels)
    scores(memory, new_levels)

Every function returns a new memory. Shape letters are those of `layer`.

Source: docs/semantics/classify.md
"""

from typing import Any, NamedTuple

import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.classify import bleaching, calibration, model
from wnn_jax.classify import counts as cells
from wnn_jax.classify.bleaching import Curve
from wnn_jax.classify.layer import Mapping

DYNAMIC = 0  # the threshold of a memory that is read by dynamic bleaching


class Memory(NamedTuple):
    """Counts and the way to read them. All arrays are NumPy's.

    Attributes:
      mapping: the neurons.
      counts: ``int32 [M, S, K]``.
      unit: the units of a row of weight 1, see `counts.units`.
      threshold: the count, in units, from which on a cell votes; `DYNAMIC` for dynamic bleaching.
      temperature: the factor of the scores in the softmax.
      curve: what leaving one out said of each threshold; None where the threshold was given.
      exact: whether every row that was added can be forgotten.

    Source: docs/semantics/classify.md
    """

    mapping: Mapping
    counts: np.ndarray
    unit: int = 1
    threshold: int = 1
    temperature: float = 1.0
    curve: Curve | None = None
    exact: bool = True


def start(mapping: Mapping, entries: int, classes: int) -> Memory:
    """Make a memory that has seen no row.

    Args:
      mapping: the neurons.
      entries: S, the entries of a table.
      classes: K.

    Raises:
      ValueError: the tables are too small for the hashes, or there is no class.

    Source: docs/semantics/classify.md
    """
    return Memory(mapping, np.asarray(cells.empty(mapping, entries, classes)))


def add(
    memory: Memory,
    levels: Any,
    labels: Any,
    weight: Any = None,
    *,
    relative: bool = False,
    conservative: bool = False,
) -> Memory:
    """Count rows.

    Args:
      memory: the memory.
      levels: ``uint8 [N, J]``.
      labels: integers ``[N]``.
      weight: numbers ``[N]``, at least 0; None is 1.
      relative: whether only the ratios of weights that are no whole numbers matter.
      conservative: whether to raise only the smallest cells, see `counts.write_conservative`.

    Returns:
      The memory with the rows. Its units become finer at the first weight that is no whole number.

    Raises:
      ValueError: an array is wrong, or a count could leave the range of int32.

    Source: docs/semantics/classify.md
    """
    memory, whole = _in_units(memory, len(levels), weight, relative)
    write = cells.write_conservative if conservative else cells.write
    written = write(memory.mapping, memory.counts, levels, labels, whole)
    return memory._replace(counts=np.asarray(written), exact=memory.exact and not conservative)


def forget(memory: Memory, levels: Any, labels: Any, weight: Any = None) -> Memory:
    """Forget rows: the counts become those of a memory that was never shown them.

    Args:
      memory: the memory.
      levels: ``uint8 [N, J]``.
      labels: integers ``[N]``.
      weight: the weights that the rows had; None is 1.

    Returns:
      The memory without the rows.

    Raises:
      ValueError: an array is wrong, the memory was never shown these rows, or it was halved or written
        conservatively since.

    Source: docs/semantics/classify.md
    """
    if not memory.exact:
        raise ValueError(
            "the counts were halved or written conservatively, so no row can be taken out of them: fit again "
            "without the rows"
        )
    memory, whole = _in_units(memory, len(levels), weight, False)
    left = cells.forget(memory.mapping, memory.counts, levels, labels, whole)
    return memory._replace(counts=np.asarray(left))


def halve(memory: Memory) -> Memory:
    """Halve all counts, so that old rows count less than new ones; see `counts.halve`.

    Args:
      memory: the memory.

    Source: docs/semantics/classify.md
    """
    return memory._replace(counts=np.asarray(cells.halve(memory.counts)), exact=False)


def _in_units(memory: Memory, rows: int, weight: Any, relative: bool) -> tuple[Memory, np.ndarray]:
    """Return the weights in the units of the memory, which become finer where the weights need it."""
    if weight is None:
        return memory, np.full(rows, memory.unit, np.int32)
    whole, unit = cells.units(weight, relative)
    if unit > memory.unit:
        most = int(memory.counts.max(initial=0)) * unit
        if most > checks.MOST:
            raise ValueError(
                f"weights that are no whole numbers need counts up to {most}, above {checks.MOST}: give "
                "whole numbers"
            )
        memory = memory._replace(counts=memory.counts * np.int32(unit), unit=unit)
        memory = memory._replace(threshold=memory.threshold * unit)
    return memory, whole if unit == memory.unit else whole * np.int32(memory.unit)


def judge(
    memory: Memory, rule: Any, levels: Any, labels: Any, weight: Any = None, relative: bool = False
) -> Memory:
    """Choose how the counts are read, by rows that they hold.

    Args:
      memory: the memory.
      rule: ``static`` chooses the threshold by leaving one out, ``dynamic`` reads by dynamic bleaching, and a
        whole number is the threshold.
      levels: ``uint8 [N, J]``, rows that were added.
      labels: integers ``[N]``.
      weight: the weights with which they were added.
      relative: as in `add`.

    Returns:
      The memory with its threshold, temperature and curve.

    Raises:
      ValueError: an array is wrong, or the rule is none of these.

    Source: docs/semantics/classify.md
    """
    memory, whole = _in_units(memory, len(levels), weight, relative)
    place = memory.mapping, memory.counts, levels, labels
    # Whole weights are equal rows, of which one is left out; other weights are left out with their row.
    left = np.minimum(whole, memory.unit) if not (whole % memory.unit).any() else whole
    if isinstance(rule, str) and rule not in ("static", "dynamic"):
        raise ValueError(f"unknown bleaching {rule!r}: choose static or dynamic, or give a whole number")
    curve, threshold = None, DYNAMIC
    if rule == "static":
        thresholds = bleaching.grid(int(memory.counts.max(initial=0)), memory.unit)
        curve = bleaching.choose(*place, whole, thresholds, left)
        threshold = curve.chosen
    elif rule != "dynamic":
        threshold = checks.integer("bleaching", rule, Limits(least=1)) * memory.unit
    if threshold == DYNAMIC:
        found = _ranked(*bleaching.dynamic_left_out(*place, left))
    else:
        found = bleaching.left_out(*place, left, threshold)
    factor = calibration.temperature(found, labels, whole / memory.unit)
    return memory._replace(threshold=threshold, temperature=factor, curve=curve)


def _ranked(votes: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Add the order of the classes to their votes, as parts of a vote."""
    return votes + order / order.shape[1]


def scores(memory: Memory, levels: Any) -> np.ndarray:
    """Compute the score of every class.

    Args:
      memory: the memory.
      levels: ``uint8 [N, J]``.

    Returns:
      ``float64 [N, K]``: the number of votes, and for dynamic bleaching also the order of tied classes, as
      parts of a vote. The first of the largest scores is the class that is predicted.

    Raises:
      ValueError: an array has a wrong type or shape.

    Source: docs/semantics/classify.md
    """
    if memory.threshold == DYNAMIC:
        return _ranked(*bleaching.dynamic(memory.mapping, memory.counts, levels))
    return model.level_scores(freeze(memory), levels).astype(np.float64)


class Frozen(NamedTuple):
    """The neurons and cells of a frozen memory.

    Attributes:
      mapping: the neurons.
      cells: ``int8 [M, S, K]``.

    Source: docs/semantics/classify.md
    """

    mapping: Mapping
    cells: np.ndarray


def freeze(memory: Memory) -> Frozen:
    """Freeze the cells of a memory that has a threshold.

    Args:
      memory: the memory.

    Raises:
      ValueError: the memory is read by dynamic bleaching.

    Source: docs/semantics/classify.md
    """
    if memory.threshold == DYNAMIC:
        raise ValueError(
            "dynamic bleaching reads the counts of each row anew, so there are no frozen cells: use static "
            "bleaching or a whole number"
        )
    return Frozen(memory.mapping, bleaching.freeze(memory.counts, memory.threshold))
