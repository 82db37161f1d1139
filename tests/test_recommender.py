"""Encoders, tasks, baselines."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wnn_jax.data import movielens
from wnn_jax.recommender import agent, baselines, encode, made_up, protocol

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def world():
    return made_up.world(KEY)


def columns(**given):
    films = len(next(iter(given.values())))
    return {"genres": [()] * films, **given}


def test_the_published_bits():
    film_bits = encode.encode(
        encode.PUBLISHED,
        columns(
            genres=[("drama", "horror", "sci-fi"), ("comedy",), (), ()],
            vote_average=np.array([0.5, 2.0, 7.7, np.nan]),
            language=["en", "ja", "zz", ""],
            vote_count=np.array([99.0, 250.0, 5415.0, np.nan]),
        ),
    )
    assert encode.width(encode.PUBLISHED) == 26 == len(film_bits)
    assert ["".join(map(str, x.astype(int))) for x in film_bits.T] == [
        "1000000001" + "000" + "000" + "1000000000",
        "0100000000" + "010" + "011" + "0010000000",
        "0000000000" + "111" + "111" + "0000000001",
        "0000000000" + "111" + "111" + "0000000001",
    ]


@given(st.lists(st.floats(0, 10), min_size=2, max_size=9))
def test_a_thermometer_is_as_far_as_its_numbers(values):
    values = np.sort(np.array(values))
    film_bits = encode.encode([encode.thermometer("x", (2.0, 4.0, 6.0))], {"x": values})
    height = film_bits.sum(0)
    assert (np.diff(height) >= 0).all()
    np.testing.assert_array_equal(height, [sum(v >= e for e in (2, 4, 6)) for v in values])
    np.testing.assert_array_equal(np.sort(film_bits, 0)[::-1], film_bits)


def test_what_is_not_known_sets_no_bit():
    fields = (encode.thermometer("x", (1.0,)), encode.one_hot("name", ("a", "b")))
    film_bits = encode.encode(fields, {"x": np.array([np.nan, 2.0]), "name": ["c", "b"]})
    np.testing.assert_array_equal(film_bits, [[0, 1], [0, 0], [0, 1]])
    assert not encode.encode(fields, {"other": ["?"]}).any()


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=5))
def test_a_new_field_leaves_old_bits_and_predictions(names):
    old = (encode.one_hot("name", ("a", "b")),)
    new = (*old, encode.one_hot("more", ("c",)))
    facts = {"name": names, "more": names}
    before, after = encode.encode(old, facts), encode.encode(new, facts)
    np.testing.assert_array_equal(after[: len(before)], before)
    assert not after[len(before) :][:, [x != "c" for x in names]].any()
    config = agent.AgentConfig()
    shown = np.arange(len(names))[None], np.full((1, len(names)), 7), np.arange(len(names))[None]
    learnt = agent.learn(config, agent.empty(1, 1), agent.rows(encode.words(before), *shown))
    films = [i for i, x in enumerate(names) if x != "c"]
    asked = (encode.words(x)[jnp.array(films, jnp.int32)][None] for x in (before, after))
    said = [np.asarray(agent.predict(KEY, config, learnt, x)) for x in asked]
    np.testing.assert_array_equal(*said)


def test_fields_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="1 values and 2 codes"):
        encode.Field("x", ("a",), ((0,), (1,)), (0,))
    with pytest.raises(ValueError, match="must ascend"):
        encode.thermometer("x", (2.0, 1.0))
    with pytest.raises(ValueError, match="numbers for values and its column strings"):
        encode.encode([encode.thermometer("x", (1.0,))], {"x": ["a"]})
    with pytest.raises(ValueError, match=r"\[1, 2\] films"):
        encode.encode(encode.PUBLISHED, {"genres": [()], "language": ["en", "fr"]})
    with pytest.raises(ValueError, match="'polka' has no bit of its own among genres"):
        encode.bit_of(encode.DEFAULT, "genres", "polka")
    assert encode.bit_of(encode.PUBLISHED, "genres", "horror") == 9


def test_ratings_as_thermometers():
    stars = np.array([0.5, 1.0, 3.0, 4.5, 5.0])
    exact, whole = encode.stars_to_bits(stars), encode.stars_to_bits(np.floor(stars))
    assert [int(x).bit_count() for x in exact] == [1, 2, 6, 9, 10]
    assert [int(x).bit_count() for x in whole] == [0, 2, 6, 8, 10]
    assert all(int(x) & (int(x) + 1) == 0 for x in exact)


def test_buckets():
    names, vectors = encode.vectors([("war", "drama"), ("war", "drama"), ("comedy", "romance"), ("drama",)])
    place = {x: i for i, x in enumerate(names)}
    company = vectors[[place["war"]]] @ vectors[[place["drama"], place["comedy"]]].T
    assert vectors[place["war"], place["drama"]] > 0 == vectors[place["war"], place["comedy"]]
    assert company.shape == (1, 2)
    near = encode.buckets(encode.spelling(["romances", "zzz"]), encode.spelling(["drama", "romance"]))
    assert near[0] == 1
    assert encode.buckets(np.zeros((1, 3)), np.eye(3)).tolist() == [-1]
    assert encode.rename([("a", "b")], {"b": "c"}) == [("a", "c")]


def test_people_and_ratings_are_never_in_two_parts(world):
    ratings = world.ratings
    division = protocol.divide(KEY, ratings.user, 40, tried=50, choosing=20)
    assert len(division.tried) == 50
    assert len(division.choosing) == 20
    everybody = np.concatenate(division)
    assert len(set(everybody.tolist())) == len(everybody) == len(world.users)
    task = protocol.task(KEY, ratings, division.tried, 20, 20)
    stars = {(u, f): s for u, f, s in zip(ratings.user, ratings.film, ratings.stars, strict=True)}
    for user, film, seen, asked, truth in zip(
        task.users, task.film, task.stars, task.asked, task.truth, strict=True
    ):
        assert not set(film.tolist()) & set(asked.tolist())
        assert len(set(film.tolist())) == len(set(asked.tolist())) == 20
        np.testing.assert_array_equal(seen, [stars[user, x] for x in film])
        np.testing.assert_array_equal(truth, [stars[user, x] for x in asked])
    assert (np.diff(task.time, axis=1) >= 0).all()
    with pytest.raises(ValueError, match="0 people rated 4000 films"):
        protocol.divide(KEY, ratings.user, 4000)


def test_scores_by_hand():
    truth = np.array([[4.0, 1.0], [5.0, 3.0]])
    task = protocol.Task(np.arange(2), *(np.zeros((2, 1)),) * 3, np.zeros((2, 2), int), truth)
    answer = protocol.of_stars(np.array([[3.0, 2.5], [4.5, 3.0]]))
    scores = protocol.score(task, answer, threshold=2.75)
    assert scores.within_one == pytest.approx(0.75)
    assert scores.median == pytest.approx(0.75)
    assert scores.balanced == pytest.approx((1.0 + 0.5) / 2)
    assert scores.auc == 1.0
    assert scores.rmse == pytest.approx(np.sqrt((1 + 1.5**2 + 0.25) / 4))
    best = protocol.threshold(task, answer)
    assert protocol.score(task, answer, best).balanced == pytest.approx(0.75)
    chances = np.zeros((1, 1, 10))
    chances[..., :7] = 0.9
    chances[..., 7] = 0.5
    told = protocol.of_bits(chances)
    assert told.code.item() == 8
    assert told.stars.item() == pytest.approx((7 * 0.9 + 0.5) / 2)


@given(st.integers(0, 1000))
def test_the_threshold_is_the_best_there_is(seed):
    rng = np.random.default_rng(seed)
    truth, like = rng.choice([3.0, 4.0], (3, 8)), rng.integers(0, 6, (3, 8)).astype(float)
    task = protocol.Task(np.arange(3), *(np.zeros((3, 1)),) * 3, np.zeros((3, 8), int), truth)
    answer = protocol.Answer(like, like)
    found = protocol.score(task, answer, protocol.threshold(task, answer)).balanced
    best = max(protocol.score(task, answer, x).balanced for x in np.arange(-0.5, 6.5))
    assert found == pytest.approx(best, abs=1e-12)  # a mean of two shares may round either way


def test_factors_find_a_planted_structure_and_new_people_fold_in():
    rng = np.random.default_rng(0)
    film, user = rng.normal(size=(60, 2)), rng.normal(size=(80, 2))
    who, what = np.nonzero(rng.random((80, 60)) < 0.5)
    stars = np.clip(3 + 0.5 * (user @ film.T)[who, what], 0.5, 5)
    config = baselines.FactorConfig(factors=4, steps=300, decay=0.01, shrink=0.1, bias_shrink=0.1)
    factors = baselines.factorise(KEY, config, who, what, stars, 61)
    assert not np.asarray(factors.film[60]).any(), "a film nobody rated"
    new = rng.normal(size=(5, 2))
    truth = np.clip(3 + 0.5 * new @ film.T, 0.5, 5)
    seen = np.broadcast_to(np.arange(40), (5, 40))
    asked = np.broadcast_to(np.arange(40, 60), (5, 20))
    told = np.asarray(baselines.fold_in(factors, config, seen, truth[:, :40], asked))
    assert np.sqrt(((told - truth[:, 40:]) ** 2).mean()) < 0.25 < truth.std()
    # Padding teaches nothing.
    padded = np.concatenate([seen, np.full((5, 3), -1)], 1)
    junk = np.concatenate([truth[:, :40], np.full((5, 3), 5.0)], 1)
    np.testing.assert_allclose(baselines.fold_in(factors, config, padded, junk, asked), told, atol=1e-5)
    assert baselines.code_bits(factors).shape == (4, 61)
    assert not baselines.code_bits(factors)[:, 60].any()


def test_neighbours_speak_for_films_alike():
    # Films 0 and 1 are liked by the same people; 2 by the others.
    likes = np.array([[5, 5, 1], [5, 5, 1], [1, 1, 5], [1, 1, 5], [5, 5, 1], [1, 1, 5]], float)
    user, film = np.indices(likes.shape)
    model = baselines.fit_neighbours(user.ravel(), film.ravel(), likes.ravel(), 3)
    task = protocol.Task(
        np.arange(2),
        np.array([[0], [0]]),
        np.array([[5.0], [1.0]]),
        np.zeros((2, 1)),
        np.array([[1], [1]]),
        np.ones((2, 1)),
    )
    told = baselines.ask_neighbours(model, task).stars[:, 0]
    assert told[0] > 3 > told[1]


@pytest.mark.long
def test_networks_learn_and_the_published_one_does_not():
    rng = np.random.default_rng(0)
    film_bits = rng.random((12, 200)) < 0.5
    stars = np.where(film_bits[3], 5.0, 1.0)
    seen, asked = rng.integers(0, 200, (8, 60)), rng.integers(0, 200, (8, 20))
    task = protocol.Task(np.arange(8), seen, stars[seen], seen, asked, stars[asked])
    labels = encode.stars_to_bits(task.stars)
    right = {
        name: protocol.score(task, baselines.mlp_answer(KEY, config, task, film_bits, labels), 0.5).within_one
        for name, config in (("trained", baselines.MlpConfig()), ("published", baselines.PUBLISHED_MLP))
    }
    assert right["trained"] > 0.95
    assert right["published"] < 0.7


def test_constants_and_means():
    stars = np.array([[1.0, 2.0, 4.5, 5.0]])
    task = protocol.Task(
        np.arange(1), np.zeros((1, 4), int), stars, stars, np.zeros((1, 3), int), np.ones((1, 3))
    )
    assert (baselines.constant(task, 4.0).code == 8).all()
    assert (baselines.user_mean(task).stars == stars.mean()).all()
    assert (baselines.user_median(task).stars == 3.25).all()
    assert set(baselines.copied(KEY, task).stars.ravel()) <= set(stars.ravel())


def test_a_prior_is_a_thermometer():
    config = baselines.FactorConfig()
    for whole, stars in ((False, 3.5), (True, 3.0)):
        chances = np.asarray(baselines.prior(config, jnp.array([[stars]]), whole))[0, 0]
        assert (np.diff(chances) <= 0).all()
        assert (chances >= 0.5).sum() == 2 * stars


def test_agents_learn_made_up_tastes(world):
    """Chance and what everybody thinks of a film stay: of 1.07 stars of error about 0.64 cannot go."""
    films = world.films
    keys = encode.words(
        encode.encode(
            [encode.one_hot("genres", (*encode.GENRES, *encode.MORE_GENRES))], {"genres": films.genres}
        )
    )
    division = protocol.divide(KEY, world.ratings.user, 100, tried=30, choosing=5)
    task = protocol.task(KEY, world.ratings, division.tried, 80, 20)
    place = np.broadcast_to(np.arange(80), task.film.shape)
    config = agent.AgentConfig(scale=1.0)
    rows = agent.rows(keys, task.film, encode.stars_to_bits(task.stars), place)
    agents = agent.learn(config, agent.empty(len(task.users), keys.shape[1]), rows)
    told = protocol.of_bits(np.asarray(agent.predict(KEY, config, agents, keys[task.asked])))
    mean = protocol.score(task, baselines.user_mean(task), 3.75)
    scores = protocol.score(task, told, 0.5)
    assert scores.rmse < 0.9 * mean.rmse
    assert scores.auc > 0.7 > mean.auc == 0.5


def test_the_wrong_join_gives_films_the_facts_of_others(data):
    right = movielens.load()
    wrong = movielens.load(join="ids")
    place = {x: i for i, x in enumerate(right.films.ids.tolist())}
    same = [
        right.films.genres[place[x]] == y
        for x, y in zip(wrong.films.ids.tolist(), wrong.films.genres, strict=True)
    ]
    assert np.mean(same) < 0.1
    assert len(wrong.ratings.user) == 26_090
