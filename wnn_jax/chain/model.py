"""The chain model: a weightless language model that is an exact distribution, a bit at a time.

A token is a path through a binary tree (`tokentree`), and its probability is the product of its turns:

    P(token | text) = prod_d P(bit_d | text, bits before it)

Every turn is predicted by n context neurons. A neuron observes some fields of the text so far (the last
tokens, their classes, the word being written ...) and the node of the tree, and the cell so addressed
counts zeros and ones. The cells' log-odds and states are mixed by a logistic readout, which is all that
has weights. Two ways to use it:

- *static*: cells are plain counts, written in one order-free pass; as they add, a fold is left out by
  subtraction, and the readout is trained on what cells say of text they have not seen (`chain_static`).
- *online*: one sequential pass, each token scored before it is written (`read`); cells also keep fast
  counts that forget, the longest match votes, and the mixed probability is refined by what came of it.

Its kin are the context-mixing archivers (M. Mahoney, "Adaptive weighing of context models for lossless
data compression", 2005), whose contexts are hashed bytes as these are fields.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.chain import contexts, mixer, reader, tokentree
from wnn_jax.chain.contexts import Model
from wnn_jax.chain.mixer import Memory
from wnn_jax.chain.reader import Reading, Settings

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
    connections, view = contexts.neurons(described)
    arrays = tokentree.TokenTree(*(jnp.asarray(x) for x in tree))
    return Model(
        arrays,
        jnp.asarray(contexts.lexicon(pieces, np.asarray(tree.codes))),
        jnp.asarray(connections),
        jnp.asarray(view),
    )


def empty(model: Model, log_slots: int, online: bool, room: int = 1 << 22) -> Memory:
    """A memory that has read nothing.

    Args:
      log_slots: log2 of the cells in each neuron's row, at 12 bytes each.
      online: see `mixer.Memory`.
      room: tokens that a match may look back.

    Raises:
      ValueError: the sizes are out of range.
    """
    if not 2 <= log_slots <= 28:
        raise ValueError(f"a row has 2^2 to 2^28 cells, got 2^{log_slots}")
    if room <= 2 * mixer.MATCH_LENGTHS:
        raise ValueError(f"matches need room for more than {2 * mixer.MATCH_LENGTHS} tokens, got {room}")
    return mixer.empty(model.view.shape[0], log_slots, online, room)


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
    return reader.read_on(model, memory, depth, count, tokens, chance, settings)


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
    tokens = checked(model, tokens)
    if learn and not memory.online:
        raise ValueError("a static memory is written by `chain_static.count` and does not learn as it reads")
    settings = Settings(learn=learn, argmax=argmax, rate=rate)
    nothing = jnp.zeros((0, 0), jnp.float32)
    depth = model.tree.depth
    return _read_on(model, memory, jnp.asarray(tokens), nothing, depth, len(tokens), settings)


def checked(model: Model, tokens: np.ndarray) -> np.ndarray:
    tokens = np.asarray(tokens, np.int32)
    vocabulary = model.lexicon.shape[1]
    bad = np.flatnonzero((tokens < 0) | (tokens >= vocabulary))
    if bad.size:
        raise ValueError(f"token {tokens[bad[0]]} at place {bad[0]} is outside the {vocabulary} ids")
    return tokens


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
    depth = model.tree.depth
    chance = jax.random.uniform(key, (count, depth))
    settings = Settings("sampled", learn=False, temperature=temperature, top_p=top_p)
    nothing = jnp.zeros(0, jnp.int32)
    memory, found = _read_on(model, memory, nothing, chance, depth, count, settings)
    return memory, np.asarray(found.tokens)


def drive(model: Model, memory: Memory, count: int, settings: Settings) -> Memory:
    """Read ``count`` tokens whose bits come from ``settings.callback``, as a decoder's do.

    Args:
      memory: consumed.
    """
    nothing = jnp.zeros(0, jnp.int32), jnp.zeros((0, 0), jnp.float32)
    memory, _ = _read_on(model, memory, *nothing, model.tree.depth, count, settings)
    return jax.block_until_ready(memory)


def nats(model: Model, found: Reading) -> np.ndarray:
    """Negative log-probabilities ``float64 [N]`` of what was read."""
    bits, there = turns(model, found.tokens)
    one = np.asarray(found.ones, np.float64)
    return -np.where(there, np.log(np.where(there, np.where(bits, one, 1.0 - one), 1.0)), 0.0).sum(axis=1)


def turns(model: Model, tokens: np.ndarray | jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Paths of tokens: the bits ``bool [N, D]``, and where there are any."""
    start, bit = np.asarray(model.tree.start), np.asarray(model.tree.bit)
    tokens, places = np.asarray(tokens), np.arange(model.tree.depth)
    there = places < (start[tokens + 1] - start[tokens])[:, None]
    entry = np.minimum(start[tokens][:, None] + places, len(bit) - 1)
    return (bit[entry] > 0) & there, there


def distribution(model: Model, memory: Memory) -> np.ndarray:
    """P ``float32 [V]`` of every token at the place where the memory stands; their sum is 1."""
    return np.asarray(_distribution(model, memory))


_distribution = jax.jit(reader.distribution)


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
