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


# The online model. A cell has four 32-bit words: the tag and two fast counts; the counts of zeros and of ones; the
# same, fading; and the last bit with the time of the last write.
WIDE_CELL = 4
COUNT_MOST = 65535
FADING_ONE = 256  # what one observation adds to a fading count
FADING_MOST = 65000  # a fading count above this stays, before one observation is added
FADING_SMOOTH = 50.0
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
FINAL_RATE_MORE = 0.0085  # at first the rate is higher by this; it falls by half in FINAL_RATE_HALF visits of a row
FINAL_RATE_HALF = 1000.0
TOKEN_ROWS_LOG = 11
MATCH_KINDS = 3 * 16 * 2
SEEN_STEPS = 32

# The refinement by five maps.
REFINEMENTS = 5
REFINED_LOG = 16
MIXED_SHARE = 0.3  # the share of the mixed probability in the result; the five maps have the rest


class WeightSet(enum.IntEnum):
    """What chooses a row of a set of weights.

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
)
# The sets that choose rows of the second layer.
FINAL_SETS = (
    *(WeightSet.ONE, WeightSet.KIND, WeightSet.MATCH, WeightSet.CLASS1),
    *(WeightSet.DEPTH, WeightSet.HITS, WeightSet.CLASS2, WeightSet.TOKEN),
)


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
