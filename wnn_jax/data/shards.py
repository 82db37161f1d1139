"""A corpus in a folder of shards: its documents as ids, for texts that do not fit into memory.

    sharding.write("wiki", ShardConfig(SourceConfig(("dumps/*.jsonl",)), tokenizer="gpt2"))
    corpus = shards.read("wiki")                             # its ids stay on the disk
    model = chain.fit(jax.random.key(0), chain.FAST, corpus)

A shard is a sealed folder with a file of ids for each split; `sharding` makes them. An index holds the
digests of all shards, the settings, the names and sizes of the sources, and what was counted.

Source: docs/architecture.md.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any, Literal, NamedTuple

import numpy as np

from wnn_jax import checks, files
from wnn_jax.checks import Limits
from wnn_jax.data import documents, tokenizers
from wnn_jax.data.documents import SPLITS, SourceConfig
from wnn_jax.data.tokens import Stored, Tokens

SCHEMA = 1
BEGUN, INDEX = "begun.sealed", "index.sealed"
SAMPLED = "sample.sealed"  # the text from which the tokenizer learnt; empty if it does not learn
SAMPLE = 1 << 24  # characters at the start of the training documents from which a tokenizer learns
_MOST_INDEX = 1 << 28  # largest index in bytes


@dataclasses.dataclass(frozen=True)
class ShardConfig:
    """The documents of a corpus, how they are split, and the ids that they become.

    Attributes:
      source: where the documents come from.
      tokenizer: ``gpt2``; ``bytes``; or ``bpe:SIZE``, learnt from the first 2^24 characters of the training
        documents. Each document is encoded by itself, with a blank line at its end, or the end of the line if
        a document is a line.
      test_share: the share of documents that are test text. The words of a document decide where it belongs.
      validation_share: the share of documents that are validation text.
      overlap: what to do if a training document shares text with a held-out one. ``drop``: remove from it
        every line of at least 40 bytes that a held-out document has too, and leave it out if it then still
        shares a block of 1,024 bytes. ``refuse``: stop with an error if it shares such a block.
      shard_tokens: the number of ids of a shard, which ends with the document that reaches it. As many ids
        are in memory at a time.

    Raises:
      ValueError: a value is unknown or out of range.

    Source: docs/architecture.md.
    """

    source: SourceConfig = SourceConfig()
    tokenizer: str = "gpt2"
    test_share: float = 0.1
    validation_share: float = 0.1
    overlap: Literal["drop", "refuse"] = "drop"
    shard_tokens: int = 1 << 24

    def __post_init__(self):
        shares = {"test_share": documents.SHARE, "validation_share": documents.SHARE}
        checks.fields(self, shard_tokens=Limits(least=1, most=1 << 31), **shares)
        if self.test_share + self.validation_share >= 1:
            raise ValueError(
                f"test_share={self.test_share} and validation_share={self.validation_share} leave no "
                "training text: their sum must be below 1"
            )
        if self.tokenizer.startswith("sp:"):
            raise ValueError(
                f"tokenizer={self.tokenizer} loses text, and shards hold ids that give their text back: use "
                "gpt2, bytes or bpe:SIZE"
            )
        tokenizers.parse_tokenizer(self.tokenizer)


class ShardedCorpus(NamedTuple):
    """A corpus whose ids are on the disk. It has the attributes of `text.Corpus`.

    Attributes:
      train: the ids of the training text.
      validation: the ids of the validation text.
      test: the ids of the test text.
      tokenizer: the tokenizer that made the ids.
      description: the text, the split and the tokenizer, in words.
      unknown_bytes: empty, because no tokenizer of shards has unknown ids.

    Source: docs/architecture.md.
    """

    train: Tokens
    validation: Tokens
    test: Tokens
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
        """``int32 [V]``, the number of UTF-8 bytes that each id stands for."""
        return self.tokenizer.token_bytes


def is_folder(path: str | pathlib.Path) -> bool:
    """Whether a folder holds shards, finished or not.

    Source: docs/architecture.md.
    """
    return os.path.isfile(pathlib.Path(path, BEGUN))


def opened(path: pathlib.Path, kind: str) -> dict[str, Any]:
    """Return the JSON data of a sealed file of a folder of shards.

    Raises:
      Damaged: the file is missing, damaged or of another kind.

    Source: docs/architecture.md.
    """
    body = files.opened(kind, SCHEMA, files.read(path, _MOST_INDEX), str(path))
    with files.contents(str(path)):
        return dict(json.loads(body))


def tokenizer_of(root: pathlib.Path, name: str) -> tokenizers.Tokenizer:
    """Make the tokenizer of a folder of shards, from the text that is kept in it if it learns.

    Raises:
      ValueError: the text is damaged, or the tokenizer cannot be made.

    Source: docs/architecture.md.
    """
    path = root / SAMPLED
    sample = files.opened("sample", SCHEMA, files.read(path, 5 * SAMPLE), str(path)).decode()
    return tokenizers.parse_tokenizer(name)(sample)


def dtype_of(vocabulary: int) -> str:
    """Return the type of an id in the files of a shard, for a vocabulary of V ids.

    Source: docs/architecture.md.
    """
    return "<u2" if vocabulary <= 1 << 16 else "<u4"


def shard_name(number: int) -> str:
    """Return the name of a shard's folder.

    Source: docs/architecture.md.
    """
    return f"shard_{number:06}"


def seal_digest(shard: pathlib.Path) -> str:
    """Return the SHA-256 of the seal of a shard, which holds the digests of its files.

    Source: docs/architecture.md.
    """
    return hashlib.sha256(files.read(shard / files.SEAL, _MOST_INDEX)).hexdigest()


def whole(shard: pathlib.Path) -> dict[str, Any]:
    """Return the description of a shard, all of whose files were compared with their digests.

    Raises:
      Damaged: a file is not what was written.

    Source: docs/architecture.md.
    """
    try:
        return files.opened_folder(shard, "shard", SCHEMA)
    except files.Damaged as error:
        raise files.Damaged(f"{error}; or remove {shard}, and make the shards again") from error


def about(folder: str | pathlib.Path) -> dict[str, Any]:
    """Return the index of a folder of shards.

    Returns:
      JSON data: ``config``, ``sources`` (names and sizes), ``shards`` (digests), ``tokenizer`` (its digest)
      and ``totals``: for each split the number of tokens, bytes, whitespace words and documents, and what was
      ``dropped``: lines and documents that held-out text shares, and empty documents.

    Raises:
      ValueError: the folder holds no shards, or they are not finished, or the index is damaged.

    Source: docs/architecture.md.
    """
    root = pathlib.Path(folder).absolute()
    if not is_folder(root):
        raise ValueError(f"{root} holds no shards: make them with python -m experiments.shards")
    if not (root / INDEX).exists():
        raise ValueError(f"the shards in {root} are not finished: run the command that makes them again")
    return opened(root / INDEX, "shards")


def read(folder: str | pathlib.Path) -> ShardedCorpus:
    """Open a folder of shards. Every file is compared with its digest; the ids stay on the disk.

    Args:
      folder: the folder.

    Raises:
      ValueError: the folder holds no shards; they are not finished; one of them is damaged, missing or of
        another corpus; or the tokenizer gives ids another meaning now.

    Source: docs/architecture.md.
    """
    root, index = pathlib.Path(folder).absolute(), about(folder)
    parts: dict[str, list[Stored]] = {name: [] for name in SPLITS}
    with files.contents(str(root / INDEX)):
        digests, totals = list(index["shards"]), index["totals"]
        name, digest = str(index["config"]["tokenizer"]), str(index["tokenizer"])
    made = tokenizer_of(root, name)
    if made.digest != digest:
        raise ValueError(
            f"the tokenizer {name} gives ids another meaning than when {root} was made: make the shards again"
        )
    for number, listed in enumerate(digests):
        shard = root / shard_name(number)
        sizes = whole(shard)
        if seal_digest(shard) != listed:
            raise files.Damaged(f"{shard} belongs to other shards: remove it, and make the shards again")
        for split in SPLITS:
            count = int(sizes[split]["tokens"])
            parts[split].append(Stored(shard / f"{split}.bin", count, dtype_of(len(made.pieces))))
    description = f"{root.name}: {sum(totals[x]['documents'] for x in SPLITS):,} documents, split; {name}"
    train, validation, test = (Tokens(parts[split]) for split in SPLITS)
    return ShardedCorpus(train, validation, test, made, description)
