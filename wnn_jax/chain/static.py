"""The static chain model: plain counts, and a readout trained on what they say of text left out.

Counts add, so a fold of the training text is left out by subtraction, read as if it were new, and put
back; the readout learns from what its bits met. `model` reads with what is fitted here.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax.chain import backend, contexts, mixer
from wnn_jax.chain import memory as memories
from wnn_jax.chain.config import ReadoutConfig
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.memory import Memory, StaticMemory
from wnn_jax.chain.model import check_tokens

FLOOR = 1e-6  # of what counts without a readout may say
_BITS = 1 << 16  # counts are read into arrays of whole multiples: fewer shapes to compile


class ObservedText(NamedTuple):
    """A text and what every neuron observes at each of its places.

    Attributes:
      tokens: ``int32 [N]``.
      hashes: ``uint32 [n, N]`` of the fields that each neuron observes.
      classes: ``int32 [2, N]`` of the last two tokens.
    """

    tokens: jax.Array
    hashes: jax.Array
    classes: jax.Array


@jax.jit
def _observe(network: Network, registers, tokens):
    def one(registers, token):
        seen = contexts.fields(network, registers)
        hashes = contexts.hash_fields(network, seen)
        return contexts.remember(network, registers, token), (hashes, contexts.classes(seen))

    registers, (hashes, classes) = jax.lax.scan(one, registers, tokens)
    return registers, hashes.T, classes.T


def observe(network: Network, memory: Any, tokens: np.ndarray) -> tuple[Any, ObservedText]:
    """The observations that neurons make of a text that continues what the memory has read.

    Raises:
      ValueError: a token is outside the vocabulary.
    """
    ids = jnp.asarray(check_tokens(network, tokens))
    registers, hashes, classes = _observe(network, memory.registers, ids)
    return memory._replace(registers=registers), ObservedText(ids, hashes, classes)


def stand_after(network: Network, memory: Memory, tokens: np.ndarray) -> Any:
    """The memory as if it had read ``tokens`` and nothing else; its counts stay as they are."""
    start = memory._replace(registers=jnp.zeros_like(memory.registers))
    return observe(network, start, tokens)[0]


def part(text: ObservedText, begin: int, end: int) -> ObservedText:
    """The places from ``begin`` up to ``end`` of a text."""
    return ObservedText(
        text.tokens[begin:end], hashes=text.hashes[:, begin:end], classes=text.classes[:, begin:end]
    )


def count(network: Network, memory: StaticMemory, text: ObservedText, sign: int = 1) -> StaticMemory:
    """Write a text into the counts, or with ``sign=-1`` take it out again; the order of texts has no effect.

    Where more than four cells fall into a bucket those of the highest tags stay: a key keeps all its counts
    or has none. A text must have been written before it is taken out.

    Args:
      memory: consumed.
    """
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


class BitCounts(NamedTuple):
    """The counts that each of the L bits of a text meets, and what else the readout sees of it.

    Attributes:
      zeros, ones: ``int32 [n, L]`` counts.
      node, bit: ``int32 [L]`` the node, and the bit that came.
      classes: ``int32 [2, L]`` of the last two tokens.
    """

    zeros: jax.Array
    ones: jax.Array
    node: jax.Array
    bit: jax.Array
    classes: jax.Array


def read_counts(network: Network, memory: StaticMemory, text: ObservedText) -> BitCounts:
    """The counts that every bit of a text meets."""
    counts, place, entry = _read_counts(network, memory, text)
    zeros, ones = (jnp.asarray(np.asarray(x)[:, : len(entry)]) for x in counts)
    node, bit = (np.asarray(x)[entry] for x in (network.tree.node, network.tree.bit))
    classes = np.asarray(text.classes)[:, place]
    return BitCounts(zeros, ones, jnp.asarray(node), jnp.asarray(bit), jnp.asarray(classes))


def _read_counts(network: Network, memory: StaticMemory, text: ObservedText):
    """Counts ``int32 [n, L]`` with room for more, and each bit's place in the text and entry in the tree."""
    start, tokens = np.asarray(network.tree.start), np.asarray(text.tokens)
    lengths = start[tokens + 1] - start[tokens]
    place = np.repeat(np.arange(len(tokens)), lengths)
    entry = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + start[tokens][place]
    room = (0, -len(entry) % _BITS)
    padded = (jnp.asarray(np.pad(x, room)) for x in (place, entry))
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
    """Nats ``float64 [N]`` of a text by the counts alone, without any weight, read out in two ways.

    ``vote``: the mean of the shares of those neurons that have seen the like (1/2 if none has).
    ``backoff``: from the neuron with the fewest fields to that with the most, each takes the estimate so far
    as one observation more: a context never seen passes it on, one often seen replaces it.

    Args:
      memory: stands before the first token.
      block: tokens that are read at once.
    """
    fields = np.asarray((network.connections >= 0).sum(axis=1))
    order = tuple(np.argsort(fields, kind="stable").tolist())
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
    return {name: np.concatenate(parts) for name, parts in found.items()}


@functools.partial(jax.jit, static_argnames="order")
def _unweighted(zeros, ones, bit, order: tuple[int, ...]):
    seen = zeros + ones > 0
    votes = jnp.where(seen, (ones + 0.5) / (zeros + ones + 1.0), 0.0).sum(axis=0)
    vote = jnp.where(seen.any(axis=0), votes / jnp.maximum(seen.sum(axis=0), 1), 0.5)
    backoff = jnp.full(bit.shape, 0.5)
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
) -> StaticMemory:
    """Write a text and train the readout on the counts that its folds meet when they are left out.

    Args:
      key: draws which tokens of a fold are read, and the order of the batches.
      memory: an empty one; consumed.
      on_step: called with the share of the work that is done.

    Raises:
      ValueError: the text is shorter than the folds, or the memory is an online one.
    """
    if not isinstance(memory, StaticMemory) or len(tokens) < config.folds:
        raise ValueError(f"fitting needs a static memory and {config.folds} tokens, got {len(tokens)}")
    report = on_step or (lambda share: None)
    memory, text = observe(network, memory, tokens)
    memory = count(network, memory, text)
    report(0.2)
    borders = np.linspace(0, len(tokens), config.folds + 1).astype(int)
    met = []
    for fold, (begin, end) in enumerate(itertools.pairwise(borders)):
        held = part(text, begin, end)
        memory = count(network, memory, held, sign=-1)
        kept = min(end - begin, config.tokens // config.folds)
        # From anywhere in the fold, but one run: a text is read, not tokens.
        shift = int(jax.random.randint(jax.random.fold_in(key, fold), (), 0, end - begin - kept + 1))
        met.append(read_counts(network, memory, part(held, shift, shift + kept)))
        memory = count(network, memory, held)
        report(0.2 + 0.5 * (fold + 1) / config.folds)
    everything = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=-1), *met)
    gain, offset = train_readout(jax.random.fold_in(key, config.folds), network, memory, everything, config)
    report(1.0)
    return memory._replace(gain=gain, offset=offset)


def train_readout(
    key: jax.Array, network: Network, memory: StaticMemory, met: BitCounts, config: ReadoutConfig
):
    """Gains and offsets that predict the bits from what they met: logistic regression by Adam.

    Returns:
      ``gain, offset`` in the shapes of `StaticMemory`.
    """
    size = met.bit.shape[0]
    batch = min(config.batch, size)
    steps = config.epochs * (size // batch)
    optimizer = optax.adamw(optax.cosine_decay_schedule(config.step_size, steps), weight_decay=config.decay)
    start = memory.gain, memory.offset
    inputs = memory.gain.shape[1]
    real = (jnp.arange(inputs) < network.view.shape[0]).astype(jnp.float32)

    def loss(moved, rows: BitCounts):
        weights = jax.tree.map(jnp.add, start, moved)
        seen = mixer.evidence(inputs, rows.zeros, rows.ones, None)
        chosen = mixer.choose_rows(network, rows.node, seen, rows.classes)
        dot = mixer.logit(weights[0], weights[1] * real, chosen, seen.odds)
        return optax.sigmoid_binary_cross_entropy(dot, rows.bit.astype(jnp.float32)).mean()

    def one(carry, index):
        moved, state = carry
        rows = jax.tree.map(lambda x: x[..., index], met)
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
