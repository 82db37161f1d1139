"""Corpora in shards: documents, their split, resuming, damage, and chain models that read them."""

import dataclasses
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import hypothesis
import jax
import numpy as np
import pytest
from commands import call, rows_of
from hypothesis import strategies as st

from wnn_jax import chain
from wnn_jax.chain import tokentree
from wnn_jax.data import documents, sharding, shards, text, tokens
from wnn_jax.data.documents import SourceConfig
from wnn_jax.data.shards import ShardConfig
from wnn_jax.data.tokens import Stored, Tokens
from wnn_jax.saving.progress import digest

LICENCE = "this line stands in every document, whatever it is about"
SHARES = {"test_share": 0.2, "validation_share": 0.1}


def texts():
    rng = np.random.default_rng(0)
    words = np.array(["tables", "read", "bits", "and", "write", "cells.", "of", "é"])
    drawn = [" ".join(rng.choice(words, rng.integers(5, 60))) for _ in range(60)]
    return [*(f"{x}\n{LICENCE}\nend {i}" for i, x in enumerate(drawn)), "", "   "]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": x, "other": 1}) + "\n" for x in texts()))
    return path


def config_of(path, **changes):
    settings = {"tokenizer": "bytes", "shard_tokens": 2000, **SHARES}
    return ShardConfig(SourceConfig((str(path),)), **(settings | changes))


@pytest.fixture(scope="module")
def made(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "shards"
    sharding.write(folder, config_of(rows))
    return folder


def contents(folder):
    files = sorted(x for x in pathlib.Path(folder).rglob("*") if x.is_file() and x.name != ".lock")
    return {str(x.relative_to(folder)): x.read_bytes() for x in files}


def spelled(corpus, ids):
    return b"".join(corpus.pieces[i] for i in np.asarray(ids)).decode()


@hypothesis.given(st.lists(st.lists(st.integers(0, 60_000), max_size=5), max_size=6), st.data())
def test_tokens_are_an_array_of_their_parts(tmp_path_factory, parts, data):
    folder, held = tmp_path_factory.mktemp("ids"), []
    for i, part in enumerate(parts):
        if i % 2:
            (folder / str(i)).write_bytes(np.array(part, "<u2").tobytes())
            held.append(Stored(folder / str(i), len(part), "<u2"))
        else:
            held.append(np.array(part, np.int64))
    ids, whole = Tokens(held), np.array([x for part in parts for x in part], np.int32)
    begin, end = (data.draw(st.integers(-2, len(whole) + 2)) for _ in range(2))
    assert len(ids) == len(whole)
    assert ids[begin:end].dtype == np.int32
    np.testing.assert_array_equal(ids[begin:end], whole[begin:end])
    np.testing.assert_array_equal(ids, whole)
    np.testing.assert_array_equal(Tokens.of(ids, whole), np.concatenate([whole, whole]))
    cut = data.draw(st.integers(0, len(whole)))
    np.testing.assert_array_equal(ids.first(cut), whole[:cut])
    assert ids.digest == digest(whole)


def test_a_split_cuts_no_document_and_shares_no_line(made):
    corpus = shards.read(made)
    parts = {name: [] for name in documents.SPLITS}
    for x in texts():
        if x.strip():
            parts[documents.split_of(x, 0.2, 0.1)].append(x + "\n\n")
    # The line that all documents share is held-out text, so no training document keeps it.
    train = "".join(x.replace(LICENCE + "\n", "") for x in parts["train"])
    assert spelled(corpus, corpus.train) == train
    assert spelled(corpus, corpus.validation) == "".join(parts["validation"])
    assert spelled(corpus, corpus.test) == "".join(parts["test"])
    totals = shards.about(made)["totals"]
    assert totals["dropped"] == {"lines": len(parts["train"]), "documents": 0, "empty": 2}
    for name, said in (("train", train), ("test", "".join(parts["test"]))):
        sizes = len(getattr(corpus, name)), len(said.encode()), len(said.split()), len(parts[name])
        assert tuple(totals[name].values()) == sizes
    assert len(list(made.glob("shard_*"))) > 2


def test_the_words_of_a_document_decide_its_split():
    assert documents.split_of("a  b\nc", 0.5, 0.2) == documents.split_of("a b c", 0.5, 0.2)
    found = [documents.split_of(f"document {i}", 0.2, 0.1) for i in range(2000)]
    for name, share in (("test", 0.2), ("validation", 0.1), ("train", 0.7)):
        assert found.count(name) / 2000 == pytest.approx(share, abs=0.04)


def test_every_form_of_documents_gives_the_same_ids(rows, made, tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="Parquet is read with pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"text": texts()}), tmp_path / "rows.parquet")
    wanted = shards.read(made)
    found = sharding.write(tmp_path / "a", config_of(tmp_path / "rows.parquet"))
    for name in documents.SPLITS:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    (tmp_path / "lines.txt").write_text("".join(x.replace("\n", " ") + "\n" for x in texts()))
    by_line = SourceConfig((str(tmp_path / "lines.txt"),), documents="line")
    found = sharding.write(tmp_path / "b", dataclasses.replace(config_of(rows), source=by_line))
    assert (
        spelled(found, found.test).count("\n") == shards.about(tmp_path / "b")["totals"]["test"]["documents"]
    )


def test_datasets_stream_local_files(rows, made, tmp_path, monkeypatch):
    pytest.importorskip("datasets", reason="streams are read with datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    (tmp_path / "set").mkdir()
    shutil.copy(rows, tmp_path / "set" / "train.jsonl")
    config = config_of(f"datasets:{tmp_path / 'set'}")
    stopped_at(tmp_path / "out", config, 2)
    found, wanted = sharding.write(tmp_path / "out", config), shards.read(made)
    for name in documents.SPLITS:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    other = dataclasses.replace(config, source=dataclasses.replace(config.source, field="body"))
    with pytest.raises(ValueError, match=r"no text in the field 'body': its fields are text, other"):
        sharding.write(tmp_path / "no", other)


class Stopped(Exception):
    """Stands for a kill."""


def stopped_at(folder, config, number):
    def stop(step):
        if step.stage == "tokenizing" and len(list(folder.glob("shard_*"))) == number:
            raise Stopped

    with pytest.raises(Stopped):
        sharding.write(folder, config, stop)


@pytest.mark.parametrize("number", [1, 3])
def test_interrupted_work_ends_with_the_same_folder(rows, made, tmp_path, number):
    stopped_at(tmp_path / "shards", config_of(rows), number)
    with pytest.raises(ValueError, match="not finished"):
        shards.read(tmp_path / "shards")
    (tmp_path / "shards" / ".left.partial").mkdir()
    sharding.write(tmp_path / "shards", config_of(rows))
    assert contents(tmp_path / "shards") == contents(made)


def test_a_removed_shard_is_made_again(rows, made, tmp_path):
    folder = shutil.copytree(made, tmp_path / "shards")
    shutil.rmtree(folder / shards.shard_name(1))
    with pytest.raises(ValueError, match="shard_000001"):
        shards.read(folder)
    sharding.write(folder, config_of(rows))
    assert contents(folder) == contents(made)


def test_damage_is_named(rows, made, tmp_path):
    folder = shutil.copytree(made, tmp_path / "shards")
    for name, data in contents(folder).items():
        if not data:
            continue
        for damage in (data[:-1], data[:-1] + bytes([data[-1] ^ 1])):
            (folder / name).write_bytes(damage)
            part = name.split("/")[0]
            if part not in ("begun.sealed", "held_out.sealed"):
                with pytest.raises(ValueError, match=part):
                    shards.read(folder)
            if part != "index.sealed":  # which is made again
                with pytest.raises(ValueError, match=part):
                    sharding.write(folder, config_of(rows))
        (folder / name).write_bytes(data)
    shards.read(folder)


def test_a_file_that_shrinks_later_is_named(made, tmp_path):
    corpus = shards.read(shutil.copytree(made, tmp_path / "shards"))
    (tmp_path / "shards" / "shard_000000" / "train.bin").write_bytes(b"12")
    with pytest.raises(ValueError, match=r"shard_000000/train\.bin: it has become shorter"):
        corpus.train[:]


def test_clear_errors(rows, made, tmp_path):
    def fails(message, change, folder="new"):
        with pytest.raises(ValueError, match=message):
            sharding.write(tmp_path / folder, change())

    fails("names no file", ShardConfig)
    fails("has no file", lambda: config_of(tmp_path / "nothing"))
    fails("must be below 1", lambda: config_of(rows, test_share=0.9, validation_share=0.2))
    fails("loses text", lambda: config_of(rows, tokenizer="sp:model"))
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\n{"text": 3}\n')
    fails(r"line 2 of .*bad.jsonl has no text", lambda: config_of(tmp_path / "bad.jsonl"), "bad")
    (tmp_path / "bad.txt").write_bytes(b"a\xff")
    fails(r"bad.txt is not UTF-8: byte 0xff at offset 1", lambda: config_of(tmp_path / "bad.txt"), "bad2")
    fails("the test split has none", lambda: config_of(rows, test_share=1e-9), "few")
    with pytest.raises(ValueError, match="made with other settings"):
        sharding.write(made, config_of(rows, tokenizer="gpt2"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    fails("holds no shards", lambda: config_of(rows), "full")
    with pytest.raises(ValueError, match="hold ids of bytes, not of gpt2"):
        text.load(text.TextConfig(str(made), "gpt2"))


def test_shared_blocks_are_refused_or_dropped(tmp_path):
    rng = np.random.default_rng(1)
    block = "\n".join("".join(rng.choice(list("abcdef "), 30)) for _ in range(80))
    for i in range(20):
        (tmp_path / f"{i:02}.txt").write_text(f"number {i}\n{block if i < 10 else ''}")
    with pytest.raises(ValueError, match="is training text and shares a block of 1024 bytes"):
        sharding.write(tmp_path / "a", config_of(tmp_path, overlap="refuse"))
    kept = sharding.write(tmp_path / "b", config_of(tmp_path))
    dropped = shards.about(tmp_path / "b")["totals"]["dropped"]
    assert dropped["documents"] > 0
    assert block[:1100] not in spelled(kept, kept.train)
    assert block in spelled(kept, kept.test) + spelled(kept, kept.validation)


def test_a_tokenizer_learns_from_the_training_documents(rows, tmp_path):
    pytest.importorskip("tokenizers", reason="bpe is learnt by tokenizers")
    made = sharding.write(tmp_path / "shards", config_of(rows, tokenizer="bpe:300"))
    assert made.vocabulary == 300
    again = shards.read(tmp_path / "shards")
    assert again.tokenizer.digest == made.tokenizer.digest
    assert LICENCE not in spelled(again, again.train)


def test_other_commands_take_a_folder_of_shards_or_of_documents(made, tmp_path):
    loaded, stored = text.load(text.TextConfig(str(made), train_tokens=1000)), shards.read(made)
    np.testing.assert_array_equal(loaded.train, stored.train[:1000])
    np.testing.assert_array_equal(loaded.test, stored.test)
    assert text.count_words(stored, stored.test[:]) == shards.about(made)["totals"]["test"]["words"]
    for i in range(40):
        (tmp_path / f"{i}.py").write_text(f"x = {i}\n")
    found = text.load(text.TextConfig(f"{tmp_path}/*.py"))
    assert b"".join(found.pieces[i] for i in found.train).count(b"x = ") > 20
    assert len(found.test) > 0


@pytest.fixture
def small_windows(monkeypatch):
    for module in (tokens, tokentree):
        monkeypatch.setattr(module, "WINDOW", 37)


@pytest.mark.usefixtures("small_windows")
def test_a_tree_of_windows_is_the_tree_of_the_whole_text(monkeypatch):
    rng = np.random.default_rng(2)
    train = rng.zipf(1.5, 999) % 40
    pieces = [b"%d" % i for i in range(40)]
    windowed = tokentree.clustered(train, pieces, 4)
    monkeypatch.setattr(tokentree, "WINDOW", 1 << 20)
    for mine, whole in zip(windowed, tokentree.clustered(train, pieces, 4), strict=True):
        np.testing.assert_array_equal(mine, whole)


QUICK = chain.ChainConfig(
    neurons=chain.BYTES, memory_mib=6, chunk=512, readout=chain.ReadoutConfig(folds=3, tokens=600, epochs=1)
)
MODELS = {
    "online": dataclasses.replace(QUICK, mode="online"),
    "static": QUICK,
    "mixture": chain.MixtureConfig(*[dataclasses.replace(QUICK, mode="online")] * 2),
}


def both_ways(folder):
    """Return the beginning of a corpus on the disk, and the same in memory."""
    stored = shards.read(folder)
    stored = stored._replace(train=stored.train.first(1500), test=stored.test.first(300))
    return stored, text.in_memory(stored)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("kind", MODELS)
def test_a_model_of_shards_is_the_model_of_the_text_in_memory(made, kind):
    stored, held = both_ways(made)
    key = jax.random.key(0)
    ours, theirs = (chain.evaluate(key, MODELS[kind], corpus) for corpus in (stored, held))
    np.testing.assert_array_equal(ours.nats, theirs.nats)
    for mine, whole in zip(jax.tree.leaves(ours.model), jax.tree.leaves(theirs.model), strict=True):
        np.testing.assert_array_equal(mine, whole)


def test_a_run_on_the_disk_goes_on_in_memory(made, tmp_path):
    (stored, held), key = both_ways(made), jax.random.key(0)
    whole = chain.evaluate(key, MODELS["online"], held)

    def stop(step):
        if step.done > 1000:
            raise Stopped

    how = {"resume": tmp_path, "save_every": 1}
    with pytest.raises(Stopped):
        chain.evaluate(key, MODELS["online"], stored, **how, on_step=stop)
    seen = []
    done = chain.evaluate(key, MODELS["online"], held, **how, on_step=seen.append)
    assert seen[0].done > 1000
    np.testing.assert_array_equal(done.nats, whole.nats)
    with pytest.raises(ValueError, match="other work, which differs in network, train"):
        chain.evaluate(key, MODELS["online"], stored._replace(train=stored.train.first(1400)), **how)


def test_ids_outside_the_vocabulary_are_refused(made):
    stored = shards.read(made)
    wrong = stored._replace(train=Tokens.of(stored.train, np.array([300])))
    network = chain.build(MODELS["online"], stored)
    with pytest.raises(ValueError, match=f"token 300 at place {len(stored.train)} is outside the 256 ids"):
        chain.evaluate(jax.random.key(0), MODELS["online"], wrong, network=network)


def test_the_commands_make_shards_and_read_them(rows, tmp_path):
    flags = [f"--source={rows}", "--tokenizer=bytes", "--test_share=0.2", f"--folder={tmp_path / 'out'}"]
    done = call("shards", *flags, "--shard_tokens=3000")
    assert done.returncode == 0, done.stderr
    totals = shards.about(tmp_path / "out")["totals"]
    for name in documents.SPLITS:
        line = next(line for line in done.stdout.splitlines() if line.startswith(name))
        sizes = [int(x.replace(",", "")) for x in line.split()[1:]]
        assert sizes == [totals[name][key] for key in ("documents", "words", "bytes", "tokens")]
    quick = ["--memory_mib=4", "--chunk=500", "--neurons=node,node token1", "--noaccuracy", "--preset=fast"]
    corpus = [f"--corpus={tmp_path / 'out'}", "--train_tokens=2000"]
    for name, more in (("stored", ["--nokneser_ney"]), ("held", [])):
        read = call("chain", *corpus, *quick, *more, f"--workdir={tmp_path / name}")
        assert read.returncode == 0, read.stderr
    stored, held = ({row["row"]: row for row in rows_of(tmp_path / name)} for name in ("stored", "held"))
    assert {"uniform", "unigram (add 0.1)", "chain, fast"} == set(stored) < set(held)
    for name in stored:
        assert stored[name]["ce"] == held[name]["ce"]
        words = totals["test"]["words"]
        sum_of_nats = held[name]["ce"] * totals["test"]["tokens"]
        assert held[name]["word_ppl"] == pytest.approx(np.exp(sum_of_nats / words))
    bad = call("shards", "--folder=x")
    assert bad.returncode == 2
    assert "--source names no file" in bad.stderr


def child(*arguments):
    script = pathlib.Path(__file__).with_name("shards_memory.py")
    return subprocess.Popen([sys.executable, str(script), *map(str, arguments)], stderr=subprocess.PIPE)


def until(process, ready):
    """Wait until something is there, which a process makes, or until the process ends."""
    while process.poll() is None and not ready():
        time.sleep(0.02)
    return process.poll() is None


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the limit counts what Linux counts")
def test_a_corpus_larger_than_its_memory_is_trained_killed_and_resumed(tmp_path):
    rng = np.random.default_rng(0)
    words = np.array(["tables", "read", "bits", "and", "write", "cells.", "of", "trees,", "then"])
    source, folder, limit = tmp_path / "rows.jsonl", tmp_path / "shards", 256
    with source.open("w") as file:
        for i in range(400):
            file.write(json.dumps({"text": f"{i} " + " ".join(rng.choice(words, 6000))}) + "\n")
    config = config_of(source, test_share=0.02, validation_share=0, shard_tokens=1 << 19)
    corpus = sharding.write(folder, config)
    assert len(corpus.train) > 12_000_000
    working = child(folder, tmp_path / "resume", tmp_path / "stored.npy", limit, "stored")
    assert until(working, (tmp_path / "resume" / "steps" / "2").exists), working.stderr.read().decode()
    working.send_signal(signal.SIGKILL)
    working.wait()
    shutil.copytree(tmp_path / "resume", tmp_path / "held")
    # The same ids in memory do not fit into the limit. Short texts show that both give the same bits.
    held = child(folder, tmp_path / "held", tmp_path / "held.npy", limit, "held")
    assert held.wait() != 0
    assert re.search("allocate|bad_alloc|RESOURCE_EXHAUSTED", held.stderr.read().decode())
    again = child(folder, tmp_path / "resume", tmp_path / "stored.npy", limit, "stored")
    assert again.wait() == 0, again.stderr.read().decode()
    assert np.isfinite(np.load(tmp_path / "stored.npy")).sum() == len(corpus.test)


def test_making_shards_survives_a_kill(rows, made, tmp_path):
    flags = [f"--source={rows}", "--tokenizer=bytes", "--test_share=0.2", "--validation_share=0.1"]
    command = [sys.executable, "-m", "experiments.shards", *flags, "--shard_tokens=2000"]
    command.append(f"--folder={tmp_path / 'out'}")
    working = subprocess.Popen(command, stderr=subprocess.PIPE)
    until(working, (tmp_path / "out" / shards.shard_name(0)).exists)
    working.send_signal(signal.SIGKILL)
    working.wait()
    sharding.write(tmp_path / "out", config_of(rows))
    assert contents(tmp_path / "out") == contents(made)
