"""Lists: what people used next, among all that they had not used; a row for each recommender and seed."""

import time

import jax

from experiments.recommending import common
from experiments.shared import bars, tables
from wnn_jax.recommender import lists


def run(study: common.Study) -> None:
    """Rank all items for everybody, and say whether the agents' lists beat that of the most popular items."""
    config, rows = lists.ListsConfig(hold=study.hold), []
    for seed in bars.each(study.seeds, "lists", "seed"):
        name = f"lists, {config.hold} {seed}"
        for values in study.answers.get(name, lambda seed=seed: _measured(study, config, seed)):
            seconds, row = values[0], lists.Score(*values[1:])
            known = {"seed": seed, **row._asdict(), "seconds": seconds}
            study.results.add(known.pop("name"), protocol=f"lists, {config.hold}", **known)
            rows.append({"name": row.name, **known})
    sizes = sorted({row["shown"] for row in rows}, key=lambda x: x or float("inf"))
    for measure, words in (("ndcg", "NDCG@10"), ("recall", "recall@10"), ("hit", "hit rate@10")):
        table = {}
        for name in dict.fromkeys(row["name"] for row in rows):
            mine = [[x[measure] for x in rows if x["name"] == name and x["shown"] == size] for size in sizes]
            table[name] = [common.mean_range(values, 4) if values else "-" for values in mine]
        tables.print_grid(f"{words}; items shown:", table, [str(size or "all") for size in sizes])
    whole = {(x["name"], x["seed"]): x["ndcg"] for x in rows if not x["shown"]}
    gains = [whole["agents", seed] - whole["popularity", seed] for seed in study.seeds]
    print(
        f"the agents {'beat' if min(gains) > 0 else 'do not beat'} popularity in NDCG@10: "
        f"{min(gains):+.4f} to {max(gains):+.4f} by seed"
    )


def _measured(study: common.Study, config: lists.ListsConfig, seed: int) -> list:
    """Score all lists of one seed; the seconds of the whole seed stand in each row."""
    started = time.perf_counter()
    found = lists.compare(jax.random.key(seed), config, study.data)
    return [[time.perf_counter() - started, *row] for row in found]
