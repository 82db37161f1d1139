"""A check that texts which are scored share nothing with the text that models learn from.

Source: docs/architecture.md.
"""

import numpy as np

OVERLAP_BYTES = 1024
OVERLAP_IDS = 512  # token files are compared by ids, because their text is not known
_WINDOWS = 1 << 22  # the number of windows that are hashed at a time


def check_disjoint(train: bytes | np.ndarray, held_out: bytes | np.ndarray, name: str) -> None:
    """Check that a held-out text shares no long block with the training text.

    The held-out text is cut into blocks of `OVERLAP_BYTES` bytes, or `OVERLAP_IDS` ids; a text that is
    shorter than a block is one block. No block may occur at any place of the training text.

    Args:
      train: the training text, UTF-8 bytes or integers ``[N]``.
      held_out: the held-out text, of the same kind.
      name: the name of the held-out text, for the message.

    Raises:
      ValueError: a block occurs in the training text.

    Source: docs/architecture.md.
    """
    length, unit = (OVERLAP_BYTES, "byte") if isinstance(held_out, bytes) else (OVERLAP_IDS, "id")
    size = min(length, len(held_out), len(train))
    if size == 0:
        return
    blocks = window_hashes(held_out, size)[::size]
    found = np.zeros(len(blocks), bool)
    for start in range(0, len(train) - size + 1, _WINDOWS):
        # kind="sort", because NumPy 2.0 overflows when it looks up a few large unsigned integers in a table.
        hashes = window_hashes(train[start : start + _WINDOWS + size - 1], size)
        found |= np.isin(blocks, hashes, kind="sort")
    if found.any():
        raise ValueError(
            f"the {name} text overlaps the training text: {found.sum()} of its {len(blocks)} "
            f"blocks of {size} {unit}s are in both, the first at {unit} {found.argmax() * size}; "
            "give texts that share nothing"
        )


def window_hashes(data: bytes | np.ndarray, size: int) -> np.ndarray:
    """Hash every run of ``size`` items by a 64-bit polynomial, from hashes of runs of 2^i items.

    Args:
      data: bytes, or ids ``int [N]``; at least ``size`` items.
      size: the number of items of a run.

    Returns:
      ``uint64 [N - size + 1]``.

    Source: docs/architecture.md.
    """
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
