"""Counts documents apart, merges what was counted, and forgets documents: exactly, to the last bit.

    base = chain.count(model, documents)         # the model that saw these documents, each by itself
    more = chain.merge(base, chain.count(model, others))
    less = chain.forget(more, documents[3])      # equals the model that never saw this document

Token tree, readout and discounts are those of the given model; a static model keeps them from its fit. Each
document is read from the beginning of a text, so it says nothing about its neighbours. The models that come
back stand at the beginning of a text too: no trace of what they read is left in their place.

Source: docs/semantics/chain_static.md
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.chain import audit, backend, counting, fields, given, ledger, static, static_inputs
from wnn_jax.chain.audit import Books
from wnn_jax.chain.constants import BUCKET, ORDERS
from wnn_jax.chain.fitted import ChainModel
from wnn_jax.chain.ledger import Ledger
from wnn_jax.chain.memory import StaticMemory

Document = str | np.ndarray | Sequence[int]
_LEAST = 1024  # documents are padded to this times a power of two, so that few shapes are compiled


@checks.classes
def count(
    model: ChainModel, documents: Sequence[Document], mesh: jax.sharding.Mesh | None = None
) -> ChainModel:
    """Returns the model that counted these documents and nothing else, with the books of what it counted.

    Args:
      model: a static model, whose tree, readout and discounts are kept.
      documents: texts, or ids ``int [N]``; their order has no effect.
      mesh: devices that share the work, see `counting.mesh`; the result does not depend on it. Every process
        must give the same documents.

    Raises:
      ValueError: the model is not static or has no discounts, or a token is outside the vocabulary.

    Source: docs/semantics/chain_static.md
    """
    memory = _static(model)
    seen = [_observed(model, _ids(model, one)) for one in documents]
    rows = ORDERS + model.network.view.shape[0]
    hashes = np.concatenate([np.zeros((rows, 0), np.uint32), *(one[0] for one in seen)], axis=1)
    tokens = np.concatenate([np.zeros(0, np.int32), *(one[1] for one in seen)])
    return _recounted(model, memory, ledger.of(hashes, tokens), mesh)


@checks.classes
def merge(a: ChainModel, b: ChainModel) -> ChainModel:
    """Returns the model that counted what both counted: to the bit that of `count` over all their documents.

    Args:
      a: a model from `count`, `merge` or `forget`.
      b: another one, with the same wiring, readout, discounts and size of tables.

    Raises:
      ValueError: a model has no ledger, the models differ in what they must share, or a count is too large.

    Source: docs/semantics/chain_static.md
    """
    one, other = _static(a), _static(b)
    ours, theirs = _books(a).ledger, _books(b).ledger
    shared = {"network": (a.network, b.network), "config": (a.config, b.config)}
    shared |= {
        name: (getattr(one, name), getattr(other, name)) for name in ("weights", "finals", "discounts")
    }
    shared["size of the tables"] = one.slots.shape, other.slots.shape
    for name, pair in shared.items():
        if not _same(*pair):
            raise ValueError(
                f"only models of one fit can be merged, but these differ in their {name}: count both with "
                "chain.count from the same model"
            )
    return _recounted(a, one, ledger.added(ours, theirs), None)


@checks.classes
def forget(model: ChainModel, document: Document, *, donate: bool = False) -> ChainModel:
    """Returns the model that never saw a document: to the bit that of `count` over all its other documents.

    What the document had driven out of a full bucket comes back from the spill.

    Args:
      model: a model from `count`, `merge` or `forget`.
      document: a text, or ids ``int [N]``, as it was counted. If it was counted several times, it is
        forgotten once.
      donate: whether to give away the tables instead of copying them; ``model`` must not be used afterwards.

    Raises:
      ValueError: the model has no ledger, or it did not count this document; nothing is changed then.

    Source: docs/semantics/chain_static.md
    """
    memory, books = _static(model), _books(model)
    held = books.ledger
    part = ledger.of(*_observed(model, _ids(model, document)))
    native = backend.native()
    lacking = np.asarray(_lacking(held, part)) if native else ledger.lacking(held, part)
    if lacking.any():
        row = int(np.argmax(lacking > 0))
        raise ValueError(
            f"the model did not count this document: {int(lacking.sum())} of its contexts and tokens are not "
            f"in the ledger as often as in the document, the first of them in {_named(model, row)}; give a "
            "document whole, as it was counted"
        )
    if not native:
        return _recounted(model, memory, ledger.without(held, part), None)
    run: Any = _forget_in_place if donate else _forget
    slots, left, sizes = run(model.network, memory.slots, memory.discounts, books, part)
    entries, spilled = (ledger.room(int(n)) for n in np.max(sizes, axis=1))
    left = Books(Ledger(*(_cut(x, entries) for x in left.ledger)), left.lost, _cut(left.spill, spilled))
    memory = fields.put(memory._replace(slots=slots), fields.empty())
    return model._replace(memory=memory, books=left)


def _cut(x: jax.Array, size: int) -> jax.Array:
    return x if x.shape[1] == size else x[:, :size]


def _forget_of(network, slots, discounts, books: Books, part: Ledger):
    return backend.forget(static_inputs.wired(network), slots, discounts, books, part)


_lacking = jax.jit(backend.lacking)
_forget = jax.jit(_forget_of)
_forget_in_place = functools.partial(jax.jit, donate_argnums=(1, 3))(_forget_of)


def _recounted(
    model: ChainModel, memory: StaticMemory, held: Ledger, mesh: jax.sharding.Mesh | None
) -> ChainModel:
    """Returns the model of a ledger; the tables of ``memory`` stay as they are."""

    def followers(row: int):
        return ledger.followers(ledger.row(held, row), continued=row + 1 < ORDERS)

    slots = backend.zeros(memory.slots.shape)
    memory = fields.put(memory._replace(slots=slots), fields.empty())
    size, discounts = held.counts.shape[1], np.asarray(memory.discounts)
    memory = counting.fill(model.network, memory, followers, size, discounts, mesh)
    books = audit.books(model.network, memory.slots, discounts, held, followers)
    return model._replace(memory=memory, books=books)


def _observed(model: ChainModel, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the hashes ``uint32 [R, N]`` and the tokens of a document, which begins a text."""
    padded = np.zeros(_LEAST * ledger.room(-(-len(ids) // _LEAST)), np.int32)
    padded[: len(ids)] = ids
    hashes = static.hashes(model.network, fields.empty(), padded)
    return np.asarray(hashes)[:, : len(ids)], ids


def _ids(model: ChainModel, document: Document) -> np.ndarray:
    return given.tokens(
        model.network, model.tokenizer.encode(document) if isinstance(document, str) else document
    )


def _static(model: ChainModel) -> StaticMemory:
    """Returns the checked memory of a static model.

    Raises:
      ValueError: the model is an online one, an array of it is not of one, or it has no discounts.
    """
    given.network(model.network)
    given.memory(model.network, model.memory)
    if not isinstance(model.memory, StaticMemory):
        raise ValueError(
            "the counts of an online model depend on their order, so it cannot count apart, merge or forget: "
            "fit it with mode='static'"
        )
    if not np.asarray(model.memory.discounts).all():
        raise ValueError("the model has no discounts, because it was not fitted: make it with chain.fit")
    return model.memory


def _books(model: ChainModel) -> Books:
    """Returns the checked books of a model.

    Raises:
      ValueError: there are none, or their arrays have other types or shapes.
    """
    if model.books is None:
        raise ValueError(
            "the model has no ledger of what it counted, so nothing can be added or taken away: count its "
            "documents with chain.count"
        )
    held, lost, spill = model.books
    rows = ORDERS + model.network.view.shape[0]
    checks.array("ledger.counts", held.counts, "int32", {"R": rows, "U": None})
    sizes = {"R": rows, "U": held.counts.shape[1]}
    checks.array("ledger.hashes", held.hashes, "uint32", sizes)
    checks.array("ledger.tokens", held.tokens, "int32", sizes)
    checks.array("ledger.longer", held.longer, "uint32", {**sizes, "R": ORDERS - 1})
    cells = {"R": rows, "S / 4": model.memory.slots.shape[1], "cells": BUCKET, "sums": 2}
    checks.array("lost", lost, "uint32", cells)
    checks.array("spill", spill, "uint32", {"R": rows, "X": None, "words": audit.SPILLED})
    return model.books


def _same(one: Any, other: Any) -> bool:
    pairs = jax.tree.leaves(one), jax.tree.leaves(other)
    return len(pairs[0]) == len(pairs[1]) and all(
        x is y or np.array_equal(x, y) for x, y in zip(*pairs, strict=True)
    )


def _named(model: ChainModel, row: int) -> str:
    if row < ORDERS:
        return f"order {row + 1} of Kneser-Ney"
    return f"the neuron {model.config.described[row - ORDERS]!r}"
