"""The commands of the chain model: train and score, generate, compress and back, and every bad input."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest
from commands import call, rows_of, run

from experiments.benchmarking import chain as timed
from wnn_jax import chain
from wnn_jax.chain import archive
from wnn_jax.data import text

QUICK = ["--memory_mib=30", "--chunk=2000", "--readout_tokens=3000", "--epochs=1"]


@pytest.mark.long
def test_chain_end_to_end(tmp_path, corpus):
    model = tmp_path / "model"
    flags = [f"--corpus={corpus}", f"--workdir={tmp_path / 'run'}", *QUICK]
    done = call("chain", *flags, f"--checkpoint={model}", "--curve_points=2", "--without=token4,class12_2")
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in rows_of(tmp_path / "run")}
    cached = next(name for name in rows if "cache" in name)
    assert {"uniform", "unigram (add 0.1)", "Kneser-Ney 5", "the same counts, vote"} < set(rows)
    for name in ("chain, static", "chain, fast"):
        assert rows[name]["ce"] < rows["unigram (add 0.1)"]["ce"] < rows["uniform"]["ce"]
        assert 0.3 < rows[name]["accuracy"] <= 1
        assert rows[name]["eval_tokens"] == rows[cached]["eval_tokens"] > 0
    assert rows["chain, static"]["ce"] < rows["the same counts, vote"]["ce"]
    assert rows[cached]["accuracy"] is None
    left = dataclasses.replace(chain.STATIC, without=("token4", "class12_2")).described
    assert f"{len(left)} context neurons" in done.stdout
    for name in ("training_cost", "along_text", "reliability"):
        assert (tmp_path / "run" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert rows["chain, static"]["kind"] == rows["Kneser-Ney 5"]["kind"] == "static"
    assert rows[cached]["kind"] == "in_context"
    assert rows["chain, fast"]["kind"] == "online"
    tables = [part.splitlines()[0] for part in done.stdout.split("\n\n")[1:4]]
    assert [line.split(":")[0] for line in tables] == ["static", "in context", "online"]

    flags = [f"--checkpoint={model}", "--prompt=tables read", "--tokens=70", "--seed=1"]
    drawn = call("generate", *flags)
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout.startswith("tables read")
    assert len(drawn.stdout.rstrip("\n").encode()) >= 70
    assert "characters in" in drawn.stderr


NEURONS = "--neurons=node,node token1,node token1 token2,node token2"
SMALL = ["--memory_mib=2", "--chunk=500", NEURONS, "--readout_tokens=600", "--readout_folds=2"]


@pytest.fixture
def little(tmp_path, corpus):
    path = tmp_path / "little.txt"
    path.write_bytes(corpus.read_bytes()[:5000])
    return path


def test_two_trees_are_compared_drawn_saved_and_continued(tmp_path, little):
    model = tmp_path / "model"
    flags = [f"--corpus={little}", f"--workdir={tmp_path / 'run'}", "--preset=fast,two_trees", "--epochs=1"]
    done = call("chain", *flags, *SMALL, f"--checkpoint={model}")
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in rows_of(tmp_path / "run")}
    assert rows["chain, two trees"]["accuracy"] is None
    assert 0 < rows["chain, two trees"]["weight"] < 1
    # Both models have the same settings here, but for the rare tokens, which bytes do not have.
    assert rows["chain, two trees"]["ce"] < rows["unigram (add 0.1)"]["ce"]
    for name in ("along_text", "reliability"):
        assert (tmp_path / "run" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    asked = [f"--checkpoint={model}", "--prompt=tables", "--tokens=5", "--continuations=2"]
    drawn = call("generate", *asked, "--repetition_penalty=2", "--stop=\\n,zebra")
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout.startswith("1: tables")
    assert "\n2: tables" in drawn.stdout
    refused = call("chain", *flags[:2], "--preset=fast", *SMALL, f"--checkpoint={model}")
    assert refused.returncode == 2
    assert "choose another folder" in refused.stderr


@pytest.mark.parametrize("which", ["contexts", "parts"])
def test_what_is_left_out_has_a_row_and_a_bar(tmp_path, little, which):
    flags = [f"--corpus={little}", f"--workdir={tmp_path / 'run'}", f"--ablate={which}"]
    done = call("chain", *flags, "--ablate_tokens=2000", "--preset=fast", *SMALL, "--sets=one,kind,depth")
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "run")
    names = [row["row"].removeprefix("chain, fast, without ") for row in rows]
    assert names[0] == "all"
    expected = ["node: no field", "node: token1", "node: token1 token2", "node: token2"]
    parts = ["field: token1", "field: token2", "weight set: kind", "weight set: depth", "tree: clustered"]
    parts += ["tree: spelling"]
    assert names[1:] == (expected if which == "contexts" else parts)
    for row in rows[1:]:
        assert row["nats"] - row["worth"] == pytest.approx(rows[0]["nats"])
        assert row["kind"] == "online"
    assert all(row["error"] > 0 for row in rows[1:4])
    assert (tmp_path / "run" / f"worth_of_{which}.png").read_bytes().startswith(b"\x89PNG")


def test_compress_a_file_and_back(tmp_path, corpus):
    source, packed, back = (tmp_path / x for x in ("source", "packed", "back"))
    source.write_bytes(corpus.read_bytes()[:6000])
    done = call("compress", f"--input={source}", f"--output={packed}")
    assert done.returncode == 0, done.stderr
    assert "bits a byte" in done.stdout
    assert packed.stat().st_size < 0.5 * 6000
    done = call("compress", "--decompress", f"--input={packed}", f"--output={back}")
    assert done.returncode == 0, done.stderr
    assert back.read_bytes() == source.read_bytes()
    again = call("compress", f"--input={source}", f"--output={packed}")
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_a_compressed_file_is_as_long_as_the_model_says(tmp_path, corpus):
    data = corpus.read_bytes()[:12000]
    packed, bits = archive.encode(data)
    assert len(packed) * 8 == pytest.approx(bits, rel=0.01, abs=8 * 48)
    assert len(packed) * 8 > bits
    broken = bytearray(packed)
    broken[-2] ^= 1
    for damaged in (bytes(broken), packed[:-4], packed[:10], b"PK" + packed[2:], b""):
        source, back = tmp_path / "broken", tmp_path / "back"
        source.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"damaged|not compressed by"):
            archive.decompress(damaged)
    done = call("compress", "--decompress", f"--input={source}", f"--output={back}")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not back.exists()


@pytest.mark.parametrize(
    ("module", "flags", "words"),
    [
        ("chain", ["--preset=both"], "--preset has no 'both': choose from static, static_in_context"),
        ("chain", ["--preset=fast,fast"], "--preset=fast,fast names a model twice: give each once"),
        (
            "chain",
            ["--preset=two_trees", "--ablate=parts"],
            "--ablate takes one model apart, not the mixture",
        ),
        ("chain", ["--ablate=parts", "--ablate_tokens=7"], "ablate_tokens=7 is out of range"),
        ("chain", ["--memory_mib=0"], "memory_mib=0 is out of range: give a whole number of at least 1"),
        (
            "chain",
            ["--readout_rate=inf"],
            "readout_rate=inf is out of range: give a finite number above 0 and at most 1",
        ),
        ("chain", ["--readout_rate=1e38"], "readout_rate=1e+38 is out of range"),
        ("chain", ["--seed=9223372036854775808"], "seed=9223372036854775808 is out of range: give"),
        ("chain", ["--readout_rate=nan"], "readout_rate=nan is out of range: give a finite number above 0"),
        ("chain", ["--curve_points=-1"], "curve_points=-1 is out of range"),
        ("generate", ["--checkpoint=x", "--temperature=nan"], "temperature=nan is out of range: give a"),
        ("generate", ["--checkpoint=x", "--temperature=inf"], "temperature=inf is out of range: give a"),
        ("generate", ["--checkpoint=x", "--tokens=0"], "tokens=0 is out of range: give a whole number"),
        ("chain", ["--without=token9"], "is not a field or view"),
        ("chain", ["--corpus=/nowhere"], "cannot read the corpus"),
        ("generate", [], "--checkpoint is needed: name"),
        ("generate", ["--checkpoint=/nowhere"], "is not a wnn_jax checkpoint"),
        ("compress", ["--input=/nowhere"], "--input and --output are needed"),
        ("compress", ["--input=/nowhere", "--output=x"], "cannot read /nowhere"),
    ],
)
def test_bad_input_is_one_line(tmp_path, module, flags, words):
    where = [f"--workdir={tmp_path}"] if module == "chain" else []
    done = call(module, *flags, *where, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("mode", ["static", "fast", "two_trees"])
def test_killed_and_run_again_ends_with_the_same_numbers(tmp_path, mode):
    flags = [
        f"--preset={mode}",
        "--memory_mib=40",
        "--chunk=8192",
        "--save_every=4",
        "--readout_tokens=40000",
    ]
    calm = run("chain", *flags, f"--workdir={tmp_path / 'calm'}")
    assert calm.returncode == 0, calm.stderr
    flags += [f"--workdir={tmp_path / 'run'}", f"--resume={tmp_path / 'progress'}"]
    command = [sys.executable, "-m", "experiments.chain", *flags]
    killed = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    steps, deadline = (
        tmp_path / "progress" / mode / ("first" if mode == "two_trees" else "") / "steps",
        time.monotonic() + 120,
    )
    while not (steps.exists() and any(x.name.isdecimal() for x in steps.iterdir())):
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert (
        not (tmp_path / "run" / "results.jsonl").exists()
        or f"chain, {mode.replace('_', ' ')}" not in (tmp_path / "run" / "results.jsonl").read_text()
    )
    again = run("chain", *flags)
    assert again.returncode == 0, again.stderr
    assert rows_of(tmp_path / "run")[-1]["ce"] == rows_of(tmp_path / "calm")[-1]["ce"]
    other = run("chain", *flags, "--rare=7")
    assert other.returncode == 2
    assert "progress of other work" in other.stderr


@pytest.mark.long
def test_forgetting_end_to_end(tmp_path, corpus):
    flags = [
        f"--corpus={corpus}",
        f"--workdir={tmp_path}",
        "--document_tokens=1500",
        "--tested=300",
        *SMALL[:1],
        *SMALL[2:],
    ]
    done = call("forgetting", *flags, "--transformer_epochs=1", "--ascent_steps=2")
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in rows_of(tmp_path)}
    before, after, never = (rows[f"chain, {x}"] for x in ("before", "after forgetting", "never saw it"))
    assert (after["nats_of_code"], after["ce"]) == (never["nats_of_code"], never["ce"])
    assert before["nats_of_code"] < after["nats_of_code"]
    assert rows["Kneser-Ney 5, before"]["nats_of_code"] < rows["Kneser-Ney 5, never saw it"]["nats_of_code"]
    assert {"transformer, before", "transformer, gradient ascent", "unigram, before"} < set(rows)
    refused = call("forgetting", f"--corpus={corpus}", f"--workdir={tmp_path}", "--document_tokens=99999999")
    assert refused.returncode == 2
    assert "document_tokens=99999999 is out of range" in refused.stderr


@pytest.mark.long
def test_the_benchmark_forgets_and_reads_with_two_threads(monkeypatch, capsys):
    whole = text.load(text.TextConfig(corpus="builtin", tokenizer="bpe:1024"))
    monkeypatch.setattr(timed.text, "load", lambda _: whole._replace(train=whole.train[:60_000]))
    monkeypatch.setattr(timed, "_MEMORY", 64)
    monkeypatch.setenv("WNN_JAX_THREADS", "1")
    found = {case: timed.run(0, *case.split(":")[1:3]) for case in timed.planned()[:2]}
    found[timed.planned()[2]] = timed.run(0, "forget", "4000")
    assert all(numbers["tokens_per_second"] > 0 for numbers in list(found.values())[:2])
    forgotten = found[timed.planned()[2]]
    assert forgotten["counted_tokens"] == 56_000
    assert 0 < forgotten["seconds"] < forgotten["recount_seconds"]
    timed.show(found)
    assert "a document of 4,000 tokens is forgotten in" in capsys.readouterr().out
