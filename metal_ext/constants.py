"""Writes src/constants.h: the constants that the native kernels share with wnn_jax, which defines them.

Run ``python metal_ext/constants.py`` after a change of a constant. A test compares the file with wnn_jax.

Source: docs/architecture.md
"""

import pathlib

from wnn_jax import ram
from wnn_jax.chain import constants
from wnn_jax.ram import backend

PATH = pathlib.Path(__file__).parent / "src" / "constants.h"

_HEAD = """\
// Made by metal_ext/constants.py from wnn_jax: change it there.

#pragma once

#include <cstdint>
"""
_DOUBLES = ("SMOOTH",)  # constants that are doubles, because the kernels take logarithms in doubles
_ENUMS = (
    constants.Lexicon,
    constants.Flag,
    constants.Register,
    constants.Mode,
    constants.WeightSet,
    constants.StaticSet,
)


def header() -> str:
    """Make the text of the header.

    Returns:
      The text of src/constants.h.

    Source: docs/architecture.md
    """
    lines = [_HEAD, "namespace wnn {", ""]
    lines += [f"constexpr int64_t kMaxBits = {ram.MAX_ADDRESS_BITS};"]
    lines += [f"constexpr int64_t kMaxWords = {backend.MAX_WORDS};", "", "namespace chain {", ""]
    named = {name: value for name, value in vars(constants).items() if name.isupper()}
    for name, value in named.items():
        if isinstance(value, int):
            lines.append(f"constexpr int {_name(name)} = {value};")
        elif isinstance(value, float):
            kind, suffix = ("double", "") if name in _DOUBLES else ("float", "f")
            lines.append(f"constexpr {kind} {_name(name)} = {value!r}{suffix};")
        elif isinstance(value[0], int):
            lines.append(f"constexpr int {_name(name)}[] = {{{', '.join(map(str, value))}}};")
    for kind in _ENUMS:
        lines += _enum(kind.__name__, {x.name: x.value for x in kind})
    lines += _enum("Field", {name: i for i, name in enumerate(constants.FIELDS)})
    lines += ["", "}  // namespace chain", "}  // namespace wnn", ""]
    return "\n".join(lines)


def _enum(title: str, members: dict[str, int]) -> list[str]:
    named = [f"  k{title}{_camel(name)} = {value}," for name, value in members.items()]
    return ["", f"enum {title} {{", *named, f"  k{title}Rows = {max(members.values()) + 1},", "};"]


def _name(constant: str) -> str:
    return f"k{_camel(constant)}"


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


if __name__ == "__main__":
    PATH.write_text(header())
