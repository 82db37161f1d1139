"""The numbers that define a chain model, named once for the JAX contract and for the native kernels.

`metal_ext/constants.py` writes them into a C++ header. Changing one changes what every saved table and every
compressed file means.
"""

import enum

# Cells: a bucket holds four cells of three words, which are a tag with two fast counts, zeros, and ones.
BUCKET = 4
CELL = 3
FAST_LIMIT = 2  # a fast count above it is halved when the other bit comes
FAST_MOST = 255

# The tree.
CODE_BITS = 16
OWN_KINDS = 4096  # the most visited nodes have a kind each
KINDS = OWN_KINDS + 64

# Fields of a place in a text.
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
COUNT_EDGES = (1, 2, 3, 4, 5, 6, 8, 12, 20, 40, 100)  # a count is in as many steps as edges it reaches
COUNT_STEPS = len(COUNT_EDGES) + 1
STATES = COUNT_STEPS**2
SMOOTH = 0.4  # added to every count before its logarithm
HIT_NEURONS = 6  # neurons whose having seen the like chooses gains
HITS = 2 * 2**HIT_NEURONS
CLASSES = 2 ** CLASS_BITS[0] + 1
GAIN_STATES = HITS + KINDS + 2 * CLASSES  # the first row that belongs to states
GAIN_ROWS = GAIN_STATES + 2 * STATES
LANES = 8  # inputs are padded to a multiple
RANGE = 13.0  # of mixed log-odds
LEAST = 2e-6  # probability of a bit

# The longest match.
MATCH_LENGTHS = 32
MATCH_LOG = 18
MATCH_ORDER = 3  # tokens by which a match is found
MATCH_RUN = 2  # the shortest one that counts
MATCH_RATE = 0.005
MATCH_GAIN_RATE = 0.002
MATCH_LEAST = 0.001
MATCH_MOST = 0.9999

# Refinement of the mixed probability.
REFINE_LOG = 16
REFINE_STEPS = 33
REFINE_WIDTH = 0.75  # log-odds between two steps
REFINE_EDGE = 15.99  # steps from the middle, at most
REFINE_RATE = 0.02


class Lexicon(enum.IntEnum):
    """Rows of ``uint32 [9, V]``: what the fields need of each token, from its bytes and its code.

    The word being written is a polynomial of its letters, so a token without a border maps it by
    ``word * multiply + add``, and one with a border finishes it by ``word * head_multiply + head``.
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
    """Registers that remember the text, ``uint32 [12]``; the first six are the last tokens, plus one."""

    WORD = RECENT
    LAST_WORD = 7
    BYTES = 8
    COUNT = 9
    MATCH_AT = 10
    MATCH_LENGTH = 11


REGISTERS = max(Register) + 1


class Mode(enum.IntEnum):
    """Where the tokens come from that a memory reads on."""

    GIVEN = 0
    SAMPLED = 1
    DECODED = 2
