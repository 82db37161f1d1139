"""Nearest neighbours in the text being read: each position is scored first, and stored afterwards.

The distribution of a model is mixed with the distribution of the tokens that followed the nearest earlier
keys. The share of the neighbours may depend on everything that is known before the token comes, and never on
the token: only then do the probabilities sum to 1. The published score took the better of two answers for
each token by looking at that token. `oracle` computes this number, which no model can have.

Shapes: N positions, V vocabulary, K size of a key.

Source: openai/parameter-golf PR 1146; docs/semantics/eam.md
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.eam import memory
from wnn_jax.narrow import in_32_bits


@dataclasses.dataclass(frozen=True)
class KnnConfig:
    """The settings that find and weigh neighbours.

    Attributes:
      nearest: number of neighbours of a position.
      sharpness: factor of the cosines in the softmax that weighs neighbours.
      block: number of positions that are scored before they are stored.

    Raises:
      ValueError: a number is out of range.

    Source: docs/semantics/eam.md
    """

    nearest: int = 16
    sharpness: float = 20.0
    block: int = 1024

    def __post_init__(self):
        some = Limits(least=1, most=1 << 20)
        checks.fields(self, nearest=some, sharpness=Limits(above=0, most=1e4), block=some)


class Neighbours(NamedTuple):
    """The nearest earlier keys of N positions.

    Attributes:
      tokens: ``int32 [N, nearest]``, the token that followed each neighbour.
      shares: ``float32 [N, nearest]``, the weights of the neighbours, which sum to 1; all 0 while nothing is
        stored.
      cosine: ``float32 [N]``, the cosine of the nearest neighbour; 0 if there is none.

    Source: docs/semantics/eam.md
    """

    tokens: jax.Array
    shares: jax.Array
    cosine: jax.Array


def neighbours(config: KnnConfig, keys: np.ndarray, tokens: np.ndarray) -> Iterator[Neighbours]:
    """Yields the neighbours of each block of positions in turn, among all blocks before it.

    Args:
      config: the settings that find and weigh neighbours.
      keys: ``float [N, K]``, unit vectors in the order of the text.
      tokens: ``int32 [N]``, the token that followed each.

    Raises:
      ValueError: the keys are not finite numbers, or there is not one token for each.

    Source: docs/semantics/eam.md
    """
    checks.array("keys", keys, "numbers", {"N": None, "K": None})
    checks.array("tokens", tokens, "integers", {"N": len(keys)}, Limits(least=0))
    room = -(-len(keys) // config.block) * config.block
    stored = jnp.zeros((room, keys.shape[1]), jnp.float32).at[: len(keys)].set(jnp.asarray(keys, jnp.float32))
    after = jnp.zeros(room, jnp.int32).at[: len(tokens)].set(jnp.asarray(tokens))
    seen = config.block
    for start in range(0, len(keys), config.block):
        # The part that is searched doubles in size: few sizes are compiled, and at most half of it is empty.
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
    """The gate that decides the neighbours' share of a mixture.

    The share is ``sigmoid(bias + by_cosine * cosine + by_entropy * entropy)``.

    Attributes:
      bias: ``float32 []``.
      by_cosine: ``float32 []``, the factor of the cosine of the nearest neighbour.
      by_entropy: ``float32 []``, the factor of the entropy of the model's distribution in nats.

    Source: docs/semantics/eam.md
    """

    bias: jax.Array
    by_cosine: jax.Array
    by_entropy: jax.Array


def share(gate: MixtureGate, near: Neighbours, log_probs: jax.Array) -> jax.Array:
    """Returns the neighbours' share of the mixture, ``float32 [N]``; 0 where there are no neighbours.

    Args:
      gate: turns the nearest cosine and the model's entropy into a share.
      near: the neighbours of N positions.
      log_probs: ``float32 [N, V]``, the model's log-probabilities.

    Source: docs/semantics/eam.md
    """
    entropy = -(jnp.exp(log_probs) * log_probs).sum(-1)
    known = near.shares.sum(-1)
    return known * jax.nn.sigmoid(gate.bias + gate.by_cosine * near.cosine + gate.by_entropy * entropy)


def mixture(gate: MixtureGate, near: Neighbours, log_probs: jax.Array) -> jax.Array:
    """Mixes the model's distribution with the neighbours': ``float32 [N, V]``; each row sums to 1.

    Args:
      gate: decides the neighbours' share.
      near: the neighbours of N positions.
      log_probs: ``float32 [N, V]``, the model's log-probabilities.

    Source: docs/semantics/eam.md
    """
    part = share(gate, near, log_probs)[:, None]
    rows = jnp.arange(len(part))[:, None]
    return ((1 - part) * jnp.exp(log_probs)).at[rows, near.tokens].add(part * near.shares)


class Evidence(NamedTuple):
    """The numbers that decide the cost of a mixture at N positions; each is ``float32 [N]``.

    Attributes:
      model: the model's probability of the token that came.
      near: the neighbours' probability of that token.
      known: 1 where there are neighbours, else 0.
      cosine: the cosine of the nearest neighbour.
      entropy: the entropy of the model's distribution in nats.

    Source: docs/semantics/eam.md
    """

    model: jax.Array
    near: jax.Array
    known: jax.Array
    cosine: jax.Array
    entropy: jax.Array


@jax.jit
def evidence(near: Neighbours, log_probs: jax.Array, targets: jax.Array) -> Evidence:
    """Returns the evidence of a block of positions.

    Args:
      near: the neighbours of N positions.
      log_probs: ``float32 [N, V]``, the model's log-probabilities.
      targets: ``int32 [N]``, the tokens that came.

    Source: docs/semantics/eam.md
    """
    model = jnp.exp(jnp.take_along_axis(log_probs, targets[:, None], 1)[:, 0])
    right = (near.shares * (near.tokens == targets[:, None])).sum(1)
    entropy = -(jnp.exp(log_probs) * log_probs).sum(1)
    return Evidence(model, right, near.shares.sum(1), near.cosine, entropy)


def nats(gate: MixtureGate, seen: Evidence) -> jax.Array:
    """Returns the cost ``float32 [N]`` of the tokens under `mixture`, in nats.

    Args:
      gate: decides the neighbours' share.
      seen: the evidence of N positions.

    Source: docs/semantics/eam.md
    """
    believed = gate.bias + gate.by_cosine * seen.cosine + gate.by_entropy * seen.entropy
    part = seen.known * jax.nn.sigmoid(believed)
    return -jnp.log((1 - part) * seen.model + part * seen.near)


@in_32_bits
def fit_gate(seen: Evidence, steps: int = 400) -> MixtureGate:
    """Fits the gate with the lowest mean cost on given positions.

    Positions that are scored with the gate must not be among them.

    Args:
      seen: the evidence of the positions.
      steps: the number of steps of Adam.

    Source: docs/semantics/eam.md
    """
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
    """Returns the lower of two costs ``[N]``, chosen by the token itself, which no model can do.

    The two are the cost of the model, and the cost of a mixture of half the model and half the neighbours.

    Source: openai/parameter-golf PR 1146; docs/semantics/eam.md
    """
    half = np.where(seen.known > 0, 0.5 * seen.model + 0.5 * seen.near, seen.model)
    return -np.log(np.maximum(np.maximum(seen.model, half), 1e-10))
