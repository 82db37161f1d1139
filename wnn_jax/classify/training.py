"""Trains cells by steps of the softmax: fixed-point numbers, so that every backend gives the same bits.

A weight is an integer in units of 2^-16, and the cell that is read is its quantised value: the sign for one
bit, an odd number for more bits. The step of a batch adds ``rate * (target - probability)`` to the weights of
every cell that its rows read (a straight-through estimate), and then clips these weights to [-1, 1). The sums
of a batch are integers, so their order does not matter.

Shape letters are those of `layer`; E entries of the table of shares.

Source: docs/semantics/classify.md; Bengio, Leonard and Courville 2013, "Estimating or Propagating Gradients
Through Stochastic Neurons" (the straight-through estimator)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.classify import backend
from wnn_jax.classify.layer import Mapping, entries, moved

ONE = 1 << 16  # a weight of 1
_SHARE = 15  # a probability is a number of 2^-15
MAX_BATCH = 64
_LEAST = 2.0**-17  # a share below it is 0


class Epoch(NamedTuple):
    """One pass over rows. It is a pytree of arrays.

    Attributes:
      levels: ``uint8 [N, J]``.
      labels: ``int32 [N]``, classes 0 to K - 1.
      row: ``int32 [n]``, the rows in the order in which they are read.
      offset: ``int32 [n]``, added to the columns of every pin, which moves an image. A column outside the row
        has level 0.
      rate: ``int32 []``, the rate of learning in 2^-16, at most 1/2.
      drop: ``uint32 [2]``; a neuron is left out of a row where its hash is below the first number. The second
        number seeds the hash.

    Source: docs/semantics/classify.md
    """

    levels: jax.Array
    labels: jax.Array
    row: jax.Array
    offset: jax.Array
    rate: jax.Array
    drop: jax.Array


def shares(temperature: float, most: int) -> np.ndarray:
    """Make the table of ``exp(-temperature * d)`` for whole distances d.

    Args:
      temperature: the number by which scores are multiplied in the softmax, above 0.
      most: the largest length of the table.

    Returns:
      ``int32 [E]`` in 2^-16. A longer distance has the share 0.

    Source: docs/semantics/classify.md
    """
    length = int(min(most, np.ceil(-np.log(_LEAST) / temperature) + 1))
    return np.round(np.exp(-temperature * np.arange(length)) * 2**16).astype(np.int32)


def quantised(weights: jax.Array, bits: int) -> jax.Array:
    """Quantise weights to the cells that are read.

    Args:
      weights: ``int32``, in 2^-16, from -1 to below 1.
      bits: bits of a cell, 1 to 7.

    Returns:
      ``int8`` of the same shape: an odd number from ``1 - 2**bits`` to ``2**bits - 1``.

    Source: docs/semantics/classify.md
    """
    return ((weights >> (17 - bits)) * 2 + 1).astype(jnp.int8)


def train(
    mapping: Mapping, weights: jax.Array, epoch: Epoch, share, serves, *, batch: int, bits: int
) -> tuple[jax.Array, jax.Array]:
    """Train the weights of dense tables by one pass over rows.

    Args:
      mapping: the neurons.
      weights: ``int32 [M, S, K]``.
      epoch: the rows.
      share: ``int32 [E]``, from `shares`.
      serves: ``bool [M, K]``, whether a table has cells for a class; ``[0, K]`` if all have.
      batch: rows of a step, 1 to 64. The last step may have fewer.
      bits: bits of a cell.

    Returns:
      The new weights, and the number of rows whose class had the largest score before their step,
      ``int32 []``; of equal scores the lowest class counts.

    Source: docs/semantics/classify.md
    """
    if backend.native() and weights.shape[2] <= backend.MAX_CLASSES:
        return backend.train(mapping, weights, epoch, share, serves, batch=batch, bits=bits)
    count = epoch.row.shape[0]
    steps = -(-count // batch)
    place = jnp.arange(steps * batch, dtype=jnp.int32).reshape(steps, batch)

    def step(weights, place):
        return _step(mapping, weights, epoch, share, serves, place, bits)

    weights, right = jax.lax.scan(step, weights, place)
    return weights, right.sum(dtype=jnp.int32)


def _step(mapping: Mapping, weights, epoch: Epoch, share, serves, place, bits: int):
    """Do one step on the rows at ``place``, ``int32 [b]``; a place behind the last row does nothing."""
    here = place < epoch.row.shape[0]
    row = jnp.take(epoch.row, place, mode="clip")
    offset = jnp.take(epoch.offset, place, mode="clip")
    entry = entries(mapping, moved(epoch.levels, row, offset))[:, :, 0]  # [b, R]
    kept = _kept(epoch.drop, place, entry.shape[1]) & here[:, None]
    found = weights[mapping.table, entry]  # [b, R, K]
    cells = (found >> (17 - bits)) * 2 + 1
    used = kept[:, :, None]
    if serves.shape[0]:
        used = used & serves[mapping.table]
    scores = jnp.where(used, cells, 0).sum(axis=1)
    best = scores.argmax(axis=1)
    label = epoch.labels[row]
    distance = scores.max(axis=1, keepdims=True) - scores
    part = jnp.where(distance < share.shape[0], jnp.take(share, distance, mode="clip"), 0).astype(jnp.uint32)
    p = ((part << _SHARE) // part.sum(axis=1, keepdims=True, dtype=jnp.uint32)).astype(jnp.int32)
    target = (label[:, None] == jnp.arange(scores.shape[1], dtype=jnp.int32)) * (1 << _SHARE)
    change = (epoch.rate * (target - p) + (1 << (_SHARE - 1))) >> _SHARE  # [b, K]
    new = weights.at[mapping.table, entry].add(jnp.where(used, change[:, None], 0))
    return jnp.clip(new, -ONE, ONE - 1), ((best == label) & here).sum(dtype=jnp.int32)


def _kept(drop, place, neurons: int):
    """Say which neurons each row reads, ``bool [b, R]``."""
    own = _mix(drop[1] + jnp.arange(neurons, dtype=jnp.uint32) * jnp.uint32(0x9E3779B9))
    return _mix(own ^ place.astype(jnp.uint32)[:, None]) >= drop[0]


def _mix(x):
    """Mix 32 bits: the finaliser of MurmurHash3 (Appleby)."""
    x = (x ^ x >> 16) * jnp.uint32(0x85EBCA6B)
    x = (x ^ x >> 13) * jnp.uint32(0xC2B2AE35)
    return x ^ x >> 16
