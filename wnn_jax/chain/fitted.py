"""Fits chain models, scores text with them and continues text.

These are the loops over a text. They save their place, and an interrupted run that is resumed ends with the
same bits. The functions that they call are in `model` and `static`.

Source: docs/semantics/chain.md
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, metrics
from wnn_jax.chain import given, online, readout, static, tokentree
from wnn_jax.chain import memory as memories
from wnn_jax.chain import model as models
from wnn_jax.chain.audit import Books
from wnn_jax.chain.config import ChainConfig, WritingConfig
from wnn_jax.chain.constants import ORDERS
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.memory import Memory, StaticMemory
from wnn_jax.chain.online import OnlineMemory
from wnn_jax.data.shards import ShardedCorpus
from wnn_jax.data.text import Corpus
from wnn_jax.data.tokenizers import Tokenizer
from wnn_jax.data.tokens import Tokens
from wnn_jax.saving import folders
from wnn_jax.saving.progress import Progress, digest


class ChainModel(NamedTuple):
    """A fitted chain model.

    Attributes:
      config: the settings it was made with.
      tokenizer: the tokenizer of the text that it was fitted on.
      network: the wiring.
      memory: the counts and weights it has learnt, and its place in a text.
      books: what a static model counted, if `merging.count` made it: it can be merged, and forget.

    Source: docs/semantics/chain.md
    """

    config: ChainConfig
    tokenizer: Tokenizer
    network: Network
    memory: Memory
    books: Books | None = None


class ChainStep(NamedTuple):
    """The progress of fitting or reading.

    Attributes:
      stage: ``fitting`` the counts and the readout of a static model, ``reading`` training text online, or
        ``scoring``.
      done: the number of tokens of the stage that are done.
      total: the number of all tokens of the stage.

    Source: docs/semantics/chain.md
    """

    stage: Literal["fitting", "reading", "scoring"]
    done: int
    total: int


_BINS = 20  # of equal width, for the reliability of turns
OnStep = Callable[[ChainStep], None]
Model = TypeVar("Model")  # a `ChainModel`, or a `mixture.MixtureModel`


class TextScore(NamedTuple, Generic[Model]):
    """The cost of N tokens.

    Attributes:
      nats: ``float64 [N]``, the negative log-probability of each token.
      best: ``int32 [N]``, the most probable token at each place, the lowest id on ties; -1 if ``argmax`` was
        not asked for.
      model: the model after the last token; an online model has learnt the text.

    Source: docs/semantics/chain.md
    """

    nats: np.ndarray
    best: np.ndarray
    model: Model


class Evaluation(NamedTuple, Generic[Model]):
    """The cost of a corpus's test text for a model that was fitted on its training text.

    Attributes:
      nats: ``float64 [N]``, see `TextScore`.
      best: ``int32 [N]``, see `TextScore`.
      model: the model after the test text; an online model has learnt it.
      seconds: the time spent, over all runs.
      tokens_per_second: the speed of each stage in this run. ``reading`` and ``scoring`` leave out the first
        chunk, which compiles; ``training``, the static fit, includes compiling.
      reliability: the predicted and the observed frequency of ones among the turns of the test text; None for
        a mixture, which predicts tokens and no turns.

    Source: docs/semantics/chain.md
    """

    nats: np.ndarray
    best: np.ndarray
    model: Model
    seconds: float
    tokens_per_second: dict[str, float]
    reliability: metrics.Reliability | None


@checks.classes
def build(config: ChainConfig, corpus: Corpus | ShardedCorpus) -> Network:
    """Makes the wiring of a model for a corpus; a clustered token tree is made from its training text.

    Raises:
      ValueError: two rare tokens have the same bytes, so spelling cannot tell them apart.

    Source: docs/semantics/chain.md
    """
    return wired(config, corpus.train, corpus.pieces)


def wired(config: ChainConfig, train: np.ndarray | Tokens, pieces: list[bytes]) -> Network:
    """Makes the wiring of a model for a training text; see `build`.

    Args:
      config: the settings of the model.
      train: ids ``int [N]``; a clustered token tree is made from them.
      pieces: the bytes of each of the V ids.

    Raises:
      ValueError: two rare tokens have the same bytes, so spelling cannot tell them apart.

    Source: docs/semantics/chain.md
    """
    if config.tree == "plain":
        tree = tokentree.plain(len(pieces))
    else:
        tree = tokentree.clustered(train, pieces, config.rare)
    return models.network(tree, pieces, config.described, config.sets)


@checks.classes
def empty(config: ChainConfig, network: Network) -> Memory:
    """Makes the memory of a model that has read nothing, as large as ``config.memory_mib`` allows.

    Raises:
      ValueError: ``config.memory_mib`` is too small for the neurons.

    Source: docs/semantics/chain.md
    """
    neurons = network.view.shape[0]
    if config.mode == "online":
        cell = online.CELL_BYTES + (online.LIST_BYTES if config.lists else 0)
        log_slots = memories.log_slots_for(config.memory_mib, neurons, cell)
        return online.empty_online(network, log_slots, lists=config.lists, runs=config.runs)
    return memories.empty_static(
        network, memories.log_slots_for(config.memory_mib, ORDERS + neurons, memories.CELL_BYTES)
    )


@checks.classes
def score(
    model: ChainModel,
    text: str | np.ndarray | Sequence[int],
    *,
    argmax: bool = False,
    donate: bool = False,
    on_step: OnStep | None = None,
) -> TextScore[ChainModel]:
    """Scores a text with one model, see `face.score`.

    Raises:
      ValueError: a token is outside the vocabulary, or an array of the model is not of one.

    Source: docs/semantics/chain.md
    """
    given.network(model.network)
    given.memory(model.network, model.memory)
    tokens = given.tokens(model.network, model.tokenizer.encode(text) if isinstance(text, str) else text)
    memory = model.memory
    if isinstance(memory, OnlineMemory) and not donate:
        memory = jax.tree.map(jnp.copy, memory)
    run = _Run(model._replace(memory=memory), tokens, scored_from=0, argmax=argmax)
    run.read(lambda: None, save_every=len(tokens) + 1, on_step=on_step)
    return TextScore(run.nats, run.best, run.model)


@checks.classes
def unweighted(model: ChainModel, corpus: Corpus) -> dict[str, np.ndarray]:
    """Scores the test text by the counts of a static model alone, without its readout.

    Args:
      model: a static model.
      corpus: the model reads its test text after its training text.

    Returns:
      nats ``float64 [N]`` for each way to combine the counts, ``vote`` and ``backoff``: see
      `static.unweighted_nats`.

    Raises:
      ValueError: the model is not a static one.

    Source: docs/semantics/chain.md
    """
    if not isinstance(model.memory, StaticMemory):
        raise ValueError("unweighted needs a static model, got an online one: fit it with mode='static'")
    memory = static.stand_after(model.network, model.memory, corpus.train)
    return static.unweighted_nats(model.network, memory, corpus.test, model.config.chunk)


@checks.classes
def evaluate(
    key: jax.Array,
    config: ChainConfig,
    corpus: Corpus | ShardedCorpus,
    *,
    network: Network | None = None,
    argmax: bool = False,
    resume: str | pathlib.Path | None = None,
    save_every: int = 16,
    save_seconds: float = 60.0,
    on_step: OnStep | None = None,
) -> Evaluation[ChainModel]:
    """Fits a model on the training text and scores the test text, which follows it.

    Args:
      key: see `fit`.
      config: the settings of the model.
      corpus: the training text and the test text.
      network: the wiring from `build`; it is built if it is not given.
      argmax: see `score`.
      resume: a folder to save progress to, and to continue from. A run may be killed at any moment: the
        resumed run ends with the same bits, and at most ``save_every`` chunks are read again.
      save_every: the number of chunks between two saves.
      save_seconds: while the readout of a static model is trained, a round that ends this long after the last
        save is saved. A run that is killed counts the folds again.
      on_step: called with a `ChainStep` after every chunk.

    Raises:
      ValueError: see `fit`; ``save_every`` is below 1, a token is outside the vocabulary, or the wiring is
        not one.

    Source: docs/semantics/chain.md
    """
    save_every = checks.integer("save_every", save_every, checks.Limits(least=1))
    network = build(config, corpus) if network is None else network
    given.network(network)
    tokens = given.texts(network, corpus.train, corpus.test)
    saved = None if resume is None else Progress(resume, _describe(key, config, corpus, network, argmax))
    model = ChainModel(config, corpus.tokenizer, network, empty(config, network))
    run = _Run(model, tokens, scored_from=len(corpus.train), argmax=argmax)
    if saved:
        saved.latest(run.resume)

    def save() -> None:
        run.clock()
        if saved:
            saved.save(*run.state())

    def keep(state: readout.FitState) -> None:
        if saved and saved.due(save_seconds):
            run.clock()
            saved.save(state.arrays(), {"done": 0, "fitted": False, "seconds": run.seconds})

    if config.mode == "static" and not run.fitted:

        def rebuild(part: np.ndarray) -> Network:
            return wired(config, part, corpus.pieces)

        run.fit_static(key, rebuild, on_step, keep)
        save()
    run.read(save, save_every, on_step)
    save()
    speeds = run.tokens_per_second()
    return Evaluation(run.nats, run.best, run.model, run.seconds, speeds, run.reliability())


def _describe(
    key: jax.Array, config: ChainConfig, corpus: Corpus | ShardedCorpus, network: Network, argmax: bool
) -> dict[str, Any]:
    """Returns JSON data that is different for different work."""

    return {
        "chain": dataclasses.asdict(config),
        "network": digest(*jax.tree.leaves(network)),
        "train": Tokens.of(corpus.train).digest,
        "test": Tokens.of(corpus.test).digest,
        "argmax": argmax,
        "seed": np.asarray(jax.random.key_data(key)).tolist(),
    }


class _Run:
    """The run of a model through a text: its place, its results and its time."""

    def __init__(self, model: ChainModel, tokens: np.ndarray | Tokens, scored_from: int, argmax: bool):
        self.model, self.tokens, self.scored_from, self.argmax = model, tokens, scored_from, argmax
        scored = len(tokens) - scored_from
        self.nats, self.best = np.zeros(scored), np.full(scored, -1, np.int32)
        self.tally = np.zeros((3, _BINS))  # of the scored turns: the sum of P(1), the number of ones, of all
        self.done, self.fitted, self.seconds = 0, False, 0.0
        self.partly = readout.FitState()  # what is done of the fit of a static model
        self._begun = time.perf_counter()
        self._spent: dict[str, tuple[int, float]] = {}  # tokens and seconds of each stage

    def clock(self) -> None:
        """Adds the seconds since the last call to ``seconds``."""
        self.seconds, self._begun = self.seconds + time.perf_counter() - self._begun, time.perf_counter()

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns arrays and JSON data from which `resume` continues."""
        arrays = self.model.memory._asdict() | {"nats": self.nats, "best": self.best, "tally": self.tally}
        return arrays, {"done": self.done, "fitted": self.fitted, "seconds": self.seconds}

    def resume(self, arrays: dict[str, Any], data: dict[str, Any]) -> None:
        """Continues from a `state`, or from a part of the fit, if it is one of this run."""
        done = checks.integer("done", data["done"], checks.Limits(least=0, most=len(self.tokens)))
        fitted, seconds = bool(data["fitted"]), checks.number("seconds", data["seconds"])
        if not done:
            self.partly, self.seconds = readout.FitState.of(arrays), seconds
            return
        folders.check_form(arrays, self.state()[0])
        memory: Any = self.model.memory
        memory = memory._replace(**{name: jnp.asarray(arrays[name]) for name in memory._fields})
        given.memory(self.model.network, memory)
        self.model = self.model._replace(memory=memory)
        self.nats, self.best = np.array(arrays["nats"]), np.array(arrays["best"])
        self.tally = np.array(arrays["tally"])
        self.done, self.fitted, self.seconds = done, fitted, seconds

    def fit_static(
        self,
        key: jax.Array,
        rebuild: Callable[[np.ndarray], Network],
        on_step: OnStep | None,
        keep: readout.OnState,
    ) -> None:
        """Trains the readout and counts the training text, from the start or from a part of the training."""
        memory: Any = self.model.memory
        train = self.tokens[: self.scored_from]
        begun = time.perf_counter()

        def report(share: float) -> None:
            if on_step:
                on_step(ChainStep("fitting", round(share * len(train)), len(train)))

        settings = self.model.config.readout
        keeps = {"build": rebuild, "state": self.partly, "on_state": keep}
        fitted = static.fit(key, self.model.network, memory, train, settings, report, **keeps)
        self.model = self.model._replace(memory=jax.block_until_ready(fitted))
        self._spent["training"] = len(train), time.perf_counter() - begun
        self.done, self.fitted = len(train), True

    def read(self, save: Callable[[], None], save_every: int, on_step: OnStep | None) -> None:
        """Reads the rest of the text, chunk by chunk; an online model learns it."""
        config, chunks = self.model.config, 0
        while self.done < len(self.tokens):
            scored = self.done >= self.scored_from
            first, last = (self.scored_from, len(self.tokens)) if scored else (0, self.scored_from)
            part = self.tokens[self.done : min(self.done + config.chunk, last)]
            begun = time.perf_counter()
            self._read_chunk(part, scored)
            stage = "scoring" if scored else "reading"
            if chunks and len(part) == config.chunk:  # the first chunk compiles
                count, seconds = self._spent.get(stage, (0, 0.0))
                self._spent[stage] = count + len(part), seconds + time.perf_counter() - begun
            self.done += len(part)
            chunks += 1
            if on_step:
                on_step(ChainStep(stage, self.done - first, last - first))
            if chunks % save_every == 0:
                save()

    def _read_chunk(self, part: np.ndarray, scored: bool) -> None:
        config, network, memory = self.model.config, self.model.network, self.model.memory
        how = {"learn": config.mode == "online", "argmax": scored and self.argmax}
        memory, reading = models.read_ids(network, memory, part, **how, block=config.chunk)
        self.model = self.model._replace(memory=memory)
        if scored:
            at = self.done - self.scored_from
            self.nats[at : at + len(part)] = models.nats(network, reading)
            self.best[at : at + len(part)] = np.asarray(reading.best)
            self.tally += _tally(network, reading)
        jax.block_until_ready(memory.registers)

    def tokens_per_second(self) -> dict[str, float]:
        """Returns the tokens per second of each stage; those of ``training`` include compiling."""
        return {stage: tokens / seconds for stage, (tokens, seconds) in self._spent.items()}

    def reliability(self) -> metrics.Reliability:
        """Returns the predicted and observed frequency of ones, in the bins that hold a scored turn."""
        predicted, ones, size = self.tally[:, self.tally[2] > 0]
        return metrics.Reliability(predicted / size, ones / size, size.astype(np.int64))


def _tally(network: Network, reading: models.Reading) -> np.ndarray:
    """Returns, for the turns in each bin of P(1), the sum of P(1), the number of ones and of all turns."""
    bits, there = models.turns(network, reading.tokens)
    one = np.asarray(reading.ones, np.float64)[there]
    place = np.minimum((one * _BINS).astype(np.int64), _BINS - 1)
    return np.stack([np.bincount(place, x, _BINS) for x in (one, bits[there], None)])


def follow(model: ChainModel, tokens: np.ndarray) -> ChainModel:
    """Returns a model after tokens that become context and are not learnt.

    Raises:
      ValueError: a token is outside the vocabulary, or an array of the model is not of one.

    Source: docs/semantics/chain.md
    """
    return model._replace(memory=models.read(model.network, model.memory, tokens)[0])


def drawn(
    key: jax.Array, model: ChainModel, before: np.ndarray, tokens: int, writing: WritingConfig
) -> Iterator[int]:
    """Yields tokens that continue what a model from `follow` has read.

    They are drawn in blocks of 128, each with a key of its own.

    Args:
      key: the random key of the draws.
      model: the model, which stays as it was.
      before: ids ``int32 [N]`` of the prompt, which the repetition penalty is for too.
      tokens: the number of tokens.
      writing: the rules of drawing.

    Source: docs/semantics/chain.md
    """
    memory, block = models.own(model.memory), models.DRAWN_BLOCK
    for call in range(-(-tokens // block)):
        count, block_key = min(block, tokens - call * block), jax.random.fold_in(key, call)
        memory, found = models.draw(block_key, model.network, memory, count, writing, before)
        before = np.concatenate([before, found])
        yield from found.tolist()
