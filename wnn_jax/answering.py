"""Trains models to answer at the scored places of drawn sequences, and scores their answers.

    shape = answering.sized_transformer(tasks.VOCABULARY, 288, 12_400)
    predictor = answering.of_transformer(shape)
    found = answering.fit(key, predictor, train, held_out, answering.AnswerConfig())
    nats, best = answering.score(predictor, found.params, test)

Every model is trained in the same way: on the scored places alone, with Adam, at the rate that did best on
held-out sequences after the first part of training.

Source: Arora et al. 2023, "Zoology: Measuring and Improving Recall in Efficient Language Models"
"""

import bisect
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax import checks, training, transformer
from wnn_jax.checks import Limits
from wnn_jax.data import tasks
from wnn_jax.narrow import in_32_bits

_ROWS = 32  # sequences of one call when a model is scored


class Predictor(NamedTuple):
    """A model as two pure functions.

    Attributes:
      init: makes the first parameters from a key.
      logits: of parameters and ids ``int32 [N, T]`` gives the logits ``[N, T, V]`` of the next tokens.

    Source: docs/results/range.md
    """

    init: Callable[[jax.Array], Any]
    logits: Callable[[Any, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class AnswerConfig:
    """The training of all models.

    Attributes:
      steps: number of training steps.
      batch: number of sequences of a step.
      rates: step sizes to choose from on held-out sequences; one rate needs no choice.
      choice: share of the steps after which the rates are compared.
      warmup: share of the steps in which the rate rises; afterwards it falls to 0 in a straight line.

    Raises:
      ValueError: a value is out of range, or there is no rate.

    Source: docs/results/range.md
    """

    steps: int = 1200
    batch: int = 8
    rates: tuple[float, ...] = (0.003, 0.01)
    choice: float = 0.1
    warmup: float = 0.1

    def __post_init__(self):
        share = Limits(above=0, most=1)
        checks.fields(
            self,
            steps=Limits(least=2, most=1 << 24),
            batch=Limits(least=1, most=1 << 16),
            rates=share,
            choice=share,
            warmup=share,
        )
        if not self.rates:
            raise ValueError("there is no rate to train at: give one or several")

    @property
    def sequences(self) -> int:
        """The number of sequences of all steps."""
        return self.steps * self.batch


class Answerer(NamedTuple):
    """A trained model.

    Attributes:
      params: its parameters.
      rate: the chosen rate.
      held_out: for each rate the mean nats of a held-out answer when the rates were compared; empty for one
        rate.
      trained: the state at the end of training; its seconds leave out the choice of the rate.

    Source: docs/results/range.md
    """

    params: Any
    rate: float
    held_out: dict[float, float]
    trained: training.Trained


OnStep = Callable[[str, int, int], None]  # the work, the steps that are done and all steps


def of_transformer(config: transformer.TransformerConfig) -> Predictor:
    """Returns a transformer as a predictor.

    Source: docs/results/range.md
    """
    return Predictor(
        functools.partial(transformer.init, config=config), functools.partial(transformer.apply, config)
    )


def count_parameters(predictor: Predictor) -> int:
    """Returns the number of learned numbers, without making them.

    Source: docs/results/range.md
    """
    shapes = jax.eval_shape(predictor.init, jax.random.key(0))
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(shapes))


def sized_transformer(vocabulary: int, window: int, parameters: int) -> transformer.TransformerConfig:
    """Makes a transformer of two layers with two heads that has about a given number of parameters.

    Args:
      vocabulary: V.
      window: number of tokens that it sees at once.
      parameters: the number of parameters. The width and the size of the MLP are those that come nearest;
        an MLP of the usual size, 4, on ties.

    Raises:
      ValueError: none comes within a twentieth of the number.

    Source: docs/results/range.md
    """
    # The usual spread of 0.02 is made for wide models, and too small for these to begin to learn.
    shape = functools.partial(
        transformer.TransformerConfig, vocabulary, layers=2, heads=2, window=window, dropout=0.0
    )

    def made(expand: int, width: int) -> transformer.TransformerConfig:
        return shape(width=width, expand=expand, spread=width**-0.5)

    def size(one: transformer.TransformerConfig) -> int:
        return count_parameters(of_transformer(one))

    widths, near = range(2, 4 + 2 * int((parameters / 8) ** 0.5), 2), []
    for expand in (4, 3, 2, 5, 6, 7, 8):
        at = bisect.bisect_left(widths, parameters, key=lambda width, e=expand: size(made(e, width)))
        near += [made(expand, width) for width in widths[max(0, at - 1) : at + 1]]
    apart = [abs(size(one) - parameters) for one in near]
    best = int(np.argmin(apart))
    if apart[best] > parameters / 20:
        raise ValueError(
            f"no transformer of {vocabulary} ids and a window of {window} has about {parameters} parameters, "
            f"the nearest has {size(near[best])}: ask for another number"
        )
    return near[best]


def weights(examples: tasks.Examples) -> np.ndarray:
    """Returns the weight ``float32 [N, T - 1]`` of each token but the first in the loss.

    All scored places of a sequence weigh the same, and all sequences that have one weigh 1.

    Args:
      examples: the sequences.

    Source: docs/results/range.md
    """
    scored = np.asarray(examples.distance)[:, 1:] > 0
    return (scored / np.maximum(scored.sum(1, keepdims=True), 1)).astype(np.float32)


def fit(
    key: jax.Array,
    predictor: Predictor,
    train: tasks.Examples,
    held_out: tasks.Examples,
    config: AnswerConfig,
    on_step: OnStep | None = None,
) -> Answerer:
    """Trains a model. The rate is chosen first, by training a part of the steps at each.

    Args:
      key: draws the first parameters and the order of the sequences, the same at every rate.
      predictor: the model.
      train: the sequences to train on.
      held_out: other sequences, on which the rates are compared; the lowest mean nats win, the earlier of
        equal ones. A rate whose loss is not finite loses.
      config: the length of training and the rates.
      on_step: called with the progress about fifty times.

    Raises:
      ValueError: there are fewer sequences than one step takes.

    Source: docs/results/range.md
    """
    rates, held = config.rates, {}
    if len(train.tokens) < config.batch:
        raise ValueError(
            f"a step takes {config.batch} sequences and there are {len(train.tokens)}: draw more"
        )
    if len(rates) > 1:
        first = max(1, round(config.choice * config.steps))
        for rate in rates:
            tried = _train(key, predictor, train, config, rate, first, f"rate {rate:g}", on_step)
            nats = score(predictor, tried.params, held_out)[0]
            mean = float((nats * weights(held_out)).sum() / len(nats))
            held[rate] = mean if np.isfinite(mean) else float("inf")
    rate = min(rates, key=lambda x: held.get(x, 0.0))
    trained = _train(key, predictor, train, config, rate, config.steps, "training", on_step)
    return Answerer(jax.tree.map(jnp.asarray, trained.params), rate, held, trained)


def _train(key, predictor, train, config: AnswerConfig, rate, steps, work, on_step) -> training.Trained:
    def loss(params, fixed, batch):
        tokens, weight = batch
        guess = predictor.logits(params, tokens[:, :-1])
        nats = optax.softmax_cross_entropy_with_integer_labels(guess, tokens[:, 1:])
        return (nats * weight).sum() / tokens.shape[0]

    def report(reached: training.Trained) -> None:
        if on_step:
            on_step(work, reached.done, steps)

    return training.train(
        jax.random.fold_in(key, 1),
        _optimiser(config, rate),
        training.Steps(steps, config.batch, max(1, config.steps // 50)),
        predictor.init(jax.random.fold_in(key, 0)),
        loss,
        (np.asarray(train.tokens), weights(train)),
        on_step=report,
    )


def _optimiser(config: AnswerConfig, rate: float) -> optax.GradientTransformation:
    """Returns Adam; the rate is a part of its state, so that all rates share one compiled step."""
    rise = max(1, int(config.warmup * config.steps))
    up = optax.linear_schedule(1 / (rise + 1), 1.0, rise)
    shape = optax.join_schedules([up, optax.linear_schedule(1.0, 0.0, config.steps - rise)], [rise])
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.inject_hyperparams(optax.adam)(learning_rate=rate),
        optax.scale_by_schedule(shape),
    )


def score(
    predictor: Predictor, params: Any, examples: tasks.Examples, on_step: OnStep | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Scores every token of sequences but the first, given the tokens before it.

    Args:
      predictor: the model.
      params: its parameters.
      examples: N sequences of T tokens.
      on_step: called with the progress after every few sequences.

    Returns:
      The nats ``float32 [N, T - 1]`` and the most probable ids ``int32 [N, T - 1]``, the lowest on ties.

    Source: docs/results/range.md
    """
    tokens = np.asarray(examples.tokens)
    one = in_32_bits(jax.jit(functools.partial(_score, predictor.logits)))
    found = []
    for start in range(0, len(tokens), _ROWS):
        part = tokens[start : start + _ROWS]
        whole = np.pad(part, ((0, _ROWS - len(part)), (0, 0)))
        found.append([np.asarray(x)[: len(part)] for x in one(params, whole)])
        if on_step:
            on_step("scoring", start + len(part), len(tokens))
    nats, best = (np.concatenate(x) for x in zip(*found, strict=True))
    return nats, best


def _score(logits, params, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
    guess = logits(params, tokens[:, :-1])
    nats = optax.softmax_cross_entropy_with_integer_labels(guess, tokens[:, 1:])
    return nats, guess.argmax(-1).astype(jnp.int32)
