"""MovieLens files: every kind of bad row, both joins, and the download."""

import hashlib
import io
import os
import pathlib
import urllib.error
import urllib.request
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wnn_jax.data import movielens

FILES = {
    "movies.csv": "movieId,title,genres\n"
    '20,"Ship, The (1999)",Drama|War\n10,Tree (1980),(no genres listed)\n30,Über (2001),Comedy\n',
    "ratings.csv": "userId,movieId,rating,timestamp\n7,20,4.0,300\n7,10,0.5,100\n3,30,5.0,50\n3,10,2.5,50\n",
    "links.csv": "movieId,imdbId,tmdbId\n10,001,500\n20,002,10\n30,003,\n",
    "tags.csv": "userId,movieId,tag,timestamp\n7,20,Sea ,1\n7,20,boat,2\n3,20,sea,3\n3,10,leaf,4\n",
}
TMDB = (
    "id,overview,vote_average,vote_count,popularity,original_language\n"
    '500,"two\nlines, and ""quotes""",6.5,100,1.5,en\n10,one,7.5,,,fr\n'
)
OLD = {
    "u.genre": "unknown|0\nAction|1\nChildren's|2\n\n",
    "u.item": '2|"Quote|01-Jan-1995||http://x|0|1|1\n1|Caf\xe9 (1995)|01-Jan-1995||http://x|1|0|0\n',
    "u.data": "5\t1\t3\t881250949\n5\t2\t4\t881250940\n",
}


def write(folder, files=FILES, encoding="utf-8", **changed):
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in (files | {k.replace("_", "."): v for k, v in changed.items()}).items():
        (folder / file).write_bytes(content.encode(encoding))
    return str(folder)


def rated(*lines):
    return "\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n"


def rows(data):
    ids = data.users[data.ratings.user], data.films.ids[data.ratings.film]
    return list(zip(*(x.tolist() for x in (*ids, data.ratings.stars, data.ratings.time)), strict=True))


def the_problem(folder, file, line, reason, others=0):
    """Check that ``skip`` lists the problem and a number of others, and that ``refuse`` raises the first."""
    data = movielens.load(folder)
    assert len(data.problems) == 1 + others
    found = [x for x in data.problems if x[:2] == (file, line) and reason in x.reason]
    assert len(found) == 1, data.problems
    assert f"problems: {1 + others}" in data.description
    first = data.problems[0]
    with pytest.raises(ValueError, match=f"^{first.file} line {first.line}: ") as error:
        movielens.load(folder, bad="refuse")
    assert str(error.value).endswith(first.reason)
    return data


def test_arrays_of_a_good_data_set(tmp_path):
    data = movielens.load(write(tmp_path / "ml-latest-small"), bad="refuse")
    films, ratings = data.films, data.ratings
    assert films.ids.tolist() == [10, 20, 30]
    assert films.titles == ["Tree (1980)", "Ship, The (1999)", "Über (2001)"]
    assert films.genres == [(), ("drama", "war"), ("comedy",)]
    assert films.tags == [("leaf",), ("boat", "sea"), ()]
    assert films.language == ["", "", ""]
    assert np.isnan(np.r_[films.vote_average, films.vote_count, films.popularity]).all()
    assert data.users.tolist() == [3, 7]
    assert rows(data) == [(3, 30, 5.0, 50), (3, 10, 2.5, 50), (7, 10, 0.5, 100), (7, 20, 4.0, 300)]
    types = [x.dtype for x in (films.ids, films.vote_count, data.users, *ratings)]
    assert types == [np.int32, np.float32, np.int32, np.int32, np.int32, np.float32, np.int64]
    assert not data.problems
    assert data.description.startswith("ml-latest-small: 4 ratings, 2 users, 3 films, 0 of them")
    above = movielens.load(str(tmp_path))
    assert rows(above) == rows(data)
    (tmp_path / "ml-latest-small" / "tags.csv").unlink()
    assert movielens.load(str(tmp_path)).films.tags == [(), (), ()]


@pytest.mark.parametrize("place", [".", "ml-latest-small"])
def test_metadata_is_joined_by_links(tmp_path, place):
    folder = write(tmp_path / "ml-latest-small")
    (tmp_path / place / "tmdb_metadata.csv").write_text(TMDB)
    films = movielens.load(folder, bad="refuse").films
    np.testing.assert_array_equal(films.vote_average, np.float32([6.5, 7.5, np.nan]))
    np.testing.assert_array_equal(films.vote_count, np.float32([100, np.nan, np.nan]))
    np.testing.assert_array_equal(films.popularity, np.float32([1.5, np.nan, np.nan]))
    assert films.language == ["en", "fr", ""]


def test_the_wrong_join_gives_a_film_what_belongs_to_another(tmp_path):
    """Film 10 is taken for TMDB's film 10, which is film 20; TMDB has no film 20 or 30."""
    folder = write(tmp_path)
    (tmp_path / "tmdb_metadata.csv").write_text(TMDB)
    data = movielens.load(folder, join="ids")
    assert data.films.ids.tolist() == [10]
    assert data.films.titles == ["Tree (1980)"]
    assert data.films.genres == [("drama", "war")]
    assert data.films.tags == [("boat", "sea")]
    assert data.films.vote_average.tolist() == [7.5]
    assert data.films.language == ["fr"]
    assert rows(data) == [(3, 10, 2.5, 50), (7, 10, 0.5, 100)]
    assert not data.problems
    assert "joined by the wrong ids: 2 of 4 ratings left" in data.description
    only = rated("3,30,5,1", "7,10,2,2")
    (tmp_path / "ratings.csv").write_text(only)
    assert movielens.load(folder, join="ids").users.tolist() == [7], "users without a rating are gone too"
    (tmp_path / "links.csv").write_text("movieId,imdbId,tmdbId\n30,1,10\n20,1,10\n")
    assert movielens.load(folder, join="ids").films.genres == [("drama", "war")], "the lowest id of two"
    (tmp_path / "links.csv").write_text("movieId,imdbId,tmdbId\n30,1,99\n")
    assert movielens.load(folder, join="ids").films.genres == [()], "no film has TMDB id 10"


@pytest.mark.parametrize("missing", ["links.csv", "tmdb_metadata.csv"])
def test_the_wrong_join_needs_both_files(tmp_path, missing):
    folder = write(tmp_path / "set")
    (tmp_path / "tmdb_metadata.csv").write_text(TMDB)
    next(x for x in (tmp_path / "set" / missing, tmp_path / missing) if x.exists()).unlink()
    with pytest.raises(ValueError, match=r"needs links.csv and tmdb_metadata.csv"):
        movielens.load(folder, join="ids")
    with pytest.raises(ValueError, match=r"needs links.csv"):
        movielens.load(write(tmp_path / "old", OLD, "latin-1"), "ml-100k", join="ids")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("3,20,4.0", "3 columns instead of 4: '3,20,4.0'"),
        ("3,20,4.0,1,1", "5 columns instead of 4"),
        (" ", "1 columns instead of 4"),
        ("x,20,4.0,1", "userId 'x' is not an integer"),
        ("3.0,20,4.0,1", "userId '3.0' is not an integer"),
        ("2147483648,20,4.0,1", "userId '2147483648' is not an integer of 32 bits"),
        ("3,,4.0,1", "movieId '' is not an integer"),
        ("3,2_0,4.0,1", "movieId '2_0' is not an integer"),
        ("3,20,4.0,1e9", "timestamp '1e9' is not an integer"),
        ("3,20,4.0,9223372036854775808", "is not an integer of 64 bits"),
        ("3,20,four,1", "rating 'four' is not a number from 0.5 to 5.0 in halves"),
        ("3,20,nan,1", "rating 'nan'"),
        ("3,20,inf,1", "rating 'inf'"),
        ("3,20,0,1", "rating '0'"),
        ("3,20,5.5,1", "rating '5.5'"),
        ("3,20,4.2,1", "rating '4.2'"),
        ("3,20,,1", "rating ''"),
        ("3,40,4.0,1", "film 40 is not one of the 3 films"),
        ('3,"20,4.0,1', "wrong quotes"),
    ],
)
def test_a_bad_rating(tmp_path, row, reason):
    content = rated("7,20,4.0,300", row, "3,10,2.5,50")
    data = the_problem(write(tmp_path, ratings_csv=content), "ratings.csv", 3, reason)
    assert rows(data) == [(3, 10, 2.5, 50), (7, 20, 4.0, 300)]


def test_a_film_rated_twice(tmp_path):
    content = rated("3,10,1.0,50", "7,10,1.0,10", "7,10,2.0,20", "7,10,3.0,20", "7,10,4.0,15")
    data = movielens.load(write(tmp_path, ratings_csv=content))
    assert rows(data) == [(3, 10, 1.0, 50), (7, 10, 3.0, 20)]
    assert [x.line for x in data.problems] == [3, 4, 6]
    again = "user 7 rated film 10 twice: rated again on line 5, which is kept"
    older = "user 7 rated film 10 twice: older than line 5, which is kept"
    assert [x.reason for x in data.problems] == [again, again, older]
    with pytest.raises(ValueError, match=r"^ratings.csv line 3: user 7 rated film 10 twice"):
        movielens.load(str(tmp_path), bad="refuse")


def test_a_user_without_a_rating_left(tmp_path):
    content = rated("7,20,9,300", "3,10,2.5,50", "7,10,4,x", "8,10,4,1")
    data = movielens.load(write(tmp_path, ratings_csv=content))
    assert data.users.tolist() == [3, 8]
    assert [x.line for x in data.problems] == [2, 2, 4]
    assert data.problems[1].reason == "user 7 has no rating left"
    folder = write(tmp_path, ratings_csv=rated("7,20,9,300"))
    none, users, _ = movielens.read_ratings(tmp_path / "ratings.csv", data.films)
    assert len(users) == len(none.time) == 0
    assert none.time.dtype == np.int64
    with pytest.raises(ValueError, match="no rating that can be used; line 2: rating '9' is not a number"):
        movielens.load(folder)
    with pytest.raises(ValueError, match="no rating that can be used; it has no row"):
        movielens.load(write(tmp_path, ratings_csv=rated()))


def test_ratings_on_another_scale_are_refused(tmp_path):
    """Half of the ratings of a scale of ten are stars too: skipping the others would leave a biased half."""
    content = rated(*(f"{user},20,{user % 10 + 1},1" for user in range(40)))
    with pytest.raises(ValueError, match=r"20 ratings of .*ratings.csv are not stars, the first on line 7"):
        movielens.load(write(tmp_path, ratings_csv=content))
    few = rated(*(f"{user},20,{1 + (user < 9) * 9},1" for user in range(40)))
    assert len(movielens.load(write(tmp_path, ratings_csv=few)).ratings.user) == 31


def test_links_are_needed_only_for_metadata(tmp_path):
    folder = write(tmp_path)
    (tmp_path / "links.csv").unlink()
    assert len(movielens.load(folder, bad="refuse").users) == 2
    (tmp_path / "tmdb_metadata.csv").write_text(TMDB)
    with pytest.raises(ValueError, match=r"cannot read .*links.csv: No such file"):
        movielens.load(folder)


def test_a_log_is_read_in_order(tmp_path):
    films = movielens.load(write(tmp_path)).films
    log = tmp_path / "log.csv"
    log.write_text(rated("1,10,4,100", "2,10,4,5", "1,20,3,90", "1,30,3,95", "1,10,1,100"))
    ratings, users, problems = movielens.read_ratings(log, films, ordered=True)
    assert users.tolist() == [1, 2]
    assert ratings.stars.tolist() == [1, 4]
    assert problems == [
        ("log.csv", 2, "user 1 rated film 10 twice: rated again on line 6, which is kept"),
        ("log.csv", 4, "time 90 is before time 100 on line 2 of the same user"),
        ("log.csv", 5, "time 95 is before time 100 on line 2 of the same user"),
    ]
    with pytest.raises(ValueError, match=r"log.csv line 2: "):
        movielens.read_ratings(log, films, bad="refuse", ordered=True)
    ratings, _, problems = movielens.read_ratings(str(log), films)
    assert ratings.time.tolist() == [90, 95, 100, 5]
    assert len(problems) == 1


def test_columns_are_found_by_name(tmp_path):
    films = movielens.load(write(tmp_path)).films
    log = tmp_path / "log.csv"
    log.write_bytes(b"\xef\xbb\xbfnote,timestamp,rating, movieId ,userId\r\nhi,5,4,20,1\r\n\r\n")
    ratings, users, problems = movielens.read_ratings(log, films, bad="refuse")
    assert [x.tolist() for x in (*ratings, users)] == [[0], [1], [4], [5], [1]]
    assert not problems


@pytest.mark.parametrize(
    ("file", "row", "reason"),
    [
        ("movies.csv", "20,Again,Drama", "movieId 20 is on line 2 already, which is kept"),
        ("movies.csv", "x,Title,Drama", "movieId 'x' is not an integer"),
        ("movies.csv", "40,Title, the,Drama", "4 columns instead of 3"),
        ("movies.csv", '40,"Title,Drama', "wrong quotes"),
        ("links.csv", "30,5,5", "movieId 30 is on line 4 already"),
        ("links.csv", "40,5,5", "film 40 is not one of the 3 films"),
        ("links.csv", "30,5", "2 columns instead of 3"),
        ("links.csv", "30,5,tt5", "tmdbId 'tt5' is not an integer"),
        ("tags.csv", "1,40,word,5", "film 40 is not one of the 3 films"),
        ("tags.csv", "1,20, ,5", "tag ' ' is not a word"),
        ("tags.csv", "1,x,word,5", "movieId 'x' is not an integer"),
        ("tags.csv", "1,20", "2 columns instead of 4"),
    ],
)
def test_a_bad_row_about_a_film(tmp_path, file, row, reason):
    write(tmp_path, FILES | {file: FILES[file] + row + "\n"})
    data = the_problem(str(tmp_path), file, FILES[file].count("\n") + 1, reason)
    assert rows(data) == rows(movielens.load(write(tmp_path / "good")))
    assert data.films.titles[1] == "Ship, The (1999)"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("500,again,1,1,1,en", "id 500 is on line 2 already, which is kept"),
        ("1997-08-20,x,1,1,1,en", "id '1997-08-20' is not an integer"),
        ("7,x,inf,1,1,en", "vote_average 'inf' is not a finite number"),
        ("7,x,1,many,1,en", "vote_count 'many' is not a finite number"),
        ("7,x,1", "3 columns instead of 6"),
        ('7,x,1,1,1,"en\n1,x,1,1,1,"', "original_language holds the lines 5 to 6: its quotes do not end"),
        ('7,"x,1\n1,1,1', "wrong quotes (unexpected end of data); lines 5 to 6 are not read"),
    ],
)
def test_a_bad_row_of_metadata(tmp_path, row, reason):
    folder = write(tmp_path, FILES | {"tmdb_metadata.csv": TMDB + row + "\n"})
    data = the_problem(folder, "tmdb_metadata.csv", 5, reason)
    assert data.films.vote_average[0] == 6.5


def test_errors_whatever_becomes_of_bad_rows(tmp_path):
    def fails(message, **changed):
        with pytest.raises(ValueError, match=message):
            movielens.load(write(tmp_path / "set", **changed))

    fails("ratings.csv has no column rating, timestamp: line 1", ratings_csv="userId,movieId\n1,2\n")
    fails("movies.csv is empty", movies_csv=" \n")
    fails("links.csv has no column tmdbId: line 1 must name movieId, tmdbId", links_csv="movieId\n1\n")
    write(tmp_path / "set")
    (tmp_path / "set" / "tags.csv").write_bytes(b"movieId,tag\n1,a\n1,\xff\n")
    with pytest.raises(ValueError, match=r"tags.csv is not UTF-8: byte 0xff on line 3"):
        movielens.load(str(tmp_path / "set"))
    (tmp_path / "tmdb_metadata.csv").write_text("id,vote_count\n1,2\n")
    fails("metadata.csv has no column vote_average: line 1 must name id, vote_average, vote_count$")
    (tmp_path / "set" / "links.csv").unlink()
    with pytest.raises(ValueError, match=r"cannot read .*links.csv: No such file"):
        movielens.load(str(tmp_path / "set"))
    with pytest.raises(ValueError, match=r"nowhere has no ratings.csv: data_dir must be the folder of"):
        movielens.load(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"name": "ml-1b"}, "unknown name 'ml-1b': use ml-latest-small or ml-100k"),
        ({"bad": "keep"}, "unknown bad 'keep': use skip or refuse"),
        ({"join": "title"}, "unknown join 'title': use links or ids"),
    ],
)
def test_unknown_choices(tmp_path, choice, message):
    with pytest.raises(ValueError, match=message):
        movielens.load(write(tmp_path), **choice)


def test_the_old_format(tmp_path):
    folder = write(tmp_path / "ml-100k", OLD, "latin-1")
    data = movielens.load(str(tmp_path), "ml-100k", bad="refuse")
    assert data.films.titles == ["Café (1995)", '"Quote']
    assert data.films.genres == [(), ("action", "children's")]
    assert data.films.tags == [(), ()]
    assert rows(data) == [(5, 2, 4, 881250940), (5, 1, 3, 881250949)]
    item = OLD["u.item"] + "3|Flag|||x|0|2|0\n3|Short|||x|0|0\n"
    write(tmp_path / "ml-100k", OLD, "latin-1", u_item=item, u_data=OLD["u.data"] + "6\t3\t3\t1\n")
    problems = movielens.load(folder, "ml-100k").problems
    assert [x[:2] for x in problems] == [("u.item", 3), ("u.item", 4), ("u.data", 3), ("u.data", 3)]
    assert problems[0].reason == "Action '2' is not 0 or 1"
    for genres, message in (("a|0\nb|2\n", "must number its genres from 0"), ("a|x\n", "u.genre line 1: ")):
        with pytest.raises(ValueError, match=message):
            movielens.load(write(tmp_path / "ml-100k", OLD, "latin-1", u_genre=genres), "ml-100k")


@given(st.data())
def test_the_order_of_the_lines_does_not_matter(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("order")
    films = movielens.load(write(folder)).films
    cells = st.tuples(st.integers(1, 4), st.sampled_from([10, 20, 30]), st.integers(1, 10))
    drawn = data.draw(st.lists(cells, max_size=12))
    lines = [f"{user},{film},{stars / 2},{time}" for time, (user, film, stars) in enumerate(drawn)]
    found = []
    for order in (lines, data.draw(st.permutations(lines))):
        (folder / "log.csv").write_text(rated(*order))
        found.append(movielens.read_ratings(folder / "log.csv", films))
    for one, other in zip((*found[0][0], found[0][1]), (*found[1][0], found[1][1]), strict=True):
        np.testing.assert_array_equal(one, other)


@given(st.data())
def test_no_row_is_lost_in_silence(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("rows")
    films = movielens.load(write(folder)).films
    users, ids = st.sampled_from("12x"), st.sampled_from(["10", "20", "99", ""])
    stars, time = st.sampled_from(["1", "4.5", "nan", "6", '"'] + ["3"] * 5), st.sampled_from("1234y")
    lines = data.draw(st.lists(st.tuples(users, ids, stars, time).map(",".join), max_size=15))
    (folder / "log.csv").write_text(rated(*lines))
    for ordered in (False, True):
        ratings, users_read, problems = movielens.read_ratings(folder / "log.csv", films, ordered=ordered)
        about_rows = [x for x in problems if "no rating left" not in x.reason]
        assert len(ratings.time) + len(about_rows) == len(lines)
        assert len({x.line for x in about_rows}) == len(about_rows), "one reason a row"
        assert len(np.unique(ratings.user)) == len(users_read)


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Replace the network by contents at addresses, on a machine without a data set."""
    monkeypatch.delenv("WNN_JAX_DATA", raising=False)
    monkeypatch.setenv("WNN_JAX_CACHE", str(tmp_path / "cache"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, content in FILES.items():
            file.writestr(f"ml-latest-small/{name}", content)
    address = "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"
    digest = hashlib.md5(packed.getvalue()).hexdigest()
    pages = {
        address: packed.getvalue(),
        f"{address}.md5": f"MD5 (ml-latest-small.zip) = {digest}\n".encode(),
    }

    def urlopen(address, timeout):
        if address not in pages:
            raise urllib.error.URLError("no route to host")
        return io.BytesIO(pages[address])

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return pages


def test_a_download_is_kept(server, tmp_path):
    data = movielens.load()
    assert len(data.ratings.time) == 4
    assert [x.name for x in (tmp_path / "cache" / "movielens").iterdir()] == ["ml-latest-small"]
    server.clear()
    assert rows(movielens.load()) == rows(data)


def test_a_damaged_download_is_fetched_again(server, tmp_path):
    whole = rows(movielens.load())
    folder = tmp_path / "cache" / "movielens" / "ml-latest-small"
    (folder / "notes.txt").write_text("mine")
    for path in sorted(folder.iterdir()):
        before = path.read_bytes()
        if path.name == "notes.txt":
            continue
        for hurt in (before[: len(before) // 2], bytes([before[0] ^ 1]) + before[1:]):
            path.write_bytes(hurt)
            assert rows(movielens.load()) == whole
            assert path.read_bytes() == before
    (folder / "ratings.csv").unlink()
    assert rows(movielens.load()) == whole
    assert (folder / "notes.txt").read_text() == "mine"
    (folder / "ratings.csv").write_bytes(b"")
    server.clear()
    with pytest.raises(ValueError, match="could not be downloaded"):
        movielens.load()


def test_a_folder_of_data_comes_before_a_download(tmp_path, monkeypatch, server):
    server.clear()
    write(tmp_path / "data" / "movielens" / "ml-latest-small")
    monkeypatch.setenv("WNN_JAX_DATA", str(tmp_path / "data"))
    assert len(movielens.load().ratings.time) == 4


def test_a_download_that_fails_says_what_to_bring(server, tmp_path):
    address = next(iter(server))
    server[address] += b"x"
    with pytest.raises(ValueError, match=r"ml-latest-small.zip is damaged: MD5 .* as data_dir"):
        movielens.load()
    server[address] = b"no zip file"
    server[f"{address}.md5"] = hashlib.md5(b"no zip file").hexdigest().encode()
    with pytest.raises(ValueError, match=r"could not be downloaded \(BadZipFile\)"):
        movielens.load()
    assert not list((tmp_path / "cache").glob("*/*")), "nothing half done is left"
    server.clear()
    with pytest.raises(ValueError, match=r"\(URLError\): download https://.*small.zip, .* data_dir") as error:
        movielens.load()
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def real():
    """Load the real data set with both joins, found by the environment variable and by its folder."""
    root = pathlib.Path(os.environ.get("WNN_JAX_DATA", "nowhere"), "movielens")
    if not root.exists():
        pytest.skip("WNN_JAX_DATA is not set or has no folder movielens")
    return movielens.load(), movielens.load(str(root), join="ids")


def test_the_real_data_set(real):
    read, wrong = real
    assert (len(read.ratings.time), len(read.users), len(read.films.ids)) == (100_836, 610, 9_742)
    assert np.count_nonzero(~np.isnan(read.films.vote_average)) == 5_598
    assert read.films.vote_average[read.films.titles.index("Toy Story (1995)")] == np.float32(7.7)
    assert [x.file for x in read.problems] == ["tmdb_metadata.csv"], "one id twice"
    assert "26,090 of 100,836 ratings left" in wrong.description


def test_the_wrong_join_gives_films_the_facts_of_others(real):
    right, wrong = real
    place = {x: i for i, x in enumerate(right.films.ids.tolist())}
    same = [
        right.films.genres[place[x]] == y
        for x, y in zip(wrong.films.ids.tolist(), wrong.films.genres, strict=True)
    ]
    assert np.mean(same) < 0.1
    assert len(wrong.ratings.user) == 26_090
