"""The commands of the recommender run as a user runs them, on made-up ratings."""

import io

import numpy as np
import pytest
from commands import call, rows_of

from wnn_jax.recommender import drift, forgetting, lists, protocol

RATINGS = "userId,movieId,rating,timestamp\n"


def again(monkeypatch, tmp_path, module, work, *flags):
    """Run a command once more with its --resume: it must print the same without doing the work."""
    monkeypatch.setattr(module, work, None)
    rows = rows_of(tmp_path)
    done = call("recommender", *flags)
    assert done.returncode == 0, done.stderr
    assert [{**row, "time": ""} for row in rows] == [
        {**row, "time": ""} for row in rows_of(tmp_path)[len(rows) :]
    ]
    return done.stdout


def test_forgetting_as_a_command(tmp_path, monkeypatch):
    flags = ("--data=made-up", "--seeds=1", "--parts=forgetting", f"--resume={tmp_path / 'kept'}")
    done = call("recommender", *flags, f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    said = again(monkeypatch, tmp_path, forgetting, "compare", *flags, f"--workdir={tmp_path}")
    assert said.splitlines()[:-1] == done.stdout.splitlines()[:-1]
    by_row = {row["row"]: row for row in rows_of(tmp_path)}
    for name in ("as rated", "all horror rated 5"):
        row = by_row[f"forget horror, {name}"]
        assert row["largest_difference"] == 0
        assert row["after"] == row["never_shown"]
    loved = by_row["forget horror, all horror rated 5"]
    assert loved["before"] > loved["after"] + 0.2
    assert (tmp_path / "forgetting.png").stat().st_size > 5_000
    assert "to the last bit" in done.stdout


@pytest.mark.long
def test_drift_and_categories(tmp_path, monkeypatch):
    flags = ("--data=made-up", "--seeds=1", f"--resume={tmp_path / 'kept'}", f"--workdir={tmp_path}")
    done = call("recommender", *flags, "--parts=drift,bucketing,addition")
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path)
    again(monkeypatch, tmp_path, drift, "compare", *flags, "--parts=drift,bucketing,addition")
    by_row = {row["row"]: row for row in rows}
    curve = by_row["drift, flipped: age in the vote"]
    assert curve["ratings_to_recover"] is not None
    assert by_row["drift, flipped: append only"]["last_ten"] < curve["last_ten"]
    assert by_row["feature added: 0 in old rows"]["old_films_moved"] == 0
    assert {row["bits"] for row in rows if row["row"].startswith("bucketing, genres: nearest")} == {10}
    for picture in ("drift", "bucketing", "addition"):
        assert (tmp_path / f"{picture}.png").stat().st_size > 5_000


@pytest.mark.long
@pytest.mark.parametrize(("part", "kind"), [("published", "published"), ("cold_start", "twenty")])
def test_cold_start(tmp_path, part, kind, monkeypatch):
    kept = f"--resume={tmp_path / 'kept'}"
    flags = ("--data=made-up", "--seeds=1", f"--parts={part}", kept, f"--workdir={tmp_path}")
    done = call("recommender", *flags)
    assert done.returncode == 0, done.stderr
    again(monkeypatch, tmp_path, protocol, "judge", *flags)
    rows = [row for row in rows_of(tmp_path) if row["protocol"] == kind]
    names = {row["row"] for row in rows}
    for row in ("always 4 stars", "user mean", "user median", "item-kNN", "matrix factorisation"):
        assert row in names
    assert {"weighted vote", "per-bit Hamming", "hybrid: vote on a prior"} <= names
    assert any("shuffled" in name for name in names) == (kind == "published")
    assert all(row["balanced"] == 0.5 for row in rows if row["row"].startswith("always"))
    assert all(0 < row["rmse"] < 4.5 and 0 <= row["within_one"] <= 1 for row in rows)
    assert ("the hybrid" in done.stdout) == (kind == "twenty")
    assert (tmp_path / f"{part}.png").stat().st_size > 5_000


@pytest.mark.long
def test_latency(tmp_path):
    done = call("recommender", "--data=made-up", "--parts=latency", f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    sizes = [row for row in rows_of(tmp_path) if row["row"] == "latency of one answer"]
    assert all(row["memory_bytes"] == row["rows"] * (4 * -(-row["bits"] // 32) + 16) for row in sizes)
    assert {row["rows"] for row in sizes} >= {1_000, 10_000}
    assert (tmp_path / "latency.png").stat().st_size > 5_000


def books(folder, rows=240):
    """Write a file that no reader knows: semicolons, other names, ratings of 0 to 10, ids that are words."""
    rng = np.random.default_rng(0)
    lines = ["when;reader;book;mark"]
    for i in range(rows):
        reader, book = i % 24, rng.integers(0, 15) + 15 * (i % 2)
        lines.append(f"2001-02-03 04:{i // 60:02}:{i % 60:02};r{reader};b{book};{rng.integers(0, 11)}")
    (folder / "books.txt").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--scale=0,10"], "different values"),
        (["--scale=0,10", "--uses=5", "--hold=drawn"], "uses, 24 users"),
    ],
)
def test_lists_of_a_file_that_nobody_has_seen(tmp_path, more, said, monkeypatch):
    books(tmp_path)
    columns = "--columns=user:reader,item:book,rating:mark,time:when"
    kept = f"--resume={tmp_path / 'kept'}"
    flags = (
        "--data=own",
        f"--data_dir={tmp_path / 'books.txt'}",
        columns,
        *more,
        "--seeds=1",
        "--parts=lists",
    )
    flags = (*flags, kept, f"--workdir={tmp_path}")
    done = call("recommender", *flags)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert "popularity in NDCG@10" in done.stdout
    again(monkeypatch, tmp_path, lists, "compare", *flags)
    by_row = {row["row"]: row for row in rows_of(tmp_path) if row["shown"] == 0}
    assert by_row["agents"]["ndcg"] > by_row["chance"]["ndcg"], "readers keep to one half of the books"
    assert ("expected stars" in by_row) == ("--uses=5" not in more)
    assert all(row["hit"] >= row["recall"] for row in by_row.values())


def test_rating_books_in_a_terminal(tmp_path, monkeypatch):
    books(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("5\nq\n"))
    columns = "--columns=user:reader,item:book,rating:mark"
    done = call("recommend_live", "--data=own", f"--data_dir={tmp_path / 'books.txt'}", columns, "--top=3")
    assert done.returncode == 0, done.stderr
    assert "5: 10 or more" in done.stdout
    assert "1 rated" in done.stdout
    assert "because of b" in done.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data=own"], "--data=own needs --data_dir"),
        (["--columns=user:a,item:b"], "--columns describes a file of yours, but --data=ml-latest-small"),
        (["--columns=user:a"], "columns names no item"),
        (["--data=own", "--data_dir=/nowhere"], "/nowhere is not there"),
        (["--parts=moods"], "--parts has no 'moods': choose from published, cold_start"),
        (["--parts="], "--parts names no experiment: give one or more of published"),
        (["--seeds=0"], "seeds=0 is out of range: give a whole number of at least 1"),
        (["--data_dir=/nowhere"], "/nowhere"),
        (["--data=netflix"], "netflix"),
    ],
)
def test_bad_flags_are_one_line(tmp_path, flags, message):
    done = call("recommender", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("**/results.jsonl"))


@pytest.fixture
def live(tmp_path, monkeypatch):
    """Return a function that runs the terminal command with lines of input."""

    def answer(*lines, flags=()):
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(line + "\n" for line in lines)))
        history = f"--history={tmp_path / 'me.csv'}"
        return call("recommend_live", "--data=made-up", history, "--top=5", *flags)

    return answer


@pytest.mark.long
def test_rating_in_a_terminal(tmp_path, live):
    done = live("5", "0.5", "seven", "3.7", "s", "4", "forget horror", "q")
    assert done.returncode == 0, done.stderr
    assert "'seven' is not an answer" in done.stdout
    assert "3.7 is not a rating" in done.stdout
    assert "3 rated" in done.stdout
    assert "ratings forgotten" in done.stdout
    assert "new" in done.stdout or "+" in done.stdout
    kept = (tmp_path / "me.csv").read_text().splitlines()
    assert kept[0] == RATINGS.strip()
    taken_back = [line.split(",")[1] for line in kept[1:] if line.split(",")[2] == ""]
    left = {line.split(",")[1] for line in kept[1:]} - set(taken_back)
    again = live("undo", "undo", "undo", "undo")
    assert f"{len(left)} rated" in again.stdout
    assert "no rating is left to undo" in again.stdout
    now = (tmp_path / "me.csv").read_text().splitlines()
    assert now[: len(kept)] == kept, "no line is changed"
    assert {line.split(",")[1] for line in now[len(kept) :]} == left
    assert "0 rated" in live("q").stdout


@pytest.mark.long
def test_a_bad_history_is_told_by_line(tmp_path, live):
    lines = "1,5,4.0,100\n1,5000,4.0,101\n1,6,nan,102\n1,7,3.0,50\n"
    (tmp_path / "me.csv").write_text(RATINGS + lines)
    done = live("q")
    for place, words in ((3, "5000"), (4, "nan")):
        told = [line for line in done.stdout.splitlines() if f"me.csv line {place}:" in line]
        assert len(told) == 1
        assert words in told[0]
    assert "2 rated" in done.stdout
    refused = live("q", flags=("--bad_rows=refuse",))
    assert refused.returncode == 2
    assert "me.csv line 3" in refused.stderr
    (tmp_path / "me.csv").write_text(RATINGS + lines + "2,5,4.0,104\n")
    others = live("5")
    assert others.returncode == 2
    assert "holds the ratings of 2 users" in others.stderr
    assert (tmp_path / "me.csv").read_text() == RATINGS + lines + "2,5,4.0,104\n"


def data_set(folder, rating="{}", time="96498270{}", users=30, films=20, per=6):
    rows = ["userId,movieId,rating,timestamp"]
    for i in range(users * per):
        film = 1 + (i * 7 + i // per) % films
        rows.append(f"{i // per + 1},{film},{rating.format(i % 5 + 1)},{time.format(i % 10)}")
    (folder / "ratings.csv").write_text("\n".join(rows))
    genres = ["Drama|Comedy", "Horror", "(no genres listed)"]
    lines = [f'{i},"Film ""{i}"", The (1999)",{genres[i % 3]}' for i in range(1, films + 1)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *lines]))


@pytest.mark.parametrize(
    ("change", "parts", "said"),
    [
        ({}, "cold_start", "0 people rated 25 films or more, and cold start needs at least 8"),
        ({}, "published", "0 people rated 25 films or more"),
        ({}, "drift", "0 people rated 80 films or more"),
        ({}, "bucketing", "the median number of ratings a person is 6, and 20 are asked"),
        ({}, "addition", "no film of the data set is of the genre 'sci-fi'"),
        ({"users": 1, "per": 4}, "forgetting", "1 people rated 4 films or more, and at least 2 are needed"),
        ({"users": 1, "films": 1, "per": 1}, "cold_start", "0 people rated 25 films"),
        (
            {"time": "2005-04-02 23:00:4{}"},
            "drift",
            "line 2: timestamp '2005-04-02 23:00:40' is not an integer",
        ),
        ({"rating": "{}0"}, "drift", "180 ratings of {folder}/ratings.csv are not stars"),
        ({"rating": "{}.25"}, "bucketing", "180 ratings of {folder}/ratings.csv are not stars"),
        ({"rating": "nan"}, "bucketing", "180 ratings of {folder}/ratings.csv are not stars"),
    ],
)
def test_small_and_odd_data_is_refused_in_one_line(tmp_path, change, parts, said):
    data_set(tmp_path, **change)
    done = call("recommender", f"--data_dir={tmp_path}", f"--parts={parts}", f"--workdir={tmp_path / 'out'}")
    assert done.returncode == 2
    assert said.format(folder=tmp_path) in done.stderr
    assert done.stderr.count("\n") == 1
