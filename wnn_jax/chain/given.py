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
from wnn_jax.chain import online, static_inputs, static_mixer
from wnn_jax.chain.constants import (
    BUCKET,
    CODE_BITS,
    DISCOUNT_UNIT,
    FIELDS,
    FINAL_SETS,
    FOLLOWED_KEYS,
    FOLLOWED_LOG,
    KINDS,
    LINE_BYTES,
    LIST_WORDS,
    MAP_STATES,
    MATCH_LONGEST,
    MATCH_PLACES_LOG,
    MATCH_STATES,
    MATCHES,
    ORDERS,
    RECENCIES,
    RECENT,
    REFINE_STEPS,
    REFINED_LOG,
    REFINEMENTS,
    REGISTERS,
    RUN_STATES,
    SET_ROWS,
    STATIC_CELL,
    VIEWS,
    WIDE_CELL,
    Lexicon,
    StaticSet,
    WeightSet,
)
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.memory import Memory, StaticMemory
from wnn_jax.chain.online import OnlineMemory
from wnn_jax.checks import Limits
from wnn_jax.data.tokens import Tokens
from wnn_jax.ram.backend import MOST_THREADS

# A step of Adagrad moves a weight by at most the rate, so at rates of at most 1 no weight comes near to these
# bounds, and sums of a few hundred products of such weights are finite.
RATE = Limits(above=0, most=1)
WEIGHT = Limits(least=-1e9, most=1e9)
SUM = Limits(least=0, most=1e30)
# Beyond these numbers the nucleus and the divided log-odds are those of the bounds.
TEMPERATURE = Limits(least=1e-6, most=1e3)
TOP_P = Limits(least=1e-6, most=1)
THREADS = Limits(least=1, most=MOST_THREADS)
BLOCK = Limits(least=1, most=1 << 22)  # tokens in a call, for each of which a row of probabilities is kept
_DRAWN = Limits(least=0, most=1 << 22)

_CHANCE = Limits(least=0, most=1)
_SHARE = Limits(above=0, below=1)
_known: list[tuple[weakref.ref, ...]] = []  # the arrays of the last two networks, as many as a mixture has


def network(given: Network) -> None:
    """Check the wiring of a model: every path must follow the tree, and every index must have its row.

    The arrays of the last two networks that were accepted are not checked again if they are JAX's own.

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
    for refs in list(_known):
        if len(leaves) == len(refs) and all(x is ref() for x, ref in zip(leaves, refs, strict=True)):
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
    checks.array("sets", given.sets, "int32", {"K": None}, Limits(least=0, most=len(SET_ROWS) - 1))
    chosen = np.asarray(given.sets).tolist()
    if not chosen or chosen[0] != WeightSet.ONE or len(set(chosen)) != len(chosen):
        raise ValueError(f"sets is {chosen}: the first set must be {WeightSet.ONE:d} (one), each once")
    if not len(given.view):
        raise ValueError("view has no entry: a network needs at least one context neuron")
    if all(isinstance(x, jax.Array) for x in leaves):
        _known[:] = [*_known[-1:], tuple(weakref.ref(x) for x in leaves)]


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
    _text_state(given, ids=wiring.lexicon.shape[0])
    if isinstance(given, OnlineMemory):
        _online(wiring, given)
    else:
        _static(wiring, given)


def _text_state(given: Memory, ids: int) -> None:
    """Check the state of the text that a memory has read.

    Raises:
      ValueError: an array has another type or shape, or an entry that no memory has.
    """
    checks.array("registers", given.registers, "uint32", {"registers": REGISTERS})
    if not isinstance(given.registers, Tracer):
        recent = np.asarray(given.registers)[:RECENT]
        checks.entries("registers", recent, Limits(least=0, most=ids))
    followed = {"keys": FOLLOWED_KEYS, "places": 1 << FOLLOWED_LOG, "tokens": 2}
    checks.array("followed", given.followed, "uint32", followed)
    checks.array("line", given.line, "uint32", {"lines": 2, "columns": LINE_BYTES})


def _slots(given: Memory, neurons: int, cell: int) -> None:
    """Check the cells of a memory, which have ``cell`` words.

    Raises:
      ValueError: they have another type or shape.
    """
    slots = {"n": neurons, "S / 4": None, "cells": BUCKET, "words": cell}
    checks.array("slots", given.slots, "uint32", slots)
    if given.slots.shape[1] != 1 << memories.log_slots(given) - 2 or memories.log_slots(given) > 28:
        raise ValueError(
            f"slots has {given.slots.shape[1]} buckets for a neuron: give a power of two up to 2^26"
        )


def _static(wiring: Network, given: StaticMemory) -> None:
    """Check the parts of a static memory.

    Raises:
      ValueError: an array has another type or shape, or an entry that no memory has.
    """
    neurons = wiring.view.shape[0]
    _slots(given, ORDERS + neurons, STATIC_CELL)
    rows, inputs = int(static_mixer.FIRST[-1]), static_inputs.size(neurons)
    checks.array("weights", given.weights, "float32", {"rows": rows, "I": inputs}, WEIGHT)
    rows = int(static_mixer.FINAL_FIRST[-1])
    checks.array("finals", given.finals, "float32", {"rows": rows, "sets": len(StaticSet)}, WEIGHT)
    sizes = {"ORDERS + n": ORDERS + neurons, "counts": 3}
    checks.array("discounts", given.discounts, "uint32", sizes, Limits(most=3 * DISCOUNT_UNIT))


def _online(wiring: Network, given: OnlineMemory) -> None:
    """Check the parts of an online memory.

    Raises:
      ValueError: an array has another type or shape, or an entry that no memory has.
    """
    neurons, ids, nodes = wiring.view.shape[0], wiring.lexicon.shape[0], wiring.tree.children.shape[0]
    _slots(given, neurons, WIDE_CELL)
    lists = _used("lists", given.lists, "uint32", neurons, {"lists": None, "words": LIST_WORDS})
    if lists and given.lists.shape[1] not in {1 << log for log in range(27)}:
        raise ValueError(
            f"lists has {given.lists.shape[1]} lists for a neuron: give a power of two up to 2^26"
        )
    runs = _used(
        "run_maps", given.run_maps, "float32", neurons, {"states": RUN_STATES, "share and visits": 2}
    )
    _, padded = online.inputs(neurons, lists, runs)
    maps = {"states": MAP_STATES, "share and visits": 2}
    checks.array("maps", given.maps, "float32", {"n": neurons, **maps}, SUM)
    checks.entries("maps", _shares(given.maps), _SHARE)
    checks.entries("run_maps", _shares(given.run_maps), _SHARE)
    maps["states"] = MATCH_STATES
    checks.array("match_maps", given.match_maps, "float32", {"matches": MATCHES, **maps}, SUM)
    checks.entries("match_maps", _shares(given.match_maps), _SHARE)
    counts = {"M": nodes, "speeds": RECENCIES, "bits": 2}
    checks.array("recent", given.recent, "float32", counts, SUM)
    checks.array("recent_at", given.recent_at, "uint32", {"M": nodes})
    rows = sum(SET_ROWS[s] for s in np.asarray(wiring.sets))
    final_rows = sum(SET_ROWS[s] for s in FINAL_SETS)
    checks.array("weights", given.weights, "float32", {"rows": rows, "I": padded}, WEIGHT)
    checks.array("sums", given.sums, "float32", {"rows": rows, "I": padded}, SUM)
    checks.array("visited", given.visited, "uint8", {"rows": rows}, Limits(least=0, most=1))
    lanes = online.lanes(len(wiring.sets))
    checks.array("finals", given.finals, "float32", {"rows": final_rows, "K": lanes}, WEIGHT)
    checks.array("final_visits", given.final_visits, "uint32", {"rows": final_rows})
    steps = {"maps": REFINEMENTS, "places": 1 << REFINED_LOG, "steps": REFINE_STEPS}
    checks.array("refined", given.refined, "float32", steps, _CHANCE)
    checks.array("text", given.text, "int32", {"room": None}, Limits(least=0, most=ids - 1))
    if given.text.shape[0] <= 2 * MATCH_LONGEST:
        raise ValueError(
            f"text has room for {given.text.shape[0]} tokens: give more than {2 * MATCH_LONGEST}"
        )
    places = {"matches": MATCHES, "places": 1 << MATCH_PLACES_LOG}
    checks.array("match_table", given.match_table, "int32", places)
    checks.array("position", given.position, "uint32", {"numbers": 1 + 2 * MATCHES})


def _used(
    name: str, given: Any, dtype: str, neurons: int, row: dict[str, int | None], limits: Limits = Limits()
) -> bool:
    """Check a part that has rows for all neurons or for none, and return whether it has rows.

    Raises:
      ValueError: it has another type or shape, or an entry out of range.
    """
    checks.array(name, given, dtype, {"n": None, **row}, limits)
    used = len(given) > 0
    checks.array(name, given, dtype, {"n": neurons if used else 0, **row}, limits)
    return used


def _shares(maps: jax.Array) -> Any:
    """Return the probabilities of maps ``[..., 2]``."""
    return maps[..., 0] if isinstance(maps, Tracer) else np.asarray(maps)[..., 0]


def count(drawn: int) -> int:
    """Return the number of tokens to draw in a call.

    Args:
      drawn: the number of tokens.

    Raises:
      ValueError: the number is out of range.

    Source: docs/architecture.md
    """
    return checks.integer("count", drawn, _DRAWN)


def tokens(wiring: Network, given: np.ndarray | jax.Array | Sequence[int]) -> np.ndarray:
    """Return ids as ``int32 [N]``.

    Args:
      wiring: the network, which knows the vocabulary.
      given: ids ``int [N]``.

    Raises:
      ValueError: the ids are no integers, have more than one axis, or are outside the vocabulary.

    Source: docs/semantics/chain.md
    """
    return _ids(np.asarray(given), wiring.lexicon.shape[0], 0)


def texts(wiring: Network, *given: np.ndarray | Tokens) -> Tokens:
    """Return the ids of texts, one after another. Stored ids are checked, and stay on the disk.

    Args:
      wiring: the network, which knows the vocabulary.
      *given: ids ``int [N]``.

    Raises:
      ValueError: see `tokens`.

    Source: docs/semantics/chain.md
    """
    for x in given:
        if isinstance(x, Tokens):
            place = 0
            for window in x.windows():
                place += len(_ids(window, wiring.lexicon.shape[0], place))
    return Tokens.of(*(x if isinstance(x, Tokens) else tokens(wiring, x) for x in given))


def _ids(ids: np.ndarray, vocabulary: int, place: int) -> np.ndarray:
    """Return ids as ``int32 [N]``; ``place`` is that of the first one, for the message.

    Raises:
      ValueError: the ids are no integers, have more than one axis, or are outside the vocabulary.
    """
    if not ids.size:
        ids = ids.astype(np.int32)
    checks.array("tokens", ids, "integers", {"N": None})
    bad = np.flatnonzero((ids < 0) | (ids >= vocabulary))
    if bad.size:
        raise ValueError(
            f"token {ids[bad[0]]} at place {place + bad[0]} is outside the {vocabulary} ids: give ids from 0 "
            f"to {vocabulary - 1}"
        )
    return ids.astype(np.int32)
