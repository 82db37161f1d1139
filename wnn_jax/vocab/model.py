"""The forward pass of all vocabulary-space models, and the loss that they are trained on.

A state has one number for each word. It begins as the one-hot token, and each step adds the results of a few
sublayers to it. Scaled and capped, the state *is* the logits, so the model's prediction can be read after
every step. A model is data: a list of sublayers with their sizes.

Source: urmzd/exp-agi-models; docs/semantics/vocab.md
"""

import dataclasses
import functools
import math
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import tokenizers
from wnn_jax.vocab import mixing, pointwise
from wnn_jax.vocab.operation import Params, StepContext, normal, rms_norm

CAP = 30.0
OPERATIONS = mixing.OPERATIONS | pointwise.OPERATIONS
Scale = Literal["", "one", "vector"]


@dataclasses.dataclass(frozen=True)
class Sublayer:
    """One change of the state.

    Attributes:
      operation: an operation of `mixing` or `pointwise`, or a `Subspace`.
      scale: a learned factor of the result, at first 1: "one" number, a "vector" with one number for each
        word, or "" for none.
      normed: whether the operation sees the state scaled to a mean square of 1.
      replaces: whether the result replaces the state instead of being added to it.
      parallel: whether the operation sees the same state as the sublayer before it.
      shared: names of the parameters that all steps share; ("*",) shares all except the scale.
      group: sublayers of the same group share with each other.
      factor_per_use: whether each use of a repeated step has one more learned factor. The parameters "shift"
        and "factor" of an operation always belong to the use.

    Raises:
      ValueError: the scale or the operation is unknown.

    Source: docs/semantics/vocab.md
    """

    operation: Any
    scale: Scale = ""
    normed: bool = True
    replaces: bool = False
    parallel: bool = False
    shared: tuple[str, ...] = ()
    group: str = ""
    factor_per_use: bool = False

    def __post_init__(self):
        if self.scale not in get_args(Scale):
            raise ValueError(f'unknown scale {self.scale!r} of a sublayer: choose "", "one" or "vector"')
        checks.fields(self)
        if not isinstance(self.operation, (Subspace, *OPERATIONS)):
            raise ValueError(
                f"operation is of type {type(self.operation).__name__}: give an operation of `mixing` or "
                "`pointwise`, or a Subspace"
            )


@dataclasses.dataclass(frozen=True)
class Subspace:
    """Sublayers on a small state, which is read from the words and written back to them.

    Attributes:
      size: width of the small state.
      sublayers: the sublayers that act on it.
      window: whether the small state is a window of words. Each step reads another window, and writes to the
        window half a vocabulary further on. Otherwise dense maps read and write the small state.
      by_entropy: whether the result is scaled by the entropy of the state, which gets no gradient, so that
        uncertain positions change more. Only a window has this.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/vocab.md
    """

    size: int
    sublayers: tuple[Sublayer, ...]
    window: bool = True
    by_entropy: bool = False

    def __post_init__(self):
        checks.fields(self, size=Limits(least=1, most=1 << 20))


@dataclasses.dataclass(frozen=True)
class VocabConfig:
    """The settings of a vocabulary-space model.

    Attributes:
      vocabulary: V, the number of ids.
      steps: number of steps of the residual stream.
      sublayers: the sublayers of each step.
      leaky: whether decaying memories read the future: the published fault, to show its effect.
      repeats: number of successive steps that share their parameters, except "shift", "factor" and the
        factors of `Sublayer.factor_per_use`.
      columns: number of streams side by side, each with steps of its own; at the end they vote.
      halting: whether each position decides when it has had enough steps.
      embedding: width of a learned table that replaces one-hot tokens; 0 for none.
      early_loss: weight of the losses after each step in training; the loss after the last step weighs most.
      drop_input: whether the one-hot token that a state begins with is taken out before the state is read,
        except for a learned share of each word, at first 0. As published, a model first repeats its input and
        must learn not to.

    Raises:
      ValueError: a number is not positive, ``repeats`` does not divide ``steps``, or several columns repeat
        or halt.

    Source: PonderNet (Banino et al. 2021) for halting; docs/semantics/vocab.md
    """

    vocabulary: int
    steps: int
    sublayers: tuple[Sublayer, ...]
    leaky: bool = False
    repeats: int = 1
    columns: int = 1
    halting: bool = False
    embedding: int = 0
    early_loss: float = 0.0
    drop_input: bool = False

    def __post_init__(self):
        few = Limits(least=1, most=10_000)  # each use of a step is compiled by itself
        checks.fields(
            self,
            vocabulary=Limits(least=1, most=1 << 20),
            steps=few,
            repeats=few,
            columns=few,
            embedding=Limits(least=0, most=1 << 16),
            early_loss=Limits(least=0, most=1e3),
        )
        if self.steps % self.repeats or (self.columns > 1 and (self.halting or self.repeats > 1)):
            raise ValueError(
                "repeats must divide steps, and several columns cannot repeat or halt, got "
                f"steps={self.steps}, repeats={self.repeats}, columns={self.columns}, halting={self.halting}"
            )


class VocabModel(NamedTuple):
    """A trained model.

    Attributes:
      config: its sublayers and their sizes.
      params: its parameters.
      places: ``int32 [V]``, the number of each id inside the model; the order of words matters to some
        operations.
      window: number of tokens that it was trained to see at once.
      tokenizer: turns text into ids; None if the model was made from ids.

    Source: docs/semantics/vocab.md
    """

    config: VocabConfig
    params: Params
    places: np.ndarray
    window: int = 64
    tokenizer: tokenizers.Tokenizer | None = None


def init(key: jax.Array, config: VocabConfig) -> Params:
    """Draws random parameters: "steps" by step and sublayer, "turns" by use of a step, "shared" by group.

    Files name their arrays by these keys.

    Args:
      key: the random key.
      config: the model.

    Raises:
      ValueError: an operation does not fit the vocabulary.

    Source: docs/semantics/vocab.md
    """
    v, uses = config.vocabulary, config.steps * config.columns
    first, *keys = jax.random.split(key, 1 + uses // config.repeats)
    params: Params = {"scale": jnp.array(1.0), "shared": {}, "steps": [], "turns": []}
    for step in keys:
        each = zip(config.sublayers, jax.random.split(step, len(config.sublayers)), strict=True)
        layers = [_init_sublayer(k, sublayer, v, params["shared"]) for sublayer, k in each]
        # Parameters that belong to one use of the step begin with equal values in all uses.
        own = [{n: x.pop(n) for n in ("again", "shift", "factor") if n in x} for x in layers]
        params["steps"].append(layers)
        params["turns"] += [jax.tree.map(jnp.copy, own) for _ in range(config.repeats)]
    table, out, halt = jax.random.split(first, 3)
    if config.embedding:
        params["embedding"] = {
            "in": normal(table, v, config.embedding),
            "out": normal(out, config.embedding, v),
        }
    if config.drop_input:
        params["share"] = jnp.zeros(v)
    if config.halting:
        params["halt"] = {"w": normal(halt, v, stddev=0.01), "bias": jnp.array(-2.0)}
    if config.columns > 1:
        params["vote"] = {"trust": jnp.zeros(config.columns), "against": jnp.zeros((config.columns,) * 2)}
    return jax.tree.map(lambda x: x.astype(jnp.float32), params)


def _init_sublayer(key: jax.Array, sublayer: Sublayer, width: int, shared: dict[str, Params]) -> Params:
    """Draws the parameters that belong to one step; shared ones are put into ``shared`` the first time."""
    operation = sublayer.operation
    if isinstance(operation, Subspace):
        size = operation.size
        if operation.window and size > width:
            raise ValueError(f"a window of {size} words does not fit into {width} words: make it smaller")
        come, go, *keys = jax.random.split(key, 2 + len(operation.sublayers))
        params: Params = {"branch": jnp.array(0.1)}
        if not operation.window:
            params |= {"come": normal(come, width, size), "go": normal(go, size, width)}
        inner = zip(operation.sublayers, keys, strict=True)
        params["moves"] = [_init_sublayer(k, each, size, shared) for each, k in inner]
    else:
        params = OPERATIONS[type(operation)].init(key, operation, width)
    if sublayer.scale:
        params["step"] = jnp.ones(width if sublayer.scale == "vector" else ())
    if sublayer.factor_per_use:
        params["again"] = jnp.array(1.0)
    for name in [n for n in params if n in sublayer.shared or (sublayer.shared == ("*",) and n != "step")]:
        shared.setdefault(sublayer.group, {}).setdefault(name, params.pop(name))
    return params


def _apply_sublayers(
    sublayers: tuple[Sublayer, ...],
    layers: list[Params],
    shared: dict[str, Params],
    x: jax.Array,
    context: StepContext,
) -> jax.Array:
    """Returns the state ``[N, T, width]`` after all sublayers, with parameters ``layers`` and ``shared``."""
    before = x
    for sublayer, own in zip(sublayers, layers, strict=True):
        before = before if sublayer.parallel else x
        seen = rms_norm(before) if sublayer.normed else before
        params = {**own, **shared.get(sublayer.group, {})} if sublayer.shared else own
        operation = sublayer.operation
        if isinstance(operation, Subspace):
            change = _apply_subspace(operation, params, shared, seen, context)
        else:
            change = OPERATIONS[type(operation)].apply(operation, params, seen, context)
        for name in ("step", "again"):
            change = change * params[name] if name in params else change
        x = change if sublayer.replaces else x + change
    return x


def _apply_subspace(
    subspace: Subspace, params: Params, shared: dict[str, Params], x: jax.Array, context: StepContext
) -> jax.Array:
    """Returns the change ``[N, T, V]`` of the words by a subspace."""
    v = x.shape[-1]
    apply = functools.partial(_apply_sublayers, subspace.sublayers, params["moves"], shared)
    if not subspace.window:
        return apply(x @ params["come"], context) @ params["go"] * params["branch"]
    start = context.use * (v // context.uses)
    small = apply(jnp.roll(x, -start, axis=-1)[..., : subspace.size], context)
    small = small * params["branch"] / math.sqrt(subspace.size)
    if subspace.by_entropy:
        log = jax.nn.log_softmax(jax.lax.stop_gradient(x))
        small = small * -(jnp.exp(log) * log).sum(-1, keepdims=True) / math.log(v)
    small = jnp.pad(small, ((0, 0), (0, 0), (0, v - subspace.size)))
    return jnp.roll(small, start + v // 2, axis=-1)


def _run_steps(
    config: VocabConfig, params: Params, ids: jax.Array, key: jax.Array | None, soft: bool
) -> tuple[list[jax.Array], list[jax.Array]]:
    """Runs all steps.

    Returns:
      the states ``[N, T, V]`` to read after 0, 1 .. all steps, and the probabilities ``[N, T, 1]`` of halting
      after each step of a model that halts. With ``soft``, positions that have halted continue to change.
    """
    if config.embedding:
        x = rms_norm(params["embedding"]["in"][ids] @ params["embedding"]["out"])
    else:
        x = rms_norm(jax.nn.one_hot(ids, config.vocabulary, dtype=jnp.float32))
    uses = config.steps * config.columns
    columns, states, halts = [x] * config.columns, [x], []
    halted = jnp.zeros((*ids.shape, 1), bool)
    for use in range(uses):
        noise = None if key is None else jax.random.fold_in(key, use)
        own = zip(params["steps"][use // config.repeats], params["turns"][use], strict=True)
        layers = [{**step, **of_use} for step, of_use in own]
        context = StepContext(config.leaky, use, uses, noise)
        at = use % config.columns
        changed = _apply_sublayers(config.sublayers, layers, params["shared"], columns[at], context)
        columns[at] = changed if soft else jnp.where(halted, columns[at], changed)
        if config.halting:
            halts.append(
                jax.nn.sigmoid(columns[at] @ params["halt"]["w"] + params["halt"]["bias"])[..., None]
            )
            halted = halted | (halts[-1] > 0.5)
        if at == config.columns - 1:
            states.append(_vote(params, columns))
    if config.drop_input:
        states = [state + (params["share"] - 1) * x for state in states]
    return states, halts


def _vote(params: Params, columns: list[jax.Array]) -> jax.Array:
    """Returns the mean of the columns, weighted by learned trust."""
    if len(columns) == 1:
        return columns[0]
    trust = params["vote"]["trust"]
    share = jax.nn.softmax(trust - params["vote"]["against"] @ jax.lax.stop_gradient(trust))
    return jnp.tensordot(share, jnp.stack(columns), 1)


def states(config: VocabConfig, params: Params, ids: jax.Array) -> jax.Array:
    """Returns the states ``[steps + 1, N, T, V]`` before the first step and after each step, for `readout`.

    Args:
      config: the model.
      params: its parameters.
      ids: tokens ``int32 [N, T]``; unless the model is leaky, position t depends on the tokens up to t alone.

    Source: docs/semantics/vocab.md
    """
    return jnp.stack(_run_steps(config, params, ids, None, soft=False)[0])


def readout(params: Params, state: jax.Array) -> jax.Array:
    """Returns the logits ``[..., V]`` of the next token that a state stands for.

    Args:
      params: the parameters, which have the readout's scale.
      state: ``[..., V]``.

    Source: docs/semantics/vocab.md
    """
    return CAP * jnp.tanh(params["scale"] * rms_norm(state) / CAP)


def logits(config: VocabConfig, params: Params, ids: jax.Array) -> jax.Array:
    """Returns the logits ``[N, T, V]`` of the token after each of ``ids``.

    Args:
      config: the model.
      params: its parameters.
      ids: ``int32 [N, T]``.

    Source: docs/semantics/vocab.md
    """
    return readout(params, _run_steps(config, params, ids, None, soft=False)[0][-1])


def loss(config: VocabConfig, params: Params, windows: jax.Array) -> jax.Array:
    """Returns the mean nats of the tokens in windows, without the additions of `objective`.

    Args:
      config: the model.
      params: its parameters.
      windows: ``int32 [N, T + 1]``; the first token of each is only context.

    Source: docs/semantics/vocab.md
    """
    return _mean_nats(logits(config, params, windows[:, :-1]), windows)


def objective(
    config: VocabConfig, params: Params, windows: jax.Array, key: jax.Array | None = None
) -> jax.Array:
    """Returns the number that training makes small: the loss, and the additions of some models in training.

    The loss after each step has the weight `VocabConfig.early_loss` times ``0.9 ** (number of steps to
    come)``. A model that halts predicts with the mean of its states, weighted by the probability of halting
    after each, and pays 0.01 for each step that it was likely to take.

    Args:
      config: the model.
      params: its parameters.
      windows: ``int32 [N, T + 1]``; the first token of each is only context.
      key: draws hard choices; without it the most probable ones are taken.

    Source: docs/semantics/vocab.md
    """
    each, halts = _run_steps(config, params, windows[:, :-1], key, soft=True)
    last, cost = each[-1], 0.0
    if config.halting:
        left, last = jnp.ones_like(halts[0]), jnp.zeros_like(last)
        for i, (state, halt) in enumerate(zip(each[1:], halts, strict=True)):
            share = left * halt if i + 1 < config.steps else left
            left = left * (1 - halt) if i + 1 < config.steps else left
            last, cost = last + share * state, cost + 0.01 * left.mean()
    if config.early_loss:
        for i, state in enumerate(each[1:]):
            weight = config.early_loss * 0.9 ** (config.steps - 1 - i)
            cost += weight * _mean_nats(readout(params, state), windows)
    return _mean_nats(readout(params, last), windows) + cost


@functools.partial(jax.jit, static_argnums=0)
def score_windows(config: VocabConfig, params: Params, windows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the nats and the most probable token of each place of windows, ``[N, T]`` each.

    On ties the lowest number is the most probable token.

    Args:
      config: the model.
      params: its parameters.
      windows: ``int32 [N, T + 1]``; the first token of each is only context.

    Source: docs/semantics/vocab.md
    """
    guess = logits(config, params, windows[:, :-1])
    nats = optax.softmax_cross_entropy_with_integer_labels(guess, windows[:, 1:])
    return nats, guess.argmax(-1)


def _mean_nats(logits: jax.Array, windows: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]).mean()


def count_parameters(config: VocabConfig) -> int:
    """Returns the number of learned numbers of a model, without making them.

    Source: docs/semantics/vocab.md
    """
    shapes = jax.eval_shape(functools.partial(init, config=config), jax.random.key(0))
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(shapes))
