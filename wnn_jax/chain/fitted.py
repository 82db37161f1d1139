"""Fitted chain models: fit one, score and continue text with it, in Python's own types.

The functions of `model` and `static` stand below; here are the loops over a text, which save where they are
and resume to the same bits.
"""

import codecs
import dataclasses
import hashlib
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.chain import memory as memories
from wnn_jax.chain import model as models
from wnn_jax.chain import static, tokentree
from wnn_jax.chain.config import ChainConfig
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.memory import Memory, OnlineMemory, StaticMemory
from wnn_jax.data.text import Corpus
from wnn_jax.data.tokenizers import Tokenizer
from wnn_jax.saving.progress import Progress


class ChainModel(NamedTuple):
    """A fitted chain model.

    Attributes:
      config: what it is made of.
      tokenizer: of the text it was fitted on.
      network: its wiring.
      memory: what it has counted and learnt, and where it stands in a text.
    """

    config: ChainConfig
    tokenizer: Tokenizer
    network: Network
    memory: Memory


class ChainStep(NamedTuple):
    """How far fitting or reading got.

    Attributes:
      stage: ``fitting`` the counts and the readout of a static model, ``reading`` training text online, or
        ``scoring``.
      done, total: tokens of the stage.
    """

    stage: Literal["fitting", "reading", "scoring"]
    done: int
    total: int


OnStep = Callable[[ChainStep], None]


class TextScore(NamedTuple):
    """The cost of N tokens.

    Attributes:
      nats: ``float64 [N]`` negative log-probabilities.
      best: ``int32 [N]`` the most probable token at each place, the lowest id on ties; -1 if not asked for.
      model: stands behind the last token; an online one has learnt the text.
    """

    nats: np.ndarray
    best: np.ndarray
    model: ChainModel


class Evaluation(NamedTuple):
    """The cost of a corpus's test text for a model that was fitted on its training text.

    Attributes:
      nats, best: see `TextScore`.
      model: stands behind the test text; an online one has learnt it.
      seconds: spent, over all runs.
      tokens_per_second: by stage, of this run and without the first chunk, which compiles; ``training`` is
        the static fit, with all that it compiles.
    """

    nats: np.ndarray
    best: np.ndarray
    model: ChainModel
    seconds: float
    tokens_per_second: dict[str, float]


def build(config: ChainConfig, corpus: Corpus) -> Network:
    """The wiring of a model of a corpus, its tree made from the training text.

    Raises:
      ValueError: two rare tokens have the same bytes and cannot be spelled.
    """
    if config.tree == "plain":
        tree = tokentree.plain(corpus.vocabulary)
    else:
        tree = tokentree.clustered(corpus.train, corpus.pieces, config.rare)
    return models.network(tree, corpus.pieces, config.described)


def empty(config: ChainConfig, network: Network) -> Memory:
    """The memory of a model that has read nothing, as large as ``config.memory_mib`` allows.

    Raises:
      ValueError: that is too small.
    """
    log_slots = memories.log_slots_for(config.memory_mib, network.view.shape[0])
    make = memories.empty_online if config.mode == "online" else memories.empty_static
    return make(network, log_slots)


def fit(
    key: jax.Array,
    config: ChainConfig,
    corpus: Corpus,
    *,
    resume: str | pathlib.Path | None = None,
    on_step: OnStep | None = None,
) -> ChainModel:
    """A model that has learnt the training text of a corpus.

    Args:
      key: trains the readout of a static model; an online one draws nothing.
      resume: a folder to save progress to, and to continue from; see `evaluate`.
      on_step: called with a `ChainStep` after every chunk.

    Raises:
      ValueError: the memory is too small, the text is too short for the readout's folds, or the folder holds
        the progress of other work.
    """
    nothing = corpus._replace(test=corpus.test[:0])
    return evaluate(key, config, nothing, resume=resume, on_step=on_step).model


def score(
    model: ChainModel,
    text: str | np.ndarray | Sequence[int],
    *,
    argmax: bool = False,
    donate: bool = False,
    on_step: OnStep | None = None,
) -> TextScore:
    """Score a text that continues what the model has read.

    A static model learns nothing. An online one scores each token before it is written, as it did in fitting;
    the model given stays as it was, and the one returned has learnt the text.

    Args:
      text: text, or ids ``[N]``.
      argmax: whether to look for the most probable token at each place too, which takes a few times longer.
      donate: give the tables of an online model away instead of copying them; ``model`` must not be used
        after that.
      on_step: called with a `ChainStep` after every chunk.

    Raises:
      ValueError: a token is outside the vocabulary.
    """
    tokens = models.check_tokens(
        model.network, model.tokenizer.encode(text) if isinstance(text, str) else text
    )
    memory = model.memory
    if isinstance(memory, OnlineMemory) and not donate:
        memory = jax.tree.map(jnp.copy, memory)
    run = _Run(model._replace(memory=memory), tokens, scored_from=0, argmax=argmax)
    run.read(lambda: None, save_every=len(tokens) + 1, on_step=on_step)
    return TextScore(run.nats, run.best, run.model)


def unweighted(model: ChainModel, corpus: Corpus) -> dict[str, np.ndarray]:
    """Nats ``float64 [N]`` of the test text by the counts of a static model alone, without its readout.

    Returns:
      by how the counts are read out, ``vote`` and ``backoff``: see `static.unweighted_nats`.

    Raises:
      ValueError: the model is not a static one.
    """
    if not isinstance(model.memory, StaticMemory):
        raise ValueError("only a static model has counts: give one fitted with mode='static'")
    memory = static.stand_after(model.network, model.memory, corpus.train)
    return static.unweighted_nats(model.network, memory, corpus.test, model.config.chunk)


def evaluate(
    key: jax.Array,
    config: ChainConfig,
    corpus: Corpus,
    *,
    network: Network | None = None,
    argmax: bool = False,
    resume: str | pathlib.Path | None = None,
    save_every: int = 16,
    on_step: OnStep | None = None,
) -> Evaluation:
    """Fit a model on the training text and score the test text, which follows it.

    Args:
      key: see `fit`.
      network: from `build`; made if it is not given.
      argmax: see `score`.
      resume: a folder to save progress to, and to continue from; killed at any moment, the work ends with the
        same bits and has lost at most ``save_every`` chunks.
      save_every: chunks between two saves.
      on_step: called with a `ChainStep` after every chunk.

    Raises:
      ValueError: see `fit`.
    """
    if save_every < 1:
        raise ValueError(f"save_every must be at least 1, got {save_every}")
    network = build(config, corpus) if network is None else network
    tokens = np.concatenate([corpus.train, corpus.test]).astype(np.int32)
    saved = None if resume is None else Progress(resume, _describe(key, config, corpus, network, argmax))
    found = saved.latest() if saved else None
    memory = _resumed(config, found[0]) if found else empty(config, network)
    model = ChainModel(config, corpus.tokenizer, network, memory)
    run = _Run(model, tokens, scored_from=len(corpus.train), argmax=argmax)
    if found:
        run.resume(*found)

    def save() -> None:
        run.clock()
        if saved:
            saved.save(*run.state())

    if config.mode == "static" and not run.fitted:
        run.fit_static(key, on_step)
        save()
    run.read(save, save_every, on_step)
    save()
    return Evaluation(run.nats, run.best, run.model, run.seconds, run.tokens_per_second())


def _describe(
    key: jax.Array, config: ChainConfig, corpus: Corpus, network: Network, argmax: bool
) -> dict[str, Any]:
    """JSON data that tells this work from other work."""

    def digest(*arrays: Any) -> str:
        return hashlib.sha256(b"".join(np.asarray(x).tobytes() for x in arrays)).hexdigest()

    return {
        "chain": dataclasses.asdict(config),
        "network": digest(*jax.tree.leaves(network)),
        "train": digest(corpus.train),
        "test": digest(corpus.test),
        "argmax": argmax,
        "seed": np.asarray(jax.random.key_data(key)).tolist(),
    }


def _resumed(config: ChainConfig, arrays: dict[str, Any]) -> Memory:
    kind = OnlineMemory if config.mode == "online" else StaticMemory
    return kind(**{name: jnp.asarray(arrays[name]) for name in kind._fields})


class _Run:
    """A model on its way through a text: what it has done, found and spent."""

    def __init__(self, model: ChainModel, tokens: np.ndarray, scored_from: int, argmax: bool):
        self.model, self.tokens, self.scored_from, self.argmax = model, tokens, scored_from, argmax
        scored = len(tokens) - scored_from
        self.nats, self.best = np.zeros(scored), np.full(scored, -1, np.int32)
        self.done, self.fitted, self.seconds = 0, False, 0.0
        self._begun = time.perf_counter()
        self._spent: dict[str, tuple[int, float]] = {}  # tokens and seconds of each stage

    def clock(self) -> None:
        """Count the seconds since this was last called."""
        self.seconds, self._begun = self.seconds + time.perf_counter() - self._begun, time.perf_counter()

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arrays and JSON data from which `resume` goes on."""
        arrays = self.model.memory._asdict()
        if len(self.nats):  # an empty array cannot be saved
            arrays |= {"nats": self.nats, "best": self.best}
        return arrays, {"done": self.done, "fitted": self.fitted, "seconds": self.seconds}

    def resume(self, arrays: dict[str, Any], data: dict[str, Any]) -> None:
        """Go on from a `state`, whose memory the model has already."""
        if len(self.nats):
            self.nats, self.best = np.array(arrays["nats"]), np.array(arrays["best"])
        self.done, self.fitted, self.seconds = data["done"], data["fitted"], data["seconds"]

    def fit_static(self, key: jax.Array, on_step: OnStep | None) -> None:
        """Count the training text and train the readout."""
        memory: Any = self.model.memory
        train = self.tokens[: self.scored_from]
        begun = time.perf_counter()

        def report(share: float) -> None:
            if on_step:
                on_step(ChainStep("fitting", round(share * len(train)), len(train)))

        fitted = static.fit(key, self.model.network, memory, train, self.model.config.readout, report)
        self.model = self.model._replace(memory=jax.block_until_ready(fitted))
        self._spent["training"] = len(train), time.perf_counter() - begun
        self.done, self.fitted = len(train), True

    def read(self, save: Callable[[], None], save_every: int, on_step: OnStep | None) -> None:
        """Read what is left of the text, chunk by chunk; an online model learns it."""
        config, chunks = self.model.config, 0
        while self.done < len(self.tokens):
            scored = self.done >= self.scored_from
            first, last = (self.scored_from, len(self.tokens)) if scored else (0, self.scored_from)
            part = self.tokens[self.done : min(self.done + config.chunk, last)]
            begun = time.perf_counter()
            self._read_chunk(part, scored)
            stage = "scoring" if scored else "reading"
            if chunks and len(part) == config.chunk:  # the first compiles
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
        how = {"learn": config.mode == "online", "argmax": scored and self.argmax, "rate": config.rate}
        memory, reading = models.read(network, memory, part, **how, block=config.chunk)
        self.model = self.model._replace(memory=memory)
        if scored:
            at = self.done - self.scored_from
            self.nats[at : at + len(part)] = models.nats(network, reading)
            self.best[at : at + len(part)] = np.asarray(reading.best)
        jax.block_until_ready(memory.registers)

    def tokens_per_second(self) -> dict[str, float]:
        """By stage; of a fit with all that it compiles."""
        return {stage: tokens / seconds for stage, (tokens, seconds) in self._spent.items()}


def generate(
    key: jax.Array,
    model: ChainModel,
    prompt: str = "",
    tokens: int = 200,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    on_text: Callable[[str], None] | None = None,
) -> str:
    """Continue a prompt, which itself continues what the model has read. The model stays as it was.

    Args:
      key: decides what is drawn.
      tokens: the number of tokens to draw.
      temperature: divides the log-odds of every turn; 1 draws from the model.
      top_p: draws from the fewest most probable tokens with this much of the probability; 1 from all.
      on_text: called with the text of each token as it comes.

    Returns:
      the prompt and its continuation; bytes that are no UTF-8 are replaced.

    Raises:
      ValueError: a number is out of range.
    """
    if tokens < 1:
        raise ValueError(f"tokens must be at least 1, got {tokens}")
    network, memory = model.network, model.memory
    if prompt:
        memory, _ = models.read(network, memory, model.tokenizer.encode(prompt))
    decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
    written = [prompt]
    block = models.DRAWN_BLOCK
    for call in range(-(-tokens // block)):
        memory, drawn = models.sample(
            jax.random.fold_in(key, call), network, memory, block, temperature, top_p
        )
        for token in drawn[: tokens - call * block]:
            written.append(decode(model.tokenizer.pieces[token]))
            if on_text:
                on_text(written[-1])
    return "".join(written)
