"""Checks of networks, memories and ids that come from outside, in the same words for every backend.

The kernels bound every index that they take from a memory, so no content makes them read elsewhere. But a
number that is not finite, or an id that no token has, would give scores that mean nothing: it is refused.

Source: docs/architecture.md
"""

import weakref
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from wnn_jax import checks
from wnn_jax.chain import memory as memories
from wnn_jax.chain.constants import (
    BUCKET,
    CELL,
    CODE_BITS,
    FIELDS,
    FOLLOWED_KEYS,
    FOLLOWED_LOG,
    GAIN_ROWS,
    KINDS,
    LANES,
    LINE_BYTES,
    MATCH_LENGTHS,
    MATCH_LOG,
    RECENT,
    REFINE_LOG,
    REFINE_STEPS,
    REGISTERS,
    STATES,
    VIEWS,
    Lexicon,
)
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.memory import Memory, OnlineMemory, StaticMemory
from wnn_jax.checks import Limits

# A step of Adagrad moves a weight by at most the rate, so at rates of at most 1 no weight comes near to these
# bounds, and sums of a few hundred products of such weights are finite.
RATE = Limits(above=0, most=1)
WEIGHT = Limits(least=-1e9, most=1e9)
SUM = Limits(least=0, most=1e30)
# Beyond these numbers the nucleus and the divided log-odds are those of the bounds.
TEMPERATURE = Limits(least=1e-6, most=1e3)
TOP_P = Limits(least=1e-6, most=1)
BLOCK = Limits(least=1, most=1 << 22)  # tokens in a call, for each of which a row of probabilities is kept
_DRAWN = Limits(least=0, most=1 << 22)

_CHANCE = Limits(least=0, most=1)
_SHARE = Limits(above=0, below=1)
_known: list[weakref.ref] = []  # the arrays of the network that was accepted last


def network(given: Network) -> None:
    """Check the wiring of a model: every path must follow the tree, and every index must have its row.

    The arrays of the network that was accepted last are not checked again if they are JAX's own.

    Args:
      given: the wiring.

    Raises:
      ValueError: an array has another type or shape, or an entry that no wiring has.

    Source: docs/architecture.md
    """
    if not isinstance(given, Network):
        raise ValueError(f"network is of type {type(given).__name__}: give a Network of `chain.network`")
    leaves = jax.tree.leaves(given)
    if any(isinstance(x, Tracer) for x in leaves):
        return
    if len(leaves) == len(_known) and all(x is ref() for x, ref in zip(leaves, _known, strict=True)):
        return
    tree(given.tree)
    ids = len(given.tree.start) - 1
    checks.array("lexicon", given.lexicon, "uint32", {"V": ids, "facts": len(Lexicon)})
    codes = np.asarray(given.lexicon)[:, Lexicon.CODE]
    checks.entries("lexicon codes", codes, Limits(most=2**CODE_BITS - 1))
    checks.array("view", given.view, "int32", {"n": None}, Limits(least=0, most=len(VIEWS) - 1))
    neurons = {"n": len(given.view), "T": None}
    fields = Limits(least=-1, most=len(FIELDS) - 1)
    checks.array("connections", given.connections, "int32", neurons, fields)
    if not len(given.view):
        raise ValueError("view has no entry: a network needs at least one context neuron")
    _known[:] = [weakref.ref(x) for x in leaves] if all(isinstance(x, jax.Array) for x in leaves) else []


def tree(given: Any) -> None:
    """Check a token tree.

    Args:
      given: a `tokentree.TokenTree`.

    Raises:
      ValueError: an array has another type or shape, or a path does not follow the tree to its leaf.

    Source: docs/architecture.md
    """
    checks.array("start", given.start, "int32", {"V + 1": None})
    ids, nodes = len(given.start) - 1, len(given.start) - 2
    if nodes < 1:
        raise ValueError(f"start has {len(given.start)} entries: a token tree needs at least 2 ids")
    checks.array("node", given.node, "int32", {"L": None}, Limits(least=0, most=nodes - 1))
    turns = len(given.node)
    checks.array("bit", given.bit, "int32", {"L": turns}, Limits(least=0, most=1))
    children = Limits(least=-ids, most=nodes - 1)
    checks.array("children", given.children, "int32", {"M": nodes, "bits": 2}, children)
    checks.array("names", given.names, "uint32", {"views": len(VIEWS), "M": nodes})
    checks.array("kind", given.kind, "int32", {"M": nodes}, Limits(least=0, most=KINDS - 1))
    checks.array("spelled", given.spelled, "int32", {"M": nodes}, Limits(least=0, most=1))
    checks.array("codes", given.codes, "int32", {"V": ids}, Limits(least=0, most=2**CODE_BITS - 1))
    checks.array("rank", given.rank, "int32", {"V": ids}, Limits(least=0, most=ids))
    start, node, bit, after = (np.asarray(x) for x in (given.start, given.node, given.bit, given.children))
    if start[0] != 0 or start[-1] != turns or (np.diff(start) < 1).any():
        raise ValueError(
            f"start must ascend from 0 to the {turns} turns of all paths, each of at least one: make the "
            "tree with `tokentree`"
        )
    last = np.zeros(turns, bool)
    last[start[1:] - 1] = True
    # What follows each turn: the next node of the path, or the leaf of its id.
    wanted = np.append(node[1:], 0)
    wanted[last] = -1 - np.arange(ids)
    parents = np.arange(nodes)[:, None]
    if (
        node[start[:-1]].any()
        or (after[node, bit] != wanted).any()
        or ((after >= 0) & (after <= parents)).any()
    ):
        raise ValueError(
            "the paths of a token tree must follow its children from the root to the leaf of each id, and a "
            "child must come after its parent: make the tree with `tokentree`"
        )


def memory(wiring: Network, given: Memory) -> None:
    """Check what a model has learnt, and its place in a text.

    Args:
      wiring: the network of the model, which was checked.
      given: a static or an online memory.

    Raises:
      ValueError: an array has another type or shape, or an entry that no memory has.

    Source: docs/architecture.md
    """
    if not isinstance(given, StaticMemory | OnlineMemory):
        raise ValueError(f"memory is of type {type(given).__name__}: give a StaticMemory or an OnlineMemory")
    if any(isinstance(x, jax.Array) and x.is_deleted() for x in given):
        raise ValueError(
            "the memory was given away to an earlier call, which changed it: use the memory that it returned"
        )
    neurons, ids = wiring.view.shape[0], wiring.lexicon.shape[0]
    online = isinstance(given, OnlineMemory)
    sources = neurons * (2 if online else 1)
    inputs = -(-sources // LANES) * LANES
    slots = {"n": neurons, "S / 4": None, "cells": BUCKET, "words": CELL}
    checks.array("slots", given.slots, "uint32", slots)
    if given.slots.shape[1] != 1 << memories.log_slots(given) - 2 or memories.log_slots(given) > 28:
        raise ValueError(
            f"slots has {given.slots.shape[1]} buckets for a neuron: give a power of two up to 2^26"
        )
    checks.array("gain", given.gain, "float32", {"rows": GAIN_ROWS, "I": inputs}, WEIGHT)
    checks.array("offset", given.offset, "float32", {"rows": 2 * STATES, "I": inputs}, WEIGHT)
    checks.array("registers", given.registers, "uint32", {"registers": REGISTERS})
    if not isinstance(given.registers, Tracer):
        recent = np.asarray(given.registers)[:RECENT]
        checks.entries("registers", recent, Limits(least=0, most=ids))
    followed = {"keys": FOLLOWED_KEYS, "places": 1 << FOLLOWED_LOG, "tokens": 2}
    checks.array("followed", given.followed, "uint32", followed)
    checks.array("line", given.line, "uint32", {"lines": 2, "columns": LINE_BYTES})
    if isinstance(given, OnlineMemory):
        _online(given, inputs, ids)


def _online(given: OnlineMemory, inputs: int, ids: int) -> None:
    """Check the parts that only an online memory has.

    Raises:
      ValueError: an array has another type or shape, or an entry that no memory has.
    """
    checks.array("gain_sum", given.gain_sum, "float32", {"rows": GAIN_ROWS, "I": inputs}, SUM)
    checks.array("offset_sum", given.offset_sum, "float32", {"rows": 2 * STATES, "I": inputs}, SUM)
    lengths = {"branches": 2, "lengths": MATCH_LENGTHS}
    checks.array("match_share", given.match_share, "float32", lengths, _SHARE)
    checks.array("match_gain", given.match_gain, "float32", lengths, WEIGHT)
    maps = {"maps": 2, "places": 1 << REFINE_LOG, "steps": REFINE_STEPS}
    checks.array("refined", given.refined, "float32", maps, _CHANCE)
    checks.array("text", given.text, "int32", {"room": None}, Limits(least=0, most=ids - 1))
    if given.text.shape[0] <= 2 * MATCH_LENGTHS:
        raise ValueError(
            f"text has room for {given.text.shape[0]} tokens: give more than {2 * MATCH_LENGTHS}"
        )
    checks.array("match_table", given.match_table, "int32", {"places": 1 << MATCH_LOG})


def drawing(count: int, temperature: float, top_p: float) -> None:
    """Check the numbers of a draw.

    Args:
      count: the number of tokens.
      temperature: divides the log-odds of every turn.
      top_p: the probability of the tokens to draw from.

    Raises:
      ValueError: a number is out of range.

    Source: docs/architecture.md
    """
    checks.integer("count", count, _DRAWN)
    checks.number("temperature", temperature, TEMPERATURE)
    checks.number("top_p", top_p, TOP_P)


def tokens(wiring: Network, given: np.ndarray | jax.Array | Sequence[int]) -> np.ndarray:
    """Return ids as ``int32 [N]``.

    Args:
      wiring: the network, which knows the vocabulary.
      given: ids ``int [N]``.

    Raises:
      ValueError: the ids are no integers, have more than one axis, or are outside the vocabulary.

    Source: docs/semantics/chain.md
    """
    ids, vocabulary = np.asarray(given), wiring.lexicon.shape[0]
    if not ids.size:
        ids = ids.astype(np.int32)
    checks.array("tokens", ids, "integers", {"N": None})
    bad = np.flatnonzero((ids < 0) | (ids >= vocabulary))
    if bad.size:
        raise ValueError(
            f"token {ids[bad[0]]} at place {bad[0]} is outside the {vocabulary} ids: give ids from 0 to "
            f"{vocabulary - 1}"
        )
    return ids.astype(np.int32)
