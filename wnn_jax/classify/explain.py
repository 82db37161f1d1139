"""Explanations: what a class looks like, which features made a score, and how new a row is.

Shape letters are those of `layer`; F is the number of input features.

Source: docs/semantics/classify.md
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.classify import counts as cells
from wnn_jax.classify.layer import UNUSED, Mapping, dense, entries_of, read


def mental_images(mapping: Mapping, counts: Any, source: Any, features: int | None = None) -> np.ndarray:
    """Project the counts back to the input: how often each class was written with the bits of a feature set.

    Args:
      mapping: the neurons, of dense tables.
      counts: ``int32 [M, S, K]``.
      source: integers ``[J]``, the feature of each column of levels.
      features: F; None is the largest source + 1.

    Returns:
      ``float64 [K, F]``: of all that the pins of the feature wrote for the class, the share with a bit of 1.
      A feature that no neuron reads and a class that was never written have 0.

    Raises:
      ValueError: the tables are hashed, or an array has a wrong type, shape or entry.

    Source: docs/semantics/classify.md; Grieco et al. 2010, "Producing pattern examples from mental images"
    """
    source, features = _features(mapping, source, features)
    bits = mapping.column.shape[1]
    hashes = np.asarray(mapping.hashes)
    if hashes.shape[0] != 1 or bits > 24 or (hashes != dense(bits)).any():
        raise ValueError(
            f"the tables are hashed ({len(hashes)} hashes of {bits} bits), and an entry does not tell the "
            "bits: mental images need dense tables"
        )
    counts = np.asarray(counts)
    checks.array("counts", counts, "int32", {"M": None, "S": None, "K": None})
    neuron, pin = np.nonzero(np.asarray(mapping.level) != UNUSED)
    feature = source[np.asarray(mapping.column)[neuron, pin]]
    table = np.asarray(mapping.table)
    total = counts.sum(axis=1, dtype=np.float64)  # [M, K]
    set_bits = np.stack(
        [
            counts[:, np.arange(counts.shape[1]) >> t & 1 == 1].sum(axis=1, dtype=np.float64)
            for t in range(bits)
        ]
    )  # [T, M, K]
    ones, written = np.zeros((2, features, counts.shape[2]))
    np.add.at(ones, feature, set_bits[pin, table[neuron]])
    np.add.at(written, feature, total[table[neuron]])
    return (ones / np.where(written > 0, written, 1)).T


def contributions(
    mapping: Mapping, frozen: Any, levels: Any, source: Any, features: int | None = None
) -> np.ndarray:
    """Compute what the bits of each feature add to the scores, compared with each bit flipped alone.

    A pin adds the cell that its neuron reads, less the cell that it would read if the pin's bit were the
    other one. The contribution of a feature is the sum over the pins that read it.

    Args:
      mapping: the neurons.
      frozen: integers ``[M, S, K]``, the cells that a frozen model reads.
      levels: ``uint8 [N, J]``.
      source: integers ``[J]``, the feature of each column of levels.
      features: F; None is the largest source + 1.

    Returns:
      ``int32 [N, F, K]``.

    Raises:
      ValueError: an array has a wrong type, shape or entry.

    Source: docs/semantics/classify.md
    """
    source, features = _features(mapping, source, features)
    checks.array("levels", levels, "uint8", {"N": None, "J": len(source)})
    checks.array("frozen", frozen, "integers", {"M": None, "S": None, "K": None})
    feature = jnp.asarray(source[np.asarray(mapping.column)], jnp.int32)
    frozen = jnp.asarray(frozen)
    wide = cells.as_rows(levels)[0]
    size = cells.block(len(wide), 4 * features * frozen.shape[2])
    found = [
        np.asarray(_contributions(mapping, frozen, wide[i : i + size], feature, features))
        for i in range(0, len(levels), size)
    ]
    return np.concatenate(found)[: len(levels)]


@functools.partial(jax.jit, static_argnames="features")
def _contributions(mapping: Mapping, frozen, levels, feature, features: int):
    by_column = levels.T
    sums = jnp.zeros((features, len(levels), frozen.shape[2]), jnp.int32)

    def neuron(sums, one):
        column, level, table, feature = one
        entry = entries_of(column, level, mapping.hashes, by_column)  # [H, N]
        here = frozen[table, entry].min(axis=0).astype(jnp.int32)  # [N, K]

        def pin(sums, one):
            level, feature, flip = one
            there = frozen[table, entry ^ flip[:, None]].min(axis=0).astype(jnp.int32)
            return sums.at[feature].add(jnp.where(level != UNUSED, here - there, 0)), None

        return jax.lax.scan(pin, sums, (level, feature, mapping.hashes.T.astype(jnp.int32)))[0], None

    sums = jax.lax.scan(neuron, sums, (mapping.column, mapping.level, mapping.table, feature))[0]
    return sums.swapaxes(0, 1)


def _features(mapping: Mapping, source: Any, features: int | None) -> tuple[np.ndarray, int]:
    source = np.asarray(source)
    most = int(source.max(initial=-1)) + 1
    features = checks.integer("features", most if features is None else features, Limits(least=most))
    columns = int(np.max(mapping.column, initial=0)) + 1
    checks.array("source", source, "integers", {"J": None}, Limits(least=0))
    if len(source) < columns:
        raise ValueError(
            f"source has {len(source)} columns, but the neurons read column {columns - 1}: give the feature "
            "of every column of levels"
        )
    return source, features


def presence(mapping: Mapping, entries: int, levels: Any) -> np.ndarray:
    """Mark the cells that rows address, such as the normal rows of a detection task.

    Args:
      mapping: the neurons.
      entries: S, the entries of a table.
      levels: ``uint8 [N, J]``.

    Returns:
      Zeros and ones, ``int8 [M, S, 1]``.

    Raises:
      ValueError: an array has a wrong type or shape, or the tables are too small for the hashes.

    Source: docs/semantics/classify.md
    """
    seen = cells.empty(mapping, entries, 1)
    seen = cells.write(mapping, seen, levels, np.zeros(len(levels), np.int32))
    return np.asarray(seen > 0, np.int8)


def novelty(mapping: Mapping, present: Any, levels: Any) -> np.ndarray:
    """Compute how new each row is: the share of the neurons whose address was never shown.

    Args:
      mapping: the neurons.
      present: zeros and ones, ``int8 [M, S, 1]``, from `presence`; of counts take those above 0 of the
        classes that are known.
      levels: ``uint8 [N, J]``.

    Returns:
      ``float64 [N]``, from 0 to 1. A neuron of a hashed table knows an address if all its entries are marked.

    Raises:
      ValueError: an array has a wrong type, shape or entry.

    Source: docs/semantics/classify.md
    """
    checks.array("present", present, "int8", {"M": None, "S": None, "1": 1}, Limits(least=0, most=1))
    checks.array("levels", levels, "uint8", {"N": None, "J": None})
    neurons, rows = mapping.column.shape[0], len(levels)
    wide, present = cells.as_rows(levels)[0], jnp.asarray(present)
    size = cells.block(len(wide), neurons * mapping.hashes.size)
    known = [np.asarray(_read(mapping, present, wide[i : i + size])) for i in range(0, rows, size)]
    return 1.0 - np.concatenate(known)[:rows, 0] / np.float64(neurons)


_read = jax.jit(read)
