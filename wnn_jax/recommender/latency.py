"""Calls to time: agents of random rows that answer, and a person's first five ratings beside a network.

Source: docs/semantics/recommender.md.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.recommender import agent, baselines

ROWS = (5, 50, 100, 500, 1_000, 10_000)
WIDTHS = (26, 64, 256)
CROWDS = (1, 250, 10_000)


def random_agents(key: jax.Array, users: int, rows: int, width: int) -> agent.Agents:
    """Make agents with random rows.

    Args:
      key: draws the keys and labels of the rows.
      users: U, the number of agents.
      rows: the number of rows of each agent.
      width: the number of bits of a key.

    Raises:
      ValueError: a number is less than 1, or not a whole number.

    Source: docs/semantics/recommender.md.
    """
    for name, x in (("users", users), ("rows", rows), ("width", width)):
        checks.integer(name, x, Limits(least=1))
    words = -(-width // 32)
    keys = jax.random.split(key, 2)
    drawn = jax.random.bits(keys[0], (users, rows, words), jnp.uint32)
    last = jnp.uint32((1 << (width % 32)) - 1 if width % 32 else 0xFFFFFFFF)
    labels = jax.random.randint(keys[1], (users, rows), 0, 11, dtype=jnp.int32)
    place = jnp.broadcast_to(jnp.arange(rows, dtype=jnp.int32), (users, rows))
    return agent.Agents(
        keys=drawn.at[..., -1].set(drawn[..., -1] & last),
        labels=((1 << labels) - 1).astype(jnp.uint32),
        item=place,
        time=place,
        order=place + 1,
    )


def one_answer(key: jax.Array, config: agent.AgentConfig, agents: agent.Agents) -> Callable[[], jax.Array]:
    """Return a function that lets every agent answer one query: ``float32 [U, 1, L]``.

    Args:
      key: decides random ties.
      config: how the agents read.
      agents: the agents; each is asked about the key of its first row.

    Source: docs/semantics/recommender.md.
    """
    return lambda: agent.predict(key, config, agents, agents.keys[:, :1])


def first_ratings(
    key: jax.Array, config: agent.AgentConfig, people: int
) -> dict[str, Callable[[], jax.Array]]:
    """Return functions that let recommenders learn five ratings of each person and answer once.

    Args:
      key: draws the films, the labels and the networks' weights.
      config: how the agents learn and read.
      people: the number of people.

    Returns:
      The functions, by the name of the recommender; each returns chances ``float32 [people, 1, L]``.

    Source: docs/semantics/recommender.md.
    """
    rows = random_agents(key, people, 5, 26)
    given = agent.Rows(rows.keys, rows.labels, rows.item, rows.time)
    film = jax.random.bernoulli(key, jnp.float32(0.5), (people, 6, 26))
    label = jax.random.bernoulli(key, jnp.float32(0.5), (people, 5, 10))

    def weightless() -> jax.Array:
        learnt = agent.learn(config, agent.empty(people, 1), given)
        return agent.predict(key, config, learnt, given.keys[:, :1])

    def network(config: baselines.MlpConfig) -> jax.Array:
        return baselines.mlp(key, config, film[:, :5], label, film[:, 5:])

    return {
        "agent": weightless,
        "MLP as published": functools.partial(network, baselines.PUBLISHED_MLP),
        "MLP trained right": functools.partial(network, baselines.MlpConfig()),
    }
