"""Hostile calls of the chain model, and random contents of all buffers of its kernels; see `fuzz`."""

import functools

import fuzz
import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import chain
from wnn_jax.chain import (
    audit,
    backend,
    drawing,
    fields,
    ledger,
    reader,
    static,
    static_cells,
    static_inputs,
    tokentree,
)
from wnn_jax.chain.constants import ORDERS

KEY = jax.random.key(0)
V, ROOM, LOG_SLOTS, BLOCK = 12, 100, 4, 8
TEXT = np.random.default_rng(0).integers(0, V, 60).astype(np.int32)


@functools.cache
def network():
    pieces = [b" a", b"b", b" a b", b"c.", b"\n", *(bytes([100 + i]) for i in range(V - 5))]
    described = (*chain.WORDS[:3], "byte word", "bytes3 bytes3 class6_2")
    return chain.network(tokentree.clustered(TEXT, pieces, 5), pieces, described)


@functools.cache
def memories():
    """Return memories of both kinds that have learnt, as NumPy arrays, so that none is ever given away."""
    online = chain.empty_online(network(), LOG_SLOTS, room=ROOM)
    online, _ = chain.read(network(), online, TEXT, learn=True, block=BLOCK)
    fixed, observed = static.observe(network(), chain.empty_static(network(), LOG_SLOTS), TEXT)
    fixed = static.count(network(), fixed, observed)
    return {"online": jax.tree.map(np.array, online), "static": jax.tree.map(np.array, fixed)}


def taken(rng, x, often=0.15):
    """Return a pytree of JAX arrays in which a wrong caller changed some arrays."""
    return jax.tree.map(lambda x: fuzz.array(rng, x) if rng.random() < often else jnp.asarray(x), x)


def numbers(rng, **known):
    """Return keyword arguments, of which some are numbers that nobody should give."""
    return {name: fuzz.number(rng) if rng.random() < 0.2 else x for name, x in known.items()}


def outline(found):
    """Return the shapes of results, and whether they are finite: digits differ between backends."""
    leaves = [np.asarray(x) for x in jax.tree.leaves(found)]
    return [(np.array(x.shape), np.isfinite(x).all()) for x in leaves]


def again(memory):
    """Return a copy of a memory, for a function that consumes it."""
    return jax.tree.map(lambda x: jnp.copy(x) if isinstance(x, jax.Array) else x, memory)


def call(rng):
    """Return the name of a public function and a random call of it."""
    name = str(rng.choice(list(CALLS)))
    wiring, kind = network(), str(rng.choice(["online", "static"]))
    memory = memories()[kind]
    if rng.random() < 0.7:
        wiring = taken(rng, network(), 0.05) if rng.random() < 0.5 else wiring
        memory = taken(rng, memory, 0.1)
    else:
        memory = jax.tree.map(jnp.asarray, memory)
    arguments = CALLS[name](rng, wiring, memory)
    return name, lambda: outline(arguments())


def _read(rng, wiring, memory):
    text = fuzz.array(rng, TEXT[:20]) if rng.random() < 0.5 else TEXT[:20]
    learn = bool(rng.random() < 0.5)
    some = numbers(rng, block=BLOCK)
    # A block is a shape: one that is accepted would be compiled.
    some["block"] = BLOCK if isinstance(some["block"], int) and 0 < some["block"] < 2**22 else some["block"]
    return lambda: chain.read(wiring, again(memory), text, learn=learn, **some)


def _sample(rng, wiring, memory):
    some = numbers(rng, count=4)
    some["count"] = 4 if isinstance(some["count"], int) and 0 < some["count"] < 2**22 else some["count"]
    rules = (
        chain.WritingConfig(),
        chain.WritingConfig(temperature=0.5, top_p=0.9),
        chain.WritingConfig(top_k=3, repetition_penalty=2.0, repetition_window=5),
    )
    return lambda: chain.sample(KEY, wiring, memory, **some, writing=rules[rng.integers(len(rules))])


def _distribution(rng, wiring, memory):
    return lambda: chain.distribution(wiring, memory)


def _nats(rng, wiring, memory):
    shape = len(TEXT), network().tree.depth
    tokens, ones = taken(rng, (TEXT, np.full(shape, 0.5, np.float32)), 0.5)
    return lambda: chain.nats(wiring, chain.Reading(tokens, ones, tokens))


def _count(rng, wiring, memory):
    observed = _observed(rng)
    return lambda: static.count(wiring, again(memory), observed)


def _examples(rng, wiring, memory):
    observed = _observed(rng)
    return lambda: static.examples(wiring, memory, observed)


def _observed(rng):
    shape = ORDERS + len(network().view), 20
    observed = static.ObservedText(TEXT[:20], np.zeros(shape, np.uint32), np.zeros((2, 20), np.int32))
    return static.ObservedText(*taken(rng, tuple(observed), 0.3))


def _unweighted(rng, wiring, memory):
    text = fuzz.array(rng, TEXT[:20]) if rng.random() < 0.5 else TEXT[:20]
    return lambda: static.unweighted_nats(wiring, memory, text)


def _empty(rng, wiring, memory):
    some = numbers(rng, log_slots=3, room=90)
    some["room"] = 90 if isinstance(some["room"], int) and 80 < some["room"] <= 2**28 else some["room"]
    return lambda: chain.empty_online(network(), **some)


def _plain(rng, wiring, memory):
    size = fuzz.number(rng) if rng.random() < 0.7 else int(rng.integers(2, 20))
    size = 40 if isinstance(size, int) and 40 < size <= 2**24 else size
    return lambda: tokentree.plain(size)


def _clustered(rng, wiring, memory):
    text = fuzz.array(rng, TEXT) if rng.random() < 0.6 else TEXT
    some = numbers(rng, rare=5)
    return lambda: tokentree.clustered(text, [bytes([97 + i]) for i in range(V)], **some)


CALLS = {
    "read": _read,
    "sample": _sample,
    "distribution": _distribution,
    "nats": _nats,
    "count": _count,
    "examples": _examples,
    "unweighted_nats": _unweighted,
    "empty_online": _empty,
    "plain": _plain,
    "clustered": _clustered,
}


def buffers(rng, x, kept):
    """Fill some of the arrays of a pytree with random contents; the share ``kept`` stays as it is."""

    def one(x):
        x = np.asarray(x)
        if rng.random() < kept:
            return jnp.asarray(x)
        # The largest buffers repeat what was drawn.
        drawn = fuzz.contents(rng, (x.size,) if x.size < 20_000 else (19_997,), x.dtype)
        return jnp.asarray(np.resize(drawn, x.shape))

    return jax.tree.map(one, x)


def operands(rng, kind):
    """Return a network and a memory with random contents.

    The kernels refuse most contents of the arrays that they check, so these stay as they are in most calls.
    """
    wiring = buffers(rng, network(), 0.97)
    memory = buffers(rng, memories()[kind], 0.3)
    if rng.random() < 0.9:
        known = memories()[kind]
        registers = np.array(fuzz.contents(rng, known.registers.shape, np.uint32))
        registers[:8] = rng.integers(0, V + 1, 8)
        memory = memory._replace(registers=jnp.asarray(registers))
        if kind == "online":
            memory = memory._replace(text=jnp.asarray(rng.integers(0, V, ROOM, dtype=np.int32)))
    rows = np.array(wiring.lexicon)
    if rng.random() < 0.5:
        rows = fuzz.contents(rng, rows.shape, rows.dtype)
    return wiring._replace(lexicon=jnp.asarray(rows)), memory


def ids(rng, count):
    """Return mostly ids of the vocabulary, and sometimes anything."""
    if rng.random() < 0.9:
        return jnp.asarray(rng.integers(0, V, count, dtype=np.int32))
    return jnp.asarray(fuzz.contents(rng, (count,), np.int32))


def reading(rng, kind, mode, learn=False):
    """Call the kernel that reads: its tokens are given, drawn or decoded."""
    wiring, memory = operands(rng, kind)
    depth = network().tree.depth
    callback = chain.BitCallback(lambda one: int(rng.random() < 0.5)) if mode == "decoded" else None
    some = {"learn": learn, "argmax": bool(rng.random() < 0.3), "callback": callback}
    rules = {
        "temperature": float(rng.choice([1e-6, 1.0, 1e3])),
        "repetition_penalty": float(rng.choice([1.0, 2.0, 1e6])),
        "top_k": int(rng.choice([0, 1, 5, 1 << 24])),
        "top_p": float(rng.choice([1e-6, 0.5, 1])),
        "min_p": float(rng.choice([0, 0.1, 1])),
    }
    writing = chain.WritingConfig(**rules, repetition_window=7)
    some["writing"] = writing
    settings = reader.kernel_settings(memory, chain.ReadSettings(mode, **some))
    none = jnp.zeros(0, jnp.int32), jnp.zeros((0, 0), jnp.float32)
    given = ids(rng, BLOCK) if mode == "given" else none[0]
    numbers = BLOCK, drawing.columns(writing, depth)
    chance = fuzz.contents(rng, numbers, np.float32) if mode == "sampled" else none[1]
    recent = jnp.concatenate([jnp.full(3, -1, jnp.int32), ids(rng, 4)])
    count = jnp.int32(BLOCK if rng.random() < 0.9 else fuzz.contents(rng, (), np.int32))
    sizes = {"block": BLOCK, "depth": depth, "settings": settings}
    read = backend.read_on
    if kind == "online":
        read = functools.partial(backend.read_online, learn=learn)
    wiring = wiring if kind == "online" else static_inputs.wired(wiring)
    moved = read(wiring, memory, given, jnp.asarray(chance), recent, count, **sizes)
    jax.block_until_ready(moved)
    del callback  # it must live until the kernel has ended
    return moved


def counting(rng, reads):
    """Call the kernel that writes counts, or the one that reads them."""
    wiring, memory = operands(rng, "static")
    wiring, tokens = static_inputs.wired(wiring), ids(rng, 20)
    if reads:
        hashes = jnp.asarray(fuzz.contents(rng, (len(wiring.view), 20), np.uint32))
        how = {"log_slots": LOG_SLOTS, "bits": 20 * network().tree.depth}
        return backend.read_cells(wiring, memory.slots, hashes, tokens, **how)
    hashes, lost = (jnp.asarray(fuzz.contents(rng, (2, size), np.uint32)) for size in (20, 3))
    counts = jnp.abs(jnp.asarray(fuzz.contents(rng, (2, 20), np.int32)) % 9)
    found = static_cells.Followers(hashes, jnp.stack([tokens, tokens]), counts, lost)
    first = jnp.int32(rng.integers(-1, len(wiring.view)))
    return backend.write_followers(wiring, memory.slots, first, found, log_slots=LOG_SLOTS)


def ledger_of(rng, rows, room, kept=0.5):
    """Return a ledger of some rows, whose arrays have any contents with the chance 1 - ``kept``."""
    hashes = rng.integers(0, 2**32, (rows, 20), dtype=np.uint32)
    known = ledger.of(hashes, rng.integers(0, V, 20).astype(np.int32))
    padded = (jnp.asarray(np.pad(x, ((0, 0), (0, room - x.shape[1])))) for x in known)
    return buffers(rng, ledger.Ledger(*padded), kept)


def forgetting(rng, name):
    """Call a kernel of the ledger."""
    wiring, memory = operands(rng, "static")
    wiring = static_inputs.wired(wiring)
    rows, buckets = memory.slots.shape[:2]
    held, part = ledger_of(rng, rows, 64), ledger_of(rng, rows, 32)
    if rng.random() < 0.5:
        part = ledger.Ledger(*(jnp.asarray(x)[:, :32] for x in held))
    if name == "lacking":
        return backend.lacking(held, part)
    lost = jnp.asarray(np.resize(fuzz.contents(rng, (97,), np.uint32), (rows, buckets, 4, 2)))
    if name == "audit":
        found = static_cells.Followers(
            jnp.asarray(fuzz.contents(rng, (2, 20), np.uint32)),
            jnp.stack([ids(rng, 20), ids(rng, 20)]),
            jnp.abs(jnp.asarray(fuzz.contents(rng, (2, 20), np.int32)) % 9),
            jnp.asarray(fuzz.contents(rng, (2, 3), np.uint32)),
        )
        first = jnp.int32(rng.integers(-1, rows))
        return backend.audit(wiring, memory.slots, lost, first, found, int(rng.choice([1, 16, 256])))
    spill = jnp.asarray(np.resize(fuzz.contents(rng, (191,), np.uint32), (rows, 16, 6)))
    books = audit.Books(held, lost, spill)
    return backend.forget(wiring, memory.slots, memory.discounts, books, part)


def observing(rng):
    """Call the kernel that observes a text."""
    wiring, memory = operands(rng, "static")
    return backend.observe(wiring, fields.of(memory), ids(rng, 20))


KERNELS = {
    "wnn_chain_observe": observing,
    "wnn_chain_followers": functools.partial(counting, reads=False),
    "wnn_chain_lacking": functools.partial(forgetting, name="lacking"),
    "wnn_chain_audit": functools.partial(forgetting, name="audit"),
    "wnn_chain_forget": functools.partial(forgetting, name="forget"),
    "wnn_chain_static_cells": functools.partial(counting, reads=True),
    "wnn_chain_learn_on, given": functools.partial(reading, kind="online", mode="given", learn=True),
    "wnn_chain_learn_on, decoded": functools.partial(reading, kind="online", mode="decoded", learn=True),
    "wnn_chain_online_frozen, given": functools.partial(reading, kind="online", mode="given"),
    "wnn_chain_online_frozen, drawn": functools.partial(reading, kind="online", mode="sampled"),
    "wnn_chain_read_static": functools.partial(reading, kind="static", mode="sampled"),
}
