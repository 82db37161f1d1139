"""Agents as recommenders of a trial: they learn the ratings that a holdout shows and estimate the others.

Source: docs/semantics/recommender.md.
"""

from collections.abc import Callable

import jax
import numpy as np

from wnn_jax.recommender import agent, fields, protocol

Prior = Callable[[protocol.Holdout], jax.Array]


def rows(film_keys: jax.Array, holdout: protocol.Holdout) -> agent.Rows:
    """Make rows of the ratings that a holdout shows; the time of a rating is its place, 0 .. n - 1.

    Args:
      film_keys: ``uint32 [F, W]``, the key of each film.
      holdout: the ratings of U people.

    Raises:
      ValueError: a film has no key, or a rating is not within 0 .. 5 in halves.

    Source: docs/semantics/recommender.md.
    """
    place = np.broadcast_to(np.arange(holdout.film.shape[1]), holdout.film.shape)
    stars = np.where(holdout.film < 0, np.float32(0), holdout.stars)  # a gap has NaN
    return agent.rows(film_keys, holdout.film, fields.stars_to_bits(stars), place)


def taught(config: agent.AgentConfig, film_keys: jax.Array, holdout: protocol.Holdout) -> agent.Agents:
    """Make an agent for each person and teach it the ratings that the holdout shows.

    Args:
      config: how the agents learn.
      film_keys: ``uint32 [F, W]``, the key of each film.
      holdout: the ratings of U people.

    Source: docs/semantics/recommender.md.
    """
    start = agent.empty(len(holdout.users), film_keys.shape[1], holdout.film.shape[1])
    return agent.learn(config, start, rows(film_keys, holdout))


def recommender(
    key: jax.Array, config: agent.AgentConfig, film_keys: jax.Array, prior: Prior | None = None
) -> protocol.Recommender:
    """Return a recommender: agents that learn the ratings a holdout shows and estimate the films it asks.

    Args:
      key: decides random ties.
      config: how the agents learn and read.
      film_keys: ``uint32 [F, W]``, the key of each film.
      prior: a function from a holdout to the chances before any row is read, ``float32 [U, q, 10]``, or None.

    Source: docs/semantics/recommender.md.
    """

    def estimate(holdout: protocol.Holdout) -> protocol.Estimate:
        agents = taught(config, film_keys, holdout)
        believed = None if prior is None else prior(holdout)
        now = holdout.film.shape[1]
        chances = agent.predict(key, config, agents, film_keys[holdout.asked], now, believed)
        return protocol.from_chances(np.asarray(chances))

    return estimate
