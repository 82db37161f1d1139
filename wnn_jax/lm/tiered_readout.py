"""Turns the votes of a tiered model into the probability of the next token, as published or calibrated.

The share s_t of a cluster is its vote divided by the largest possible vote. It gives a probability in one of
two ways:

    published   P(t) ~ exp(s_t)                             s in [0, 1], so P(t) <= e / (e + V - 1)
    calibrated  P(t) ~ e^offset (s_t + floor)^slope f_t^prior

Here f_t is the frequency of the token in the training text. The four numbers offset, slope, floor and prior
belong to a tier and are learnt from held-out text.

For V = 50,257 the published score lies between 9.825 and 11.825 nats, no matter what the model learnt
(`published_band`).

Source: docs/semantics/tiered.md
"""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax import checks, ram
from wnn_jax.checks import Limits
from wnn_jax.lm import bitwise, tally, tiered_layer
from wnn_jax.lm.tiered_config import TieredConfig
from wnn_jax.lm.tiered_layer import ClusterVotes
from wnn_jax.narrow import in_32_bits

PLACES = 2048  # places of held-out text on which a readout is learnt


class Readout(NamedTuple):
    """A calibrated readout: ``offset + slope * log(share + floor) + prior * log(frequency)``.

    Attributes:
      slope: ``float32 [tiers]``, above 0.
      offset: ``float32 [tiers]``.
      floor: ``float32 [tiers]``, above 0.
      prior: ``float32 [tiers]``.

    Source: docs/semantics/tiered.md
    """

    slope: jax.Array
    offset: jax.Array
    floor: jax.Array
    prior: jax.Array


@functools.partial(jax.jit, static_argnames="config")
def shares(config: TieredConfig, tier: int, votes: jax.Array) -> jax.Array:
    """Divide the votes of a chunk by the largest possible vote.

    Args:
      config: gives the number of neurons of the tier.
      tier: number of the tier.
      votes: ``int32 [k, N]``.

    Returns:
      ``float32 [k, N]``, in [0, 1].

    Source: docs/semantics/tiered.md
    """
    neurons = jnp.asarray([x.neurons for x in config.tiers], jnp.float32)[tier]
    return votes.astype(jnp.float32) / (neurons * ram.UNIT)


@jax.jit
def log_scores(
    readout: Readout | None, tier: int | jax.Array, shares: jax.Array, frequency: jax.Array
) -> jax.Array:
    """Turn shares into log-probabilities that are not normalised.

    Args:
      readout: a calibrated readout; None returns the shares themselves, the published score.
      tier: number of the tier of all clusters, or ``int [k]``, that of each.
      shares: ``float32 [k, N]``.
      frequency: ``float32 [k, 1]``.

    Returns:
      ``float32 [k, N]``.

    Source: docs/semantics/tiered.md
    """
    if readout is None:
        return shares
    slope, offset, floor, prior = (jnp.reshape(jnp.asarray(x, jnp.float32)[tier], (-1, 1)) for x in readout)
    return offset + slope * jnp.log(shares + floor) + prior * jnp.log(frequency)


def calibrate(
    key: jax.Array, config: TieredConfig, tokens: np.ndarray, held_out: float = 0.1, places: int = PLACES
) -> Readout:
    """Learn a readout from the end of a training text, with a model that is fitted on the rest of it.

    Places are drawn from the held-out end, and their cross-entropy is minimised by L-BFGS (optax). The model
    is not fitted on any of them, and only ``tokens`` are read.

    Args:
      key: draws the connectivity of that model, its negatives and the places.
      config: sizes and training rules of the model.
      tokens: ``int [M]``, the training text.
      held_out: share of the text that is held out.
      places: number of places, at most.

    Returns:
      The readout.

    Raises:
      ValueError: a number is out of range, an id is outside the vocabulary, or the text is too short.

    Source: docs/semantics/tiered.md
    """
    held_out = checks.number("held_out", held_out, Limits(above=0, below=1))
    places = checks.integer("places", places, Limits(least=1))
    tokens = np.asarray(tokens)
    init_key, votes_key, place_key = jax.random.split(key, 3)
    cut = round(len(tokens) * (1 - held_out))
    wiring = tiered_layer.init(init_key, config, tokens[:cut])
    words, targets = tiered_layer.inputs(config, tokens[cut - config.context :])
    count = len(targets)
    at = jnp.sort(jax.random.permutation(place_key, count)[: min(places, count)])
    words, targets = words[:, at], np.asarray(targets[at])
    # Clusters that share their votes are one row, with the logarithm of their number.
    rows, frequency, tier, size, row = [], [], [], [], np.zeros(config.vocabulary, np.int32)
    layer = tiered_layer.one_hot_layer(votes_key, config, wiring, tokens[:cut])
    for (chunk,) in tiered_layer.votes([layer], words):
        ids = np.asarray(chunk.ids)
        share = np.asarray(shares(config, chunk.tier, chunk.votes))
        alike = len(share) < len(ids)
        row[ids[ids >= 0]] = len(tier) + (0 if alike else np.arange(np.count_nonzero(ids >= 0)))
        share = share[: 1 if alike else np.count_nonzero(ids >= 0)]
        rows.append(share)
        frequency.append(chunk.frequency[: len(share)])
        tier += [chunk.tier] * len(share)
        size += [len(ids) if alike else 1] * len(share)
    return _fit_readout(
        len(config.tiers),
        jnp.concatenate(rows),
        jnp.concatenate(frequency),
        jnp.asarray(tier, jnp.int32),
        jnp.log(jnp.asarray(size, jnp.float32)),
        jnp.asarray(row[targets], jnp.int32),
    )


_STEPS = 60


@in_32_bits
@functools.partial(jax.jit, static_argnums=0)
def _fit_readout(tiers: int, shares, frequency, tier, log_size, row) -> Readout:
    """Fit a readout to M places.

    Args:
      tiers: number of tiers.
      shares: ``float32 [rows, M]``; a row is a cluster, or several that share their votes.
      frequency: ``float32 [rows, 1]``.
      tier: ``int [rows]``.
      log_size: ``float32 [rows]``, the logarithm of the number of clusters of a row.
      row: ``int [M]``, the rows of the targets.
    """

    def loss(raw: Readout):
        scores = log_scores(_positive(raw), tier, shares, frequency)
        mass = jax.nn.logsumexp(scores + log_size[:, None], axis=0)
        return (mass - scores[row, jnp.arange(len(row), dtype=jnp.int32)]).mean()

    optimizer = optax.lbfgs()
    start = Readout(
        jnp.zeros(tiers, dtype=jnp.float32),
        jnp.zeros(tiers, dtype=jnp.float32),
        jnp.full(tiers, -9.0, jnp.float32),
        jnp.zeros(tiers, dtype=jnp.float32),
    )
    value_and_grad = optax.value_and_grad_from_state(loss)

    def step(carry, _):
        raw, state = carry
        value, gradient = value_and_grad(raw, state=state)
        update, state = optimizer.update(gradient, state, raw, value=value, grad=gradient, value_fn=loss)
        return (optax.apply_updates(raw, update), state), value

    (raw, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=_STEPS)
    return _positive(raw)


def _positive(raw: Any) -> Readout:
    return Readout(jnp.exp(raw.slope), raw.offset, jnp.exp(raw.floor), raw.prior)


def score(
    config: TieredConfig,
    readout: Readout | None,
    chunks: Iterable[ClusterVotes],
    targets: jax.Array,
    on_step: tally.OnStep | None = None,
) -> bitwise.Scores:
    """Score tokens from the votes of all clusters, normalised over the V ids.

    Args:
      config: sizes of the model.
      readout: a calibrated readout; None for the published score.
      chunks: votes of all clusters, from `tiered_layer.votes`.
      targets: ``int32 [N]``, the tokens of the text.
      on_step: called with the number of ids whose clusters have been fitted and read.

    Returns:
      Nats and best ids, arrays ``[N]``; on ties the lowest id.

    Source: docs/semantics/tiered.md
    """

    def scored():
        done = 0
        for chunk in chunks:
            share = shares(config, chunk.tier, chunk.votes)
            yield chunk.ids, log_scores(readout, chunk.tier, share, chunk.frequency)
            done += chunk.size
            if on_step:
                on_step("fit and read", done, config.vocabulary)

    return tally.scores(scored(), targets)


def published_band(vocabulary: int) -> tuple[float, float]:
    """Compute the range of nats that the published score can give a token.

    A share is in [0, 1], so a token has at most the probability ``e / (e + V - 1)``. The upper end is
    ``log V``: the published evaluation clamps its scores there, although the result is then not the loss of a
    distribution.

    Args:
      vocabulary: V.

    Returns:
      The lowest and the highest nats.

    Source: docs/semantics/tiered.md
    """
    return float(np.log(1 + (vocabulary - 1) / np.e)), float(np.log(vocabulary))


def clamped_nats(nats: np.ndarray, vocabulary: int) -> float:
    """Clamp the nats of each token to at most ``log V``, and take the mean, as the published evaluation does.

    The result is not the loss of a probability distribution.

    Args:
      nats: ``float [N]``, the nats of each token.
      vocabulary: V.

    Returns:
      The mean of the clamped nats.

    Source: docs/semantics/tiered.md
    """
    return float(np.minimum(nats, published_band(vocabulary)[1]).mean())


def as_lists(readout: Readout | None) -> dict[str, list[float]]:
    """Convert a readout to plain data, such as JSON needs.

    Args:
      readout: a readout, or None.

    Returns:
      For each field a list with one number for each tier; an empty dict without a readout.

    Source: docs/semantics/tiered.md
    """
    return {} if readout is None else {k: np.asarray(v).tolist() for k, v in readout._asdict().items()}
