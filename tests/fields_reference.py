"""The oracle of the fields: it keeps the whole text, in plain Python, and looks at it again at each place."""

import unicodedata

from wnn_jax.chain import lexicon

BLANKS = b" \t\r\v\f"
OPENING, CLOSING = "([{", ")]}"


def mix(h, x):
    h ^= x * 0x9E3779B1 % 2**32
    h = (h ^ h >> 15) * 0x85EBCA6B % 2**32
    h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
    return h ^ h >> 16


def letter(byte):
    return byte >= 128 or chr(byte).isalnum()


def indent(line):
    return min(len(line) - len(line.lstrip(BLANKS)), 255)


def decoded(piece):
    return piece.decode("utf-8", "replace")


def has_letter(text, least=1):
    return sum(unicodedata.category(c)[0] in "LM" or c == "\ufffd" for c in text) >= least


def closes(c):
    """Return whether a character may stand between the end of a sentence and the next one."""
    return c in "'\"" or c.isspace() or unicodedata.category(c) in ("Pe", "Pf")


def is_punctuation(text):
    """Return whether a token has marks alone, and one of them is after the last line break."""
    marks = [c for c in text if c == "\n" or not c.isspace()]
    return marks[-1:] not in ([], ["\n"]) and not has_letter(text) and not any(map(str.isdecimal, text))


class Line:
    def __init__(self):
        self.bytes, self.cover, self.names, self.begins, self.letter = b"", [], [], [], False
        self.marks = []  # whether each of the tokens is punctuation


class Text:
    """The tokens of a text and what the fields read from them."""

    def __init__(self, pieces, codes, rank):
        self.pieces, self.codes, self.rank = pieces, codes, rank
        known = {}
        self.folded = [known.setdefault(p.strip(b" ").lower() or p, len(known)) for p in pieces]
        self.tokens, self.data, self.word, self.words = [], b"", 0, []
        self.lines, self.sentence = [Line()], []
        self.quote, self.within, self.stack = 0, 0, []
        self.states, self.matched = [0], (0, 0)
        self.followed = [{} for _ in range(5)]

    def add(self, token):
        piece, name = self.pieces[token], token + 1
        if self.tokens:
            for known, key in zip(self.followed, self.keys(), strict=True):
                known.setdefault(key, []).append(name)
        self.tokens.append(token)
        self.data += piece
        self._add_word(piece)
        for k, part in enumerate(piece.split(b"\n")):
            if k:
                self.lines.append(Line())
                self.sentence = []
            self._add_part(part, name)
        self.lines[-1].marks += [is_punctuation(decoded(piece))] * bool(part.strip(BLANKS))
        for c in decoded(piece):
            self._add_mark(unicodedata.normalize("NFKC", c))
        self.stack = self.stack[-16:]
        self.states.append(self.quote + 2 * self.within)

    def _add_word(self, piece):
        first = True
        for byte in piece.lower():
            if letter(byte):
                self.word = (self.word * 0x01000193 + byte + 1) % 2**32
            else:
                if first and self.word:
                    # A word inside one token is never the last word; the word before it is.
                    self.words.append(self.word)
                self.word, first = 0, False

    def _add_part(self, part, name):
        line = self.lines[-1]
        line.bytes += part
        line.cover += [name] * len(part)
        if not part.strip(BLANKS):
            return
        line.begins.append(part[0] in b" \t" or not line.names)
        line.names.append(name)
        line.letter |= has_letter(decoded(part))
        self.sentence.append(name)
        seen = [c for c in decoded(part) if not closes(c)]
        after = decoded(part).rpartition(seen[-1])[2] if seen else ""
        if seen and seen[-1] in tuple(".!?\u2026\u3002\uff01\uff1f\u0964\u061f") and all(map(closes, after)):
            self.sentence = []

    def _add_mark(self, c):
        if c == "\n":
            self.quote = self.within = 0
        if c == '"':
            self.quote = 1 - self.quote
        if c in tuple("“„«「『"):
            self.quote = 1
        if c in tuple("”»」』"):
            self.quote = 0
        if c in tuple(OPENING):
            self.stack.append(OPENING.index(c) + 1)
            self.within = 1
        if c in tuple(CLOSING):
            self.within = 0
            self.stack = self.stack[:-1]

    def keys(self):
        classes = [self.field(f"class9_{k}") for k in (1, 2)]
        last_word = self.field("last_word")
        pairs = (self.name(1), self.name(2)), classes, (1, self.word), (self.word, last_word)
        return [self.name(1) % 2**18, *(mix(*pair) >> 14 for pair in pairs)]

    def name(self, place):
        return self.tokens[-place] + 1 if len(self.tokens) >= place else 0

    def last(self, place, kind):
        """Return the last token but ``place - 1`` of a kind, as its id plus 1."""
        seen = [token for token in self.tokens[::-1] if kind(decoded(self.pieces[token]), token)]
        return seen[place - 1] + 1 if len(seen) >= place else 0

    def is_content(self, text, token):
        return self.rank[token] >= 150 and (has_letter(text, 2) or any(c.isdecimal() for c in text))

    def next(self, key, place):
        known = self.followed[key].get(self.keys()[key], []) if self.tokens else []
        return known[-place] if len(known) >= place else 0

    def field(self, name):
        line, before = self.lines[-1], self.lines[:-1]
        if name.startswith("next_"):
            kind, place = (name[:-2], 2) if name.endswith("_2") else (name, 1)
            keys = ["next_token1", "next_pair", "next_class", "next_word", "next_word2"]
            return self.next(keys.index(kind), place)
        if name in PLAIN:
            return PLAIN[name](self, line, before)
        kind, place = name.rsplit("_", 1) if "_" in name else (name[:-1], name[-1])
        place = int(place)
        if kind == "bytes":
            value = int.from_bytes(self.data[-place:], "big")
            return value if place <= 4 else mix(value % 2**32, value >> 32)
        if kind in ("content", "function"):
            return self.last(place, lambda text, token: self.is_content(text, token) == (kind == "content"))
        if len(self.tokens) < place:
            return 0
        token = self.tokens[-place]
        if kind == "token":
            return token + 1
        if kind == "folded":
            return self.folded[token] + 1
        if kind in ("shape", "suffix"):
            return getattr(lexicon, kind)(self.pieces[token])
        return (int(self.codes[token]) >> 16 - int(kind.removeprefix("class"))) + 1


def title(text, line, before):
    for one in reversed(before):
        if len(one.names) >= 2 and one.letter and len(one.bytes) <= 64:
            h = 0
            for name in one.names:
                h = mix(h, name)
            return h
    return 0


def paragraph(text, line, before):
    first = line.names[:2]
    return mix(*first) if len(first) == 2 else sum(first)


def above(text, line, before):
    column = len(line.bytes)
    return before[-1].cover[column] if before and column < min(len(before[-1].cover), 255) else 0


def word(place):
    return lambda text, line, before: text.words[-place] if len(text.words) >= place else 0


def since(happened, most):
    """Return the number of places after the last one where something happened, or of all places."""
    return min(happened[::-1].index(True) if any(happened) else len(happened), most)


def opener(text):
    """Return the token before the one that opened a quote or bracket last; 0 if none is open."""
    pairs = enumerate(zip(text.states, text.states[1:], strict=False))
    opened = [place for place, (was, state) in pairs if (not was & 1 and state & 1) or (was < 2 <= state)]
    return text.tokens[opened[-1] - 1] + 1 if text.states[-1] and opened[-1] else 0


PLAIN = {
    "punctuation": lambda text, line, before: next(
        (name for name, mark in zip(line.names[::-1], line.marks[::-1], strict=True) if mark), 0
    ),
    "since_punctuation": lambda text, line, before: since(line.marks, 12),
    "since_quote": lambda text, line, before: since(
        [was != state for was, state in zip(text.states, text.states[1:], strict=False)], 8
    ),
    "before_quote": lambda text, line, before: opener(text),
    "expected": lambda text, line, before: text.matched[0],
    "expected_strength": lambda text, line, before: text.matched[1],
    "word": lambda text, line, before: text.word,
    "last_word": word(1),
    "last_word2": word(2),
    "last_word3": word(3),
    "capital": lambda text, line, before: text.last(
        1, lambda piece, token: unicodedata.category(piece.strip()[:1] or " ") in ("Lu", "Lt")
    ),
    "number": lambda text, line, before: text.last(1, lambda piece, token: any(map(str.isdecimal, piece))),
    "title": title,
    "paragraph": paragraph,
    "line_place": lambda text, line, before: min(len(line.names), 8),
    "line_start": lambda text, line, before: next(
        (name for name, begins in zip(line.names[::-1], line.begins[::-1], strict=True) if begins), 0
    ),
    "sentence": lambda text, line, before: (text.sentence or [0])[0],
    "sentence_place": lambda text, line, before: min(len(text.sentence), 20),
    "quote": lambda text, line, before: text.quote + 2 * text.within,
    "brackets": lambda text, line, before: sum(kind * 4**k for k, kind in enumerate(text.stack[:-4:-1])),
    "indent": lambda text, line, before: indent(line.bytes),
    "indent_before": lambda text, line, before: next(
        (indent(one.bytes) for one in reversed(before) if one.bytes.strip(BLANKS)), 0
    ),
    "column": lambda text, line, before: min(len(line.bytes), 255),
    "above": above,
}
