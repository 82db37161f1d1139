"""Nearest neighbours over the text being read: each position is scored first, then stored, once.

The distribution of a model is mixed with that of what followed the nearest earlier keys. The share of the
mixture may depend on what is known before the token comes, never on the token: only then do probabilities sum
to 1. The published score (openai/parameter-golf PR 1146) took, token by token, the better of two answers by
looking at the token; `oracle` is that number, which no model can have.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax.eam import memory


@dataclasses.dataclass(frozen=True)
class KnnConfig:
    """How neighbours are found and weighed.

    Attributes:
      nearest: number of neighbours of a position.
      sharpness: factor of their cosines in the softmax that weighs them.
      block: positions that are scored before they are stored.

    Raises:
      ValueError: a number is not positive.
    """

    nearest: int = 16
    sharpness: float = 20.0
    block: int = 1024

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")


class Neighbours(NamedTuple):
    """The nearest earlier keys of N positions.

    Attributes:
      tokens: ``int32 [N, nearest]``, the token that followed each of them.
      shares: ``float32 [N, nearest]``, their weights, which sum to 1; all 0 where nothing is stored yet.
      cosine: ``float32 [N]``, of the nearest; 0 where there is none.
    """

    tokens: jax.Array
    shares: jax.Array
    cosine: jax.Array


def neighbours(config: KnnConfig, keys: np.ndarray, tokens: np.ndarray) -> Iterator[Neighbours]:
    """The neighbours of each block of positions in turn, among all blocks before it.

    Args:
      config: how many, how sharply, and the block.
      keys: ``[N, K]`` unit vectors, in the order of the text.
      tokens: ``int32 [N]``, the token that followed each.
    """
    room = -(-len(keys) // config.block) * config.block
    stored = jnp.zeros((room, keys.shape[1])).at[: len(keys)].set(jnp.asarray(keys, jnp.float32))
    after = jnp.zeros(room, jnp.int32).at[: len(tokens)].set(jnp.asarray(tokens))
    seen = config.block
    for start in range(0, len(keys), config.block):
        # The part that is searched doubles: few compilations, and at most half of it is in vain.
        seen = min(room, 2 * seen) if start > seen else seen
        queries = stored[start : start + config.block]
        near = _neighbours(config, stored[:seen], after[:seen], queries, start)
        yield Neighbours(*(x[: len(keys) - start] for x in near))


@functools.partial(jax.jit, static_argnums=0)
def _neighbours(config: KnnConfig, stored: jax.Array, after: jax.Array, queries, start) -> Neighbours:
    scores = jnp.where(jnp.arange(len(stored)) < start, queries @ stored.T, -jnp.inf)
    cosine, at = memory.top(scores, config.nearest)
    there = jnp.isfinite(cosine)
    shares = jnp.where(there, jax.nn.softmax(jnp.where(there, config.sharpness * cosine, -1e9)), 0.0)
    return Neighbours(after[at], shares, jnp.where(there[:, 0], cosine[:, 0], 0.0))


class MixtureGate(NamedTuple):
    """How much neighbours are believed: ``sigmoid(bias + by_cosine * cosine + by_entropy * entropy)``."""

    bias: jax.Array
    by_cosine: jax.Array
    by_entropy: jax.Array


def share(gate: MixtureGate, near: Neighbours, log_probs: jax.Array) -> jax.Array:
    """The neighbours' share of the mixture ``float32 [N]``, by how near they are and how unsure the model is.

    Args:
      gate: how much they are believed.
      near: the neighbours of N positions.
      log_probs: ``[N, V]``, the model's.
    """
    entropy = -(jnp.exp(log_probs) * log_probs).sum(-1)
    known = near.shares.sum(-1)
    return known * jax.nn.sigmoid(gate.bias + gate.by_cosine * near.cosine + gate.by_entropy * entropy)


def mixture(gate: MixtureGate, near: Neighbours, log_probs: jax.Array) -> jax.Array:
    """``float32 [N, V]``: the model's distribution and the neighbours', mixed; each row sums to 1."""
    part = share(gate, near, log_probs)[:, None]
    rows = jnp.arange(len(part))[:, None]
    return ((1 - part) * jnp.exp(log_probs)).at[rows, near.tokens].add(part * near.shares)


class Evidence(NamedTuple):
    """All that decides the cost of a mixture at N positions; each is ``float32 [N]``.

    Attributes:
      model: the model's probability of the token that came.
      near: the neighbours' probability of it.
      known: 1 where there are neighbours, else 0.
      cosine: of the nearest neighbour.
      entropy: of the model's distribution.
    """

    model: jax.Array
    near: jax.Array
    known: jax.Array
    cosine: jax.Array
    entropy: jax.Array


@jax.jit
def evidence(near: Neighbours, log_probs: jax.Array, targets: jax.Array) -> Evidence:
    """The evidence of a block, of its neighbours, the model's ``[N, V]``, and the tokens ``int32 [N]``."""
    model = jnp.exp(jnp.take_along_axis(log_probs, targets[:, None], 1)[:, 0])
    right = (near.shares * (near.tokens == targets[:, None])).sum(1)
    entropy = -(jnp.exp(log_probs) * log_probs).sum(1)
    return Evidence(model, right, near.shares.sum(1), near.cosine, entropy)


def nats(gate: MixtureGate, seen: Evidence) -> jax.Array:
    """Cost of the tokens under `mixture`, in nats: ``float32 [N]``."""
    believed = gate.bias + gate.by_cosine * seen.cosine + gate.by_entropy * seen.entropy
    part = seen.known * jax.nn.sigmoid(believed)
    return -jnp.log((1 - part) * seen.model + part * seen.near)


def fit_gate(seen: Evidence, steps: int = 400) -> MixtureGate:
    """The gate that costs least on given positions, which must not be those that are scored with it."""
    seen = Evidence(*(jnp.asarray(x, jnp.float32) for x in seen))
    optimiser = optax.adam(0.05)
    start = MixtureGate(jnp.float32(-2.0), jnp.float32(1.0), jnp.float32(0.0))

    @jax.jit
    def run(gate):
        def step(carry, _):
            gate, state = carry
            updates, state = optimiser.update(jax.grad(lambda g: nats(g, seen).mean())(gate), state)
            return (optax.apply_updates(gate, updates), state), None

        return jax.lax.scan(step, (gate, optimiser.init(gate)), None, steps)[0][0]

    return MixtureGate(*run(start))


def oracle(seen: Evidence) -> np.ndarray:
    """The lesser of the model's cost and a half-half mixture's ``[N]``, chosen by the token: not a model."""
    half = np.where(seen.known > 0, 0.5 * seen.model + 0.5 * seen.near, seen.model)
    return -np.log(np.maximum(np.maximum(seen.model, half), 1e-10))
