"""Facts about the tokens of a vocabulary, from which `fields` follows a text. All rules about text are here.

A piece is decoded as UTF-8; each byte that is no part of a character counts as one letter. The rules use
general properties of characters, so that they hold in any script.

Source: docs/semantics/chain.md
"""

import unicodedata

import numpy as np

from wnn_jax.chain.constants import CODE_BITS, LINE_BYTES, SPELLED, STACK, Flag, Lexicon

CONTENT_RANK = 150  # tokens that are more frequent carry no content
_BLANKS = b" \t\r\v\f"
_UNKNOWN = "\ufffd"  # stands for bytes that are no part of a character
_BRACKETS = {"(": 1, "[": 2, "{": 3, "\uff08": 1, "\uff3b": 2, "\uff5b": 3}
_CLOSING = frozenset(")]}\uff09\uff3d\uff5d")
# Marks that open a quote and marks that close one; U+0022 does both.
_QUOTING = {
    **dict.fromkeys("\u201c\u201e\u00ab\u300c\u300e", 1),
    **dict.fromkeys("\u201d\u00bb\u300d\u300f", 0),
}
# The ends of sentences: Latin and its kin, full-width and ideographic, Devanagari and its kin, Arabic, Urdu,
# Armenian, Ethiopic, Myanmar, Khmer, Tibetan, Mongolian.
_ENDS = frozenset(
    ".!?\u2026\u203c\u203d\u2047\u2048\u2049\u3002\uff0e\uff61\uff01\uff1f\u0964\u0965\u061f\u06d4\u0589\u055e"
    "\u1362\u1367\u1368\u104a\u104b\u17d4\u17d5\u0f0d\u0f0e\u1803\u1809"
)
_CLOSES = ("Pe", "Pf")  # categories of closing brackets and quotes, which may follow the end of a sentence


def lexicon(pieces: list[bytes], codes: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Returns the lexicon ``uint32 [V, 23]``, see `constants.Lexicon`.

    Letters and digits of ASCII and all bytes above it belong to words; any other byte is a border between
    words. Letters of ASCII are lowered.

    Args:
      pieces: the bytes of each of the V ids.
      codes: ``int32 [V]``, the codes of the token tree.
      rank: ``int32 [V]``, the number of tokens that are more frequent than each one.

    Source: docs/semantics/chain.md
    """
    table = np.zeros((len(pieces), len(Lexicon)), np.uint32)
    for row, piece, place in zip(table, pieces, rank, strict=True):
        facts = {**_word(piece), **_lines(piece), **_brackets(piece)}
        facts[Lexicon.SHAPE], facts[Lexicon.SUFFIX] = shape(piece), suffix(piece)
        facts[Lexicon.FLAGS], facts[Lexicon.QUOTES] = _flags(piece, int(place)), quotes(piece)
        row[list(facts)] = list(facts.values())
    table[:, Lexicon.FOLDED] = folded(pieces)
    table[:, Lexicon.CODE] = np.asarray(codes) & (1 << CODE_BITS) - 1
    return table


def folded(pieces: list[bytes]) -> np.ndarray:
    """Returns canonical ids ``int32 [V]``: tokens that differ only in case or in outer spaces share one.

    Args:
      pieces: the bytes of each of the V ids. A piece of spaces alone is kept as it is.

    Source: docs/semantics/chain.md
    """
    known: dict[bytes, int] = {}
    names = (piece.strip(b" ").lower() or piece for piece in pieces)
    return np.array([known.setdefault(name, len(known)) for name in names], np.int32)


def shape(piece: bytes) -> int:
    """Returns the class of a token's form, from 1 to 63.

    The class, below 32, depends on the kinds of characters (a line break, letters, digits, marks), on case
    and on length; 32 is added if a blank begins the token.

    Args:
      piece: the bytes of the token.

    Source: docs/semantics/chain.md
    """
    begins = piece[:1] in (b" ", b"\t")
    body = piece[begins:]
    return _form(body) + 32 * begins


def _form(body: bytes) -> int:
    text = _decoded(body)
    letters, digits = sum(map(_letter, text)), sum(map(str.isdecimal, text))
    others = len(text) - letters - digits
    if not text:
        return 1
    if "\n" in text:
        return 2
    if digits:
        return 4 if letters else (3 if digits >= 4 else 5)
    if others:
        return 6 if letters else 17 + (ord(text[-1]) & 7)
    if _UNKNOWN in text:
        return 27 if 128 <= body[-1] < 192 else 28
    upper, lower = sum(map(_upper, text)), sum(map(str.islower, text))
    if not upper + lower:
        return 25 if len(text) == 1 else (26 if len(text) == 2 else 8)
    if not upper:
        return 9 + sum(len(text) > most for most in (2, 4, 7))
    if not lower:
        return 13 if len(text) == 1 else 14
    return 15 if len(text) <= 4 else 16


def suffix(piece: bytes) -> int:
    """Returns 1 plus the last two bytes of a token as a number, plus 2^16 if it has more than four bytes.

    Args:
      piece: the bytes of the token.

    Source: docs/semantics/chain.md
    """
    return 1 + int.from_bytes(piece[-2:], "big") + (len(piece) > 4) * 65536


def quotes(piece: bytes) -> int:
    """Returns how a token changes whether a quote and whether a bracket is open, as four bits.

    Bits 0 and 1: whether a quote is open after the token, if none was open before it, and if one was. Bits 2
    and 3: the same of brackets. A line break closes both.

    Args:
      piece: the bytes of the token.

    Source: docs/semantics/chain.md
    """
    after = 0
    for was in (0, 1):
        quote = bracket = was
        for c in _decoded(piece):
            if c == "\n":
                quote = bracket = 0
            quote = 1 - quote if c == '"' else _QUOTING.get(c, quote)
            bracket = 1 if c in _BRACKETS else (0 if c in _CLOSING else bracket)
        after |= quote << was | bracket << 2 + was
    return after


def _decoded(piece: bytes) -> str:
    return piece.decode("utf-8", errors="replace")


def _letter(c: str) -> bool:
    """Returns whether a character is a letter or a mark on one; bytes that are no character count too."""
    return c.isalpha() or c == _UNKNOWN or unicodedata.category(c)[0] == "M"


def _upper(c: str) -> bool:
    return unicodedata.category(c) in ("Lu", "Lt")


def _word(piece: bytes) -> dict[int, int]:
    """Returns how a token goes on with a word, and its last bytes."""
    multiply, add, head, ends = 1, 0, (0, 1), False
    for byte in piece.lower():
        if byte >= 128 or bytes([byte]).isalnum():
            add = (add * 0x01000193 + byte + 1) & 0xFFFFFFFF
            multiply = multiply * 0x01000193 & 0xFFFFFFFF
        else:
            head = head if ends else (add, multiply)
            add, multiply, ends = 0, 0, True
    last = int.from_bytes(piece[-SPELLED:], "big")
    return {
        Lexicon.MULTIPLY: multiply,
        Lexicon.ADD: add,
        Lexicon.HEAD: head[0],
        Lexicon.HEAD_MULTIPLY: head[1],
        Lexicon.ENDS: int(ends),
        Lexicon.LAST_BYTES: last & 0xFFFFFFFF,
        Lexicon.BYTES_BEFORE: last >> 32,
        Lexicon.SIZE: min(len(piece), SPELLED),
    }


def _lines(piece: bytes) -> dict[int, int]:
    """Returns the sizes and indents of the parts of a token between line breaks."""
    *ended, tail = piece.split(b"\n")
    head, middle = ended[0] if ended else b"", ended[1:]
    filled = [line for line in middle if line.strip(_BLANKS)]
    facts = {
        Lexicon.HEAD_SIZE: len(head),
        Lexicon.MIDDLE_SIZE: len(middle[-1]) if middle else 0,
        Lexicon.TAIL_SIZE: len(tail),
        Lexicon.HEAD_INDENT: _indent(head),
        Lexicon.MIDDLE_INDENT: 1 + _indent(filled[-1]) if filled else 0,
        Lexicon.TAIL_INDENT: _indent(tail),
    }
    return {row: min(value, LINE_BYTES) for row, value in facts.items()}


def _indent(line: bytes) -> int:
    return len(line) - len(line.lstrip(_BLANKS))


def _brackets(piece: bytes) -> dict[int, int]:
    """Returns the brackets that a token closes and did not open, and those that it leaves open."""
    closed, opened = 0, []
    for c in _decoded(piece):
        if c in _BRACKETS:
            opened.append(_BRACKETS[c])
        elif c in _CLOSING and opened:
            opened.pop()
        elif c in _CLOSING:
            closed += 1
    opened = opened[-STACK:]
    stack = sum(kind << 2 * k for k, kind in enumerate(reversed(opened)))
    return {Lexicon.CLOSED: min(closed, STACK), Lexicon.OPENED: stack, Lexicon.OPENED_COUNT: len(opened)}


def _flags(piece: bytes, rank: int) -> int:
    text = _decoded(piece)
    *ended, tail = piece.split(b"\n")
    head = ended[0] if ended else b""
    letters, number = sum(map(_letter, text)), any(map(str.isdecimal, text))
    begin = text.lstrip()[:1]
    flags = {
        Flag.CONTENT: rank >= CONTENT_RANK and (letters >= 2 or number),
        Flag.CAPITAL: bool(begin) and _upper(begin),
        Flag.NUMBER: number,
        Flag.SENTENCE: _ends_sentence(_decoded(tail)),
        Flag.BEGINS: tail[:1] in (b" ", b"\t"),
        Flag.BREAK: len(ended) > 0,
        Flag.LINE: len(ended) > 1,
        Flag.HEAD_FILLED: bool(head.strip(_BLANKS)),
        Flag.HEAD_LETTER: any(map(_letter, _decoded(head))),
        Flag.FILLED: bool(tail.strip(_BLANKS)),
        Flag.LETTER: any(map(_letter, _decoded(tail))),
        Flag.PUNCTUATION: bool(_decoded(tail).strip()) and not letters and not number,
    }
    return sum(flag for flag, there in flags.items() if there)


def _ends_sentence(text: str) -> bool:
    """Returns whether the last character that is no blank, quote or closing bracket ends a sentence."""
    for c in reversed(text):
        if not (c.isspace() or c in "\"'" or unicodedata.category(c) in _CLOSES):
            return c in _ENDS
    return False
