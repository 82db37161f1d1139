"""Corpora, tokenizers and splits, and every way in which they can be wrong."""

import numpy as np
import pytest

from wnn_jax.data import overlap, text


def words(seed, count=3000):
    rng = np.random.default_rng(seed)
    return " ".join(rng.choice(["über", "tables", "of", "bits\n", "read", "as", "text.\n"], count))


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "corpus.txt"
    file.write_bytes(words(0).encode())
    return file


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:300"])
def test_tokens_are_lossless_and_split_in_order(path, tokenizer):
    corpus = text.load(text.TextConfig(str(path), tokenizer))
    data = path.read_bytes()
    sizes = [corpus.token_bytes[x].sum() for x in (corpus.train, corpus.validation, corpus.test)]
    assert sum(sizes) == len(data)
    np.testing.assert_allclose(np.array(sizes) / len(data), [0.8, 0.1, 0.1], atol=0.01)
    assert data[sizes[0] - 1] == data[sizes[0] + sizes[1] - 1] == 10, "splits end with a line"
    if tokenizer == "bytes":
        joined = np.concatenate([corpus.train, corpus.validation, corpus.test])
        assert bytes(joined.astype(np.uint8)) == data
    assert corpus.vocabulary == len(corpus.token_bytes)
    assert corpus.vocabulary == 256 or (tokenizer == "bpe:300" and 256 < corpus.vocabulary <= 300)


def test_bpe_is_learnt_from_training_text_only(path):
    """Another held-out text changes neither the tokenizer nor the training ids."""
    before = text.load(text.TextConfig(str(path), "bpe:400"))
    data = path.read_text().splitlines(keepends=True)
    cut = len("".join(data)) * 85 // 100
    kept, size = [], 0
    for line in data:
        size += len(line)
        kept.append(line if size < cut else line.replace("tables", "TABLEZ"))
    path.write_text("".join(kept))
    after = text.load(text.TextConfig(str(path), "bpe:400"))
    np.testing.assert_array_equal(before.train, after.train)
    np.testing.assert_array_equal(before.token_bytes, after.token_bytes)
    assert len(after.test) > len(before.test), "the tokenizer must not know the new word"


def test_a_cut_stream(path):
    corpus = text.load(text.TextConfig(str(path), "bytes", train_tokens=5000))
    assert len(corpus.train) == 5000
    assert bytes(np.r_[corpus.train, corpus.test].astype(np.uint8)) == path.read_bytes()
    assert not len(corpus.validation)


def test_an_evaluation_text_of_its_own(path, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text(words(1))
    corpus = text.load(text.TextConfig(str(path), "bytes", eval_corpus=str(other), train_tokens=100))
    assert bytes(corpus.train.astype(np.uint8)) == path.read_bytes()[:100]
    assert bytes(corpus.test.astype(np.uint8)) == other.read_bytes()


def test_the_builtin_corpus_repeats_no_paragraph():
    corpus = text.load()
    stream = np.concatenate([corpus.train, corpus.validation, corpus.test]).astype(np.uint8)
    paragraphs = [" ".join(x.split()) for x in bytes(stream).decode().split("\n\n")]
    assert len(paragraphs) > 1000
    assert len(set(paragraphs)) == len(paragraphs)
    assert len(corpus.train) > 250_000


def test_the_cache_is_used_and_a_damaged_one_is_replaced(path, tmp_path, monkeypatch):
    monkeypatch.setenv("WNN_JAX_CACHE", str(tmp_path / "cache"))
    first = text.load(text.TextConfig(str(path), "bpe:300"))
    files = sorted((tmp_path / "cache").iterdir())
    assert len(files) == 4, "a tokenizer and three splits, and no temporary file"
    stamps = [x.stat().st_mtime_ns for x in files]
    text.load(text.TextConfig(str(path), "bpe:300"))
    assert [x.stat().st_mtime_ns for x in files] == stamps
    for file in files:
        file.write_bytes(file.read_bytes()[:20])
    again = text.load(text.TextConfig(str(path), "bpe:300"))
    np.testing.assert_array_equal(first.train, again.train)


def test_the_work_goes_on_where_no_cache_can_be_written(path, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("WNN_JAX_CACHE", str(tmp_path / "file" / "cache"))
    assert len(text.load(text.TextConfig(str(path), "bytes")).train)


def test_overlapping_splits_are_refused(path, tmp_path):
    with pytest.raises(ValueError, match="the test text overlaps the training text"):
        text.load(text.TextConfig(str(path), "bytes", eval_corpus=str(path)))
    part = tmp_path / "part.txt"
    part.write_bytes(words(2).encode() + path.read_bytes()[3000:6000])
    with pytest.raises(ValueError, match=r"overlaps .* blocks of 1024 bytes"):
        text.load(text.TextConfig(str(path), "bytes", eval_corpus=str(part)))
    twice = tmp_path / "twice.txt"
    twice.write_bytes(path.read_bytes() * 2)
    with pytest.raises(ValueError, match="overlaps"):
        text.load(text.TextConfig(str(twice), "bytes", train_tokens=path.stat().st_size))
    short = tmp_path / "short.txt"
    short.write_bytes(path.read_bytes()[100:400])
    with pytest.raises(ValueError, match="overlaps"):
        text.load(text.TextConfig(str(path), "bytes", eval_corpus=str(short)))


def test_window_hashes_find_every_place():
    data = bytes(np.random.default_rng(0).integers(256, size=500, dtype=np.uint8))
    for size in (1, 2, 3, 100, 493):
        hashes = overlap.window_hashes(data, size)
        assert len(hashes) == 500 - size + 1
        assert np.array_equal(overlap.window_hashes(data[7 : 7 + size], size)[:1], hashes[7:8])


def test_clear_errors(path, tmp_path):
    def fails(message, *args, **kwargs):
        with pytest.raises(ValueError, match=message):
            text.load(text.TextConfig(*args, **kwargs))

    fails("cannot read the corpus .*nowhere.txt: No such file", str(tmp_path / "nowhere.txt"))
    fails("has [0-9]+ documents, too few to split them 80/10/10", str(tmp_path))
    fails("cannot read the corpus .*: Is a directory", "builtin", eval_corpus=str(tmp_path))
    empty = tmp_path / "empty.txt"
    empty.write_bytes(b" \n")
    fails("empty.txt is empty", str(empty))
    broken = tmp_path / "broken.txt"
    broken.write_bytes(b"first line\nsecond \xff line\n")
    fails(r"not UTF-8: byte 0xff at offset 18 \(line 2\)", str(broken))
    short = tmp_path / "short.txt"
    short.write_bytes(b"one\ntwo\n")
    fails("too short to split 80/10/10", str(short))
    fails("unknown tokenizer 'word'", str(path), "word")
    fails("SIZE at least 256", str(path), "bpe:100")
    fails(
        "train_tokens=0 is out of range: give a whole number of at least 1",
        str(path),
        "bytes",
        train_tokens=0,
    )
    fails("leaves nothing to test on", str(path), "bytes", train_tokens=10**6)
    fails("cannot cut a stream for bpe:300", str(path), "bpe:300", train_tokens=100)


def test_downloads_that_fail_say_which_files_to_bring(monkeypatch, path):
    import datasets
    import tiktoken

    def offline(*_args, **_kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.delenv("WNN_JAX_DATA", raising=False)
    monkeypatch.setattr(datasets, "load_dataset", offline)
    monkeypatch.setattr(tiktoken, "get_encoding", offline)
    with pytest.raises(ValueError, match=r"wiki.train.raw, wiki.test.raw .* WNN_JAX_DATA"):
        text.load(text.TextConfig("wikitext2", "bytes"))
    with pytest.raises(ValueError, match=r"vocab.bpe.*encoder.json.* TIKTOKEN_CACHE_DIR"):
        text.load(text.TextConfig(str(path), "gpt2"))


def test_wikitext_rows_are_joined_as_the_predecessor_did(monkeypatch):
    import datasets

    rows = {name: {"text": ["", f" = {name} = \n", " a \n"]} for name in ("train", "validation", "test")}
    monkeypatch.delenv("WNN_JAX_DATA", raising=False)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: rows)
    corpus = text.load(text.TextConfig("wikitext2", "bytes"))
    assert bytes(corpus.train.astype(np.uint8)) == b"\n = train = \n\n a \n"
    assert bytes(corpus.test.astype(np.uint8)) == b"\n = test = \n\n a \n"
