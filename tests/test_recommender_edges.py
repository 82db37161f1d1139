"""What comes from outside is checked before a recommender computes: arrays, numbers, small data sets."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wnn_jax import recommender
from wnn_jax.data import movielens, streams
from wnn_jax.recommender import (
    agent,
    baselines,
    catalogue,
    categories,
    cold_start,
    drift,
    factors,
    fields,
    forgetting,
    latency,
    protocol,
    synthetic,
    trials,
)

KEY = jax.random.key(0)
KEYS = jnp.arange(20, dtype=jnp.uint32)[:, None]
CONFIG = agent.AgentConfig()


def shown(film=((0, 3, 19),), labels=((1, 3, 7),), time=((1, 2, 3),)):
    return agent.rows(KEYS, np.array(film), np.array(labels), np.array(time))


def taught():
    return agent.learn(CONFIG, agent.empty(1, 1), shown())


def world(**change):
    made = movielens.Ratings(np.array([0, 0, 1]), np.array([0, 1, 2]), np.float32([1, 2, 5]), np.arange(3))
    return made._replace(**change)


def holdout(**change):
    film = np.array([[0, 1], [2, 3]])
    stars, time = np.full((2, 2), 3.5, np.float32), np.zeros((2, 2), int)
    made = protocol.Holdout(np.arange(2), film, stars, time, film + 4, stars)
    return made._replace(**change)


def estimate(stars=3.0, shape=(2, 2)):
    return protocol.from_stars(np.full(shape, stars))


FITTED = factors.Factors(jnp.float32(3), jnp.zeros(20), jnp.zeros((20, 2)))
MODEL = baselines.fit_neighbours(baselines.NeighbourConfig(), world(), 20)
CASES = [
    (lambda: shown(film=[[0, 20, 1]]), r"film\[0, 1\]=20 is out of range"),
    (lambda: shown(film=[[0, -2, 1]]), r"film\[0, 1\]=-2 is out of range"),
    (lambda: shown(film=[[0, 2**40, 1]]), r"film\[0, 1\]=1099511627776 is out of range"),
    (lambda: shown(film=[[0, 3.7, 1]]), "film has dtype float64: give integers"),
    (lambda: shown(film=[0, 1, 2]), r"film has shape \[3\]: give \[U, n\]"),
    (lambda: shown(labels=[[1, -1, 1]]), r"labels\[0, 1\]=-1 is out of range"),
    (lambda: shown(labels=[[1, 2**32, 1]]), r"labels\[0, 1\]=4294967296 is out of range"),
    (lambda: shown(labels=[[1, 1]]), r"labels has shape \[1, 2\]: give \[U=1, n=3\]"),
    (lambda: shown(time=[[1, 2, 964982703000]]), r"time\[0, 2\]=964982703000 is out of range"),
    (lambda: shown(time=[[1, 2, 0.5]]), "time has dtype float64"),
    (lambda: agent.rows(KEYS.astype(jnp.int32), *[np.zeros((1, 1), int)] * 3), "film_keys has dtype int32"),
    (lambda: agent.empty(-1, 1), "users=-1 is out of range"),
    (lambda: agent.empty(1, 1.0), "words=1.0 is not a whole number"),
    (lambda: agent.empty(1, 1, rows=-8), "rows=-8 is out of range"),
    (lambda: agent.grow(taught(), -1, 10), "rows=-1 is out of range"),
    (lambda: agent.widen(taught(), 1.5), "words=1.5 is not a whole number"),
    (lambda: agent.forget(taught(), np.array(True)), r"where has shape \[\]: give \[U=1, M=8\]"),
    (lambda: agent.forget(taught(), np.ones((1, 1), bool)), r"where has shape \[1, 1\]"),
    (lambda: agent.forget(taught(), np.ones((1, 8), int)), "where has dtype int64: give booleans"),
    (lambda: agent.of_items(taught(), np.array([3.7])), "items has dtype float64"),
    (lambda: agent.of_items(taught(), [-1]), r"items\[0\]=-1 is out of range"),
    (lambda: agent.with_bit(taught(), 32), "bit=32 is out of range"),
    (lambda: agent.with_bit(taught(), -1), "bit=-1 is out of range"),
    (lambda: agent.before(taught(), 964982703000), "time=964982703000 is out of range"),
    (lambda: agent.predict(KEY, CONFIG, taught(), KEYS), r"queries has shape \[20, 1\]"),
    (lambda: agent.predict(KEY, CONFIG, taught(), KEYS[None], 2**31), "now=2147483648 is out of range"),
    (lambda: agent.predict(KEY, CONFIG, taught(), KEYS[None], np.array([1, 2])), r"now has shape \[2\]"),
    (lambda: agent.predict(KEY, CONFIG, taught(), KEYS[None], 0.5), "now has dtype float64"),
    (lambda: agent.predict(KEY, CONFIG, taught(), KEYS[None], 0, jnp.full((1, 20, 10), jnp.nan)), "prior"),
    (lambda: agent.predict(KEY, CONFIG, taught(), KEYS[None], 0, jnp.zeros((1, 1, 10))), "prior has shape"),
    (lambda: agent.learn(CONFIG, agent.empty(1, 1), shown()._replace(time=jnp.zeros((1, 3)))), "rows.time"),
    (lambda: agent.learn(CONFIG, agent.empty(1, 1), shown(labels=[[1, 1024, 1]])), "rows.labels"),
    (lambda: agent.learn(CONFIG, taught()._replace(order=jnp.zeros((1, 3))), shown()), "agents.order"),
    (lambda: agent.replay(KEY, CONFIG, agent.empty(1, 1, rows=0), shown()), "room of the agents=0"),
    (lambda: agent.replay(KEY, CONFIG, agent.empty(2, 1), shown()), "rows.keys has shape"),
    (lambda: fields.stars_to_bits(np.array([np.nan])), r"stars\[0\]=nan is out of range"),
    (lambda: fields.stars_to_bits(np.array([7.0])), r"stars\[0\]=7.0 is out of range"),
    (lambda: fields.stars_to_bits(np.array([-0.5])), "is out of range"),
    (lambda: fields.stars_to_bits(np.array([3.3])), r"stars\[0\]=3.3 is not a whole number of halves"),
    (lambda: fields.bits_to_stars(np.array([0.5])), "labels has dtype float64"),
    (lambda: fields.pack(np.ones((2, 2))), "film_bits has dtype float64"),
    (lambda: fields.encode((), {}), "an encoder of 0 fields"),
    (lambda: fields.thermometer("x", (1.0, float("nan"))), "an edge of field 'x'=nan"),
    (lambda: fields.Field("x", ("a",), ((2,),), (0,)), "a code of field 'x' holds 2"),
    (lambda: factors.factorise(KEY, factors.FactorConfig(), world(film=np.array([0, 1, 20])), 20), "film"),
    (lambda: factors.factorise(KEY, factors.FactorConfig(), world(user=np.array([0, -1, 1])), 20), "user"),
    (lambda: factors.factorise(KEY, factors.FactorConfig(), world(stars=np.full(3, np.nan)), 20), "stars"),
    (lambda: factors.factorise(KEY, factors.FactorConfig(), world(stars=np.ones(2)), 20), "stars has shape"),
    (
        lambda: factors.factorise(
            KEY, factors.FactorConfig(), movielens.Ratings(*[np.zeros(0, int)] * 4), 20
        ),
        "0 rat",
    ),
    (
        lambda: factors.fold_in(
            FITTED, factors.FactorConfig(), np.array([[20]]), np.ones((1, 1)), np.array([[1]])
        ),
        "film",
    ),
    (
        lambda: factors.fold_in(
            FITTED, factors.FactorConfig(), np.array([[1]]), np.ones((1, 1)), np.array([[-1]])
        ),
        "asked",
    ),
    (
        lambda: factors.fold_in(
            FITTED, factors.FactorConfig(), np.array([[1]]), np.full((1, 1), np.nan), np.array([[1]])
        ),
        "stars",
    ),
    (
        lambda: factors.fold_in(
            FITTED, factors.FactorConfig(), np.array([[1]]), np.ones((1, 2)), np.array([[1]])
        ),
        "have shapes",
    ),
    (lambda: catalogue.crowd(np.array([0, 5]), np.ones(2), 5), r"film\[1\]=5 is out of range"),
    (lambda: catalogue.crowd(np.array([0, 1]), np.array([1, np.inf]), 5), r"stars\[1\]=inf"),
    (lambda: protocol.divide(KEY, np.array([0, -1]), 1), r"user\[1\]=-1"),
    (lambda: protocol.divide(KEY, np.array([0, 1, 2]), 1), "3 people rated films, and 4 are needed"),
    (lambda: protocol.divide(KEY, np.zeros(9, int), 1), "1 people rated 1 films or more"),
    (lambda: protocol.hold_out(KEY, world(), np.array([1]), 2, 0), "user 1 has 1 ratings, and 2 are shown"),
    (lambda: protocol.hold_out(KEY, world(), np.array([0]), 0, 1), "shown=0 is out of range"),
    (lambda: protocol.hold_out(KEY, world(), np.zeros(0, int), 1, 1), "there are 0 users"),
    (
        lambda: protocol.hold_out(KEY, world(user=np.array([1, 0, 1])), np.array([1]), 1, 1),
        "not ordered by user",
    ),
    (lambda: protocol.score(holdout(), estimate(np.nan), 4), r"code\[0, 0\]=nan"),
    (lambda: protocol.score(holdout(), estimate(shape=(2, 3)), 4), r"code has shape \[2, 3\]"),
    (lambda: protocol.liking_threshold(holdout(truth=np.zeros((2, 0))), estimate()), "asks .* films"),
    (lambda: protocol.choose({}, holdout(), "rmse"), "0 recommenders"),
    (lambda: protocol.choose({"a": lambda _: estimate()}, holdout(), "loss"), "unknown score 'loss'"),
    (lambda: baselines.copied(KEY, holdout(film=np.array([[0, -1], [1, 2]]))), "a person is shown 1 ratings"),
    (lambda: baselines.user_mean(holdout(film=np.full((2, 2), -1))), "a person is shown 0 ratings"),
    (lambda: baselines.constant(holdout(), float("nan")), "stars=nan"),
    (lambda: baselines.mlp(KEY, baselines.MlpConfig(), *[np.ones((1, 2, 3))] * 3), "rows has dtype float64"),
    (lambda: baselines.mlp(KEY, baselines.MlpConfig(), *[np.ones((1, 0, 3), bool)] * 3), "number of rows=0"),
    (
        lambda: baselines.ask_neighbours(
            baselines.NeighbourConfig(), MODEL, holdout(asked=np.array([[20], [0]]))
        ),
        "asked",
    ),
    (
        lambda: baselines.fit_neighbours(baselines.NeighbourConfig(), world(film=np.array([0, 1, 9])), 9),
        "film",
    ),
    (lambda: categories.buckets(np.ones((1, 2)), np.ones((1, 3))), "unseen has shape"),
    (lambda: categories.spelling(["a"], 0), "width=0"),
    (lambda: drift.recovery(drift.DriftConfig(), np.ones(79)), "curve has shape"),
    (lambda: latency.random_agents(KEY, 1, 1, 0), "width=0"),
    (lambda: synthetic.world(KEY, most=29), "most=29"),
    (lambda: synthetic.world(KEY, users=0), "users=0"),
    (lambda: trials.rows(KEYS, holdout(stars=np.full((2, 2), np.nan))), r"stars\[0, 0\]=nan"),
    (lambda: streams.cut(np.arange(5), 0), "window=0 is out of range"),
    (lambda: streams.cut(np.arange(5), 2.5), "window=2.5 is not a whole number"),
    (lambda: streams.cut(np.arange(5) / 2, 2), "tokens has dtype float64"),
    (lambda: streams.cut(np.array([1, 2, 2**40]), 2), r"tokens\[2\]=1099511627776"),
    (lambda: streams.cut(np.arange(6).reshape(2, 3), 2), r"tokens has shape \[2, 3\]"),
    (lambda: streams.overlapping(np.arange(9), 0), "window=0 is out of range"),
    (lambda: streams.stream(np.zeros((0, 3), int)), "windows"),
]


@pytest.mark.parametrize("place", range(len(CASES)))
def test_what_means_nothing_is_refused(place):
    call, said = CASES[place]
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.parametrize(
    ("config", "change"),
    [
        (
            agent.AgentConfig,
            {"scale": float("nan"), "half_life": -1.0, "prior_weight": 1e300, "tolerance": -1, "cap": 2.0},
        ),
        (
            factors.FactorConfig,
            {"factors": 0, "steps": -1, "rate": 0.0, "decay": float("nan"), "spread": float("inf")},
        ),
        (baselines.MlpConfig, {"hidden": (0,), "rate": float("inf"), "steps": 1.5, "published": 1}),
        (
            baselines.NeighbourConfig,
            {"nearest": 0, "shrink": 0.0, "bias_shrink": float("nan"), "own_shrink": -1.0},
        ),
        (
            cold_start.ColdStartConfig,
            {"sizes": (1,), "asked": 0, "scales": (), "decays": (0.0,), "hybrid_weights": (float("nan"),)},
        ),
        (categories.CategoriesConfig, {"shown": 0, "asked": -1, "tags": 0, "added": 5}),
        (drift.DriftConfig, {"before": 0, "after": 4, "refit": 0}),
        (forgetting.ForgettingConfig, {"least": 0, "shown": 0, "asked": 0, "genre": None}),
        (catalogue.CatalogueConfig, {"fields": (), "factors": None}),
    ],
)
def test_configs_are_checked_field_by_field(config, change):
    for name, value in change.items():
        with pytest.raises(ValueError, match=name):
            dataclasses.replace(config(), **{name: value})


def test_agents_with_room_for_no_row_make_it():
    for config in (CONFIG, agent.AgentConfig(cap=2)):
        blank = agent.empty(1, 1, rows=0)
        assert agent.predict(KEY, config, blank, KEYS[None]).tolist() == np.full((1, 20, 10), 0.5).tolist()
        full = agent.learn(config, blank, shown())
        again = agent.learn(config, agent.empty(1, 1, rows=1), shown())
        assert int(full.alive.sum()) == min(3, config.cap)
        answers = [agent.predict(KEY, config, x, KEYS[None]) for x in (full, again)]
        np.testing.assert_array_equal(*answers)


def test_times_at_both_ends_do_not_wrap():
    """The age of a row is a difference of 33 bits: the far past must not become the future."""
    config = agent.AgentConfig(half_life=1e9)
    ends = -(1 << 31), (1 << 31) - 1
    agents = agent.learn(config, agent.empty(1, 1), shown([[0, 0]], [[0, 1023]], [ends]))
    late = agent.predict(KEY, config, agents, KEYS[None, :1], ends[1])
    early = agent.predict(KEY, config, agents, KEYS[None, :1], ends[0])
    weight = 2 ** (-(2.0**32) / 1e9)
    np.testing.assert_allclose(late, 1 / (1 + weight), atol=1e-3)
    np.testing.assert_allclose(early, late, atol=1e-3)  # the weights count from the nearest row


def test_films_outside_a_catalogue_are_refused(monkeypatch):
    films = recommender.build_catalogue(KEY, synthetic.world(KEY, 20, 40, 30))
    person = recommender.new(KEY, films)
    for film in (0, 41, -1, 2**40, 3.7, float("nan")):
        with pytest.raises(ValueError, match="no film has the id"):
            recommender.learn(person, [film], [4])
    for call, said in (
        (lambda: recommender.learn(person, [1], [float("nan")]), "nan is not a rating"),
        (lambda: recommender.learn(person, [1], [10]), "10 is not a rating"),
        (lambda: recommender.learn(person, [1], [4], [964982703000]), "time"),
        (lambda: recommender.recommend(person, 2.5), "top=2.5"),
        (lambda: recommender.question(person, -5), "known=-5"),
        (lambda: recommender.expected_stars(person, now=2**31), "now="),
    ):
        with pytest.raises(ValueError, match=said):
            call()
    assert len(recommender.recommend(recommender.learn(person, [], []), 3)) == 3


def data_set(users=40, films=30, per=12, genres=("drama", "comedy")):
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(users, dtype=np.int32), per)
    film = np.concatenate([rng.permutation(films)[:per] for _ in range(users)]).astype(np.int32)
    stars = (rng.integers(1, 11, users * per) / 2).astype(np.float32)
    some = [tuple(g for g in genres if rng.random() < 0.5) for _ in range(films)]
    nothing = np.full(films, np.nan, np.float32)
    facts = movielens.Films(
        np.arange(1, films + 1, dtype=np.int32),
        [f"{i}" for i in range(films)],
        some,
        [()] * films,
        [""] * films,
        *[nothing] * 3,
    )
    ratings = movielens.Ratings(user, film, stars, np.arange(len(user)))
    return movielens.Dataset(facts, ratings, np.arange(users, dtype=np.int32), [], "made")


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"users": 5, "films": 10, "per": 4},
        {"users": 1},
        {"users": 3},
        {"films": 1, "per": 1},
        {"genres": ("sci-fi",)},
    ],
)
def test_studies_name_what_a_small_data_set_lacks(sizes):
    """Each study either refuses in one line, or has a result."""
    data = data_set(**sizes)
    asked = categories.CategoriesConfig()
    studies = [
        lambda: cold_start.sizes(cold_start.FAIR, data.ratings),
        lambda: categories.bucketing(KEY, asked, data),
        lambda: categories.addition(KEY, asked, data),
        lambda: drift.compare(KEY, drift.DriftConfig(), data),
        lambda: forgetting.compare(KEY, forgetting.ForgettingConfig(), data),
    ]
    for study in studies:
        with pytest.raises(
            ValueError, match=r"give a larger data set|set added to|give a larger *data set|or lower least"
        ):
            study()


def test_films_without_tags_are_bucketed_by_genre_alone():
    data = data_set(users=12, films=40, per=40)
    found = categories.bucketing(KEY, categories.CategoriesConfig(shown=5), data)
    assert {name.split(":")[0] for name in found} == {"genres"}
    assert all(np.isfinite(x.scores.rmse) for x in found.values())
