"""A frozen model as a circuit in Verilog: comparators, tables, adders and the choice of the largest sum.

Source: docs/semantics/export.md
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from wnn_jax.classify.encoders import CATEGORY, MISSING, THERMOMETER
from wnn_jax.export import plan
from wnn_jax.export.plan import NEVER, Coding, Column, Group, Plan

_MOST_ENTRIES = 1 << 16  # bits of one constant


class Circuit(NamedTuple):
    """The numbers that a circuit and its testbench share.

    Attributes:
      plan: what is exported.
      coding: how cells are stored.
      features: the features that the circuit reads; each is a word of its input, the first one lowest.
      adders: for each class ``[n]``, the neurons that serve it.
      step: a score is ``step`` times the class's output plus `low`.
      low: see `step`.
      bits: the width of the output of a class.
      answer: the width of the predicted class; 0 for a regression.

    Source: docs/semantics/export.md
    """

    plan: Plan
    coding: Coding
    features: tuple[int, ...]
    adders: tuple[np.ndarray, ...]
    step: int
    low: int
    bits: int
    answer: int


def make(model: Any, inputs: str = "auto") -> Circuit:
    """Choose the widths of a circuit.

    Args:
      model: a frozen classifier or regressor.
      inputs: the type of an input value.

    Raises:
      ValueError: the model does not fit the type, or a table has more than 65,536 entries.

    Source: docs/semantics/export.md
    """
    made = plan.make(model, inputs)
    entries = max((group.cells.shape[1] for group in made.groups), default=0)
    if entries > _MOST_ENTRIES:
        raise ValueError(
            f"a table has {entries:,} entries, and Verilog is written for {_MOST_ENTRIES:,}: fit fewer "
            "address bits, or hashed tables"
        )
    coding = plan.coding(made, unsigned=True)
    classes = len(coding.base)
    served, reach = [[] for _ in range(classes)], np.zeros(classes, np.int64)
    first = 0
    for group, codes in zip(made.groups, coding.codes, strict=True):
        tables, reads, _ = group.column.shape
        most = codes.max(axis=1)  # [n, K]
        reach += most.sum(axis=0) * reads
        for k in range(classes):
            neurons = first + np.arange(tables * reads).reshape(tables, reads)[most[:, k] > 0]
            served[k].append(neurons.ravel())
        first += tables * reads
    low = int(coding.base.min())
    step = coding.step if ((coding.base - low) % coding.step == 0).all() else 1
    top = (coding.step * reach + coding.base - low).max() // step
    return Circuit(
        made,
        coding,
        tuple(sorted({one.feature for one in made.columns})),
        tuple(np.concatenate([np.zeros(0, np.int64), *one]) for one in served),
        step,
        low,
        max(int(top).bit_length(), 1),
        max((classes - 1).bit_length(), 1) if made.labels else 0,
    )


def text(made: Circuit) -> str:
    """Return the modules of a circuit.

    Source: docs/semantics/export.md
    """
    kind, features = made.plan.input, made.features
    neurons = sum(group.column.shape[0] * group.column.shape[1] for group in made.plan.groups)
    score = f"a score is {made.step} * (its {made.bits} bits of s) + {made.low}"
    lines = [
        f"// A table model: {made.plan.about}",
        f"// {neurons} neurons, {len(made.adders)} scores.",
        f"// Word i of x, {kind.bits} bits of type {kind.name},",
        "// is the value of the feature whose number stands at place i, lowest word first:",
        *_wrapped([str(one) for one in features]),
        f"// Score 0 has the lowest bits of s; {score}.",
        *["// y is the class with the largest score; of several the one with the lowest index."]
        * bool(made.answer),
        "`default_nettype none",
        *_encoder(made),
        *_tables(made),
        *_adders(made),
        *(_argmax(made) if made.answer else []),
        *_top(made),
        "`default_nettype wire",
    ]
    return "\n".join(lines) + "\n"


def widths(made: Circuit) -> tuple[int, int, int]:
    """Return the widths of the ports in bits: input, scores and predicted class.

    Source: docs/semantics/export.md
    """
    x = max(len(made.features) * made.plan.input.bits, 1)
    return x, len(made.adders) * made.bits, made.answer


def _joined(name: str, count: int) -> str:
    return f"{{{', '.join(f'{name}{i}' for i in reversed(range(count)))}}}"


def _wrapped(words: list[str]) -> list[str]:
    return [f"//   {' '.join(words[i : i + 16])}" for i in range(0, len(words), 16)]


def _bits(made: Circuit) -> int:
    return max(sum(_ranks(one) for one in made.plan.columns), 1)


def _ranks(column: Column) -> int:
    return len(column.values) if column.kind == THERMOMETER else 1


def _starts(made: Circuit) -> np.ndarray:
    """Return the place of the first bit of each column, and of the end."""
    return np.cumsum([0, *(_ranks(one) for one in made.plan.columns)])


def _encoder(made: Circuit) -> Iterator[str]:
    """Yield the module that compares: one comparator for each bit that a pin reads."""
    kind = made.plan.input
    bits, x = kind.bits, widths(made)[0]
    yield f"module wnn_encoder(input wire [{x - 1}:0] x, output wire [{_bits(made) - 1}:0] b);"
    if not made.plan.columns:
        yield "  assign b = x;"
    lacks = {one.feature for one in made.plan.columns if one.missing}
    for i, feature in enumerate(made.features):
        word = f"x[{i * bits + bits - 1}:{i * bits}]"
        sign, rest = f"x[{i * bits + bits - 1}]", f"x[{i * bits + bits - 2}:{i * bits}]"
        if not kind.whole:  # the order of floats is that of these integers
            word = f"{{~{sign}, {rest} ^ {{{bits - 1}{{{sign}}}}}}}"
        elif kind.least:
            word = f"{{~{sign}, {rest}}}"
        yield f"  wire [{bits - 1}:0] f{feature} = {word};"
        if feature in lacks:
            nan = f"{rest} > 31'h7f800000" if not kind.whole else f"f{feature} == {bits}'d0"
            yield f"  wire n{feature} = {nan};"
    for column, start in zip(made.plan.columns, _starts(made), strict=False):
        name, gone = f"f{column.feature}", f"n{column.feature}"
        there = f" && !{gone}" if column.missing else ""
        if column.kind == THERMOMETER:
            for i, one in enumerate(column.values):
                yield f"  wire b{start + i} = {name} >= {_key(made, one, False)}{there};"
            continue
        same = " || ".join(f"{name} == {key}" for one in column.values for key in _keys(made, one)) or "1'b0"
        if column.kind == MISSING:
            same = gone
        elif column.kind != CATEGORY:
            same = f"!({same}){there}"
        yield f"  wire b{start} = {same};"
    if made.plan.columns:
        yield f"  assign b = {_joined('b', _bits(made))};"
    yield "endmodule"


def _key(made: Circuit, value: float, upper: bool) -> str:
    """Return the unsigned integer that stands for a value; of zeros the lower or the upper one."""
    kind = made.plan.input
    if kind.whole:
        return f"{kind.bits}'d{int(value) - kind.least}"
    bits = int(
        np.float32(abs(value) if value == 0 and upper else -0.0 if value == 0 else value).view(np.uint32)
    )
    return f"32'h{(bits ^ (0xFFFFFFFF if bits >> 31 else 0x80000000)):08x}"


def _keys(made: Circuit, value: float) -> list[str]:
    return sorted({_key(made, value, upper) for upper in (False, True)})


def _tables(made: Circuit) -> Iterator[str]:
    """Yield the module that addresses and reads; a constant holds one bit of the cells of a class."""
    width, starts = made.coding.width, _starts(made)
    total = max(sum(len(one) for one in made.adders) * width, 1)
    yield f"module wnn_tables(input wire [{_bits(made) - 1}:0] b, output wire [{total - 1}:0] v);"
    if not any(len(one) for one in made.adders):
        yield "  assign v = b[0];"
    at = _places(made)
    neuron = table = 0
    for group, codes in zip(made.plan.groups, made.coding.codes, strict=True):
        for i in range(len(codes)):
            for k in range(codes.shape[2]):
                for bit in range(width):
                    name = f"c{table}_{k}_{bit}"
                    if codes[i, :, k].any():
                        yield f"  localparam {_constant(name, codes[i, :, k] >> bit & 1)};"
            for read in range(group.column.shape[1]):
                yield from _address(made, group, i, read, neuron, starts)
                for k in range(codes.shape[2]):
                    if (k, neuron) in at:
                        yield from _cell(made, table, neuron, k, at[k, neuron], codes.shape[1])
                neuron += 1
            table += 1
    if at:  # at once: a simulator follows each assignment to a part of a wide word
        yield f"  assign v = {_joined('v', len(at))};"
    yield "endmodule"


def _places(made: Circuit) -> dict[tuple[int, int], int]:
    """Return where the cell of each class and neuron stands among all of them."""
    listed = [(k, int(neuron)) for k, neurons in enumerate(made.adders) for neuron in neurons]
    return {one: i for i, one in enumerate(listed)}


def _constant(name: str, bits: np.ndarray) -> str:
    number = int.from_bytes(np.packbits(bits.astype(np.uint8), bitorder="little").tobytes(), "little")
    return f"[{len(bits) - 1}:0] {name} = {len(bits)}'h{number:x}"


def _address(
    made: Circuit, group: Group, i: int, read: int, neuron: int, starts: np.ndarray
) -> Iterator[str]:
    """Yield the wires of the entries of one neuron."""
    pins = [
        None if column == NEVER else f"b[{starts[column] + rank - 1}]"
        for column, rank in zip(group.column[i, read], group.rank[i, read], strict=True)
    ]
    entries = group.cells.shape[1]
    for h, row in enumerate(made.plan.hashes[:, : len(pins)]):
        bits = []
        for bit in reversed(range(max((entries - 1).bit_length(), 1))):
            mine = [pin for pin, word in zip(pins, row, strict=True) if pin and word >> np.uint32(bit) & 1]
            bits.append(" ^ ".join(mine) or "1'b0")
        yield f"  wire [{len(bits) - 1}:0] a{neuron}_{h} = {{{', '.join(bits)}}};"


def _cell(made: Circuit, table: int, neuron: int, k: int, place: int, entries: int) -> Iterator[str]:
    """Yield the cell that a neuron reads for a class: the smallest of its entries."""
    width, hashes = made.coding.width, len(made.plan.hashes)
    cells = [
        f"{{{', '.join(f'c{table}_{k}_{bit}[a{neuron}_{h}]' for bit in reversed(range(width)))}}}"
        for h in range(hashes)
    ]
    out = f"v{place}"
    yield f"  wire [{width - 1}:0] {out};"
    if width == 1:
        yield f"  assign {out} = {' & '.join(cells)};"
        return
    if hashes == 1:
        yield f"  assign {out} = {cells[0]};"
        return
    for h, cell in enumerate(cells):
        yield f"  wire [{width - 1}:0] m{neuron}_{k}_{h} = {cell};"
        least = f"m{neuron}_{k}_{h}" if not h else f"l{neuron}_{k}_{h}"
        if h:
            before = f"m{neuron}_{k}_0" if h == 1 else f"l{neuron}_{k}_{h - 1}"
            one = f"m{neuron}_{k}_{h}"
            yield f"  wire [{width - 1}:0] {least} = {one} < {before} ? {one} : {before};"
    yield f"  assign {out} = l{neuron}_{k}_{hashes - 1};"


def _adders(made: Circuit) -> Iterator[str]:
    """Yield a module for each number of cells that some class adds up."""
    width = made.coding.width
    for n in sorted({len(one) for one in made.adders} - {0}):
        total = _sum(made, n)
        wide = f"v[i * {width} +: {width}]"
        if total > width:
            wide = f"{{{total - width}'d0, {wide}}}"
        yield f"module wnn_adder_{n}(input wire [{n * width - 1}:0] v, output reg [{total - 1}:0] s);"
        yield "  integer i;"
        yield "  always @* begin"
        yield f"    s = {total}'d0;"
        yield f"    for (i = 0; i < {n}; i = i + 1) s = s + {wide};"
        yield "  end"
        yield "endmodule"


def _sum(made: Circuit, n: int) -> int:
    return (n * ((1 << made.coding.width) - 1)).bit_length()


def _argmax(made: Circuit) -> Iterator[str]:
    """Yield the module that finds the first of the largest scores."""
    bits, classes, answer = made.bits, len(made.adders), made.answer
    yield f"module wnn_argmax(input wire [{classes * bits - 1}:0] s, output reg [{answer - 1}:0] y);"
    yield f"  reg [{bits - 1}:0] best;"
    yield "  integer i;"
    yield "  always @* begin"
    yield f"    y = {answer}'d0;"
    yield f"    best = s[{bits - 1}:0];"
    yield f"    for (i = 1; i < {classes}; i = i + 1)"
    yield f"      if (s[i * {bits} +: {bits}] > best) begin"
    yield f"        best = s[i * {bits} +: {bits}];"
    yield f"        y = i[{answer - 1}:0];"
    yield "      end"
    yield "  end"
    yield "endmodule"


def _top(made: Circuit) -> Iterator[str]:
    """Yield the module that puts the others together."""
    x, s, y = widths(made)
    width = made.coding.width
    answer = f", output wire [{y - 1}:0] y" if y else ""
    total = max(sum(len(one) for one in made.adders) * width, 1)
    yield f"module wnn(input wire [{x - 1}:0] x, output wire [{s - 1}:0] s{answer});"
    yield f"  wire [{_bits(made) - 1}:0] b;"
    yield f"  wire [{total - 1}:0] v;"
    yield "  wnn_encoder encoder(.x(x), .b(b));"
    yield "  wnn_tables tables(.b(b), .v(v));"
    first = 0
    for k, neurons in enumerate(made.adders):
        n, constant = len(neurons), (int(made.coding.base[k]) - made.low) // made.step
        place = f"s[{(k + 1) * made.bits - 1}:{k * made.bits}]"
        if not n:
            yield f"  assign {place} = {made.bits}'d{constant};"
            continue
        cells = f"v[{(first + n) * width - 1}:{first * width}]"
        first += n
        yield f"  wire [{_sum(made, n) - 1}:0] t{k};"
        yield f"  wnn_adder_{n} adder{k}(.v({cells}), .s(t{k}));"
        total = _sum(made, n)
        found = f"t{k}" if total <= made.bits else f"t{k}[{made.bits - 1}:0]"
        if total < made.bits:
            found = f"{{{made.bits - total}'d0, {found}}}"
        found = f"({found} << 1)" if made.coding.step > made.step else found
        yield f"  assign {place} = {found}{f' + {made.bits}{chr(39)}d{constant}' if constant else ''};"
    if y:
        yield "  wnn_argmax argmax(.s(s), .y(y));"
    yield "endmodule"
