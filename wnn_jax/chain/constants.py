"""The numbers that define a chain model, the same for plain JAX and the native kernels.

`metal_ext/constants.py` writes them into a C++ header. A change of one number changes the meaning of every
saved table and every compressed file.
"""

import enum

BUCKET = 4  # cells that may hold a key
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
    *("punctuation", "since_punctuation", "since_quote", "before_quote"),
)
MATCHED = ("expected", "expected_strength")  # fields that only an online model knows, from its matches
FIELDS = (
    *(f"token{k}" for k in range(1, RECENT + 1)),
    *(f"folded{k}" for k in range(1, FOLDED + 1)),
    *(f"class{bits}_{k}" for bits in CLASS_BITS for k in range(1, FOLDED + 1)),
    *(f"shape{k}" for k in range(1, SHAPED + 1)),
    *(f"suffix{k}" for k in range(1, SHAPED + 1)),
    *(f"bytes{k}" for k in range(1, SPELLED + 1)),
    *("brackets", *PLACES, *MATCHED),
)
LINE_PLACE_MOST = 8
SENTENCE_PLACE_MOST = 20
SINCE_PUNCTUATION_MOST = 12
SINCE_QUOTE_MOST = 8
COLUMN_MOST = 255
LINE_BYTES = COLUMN_MOST + 1
TITLE_TOKENS = 2  # the fewest tokens of a title
TITLE_BYTES = 64  # the most bytes of a title
STACK = 16  # brackets that a register holds, with two bits each
OPEN_BRACKETS = 3  # innermost brackets that are a field
FOLLOWED_KEYS = 5  # token1; token1 and token2; the 9-bit classes of both; word; word and last_word
FOLLOWED_LOG = 18
VIEWS = ("node", "byte", "bytes3")
MOST_NEURONS = 256

# The mixer.
SMOOTH = 0.4  # added to every count before its logarithm
HIT_NEURONS = 6  # whether each of these neurons has seen its context before chooses weights
HITS = 2 * 2**HIT_NEURONS
CLASSES = 2 ** CLASS_BITS[0] + 1
RANGE = 13.0  # mixed log-odds are clipped to -RANGE .. RANGE
LEAST = 2e-6  # the least probability of a bit

# Refinement of the mixed probability.
REFINE_STEPS = 33
REFINE_WIDTH = 0.75  # log-odds between two steps
REFINE_EDGE = 15.99  # most steps from the middle
REFINE_RATE = 0.02


# The online model. A cell has four 32-bit words: the tag and two fast counts; the counts of zeros and of
# ones; the same, fading; and the last bit with the time of the last write.
WIDE_CELL = 4
COUNT_MOST = 65535
FADING_ONE = 256  # what one observation adds to a fading count
FADING_MOST = 65000  # a fading count above this stays, before one observation is added
FADING_SMOOTH = 25.0
TICK_LOG = 2  # the time of a cell is in ticks of 2^TICK_LOG tokens
# 2^(-i / 256) in units of 2^-16: a fading count is halved every 256 ticks.
DECAY = tuple(round(65536 * 2 ** (-i / 256)) for i in range(256))

# The adaptive map of a cell's state: steps of its fast counts, the last bit, the age, and whether it is old.
FAST_EDGES = (1, 2, 3, 4, 7, 15)
FAST_STEPS = len(FAST_EDGES) + 1
AGE_EDGES = (3, 10, 33, 100, 325, 1250, 5000)  # in ticks
AGES = len(AGE_EDGES) + 1
ZONES = 16  # the branch of the tree, and half of the depth
MAP_STATES = FAST_STEPS**2 * 2 * AGES * 2 * ZONES
MAP_LIMIT = 1023  # the most visits that slow down a map
MAP_LEAST = 0.0005  # a map's probability is at least this, and at most 1 minus this

# The adaptive map of contexts after which only one bit ever came, by how often it came.
RUN_MOST = 31
RUN_STATES = (RUN_MOST + 1) * 2 * ZONES

# The lists of the tokens that followed a context last.
LISTED = 7
LIST_WORDS = LISTED + 1
LIST_KEY = 0x5151
LIST_SMOOTH = 0.3
LIST_MOST = 255

# The three matches.
MATCHES = 3
MATCH_ORDERS = (3, 6, 2)  # number of last tokens whose hash finds a match, and the shortest that counts
MATCH_LONGEST = 40  # a new match is compared this far back
MATCH_EDGES = (1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32)
MATCH_STEPS = len(MATCH_EDGES) + 1
MATCH_PLACES_LOG = 20
MATCH_STATES = MATCH_STEPS * 2 * 16
MATCH_SLOWEST = 0.002
MATCH_LEAST = 0.001
MATCH_TRUST = 0.8  # how often a match is right before anything is known of it
MATCH_PROBABLE = 0.9998

# What came at a node lately: three pairs of counts, halved after 128, 512 and 4096 tokens.
RECENCIES = 3
RECENT_SHIFTS = (1, -1, -4)  # log2 of the steps of DECAY for each token
RECENT_SMOOTH = 0.2

# Two layers of weights.
RATE = 0.03  # of Adagrad
MATCH_WEIGHT = 0.15
BIAS = 0.3
FINALS = 8
FINAL_RATE_LEAST = 0.0015
FINAL_RATE_MORE = (
    0.0085  # at first the rate is higher by this; it falls by half in FINAL_RATE_HALF visits of a row
)
FINAL_RATE_HALF = 1000.0
TOKEN_ROWS_LOG = 11
TOP_KINDS = 1024  # number of the most visited nodes whose weights depend on the last class too
MATCH_KINDS = 3 * 16 * 2
SEEN_STEPS = 32

# The refinement by five maps.
REFINEMENTS = 5
REFINED_LOG = 16
MIXED_SHARE = 0.3  # the share of the mixed probability in the result; the five maps have the rest


class WeightSet(enum.IntEnum):
    """The sets of weights of an online model, named after what chooses a row.

    Source: docs/semantics/chain.md
    """

    ONE = 0
    HITS = 1
    KIND = 2
    CLASS1 = 3
    CLASS2 = 4
    MATCH = 5
    DEPTH = 6
    SEEN = 7
    CLASS9 = 8
    SHAPE = 9
    TOKEN = 10
    BYTE = 11
    BYTE_BEFORE = 12
    SHAPE_DEPTH = 13
    KIND_CLASS = 14


# The number of rows of each set, in the order of `WeightSet`.
SET_ROWS = (
    1,
    HITS,
    KINDS,
    2 * CLASSES,
    2 * CLASSES,
    MATCH_KINDS,
    2 * 32,
    8 * 2 * SEEN_STEPS,
    2**9 + 1,
    2 * SHAPES,
    1 << TOKEN_ROWS_LOG,
    2 * 256,
    256,
    64 * SHAPES,
    16 * TOP_KINDS + 32,
)
# The sets that choose rows of the second layer.
FINAL_SETS = (
    *(WeightSet.ONE, WeightSet.KIND, WeightSet.MATCH, WeightSet.CLASS1),
    *(WeightSet.DEPTH, WeightSet.HITS, WeightSet.CLASS2, WeightSet.TOKEN),
)


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
      PUNCTUATION: it has neither letters nor digits, and its tail is more than blanks of any script.

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
    PUNCTUATION = 2048


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
    PUNCTUATION = enum.auto()
    SINCE_PUNCTUATION = enum.auto()
    SINCE_QUOTE = enum.auto()
    BEFORE_QUOTE = enum.auto()
    LAST_BYTES = enum.auto()
    BYTES_BEFORE = enum.auto()
    STACK = enum.auto()
    LINE_HASH = enum.auto()
    LINE_LETTER = enum.auto()
    LINE_ROW = enum.auto()
    COLUMNS_BEFORE = enum.auto()


REGISTERS = max(Register) + 1


class Mode(enum.IntEnum):
    """The origin of the tokens that a memory reads.

    Source: docs/semantics/chain.md
    """

    GIVEN = 0
    SAMPLED = 1
    DECODED = 2


# The static model. A cell has four 32-bit words: the tag, zeros, ones, and what the discounts leave of each.
STATIC_CELL = 4
ORDERS = 5  # the orders of Kneser-Ney, which are the first neurons
DISCOUNT_UNIT = 1024  # discounts are written in units of 1 / DISCOUNT_UNIT
ODDS_MOST = 12.0  # log-odds of masses are clipped to -ODDS_MOST .. ODDS_MOST
LEAST_MASS = 1e-30
STATIC_CONSTANT = 0.3  # the last input
TOTAL_EDGES = (1, 4, 30)  # the step of the number of times that an order saw its context


class StaticSet(enum.IntEnum):
    """The sets of weights of a static readout, named after what chooses a row.

    Nothing here belongs to one token tree, because the readout is trained on other trees than it is used
    with.

    Source: docs/semantics/chain.md
    """

    ONE = 0
    HITS = 1
    DEPTH = 2
    MANY = 3
    ORDER = 4
    TOTALS = 5
    SHAPE1 = 6
    SHAPE2 = 7


# The number of rows of each set, in the order of `StaticSet`.
STATIC_ROWS = (
    1,
    2 * 2**ORDERS,
    2 * 32,
    8 * 2 * 32,
    (ORDERS + 1) * 2 * 32,
    4**3 * 2 * 8,
    2 * SHAPES,
    2 * SHAPES,
)
STATIC_FINALS = (StaticSet.ONE, StaticSet.TOTALS, StaticSet.MANY, StaticSet.ORDER)
STATIC_FINAL_COUNT = len(STATIC_FINALS)
