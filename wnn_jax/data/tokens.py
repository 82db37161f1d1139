"""Ids of a long text, of which only the parts that are asked for are in memory.

    whole = Tokens.of(corpus.train, corpus.test)  # arrays and stored ids in one row; nothing is copied
    ids = whole[1000:2000]                        # int32 [1000]

Source: docs/architecture.md.
"""

import bisect
import dataclasses
import hashlib
import itertools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Union

import numpy as np

WINDOW = 1 << 20  # the number of ids that a walk over all ids holds at a time


@dataclasses.dataclass(frozen=True)
class Stored:
    """A file of ids, little-endian and without a header.

    Attributes:
      path: the file.
      size: the number of ids.
      dtype: the type of an id, ``<u2`` or ``<u4``.

    Source: docs/architecture.md.
    """

    path: pathlib.Path
    size: int
    dtype: str

    def __len__(self) -> int:
        return self.size

    def read(self, begin: int, end: int) -> np.ndarray:
        """Map the file, and return the ids from ``begin`` up to, but not including, ``end``.

        The file is mapped for this call alone, so that a text of many files needs the address space of one.

        Raises:
          ValueError: the file is missing, cannot be read, or has become shorter.
        """
        try:
            ids = np.memmap(self.path, self.dtype, "r", shape=(self.size,))
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or "it has become shorter"
            raise ValueError(f"cannot read the ids of {self.path}: {said}; make this shard again") from error
        return ids[begin:end].astype(np.int32)


class Tokens:
    """Ids in order, from arrays and files. It has a length and slices like an array ``int32 [N]``.

    A slice is an array in memory. ``np.asarray`` makes one of all ids.

    Args:
      parts: arrays ``int [N]`` and `Stored` files, one after another.

    Source: docs/architecture.md.
    """

    dtype = np.dtype(np.int32)
    ndim = 1

    def __init__(self, parts: Sequence[np.ndarray | Stored]):
        self._parts = [part for part in parts if len(part)]
        self._ends = list(itertools.accumulate(len(part) for part in self._parts))

    @classmethod
    def of(cls, *texts: Union[np.ndarray, "Tokens"]) -> "Tokens":
        """Return the ids of texts, one after another.

        Args:
          *texts: arrays ``int [N]``, or `Tokens`.
        """
        return cls([p for x in texts for p in (x._parts if isinstance(x, Tokens) else [np.asarray(x)])])

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @property
    def shape(self) -> tuple[int]:
        """The length, as the shape of an array."""
        return (len(self),)

    def __getitem__(self, place: slice) -> np.ndarray:
        """Return a part of the ids, ``int32``.

        Raises:
          ValueError: the place is not a slice with a step of 1, or a file cannot be read.
        """
        if not isinstance(place, slice) or place.step not in (None, 1):
            raise ValueError(f"stored ids have no place {place!r}: give a slice with a step of 1")
        begin, end, _ = place.indices(len(self))
        found = list(self._read(begin, end))
        if len(found) == 1:
            return found[0]
        return np.concatenate(found) if found else np.zeros(0, np.int32)

    def _read(self, begin: int, end: int) -> Iterator[np.ndarray]:
        which = bisect.bisect_right(self._ends, begin)
        while begin < end:
            part, shift = self._parts[which], self._ends[which] - len(self._parts[which])
            stop = min(end, self._ends[which])
            if isinstance(part, Stored):
                yield part.read(begin - shift, stop - shift)
            else:
                yield part[begin - shift : stop - shift].astype(np.int32)
            begin, which = stop, which + 1

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("stored ids are not in memory: an array of them is a copy")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def first(self, count: int) -> "Tokens":
        """Return the first ids, which stay where they are."""
        kept: list[np.ndarray | Stored] = []
        for part in self._parts:
            size = min(count, len(part))
            kept.append(dataclasses.replace(part, size=size) if isinstance(part, Stored) else part[:size])
            count -= size
        return Tokens(kept)

    def windows(self, begin: int = 0, end: int | None = None) -> Iterator[np.ndarray]:
        """Yield all ids from ``begin`` to ``end`` in order, at most `WINDOW` at a time."""
        end = len(self) if end is None else end
        for at in range(begin, end, WINDOW):
            yield self[at : min(at + WINDOW, end)]

    @property
    def digest(self) -> str:
        """The SHA-256 of the ids as ``int32``, in hexadecimal digits; that of an array with the same ids."""
        found = hashlib.sha256()
        for window in self.windows():
            found.update(window.tobytes())
        return found.hexdigest()
