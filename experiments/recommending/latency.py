"""The time of an answer, by the number of rows, bits and agents, and beside the time of small networks."""

import jax

from experiments.recommending import common
from experiments.shared import bars, machine, plots, tables
from wnn_jax.recommender import agent, latency


def run(study: common.Study) -> None:
    """Measure and print three tables, all with random rows."""
    key, config = jax.random.key(0), agent.AgentConfig()
    _by_rows(study, key, config)
    _by_agents(study, key, config)
    _beside_networks(study, key, config)


def _by_rows(study: common.Study, key: jax.Array, config: agent.AgentConfig) -> None:
    curves: dict[str, list[float]] = {}
    for width in latency.WIDTHS:
        for rows in bars.each(latency.ROWS, f"agents of {width} bits", "size"):
            agents = latency.random_agents(key, 1, rows, width)
            took = machine.clock(latency.one_answer(key, config, agents), 50)
            size = sum(x.nbytes for x in agents)
            study.results.add("latency of one answer", rows=rows, bits=width, seconds=took, memory_bytes=size)
            curves.setdefault(f"{width} bits", []).append(1e6 * took)
    table = {name: [f"{x:.0f}" for x in times] for name, times in curves.items()}
    heads = [f"{x:,}" for x in latency.ROWS]
    tables.print_grid("microseconds an answer, one agent; rows =", table, heads)
    plots.latency(study.workdir / "latency.png", latency.ROWS, curves)


def _by_agents(study: common.Study, key: jax.Array, config: agent.AgentConfig) -> None:
    table: dict[str, list[str]] = {}
    for crowd in latency.CROWDS:
        for rows in (10, 100, 1_000):
            machine.check_memory(4 * agent.memory_bytes(crowd, rows, 2), "close other programs")
            agents = latency.random_agents(key, crowd, rows, 64)
            took = machine.clock(latency.one_answer(key, config, agents), 5)
            row = {"agents": crowd, "rows": rows, "seconds": took, "answers_per_second": crowd / took}
            study.results.add("answers a second", **row)
            table.setdefault(f"{crowd:,} agents", []).append(f"{crowd / took:,.0f}")
    tables.print_grid("answers a second, one call, 64 bits; rows =", table, ["10", "100", "1,000"])


def _beside_networks(study: common.Study, key: jax.Array, config: agent.AgentConfig) -> None:
    table: dict[str, list[str]] = {}
    for people in (1, 250):
        for name, call in latency.first_ratings(key, config, people).items():
            took = machine.clock(call, 20) / people
            study.results.add(f"learn 5, answer 1: {name}", agents=people, seconds=took)
            table.setdefault(name, []).append(f"{1e6 * took:,.0f}")
    tables.print_grid("microseconds a person, learn 5 ratings and answer; people =", table, ["1", "250"])
