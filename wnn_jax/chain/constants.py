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

# Static cells: a bucket holds four cells of four 32-bit words: the tag, zeros, ones, and what is left of each
# after the discounts.
STATIC_CELL = 4
ORDERS = 5  # the orders of Kneser-Ney, which are the first neurons of a static model
DISCOUNT_UNIT = 1024  # discounts are written in units of 1 / DISCOUNT_UNIT

# The tree.
CODE_BITS = 16
OWN_KINDS = 4096  # number of the most visited nodes that have a kind of their own
KINDS = OWN_KINDS + 64

# The fields of a place in a text.
RECENT = 6
FOLDED = 3
CLASS_BITS = (6, 9, 12)
FIELDS = (
    *(f"token{k}" for k in range(1, RECENT + 1)),
    *(f"folded{k}" for k in range(1, FOLDED + 1)),
    *(f"class{bits}_{k}" for bits in CLASS_BITS for k in range(1, FOLDED + 1)),
    *("word", "last_word", "bytes3"),
)
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
    """The rows of the lexicon ``uint32 [9, V]``: facts about each token that the fields need.

    The word being written is a polynomial of its letters. A token without a border in it updates the word to
    ``word * multiply + add``. A token with a border finishes the word as ``word * head_multiply + head``.

    Source: docs/semantics/chain.md
    """

    FOLDED = 0
    CODE = 1
    MULTIPLY = 2
    ADD = 3
    HEAD = 4
    HEAD_MULTIPLY = 5
    ENDS = 6
    TAIL = 7
    SIZE = 8


class Register(enum.IntEnum):
    """The registers ``uint32 [12]`` that hold the recent text.

    Registers 0 to 5 hold the last six tokens, newest first, as the id plus 1; 0 means that there is no token
    yet.

    Source: docs/semantics/chain.md
    """

    WORD = RECENT
    LAST_WORD = 7
    BYTES = 8
    COUNT = 9
    MATCH_AT = 10
    MATCH_LENGTH = 11


REGISTERS = max(Register) + 1


class Mode(enum.IntEnum):
    """The origin of the tokens that a memory reads.

    Source: docs/semantics/chain.md
    """

    GIVEN = 0
    SAMPLED = 1
    DECODED = 2
