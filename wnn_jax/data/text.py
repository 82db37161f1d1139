"""Text in: corpora and tokenizers to token arrays.

A corpus is split first and tokenized after, so a tokenizer that learns sees training text only.
Splits that share text are refused. A file of ids is a corpus too, of the sp tokenizer that made it.
"""

import dataclasses
import os
import pathlib
from typing import Literal, NamedTuple

import numpy as np

from wnn_jax import optional
from wnn_jax.data import tokenizers

OVERLAP_BYTES = 1024
OVERLAP_IDS = 512  # of token files, whose text is not at hand
OVERLAP_LINE = 40  # shorter lines are phrases that anyone may write
_WINDOWS = 1 << 22  # hashed at a time


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """Which text is read and how it is cut into tokens and splits.

    Attributes:
      corpus: ``builtin`` (the documentation inside CPython, on every machine), ``wikitext2`` (files
        under ``$WNN_JAX_DATA/wikitext2`` if there, else Hugging Face), or a path to UTF-8 text or to
        a token file (``.npy`` or ``.bin``, see `tokenizers.read_token_file`).
      tokenizer: ``gpt2``, ``bpe:SIZE`` (trained on the training split), ``bytes``, or ``sp:PATH`` (a
        SentencePiece model). For sp, text is documents between blank lines, each encoded alone after a
        BOS id; it is not lossless, for newlines and runs of spaces become one space.
      eval_corpus: path to the test text, or to a token file if the corpus is one; then all of
        ``corpus`` (its training split, if it has one) is for training.
      train_tokens: with one stream and no ``eval_corpus``, train on this number of tokens and
        test on the rest; with separate texts, train on the first of the training one. A single stream
        without it is split 80/10/10 at line ends, a token file where documents start (anywhere, if there
        are none).
      overlap: what becomes of text that is both trained on and scored: ``refuse`` raises, ``drop`` takes
        out of the training text every line of `OVERLAP_LINE` bytes or more that the scored text has too
        (not of a token file, which has no lines).

    Raises:
      ValueError: a value is unknown or out of range.
    """

    corpus: str = "builtin"
    tokenizer: str = "bytes"
    eval_corpus: str | None = None
    train_tokens: int | None = None
    overlap: Literal["refuse", "drop"] = "refuse"

    def __post_init__(self):
        tokenizers.parse_tokenizer(self.tokenizer)
        if self.overlap not in ("refuse", "drop"):
            raise ValueError(f"unknown overlap {self.overlap!r}: refuse or drop")
        if self.train_tokens is not None and self.train_tokens < 1:
            raise ValueError(f"train_tokens must be at least 1, got {self.train_tokens}")


class Corpus(NamedTuple):
    """A tokenized corpus.

    Attributes:
      train, validation, test: ``int32`` ids; validation is empty where the corpus has none.
      tokenizer: what made the ids, and turns other text into ids.
      description: which text, which tokenizer, how it was split.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    tokenizer: tokenizers.Tokenizer
    description: str

    @property
    def vocabulary(self) -> int:
        """V."""
        return len(self.tokenizer.pieces)

    @property
    def pieces(self) -> list[bytes]:
        """The bytes that each id stands for."""
        return self.tokenizer.pieces

    @property
    def token_bytes(self) -> np.ndarray:
        """``int32 [V]``: how many UTF-8 bytes each id stands for. Of sp, its leading space is one of them,
        also where `count_bytes` does not count it."""
        return self.tokenizer.token_bytes


class _Splits(NamedTuple):
    train: str
    validation: str
    test: str
    description: str


def load(config: TextConfig = TextConfig()) -> Corpus:
    """Read, split, tokenize.

    Raises:
      ValueError: a text is missing, empty, not UTF-8, too short for the split, or the splits
        overlap; a token file or a SentencePiece model is damaged, or the two do not go together;
        something must be downloaded and cannot be.
    """
    tokenizer, train_tokens = config.tokenizer, config.train_tokens
    if any(tokenizers.is_token_file(name) for name in (config.corpus, config.eval_corpus) if name):
        return _token_files(config)
    tokenizer_for = tokenizers.parse_tokenizer(tokenizer)
    one_stream = config.corpus != "wikitext2" and config.eval_corpus is None
    if one_stream and train_tokens is not None:
        if tokenizer.startswith("bpe"):
            raise ValueError(
                f"train_tokens={train_tokens} cannot cut a stream for {tokenizer}, which must see "
                "the training text before it can count tokens: name an eval_corpus, or drop it"
            )
        return _cut_stream(config, tokenizer_for(""))
    splits = _kept(_splits(config.corpus, config.eval_corpus), config.overlap)
    for name, part in (("validation", splits.validation), ("test", splits.test)):
        check_disjoint(splits.train.encode(), part.encode(), name)
    made = tokenizer_for(splits.train)
    train, validation, test = (tokenizers.cached_ids(made, part) for part in splits[:3])
    if train_tokens is not None and train_tokens > len(train):
        raise ValueError(f"train_tokens={train_tokens}, but the training text has {len(train)}")
    return Corpus(train[:train_tokens], validation, test, made, f"{splits.description}; {tokenizer}")


def tokenizer_of(config: TextConfig) -> tokenizers.Tokenizer:
    """The tokenizer of `load`, without reading more text than one that learns must see."""
    learns = config.tokenizer.startswith("bpe")
    text = _kept(_splits(config.corpus, config.eval_corpus), config.overlap).train if learns else ""
    return tokenizers.parse_tokenizer(config.tokenizer)(text)


def count_bytes(corpus: Corpus, tokens: np.ndarray, previous: np.ndarray) -> int:
    """How many UTF-8 bytes tokens stand for, each after the one before it.

    For sp these are the bytes of the normalised text: a leading space is free after an id that stands for
    nothing, as after BOS. For the other tokenizers, ``previous`` changes nothing.

    Args:
      corpus: what they are tokens of.
      tokens, previous: equally many; ``previous[i]`` came just before ``tokens[i]``.

    Raises:
      ValueError: the lengths differ.
    """
    tokens, previous = np.asarray(tokens), np.asarray(previous)
    if tokens.shape != previous.shape:
        raise ValueError(f"need the token before each: {len(tokens)} tokens, {len(previous)} before them")
    size = int(corpus.token_bytes[tokens].sum(dtype=np.int64))
    documents = corpus.tokenizer.documents
    if documents is None:
        return size
    free = documents.leading_space[tokens] & documents.boundary[previous]
    return size - int(free.sum())


def _kept(splits: _Splits, overlap: str) -> _Splits:
    if overlap == "refuse":
        return splits
    return splits._replace(train=_without(splits.train, splits.validation + splits.test))


def _cut_stream(config: TextConfig, tokenizer: tokenizers.Tokenizer) -> Corpus:
    text, description = _stream(config.corpus)
    ids, size = tokenizers.cached_ids(tokenizer, text), config.train_tokens or 0
    if size >= len(ids):
        raise ValueError(f"train_tokens={size} leaves nothing to test on: {description} has {len(ids)}")
    data = text.encode()
    if tokenizer.prefix is None:
        cut = int(tokenizer.token_bytes[ids[:size]].sum())
    else:
        cut = len(text[: tokenizer.prefix(text, ids[:size])].encode())
    train = ids[:size]
    if config.overlap == "drop":
        kept = _without(data[:cut].decode(errors="ignore"), data[cut:].decode(errors="ignore"))
        check_disjoint(kept.encode(), data[cut:], "test")
        train = tokenizers.cached_ids(tokenizer, kept)
        description += f" without {cut - len(kept.encode()):,} bytes that the evaluated text repeats,"
    else:
        check_disjoint(data[:cut], data[cut:], "test")
    description += f" cut at token {size}; {config.tokenizer}"
    return Corpus(train, ids[:0], ids[size:], tokenizer, description)


def _token_files(config: TextConfig) -> Corpus:
    names = [name for name in (config.corpus, config.eval_corpus) if name is not None]
    for name in names:
        if not tokenizers.is_token_file(name):
            raise ValueError(f"{' and '.join(names)}: {name} is no token file, and both must be or neither")
    tokenizer, train_tokens = config.tokenizer, config.train_tokens
    made = tokenizers.parse_tokenizer(tokenizer)("") if tokenizer.startswith("sp:") else None
    if made is None or made.documents is None:
        raise ValueError(
            f"the token file {config.corpus} needs the sp tokenizer it was made with, not {tokenizer}"
        )
    if config.overlap == "drop":
        raise ValueError(
            f"overlap=drop takes lines out of a text, and the token file {config.corpus} has none"
        )
    paths = [pathlib.Path(name) for name in names]
    ids, *held_out = [tokenizers.read_token_file(path, len(made.pieces)) for path in paths]
    description = " -> ".join(path.name for path in paths)
    if train_tokens is not None and train_tokens + (not held_out) > len(ids):
        raise ValueError(f"train_tokens={train_tokens} is too many: {paths[0]} has {len(ids)} ids")
    if held_out:
        parts = ids[:train_tokens], ids[:0], held_out[0]
    elif train_tokens is not None:
        parts = ids[:train_tokens], ids[:0], ids[train_tokens:]
        description += f" cut at token {train_tokens}"
    else:
        first, second = (_document_start(ids, made.documents.bos, share) for share in (0.8, 0.9))
        parts = ids[:first], ids[first:second], ids[second:]
        description += " split 80/10/10"
        if not all(map(len, parts)):
            count = np.sum(ids == made.documents.bos)
            raise ValueError(f"{paths[0]} is too short to split 80/10/10: {len(ids)} ids, {count} documents")
    for name, part in (("validation", parts[1]), ("test", parts[2])):
        check_disjoint(parts[0], part, name)
    return Corpus(*parts, made, f"{description}; {tokenizer}")


def _document_start(ids: np.ndarray, bos: int, fraction: float) -> int:
    """Where the next document starts; if none but the first is marked, the place itself."""
    place, starts = int(len(ids) * fraction), np.flatnonzero(ids[1:] == bos) + 1
    return next((int(x) for x in starts if x >= place), len(ids)) if starts.size else place


def _without(train: str, held_out: str) -> str:
    """The training text without its long lines that the held-out text has too."""
    scored = {line for line in held_out.splitlines() if len(line.encode()) >= OVERLAP_LINE}
    return "".join(line for line in train.splitlines(keepends=True) if line.rstrip("\r\n") not in scored)


def check_disjoint(train: bytes | np.ndarray, held_out: bytes | np.ndarray, name: str) -> None:
    """Refuse to evaluate text that was trained on; both are UTF-8, or both are ids.

    Raises:
      ValueError: an aligned block of `OVERLAP_BYTES` (`OVERLAP_IDS` of ids) of ``held_out`` (or all of
        it, if shorter) occurs anywhere in ``train``.
    """
    length, unit = (OVERLAP_BYTES, "byte") if isinstance(held_out, bytes) else (OVERLAP_IDS, "id")
    size = min(length, len(held_out), len(train))
    if size == 0:
        return
    blocks = _window_hashes(held_out, size)[::size]
    found = np.zeros(len(blocks), bool)
    for start in range(0, len(train) - size + 1, _WINDOWS):
        # Sorted: NumPy 2.0 overflows when it looks few large unsigned integers up in a table.
        hashes = _window_hashes(train[start : start + _WINDOWS + size - 1], size)
        found |= np.isin(blocks, hashes, kind="sort")
    if found.any():
        raise ValueError(
            f"the {name} text overlaps the training text: {found.sum()} of its {len(blocks)} "
            f"blocks of {size} {unit}s are in both, the first at {unit} {found.argmax() * size}; "
            "give texts that share nothing"
        )


def _window_hashes(data: bytes | np.ndarray, size: int) -> np.ndarray:
    """A 64-bit polynomial hash of every run of ``size`` bytes or ids, by joining runs of powers of two."""
    items = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
    values = items.astype(np.uint64) + np.uint64(1)
    count = len(values) - size + 1
    power = np.uint64(0x9E3779B97F4A7C15)
    result, done = np.zeros(count, np.uint64), 0
    length = 1
    with np.errstate(over="ignore"):
        while True:
            if size & length:
                result = result * power + values[done : done + count]
                done += length
            if done == size:
                return result
            values = values[:-length] * power + values[length:]
            power *= power
            length *= 2


def _splits(corpus: str, eval_corpus: str | None) -> _Splits:
    if corpus == "wikitext2":
        splits = _wikitext2()
        if eval_corpus is None:
            return splits
        text, description = splits.train, splits.description
    else:
        text, description = _stream(corpus)
    if eval_corpus is not None:
        test, where = _stream(eval_corpus)
        return _Splits(text, "", test, f"{description} -> {where}")
    first, second = _line_end(text, 0.8), _line_end(text, 0.9)
    parts = text[:first], text[first:second], text[second:]
    if not all(parts):
        raise ValueError(f"{description} is too short to split 80/10/10 ({len(text)} characters)")
    return _Splits(*parts, f"{description} split 80/10/10")


def _line_end(text: str, fraction: float) -> int:
    return text.find("\n", int(len(text) * fraction)) + 1 or len(text)


def _stream(corpus: str) -> tuple[str, str]:
    if corpus == "builtin":
        return _builtin(), "builtin"
    path = pathlib.Path(corpus)
    return _read(path), path.name


def _read(path: pathlib.Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read the corpus {path}: {error.strerror}") from error
    if not data.strip():
        raise ValueError(f"the corpus {path} is empty")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"the corpus {path} is not UTF-8: byte 0x{data[error.start]:02x} at offset "
            f"{error.start} (line {data.count(10, 0, error.start) + 1})"
        ) from error


def _builtin() -> str:
    """The topics of CPython's ``help()``, each paragraph once.

    Topics quote each other at length ("compound" holds all of "if", "for", ...), so without the
    removal of repeated paragraphs the test split would largely be training text.
    """
    from pydoc_data.topics import topics

    seen, kept = set(), []
    for name in sorted(topics):
        for paragraph in topics[name].split("\n\n"):
            words = " ".join(paragraph.split())
            if words and words not in seen:
                seen.add(words)
                kept.append(paragraph.strip("\n"))
    return "\n\n".join(kept) + "\n"


def _wikitext2() -> _Splits:
    root = os.environ.get("WNN_JAX_DATA")
    folder = pathlib.Path(root or ".") / "wikitext2"
    names = ("wiki.train.raw", "wiki.train.1MB.raw")
    train = next((folder / name for name in names if (folder / name).exists()), None)
    test, validation = folder / "wiki.test.raw", folder / "wiki.validation.raw"
    if root and train is not None and test.exists():
        held_out = _read(validation) if validation.exists() else ""
        return _Splits(_read(train), held_out, _read(test), f"{train.name} -> {test.name}")
    datasets = optional.need("datasets", "text")
    try:
        rows = datasets.load_dataset("Salesforce/wikitext", "wikitext-2-raw-v1")
        # Rows already end in a newline; the predecessor's drivers join all of them, blank ones too,
        # with another.
        parts = ["\n".join(rows[name]["text"]) for name in ("train", "validation", "test")]
    except Exception as error:
        raise ValueError(
            f"wikitext2 could not be downloaded ({type(error).__name__}): put wiki.train.raw, "
            f"wiki.test.raw and, if you have it, wiki.validation.raw in a folder wikitext2/ and "
            "set WNN_JAX_DATA to the folder above it"
        ) from error
    return _Splits(parts[0], parts[1], parts[2], "wikitext-2-raw-v1")
