"""The numbers that define a chain model, the same for plain JAX and the native kernels.

`metal_ext/constants.py` writes them into a C++ header. A change of one number changes the meaning of every
saved table and every compressed file.
"""

import enum

# Cells: a bucket holds four cells of three 32-bit words: a tag with two fast counts, zeros, and ones.
BUCKET = 4
CELL = 3
FAST_LIMIT = 2  # a fast count above this is halved when the other bit comes
FAST_MOST = 255

# The tree.
CODE_BITS = 16
OWN_KINDS = 4096  # number of the most visited nodes that have a kind of their own
KINDS = OWN_KINDS + 64

# The fields of a place in a text, in three blocks: facts about the last tokens, bytes, and registers.
RECENT = 8  # number of last tokens that are fields
FOLDED = 4  # number of last tokens whose canonical ids and classes are fields
CLASS_BITS = (6, 9, 12)
SHAPED = 3  # number of last tokens whose shapes and endings are fields
SHAPES = 64  # a shape is less than this
SPELLED = 6  # number of last bytes that are fields
PLACES = (  # fields that stand in registers as they are
    *("word", "last_word", "last_word2", "last_word3", "content1", "content2", "content3", "function1"),
    *("function2", "capital", "number", "title", "paragraph", "line_place", "sentence", "sentence_place"),
    *("quote", "indent", "indent_before", "column", "above", "line_start", "next_token1", "next_token1_2"),
    *("next_pair", "next_pair_2", "next_class", "next_word", "next_word2"),
)
FIELDS = (
    *(f"token{k}" for k in range(1, RECENT + 1)),
    *(f"folded{k}" for k in range(1, FOLDED + 1)),
    *(f"class{bits}_{k}" for bits in CLASS_BITS for k in range(1, FOLDED + 1)),
    *(f"shape{k}" for k in range(1, SHAPED + 1)),
    *(f"suffix{k}" for k in range(1, SHAPED + 1)),
    *(f"bytes{k}" for k in range(1, SPELLED + 1)),
    *("brackets", *PLACES),
)
LINE_PLACE_MOST = 8
SENTENCE_PLACE_MOST = 20
COLUMN_MOST = 255
LINE_BYTES = COLUMN_MOST + 1
TITLE_TOKENS = 2  # the fewest tokens of a title
TITLE_BYTES = 64  # the most bytes of a title
STACK = 16  # brackets that a register holds, with two bits each
OPEN_BRACKETS = 3  # innermost brackets that are a field
FOLLOWED_KEYS = 5  # token1; token1 and token2; the 9-bit classes of both; word; word and last_word
FOLLOWED_LOG = 18
VIEWS = ("node", "byte", "bytes3")

# The mixer's evidence and gains.
COUNT_EDGES = (1, 2, 3, 4, 5, 6, 8, 12, 20, 40, 100)  # the step of a count is the number of edges it reaches
COUNT_STEPS = len(COUNT_EDGES) + 1
STATES = COUNT_STEPS**2
SMOOTH = 0.4  # added to every count before its logarithm
HIT_NEURONS = 6  # whether each of these neurons has seen its context before chooses gains
HITS = 2 * 2**HIT_NEURONS
CLASSES = 2 ** CLASS_BITS[0] + 1
GAIN_STATES = HITS + KINDS + 2 * CLASSES  # the first row that belongs to states
GAIN_ROWS = GAIN_STATES + 2 * STATES
LANES = 8  # the number of inputs is padded to a multiple of this
RANGE = 13.0  # mixed log-odds are clipped to -RANGE .. RANGE
LEAST = 2e-6  # the least probability of a bit

# The longest match.
MATCH_LENGTHS = 32
MATCH_LOG = 18
MATCH_ORDER = 3  # number of last tokens whose hash finds a match
MATCH_RUN = 2  # the shortest new match that counts
MATCH_RATE = 0.005
MATCH_GAIN_RATE = 0.002
MATCH_LEAST = 0.001
MATCH_MOST = 0.9999

# Refinement of the mixed probability.
REFINE_LOG = 16
REFINE_STEPS = 33
REFINE_WIDTH = 0.75  # log-odds between two steps
REFINE_EDGE = 15.99  # most steps from the middle
REFINE_RATE = 0.02


class Lexicon(enum.IntEnum):
    """The columns of the lexicon ``uint32 [V, 23]``: facts about each token that the fields need.

    The word being written is a polynomial of its letters. A token without a border in it updates the word to
    ``word * multiply + add``. A token with a border finishes the word as ``word * head_multiply + head``.

    Line breaks cut a token into the *head* before the first, the *middle* between the last two, and the
    *tail* after the last; a token without one is all tail. Sizes and indents are in bytes, at most 256.

    Attributes:
      FOLDED: the canonical id.
      CODE: the code of the token tree.
      MULTIPLY: a factor of the word.
      ADD: the hash of the letters after the last border.
      HEAD: the hash of the letters before the first border.
      HEAD_MULTIPLY: a factor of the word that ends.
      ENDS: 1 if there is a border.
      LAST_BYTES: the last four bytes.
      BYTES_BEFORE: the two bytes before them.
      SIZE: the number of bytes, at most 6.
      SHAPE: the class of the token's form, from 1 to 63.
      SUFFIX: 1 plus the last two bytes, plus 2^16 if there are more than four.
      FLAGS: see `Flag`.
      QUOTES: the state of quotes and brackets after the token, see `lexicon.quotes`.
      CLOSED: the number of brackets that the token closes and did not open, at most 16.
      OPENED: the brackets that it opens and does not close, two bits each, the last one lowest.
      OPENED_COUNT: their number, at most 16.
      HEAD_SIZE: the size of the head; 0 without a line break.
      MIDDLE_SIZE: the size of the middle.
      TAIL_SIZE: the size of the tail.
      HEAD_INDENT: the number of blanks at the begin of the head.
      MIDDLE_INDENT: 1 plus the blanks at the begin of the last line in the middle that is not blank; 0
        without such a line.
      TAIL_INDENT: the number of blanks at the begin of the tail.

    Source: docs/semantics/chain.md
    """

    FOLDED = 0
    CODE = 1
    MULTIPLY = 2
    ADD = 3
    HEAD = 4
    HEAD_MULTIPLY = 5
    ENDS = 6
    LAST_BYTES = 7
    BYTES_BEFORE = 8
    SIZE = 9
    SHAPE = 10
    SUFFIX = 11
    FLAGS = 12
    QUOTES = 13
    CLOSED = 14
    OPENED = 15
    OPENED_COUNT = 16
    HEAD_SIZE = 17
    MIDDLE_SIZE = 18
    TAIL_SIZE = 19
    HEAD_INDENT = 20
    MIDDLE_INDENT = 21
    TAIL_INDENT = 22


class Flag(enum.IntEnum):
    """The bits of `Lexicon.FLAGS`.

    Attributes:
      CONTENT: the token is rare enough to carry content.
      CAPITAL: its first letter begins it and is an upper-case one.
      NUMBER: it has a digit.
      SENTENCE: a sentence ends with it.
      BEGINS: its tail begins with a blank.
      BREAK: it has a line break.
      LINE: it has a whole line, between two line breaks.
      HEAD_FILLED: its head is more than blanks.
      HEAD_LETTER: its head has a letter.
      FILLED: its tail is more than blanks.
      LETTER: its tail has a letter.

    Source: docs/semantics/chain.md
    """

    CONTENT = 1
    CAPITAL = 2
    NUMBER = 4
    SENTENCE = 8
    BEGINS = 16
    BREAK = 32
    LINE = 64
    HEAD_FILLED = 128
    HEAD_LETTER = 256
    FILLED = 512
    LETTER = 1024


class Register(enum.IntEnum):
    """The registers ``uint32 [48]`` that hold the recent text.

    Registers 0 to 7 hold the last eight tokens, newest first. A register that holds a token has its id plus
    1; 0 means that there is no such token yet. The next ones are the fields `PLACES`, in their order.

    Source: docs/semantics/chain.md
    """

    WORD = RECENT
    LAST_WORD = enum.auto()
    LAST_WORD2 = enum.auto()
    LAST_WORD3 = enum.auto()
    CONTENT1 = enum.auto()
    CONTENT2 = enum.auto()
    CONTENT3 = enum.auto()
    FUNCTION1 = enum.auto()
    FUNCTION2 = enum.auto()
    CAPITAL = enum.auto()
    NUMBER = enum.auto()
    TITLE = enum.auto()
    PARAGRAPH = enum.auto()
    LINE_PLACE = enum.auto()
    SENTENCE = enum.auto()
    SENTENCE_PLACE = enum.auto()
    QUOTE = enum.auto()
    INDENT = enum.auto()
    INDENT_BEFORE = enum.auto()
    COLUMN = enum.auto()
    ABOVE = enum.auto()
    LINE_START = enum.auto()
    NEXT_TOKEN1 = enum.auto()
    NEXT_TOKEN1_2 = enum.auto()
    NEXT_PAIR = enum.auto()
    NEXT_PAIR_2 = enum.auto()
    NEXT_CLASS = enum.auto()
    NEXT_WORD = enum.auto()
    NEXT_WORD2 = enum.auto()
    LAST_BYTES = enum.auto()
    BYTES_BEFORE = enum.auto()
    STACK = enum.auto()
    LINE_HASH = enum.auto()
    LINE_LETTER = enum.auto()
    LINE_ROW = enum.auto()
    COLUMNS_BEFORE = enum.auto()
    COUNT = enum.auto()
    MATCH_AT = enum.auto()
    MATCH_LENGTH = enum.auto()


REGISTERS = max(Register) + 1


class Mode(enum.IntEnum):
    """The origin of the tokens that a memory reads.

    Source: docs/semantics/chain.md
    """

    GIVEN = 0
    SAMPLED = 1
    DECODED = 2
