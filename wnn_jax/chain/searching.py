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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, search
from wnn_jax.chain import fitted, given, online, pool
from wnn_jax.chain import model as models
from wnn_jax.chain.config import ChainConfig
from wnn_jax.chain.constants import FIELDS
from wnn_jax.chain.contexts import Network, wire
from wnn_jax.chain.genomes import INPUTS, Described, Neuron, context_bounds, described_of, genome_of, propose
from wnn_jax.checks import Limits
from wnn_jax.data.text import Corpus
from wnn_jax.ram.connectivity import UNUSED
from wnn_jax.search.moves import Bounds

_LEAST_ROOM = 1 << 12
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
      pool: number of new neurons that are drawn, of which the best are moves; 0 takes neurons as drawn.
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
    pool: int = 200
    threads: int = dataclasses.field(default=1, repr=False, compare=False)
    clusters: int = 1

    def __post_init__(self):
        checks.fields(
            self,
            log_slots=Limits(least=2, most=28),
            unscored=_UNSCORED,
            screened=_SCREENED,
            pool=Limits(least=0),
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
        paths, first = models.turns(data.network, data.tokens), self._first(data)

        def one(genome: np.ndarray) -> np.ndarray:
            return models.nats_of(self._read(data, genome), *paths)[first:]

        if self.threads == 1:
            return np.stack([one(genome) for genome in genomes]).astype(np.float32)
        with ThreadPoolExecutor(self.threads) as threads:
            return np.stack([*threads.map(one, genomes)]).astype(np.float32)

    def propose(
        self,
        key: jax.Array,
        data: ContextText,
        dimensions: tuple[str, ...],
        genomes: np.ndarray,
        sites: int,
        candidates: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw moves of neurons, see `wnn_jax.search.Whole.propose` and `genomes.propose`.

        With a pool, the neurons for empty slots are the best of the pool, see `pool.best`.
        """
        rng, found = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel()), []
        for one in genomes:

            def best(neurons: list[Neuron], count: int, genome: np.ndarray = one) -> list[int]:
                ones = self._read(data, genome)
                turns = pool.turns_of(data.network, data.tokens, ones, self._first(data))
                return pool.best(turns, neurons, count)

            sizes = sites, candidates, self.pool
            found.append(propose(rng, self.bounds, dimensions, one[0], *sizes, best))
        places, moves = (np.stack(x)[:, None] for x in zip(*found, strict=True))
        return places, moves

    def _first(self, data: ContextText) -> int:
        return int(self.unscored * len(data.tokens))

    def _read(self, data: ContextText, genome: np.ndarray) -> np.ndarray:
        """Read the text from empty; return P(bit = 1) at each turn, ``float32 [N, D]``."""
        network = _wired(data.network, genome)
        room = max(len(data.tokens), _LEAST_ROOM)  # matches are looked for in the whole part
        memory = online.empty_online(network, self.log_slots, lists=self.lists, room=room)
        settings = {"learn": True, "argmax": False, "block": len(data.tokens)}
        _, reading = models.read_ids(network, memory, data.tokens, **settings)
        return np.asarray(reading.ones)

    def mebibits(self, genomes: np.ndarray) -> np.ndarray:
        """Compute the sizes of the tables, see `wnn_jax.search.Whole.mebibits`."""
        neurons = (genomes[:, 0, :, 0] != UNUSED).sum(axis=-1)
        return (neurons * (2.0**self.log_slots * _CELL_BITS / 2**20)).astype(np.float32)


def _wired(network: Network, genome: np.ndarray) -> Network:
    """Gives a network the neurons of a genome; its connections have one width for all genomes of a search."""
    connections, view = wire(described_of(genome))
    room = genome.shape[-1] - 1 - connections.shape[1]
    connections = np.pad(connections, ((0, 0), (0, room)), constant_values=-1)
    return network._replace(connections=jnp.asarray(connections), view=jnp.asarray(view))


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
      screened: the share of a part, at its beginning, on which all moves are judged first; the better
        half of them is judged on the whole part. 1 judges all moves on the whole part.
      pool: number of new neurons that a step draws. Those that would gain most by the residuals of the model
        are moves; 0 takes new neurons as they are drawn.
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
    pool: int = 200
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
            pool=Limits(least=0),
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
    objective = ContextObjective(bounds, log_slots, *shares, config.lists, settings.pool, settings.threads)
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
