"""How long an answer takes: by rows, bits and agents, and beside the network it is said to be slower than."""

import functools

import jax
import jax.numpy as jnp

from experiments.shared import machine, plots, tables
from wnn_jax.recommender import agent, baselines

ROWS = (5, 50, 100, 500, 1_000, 10_000)
WIDTHS = (26, 64, 256)
CROWDS = (1, 250, 10_000)


def run(results: tables.Results, workdir) -> None:
    """All three tables, of random rows."""
    key = jax.random.key(0)
    config = agent.AgentConfig()
    table, curves = {}, {}
    for width in WIDTHS:
        times = []
        for rows in ROWS:
            agents = _random(key, 1, rows, width)
            took = machine.clock(
                lambda agents=agents: agent.predict(key, config, agents, agents.keys[:, :1]), 50
            )
            size = sum(x.nbytes for x in agents)
            results.add("latency of one answer", rows=rows, bits=width, seconds=took, memory_bytes=size)
            times.append(took)
        table[f"{width} bits"] = [f"{1e6 * x:.0f}" for x in times]
        curves[f"{width} bits"] = [1e6 * x for x in times]
    tables.print_grid("microseconds an answer, one agent; rows =", table, [f"{x:,}" for x in ROWS])
    plots.latency(workdir / "latency.png", ROWS, curves)

    table = {}
    for crowd in CROWDS:
        cells = []
        for rows in (10, 100, 1_000):
            machine.check_memory(4 * agent.memory_bytes(crowd, rows, 2), "close other programs")
            agents = _random(key, crowd, rows, 64)
            took = machine.clock(
                lambda agents=agents: agent.predict(key, config, agents, agents.keys[:, :1]), 5
            )
            results.add(
                "answers a second", agents=crowd, rows=rows, seconds=took, answers_per_second=crowd / took
            )
            cells.append(f"{crowd / took:,.0f}")
            del agents
        table[f"{crowd:,} agents"] = cells
    tables.print_grid("answers a second, one call, 64 bits; rows =", table, ["10", "100", "1,000"])

    table = {}
    for people in (1, 250):
        rows = _random(key, people, 5, 26)
        given = agent.Rows(rows.keys, rows.labels, rows.item, rows.time)
        film = jax.random.bernoulli(key, 0.5, (people, 6, 26))
        label = jax.random.bernoulli(key, 0.5, (people, 5, 10))

        def weightless(given=given, people=people):
            learnt = agent.learn(config, agent.empty(people, 1), given)
            return agent.predict(key, config, learnt, given.keys[:, :1])

        def network(config, film=film, label=label):
            return baselines.mlp(key, config, film[:, :5], label, film[:, 5:])

        tried = (
            ("agent", weightless),
            ("MLP as published", functools.partial(network, baselines.PUBLISHED_MLP)),
            ("MLP trained right", functools.partial(network, baselines.MlpConfig())),
        )
        for name, call in tried:
            took = machine.clock(call, 20) / people
            results.add(f"learn 5, answer 1: {name}", agents=people, seconds=took)
            table.setdefault(name, []).append(f"{1e6 * took:,.0f}")
    tables.print_grid("microseconds a person, learn 5 ratings and answer; people =", table, ["1", "250"])


def _random(key: jax.Array, users: int, rows: int, width: int) -> agent.Agents:
    words = -(-width // 32)
    keys = jax.random.split(key, 2)
    drawn = jax.random.bits(keys[0], (users, rows, words), jnp.uint32)
    last = jnp.uint32((1 << (width % 32)) - 1 if width % 32 else 0xFFFFFFFF)
    labels = jax.random.randint(keys[1], (users, rows), 0, 11)
    place = jnp.broadcast_to(jnp.arange(rows, dtype=jnp.int32), (users, rows))
    label = ((1 << labels) - 1).astype(jnp.uint32)
    return agent.Agents(drawn.at[..., -1].set(drawn[..., -1] & last), label, place, place, place + 1)
