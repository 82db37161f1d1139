"""An elastic associative memory: locations with addresses on the unit sphere, and what was written near them.

A write finds the locations whose addresses are nearest to its key, adds its value to each by how near they
are, and draws the nearest towards the key. Now and then the memory regulates itself: it grows where keys are
new, splits locations that hold too much, and merges those that have become alike. A read is a mean of
locations by nearness. (After openai/parameter-golf PR 1146.) Here are the functions of its arrays, a `Store`,
for unit keys in batches; `wnn_jax.eam.create`, `write` and `read` take any keys, any number of them.

Batches are written as one: what several keys do to one location is combined, so the order within a batch
changes nothing but the rounding of float32 sums, and the same batches give the same memory again.

Shapes: L locations (room for them), K key, D value, N writes.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class MemoryConfig:
    """How an associative memory is written, read and regulated; the defaults are the published constants.

    Attributes:
      nearest: number of locations a write or read reaches; fewer where there are fewer.
      sharpness: factor of the cosines in a read's softmax.
      eta: how far the location nearest to a key moves towards it, at first; 1 moves it all the way.
      eta_least: floor of eta.
      cooling: factor of eta a write.
      damping: weight of a location at which it moves half as far.
      conscience: how much a heavy location is held back from moving.
      novel: a key is new where no cosine reaches this.
      overload: weight from which a location is split.
      alike: cosine from which two locations are merged.
      grow: most locations that one regulation appends for new keys.
      split: most locations that one regulation splits.
      merge: most pairs of locations that one regulation merges.

    Raises:
      ValueError: a number is out of range.
    """

    nearest: int = 20
    sharpness: float = 10.0
    eta: float = 0.01
    eta_least: float = 0.001
    cooling: float = 0.99999
    damping: float = 10.0
    conscience: float = 1.0
    novel: float = 0.15
    overload: float = 150.0
    alike: float = 0.95
    grow: int = 20
    split: int = 10
    merge: int = 1

    def __post_init__(self):
        if self.nearest < 1:
            raise ValueError(f"nearest must be at least 1, got {self.nearest}")
        if not 0 <= self.eta_least <= self.eta <= 1:
            raise ValueError(
                f"eta_least and eta must be between 0 and 1 and in this order, got {self.eta_least} "
                f"and {self.eta}"
            )
        for name in ("sharpness", "cooling", "damping"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("grow", "split", "merge"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")


class Store(NamedTuple):
    """The locations of a memory and what was written there.

    Attributes:
      addresses: ``float32 [L, K]`` unit vectors; 0 in room that is not used.
      counters: ``float32 [L, D]`` sums of what was written, by strength.
      weights: ``float32 [L]`` sums of strengths; 0 where nothing was written.
      used: ``int32 []``, the number of locations there are; they come first.
      eta: ``float32 []``, how far a winner moves now.
    """

    addresses: jax.Array
    counters: jax.Array
    weights: jax.Array
    used: jax.Array
    eta: jax.Array


def empty(config: MemoryConfig, addresses: jax.Array, values: int, room: int | None = None) -> Store:
    """A store with nothing written at ``addresses [n, K]``, and room for more locations.

    Raises:
      ValueError: there are more addresses than room.
    """
    count, width = addresses.shape
    room = count if room is None else room
    if count > room:
        raise ValueError(f"{count} addresses do not fit room for {room} locations")
    return Store(
        jnp.zeros((room, width)).at[:count].set(unit(addresses)),
        jnp.zeros((room, values)),
        jnp.zeros(room),
        jnp.int32(count),
        jnp.float32(config.eta),
    )


def unit(x: jax.Array) -> jax.Array:
    """Vectors of length 1 along the last axis; 0 stays 0."""
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-8)


def random_addresses(key: jax.Array, count: int, width: int) -> jax.Array:
    """Directions at random, as published."""
    return unit(jax.random.normal(key, (count, width)))


def kmeans_addresses(key: jax.Array, keys: jax.Array, count: int, rounds: int = 4) -> jax.Array:
    """Means of keys ``[n, K]`` on the sphere: Lloyd's rounds from ``count`` of them; empty means stay put.

    Raises:
      ValueError: fewer keys than means.
    """
    if len(keys) < count:
        raise ValueError(f"{count} means need as many keys, got {len(keys)}")
    means = keys[jax.random.permutation(key, len(keys))[:count]]
    for _ in range(rounds):
        means = _lloyd(means, keys)
    return means


def addresses_of(key: jax.Array, keys: np.ndarray, count: int) -> jax.Array:
    """`kmeans_addresses` of a sample of keys ``[n, K]`` of any length: 8 keys a mean, or 50,000."""
    some = np.asarray(jax.random.permutation(key, len(keys)))[: max(8 * count, 50_000)]
    return kmeans_addresses(key, unit(jnp.asarray(keys[some], jnp.float32)), count)


@jax.jit
def _lloyd(means: jax.Array, keys: jax.Array) -> jax.Array:
    chunk = 2048
    padded = jnp.pad(keys, ((0, -len(keys) % chunk), (0, 0))).reshape(-1, chunk, keys.shape[1])

    def nearest(part):
        return (part @ means.T).argmax(1)

    at = jax.lax.map(nearest, padded).ravel()[: len(keys)]
    total = jnp.zeros_like(means).at[at].add(keys)
    some = jnp.zeros(len(means)).at[at].add(1.0) > 0
    return jnp.where(some[:, None], unit(total), means)


def find(config: MemoryConfig, store: Store, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cosines and places ``[N, nearest]`` of the locations nearest to unit keys ``[N, K]``."""
    room = len(store.weights)
    scores = keys @ store.addresses.T
    scores = jnp.where(jnp.arange(room) < store.used, scores, -jnp.inf)
    return top(scores, config.nearest)


def top(scores: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The ``count`` largest of each row ``[N, L]`` (or all L) and where they are, descending."""
    # Without the barrier XLA's CPU compiler sorts every row whole once the values are used: 30 times slower.
    return jax.lax.optimization_barrier(jax.lax.top_k(scores, min(count, scores.shape[1])))


def write(
    config: MemoryConfig, store: Store, keys: jax.Array, values: jax.Array, valid: jax.Array | None = None
) -> Store:
    """Write one batch. A key that is opposite to all locations is written nowhere.

    Args:
      config: how many locations are reached, and how they move.
      store: where to write.
      keys: ``[N, K]`` unit vectors.
      values: ``[N, D]``.
      valid: ``bool [N]``, which rows are written; all by default.
    """
    keys, values = keys.astype(jnp.float32), values.astype(jnp.float32)
    cosine, at = find(config, store, keys)
    best = jnp.maximum(cosine[:, :1], 1e-8)
    strength = jnp.where(jnp.isfinite(cosine), jnp.maximum(cosine, 0.0), 0.0) / best
    share = store.weights[at] / jnp.maximum(store.weights.sum(), 1e-8)
    count = len(keys) if valid is None else valid.sum()
    winner = jnp.take_along_axis(at, (cosine - config.conscience * share).argmax(1)[:, None], 1)[:, 0]
    if valid is not None:
        strength = jnp.where(valid[:, None], strength, 0.0)
        winner = jnp.where(valid, winner, len(store.weights))  # out of bounds: dropped
    added = (strength[:, :, None] * values[:, None, :]).reshape(-1, values.shape[1])
    counters = store.counters.at[at.ravel()].add(added)
    weights = store.weights.at[at.ravel()].add(strength.ravel())

    # n keys that win one location move it as n moves, one after the other, to their mean would.
    wins = jnp.zeros_like(weights).at[winner].add(1.0)
    drawn = jnp.zeros_like(store.addresses).at[winner].add(keys)
    eta = store.eta / (1.0 + weights / config.damping)
    stays = (1.0 - eta) ** wins
    moved = stays[:, None] * store.addresses + ((1.0 - stays) / jnp.maximum(wins, 1.0))[:, None] * drawn
    addresses = jnp.where(wins[:, None] > 0, unit(moved), store.addresses)
    eta = jnp.maximum(config.eta_least, store.eta * config.cooling**count)
    return Store(addresses, counters, weights, store.used, eta.astype(jnp.float32))


@functools.partial(jax.jit, static_argnums=(1, 5), donate_argnums=2)
def write_all(
    key: jax.Array, config: MemoryConfig, store: Store, keys: jax.Array, values: jax.Array, every: int = 0
) -> Store:
    """Write batches in turn, keys ``[n, N, K]`` and values ``[n, N, D]``; the store's buffers are given away.

    Args:
      key: of the regulations.
      config: how to write.
      store: where to write.
      keys, values: the batches.
      every: number of batches between two regulations; 0 for none.
    """

    def step(store, x):
        i, keys, values = x
        store = write(config, store, keys, values)
        if every:
            store = jax.lax.cond(
                (i + 1) % every == 0,
                lambda m: regulate(jax.random.fold_in(key, i), config, m, keys.astype(jnp.float32)),
                lambda m: m,
                store,
            )
        return store, None

    return jax.lax.scan(step, store, (jnp.arange(len(keys)), keys, values))[0]


def regulate(key: jax.Array, config: MemoryConfig, store: Store, keys: jax.Array) -> Store:
    """Merge what is alike, split what is overloaded, grow where keys are new; within the room there is.

    A split gives half of the location's sums to a new one and moves the two apart, so that both at first give
    back what the one did, and part as more is written. A merge adds sums, at the mean of addresses by weight.

    Args:
      key: directions of splits, and which locations are looked at for merging.
      config: when to do what.
      memory: to be regulated.
      keys: ``[N, K]``, recent ones.
    """
    sample, apart = jax.random.split(key)
    for i in range(config.merge):
        store = _merged(jax.random.fold_in(sample, i), config, store)
    store = _split(apart, config, store)
    return _grown(config, store, keys)


def _merged(key: jax.Array, config: MemoryConfig, store: Store) -> Store:
    """The most alike of 200 locations, if they are alike enough; the last location fills the hole."""
    room = len(store.weights)
    some = jax.random.randint(key, (min(200, room),), 0, store.used)
    cosine = store.addresses[some] @ store.addresses[some].T
    cosine = jnp.where(some[:, None] < some[None, :], cosine, -1.0)  # each pair once, none with itself
    pair = jnp.unravel_index(cosine.argmax(), cosine.shape)
    into, gone = some[pair[0]], some[pair[1]]
    both = store.weights[into] + store.weights[gone]
    mean = store.weights[into] * store.addresses[into] + store.weights[gone] * store.addresses[gone]
    mean = jnp.where(both > 0, unit(mean), store.addresses[into])
    last = store.used - 1

    def moved(x, value, blank):
        x = x.at[into].set(value)
        return x.at[gone].set(x[last]).at[last].set(blank)

    joined = Store(
        moved(store.addresses, mean, 0.0),
        moved(store.counters, store.counters[into] + store.counters[gone], 0.0),
        moved(store.weights, both, 0.0),
        last,
        store.eta,
    )
    alike = (cosine.max() > config.alike) & (store.used > 1)
    return jax.tree.map(lambda x, y: jnp.where(alike, x, y), joined, store)


def _split(key: jax.Array, config: MemoryConfig, store: Store) -> Store:
    """The heaviest overloaded locations, into room that is left."""
    room = len(store.weights)
    count = min(config.split, room)
    heavy, parent = jax.lax.top_k(store.weights, count)
    child = store.used + jnp.arange(count)
    splits = (heavy > config.overload) & (child < room)
    child = jnp.where(splits, child, room)  # out of bounds: dropped
    aside = 0.1 * unit(jax.random.normal(key, (count, store.addresses.shape[1])))
    address, half = store.addresses[parent], jnp.where(splits, 0.5, 1.0)
    side = jnp.where(splits[:, None], unit(address - aside), address)
    return Store(
        store.addresses.at[parent].set(side).at[child].set(unit(address + aside), mode="drop"),
        store.counters.at[parent]
        .multiply(half[:, None])
        .at[child]
        .set(store.counters[parent] / 2, mode="drop"),
        store.weights.at[parent].multiply(half).at[child].set(heavy / 2, mode="drop"),
        store.used + splits.sum().astype(jnp.int32),
        store.eta,
    )


def _grown(config: MemoryConfig, store: Store, keys: jax.Array) -> Store:
    """Empty locations at the keys that are farthest from all there are."""
    room = len(store.weights)
    count = min(config.grow, len(keys))
    scores = jnp.where(jnp.arange(room) < store.used, keys @ store.addresses.T, -1.0)
    farthest, place = jax.lax.top_k(-scores.max(1), count)
    new = (-farthest < config.novel) & (store.used + jnp.arange(count) < room)
    child = jnp.where(new, store.used + jnp.arange(count), room)
    addresses = store.addresses.at[child].set(keys[place], mode="drop")
    return store._replace(addresses=addresses, used=store.used + new.sum().astype(jnp.int32))


def contents(store: Store) -> jax.Array:
    """``float32 [L, D]``: the mean of what was written at each location; 0 where nothing was."""
    return store.counters / jnp.maximum(store.weights, 1e-8)[:, None]


def read(config: MemoryConfig, store: Store, means: jax.Array, keys: jax.Array) -> jax.Array:
    """Values ``float32 [N, D]`` at unit keys ``[N, K]``, differentiable in the keys.

    Args:
      config: how many locations, and how sharply.
      memory: whose addresses are asked.
      means: its `contents`, made once for many reads.
      keys: where to read.
    """
    at = find(config, store, jax.lax.stop_gradient(keys))[1]
    cosine = jnp.einsum("nk,njk->nj", keys, store.addresses[at])
    there = (at < store.used) & (store.weights[at] > 0)
    # Where nothing was written there is nothing to say; published, such locations dilute the mean with zeros.
    share = jax.nn.softmax(jnp.where(there, config.sharpness * cosine, -1e9), axis=1)
    return jnp.einsum("nj,njd->nd", share * there.any(1, keepdims=True), means[at])


def merge(first: Store, second: Store) -> Store:
    """Two stores as one, with all locations of both.

    Raises:
      ValueError: their keys or values are of different sizes.
    """
    for name in ("addresses", "counters"):
        a, b = getattr(first, name).shape[1], getattr(second, name).shape[1]
        if a != b:
            raise ValueError(f"stores with {name} of {a} and {b} numbers cannot be merged")
    pairs = [(np.asarray(x)[: int(m.used)]) for m in (first, second) for x in m[:3]]
    addresses, counters, weights = (jnp.concatenate([pairs[i], pairs[i + 3]]) for i in range(3))
    return Store(addresses, counters, weights, first.used + second.used, jnp.minimum(first.eta, second.eta))
