"""Files of ratings in many forms: what is read, and the line that an error names."""

import gzip
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wnn_jax.data import movielens, ratings
from wnn_jax.data.ratings import FileConfig

BOOKS = (
    "User-ID;ISBN;Book-Rating;When\n"
    "ann;034545104X;0;2005-04-02 23:00:40\nann;0155061224;5;2005-04-01\n"
    "bob;0155061224;10;2005-04-03T01:00:00+01:00\n"
    "bob;0446520802;8;2005-04-03\n"
)
NAMED = ("user:User-ID", "item:ISBN", "rating:Book-Rating", "time:When")
ONE_M = {
    "ratings.dat": "1::2::5::978300760\n1::1::3::978302109\n2::2::4::978301968\n",
    "movies.dat": "1::Caf\xe9: The Film (1995)::Animation|Children's\n2::Jumanji (1995)::Adventure\n",
}
PLAYS = "2\t51\t138\n2\t52\t11\n3\t51\t7\n"


def written(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode("latin-1"))
    return folder


def table(data):
    names = [data.films.titles[x] for x in data.ratings.film]
    return list(zip(data.ratings.user.tolist(), names, data.ratings.stars.tolist(), strict=True))


def test_a_file_that_nobody_has_seen_is_read_by_flags(tmp_path):
    folder = written(tmp_path, **{"books.csv": BOOKS})
    data = ratings.load(folder, FileConfig(NAMED, scale=(0.0, 10.0)), "refuse")
    assert table(data) == [
        (0, "0155061224", 2.5),
        (0, "034545104X", 1.5),
        (1, "0155061224", 5.0),
        (1, "0446520802", 4.0),
    ]
    assert data.timed
    assert data.ratings.time.tolist() == [1112313600, 1112482840, 1112486400, 1112486400]
    assert data.films.ids.tolist() == [1, 2, 3], "one id is no number: items are numbered by their ids"
    assert data.levels == (0, 0, 0, 5, 5, 8, 8, 8, 10, 10)
    assert "4 ratings, 2 users, 3 items" in data.description


def test_a_file_without_a_header_is_read_by_numbers(tmp_path):
    written(tmp_path, **{"plays.tsv.gz": gzip.compress(b"7\t1\tx\n7\t1\tx\n7\t2\ty\n8\t2\tx\n")})
    data = ratings.load(tmp_path / "plays.tsv.gz", FileConfig(("user:1", "item:2")))
    assert not data.problems, "a row is one use, and uses are added"
    assert table(data) == [(0, "item 1", 5.0), (0, "item 2", 2.5), (1, "item 2", 2.5)]
    assert not data.timed
    assert data.users.tolist() == [7, 8]


def test_movielens_of_a_million(tmp_path):
    data = ratings.load(written(tmp_path, **ONE_M), bad="refuse")
    assert data.films.titles == ["Caf\xe9: The Film (1995)", "Jumanji (1995)"]
    assert data.films.genres == [("animation", "children's"), ("adventure",)]
    assert data.ratings.stars.tolist() == [5, 3, 4]
    assert data.levels == movielens.Dataset._field_defaults["levels"]


@pytest.mark.parametrize("head", ["", "3\n", "9\n3\n", "userID\tartistID\tweight\n"])
def test_play_counts(tmp_path, head):
    written(tmp_path, **{"user_artists.dat": head + PLAYS})
    data = ratings.load(tmp_path)
    assert table(data) == [(0, "item 51", 5.0), (0, "item 52", 3.5), (1, "item 51", 2.0)]
    assert data.films.ids.tolist() == [51, 52]
    assert not data.problems
    (tmp_path / "artists.dat").write_text("id\tname\turl\n51\tNina\tx\n52\tMuse\ty\n")
    assert ratings.load(tmp_path).films.titles == ["Nina", "Muse"]
    uses = ratings.load(tmp_path, FileConfig(uses=11))
    assert table(uses) == [(0, "Nina", 5.0), (0, "Muse", 5.0)]


def test_uses_of_films(tmp_path):
    data = ratings.load(written(tmp_path, **ONE_M), FileConfig(uses=4))
    assert table(data) == [(0, "Jumanji (1995)", 5.0), (1, "Jumanji (1995)", 5.0)]
    assert len(data.films.ids) == 2, "a film that nobody uses stays in the catalogue"
    with pytest.raises(ValueError, match="no rating of 3 is 6 stars or more"):
        ratings.load(tmp_path, FileConfig(uses=6))


@pytest.mark.parametrize(
    ("files", "config", "message"),
    [
        (
            {"u.data": "1,2,3,4\n", "u.item": "2|x||||0\n", "u.genre": "unknown|0\n"},
            {},
            "line 1: 1 columns instead of 4: '1,2,3,4'",
        ),
        (
            {"u.data": "1\t2\t881250949\t3\n", "u.item": "2|x||||0\n", "u.genre": "unknown|0\n"},
            {},
            "line 1: rating '881250949' is not",
        ),
        (
            {"u.data": "user\titem\t3\t4\n", "u.item": "2|x||||0\n", "u.genre": "unknown|0\n"},
            {},
            "line 1: userId 'user' is not an integer",
        ),
        (ONE_M | {"ratings.dat": "1:2:5:9\n"}, {}, "line 1: 1 columns instead of 4"),
        (ONE_M | {"ratings.dat": "1::978300760::5::2\n"}, {}, "line 1: film 978300760 is not one of the 2"),
        (ONE_M | {"ratings.dat": "UserID::MovieID::5::2\n"}, {}, "line 1: userId 'UserID' is not an integer"),
        (
            {"user_artists.dat": "1,2,3\n"},
            {},
            "1 columns on line 1, split at '\\t', and column 3 is to be read",
        ),
        ({"user_artists.dat": "u\t2\t3\n"}, {}, "line 1: userID 'u' is not an integer"),
        ({"user_artists.dat": "1\t5\t2\n" * 30}, {}, "line 2: user 1 has artist 5 on line 1 already"),
        ({"books.csv": BOOKS}, {}, "is in no known form: say what the columns of the file hold"),
        (
            {"books.csv": BOOKS},
            {"columns": NAMED, "separator": ","},
            "has no column User-ID, ISBN, Book-Rating",
        ),
        ({"books.csv": "1;x;2\n1;y;3\n"}, {"columns": NAMED}, "line 1, split at ';', has '1', 'x', '2'"),
        ({"books.csv": BOOKS}, {"columns": ("user:1", "item:2", "rating:9")}, "4 columns on line 1"),
        (
            {"books.csv": BOOKS},
            {"columns": ("user:ISBN", "item:User-ID", "rating:When")},
            "line 2: When '2005-04-02 23:00:40' is not a finite number",
        ),
        (
            {"books.csv": BOOKS.replace(";0;", ";12;") + "x;y;11;2005-01-01\n" * 20},
            {"columns": NAMED, "scale": (0.0, 10.0)},
            "line 2: Book-Rating '12' is not a number from 0 to 10",
        ),
        (
            {"many.csv": "u,i,r\n" + "".join(f"1,{i},{i}\n" for i in range(1500))},
            {"columns": ("user:u", "item:i", "rating:r")},
            "1,500 different ratings, and 1,000 are allowed: name a column of counts as count",
        ),
        ({"a.csv": "x", "b.csv": "y"}, {"columns": NAMED}, "holds 2 files of text (a.csv, b.csv): give one"),
        ({"books.csv": b"user\n\xe9\n"}, {"columns": NAMED}, "is not UTF-8: byte 0xe9 on line 2"),
        ({"books.csv": "\n"}, {"columns": NAMED}, "has no column User-ID"),
    ],
)
def test_an_error_names_the_line(tmp_path, files, config, message):
    written(tmp_path, **files)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        ratings.load(tmp_path, FileConfig(**config))
    assert "\n" not in str(error.value)


def test_single_bad_rows_are_told_and_skipped(tmp_path):
    bad = "ann;034545104X;11;2005-04-01\n;x;1;2005-04-01\nbob;x;3;soon\nbob;0155061224;9;2001-01-01\n"
    written(tmp_path, **{"books.csv": BOOKS + bad})
    data = ratings.load(tmp_path, FileConfig(NAMED, scale=(0.0, 10.0)))
    assert [(x.line, x.reason) for x in data.problems] == [
        (6, "Book-Rating '11' is not a number from 0 to 10"),
        (7, "User-ID '' is not an id"),
        (8, "When 'soon' is not a number of seconds or a date"),
        (9, "user bob rated item 0155061224 twice: line 4 is kept"),
    ]
    with pytest.raises(ValueError, match=r"^books\.csv line 6: "):
        ratings.load(tmp_path, FileConfig(NAMED, scale=(0.0, 10.0)), "refuse")


def test_a_file_of_plays_that_was_cut(tmp_path):
    data = ratings.load(written(tmp_path, **{"user_artists.dat": "9\n5\n" + PLAYS}))
    assert [(x.line, x.reason) for x in data.problems] == [(2, "it says 5 rows, and 3 rows follow")]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"columns": ("user:a",)}, "columns names no item"),
        ({"columns": ("user:a", "item:a")}, "gives one column two roles"),
        ({"columns": ("user:a", "item:b", "stars:c")}, "columns has 'stars:c'"),
        ({"columns": ("user:a", "item:b", "rating:c", "count:d")}, "names a rating and a count"),
        ({"scale": (5.0, 1.0)}, "is no scale"),
        ({"encoding": "utf-9"}, "unknown encoding 'utf-9'"),
        ({"separator": ""}, "separator is empty"),
    ],
)
def test_bad_configs(config, message):
    with pytest.raises(ValueError, match=message):
        FileConfig(**config)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=200))
def test_levels_keep_the_order_and_use_all_bits(values):
    edges = ratings.levels(np.array(values))
    stars = ratings.stars_of(np.array(values), edges)
    distinct = np.unique(values)
    assert list(edges) == sorted(edges)
    assert stars.max() == 5
    assert stars.min() >= 0.5
    assert (np.diff(ratings.stars_of(distinct, edges)) >= 0).all()
    if len(distinct) <= 10:
        steps = np.ceil(10 * np.arange(1, len(distinct) + 1) / len(distinct)) / 2
        np.testing.assert_array_equal(ratings.stars_of(distinct, edges), steps)
    else:
        assert len(np.unique(stars)) == 10


def test_many_levels_hold_about_as_many_ratings_each():
    values = np.random.default_rng(0).exponential(100, 20_000)
    count = np.unique(ratings.stars_of(values, ratings.levels(values)), return_counts=True)[1]
    assert len(count) == 10
    assert count.max() < 3 * count.min()
