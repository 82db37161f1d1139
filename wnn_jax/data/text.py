"""Corpora: texts that are split into training, validation and test text, and turned into token ids.

A corpus is split first and tokenized afterwards, so that a tokenizer that learns sees the training text only.
Splits that share text are refused. A file of ids can be a corpus too; it needs the sp tokenizer that made it.

Source: docs/architecture.md.
"""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import documents, lines, overlap, shards, splits, tokenizers
from wnn_jax.data.held_out import LINE
from wnn_jax.data.shards import ShardedCorpus
from wnn_jax.data.splits import Splits


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """The text to read, its tokenizer, and how it is split.

    Attributes:
      corpus: the text. ``builtin``: the documentation inside CPython, on every machine. ``wikitext2``: the
        files in ``$WNN_JAX_DATA/wikitext2`` if they are there, else a download from Hugging Face. ``stdlib``,
        a folder, a pattern such as ``src/**/*.py``, or a ``.jsonl`` or ``.parquet`` file: documents, split
        80/10/10 by their words (`documents.SourceConfig`), in an order that is as good as random; they are
        compared one by one, as for shards. A folder
        that ``experiments.shards`` made: its ids and its split. Otherwise the path of a UTF-8 text or of a
        token file (``.npy`` or ``.bin``, see `tokenizers.read_token_file`).
      tokenizer: ``gpt2``; ``bytes``, one id for each byte; ``bpe:SIZE``, learnt from the training text; or
        ``sp:PATH``, a SentencePiece model. sp encodes each document (the text between two blank lines) by
        itself, after a BOS id; it loses text, because newlines and runs of spaces become one space.
      eval_corpus: path of the test text, or of a token file if the corpus is one. The whole corpus, or its
        training split if it has splits, is then training text.
      train_tokens: the number of training tokens. A single text without ``eval_corpus`` is cut there, and the
        rest is test text. If there is a separate test text, the training text is cut there and the rest is
        not used. By default a single text is split 80/10/10 at line ends, or between characters if it has too
        few lines, and a token file at the starts of documents, or anywhere if it marks no documents.
      overlap: what to do if the training text and a scored text share text. ``refuse``: stop with an error.
        ``drop``: remove from the training text every line of at least 40 bytes that a scored text has too; a
        token file has no lines and cannot use it.

    Raises:
      ValueError: a value is unknown or out of range.

    Source: docs/architecture.md.
    """

    corpus: str = "builtin"
    tokenizer: str = "bytes"
    eval_corpus: str | None = None
    train_tokens: int | None = None
    overlap: Literal["refuse", "drop"] = "refuse"

    def __post_init__(self):
        checks.fields(self, train_tokens=Limits(least=1))
        tokenizers.parse_tokenizer(self.tokenizer)


class Corpus(NamedTuple):
    """A tokenized corpus.

    Attributes:
      train: ``int32``, the ids of the training text.
      validation: ``int32``, the ids of the validation text; empty if the corpus has none.
      test: ``int32``, the ids of the test text.
      tokenizer: the tokenizer that made the ids, which turns other text into ids too.
      description: the text, the split and the tokenizer, in words.
      unknown_bytes: for the validation and the test text the bytes that each unknown id stands for, ``int32``
        in order; only sp has an unknown id, and only where ids came from a text.

    Source: docs/architecture.md.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    tokenizer: tokenizers.Tokenizer
    description: str
    unknown_bytes: tuple[np.ndarray, ...] = ()

    @property
    def vocabulary(self) -> int:
        """V, the number of ids."""
        return len(self.tokenizer.pieces)

    @property
    def pieces(self) -> list[bytes]:
        """The bytes that each id stands for, ``V`` entries."""
        return self.tokenizer.pieces

    @property
    def token_bytes(self) -> np.ndarray:
        """``int32 [V]``, the number of UTF-8 bytes that each id stands for.

        For sp these are the bytes inside a document; `count_bytes` counts those of a text.
        """
        return self.tokenizer.token_bytes


def load(config: TextConfig = TextConfig()) -> Corpus:
    """Read a text, split it, and turn its parts into ids.

    Ids are kept in the cache, so that a text is tokenized only once.

    Args:
      config: the text, the tokenizer and the split.

    Raises:
      ValueError: a text is missing, empty, not UTF-8 or too short for the split; the splits overlap; a token
        file or a SentencePiece model is damaged, or they do not belong together; or a download fails.

    Source: docs/architecture.md; WikiText-2: Merity et al. 2016, "Pointer Sentinel Mixture Models".
    """
    if shards.is_folder(config.corpus):
        return in_memory(_sharded(config))
    tokenizer, train_tokens = config.tokenizer, config.train_tokens
    if any(tokenizers.is_token_file(name) for name in (config.corpus, config.eval_corpus) if name):
        return _token_files(config)
    tokenizer_for = tokenizers.parse_tokenizer(tokenizer)
    split = config.corpus == "wikitext2" or documents.is_source(config.corpus)
    one_stream = not split and config.eval_corpus is None
    if one_stream and train_tokens is not None:
        if tokenizer.startswith("bpe"):
            raise ValueError(
                f"train_tokens={train_tokens} cannot cut a stream for {tokenizer}, which must see "
                "the training text before it can count tokens: set eval_corpus, or leave train_tokens out"
            )
        return _cut_stream(config, tokenizer_for(""))
    parted = _parted(config)
    made = tokenizer_for(parted.train)
    train, validation, test = (tokenizers.cached_ids(made, part) for part in parted[:3])
    if train_tokens is not None and train_tokens > len(train):
        raise ValueError(
            f"train_tokens={train_tokens} is too many: the training text has {len(train)} tokens, give at "
            "most that number"
        )
    parts = train[:train_tokens], validation, test
    return _made(config, parts, (parted.validation, parted.test), made, parted.description)


def opened(config: TextConfig) -> Corpus | ShardedCorpus:
    """Do as `load`, but leave the ids of a folder of shards on the disk.

    Args:
      config: the text, the tokenizer and the split.

    Raises:
      ValueError: see `load`, and `shards.read`.

    Source: docs/architecture.md.
    """
    return _sharded(config) if shards.is_folder(config.corpus) else load(config)


def _sharded(config: TextConfig) -> ShardedCorpus:
    """Open a folder of shards.

    Raises:
      ValueError: the settings do not fit the shards, or these are damaged.
    """
    found = shards.read(config.corpus)
    made_with = shards.about(config.corpus)["config"]["tokenizer"]
    if config.tokenizer != made_with:
        raise ValueError(
            f"the shards in {config.corpus} hold ids of {made_with}, not of {config.tokenizer}: use "
            f"tokenizer={made_with}, or make other shards"
        )
    if config.eval_corpus is not None:
        raise ValueError(
            f"eval_corpus={config.eval_corpus} has no use: the shards in {config.corpus} hold their own test "
            "text; leave it out"
        )
    size = len(found.train) if config.train_tokens is None else config.train_tokens
    if size > len(found.train):
        raise ValueError(
            f"train_tokens={size} is too many: the training text has {len(found.train)} tokens, give at most "
            "that number"
        )
    return found._replace(train=found.train.first(size))


def in_memory(corpus: Corpus | ShardedCorpus) -> Corpus:
    """Return a corpus with all its ids in memory.

    Source: docs/architecture.md.
    """
    if isinstance(corpus, Corpus):
        return corpus
    train, validation, test = (np.asarray(x) for x in corpus[:3])
    return Corpus(train, validation, test, corpus.tokenizer, corpus.description)


def check_ids_mean(tokenizer: tokenizers.Tokenizer, digest: str | None, config: TextConfig) -> None:
    """Check that a tokenizer, made again for a saved model, gives ids the meaning that they had.

    Args:
      tokenizer: the tokenizer.
      digest: the `Tokenizer.digest` that was saved with the model.
      config: the text and the tokenizer that the model was fitted with.

    Raises:
      ValueError: the ids stand for other bytes.

    Source: docs/architecture.md.
    """
    if tokenizer.digest != digest:
        kind, _, path = config.tokenizer.partition(":")
        changed = f"the file {path}" if kind == "sp" else f"the text {config.corpus}"
        raise ValueError(
            f"the tokenizer {config.tokenizer} gives ids another meaning than when the model was saved: "
            f"{changed} has changed; restore it, or fit the model again"
        )


def count_bytes(
    corpus: Corpus | ShardedCorpus, tokens: np.ndarray, previous: np.ndarray, place: int | None = None
) -> int:
    """Count the UTF-8 bytes that tokens stand for, which is the divisor of bits/byte.

    For an sp tokenizer these are the bytes of the normalised text, as SentencePiece decodes it: the space
    that it puts before a document is not counted. Unknown ids stand for the characters of the text; if the
    tokens are not a run of the corpus's test or validation text, each stands for the sign that is decoded for
    it. For other tokenizers ``previous`` changes nothing.

    Args:
      corpus: the corpus that the tokens belong to.
      tokens: integers ``[N]``, the tokens to count.
      previous: integers ``[N]``; ``previous[i]`` is the token just before ``tokens[i]``.
      place: the place of the first token in the test text; by default the place where the run stands.

    Raises:
      ValueError: the lengths differ, a token is not an id of the corpus, or a run with unknown ids stands at
        several places and they have other bytes there.

    Source: docs/architecture.md.
    """
    tokens, previous = np.asarray(tokens), np.asarray(previous)
    if tokens.shape != previous.shape:
        raise ValueError(
            f"got {len(tokens)} tokens and {len(previous)} tokens before them: give one before each token"
        )
    if not tokens.size:
        return 0
    ids = Limits(least=0, most=corpus.vocabulary - 1)
    for name, x in (("tokens", tokens), ("previous", previous)):
        checks.array(name, x, "integers", {"N": None}, ids)
    documents = corpus.tokenizer.documents
    if documents is None:
        return int(corpus.token_bytes[tokens].sum(dtype=np.int64))
    starts = documents.boundary[previous]
    sizes = np.where(starts, documents.first[tokens], documents.later[tokens])
    unknown = tokens == documents.unknown
    if unknown.any():
        sizes[unknown] = _unknown_bytes(corpus, tokens, sizes[unknown], place)
    return int(sizes.sum(dtype=np.int64))


def count_first(corpus: Corpus | ShardedCorpus, count: int) -> int:
    """Count the UTF-8 bytes of the first ``count`` tokens of the test text, as `count_bytes` does.

    Source: docs/architecture.md.
    """
    tokens, documents = corpus.test[:count], corpus.tokenizer.documents
    before = 0 if documents is None else documents.bos
    return count_bytes(corpus, tokens, np.r_[before, tokens[:-1]], place=0)


def count_words(corpus: Corpus | ShardedCorpus, tokens: np.ndarray) -> int:
    """Count the words of the text that tokens stand for, which is the divisor of the perplexity of a word.

    A word is a run of characters between two places of white space, as ``str.split`` finds them. Marks at the
    ends of lines, which published perplexities of WikiText count as words, are not counted. sp changes no
    word's borders, apart from rare characters that it normalises to spaces.

    Args:
      corpus: the corpus that the tokens belong to.
      tokens: integers ``[N]``, a run of tokens. Words that it holds in part count as words.

    Raises:
      ValueError: a token is not an id of the corpus.

    Source: docs/glossary.md.
    """
    ids = np.asarray(tokens)
    checks.array("tokens", ids, "integers", {"N": None}, Limits(least=0, most=corpus.vocabulary - 1))
    pieces, marks = corpus.pieces, corpus.tokenizer.documents
    if marks is not None:
        said = zip(pieces, marks.boundary, strict=True)
        pieces = [b"\n" if boundary else piece for piece, boundary in said]
        pieces[marks.unknown] = b"?"
    return len(b"".join(pieces[i] for i in ids.tolist()).decode(errors="replace").split())


def _unknown_bytes(
    corpus: Corpus | ShardedCorpus, tokens: np.ndarray, signs: np.ndarray, place: int | None
) -> np.ndarray:
    """Return the bytes of each unknown id of a run of tokens, or those of its sign where no text is known.

    Raises:
      ValueError: the run stands at several places, at which the unknown ids have other bytes.
    """
    unknown = corpus.tokenizer.documents.unknown if corpus.tokenizer.documents else -1
    if not corpus.unknown_bytes:
        return signs
    parts = np.asarray(corpus.test), np.asarray(corpus.validation)
    for part, sizes in zip(parts, corpus.unknown_bytes[::-1], strict=True):
        found = None
        for at in _places(part, tokens) if place is None else (place,):
            start = int((part[:at] == unknown).sum())
            here = sizes[start : start + len(signs)]
            if found is not None and found.sum() != here.sum():
                raise ValueError(
                    f"these {len(tokens)} tokens stand at several places of the text, at which their "
                    f"{len(signs)} unknown ids have other bytes: give their place"
                )
            found = here
        if found is not None:
            return found
    return signs


def _places(part: np.ndarray, tokens: np.ndarray) -> Iterator[int]:
    """Yield every place of a run of tokens in others."""
    data, run = (np.ascontiguousarray(x, np.int32).tobytes() for x in (part, tokens))
    at = data.find(run)
    while at >= 0:
        if at % 4 == 0:
            yield at // 4
        at = data.find(run, at + 1)


def _made(
    config: TextConfig, parts: tuple[np.ndarray, ...], texts: tuple[str, str], tokenizer, description: str
) -> Corpus:
    """Make a corpus of a text; ``texts`` are the validation and test text, or a text that ends with it."""
    documents, (train, validation, test) = tokenizer.documents, parts
    sizes: list[np.ndarray] = []
    if documents is not None:
        for part, text in zip((validation, test), texts, strict=True):
            count = int((part == documents.unknown).sum())
            # A second time through the tokenizer, which only a text with unknown characters needs.
            found = documents.unknown_bytes(text) if count else np.zeros(0, np.int32)
            sizes.append(found[len(found) - count :])
    return Corpus(train, validation, test, tokenizer, f"{description}; {config.tokenizer}", tuple(sizes))


def _parted(config: TextConfig) -> Splits:
    """Read and split a text, and compare its parts."""
    if documents.is_source(config.corpus) and config.eval_corpus is None:
        return splits.by_documents(config.corpus, config.overlap)
    parted = splits.split(config.corpus, config.eval_corpus)
    if config.overlap == "drop":
        kept = lines.without(parted.train, (parted.validation, parted.test), LINE)
        _check_kept(kept, parted.description)
        parted = parted._replace(train=kept)
    for name, part in (("validation", parted.validation), ("test", parted.test)):
        overlap.check_disjoint(parted.train.encode(), part.encode(), name)
    return parted


def _check_kept(kept: str, description: str) -> None:
    if not kept.strip():
        raise ValueError(
            f"overlap=drop leaves no training text of {description}: the evaluated text repeats every line; "
            "give other texts"
        )


def _cut_stream(config: TextConfig, tokenizer: tokenizers.Tokenizer) -> Corpus:
    text, description = splits.stream(config.corpus)
    ids, size = tokenizers.cached_ids(tokenizer, text), config.train_tokens or 0
    if size >= len(ids):
        raise ValueError(
            f"train_tokens={size} leaves nothing to test on: {description} has {len(ids)} tokens, give fewer"
        )
    data = text.encode()
    if tokenizer.prefix is None:
        cut = int(tokenizer.token_bytes[ids[:size]].sum())
    else:
        cut = len(text[: tokenizer.prefix(text, ids[:size])].encode())
    train = ids[:size]
    if config.overlap == "drop":
        # A character that the cut divides is in neither text, and all its bytes are test text.
        tail = data[cut:].decode(errors="ignore")
        kept = lines.without(data[:cut].decode(errors="ignore"), (tail,), LINE)
        _check_kept(kept, description)
        overlap.check_disjoint(kept.encode(), data[cut:], "test")
        train = tokenizers.cached_ids(tokenizer, kept)
        description += f" without {cut - len(kept.encode()):,} bytes that the evaluated text repeats,"
    else:
        overlap.check_disjoint(data[:cut], data[cut:], "test")
    parts = train, ids[:0], ids[size:]
    return _made(config, parts, ("", text), tokenizer, f"{description} cut at token {size}")


def _token_files(config: TextConfig) -> Corpus:
    names = [name for name in (config.corpus, config.eval_corpus) if name is not None]
    for name in names:
        if not tokenizers.is_token_file(name):
            raise ValueError(
                f"{' and '.join(names)}: {name} is not a token file: give two token files, or two texts"
            )
    tokenizer, train_tokens = config.tokenizer, config.train_tokens
    made = tokenizers.parse_tokenizer(tokenizer)("") if tokenizer.startswith("sp:") else None
    if made is None or made.documents is None:
        raise ValueError(
            f"the token file {config.corpus} needs the sp tokenizer it was made with, not {tokenizer}: use "
            "sp:PATH"
        )
    if config.overlap == "drop":
        raise ValueError(
            f"overlap=drop removes lines from a text, and the token file {config.corpus} has none: use "
            "overlap=refuse"
        )
    paths = [pathlib.Path(name) for name in names]
    ids, *held_out = [tokenizers.read_token_file(path, len(made.pieces)) for path in paths]
    description = " -> ".join(path.name for path in paths)
    if train_tokens is not None and train_tokens + (not held_out) > len(ids):
        raise ValueError(
            f"train_tokens={train_tokens} is too many: {paths[0]} has {len(ids)} ids, give a smaller number"
        )
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
            raise ValueError(
                f"{paths[0]} is too short to split 80/10/10: {len(ids)} ids, {count} documents; give more ids"
            )
    for name, part in (("validation", parts[1]), ("test", parts[2])):
        overlap.check_disjoint(parts[0], part, name)
    return Corpus(*parts, made, f"{description}; {tokenizer}")


def _document_start(ids: np.ndarray, bos: int, fraction: float) -> int:
    """Return the start of the next document after a fraction of the ids.

    If no document but the first is marked, it is the fraction itself.
    """
    place, starts = int(len(ids) * fraction), np.flatnonzero(ids[1:] == bos) + 1
    return next((int(x) for x in starts if x >= place), len(ids)) if starts.size else place
