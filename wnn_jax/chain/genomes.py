"""Genomes of context neurons, and the moves that change them.

A genome of a chain model is a connectivity. Its inputs are the three names of a node and all fields, and each
neuron reads one name and some fields.

Shape letters: n slots of neurons, T inputs of a neuron, S slots of a step, C moves of a slot.

Source: docs/semantics/chain.md
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from wnn_jax import checks
from wnn_jax.chain.constants import FIELDS, VIEWS
from wnn_jax.chain.contexts import wire
from wnn_jax.checks import Limits
from wnn_jax.ram.connectivity import UNUSED
from wnn_jax.search.moves import DIMENSIONS, Bounds

Described = tuple[str, ...]  # neurons, each the name of its view and those of its fields
Neuron = tuple[int, ...]  # its inputs, ascending; none if it is not there

_NAMES = (*VIEWS, *FIELDS)  # the inputs of a neuron: first the names of a node, then the fields
INPUTS = len(_NAMES)
_TRIES = 32  # draws of a neuron that is not there yet


def context_bounds(neurons: int, fields: int) -> Bounds:
    """Make the bounds of genomes of context neurons.

    Args:
      neurons: the largest number of neurons.
      fields: the largest number of fields of a neuron.

    Raises:
      ValueError: a number is out of range.

    Source: docs/semantics/chain.md
    """
    fields = checks.integer("fields", fields, Limits(least=1, most=len(FIELDS)))
    return Bounds(INPUTS, max_neurons=neurons, max_bits=1 + fields)


def genome_of(described: Sequence[str], bounds: Bounds) -> np.ndarray:
    """Turn described context neurons into a genome.

    Args:
      described: the names of the view and of the fields of each neuron, as in `ChainConfig.neurons`; the
        order of the fields changes nothing.
      bounds: the size of the genome.

    Returns:
      ``int16 [1, n, T]``: of each neuron its inputs in ascending order, the view first: places in `VIEWS`,
      and places in `FIELDS` plus the number of views; -1 where there are none.

    Raises:
      ValueError: a view or a field is unknown, or the genome is outside the bounds.

    Source: docs/semantics/chain.md
    """
    wire(described)
    rows = [one.split() for one in described]
    most = max(len(set(fields)) for _, *fields in rows)
    if len(rows) > bounds.max_neurons or most >= bounds.max_bits:
        raise ValueError(
            f"{len(rows)} neurons of up to {most} fields are outside the bounds of {bounds.max_neurons} "
            f"neurons of {bounds.max_bits - 1} fields: raise the bounds"
        )
    genome = np.full((1, bounds.max_neurons, bounds.max_bits), UNUSED, np.int16)
    for slot, (view, *fields) in enumerate(rows):
        observed = sorted(len(VIEWS) + FIELDS.index(name) for name in set(fields))
        genome[0, slot, : 1 + len(observed)] = VIEWS.index(view), *observed
    return genome


def described_of(genome: Any) -> Described:
    """Turn a genome into described context neurons.

    Args:
      genome: ``int [1, n, T]``, as `genome_of` makes it.

    Returns:
      The names of the view and of the fields of each neuron that is there, in the order of their slots.

    Raises:
      ValueError: the genome has another shape or entry, or a neuron does not read exactly one name of a node.

    Source: docs/semantics/chain.md
    """
    limits = Limits(least=-1, most=INPUTS - 1)
    checks.array("genome", genome, "integers", {"1": 1, "n": None, "T": None}, limits)
    rows = np.asarray(genome)[0]
    rows = rows[(rows != UNUSED).any(axis=1)]
    names = (rows >= 0) & (rows < len(VIEWS))
    if (names.sum(axis=1) != 1).any() or not len(rows):
        raise ValueError(
            f"the genome of shape {list(np.shape(genome))} has no neuron, or one that does not read exactly "
            "one name of a node: give one from genome_of"
        )
    return tuple(" ".join(_NAMES[x] for x in sorted(row[row != UNUSED])) for row in rows)


def propose(
    rng: np.random.Generator,
    bounds: Bounds,
    dimensions: tuple[str, ...],
    genome: np.ndarray,
    sites: int,
    candidates: int,
    pool: int = 0,
    best: Callable[[list[Neuron], int], list[int]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw moves of context neurons.

    Half of the slots are empty ones, as long as there are both kinds. An empty slot gets a new neuron, or a
    changed copy of another neuron, equally often. A neuron is dropped one time in four, gives way to a new
    one one time in four, and is changed otherwise: it gains a field, loses one, has one replaced, or takes
    another view. A field is drawn from all fields, or half of the time in proportion to the number of neurons
    that observe it, plus 1. A new neuron has 1 to 3 fields within the bounds, and the view ``node`` two times
    in three. No move makes a neuron that is there, or that another move makes, already.

    Args:
      rng: draws the moves.
      bounds: the sizes that are allowed.
      dimensions: ``neurons`` allows moves that add or drop a neuron; ``bits`` those that add or drop a field;
        ``connections`` all others.
      genome: ``int16 [n, T]``.
      sites: S, the number of slots.
      candidates: C, the number of moves for each slot.
      pool: number of neurons that are drawn for the empty slots; 0 draws one for each move.
      best: chooses some of these neurons: gets the pool and a number, and returns their places in it.

    Returns:
      The slots ``int32 [S]``, distinct, and the new neurons ``int16 [S, C, T]``; a slot stays as it is where
      no move is allowed.

    Source: docs/semantics/chain.md
    """
    there = (genome != UNUSED).any(axis=1)
    full, empty = (rng.permutation(np.flatnonzero(x)) for x in (there, ~there))
    wanted = sites // 2 if "neurons" in dimensions else 0
    added = min(len(empty), max(wanted, sites - len(full)))
    places = np.concatenate([empty[:added], full[: sites - added]]).astype(np.int32)
    known = {_key(row) for row in genome[there]}
    moves = np.repeat(genome[places][:, None], candidates, axis=1)
    droppable = len(full) > bounds.min_neurons

    def drawn(place: int) -> Neuron | None:
        draws = _draws(rng, bounds, dimensions, genome, place, droppable)
        new = next((one for one in itertools.islice(draws, _TRIES) if one not in known), None)
        if new:  # any number of neurons may be dropped
            known.add(new)
        return new

    pooled = added if best and pool and "neurons" in dimensions else 0
    if best and pooled:
        neurons = [one for one in (drawn(int(places[0])) for _ in range(pool)) if one]
        # The best ones go to different slots.
        for k, chosen in enumerate(best(neurons, added * candidates)):
            moves[k % added, k // added] = _row(neurons[chosen], bounds)
    for s, c in np.ndindex(len(places) - pooled, candidates):
        new = drawn(int(places[pooled + s]))
        if new is not None:
            moves[pooled + s, c] = _row(new, bounds)
    return places, moves


def _row(neuron: Neuron, bounds: Bounds) -> np.ndarray:
    row = np.full(bounds.max_bits, UNUSED, np.int16)
    row[: len(neuron)] = neuron
    return row


def _key(row: np.ndarray) -> Neuron:
    return tuple(int(x) for x in row if x != UNUSED)


def _draws(rng, bounds: Bounds, dimensions, genome, place: int, droppable: bool) -> Iterator[Neuron]:
    """Yield moves of one slot without end, or none if the dimensions allow none."""
    neurons, bits, connections = (name in dimensions for name in DIMENSIONS)
    there = (genome != UNUSED).any(axis=1)
    old = _key(genome[place])
    held = np.bincount(genome[genome >= len(VIEWS)].ravel(), minlength=INPUTS)[len(VIEWS) :]
    popular = (held + 1) / (held + 1).sum()

    def field() -> int:
        return len(VIEWS) + int(rng.choice(len(FIELDS), p=popular if rng.random() < 0.5 else None))

    def new() -> Neuron:
        count = min(int(rng.integers(1, 4)), bounds.max_bits - 1)
        view = 0 if rng.random() < 2 / 3 else int(rng.integers(1, len(VIEWS)))
        return view, *{field() for _ in range(count)}

    def changed(neuron: Neuron) -> Neuron | None:
        view, *fields = neuron
        some, more = len(fields) > 0, len(fields) < bounds.max_bits - 1
        allowed = {"gain": bits and more, "lose": bits and some, "replace": connections and some}
        kinds = [kind for kind, may in (allowed | {"view": connections}).items() if may]
        if not kinds:
            return None
        kind = kinds[rng.integers(len(kinds))]
        if kind == "view":
            return (view + int(rng.integers(1, len(VIEWS)))) % len(VIEWS), *fields
        if kind in ("lose", "replace"):
            fields.pop(rng.integers(len(fields)))
        return (view, *fields) if kind == "lose" else (view, *{*fields, field()})

    while True:
        if not old and not neurons:
            made = old
        elif not old:
            source = _key(genome[rng.choice(np.flatnonzero(there))])
            made = new() if rng.random() < 0.5 else changed(source)
        else:
            chance = rng.random()
            if neurons and droppable and chance < 0.25:
                made = ()
            elif connections and chance < 0.5:
                made = new()
            else:
                made = changed(old)
        yield tuple(sorted(old if made is None else made))
