"""Searches for the context neurons of an online model: which fields each observes, by which name of a node.

A genome of this search is a connectivity. Its inputs are the three names of a node and all fields, and each
neuron reads one name and some fields. A genome is judged by the text that it has to predict: a part of the
training text is read online from empty, and the mean nats of a token are the loss.

    found = chain.search_contexts(jax.random.key(0), chain.ChainConfig(mode="online"), corpus)
    print(found.neurons, found.start_loss - found.loss)

Shape letters: P genomes, n slots of neurons, T inputs of a neuron, N tokens.

Source: docs/semantics/chain.md, docs/semantics/search.md
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, search
from wnn_jax.chain import fitted, given, online
from wnn_jax.chain import model as models
from wnn_jax.chain.config import ChainConfig
from wnn_jax.chain.constants import FIELDS, VIEWS
from wnn_jax.chain.contexts import Network, wire
from wnn_jax.checks import Limits
from wnn_jax.data.text import Corpus
from wnn_jax.ram.connectivity import UNUSED
from wnn_jax.search.moves import Bounds

Described = tuple[str, ...]  # neurons, each the name of its view and those of its fields

_NAMES = (*VIEWS, *FIELDS)  # the inputs of a neuron: first the names of a node, then the fields
INPUTS = len(_NAMES)
_LEAST_ROOM = 1 << 12
_TRIES = 32  # draws of a neuron that is not there yet
_CELL_BITS = 128  # bits of a cell, for the size of a genome
_SHARE = Limits(above=0, below=1)
_UNSCORED = Limits(least=0, below=1)
_SCREENED = Limits(above=0, most=1)


class ContextText(NamedTuple):
    """The data of a search for context neurons.

    Attributes:
      network: the wiring of a model; its own neurons are not used.
      tokens: ``int32 [N]``, the text.

    Source: docs/semantics/chain.md
    """

    network: Network
    tokens: np.ndarray


@dataclasses.dataclass(frozen=True)
class ContextObjective:
    """The objective of a search for context neurons, see `wnn_jax.search.Whole`.

    A part of a text is read online by a model that is empty at first. The losses are the nats of its tokens
    without the first ones.

    Attributes:
      bounds: the sizes of the genomes: `INPUTS` as input bits, and one more connection than fields.
      log_slots: log2 of the number of cells of a neuron.
      unscored: the share of a part that is read before the first token that is scored.
      screened: the share of a part, at its beginning, on which moves are judged first; 1 for no such
        judgement.
      lists: whether neurons list the tokens that followed their contexts last.
      threads: number of genomes that are read at the same time; the losses do not depend on it.
      clusters: 1, because a model has one list of neurons.

    Raises:
      ValueError: a value is out of range, or the bounds have another number of inputs.

    Source: docs/semantics/chain.md
    """

    bounds: Bounds
    log_slots: int = 18
    unscored: float = 1 / 3
    screened: float = 0.25
    lists: bool = True
    threads: int = dataclasses.field(default=1, repr=False, compare=False)
    clusters: int = 1

    def __post_init__(self):
        checks.fields(
            self,
            log_slots=Limits(least=2, most=28),
            unscored=_UNSCORED,
            screened=_SCREENED,
            threads=Limits(least=1, most=1024),
            clusters=Limits(least=1, most=1),
        )
        if self.bounds.input_bits != INPUTS:
            raise ValueError(
                f"the bounds have {self.bounds.input_bits} input bits, but neurons have {INPUTS} inputs: "
                "make them with context_bounds"
            )

    def count(self, data: ContextText) -> int:
        """Check the text and count its tokens, see `wnn_jax.search.Whole.count`.

        Raises:
          ValueError: a token is outside the vocabulary, or the wiring is not one.
        """
        given.network(data.network)
        return len(given.tokens(data.network, data.tokens))

    def part(self, data: ContextText, first: int, last: int) -> ContextText:
        """Take a part of the text, see `wnn_jax.search.Whole.part`."""
        return data._replace(tokens=data.tokens[first:last])

    def shorter(self, data: ContextText) -> ContextText | None:
        """Take the beginning of a part, see `wnn_jax.search.Whole.shorter`; None if it is not shorter."""
        count = int(self.screened * len(data.tokens))
        return self.part(data, 0, count) if 0 < count < len(data.tokens) else None

    def losses(self, data: ContextText, genomes: np.ndarray) -> np.ndarray:
        """Read the text with the neurons of each genome, see `wnn_jax.search.Whole.losses`.

        Returns:
          ``float32 [P, M]``, the nats of the tokens that are scored.
        """

        def one(genome: np.ndarray) -> np.ndarray:
            network = _wired(data.network, genome)
            # Matches are looked for in the whole part.
            room = max(len(data.tokens), _LEAST_ROOM)
            memory = online.empty_online(network, self.log_slots, lists=self.lists, room=room)
            settings = {"learn": True, "argmax": False, "block": len(data.tokens)}
            _, reading = models.read_ids(network, memory, data.tokens, **settings)
            return models.nats(network, reading)[int(self.unscored * len(data.tokens)) :]

        if self.threads == 1:
            return np.stack([one(genome) for genome in genomes]).astype(np.float32)
        with ThreadPoolExecutor(self.threads) as pool:
            return np.stack([*pool.map(one, genomes)]).astype(np.float32)

    def propose(
        self, key: jax.Array, dimensions: tuple[str, ...], genomes: np.ndarray, sites: int, candidates: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw moves of neurons, see `wnn_jax.search.Whole.propose` and `propose`."""
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
        found = [propose(rng, self.bounds, dimensions, one[0], sites, candidates) for one in genomes]
        places, moves = (np.stack(x)[:, None] for x in zip(*found, strict=True))
        return places, moves

    def mebibits(self, genomes: np.ndarray) -> np.ndarray:
        """Compute the sizes of the tables, see `wnn_jax.search.Whole.mebibits`."""
        neurons = (genomes[:, 0, :, 0] != UNUSED).sum(axis=-1)
        return (neurons * (2.0**self.log_slots * _CELL_BITS / 2**20)).astype(np.float32)


def context_bounds(neurons: int, fields: int) -> Bounds:
    """Make the bounds of genomes of context neurons.

    Args:
      neurons: the largest number of neurons.
      fields: the largest number of fields of a neuron.

    Raises:
      ValueError: a number is out of range.

    Source: docs/semantics/chain.md
    """
    checks.integer("fields", fields, Limits(least=1, most=len(FIELDS)))
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


def _wired(network: Network, genome: np.ndarray) -> Network:
    """Gives a network the neurons of a genome; its connections have one width for all genomes of a search."""
    connections, view = wire(described_of(genome))
    room = genome.shape[-1] - 1 - connections.shape[1]
    connections = np.pad(connections, ((0, 0), (0, room)), constant_values=-1)
    return network._replace(connections=jnp.asarray(connections), view=jnp.asarray(view))


def propose(
    rng: np.random.Generator,
    bounds: Bounds,
    dimensions: tuple[str, ...],
    genome: np.ndarray,
    sites: int,
    candidates: int,
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
    for s, c in np.ndindex(len(places), candidates):
        draws = _draws(rng, bounds, dimensions, genome, int(places[s]), droppable)
        new = next(
            (row for row, _ in zip(draws, range(_TRIES), strict=False) if _key(row) not in known), None
        )
        if new is not None:
            moves[s, c] = new
            known |= {_key(new)} - {()}  # any number of neurons may be dropped
    return places, moves


def _key(row: np.ndarray) -> tuple[int, ...]:
    return tuple(int(x) for x in row if x != UNUSED)


def _draws(rng, bounds: Bounds, dimensions, genome, place: int, droppable: bool) -> Iterator[np.ndarray]:
    """Yield moves of one slot without end, or none if the dimensions allow none."""
    neurons, bits, connections = (name in dimensions for name in search.DIMENSIONS)
    there = (genome != UNUSED).any(axis=1)
    old = _key(genome[place])
    held = np.bincount(genome[genome >= len(VIEWS)].ravel(), minlength=INPUTS)[len(VIEWS) :]
    popular = (held + 1) / (held + 1).sum()

    def field() -> int:
        return len(VIEWS) + int(rng.choice(len(FIELDS), p=popular if rng.random() < 0.5 else None))

    def new() -> tuple[int, ...]:
        count = min(int(rng.integers(1, 4)), bounds.max_bits - 1)
        view = 0 if rng.random() < 2 / 3 else int(rng.integers(1, len(VIEWS)))
        return view, *{field() for _ in range(count)}

    def changed(neuron: tuple[int, ...]) -> tuple[int, ...] | None:
        view, *fields = neuron
        kinds = ["gain"] * (bits and len(fields) < bounds.max_bits - 1) + ["lose"] * (
            bits and len(fields) > 0
        )
        kinds += ["replace"] * (connections and len(fields) > 0) + ["view"] * connections
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
        if made is None:
            made = old
        row = np.full(bounds.max_bits, UNUSED, np.int16)
        row[: len(made)] = sorted(made)
        yield row


@dataclasses.dataclass(frozen=True)
class ContextSearchConfig:
    """Configures a search for context neurons.

    Attributes:
      most_neurons: the largest number of neurons.
      most_fields: the largest number of fields of a neuron.
      price: nats a token that each neuron must gain, because it costs time and memory.
      held_out: the share of the training text, at its end, that chooses nothing; the tree is built and the
        neurons are found without it, and the gain is measured on it.
      unscored: the share of a part of the text that is read before the first token that is scored.
      screened: the share of a part, at its beginning, on which all moves are judged first; the best quarter
        of them is judged on the whole part. 1 judges all moves on the whole part.
      threads: number of genomes that are read at the same time; the result does not depend on it.
      run: the parts of the other text, and when the search ends. A step reads each of its genomes on one
        part.
      tabu: the settings of the tabu search.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/chain.md
    """

    most_neurons: int = 46
    most_fields: int = 4
    price: float = 0.0005
    held_out: float = 1 / 3
    unscored: float = 1 / 3
    screened: float = 0.25
    threads: int = 1
    run: search.RunConfig = search.RunConfig(steps=40, folds=3, rotate=4, validation=4, check=4, save_every=1)
    tabu: search.TabuConfig = search.TabuConfig(sites=16, neighbours=1, tenure=4, caution=1.0)

    def __post_init__(self):
        checks.fields(
            self,
            most_neurons=Limits(least=1),
            most_fields=Limits(least=1, most=len(FIELDS)),
            price=Limits(least=0),
            held_out=_SHARE,
            unscored=_UNSCORED,
            screened=_SCREENED,
            threads=Limits(least=1, most=1024),
        )


class FoundContexts(NamedTuple):
    """The result of a search for context neurons.

    Attributes:
      neurons: the neurons that were found, as `ChainConfig.neurons` takes them.
      start: those of the neurons with which the search began.
      loss: mean nats of a token of the text that was held out, read online after all text before it.
      start_loss: the same with the neurons of the start.
      error: standard error of the difference, if tokens are independent.
      result: the whole search.

    Source: docs/semantics/chain.md
    """

    neurons: Described
    start: Described
    loss: float
    start_loss: float
    error: float
    result: search.Result


@checks.classes
def search_contexts(
    key: jax.Array,
    config: ChainConfig,
    corpus: Corpus,
    settings: ContextSearchConfig = ContextSearchConfig(),
    *,
    resume: str | pathlib.Path | None = None,
    on_step: Callable[[search.Report], None] | None = None,
) -> FoundContexts:
    """Search for the context neurons of an online model on a training text, from those of its config on.

    Args:
      key: draws everything.
      config: the settings of the online model; the search begins with its neurons.
      corpus: the text; only its training split is read.
      settings: the settings of the search.
      resume: a folder to save progress to, and to continue from; see `wnn_jax.search.run`.
      on_step: called with a `wnn_jax.search.Report` after every step.

    Raises:
      ValueError: the model is static, the neurons of the config are outside the bounds, the text is too short
        for the parts, or the folder holds the progress of other work.

    Source: docs/semantics/chain.md, docs/semantics/search.md
    """
    if config.mode != "online":
        raise ValueError("contexts are searched for an online model, got a static one: give mode='online'")
    tokens = np.asarray(corpus.train, np.int32)
    kept = int(len(tokens) * (1 - settings.held_out))
    network = fitted.build(config, corpus._replace(train=tokens[:kept]))
    bounds = context_bounds(settings.most_neurons, settings.most_fields)
    start = genome_of(config.described, bounds)
    turns = np.diff(np.asarray(network.tree.start))[tokens[:kept]].sum() // settings.run.folds
    # A table with half as many cells as there are turns: most contexts are met again.
    log_slots = int(np.clip(int(turns // 2).bit_length(), 8, 22))
    shares = settings.unscored, settings.screened
    objective = ContextObjective(bounds, log_slots, *shares, config.lists, settings.threads)
    one_neuron = float(objective.mebibits(start[None])[0]) / len(config.described)
    fitness = search.FitnessConfig(size_weight=settings.price / one_neuron)
    algorithm = search.tabu(objective, settings.tabu, fitness)
    data = ContextText(network, tokens[:kept])
    result = search.run(key, algorithm, data, settings.run, start=start, resume=resume, on_step=on_step)
    nats = [_nats(config, _wired(network, genome), tokens)[kept:] for genome in (result.genome, start)]
    apart = nats[0] - nats[1]
    return FoundContexts(
        neurons=described_of(result.genome),
        start=described_of(start),
        loss=float(nats[0].mean()),
        start_loss=float(nats[1].mean()),
        error=float(apart.std() / np.sqrt(max(len(apart), 1))),
        result=result,
    )


def _nats(config: ChainConfig, network: Network, tokens: np.ndarray) -> np.ndarray:
    memory = fitted.empty(config, network)
    settings = {"learn": True, "argmax": False, "block": config.chunk}
    _, reading = models.read_ids(network, memory, tokens, **settings)
    return models.nats(network, reading)
