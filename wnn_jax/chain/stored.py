"""Saves fitted chain models in checkpoints, and loads them."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, files
from wnn_jax.chain import given, tokentree
from wnn_jax.chain.audit import Books
from wnn_jax.chain.config import ChainConfig
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.fitted import ChainModel
from wnn_jax.chain.ledger import Ledger
from wnn_jax.chain.memory import StaticMemory
from wnn_jax.chain.online import OnlineMemory
from wnn_jax.data import tokenizers
from wnn_jax.data.text import TextConfig
from wnn_jax.data.tokenizers import Tokenizer
from wnn_jax.saving import checkpoint

# Editions 1 to 5 had other cells, other fields or no tokenizer: they cannot go on here.
EDITION = 6
_WIRING = ("lexicon", "view", "sets")
_BOOKS = (*Ledger._fields, "lost", "spill")


def save(
    path: str | pathlib.Path,
    model: ChainModel,
    text: TextConfig,
    metrics: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Writes a model, with its tables, as the next version of a checkpoint, and returns its folder.

    The checkpoint is complete: it holds the tokenizer too, and `load` reads no other file.

    Args:
      path: the folder of the checkpoint.
      model: the fitted model.
      text: the settings of the text that it was fitted on, which are kept as a record.
      metrics: JSON data to keep with the model, such as its scores.

    Raises:
      ValueError: ``path`` holds something that is not a checkpoint, or cannot be written.

    Source: docs/architecture.md
    """
    config = {
        "edition": EDITION,
        "text": dataclasses.asdict(text),
        "tokenizer": model.tokenizer.name,
        "ids": model.tokenizer.digest,
        "chain": dataclasses.asdict(model.config),
    }
    return checkpoint.save(path, model.network.connections, config, metrics or {}, _arrays(model))


def load(path: str | pathlib.Path) -> ChainModel:
    """Reads a model that `save` wrote.

    Args:
      path: the folder of the checkpoint.

    Raises:
      ValueError: there is no checkpoint, it is damaged or incomplete, it holds no chain model or one of
        another edition, or its tokenizer cannot be made again, because a package is missing or has changed.

    Source: docs/architecture.md
    """
    found = checkpoint.load(path)
    if "chain" not in found.config:
        raise ValueError(f"{path} holds no chain model: give a folder that `chain.save` wrote")
    edition = checks.integer("edition", found.config.get("edition", 1))
    if edition > EDITION:
        raise ValueError(
            f"{path} holds a chain model of edition {edition}, but this wnn_jax reads edition {EDITION}: "
            "update wnn_jax"
        )
    if edition < EDITION:
        raise ValueError(
            f"{path} holds a chain model of edition {edition}, which this wnn_jax cannot continue: it reads "
            f"edition {EDITION}; fit the model again, or use the version that saved it"
        )
    config = checks.made(ChainConfig, found.config["chain"], f"the checkpoint {path}")
    arrays = found.table or {}
    kind = OnlineMemory if config.mode == "online" else StaticMemory
    trees = tokentree.TokenTree._fields
    missing = {
        *(f"tree_{name}" for name in trees),
        *kind._fields,
        *_WIRING,
        "tokenizer",
    } - set(arrays)
    if missing:
        raise ValueError(
            f"{path} holds an incomplete chain model, which lacks {', '.join(sorted(missing))}: save it again"
        )
    tokenizer = _tokenizer(path, found.config, arrays)
    with files.contents(str(path)):
        network = Network(
            tree=tokentree.TokenTree(**{name: arrays[f"tree_{name}"] for name in trees}),
            lexicon=arrays["lexicon"],
            connections=jnp.asarray(found.connections, jnp.int32),
            view=arrays["view"],
            sets=arrays["sets"],
        )
        memory = kind(**{name: jnp.asarray(arrays[name]) for name in kind._fields})
        given.network(network)
        given.memory(network, memory)
        books = _books(arrays)
    return ChainModel(config, tokenizer, network, memory, books)


def _tokenizer(path: str | pathlib.Path, config: dict[str, Any], arrays: dict[str, jax.Array]) -> Tokenizer:
    """Makes the tokenizer again from what the checkpoint holds of it."""
    with files.contents(str(path)):
        name, kept = str(config["tokenizer"]), np.asarray(arrays["tokenizer"], np.uint8)
    tokenizer = tokenizers.restored(name, kept.tobytes())
    if tokenizer.digest != config.get("ids") or len(tokenizer.pieces) != len(arrays["tree_codes"]):
        raise ValueError(
            f"{path} holds the tokenizer {name}, but the package that reads it here gives ids another "
            "meaning than when the model was saved: install the version of then, or fit the model again"
        )
    return tokenizer


def _books(arrays: dict[str, jax.Array]) -> Books | None:
    """Returns the books of a static model that has some."""
    kept = {name: arrays[f"books_{name}"] for name in _BOOKS if f"books_{name}" in arrays}
    if len(kept) < len(_BOOKS):
        return None
    entries = Ledger(*(kept.pop(name) for name in Ledger._fields))
    return Books(entries, **kept)


def _arrays(model: ChainModel) -> dict[str, Any]:
    """Returns all arrays of a model except its connections, by name."""
    network, books = model.network, model.books
    tree = {f"tree_{name}": x for name, x in network.tree._asdict().items()}
    wiring = {name: getattr(network, name) for name in _WIRING}
    kept = {"tokenizer": np.frombuffer(model.tokenizer.model, np.uint8)}
    if books:
        held = {**books.ledger._asdict(), "lost": books.lost, "spill": books.spill}
        kept |= {f"books_{name}": held[name] for name in _BOOKS}
    return {**model.memory._asdict(), **tree, **wiring, **kept}
