"""Tables with words in them: which features are categories, and the codes of their words.

A table is an array ``[N, F]``, or a data frame of pandas, which is recognised without importing pandas.

Source: docs/semantics/classify.md
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

UNSEEN = -1.0  # the code of a word that no training row has


def categories(X: Any, chosen: Sequence[int | str] | str = "auto") -> tuple[int, ...]:
    """Find the features whose values are categories.

    Args:
      X: the table.
      chosen: the numbers or the names of the features. ``auto`` takes the columns of a data frame that hold
        no numbers, and of an array none.

    Returns:
      The numbers of the features, ascending.

    Raises:
      ValueError: a chosen feature is not there.

    Source: docs/semantics/classify.md
    """
    named = _names(X)
    if isinstance(chosen, str) and chosen == "auto":
        return tuple(i for i, _ in enumerate(named) if X.iloc[:, i].dtype.kind not in "biuf")
    width = len(named) if named else np.shape(X)[1]
    found = set()
    for one in [chosen] if isinstance(chosen, str) else chosen:
        if one in named:
            found.add(named.index(one))
        elif not isinstance(one, str) and 0 <= one < width:
            found.add(int(one))
        else:
            raise ValueError(f"categories names {one!r}, but X has no such feature: give one of its {width}")
    return tuple(sorted(found))


def words(X: Any, chosen: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """List the words of those categories that are no numbers; code c of a feature stands for its word c.

    Args:
      X: the table of the training rows.
      chosen: the numbers of the features that are categories.

    Returns:
      The sorted distinct words of each such feature.

    Source: docs/semantics/classify.md
    """
    found = {}
    for i in chosen:
        values, there = _column(X, i)
        if not all(isinstance(x, (int, float, np.number, np.bool_)) for x in values[there]):
            found[i] = tuple(sorted({str(x) for x in values[there]}))
    return found


def coded(X: Any, known: Mapping[int, Sequence[str]]) -> Any:
    """Replace words by their codes; a missing value becomes NaN, and a word that is not known `UNSEEN`.

    Args:
      X: the table.
      known: the words of each feature that has words, from `words`.

    Returns:
      `X` itself if there are no words to replace, or else a copy: a data frame for a data frame.

    Source: docs/semantics/classify.md
    """
    if not known:
        return X
    frame = bool(_names(X))
    made: Any = X.copy() if frame else np.array(X, object)
    if not frame and made.ndim != 2:
        return X
    for i, listed in known.items():
        if i >= made.shape[1]:
            continue  # the number of features is checked by who encodes them
        values, there = _column(X, i)
        code = {word: float(c) for c, word in enumerate(listed)}
        codes = [code.get(str(x), UNSEEN) if yes else np.nan for x, yes in zip(values, there, strict=True)]
        if frame:
            made.isetitem(i, np.array(codes, np.float64))
        else:
            made[:, i] = codes
    return made


def _names(X: Any) -> list:
    """Return the names of the columns of a data frame, or nothing."""
    return list(X.columns) if hasattr(X, "columns") and hasattr(X, "iloc") else []


def _column(X: Any, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of a feature, and whether each is there: not None, not NaN and not pandas' NA."""
    values = np.asarray(X.iloc[:, i], object) if _names(X) else np.asarray(X, object)[:, i]
    # Of all values only the missing ones differ from themselves; the NA of pandas does not even say so.
    there = [x is not None and type(x).__name__ != "NAType" and x == x for x in values]
    return values, np.array(there, bool)
