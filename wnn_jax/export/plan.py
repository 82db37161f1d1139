"""The part of a frozen model that its predictions need, in the form that all exporters write.

A plan leaves out what no pin reads: features, columns, thresholds, and the entries that unused pins never
address. A neuron without a used pin becomes a constant of each class.

Source: docs/semantics/export.md
"""

import hashlib
import json
from collections import defaultdict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import wnn_jax
from wnn_jax.classify import encoders, layer
from wnn_jax.classify.encoders import CATEGORY, THERMOMETER, UNKNOWN, Encoder
from wnn_jax.export import inputs as types
from wnn_jax.export.inputs import Input

NEVER = -1  # the column of a pin whose bit is always 0
_BLOCK = 1 << 26  # bits that are read at once while scores are computed


class Column(NamedTuple):
    """A column of levels that some pin reads.

    Attributes:
      feature: the input feature.
      kind: a kind of `encoders`.
      values: of a thermometer the thresholds that pins read, ascending; of a category its code; of unknown
        all codes of the feature; of missing none. Integers where the input values are.
      missing: whether the feature may be missing.

    Source: docs/semantics/export.md
    """

    feature: int
    kind: int
    values: tuple[float, ...]
    missing: bool


class Group(NamedTuple):
    """The tables whose neurons have the same number of pins, and that equally many neurons read.

    Attributes:
      column: ``int32 [n, reads, T]``, the place of a pin's column in `Plan.columns`, or `NEVER`.
      rank: ``int32 [n, reads, T]``; the bit of a pin is 1 where its level is at least this, from 1 on.
      cells: integers ``[n, S, K]``.

    Source: docs/semantics/export.md
    """

    column: np.ndarray
    rank: np.ndarray
    cells: np.ndarray


class Plan(NamedTuple):
    """All that is exported of a model.

    Attributes:
      encoder: the encoder of the model.
      input: the type of an input value.
      features: F, the number of values of a row.
      columns: the columns that pins read.
      groups: the tables and their neurons.
      hashes: ``uint32 [H, T]``.
      dense: whether the entry of an example is its address.
      bias: ``int64 [K]``, what neurons without a used pin add to each score.
      most: the largest absolute value that a score can have.
      labels: the names of the classes in their order; none for a regression.
      scale: what a score is multiplied by to give the value of a regression.
      offset: what is added to that.
      about: version and digest of the model.

    Source: docs/semantics/export.md
    """

    encoder: Encoder
    input: Input
    features: int
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    hashes: np.ndarray
    dense: bool
    bias: np.ndarray
    most: int
    labels: tuple[str, ...]
    scale: float
    offset: float
    about: str


class Coding(NamedTuple):
    """How cells are stored.

    A cell is ``step * code + offset`` where its table serves the class; the other cells are 0, and so are
    their codes.

    Attributes:
      width: the bits of a code.
      step: 1 or 2.
      offset: the cell that code 0 stands for.
      codes: for each group ``int64 [n, S, K]``.
      base: ``int64 [K]``; a score is ``step * sum of codes + base``.

    Source: docs/semantics/export.md
    """

    width: int
    step: int
    offset: int
    codes: tuple[np.ndarray, ...]
    base: np.ndarray


def make(model: Any, inputs: str = "auto") -> Plan:
    """Make the plan of a model.

    Args:
      model: a frozen classifier or regressor.
      inputs: the type of the input values; see `inputs.chosen`.

    Raises:
      ValueError: the model is not frozen, a pin has level 0, a threshold or code is beyond the type, or a
        score can exceed 32 bits.

    Source: docs/semantics/export.md
    """
    encoder, cells = _parts(model)
    column, level, table, hashes = (np.asarray(x) for x in model.mapping)
    if (level == 0).any():
        neuron, pin = np.argwhere(level == 0)[0]
        raise ValueError(
            f"pin {pin} of neuron {neuron} has level 0, which is always 1: give levels from 1 on"
        )
    kind, columns, place, rank = _read_columns(encoder, column, level, inputs)
    dense = np.array_equal(hashes, layer.dense(hashes.shape[1]))
    pins = ((place != NEVER) * np.arange(1, place.shape[1] + 1)).max(axis=1, initial=0)  # up to the last used
    bias = cells[table[pins == 0], 0].astype(np.int64).sum(axis=0)
    groups = []
    for length, neurons in _grouped(table, pins):
        own = cells[table[neurons[:, 0]], : 1 << length if dense else None]
        groups.append(Group(place[neurons, :length], rank[neurons, :length], own))
    most = _most(bias, groups)
    labels = tuple(map(str, getattr(model, "labels", ())))
    scale, offset = float(getattr(model, "scale", 1.0)), float(getattr(model, "offset", 0.0))
    about = f"wnn_jax {wnn_jax.__version__}, model {digest(model)}"
    return Plan(
        encoder,
        kind,
        len(encoder.missing),
        columns,
        tuple(groups),
        hashes,
        dense,
        bias,
        most,
        labels,
        scale,
        offset,
        about,
    )


def coding(plan: Plan, unsigned: bool = False) -> Coding:
    """Choose how cells are stored.

    Cells of 0 and 1, or of -1 and +1, have 1 bit; odd cells from -15 to 15 have 4. Other cells keep their
    value and have 8, 16 or 32 bits. A table whose cells of a class are all 0 does not serve it.

    Args:
      plan: the plan.
      unsigned: whether codes have as few bits as they need, and other cells are stored by their distance from
        the smallest one.

    Source: docs/semantics/export.md
    """
    served = [(group.cells != 0).any(axis=1, keepdims=True) for group in plan.groups]
    values = [group.cells.astype(np.int64) for group in plan.groups]
    found = np.unique(np.concatenate([np.zeros(0, np.int64), *(x.ravel() for x in values)]))
    inside = np.concatenate(
        [np.zeros(0, np.int64)]
        + [np.unique(x[np.broadcast_to(there, x.shape)]) for x, there in zip(values, served, strict=True)]
    )
    if np.isin(found, (0, 1)).all():
        width, step, offset = 1, 1, 0
    elif np.isin(inside, (-1, 1)).all():
        width, step, offset = 1, 2, -1
    elif (inside % 2 == 1).all() and (unsigned or (abs(inside) <= 15).all()):
        width = int(abs(inside).max()).bit_length() if unsigned else 4
        step, offset = 2, 1 - (1 << width)
    else:
        low, high = int(found[0]), int(found[-1])
        signed = next(bits for bits in (8, 16, 32) if -(1 << bits - 1) <= low and high < 1 << bits - 1)
        width, step, offset = ((high - low).bit_length(), 1, low) if unsigned else (signed, 1, 0)
        served = [np.ones_like(there) for there in served]
    codes = tuple(np.where(there, (x - offset) // step, 0) for x, there in zip(values, served, strict=True))
    base = plan.bias.copy()
    for group, there in zip(plan.groups, served, strict=True):
        base += offset * there.sum(axis=(0, 1)) * group.column.shape[1]
    return Coding(width, step, offset, codes, base)


def rows(plan: Plan, X: Any) -> np.ndarray:
    """Return rows as an exported model takes them; see `inputs.rows`.

    Args:
      plan: the plan of the model.
      X: numbers ``[N, F]``.

    Raises:
      ValueError: the encoder of the model refuses the rows, or a value does not fit the type.

    Source: docs/semantics/export.md
    """
    read = np.unique(np.array([one.feature for one in plan.columns], np.int64))
    return types.rows(plan.input, plan.encoder, read, X)


def scores(model: Any, X: Any) -> np.ndarray:
    """Compute the scores of rows in Python, ``int32 [N, K]``.

    Args:
      model: a frozen classifier or regressor.
      X: numbers ``[N, F]``.

    Raises:
      ValueError: the encoder of the model refuses the rows.

    Source: docs/semantics/classify.md
    """
    levels = encoders.levels(model.encoder, X)
    if not levels.shape[1]:
        levels = np.zeros((len(levels), 1), np.uint8)  # all pins are unused, and read column 0
    cells, mapping = np.asarray(model.cells), layer.Mapping(*map(jnp.asarray, model.mapping))
    each = mapping.column.size * mapping.hashes.shape[0]
    block = min(max(_BLOCK // each, 1), max(len(levels), 1))
    found = []
    for first in range(0, len(levels), block):
        some = levels[first : first + block]
        full = np.pad(some, ((0, block - len(some)), (0, 0)))  # one shape, one program
        found.append(np.asarray(_read(mapping, cells, full))[: len(some)])
    return np.concatenate([np.zeros((0, cells.shape[2]), np.int32), *found])


def digest(model: Any) -> str:
    """Return 16 hexadecimal digits that name a model: two models with the same ones read the same.

    Source: docs/semantics/export.md
    """
    labels = list(map(str, getattr(model, "labels", ())))
    known = {name: float(getattr(model, name)) for name in ("scale", "offset") if hasattr(model, name)}
    found = hashlib.sha256(json.dumps([labels, known]).encode())
    for one in (*model.encoder, *model.mapping, model.cells):
        array = np.ascontiguousarray(one)
        found.update(f"{array.dtype.str} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()[:16]


_read = jax.jit(layer.read)


def _parts(model: Any) -> tuple[Encoder, np.ndarray]:
    """Return the encoder and the cells of a model.

    Raises:
      ValueError: it is no frozen model.
    """
    if lacking := [name for name in ("encoder", "mapping", "cells") if not hasattr(model, name)]:
        raise ValueError(
            f"a {type(model).__name__} has no {lacking[0]}: give a frozen classifier or regressor"
        )
    cells = np.asarray(model.cells)
    if cells.dtype not in (np.int8, np.int32) or cells.ndim != 3:
        raise ValueError(
            f"the cells have dtype {cells.dtype} and shape {list(cells.shape)}: give a frozen model, "
            "with cells int8 or int32 [M, S, K]"
        )
    return model.encoder, cells


def _read_columns(
    encoder: Encoder, column: np.ndarray, level: np.ndarray, inputs: str
) -> tuple[Input, tuple[Column, ...], np.ndarray, np.ndarray]:
    """Choose the type of the input and the columns that pins read.

    Returns:
      The type, the columns, and for each pin the place of its column, or `NEVER`, and its rank in it.

    Raises:
      ValueError: a threshold, a code or a missing value does not fit into the type.
    """
    widths = np.append(encoders.widths(encoder), 0)  # the last one, for encoders without a column
    used = level <= widths[np.minimum(column, len(widths) - 1)]
    read = np.unique(column[used])
    kind = types.chosen(inputs, encoder, _with_codes(encoder, read))
    levels = np.zeros((len(widths), 256), np.int32)
    levels[column[used], level[used]] = 1
    columns = tuple(_column(encoder, kind, j, np.flatnonzero(levels[j])) for j in read)
    ranks = np.cumsum(levels, axis=1, dtype=np.int32)  # of a level among those that pins read
    place = np.full(len(widths), NEVER, np.int32)
    place[read] = np.arange(len(read))
    none = np.where(used, column, len(widths) - 1)
    return kind, columns, np.where(used, place[none], NEVER), np.where(used, ranks[none, level], 0)


def _with_codes(encoder: Encoder, read: np.ndarray) -> np.ndarray:
    """Return the columns that are read, and those of the codes that their columns of unknown exclude."""
    features = encoder.source[read[encoder.kind[read] == UNKNOWN]]
    codes = np.flatnonzero(np.isin(encoder.source, features) & (encoder.kind == CATEGORY))
    return np.union1d(read, codes).astype(np.int64)


def _column(encoder: Encoder, kind: Input, j: int, levels: np.ndarray) -> Column:
    """Make a column of those of its levels that pins read."""
    mine = encoder.threshold[encoder.start[j] : encoder.start[j + 1]]
    if encoder.kind[j] == THERMOMETER:
        mine = mine[levels - 1]
    elif encoder.kind[j] == UNKNOWN:
        same = (encoder.source == encoder.source[j]) & (encoder.kind == CATEGORY)
        mine = encoder.threshold[encoder.start[:-1][same]]
    values = [types.reaching(one) if kind.whole else float(one) for one in mine]
    feature = int(encoder.source[j])
    return Column(feature, int(encoder.kind[j]), tuple(values), bool(encoder.missing[feature]))


def _grouped(table: np.ndarray, pins: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return for each kind of tables the number of pins and the neurons ``[n, reads]`` of its tables."""
    readers = defaultdict(list)
    for neuron in np.flatnonzero(pins):
        readers[int(table[neuron])].append(int(neuron))
    kinds = defaultdict(list)
    for neurons in readers.values():
        kinds[int(pins[neurons].max()), len(neurons)].append(neurons)
    return [(length, np.array(some)) for (length, _), some in sorted(kinds.items())]


def _most(bias: np.ndarray, groups: list[Group]) -> int:
    """Return the largest absolute value that a score can have.

    Raises:
      ValueError: it needs more than 32 bits.
    """
    reach = abs(bias)
    for group in groups:
        reach = reach + abs(group.cells.astype(np.int64)).max(axis=1).sum(axis=0) * group.column.shape[1]
    most = int(reach.max())
    if most >= 1 << 31:
        raise ValueError(f"a score of the model can reach {most}, beyond 32 bits: fit it with smaller cells")
    return most
