"""The chain model: a weightless language model with exact probabilities, predicted bit by bit.

A token is a path through a binary tree (`tokentree`), and its probability is the product of its turns:

    P(token | text) = prod_d P(bit_d | text, bits before it)

Every turn is predicted by n context neurons. A neuron observes the node of the tree and some fields of the
text so far (the last tokens, their classes, the word being written ...). They address a cell, which counts
zeros and ones. A logistic readout mixes the log-odds and states of the cells; it is the only part that has
weights. There are two ways to use the model:

- *static*: cells are plain counts, written in one pass whose order has no effect. Counts add, so a fold of
  the text can be left out by subtraction. The readout is trained on the counts that each fold meets while it
  is left out (`static`).
- *online*: one pass in order; each token is scored before it is written (`read`). Cells also keep fast counts
  that forget, the longest match votes, and the mixed probability is corrected by how often the bit was 1 at
  such a probability before.

Archivers that mix contexts are related: their contexts are hashes of bytes, and here they are hashes of
fields.

Source: M. Mahoney, "Adaptive weighing of context models for lossless data compression", 2005;
docs/semantics/chain.md
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.chain import contexts, drawing, given, lexicon, reader, tokentree
from wnn_jax.chain.config import SETS, WritingConfig
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.memory import Memory
from wnn_jax.chain.neurons import WORDS
from wnn_jax.chain.online import OnlineMemory
from wnn_jax.chain.reader import BitCallback, M, Reading, ReadSettings
from wnn_jax.ram import backend

BLOCK = 16384  # tokens in a call; the compiled program reads every shorter text too
DRAWN_BLOCK = 128  # drawn tokens in a call, which checks the whole tree first


def network(
    tree: tokentree.TokenTree,
    pieces: list[bytes],
    described: Sequence[str] = WORDS,
    sets: Sequence[str] = SETS,
) -> Network:
    """Makes the wiring of a model for a vocabulary.

    Args:
      tree: the token tree of V ids.
      pieces: the bytes of each of the V ids.
      described: the view and the fields of each context neuron, as in `WORDS`.
      sets: the sets of weights of an online model, the lower-case names of `WeightSet`.

    Raises:
      ValueError: a path does not follow the tree; the tree has another number of ids than ``pieces``; or a
        view, a field or a set is unknown.

    Source: docs/semantics/chain.md
    """
    given.tree(tree)
    if unknown := [name for name in sets if name not in SETS]:
        raise ValueError(f"unknown set of weights {unknown[0]!r}: choose among {', '.join(SETS)}")
    if len(pieces) != len(tree.start) - 1:
        raise ValueError(
            f"the tree has {len(tree.start) - 1} ids, but there are {len(pieces)} pieces: take both from one "
            "vocabulary"
        )
    connections, view = contexts.wire(described)
    return Network(
        tree=jax.tree.map(jnp.asarray, tree),
        lexicon=jnp.asarray(lexicon.lexicon(pieces, np.asarray(tree.codes), np.asarray(tree.rank))),
        connections=jnp.asarray(connections),
        view=jnp.asarray(view),
        sets=jnp.asarray([SETS.index(name) for name in sets], jnp.int32),
    )


def read(
    network: Network,
    memory: M,
    tokens: np.ndarray | Sequence[int],
    *,
    learn: bool = False,
    argmax: bool = False,
    block: int = BLOCK,
) -> tuple[M, Reading]:
    """Scores tokens, each before it is seen; with ``learn`` the token is then written.

    Args:
      network: the wiring.
      memory: a static or online memory. With ``learn`` it is consumed.
      tokens: ids ``int [N]``.
      learn: whether an online memory learns the tokens.
      argmax: whether to find the most probable token at each place too.
      block: the number of tokens in a call. The program that is compiled for a block reads texts of any
        length.

    Returns:
      the memory after the tokens, and a `Reading`.

    Raises:
      ValueError: a token is outside the vocabulary, an array of the network or the memory is not of one, a
        number is out of range, or a static memory is asked to learn.

    Source: docs/semantics/chain.md
    """
    given.network(network)
    given.memory(network, memory)
    ids = given.tokens(network, tokens)
    block = checks.integer("block", block, given.BLOCK)
    if learn and not isinstance(memory, OnlineMemory):
        raise ValueError("learn=True needs an online memory, got a static one: write it with `static.count`")
    return read_ids(network, memory, ids, learn=learn, argmax=argmax, block=block)


def read_ids(
    network: Network, memory: M, ids: np.ndarray, *, learn: bool, argmax: bool, block: int
) -> tuple[M, Reading]:
    """Does the work of `read`, whose arguments have been checked.

    Source: docs/semantics/chain.md
    """
    settings = ReadSettings(learn=learn, argmax=argmax)
    moved: Any = memory if learn else own(memory)
    found = []
    for at in range(0, len(ids), block):
        part = ids[at : at + block]
        padded = jnp.asarray(np.pad(part, (0, block - len(part))))
        moved, reading = _advance(network, moved, {"tokens": padded}, len(part), block, settings)
        found.append([np.asarray(x)[: len(part)] for x in reading])
    if not found:
        nothing = np.zeros((0, network.tree.depth), np.float32)
        return moved, Reading(jnp.asarray(ids), jnp.asarray(nothing), jnp.asarray(ids))
    return moved, Reading(*(jnp.asarray(np.concatenate(parts)) for parts in zip(*found, strict=True)))


def sample(
    key: jax.Array, network: Network, memory: M, count: int, writing: WritingConfig = WritingConfig()
) -> tuple[M, np.ndarray]:
    """Draws tokens one after another. A drawn token becomes context, but is not written into the cells.

    Args:
      key: the random key of the draws.
      network: the wiring.
      memory: the memory at the place to continue.
      count: the number of tokens.
      writing: the rules of drawing. The repetition penalty is for tokens that this call draws.

    Returns:
      the memory after the tokens, and the tokens ``int32 [count]``.

    Raises:
      ValueError: ``count`` is out of range, an array of the network or the memory is not of one, or
        ``writing`` has texts to stop at, which single tokens do not show.

    Source: docs/semantics/chain.md
    """
    given.network(network)
    given.memory(network, memory)
    count = given.count(count)
    if writing.stop:
        raise ValueError(f"sample draws tokens and cannot stop at {writing.stop[0]!r}: use chain.generate")
    return draw(key, network, own(memory), count, writing, np.zeros(0, np.int32))


def own(memory: M) -> M:
    """Returns a memory that `draw` may consume: what follows the text is copied.

    Source: docs/semantics/chain.md
    """
    parts = reader.changing(memory, learn=False)
    return memory._replace(**{name: jnp.copy(x) for name, x in parts.items()})


def draw(
    key: jax.Array, network: Network, memory: M, count: int, writing: WritingConfig, before: np.ndarray
) -> tuple[M, np.ndarray]:
    """Does the work of `sample`, whose arguments have been checked.

    Args:
      key: the random key of the draws.
      network: the wiring.
      memory: the memory at the place to continue. What follows the text is consumed, see `own`.
      count: the number of tokens.
      writing: the rules of drawing.
      before: ids ``int32 [N]``, the tokens before, which the repetition penalty is for too.

    Source: docs/semantics/chain.md
    """
    block = max(1, -(-count // DRAWN_BLOCK)) * DRAWN_BLOCK
    columns = drawing.columns(writing, network.tree.depth)
    chance = jax.random.uniform(key, (block, columns), jnp.float32)
    recent = drawing.recent(before, writing)
    recent = np.concatenate([np.full(writing.remembered - len(recent), -1, np.int32), recent])
    settings = ReadSettings("sampled", writing=dataclasses.replace(writing, stop=()))
    origin = {"chance": chance, "recent": jnp.asarray(recent)}
    memory, found = _advance(network, memory, origin, count, block, settings)
    return memory, np.asarray(found.tokens)[:count]


def decode(
    network: Network, memory: OnlineMemory, count: int, choose: BitCallback, *, block: int
) -> OnlineMemory:
    """Reads tokens bit by bit from a function, as a decoder does, and learns them.

    Args:
      network: the wiring.
      memory: an online memory, which is consumed.
      count: the number of tokens.
      choose: gets P(bit = 1) at each turn and returns the bit.
      block: the largest ``count`` that the compiled program reads. It is compiled once for each ``choose``.

    Raises:
      ValueError: a number is out of range, or an array of the network or the memory is not of one.

    Source: docs/semantics/chain.md
    """
    given.network(network)
    given.memory(network, memory)
    block = checks.integer("block", block, given.BLOCK)
    count = checks.integer("count", count, checks.Limits(least=0, most=block))
    settings = ReadSettings("decoded", learn=True, callback=choose)
    with choose.guarded():
        memory, _ = _advance(network, memory, {}, count, block, settings)
        return jax.block_until_ready(memory)


def _advance(network: Network, memory: Any, origin: dict, count: int, block: int, settings: ReadSettings):
    """Calls the compiled `reader.read_on`; only the first ``count`` rows of the `Reading` are filled.

    The memory is consumed: all of it with learning, and else what follows the text.
    """
    operands = {
        "tokens": jnp.zeros(0, jnp.int32),
        "chance": jnp.zeros((0, 0), jnp.float32),
        "recent": jnp.zeros(0, jnp.int32),
        "count": np.int32(count),
        **origin,
    }
    settings = dataclasses.replace(settings, threads=backend.threads())
    sizes = {"block": block, "depth": network.tree.depth, "settings": settings}
    if settings.learn:
        return _read_learning(network, memory, **operands, **sizes)
    moving = reader.changing(memory, learn=False)
    fixed = memory._replace(**dict.fromkeys(moving))
    moved, reading = _read_frozen(network, fixed, moving, **operands, **sizes)
    return memory._replace(**moved), reading


_SIZES = ("block", "depth", "settings")


@functools.partial(jax.jit, static_argnames=_SIZES, donate_argnames="memory")
def _read_learning(network, memory, *, tokens, chance, recent, count, block, depth, settings):
    sizes = {"block": block, "depth": depth, "settings": settings}
    return reader.read_on(network, memory, tokens, chance, recent, count, **sizes)


@functools.partial(jax.jit, static_argnames=_SIZES, donate_argnames="moving")
def _read_frozen(network, fixed, moving, *, tokens, chance, recent, count, block, depth, settings):
    sizes = {"block": block, "depth": depth, "settings": settings}
    memory = fixed._replace(**moving)
    memory, reading = reader.read_on(network, memory, tokens, chance, recent, count, **sizes)
    return reader.changing(memory, learn=False), reading


def nats(network: Network, found: Reading) -> np.ndarray:
    """Returns the negative log-probability ``float64 [N]`` of each token that was read.

    Raises:
      ValueError: a token is outside the vocabulary, or there is no probability for each of its turns.

    Source: docs/semantics/chain.md
    """
    given.network(network)
    tokens = given.tokens(network, found.tokens)
    rows = {"N": len(tokens), "D": network.tree.depth}
    checks.array("ones", found.ones, "float32", rows, checks.Limits(least=0, most=1))
    return nats_of(found.ones, *turns(network, tokens))


def nats_of(ones: jax.Array | np.ndarray, bits: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Returns the negative log-probability ``float64 [N]`` of tokens whose paths are known.

    Args:
      ones: ``float32 [N, D]``, P(bit = 1) at each turn.
      bits: ``bool [N, D]``, the bits that came, see `turns`.
      there: ``bool [N, D]``, the turns that belong to a path.

    Source: docs/semantics/chain.md
    """
    one = np.asarray(ones, np.float64)
    with np.errstate(divide="ignore"):  # a bit that was impossible costs infinitely many
        return -np.where(there, np.log(np.where(there, np.where(bits, one, 1.0 - one), 1.0)), 0.0).sum(axis=1)


def turns(network: Network, tokens: np.ndarray | jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns the paths of tokens.

    Args:
      network: the wiring.
      tokens: ids ``int [N]``.

    Returns:
      the bits ``bool [N, D]``, and ``bool [N, D]`` which of them belong to a path.

    Raises:
      ValueError: a token is outside the vocabulary.

    Source: docs/semantics/chain.md
    """
    given.network(network)
    tokens = given.tokens(network, tokens)
    start, bit = np.asarray(network.tree.start), np.asarray(network.tree.bit)
    places = np.arange(network.tree.depth)
    there = places < (start[tokens + 1] - start[tokens])[:, None]
    entry = np.minimum(start[tokens][:, None] + places, len(bit) - 1)
    return (bit[entry] > 0) & there, there


def distribution(network: Network, memory: Memory) -> np.ndarray:
    """Returns the probability ``float32 [V]`` of every token to come next; their sum is 1.

    Args:
      network: the wiring.
      memory: the memory at the place in question.

    Raises:
      ValueError: an array of the network or the memory is not of one.

    Source: docs/semantics/chain.md
    """
    given.network(network)
    given.memory(network, memory)
    return np.asarray(_distribution(network, memory))


_distribution = jax.jit(reader.distribution)
