"""Lines: one definition of their ends, for splits and for lines that two texts share."""

import numpy as np
import pytest

from wnn_jax.data import lines, text

ENDS = ["\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


def numbered(first, last, end, pad="that is long enough to be compared"):
    return "".join(f"line {i} of a text with 数 {i * i} {pad}{end}" for i in range(first, last))


@pytest.mark.parametrize("end", ENDS, ids=ascii)
@pytest.mark.parametrize("other", ["\n", None], ids=["newlines", "same"])
def test_shared_lines_are_dropped_whatever_ends_them(tmp_path, end, other):
    train, test = tmp_path / "train.txt", tmp_path / "test.txt"
    train.write_bytes(("\ufeff" + numbered(200, 201, end) + numbered(0, 300, end)).encode())
    test.write_bytes(numbered(200, 400, other or end).encode())
    corpus = text.load(text.TextConfig(str(train), "bytes", str(test), overlap="drop"))
    left = bytes(corpus.train.astype(np.uint8)).decode()
    assert left == numbered(0, 200, end)
    assert bytes(corpus.test.astype(np.uint8)) == test.read_bytes()


def test_the_last_line_of_one_text_is_not_joined_to_the_next(tmp_path):
    """A text without a line end is split between characters: its parts are compared each by itself."""
    shared = "x" * 50
    assert lines.without(f"{shared}\nown", ("a" + "b" * 60, shared), 40) == "own"
    assert lines.without(f"{'y' * 39}\n{'y' * 40}", ("y" * 39 + "\n" + "y" * 40,), 40) == "y" * 39 + "\n"


@pytest.mark.parametrize("end", ENDS, ids=ascii)
def test_a_text_is_split_at_the_ends_that_it_has(end):
    whole = numbered(0, 400, end)
    parts = lines.cut(whole, 0.8, 0.9)
    assert "".join(parts) == whole
    assert all(part.endswith(end) for part in parts)
    np.testing.assert_allclose([len(part) / len(whole) for part in parts], [0.8, 0.1, 0.1], atol=0.01)
    # Another end does not matter where newlines give whole parts.
    mixed = numbered(0, 100, "a\u2028b\n")
    assert all(part.endswith("\n") for part in lines.cut(mixed, 0.8, 0.9))


@pytest.mark.parametrize(
    "whole",
    [
        "".join(np.random.default_rng(0).choice(list("ACGT"), 5000)),
        "".join(map(chr, np.random.default_rng(0).integers(0x4E00, 0x9FFF, 3000))),
        "one line\n" + "".join(map(chr, np.random.default_rng(1).integers(0x1F300, 0x1F5FF, 3000))) + "\n",
        numbered(0, 400, "\r"),
    ],
    ids=["DNA", "Chinese", "one long line", "old Mac"],
)
@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:300"])
def test_a_text_without_newlines_is_split_between_characters(tmp_path, whole, tokenizer):
    path = tmp_path / "corpus.txt"
    path.write_bytes(whole.encode())
    corpus = text.load(text.TextConfig(str(path), tokenizer))
    parts = [b"".join(corpus.pieces[i] for i in x) for x in (corpus.train, corpus.validation, corpus.test)]
    assert "".join(part.decode() for part in parts) == whole, "no part begins or ends inside a character"
    np.testing.assert_allclose([len(x) / len(whole.encode()) for x in parts], [0.8, 0.1, 0.1], atol=0.02)


def test_a_text_of_few_characters_is_refused_by_name(tmp_path):
    for content in ("a", "abc", "ab\ncd\n", "x\n" + " " * 10):
        path = tmp_path / "corpus.txt"
        path.write_text(content)
        with pytest.raises(
            ValueError, match=f"too short to split 80/10/10: it has {len(content)} characters"
        ):
            text.load(text.TextConfig(str(path)))


def test_blank_lines_part_documents_whatever_ends_lines():
    for end in ("\n", "\r\n", "\r"):
        whole = f"{end}one{end}more{end}{end}two{end} \t{end}{end}three{end}"
        assert lines.BLANK.split(whole) == [f"{end}one{end}more", "two", f"three{end}"]
