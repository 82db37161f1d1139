"""The command of the vocabulary-space models runs as a user runs it."""

import os
import signal
import subprocess
import sys
import time

import pytest
from commands import call, rows_of, run

TINY = "--steps=24", "--tokens_per_step=64", "--window=32", "--eval_tokens=2048"


@pytest.mark.long
def test_hops_in_a_terminal(tmp_path, corpus):
    flags = f"--corpus={corpus}", "--models=v8_graph", "--ablate=hops", "--leaky", *TINY
    done = run("vocab", *flags, f"--workdir={tmp_path}", "--inspect=the word", "--repairs=rate,gain,cluster")
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in rows_of(tmp_path)}
    counts = [
        "uniform",
        "unigram (add 0.1)",
        "bigram (Kneser-Ney 2)",
        "trigram (Kneser-Ney 3)",
        "Kneser-Ney 5",
    ]
    hops = [f"v8_graph, {x}" for x in ("1 hop", "2 hops", "4 hops", "8 hops")]
    published = ["v8_graph, as published", "v8_graph, as published, leaky"]
    assert list(rows) == [*counts, *published, *hops]
    for row in [*published, *hops]:
        assert 0 < rows[row]["ce"] < 30
        assert abs(rows[row]["int8"]) < 0.01
        assert (
            rows[row]["packed_bytes"]
            == (tmp_path / f"{row.replace(', ', '-').replace(' ', '_')}.vocab").stat().st_size
        )
        assert f"{row}: the next word after 'the word', hop by hop\n" in done.stdout
    assert rows["v8_graph, 8 hops"]["parameters"] > 4 * rows["v8_graph, 1 hop"]["parameters"]
    assert rows["v8_graph, 1 hop"]["repairs"] == ["rate", "gain", "cluster"]
    assert (tmp_path / "vocab.png").stat().st_size > 5_000
    assert (tmp_path / "hops_v8_graph-4_hops.png").stat().st_size > 5_000


@pytest.mark.long
def test_repairs_one_by_one(tmp_path, corpus):
    flags = (
        f"--corpus={corpus}",
        "--models=v9_linattn",
        "--ablate=repairs",
        "--repairs=rate,gain,bigram",
        "--hops=2",
    )
    done = call("vocab", *flags, *TINY, f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row.get("repairs") for row in rows_of(tmp_path)}
    assert {k: v for k, v in rows.items() if v is not None} == {
        "v9_linattn, as published": [],
        "v9_linattn, only rate": ["rate"],
        "v9_linattn, only gain": ["gain"],
        "v9_linattn, without rate": ["gain"],
        "v9_linattn, without gain": ["rate"],
        "v9_linattn": ["rate", "gain"],
    }


@pytest.mark.long
def test_a_killed_run_continues_to_the_same_end(tmp_path, corpus):
    flags = [f"--corpus={corpus}", "--models=v9_meta,v11_tpg", "--nopublished", "--hops=2", *TINY]
    assert run("vocab", *flags, f"--workdir={tmp_path / 'whole'}").returncode == 0
    flags.append(f"--resume={tmp_path / 'saved'}")
    command = [sys.executable, "-m", "experiments.vocab", *flags, f"--workdir={tmp_path / 'killed'}"]
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as killed:
        first, until = tmp_path / "saved" / "v9_meta" / "steps" / "1", time.monotonic() + 200
        while not first.exists() and killed.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
    assert first.exists()
    done = run("vocab", *flags, f"--workdir={tmp_path / 'again'}")
    assert done.returncode == 0, done.stderr
    whole, again = ({row["row"]: row["ce"] for row in rows_of(tmp_path / x)} for x in ("whole", "again"))
    assert whole == again
    other = run("vocab", *flags, "--seed=1", f"--workdir={tmp_path / 'other'}")
    assert other.returncode == 2
    assert "differs in seed" in other.stderr


def test_a_row_and_what_it_records(tmp_path, corpus):
    # The shapes are those of test_vocab_face.py, so that scoring is compiled once for both.
    flags = f"--corpus={corpus}", "--models=v8_graph", "--hops=1", "--nopublished", *TINY, "--window=16"
    done = call("vocab", *flags, f"--workdir={tmp_path}", "--inspect=the word")
    assert done.returncode == 0, done.stderr
    row = rows_of(tmp_path)[-1]
    assert row["row"] == "v8_graph"
    assert row["repairs"] == ["rate", "warmup", "scores", "gain", "fades", "bigram"]
    assert (row["train_tokens"], row["distinct_tokens"], row["eval_tokens"]) == (1536, 1536, 2048)
    assert row["config"]["training"] == {"steps": 24, "tokens_per_step": 64, "window": 16}
    assert row["config"]["models"]["hops"] == 1
    assert 0 < row["ce"] < 3
    assert "v8_graph: the next word after 'the word', hop by hop\n   0  " in done.stdout
    assert (tmp_path / "v8_graph.vocab").stat().st_size == row["packed_bytes"]
    assert (tmp_path / "hops_v8_graph.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--models=v17"], "unknown model 'v17': choose one of v1_attention"),
        (["--repairs=luck"], "unknown repair 'luck'"),
        (["--repairs=cluster,frequency"], "both order the words"),
        (["--repairs=", "--nopublished"], "nothing to train"),
        (["--steps=0"], "steps=0 is out of range: give a whole number of at least 1"),
        (["--window=33"], "window must be even, got 33"),
        (["--eval_tokens=20"], "got 53 tokens and windows of 64"),
        (["--tokens_per_step=100"], "a multiple of window, got 100 and 64"),
        (["--tokens_per_step=640000"], "a step takes 10000: lower tokens_per_step"),
        (["--ablate=everything"], "everything"),
    ],
)
def test_bad_flags_are_one_line(tmp_path, flags, message):
    (tmp_path / "words.txt").write_text("".join(f"word {i} of many\n" for i in range(600)))
    done = call("vocab", "--corpus=words.txt", "--eval_tokens=500", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
