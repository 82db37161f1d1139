"""The chain model: a weightless language model that is an exact distribution, a bit at a time.

A token is a path through a binary tree (`tokentree`), and its probability is the product of its turns:

    P(token | text) = prod_d P(bit_d | text, bits before it)

Every turn is predicted by n context neurons. A neuron observes some fields of the text so far (the last
tokens, their classes, the word being written ...) and the node of the tree, and the cell so addressed
counts zeros and ones. The cells' log-odds and states are mixed by a logistic readout, which is all that
has weights. Two ways to use it:

- *static*: cells are plain counts, written in one order-free pass; as they add, a fold is left out by
  subtraction, and the readout is trained on what cells say of text they have not seen (`static`).
- *online*: one sequential pass, each token scored before it is written (`read`); cells also keep fast
  counts that forget, the longest match votes, and the mixed probability is refined by what came of it.

Its kin are the context-mixing archivers (M. Mahoney, "Adaptive weighing of context models for lossless
data compression", 2005), whose contexts are hashed bytes as these are fields.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.chain import contexts, reader, tokentree
from wnn_jax.chain.config import WORDS
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.memory import Memory, OnlineMemory
from wnn_jax.chain.reader import BitCallback, M, Reading, ReadSettings

BLOCK = 16384  # tokens a call; what is compiled serves every shorter text
DRAWN_BLOCK = 64


def network(
    tree: tokentree.TokenTree, pieces: list[bytes], described: Sequence[tuple[str, str]] = WORDS
) -> Network:
    """The wiring of a model of a vocabulary.

    Args:
      pieces: the bytes of each of the V ids.
      described: view and fields of each context neuron, as in `WORDS`.

    Raises:
      ValueError: the tree has another number of ids; a view or field is unknown.
    """
    if len(pieces) != len(tree.start) - 1:
        raise ValueError(f"the tree has {len(tree.start) - 1} ids and the vocabulary {len(pieces)}")
    connections, view = contexts.wire(described)
    return Network(
        tree=jax.tree.map(jnp.asarray, tree),
        lexicon=jnp.asarray(contexts.lexicon(pieces, np.asarray(tree.codes))),
        connections=jnp.asarray(connections),
        view=jnp.asarray(view),
    )


def read(
    network: Network,
    memory: M,
    tokens: np.ndarray | Sequence[int],
    *,
    learn: bool = False,
    argmax: bool = False,
    rate: float = 0.03,
    block: int = BLOCK,
) -> tuple[M, Reading]:
    """Score tokens, each before it is seen; with ``learn`` it is then written.

    Args:
      memory: consumed if it learns.
      argmax: whether to look for the most probable token too.
      rate: of the mixer's learning.
      block: tokens a call. Texts of any length share what was compiled for a block.

    Raises:
      ValueError: a token is outside the vocabulary, or a static memory is asked to learn.
    """
    ids = check_tokens(network, tokens)
    if learn and not isinstance(memory, OnlineMemory):
        raise ValueError("a static memory is written by `static.count` and does not learn as it reads")
    settings = ReadSettings(learn=learn, argmax=argmax, rate=rate if learn else 0.0)
    moved: Any = memory
    found = []
    for at in range(0, len(ids), block):
        part = ids[at : at + block]
        padded = jnp.asarray(np.pad(part, (0, block - len(part))))
        moved, reading = _advance(network, moved, padded, None, len(part), block, settings)
        found.append([np.asarray(x)[: len(part)] for x in reading])
    if not found:
        nothing = np.zeros((0, network.tree.depth), np.float32)
        return moved, Reading(jnp.asarray(ids), jnp.asarray(nothing), jnp.asarray(ids))
    return moved, Reading(*(jnp.asarray(np.concatenate(parts)) for parts in zip(*found, strict=True)))


def check_tokens(network: Network, tokens: np.ndarray | Sequence[int]) -> np.ndarray:
    """Tokens as ``int32 [N]``.

    Raises:
      ValueError: one is outside the vocabulary.
    """
    ids = np.asarray(tokens, np.int32)
    vocabulary = network.lexicon.shape[1]
    bad = np.flatnonzero((ids < 0) | (ids >= vocabulary))
    if bad.size:
        raise ValueError(f"token {ids[bad[0]]} at place {bad[0]} is outside the {vocabulary} ids")
    return ids


def sample(
    key: jax.Array, network: Network, memory: M, count: int, temperature: float = 1.0, top_p: float = 1.0
) -> tuple[M, np.ndarray]:
    """Draw ``count`` tokens one after another. What is drawn is remembered as context and not written.

    Args:
      temperature: divides the log-odds of every turn; 1 draws from the model.
      top_p: keeps to the fewest most probable tokens with this share; 1 keeps all.

    Raises:
      ValueError: temperature or top_p is out of range.
    """
    if temperature <= 0 or not 0 < top_p <= 1:
        raise ValueError(f"temperature must be above 0 and top_p in (0, 1], got {temperature} and {top_p}")
    block = max(1, -(-count // DRAWN_BLOCK)) * DRAWN_BLOCK
    chance = np.asarray(jax.random.uniform(key, (count, network.tree.depth)))
    chance = jnp.asarray(np.pad(chance, ((0, block - count), (0, 0))))
    settings = ReadSettings("sampled", rate=0.0, temperature=temperature, top_p=top_p)
    memory, found = _advance(network, memory, None, chance, count, block, settings)
    return memory, np.asarray(found.tokens)[:count]


def decode(
    network: Network, memory: OnlineMemory, count: int, choose: BitCallback, *, rate: float, block: int
) -> OnlineMemory:
    """Read ``count`` tokens whose bits ``choose`` answers to P(bit = 1), as a decoder does; they are learnt.

    Args:
      memory: consumed.
      block: room for tokens, at least ``count``. It is compiled once for a ``choose``.
    """
    settings = ReadSettings("decoded", learn=True, rate=rate, callback=choose)
    memory, _ = _advance(network, memory, None, None, count, block, settings)
    return jax.block_until_ready(memory)


def _advance(network: Network, memory: Any, tokens, chance, count: int, block: int, settings: ReadSettings):
    """`reader.read_on`, compiled: the memory and a `Reading` of which ``count`` rows count."""
    given = {
        "tokens": jnp.zeros(0, jnp.int32) if tokens is None else tokens,
        "chance": jnp.zeros((0, 0), jnp.float32) if chance is None else chance,
        "count": np.int32(count),
    }
    sizes = {"block": block, "depth": network.tree.depth, "settings": settings}
    if settings.learn:
        return _read_learning(network, memory, **given, **sizes)
    moved, reading = _read_frozen(network, memory, **given, **sizes)
    return memory._replace(**moved), reading


_SIZES = ("block", "depth", "settings")


@functools.partial(jax.jit, static_argnames=_SIZES, donate_argnames="memory")
def _read_learning(network, memory, *, tokens, chance, count, block, depth, settings):
    sizes = {"block": block, "depth": depth, "settings": settings}
    return reader.read_on(network, memory, tokens, chance, count, **sizes)


@functools.partial(jax.jit, static_argnames=_SIZES)
def _read_frozen(network, memory, *, tokens, chance, count, block, depth, settings):
    sizes = {"block": block, "depth": depth, "settings": settings}
    memory, reading = reader.read_on(network, memory, tokens, chance, count, **sizes)
    return reader.changing(memory, learn=False), reading


def nats(network: Network, found: Reading) -> np.ndarray:
    """Negative log-probabilities ``float64 [N]`` of what was read."""
    bits, there = turns(network, found.tokens)
    one = np.asarray(found.ones, np.float64)
    return -np.where(there, np.log(np.where(there, np.where(bits, one, 1.0 - one), 1.0)), 0.0).sum(axis=1)


def turns(network: Network, tokens: np.ndarray | jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Paths of tokens: the bits ``bool [N, D]``, and where there are any."""
    start, bit = np.asarray(network.tree.start), np.asarray(network.tree.bit)
    tokens, places = np.asarray(tokens), np.arange(network.tree.depth)
    there = places < (start[tokens + 1] - start[tokens])[:, None]
    entry = np.minimum(start[tokens][:, None] + places, len(bit) - 1)
    return (bit[entry] > 0) & there, there


def distribution(network: Network, memory: Memory) -> np.ndarray:
    """P ``float32 [V]`` of every token at the place where the memory stands; their sum is 1."""
    return np.asarray(_distribution(network, memory))


_distribution = jax.jit(reader.distribution)
