"""Saves fitted chain models in checkpoints, and loads them."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from wnn_jax import checks, files
from wnn_jax.chain import given, tokentree
from wnn_jax.chain.config import ChainConfig
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.fitted import ChainModel
from wnn_jax.chain.memory import StaticMemory
from wnn_jax.chain.online import OnlineMemory
from wnn_jax.data import text as texts
from wnn_jax.data.text import TextConfig
from wnn_jax.saving import checkpoint

# Editions 1 to 4 had other cells, other fields and another mixer: they cannot go on here.
EDITION = 5


def save(
    path: str | pathlib.Path,
    model: ChainModel,
    text: TextConfig,
    metrics: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Writes a model, with its tables, as the next version of a checkpoint, and returns its folder.

    Args:
      path: the folder of the checkpoint.
      model: the fitted model.
      text: the settings of the text that it was fitted on; `load` makes the tokenizer from them again.
      metrics: JSON data to keep with the model, such as its scores.

    Raises:
      ValueError: ``path`` holds something that is not a checkpoint, or cannot be written.

    Source: docs/architecture.md
    """
    config = {
        "edition": EDITION,
        "text": dataclasses.asdict(text),
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
        another edition, or its tokenizer cannot be made again.

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
    missing = {*(f"tree_{name}" for name in trees), *kind._fields, "lexicon", "view", "sets"} - set(arrays)
    if missing:
        raise ValueError(
            f"{path} holds an incomplete chain model, which lacks {', '.join(sorted(missing))}: save it again"
        )
    text = checks.made(TextConfig, found.config.get("text"), f"the checkpoint {path}")
    tokenizer = texts.tokenizer_of(text)
    ids = len(arrays["tree_codes"])
    if len(tokenizer.pieces) != ids:
        raise ValueError(
            f"{path} was fitted with {ids} ids, but its tokenizer now has {len(tokenizer.pieces)}: the text "
            f"{text.corpus} has changed; restore it"
        )
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
    texts.check_ids_mean(tokenizer, found.config.get("ids"), text)
    return ChainModel(config, tokenizer, network, memory)


def _arrays(model: ChainModel) -> dict[str, jax.Array]:
    """Returns all arrays of a model except its connections, by name."""
    network = model.network
    tree = {f"tree_{name}": x for name, x in network.tree._asdict().items()}
    wiring = {name: getattr(network, name) for name in ("lexicon", "view", "sets")}
    return {**model.memory._asdict(), **tree, **wiring}
