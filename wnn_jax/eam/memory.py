"""An elastic associative memory: locations with addresses on the unit sphere, and the values written there.

A write finds the locations whose addresses are nearest to its key, adds its value to each of them with a
strength that falls with distance, and moves one of the nearest towards the key. From time to time the memory
regulates itself: it adds locations where keys are new, splits locations that hold too much, and merges
locations that have become alike. A read is a mean of the nearest locations, weighted by nearness. This module
has the functions of the memory's arrays, a `Store`, for unit keys in batches; `wnn_jax.eam.create`, `write`
and `read` take any keys in any number.

The rows of a batch are written together: the effects of several keys on one location are combined. The order
within a batch therefore changes nothing but the rounding of float32 sums, and the same batches give the same
memory again.

Shapes: L locations (including unused space), K size of a key, D size of a value, N rows of a batch.

Source: openai/parameter-golf PR 1146; docs/semantics/eam.md
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits


@dataclasses.dataclass(frozen=True)
class MemoryConfig:
    """How an associative memory is written, read and regulated; the defaults are the published constants.

    Attributes:
      nearest: number of locations that a write or a read reaches; all of them if there are fewer.
      sharpness: factor of the cosines in the softmax of a read.
      eta: how far a write moves its location towards the key, at first; 1 moves it all the way.
      eta_least: lowest value of eta.
      cooling: factor of eta after each write.
      damping: weight of a location at which it moves half as far.
      conscience: how strongly a location with a large share of all weight is kept from being the one that
        moves.
      novel: a key is new if its cosine with every location is below this.
      overload: a location with more weight than this is split.
      alike: two locations whose cosine is above this are merged.
      grow: largest number of locations that one regulation adds for new keys.
      split: largest number of locations that one regulation splits.
      merge: largest number of pairs of locations that one regulation merges.

    Raises:
      ValueError: a number is out of range.

    Source: openai/parameter-golf PR 1146; docs/semantics/eam.md
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
        cosine, few = Limits(least=-2, most=2), Limits(least=0, most=1 << 16)
        checks.fields(
            self,
            nearest=Limits(least=1),
            sharpness=Limits(above=0, most=1e4),
            eta=Limits(most=1),
            eta_least=Limits(least=0),
            cooling=Limits(above=0, most=1),
            damping=Limits(above=0, most=1e9),
            conscience=Limits(least=0, most=1e9),
            novel=cosine,
            overload=Limits(least=0),
            alike=cosine,
            grow=few,
            split=few,
            merge=Limits(least=0, most=1000),
        )
        if self.eta_least > self.eta:
            raise ValueError(
                f"eta_least must be at most eta, got {self.eta_least} and {self.eta}: lower eta_least"
            )


class Store(NamedTuple):
    """The locations of a memory and the values that were written there.

    Attributes:
      addresses: ``float32 [L, K]``, unit vectors; 0 in unused space.
      counters: ``float32 [L, D]``, sums of the written values, each times its strength.
      weights: ``float32 [L]``, sums of the strengths; 0 where nothing was written.
      used: ``int32 []``, the number of locations in use; they come first.
      eta: ``float32 []``, how far a write moves its location now.

    Source: docs/semantics/eam.md
    """

    addresses: jax.Array
    counters: jax.Array
    weights: jax.Array
    used: jax.Array
    eta: jax.Array


def empty(config: MemoryConfig, addresses: jax.Array, values: int, room: int | None = None) -> Store:
    """Makes a store in which nothing is written.

    Args:
      config: gives the first eta.
      addresses: ``[n, K]``, the addresses of the first n locations, of any lengths above 0.
      values: D, the size of a value.
      room: L, the number of locations that the store has space for; n by default.

    Raises:
      ValueError: there are more addresses than ``room``.

    Source: docs/semantics/eam.md
    """
    count, width = addresses.shape
    room = count if room is None else room
    if count > room:
        raise ValueError(f"room must be at least the number of addresses, {count}, got {room}: raise room")
    return Store(
        jnp.zeros((room, width), jnp.float32).at[:count].set(unit(addresses)),
        jnp.zeros((room, values), jnp.float32),
        jnp.zeros(room, jnp.float32),
        jnp.int32(count),
        jnp.float32(config.eta),
    )


def unit(x: jax.Array) -> jax.Array:
    """Scales vectors to length 1 along the last axis; a vector of zeros stays 0.

    Source: docs/semantics/eam.md
    """
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-8)


def random_addresses(key: jax.Array, count: int, width: int) -> jax.Array:
    """Draws ``count`` random directions ``float32 [count, width]``, as the published memory begins.

    Source: docs/semantics/eam.md
    """
    return unit(jax.random.normal(key, (count, width), jnp.float32))


def kmeans_addresses(key: jax.Array, keys: jax.Array, count: int, rounds: int = 4) -> jax.Array:
    """Finds means of keys on the sphere by Lloyd's algorithm; a mean without keys stays where it is.

    Args:
      key: chooses the keys where the means begin.
      keys: ``float32 [n, K]``, unit vectors.
      count: the number of means, at most n.
      rounds: the number of rounds.

    Returns:
      ``float32 [count, K]``, unit vectors.

    Raises:
      ValueError: there are fewer keys than means.

    Source: S. Lloyd, "Least squares quantization in PCM", 1982; docs/semantics/eam.md
    """
    if len(keys) < count:
        raise ValueError(f"{count} means need at least {count} keys, got {len(keys)}: ask for fewer means")
    means = keys[jax.random.permutation(key, len(keys))[:count]]
    for _ in range(rounds):
        means = _lloyd(means, keys)
    return means


def addresses_of(key: jax.Array, keys: np.ndarray, count: int) -> jax.Array:
    """Finds the `kmeans_addresses` of a random sample of keys: 8 keys for each mean, and at least 50,000.

    Args:
      key: the random key.
      keys: ``float [n, K]``, of any lengths; all of them are taken if there are fewer.
      count: the number of means.

    Source: docs/semantics/eam.md
    """
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
    """Finds the locations nearest to unit keys, nearest first; the lower place on ties.

    Args:
      config: gives the number of locations.
      store: the store to search.
      keys: ``float32 [N, K]``, unit vectors.

    Returns:
      the cosines and the places, ``[N, nearest]`` each; the cosine is -inf where fewer locations are in use.

    Source: docs/semantics/eam.md
    """
    room = len(store.weights)
    scores = keys @ store.addresses.T
    scores = jnp.where(jnp.arange(room) < store.used, scores, -jnp.inf)
    return top(scores, config.nearest)


def top(scores: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Returns the ``count`` largest scores of each row, in descending order, and their places.

    Args:
      scores: ``float32 [N, L]``.
      count: the number of scores; all L if there are fewer.

    Source: docs/semantics/eam.md
    """
    # Without the barrier XLA's CPU compiler sorts whole rows as soon as the values are used: 30 times slower.
    return jax.lax.optimization_barrier(jax.lax.top_k(scores, min(count, scores.shape[1])))


def write(
    config: MemoryConfig, store: Store, keys: jax.Array, values: jax.Array, valid: jax.Array | None = None
) -> Store:
    """Writes one batch; returns the new store.

    The strength of a write at a location is their cosine (or 0, if it is negative) divided by the largest
    cosine of the key. A key with no cosine above 0 therefore adds its value nowhere, but it still moves a
    location.

    Args:
      config: how many locations a write reaches, and how they move.
      store: the store to write to.
      keys: ``[N, K]``, unit vectors.
      values: ``[N, D]``.
      valid: ``bool [N]``, the rows to write; all by default.

    Source: openai/parameter-golf PR 1146; docs/semantics/eam.md
    """
    keys, values = keys.astype(jnp.float32), values.astype(jnp.float32)
    cosine, at = find(config, store, keys)
    best = jnp.maximum(cosine[:, :1], 1e-8)
    strength = jnp.where(jnp.isfinite(cosine), jnp.maximum(cosine, 0.0), 0.0) / best
    share = store.weights[at] / jnp.maximum(store.weights.sum(), 1e-8)
    winner = jnp.take_along_axis(at, (cosine - config.conscience * share).argmax(1)[:, None], 1)[:, 0]
    if valid is not None:
        strength = jnp.where(valid[:, None], strength, 0.0)
        winner = jnp.where(valid, winner, len(store.weights))  # out of bounds: dropped
    added = (strength[:, :, None] * values[:, None, :]).reshape(-1, values.shape[1])
    counters = store.counters.at[at.ravel()].add(added)
    weights = store.weights.at[at.ravel()].add(strength.ravel())

    # n keys that choose one location move it as far as n moves to their mean, one after the other.
    wins = jnp.zeros_like(weights).at[winner].add(1.0)
    drawn = jnp.zeros_like(store.addresses).at[winner].add(keys)
    eta = store.eta / (1.0 + weights / config.damping)
    stays = (1.0 - eta) ** wins
    moved = stays[:, None] * store.addresses + ((1.0 - stays) / jnp.maximum(wins, 1.0))[:, None] * drawn
    addresses = jnp.where(wins[:, None] > 0, unit(moved), store.addresses)
    if valid is None:
        cooled = config.cooling ** len(keys)
    else:
        cooled = jnp.float32(config.cooling) ** valid.sum(dtype=jnp.int32)
    eta = jnp.maximum(config.eta_least, store.eta * cooled)
    return Store(addresses, counters, weights, store.used, eta.astype(jnp.float32))


@functools.partial(jax.jit, static_argnums=(1, 5), donate_argnums=2)
def write_all(
    key: jax.Array, config: MemoryConfig, store: Store, keys: jax.Array, values: jax.Array, every: int = 0
) -> Store:
    """Writes batches in turn; the buffers of the given store are given away.

    Args:
      key: the random key of the regulations.
      config: how to write.
      store: the store to write to; it must not be used afterwards.
      keys: ``[n, N, K]``, unit vectors.
      values: ``[n, N, D]``.
      every: the number of batches between two regulations; 0 for none.

    Source: docs/semantics/eam.md
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
    """Merges locations that are alike, splits overloaded ones, and adds locations where keys are new.

    A split gives half of the location's sums to a new location and moves the two apart. At first both give
    back the value that the one had, and they differ as more is written. A merge adds the sums of two
    locations, at the mean of their addresses by weight. Locations that do not fit into the store are not
    added.

    Args:
      key: draws the directions of splits, and the locations that are compared for merging.
      config: the limits of each change.
      store: the store to regulate.
      keys: ``float32 [N, K]``, recent unit keys.

    Source: openai/parameter-golf PR 1146; docs/semantics/eam.md
    """
    sample, apart = jax.random.split(key)
    for i in range(config.merge):
        store = _merged(jax.random.fold_in(sample, i), config, store)
    store = _split(apart, config, store)
    return _grown(config, store, keys)


def _merged(key: jax.Array, config: MemoryConfig, store: Store) -> Store:
    """Merges the most alike two of 200 random locations, if they are alike enough.

    The last location in use moves into the gap.
    """
    room = len(store.weights)
    some = jax.random.randint(key, (min(200, room),), 0, store.used, jnp.int32)
    cosine = store.addresses[some] @ store.addresses[some].T
    cosine = jnp.where(some[:, None] < some[None, :], cosine, -1.0)  # each pair once, never one with itself
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
    """Splits the heaviest overloaded locations while there is space."""
    room = len(store.weights)
    count = min(config.split, room)
    heavy, parent = jax.lax.top_k(store.weights, count)
    child = store.used + jnp.arange(count, dtype=jnp.int32)
    splits = (heavy > config.overload) & (child < room)
    child = jnp.where(splits, child, room)  # out of bounds: dropped
    aside = 0.1 * unit(jax.random.normal(key, (count, store.addresses.shape[1]), jnp.float32))
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
    """Adds empty locations at the keys that are farthest from all locations."""
    room = len(store.weights)
    count = min(config.grow, len(keys))
    scores = jnp.where(jnp.arange(room) < store.used, keys @ store.addresses.T, -1.0)
    farthest, place = jax.lax.top_k(-scores.max(1), count)
    new = (-farthest < config.novel) & (store.used + jnp.arange(count) < room)
    child = jnp.where(new, store.used + jnp.arange(count), room)
    addresses = store.addresses.at[child].set(keys[place], mode="drop")
    return store._replace(addresses=addresses, used=store.used + new.sum().astype(jnp.int32))


def contents(store: Store) -> jax.Array:
    """Returns the mean ``float32 [L, D]`` of the values written at each location; 0 where there are none.

    Source: docs/semantics/eam.md
    """
    return store.counters / jnp.maximum(store.weights, 1e-8)[:, None]


def read(config: MemoryConfig, store: Store, means: jax.Array, keys: jax.Array) -> jax.Array:
    """Reads values ``float32 [N, D]`` at unit keys; the result is differentiable in the keys.

    A value is the mean of the nearest locations by a softmax of their cosines; locations where nothing was
    written are left out. It is 0 if all of them are.

    Args:
      config: the number of locations, and the sharpness of the softmax.
      store: the store to read.
      means: ``float32 [L, D]``, its `contents`, computed once for many reads.
      keys: ``float32 [N, K]``, unit vectors.

    Source: openai/parameter-golf PR 1146; docs/semantics/eam.md
    """
    at = find(config, store, jax.lax.stop_gradient(keys))[1]
    cosine = jnp.einsum("nk,njk->nj", keys, store.addresses[at])
    there = (at < store.used) & (store.weights[at] > 0)
    # Locations without a value are left out; as published, they dilute the mean with zeros.
    share = jax.nn.softmax(jnp.where(there, config.sharpness * cosine, -1e9), axis=1)
    return jnp.einsum("nj,njd->nd", share * there.any(1, keepdims=True), means[at])


def merge(first: Store, second: Store) -> Store:
    """Joins two stores into one that has all used locations of both; the lower eta stays.

    Raises:
      ValueError: their keys or values are of different sizes.

    Source: docs/semantics/eam.md
    """
    for name in ("addresses", "counters"):
        a, b = getattr(first, name).shape[1], getattr(second, name).shape[1]
        if a != b:
            raise ValueError(
                f"stores with {name} of {a} and {b} numbers cannot be merged: give stores of equal sizes"
            )
    pairs = [(np.asarray(x)[: int(m.used)]) for m in (first, second) for x in m[:3]]
    addresses, counters, weights = (jnp.concatenate([pairs[i], pairs[i + 3]]) for i in range(3))
    return Store(addresses, counters, weights, first.used + second.used, jnp.minimum(first.eta, second.eta))
