"""Tokenizers, which turn text into ids; token files, which hold ids; and the cache of ids.

The sp tokenizer is not lossless: most models of SentencePiece normalise, so that newlines and runs of spaces
become one space.

Source: docs/architecture.md. Byte-level BPE: Radford et al. 2019, "Language Models are Unsupervised Multitask
Learners". SentencePiece: Kudo and Richardson 2018.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import numpy as np

from wnn_jax import files, optional
from wnn_jax.data import lines

_GPT2_FILES = (
    "6d1cbeee0f20b3d9449abfede4726ed8212e3aee (vocab.bpe), "
    "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6 (encoder.json)"
)
_GPT2_WORDS = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
_CACHE = 1  # the schema of files in the cache
_CACHE_HEAD = 200  # the most bytes of their first line
_BIN_MAGIC, _BIN_VERSION, _BIN_HEADER = 20240520, 1, 256


class Documents(NamedTuple):
    """How a tokenizer marks documents, and the bytes of the normalised text that its ids stand for.

    The bytes are those that SentencePiece itself decodes. At the start of a document it drops the space that
    it put there when it encoded.

    Attributes:
      bos: the id that every document starts with.
      unknown: the id of characters that the model does not know.
      first: ``int32 [V]``, the bytes of an id at the start of a document.
      later: ``int32 [V]``, the bytes of an id at any other place. The unknown id stands for the characters
        that `unknown_bytes` counts; in ids of no known text, for the sign that is decoded for it.
      boundary: ``bool [V]``, whether an id is a control id, which stands for no bytes; a document starts
        after it.
      unknown_bytes: a function from a text to the bytes that each unknown id of its ids stands for, ``int32``
        in order.

    Source: docs/architecture.md.
    """

    bos: int
    unknown: int
    first: np.ndarray
    later: np.ndarray
    boundary: np.ndarray
    unknown_bytes: Callable[[str], np.ndarray]


class Tokenizer(NamedTuple):
    """A map from text to ids. It is lossless, unless it marks documents.

    Attributes:
      name: everything that decides the ids; a part of the cache's key.
      encode: a function from a text to its ids ``int32``.
      pieces: the UTF-8 bytes that each id stands for. For sp its spaces are among them, and control ids and
        the unknown id stand for no bytes.
      documents: how documents are marked; None except for sp.
      prefix: a function from a text and its first ids to the number of characters that those ids stand for;
        None except for sp.
      model: what `restored` needs to make the tokenizer again beside its kind: the merges of a BPE as JSON,
        or the SentencePiece model.

    Source: docs/architecture.md.
    """

    name: str
    encode: Callable[[str], np.ndarray]
    pieces: list[bytes]
    documents: Documents | None = None
    prefix: Callable[[str, np.ndarray], int] | None = None
    model: bytes = b""

    @property
    def token_bytes(self) -> np.ndarray:
        """``int32 [V]``, the number of bytes that each id stands for."""
        return np.array([len(piece) for piece in self.pieces], np.int32)

    @property
    def digest(self) -> str:
        """The SHA-256 of the bytes of every id, in hexadecimal digits: what ids mean.

        A saved model keeps it, and is refused where its tokenizer, made again, has another one.
        """
        return hashlib.sha256(b"".join(b"%d:%s" % (len(one), one) for one in self.pieces)).hexdigest()


def parse_tokenizer(name: str) -> Callable[[str], Tokenizer]:
    """Turn a tokenizer's name into a function from the training text to the tokenizer.

    Only ``bpe:SIZE`` learns from the training text; the other tokenizers ignore it.

    Args:
      name: ``gpt2``, ``bytes``, ``bpe:SIZE`` or ``sp:PATH``.

    Raises:
      ValueError: the name is unknown, SIZE is not an integer of at least 256, or PATH is not a
        SentencePiece model with a BOS id.

    Source: docs/architecture.md.
    """
    if name == "gpt2":
        return lambda _: _gpt2()
    if name == "bytes":
        return lambda _: _bytes()
    kind, _, size = name.partition(":")
    if kind == "bpe" and size.isdecimal() and int(size) >= 256:
        return lambda train: _bpe(train, int(size))
    if kind == "sp" and size:
        made = _read_sentencepiece(pathlib.Path(size))
        return lambda _: made
    raise ValueError(
        f"unknown tokenizer {name!r}: use gpt2, bytes, bpe:SIZE with SIZE at least 256, or sp:PATH"
    )


def restored(name: str, model: bytes) -> Tokenizer:
    """Make a tokenizer again from what was kept of it. No other file is read, and nothing is downloaded.

    Args:
      name: its `Tokenizer.name`.
      model: its `Tokenizer.model`.

    Raises:
      ValueError: the name is unknown, the model is none of this kind, or the package of this kind is missing.

    Source: docs/architecture.md.
    """
    kind = name.partition(" ")[0].partition(":")[0]
    if kind == "bytes":
        return _bytes()
    if kind == "gpt2":
        return _gpt2_of(_gpt2_encoding(model))
    if kind == "bpe":
        tokenizers = optional.need("tokenizers", "text")
        with files.contents(f"the tokenizer {name}"):
            return _bpe_of(tokenizers.Tokenizer.from_str(model.decode()), name)
    if kind == "sp":
        return _sentencepiece(model, f"the tokenizer {name}")
    raise ValueError(f"unknown tokenizer {name!r}: use gpt2, bytes, bpe:SIZE or sp:PATH")


def _bytes() -> Tokenizer:
    def encode(text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

    return Tokenizer("bytes", encode, [bytes([i]) for i in range(256)])


def _gpt2() -> Tokenizer:
    tiktoken = optional.need("tiktoken", "text")

    try:
        encoding = tiktoken.get_encoding("gpt2")
    except Exception as error:
        raise ValueError(
            f"the GPT-2 vocabulary could not be downloaded ({type(error).__name__}): put the files "
            f"{_GPT2_FILES} in a folder and set TIKTOKEN_CACHE_DIR to it"
        ) from error
    return _gpt2_of(encoding)


def _gpt2_of(encoding) -> Tokenizer:
    pieces = [encoding.decode_single_token_bytes(i) for i in range(encoding.n_vocab)]

    def encode(text: str) -> np.ndarray:
        return np.array(encoding.encode_ordinary(text), np.int32)

    # A merge's rank is its id, so the pieces in their order are all that there is to keep.
    model = json.dumps([piece.hex() for piece in pieces]).encode()
    return Tokenizer("gpt2", encode, pieces, model=model)


def _gpt2_encoding(model: bytes):
    """Return the encoding of pieces that were kept; the last one marks the end of a text."""
    tiktoken = optional.need("tiktoken", "text")
    with files.contents("the tokenizer gpt2"):
        *pieces, end = (bytes.fromhex(piece) for piece in json.loads(model))
        ranks = {piece: rank for rank, piece in enumerate(pieces)}
        special = {end.decode(): len(pieces)}
        return tiktoken.Encoding("gpt2", pat_str=_GPT2_WORDS, mergeable_ranks=ranks, special_tokens=special)


def _bpe(train: str, size: int) -> Tokenizer:
    tokenizers = optional.need("tokenizers", "text")

    version = importlib.metadata.version("tokenizers")
    digest = hashlib.sha256(train.encode()).hexdigest()
    name = f"bpe:{size} tokenizers=={version} trained on {digest}"
    path = _cache_path(name, "", "bpe")
    model = _trained(tokenizers, _cached(path, "tokenizer", 1 << 30), size)
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
        _keep(path, "tokenizer", model.to_str().encode())

    return _bpe_of(model, name)


def _bpe_of(model, name: str) -> Tokenizer:
    byte = _byte_characters()
    pieces = [
        bytes(byte[character] for character in model.id_to_token(i) or "")
        for i in range(model.get_vocab_size())
    ]

    def encode(text: str) -> np.ndarray:
        return np.array(model.encode(text).ids, np.int32)

    return Tokenizer(name, encode, pieces, model=model.to_str().encode())


def _trained(tokenizers, data: bytes | None, size: int):
    """Return the tokenizer that the cache holds, or None if it holds none of this size."""
    if data is None:
        return None
    try:
        model = tokenizers.Tokenizer.from_str(data.decode())
        known = _byte_characters()
        pieces = [model.id_to_token(i) for i in range(model.get_vocab_size())]
        return model if len(pieces) <= size and all(set(piece) <= known.keys() for piece in pieces) else None
    except Exception:  # what the cache holds is not trusted; whatever fails, the tokenizer is trained again
        return None


def _byte_characters() -> dict[str, int]:
    """Map the characters that byte-level BPE writes to bytes.

    A printable byte is written as itself, and the other bytes as the characters from 256 on.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _read_sentencepiece(path: pathlib.Path) -> Tokenizer:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read the SentencePiece model {path}: {error.strerror}") from error
    return _sentencepiece(data, str(path))


def _sentencepiece(data: bytes, path: str) -> Tokenizer:
    sentencepiece = optional.need("sentencepiece", "text")

    model = sentencepiece.SentencePieceProcessor()
    try:
        model.load_from_serialized_proto(data)
    except Exception as error:
        raise ValueError(f"{path} ({len(data):,} bytes) is not a SentencePiece model: {error}") from error
    bos, ids = model.bos_id(), range(model.vocab_size())
    if bos < 0:
        raise ValueError(
            f"the SentencePiece model {path} has no BOS id, with which documents start: give another model"
        )
    names = [model.id_to_piece(i) for i in ids]
    byte = [model.is_byte(i) for i in ids]
    control = [model.is_control(i) for i in ids]
    pieces = [
        b""
        if empty or model.is_unknown(i)
        else bytes([int(name[3:-1], 16)])
        if one
        else _spaced(name).encode()
        for i, (name, empty, one) in enumerate(zip(names, control, byte, strict=True))
    ]

    def encode(text: str) -> np.ndarray:
        documents = [text[start:end] for start, end in _documents(text)]
        found = model.encode(documents, add_bos=True)
        return np.array([i for document in found for i in document], np.int32)

    def prefix(text: str, tokens: np.ndarray) -> int:
        begun = np.flatnonzero(tokens == bos)
        start, end = _documents(text)[len(begun) - 1]
        some = len(tokens) - begun[-1] - 1
        spelled = zip(model.encode(text[start:end]), model.encode(text[start:end], out_type=str), strict=True)
        parts = [pieces[i] if byte[i] else part.encode() for i, part in spelled]
        # The place in the text of each normalised character. All versions of SentencePiece have this call.
        _, origin = model.normalize(text[start:end], with_offsets=True)
        return start + origin[len(b"".join(parts[:some]).decode(errors="ignore"))]

    unknown = model.unk_id()
    later = [len(model.decode([i]).encode()) if i == unknown else len(pieces[i]) for i in ids]
    first = [1 if byte[i] else len(said.encode()) for i, said in zip(ids, _alone(model, ids), strict=True)]
    added = any(x < y for x, y in zip(first, later, strict=True))  # whether it puts a space before documents

    def unknown_bytes(text: str) -> np.ndarray:
        found = []
        for start, end in _documents(text):
            spelled = model.encode(text[start:end], out_type=str)
            for place, i in enumerate(model.encode(text[start:end])):
                if i == unknown:
                    said = _spaced(spelled[place])
                    found.append(len((said if place or not added else said.removeprefix(" ")).encode()))
        return np.array(found, np.int32)

    version = importlib.metadata.version("sentencepiece")
    name = f"sp sentencepiece=={version} model {hashlib.sha256(data).hexdigest()}"
    sizes = np.array(first, np.int32), np.array(later, np.int32)
    documents = Documents(bos, unknown, *sizes, np.array(control), unknown_bytes)
    return Tokenizer(name, encode, pieces, documents, prefix, data)


def _spaced(piece: str) -> str:
    return piece.replace("\u2581", " ")


def _alone(model, ids: range) -> list[str]:
    """Return the text of each id as a document of its own."""
    return model.decode([[i] for i in ids])


def _documents(text: str) -> list[tuple[int, int]]:
    """Return the first and last place of each document of a text; documents stand between blank lines."""
    gaps = [gap.span() for gap in lines.BLANK.finditer(text)]
    starts, ends = [0, *(end for _, end in gaps)], [*(start for start, _ in gaps), len(text)]
    spans = zip(starts, ends, strict=True)
    return [(start, end) for start, end in spans if text[start:end].strip()]


def is_token_file(name: str) -> bool:
    """Whether a corpus of this name holds ids and not text: the name ends in ``.npy`` or ``.bin``.

    Source: docs/architecture.md.
    """
    return pathlib.Path(name).suffix in (".npy", ".bin")


def read_token_file(path: pathlib.Path, vocabulary: int) -> np.ndarray:
    """Read the ids of a token file: ``int32 [N]``.

    A ``.npy`` file holds one row of integers. A ``.bin`` file has a header of 256 ``int32`` (20240520, the
    version 1, the number of ids, then anything) and the ids as ``uint16``, all little-endian.

    Args:
      path: the file.
      vocabulary: V; ids must be below.

    Raises:
      ValueError: the file is missing, has another form, is cut short or too long, holds no ids, or holds ids
        outside the vocabulary.

    Source: docs/architecture.md.
    """
    try:
        with path.open("rb") as file:
            count, dtype = (_npy_header if path.suffix == ".npy" else _bin_header)(file, path)
            size = os.fstat(file.fileno()).st_size - file.tell()
            if size != count * dtype.itemsize:
                raise ValueError(
                    f"the token file {path} should hold {count} ids of {dtype.itemsize} bytes, "
                    f"{count * dtype.itemsize} bytes, but {size} follow its header"
                )
            ids = np.fromfile(file, dtype, count)
    except OSError as error:
        raise ValueError(f"cannot read the token file {path}: {error.strerror}") from error
    if not count:
        raise ValueError(f"the token file {path} holds no ids: give another file")
    wrong = np.flatnonzero((ids < 0) | (ids >= vocabulary))
    if wrong.size:
        raise ValueError(
            f"the token file {path} has {wrong.size} of {count} ids outside the vocabulary of {vocabulary}, "
            f"the first {ids[wrong[0]]} at place {wrong[0]}: use the tokenizer that it was made with"
        )
    return ids.astype(np.int32)


def _npy_header(file: BinaryIO, path: pathlib.Path) -> tuple[int, np.dtype]:
    try:
        old = np.lib.format.read_magic(file) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except OSError:
        raise
    except Exception as error:  # numpy's parser fails in many ways on a damaged header
        raise ValueError(f"the token file {path} is not a .npy file: {error}") from error
    if len(shape) != 1 or dtype.kind not in "iu":
        raise ValueError(f"the token file {path} must hold one row of integers, not {dtype} of shape {shape}")
    return shape[0], dtype


def _bin_header(file: BinaryIO, path: pathlib.Path) -> tuple[int, np.dtype]:
    data = file.read(4 * _BIN_HEADER)
    if len(data) < 4 * _BIN_HEADER:
        raise ValueError(
            f"the token file {path} has {len(data)} bytes, and a header alone has {4 * _BIN_HEADER}: give a "
            "whole file"
        )
    magic, version, count = (int(x) for x in np.frombuffer(data, "<i4", 3))
    if (magic, version) != (_BIN_MAGIC, _BIN_VERSION):
        raise ValueError(
            f"the token file {path} starts with magic {magic} and version {version}, "
            f"not {_BIN_MAGIC} and {_BIN_VERSION}: give a file of that format"
        )
    return count, np.dtype("<u2")


def cached_ids(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """Tokenize a text, or take its ids from the cache: ``int32 [N]``.

    A damaged cache file is made again. A cache that cannot be written is not used.

    Args:
      tokenizer: the tokenizer.
      text: the text.

    Raises:
      ValueError: a tokenizer that must be lossless (it marks no documents) loses bytes of the text.

    Source: docs/architecture.md.
    """
    path = _cache_path(tokenizer.name, text, "ids")
    size, lengths = len(text.encode()), tokenizer.token_bytes
    # An id stands for a byte or more, except marks; a few characters are normalised to many.
    found = _cached(path, "ids", 4 * (32 * size + 1024))
    if found is not None and len(found) % 4 == 0:
        ids = np.frombuffer(found, "<i4").astype(np.int32)
        known = not ids.size or (ids.min() >= 0 and ids.max() < len(lengths))
        if known and (tokenizer.documents is not None or int(lengths[ids].sum()) == size):
            return ids
    ids = tokenizer.encode(text)
    covered = int(lengths[ids].sum())
    if tokenizer.documents is None and covered != size:
        raise ValueError(
            f"{tokenizer.name} loses text: its ids stand for {covered} of {size} bytes: use another tokenizer"
        )
    _keep(path, "ids", ids.astype("<i4").tobytes())
    return ids


def _cache_path(tokenizer: str, text: str, suffix: str) -> pathlib.Path:
    digest = hashlib.sha256(f"{tokenizer}\0{text}".encode()).hexdigest()[:32]
    return cache_folder() / f"{digest}.{suffix}"


def cache_folder() -> pathlib.Path:
    """Return the folder of the cache: ``$WNN_JAX_CACHE``, or ``wnn_jax`` in the user's cache folder.

    A user without a home, as in many containers, has it in the folder for temporary files. It holds only
    files that can be made again.

    Source: docs/architecture.md.
    """
    if chosen := os.environ.get("WNN_JAX_CACHE"):
        return pathlib.Path(chosen)
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return pathlib.Path(chosen, "wnn_jax")
    try:
        return pathlib.Path.home() / ".cache" / "wnn_jax"
    except RuntimeError:
        return pathlib.Path(tempfile.gettempdir(), f"wnn_jax-{os.getuid()}")


def _cached(path: pathlib.Path, kind: str, most: int) -> bytes | None:
    """Return what the cache holds at a path; None if there is nothing, or something damaged or foreign."""
    # The name of the file is a part of what is sealed, so that no file passes for another.
    name = f"{path.name}\n".encode()
    try:
        body = files.opened(kind, _CACHE, files.read(path, most + len(name) + _CACHE_HEAD), str(path))
    except ValueError:
        return None
    return body.removeprefix(name) if body.startswith(name) else None


def _keep(path: pathlib.Path, kind: str, data: bytes) -> None:
    """Write a file of the cache. If that fails, work goes on without it."""
    with contextlib.suppress(OSError, ValueError):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, files.seal(kind, _CACHE, f"{path.name}\n".encode() + data))
