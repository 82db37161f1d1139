"""Lists: bits from company and their exact removal, what is held out, scores, and the recommenders."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wnn_jax import recommender
from wnn_jax.data import movielens
from wnn_jax.recommender import company, implicit, lists, ranking, synthetic
from wnn_jax.recommender.company import CompanyConfig

KEY = jax.random.key(0)


def ratings(*histories, stars=5.0):
    user = np.repeat(np.arange(len(histories), dtype=np.int32), [len(x) for x in histories])
    film = np.array([item for history in histories for item in history], np.int32)
    return movielens.Ratings(
        user, film, np.full(len(film), stars, np.float32), np.arange(len(film), dtype=np.int64)
    )


def worlds(seed, people=30, items=25):
    rng = np.random.default_rng(seed)
    return ratings(*(rng.permutation(items)[: rng.integers(1, 12)].tolist() for _ in range(people)))


def same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.sets(st.integers(0, 29), min_size=1, max_size=29))
def test_people_who_are_taken_out_were_never_there(seed, gone):
    world, empty = worlds(seed), company.empty(KEY, 64, 25)
    gone = sorted(gone)
    left = np.setdiff1d(np.arange(30), gone)
    whole = company.add(empty, world)
    after = company.add(whole, ranking.of_people(world, gone), -1)
    never = company.add(empty, ranking.of_people(world, left))
    same(after, never)
    same(company.signs(after), company.signs(never))
    parts = company.add(company.add(empty, ranking.of_people(world, left)), ranking.of_people(world, gone))
    same(parts, whole)


def test_sums_by_loops():
    world = ratings([0, 1], [1, 2, 3], [3])
    found = company.add(company.empty(KEY, 32, 5), world)
    code = found.codes.astype(int)
    theirs = [code[0] + code[1], code[1] + code[2] + code[3], code[3]]
    np.testing.assert_array_equal(found.sums[1], theirs[0] + theirs[1])
    np.testing.assert_array_equal(found.sums[3], theirs[1] + theirs[2])
    assert found.weight.tolist() == [2, 5, 3, 4, 0]
    assert found.people.tolist() == [1, 2, 1, 2, 0]
    known = company.signs(found)
    mean = found.sums.sum(0) / 14
    np.testing.assert_array_equal(known.bits[1], found.sums[1] > 5 * mean)
    assert not known.bits[4].any(), "nobody used it"


def test_votes_by_loops():
    known = company.signs(company.add(company.empty(KEY, 64, 25), worlds(3)))
    shown = ratings([3, 7, 1], [])._replace(stars=np.array([5, 2.5, 4], np.float32))
    config = CompanyConfig(64, 0.2, 2.0, 0.5, stars=True)
    found = company.votes(config, known, shown, 2)
    for item in range(25):
        total = 0.0
        for place, (film, stars) in enumerate(zip([3, 7, 1], [5, 2.5, 4], strict=True)):
            apart = (known.bits[film] != known.bits[item]).sum()
            row = round(1024 * 2 ** (-(2 - place) / 2.0) * stars / 5)
            total += (known.people[film] > 0) * row * max(1, round(2**20 * np.exp(-apart / 12.8)))
        least = max(1, round(2**20 * np.exp(-5.0)))
        total += least * known.people[item] / known.people.max()
        np.testing.assert_allclose(found[0, item], total * known.people[item] ** 0.5, rtol=1e-12)
    order = np.argsort(-found[1], kind="stable")
    np.testing.assert_array_equal(order, np.argsort(-known.people, kind="stable"))
    for item in range(25):
        share = company.reasons(config, known, shown, item)[:3]
        np.testing.assert_allclose(share.sum(), 1)


def test_company_finds_the_people_of_ones_own_kind():
    rng = np.random.default_rng(0)
    kinds = [rng.permutation(20)[:8] + 20 * (i % 2) for i in range(60)]
    known = company.signs(company.add(company.empty(KEY, 256, 40), ratings(*map(np.ndarray.tolist, kinds))))
    votes = company.votes(CompanyConfig(256, 0.1), known, ratings([0, 1, 2], [20, 21]), 2)
    best = ranking.best(votes, ratings([0, 1, 2], [20, 21]))
    assert (best[0] < 20).all()
    assert (best[1] >= 20).all()


@pytest.mark.parametrize("timed", [True, False])
def test_what_is_held_out(timed):
    world = ratings([1, 2, 3, 4], [5, 6], list(range(11)))
    asked = ranking.hold_out(KEY, world, timed)
    number = np.bincount(asked.held.user, minlength=3).tolist()
    assert number == ([1, 0, 1] if timed else [1, 0, 2])
    if timed:
        assert asked.held.film.tolist() == [4, 10]
    pairs = [set(zip(x.user.tolist(), x.film.tolist(), strict=True)) for x in asked]
    assert not pairs[0] & pairs[1]
    assert pairs[0] | pairs[1] == set(zip(world.user.tolist(), world.film.tolist(), strict=True))


def test_cut_keeps_the_last_or_drawn_ones():
    world = ratings([1, 2, 3, 4], [5], [6, 7, 8])
    assert ranking.cut(KEY, world, 2, True).film.tolist() == [3, 4, 5, 7, 8]
    drawn = ranking.cut(KEY, world, 2, False)
    assert np.bincount(drawn.user).tolist() == [2, 1, 2]
    assert ranking.cut(KEY, world, 0, True) is world


def test_scores_of_lists_by_hand():
    held = ratings([4], [1, 9], [])
    found = ranking.gains(np.array([[4, 1], [0, 9], [2, 3]]), held)
    second = 1 / np.log2(3)
    np.testing.assert_allclose(found[0], [1, 1, 1])
    np.testing.assert_allclose(found[1], [0.5, second / (1 + second), 1])
    assert np.isnan(found[2]).all()
    assert ranking.mean(found).recall == 0.75
    assert ranking.best(np.array([[1.0, 2, 2, 3]]), ratings([3]), 2).tolist() == [[1, 2]]


def test_cosines_and_factors_by_loops():
    world = ratings([0, 1], [0, 1, 2], [2, 3], [0])
    alike = implicit.cosines(0.0, world, 4).toarray()
    np.testing.assert_allclose(alike[0], [0, 2 / np.sqrt(6), 1 / np.sqrt(6), 0], rtol=1e-6)
    config = implicit.AlsConfig(3, 4.0, 0.5, rounds=30, steps=10)
    factors = implicit.als(KEY, config, world, 4)
    found = implicit.ask_als(config, factors, float("inf"), ratings([0, 2]), 1)
    weight = np.array([5.0, 1, 5, 1])
    left = factors.T @ (weight[:, None] * factors) + 0.5 * np.eye(3)
    exact = factors @ np.linalg.solve(left, factors.T @ (weight * [1, 0, 1, 0]))
    np.testing.assert_allclose(found[0], exact, atol=1e-4)


SMALL = lists.ListsConfig(
    sizes=(3, 0),
    scales=(0.2,),
    half_lives=(float("inf"),),
    exponents=(0.0,),
    shrinks=(10.0,),
    factors=(8,),
    weights=(5.0,),
    decays=(5.0,),
    doubts=(10.0,),
    bounds=(2.0,),
    bonuses=(0.1, 0.2),
    rated=4,
)


def test_the_study_never_reads_what_is_held_out(monkeypatch):
    world = synthetic.world(KEY, users=12, films=40, most=30)
    world = world._replace(ratings=world.ratings._replace(time=np.arange(len(world.ratings.user))))
    held, read = [], set()
    hold_out, add, votes = ranking.hold_out, company.add, company.votes

    def watched(*args):
        held.append(hold_out(*args))
        return held[-1]

    def added(known, given, sign=1):
        read.update(given.time.tolist())
        return add(known, given, sign)

    def voted(config, known, given, *rest):
        read.update(given.time.tolist())
        return votes(config, known, given, *rest)

    monkeypatch.setattr(ranking, "hold_out", watched)
    monkeypatch.setattr(company, "add", added)
    monkeypatch.setattr(company, "votes", voted)
    rows = lists.compare(KEY, SMALL, world)
    assert read == set(held[0].shown.time.tolist())
    assert {row.people for row in rows} == {12, 5}
    assert all(0 <= row.recall <= 1 and 0 <= row.ndcg <= 1 for row in rows)
    names = {row.name for row in rows}
    assert {"chance", "popularity", "item-kNN", "ALS", "expected stars", "agents"} <= names
    by_stars = [x for x in rows if x.name.startswith("expected stars")]
    assert len(by_stars) == 4
    assert {x.people for x in by_stars} == {5}


def test_a_list_says_why():
    films = recommender.build_catalogue(KEY, synthetic.world(KEY, users=40, films=60, most=40))
    person = recommender.learn(recommender.new(KEY, films), [3, 8, 9, 20], [5, 2, 4, 4.5])
    for x in recommender.recommend(person, 60):
        assert 1 <= len(x.because) <= 3
        assert set(x.because) <= {"Film 3", "Film 8", "Film 9", "Film 20"}
        assert x.people == films.ratings[x.film - 1]
    assert len(recommender.recommend(person, 60)) == 56
    nobody = recommender.recommend(recommender.new(KEY, films), 3)
    assert [x.people for x in nobody] == sorted(films.ratings.tolist(), reverse=True)[:3]
    assert all(x.because == () for x in nobody)
    everything = recommender.learn(person, range(1, 61), np.full(60, 3.0))
    assert recommender.recommend(everything) == []
