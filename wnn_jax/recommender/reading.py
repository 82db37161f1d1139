"""How the rows of an agent answer a query. The functions handle one agent and one query.

Source: docs/semantics/recommender.md.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.ram import bits
from wnn_jax.recommender.memory import AgentConfig, Agents, Numbers

# The weights of votes are integers, so that their sums are the same in any order and on any device, and a
# deleted row leaves no trace. The nearest row has the weight _ONE. A row that is farther by n / _STEPS
# e-folds has the weight _weights()[n].
_ONE = 1 << 14
_STEPS = 256
_FAINT = 11 * _STEPS  # the weight of a farther row rounds to 0
_REMOTE = 1 << 24  # float32 does not hold every integer beyond


class Query(NamedTuple):
    """The queries of all agents, or one query of one agent.

    Attributes:
      words: ``uint32 [U, Q, W]``, the keys to ask about; ``[W]`` of one query.
      prior: ``float32 [U, Q, L]``, the chances before any row is read, or None; ``[L]`` of one query.
      key: a random key for each agent, or for one query.
      now: ``int32 [U]``, the time to which the age of a row counts; ``[]`` of one query.

    Source: docs/semantics/recommender.md.
    """

    words: jax.Array
    prior: jax.Array | None
    key: jax.Array
    now: jax.Array | np.ndarray


def read(form: AgentConfig, numbers: Numbers, agent: Agents, query: Query) -> jax.Array:
    """Estimate the chance that each label bit is set, ``float32 [L]``; see `AgentConfig.read` for the rules.

    Args:
      form: the choices of the agent's config.
      numbers: the numbers of the agent's config.
      agent: one agent, without the axis of users.
      query: one query.

    Source: docs/semantics/recommender.md.
    """
    alive = agent.alive
    positions = jnp.arange(form.label_bits, dtype=jnp.uint32)
    label = ((agent.labels[:, None] >> positions) & 1).astype(bool)  # [M, L]
    apart = distance(agent.keys, query.words)
    if form.read == "vote":
        age = jnp.log(jnp.float32(2)) / numbers.half_life * _since(agent.time, query.now)
        steps = jnp.clip(_STEPS * (apart / numbers.scale + age), -_REMOTE, _REMOTE)
        steps = jnp.round(steps).astype(jnp.int32)
        nearest = jnp.where(alive, steps, _REMOTE).min(initial=_REMOTE)
        weight = jnp.where(alive, _weights()[jnp.minimum(steps - nearest, _FAINT - 1)], 0)
        total = weight.sum().astype(jnp.float32)
        ones = (weight[:, None] * label).sum(0).astype(jnp.float32)
        if query.prior is not None:
            # In the sums the nearest row has the weight _ONE; the prior is weighed as a row at distance 0.
            believed = (
                numbers.prior_weight * _ONE * jnp.exp(jnp.minimum(nearest.astype(jnp.float32) / _STEPS, 60.0))
            )
            return jnp.where(total > 0, (ones + believed * query.prior) / (total + believed), query.prior)
        return jnp.where(total > 0, ones / total, _tie(form, query.key, alive, label))
    side = jnp.stack([~label, label]) & alive[None, :, None]  # [2, M, L]
    exact = _exact(agent, side & (apart == 0)[None, :, None])
    near = _nearer(side, apart[:, None])
    if form.read == "exact":
        order = (exact,)
    elif form.read == "hamming":
        order = (near,)
    else:
        width = agent.keys.shape[1] * bits.WORD
        features = bits.unpack(agent.keys.T, width).T.astype(jnp.int32)  # [M, I]
        asked = bits.unpack(query.words[:, None], width)[:, 0]
        ones = [(x.T.astype(jnp.int32) @ features).astype(jnp.float32) for x in side]
        each = jnp.maximum(side.sum(1, dtype=jnp.int32), 1).astype(jnp.float32)
        share = [x / count[:, None] for x, count in zip(ones, each, strict=True)]
        matters = jnp.round(_ONE * jnp.abs(share[1] - share[0])).astype(jnp.int32)  # [L, I]
        weighted = (features != asked).astype(jnp.int32) @ matters.T
        order = (exact, _nearer(side, weighted), near)
    decided = functools.reduce(lambda x, y: jnp.where(x < 0, y, x), order)
    return jnp.where(decided < 0, _tie(form, query.key, alive, label), decided).astype(jnp.float32)


def _since(time: jax.Array, now: jax.Array | np.ndarray) -> jax.Array:
    """Return ``now - time`` in float32; the difference of two int32 needs 33 bits."""
    first, last = (jnp.asarray(x).astype(jnp.uint32) for x in (time, now))
    later = (last - first).astype(jnp.float32)
    return jnp.where(time > now, -(first - last).astype(jnp.float32), later)


def _weights() -> jax.Array:
    return jnp.round(_ONE * jnp.exp(-jnp.arange(_FAINT, dtype=jnp.float32) / _STEPS)).astype(jnp.int32)


def distance(keys: jax.Array, key: jax.Array) -> jax.Array:
    """Count the bits in which keys ``uint32 [M, W]`` differ from a key ``uint32 [W]``: ``int32 [M]``.

    Source: docs/semantics/recommender.md.
    """
    return jax.lax.population_count(keys ^ key).sum(-1).astype(jnp.int32)


def _nearer(side: jax.Array, apart: jax.Array) -> jax.Array:
    """Return, for each label bit, the value that the nearest row has: 0 or 1.

    -1 means undecided: there is no row, or the nearest row with 0 and the nearest row with 1 are equally
    near. If all rows have the same value, that value is returned.
    """
    far = jnp.iinfo(jnp.int32).max
    clear, on = (jnp.where(rows, apart, far).min(0, initial=far) for rows in side)
    return jnp.where(on < clear, 1.0, jnp.where(clear < on, 0.0, -1.0))


def _exact(agent: Agents, side: jax.Array) -> jax.Array:
    """Return, for each label bit, the value that most of these rows have; in a draw that of the newest row.

    -1 means that there is no row.
    """
    clear, on = side.sum(1)  # [L]
    newest = side.any(0)
    for rank in (agent.time[:, None], agent.order[:, None]):
        newest = newest & (rank == jnp.where(newest, rank, jnp.iinfo(jnp.int32).min).max(0))
    recent = (side[1] & newest).any(0)
    most = jnp.where(on == clear, recent, on > clear).astype(jnp.float32)
    return jnp.where(on + clear > 0, most, -1.0)


def _tie(form: AgentConfig, key: jax.Array, alive: jax.Array, label: jax.Array) -> jax.Array:
    if form.ties == "random":
        return jax.random.bernoulli(key, jnp.float32(0.5), (form.label_bits,)).astype(jnp.float32)
    if form.ties == "half":
        return jnp.full(form.label_bits, 0.5, jnp.float32)
    on, rows = (label & alive[:, None]).sum(0), alive.sum()
    return jnp.where(2 * on > rows, 1.0, jnp.where(2 * on < rows, 0.0, 0.5)).astype(jnp.float32)
