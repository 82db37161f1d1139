"""The encoders, protocols and baselines of the recommender."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wnn_jax.data import movielens
from wnn_jax.recommender import (
    agent,
    baselines,
    categories,
    factors,
    fields,
    protocol,
    synthetic,
)

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def world():
    return synthetic.world(KEY)


def columns(**given):
    films = len(next(iter(given.values())))
    return {"genres": [()] * films, **given}


def test_the_published_bits():
    film_bits = fields.encode(
        fields.PUBLISHED,
        columns(
            genres=[("drama", "horror", "sci-fi"), ("comedy",), (), ()],
            vote_average=np.array([0.5, 2.0, 7.7, np.nan]),
            language=["en", "ja", "zz", ""],
            vote_count=np.array([99.0, 250.0, 5415.0, np.nan]),
        ),
    )
    assert fields.width(fields.PUBLISHED) == 26 == len(film_bits)
    assert ["".join(map(str, x.astype(int))) for x in film_bits.T] == [
        "1000000001" + "000" + "000" + "1000000000",
        "0100000000" + "010" + "011" + "0010000000",
        "0000000000" + "111" + "111" + "0000000001",
        "0000000000" + "111" + "111" + "0000000001",
    ]


@given(st.lists(st.floats(0, 10), min_size=2, max_size=9))
def test_a_thermometer_is_as_far_as_its_numbers(values):
    values = np.sort(np.array(values))
    film_bits = fields.encode([fields.thermometer("x", (2.0, 4.0, 6.0))], {"x": values})
    height = film_bits.sum(0)
    assert (np.diff(height) >= 0).all()
    np.testing.assert_array_equal(height, [sum(v >= e for e in (2, 4, 6)) for v in values])
    np.testing.assert_array_equal(np.sort(film_bits, 0)[::-1], film_bits)


def test_what_is_not_known_sets_no_bit():
    encoder = (fields.thermometer("x", (1.0,)), fields.one_hot("name", ("a", "b")))
    film_bits = fields.encode(encoder, {"x": np.array([np.nan, 2.0]), "name": ["c", "b"]})
    np.testing.assert_array_equal(film_bits, [[0, 1], [0, 0], [0, 1]])
    assert not fields.encode(encoder, {"other": ["?"]}).any()


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=4, max_size=4))
def test_a_new_field_leaves_old_bits_and_predictions(names):
    old = (fields.one_hot("name", ("a", "b")),)
    new = (*old, fields.one_hot("more", ("c",)))
    facts = {"name": names, "more": names}
    before, after = fields.encode(old, facts), fields.encode(new, facts)
    np.testing.assert_array_equal(after[: len(before)], before)
    assert not after[len(before) :][:, [x != "c" for x in names]].any()
    config = agent.AgentConfig()
    shown = np.arange(len(names))[None], np.full((1, len(names)), 7), np.arange(len(names))[None]
    learnt = agent.learn(config, agent.empty(1, 1), agent.rows(fields.pack(before), *shown))
    old_films = [x != "c" for x in names]
    asked = (fields.pack(x)[None] for x in (before, after))
    said = [np.asarray(agent.predict(KEY, config, learnt, x))[0, old_films] for x in asked]
    np.testing.assert_array_equal(*said)


def test_fields_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="1 values and 2 codes"):
        fields.Field("x", ("a",), ((0,), (1,)), (0,))
    with pytest.raises(ValueError, match="must ascend"):
        fields.thermometer("x", (2.0, 1.0))
    with pytest.raises(ValueError, match="encodes numbers, but its column holds strings"):
        fields.encode([fields.thermometer("x", (1.0,))], {"x": ["a"]})
    with pytest.raises(ValueError, match=r"\[1, 2\] films"):
        fields.encode(fields.PUBLISHED, {"genres": [()], "language": ["en", "fr"]})
    with pytest.raises(ValueError, match="'polka' has no bit of its own among genres: use one of"):
        fields.bit_of(fields.DEFAULT, "genres", "polka")
    assert fields.bit_of(fields.PUBLISHED, "genres", "horror") == 9


def test_ratings_as_thermometers():
    stars = np.array([0.5, 1.0, 3.0, 4.5, 5.0])
    exact, whole = fields.stars_to_bits(stars), fields.stars_to_bits(np.floor(stars))
    assert [int(x).bit_count() for x in exact] == [1, 2, 6, 9, 10]
    assert [int(x).bit_count() for x in whole] == [0, 2, 6, 8, 10]
    assert all(int(x) & (int(x) + 1) == 0 for x in exact)


def test_buckets():
    names, vectors = categories.vectors(
        [("war", "drama"), ("war", "drama"), ("comedy", "romance"), ("drama",)]
    )
    place = {x: i for i, x in enumerate(names)}
    company = vectors[[place["war"]]] @ vectors[[place["drama"], place["comedy"]]].T
    assert vectors[place["war"], place["drama"]] > 0 == vectors[place["war"], place["comedy"]]
    assert company.shape == (1, 2)
    near = categories.buckets(
        categories.spelling(["romances", "zzz"]), categories.spelling(["drama", "romance"])
    )
    assert near[0] == 1
    assert categories.buckets(np.zeros((1, 3)), np.eye(3)).tolist() == [-1]
    assert categories.rename([("a", "b")], {"b": "c"}) == [("a", "c")]


def test_people_and_ratings_are_never_in_two_parts(world):
    ratings = world.ratings
    division = protocol.divide(KEY, ratings.user, 40, tried=50, choosing=20)
    assert len(division.tried) == 50
    assert len(division.choosing) == 20
    everybody = np.concatenate(division)
    assert len(set(everybody.tolist())) == len(everybody) == len(world.users)
    holdout = protocol.hold_out(KEY, ratings, division.tried, 20, 20)
    stars = {(u, f): s for u, f, s in zip(ratings.user, ratings.film, ratings.stars, strict=True)}
    for user, film, seen, asked, truth in zip(
        holdout.users, holdout.film, holdout.stars, holdout.asked, holdout.truth, strict=True
    ):
        assert not set(film.tolist()) & set(asked.tolist())
        assert len(set(film.tolist())) == len(set(asked.tolist())) == 20
        np.testing.assert_array_equal(seen, [stars[user, x] for x in film])
        np.testing.assert_array_equal(truth, [stars[user, x] for x in asked])
    assert (np.diff(holdout.time, axis=1) >= 0).all()
    with pytest.raises(ValueError, match="0 people rated 4000 films"):
        protocol.divide(KEY, ratings.user, 4000)


def test_scores_by_hand():
    truth = np.array([[4.0, 1.0], [5.0, 3.0]])
    holdout = protocol.Holdout(np.arange(2), *(np.zeros((2, 1)),) * 3, np.zeros((2, 2), int), truth)
    estimate = protocol.from_stars(np.array([[3.0, 2.5], [4.5, 3.0]]))
    scores = protocol.score(holdout, estimate, threshold=2.75)
    assert scores.within_one == pytest.approx(0.75)
    assert scores.median == pytest.approx(0.75)
    assert scores.balanced == pytest.approx((1.0 + 0.5) / 2)
    assert scores.auc == 1.0
    assert scores.rmse == pytest.approx(np.sqrt((1 + 1.5**2 + 0.25) / 4))
    best = protocol.liking_threshold(holdout, estimate)
    assert protocol.score(holdout, estimate, best).balanced == pytest.approx(0.75)
    chances = np.zeros((1, 1, 10))
    chances[..., :7] = 0.9
    chances[..., 7] = 0.5
    told = protocol.from_chances(chances)
    assert told.code.item() == 8
    assert told.stars.item() == pytest.approx((7 * 0.9 + 0.5) / 2)


@given(st.integers(0, 1000))
def test_the_threshold_is_the_best_there_is(seed):
    rng = np.random.default_rng(seed)
    truth, like = rng.choice([3.0, 4.0], (3, 8)), rng.integers(0, 6, (3, 8)).astype(float)
    holdout = protocol.Holdout(np.arange(3), *(np.zeros((3, 1)),) * 3, np.zeros((3, 8), int), truth)
    estimate = protocol.Estimate(like, like)
    found = protocol.score(holdout, estimate, protocol.liking_threshold(holdout, estimate)).balanced
    best = max(protocol.score(holdout, estimate, x).balanced for x in np.arange(-0.5, 6.5))
    assert found == pytest.approx(best, abs=1e-12)  # a mean of two shares may round either way


def test_factors_find_a_planted_structure_and_new_people_fold_in():
    rng = np.random.default_rng(0)
    film, user = rng.normal(size=(60, 2)), rng.normal(size=(80, 2))
    who, what = np.nonzero(rng.random((80, 60)) < 0.5)
    stars = np.clip(3 + 0.5 * (user @ film.T)[who, what], 0.5, 5)
    config = factors.FactorConfig(factors=4, steps=300, decay=0.01, shrink=0.1, bias_shrink=0.1)
    ratings = movielens.Ratings(who, what, stars, np.zeros(len(who)))
    world = factors.factorise(KEY, config, ratings, 61)
    assert not np.asarray(world.film[60]).any(), "a film nobody rated"
    new = rng.normal(size=(5, 2))
    truth = np.clip(3 + 0.5 * new @ film.T, 0.5, 5)
    seen = np.broadcast_to(np.arange(40), (5, 40))
    asked = np.broadcast_to(np.arange(40, 60), (5, 20))
    told = np.asarray(factors.fold_in(world, config, seen, truth[:, :40], asked))
    assert np.sqrt(((told - truth[:, 40:]) ** 2).mean()) < 0.25 < truth.std()
    # Padding must not change the estimates.
    padded = np.concatenate([seen, np.full((5, 3), -1)], 1)
    junk = np.concatenate([truth[:, :40], np.full((5, 3), 5.0)], 1)
    np.testing.assert_allclose(factors.fold_in(world, config, padded, junk, asked), told, atol=1e-5)
    assert factors.code_bits(world).shape == (4, 61)
    assert not factors.code_bits(world)[:, 60].any()


def test_neighbours_speak_for_films_alike():
    # The same people like films 0 and 1; the others like film 2.
    likes = np.array([[5, 5, 1], [5, 5, 1], [1, 1, 5], [1, 1, 5], [5, 5, 1], [1, 1, 5]], float)
    user, film = np.indices(likes.shape)
    ratings = movielens.Ratings(user.ravel(), film.ravel(), likes.ravel(), np.zeros(18))
    ask = baselines.neighbours(baselines.NeighbourConfig(), ratings, 3)
    holdout = protocol.Holdout(
        np.arange(2),
        np.array([[0], [0]]),
        np.array([[5.0], [1.0]]),
        np.zeros((2, 1)),
        np.array([[1], [1]]),
        np.ones((2, 1)),
    )
    told = ask(holdout).stars[:, 0]
    assert told[0] > 3 > told[1]


@pytest.mark.long
def test_networks_learn_and_the_published_one_does_not():
    rng = np.random.default_rng(0)
    film_bits = rng.random((12, 200)) < 0.5
    stars = np.where(film_bits[3], 5.0, 1.0)
    seen, asked = rng.integers(0, 200, (8, 60)), rng.integers(0, 200, (8, 20))
    holdout = protocol.Holdout(np.arange(8), seen, stars[seen], seen, asked, stars[asked])
    right = {
        name: protocol.score(holdout, baselines.mlp_estimate(KEY, config, film_bits, holdout), 0.5).within_one
        for name, config in (("trained", baselines.MlpConfig()), ("published", baselines.PUBLISHED_MLP))
    }
    assert right["trained"] > 0.95
    assert right["published"] < 0.7


def test_constants_and_means():
    stars = np.array([[1.0, 2.0, 4.5, 5.0]])
    holdout = protocol.Holdout(
        np.arange(1), np.zeros((1, 4), int), stars, stars, np.zeros((1, 3), int), np.ones((1, 3))
    )
    assert (baselines.constant(holdout, 4.0).code == 8).all()
    assert (baselines.user_mean(holdout).stars == stars.mean()).all()
    assert (baselines.user_median(holdout).stars == 3.25).all()
    assert set(baselines.copied(KEY, holdout).stars.ravel()) <= set(stars.ravel())


def test_a_prior_is_a_thermometer():
    config = factors.FactorConfig()
    for whole, stars in ((False, 3.5), (True, 3.0)):
        chances = np.asarray(factors.prior(config, jnp.array([[stars]]), whole))[0, 0]
        assert (np.diff(chances) <= 0).all()
        assert (chances >= 0.5).sum() == 2 * stars


def test_agents_learn_made_up_tastes(world):
    """About 0.64 of the 1.07 stars of error remain: noise, and the quality of films."""
    films = world.films
    keys = fields.pack(
        fields.encode(
            [fields.one_hot("genres", (*fields.GENRES, *fields.MORE_GENRES))], {"genres": films.genres}
        )
    )
    division = protocol.divide(KEY, world.ratings.user, 100, tried=30, choosing=5)
    holdout = protocol.hold_out(KEY, world.ratings, division.tried, 80, 20)
    place = np.broadcast_to(np.arange(80), holdout.film.shape)
    config = agent.AgentConfig(scale=1.0)
    rows = agent.rows(keys, holdout.film, fields.stars_to_bits(holdout.stars), place)
    agents = agent.learn(config, agent.empty(len(holdout.users), keys.shape[1]), rows)
    told = protocol.from_chances(np.asarray(agent.predict(KEY, config, agents, keys[holdout.asked])))
    mean = protocol.score(holdout, baselines.user_mean(holdout), 3.75)
    scores = protocol.score(holdout, told, 0.5)
    assert scores.rmse < 0.9 * mean.rmse
    assert scores.auc > 0.7 > mean.auc == 0.5
