"""Turns drawn tokens into text, and stops at given texts.

Source: docs/semantics/chain.md
"""

import codecs
from collections.abc import Iterable, Iterator, Sequence


def texts(tokens: Iterable[int], pieces: Sequence[bytes], stop: Sequence[str]) -> Iterator[str]:
    """Yields the text of tokens as soon as it is certain, and ends before the first text to stop at.

    Text is held back while more of it may follow: the bytes of a character that is not complete, and
    characters that may be the begin of a text to stop at. Characters come one after another: the first text
    that is complete stops the writing, and of several that end with the same character the longest one. So
    the result does not depend on the borders of tokens. A character that the last token leaves incomplete is
    left out.

    Args:
      tokens: ids; no more of them are taken after the end.
      pieces: the bytes of each of the V ids; bytes that are not UTF-8 are replaced.
      stop: texts to stop at, none of them empty.

    Source: docs/semantics/chain.md
    """
    decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
    held = ""
    for token in tokens:
        held += decode(pieces[token])
        if found := _first(held, stop):
            if held[: found[0]]:
                yield held[: found[0]]
            return
        certain = len(held) - _begun(held, stop)
        if certain:
            yield held[:certain]
            held = held[certain:]
    if held:
        yield held


def _first(text: str, stop: Sequence[str]) -> tuple[int, int] | None:
    """Returns the begin and the end of the text to stop at that is complete first; None if there is none."""
    found = [(at, at + len(one)) for one in stop if (at := text.find(one)) >= 0]
    return min(found, key=lambda span: (span[1], span[0]), default=None)


def _begun(text: str, stop: Sequence[str]) -> int:
    """Returns the length of the longest end of a text that begins a text to stop at."""
    lengths = range(min(len(text), max(map(len, stop), default=1) - 1), 0, -1)
    return next((n for n in lengths if any(one.startswith(text[-n:]) for one in stop)), 0)
