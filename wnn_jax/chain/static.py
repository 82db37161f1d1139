"""The static chain model: counts of a text, and a readout that is trained on text that was left out.

The readout must not learn how well a model knows its own training text. So the text is cut into folds. For
each fold, everything that is made from text is made from the other folds: the token tree, the classes of
tokens, and the counts. The readout learns from what the turns of the fold then meet. After that, the tree and
the counts of all the text are used with the same readout.

Source: docs/semantics/chain_static.md
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.chain import (
    backend,
    contexts,
    counting,
    fields,
    given,
    static_cells,
    static_inputs,
    static_mixer,
)
from wnn_jax.chain.config import ReadoutConfig
from wnn_jax.chain.constants import ORDERS, SHAPES
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.memory import Memory, StaticMemory
from wnn_jax.chain.readout import Examples, FitState, OnState, train_readout
from wnn_jax.chain.static_inputs import StaticCells

FLOOR = 1e-6  # the least probability of a bit where counts are read without a readout
_BITS = 1 << 16  # arrays of turns are padded to a multiple of this, so that fewer shapes are compiled


class ObservedText(NamedTuple):
    """A text and the observations of all neurons at each of its places.

    Attributes:
      tokens: ``int32 [N]``.
      hashes: ``uint32 [ORDERS + n, N]``, the hash of the fields that each order of Kneser-Ney and each neuron
        observes.
      shapes: ``int32 [2, N]``, the shapes of the two tokens before.

    Source: docs/semantics/chain_static.md
    """

    tokens: jax.Array
    hashes: jax.Array
    shapes: jax.Array


@jax.jit
def _observe(network: Network, state: fields.TextState, tokens):
    network = static_inputs.wired(network)
    if backend.native():
        return backend.observe(network, state, tokens)

    def one(state, token):
        seen = fields.fields(network.lexicon, state.registers)
        found = contexts.hash_fields(network, seen), static_mixer.shapes(seen)
        return fields.remember(network.lexicon, state, token), found

    state, (hashes, shapes) = jax.lax.scan(one, state, tokens)
    return state, hashes.T, shapes.T


def observe(network: Network, memory: Any, tokens: np.ndarray) -> tuple[Any, ObservedText]:
    """Computes the observations of all neurons in a text that continues what the memory has read.

    Args:
      network: the wiring.
      memory: the memory before the text.
      tokens: ids ``int [N]``.

    Returns:
      the memory with the state of the text after it, and the `ObservedText`.

    Raises:
      ValueError: a token is outside the vocabulary, or an array of the network or the memory is not of one.

    Source: docs/semantics/chain_static.md
    """
    given.network(network)
    given.memory(network, memory)
    ids = jnp.asarray(given.tokens(network, tokens))
    state, hashes, shapes = _observe(network, fields.of(memory), ids)
    return fields.put(memory, state), ObservedText(ids, hashes, shapes)


def hashes(network: Network, state: fields.TextState, tokens: np.ndarray) -> jax.Array:
    """Returns the hashes ``uint32 [ORDERS + n, N]`` of a text that continues a state; see `ObservedText`.

    Args:
      network: the wiring.
      state: the state of the text before it; it is consumed.
      tokens: ids ``int32 [N]`` of the vocabulary.

    Source: docs/semantics/chain_static.md
    """
    return _observe(network, state, jnp.asarray(tokens))[1]


def stand_after(network: Network, memory: Memory, tokens: np.ndarray) -> Any:
    """Returns the memory as if it had read ``tokens`` alone; its counts stay as they are.

    Args:
      network: the wiring.
      memory: a static or an online memory.
      tokens: ids ``int [N]``.

    Source: docs/semantics/chain_static.md
    """
    return observe(network, fields.put(memory, fields.empty()), tokens)[0]


def part(text: ObservedText, begin: int, end: int) -> ObservedText:
    """Returns the places of a text from ``begin`` up to, but not including, ``end``.

    Source: docs/semantics/chain_static.md
    """
    return jax.tree.map(lambda x: x[..., begin:end], text)


def _without(text: ObservedText, begin: int, end: int) -> ObservedText:
    """Returns all other places of a text."""
    return jax.tree.map(lambda x: jnp.concatenate([x[..., :begin], x[..., end:]], axis=-1), text)


def _check_memory(network: Network, memory: StaticMemory) -> None:
    given.network(network)
    if not isinstance(memory, StaticMemory):
        raise ValueError(f"counts are in a static memory, got a {type(memory).__name__}: give a StaticMemory")
    given.memory(network, memory)


def _check(network: Network, memory: StaticMemory, text: ObservedText) -> None:
    _check_memory(network, memory)
    given.tokens(network, np.asarray(text.tokens))
    neurons, size = network.view.shape[0] + ORDERS, len(text.tokens)
    checks.array("hashes", text.hashes, "uint32", {"ORDERS + n": neurons, "N": size})
    checks.array(
        "shapes", text.shapes, "int32", {"tokens": 2, "N": size}, checks.Limits(least=0, most=SHAPES - 1)
    )


def count(
    network: Network, memory: StaticMemory, text: ObservedText, mesh: jax.sharding.Mesh | None = None
) -> StaticMemory:
    """Counts a text; the order of its places has no effect. What the memory counted before is forgotten.

    Where more than four cells fall into a bucket, the four with the highest tags stay: a key keeps all its
    counts or none.

    Args:
      network: the wiring.
      memory: a static memory, whose cells are consumed.
      text: the text to count.
      mesh: the devices that share the work, see `counting.mesh`; the tables do not depend on it.

    Raises:
      ValueError: an array of the network, the memory or the text is not of one.

    Source: docs/semantics/chain_static.md
    """
    _check(network, memory, text)
    hashes, tokens = np.asarray(text.hashes), np.asarray(text.tokens)

    def followers(row: int) -> static_cells.Rows:
        return static_cells.followers(hashes[row], tokens, hashes[row + 1] if row + 1 < ORDERS else None)

    return counting.fill(network, memory, followers, len(tokens), mesh=mesh)


class Turns(NamedTuple):
    """Where the L turns of a text are.

    Attributes:
      place: ``int32 [L]``, the place of the turn's token in the text.
      entry: ``int32 [L]``, the place of the turn in the paths of the token tree.
      first: ``int32 [L]``, the first turn of the same token, which is at the root.

    Source: docs/semantics/chain_static.md
    """

    place: np.ndarray | jax.Array
    entry: np.ndarray | jax.Array
    first: np.ndarray | jax.Array


def _turns(network: Network, tokens: np.ndarray) -> Turns:
    begins = np.asarray(network.tree.start)
    lengths = begins[tokens + 1] - begins[tokens]
    first = np.cumsum(lengths) - lengths
    place = np.repeat(np.arange(len(tokens), dtype=np.int32), lengths)
    entry = np.arange(lengths.sum()) - first[place] + begins[tokens][place]
    return Turns(place, entry.astype(np.int32), first[place].astype(np.int32))


def _padded(turns: Turns) -> Turns:
    return Turns(*(jnp.asarray(np.pad(x, (0, -len(x) % _BITS))) for x in turns))


@jax.jit
def _cells(network: Network, slots, text: ObservedText, turns: Turns) -> StaticCells:
    network = static_inputs.wired(network)
    if backend.native():
        log_slots, bits = slots.shape[1].bit_length() + 1, len(turns.entry)
        found = backend.read_cells(network, slots, text.hashes, text.tokens, log_slots=log_slots, bits=bits)
    else:
        node = jnp.asarray(network.tree.node)[turns.entry]
        found = static_cells.read(network, slots, text.hashes[:, turns.place], node)
    return StaticCells(*found)


@jax.jit
def _examples(network: Network, cells: StaticCells, text: ObservedText, turns: Turns) -> Examples:
    network, tree = static_inputs.wired(network), network.tree
    roots = StaticCells(*(x[:, turns.first] for x in cells))
    node = jnp.asarray(tree.node)[turns.entry]
    x = static_inputs.inputs(network, cells, roots, static_inputs.leaves(tree)[node])
    depth = jnp.arange(len(node), dtype=jnp.int32) - turns.first
    spelled = jnp.asarray(tree.spelled)[node]
    rows = static_mixer.choose_rows(cells, roots, spelled, depth, text.shapes[:, turns.place])
    return Examples(x.T, rows.T, jnp.asarray(tree.bit)[turns.entry])


def examples(network: Network, memory: StaticMemory, text: ObservedText) -> Examples:
    """Returns what the turns of a text meet, as the readout sees it.

    Raises:
      ValueError: an array of the network, the memory or the text is not of one.

    Source: docs/semantics/chain_static.md
    """
    _check(network, memory, text)
    turns = _turns(network, np.asarray(text.tokens))
    padded = _padded(turns)
    found = _examples(network, _cells(network, memory.slots, text, padded), text, padded)
    return jax.tree.map(lambda x: x[: len(turns.entry)], found)


def unweighted_nats(
    network: Network, memory: StaticMemory, tokens: np.ndarray, block: int = 16384
) -> dict[str, np.ndarray]:
    """Scores a text by the counts alone, without weights, in two ways.

    ``vote``: the mean of ``(ones + 1/2) / (zeros + ones + 1)`` over the neurons that have seen their context
    before; 1/2 if no neuron has. ``backoff``: from the neuron with the fewest fields to the one with the most
    (ties in the order of the neurons), each adds the estimate so far to its counts, as one more observation.
    A context that was never seen leaves the estimate as it is, and one that was often seen replaces it. The
    result is clipped to `FLOOR` .. 1 - `FLOOR`.

    Args:
      network: the wiring.
      memory: the memory before the first token.
      tokens: ids ``int [N]``.
      block: the number of tokens that are read at once.

    Returns:
      nats ``float64 [N]`` for ``vote`` and for ``backoff``.

    Raises:
      ValueError: a token is outside the vocabulary, an array of the memory is not of one, or it is an
        online one.

    Source: docs/semantics/chain_static.md
    """
    block = checks.integer("block", block, given.BLOCK)
    _check_memory(network, memory)
    tokens = given.tokens(network, tokens)
    widths = np.asarray((network.connections >= 0).sum(axis=1))
    order = tuple((ORDERS + np.argsort(widths, kind="stable")).tolist())
    bits = np.asarray(network.tree.bit)
    found: dict[str, list[np.ndarray]] = {"vote": [], "backoff": []}
    for at in range(0, len(tokens), block):
        memory, text = observe(network, memory, tokens[at : at + block])
        turns = _turns(network, np.asarray(text.tokens))
        padded = _padded(turns)
        cells = _cells(network, memory.slots, text, padded)
        bit = jnp.asarray(bits)[padded.entry]
        for name, right in zip(found, _unweighted(cells.zeros, cells.ones, bit, order), strict=True):
            nats = np.log(np.asarray(right, np.float64)[: len(turns.entry)])
            found[name].append(-np.add.reduceat(nats, np.unique(turns.first)))
    return {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in found.items()}


@functools.partial(jax.jit, static_argnames="order")
def _unweighted(zeros, ones, bit, order: tuple[int, ...]):
    # Named as float32: a number beside an integer array would take the widest type of JAX.
    zeros, ones = zeros.astype(jnp.float32), ones.astype(jnp.float32)
    seen = (zeros + ones > 0)[ORDERS:]
    shares = ((ones + 0.5) / (zeros + ones + 1.0))[ORDERS:]
    votes = jnp.where(seen, shares, 0.0).sum(axis=0)
    vote = jnp.where(seen.any(axis=0), votes / jnp.maximum(seen.sum(axis=0), 1), 0.5)
    backoff = jnp.full(bit.shape, 0.5, jnp.float32)
    for c in order:
        backoff = (ones[c] + backoff) / (zeros[c] + ones[c] + 1.0)
    backoff = jnp.clip(backoff, FLOOR, 1.0 - FLOOR)
    return tuple(jnp.where(bit > 0, one, 1.0 - one) for one in (vote, backoff))


def fit(
    key: jax.Array,
    network: Network,
    memory: StaticMemory,
    tokens: np.ndarray,
    config: ReadoutConfig,
    on_step: Callable[[float], None] | None = None,
    *,
    build: Callable[[np.ndarray], Network] | None = None,
    state: FitState = FitState(),
    on_state: OnState | None = None,
) -> StaticMemory:
    """Trains the readout on the folds of a text, and counts the whole text.

    Args:
      key: draws which tokens of a fold are read, and the order of the examples.
      network: the wiring of the whole text.
      memory: a static memory, whose cells are consumed.
      tokens: ids ``int [N]`` of the training text.
      config: the settings for training the readout.
      on_step: called with the share of the work that is done.
      build: makes the wiring for a text without one of the folds, from its tokens; it must have the neurons
        of ``network``. Without it the given wiring serves every fold.
      state: the place from which training continues; the result has the same bits as without it.
      on_state: called with a `FitState` after every round of training.

    Raises:
      ValueError: there are fewer tokens than folds, a token is outside the vocabulary, or the memory is an
        online one.

    Source: docs/semantics/chain_static.md
    """
    if not isinstance(memory, StaticMemory) or len(tokens) < config.folds:
        raise ValueError(
            f"fitting needs a static memory and at least {config.folds} tokens, one for each fold, got a "
            f"{type(memory).__name__} and {len(tokens)} tokens"
        )
    report = on_step or (lambda share: None)
    tokens = given.tokens(network, tokens)
    borders = np.linspace(0, len(tokens), config.folds + 1).astype(int)
    met = []
    for fold, (begin, end) in enumerate(itertools.pairwise(borders)):
        kept = min(end - begin, max(1, config.tokens // config.folds))
        # One run of tokens from a random place in the fold, because the readout must see whole text.
        last = end - begin - kept + 1
        shift = begin + int(jax.random.randint(jax.random.fold_in(key, fold), (), 0, last, jnp.int32))
        other = np.delete(tokens, np.s_[begin:end])
        wiring = network if build is None else build(other)
        _, text = observe(wiring, stand_after(wiring, memory, tokens[:0]), tokens)
        memory = count(wiring, memory, _without(text, begin, end))
        met.append(examples(wiring, memory, part(text, shift, shift + kept)))
        report(0.7 * (fold + 1) / config.folds)
    everything = Examples(*(jnp.concatenate(parts) for parts in zip(*met, strict=True)))
    del met  # frees the parts, which are as large as the whole
    weights, finals = train_readout(
        jax.random.fold_in(key, config.folds), network, everything, config, state=state, on_state=on_state
    )
    del everything
    memory, text = observe(network, memory._replace(weights=weights, finals=finals), tokens)
    memory = count(network, memory, text)
    report(1.0)
    return memory
