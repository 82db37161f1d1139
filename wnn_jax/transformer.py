"""A small causal transformer: a baseline of language models, and the trunk of the associative memory's.

    model = transformer.fit(key, TransformerConfig(corpus.vocabulary), FitConfig(epochs=8), corpus.train)
    nats, best = transformer.score(model, corpus.train, corpus.test)

There are two styles of blocks, which share attention, residual stream and shapes. ``gpt2`` is GPT-2 made
small (Radford et al. 2019), with RMS norms. ``eam`` has RMS norms without weights, an MLP of squared leaky
ReLUs and a head under a soft cap (openai/parameter-golf PR 1146). Both are pre-norm, without biases, and use
one embedding for input and output.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

CAP = 30.0

Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a transformer. Hashable: static under `jit`.

    Attributes:
      vocabulary: V.
      layers: number of blocks.
      width: numbers of a state, D, a multiple of the heads.
      heads: attention heads of a block.
      expand: hidden units of a block's MLP, in widths.
      window: tokens it sees at once, at least 2.
      positions: whether it learns a vector for every place in the window.
      style: how blocks are built, ``gpt2`` or ``eam``; see the module.
      spread: standard deviation of the first embeddings and, of gpt2, of all first matrices.
      dropout: share of the residual branches that is dropped while training.

    Raises:
      ValueError: the width is no multiple of the heads, the window is too short, or the style is unknown.
    """

    vocabulary: int
    layers: int = 2
    width: int = 128
    heads: int = 4
    expand: int = 4
    window: int = 128
    positions: bool = True
    style: Literal["gpt2", "eam"] = "gpt2"
    spread: float = 0.02
    dropout: float = 0.2

    def __post_init__(self):
        if self.width % self.heads or self.window < 2:
            raise ValueError(
                f"a transformer needs a width that its heads divide and a window of at least 2, got width "
                f"{self.width}, {self.heads} heads and window {self.window}"
            )
        if self.style not in ("gpt2", "eam"):
            raise ValueError(f"unknown style {self.style!r}: gpt2 or eam")


def init(key: jax.Array, config: TransformerConfig) -> Params:
    """Parameters at random: normal and small of gpt2, uniform within ``1 / sqrt(inputs)`` of eam."""
    d, keys = config.width, iter(jax.random.split(key, 2 + 4 * config.layers))
    shapes = {"qkv": (d, 3 * d), "out": (d, d), "up": (d, config.expand * d), "down": (config.expand * d, d)}

    def normal(scale, *shape):
        return scale * jax.random.normal(next(keys), shape)

    if config.style == "eam":
        params: Params = {"embedding": normal(config.spread, config.vocabulary, d)}
        place = normal(0.02, config.window, d)
        blocks = [{name: linear(next(keys), *x) for name, x in shapes.items()} for _ in range(config.layers)]
    else:
        deep = config.spread / np.sqrt(2 * config.layers)  # of what is added to the residual stream
        scales = {"qkv": config.spread, "out": deep, "up": config.spread, "down": deep}
        blocks = [
            {**{name: normal(scales[name], *x) for name, x in shapes.items()}, "norms": jnp.ones((2, d))}
            for _ in range(config.layers)
        ]
        params = {"embedding": normal(config.spread, config.vocabulary, d), "norm": jnp.ones(d)}
        place = normal(config.spread, config.window, d)
    if config.positions:
        params["place"] = place
    return {**params, "blocks": blocks}


def linear(key: jax.Array, inputs: int, outputs: int) -> jax.Array:
    """A matrix at random, ``float32 [inputs, outputs]``, uniform within ``1 / sqrt(inputs)``."""
    return jax.random.uniform(key, (inputs, outputs), minval=-1.0, maxval=1.0) / np.sqrt(inputs)


def rms_norm(x: jax.Array, scale: jax.Array | None = None) -> jax.Array:
    """Scaled to a mean square of 1 along the last axis, and by ``scale [D]`` if it is given."""
    return (x if scale is None else x * scale) * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6)


def cap(logits: jax.Array) -> jax.Array:
    """Within `CAP` of 0, smoothly."""
    return CAP * jnp.tanh(logits / CAP)


def hidden(
    config: TransformerConfig, params: Params, ids: jax.Array, key: jax.Array | None = None
) -> jax.Array:
    """Normed states ``float32 [..., T, D]`` of windows ``int32 [..., T]``: place t knows the tokens up to t.

    Args:
      config: sizes; T is at most its window.
      params: of `init`.
      ids: tokens.
      key: draws what is dropped while training; None drops nothing.
    """
    x = params["embedding"][ids]
    if config.style == "eam":
        x = rms_norm(x)
    if config.positions:
        x = x + params["place"][: ids.shape[-1]]

    def dropped(x, number):
        if key is None:
            return x
        kept = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - config.dropout, x.shape)
        return jnp.where(kept, x / (1 - config.dropout), 0)

    for i, block in enumerate(params["blocks"]):
        norms = block.get("norms", (None, None))
        seen = _attention(config.heads, rms_norm(x, norms[0]) @ block["qkv"])
        x = x + dropped(seen @ block["out"], 2 * i)
        up = rms_norm(x, norms[1]) @ block["up"]
        up = jax.nn.gelu(up) if config.style == "gpt2" else jnp.square(jax.nn.leaky_relu(up, 0.5))
        x = x + dropped(up @ block["down"], 2 * i + 1)
    return rms_norm(x, params.get("norm"))


def _attention(heads: int, qkv: jax.Array) -> jax.Array:
    """The values that each place sees ``[..., T, D]``, from queries, keys and values ``[..., T, 3 D]``."""
    split = qkv.reshape(*qkv.shape[:-1], 3, heads, -1)
    query, key, value = jnp.moveaxis(split, -3, 0)
    seen = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    return seen.reshape(*qkv.shape[:-1], -1)


def head(config: TransformerConfig, params: Params, states: jax.Array) -> jax.Array:
    """Logits ``[..., V]`` of states ``[..., D]``, by the embedding itself."""
    logits = states @ params["embedding"].T
    return cap(logits) if config.style == "eam" else logits


def apply(
    config: TransformerConfig, params: Params, ids: jax.Array, key: jax.Array | None = None
) -> jax.Array:
    """Logits ``[..., T, V]`` of the token after each of ``int32 [..., T]``; arguments as of `hidden`."""
    return head(config, params, hidden(config, params, ids, key))


def loss(
    config: TransformerConfig, params: Params, windows: jax.Array, key: jax.Array | None = None
) -> jax.Array:
    """Mean nats of the tokens ``1 ..`` of windows ``int32 [N, T + 1]``."""
    logits = apply(config, params, windows[:, :-1], key)
    return optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]).mean()


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """How `fit` trains: AdamW with a warm-up of a tenth of an epoch and a cosine to 0.

    Attributes:
      epochs: passes over the text at most.
      batch: windows a step.
      rate: peak step size.
      patience: checks without gain, two an epoch, after which training ends.

    Raises:
      ValueError: a number is not positive.
    """

    epochs: int = 8
    batch: int = 16
    rate: float = 1e-3
    patience: int = 2

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")


class Transformer(NamedTuple):
    """A fitted transformer: its sizes, and the parameters of `init`."""

    config: TransformerConfig
    params: Params


class HeldOut(NamedTuple):
    """How training goes.

    Attributes:
      share: of the passes that are done, at most 1.
      nats: mean cost of a held-out token.
    """

    share: float
    nats: float


def fit(
    key: jax.Array,
    config: TransformerConfig,
    fitting: FitConfig,
    tokens: np.ndarray,
    on_step: Callable[[HeldOut], None] | None = None,
) -> Transformer:
    """Train on a stream but for its last twentieth, which stops training; the best of all checks is returned.

    Args:
      key: of parameters, windows and dropout.
      config: sizes.
      fitting: how to train.
      tokens: ``int [N]``.
      on_step: called twice an epoch.

    Raises:
      ValueError: the held-out part is no longer than a window.
    """
    cut = len(tokens) - len(tokens) // 20
    if len(tokens) - cut <= config.window:
        raise ValueError(
            f"a twentieth of {len(tokens)} tokens must be longer than the window of {config.window}"
        )
    steps = max(cut // (fitting.batch * config.window) // 2, 1)
    stream = jnp.asarray(tokens[:cut], jnp.int32)
    init_key, *keys = jax.random.split(key, 1 + 2 * fitting.epochs)
    params = init(init_key, config)
    carry, best, least, stale = (params, _optimiser(fitting, steps).init(params)), params, np.inf, 0
    for done, half_key in enumerate(keys, start=1):
        carry = _half_epoch(config, fitting, steps, carry, stream, half_key)
        nats = float(score(Transformer(config, carry[0]), tokens[:cut], tokens[cut:])[0].mean())
        stale = 0 if nats < least else stale + 1
        if nats < least:
            best, least = carry[0], nats
        if on_step:
            on_step(HeldOut(done / len(keys), nats))
        if stale >= fitting.patience:
            break
    return Transformer(config, best)


def _optimiser(fitting: FitConfig, steps: int) -> optax.GradientTransformation:
    """For half epochs of ``steps`` steps."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, fitting.rate, max(steps // 5, 1), 2 * fitting.epochs * steps
    )
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.1))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _half_epoch(config: TransformerConfig, fitting: FitConfig, steps: int, carry, stream: jax.Array, key):
    """Parameters and state of the optimiser after batches of windows that begin anywhere in the stream."""
    optimiser = _optimiser(fitting, steps)

    def one(carry, key):
        params, state = carry
        start_key, drop_key = jax.random.split(key)
        start = jax.random.randint(start_key, (fitting.batch, 1), 0, len(stream) - config.window)
        windows = stream[start + jnp.arange(config.window + 1)]
        gradient = jax.grad(lambda p: loss(config, p, windows, drop_key))(params)
        update, state = optimiser.update(gradient, state, params)
        return (optax.apply_updates(params, update), state), None

    return jax.lax.scan(one, carry, jax.random.split(key, steps))[0]


def score(model: Transformer, history: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nats and best guesses of tokens that continue a stream, each once, seen with half a window or more.

    Args:
      model: of `fit`.
      history: at least a window of tokens before.
      tokens: ``int [N]``.

    Returns:
      ``float32 [N]`` and ``int32 [N]``.

    Raises:
      ValueError: the history is shorter than the window.
    """
    config = model.config
    if len(history) < config.window:
        raise ValueError(f"scoring needs {config.window} tokens of history, got {len(history)}")
    half = config.window // 2
    stream = np.concatenate([np.asarray(history)[-config.window :], tokens]).astype(np.int32)
    nats, best = np.zeros(len(tokens), np.float32), np.zeros(len(tokens), np.int32)
    for at in range(0, len(tokens), half):
        count = min(half, len(tokens) - at)
        seen = stream[at + half : at + half + config.window]
        seen = np.pad(seen, (0, config.window - len(seen)))
        # Position half - 1 + i of the window predicts token at + i.
        spent, guess = _window(config, model.params, jnp.asarray(seen))
        nats[at : at + count], best[at : at + count] = spent[:count], guess[:count]
    return nats, best


@functools.partial(jax.jit, static_argnames="config")
def _window(config: TransformerConfig, params: Params, seen: jax.Array):
    half = config.window // 2
    logits = apply(config, params, seen)[half - 1 : 2 * half - 1]
    labels = seen[half : 2 * half]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels), logits.argmax(axis=-1)
