"""From a tiered model's votes to the probability of the next token: as published, and calibrated.

A cluster's share s of the vote becomes a probability in one of two ways:

    published   P(t) ~ exp(s_t)                             s in [0, 1], so P(t) <= e / (e + V - 1)
    calibrated  P(t) ~ e^offset (s_t + floor)^slope f_t^prior       four numbers a tier, from held-out text

where f_t is how often the token comes: a share is evidence beside that, more or less of it.

With V = 50,257 the published one cannot leave 9.825 .. 11.825 nats, whatever was learnt (`published_band`).
"""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax import ram
from wnn_jax.lm import bitwise, tally, tiered_layer
from wnn_jax.lm.tiered_config import TieredConfig
from wnn_jax.lm.tiered_layer import ClusterVotes

PLACES = 2048  # of held-out text, to learn a readout from


class Readout(NamedTuple):
    """``offset + slope * log(share + floor) + prior * log(frequency)``, each ``float32 [tiers]``."""

    slope: jax.Array
    offset: jax.Array
    floor: jax.Array
    prior: jax.Array


@functools.partial(jax.jit, static_argnames="config")
def shares(config: TieredConfig, tier: int, votes: jax.Array) -> jax.Array:
    """Shares ``float32 [k, N]`` in [0, 1] of a chunk's votes."""
    neurons = jnp.asarray([x.neurons for x in config.tiers], jnp.float32)[tier]
    return votes.astype(jnp.float32) / (neurons * ram.UNIT)


@jax.jit
def log_scores(
    readout: Readout | None, tier: int | jax.Array, shares: jax.Array, frequency: jax.Array
) -> jax.Array:
    """Unnormalised log-probabilities of shares; without a readout the shares themselves, as published.

    Args:
      tier: of all the clusters, or ``[k]`` of each.
      shares, frequency: ``float32 [k, N]`` and ``[k, 1]``.
    """
    if readout is None:
        return shares
    slope, offset, floor, prior = (jnp.reshape(x[tier], (-1, 1)) for x in readout)
    return offset + slope * jnp.log(shares + floor) + prior * jnp.log(frequency)


def calibrate(
    key: jax.Array, config: TieredConfig, tokens: np.ndarray, held_out: float = 0.1, places: int = PLACES
) -> Readout:
    """A readout learnt from the end of a training text by a model fitted on what comes before it.

    The cross-entropy of ``places`` places, drawn from the held-out part, is minimised by L-BFGS (optax).
    Nothing that was written is scored, and no text beyond ``tokens`` is read.

    Args:
      key: draws the connectivity of that model, its negatives and the places.
      config: of the model.
      tokens: the training text.
      held_out: share of the text.
      places: at most.
    """
    init_key, votes_key, place_key = jax.random.split(key, 3)
    cut = round(len(tokens) * (1 - held_out))
    wiring = tiered_layer.init(init_key, config, tokens[:cut])
    words, targets = tiered_layer.inputs(config, tokens[cut - config.context :])
    count = len(targets)
    at = jnp.sort(jax.random.permutation(place_key, count)[: min(places, count)])
    words, targets = words[:, at], np.asarray(targets[at])
    # Clusters that vote alike are one row that stands for all of them.
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
        jnp.asarray(tier),
        jnp.log(jnp.asarray(size, jnp.float32)),
        jnp.asarray(row[targets]),
    )


_STEPS = 60


@functools.partial(jax.jit, static_argnums=0)
def _fit_readout(tiers: int, shares, frequency, tier, log_size, row) -> Readout:
    """Fit to M places.

    Args:
      shares, frequency, tier, log_size: of clusters ``[rows, M]``, ``[rows, 1]``, their tier, and the log of
        how many each stands for.
      row: ``[M]``, the rows of the targets.
    """

    def loss(raw: Readout):
        scores = log_scores(_positive(raw), tier, shares, frequency)
        mass = jax.nn.logsumexp(scores + log_size[:, None], axis=0)
        return (mass - scores[row, jnp.arange(len(row))]).mean()

    optimizer = optax.lbfgs()
    start = Readout(jnp.zeros(tiers), jnp.zeros(tiers), jnp.full(tiers, -9.0), jnp.zeros(tiers))
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
    """Nats of the tokens that came and the best ids, normalised over all V.

    Args:
      config: of the model.
      readout: None for the published score.
      chunks: from `tiered_layer.votes`.
      targets: ``int32 [N]`` the tokens that came.
      on_step: hears how many ids have been fitted and read.
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
    """The least and the most nats that a published score can give a token, if none costs more than a guess.

    A share is in [0, 1], so no token has more than ``e / (e + V - 1)``. The upper end is a clamp at
    ``log V``, which the predecessor applies although the loss is then no distribution's.
    """
    return float(np.log(1 + (vocabulary - 1) / np.e)), float(np.log(vocabulary))


def clamped_nats(nats: np.ndarray, vocabulary: int) -> float:
    """Mean nats where no token costs more than the upper end of `published_band`.

    The predecessor clamps its scores so. That is no distribution's loss.
    """
    return float(np.minimum(nats, published_band(vocabulary)[1]).mean())


def as_lists(readout: Readout | None) -> dict[str, list[float]]:
    """A readout as plain data, by field and tier; empty without one."""
    return {} if readout is None else {k: np.asarray(v).tolist() for k, v in readout._asdict().items()}
