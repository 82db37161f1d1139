"""Removes from training documents the text of held-out documents, where neither are in memory as a whole.

It is the rule of `lines.without` and `overlap.check_disjoint`, by hashes of 64 bits: a walk over the source
collects those of the held-out documents, and then each training document is compared by itself.

Source: docs/architecture.md.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from wnn_jax.data import overlap

LINE = 40  # shorter lines are phrases that two texts may share by chance


class HeldOut(NamedTuple):
    """Hashes of the held-out documents.

    Attributes:
      lines: ``uint64 [L]``, ascending, of their lines of at least `LINE` bytes.
      blocks: ``uint64 [B]``, ascending, of their whole blocks of `overlap.OVERLAP_BYTES` bytes.

    Source: docs/architecture.md.
    """

    lines: np.ndarray
    blocks: np.ndarray


def collect(documents: Iterable[str]) -> HeldOut:
    """Return the hashes of documents.

    Source: docs/architecture.md.
    """
    long: set[int] = set()
    blocks = [np.zeros(0, np.uint64)]
    for text in documents:
        long.update(_hash(line) for line in text.splitlines() if _is_long(line))
        data = text.encode()
        if len(data) >= overlap.OVERLAP_BYTES:
            blocks.append(overlap.window_hashes(data, overlap.OVERLAP_BYTES)[:: overlap.OVERLAP_BYTES])
    return HeldOut(np.sort(np.fromiter(long, np.uint64, len(long))), np.unique(np.concatenate(blocks)))


def without(held: HeldOut, text: str) -> tuple[str, int]:
    """Remove from a training document the long lines that a held-out document has too.

    Returns:
      what stays, and the number of lines that were removed.

    Source: docs/architecture.md.
    """
    whole = text.splitlines(keepends=True)
    places = [i for i, line in enumerate(text.splitlines()) if _is_long(line)]
    hashes = np.array([_hash(whole[i].splitlines()[0]) for i in places], np.uint64)
    shared = {place for place, there in zip(places, _among(held.lines, hashes), strict=True) if there}
    if not shared:
        return text, 0
    return "".join(line for i, line in enumerate(whole) if i not in shared), len(shared)


def shares_block(held: HeldOut, text: str) -> bool:
    """Whether a block of a held-out document stands anywhere in a training document.

    Source: docs/architecture.md.
    """
    data = text.encode()
    if len(data) < overlap.OVERLAP_BYTES or not len(held.blocks):
        return False
    return bool(_among(held.blocks, overlap.window_hashes(data, overlap.OVERLAP_BYTES)).any())


def kept(held: HeldOut, text: str, todo: str, name: str) -> tuple[str, int]:
    """Return what a training document does not share with held-out documents.

    Args:
      held: the hashes of the held-out documents.
      text: the training document.
      todo: ``drop`` removes what is shared; ``refuse`` raises an error if a block is shared.
      name: the name of the document, for the message.

    Returns:
      the document without shared lines, or an empty one if it is left out, and the number of removed lines.

    Raises:
      ValueError: the document shares a block, and that is refused.

    Source: docs/architecture.md.
    """
    if todo == "refuse":
        if shares_block(held, text):
            raise ValueError(
                f"{name} is training text and shares a block of {overlap.OVERLAP_BYTES} bytes with a "
                "held-out document: use overlap=drop"
            )
        return text, 0
    rest, count = without(held, text)
    return ("" if shares_block(held, rest) or not rest.strip() else rest), count


def _is_long(line: str) -> bool:
    return len(line) >= LINE or len(line.encode()) >= LINE


def _hash(line: str) -> int:
    return int.from_bytes(hashlib.blake2b(line.encode(), digest_size=8).digest(), "big")


def _among(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return ``bool [N]``, which of some hashes are among ascending ones."""
    if not len(known):
        return np.zeros(len(asked), bool)
    return known[np.minimum(np.searchsorted(known, asked), len(known) - 1)] == asked
