"""Fits mixtures of two chain models, scores text with them and continues text.

Each model reads the text by itself, in a thread of its own, and only their probabilities meet (`mixing`). The
functions do the work of those of the same name in `face`.

Source: docs/semantics/chain.md
"""

import dataclasses
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from wnn_jax import checks, files
from wnn_jax.chain import drawing, fitted, given, joint, mixing, together
from wnn_jax.chain.config import ChainConfig, MixtureConfig, WritingConfig
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.fitted import ChainModel, ChainStep, Evaluation, OnStep, TextScore
from wnn_jax.chain.mixing import MixtureModel
from wnn_jax.data.shards import ShardedCorpus
from wnn_jax.data.text import Corpus
from wnn_jax.data.tokens import Tokens
from wnn_jax.saving import progress
from wnn_jax.saving.progress import Progress, digest

HELD_OUT = 50_000  # the most tokens at the end of the training text from which static models learn the weight
_BLOCK = 256  # tokens between two looks at the clock while the best tokens are searched for


def build(config: MixtureConfig, corpus: Corpus | ShardedCorpus) -> tuple[Network, Network]:
    """Makes the wiring of both models.

    Raises:
      ValueError: see `fitted.build`.

    Source: docs/semantics/chain.md
    """
    return fitted.build(config.first, corpus), fitted.build(config.second, corpus)


def evaluate(
    key: jax.Array,
    config: MixtureConfig,
    corpus: Corpus | ShardedCorpus,
    *,
    network: tuple[Network, Network] | None = None,
    argmax: bool = False,
    resume: str | pathlib.Path | None = None,
    save_every: int = 16,
    save_seconds: float = 60.0,
    on_step: OnStep | None = None,
) -> Evaluation[MixtureModel]:
    """Fits both models and scores the test text; each model saves its progress in a folder below ``resume``.

    The weight of online models learns from the training text too. That of static models is the best constant
    one for the end of the training text, by two models that have not seen this end.

    Raises:
      ValueError: see `fitted.evaluate`.

    Source: docs/semantics/chain.md
    """
    save_every = checks.integer("save_every", save_every, checks.Limits(least=1))
    folder = None if resume is None else progress.parts(resume, "a mixture")
    run = _Run(key, config, folder, {"save_every": save_every, "save_seconds": save_seconds}, on_step)
    balance = run.held_out_balance(corpus) if config.mode == "static" else 0.0
    wired = build(config, corpus) if network is None else network
    # Where best tokens are searched for, both models read the test text place by place, after the training.
    first, second = run.both("", wired, corpus._replace(test=corpus.test[:0]) if argmax else corpus)
    nats, balance = mixing.mix(first.nats, second.nats, balance, mixing.rate(config))
    nats = nats[len(nats) - (0 if argmax else len(corpus.test)) :]
    model = MixtureModel(config, first.model, second.model, balance)
    best = np.full(len(nats), -1, np.int32)
    speeds = {
        stage: min(speed, second.tokens_per_second[stage])
        for stage, speed in first.tokens_per_second.items()
        if stage in second.tokens_per_second
    }
    if argmax:
        saved = run.found(wired, corpus)
        nats, best, model = _with_best(model, np.asarray(corpus.test), saved, save_seconds, on_step)
    return Evaluation(nats, best, model, run.seconds, speeds, reliability=None)


class _Run:
    """The evaluations of two models that make one of a mixture."""

    def __init__(self, key, config: MixtureConfig, folder, saving: dict[str, Any], on_step: OnStep | None):
        self.seconds = 0.0
        self.key, self.config, self.folder, self.saving, self.on_step = key, config, folder, saving, on_step

    def both(self, name: str, wired: tuple[Network, Network], corpus: Corpus | ShardedCorpus):
        """Evaluates both models on a corpus. Online models also score the training text, for the weight."""
        learnt, online = len(corpus.train), self.config.mode == "online"
        if online:
            corpus = _scored_whole(corpus)

        def show(step: ChainStep) -> None:
            if online and step.done <= learnt:
                step = ChainStep("reading", step.done, learnt)
            elif online:
                step = ChainStep("scoring", step.done - learnt, step.total - learnt)
            if self.on_step:
                self.on_step(step)

        def one(which: str, config: ChainConfig, network: Network):
            folder = None if self.folder is None else self.folder / f"{name}{which}"
            if folder:  # it is made here, so that the threads do not try the folder above at the same time
                with files.reaching(folder, "write"):
                    folder.mkdir(exist_ok=True)
            how = {"network": network, "resume": folder, **self.saving}
            return lambda step: fitted.evaluate(self.key, config, corpus, **how, on_step=step)

        works = one("first", self.config.first, wired[0]), one("second", self.config.second, wired[1])
        done = together.both(*works, show)
        self.seconds += max(x.seconds for x in done)
        return done

    def held_out_balance(self, corpus: Corpus | ShardedCorpus) -> float:
        """Learns the weight of static models on the end of the training text, which they have not seen."""
        end = len(corpus.train) - min(HELD_OUT, len(corpus.train) // 10)
        parted = corpus._replace(train=corpus.train[:end], test=corpus.train[end:])
        first, second = self.both("held_out_", build(self.config, parted), parted)
        return mixing.constant_balance(first.nats, second.nats)

    def found(self, wired: tuple[Network, Network], corpus: Corpus | ShardedCorpus) -> Progress | None:
        """Opens the folder of the best tokens that were found."""
        if self.folder is None:
            return None
        about = {
            "mixture": dataclasses.asdict(self.config),
            "networks": digest(*jax.tree.leaves(wired)),
            "train": Tokens.of(corpus.train).digest,
            "test": Tokens.of(corpus.test).digest,
            "seed": np.asarray(jax.random.key_data(self.key)).tolist(),
        }
        return Progress(self.folder / "best", about)


def _scored_whole(corpus: Corpus | ShardedCorpus) -> Corpus | ShardedCorpus:
    """Returns a corpus whose test text is the training text and the test text."""
    if isinstance(corpus, Corpus):
        whole = np.concatenate([corpus.train, corpus.test])
        return corpus._replace(train=corpus.train[:0], test=whole)
    return corpus._replace(train=Tokens([]), test=Tokens.of(corpus.train, corpus.test))


def score(
    model: MixtureModel,
    text: str | np.ndarray | Sequence[int],
    *,
    argmax: bool = False,
    donate: bool = False,
    on_step: OnStep | None = None,
) -> TextScore[MixtureModel]:
    """Scores a text that continues what both models have read.

    Raises:
      ValueError: a token is outside the vocabulary, or an array of a model is not of one.

    Source: docs/semantics/chain.md
    """
    mixing.check(model)
    known = model.tokenizer.encode(text) if isinstance(text, str) else text
    tokens = given.tokens(model.first.network, known)
    if not argmax:
        return _read(model, tokens, donate, on_step)
    if not donate:
        model = _read(model, tokens[:0], False, None).model  # with tables of its own
    return TextScore(*_with_best(model, tokens, None, math.inf, on_step))


def _read(
    model: MixtureModel, tokens: np.ndarray, donate: bool, on_step: OnStep | None
) -> TextScore[MixtureModel]:
    def one(single: ChainModel):
        return lambda step: fitted.score(single, tokens, donate=donate, on_step=step)

    first, second = together.both(one(model.first), one(model.second), on_step)
    nats, balance = mixing.mix(first.nats, second.nats, model.balance, mixing.rate(model.config))
    moved = model._replace(first=first.model, second=second.model, balance=balance)
    return TextScore(nats, first.best, moved)


def _with_best(
    model: MixtureModel,
    tokens: np.ndarray,
    saved: Progress | None,
    save_seconds: float,
    on_step: OnStep | None,
) -> tuple[np.ndarray, np.ndarray, MixtureModel]:
    """Scores tokens and finds the most probable one at each place; consumes the tables of online models.

    Only the best tokens are saved: a resumed run reads the text up to there again, without the search.

    Returns:
      nats ``float64 [N]``, the best tokens ``int32 [N]``, and the model after the tokens.
    """
    known = saved.latest(lambda arrays, _: _known(arrays["best"], len(tokens))) if saved else None
    best = np.zeros(0, np.int32) if known is None else known
    begun = _read(model, tokens[: len(best)], donate=True, on_step=None)
    nats, model = [begun.nats], begun.model
    for at in range(len(best), len(tokens), _BLOCK):
        costs, more, model = joint.read_with_best(model, tokens[at : at + _BLOCK])
        nats, best = [*nats, costs], np.concatenate([best, more])
        if saved and (saved.due(save_seconds) or len(best) == len(tokens)):
            saved.save({"best": best}, {})
        if on_step:
            on_step(ChainStep("scoring", len(best), len(tokens)))
    return np.concatenate(nats), best, model


def _known(best: Any, most: int) -> np.ndarray:
    checks.array("best", best, "int32", {"places": None}, checks.Limits(least=0))
    if len(best) > most:
        raise ValueError(f"best has {len(best)} places, but the text has {most} tokens: give another copy")
    return np.array(best)


def follow(model: MixtureModel, tokens: np.ndarray) -> MixtureModel:
    """Returns a mixture after tokens that become context and are not learnt; the weight stays.

    Raises:
      ValueError: a token is outside the vocabulary, or an array of a model is not of one.

    Source: docs/semantics/chain.md
    """
    mixing.check(model)
    first, second = (fitted.follow(one, tokens) for one in (model.first, model.second))
    return model._replace(first=first, second=second)


def drawn(
    key: jax.Array, model: MixtureModel, before: np.ndarray, tokens: int, writing: WritingConfig
) -> Iterator[int]:
    """Yields tokens that continue what a mixture from `follow` has read, see `fitted.drawn`.

    Without a rule that cuts, a token takes the time of a few short calls. Rules that cut need all V
    probabilities of both models.

    Source: docs/semantics/chain.md
    """
    for place in range(tokens):
        recent = drawing.recent(before, writing)
        model, token = joint.draw(jax.random.fold_in(key, place), model, writing, recent)
        before = np.append(recent, np.int32(token))
        yield token


def probabilities(model: MixtureModel) -> np.ndarray:
    """Returns the probability ``float64 [V]`` of every token to come next; their sum is 1.

    Raises:
      ValueError: an array of a model is not of one.

    Source: docs/semantics/chain.md
    """
    mixing.check(model)
    return joint.shares(model, 1.0)
