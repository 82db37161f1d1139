"""The static chain model: plain counts, and a readout trained on what they say of text left out.

Counts add, so a fold of the training text is left out by subtraction, read as if it were new, and put
back; the readout learns from what its bits met. `chain` has the model and reads with what is fitted here.
"""

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax import chain
from wnn_jax.chain import backend, contexts, mixer
from wnn_jax.chain.contexts import Model
from wnn_jax.chain.mixer import STATES, Memory

FLOOR = 1e-6  # of what counts without a readout may say


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
        seen = contexts.fields(model, registers)
        context = contexts.contexts(model, seen)
        return contexts.remember(model, registers, token), (context, contexts.classes(seen))

    registers, (context, classes) = jax.lax.scan(one, registers, tokens)
    return registers, context.T, classes.T


def observe(model: Model, memory: Memory, tokens: np.ndarray) -> tuple[Memory, Stream]:
    """What the neurons see of a text that continues what the memory has read.

    Raises:
      ValueError: a token is outside the vocabulary.
    """
    ids = jnp.asarray(chain.checked(model, tokens))
    registers, context, classes = _observe(model, memory.registers, ids)
    return memory._replace(registers=registers), Stream(ids, context, classes)


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
    return _count(model, memory, stream, sign, model.tree.depth)


@functools.partial(jax.jit, static_argnames=("sign", "depth"), donate_argnames="memory")
def _count(model: Model, memory: Memory, stream: Stream, sign: int, depth: int) -> Memory:
    slots, context, tokens = memory.slots, stream.context, stream.tokens
    if backend.native():
        slots = backend.count(model.tree, model.view, slots, context, tokens, memory.log_slots, sign)
    else:
        slots = contexts.count(model, slots, context, tokens, sign, depth)
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
    node, bit = jnp.asarray(model.tree.node[entry]), jnp.asarray(model.tree.bit[entry])
    return Met(zeros, ones, node, bit, stream.classes[:, place])


@jax.jit
def _counts(model: Model, memory: Memory, stream: Stream, place, entry):
    if backend.native():
        return backend.read(
            model.tree, model.view, memory.slots, stream.context, stream.tokens, len(entry), memory.log_slots
        )
    return contexts.counts(model, memory.slots, stream.context[:, place], jnp.asarray(model.tree.node)[entry])


def weightless(model: Model, memory: Memory, stream: Stream) -> dict[str, np.ndarray]:
    """What a text costs by the counts alone, without any weight: nats ``float64 [N]`` of two readouts.

    ``vote``: the mean of the shares of those neurons that have seen the like (1/2 if none has).
    ``backoff``: from the neuron with the fewest fields to that with the most, each takes the estimate so far
    as one observation more: a context never seen passes it on, one often seen replaces it.
    """
    met = meet(model, memory, stream)
    fields = np.asarray((model.connections >= 0).sum(axis=1))
    order = tuple(np.argsort(fields, kind="stable").tolist())
    vote, backoff = _weightless(met.zeros, met.ones, met.bit, order)
    start, tokens = np.asarray(model.tree.start), np.asarray(stream.tokens)
    lengths = start[tokens + 1] - start[tokens]
    first = np.cumsum(lengths) - lengths
    return {
        name: -np.add.reduceat(np.log(np.asarray(right, np.float64)), first)
        for name, right in (("vote", vote), ("backoff", backoff))
    }


@functools.partial(jax.jit, static_argnames="order")
def _weightless(zeros, ones, bit, order: tuple[int, ...]):
    seen = zeros + ones > 0
    votes = jnp.where(seen, (ones + 0.5) / (zeros + ones + 1.0), 0.0).sum(axis=0)
    vote = jnp.where(seen.any(axis=0), votes / jnp.maximum(seen.sum(axis=0), 1), 0.5)
    backoff = jnp.full(bit.shape, 0.5)
    for c in order:
        backoff = (ones[c] + backoff) / (zeros[c] + ones[c] + 1.0)
    return tuple(jnp.where(bit > 0, one, 1.0 - one) for one in (vote, jnp.clip(backoff, FLOOR, 1.0 - FLOOR)))


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
        seen = mixer.evidence(inputs, rows.zeros, rows.ones, None)
        shared = mixer.gain_rows(model, rows.node, seen.hits, rows.classes)
        state_rows = seen.state + STATES * model.tree.spelled[rows.node]
        dot = mixer.logit(weights[0], weights[1] * real, shared, state_rows, seen.odds)
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
