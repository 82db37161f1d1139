"""A person's recommender in four lines: exact forgetting, no compilation for a new length."""

import ast
import pathlib
import sys

import jax
import numpy as np
import pytest

from wnn_jax import recommender
from wnn_jax.recommender import AgentConfig, agent, latency, person, session, synthetic

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def films():
    return recommender.build_catalogue(KEY, synthetic.world(KEY, users=40, films=60, most=40))


@pytest.fixture(scope="module")
def blank(films):
    return recommender.new(KEY, films)


def test_four_lines():
    films = recommender.build_catalogue(KEY, synthetic.world(KEY, users=40, films=60, most=40))
    person = recommender.learn(recommender.new(KEY, films), ["Film 3", "Film 8"], [5, 2])
    listed = recommender.recommend(person, top=8)
    person = recommender.forget(person, ["Film 3"])
    assert len(listed) == 8
    assert not {"Film 3", "Film 8"} & {x.title for x in listed}
    assert all(set(x.because) <= {"Film 3", "Film 8"} for x in listed)
    assert all(0.5 <= x.stars <= 5 and films.films.titles[x.film - 1] == x.title for x in listed)
    assert recommender.ratings(person).place.tolist() == [7]


def test_what_is_forgotten_was_never_learnt(blank):
    ids, stars = list(range(1, 13)), np.arange(1, 13) % 10 / 2 + 0.5
    full = recommender.learn(blank, ids, stars)
    after = recommender.forget(full, ids[2:9])
    never = recommender.learn(blank, ids[:2] + ids[9:], np.r_[stars[:2], stars[9:]])
    assert (recommender.expected_stars(full) != recommender.expected_stars(never)).any()
    for one, other in ((after, never), (recommender.forget(after, ids), blank)):
        np.testing.assert_array_equal(person.chances(one), person.chances(other))
        assert recommender.recommend(one) == recommender.recommend(other)
        assert recommender.question(one) == recommender.question(other)
    more = [recommender.learn(x, [40, 41], [1, 5]) for x in (after, never)]
    np.testing.assert_array_equal(*(person.chances(x) for x in more))


def test_a_genre_is_forgotten(blank, films):
    ids = films.films.ids[:12]
    drama = np.array(["drama" in x for x in films.films.genres[:12]])
    assert 0 < drama.sum() < 12
    after = recommender.forget(recommender.learn(blank, ids, np.full(12, 4.0)), genre="drama")
    assert recommender.ratings(after).place.tolist() == np.flatnonzero(~drama).tolist()
    never = recommender.learn(blank, ids[~drama], np.full((~drama).sum(), 4.0))
    np.testing.assert_array_equal(person.chances(after), person.chances(never))


def test_the_last_rating_of_a_film_counts(blank):
    once = recommender.learn(blank, [5, 9], [1.5, 4])
    for twice in (
        recommender.learn(blank, [9, 5, 9], [0.5, 1.5, 4]),
        recommender.learn(recommender.learn(blank, [9, 5], [0.5, 1.5]), [9], [4]),
    ):
        place, stars = recommender.ratings(twice)
        assert (place.tolist(), stars.tolist()) == ([4, 8], [1.5, 4])
        np.testing.assert_array_equal(person.chances(twice), person.chances(once))


def test_a_rating_moves_what_is_expected(blank, films):
    loved, hated = (recommender.learn(blank, ["Film 3"], [x]) for x in (5, 0.5))
    mine = [recommender.expected_stars(x, ["Film 3"])[0] for x in (hated, blank, loved)]
    assert mine == sorted(mine)
    assert mine[0] < mine[2]
    assert recommender.expected_stars(loved).shape == (len(films.films.ids),)


def test_a_question_is_never_asked_twice(blank, films):
    asked, one = [], blank
    while (film := recommender.question(one, known=5, skip=asked[1::2])) is not None:
        assert film not in asked
        one = recommender.learn(one, [film], [4]) if len(asked) % 2 == 0 else one
        asked.append(film)
    best = np.argsort(-films.ratings, kind="stable")[:5]
    assert sorted(asked) == sorted(films.films.ids[best].tolist())


def test_nothing_is_compiled_for_a_new_length(blank):
    def use(count):
        one = recommender.learn(blank, range(1, count + 1), np.full(count, 3.5))
        recommender.recommend(recommender.forget(one, range(1, count)), top=count)
        recommender.question(one, known=count)

    use(8)
    compiled = [x._cache_size() for x in (agent._learn, agent._predict, agent._forget)]
    for count in range(2, 8):
        use(count)
    assert [x._cache_size() for x in (agent._learn, agent._predict, agent._forget)] == compiled


def test_old_ratings_count_less_where_asked(films):
    config = AgentConfig(half_life=1.0)
    aged = recommender.new(KEY, films, config)
    with pytest.raises(ValueError, match=r"half_life 1.0 every rating needs a time"):
        recommender.learn(aged, [1], [3])
    aged = recommender.learn(aged, [1, 2], [0.5, 5], time=[0, 30])
    assert recommender.expected_stars(aged, [3], now=30)[0] > 4.9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: recommender.learn(x, ["Film"], [3]), r"'Film' among 60 films: did you mean 'Film 1' or"),
        (lambda x: recommender.learn(x, [61], [3]), r"no film has the id 61 among 60 films: give a title or"),
        (lambda x: recommender.learn(x, [1], [3.7]), r"3.7 is not a rating: give one of 0.5, 1, ... 5 stars"),
        (lambda x: recommender.learn(x, [1], [np.nan]), r"nan is not a rating"),
        (lambda x: recommender.learn(x, [1, 2], [3]), r"2 films, 1 ratings and 2 times"),
        (lambda x: recommender.forget(x, genre="polka"), r"no film is of the genre 'polka': use action"),
        (
            lambda x: recommender.recommend(x, top=0),
            r"top=0 is out of range: give a whole number of at least 1",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(blank, call, message):
    with pytest.raises(ValueError, match=message):
        call(blank)


def test_an_empty_catalogue_is_refused():
    data = synthetic.world(KEY, users=2, films=40, most=30)
    nobody = data._replace(ratings=type(data.ratings)(*(x[:0] for x in data.ratings)))
    with pytest.raises(ValueError, match="got 40 films and 0 ratings"):
        recommender.build_catalogue(KEY, nobody)


def test_the_core_is_enough():
    """The recommender imports no package that only an extra installs."""
    root = pathlib.Path(recommender.__file__).parent
    for path in (*root.glob("*.py"), root.parent / "data" / "movielens.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [x.name for x in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
            assert roots <= {"jax", "numpy", "optax", "scipy", "wnn_jax"}, path


def test_a_dialogue_rates_skips_forgets_and_takes_back(blank):
    begun = session.Session(blank)
    film = session.question(begun)
    rated, said = session.answer(begun, film, " 4.5\n")
    assert not said
    assert recommender.ratings(rated.person).stars.tolist() == [4.5]
    assert begun.person is blank
    undone, _ = session.answer(rated, film, "undo")
    np.testing.assert_array_equal(person.chances(undone.person), person.chances(blank))
    skipped, _ = session.answer(begun, film, "s")
    assert session.question(skipped) != film == session.question(begun)
    genre = blank.catalogue.films.genres[blank.catalogue.films.ids.tolist().index(film)][0]
    forgotten, said = session.answer(rated, film, f"forget {genre}")
    assert said == "ratings forgotten: 1"
    assert not len(recommender.ratings(forgotten.person).place)
    for line, words in (
        ("seven", "'seven' is not an answer"),
        ("3.7", "3.7 is not a rating"),
        ("undo", "no rating is left to undo"),
    ):
        with pytest.raises(ValueError, match=words):
            session.answer(begun, film, line)


def test_agents_of_random_rows_are_agents():
    agents = latency.random_agents(KEY, 2, 5, 26)
    assert agents.alive.all()
    assert int(agents.keys.max()) < 1 << 26
    assert sum(x.nbytes for x in agents) == agent.memory_bytes(2, 5, 1)
    levels = [(1 << level) - 1 for level in range(11)]
    assert np.isin(agents.labels, levels).all()
