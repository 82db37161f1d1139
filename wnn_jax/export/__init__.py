"""Export of frozen models to C, Arduino and Verilog, and proof that they compute the same.

    export.c(model, "model.h", tests=X[:2])
    print(export.verify(model, X, path="model.h").equal)
    export.verilog(model, "model.v", tests=X[:100])
    print(export.size(model).kib, export.area(model).total)

A model has an encoder, a mapping and cells, as `classify` freezes them. `verify` compiles or simulates what
was written and compares every score with Python's; a text is never checked by looking at it. The programs it
needs (gcc, avr-gcc and simavr, Verilator, Icarus Verilog, Yosys) are not installed with the library: whoever
lacks one is told the Debian package.

Source: docs/semantics/export.md
"""

from wnn_jax.export.arduino import write as sketch
from wnn_jax.export.bench import write as verilog
from wnn_jax.export.checking import Report, verify
from wnn_jax.export.header import write as c
from wnn_jax.export.sizes import Size, size
from wnn_jax.export.synthesis import Area, area
from wnn_jax.export.tools import FailedProgramError, MissingProgramError

__all__ = [
    "Area",
    "FailedProgramError",
    "MissingProgramError",
    "Report",
    "Size",
    "area",
    "c",
    "size",
    "sketch",
    "verify",
    "verilog",
]
