"""Makes shards: turns documents into ids, one shard after another, each whole or not at all.

The work may be killed at any moment, and goes on after the last whole shard. It walks over the source twice:
first it collects the held-out documents, and then it makes the ids.

Source: docs/architecture.md.
"""

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from wnn_jax import checks, files
from wnn_jax.data import documents, held_out, shards
from wnn_jax.data.documents import SPLITS
from wnn_jax.data.shards import SCHEMA, ShardConfig, ShardedCorpus
from wnn_jax.saving import locks

_HELD = "held_out.sealed"
_MOST_HELD = 1 << 36  # largest file of hashes in bytes
_COUNTS = "tokens", "bytes", "words", "documents"
_DROPPED = "lines", "documents", "empty"


class ShardStep(NamedTuple):
    """The progress of `write`.

    Attributes:
      stage: ``comparing``, the first walk over the source, which collects the held-out documents; or
        ``tokenizing``, the second, which makes the shards.
      done: the number of sources that are done.
      total: the number of sources.
      tokens: the number of ids that were made.

    Source: docs/architecture.md.
    """

    stage: Literal["comparing", "tokenizing"]
    done: int
    total: int
    tokens: int


@checks.classes
def write(
    folder: str | pathlib.Path, config: ShardConfig, on_step: Callable[[ShardStep], None] | None = None
) -> ShardedCorpus:
    """Turn documents into a folder of shards, or go on where it was interrupted.

    The folder is the same, to the bit, however often the work was killed. A shard that was removed is made
    again.

    Args:
      folder: a folder for this corpus alone; it is made if it is missing.
      config: the documents, their split and their tokenizer.
      on_step: called after every source of the first walk, and after every shard.

    Raises:
      ValueError: a source is missing, damaged or empty; the folder holds something else, or another corpus,
        or a damaged shard; a split has no document; or ``overlap="refuse"`` found shared text.

    Source: docs/architecture.md.
    """
    root = pathlib.Path(folder).absolute()
    sources = documents.found(config.source)
    about = {"config": dataclasses.asdict(config), "sources": [list(source) for source in sources]}
    lock = _open(root, json.loads(json.dumps(about)))
    work = _Writer(root, config, sources, on_step or (lambda _: None))
    work.compare()
    totals = work.shards()
    _check_totals(config, totals)
    listed = [shards.seal_digest(path) for path in _shard_paths(root)]
    index = {**about, "shards": listed, "totals": totals, "tokenizer": work.tokenizer.digest}
    files.write(root / shards.INDEX, files.seal("shards", SCHEMA, json.dumps(index).encode()))
    del lock
    return shards.read(root)


def _open(root: pathlib.Path, about: dict[str, Any]) -> locks.Lock:
    """Make a folder for shards, or check that it is of this corpus.

    Raises:
      ValueError: it holds something else, or another corpus, or another process works in it.
    """
    mark = root / shards.BEGUN
    with files.reaching(root, "write"):
        begun, occupied = mark.exists(), files.occupied(root, locks.FILE)
    files.check_place(mark, folders=True)
    if occupied and not begun:
        raise ValueError(f"{root} exists and holds no shards: remove it, or choose another folder")
    with files.reaching(root, "write"):
        root.mkdir(parents=True, exist_ok=True)
    lock = locks.hold(root)
    if not begun:
        files.write(mark, files.seal("shards-begun", SCHEMA, json.dumps(about).encode()))
    known = shards.opened(mark, "shards-begun")
    for name in about:
        if known.get(name) != about[name]:
            what = "made with other settings" if name == "config" else "made from files that have changed"
            raise ValueError(f"the shards in {root} were {what}: remove the folder, or choose another")
    for left in (x for x in root.iterdir() if lock.certain and files.left_over(x)):
        left.unlink() if left.is_file() else shutil.rmtree(left, ignore_errors=True)
    return lock


class _Place(NamedTuple):
    """A place in the documents of all sources."""

    source: int
    document: int


class _Writer:
    """The making of one folder of shards."""

    def __init__(self, root, config: ShardConfig, sources, report: Callable[[ShardStep], None]):
        self.root, self.config, self.sources, self.report = root, config, sources, report
        self.held = held_out.HeldOut(np.zeros(0, np.uint64), np.zeros(0, np.uint64))
        self.tokenizer: Any = None
        by_lines = config.source.documents == "line"
        self.end = "\n" if by_lines else "\n\n"

    def walk(self, begin: _Place) -> Iterator[tuple[_Place, str]]:
        """Yield the documents from a place on, each with the place after it."""
        for number in range(begin.source, len(self.sources)):
            skip = begin.document if number == begin.source else 0
            texts = documents.read(self.config.source, self.sources[number], skip)
            for done, text in enumerate(texts, skip + 1):
                yield _Place(number, done), text

    def split(self, text: str) -> str:
        return documents.split_of(text, self.config.test_share, self.config.validation_share)

    def compare(self) -> None:
        """Collects the held-out documents and makes the tokenizer, or takes both from an earlier run."""
        kept = self.root / _HELD
        if not kept.exists():
            sample: list[str] = []
            room = shards.SAMPLE if self.config.tokenizer.startswith("bpe") else 0
            found = held_out.collect(self._held_out(sample, room))
            # The tokenizer must not learn from lines that held-out documents have too.
            learnt = (held_out.kept(found, text, "drop", "")[0] for text in sample)
            body = "".join(text + self.end for text in learnt if text)[:room].encode()
            files.write(self.root / shards.SAMPLED, files.seal("sample", SCHEMA, body))
            body = len(found.lines).to_bytes(8, "little") + b"".join(x.astype("<u8").tobytes() for x in found)
            files.write(kept, files.seal("held-out", SCHEMA, body))
        body = files.opened("held-out", SCHEMA, files.read(kept, _MOST_HELD), str(kept))
        hashes, size = np.frombuffer(body, "<u8", offset=8), int.from_bytes(body[:8], "little")
        self.held = held_out.HeldOut(hashes[:size], hashes[size:])
        self.tokenizer = shards.tokenizer_of(self.root, self.config.tokenizer)

    def _held_out(self, sample: list[str], room: int) -> Iterator[str]:
        """Yields the held-out documents, and puts the first training documents into a sample."""
        at = 0
        for place, text in self.walk(_Place(0, 0)):
            if place.source != at:
                at = place.source
                self.report(ShardStep("comparing", at, len(self.sources), 0))
            if self.split(text) != "train":
                yield text
            elif room > 0:
                sample.append(text)
                room -= len(text)

    def shards(self) -> dict[str, Any]:
        """Makes the shards that are missing, and returns the sums of all."""
        place, number = _Place(0, 0), 0
        totals: dict[str, Any] = {name: dict.fromkeys(_COUNTS, 0) for name in SPLITS}
        totals["dropped"] = dict.fromkeys(_DROPPED, 0)
        walk, last = self.walk(place), False
        while not last:
            path = self.root / shards.shard_name(number)
            if path.exists():
                about = shards.whole(path)
                walk = self.walk(_Place(*about["next"]))
            else:
                about = self._make(path, place, walk)
            place, last, number = _Place(*about["next"]), about["last"], number + 1
            for name, counts in totals.items():
                for key in counts:
                    counts[key] += about[name][key]
            made = sum(totals[name]["tokens"] for name in SPLITS)
            self.report(ShardStep("tokenizing", place.source + last, len(self.sources), made))
        return totals

    def _make(self, path: pathlib.Path, place: _Place, walk: Iterator[tuple[_Place, str]]) -> dict[str, Any]:
        """Makes the next shard from the documents that follow."""
        about: dict[str, Any] = {name: dict.fromkeys(_COUNTS, 0) for name in SPLITS}
        about |= {"dropped": dict.fromkeys(_DROPPED, 0), "last": True}
        ids: dict[str, list[np.ndarray]] = {name: [] for name in SPLITS}
        made = 0
        for place, text in walk:
            name = self.split(text)
            kept = self._kept(text, place, about["dropped"]) if name == "train" else text
            if not kept.strip():
                about["dropped"]["empty"] += not text.strip()
                continue
            ids[name].append(self._encoded(kept + self.end, place))
            sizes = len(ids[name][-1]), len((kept + self.end).encode()), len(kept.split()), 1
            for key, size in zip(_COUNTS, sizes, strict=True):
                about[name][key] += size
            made += sizes[0]
            if made >= self.config.shard_tokens:
                about["last"] = False
                break
        about["next"] = list(place)
        dtype = shards.dtype_of(len(self.tokenizer.pieces))
        with files.writing_folder(path) as partial:
            for name, parts in ids.items():
                body = np.concatenate([np.zeros(0, np.int32), *parts]).astype(dtype)
                files.write(partial / f"{name}.bin", body.tobytes())
            files.seal_folder(partial, "shard", SCHEMA, about)
        return about

    def _kept(self, text: str, place: _Place, dropped: dict[str, int]) -> str:
        """Returns what a training document does not share with held-out ones; it may be empty."""
        name = f"document {place.document} of {self.sources[place.source].name}"
        kept, count = held_out.kept(self.held, text, self.config.overlap, name)
        dropped["lines"] += count
        dropped["documents"] += bool(text.strip()) and not kept
        return kept

    def _encoded(self, text: str, place: _Place) -> np.ndarray:
        ids, size = self.tokenizer.encode(text), len(text.encode())
        if (covered := int(self.tokenizer.token_bytes[ids].sum(dtype=np.int64))) != size:
            raise ValueError(
                f"{self.tokenizer.name} loses text: the ids of document {place.document} of "
                f"{self.sources[place.source].name} stand for {covered} of {size} bytes: use another one"
            )
        return ids


def _check_totals(config: ShardConfig, totals: dict[str, Any]) -> None:
    wanted = {"train": 1.0, "validation": config.validation_share, "test": config.test_share}
    for name in SPLITS:
        if wanted[name] and not totals[name]["documents"]:
            count = sum(totals[x]["documents"] for x in SPLITS)
            raise ValueError(
                f"the {name} split has none of the {count} documents: give more documents, or another share"
            )


def _shard_paths(root: pathlib.Path) -> list[pathlib.Path]:
    return sorted(root.glob("shard_*"))
