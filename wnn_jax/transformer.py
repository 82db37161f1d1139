"""A small causal transformer: a baseline of the language models, and the trunk of those in `wnn_jax.eam`.

    model = transformer.fit(key, TransformerConfig(corpus.vocabulary), FitConfig(epochs=8), corpus.train)
    nats, best = transformer.score(model, corpus.train, corpus.test)

The blocks have one of two styles, with the same attention, residual stream and shapes. ``gpt2`` is a small
GPT-2 with RMS norms instead of layer norms. ``eam`` has RMS norms without weights, an MLP with squared leaky
ReLUs, and logits under a soft cap. Both styles normalise before each branch, have no biases, and use one
embedding matrix for input and output.

Shape letters of this module: D is the width of a state, S the number of tokens of a window.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (gpt2);
openai/parameter-golf, pull request 1146 (eam)
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.narrow import in_32_bits

CAP = 30.0

Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """Configures a transformer. Hashable, so it may be a static argument of `jit`.

    Attributes:
      vocabulary: number of token ids, V.
      layers: number of blocks.
      width: length of a state vector, D; a multiple of the number of heads.
      heads: number of attention heads of a block.
      expand: number of hidden units of a block's MLP, as a multiple of the width.
      window: number of tokens that the model sees at once, at least 2.
      positions: whether the model learns a vector for every position in the window.
      style: form of the blocks, ``gpt2`` or ``eam``.
      spread: standard deviation of the first embeddings, which are random; in the style gpt2 of all matrices.
      dropout: probability that an entry of a residual branch is dropped in training.

    Raises:
      ValueError: a value is unknown or out of range, the number of heads does not divide the width, or the
        window is shorter than 2.

    Source: Radford et al. 2019 (gpt2); openai/parameter-golf, pull request 1146 (eam)
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
        size = Limits(least=1, most=1 << 16)
        checks.fields(
            self,
            vocabulary=Limits(least=1, most=1 << 24),
            layers=Limits(least=1, most=1000),
            width=size,
            heads=size,
            expand=size,
            window=Limits(most=1 << 20),
            spread=Limits(least=0, most=1e3),
            dropout=Limits(least=0, below=1),
        )
        if self.width % self.heads or self.window < 2:
            raise ValueError(
                "the width must be a multiple of the heads, and the window must be at least 2, got "
                f"width {self.width}, {self.heads} heads and window {self.window}: change these numbers"
            )


def init(key: jax.Array, config: TransformerConfig) -> Params:
    """Draw random parameters.

    Args:
      key: draws the parameters.
      config: sizes and style. In the style gpt2 all matrices are normal with the config's spread, and those
        that write to the residual stream are smaller. In the style eam the embedding is normal and the
        matrices are uniform, see `linear`.

    Returns:
      A pytree of ``float32`` arrays: ``embedding [V, D]``, ``blocks``, a list of dicts of matrices, and
      ``place [window, D]`` if the model learns positions.

    Source: Radford et al. 2019 (gpt2); openai/parameter-golf, pull request 1146 (eam)
    """
    d, keys = config.width, iter(jax.random.split(key, 2 + 4 * config.layers))
    shapes = {"qkv": (d, 3 * d), "out": (d, d), "up": (d, config.expand * d), "down": (config.expand * d, d)}

    def normal(scale, *shape):
        return scale * jax.random.normal(next(keys), shape, jnp.float32)

    if config.style == "eam":
        params: Params = {"embedding": normal(config.spread, config.vocabulary, d)}
        place = normal(0.02, config.window, d)
        blocks = [{name: linear(next(keys), *x) for name, x in shapes.items()} for _ in range(config.layers)]
    else:
        deep = config.spread / math.sqrt(2 * config.layers)  # for matrices that add to the residual stream
        scales = {"qkv": config.spread, "out": deep, "up": config.spread, "down": deep}
        blocks = [
            {
                **{name: normal(scales[name], *x) for name, x in shapes.items()},
                "norms": jnp.ones((2, d), jnp.float32),
            }
            for _ in range(config.layers)
        ]
        params = {"embedding": normal(config.spread, config.vocabulary, d), "norm": jnp.ones(d, jnp.float32)}
        place = normal(config.spread, config.window, d)
    if config.positions:
        params["place"] = place
    return {**params, "blocks": blocks}


def _ids(config: TransformerConfig) -> Limits:
    return Limits(least=0, most=config.vocabulary - 1)


def linear(key: jax.Array, inputs: int, outputs: int) -> jax.Array:
    """Draw a random matrix, uniform between plus and minus ``1 / sqrt(inputs)``.

    Args:
      key: draws the entries.
      inputs: number of rows.
      outputs: number of columns.

    Returns:
      ``float32 [inputs, outputs]``.

    Source: the default of PyTorch's nn.Linear
    """
    drawn = jax.random.uniform(key, (inputs, outputs), jnp.float32, minval=-1.0, maxval=1.0)
    return drawn / math.sqrt(inputs)


def rms_norm(x: jax.Array, scale: jax.Array | None = None) -> jax.Array:
    """Scale vectors to a mean square of 1.

    Args:
      x: ``float32 [..., D]``.
      scale: ``float32 [D]``, multiplied to ``x`` before; None for no weights.

    Returns:
      ``float32 [..., D]``. 1e-6 is added to the mean square, so a zero vector stays zero.

    Source: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization"
    """
    return (x if scale is None else x * scale) * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6)


def cap(logits: jax.Array) -> jax.Array:
    """Limit logits smoothly to the range between ``-CAP`` and ``CAP``.

    Args:
      logits: ``float32 [...]``.

    Returns:
      ``float32 [...]``, ``CAP * tanh(logits / CAP)``.

    Source: Gemma Team 2024, "Gemma 2" (logit soft-capping)
    """
    return CAP * jnp.tanh(logits / CAP)


def hidden(
    config: TransformerConfig, params: Params, ids: jax.Array, key: jax.Array | None = None
) -> jax.Array:
    """Compute the last states of windows of tokens, normalised. A state depends on the tokens up to its own.

    Args:
      config: sizes and style.
      params: parameters, in the form of `init`.
      ids: ``int32 [..., S]``, token ids; S is at most the config's window.
      key: draws the entries to drop in training; None drops nothing.

    Returns:
      ``float32 [..., S, D]``.

    Raises:
      ValueError: the windows are longer than the config's, or their ids are no integers below V.

    Source: Vaswani et al. 2017, "Attention Is All You Need"
    """
    checks.array("ids", ids, "integers", limits=_ids(config))
    if not ids.ndim or ids.shape[-1] > config.window:
        raise ValueError(f"ids has shape {list(ids.shape)}: give windows of at most {config.window} ids")
    x = params["embedding"][ids]
    if config.style == "eam":
        x = rms_norm(x)
    if config.positions:
        x = x + params["place"][: ids.shape[-1]]

    def dropped(x, number):
        if key is None:
            return x
        share = jnp.float32(1 - config.dropout)
        kept = jax.random.bernoulli(jax.random.fold_in(key, number), share, x.shape)
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
    """Attend causally: return ``[..., S, D]`` from the queries, keys and values ``[..., S, 3 D]``."""
    split = qkv.reshape(*qkv.shape[:-1], 3, heads, -1)
    query, key, value = jnp.moveaxis(split, -3, 0)
    seen = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    return seen.reshape(*qkv.shape[:-1], -1)


def head(config: TransformerConfig, params: Params, states: jax.Array) -> jax.Array:
    """Compute the logits of the next token from states, with the embedding as the output matrix.

    Args:
      config: sizes; the style eam caps the logits, see `cap`.
      params: parameters, in the form of `init`.
      states: ``float32 [..., D]``, from `hidden`.

    Returns:
      ``float32 [..., V]``.

    Source: Press and Wolf 2017, "Using the Output Embedding to Improve Language Models"
    """
    logits = states @ params["embedding"].T
    return cap(logits) if config.style == "eam" else logits


def apply(
    config: TransformerConfig, params: Params, ids: jax.Array, key: jax.Array | None = None
) -> jax.Array:
    """Compute the logits of the token that follows each position of windows.

    Args:
      config: sizes and style.
      params: parameters, in the form of `init`.
      ids: ``int32 [..., S]``, token ids; S is at most the config's window.
      key: draws the entries to drop in training; None drops nothing.

    Returns:
      ``float32 [..., S, V]``.

    Source: Radford et al. 2019 (gpt2); openai/parameter-golf, pull request 1146 (eam)
    """
    return head(config, params, hidden(config, params, ids, key))


def loss(
    config: TransformerConfig, params: Params, windows: jax.Array, key: jax.Array | None = None
) -> jax.Array:
    """Compute the mean nats of all tokens of windows but the first of each.

    Args:
      config: sizes and style.
      params: parameters, in the form of `init`.
      windows: ``int32 [N, S + 1]``, token ids.
      key: draws the entries to drop in training; None drops nothing.

    Returns:
      ``float32 []``.

    Source: docs/glossary.md
    """
    logits = apply(config, params, windows[:, :-1], key)
    return optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]).mean()


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """Configures the training of `fit`: AdamW, with a warm-up of a tenth of an epoch and a cosine decay to 0.

    Attributes:
      epochs: number of passes over the text, at most.
      batch: number of windows of a step.
      rate: highest step size.
      patience: number of checks without a lower loss, after which training ends; there are two checks in an
        epoch.

    Raises:
      ValueError: a number is out of range.

    Source: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization"
    """

    epochs: int = 8
    batch: int = 16
    rate: float = 1e-3
    patience: int = 2

    def __post_init__(self):
        some = Limits(least=1)
        limits = {"epochs": Limits(least=1, most=100_000), "rate": Limits(above=0, most=1)}
        checks.fields(self, **limits, batch=some, patience=some)


class Transformer(NamedTuple):
    """A fitted transformer.

    Attributes:
      config: sizes and style.
      params: parameters, in the form of `init`.

    Source: Radford et al. 2019 (gpt2); openai/parameter-golf, pull request 1146 (eam)
    """

    config: TransformerConfig
    params: Params


class HeldOut(NamedTuple):
    """A report of `fit`: the progress and the loss on held-out text.

    Attributes:
      share: share of the half epochs that are done, at most 1.
      nats: mean nats of a held-out token.

    Source: docs/glossary.md
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
    """Train a transformer on a text; the last twentieth is held out and decides when training ends.

    Args:
      key: draws the parameters, the windows and the dropout.
      config: sizes and style.
      fitting: settings of the training.
      tokens: ``int [N]``, token ids.
      on_step: called with a report twice an epoch.

    Returns:
      The model with the lowest loss on the held-out text of all checks; the earliest of equal ones.

    Raises:
      ValueError: the ids are no integers below V, or the held-out part is not longer than a window.

    Source: Radford et al. 2019 (gpt2); openai/parameter-golf, pull request 1146 (eam)
    """
    tokens = np.asarray(tokens)
    checks.array("tokens", tokens, "integers", {"N": None}, _ids(config))
    cut = len(tokens) - len(tokens) // 20
    if len(tokens) - cut <= config.window:
        raise ValueError(
            f"a twentieth of the tokens is held out and must be longer than the window of {config.window}, "
            f"got "
            f"{len(tokens)} tokens: give more text, or a shorter window"
        )
    steps = max(cut // (fitting.batch * config.window) // 2, 1)
    stream = jnp.asarray(tokens[:cut], jnp.int32)
    init_key, *keys = jax.random.split(key, 1 + 2 * fitting.epochs)
    params = init(init_key, config)
    carry, best, least, stale = _begin(fitting, steps, params), params, np.inf, 0
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
    """Make the optimiser for half epochs of ``steps`` steps each."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, fitting.rate, max(steps // 5, 1), 2 * fitting.epochs * steps
    )
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.1))


@in_32_bits
def _begin(fitting: FitConfig, steps: int, params: Params) -> tuple[Params, Any]:
    """Return the parameters and the first state of the optimiser."""
    return params, _optimiser(fitting, steps).init(params)


@in_32_bits
@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _half_epoch(config: TransformerConfig, fitting: FitConfig, steps: int, carry, stream: jax.Array, key):
    """Train for half an epoch, on batches of windows that begin anywhere in the text.

    Returns:
      The new parameters and the new state of the optimiser.
    """
    optimiser = _optimiser(fitting, steps)

    def one(carry, key):
        params, state = carry
        start_key, drop_key = jax.random.split(key)
        last = len(stream) - config.window
        start = jax.random.randint(start_key, (fitting.batch, 1), 0, last, jnp.int32)
        windows = stream[start + jnp.arange(config.window + 1, dtype=jnp.int32)]
        gradient = jax.grad(lambda p: loss(config, p, windows, drop_key))(params)
        update, state = optimiser.update(gradient, state, params)
        return (optax.apply_updates(params, update), state), None

    return jax.lax.scan(one, carry, jax.random.split(key, steps))[0]


def score(model: Transformer, history: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Score every token of a text once, with at least half a window of tokens before it.

    Args:
      model: a fitted transformer.
      history: ``int [M]``, the tokens before the text, at least a window of them.
      tokens: ``int [N]``, the text.

    Returns:
      The nats of each token, ``float32 [N]``, and the most probable id, ``int32 [N]`` (the lowest on ties).

    Raises:
      ValueError: the ids are no integers below V, or the history is shorter than the window.

    Source: docs/glossary.md
    """
    config, history, tokens = model.config, np.asarray(history), np.asarray(tokens)
    tokens = tokens if tokens.size else tokens.astype(np.int32)
    for name, x in (("history", history), ("tokens", tokens)):
        checks.array(name, x, "integers", {"N": None}, _ids(config))
    if len(history) < config.window:
        raise ValueError(
            f"scoring needs at least {config.window} tokens of history, got {len(history)}: give the end of "
            "the training text"
        )
    half = config.window // 2
    stream = np.concatenate([history[-config.window :], tokens]).astype(np.int32)
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
