"""Where the texts of a corpus come from, and how they are split into training, validation and test text.

Source: docs/architecture.md.
"""

import os
import pathlib
from typing import NamedTuple

from wnn_jax import files, optional
from wnn_jax.data import documents, held_out, lines
from wnn_jax.data.documents import SourceConfig

_SHARE = 0.1  # of the documents of a corpus, for the test text and for the validation text


class Splits(NamedTuple):
    """The parts of a text, and its name in words.

    Attributes:
      train: the training text.
      validation: the validation text; it may be empty.
      test: the test text.
      description: where they come from.

    Source: docs/architecture.md.
    """

    train: str
    validation: str
    test: str
    description: str


def split(corpus: str, eval_corpus: str | None) -> Splits:
    """Read a text and split it.

    Args:
      corpus: see `text.TextConfig`; no token file, and no folder of shards.
      eval_corpus: path of the test text, or None.

    Raises:
      ValueError: a text is missing, empty, not UTF-8 or too short, or a download fails.

    Source: docs/architecture.md; WikiText-2: Merity et al. 2016, "Pointer Sentinel Mixture Models".
    """
    if corpus == "wikitext2":
        splits = _wikitext2()
        if eval_corpus is None:
            return splits
        text, description = splits.train, splits.description
    elif documents.is_source(corpus):
        parts, description = _documents(corpus)
        text = "".join(document for part in parts.values() for document in part)
    else:
        text, description = stream(corpus)
    if eval_corpus is not None:
        test, where = stream(eval_corpus)
        return Splits(text, "", test, f"{description} -> {where}")
    train, validation, test = lines.cut(text, 0.8, 0.9)
    if not (train.strip() and validation.strip() and test.strip()):
        raise ValueError(
            f"{description} is too short to split 80/10/10: it has {len(text)} characters, and a part would "
            "hold none but spaces; give a longer text, or an eval_corpus"
        )
    return Splits(train, validation, test, f"{description} split 80/10/10")


def by_documents(corpus: str, overlap: str) -> Splits:
    """Read documents and split them by their words; within a split they follow their ranks.

    Args:
      corpus: a name of documents, see `documents.is_source`.
      overlap: what becomes of training text that held-out documents have too, see `held_out.kept`.

    Raises:
      ValueError: there is no file, a file is damaged, there are too few documents, or texts are shared and
        that is refused.

    Source: docs/architecture.md.
    """
    parts, description = _documents(corpus)
    held = held_out.collect([*parts["validation"], *parts["test"]])
    train = [
        held_out.kept(held, text, overlap, f"document {number} of {corpus}")[0]
        for number, text in enumerate(parts["train"], 1)
    ]
    validation, test = ("".join(parts[name]) for name in ("validation", "test"))
    if not (train and validation and test):
        count = sum(map(len, parts.values()))
        raise ValueError(
            f"{corpus} has {count} documents, too few to split them 80/10/10: give more, or an eval_corpus"
        )
    return Splits("".join(train), validation, test, f"{description} split 80/10/10")


def _documents(corpus: str) -> tuple[dict[str, list[str]], str]:
    """Read the documents of each split, each text once, and return them with a description."""
    config = SourceConfig((corpus,))
    found = {
        text + "\n\n": documents.rank(text)
        for source in documents.found(config)
        for text in documents.read(config, source)
        if text.strip()
    }
    parts: dict[str, list[str]] = {name: [] for name in documents.SPLITS}
    for text in sorted(found, key=lambda text: (found[text], text)):
        parts[documents.split_of(text, _SHARE, _SHARE)].append(text)
    return parts, f"{pathlib.Path(corpus).name}: {len(found):,} documents"


def stream(corpus: str) -> tuple[str, str]:
    """Read a text that is not split, and return it with its name.

    Raises:
      ValueError: see `split`.

    Source: docs/architecture.md.
    """
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
        raise ValueError(f"the corpus {path} is empty: give a file with text")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"the corpus {path} is not UTF-8: byte 0x{data[error.start]:02x} at offset "
            f"{error.start} (line {data.count(10, 0, error.start) + 1}): convert it to UTF-8"
        ) from error


def _builtin() -> str:
    """Return the topics of CPython's ``help()``, each paragraph once.

    Topics repeat each other at length: "compound" holds all of "if", "for" and more. If repeated paragraphs
    stayed, most of the test split would be training text.
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


def _wikitext2() -> Splits:
    root = os.environ.get("WNN_JAX_DATA")
    folder = pathlib.Path(root or ".") / "wikitext2"
    names = ("wiki.train.raw", "wiki.train.1MB.raw")
    test, validation = folder / "wiki.test.raw", folder / "wiki.validation.raw"
    with files.reaching(folder, "read"):
        train = next((folder / name for name in names if (folder / name).exists()), None)
        tested, validated = test.exists(), validation.exists()
    if root and train is not None and tested:
        held_out = _read(validation) if validated else ""
        return Splits(_read(train), held_out, _read(test), f"{train.name} -> {test.name}")
    datasets = optional.need("datasets", "text")
    try:
        rows = datasets.load_dataset("Salesforce/wikitext", "wikitext-2-raw-v1")
        # Rows end in a newline already. The predecessor joined all rows, blank ones too, with one more
        # newline, and so its splits are reproduced.
        parts = ["\n".join(rows[name]["text"]) for name in ("train", "validation", "test")]
    except Exception as error:
        raise ValueError(
            f"wikitext2 could not be downloaded ({type(error).__name__}): put wiki.train.raw, "
            f"wiki.test.raw and, if you have it, wiki.validation.raw in a folder wikitext2/ and "
            "set WNN_JAX_DATA to the folder above it"
        ) from error
    return Splits(parts[0], parts[1], parts[2], "wikitext-2-raw-v1")
