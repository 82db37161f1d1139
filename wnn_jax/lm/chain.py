"""The chain model: a weightless language model that is an exact distribution, a bit at a time.

A token is a path through a binary tree (`tokentree`), and its probability is the product of its turns:

    P(token | text) = prod_d P(bit_d | text, bits before it)

Every turn is predicted by n context neurons. A neuron observes some fields of the text so far (the last
tokens, their classes, the word being written ...) and the node of the tree, and the cell so addressed
counts zeros and ones. The cells' log-odds and states are mixed by a logistic readout, which is all that
has weights. Two ways to use it:

- *static*: cells are plain counts, written in one order-free pass (`count`); as they add, a fold is left
  out by subtraction, and the readout is trained on what cells say of text they have not seen (`fit`).
- *online*: one sequential pass, each token scored before it is written (`read`); cells also keep fast
  counts that forget, the longest match votes, and the mixed probability is refined by what came of it.

Its kin are the context-mixing archivers (M. Mahoney, "Adaptive weighing of context models for lossless
data compression", 2005), whose contexts are hashed bytes as these are fields.
"""

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax import native
from wnn_jax.lm import chain_reader, tokentree
from wnn_jax.lm.chain_reader import FIELDS, STATES, VIEWS, Lexicon, Memory, Model, Reading, Settings

# What the context neurons of a model of words observe, and by which name they know a node. The first six
# are those whose having been seen before chooses the mixer's gains.
WORDS = (
    ("node", ""),
    ("node", "token1"),
    ("node", "token1 token2"),
    ("node", "token1 token2 token3"),
    ("node", "token1 class9_2"),
    ("node", "token2"),
    ("node", "token1 token2 token3 token4"),
    ("node", "token1 token3"),
    ("node", "token3"),
    ("node", "token2 token3"),
    ("node", "class9_1"),
    ("node", "class9_1 class9_2"),
    ("node", "class6_1 class6_2 class6_3"),
    ("node", "class12_1 class12_2"),
    ("node", "token1 class6_2 class6_3"),
    ("node", "word last_word"),
    ("node", "last_word"),
    ("byte", ""),
    ("bytes3", ""),
    ("byte", "word"),
    ("bytes3", "word"),
    ("bytes3", "bytes3"),
    ("byte", "token1"),
    ("node", "word bytes3"),
)
# And those of a model of bytes.
BYTES = (
    ("node", ""),
    ("node", "token1"),
    ("node", "token1 token2"),
    ("node", "token1 token2 token3"),
    ("node", "token1 token2 token3 token4"),
    ("node", "word token1"),
    ("node", "token1 token2 token3 token4 token5"),
    ("node", "token1 token2 token3 token4 token5 token6"),
    ("node", "word last_word"),
    ("node", "last_word token1"),
    ("node", "token2 token3"),
    ("node", "token1 token3"),
    ("node", "token2"),
    ("node", "token3 token4"),
    ("node", "word token1 last_word"),
    ("node", "folded1 folded2 folded3"),
)


def neurons(described: tuple[tuple[str, str], ...]) -> tuple[np.ndarray, np.ndarray]:
    """Context neurons from words: connections ``int32 [n, T]`` over `FIELDS`, and views ``int32 [n]``.

    Raises:
      ValueError: a view or field is unknown.
    """
    wired = [fields.split() for _, fields in described]
    unknown = [name for row in wired for name in row if name not in FIELDS]
    unknown += [view for view, _ in described if view not in VIEWS]
    if unknown or not described:
        raise ValueError(f"unknown field or view {unknown[:1]}: choose of {', '.join((*FIELDS, *VIEWS))}")
    connections = np.full((len(wired), max(1, *(len(row) for row in wired))), -1, np.int32)
    for row, names in zip(connections, wired, strict=True):
        row[: len(names)] = [FIELDS.index(name) for name in names]
    return connections, np.array([VIEWS.index(view) for view, _ in described], np.int32)


def model(tree: tokentree.TokenTree, pieces: list[bytes], described=WORDS) -> Model:
    """A model of a vocabulary, its tables still to be filled.

    Args:
      pieces: the bytes of each of the V ids.
      described: the context neurons, as in `WORDS`.

    Raises:
      ValueError: the tree has another number of ids; a view or field is unknown.
    """
    if len(pieces) != len(tree.start) - 1:
        raise ValueError(f"the tree has {len(tree.start) - 1} ids and the vocabulary {len(pieces)}")
    connections, view = neurons(described)
    arrays = tokentree.TokenTree(*(jnp.asarray(x) for x in tree))
    return Model(
        arrays, jnp.asarray(lexicon(pieces, tree.codes)), jnp.asarray(connections), jnp.asarray(view)
    )


def lexicon(pieces: list[bytes], codes: np.ndarray) -> np.ndarray:
    """``uint32 [9, V]``, see `chain_reader.Lexicon`.

    Letters and digits of ASCII, lowered, and all bytes above it are of words; anything else is a border.
    """
    table = np.zeros((len(Lexicon), len(pieces)), np.uint32)
    folded: dict[bytes, int] = {}
    for token, piece in enumerate(pieces):
        multiply, add, head, ends = 1, 0, (0, 1), False
        for byte in piece.lower():
            if byte >= 128 or bytes([byte]).isalnum():
                add = (add * 0x01000193 + byte + 1) & 0xFFFFFFFF
                multiply = multiply * 0x01000193 & 0xFFFFFFFF
            else:
                head = head if ends else (add, multiply)
                add, multiply, ends = 0, 0, True
        row = table[:, token]
        row[Lexicon.FOLDED] = folded.setdefault(piece.strip(b" ").lower() or piece, len(folded))
        row[Lexicon.MULTIPLY], row[Lexicon.ADD], row[Lexicon.ENDS] = multiply, add, ends
        row[Lexicon.HEAD], row[Lexicon.HEAD_MULTIPLY] = head
        row[Lexicon.TAIL], row[Lexicon.SIZE] = int.from_bytes(piece[-3:], "big"), min(len(piece), 3)
    table[Lexicon.CODE] = codes
    return table


def empty(model: Model, log_slots: int, online: bool, room: int = 1 << 22) -> Memory:
    """A memory that has read nothing.

    Args:
      log_slots: log2 of the cells in each neuron's row, at 12 bytes each.
      online: see `chain_reader.Memory`.
      room: tokens that a match may look back.

    Raises:
      ValueError: the sizes are out of range.
    """
    if not 2 <= log_slots <= 28:
        raise ValueError(f"a row has 2^2 to 2^28 cells, got 2^{log_slots}")
    if room <= 2 * chain_reader.MATCH_LENGTHS:
        raise ValueError(
            f"matches need room for more than {2 * chain_reader.MATCH_LENGTHS} tokens, got {room}"
        )
    return chain_reader.empty(model.view.shape[0], log_slots, online, room)


def log_slots_for(memory_mib: int, neurons: int) -> int:
    """The largest rows of which ``neurons`` fit into a memory.

    Raises:
      ValueError: not even the smallest do.
    """
    cells = (memory_mib << 20) // (12 * neurons)
    if cells < 4:
        raise ValueError(f"{memory_mib} MiB are too few for the tables of {neurons} neurons")
    return min(cells.bit_length() - 1, 28)


@functools.partial(jax.jit, static_argnames=("depth", "count", "settings"), donate_argnames="memory")
def _read_on(model, memory, tokens, chance, depth, count, settings):
    return chain_reader.read_on(model, memory, depth, count, tokens, chance, settings)


def read(
    model: Model, memory: Memory, tokens: np.ndarray, learn: bool, argmax: bool = False, rate: float = 0.03
) -> tuple[Memory, Reading]:
    """Score tokens, each before it is seen; with ``learn`` it is then written.

    Args:
      memory: consumed.
      argmax: whether to look for the most probable token too.
      rate: of the mixer's learning.

    Raises:
      ValueError: a token is outside the vocabulary, or a static memory is asked to learn.
    """
    tokens = _checked(model, tokens)
    if learn and not memory.online:
        raise ValueError("a static memory is written by `count` and does not learn as it reads")
    settings = Settings(learn=learn, argmax=argmax, rate=rate)
    nothing = jnp.zeros((0, 0), jnp.float32)
    depth = depth_of(model)
    return _read_on(model, memory, jnp.asarray(tokens), nothing, depth, len(tokens), settings)


def _checked(model: Model, tokens: np.ndarray) -> np.ndarray:
    tokens = np.asarray(tokens, np.int32)
    vocabulary = model.lexicon.shape[1]
    bad = np.flatnonzero((tokens < 0) | (tokens >= vocabulary))
    if bad.size:
        raise ValueError(f"token {tokens[bad[0]]} at place {bad[0]} is outside the {vocabulary} ids")
    return tokens


def depth_of(model: Model) -> int:
    """D: turns of the longest path."""
    return int(np.diff(np.asarray(model.tree.start)).max())


def sample(
    key: jax.Array, model: Model, memory: Memory, count: int, temperature: float = 1.0, top_p: float = 1.0
) -> tuple[Memory, np.ndarray]:
    """Draw ``count`` tokens one after another. What is drawn is remembered as context and not written.

    Args:
      memory: consumed.
      temperature: divides the log-odds of every turn; 1 draws from the model.
      top_p: keeps to the fewest most probable tokens with this share; 1 keeps all.

    Raises:
      ValueError: temperature or top_p is out of range.
    """
    if temperature <= 0 or not 0 < top_p <= 1:
        raise ValueError(f"temperature must be above 0 and top_p in (0, 1], got {temperature} and {top_p}")
    depth = depth_of(model)
    chance = jax.random.uniform(key, (count, depth))
    settings = Settings("sampled", learn=False, temperature=temperature, top_p=top_p)
    nothing = jnp.zeros(0, jnp.int32)
    memory, found = _read_on(model, memory, nothing, chance, depth, count, settings)
    return memory, np.asarray(found.tokens)


def nats(model: Model, found: Reading) -> np.ndarray:
    """Negative log-probabilities ``float64 [N]`` of what was read."""
    bits, there = turns(model, found.tokens)
    one = np.asarray(found.ones, np.float64)
    return -np.where(there, np.log(np.where(there, np.where(bits, one, 1.0 - one), 1.0)), 0.0).sum(axis=1)


def turns(model: Model, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Paths of tokens: the bits ``bool [N, D]``, and where there are any."""
    start, bit = np.asarray(model.tree.start), np.asarray(model.tree.bit)
    tokens, places = np.asarray(tokens), np.arange(depth_of(model))
    there = places < (start[tokens + 1] - start[tokens])[:, None]
    entry = np.minimum(start[tokens][:, None] + places, len(bit) - 1)
    return (bit[entry] > 0) & there, there


def distribution(model: Model, memory: Memory) -> np.ndarray:
    """P ``float32 [V]`` of every token at the place where the memory stands; their sum is 1."""
    return np.asarray(_distribution(model, memory))


_distribution = jax.jit(chain_reader.distribution)


def arrays(model: Model, memory: Memory) -> dict[str, jax.Array]:
    """All of a model but its connections by name, as `checkpoint.save` keeps them."""
    tree = {f"tree_{name}": x for name, x in model.tree._asdict().items()}
    return {**memory._asdict(), **tree, "lexicon": model.lexicon, "view": model.view}


def from_arrays(connections: np.ndarray, found: dict[str, jax.Array]) -> tuple[Model, Memory]:
    """The inverse of `arrays`.

    Raises:
      ValueError: some are missing.
    """
    names = tokentree.TokenTree._fields
    missing = {f"tree_{x}" for x in names} | {*Memory._fields, "lexicon", "view"}
    missing -= set(found)
    if missing:
        raise ValueError(f"this is no chain model: it lacks {', '.join(sorted(missing))}")
    tree = tokentree.TokenTree(*(found[f"tree_{name}"] for name in names))
    memory = Memory(*(found[name] for name in Memory._fields))
    return Model(tree, found["lexicon"], jnp.asarray(connections, jnp.int32), found["view"]), memory


class Stream(NamedTuple):
    """A text and what every neuron sees at each of its places: ``int32 [N]`` and ``uint32 [n, N]``.

    ``classes``: ``int32 [2, N]`` of the last two tokens.
    """

    tokens: jax.Array
    context: jax.Array
    classes: jax.Array


@jax.jit
def _observe(model: Model, registers, tokens):
    def one(registers, token):
        seen = chain_reader.fields(model, registers)
        context = chain_reader.contexts(model, seen)
        classes = seen[jnp.array([FIELDS.index("class6_1"), FIELDS.index("class6_2")])]
        return chain_reader.remember(model, registers, token), (context, classes.astype(jnp.int32))

    registers, (context, classes) = jax.lax.scan(one, registers, tokens)
    return registers, context.T, classes.T


def observe(model: Model, memory: Memory, tokens: np.ndarray) -> tuple[Memory, Stream]:
    """What the neurons see of a text that continues what the memory has read.

    Raises:
      ValueError: a token is outside the vocabulary.
    """
    tokens = jnp.asarray(_checked(model, tokens))
    registers, context, classes = _observe(model, memory.registers, tokens)
    return memory._replace(registers=registers), Stream(tokens, context, classes)


def part(stream: Stream, begin: int, end: int) -> Stream:
    """Some of its places."""
    return Stream(*(x[..., begin:end] for x in stream))


def count(model: Model, memory: Memory, stream: Stream, sign: int = 1) -> Memory:
    """Write a text into the counts, or with ``sign=-1`` take it out again; the order of texts has no effect.

    Where more than four cells fall into a bucket those of the highest tags stay: a key keeps all its counts
    or has none. A text must have been written before it is taken out.

    Args:
      memory: consumed.
    """
    return _count(model, memory, stream, sign, depth_of(model))


@functools.partial(jax.jit, static_argnames=("sign", "depth"), donate_argnames="memory")
def _count(model: Model, memory: Memory, stream: Stream, sign: int, depth: int) -> Memory:
    slots, context, tokens = memory.slots, stream.context, stream.tokens
    if native.backend() != "xla":
        slots = native.chain_count(model.tree, model.view, slots, context, tokens, memory.log_slots, sign)
    else:
        slots = chain_reader.count(model, slots, context, tokens, sign, depth)
    return memory._replace(slots=slots)


class Met(NamedTuple):
    """What the bits of a text meet: counts ``int32 [n, L]``, and per bit its node, value and classes."""

    zeros: jax.Array
    ones: jax.Array
    node: jax.Array
    bit: jax.Array
    classes: jax.Array


def meet(model: Model, memory: Memory, stream: Stream) -> Met:
    """The counts met by every bit of a text."""
    start = np.asarray(model.tree.start)
    tokens = np.asarray(stream.tokens)
    lengths = start[tokens + 1] - start[tokens]
    place = np.repeat(np.arange(len(tokens)), lengths)
    entry = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + start[tokens][place]
    zeros, ones = _counts(model, memory, stream, jnp.asarray(place), jnp.asarray(entry))
    tree = model.tree
    return Met(zeros, ones, tree.node[entry], tree.bit[entry], stream.classes[:, place])


@jax.jit
def _counts(model: Model, memory: Memory, stream: Stream, place, entry):
    if native.backend() != "xla":
        return native.chain_read(
            model.tree, model.view, memory.slots, stream.context, stream.tokens, len(entry), memory.log_slots
        )
    return chain_reader.counts(model, memory, stream.context[:, place], model.tree.node[entry])


class ReadoutConfig(NamedTuple):
    """How the readout is trained.

    Attributes:
      folds: parts of the training text; each is read after it was taken out of the counts.
      tokens: of the training text that are read for it, spread over the folds.
      epochs: over what was read.
      batch: bits a step.
      rate: first step size of AdamW, which falls to 0 along a cosine.
      decay: its pull back to the start, where every input counts alike.
    """

    folds: int = 10
    tokens: int = 150_000
    epochs: int = 2
    batch: int = 4096
    rate: float = 0.002
    decay: float = 1.0


def fit(key: jax.Array, model: Model, memory: Memory, tokens: np.ndarray, config: ReadoutConfig) -> Iterator:
    """Write a text and train the readout on what its folds meet when they are left out.

    Args:
      key: orders the batches.
      memory: an empty static one; consumed.

    Yields:
      ``(share of the work done, memory)``: the memory of the last is the fitted one.

    Raises:
      ValueError: the text is shorter than the folds, or the memory is an online one.
    """
    if memory.online or len(tokens) < config.folds:
        raise ValueError(f"fitting needs a static memory and {config.folds} tokens, got {len(tokens)}")
    memory, stream = observe(model, memory, tokens)
    memory = count(model, memory, stream)
    yield 0.2, memory
    borders = np.linspace(0, len(tokens), config.folds + 1).astype(int)
    met = []
    for fold, (begin, end) in enumerate(itertools.pairwise(borders)):
        held = part(stream, begin, end)
        memory = count(model, memory, held, sign=-1)
        kept = min(end - begin, config.tokens // config.folds)
        # From anywhere in the fold, but one run: a text is read, not tokens.
        shift = int(jax.random.randint(jax.random.fold_in(key, fold), (), 0, end - begin - kept + 1))
        met.append(meet(model, memory, part(held, shift, shift + kept)))
        memory = count(model, memory, held)
        yield 0.2 + 0.5 * (fold + 1) / config.folds, memory
    everything = Met(*(jnp.concatenate(parts, axis=-1) for parts in zip(*met, strict=True)))
    gain, offset = train_readout(jax.random.fold_in(key, config.folds), model, memory, everything, config)
    yield 1.0, memory._replace(gain=gain, offset=offset)


def train_readout(key: jax.Array, model: Model, memory: Memory, met: Met, config: ReadoutConfig):
    """Gains and offsets that predict the bits from what they met: logistic regression by Adam.

    Returns:
      ``gain, offset`` in the shapes of `Memory`.
    """
    size = met.bit.shape[0]
    batch = min(config.batch, size)
    steps = config.epochs * (size // batch)
    optimizer = optax.adamw(optax.cosine_decay_schedule(config.rate, steps), weight_decay=config.decay)
    start = memory.gain, memory.offset
    inputs = memory.gain.shape[1]
    real = (jnp.arange(inputs) < model.view.shape[0]).astype(jnp.float32)

    def loss(moved, rows: Met):
        weights = jax.tree.map(jnp.add, start, moved)
        seen = chain_reader.evidence(inputs, rows.zeros, rows.ones, None)
        shared = chain_reader.gain_rows(model, rows.node, seen.hits, rows.classes)
        state_rows = seen.state + STATES * model.tree.spelled[rows.node]
        dot = chain_reader.logit(weights[0], weights[1] * real, shared, state_rows, seen.odds)
        return optax.sigmoid_binary_cross_entropy(dot, rows.bit.astype(jnp.float32)).mean()

    def one(carry, index):
        moved, state = carry
        rows = Met(*(x[..., index] for x in met))
        value, gradient = jax.value_and_grad(loss)(moved, rows)
        update, state = optimizer.update(gradient, state, moved)
        return (optax.apply_updates(moved, update), state), value

    @jax.jit
    def epoch(carry, order):
        return jax.lax.scan(one, carry, order)

    moved = jax.tree.map(jnp.zeros_like, start)
    carry = moved, optimizer.init(moved)
    for epoch_key in jax.random.split(key, config.epochs):
        order = jax.random.permutation(epoch_key, size)[: size // batch * batch].reshape(-1, batch)
        carry, _ = epoch(carry, order)
    gain, offset = jax.tree.map(jnp.add, start, carry[0])
    return gain, offset * real
