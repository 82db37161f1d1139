"""Agents as recommenders of a trial: taught what a holdout shows, asked what it holds out."""

from collections.abc import Callable

import jax
import numpy as np

from wnn_jax.recommender import agent, fields, protocol

Prior = Callable[[protocol.Holdout], jax.Array]


def rows(film_keys: jax.Array, holdout: protocol.Holdout) -> agent.Rows:
    """The rows of what a holdout shows; time is the rating's place."""
    place = np.broadcast_to(np.arange(holdout.film.shape[1]), holdout.film.shape)
    return agent.rows(film_keys, holdout.film, fields.stars_to_bits(holdout.stars), place)


def taught(config: agent.AgentConfig, film_keys: jax.Array, holdout: protocol.Holdout) -> agent.Agents:
    """An agent for each person, which learnt what the holdout shows."""
    start = agent.empty(len(holdout.users), film_keys.shape[1], holdout.film.shape[1])
    return agent.learn(config, start, rows(film_keys, holdout))


def recommender(
    key: jax.Array, config: agent.AgentConfig, film_keys: jax.Array, prior: Prior | None = None
) -> protocol.Recommender:
    """Agents that learn what a holdout shows and answer what it asks.

    Args:
      key: decides random ties.
      config: of the agents.
      film_keys: ``uint32 [F, W]``.
      prior: what to believe before any row has spoken: ``float32 [U, q, 10]`` of a holdout.
    """

    def estimate(holdout: protocol.Holdout) -> protocol.Estimate:
        agents = taught(config, film_keys, holdout)
        believed = None if prior is None else prior(holdout)
        now = holdout.film.shape[1]
        chances = agent.predict(key, config, agents, film_keys[holdout.asked], now, believed)
        return protocol.from_chances(np.asarray(chances))

    return estimate
