"""Saves fitted chain models in checkpoints, and loads them."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, files
from wnn_jax.chain import fields, given, lexicon, tokentree
from wnn_jax.chain.config import ChainConfig
from wnn_jax.chain.constants import FIELDS, REGISTERS, Register
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.fitted import ChainModel
from wnn_jax.chain.memory import OnlineMemory, StaticMemory
from wnn_jax.data import text as texts
from wnn_jax.data.text import TextConfig
from wnn_jax.saving import checkpoint

# Edition 1 did not name its edition, had the readout's settings among the model's, and had one shape for both
# modes. Edition 2 did not keep the digest of what ids mean. Edition 3 had the fields and registers below, no
# table of what followed, and no ranks of tokens.
EDITION = 4
_TREE = tuple(f"tree_{name}" for name in tokentree.TokenTree._fields)
_NEW = ("tree_rank", "followed", "line")  # arrays that edition 3 did not have
_FIELDS_3 = (
    *(f"token{k}" for k in range(1, 7)),
    *(f"folded{k}" for k in range(1, 4)),
    *(f"class{bits}_{k}" for bits in (6, 9, 12) for k in range(1, 4)),
    *("word", "last_word", "bytes3"),
)
_REGISTERS_3 = (
    *range(6),
    *(Register.WORD, Register.LAST_WORD, Register.LAST_BYTES),
    *(Register.COUNT, Register.MATCH_AT, Register.MATCH_LENGTH),
)


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
    arrays = _arrays(model)
    return checkpoint.save(path, model.network.connections, config, metrics or {}, arrays)


def load(path: str | pathlib.Path) -> ChainModel:
    """Reads a model that `save` wrote.

    Args:
      path: the folder of the checkpoint.

    Raises:
      ValueError: there is no checkpoint, it is damaged or incomplete, it holds no chain model or one of a
        later edition, or its tokenizer cannot be made again.

    Source: docs/architecture.md
    """
    found = checkpoint.load(path)
    if "chain" not in found.config:
        raise ValueError(f"{path} holds no chain model: give a folder that `chain.save` wrote")
    edition = checks.integer("edition", found.config.get("edition", 1))
    if edition > EDITION:
        raise ValueError(
            f"{path} holds a chain model of edition {edition}, but this wnn_jax reads editions up to "
            f"{EDITION}: update wnn_jax"
        )
    config = checks.made(ChainConfig, _settings(found.config), f"the checkpoint {path}")
    arrays, connections = dict(found.table or {}), np.asarray(found.connections)
    kind = OnlineMemory if config.mode == "online" else StaticMemory
    missing = {*_TREE, *kind._fields, "lexicon", "view"} - {*arrays, *(_NEW if edition < 4 else ())}
    if missing:
        raise ValueError(
            f"{path} holds an incomplete chain model, which lacks {', '.join(sorted(missing))}: save it again"
        )
    text = checks.made(TextConfig, found.config.get("text"), f"the checkpoint {path}")
    tokenizer = texts.tokenizer_of(text)
    ids = arrays["tree_codes"].size
    if len(tokenizer.pieces) != ids:
        raise ValueError(
            f"{path} was fitted with {ids} ids, but its tokenizer now has {len(tokenizer.pieces)}: the text "
            f"{text.corpus} has changed; restore it"
        )
    with files.contents(str(path)):
        if edition < 4:
            arrays, connections = _renewed(arrays, connections, tokenizer.pieces)
        network = Network(
            tree=tokentree.TokenTree(*(arrays[name] for name in _TREE)),
            lexicon=arrays["lexicon"],
            connections=jnp.asarray(connections, jnp.int32),
            view=arrays["view"],
        )
        memory = kind(**{name: arrays[name] for name in kind._fields})
        given.network(network)
        given.memory(network, memory)
    if edition > 2:
        texts.check_ids_mean(tokenizer, found.config.get("ids"), text)
    return ChainModel(config, tokenizer, network, memory)


def _arrays(model: ChainModel) -> dict[str, jax.Array]:
    """Returns all arrays of a model except its connections, by name."""
    network = model.network
    tree = dict(zip(_TREE, network.tree, strict=True))
    return {**model.memory._asdict(), **tree, "lexicon": network.lexicon, "view": network.view}


def _renewed(
    arrays: Mapping[str, Any], connections: np.ndarray, pieces: list[bytes]
) -> tuple[dict[str, Any], np.ndarray]:
    """Returns the arrays and the connections of a model of edition 3 as edition 4 has them.

    The fields that edition 3 did not have begin as if the text began; no neuron of the model observes them.
    """
    codes, old = np.asarray(arrays["tree_codes"]), np.asarray(arrays["registers"])
    rank = np.full(len(pieces), len(pieces), np.int32)
    registers = np.zeros(REGISTERS, np.uint32)
    registers[list(_REGISTERS_3)] = old
    if connections.min() < -1:
        raise ValueError(f"a connection is {connections.min()}: give integers of at least -1")
    numbers = np.array([*(FIELDS.index(name) for name in _FIELDS_3), -1], np.int32)
    state = fields.empty()._replace(registers=jnp.asarray(registers))
    named = {"tree_rank": jnp.asarray(rank), "lexicon": jnp.asarray(lexicon.lexicon(pieces, codes, rank))}
    return {**arrays, **named, **state._asdict()}, numbers[connections]


def _settings(found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a model of any edition, as the newest one has them."""
    known = found["chain"]
    if "edition" not in found and isinstance(known, dict):
        known = {**known}
        known.pop("seed", None)
        readout = {"tokens": known.pop("readout_tokens", None), "epochs": known.pop("epochs", None)}
        known |= {"mode": found.get("mode"), "readout": readout}
    return known
