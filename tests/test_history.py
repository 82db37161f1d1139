"""A person's file of ratings: it only ever grows, and what it holds besides stays as it is."""

import os

import numpy as np
import pytest

from wnn_jax.data import history, movielens

HEADER = "userId,movieId,rating,timestamp\n"
FILMS = movielens.Films(np.arange(1, 21, dtype=np.int32), *[[]] * 4, *[np.zeros(20)] * 3)


def session(path, changes, now=2000, bad="skip"):
    found, rated, problems = history.read(history.find(path), FILMS, bad)
    for change in changes:
        found = history.append(found, change, now)
    return rated, problems


@pytest.mark.parametrize(
    ("before", "added"),
    [
        (None, f"{HEADER}1,5,4.0,2000\n1,6,0.5,2000\n1,5,,2000\n"),
        ("", f"{HEADER}1,5,4.0,2000\n1,6,0.5,2000\n1,5,,2000\n"),
        ("\n# mine\n", f"{HEADER}1,5,4.0,2000\n1,6,0.5,2000\n1,5,,2000\n"),
        (HEADER, "1,5,4.0,2000\n1,6,0.5,2000\n1,5,,2000\n"),
        (HEADER[:-1], "\n1,5,4.0,2000\n1,6,0.5,2000\n1,5,,2000\n"),
        (
            f"\ufeff# mine\n{HEADER}7,99999,5.0,9999999999999\n# ha\n7,5,2.0,x",
            "\n7,5,4.0,2000\n7,6,0.5,2000\n7,5,,2000\n",
        ),
        ("rating,movieId\r\n3.0,5\r\n", "4.0,5\r\n0.5,6\r\n,5\r\n"),
        ("movieId;note;rating;userId\n5;a,b;9;me;\n", "5;;4.0;1\n6;;0.5;1\n5;;;1\n"),
        (
            '"timestamp"\t"rating"\t"movieId"\t"userId"\n1\t2\t5\t"a\tb"\n',
            '2000\t4.0\t5\t"a\tb"\n2000\t0.5\t6\t"a\tb"\n2000\t\t5\t"a\tb"\n',
        ),
        ("movieId,rating\r5,3.0\r", "\n5,4.0\n6,0.5\n5,\n"),
    ],
)
def test_lines_are_added_in_the_columns_of_the_file(tmp_path, before, added):
    path = tmp_path / "me.csv"
    if before is not None:
        path.write_bytes(before.encode())
    session(path, [{5: 4.0, 6: 0.5}, {}, {5: None}])
    assert path.read_bytes() == ((before or "") + added).encode()
    rated, _ = session(path, [])
    assert rated == {6: 0.5}


def test_the_last_line_of_a_film_counts(tmp_path):
    path = tmp_path / "me.csv"
    path.write_text(HEADER + "1,5,4.0,1003\n1,6,1.0,7\n1,5,2.5,1001\n1,7,3.0,1\n1,7,,2\n,8,3.0,\n1,9,,5\n")
    rated, problems = session(path, [])
    assert list(rated.items()) == [(6, 1.0), (5, 2.5), (8, 3.0)]
    assert not problems


def test_a_session_without_an_answer_changes_nothing(tmp_path):
    path = tmp_path / "me.csv"
    session(path, [{}])
    assert not path.exists()
    path.write_bytes(b"\r\n")
    session(path, [{}])
    assert path.read_bytes() == b"\r\n"


def test_what_cannot_be_read_is_told_and_stays(tmp_path):
    path = tmp_path / "me.csv"
    content = f'{HEADER}1,99999,5.0,1\n1,5,11,1\n1,6,nan,1\n1,7,3.0\n1,"8,3.0,1\n1,x,3.0,1\n1,9,3.0,1\n'
    path.write_text(content)
    rated, problems = session(path, [{9: 1.0}])
    assert rated == {9: 3.0}
    assert [problem.line for problem in problems] == [2, 3, 4, 5, 6, 7]
    assert path.read_text() == content + "1,9,1.0,2000\n"
    with pytest.raises(ValueError, match=r"me.csv line 2: film 99999 is not one of the 20 films"):
        session(path, [], bad="refuse")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (HEADER + "1,5,4.0,1\n2,99999,4.0,1\n", r"ratings of 2 users \('1' on line 2, '2' on line 3\)"),
        ("1,5,4.0,1\n", "line 1 names no columns movieId and rating, it is '1,5,4.0,1'"),
        ("# mine\nname,stars\n", "line 2 names no columns movieId and rating, it is 'name,stars'"),
        ("Bücher\n".encode("latin-1"), "is not UTF-8: byte 0xfc on line 1"),
        (HEADER.encode("utf-16"), "is not UTF-8: byte 0xff on line 1"),
        (b"\x00" * 300_000, "line 1 names no columns"),
        ("a" * 300_000, "line 1 names no columns"),
    ],
)
def test_a_file_that_is_not_understood_is_refused_and_stays(tmp_path, content, said):
    path = tmp_path / "me.csv"
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(data)
    with pytest.raises(ValueError, match=said) as error:
        session(path, [{5: 4.0}])
    assert len(str(error.value)) < 400
    assert path.read_bytes() == data


def test_a_place_that_cannot_be_written_is_refused_first(tmp_path, monkeypatch):
    for path in (tmp_path, tmp_path / "nowhere" / "me.csv", tmp_path / "file" / "me.csv"):
        (tmp_path / "file").touch()
        with pytest.raises(ValueError, match="cannot keep ratings in"):
            history.find(path)
    (tmp_path / "file").write_text(HEADER)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ValueError, match=r"write .*file is not possible"):
        history.find(tmp_path / "file")


def test_changes_between_ratings():
    assert history.changes({1: 2.0, 2: 3.0, 3: 4.0}, {3: 4.0, 2: 1.0, 4: 5.0}) == {1: None, 2: 1.0, 4: 5.0}


def test_two_sessions_and_changes_between_answers_leave_a_file_that_is_read(tmp_path):
    path = tmp_path / "h.csv"
    first, second = (history.read(history.find(path), FILMS)[0] for _ in range(2))
    second = history.append(second, {5: 4.0}, 1)
    first = history.append(first, {6: 3.0}, 2)
    path.write_text("rating;movieId\n")  # another program writes it anew
    history.append(first, {7: 2.0}, 3)
    assert path.read_text() == "rating;movieId\n2.0;7\n"
    path.unlink()
    history.append(second, {8: 1.0}, 4)
    assert session(path, [])[0] == {8: 1.0}
    path.write_text(f"{HEADER}1,5,4.0,1\n{HEADER}1,6,3.0,2\n")  # two files that were joined
    assert session(path, [])[0] == {5: 4.0, 6: 3.0}


@pytest.mark.parametrize("blank", ["   \n", "\t\n", "\u00a0\n"])
def test_a_blank_first_line_is_a_beginning(tmp_path, blank):
    path = tmp_path / "h.csv"
    path.write_text(blank)
    session(path, [{5: 4.0}])
    assert path.read_text() == f"{blank}{HEADER}1,5,4.0,2000\n"
    assert session(path, [])[0] == {5: 4.0}
