"""The arrays of an exported C model: pins, tables, thresholds, and how they lie in memory.

Cells of one bit lie class by class in bytes: byte e of the first S bytes of a table holds the bits of classes
0 to 7 at entry e, the next S bytes hold those of classes 8 to 15, and so on. The classes that fill no byte
are split into parts of 4, 2 and 1 bits, and several entries share a byte. One read then serves 8 classes, and
no bit is lost.

Source: docs/semantics/export.md
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from wnn_jax.classify.encoders import THERMOMETER, UNKNOWN
from wnn_jax.classify.layer import UNUSED
from wnn_jax.export import plan as plans
from wnn_jax.export.plan import NEVER, Coding, Column, Group, Plan


class Part(NamedTuple):
    """Classes of one-bit cells that are read together.

    Attributes:
      first: the first of them.
      width: their number: 8, 4, 2 or 1.

    Source: docs/semantics/export.md
    """

    first: int
    width: int


class Pass(NamedTuple):
    """One walk over some tables.

    Attributes:
      pin: the place of the first pin in `Layout.column` and `Layout.level`.
      cell: the place of the first table in `Layout.cells`.
      shift: the place of the first step in `Layout.shifts`.
      tables: their number.
      reads: how often a table is read, each time with its pins moved by another step.
      pins: T.
      entries: S.
      stride: the number of entries of `Layout.cells` that a table takes.

    Source: docs/semantics/export.md
    """

    pin: int
    cell: int
    shift: int
    tables: int
    reads: int
    pins: int
    entries: int
    stride: int


class Layout(NamedTuple):
    """The arrays of a C model.

    Attributes:
      raw: whether pins read the input itself, which holds bytes and needs no levels.
      columns: the columns of levels, those of one kind side by side; none where `raw`.
      passes: the walks over tables.
      column: for each pin the place that it reads, in the order in which pins are read.
      level: ``uint8``; the bit of a pin is 1 where what it reads is larger.
      shifts: for each read of a pass how many places its pins move, if it has more than one.
      cells: the tables of all groups, in the dtype in which they are stored.
      hashes: ``[T, H]``, or nothing for dense tables.
      coding: how cells are stored.

    Source: docs/semantics/export.md
    """

    raw: bool
    columns: tuple[Column, ...]
    passes: tuple[Pass, ...]
    column: np.ndarray
    level: np.ndarray
    shifts: np.ndarray
    cells: np.ndarray
    hashes: np.ndarray
    coding: Coding


def make(plan: Plan) -> Layout:
    """Lay a plan out.

    Source: docs/semantics/export.md
    """
    coding = plans.coding(plan)
    raw = plan.input.bits == 8 and all(one.kind == THERMOMETER for one in plan.columns)
    order = sorted(range(len(plan.columns)), key=lambda i: (plan.columns[i].kind, i))
    stored = np.dtype({1: "uint8", 4: "uint8", 8: "int8", 16: "int16", 32: "int32"}[coding.width])
    columns, levels, passes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], []
    cells, shifts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    pin = cell = shift = 0
    for group, codes in zip(plan.groups, coding.codes, strict=True):
        tables = _table(codes, coding.width)
        n, stride = tables.shape
        for column, level, moves in _passes(*_pins(plan, raw, order, group)):
            pins, entries = column.shape[1], group.cells.shape[1]
            moves = moves if len(moves) > 1 else moves[:0]
            passes.append(Pass(pin, cell, shift, n, max(len(moves), 1), pins, entries, stride))
            columns.append(column.ravel())
            levels.append(level.ravel())
            shifts.append(moves)
            pin, shift = pin + column.size, shift + len(moves)
        cells.append(tables.ravel())
        cell += tables.size
    column, moves = np.concatenate(columns), np.concatenate(shifts)
    hashes = plan.hashes.T.astype(unsigned(int(plan.hashes.max())))
    return Layout(
        raw,
        () if raw else tuple(plan.columns[i] for i in order),
        tuple(passes),
        column.astype(unsigned(int(column.max(initial=0)))),
        np.concatenate(levels).astype(np.uint8),
        moves.astype(unsigned(int(moves.max(initial=0)))),
        np.concatenate(cells).astype(stored),
        np.zeros((0, 0), np.uint8) if plan.dense else hashes,
        coding,
    )


def parts(classes: int) -> list[Part]:
    """Split the classes of one-bit cells into parts that are read together.

    Source: docs/semantics/export.md
    """
    found, first = [Part(k, 8) for k in range(0, classes - 7, 8)], classes - classes % 8
    for width in (4, 2, 1):
        if classes % 8 & width:
            found.append(Part(first, width))
            first += width
    return found


def unsigned(most: int) -> np.dtype:
    """Return the smallest unsigned dtype that holds a number.

    Source: docs/semantics/export.md
    """
    return np.dtype("uint8" if most < 1 << 8 else "uint16" if most < 1 << 16 else "uint32")


def places(columns: tuple[Column, ...]) -> np.ndarray:
    """Return the feature of each column, in the smallest dtype.

    Source: docs/semantics/export.md
    """
    features = [one.feature for one in columns]
    return np.array(features, unsigned(max(features, default=0)))


def values(columns: tuple[Column, ...], kind: int, dtype: str) -> np.ndarray:
    """Return the thresholds or codes of all columns of a kind, one after the other.

    Source: docs/semantics/export.md
    """
    return np.array([x for one in columns if one.kind == kind for x in one.values], dtype)


def sizes(plan: Plan, layout: Layout) -> dict[str, int]:
    """Return the bytes that the arrays of a C model take.

    Returns:
      ``tables``; ``encoder``: thresholds and codes, and where each belongs; ``pins``; ``constants``: hashes,
      and what is added to the scores where it is not the same for all.

    Source: docs/semantics/export.md
    """
    columns, base = layout.columns, layout.coding.base
    entries = sum(len(one.values) for one in columns) * plan.input.bits // 8
    for kind in (THERMOMETER, UNKNOWN):
        lengths = [len(one.values) for one in columns if one.kind == kind]
        entries += len(lengths) * unsigned(max(lengths, default=0)).itemsize
    held = layout.level.nbytes if layout.raw else 0  # the pins of a model of bytes hold the thresholds
    added = base.size * score_bits(plan, layout.coding) // 8 if (base != base[0]).any() else 0
    return {
        "tables": layout.cells.nbytes,
        "encoder": places(columns).nbytes + entries + held,
        "pins": layout.column.nbytes + layout.level.nbytes + layout.shifts.nbytes - held,
        "constants": layout.hashes.nbytes + added,
    }


def score_bits(plan: Plan, coding: Coding) -> int:
    """Return the width of a score: 16 bits if all sums fit, otherwise 32.

    Source: docs/semantics/export.md
    """
    reach = np.zeros(len(coding.base), np.int64)
    for group, codes in zip(plan.groups, coding.codes, strict=True):
        reach += np.abs(codes).max(axis=1).sum(axis=0) * group.column.shape[1]
    most = max(int((coding.step * reach).max()), int(np.abs(coding.base).max()), plan.most)
    return 16 if most < 1 << 15 else 32


def _pins(plan: Plan, raw: bool, order: list[int], group: Group) -> tuple[np.ndarray, np.ndarray]:
    """Return the place and the level of the pins of a group, in the order in which they are read."""
    column, rank = group.column, group.rank
    if plan.dense:
        column, rank = column[:, :, ::-1], rank[:, :, ::-1]  # the highest bit of an address comes first
    on = column != NEVER
    if raw:
        place = np.array([one.feature for one in plan.columns], np.int64)
        level = [plan.columns[c].values[r - 1] for c, r in zip(column[on], rank[on], strict=True)]
    else:
        place = np.argsort(order)  # where each column stands among those of all kinds
        level = rank[on]
    levels = np.full(column.shape, 256, np.int64)
    levels[on] = level
    found = np.zeros(column.shape, np.int64)
    found[on] = place[column[on]]
    return found, levels - 1


def _passes(place: np.ndarray, level: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the passes over the tables of a group ``[n, reads, T]``: pins ``[n, T]``, and how far they move.

    Where all tables are read by pins that move by the same steps, one pass reads them at all steps.
    """
    on = level[:, :1] < UNUSED
    moves = np.where(on, place - place[:, :1], 0)
    steps = moves[0, :, np.flatnonzero(on[0, 0])[0]] if on[0, 0].any() else moves[0, :, 0]
    first = int(np.argmin(steps))  # no step then leads before the row
    if (level == level[:, :1]).all() and (moves == np.where(on, steps[:, None], 0)).all():
        yield place[:, first], level[:, first], steps - steps[first]
        return
    for read in range(place.shape[1]):
        yield place[:, read], level[:, read], np.zeros(1, np.int64)


def _table(codes: np.ndarray, width: int) -> np.ndarray:
    """Return the tables of a group ``[n, stride]``, packed."""
    n, entries, classes = codes.shape
    if width == 1:
        return np.concatenate([_packed(codes, part, entries) for part in parts(classes)], axis=1)
    if width == 4:
        even = codes[:, :, 0 : classes - classes % 2]
        pairs = (even[:, :, 0::2] | even[:, :, 1::2] << 4).reshape(n, -1)
        return np.concatenate([pairs, _shared(codes[:, :, -1], 4)], axis=1) if classes % 2 else pairs
    return codes.reshape(n, -1)


def _packed(codes: np.ndarray, part: Part, entries: int) -> np.ndarray:
    """Return the bytes ``[n, bytes]`` of the classes of a part."""
    mask = np.zeros((len(codes), entries), np.int64)
    for i in range(part.width):
        mask |= codes[:, :, part.first + i] << i
    return _shared(mask, part.width)


def _shared(fields: np.ndarray, width: int) -> np.ndarray:
    """Pack fields ``[n, S]`` of a few bits into bytes; entry 0 has the lowest bits."""
    each = 8 // width
    full = np.pad(fields, ((0, 0), (0, -fields.shape[1] % each))).reshape(len(fields), -1, each)
    return (full << (width * np.arange(each))).sum(axis=2)
