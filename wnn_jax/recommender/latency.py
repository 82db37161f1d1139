"""Cases to time: agents of random rows that answer, and a person's first five ratings beside a network."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from wnn_jax.recommender import agent, baselines

ROWS = (5, 50, 100, 500, 1_000, 10_000)
WIDTHS = (26, 64, 256)
CROWDS = (1, 250, 10_000)


def random_agents(key: jax.Array, users: int, rows: int, width: int) -> agent.Agents:
    """Agents of random rows.

    Args:
      key: draws keys and labels.
      users: U, the number of agents.
      rows: of each agent.
      width: bits of a key.
    """
    words = -(-width // 32)
    keys = jax.random.split(key, 2)
    drawn = jax.random.bits(keys[0], (users, rows, words), jnp.uint32)
    last = jnp.uint32((1 << (width % 32)) - 1 if width % 32 else 0xFFFFFFFF)
    labels = jax.random.randint(keys[1], (users, rows), 0, 11)
    place = jnp.broadcast_to(jnp.arange(rows, dtype=jnp.int32), (users, rows))
    return agent.Agents(
        keys=drawn.at[..., -1].set(drawn[..., -1] & last),
        labels=((1 << labels) - 1).astype(jnp.uint32),
        item=place,
        time=place,
        order=place + 1,
    )


def one_answer(key: jax.Array, config: agent.AgentConfig, agents: agent.Agents) -> Callable[[], jax.Array]:
    """The call in which every agent answers one query."""
    return lambda: agent.predict(key, config, agents, agents.keys[:, :1])


def first_ratings(
    key: jax.Array, config: agent.AgentConfig, people: int
) -> dict[str, Callable[[], jax.Array]]:
    """Calls in which people's recommenders learn five ratings and answer once, by the recommender's name.

    Args:
      key: draws films and labels, and the networks' weights.
      config: of the agents.
      people: the number of people.
    """
    rows = random_agents(key, people, 5, 26)
    given = agent.Rows(rows.keys, rows.labels, rows.item, rows.time)
    film = jax.random.bernoulli(key, 0.5, (people, 6, 26))
    label = jax.random.bernoulli(key, 0.5, (people, 5, 10))

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
