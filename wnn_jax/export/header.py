"""A frozen model as one C header: C99 and C++, without a library, without memory of its own.

Source: docs/semantics/export.md
"""

import json
import os
from typing import Any, Literal

import numpy as np

from wnn_jax import files
from wnn_jax.classify.encoders import CATEGORY, THERMOMETER, UNKNOWN
from wnn_jax.export import inputs as types
from wnn_jax.export import kernels, layout, plan
from wnn_jax.export.layout import Layout
from wnn_jax.export.plan import Plan

Rom = Literal["plain", "avr"]
_ROMS = ("plain", "avr")
_MOST_AVR = 32_767  # bytes of an array for the AVR, whose pointers and sizes have 16 bits
_WIDTH = 100


def write(
    model: Any,
    path: str | os.PathLike,
    tests: Any = None,
    inputs: types.Inputs = "auto",
    rom: Rom = "plain",
) -> None:
    """Write a model as a C header.

    Args:
      model: a frozen classifier or regressor.
      path: the place of the header.
      tests: a few rows ``[n, F]`` for the self-test; their scores are computed here and stored with them.
      inputs: the type of an input value; see `inputs.chosen`.
      rom: ``plain``, or ``avr`` for tables in the flash memory of an AVR.

    Raises:
      ValueError: the model or the rows do not fit the type, the tables are too large for an AVR, or the file
        cannot be written.

    Source: docs/semantics/export.md
    """
    files.write(path, text(model, tests, inputs, rom).encode())


def text(model: Any, tests: Any = None, inputs: types.Inputs = "auto", rom: Rom = "plain") -> str:
    """Return the header that `write` writes.

    Args:
      model: a frozen classifier or regressor.
      tests: rows for the self-test.
      inputs: the type of an input value.
      rom: ``plain`` or ``avr``.

    Raises:
      ValueError: as `write` does.

    Source: docs/semantics/export.md
    """
    if rom not in _ROMS:
        raise ValueError(f"unknown rom {str(rom)!r:.60}: choose one of {', '.join(_ROMS)}")
    made = plan.make(model, inputs)
    laid = layout.make(made)
    size = sum(layout.sizes(made, laid).values())
    if rom == "avr" and size > _MOST_AVR:
        raise ValueError(
            f"the model takes {size:,} bytes, and rom='avr' addresses {_MOST_AVR:,}: fit fewer or smaller "
            "tables"
        )
    pieces = [
        _about(made, laid),
        "#ifndef WNN_MODEL_H\n#define WNN_MODEL_H\n\n#include <stdint.h>\n",
        _memory(made, laid, rom),
        _constants(made, laid),
        _arrays(made, laid),
        kernels.levels(made, laid),
        kernels.neurons(made, laid, rom == "avr"),
        kernels.scores(made, laid, rom == "avr"),
        _labels(made),
        _tests(model, made, laid, tests),
        "#endif\n",
    ]
    return "\n".join(piece for piece in pieces if piece)


def array(name: str, ctype: str, values: np.ndarray, shape: str = "") -> str:
    """Return the definition of a constant array.

    Args:
      name: its name.
      ctype: the C type of an entry.
      values: the entries, integers or ``float32``.
      shape: the lengths of its axes as C writes them; one axis if empty.

    Source: docs/semantics/export.md
    """
    words, lines, line = [kernels.literal(x) for x in np.ravel(values).tolist()], [], ""
    if values.dtype == np.float32:
        words = [_float(x) for x in np.ravel(values)]
    for word in words:
        if len(line) + len(word) + 2 > _WIDTH:
            lines.append(line)
            line = ""
        line += f"{word},"
    body = "\n".join([*lines, line.rstrip(",")])
    return f"static const {ctype} {name}{shape or f'[{values.size}]'} WNN_ROM = {{\n{body}}};"


def _float(x: np.float32) -> str:
    # Nine digits name a float32; the exponent makes it a floating constant in every case.
    return "(0.0f / 0.0f)" if np.isnan(x) else f"{x:.8e}f"


def _about(made: Plan, laid: Layout) -> str:
    neurons = sum(group.column.shape[0] * group.column.shape[1] for group in made.groups)
    tables = sum(len(group.cells) for group in made.groups)
    widths = sorted({group.column.shape[2] for group in made.groups})
    missing = any(one.missing for one in made.columns)
    rule = (
        "a missing value is NaN"
        if missing and not made.input.whole
        else "a missing value is WNN_MISSING"
        if missing
        else "no value may be missing"
    )
    lines = [
        f"A table model: {made.about}",
        f"{neurons} neurons with {', '.join(map(str, widths)) or 'no'} pins read {tables} tables; "
        f"{laid.coding.width}-bit cells; {len(made.bias)} scores.",
        f"Input: {made.features} values of type {made.input.name}; {rule}.",
    ]
    if made.input.whole:
        lines.append("Round other values down, and clamp them to the ends of the type; categories are codes.")
    if made.labels:
        lines.append("The predicted class has the largest score; of several the one with the lowest index.")
    else:
        lines.append("The prediction is WNN_OFFSET + WNN_SCALE * score.")
    return "/* " + "\n * ".join(lines) + "\n */"


def _memory(made: Plan, laid: Layout, rom: str) -> str:
    if rom == "avr":
        lines = [
            "#include <avr/pgmspace.h>",
            "#define WNN_ROM PROGMEM",
            "#define WNN_RD8(p) pgm_read_byte(p)",
            "#define WNN_RD16(p) pgm_read_word(p)",
            "#define WNN_RD32(p) pgm_read_dword(p)",
            "#define WNN_RDF(p) pgm_read_float(p)",
        ]
        bits = max((one.pins for one in laid.passes), default=0)
        if made.dense and bits <= 8 and laid.column.itemsize <= 2:
            lines.append(kernels.pin(laid))
    else:
        lines = ["#define WNN_ROM", *(f"#define WNN_RD{one}(p) (*(p))" for one in ("8", "16", "32", "F"))]
    return (
        "/* Define these before for another memory. */\n#ifndef WNN_ROM\n" + "\n".join(lines) + "\n#endif\n"
    )


def _constants(made: Plan, laid: Layout) -> str:
    bits = layout.score_bits(made, laid.coding)
    lines = [
        f"#define WNN_ABOUT {json.dumps(made.about)}",
        f"#define WNN_FEATURES {made.features}",
        f"#define WNN_SCORES {len(made.bias)}",
        f"#define WNN_INPUT_{made.input.name.upper()} 1",
        f"typedef {made.input.ctype} wnn_input;",
        f"typedef int{bits}_t wnn_score;",
    ]
    if made.input.least and any(one.missing for one in made.columns):
        lines.insert(4, f"#define WNN_MISSING {kernels.literal(made.input.least)}")
    if not made.labels:
        lines += [f"#define WNN_SCALE {made.scale:.8e}f", f"#define WNN_OFFSET {made.offset:.8e}f"]
    return "\n".join(lines) + "\n"


def _arrays(made: Plan, laid: Layout) -> str:
    found = []
    for name, values in (("column", laid.column), ("level", laid.level), ("shift", laid.shifts)):
        found += [array(f"wnn_{name}", f"{values.dtype}_t", values)] * bool(values.size)
    if laid.hashes.size:
        found.append(array("wnn_hash", f"{laid.hashes.dtype}_t", laid.hashes))
    if laid.cells.size:
        found.append(array("wnn_cells", f"{laid.cells.dtype}_t", laid.cells))
    base = laid.coding.base
    if len(set(base.tolist())) > 1:
        found.append(array("wnn_base", "wnn_score", base))
    return "\n".join([*found, *_encoder(made, laid)]) + "\n"


def _encoder(made: Plan, laid: Layout) -> list[str]:
    columns, dtype, ctype = laid.columns, made.input.dtype, made.input.ctype
    if not columns:
        return []
    features = layout.places(columns)
    found = [array("wnn_feature", f"{features.dtype}_t", features)]
    for kind, name in ((THERMOMETER, "threshold"), (CATEGORY, "code"), (UNKNOWN, "known")):
        values = layout.values(columns, kind, dtype)
        if values.size:
            found.append(array(f"wnn_{name}", ctype, values))
        lengths = np.array([len(one.values) for one in columns if one.kind == kind], np.int64)
        if lengths.size and kind != CATEGORY:
            found.append(array(f"wnn_{name}s", f"{layout.unsigned(int(lengths.max()))}_t", lengths))
    return found


def _labels(made: Plan) -> str:
    if not made.labels:
        return (
            "static inline float wnn_predict(const wnn_input *x, wnn_score *scores)\n{\n"
            "    wnn_scores(x, scores);\n    return WNN_OFFSET + WNN_SCALE * (float)scores[0];\n}\n"
        )
    words = [_string(one) for one in made.labels]
    width = max(len(one.encode()) for one in made.labels) + 1
    return (
        "/* The names of the classes, in UTF-8; wnn_predict returns an index into them. */\n"
        f"#define WNN_LABEL_BYTES {width}\n"
        f"static const char wnn_labels[{len(words)}][{width}] WNN_ROM = {{\n" + ",\n".join(words) + "};\n\n"
        "static inline int wnn_predict(const wnn_input *x, wnn_score *scores)\n{\n    int k, best = 0;\n"
        "    wnn_scores(x, scores);\n    for (k = 1; k < WNN_SCORES; k++)\n"
        "        if (scores[k] > scores[best])\n            best = k;\n    return best;\n}\n"
    )


def _string(label: str) -> str:
    safe = set(range(32, 127)) - set(b'"\\?')
    return '"' + "".join(chr(x) if x in safe else f"\\{x:03o}" for x in label.encode()) + '"'


def _tests(model: Any, made: Plan, laid: Layout, tests: Any) -> str:
    if tests is None:
        return ""
    rows = plan.rows(made, tests)
    if not len(rows):
        raise ValueError("tests has no row: give at least one, or None")
    expected = plan.scores(model, tests)
    bits = layout.score_bits(made, laid.coding)
    value = kernels.reading(made.input.ctype, "wnn_test_rows + i * WNN_FEATURES + k")
    return "\n".join(
        [
            array("wnn_test_rows", "wnn_input", rows, f"[{len(rows)} * WNN_FEATURES]"),
            array("wnn_test_scores", "wnn_score", expected, f"[{len(rows)} * WNN_SCORES]"),
            "/* Whether the rows above have the scores that the model gave where it was written.",
            " * x and scores are memory that the caller lends, for one row and its scores. */",
            "static inline int wnn_selftest(wnn_input *x, wnn_score *scores)\n{\n    uint16_t i, k;",
            f"    for (i = 0; i < {len(rows)}; i++) {{",
            "        for (k = 0; k < WNN_FEATURES; k++)",
            f"            x[k] = {value};",
            "        wnn_scores(x, scores);",
            "        for (k = 0; k < WNN_SCORES; k++)",
            f"            if (scores[k] != (wnn_score)WNN_RD{bits}(wnn_test_scores + i * WNN_SCORES + k))",
            "                return 0;",
            "    }\n    return 1;\n}\n",
        ]
    )
