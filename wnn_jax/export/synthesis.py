"""The area of an exported circuit: the lookup tables of an FPGA that Yosys needs for each of its parts.

Source: docs/semantics/export.md
"""

import json
import pathlib
import tempfile
from typing import Any, NamedTuple

from wnn_jax import files
from wnn_jax.export import circuit, tools
from wnn_jax.export import inputs as types

_SECONDS = 3_600


class Area(NamedTuple):
    """Lookup tables of six inputs, by part.

    Attributes:
      encoder: the comparators.
      tables: addresses and cells.
      adders: the sums of all classes.
      argmax: the choice of the class.
      glue: what lies between the parts.

    Source: docs/semantics/export.md
    """

    encoder: int
    tables: int
    adders: int
    argmax: int
    glue: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)


def area(model: Any, inputs: types.Inputs = "auto") -> Area:
    """Synthesise a model module by module, never flattened, and count lookup tables.

    Yosys takes some 10 seconds for 48 neurons and 10 classes, and more than in proportion for more.

    Args:
      model: a frozen classifier or regressor.
      inputs: the type of an input value; see `inputs.chosen`.

    Raises:
      MissingProgramError: yosys is not installed.
      FailedProgramError: it took longer than an hour, or failed.
      ValueError: the model does not fit the type.

    Source: docs/semantics/export.md
    """
    tools.need("yosys")
    text = circuit.text(circuit.make(model, inputs))
    script = "read_verilog model.v; synth -top wnn; abc -lut 6; opt_clean; tee -q -o stat.json stat -json"
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        files.write(folder / "model.v", text.encode())
        tools.run(folder, "yosys", "-q", "-p", script, seconds=_SECONDS)
        modules = json.loads(files.read(folder / "stat.json", 1 << 24))["modules"]
    kinds = {name.strip("\\"): one["num_cells_by_type"] for name, one in modules.items()}
    used = kinds["wnn"]
    parts = {name: kinds[name].get("$lut", 0) * count for name, count in used.items() if name in kinds}
    adders = sum(luts for name, luts in parts.items() if name.startswith("wnn_adder_"))
    encoder, tables, argmax = (parts.get(f"wnn_{part}", 0) for part in ("encoder", "tables", "argmax"))
    return Area(encoder, tables, adders, argmax, used.get("$lut", 0))
