"""Text in: corpora and tokenizers to token arrays.

A corpus is split first and tokenized after, so a tokenizer that learns sees training text only.
Splits that share text are refused. Token arrays are cached by the hash of everything that made them.
"""

import hashlib
import importlib.metadata
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

OVERLAP_BYTES = 1024
OVERLAP_LINE = 40  # shorter lines are phrases that anyone may write
_GPT2_FILES = (
    "6d1cbeee0f20b3d9449abfede4726ed8212e3aee (vocab.bpe), "
    "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6 (encoder.json)"
)


class Corpus(NamedTuple):
    """A tokenized corpus.

    Attributes:
      train, validation, test: ``int32`` ids; validation is empty where the corpus has none.
      vocabulary: V.
      token_bytes: ``int32 [V]`` how many UTF-8 bytes each id stands for.
      pieces: those bytes, one string an id.
      description: which text, which tokenizer, how it was split.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    vocabulary: int
    token_bytes: np.ndarray
    pieces: list[bytes]
    description: str


class Tokenizer(NamedTuple):
    """A lossless map from text to ids.

    Attributes:
      name: everything that decides the ids, for the cache key.
      encode: text to ids.
      pieces: the UTF-8 bytes each id stands for.
    """

    name: str
    encode: Callable[[str], np.ndarray]
    pieces: list[bytes]

    @property
    def token_bytes(self) -> np.ndarray:
        """``int32 [V]``: how many bytes each id stands for."""
        return np.array([len(piece) for piece in self.pieces], np.int32)


class _Splits(NamedTuple):
    train: str
    validation: str
    test: str
    description: str


def load(
    corpus: str = "builtin",
    tokenizer: str = "bytes",
    eval_corpus: str | None = None,
    train_tokens: int | None = None,
    overlap: str = "refuse",
) -> Corpus:
    """Read, split, tokenize.

    Args:
      corpus: ``builtin`` (the documentation inside CPython, on every machine), ``wikitext2`` (files
        under ``$WNN_JAX_DATA/wikitext2`` if there, else Hugging Face), or a path to UTF-8 text.
      tokenizer: ``gpt2``, ``bpe:SIZE`` (trained on the training split) or ``bytes``.
      eval_corpus: path to the test text; then all of ``corpus`` (its training split, if it has one)
        is for training.
      train_tokens: with one stream and no ``eval_corpus``, train on the first so many tokens and
        test on the rest; with separate texts, train on the first so many tokens of the training one.
        A single stream without it is split 80/10/10 at line ends.
      overlap: what becomes of text that is both trained on and scored: ``refuse`` raises, ``drop`` takes
        out of the training text every line of `OVERLAP_LINE` bytes or more that the scored text has too.

    Raises:
      ValueError: a text is missing, empty, not UTF-8, too short for the split, or the splits
        overlap; a tokenizer is unknown; something must be downloaded and cannot be.
    """
    tokenizer_for = parse_tokenizer(tokenizer)
    if overlap not in ("refuse", "drop"):
        raise ValueError(f"unknown overlap {overlap!r}: refuse or drop")
    if train_tokens is not None and train_tokens < 1:
        raise ValueError(f"train_tokens must be at least 1, got {train_tokens}")
    one_stream = corpus != "wikitext2" and eval_corpus is None
    if one_stream and train_tokens is not None:
        if tokenizer.startswith("bpe"):
            raise ValueError(
                f"train_tokens={train_tokens} cannot cut a stream for {tokenizer}, which must see "
                "the training text before it can count tokens: name an eval_corpus, or drop it"
            )
        return _cut_stream(corpus, tokenizer_for(""), train_tokens, overlap)
    splits = _kept(_splits(corpus, eval_corpus), overlap)
    for name, part in (("validation", splits.validation), ("test", splits.test)):
        check_disjoint(splits.train.encode(), part.encode(), name)
    made = tokenizer_for(splits.train)
    train = _tokens(made, splits.train)
    if train_tokens is not None and train_tokens > len(train):
        raise ValueError(f"train_tokens={train_tokens}, but the training text has {len(train)}")
    return Corpus(
        train=train[:train_tokens],
        validation=_tokens(made, splits.validation),
        test=_tokens(made, splits.test),
        vocabulary=len(made.token_bytes),
        token_bytes=made.token_bytes,
        pieces=made.pieces,
        description=f"{splits.description}; {tokenizer}",
    )


def training_text(corpus: str, eval_corpus: str | None = None, overlap: str = "refuse", **_) -> str:
    """The text that `load`, called alike, would train a tokenizer on."""
    return _kept(_splits(corpus, eval_corpus), overlap).train


def _kept(splits: _Splits, overlap: str) -> _Splits:
    if overlap == "refuse":
        return splits
    return splits._replace(train=_without(splits.train, splits.validation + splits.test))


def _cut_stream(corpus: str, tokenizer: Tokenizer, train_tokens: int, overlap: str) -> Corpus:
    text, description = _stream(corpus)
    ids = _tokens(tokenizer, text)
    if train_tokens >= len(ids):
        raise ValueError(
            f"train_tokens={train_tokens} leaves nothing to test on: {description} has {len(ids)}"
        )
    cut = int(tokenizer.token_bytes[ids[:train_tokens]].sum())
    data = text.encode()
    train = ids[:train_tokens]
    if overlap == "drop":
        kept = _without(data[:cut].decode(errors="ignore"), data[cut:].decode(errors="ignore"))
        check_disjoint(kept.encode(), data[cut:], "test")
        train = _tokens(tokenizer, kept)
        description += f" without {cut - len(kept.encode()):,} bytes that the evaluated text repeats,"
    else:
        check_disjoint(data[:cut], data[cut:], "test")
    return Corpus(
        train=train,
        validation=ids[:0],
        test=ids[train_tokens:],
        vocabulary=len(tokenizer.token_bytes),
        token_bytes=tokenizer.token_bytes,
        pieces=tokenizer.pieces,
        description=f"{description} cut at token {train_tokens}; {tokenizer.name.split()[0]}",
    )


def _without(train: str, held_out: str) -> str:
    """The training text without its long lines that the held-out text has too."""
    scored = {line for line in held_out.splitlines() if len(line.encode()) >= OVERLAP_LINE}
    return "".join(line for line in train.splitlines(keepends=True) if line.rstrip("\r\n") not in scored)


def check_disjoint(train: bytes, held_out: bytes, name: str) -> None:
    """Refuse to evaluate text that was trained on.

    Raises:
      ValueError: an aligned block of `OVERLAP_BYTES` of ``held_out`` (or all of it, if shorter)
        occurs anywhere in ``train``.
    """
    size = min(OVERLAP_BYTES, len(held_out), len(train))
    if size == 0:
        return
    blocks = _window_hashes(held_out, size)[::size]
    shared = np.flatnonzero(np.isin(blocks, _window_hashes(train, size)))
    if shared.size:
        raise ValueError(
            f"the {name} text overlaps the training text: {shared.size} of its {len(blocks)} "
            f"blocks of {size} bytes are in both, the first at byte {shared[0] * size}; "
            "give texts that share nothing"
        )


def _window_hashes(data: bytes, size: int) -> np.ndarray:
    """A 64-bit polynomial hash of every run of ``size`` bytes, by joining runs of powers of two."""
    values = np.frombuffer(data, np.uint8).astype(np.uint64) + np.uint64(1)
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
    try:
        import datasets

        rows = datasets.load_dataset("Salesforce/wikitext", "wikitext-2-raw-v1")
        # Rows already end in a newline; the predecessor's drivers join all of them, blank ones too,
        # with another (spec ram_lm 9).
        parts = ["\n".join(rows[name]["text"]) for name in ("train", "validation", "test")]
    except Exception as error:
        raise ValueError(
            f"wikitext2 could not be downloaded ({type(error).__name__}): put wiki.train.raw, "
            f"wiki.test.raw and, if you have it, wiki.validation.raw in a folder wikitext2/ and "
            "set WNN_JAX_DATA to the folder above it"
        ) from error
    return _Splits(parts[0], parts[1], parts[2], "wikitext-2-raw-v1")


def parse_tokenizer(name: str) -> Callable[[str], Tokenizer]:
    """``gpt2``, ``bytes`` or ``bpe:SIZE`` to a function from training text to a tokenizer.

    Raises:
      ValueError: the name is unknown or SIZE is not an integer of at least 256.
    """
    if name == "gpt2":
        return lambda _: _gpt2()
    if name == "bytes":
        return lambda _: _bytes()
    kind, _, size = name.partition(":")
    if kind == "bpe" and size.isdecimal() and int(size) >= 256:
        return lambda train: _bpe(train, int(size))
    raise ValueError(f"unknown tokenizer {name!r}: use gpt2, bytes, or bpe:SIZE with SIZE at least 256")


def _bytes() -> Tokenizer:
    def encode(text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

    return Tokenizer("bytes", encode, [bytes([i]) for i in range(256)])


def _gpt2() -> Tokenizer:
    import tiktoken

    try:
        encoding = tiktoken.get_encoding("gpt2")
    except Exception as error:
        raise ValueError(
            f"the GPT-2 vocabulary could not be downloaded ({type(error).__name__}): put the files "
            f"{_GPT2_FILES} in a folder and set TIKTOKEN_CACHE_DIR to it"
        ) from error
    pieces = [encoding.decode_single_token_bytes(i) for i in range(encoding.n_vocab)]

    def encode(text: str) -> np.ndarray:
        return np.array(encoding.encode_ordinary(text), np.int32)

    return Tokenizer("gpt2", encode, pieces)


def _bpe(train: str, size: int) -> Tokenizer:
    import tokenizers

    version = importlib.metadata.version("tokenizers")
    digest = hashlib.sha256(train.encode()).hexdigest()
    name = f"bpe:{size} tokenizers=={version} trained on {digest}"
    path = _cache_path(name, "", "json")
    model = None
    if path.exists():
        try:
            model = tokenizers.Tokenizer.from_file(str(path))
        except Exception:  # a damaged cache entry is only a miss
            model = None
    if model is None:
        model = tokenizers.Tokenizer(tokenizers.models.BPE())
        byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        model.pre_tokenizer = byte_level  # pyright: ignore[reportAttributeAccessIssue]
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=size,
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        model.train_from_iterator([train], trainer)
        _write_atomically(path, lambda file: file.write(model.to_str().encode()))

    byte = _byte_characters()
    pieces = [
        bytes(byte[character] for character in model.id_to_token(i) or "")
        for i in range(model.get_vocab_size())
    ]

    def encode(text: str) -> np.ndarray:
        return np.array(model.encode(text).ids, np.int32)

    return Tokenizer(name, encode, pieces)


def _byte_characters() -> dict[str, int]:
    """The character that byte-level BPE writes for each byte: itself if printable, else one from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _tokens(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """Ids of a text, from the cache if they are there."""
    path = _cache_path(tokenizer.name, text, "npy")
    if path.exists():
        try:
            return np.load(path)
        except (ValueError, OSError, EOFError):  # a damaged cache entry is only a miss
            pass
    ids = tokenizer.encode(text)
    covered = int(tokenizer.token_bytes[ids].sum())
    if covered != len(text.encode()):
        raise ValueError(f"{tokenizer.name} is not lossless here: {covered} of {len(text.encode())} bytes")
    _write_atomically(path, lambda file: np.save(file, ids))
    return ids


def _cache_path(tokenizer: str, text: str, suffix: str) -> pathlib.Path:
    digest = hashlib.sha256(f"{tokenizer}\0{text}".encode()).hexdigest()[:32]
    return cache_folder() / f"{digest}.{suffix}"


def cache_folder() -> pathlib.Path:
    """Where what can be made again is kept: ``$WNN_JAX_CACHE``, or ``wnn_jax`` in the user's cache."""
    default = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return pathlib.Path(os.environ.get("WNN_JAX_CACHE") or default / "wnn_jax")


def _write_atomically(path: pathlib.Path, write: Callable) -> None:
    """A cache that cannot be written is no reason to stop, so an OSError is swallowed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.replace(temporary, path)
    except OSError:
        pathlib.Path(temporary).unlink(missing_ok=True)
