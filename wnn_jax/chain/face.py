"""The functions that most users of chain models need. They take a single model or a mixture of two.

    model = chain.fit(jax.random.key(0), chain.TWO_TREES, corpus)
    nats = chain.score(model, "The game was played in Texas.").nats

The kind of the config, or of the model, decides which module does the work: `fitted` and `stored` for one
model, `mixture` and `stored_mixture` for two.

Source: docs/semantics/chain.md
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.chain import fitted, mixture, stored, stored_mixture, streaming
from wnn_jax.chain import model as models
from wnn_jax.chain.config import ChainConfig, MixtureConfig, WritingConfig
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.fitted import ChainModel, Evaluation, OnStep, TextScore
from wnn_jax.chain.mixing import MixtureModel
from wnn_jax.data.shards import ShardedCorpus
from wnn_jax.data.text import Corpus, TextConfig
from wnn_jax.saving import checkpoint

_PAIR = MixtureConfig, MixtureModel


def _loops(kind: Any) -> Any:
    """Returns the module that fits and reads models of the kind of a config or a model."""
    return mixture if isinstance(kind, _PAIR) else fitted


@overload
def build(config: ChainConfig, corpus: Corpus | ShardedCorpus) -> Network: ...
@overload
def build(config: MixtureConfig, corpus: Corpus | ShardedCorpus) -> tuple[Network, Network]: ...
@checks.classes
def build(
    config: ChainConfig | MixtureConfig, corpus: Corpus | ShardedCorpus
) -> Network | tuple[Network, Network]:
    """Makes the wiring of a model for a corpus; a clustered token tree is made from its training text.

    Args:
      config: the settings of one model, or of a mixture, which has two wirings.
      corpus: the text.

    Raises:
      ValueError: two rare tokens have the same bytes, so spelling cannot tell them apart.

    Source: docs/semantics/chain.md
    """
    return _loops(config).build(config, corpus)


@overload
def fit(
    key: jax.Array,
    config: ChainConfig,
    corpus: Corpus | ShardedCorpus,
    *,
    resume: str | pathlib.Path | None = None,
    on_step: OnStep | None = None,
) -> ChainModel: ...
@overload
def fit(
    key: jax.Array,
    config: MixtureConfig,
    corpus: Corpus | ShardedCorpus,
    *,
    resume: str | pathlib.Path | None = None,
    on_step: OnStep | None = None,
) -> MixtureModel: ...
@checks.classes
def fit(
    key: jax.Array,
    config: ChainConfig | MixtureConfig,
    corpus: Corpus | ShardedCorpus,
    *,
    resume: str | pathlib.Path | None = None,
    on_step: OnStep | None = None,
) -> ChainModel | MixtureModel:
    """Fits a model, or the two of a mixture and their weight, to the training text of a corpus.

    Args:
      key: the random key for training the readout of a static model; an online model does not use it.
      config: the settings of the model or the mixture.
      corpus: the text; its test split is not read.
      resume: a folder to save progress to, and to continue from; see `evaluate`.
      on_step: called with a `ChainStep` after every chunk.

    Raises:
      ValueError: the memory is too small, the text is too short for the readout's folds, or the folder holds
        the progress of other work.

    Source: docs/semantics/chain.md
    """
    nothing = corpus._replace(test=corpus.test[:0])
    return _loops(config).evaluate(key, config, nothing, resume=resume, on_step=on_step).model


@overload
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
) -> Evaluation[ChainModel]: ...
@overload
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
) -> Evaluation[MixtureModel]: ...
@checks.classes
def evaluate(
    key: jax.Array,
    config: ChainConfig | MixtureConfig,
    corpus: Corpus | ShardedCorpus,
    *,
    network: Any = None,
    argmax: bool = False,
    resume: str | pathlib.Path | None = None,
    save_every: int = 16,
    save_seconds: float = 60.0,
    on_step: OnStep | None = None,
) -> Evaluation[Any]:
    """Fits a model or a mixture on the training text and scores the test text, which follows it.

    Args:
      key: see `fit`.
      config: the settings of the model or the mixture.
      corpus: the training text and the test text.
      network: the wiring from `build`; it is built if it is not given.
      argmax: see `score`.
      resume: a folder to save progress to, and to continue from; each model of a mixture has its own folder
        in it. A run may be killed at any moment: the resumed run ends with the same bits, and at most
        ``save_every`` chunks are read again.
      save_every: the number of chunks between two saves.
      save_seconds: a fold or an epoch of a static fit, or places whose best tokens were searched for in a
        mixture, are saved if the last save is this long ago.
      on_step: called with a `ChainStep` after every chunk. Of a mixture it is the step of the model that is
        behind, and the call may come from another thread.

    Raises:
      ValueError: see `fit`; ``save_every`` is below 1, a token is outside the vocabulary, or the wiring is
        not one.

    Source: docs/semantics/chain.md
    """
    how = {"network": network, "argmax": argmax, "resume": resume, "save_every": save_every}
    return _loops(config).evaluate(key, config, corpus, **how, save_seconds=save_seconds, on_step=on_step)


@overload
def score(
    model: ChainModel,
    text: str | np.ndarray | Sequence[int],
    *,
    argmax: bool = False,
    donate: bool = False,
    on_step: OnStep | None = None,
) -> TextScore[ChainModel]: ...
@overload
def score(
    model: MixtureModel,
    text: str | np.ndarray | Sequence[int],
    *,
    argmax: bool = False,
    donate: bool = False,
    on_step: OnStep | None = None,
) -> TextScore[MixtureModel]: ...
@checks.classes
def score(
    model: ChainModel | MixtureModel,
    text: str | np.ndarray | Sequence[int],
    *,
    argmax: bool = False,
    donate: bool = False,
    on_step: OnStep | None = None,
) -> TextScore[Any]:
    """Scores a text that continues what the model has read.

    A static model learns nothing. An online model scores each token before it writes it, as in fitting. The
    given model stays as it was; the returned model has read the text.

    Args:
      model: a fitted model or mixture.
      text: text, or ids ``int [N]``.
      argmax: whether to find the most probable token at each place too, the lowest id on a tie. It takes a
        few times longer. For a mixture it takes much longer: where its two models name different tokens, all
        V probabilities of both are computed.
      donate: whether to give away the tables of an online model instead of copying them; ``model`` must not
        be used afterwards.
      on_step: called with a `ChainStep` after every chunk.

    Raises:
      ValueError: a token is outside the vocabulary, or an array of the model is not of one.

    Source: docs/semantics/chain.md
    """
    return _loops(model).score(model, text, argmax=argmax, donate=donate, on_step=on_step)


@checks.classes
def generate(
    key: jax.Array,
    model: ChainModel | MixtureModel,
    prompt: str = "",
    tokens: int = 200,
    writing: WritingConfig = WritingConfig(),
    *,
    on_text: Callable[[str], None] | None = None,
) -> str:
    """Continues a prompt, which itself continues what the model has read; the model stays as it was.

    Args:
      key: the random key of the draws.
      model: a fitted model or mixture.
      prompt: the text to continue; without one the model continues the text that it has read.
      tokens: the most tokens to draw; fewer are drawn where a text of ``writing.stop`` ends the writing.
      writing: the rules of drawing, and the texts to stop at.
      on_text: called with more of the continuation as soon as it is certain: never with a part of a
        character, nor with a text to stop at.

    Returns:
      the prompt and its continuation; bytes that are not UTF-8 are replaced, and a character that the last
      token leaves incomplete is left out.

    Raises:
      ValueError: ``tokens`` is out of range, the prompt is no text, or an array of the model is not of one.

    Source: docs/semantics/chain.md
    """
    show = None if on_text is None else lambda _, text: on_text(text)
    return continuations([key], model, prompt, tokens, writing, on_text=show)[0]


@checks.classes
def continuations(
    keys: jax.Array | Sequence[jax.Array],
    model: ChainModel | MixtureModel,
    prompt: str = "",
    tokens: int = 200,
    writing: WritingConfig = WritingConfig(),
    *,
    on_text: Callable[[int, str], None] | None = None,
) -> list[str]:
    """Continues a prompt several times, and reads it once. Each text is that of `generate` with its key.

    Args:
      keys: the random keys ``[N]`` of the draws, one for each continuation.
      model: see `generate`.
      prompt: see `generate`.
      tokens: the most tokens of each continuation.
      writing: see `generate`.
      on_text: called with the place of a continuation and more of its text, one continuation after another.

    Returns:
      the N texts, each with the prompt.

    Raises:
      ValueError: see `generate`.

    Source: docs/semantics/chain.md
    """
    tokens = checks.integer("tokens", tokens, checks.Limits(least=1))
    if not isinstance(prompt, str):
        raise ValueError(f"prompt={prompt!r} is of type {type(prompt).__name__}: give a str")
    loops, pieces = _loops(model), model.tokenizer.pieces
    before = model.tokenizer.encode(prompt) if prompt else np.zeros(0, np.int32)
    ready, texts = loops.follow(model, before), []
    for place, key in enumerate(keys):
        drawn = loops.drawn(key, ready, before, tokens, writing)
        texts.append(prompt)
        for part in streaming.texts(drawn, pieces, writing.stop):
            texts[place] += part
            if on_text:
                on_text(place, part)
    return texts


@checks.classes
def probabilities(model: ChainModel | MixtureModel) -> np.ndarray:
    """Returns the probability ``float64 [V]`` of every token to come next; their sum is 1.

    Args:
      model: a fitted model or mixture, at the place in question.

    Raises:
      ValueError: an array of the model is not of one.

    Source: docs/semantics/chain.md
    """
    if isinstance(model, MixtureModel):
        return mixture.probabilities(model)
    return models.distribution(model.network, model.memory).astype(np.float64)


@checks.classes
def save(
    path: str | pathlib.Path,
    model: ChainModel | MixtureModel,
    text: TextConfig,
    metrics: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Writes a model, with its tables, as the next version of a checkpoint, and returns its folder.

    Args:
      path: the folder of the checkpoint; that of a mixture holds one for each of its models.
      model: the fitted model or mixture.
      text: the settings of the text that it was fitted on, which are kept as a record.
      metrics: JSON data to keep with the model, such as its scores.

    Raises:
      ValueError: ``path`` holds something that is not a checkpoint of this kind, or cannot be written.

    Source: docs/architecture.md
    """
    if isinstance(model, MixtureModel):
        return stored_mixture.save(path, model, text, metrics)
    return stored.save(path, model, text, metrics)


def check_target(path: str | pathlib.Path, config: ChainConfig | MixtureConfig) -> pathlib.Path:
    """Checks that `save` would accept a folder, and returns its absolute path. Call it before hours of work.

    Args:
      path: the folder of the checkpoint.
      config: the settings of the model or the mixture.

    Raises:
      ValueError: the folder holds something else, or cannot be made or written.

    Source: docs/architecture.md
    """
    if isinstance(config, MixtureConfig):
        return stored_mixture.check_target(path)
    return checkpoint.check_target(path, "chain")


def load(path: str | pathlib.Path) -> ChainModel | MixtureModel:
    """Reads a model or a mixture that `save` wrote.

    Args:
      path: the folder of the checkpoint.

    Raises:
      ValueError: there is no checkpoint, it is damaged or incomplete, it holds no chain model or one of a
        later edition, or its tokenizer cannot be made again.

    Source: docs/architecture.md
    """
    return stored_mixture.load(path) if stored_mixture.holds(path) else stored.load(path)
