"""New categories: buckets for names never seen, and a field that is added later."""

import zlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from experiments.recommending import common
from experiments.shared import plots, tables
from wnn_jax.data import movielens
from wnn_jax.recommender import agent, encode, protocol

_REST = encode.DEFAULT[1:]
_ADDED = "sci-fi"
_TAGS = 32


def bucketing(results: tables.Results, data: movielens.Data, workdir, seeds) -> None:
    """Genres and tags an encoder does not know: dropped, hashed, put with the nearest, or given bits."""
    table: dict[str, list[protocol.Scores]] = {}
    widths = {}
    for seed in seeds:
        key = jax.random.key(seed)
        found = common.setting(key, data, _shown(data), 20, whole=True)
        for column, known in (("genres", encode.GENRES), ("tags", _commonest(data.films.tags, _TAGS))):
            for name, (fields, columns) in _ways(column, known, found).items():
                row = f"{column}: {name}"
                scores = _scores(key, fields, columns, found)
                widths[row] = fields[0].width
                results.add(f"bucketing, {row}", seed=seed, bits=fields[0].width, **scores._asdict())
                table.setdefault(row, []).append(scores)
    cells = {
        row: [
            str(widths[row]),
            *(
                common.mean_range([getattr(x, name) for x in scores])
                for name in ("within_one", "auc", "rmse")
            ),
        ]
        for row, scores in table.items()
    }
    tables.print_grid("names the encoder does not know", cells, ["bits", "within one", "auc", "rmse"])
    plots.bars(
        workdir / "bucketing.png",
        {row: [x.within_one for x in s] for row, s in table.items()},
        "within one star",
    )


def addition(results: tables.Results, data: movielens.Data, workdir, seeds) -> None:
    """A genre gets a bit after agents have learnt: 0 in old rows, rows read again, or its nearest genre's."""
    table: dict[str, list[list[float]]] = {}
    for seed in seeds:
        key = jax.random.key(seed)
        found = common.setting(key, data, _shown(data), 20, whole=True)
        old = (encode.one_hot("genres", encode.GENRES), *_REST)
        new = (*old, encode.Field("genres", (_ADDED,), ((1,),), (0,)))
        before, after = (common.keys_of(fields, found.columns) for fields in (old, new))
        names, vector = encode.vectors(data.films.genres)
        place = {name: i for i, name in enumerate(names)}
        near = encode.buckets(
            vector[[place[_ADDED]]], vector[[place[x] for x in encode.GENRES if x in place]]
        )[0]
        into = {_ADDED: [x for x in encode.GENRES if x in place][near]}
        bucket = common.keys_of(old, {**found.columns, "genres": encode.rename(data.films.genres, into)})
        config = agent.AgentConfig()
        learnt = common.shown(config, before, found.tried)
        ways = {
            "without the genre": (learnt, before),
            "0 in old rows": (agent.widened(learnt, after.shape[1]), after),
            "rows read again": (common.shown(config, after, found.tried), after),
            f"the bit of {into[_ADDED]}": (common.shown(config, bucket, found.tried), bucket),
        }
        has = np.array([_ADDED in x for x in data.films.genres])[found.tried.asked]
        said = {}
        for name, (agents, keys) in ways.items():
            chances = np.asarray(agent.predict(key, config, agents, keys[found.tried.asked]))
            said[name] = chances
            answer = protocol.of_bits(chances)
            right = np.abs(answer.code - 2 * found.tried.truth) <= 2
            off = (answer.stars - found.tried.truth) ** 2
            row = [right[has].mean(), right[~has].mean(), np.sqrt(off[has].mean()), np.sqrt(off[~has].mean())]
            moved = float(np.abs(chances - said["without the genre"])[~has].max())
            results.add(
                f"feature added: {name}", seed=seed, old_films_moved=moved, scores=[float(x) for x in row]
            )
            table.setdefault(name, []).append([float(x) for x in row] + [moved])
        if (said["0 in old rows"] != said["without the genre"])[~has].any():
            raise ValueError("widening moved the predictions of films without the new genre")
    cells = {name: [common.mean_range(x) for x in zip(*rows, strict=True)] for name, rows in table.items()}
    heads = [f"{_ADDED}: within one", "others", f"{_ADDED}: rmse", "others", "others moved by"]
    tables.print_grid(f"{_ADDED} gets a bit after learning", cells, heads)
    plots.bars(
        workdir / "addition.png",
        {k: [x[0] for x in v] for k, v in table.items()},
        f"within one star, {_ADDED} films",
    )


def _shown(data: movielens.Data) -> int:
    """Eighty ratings a person, or what leaves half of the people with twenty to ask."""
    return int(min(80, np.median(np.bincount(data.ratings.user)) - 20))


def _scores(key, fields, columns, found: common.Setting) -> protocol.Scores:
    keys = common.keys_of(fields, columns)
    config = agent.AgentConfig()
    threshold = protocol.threshold(found.choosing, common.ask(key, config, keys, found.choosing))
    return protocol.score(found.tried, common.ask(key, config, keys, found.tried), threshold)


def _ways(column: str, known: Sequence[str], found: common.Setting) -> Mapping[str, tuple]:
    """Fields and columns by how a name that is not ``known`` is treated."""
    films = found.films
    values = getattr(films, column)
    unseen = sorted({name for some in values for name in some} - set(known))
    rest = encode.DEFAULT if column == "tags" else ()
    names, vector = encode.vectors([(*a, *b) for a, b in zip(films.genres, films.tags, strict=True)])
    place = {name: i for i, name in enumerate(names)}
    listed = [x for x in known if x in place]

    def nearest(vectors, wanted) -> dict[str, str]:
        found = encode.buckets(vectors(unseen), vectors(wanted))
        return {name: wanted[i] for name, i in zip(unseen, found, strict=True) if i >= 0}

    together = nearest(lambda some: vector[[place[x] for x in some]], listed)
    spelled = nearest(encode.spelling, list(known))
    hashed = {name: known[zlib.crc32(name.encode()) % len(known)] for name in unseen}
    short, long = encode.one_hot(column, known), encode.one_hot(column, (*known, *unseen))

    def renamed(into):
        return {**found.columns, column: encode.rename(values, into)}

    return {
        "dropped": ((short, *rest), found.columns),
        "a bucket by hash": ((short, *rest), renamed(hashed)),
        "nearest by spelling": ((short, *rest), renamed(spelled)),
        "nearest by company": ((short, *rest), renamed(together)),
        "a bit each": ((long, *rest), found.columns),
    }


def _commonest(column: Sequence[Sequence[str]], count: int) -> list[str]:
    names, times = np.unique([name for some in column for name in some], return_counts=True)
    return [str(names[i]) for i in np.lexsort((names, -times))[:count]]
