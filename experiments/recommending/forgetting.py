"""Forgetting: a person who loved horror says "forget horror", and is asked again."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from experiments.recommending import common
from experiments.shared import plots, tables
from wnn_jax.data import movielens
from wnn_jax.recommender import agent, encode, protocol

GENRE = "horror"
_LEAST = 3  # rows of the genre that make a person one who can forget it


def run(results: tables.Results, data: movielens.Data, workdir, seeds) -> None:
    """Scores of films of the genre and of others before and after, beside an agent never shown the rows."""
    most = _most(data)
    table: dict[str, list[list[float]]] = {}
    for seed in seeds:
        key = jax.random.key(seed)
        found = common.setting(key, data, most, 0)
        fields = encode.DEFAULT
        keys = common.keys_of(fields, found.columns)
        bit = encode.bit_of(fields, "genres", GENRE)
        horror = np.array([GENRE in x for x in data.films.genres])
        shown = horror[found.tried.film]
        fans = shown.sum(1) >= _LEAST
        if not fans.any():
            raise ValueError(
                f"nobody was shown {_LEAST} {GENRE} films in {most} ratings: give a larger data set"
            )
        real = protocol.Task(*(x[fans] for x in found.tried))
        loved = real._replace(stars=np.where(shown[fans], np.float32(5), real.stars))
        asked = {
            GENRE: jnp.asarray(jax.random.permutation(key, np.flatnonzero(horror))[:100]),
            "other": jnp.asarray(jax.random.permutation(key, np.flatnonzero(~horror))[:100]),
        }
        for name, task in (("as rated", real), ("all horror rated 5", loved)):
            scores = _compare(key, keys, bit, task, horror, asked)
            results.add(f"forget horror, {name}", people=int(fans.sum()), seed=seed, **scores)
            table.setdefault(name, []).append(list(scores.values())[:-2])
            if scores["largest_difference"] != 0:
                raise ValueError(f"forgetting is not exact: {scores}")
    heads = ["before", "after", "never shown", "others before", "others after", "others moved"]
    cells = {name: [common.mean_range(x) for x in zip(*rows, strict=True)] for name, rows in table.items()}
    tables.print_grid('mean stars of horror films, "forget horror"', cells, heads)
    print("after forgetting, every answer equals that of an agent never shown the rows, to the last bit")
    means = {name: np.mean(rows, 0) for name, rows in table.items()}
    plots.forgetting(workdir / "forgetting.png", means, heads[:5])


def _most(data: movielens.Data) -> int:
    """A hundred ratings a person, or what half the people have."""
    return int(min(100, np.median(np.bincount(data.ratings.user))))


def _compare(key, keys, bit: int, task, horror: np.ndarray, asked: dict[str, jax.Array]) -> dict[str, float]:
    config = agent.AgentConfig()
    rows, blank = common.rows(keys, task), agent.empty(len(task.users), keys.shape[1])
    agents = agent.learn(config, blank, rows)
    started = time.perf_counter()
    after = jax.block_until_ready(agent.forget(agents, agent.with_bit(agents, bit)))
    seconds = time.perf_counter() - started
    unseen = rows._replace(item=jnp.where(horror[task.film], -1, rows.item))
    never = agent.learn(config, blank, unseen)

    def stars(agents, films) -> np.ndarray:
        queries = jnp.broadcast_to(keys[films], (len(task.users), *keys[films].shape))
        return np.asarray(agent.predict(key, config, agents, queries)).sum(-1) / 2

    said = {
        (name, kind): stars(agents, films)
        for name, agents in (("before", agents), ("after", after), ("never", never))
        for kind, films in asked.items()
    }
    gaps = [np.abs(said["after", kind] - said["never", kind]).max() for kind in asked]
    return {
        "before": float(said["before", GENRE].mean()),
        "after": float(said["after", GENRE].mean()),
        "never_shown": float(said["never", GENRE].mean()),
        "others_before": float(said["before", "other"].mean()),
        "others_after": float(said["after", "other"].mean()),
        "others_moved": float(np.abs(said["after", "other"] - said["before", "other"]).mean()),
        "largest_difference": float(max(gaps)),
        "seconds": seconds,
    }
