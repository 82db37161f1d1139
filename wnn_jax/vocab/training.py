"""Trains a vocabulary-space model on a text; a resumed training ends with the same bits."""

import dataclasses
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, training
from wnn_jax.checks import Limits
from wnn_jax.data import streams, text
from wnn_jax.saving import progress
from wnn_jax.vocab import artifact, counts, evaluation, model, repairs
from wnn_jax.vocab.variants import Variant


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The length of training, and the size of its steps.

    Attributes:
      steps: number of training steps.
      tokens_per_step: number of tokens in a step, a multiple of the window.
      window: number of tokens that a model sees at once, an even number.

    Raises:
      ValueError: a number is not positive, the window is odd, or it does not divide the tokens of a step.

    Source: docs/semantics/vocab.md
    """

    steps: int = 1200
    tokens_per_step: int = 128
    window: int = 64

    def __post_init__(self):
        some = Limits(least=1, most=1 << 24)
        checks.fields(self, steps=Limits(least=1), tokens_per_step=some, window=some)
        if self.window % 2:
            raise ValueError(f"window must be even, got {self.window}: windows overlap by half when scored")
        if self.tokens_per_step % self.window:
            raise ValueError(
                f"tokens_per_step must be a multiple of window, got {self.tokens_per_step} and {self.window}"
            )

    @property
    def tokens(self) -> int:
        """The number of tokens in all steps."""
        return self.steps * self.tokens_per_step

    @property
    def rows(self) -> int:
        """The number of windows in a step."""
        return self.tokens_per_step // self.window


@checks.classes
def training_windows(tokens: np.ndarray, config: TrainConfig) -> np.ndarray:
    """Cuts windows ``int32 [N, window + 1]`` from the start of a text, as many as all steps take.

    If the text has fewer, all of its windows are taken.

    Args:
      tokens: ids ``int [N]``.
      config: the length of the windows and the number of tokens.

    Raises:
      ValueError: there are fewer windows than one step takes.

    Source: docs/semantics/vocab.md
    """
    windows = streams.cut(tokens[: config.tokens + 1], config.window)
    if len(windows) < config.rows:
        raise ValueError(
            f"the training text has {len(windows)} windows of {config.window} and a step takes "
            f"{config.rows}: lower tokens_per_step"
        )
    return windows


@checks.classes
def train(
    key: jax.Array,
    variant: Variant,
    corpus: text.Corpus | np.ndarray,
    config: TrainConfig = TrainConfig(),
    *,
    resume: str | pathlib.Path | None = None,
    on_step: Callable[[training.Trained], None] | None = None,
) -> model.VocabModel:
    """Trains a model on the first tokens of a text, again and again if there are fewer than the steps take.

    Args:
      key: draws the first parameters, the order of windows and hard choices.
      variant: the model and its repairs, from `variants.variant` or your own.
      corpus: a corpus, whose training split is the text; or ids ``int [N]``.
      config: the length of training.
      resume: a folder to save training to, and to continue from. Each variant has a folder of its own there,
        named `Variant.file_name`. Saving takes at most a twentieth of the time, except for the last save.
      on_step: called about every fiftieth step, and at least once at the end. A training whose loss is no
        longer finite ends early, and its report is not ``finite``.

    Raises:
      ValueError: the text is too short or has ids outside the vocabulary, the repairs do not fit the model,
        or the folder holds the progress of other work.

    Source: docs/semantics/vocab.md
    """
    shape, loss = variant.config, _loss(variant.config)
    tokens, tokenizer = (
        (corpus.train, corpus.tokenizer) if isinstance(corpus, text.Corpus) else (corpus, None)
    )
    tokens = np.asarray(tokens)
    checks.array("tokens", tokens if tokens.size else tokens.astype(np.int32), "integers", {"N": None})
    windows = training_windows(tokens, config)
    if windows.min() < 0 or windows.max() >= shape.vocabulary:
        raise ValueError(
            f"the model has {shape.vocabulary} ids and the text has ids from {windows.min()} to "
            f"{windows.max()}: make a variant for the text's vocabulary"
        )
    saved = _open(key, variant, windows, config, resume)
    places = counts.places(variant.repairs, windows[:, :-1].ravel(), shape.vocabulary)
    windows = places[windows]
    params = model.init(jax.random.fold_in(key, 1), shape)
    if "bigram" in variant.repairs:
        params = counts.bigram_params(shape, params, windows[:, :-1].ravel())
    reported: list[int] = []

    def report(reached: training.Trained) -> None:
        reported.append(reached.done)
        if on_step:
            on_step(reached)

    found = training.train(
        jax.random.fold_in(key, 2),
        repairs.recipe(variant.repairs).optimiser(config.steps),
        training.Steps(config.steps, config.rows, max(1, min(50, config.steps // 10))),
        params,
        loss,
        (windows, np.arange(len(windows))),
        fixed=jax.random.fold_in(key, 3),
        saved=saved,
        on_step=report,
    )
    if not reported:  # the saved training was already at its end
        report(found)
    return model.VocabModel(shape, jax.tree.map(jnp.asarray, found.params), places, config.window, tokenizer)


def _loss(config: model.VocabConfig) -> training.Loss:
    """Returns the objective of a batch of windows; the number of the first window draws the hard choices."""

    def loss(params, key, batch):
        windows, numbers = batch
        return model.objective(config, params, windows, jax.random.fold_in(key, numbers[0]))

    return loss


def _open(key: jax.Array, variant: Variant, windows: np.ndarray, config: TrainConfig, resume):
    """Returns the progress of this training, with the facts that distinguish it from others."""
    if resume is None:
        return None
    about = {
        "model": artifact.describe(variant.config),
        "repairs": list(variant.repairs),
        "tokens": progress.digest(windows),
        "steps": config.steps,
        "tokens_per_step": config.tokens_per_step,
        "seed": evaluation.seed_of(key),
    }
    return progress.Progress(progress.parts(resume, "vocab") / variant.file_name, about)


@checks.classes
def memory_bytes(variant: Variant, config: TrainConfig) -> int:
    """Estimates the bytes that a training takes: for parameters, their moments and gradients, and all states.

    Source: docs/semantics/vocab.md
    """
    shape = variant.config
    states = 40 * shape.steps * shape.columns * config.tokens_per_step * shape.vocabulary
    return 12 * 4 * model.count_parameters(shape) + 4 * states
