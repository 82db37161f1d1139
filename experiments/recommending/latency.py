"""How long an answer takes: by rows, bits and agents, and beside the network it is said to be slower than."""

import functools

import jax
import jax.numpy as jnp

from experiments.recommending import common
from experiments.shared import machine, plots, tables
from wnn_jax.recommender import agent, baselines

ROWS = (5, 50, 100, 500, 1_000, 10_000)
WIDTHS = (26, 64, 256)
CROWDS = (1, 250, 10_000)


def run(study: common.Study) -> None:
    """All three tables, of random rows."""
    key, config = jax.random.key(0), agent.AgentConfig()
    _by_rows(study, key, config)
    _by_agents(study, key, config)
    _beside_networks(study, key, config)


def _by_rows(study: common.Study, key: jax.Array, config: agent.AgentConfig) -> None:
    table, curves = {}, {}
    for width in WIDTHS:
        times = []
        for rows in ROWS:
            agents = _random(key, 1, rows, width)
            took = _clock(key, config, agents, 50)
            size = sum(x.nbytes for x in agents)
            study.results.add("latency of one answer", rows=rows, bits=width, seconds=took, memory_bytes=size)
            times.append(1e6 * took)
        table[f"{width} bits"] = [f"{x:.0f}" for x in times]
        curves[f"{width} bits"] = times
    tables.print_grid("microseconds an answer, one agent; rows =", table, [f"{x:,}" for x in ROWS])
    plots.latency(study.workdir / "latency.png", ROWS, curves)


def _by_agents(study: common.Study, key: jax.Array, config: agent.AgentConfig) -> None:
    table = {}
    for crowd in CROWDS:
        cells = []
        for rows in (10, 100, 1_000):
            machine.check_memory(4 * agent.memory_bytes(crowd, rows, 2), "close other programs")
            took = _clock(key, config, _random(key, crowd, rows, 64), 5)
            rate = crowd / took
            study.results.add(
                "answers a second", agents=crowd, rows=rows, seconds=took, answers_per_second=rate
            )
            cells.append(f"{rate:,.0f}")
        table[f"{crowd:,} agents"] = cells
    tables.print_grid("answers a second, one call, 64 bits; rows =", table, ["10", "100", "1,000"])


def _beside_networks(study: common.Study, key: jax.Array, config: agent.AgentConfig) -> None:
    table: dict[str, list[str]] = {}
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

        tried = {
            "agent": weightless,
            "MLP as published": functools.partial(network, baselines.PUBLISHED_MLP),
            "MLP trained right": functools.partial(network, baselines.MlpConfig()),
        }
        for name, call in tried.items():
            took = machine.clock(call, 20) / people
            study.results.add(f"learn 5, answer 1: {name}", agents=people, seconds=took)
            table.setdefault(name, []).append(f"{1e6 * took:,.0f}")
    tables.print_grid("microseconds a person, learn 5 ratings and answer; people =", table, ["1", "250"])


def _clock(key: jax.Array, config: agent.AgentConfig, agents: agent.Agents, repeats: int) -> float:
    """Seconds in which every agent answers one query."""
    return machine.clock(lambda: agent.predict(key, config, agents, agents.keys[:, :1]), repeats)


def _random(key: jax.Array, users: int, rows: int, width: int) -> agent.Agents:
    words = -(-width // 32)
    keys = jax.random.split(key, 2)
    drawn = jax.random.bits(keys[0], (users, rows, words), jnp.uint32)
    last = jnp.uint32((1 << (width % 32)) - 1 if width % 32 else 0xFFFFFFFF)
    labels = jax.random.randint(keys[1], (users, rows), 0, 11)
    place = jnp.broadcast_to(jnp.arange(rows, dtype=jnp.int32), (users, rows))
    label = ((1 << labels) - 1).astype(jnp.uint32)
    return agent.Agents(drawn.at[..., -1].set(drawn[..., -1] & last), label, place, place, place + 1)
