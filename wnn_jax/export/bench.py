"""The files around a circuit: its testbench, its inputs and its outputs as words.

Source: docs/semantics/export.md
"""

import os
import pathlib
from typing import Any

import numpy as np

from wnn_jax import files
from wnn_jax.export import circuit, plan
from wnn_jax.export import inputs as types
from wnn_jax.export.circuit import Circuit


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
    made = circuit.make(model, inputs)
    files.write(path, circuit.text(made).encode())
    if tests is not None:
        rows, name = plan.rows(made.plan, tests), path.stem
        expected = hexadecimal(*packed(made, plan.scores(model, tests)))
        files.write(path.with_name(f"{name}_tb.v"), bench(made, len(rows), name).encode())
        files.write(path.with_name(f"{name}_rows.hex"), hexadecimal(*words(made, rows)).encode())
        files.write(path.with_name(f"{name}_expected.hex"), expected.encode())


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
    x, s, y = circuit.widths(made)
    ports = f".x(x), .s(s){', .y(y)' * bool(y)}"
    found = "{y, s}" if y else "s"
    return f"""\
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
    return used.view(np.uint8).reshape(len(rows), -1), circuit.widths(made)[0]


def packed(made: Circuit, scores: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the outputs that scores stand for, as `words` returns inputs.

    Source: docs/semantics/export.md
    """
    _, s, y = circuit.widths(made)
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
    _, s, _ = circuit.widths(made)
    mask, outputs = (1 << made.bits) - 1, [int(line, 16) for line in lines]
    raw = [[one >> k * made.bits & mask for k in range(len(made.adders))] for one in outputs]
    return made.step * np.array(raw, np.int64) + made.low, np.array([one >> s for one in outputs], np.int64)


def hexadecimal(data: np.ndarray, bits: int) -> str:
    """Return bytes ``[N, bytes]``, lowest first, as a file of ``$readmemh`` with words of so wide a number.

    Source: docs/semantics/export.md
    """
    digits = -(-bits // 4)
    return "".join(row[::-1].tobytes().hex()[-digits:] + "\n" for row in data)
