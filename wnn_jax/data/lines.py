r"""Lines of a text: where they end, where a text is split, and which lines two texts share.

One definition holds everywhere: a line ends where ``str.splitlines`` ends it, at ``\n``, ``\r\n`` or a lone
``\r``, at ``\v`` and ``\f``, and at the separators of Unicode (``\x1c`` to ``\x1e``, ``\x85``, U+2028 and
U+2029).

Source: docs/architecture.md.
"""

import re

# Atomic groups, so that the two characters of \r\n are never taken for two ends.
BLANK = re.compile(r"(?>\r\n?|\n)\s*(?>\r\n?|\n)")
"""One or more blank lines, with the ends of the lines around them; documents stand between them."""


def cut(text: str, *fractions: float) -> list[str]:
    r"""Cut a text into parts, at the first end of a line after each fraction of its characters.

    If the ends that are ``\n`` leave a part empty, all ends of lines count, and if those do too, as in a text
    of one line, the text is cut between two characters.

    Args:
      text: the text.
      *fractions: ascending, each between 0 and 1.

    Returns:
      One part more than there are fractions. A part is empty only if the text has too few characters.

    Source: docs/architecture.md.
    """
    wanted = [int(len(text) * fraction) for fraction in fractions]
    parts = _parts(text, [text.find("\n", place) + 1 or len(text) for place in wanted])
    if not all(parts):
        parts = _parts(text, [place + _rest_of_line(text[place:]) for place in wanted])
    return parts if all(parts) else _parts(text, wanted)


def _parts(text: str, places: list[int]) -> list[str]:
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


def _rest_of_line(text: str) -> int:
    """Return the length of the first line of a text, with its end."""
    size = 1024
    # Only the beginning is searched as long as it holds an end: the text may have gigabytes.
    while len(lines := text[:size].splitlines(keepends=True)) < 2 and size < len(text):
        size *= 2
    return len(lines[0]) if lines else 0


def without(train: str, held_out: tuple[str, ...], least: int) -> str:
    """Remove from a text the long lines that other texts have too, whatever ends them.

    Args:
      train: the text to remove from.
      held_out: the other texts.
      least: lines of fewer bytes are not removed.

    Source: docs/architecture.md.
    """
    scored = {line for text in held_out for line in _contents(text) if len(line.encode()) >= least}
    kept = zip(_contents(train), train.splitlines(keepends=True), strict=True)
    return "".join(whole for line, whole in kept if line not in scored)


def _contents(text: str) -> list[str]:
    """Return the lines of a text without their ends, and without a byte order mark at the start."""
    found = text.splitlines()
    if found:
        found[0] = found[0].removeprefix("\ufeff")
    return found
