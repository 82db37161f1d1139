"""The associative memory's command as a user runs it, and its stages as a library."""

import numpy as np
import pytest
from commands import call, rows_of


@pytest.mark.long
def test_from_teacher_to_artifact_and_again(tmp_path, corpus):
    flags = f"--corpus={corpus}", "--tokens=8000", "--patterns=40", f"--resume={tmp_path / 'saved'}"
    done = call("eam", *flags, f"--workdir={tmp_path / 'first'}", "--studies=")
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in rows_of(tmp_path / "first")}
    for row in ("uniform", "unigram (add 0.1)", "bigram (Kneser-Ney 2)", "Kneser-Ney 5"):
        assert rows[row]["ce"] > 0
    for model in ("teacher", "EAM, as published", "EAM"):
        assert rows[model]["ce"] < rows["uniform"]["ce"]
        mixed, oracle = rows[f"{model} + kNN"], rows[f"{model} + kNN, oracle: not a model"]
        assert mixed["sums"] < 1e-4
        assert oracle["ce"] < rows[model]["ce"]
    assert abs(rows["EAM, int8 and back"]["ce"] - rows["EAM"]["ce"]) < 0.02
    transfer = rows["transfer"]["transfer"]["EAM"]
    taught, unigram = rows["teacher"]["ce"], rows["unigram (add 0.1)"]["ce"]
    assert transfer["transfer"] == pytest.approx(1 - (rows["EAM"]["ce"] - taught) / taught)
    assert transfer["headroom"] == pytest.approx((unigram - rows["EAM"]["ce"]) / (unigram - taught))
    size = (tmp_path / "first" / "model.eam").stat().st_size
    assert rows["EAM, int8 and back"]["model_bytes"] == size
    # Every stage is on disk: the second run trains nothing and gives the same rows.
    again = call("eam", *flags, f"--workdir={tmp_path / 'again'}", "--studies=")
    for row, values in {row["row"]: row for row in rows_of(tmp_path / "again")}.items():
        assert values["ce"] == rows[row]["ce"], row
    assert "0/3" in done.stderr
    assert "0/3" not in again.stderr
    other = call("eam", *flags, "--seed=1", f"--workdir={tmp_path / 'other'}")
    assert other.returncode == 2
    assert "differs in seed" in other.stderr


@pytest.mark.long
def test_the_studies(tmp_path, corpus):
    flags = f"--corpus={corpus}", "--tokens=12000", "--patterns=40", f"--workdir={tmp_path}"
    done = call("eam", *flags)
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in rows_of(tmp_path)}
    kept = [rows[f"reconstruction, kmeans, {x} patterns"]["held_out"] for x in (410, 205, 82)]
    assert np.all(np.diff(kept) > -0.02)
    assert rows["merge: merged"]["locations"] == sum(
        rows[f"merge: {x} half"]["locations"] for x in ("first", "second")
    )
    assert len(rows["continual, kmeans"]["cosine"]) == 3
    assert 0 < rows["writes"]["writes_per_second"] < rows["writes"]["bound"]
    for picture in ("reconstruction", "continual", "merge", "time"):
        assert (tmp_path / f"{picture}.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--studies=dreams"], "--studies has no 'dreams'"),
        (["--tokens=0"], "tokens=0 is out of range: give a whole number of at least 1"),
        (["--patterns=-1"], "patterns=-1.0 is out of range: give a finite number above 0"),
        (["--tokens=100"], "hold no window of 128"),
        (["--preset=huge"], "huge"),
    ],
)
def test_bad_flags_are_one_line(tmp_path, flags, message):
    (tmp_path / "words.txt").write_text("".join(f"word {i} of many\n" for i in range(600)))
    done = call("eam", "--corpus=words.txt", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
