"""The fields of a place in a text: the facts that context neurons observe.

A *field* is a fact about a place in a text: one of the last tokens, its class, the word being written, the
place in the line, or what followed the last token when it came before. `TextState` holds what the fields need
of the text so far, and the lexicon what they need to know about each token. All arithmetic is exact, in
``uint32``.

This is the contract of the native kernels (metal_ext/src/chain_fields.h).

Source: docs/semantics/chain.md
"""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from wnn_jax.chain.constants import (
    CLASS_BITS,
    CODE_BITS,
    COLUMN_MOST,
    FIELDS,
    FOLDED,
    FOLLOWED_KEYS,
    FOLLOWED_LOG,
    LINE_BYTES,
    LINE_PLACE_MOST,
    MATCHED,
    OPEN_BRACKETS,
    RECENT,
    REGISTERS,
    SENTENCE_PLACE_MOST,
    SHAPED,
    SINCE_PUNCTUATION_MOST,
    SINCE_QUOTE_MOST,
    STACK,
    TITLE_BYTES,
    TITLE_TOKENS,
    Flag,
    Lexicon,
    Register,
)
from wnn_jax.hashing import mix

M = TypeVar("M", bound=Any)

_LATEST = ("NEXT_TOKEN1", "NEXT_PAIR", "NEXT_CLASS", "NEXT_WORD", "NEXT_WORD2")
_BEFORE = ("NEXT_TOKEN1_2", "NEXT_PAIR_2")
_OF_A_LINE = (
    *("COLUMN", "LINE_PLACE", "LINE_HASH", "LINE_LETTER", "PARAGRAPH", "SENTENCE", "SENTENCE_PLACE"),
    *("INDENT", "LINE_START", "PUNCTUATION", "SINCE_PUNCTUATION"),
)

Known = dict[str, Any]  # the registers from `Register.WORD` on, by name


class TextState(NamedTuple):
    """The state of a text, from which its fields are computed.

    Any content has fields, if the last eight tokens are of the vocabulary.

    Attributes:
      registers: ``uint32 [48]``, see `constants.Register`.
      followed: ``uint32 [5, 2^18, 2]``: the last two tokens that followed each key, newest first, as ids plus
        1. The keys are the last token; the last two; their classes of 9 bits; the word being written; and
        this word with the last one. Keys of more than 18 bits are hashed; those with the same hash share a
        place.
      line: ``uint32 [2, 256]``: the tokens, as ids plus 1, that cover the bytes of the present line, which is
        the row `Register.LINE_ROW`, and of the line before. Columns after the end of a line are stale.

    Source: docs/semantics/chain.md
    """

    registers: jax.Array
    followed: jax.Array
    line: jax.Array


def empty() -> TextState:
    """Makes the state before the first token.

    Source: docs/semantics/chain.md
    """
    return TextState(
        registers=jnp.zeros(REGISTERS, jnp.uint32),
        followed=jnp.zeros((FOLLOWED_KEYS, 1 << FOLLOWED_LOG, 2), jnp.uint32),
        line=jnp.zeros((2, LINE_BYTES), jnp.uint32),
    )


def of(memory: Any) -> TextState:
    """Returns the state of the text that a memory has read.

    Source: docs/semantics/chain.md
    """
    return TextState(*(getattr(memory, name) for name in TextState._fields))


def put(memory: M, state: TextState) -> M:
    """Returns a memory with another state of the text.

    Source: docs/semantics/chain.md
    """
    return memory._replace(**state._asdict())


def fields(lexicon: jax.Array, registers: jax.Array) -> jax.Array:
    """Returns the fields ``uint32 [72]`` of the place after the last token, in the order of `FIELDS`.

    A field of a token that does not exist yet is 0. The fields `MATCHED` are 0 too: only a model that learns
    while it reads has matches, and it fills them in itself (`matches.fill`).

    Args:
      lexicon: ``uint32 [V, 23]``, see `constants.Lexicon`.
      registers: ``uint32 [48]``, see `constants.Register`.

    Source: docs/semantics/chain.md
    """
    recent = registers[:FOLDED]
    there = recent > 0
    facts = lexicon[jnp.maximum(recent, 1) - 1]
    folded = jnp.where(there, facts[:, Lexicon.FOLDED] + 1, 0)
    code = jnp.where(there, facts[:, Lexicon.CODE], 0)
    classes = [(code >> CODE_BITS - bits) + there.astype(jnp.uint32) for bits in CLASS_BITS]
    shaped = there[:SHAPED]
    shapes = [jnp.where(shaped, facts[:SHAPED, row], 0) for row in (Lexicon.SHAPE, Lexicon.SUFFIX)]
    last, before = registers[Register.LAST_BYTES], registers[Register.BYTES_BEFORE]
    spelled = [last & (1 << 8 * k) - 1 for k in (1, 2, 3)]
    spelled += [last, mix(last, before & 0xFF), mix(last, before & 0xFFFF)]
    brackets = registers[Register.STACK] & (1 << 2 * OPEN_BRACKETS) - 1
    kept = registers[Register.WORD : Register.BEFORE_QUOTE + 1]
    matched = jnp.zeros(len(MATCHED), jnp.uint32)
    return jnp.concatenate(
        [registers[:RECENT], folded, *classes, *shapes, jnp.stack([*spelled, brackets]), kept, matched]
    )


def classes(fields: jax.Array) -> jax.Array:
    """Returns the classes ``int32 [2]`` of the last two tokens: 6 bits plus 1, or 0 without a token.

    Args:
      fields: ``uint32 [F]``, the fields of a place.

    Source: docs/semantics/chain.md
    """
    return fields[jnp.array([FIELDS.index("class6_1"), FIELDS.index("class6_2")])].astype(jnp.int32)


def remember(lexicon: jax.Array, state: TextState, token: jax.Array) -> TextState:
    """Returns the state after a token.

    Args:
      lexicon: ``uint32 [V, 23]``, see `constants.Lexicon`.
      state: the state before the token.
      token: ``int32 []``.

    Source: docs/semantics/chain.md
    """
    row, registers, line = lexicon[token], state.registers, state.line
    facts = {fact.name: row[fact] for fact in Lexicon}
    has = {flag.name: row[Lexicon.FLAGS] & jnp.uint32(flag) > 0 for flag in Flag}
    known = {register.name: registers[register] for register in Register}
    name = token.astype(jnp.uint32) + 1

    latest = jnp.stack([known[key] for key in _LATEST])
    # Before the first token there is no key: its place is beyond the last one, so nothing is written.
    keys = jnp.where(registers[0] > 0, _keys(lexicon, registers[:2], known), 1 << FOLLOWED_LOG)
    pairs = jnp.stack([jnp.full_like(latest, name), latest], axis=1)
    followed = state.followed.at[jnp.arange(FOLLOWED_KEYS), keys].set(pairs, mode="drop")

    known |= _spelled(known, facts)
    known |= _kinds(known, has, name)
    ended, line = _end_line(known, facts, has, name, line)
    known = {key: jnp.where(has["BREAK"], x, known[key]) for key, x in ended.items()}
    gone_on, line = _go_on(known, facts, has, name, line)
    known |= gone_on
    known |= _marks(known, facts, registers[0])

    recent = jnp.concatenate([name[None], registers[: RECENT - 1]])
    found = followed[jnp.arange(FOLLOWED_KEYS), _keys(lexicon, recent[:2], known)]
    known |= {key: found[k, 0] for k, key in enumerate(_LATEST)}
    known |= {key: found[k, 1] for k, key in enumerate(_BEFORE)}
    column = jnp.minimum(known["COLUMN"], COLUMN_MOST)
    above = line[1 - (known["LINE_ROW"] & 1), column]
    known["ABOVE"] = jnp.where(column < known["COLUMNS_BEFORE"], above, 0)
    kept = jnp.stack([known[register.name] for register in Register])
    return TextState(jnp.concatenate([recent, kept]), followed, line)


def _keys(lexicon: jax.Array, recent: jax.Array, known: Known) -> jax.Array:
    """Returns the places ``uint32 [5]`` of the keys of the last two tokens ``uint32 [2]`` and words."""
    shift = 32 - FOLLOWED_LOG
    code = lexicon[jnp.maximum(recent, 1) - 1, Lexicon.CODE]
    class9 = jnp.where(recent > 0, (code >> CODE_BITS - CLASS_BITS[1]) + 1, 0)
    word = known["WORD"]
    keys = [recent[0] & (1 << FOLLOWED_LOG) - 1, mix(recent[0], recent[1]) >> shift]
    keys += [mix(class9[0], class9[1]) >> shift, mix(jnp.uint32(1), word) >> shift]
    return jnp.stack([*keys, mix(word, known["LAST_WORD"]) >> shift])


def _spelled(known: Known, facts: Known) -> Known:
    """Returns the registers of words and bytes after a token."""
    ends = facts["ENDS"] > 0
    finished = known["WORD"] * facts["HEAD_MULTIPLY"] + facts["HEAD"]
    word = jnp.where(ends, facts["ADD"], known["WORD"] * facts["MULTIPLY"] + facts["ADD"])
    words = [finished, *(known[name] for name in ("LAST_WORD", "LAST_WORD2", "LAST_WORD3"))]
    last = [jnp.where(ends & (finished > 0), words[k], words[k + 1]) for k in range(3)]
    # The last bytes are a number of 64 bits in two registers, which is shifted by whole bytes.
    size, low, high = jnp.minimum(facts["SIZE"], 6), known["LAST_BYTES"], known["BYTES_BEFORE"]
    bits = 8 * (size & 3)
    carried = jnp.where(bits > 0, low >> (32 - bits & 31), 0)
    high = jnp.where(size < 4, high << bits | carried, low << bits)
    low = jnp.where(size < 4, low << bits, 0)
    return {
        **{"WORD": word, "LAST_WORD": last[0], "LAST_WORD2": last[1], "LAST_WORD3": last[2]},
        "LAST_BYTES": low | facts["LAST_BYTES"],
        "BYTES_BEFORE": (high | facts["BYTES_BEFORE"]) & 0xFFFF,
    }


def _kinds(known: Known, has: Known, name: jax.Array) -> Known:
    """Returns the registers of the last tokens of a kind after a token."""
    content = has["CONTENT"]
    old = [name, known["CONTENT1"], known["CONTENT2"], known["CONTENT3"]]
    after = {f"CONTENT{k + 1}": jnp.where(content, old[k], old[k + 1]) for k in range(3)}
    old = [name, known["FUNCTION1"], known["FUNCTION2"]]
    after |= {f"FUNCTION{k + 1}": jnp.where(content, old[k + 1], old[k]) for k in range(2)}
    return after | {key: jnp.where(has[key], name, known[key]) for key in ("CAPITAL", "NUMBER")}


def _cover(line, row, begin, size, name, there):
    """Covers the next columns of a line with a token, if ``there``; also returns the columns after it."""
    begin = jnp.minimum(begin, COLUMN_MOST)
    end = begin + jnp.minimum(size, LINE_BYTES)
    column = jnp.arange(LINE_BYTES, dtype=jnp.uint32)
    covered = there & (column >= begin) & (column < end)
    line = line.at[row & 1].set(jnp.where(covered, name, line[row & 1]))
    return line, jnp.minimum(end, COLUMN_MOST)


def _indent(known: jax.Array, more: jax.Array) -> jax.Array:
    return jnp.minimum(jnp.minimum(known, COLUMN_MOST) + jnp.minimum(more, LINE_BYTES), COLUMN_MOST)


def _end_line(known: Known, facts: Known, has: Known, name, line) -> tuple[Known, jax.Array]:
    """Returns all registers after a line break, and the lines with the head and the middle of the token.

    Without a line break the lines stay as they are.
    """
    row, zero, filled = known["LINE_ROW"] & 1, jnp.uint32(0), has["HEAD_FILLED"]
    indent = jnp.where(filled, _indent(known["INDENT"], facts["HEAD_INDENT"]), known["INDENT_BEFORE"])
    indent = jnp.where(known["LINE_PLACE"] > 0, known["INDENT"], indent)
    middle = facts["MIDDLE_INDENT"]
    indent = jnp.where(middle > 0, _indent(zero, middle - 1), indent)

    line, columns = _cover(line, row, known["COLUMN"], facts["HEAD_SIZE"], name, has["BREAK"])
    tokens = jnp.minimum(known["LINE_PLACE"], LINE_PLACE_MOST) + filled.astype(jnp.uint32)
    letter = (known["LINE_LETTER"] > 0) | has["HEAD_LETTER"]
    titled = letter & (tokens >= TITLE_TOKENS) & (columns <= TITLE_BYTES)
    title = jnp.where(filled, mix(known["LINE_HASH"], name), known["LINE_HASH"])
    line, whole = _cover(line, row, zero, facts["MIDDLE_SIZE"], name, has["LINE"])
    after = {
        **known,
        **dict.fromkeys(_OF_A_LINE, zero),
        "INDENT_BEFORE": indent,
        "TITLE": jnp.where(titled, title, known["TITLE"]),
        "COLUMNS_BEFORE": jnp.where(has["LINE"], whole, columns),
        "LINE_ROW": 1 - row,
    }
    return after, line


def _go_on(known: Known, facts: Known, has: Known, name, line) -> tuple[Known, jax.Array]:
    """Returns the registers of the line and of the sentence after the tail of a token, and the lines."""
    line, column = _cover(line, known["LINE_ROW"], known["COLUMN"], facts["TAIL_SIZE"], name, True)
    place, filled, first = known["LINE_PLACE"], has["FILLED"], known["LINE_PLACE"] == 0
    paragraph = jnp.where(place == 1, mix(known["PARAGRAPH"], name), known["PARAGRAPH"])
    letter = known["LINE_LETTER"] | has["LETTER"].astype(jnp.uint32)
    spot, end = known["SENTENCE_PLACE"], has["SENTENCE"]
    since = _counted(known["SINCE_PUNCTUATION"], SINCE_PUNCTUATION_MOST)
    after = {
        "PARAGRAPH": jnp.where(first, name, paragraph),
        "LINE_START": jnp.where(first | has["BEGINS"], name, known["LINE_START"]),
        "LINE_HASH": mix(known["LINE_HASH"], name),
        "LINE_LETTER": letter,
        "LINE_PLACE": _counted(place, LINE_PLACE_MOST),
        "SENTENCE": jnp.where(spot == 0, name, known["SENTENCE"]),
        "SENTENCE_PLACE": _counted(spot, SENTENCE_PLACE_MOST),
        "PUNCTUATION": jnp.where(has["PUNCTUATION"], name, known["PUNCTUATION"]),
        "SINCE_PUNCTUATION": jnp.where(has["PUNCTUATION"], 0, since),
    }
    after = {key: jnp.where(filled, x, known[key]) for key, x in after.items()}
    after |= {key: jnp.where(end, 0, after[key]) for key in ("SENTENCE", "SENTENCE_PLACE")}
    indent = jnp.where(first, _indent(known["INDENT"], facts["TAIL_INDENT"]), known["INDENT"])
    return {**after, "COLUMN": column, "INDENT": indent}, line


def _counted(count: jax.Array, most: int) -> jax.Array:
    return jnp.where(count < most, count + 1, count)


def _marks(known: Known, facts: Known, before: jax.Array) -> Known:
    """Returns the registers of quotes and brackets after a token; ``before`` is the token before it."""
    maps, was = facts["QUOTES"], known["QUOTE"]
    quote = (maps >> (was & 1) & 1) | (maps >> 2 + (was >> 1 & 1) & 1) << 1
    opener = jnp.where(quote & ~was > 0, before, known["BEFORE_QUOTE"])
    after = {
        "QUOTE": quote,
        "SINCE_QUOTE": jnp.where(quote == was, _counted(known["SINCE_QUOTE"], SINCE_QUOTE_MOST), 0),
        "BEFORE_QUOTE": jnp.where(quote > 0, opener, 0),
    }
    closed, opened = facts["CLOSED"], facts["OPENED_COUNT"]
    stack = jnp.where(closed < STACK, known["STACK"] >> 2 * jnp.minimum(closed, STACK - 1), 0)
    stack = jnp.where(opened < STACK, stack << 2 * jnp.minimum(opened, STACK - 1), 0)
    return {**after, "STACK": stack | facts["OPENED"]}
