"""The command that compares models by distance runs as a user runs it."""

import pytest
from commands import call, rows_of

TINY = "--distances=8,16", "--beyond=32", "--hops=2", "--models=v9_meta", "--parameters=4000"
SHORT = "--steps=4", "--batch=4", "--held_out=4", "--test=8"


def test_rows_by_distance(tmp_path):
    done = call("range", "--task=agreement", *TINY, *SHORT, f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in rows_of(tmp_path)}
    counts = ["optimum", "uniform", "unigram", "majority answer", "Kneser-Ney 5", "chain, online"]
    trained = ["v9_meta, 2 hops", "transformer"]
    assert list(rows) == [*counts, *trained]
    for name, row in rows.items():
        for distance in (8, 16, 32):
            accuracy, nats = row[f"accuracy_{distance}"], row[f"nats_{distance}"]
            if name == "transformer" and distance == 32:
                assert accuracy is None
                assert nats is None
            else:
                assert 0 <= accuracy <= 1
                assert nats >= 0
        assert row["accuracy"] == pytest.approx((row["accuracy_8"] + row["accuracy_16"]) / 2)
    assert rows["uniform"]["nats_8"] == pytest.approx(3.4657, abs=1e-3)
    assert rows["optimum"]["answers_16"] > rows["optimum"]["answers_32"] / 2 > 0
    for name in trained:
        assert rows[name]["parameters"] == pytest.approx(4000, rel=0.05)
        assert set(rows[name]["held_out"]) == {"0.003", "0.01"}
    assert "accuracy at a distance of" in done.stdout
    assert (tmp_path / "range.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--task=chess"], "chess"),
        (["--models=v2_conv"], "no single size"),
        (["--beyond=4"], "must rise"),
        (["--parameters=10"], "has"),
        (["--test=0"], "test=0"),
        (["--rates="], "no rate"),
    ],
)
def test_bad_flags_are_one_line(tmp_path, flags, message):
    done = call("range", *TINY[:1], *SHORT, *flags, f"--workdir={tmp_path}")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
