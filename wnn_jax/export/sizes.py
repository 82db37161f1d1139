"""The size of an exported model: its tables, and all that is needed besides.

Source: docs/semantics/export.md
"""

import pathlib
import tempfile
from typing import Any, NamedTuple

from wnn_jax import files
from wnn_jax.export import header, layout, plan, tools
from wnn_jax.export import inputs as types

_CALLER = '#include "model.h"\nvoid predict(const wnn_input *x, wnn_score *s, int *y);\n'
_CALLER += "void predict(const wnn_input *x, wnn_score *s, int *y) { *y = (int)wnn_predict(x, s); }\n"


class Size(NamedTuple):
    """The bytes of the parts of a model, as its C header stores them.

    Attributes:
      table_bits: the bits of all cells.
      tables: the bytes of the tables.
      encoder: the bytes of thresholds and codes, and of the features that they belong to.
      pins: the bytes that say which column and level each pin reads.
      constants: the bytes of hashes and of what is added to the scores.
      text: the bytes of code and constants that gcc makes with ``-Os``; None unless it was asked for.

    Source: docs/semantics/export.md
    """

    table_bits: int
    tables: int
    encoder: int
    pins: int
    constants: int
    text: int | None = None

    @property
    def total(self) -> int:
        """The bytes of all parts, without code."""
        return self.tables + self.encoder + self.pins + self.constants

    @property
    def kib(self) -> dict[str, float]:
        """The parts and the total in KiB."""
        parts = {name: getattr(self, name) for name in ("tables", "encoder", "pins", "constants", "total")}
        return {name: bytes_ / 1024 for name, bytes_ in parts.items()}


def size(model: Any, inputs: types.Inputs = "auto", compiled: bool = False) -> Size:
    """Return the size of a model.

    Args:
      model: a frozen classifier or regressor.
      inputs: the type of an input value; see `inputs.chosen`.
      compiled: whether to compile the header and count the bytes of its code too.

    Raises:
      MissingProgramError: gcc or size is not installed, and `compiled` was asked for.
      ValueError: the model does not fit the type.

    Source: docs/semantics/export.md
    """
    made = plan.make(model, inputs)
    laid = layout.make(made)
    found = layout.sizes(made, laid)
    bits = laid.coding.width * sum(codes.size for codes in laid.coding.codes)
    text = _compiled(header.text(model, None, inputs)) if compiled else None
    return Size(bits, **found, text=text)


def _compiled(text: str) -> int:
    tools.need("gcc", "size")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        files.write(folder / "model.h", text.encode())
        files.write(folder / "model.c", _CALLER.encode())
        tools.run(folder, "gcc", "-std=c99", "-Os", "-c", "model.c")
        code, data, *_ = tools.run(folder, "size", "model.o").splitlines()[1].split()
        return int(code) + int(data)
