"""Ranks context neurons by what each would add to a model, without running the model with it.

The model has read a text, and each of its turns left a residual: the bit less the probability that was given.
A new neuron counts zeros and ones in its cells as the text goes on, and gives log-odds at each turn. Its gain
is the decrease of the nats by one Newton step along these log-odds: they help as far as they point to the
residuals, which is what the model does not know yet. One pass over the turns judges a neuron.

Shape letters: N tokens, L turns of these tokens, C neurons, F fields.

Source: docs/semantics/chain.md
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from wnn_jax.chain import memory as memories
from wnn_jax.chain import static
from wnn_jax.chain.constants import FIELDS, SMOOTH, VIEWS
from wnn_jax.chain.contexts import Network

_COUNTS = (1, 2, 4, 10)  # a cell's log-odds have a weight of their own from each of these counts on
_BINS = 2 * len(_COUNTS)
_KEPT = 3  # this number of neurons for each that is chosen compete for the choice


class Turns(NamedTuple):
    """The turns of a text, in their order.

    Attributes:
      place: ``int32 [L]``, the token that each turn belongs to.
      names: ``uint32 [3, L]``, the names of its node.
      bit: ``int8 [L]``, the bit that came.
      spelled: ``int8 [L]``, 1 in the spelled branch.
      residual: ``float32 [L]``, the bit less the probability of 1; 0 at turns that are not scored.
      slope: ``float32 [L]``, the product of both probabilities; 0 at turns that are not scored.
      observed: ``uint32 [F, N]``, a hash of each field at each token.

    Source: docs/semantics/chain.md
    """

    place: np.ndarray
    names: np.ndarray
    bit: np.ndarray
    spelled: np.ndarray
    residual: np.ndarray
    slope: np.ndarray
    observed: np.ndarray


def turns_of(network: Network, tokens: np.ndarray, ones: np.ndarray, scored_from: int) -> Turns:
    """Collects the turns of a text that a model has read from empty.

    Args:
      network: the wiring; its neurons are not used.
      tokens: ids ``int32 [N]``.
      ones: ``float32 [N, D]``, P(bit = 1) at each turn, as the model gave it.
      scored_from: the number of tokens whose turns count and have no residual.

    Source: docs/semantics/chain.md
    """
    tree = network.tree
    start = np.asarray(tree.start)
    lengths = np.diff(start)[tokens]
    place = np.repeat(np.arange(len(tokens), dtype=np.int32), lengths)
    depth = np.arange(len(place)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    entry = start[tokens][place] + depth
    node, bit = np.asarray(tree.node)[entry], np.asarray(tree.bit)[entry]
    one = np.asarray(ones)[place, depth]
    scored = place >= scored_from
    each = network._replace(
        connections=jnp.arange(len(FIELDS), dtype=jnp.int32)[:, None],
        view=jnp.zeros(len(FIELDS), jnp.int32),
    )
    _, observed = static.observe(each, memories.empty_static(each, log_slots=2), tokens)
    return Turns(
        place=place,
        names=np.asarray(tree.names)[:, node],
        bit=bit.astype(np.int8),
        spelled=np.asarray(tree.spelled)[node].astype(np.int8),
        residual=np.where(scored, bit - one, 0).astype(np.float32),
        slope=np.where(scored, one * (1 - one), 0).astype(np.float32),
        observed=np.asarray(observed.hashes)[-len(FIELDS) :],  # before them are those of Kneser-Ney's orders
    )


def direction(turns: Turns, neuron: Sequence[int]) -> tuple[float, np.ndarray]:
    """Computes the gain of a neuron, and the change of the log-odds by which it gains.

    Cells are looked up without collisions. Their log-odds ``log((ones + 0.4) / (zeros + 0.4))`` have eight
    weights: by the count of the cell (1, 2, 4 or 10 and more; an empty cell says nothing), separately for the
    spelled branch. Each weight is that of one Newton step from 0.

    Args:
      turns: the turns of a text.
      neuron: the place of its view in `VIEWS`, and the places of its fields in `FIELDS` plus the number of
        views.

    Returns:
      The gain, in nats of the whole text, and ``float32 [L]``.

    Source: Newton's method; docs/semantics/chain.md
    """
    view, *observed = neuron
    context = np.zeros(turns.observed.shape[1], np.uint64)
    for x in observed:
        context = _mixed(context, turns.observed[x - len(VIEWS)].astype(np.uint64))
    key = _mixed(context[turns.place], turns.names[view].astype(np.uint64))
    order = np.argsort(key, kind="stable")
    key, bit = key[order], turns.bit[order]
    first = np.concatenate([[True], key[1:] != key[:-1]])
    begin = np.flatnonzero(first)[np.cumsum(first) - 1]
    before = np.cumsum(bit, dtype=np.int32) - bit
    count = np.arange(len(key), dtype=np.int32) - begin
    one = before - before[begin]
    odds = np.log((one + SMOOTH) / (count - one + SMOOTH)).astype(np.float32)
    at = np.searchsorted(_COUNTS, count, side="right") - 1
    odds[at < 0] = 0
    at = np.maximum(at, 0) + len(_COUNTS) * turns.spelled[order]
    push = np.bincount(at, turns.residual[order] * odds, _BINS)
    steep = np.bincount(at, turns.slope[order] * odds**2, _BINS)
    weight = push / np.maximum(steep, 1.0)
    found = np.empty(len(key), np.float32)
    found[order] = (weight[at] * odds).astype(np.float32)
    return float((push * weight - 0.5 * steep * weight**2).sum()), found


def best(turns: Turns, neurons: Sequence[Sequence[int]], count: int) -> list[int]:
    """Chooses neurons of large gains that are not alike: a matching pursuit.

    The three times ``count`` neurons of the largest gains compete. The one of the largest gain is chosen, and
    what it explains is taken out of the residuals, before the next one is chosen.

    Args:
      turns: the turns of a text.
      neurons: C neurons, see `direction`.
      count: the number of neurons to choose.

    Returns:
      The places of the chosen neurons, the first one first; the first of equal ones.

    Source: S. Mallat and Z. Zhang 1993, "Matching Pursuits with Time-Frequency Dictionaries";
      docs/semantics/chain.md
    """
    kept: list[tuple[float, int, np.ndarray]] = []
    for place, neuron in enumerate(neurons):
        gain, change = direction(turns, neuron)
        kept = sorted([*kept, (gain, place, change)], key=lambda x: (-x[0], x[1]))[: _KEPT * count]
    residual, chosen = turns.residual.copy(), []
    steep = [np.dot(turns.slope, change**2) for _, _, change in kept]
    while kept and len(chosen) < count:
        push = [np.dot(residual, change) for _, _, change in kept]
        gains = [max(p, 0.0) ** 2 / max(s, 1e-9) for p, s in zip(push, steep, strict=True)]
        k = int(np.argmax(gains))
        chosen.append(kept[k][1])
        residual -= turns.slope * kept[k][2] * np.float32(push[k] / max(steep[k], 1e-9))
        del kept[k], steep[k]
    return chosen


def _mixed(h: np.ndarray, x: np.ndarray) -> np.ndarray:
    h = (h ^ x + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xBF58476D1CE4E5B9)
    return h ^ h >> np.uint64(31)
