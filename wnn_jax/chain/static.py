"""The static chain model: plain counts, and a readout that is trained on the counts of text left out.

Counts add. A fold of the training text is therefore left out by subtraction, read as if it were new, and
added again. The readout learns from the counts that the bits of the fold met. `model` reads with the result.

Source: docs/semantics/chain.md
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.chain import backend, contexts, fields, given
from wnn_jax.chain import memory as memories
from wnn_jax.chain.config import ReadoutConfig
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.memory import Memory, StaticMemory
from wnn_jax.chain.readout import CLASS, BitCounts, FitState, OnState, train_readout

FLOOR = 1e-6  # the least probability of a bit where counts are read without a readout
_BITS = 1 << 16  # arrays of counts are padded to a multiple of this, so that fewer shapes are compiled


class ObservedText(NamedTuple):
    """A text and the observations of all neurons at each of its places.

    Attributes:
      tokens: ``int32 [N]``.
      hashes: ``uint32 [n, N]``, the hash of the fields that each neuron observes.
      classes: ``int32 [2, N]``, the classes of the last two tokens.

    Source: docs/semantics/chain.md
    """

    tokens: jax.Array
    hashes: jax.Array
    classes: jax.Array


@jax.jit
def _observe(network: Network, state: fields.TextState, tokens):
    if backend.native():
        return backend.observe(network, state, tokens)

    def one(state, token):
        seen = fields.fields(network.lexicon, state.registers)
        hashes = contexts.hash_fields(network, seen)
        return fields.remember(network.lexicon, state, token), (hashes, fields.classes(seen))

    state, (hashes, classes) = jax.lax.scan(one, state, tokens)
    return state, hashes.T, classes.T


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

    Source: docs/semantics/chain.md
    """
    given.network(network)
    given.memory(network, memory)
    ids = jnp.asarray(given.tokens(network, tokens))
    state, hashes, classes = _observe(network, fields.of(memory), ids)
    return fields.put(memory, state), ObservedText(ids, hashes, classes)


def stand_after(network: Network, memory: Memory, tokens: np.ndarray) -> Any:
    """Returns the memory as if it had read ``tokens`` alone; its counts stay as they are.

    Args:
      network: the wiring.
      memory: a static or an online memory.
      tokens: ids ``int [N]``.

    Source: docs/semantics/chain.md
    """
    return observe(network, fields.put(memory, fields.empty()), tokens)[0]


def part(text: ObservedText, begin: int, end: int) -> ObservedText:
    """Returns the places of a text from ``begin`` up to, but not including, ``end``.

    Source: docs/semantics/chain.md
    """
    return ObservedText(
        text.tokens[begin:end], hashes=text.hashes[:, begin:end], classes=text.classes[:, begin:end]
    )


def _check(network: Network, memory: StaticMemory, text: ObservedText) -> None:
    given.network(network)
    if not isinstance(memory, StaticMemory):
        raise ValueError(f"counts are in a static memory, got a {type(memory).__name__}: give a StaticMemory")
    given.memory(network, memory)
    given.tokens(network, np.asarray(text.tokens))
    neurons, size = network.view.shape[0], len(text.tokens)
    checks.array("hashes", text.hashes, "uint32", {"n": neurons, "N": size})
    checks.array("classes", text.classes, "int32", {"tokens": 2, "N": size}, CLASS)


def count(network: Network, memory: StaticMemory, text: ObservedText, sign: int = 1) -> StaticMemory:
    """Writes a text into the counts, or takes it out again; the order of texts has no effect.

    Where more than four cells fall into a bucket, the four with the highest tags stay: a key keeps all its
    counts or none. A text must have been written before it is taken out.

    Args:
      network: the wiring.
      memory: a static memory, which is consumed.
      text: the text to write.
      sign: 1 to write the text, -1 to take it out.

    Raises:
      ValueError: ``sign`` is another number, or an array of the network, memory or text is not of one.

    Source: docs/semantics/chain.md
    """
    _check(network, memory, text)
    if isinstance(sign, bool) or sign not in (1, -1):
        raise ValueError(f"sign={sign!r} is out of range: give 1 to write the text, or -1 to take it out")
    return _count(network, memory, text, sign, network.tree.depth)


@functools.partial(jax.jit, static_argnames=("sign", "depth"), donate_argnames="memory")
def _count(network: Network, memory: StaticMemory, text: ObservedText, sign: int, depth: int):
    slots, hashes, tokens = memory.slots, text.hashes, text.tokens
    if backend.native():
        log_slots = memories.log_slots(memory)
        slots = backend.write_counts(network, slots, hashes, tokens, log_slots=log_slots, sign=sign)
    else:
        slots = contexts.write_counts(network, slots, hashes, tokens, sign, depth)
    return memory._replace(slots=slots)


def read_counts(network: Network, memory: StaticMemory, text: ObservedText) -> BitCounts:
    """Reads the counts that every bit of a text meets.

    Raises:
      ValueError: an array of the network, the memory or the text is not of one.

    Source: docs/semantics/chain.md
    """
    _check(network, memory, text)
    counts, place, entry = _read_counts(network, memory, text)
    zeros, ones = (jnp.asarray(np.asarray(x)[:, : len(entry)]) for x in counts)
    node, bit = (np.asarray(x)[entry] for x in (network.tree.node, network.tree.bit))
    classes = np.asarray(text.classes)[:, place]
    return BitCounts(zeros, ones, jnp.asarray(node), jnp.asarray(bit), jnp.asarray(classes))


def _read_counts(network: Network, memory: StaticMemory, text: ObservedText):
    """Reads the counts that every bit of a text meets.

    Returns:
      the counts of zeros and of ones, ``int32 [n, L]`` padded at the end, and for each bit its place in the
      text and its entry in the tree.
    """
    start, tokens = np.asarray(network.tree.start), np.asarray(text.tokens)
    lengths = start[tokens + 1] - start[tokens]
    place = np.repeat(np.arange(len(tokens)), lengths)
    entry = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + start[tokens][place]
    room = (0, -len(entry) % _BITS)
    padded = (jnp.asarray(np.pad(x, room), jnp.int32) for x in (place, entry))
    return _counts(network, memory, text, *padded), place, entry


@jax.jit
def _counts(network: Network, memory: StaticMemory, text: ObservedText, place, entry):
    if backend.native():
        log_slots, bits = memories.log_slots(memory), len(entry)
        return backend.read_counts(
            network, memory.slots, text.hashes, text.tokens, log_slots=log_slots, bits=bits
        )
    return contexts.read_counts(
        network, memory.slots, text.hashes[:, place], jnp.asarray(network.tree.node)[entry]
    )


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
      ValueError: a token is outside the vocabulary.

    Source: docs/semantics/chain.md
    """
    checks.integer("block", block, given.BLOCK)
    given.network(network)
    tokens = given.tokens(network, tokens)
    widths = np.asarray((network.connections >= 0).sum(axis=1))
    order = tuple(np.argsort(widths, kind="stable").tolist())
    start, bits = np.asarray(network.tree.start), np.asarray(network.tree.bit)
    found: dict[str, list[np.ndarray]] = {"vote": [], "backoff": []}
    for at in range(0, len(tokens), block):
        memory, text = observe(network, memory, tokens[at : at + block])
        counts, _, entry = _read_counts(network, memory, text)
        zeros, ones = counts
        bit = jnp.asarray(np.pad(bits[entry], (0, zeros.shape[1] - len(entry))))
        ids = np.asarray(text.tokens)
        lengths = start[ids + 1] - start[ids]
        for name, right in zip(found, _unweighted(zeros, ones, bit, order), strict=True):
            nats = np.log(np.asarray(right, np.float64)[: len(entry)])
            found[name].append(-np.add.reduceat(nats, np.cumsum(lengths) - lengths))
    return {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in found.items()}


@functools.partial(jax.jit, static_argnames="order")
def _unweighted(zeros, ones, bit, order: tuple[int, ...]):
    # Named as float32: a number beside an integer array would take the widest type of JAX.
    zeros, ones = zeros.astype(jnp.float32), ones.astype(jnp.float32)
    seen = zeros + ones > 0
    votes = jnp.where(seen, (ones + 0.5) / (zeros + ones + 1.0), 0.0).sum(axis=0)
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
    state: FitState = FitState(),
    on_state: OnState | None = None,
) -> StaticMemory:
    """Counts a text, and trains the readout on the counts that each fold meets while it is left out.

    Args:
      key: draws which tokens of a fold are read, and the order of the batches.
      network: the wiring.
      memory: an empty static memory, which is consumed.
      tokens: ids ``int [N]`` of the training text.
      config: the settings for training the readout.
      on_step: called with the share of the work that is done.
      state: the place from which fitting continues; the result has the same bits as without it.
      on_state: called with a `FitState` after every fold and every epoch.

    Raises:
      ValueError: there are fewer tokens than folds, a token is outside the vocabulary, or the memory is an
        online one.

    Source: docs/semantics/chain.md
    """
    if not isinstance(memory, StaticMemory) or len(tokens) < config.folds:
        raise ValueError(
            f"fitting needs a static memory and at least {config.folds} tokens, one for each fold, got a "
            f"{type(memory).__name__} and {len(tokens)} tokens"
        )
    report = on_step or (lambda share: None)
    memory, text = observe(network, memory, tokens)
    memory = count(network, memory, text)
    report(0.2)
    borders = np.linspace(0, len(tokens), config.folds + 1).astype(int)
    met = list(state.met)
    for fold, (begin, end) in list(enumerate(itertools.pairwise(borders)))[len(met) :]:
        held = part(text, begin, end)
        memory = count(network, memory, held, sign=-1)
        kept = min(end - begin, config.tokens // config.folds)
        # One run of tokens from a random place in the fold, because the readout must see whole text.
        last = end - begin - kept + 1
        shift = int(jax.random.randint(jax.random.fold_in(key, fold), (), 0, last, jnp.int32))
        met.append(read_counts(network, memory, part(held, shift, shift + kept)))
        memory = count(network, memory, held)
        if on_state:
            on_state(FitState(tuple(met)))
        report(0.2 + 0.5 * (fold + 1) / config.folds)
    everything = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=-1), *met)
    gain, offset = train_readout(
        jax.random.fold_in(key, config.folds),
        network,
        memory,
        everything,
        config,
        state=state,
        on_state=on_state and (lambda trained: on_state(trained._replace(met=tuple(met)))),
    )
    report(1.0)
    return memory._replace(gain=gain, offset=offset)
