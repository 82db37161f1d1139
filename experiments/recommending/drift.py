"""Drift: tastes that turn over, and how soon each way of forgetting follows."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from experiments.recommending import common
from experiments.shared import plots, tables
from wnn_jax.data import movielens
from wnn_jax.recommender import agent, baselines, encode, protocol

BEFORE, AFTER = 40, 40
_GENRES = (encode.one_hot("genres", (*encode.GENRES, *encode.MORE_GENRES)),)
_ROOM = 128
EVERY = 10  # ratings between two fits of the weights

# What each policy may choose among, on people who are not tried.
POLICIES: dict[str, list[agent.AgentConfig]] = {
    "append only": [agent.AgentConfig(scale=s) for s in (0.5, 1.0, 2.0)],
    "sliding window": [agent.AgentConfig(scale=s, cap=c) for s in (0.5, 1.0, 2.0) for c in (10, 20, 40)],
    "age in the vote": [
        agent.AgentConfig(scale=s, half_life=h)
        for s in (0.5, 1.0, 2.0)
        for h in (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0)
    ],
    "delete what contradicts": [
        agent.AgentConfig(scale=s, contradiction=r) for s in (0.5, 1.0, 2.0) for r in (0, 1, 2)
    ],
}


def run(results: tables.Results, data: movielens.Data, workdir, seeds) -> None:
    """Tastes flipped after `BEFORE` ratings, and real ratings in their real order."""
    length = BEFORE + AFTER
    enough = (np.bincount(data.ratings.user) >= length).sum()
    if enough < 8:
        raise ValueError(f"{enough} people rated {length} films: drift needs 8 of them")
    curves: dict[str, list[np.ndarray]] = {}
    real: dict[str, list[float]] = {}
    for seed in seeds:
        key = jax.random.key(seed)
        found = common.setting(key, data, length, 0)
        keys = common.keys_of(_GENRES, found.columns)
        flipped = {
            who: _flip(k, task, found.films.genres)
            for who, k, task in zip(
                ("tried", "choosing"), jax.random.split(key), (found.tried, found.choosing), strict=True
            )
        }
        for name, right in _right(key, keys, flipped, _ridge(found)).items():
            curves.setdefault(name, []).append(right.mean(0))
            results.add(
                f"drift, flipped: {name}", seed=seed, curve=right.mean(0).tolist(), **_recovery(right.mean(0))
            )
        streams = {"tried": found.tried, "choosing": found.choosing}
        full = common.keys_of(encode.DEFAULT, found.columns)
        for name, right in _right(key, full, streams, _factors(key, found)).items():
            real.setdefault(name, []).append(float(right[:, BEFORE:].mean()))
            results.add(f"drift, real order: {name}", seed=seed, within_one=real[name][-1])
    means = {name: np.mean(x, 0) for name, x in curves.items()}
    cells = {}
    for name, curve in means.items():
        found = _recovery(curve)
        took = found["ratings_to_recover"]
        took = f"more than {AFTER - 5}" if took is None else str(took)
        shown = [f"{found[x]:.3f}" for x in ("before", "first_five", "last_ten")]
        cells[name] = [*shown, took, common.mean_range(real[name])]
    heads = ["before", "first 5", "last 10", "recovered after", "real order"]
    tables.print_grid("within one star of the next rating, tastes flipped", cells, heads)
    quick = [x for x in cells if (_recovery(means[x])["ratings_to_recover"] or AFTER) <= 10 and x in POLICIES]
    print(f"five ratings in a row back to within .05, at most 10 after: {', '.join(quick) or 'no policy'}")
    plots.drift(workdir / "drift.png", means, BEFORE)


def _flip(key: jax.Array, task: protocol.Task, genres) -> protocol.Task:
    """Real histories, made-up tastes: genres are loved or hated, and from `BEFORE` on the other way round."""
    names = _GENRES[0].values
    member = np.array([[name in some for name in names] for some in genres])
    taste = np.asarray(jax.random.choice(key, jnp.array([-1, 1]), (len(task.users), len(names))))
    turn = np.where(np.arange(task.film.shape[1]) < BEFORE, 1, -1)
    liking = np.sign(np.einsum("ung,ug->un", member[task.film], taste) * turn)
    return task._replace(stars=(3 + 1.5 * liking).astype(np.float32))


def _right(key, keys, streams: Mapping[str, protocol.Task], weights) -> dict[str, np.ndarray]:
    """Whether the rating that came next was told within a star: ``[U, n]`` by policy, for people tried.

    A policy's numbers are those that tell most after `BEFORE` ratings of the people for choosing.
    """
    out = {}
    for name, configs in POLICIES.items():
        best = max(
            configs,
            key=lambda config: _replay(key, config, keys, streams["choosing"])[:, BEFORE:].mean(),
        )
        out[name] = _replay(key, best, keys, streams["tried"])
    task = streams["tried"]
    place = np.arange(task.film.shape[1])
    mean = np.stack([task.stars[:, :i].mean(1) if i else np.full(len(task.users), 3.0) for i in place], 1)
    out["mean so far"] = _within(task, mean)
    out[f"weights, fitted every {EVERY}"] = _within(task, weights(task))
    return out


def _replay(key, config: agent.AgentConfig, keys, task: protocol.Task) -> np.ndarray:
    start = agent.empty(len(task.users), keys.shape[1], min(_ROOM, config.cap))
    chances = np.asarray(agent.replay(key, config, start, common.rows(keys, task))[1])
    return np.abs((chances >= 0.5).sum(-1) - 2 * task.stars) <= 2


def _within(task: protocol.Task, stars: np.ndarray) -> np.ndarray:
    return np.abs(np.round(2 * stars) - 2 * task.stars) <= 2


def _ridge(found: common.Setting):
    """Ridge regression on the genres."""
    film = jnp.asarray(encode.encode(_GENRES, found.columns).T, jnp.float32)
    factors = baselines.Factors(jnp.float32(3), jnp.zeros(len(film)), film)
    return lambda task: _refitted(factors, baselines.FactorConfig(shrink=1.0, bias_shrink=1.0), task)


def _factors(key, found: common.Setting):
    """Factors of the world, a person's own fitted anew."""
    config = baselines.FactorConfig()
    world = found.world
    factors = baselines.factorise(key, config, world.user, world.film, world.stars, len(found.films.ids))
    return lambda task: _refitted(factors, config, task)


def _refitted(factors: baselines.Factors, config: baselines.FactorConfig, task: protocol.Task) -> np.ndarray:
    """Each rating told by weights fitted to all ratings before the last multiple of `EVERY`."""
    out = []
    for start in range(0, task.film.shape[1], EVERY):
        seen = np.where(np.arange(task.film.shape[1]) < start, task.film, -1)
        asked = task.film[:, start : start + EVERY]
        out.append(np.asarray(baselines.fold_in(factors, config, seen, task.stars, asked)))
    return np.concatenate(out, 1)


def _recovery(curve: np.ndarray) -> dict[str, float | int | None]:
    """How far a curve falls when tastes flip, and when five ratings in a row are back to within .05."""
    before = float(curve[BEFORE // 2 : BEFORE].mean())
    later = curve[BEFORE:]
    five = np.convolve(later, np.ones(5) / 5, "valid")
    back = np.flatnonzero(five >= before - 0.05)
    return {
        "before": before,
        "first_five": float(later[:5].mean()),
        "last_ten": float(later[-10:].mean()),
        "ratings_to_recover": int(back[0]) if len(back) else None,
    }
