"""A frozen model as a circuit in Verilog: comparators, tables, adders and the choice of the largest sum.

Source: docs/semantics/export.md
"""

import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from wnn_jax import files
from wnn_jax.classify.encoders import CATEGORY, MISSING, THERMOMETER
from wnn_jax.export import inputs as types
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


def write(model: Any, path: str | os.PathLike, tests: Any = None, inputs: types.Inputs = "auto") -> None:
    """Write a model as Verilog 2005.

    Args:
      model: a frozen classifier or regressor.
      path: the place of the file, such as ``model.v``.
      tests: rows ``[n, F]`` for a testbench that checks itself, or None. ``model_tb.v``,
        ``model_rows.hex`` and ``model_expected.hex`` are then written beside it.
      inputs: the type of an input value; see `inputs.chosen`.

    Raises:
      ValueError: the model or the rows do not fit the type, a table has more than 65,536 entries, or a file
        cannot be written.

    Source: docs/semantics/export.md
    """
    path = pathlib.Path(path)
    made = of(model, inputs)
    files.write(path, text(made).encode())
    if tests is not None:
        rows, name = types.rows(made.plan.input, made.plan.encoder, tests), path.stem
        expected = hexadecimal(*packed(made, plan.scores(model, tests)))
        files.write(path.with_name(f"{name}_tb.v"), bench(made, len(rows), name).encode())
        files.write(path.with_name(f"{name}_rows.hex"), hexadecimal(*words(made, rows)).encode())
        files.write(path.with_name(f"{name}_expected.hex"), expected.encode())


def of(model: Any, inputs: str = "auto") -> Circuit:
    """Choose the widths of a circuit.

    Args:
      model: a frozen classifier or regressor.
      inputs: the type of an input value.

    Raises:
      ValueError: as `write` does.

    Source: docs/semantics/export.md
    """
    made = plan.make(model, inputs)
    entries = max((group.cells.shape[1] for group in made.groups), default=0)
    if entries > _MOST_ENTRIES:
        raise ValueError(
            f"a table has {entries:,} entries, and Verilog is written for {_MOST_ENTRIES:,}: fit fewer address "
            "bits, or hashed tables"
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
        f"// {neurons} neurons, {len(made.adders)} scores. Word i of x, {kind.bits} bits of type {kind.name}, is",
        "// the value of the feature whose number stands at place i, lowest word first:",
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


def bench(made: Circuit, rows: int, name: str) -> str:
    """Return a testbench that compares the outputs of all rows with those that are expected.

    It prints one line that begins with PASS or FAIL; with the argument ``+print`` also the outputs of each
    row. Simulators need support for delays: Icarus Verilog has it, Verilator with ``--binary --timing``.

    Args:
      made: the circuit.
      rows: the number of rows.
      name: its files are ``name_rows.hex`` and ``name_expected.hex``.

    Source: docs/semantics/export.md
    """
    x, s, y = _widths(made)
    ports = f".x(x), .s(s){', .y(y)' * bool(y)}"
    found = "{y, s}" if y else "s"
    return f"""\
`timescale 1ns / 1ns
module wnn_tb;
  reg [{x - 1}:0] x;
  reg [{x - 1}:0] rows [0:{rows - 1}];
  reg [{s + y - 1}:0] expected [0:{rows - 1}];
  wire [{s - 1}:0] s;
{f"  wire [{y - 1}:0] y;" if y else ""}
  integer i, wrong;
  wnn model({ports});
  initial begin
    $readmemh("{name}_rows.hex", rows);
    $readmemh("{name}_expected.hex", expected);
    wrong = 0;
    for (i = 0; i < {rows}; i = i + 1) begin
      x = rows[i];
      #1;
      if ({found} !== expected[i]) wrong = wrong + 1;
      if ($test$plusargs("print") != 0) $display("row %h", {found});
    end
    if (wrong == 0) $display("PASS: {rows} rows");
    else $display("FAIL: %0d of {rows} rows", wrong);
    $finish;
  end
endmodule
"""


def words(made: Circuit, rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the input of each row as bytes, lowest first ``uint8 [N, bytes]``, and its width in bits.

    Source: docs/semantics/export.md
    """
    if not made.features:
        return np.zeros((len(rows), 1), np.uint8), 1
    used = np.ascontiguousarray(rows[:, made.features])
    return used.view(np.uint8).reshape(len(rows), -1), _widths(made)[0]


def packed(made: Circuit, scores: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the outputs that scores stand for, as `words` returns inputs.

    Source: docs/semantics/export.md
    """
    _, s, y = _widths(made)
    raw = (scores.astype(np.int64) - made.low) // made.step
    fields = [(raw[:, k], made.bits) for k in range(raw.shape[1])]
    if y:
        fields.append((scores.argmax(axis=1), y))
    bits = np.concatenate([field[:, None] >> np.arange(width) & 1 for field, width in fields], axis=1)
    return np.packbits(bits.astype(np.uint8), axis=1, bitorder="little"), s + y


def unpacked(made: Circuit, lines: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores ``[N, K]`` and the classes ``[N]`` of outputs in hexadecimal digits.

    Source: docs/semantics/export.md
    """
    _, s, _ = _widths(made)
    mask, outputs = (1 << made.bits) - 1, [int(line, 16) for line in lines]
    raw = [[one >> k * made.bits & mask for k in range(len(made.adders))] for one in outputs]
    return made.step * np.array(raw, np.int64) + made.low, np.array([one >> s for one in outputs], np.int64)


def hexadecimal(data: np.ndarray, bits: int) -> str:
    """Return bytes ``[N, bytes]``, lowest first, as a file of ``$readmemh`` with words of so wide a number.

    Source: docs/semantics/export.md
    """
    digits = -(-bits // 4)
    return "".join(row[::-1].tobytes().hex()[-digits:] + "\n" for row in data)


def _widths(made: Circuit) -> tuple[int, int, int]:
    """Return the widths of input, scores and answer."""
    x = max(len(made.features) * made.plan.input.bits, 1)
    return x, len(made.adders) * made.bits, made.answer


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
    bits, x = kind.bits, _widths(made)[0]
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
                yield f"  assign b[{start + i}] = {name} >= {_key(made, one, False)}{there};"
            continue
        same = " || ".join(f"{name} == {key}" for one in column.values for key in _keys(made, one)) or "1'b0"
        if column.kind == MISSING:
            same = gone
        elif column.kind != CATEGORY:
            same = f"!({same}){there}"
        yield f"  assign b[{start}] = {same};"
    yield "endmodule"


def _key(made: Circuit, value: float, upper: bool) -> str:
    """Return the word that the order of unsigned integers gives a value; of zeros the lower or the upper one."""
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
    """Yield the module that addresses and reads: a constant for each bit of the cells of a table and a class."""
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
    out = f"v[{place * width + width - 1}:{place * width}]"
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
    x, s, y = _widths(made)
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
