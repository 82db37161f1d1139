"""The functions of an exported C model: levels, addresses, and the sums of cells.

Cells of one bit are counted in planes: bit k of plane i is bit i of the count of class k, so that one chain
of carries counts all classes of a word.

Source: docs/semantics/export.md
"""

from wnn_jax.classify.encoders import CATEGORY, MISSING, THERMOMETER, UNKNOWN
from wnn_jax.export import layout
from wnn_jax.export.layout import Layout
from wnn_jax.export.plan import Plan


def literal(x: int) -> str:
    """Return an integer as C writes it, in any type that holds it.

    Source: docs/semantics/export.md
    """
    return "(-2147483647 - 1)" if x == -(1 << 31) else f"{x}u" if x >= 1 << 31 else str(x)


def reading(ctype: str, place: str) -> str:
    """Return the expression that reads a value of a type from a constant array.

    Args:
      ctype: ``uint8_t``, ``int16_t``, ``float`` and so on.
      place: the expression of its place.

    Source: docs/semantics/export.md
    """
    if ctype == "float":
        return f"WNN_RDF({place})"
    cast = "" if ctype.startswith("u") else f"({ctype})"
    return f"{cast}WNN_RD{ctype.strip('uint_')}({place})"


def levels(plan: Plan, laid: Layout) -> str:
    """Return the function that makes the levels of a row; nothing where pins read the input itself.

    Source: docs/semantics/export.md
    """
    columns, kind = laid.columns, plan.input
    if not columns:
        return ""
    place = f"{layout.places(columns).dtype}_t"
    gone = f"v == {literal(kind.least)}" if kind.least else "0" if kind.whole else "v != v"
    value = f"        const wnn_input v = x[{reading(place, 'feature')}];"
    lines = [
        "static inline void wnn_levels(const wnn_input *x, uint8_t *levels)\n{",
        f"    const {place} *feature = wnn_feature;",
        "    uint16_t j;",
    ]
    for one, name in ((THERMOMETER, "threshold"), (CATEGORY, "code"), (MISSING, ""), (UNKNOWN, "known")):
        mine = [column for column in columns if column.kind == one]
        if not mine:
            continue
        size = f"{layout.unsigned(max(len(column.values) for column in mine))}_t"
        some = [
            f"        const {size} some = {reading(size, f'wnn_{name}s + j')};",
            f"        {size} i;",
        ]
        if name:
            lines.append(f"    const {kind.ctype} *{name} = wnn_{name};")
        lines += [f"    for (j = 0; j < {len(mine)}; j++, feature++) {{", value]
        entry = reading(kind.ctype, f"{name} + i")
        if one == THERMOMETER:
            lines += [
                *some,
                f"        for (i = 0; i < some && v >= {entry}; i++) {{}}",
                "        *levels++ = (uint8_t)i;",
                f"        {name} += some;",
            ]
        elif one == CATEGORY:
            lines.append(f"        *levels++ = v == {reading(kind.ctype, f'{name} + j')};")
        elif one == MISSING:
            lines.append(f"        *levels++ = {gone};")
        else:
            lines += [
                *some,
                f"        *levels = !({gone});",
                f"        for (i = 0; i < some; i++)\n            if (v == {entry})",
                "                *levels = 0;",
                f"        levels++;\n        {name} += some;",
            ]
        lines.append("    }")
    return "\n".join([*lines, "}\n"])


def neurons(plan: Plan, laid: Layout, avr: bool) -> str:
    """Return the types of sums and addresses, and the function that reads all tables of a group.

    Args:
      plan: the plan.
      laid: its layout.
      avr: whether the code is for a processor of 8 bits.

    Source: docs/semantics/export.md
    """
    if not plan.groups:
        return ""
    entries = max(group.cells.shape[1] for group in plan.groups)
    address = layout.unsigned(entries - 1) if avr else "uint32"
    lines = [f"typedef {address}_t wnn_address;", f"typedef uint{16 if avr else 32}_t wnn_index;"]
    if laid.coding.width == 1:
        lines.append(_planes(plan, laid, avr))
    else:
        lines.append("typedef wnn_score wnn_sums;")
    hashes = 1 if plan.dense else len(plan.hashes)
    cells = f"const {laid.cells.dtype}_t *cells"
    lines.append(
        f"static inline void wnn_add(wnn_sums *sums, {cells}, wnn_index entries, const wnn_address *a)\n"
        "{\n" + "\n".join(_add(plan, laid, avr, hashes)) + "\n}\n"
    )
    if laid.coding.width > 1 and hashes > 1:
        lines.insert(-1, _cell(plan, laid))
    lines += _walk(plan, laid, avr, cells, hashes)
    return "\n".join(lines)


def pin(laid: Layout) -> str:
    """Return the macro that reads a pin on an AVR, in 20 cycles; a compiler needs 37.

    The place of the byte goes to X, the level to the scratch register, and the borrow of their comparison
    into the address.

    Source: docs/semantics/export.md
    """
    high = "lpm r27, Z+" if laid.column.itemsize == 2 else "mov r27, __zero_reg__"
    steps = ["movw r30, %1", "lpm r26, Z+", high, "movw %1, r30", "add r26, %A3", "adc r27, %B3"]
    steps += ["movw r30, %2", "lpm __tmp_reg__, Z+", "movw %2, r30"]
    steps += ["ld r30, X", "cp __tmp_reg__, r30", "rol %0"]
    lines = ["#define WNN_PIN(a, x, column, level)", "    __asm__ volatile("]
    lines += [f'        "{step}\\n\\t"' for step in steps]
    lines += ['        : "+r"(a), "+r"(column), "+r"(level)', '        : "r"(x)']
    lines += ['        : "r26", "r27", "r30", "r31", "memory")']
    return " \\\n".join(lines) + "\n"


def _walk(plan: Plan, laid: Layout, avr: bool, cells: str, hashes: int) -> list[str]:
    """Return the lines of the function that walks over tables."""
    lines = []
    place = f"{laid.column.dtype}_t"
    bit = f"x[{reading(place, 'column')}] > WNN_RD8(level)"
    step, loop = f"a[0] = (wnn_address)((a[0] << 1) | ({bit}))", "        for (t = pins; t; t--"
    if plan.dense and avr:
        once = step.replace("a[0]", "(a)") + ", (column)++, (level)++"
        lines = [f"#ifndef WNN_PIN\n#define WNN_PIN(a, x, column, level) {once}\n#endif"]
        walk = [f"{loop})", "            WNN_PIN(a[0], x, column, level);"]
    elif plan.dense:
        walk = [f"{loop}, column++, level++)", f"            {step};"]
    else:
        word = reading(f"{laid.hashes.dtype}_t", f"wnn_hash + t * {hashes} + h")
        walk = [
            "        uint8_t h;\n        for (t = 0; t < pins; t++, column++, level++)",
            f"            if ({bit})",
            f"                for (h = 0; h < {hashes}; h++)",
            f"                    a[h] ^= {word};",
        ]
    return [
        *lines,
        f"static inline void wnn_read(const uint8_t *x, wnn_sums *sums, const {place} *column,",
        f"                            const uint8_t *level, {cells}, wnn_index tables,",
        "                            uint8_t pins, wnn_index entries, wnn_index stride)\n{",
        "    for (; tables; tables--, cells += stride) {",
        f"        wnn_address a[{hashes}] = {{{', '.join('0' * hashes)}}};",
        "        uint8_t t;",
        *walk,
        "        wnn_add(sums, cells, entries, a);",
        "    }\n}\n",
    ]


def scores(plan: Plan, laid: Layout, avr: bool) -> str:
    """Return the function that computes the scores of a row.

    Args:
      plan: the plan.
      laid: its layout.
      avr: whether the code is for a processor of 8 bits.

    Source: docs/semantics/export.md
    """
    coding, bits = laid.coding, layout.score_bits(plan, laid.coding)
    base = coding.base.tolist()
    offset = literal(base[0]) if len(set(base)) == 1 else reading(f"int{bits}_t", "wnn_base + k")
    lines = ["static inline void wnn_scores(const wnn_input *x, wnn_score *scores)\n{", "    uint16_t k;"]
    if not plan.groups:
        lines.append("    (void)x;")
        total = "0"
    else:
        planes = coding.width == 1
        lines.append("    wnn_sums sums[WNN_WORDS];" if planes else "    wnn_sums sums[WNN_SCORES];")
        if planes:
            lines.append("    uint16_t w, j;")
        source = "x"
        if not laid.raw:
            lines.append(f"    uint8_t levels[{len(laid.columns)}];\n    wnn_levels(x, levels);")
            source = "levels"
        if planes:
            lines += [
                "    for (w = 0; w < WNN_WORDS; w++)\n        for (j = 0; j < WNN_PLANES; j++)",
                "            sums[w].plane[j] = 0;",
            ]
        else:
            lines.append("    for (k = 0; k < WNN_SCORES; k++)\n        sums[k] = 0;")
        lines += _walks(laid, source)
        total = "sums[k]"
        if planes:
            return "\n".join([*lines, *_counts(coding.step, offset), "}\n"])
    return "\n".join(
        [
            *lines,
            "    for (k = 0; k < WNN_SCORES; k++)",
            f"        scores[k] = (wnn_score)({coding.step} * {total} + {offset});",
            "}\n",
        ]
    )


def _walks(laid: Layout, source: str) -> list[str]:
    """Return the lines that walk over all tables."""
    lines = []
    for one in laid.passes:
        row = source
        if one.reads > 1:
            lines.append(f"    for (k = 0; k < {one.reads}; k++)")
            row = f"{source} + {reading(f'{laid.shifts.dtype}_t', f'wnn_shift + {one.shift} + k')}"
        lines += [
            f"    wnn_read({row}, sums, wnn_column + {one.pin}, wnn_level + {one.pin},",
            f"             wnn_cells + {one.cell}, {one.tables}, {one.pins}, {one.entries}, {one.stride});",
        ]
    return lines


def _counts(step: int, offset: str) -> list[str]:
    """Return the lines that turn planes into scores."""
    return [
        "    for (k = 0, w = 0; w < WNN_WORDS; w++) {",
        "        uint16_t b;",
        "        for (b = 0; b < 8 * sizeof(wnn_word) && k < WNN_SCORES; b++, k++) {",
        "            wnn_score ones = 0;",
        "            for (j = WNN_PLANES; j; j--) {",
        "                ones = (wnn_score)(2 * ones + (wnn_score)(sums[w].plane[j - 1] & 1));",
        "                sums[w].plane[j - 1] = (wnn_word)(sums[w].plane[j - 1] >> 1);",
        "            }",
        f"            scores[k] = (wnn_score)({step} * ones + {offset});",
        "        }\n    }",
    ]


def _planes(plan: Plan, laid: Layout, avr: bool) -> str:
    """Return the types of the planes, and the functions that read the bits of a word of classes."""
    bits = 8 if avr else 32
    classes = len(plan.bias)
    neurons = sum(group.column.shape[0] * group.column.shape[1] for group in plan.groups)
    words = -(-classes // bits)
    lines = [
        f"typedef uint{bits}_t wnn_word;",
        f"#define WNN_WORDS {words}\n#define WNN_PLANES {neurons.bit_length()}",
        "typedef struct {\n    wnn_word plane[WNN_PLANES];\n} wnn_sums;\n",
    ]
    for word in range(words):
        lines += [
            f"static inline wnn_word wnn_word{word}(const uint8_t *cells, wnn_index entries,",
            "                                 wnn_address a)\n{",
            *_word(laid, classes, word, bits, avr),
            "}\n",
        ]
    return "\n".join(lines)


def _word(laid: Layout, classes: int, word: int, bits: int, avr: bool) -> list[str]:
    """Return the lines that read the bits of the classes of one word at an entry."""
    terms, lines, before = [], [], []  # `before`: the bytes of a table that lie before a part
    for part in layout.parts(classes):
        where = " + ".join(["cells", *before])
        before.append("entries" if part.width == 8 else f"(entries * {part.width} + 7) / 8")
        if part.first // bits != word:
            continue
        left = part.first % bits
        if part.width == 8:
            found = f"WNN_RD8({where} + a)"
        else:
            each = 8 // part.width
            down = each.bit_length() - 1
            name = f"b{part.width}"
            lines.append(f"    uint8_t {name} = WNN_RD8({where} + (a >> {down}));")
            if avr:  # it shifts by one bit at a time, and quickest by a constant
                for i in range(down):
                    lines.append(
                        f"    if (a & {1 << i})\n        {name} = (uint8_t)({name} >> {part.width << i});"
                    )
            else:
                lines.append(f"    {name} = (uint8_t)({name} >> ((a & {each - 1}) * {part.width}));")
            found = f"({name} & {(1 << part.width) - 1})"
        terms.append(f"(wnn_word)((wnn_word){found} << {left})" if left else f"(wnn_word){found}")
    lines.append(f"    return (wnn_word)({' | '.join(terms)});")
    if "entries" not in "".join(lines):
        lines.insert(0, "    (void)entries;")
    return lines


def _add(plan: Plan, laid: Layout, avr: bool, hashes: int) -> list[str]:
    """Return the lines that add the cells at an entry to the sums of all classes."""
    classes, width = len(plan.bias), laid.coding.width
    if width == 1:
        lines = ["    wnn_word m, carry;" + (" wnn_word *p;" if avr else "\n    uint8_t j;")]
        for word in range(-(-classes // (8 if avr else 32))):
            lines.append(f"    m = wnn_word{word}(cells, entries, a[0]);")
            lines += [f"    m &= wnn_word{word}(cells, entries, a[{h}]);" for h in range(1, hashes)]
            if avr:
                lines += [
                    f"    for (p = sums[{word}].plane; m; p++, m = carry) {{",
                    "        carry = *p & m;\n        *p ^= m;\n    }",
                ]
            else:
                lines += [
                    "    for (j = 0; j < WNN_PLANES; j++, m = carry) {",
                    f"        carry = sums[{word}].plane[j] & m;",
                    f"        sums[{word}].plane[j] ^= m;\n    }}",
                ]
        return lines
    if hashes > 1:
        return [
            "    uint16_t k;\n    uint8_t h;\n    for (k = 0; k < WNN_SCORES; k++) {",
            "        wnn_score least = wnn_cell(cells, entries, a[0], k);",
            f"        for (h = 1; h < {hashes}; h++) {{",
            "            const wnn_score one = wnn_cell(cells, entries, a[h], k);",
            "            if (one < least)\n                least = one;\n        }",
            "        sums[k] = (wnn_score)(sums[k] + least);\n    }",
        ]
    if width == 4:
        return _add_halves(classes)
    cell = reading(f"{laid.cells.dtype}_t", "p + k")
    return [
        f"    const {laid.cells.dtype}_t *p = cells + (wnn_index)a[0] * WNN_SCORES;\n    uint16_t k;",
        "    (void)entries;",
        f"    for (k = 0; k < WNN_SCORES; k++)\n        sums[k] = (wnn_score)(sums[k] + {cell});",
    ]


def _add_halves(classes: int) -> list[str]:
    """Return the lines that add cells of 4 bits, two a byte."""
    lines = ["    (void)entries;"] * (classes % 2 == 0)
    if pairs := classes // 2:
        lines += [
            f"    const uint8_t *p = cells + (wnn_index)a[0] * {pairs};",
            "    wnn_sums *s = sums;\n    uint16_t j;",
            f"    for (j = 0; j < {pairs}; j++, p++, s += 2) {{",
            "        const uint8_t two = WNN_RD8(p);",
            "        s[0] = (wnn_score)(s[0] + (two & 15));",
            "        s[1] = (wnn_score)(s[1] + (two >> 4));\n    }",
        ]
    if classes % 2:
        lines += [
            f"    const uint8_t last = WNN_RD8(cells + entries * {pairs} + (a[0] >> 1));",
            "    const uint8_t one = a[0] & 1 ? last >> 4 : last & 15;",
            f"    sums[{classes - 1}] = (wnn_score)(sums[{classes - 1}] + one);",
        ]
    return lines


def _cell(plan: Plan, laid: Layout) -> str:
    """Return the function that reads the cell of one class, for the smallest of several."""
    ctype, classes = f"{laid.cells.dtype}_t", len(plan.bias)
    head = f"static inline wnn_score wnn_cell(const {ctype} *cells, wnn_index entries,\n"
    head += "                                 wnn_address a, uint16_t k)\n{"
    if laid.coding.width != 4:
        cell = reading(ctype, "cells + (wnn_index)a * WNN_SCORES + k")
        return f"{head}\n    (void)entries;\n    return (wnn_score){cell};\n}}\n"
    pairs = classes // 2
    lines = [head]
    if classes % 2:
        last = f"WNN_RD8(cells + entries * {pairs} + (a >> 1))"
        lines.append(
            f"    if (k == {classes - 1})\n        return (wnn_score)(({last} >> (a & 1) * 4) & 15);"
        )
    else:
        lines.append("    (void)entries;")
    if pairs:
        two = f"WNN_RD8(cells + (wnn_index)a * {pairs} + (k >> 1))"
        lines.append(f"    return (wnn_score)(({two} >> (k & 1) * 4) & 15);")
    else:
        lines.append("    return 0;")
    return "\n".join([*lines, "}\n"])
