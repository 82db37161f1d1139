"""SentencePiece ids, documents and bytes; token files, and every way in which they can be wrong."""

import io

import numpy as np
import pytest
import sentencepiece

from wnn_jax.data import overlap, text, tokenizers

WORDS = ["tables", "über", "of", "bits", "read", "as", "text"]


def documents(seed, count=60, length=50):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, length)) for _ in range(count)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Ids 0 <pad>, 1 <s>, 2 </s>, 3 <unk>, then the bytes, then pieces."""
    return write_model(tmp_path_factory.mktemp("model") / "tiny.model")


def write_model(path, lines=None, **settings):
    kept = io.BytesIO()
    defaults = {"vocab_size": 300, "pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "byte_fallback": True}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(documents(0) if lines is None else lines),
        model_writer=kept,
        minloglevel=2,
        **(defaults | {"model_type": "bpe"} | settings),
    )
    path.write_bytes(kept.getvalue())
    return path


@pytest.fixture
def sp(model):
    return f"sp:{model}"


@pytest.fixture
def stream(tmp_path):
    file = tmp_path / "stream.txt"
    file.write_text("\n \n\n".join(documents(1)) + "\n", "utf-8")
    return file


def write_bin(path, ids, magic=20240520, version=1, count=None):
    header = np.zeros(256, "<i4")
    header[:3] = magic, version, len(ids) if count is None else count
    path.write_bytes(header.tobytes() + np.asarray(ids, "<u2").tobytes())
    return str(path)


def write_npy(path, ids):
    np.save(path, ids)
    return str(path)


def everything(corpus):
    return np.concatenate([corpus.train, corpus.validation, corpus.test])


def total(corpus):
    ids = everything(corpus)
    return text.count_bytes(corpus, ids[1:], ids[:-1])


def test_every_document_is_encoded_alone_after_bos(model, sp):
    made = tokenizers.parse_tokenizer(sp)("")
    alone = sentencepiece.SentencePieceProcessor(model_file=str(model))
    parts = [" first  line\nsecond", "bits\r\nof", "über 😀"]
    ids = made.encode(f"\n\n{parts[0]}\n\n{parts[1]}\r\n\r\n \t\n{parts[2]}\n  \n")
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, [i for part in parts for i in [1, *alone.encode(part)]])
    assert not len(made.encode(" \n\n"))
    assert made.documents is not None
    assert made.documents.bos == 1


def test_the_bytes_of_a_token_by_hand(model, sp, stream):
    corpus = text.load(text.TextConfig(str(stream), sp))
    names = sentencepiece.SentencePieceProcessor(model_file=str(model))
    of, s, x20, xf0 = (names.piece_to_id(x) for x in ("▁of", "s", "<0x20>", "<0xF0>"))
    assert names.id_to_piece(of) == "▁of"
    umlaut = names.piece_to_id("ü")
    pad, bos, eos, unk = range(4)
    cases = [  # previous, token, bytes
        (of, bos, 0),
        (bos, of, 2),
        (of, of, 3),
        (pad, of, 2),
        (eos, of, 2),
        (unk, of, 3),  # an unknown id stands for characters, so the space after it is text
        (of, unk, len(" ⁇ ".encode())),
        (of, pad, 0),
        (xf0, of, 3),
        (bos, xf0, 1),
        (bos, x20, 1),
        (of, s, 1),
        (bos, s, 1),
        (of, umlaut, 2),
    ]
    previous, ids, sizes = np.transpose(cases)
    assert [text.count_bytes(corpus, ids[i : i + 1], previous[i : i + 1]) for i in range(len(ids))] == [
        *sizes
    ]
    assert text.count_bytes(corpus, ids, previous) == sizes.sum()
    assert [corpus.pieces[i] for i in (bos, unk, of, x20, xf0)] == [b"", b"", b" of", b" ", b"\xf0"]
    assert [len(piece) for piece in corpus.pieces] == [*corpus.token_bytes]
    with pytest.raises(ValueError, match="got 3 tokens and 2 tokens before them"):
        text.count_bytes(corpus, ids[:3], ids[:2])


def test_all_bytes_are_those_of_the_normalised_text(sp, stream):
    corpus = text.load(text.TextConfig(str(stream), sp))
    parts = stream.read_text("utf-8").split("\n \n\n")
    # Each split is a text by itself: a document that is cut becomes two, without a space between them.
    size = sum(len(" ".join(part.split()).encode()) for part in parts)
    cut = np.sum(everything(corpus) == 1) - len(parts)
    assert 0 <= cut <= 2
    assert total(corpus) == size - cut
    assert corpus.token_bytes[everything(corpus)].sum() == total(corpus) + len(parts) + cut


ODD = "a\x00b \ufeffÅ A\u030a 数\u2028\x85\r\n\t  \U0001f9d1\u200d\U0001f680 ﷽ ꙮ <|endoftext|> \ud7ff\uffff\n"


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:300", "gpt2"])
def test_other_tokenizers_decode_and_count_the_text_itself(request, stream, tmp_path, tokenizer):
    if tokenizer == "gpt2":
        request.getfixturevalue("gpt2")
    test = tmp_path / "odd.txt"
    test.write_bytes(ODD.encode() * 30)
    corpus = text.load(text.TextConfig(str(stream), tokenizer, str(test)))
    assert b"".join(corpus.pieces[i] for i in corpus.test) == test.read_bytes()
    assert text.count_first(corpus, len(corpus.test)) == len(test.read_bytes())
    assert text.count_bytes(corpus, corpus.test, corpus.test) == corpus.token_bytes[corpus.test].sum()
    with pytest.raises(ValueError, match=r"tokens\[0\]=-1 is out of range"):
        text.count_bytes(corpus, np.array([-1]), np.array([0]))


def decoded(model, content):
    """The bytes that SentencePiece decodes, by document; unknown ids are the characters of the text."""
    found = 0
    for part in content.split("\n\n"):
        spelled = model.encode(part, out_type=str)
        # decode leaves a space in an unknown piece as the mark that SentencePiece writes for it.
        said = model.decode(spelled).replace("\u2581", " ")
        added = said.startswith(" ") and model.is_unknown(model.piece_to_id(spelled[0]))
        found += len(said.encode()) - (added and not part.startswith(" "))
    return found


CODE = [f"{'    ' * (i % 4)}{WORDS[i % 7]} = {WORDS[i % 5]}({i})\n" for i in range(300)]
SPACED = {"remove_extra_whitespaces": False, "normalization_rule_name": "identity"}
MODELS = {
    "unigram": {"model_type": "unigram", "hard_vocab_limit": False},
    "character": {"model_type": "char"},
    "word": {"model_type": "word", "vocab_size": 240, "byte_fallback": False, "hard_vocab_limit": False},
    "no fallback": {"byte_fallback": False, "vocab_size": 60},
    "suffix": {"treat_whitespace_as_suffix": True},
    "spaces inside": {"split_by_whitespace": False},
    "runs of spaces": {**SPACED, "allow_whitespace_only_pieces": True},
    "symbols of spaces": {**SPACED, "user_defined_symbols": ["\u2581\u2581", "of bits"]},
    "no dummy": {"add_dummy_prefix": False},
    "nothing added": {**SPACED, "add_dummy_prefix": False},
}


@pytest.mark.parametrize("kind", MODELS)
def test_the_counted_bytes_are_the_decoded_bytes(tmp_path, stream, kind):
    """For each kind of model, on prose with unknown characters, and on code with runs of spaces."""
    file = write_model(tmp_path / "other.model", lines=[*documents(0), *CODE], **MODELS[kind])
    model = sentencepiece.SentencePieceProcessor(model_file=str(file))
    words = " ".join(documents(3)).split()
    for place in range(0, len(words), 9):
        words[place] = "Жук" if place % 2 else "日本 語"
    paragraphs = ["  ".join(words[i : i + 40]) for i in range(0, len(words), 40)]
    for content in ("\n\n".join(paragraphs), "".join(CODE)):
        path = tmp_path / "text.txt"
        path.write_text(content, "utf-8")
        corpus = text.load(text.TextConfig(str(stream), f"sp:{file}", eval_corpus=str(path)))
        ids = corpus.test
        size = decoded(model, content)
        assert text.count_first(corpus, len(ids)) == size
        # A run of the text is counted wherever it begins.
        counts = [text.count_first(corpus, n) for n in (1, 2, 50, 51, len(ids) - 1)]
        rests = [text.count_bytes(corpus, ids[n:], ids[n - 1 : -1]) for n in (1, 2, 50, 51, len(ids) - 1)]
        assert np.add(counts, rests).tolist() == [size] * 5
        assert counts == sorted(counts)


def test_equal_ids_of_other_unknown_characters_are_counted_by_their_place(tmp_path, stream):
    """Every document is BOS, a space and an unknown id; only its place says which characters that is."""
    file = write_model(tmp_path / "other.model", **MODELS["no fallback"])
    documents_of = [["é"], ["日本"], ["Жук語語"]]
    parts = ["\n\n".join((one * 40)[:40]) for one in documents_of]
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(parts), "utf-8")
    corpus = text.load(text.TextConfig(str(stream), f"sp:{file}", eval_corpus=str(path)))
    of_each = len(corpus.test) // 120
    sizes = np.repeat([len(one[0].encode()) for one in documents_of], 40)
    for count in (1, 39, 40, 80, 119, 120):
        assert text.count_first(corpus, of_each * count) == sizes[:count].sum()
    some = slice(of_each * 50, of_each * 90)
    run = corpus.test[some], np.r_[1, corpus.test[some][:-1]]
    assert text.count_bytes(corpus, *run, place=some.start) == sizes[50:90].sum()
    with pytest.raises(ValueError, match=r"stand at several places of the text.*: give their place"):
        text.count_bytes(corpus, *run)


@pytest.mark.parametrize("prefix", [True, False])
def test_a_stream_is_cut_at_a_token(tmp_path, stream, prefix):
    sp = f"sp:{write_model(tmp_path / 'other.model', add_dummy_prefix=prefix)}"
    made = tokenizers.parse_tokenizer(sp)("")
    stream.write_text("über  ﬁne 😀\nof text\n\n\n" + stream.read_text("utf-8") + " \n", "utf-8")
    content = stream.read_text("utf-8")
    ids = made.encode(content)
    corpus = text.load(text.TextConfig(str(stream), sp, train_tokens=100))
    np.testing.assert_array_equal(corpus.train, ids[:100])
    np.testing.assert_array_equal(corpus.test, ids[100:])
    assert made.prefix is not None
    places = [made.prefix(content, ids[:i]) for i in range(1, len(ids) + 1)]
    assert places == sorted(places)
    for i in np.flatnonzero((ids == 1) | (made.documents.first < made.documents.later)[ids])[1:200]:
        if ids[i - 1] != 1:  # the place before the first word belongs to the document before
            np.testing.assert_array_equal(made.encode(content[: places[i - 1]]), ids[:i])
    assert content[places[-1] :].strip() == ""


def test_lines_that_the_scored_text_repeats_are_dropped(sp, stream):
    content = stream.read_text("utf-8")
    stream.write_text(content + "\n\n" + content[:2000], "utf-8")
    tokens_of_train = len(tokenizers.parse_tokenizer(sp)("").encode(content))
    with pytest.raises(ValueError, match="overlaps"):
        text.load(text.TextConfig(str(stream), sp, train_tokens=tokens_of_train))
    corpus = text.load(text.TextConfig(str(stream), sp, train_tokens=tokens_of_train, overlap="drop"))
    assert 0 < len(corpus.train) < tokens_of_train
    assert corpus.train[0] == 1


def test_the_cache_gives_the_same_ids_and_knows_the_model(tmp_path, monkeypatch, model, stream):
    monkeypatch.setenv("WNN_JAX_CACHE", str(tmp_path / "cache"))

    def load(file):
        found = text.load(text.TextConfig(str(stream), f"sp:{file}", train_tokens=1000))
        return everything(found), len(list((tmp_path / "cache").iterdir()))

    first, files = load(model)
    assert files == 1
    copy = tmp_path / "copy.model"
    copy.write_bytes(model.read_bytes())
    again, files = load(copy)
    assert files == 1, "the same model elsewhere"
    np.testing.assert_array_equal(first, again)
    other, files = load(write_model(copy, vocab_size=280))
    assert files == 2
    assert len(other) > len(first)


def test_models_that_are_none(tmp_path, model, stream):
    def fails(message, name):
        with pytest.raises(ValueError, match=message):
            text.load(text.TextConfig(str(stream), f"sp:{name}"))

    fails("cannot read the SentencePiece model .*none.model: No such file", tmp_path / "none.model")
    fails("cannot read the SentencePiece model .*: Is a directory", tmp_path)
    damaged = tmp_path / "damaged.model"
    for data in (b"", b"no model", model.read_bytes()[:3000]):
        damaged.write_bytes(data)
        fails(rf"damaged.model \({len(data):,} bytes\) is not a SentencePiece model", damaged)
    fails("no BOS id", write_model(tmp_path / "bare.model", bos_id=-1))
    with pytest.raises(ValueError, match=r"unknown tokenizer 'sp:'.* or sp:PATH"):
        text.load(text.TextConfig(str(stream), "sp:"))


@pytest.mark.parametrize("form", ["npy", "bin"])
def test_token_files_come_back_and_split_at_documents(tmp_path, sp, stream, form):
    ids = tokenizers.parse_tokenizer(sp)("").encode(stream.read_text("utf-8"))
    name = {"npy": write_npy, "bin": write_bin}[form](tmp_path / f"ids.{form}", ids)
    corpus = text.load(text.TextConfig(name, sp))
    np.testing.assert_array_equal(everything(corpus), ids)
    assert corpus.train.dtype == corpus.test.dtype == np.int32
    parts = corpus.train, corpus.validation, corpus.test
    assert all(part[0] == 1 for part in parts)
    np.testing.assert_allclose([len(part) / len(ids) for part in parts], [0.8, 0.1, 0.1], atol=0.03)
    assert corpus.description == f"ids.{form} split 80/10/10; {sp}"
    corpus = text.load(text.TextConfig(name, sp, train_tokens=100))
    np.testing.assert_array_equal(corpus.train, ids[:100])
    np.testing.assert_array_equal(corpus.test, ids[100:])
    assert not len(corpus.validation)


def test_a_token_file_may_be_evaluated_on_another(tmp_path, sp):
    rng = np.random.default_rng(0)
    ids = rng.integers(4, 280, 3000)
    one, two = write_npy(tmp_path / "one.npy", ids[:2000]), write_bin(tmp_path / "two.bin", ids[2000:])
    corpus = text.load(text.TextConfig(one, sp, eval_corpus=two, train_tokens=1500))
    np.testing.assert_array_equal(corpus.train, ids[:1500])
    np.testing.assert_array_equal(corpus.test, ids[2000:])
    assert corpus.description == f"one.npy -> two.bin; {sp}"
    whole = text.load(text.TextConfig(one, sp))
    assert [len(whole.train), len(whole.validation)] == [1600, 200], "no documents: cut anywhere"
    with pytest.raises(ValueError, match=r"train_tokens=2001 is too many: .*one.npy has 2000 ids"):
        text.load(text.TextConfig(one, sp, eval_corpus=two, train_tokens=2001))
    with pytest.raises(ValueError, match="train_tokens=2000 is too many"):
        text.load(text.TextConfig(one, sp, train_tokens=2000))


def test_ids_that_were_trained_on_are_refused(tmp_path, sp, monkeypatch):
    monkeypatch.setattr(overlap, "_WINDOWS", 256)  # every place is checked, even where two parts meet
    rng = np.random.default_rng(0)
    train, test = (rng.integers(4, 280, size) for size in (4000, 2000))
    file = write_npy(tmp_path / "train.npy", train)
    for start in (0, 255, 256, 1001, 4000 - 512):
        test[512:1024] = train[start : start + 512]
        other = write_npy(tmp_path / "test.npy", test)
        message = "the test text overlaps .* 1 of its 3 blocks of 512 ids .* first at id 512"
        with pytest.raises(ValueError, match=message):
            text.load(text.TextConfig(file, sp, eval_corpus=other))
        test[700] = test[700] % 279 + 1
        text.load(text.TextConfig(file, sp, eval_corpus=write_npy(tmp_path / "test.npy", test)))


def test_token_files_that_are_none(tmp_path, sp, stream):
    def fails(message, name, tokenizer=sp, **kwargs):
        with pytest.raises(ValueError, match=message) as error:
            text.load(text.TextConfig(str(name), tokenizer, **kwargs))
        assert "\n" not in str(error.value)

    def npy(ids):
        return write_npy(tmp_path / "bad.npy", ids)

    good = write_npy(tmp_path / "good.npy", np.arange(1000) % 299 + 1)
    for tokenizer in ("gpt2", "bytes", "bpe:300"):
        fails(f"good.npy needs the sp tokenizer it was made with, not {tokenizer}", good, tokenizer)
    fails("stream.txt is not a token file: give two token files, or two texts", good, eval_corpus=str(stream))
    fails("stream.txt is not a token file", stream, eval_corpus=good)
    fails("overlap=drop removes lines from a text", good, overlap="drop")
    fails("cannot read the token file .*none.npy: No such file", tmp_path / "none.npy")
    (tmp_path / "folder.bin").mkdir()
    fails("cannot read the token file .*folder.bin: Is a directory", tmp_path / "folder.bin")

    outside = r"bad.npy has 2 of 5 ids outside the vocabulary of 300, the first {} at place 2"
    fails(outside.format(300), npy(np.array([1, 2, 300, 4, 65535], np.uint16)))
    fails(outside.format(-1), npy([1, 2, -1, 4, -7]))
    fails(r"one row of integers, not float64 of shape \(5,\)", npy(np.ones(5)))
    fails(r"one row of integers, not object of shape", npy(np.array([None])))
    fails(r"one row of integers, not int64 of shape \(2, 3\)", npy(np.ones((2, 3), int)))
    fails("holds no ids", npy(np.zeros(0, int)))
    fails("too short to split 80/10/10: 9 ids, 1 documents", npy([5, 5, 5, 5, 1, 5, 5, 5, 5]))
    bad = tmp_path / "bad.npy"
    npy(np.ones(100, np.uint16))
    whole = bad.read_bytes()
    for data, size in ((whole[:-3], 197), (whole + b"x", 201)):
        bad.write_bytes(data)
        fails(f"should hold 100 ids of 2 bytes, 200 bytes, but {size} follow", bad)
    for data in (b"", b"text", whole[:9], whole[:40], whole.replace(b"}", b"{")):
        bad.write_bytes(data)
        fails("bad.npy is not a .npy file", bad)

    file = tmp_path / "bad.bin"
    fails("magic 7 and version 1, not 20240520 and 1", write_bin(file, [1], magic=7))
    fails("magic 20240520 and version 2, not", write_bin(file, [1], version=2))
    fails("should hold 4 ids of 2 bytes, 8 bytes, but 6 follow", write_bin(file, [1, 2, 3], count=4))
    fails("should hold 2 ids of 2 bytes, 4 bytes, but 6 follow", write_bin(file, [1, 2, 3], count=2))
    fails("should hold -1 ids", write_bin(file, [1, 2, 3], count=-1))
    fails("holds no ids", write_bin(file, []))
    fails("1 of 1 ids outside the vocabulary", write_bin(file, [999]))
    file.write_bytes(file.read_bytes()[:1000])
    fails("has 1000 bytes, and a header alone has 1024", file)


def test_the_official_vocabulary_on_real_text(data):
    sp = f"sp:{data / 'sp1024' / 'fineweb_1024_bpe.model'}"
    reviews = text.load(
        text.TextConfig(str(data / "movie_reviews" / "movie_reviews.txt"), sp, train_tokens=1000)
    )
    assert reviews.vocabulary == 1024
    assert len(everything(reviews)) == 3_186_450
    assert np.sum(everything(reviews) == 1) == 2_000, "a document a review"
    assert total(reviews) == 7_717_287  # of 7,788,003 bytes: runs of newlines and spaces count as one
    last, before = reviews.test[-100_000:], reviews.test[-100_001:-1]
    assert text.count_bytes(reviews, last, before) == 245_030
    web = text.load(text.TextConfig(str(data / "fineweb" / "val_131072_sp1024.npy"), sp))
    assert [len(web.train), len(web.validation), len(web.test)] == [105_067, 15_912, 10_093]
    assert total(web) == 315_257
    assert total(web) / 131_072 == pytest.approx(2.405, abs=0.0005)
