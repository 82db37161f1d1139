"""A small causal transformer, trained with optax: what weights make of the same text.

Pre-norm, learned positions, one embedding for input and output (Radford et al. 2019, GPT-2, made small).
It reads windows of a stream and is stopped when held-out training text gets worse.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """Sizes and training. Hashable: static under `jit`.

    Attributes:
      vocabulary: V.
      layers, width, heads: of the model; the width is a multiple of the heads.
      window: tokens it sees at once, at least 2.
      batch: windows a step.
      rate: peak step size of AdamW, after a tenth of an epoch of warm-up.
      dropout: of the residual branches, while training.
      patience: checks without gain, two an epoch, after which training ends.

    Raises:
      ValueError: the width is no multiple of the heads, or the window is too short.
    """

    vocabulary: int
    layers: int = 2
    width: int = 128
    heads: int = 4
    window: int = 128
    batch: int = 16
    rate: float = 1e-3
    dropout: float = 0.2
    patience: int = 2

    def __post_init__(self):
        if self.width % self.heads or self.window < 2:
            raise ValueError(
                f"a transformer needs a width that its heads divide and a window of at least 2, got width "
                f"{self.width}, {self.heads} heads and window {self.window}"
            )


def init(key: jax.Array, config: TransformerConfig) -> dict[str, Any]:
    """Parameters, small at random."""
    d, keys = config.width, iter(jax.random.split(key, 2 + 4 * config.layers))

    def normal(*shape, scale=0.02):
        return scale * jax.random.normal(next(keys), shape)

    deep = 0.02 / np.sqrt(2 * config.layers)
    layers = [
        {
            "attention": normal(d, 3 * d),
            "mix": normal(d, d, scale=deep),
            "up": normal(d, 4 * d),
            "down": normal(4 * d, d, scale=deep),
            "norms": jnp.ones((2, d)),
        }
        for _ in range(config.layers)
    ]
    return {
        "embed": normal(config.vocabulary, d),
        "place": normal(config.window, d),
        "layers": layers,
        "norm": jnp.ones(d),
    }


def apply(config: TransformerConfig, params, tokens: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """Logits ``[..., N, V]`` of the token after each of ``tokens`` ``int32 [..., N]``, N at most the window.

    Args:
      key: draws what is dropped while training; None drops nothing.
    """
    length = tokens.shape[-1]
    x = params["embed"][tokens] + params["place"][:length]
    future = jnp.tril(jnp.ones((length, length), bool))

    def dropped(x, number):
        if key is None:
            return x
        kept = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - config.dropout, x.shape)
        return jnp.where(kept, x / (1 - config.dropout), 0)

    for i, layer in enumerate(params["layers"]):
        q, k, v = jnp.split(_normed(x, layer["norms"][0]) @ layer["attention"], 3, axis=-1)
        q, k, v = (y.reshape(*y.shape[:-1], config.heads, -1) for y in (q, k, v))
        scores = jnp.einsum("...qhd,...khd->...hqk", q, k) / np.sqrt(q.shape[-1])
        shares = jax.nn.softmax(jnp.where(future, scores, -jnp.inf))
        seen = jnp.einsum("...hqk,...khd->...qhd", shares, v).reshape(x.shape)
        x = x + dropped(seen @ layer["mix"], 2 * i)
        hidden = jax.nn.gelu(_normed(x, layer["norms"][1]) @ layer["up"])
        x = x + dropped(hidden @ layer["down"], 2 * i + 1)
    return _normed(x, params["norm"]) @ params["embed"].T


def _normed(x: jax.Array, scale: jax.Array) -> jax.Array:
    return x * scale * jax.lax.rsqrt(jnp.square(x).mean(axis=-1, keepdims=True) + 1e-6)


def train(key: jax.Array, config: TransformerConfig, tokens: np.ndarray, epochs: int) -> Iterator:
    """Train on a stream but for its last twentieth, which stops it.

    Args:
      epochs: passes at most.

    Yields:
      ``(share of the passes done, held-out nats a token, best parameters so far)``, twice an epoch.

    Raises:
      ValueError: the held-out part is no longer than a window.
    """
    cut = len(tokens) - len(tokens) // 20
    if len(tokens) - cut <= config.window:
        raise ValueError(
            f"a twentieth of {len(tokens)} tokens must be longer than the window of {config.window}"
        )
    stream, held = jnp.asarray(tokens[:cut], jnp.int32), tokens[cut:]
    steps = max(cut // (config.batch * config.window) // 2, 1)
    rate = optax.warmup_cosine_decay_schedule(0.0, config.rate, max(steps // 5, 1), 2 * epochs * steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=0.1))

    def loss(params, key, windows):
        logits = apply(config, params, windows[:, :-1], key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]).mean()

    @jax.jit
    def half_epoch(carry, key):
        def one(carry, key):
            params, state = carry
            start_key, drop_key = jax.random.split(key)
            start = jax.random.randint(start_key, (config.batch, 1), 0, cut - config.window)
            windows = stream[start + jnp.arange(config.window + 1)]
            gradient = jax.grad(loss)(params, drop_key, windows)
            update, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, update), state), None

        return jax.lax.scan(one, carry, jax.random.split(key, steps))[0]

    init_key, *keys = jax.random.split(key, 1 + 2 * epochs)
    params = init(init_key, config)
    carry, best, least, stale = (params, optimizer.init(params)), params, np.inf, 0
    for done, half_key in enumerate(keys, start=1):
        carry = half_epoch(carry, half_key)
        nats = float(score(config, carry[0], np.asarray(tokens[:cut]), held)[0].mean())
        stale = 0 if nats < least else stale + 1
        if nats < least:
            best, least = carry[0], nats
        yield done / len(keys), nats, best
        if stale >= config.patience:
            return


def score(config: TransformerConfig, params, history: np.ndarray, tokens: np.ndarray):
    """Nats and best guesses of tokens that continue a stream, each once, seen with half a window or more.

    Args:
      history: at least a window of tokens before.

    Returns:
      ``float32 [N]`` and ``int32 [N]``.
    """
    half = config.window // 2
    stream = np.concatenate([np.asarray(history)[-config.window :], tokens]).astype(np.int32)
    nats, best = np.zeros(len(tokens), np.float32), np.zeros(len(tokens), np.int32)
    for at in range(0, len(tokens), half):
        count = min(half, len(tokens) - at)
        seen = stream[at + half : at + half + config.window]
        seen = np.pad(seen, (0, config.window - len(seen)))
        # Position half - 1 + i of the window predicts token at + i.
        spent, guess = _window(config, params, jnp.asarray(seen))
        nats[at : at + count], best[at : at + count] = spent[:count], guess[:count]
    return nats, best


@functools.partial(jax.jit, static_argnames="config")
def _window(config: TransformerConfig, params, seen: jax.Array):
    half = config.window // 2
    logits = apply(config, params, seen)[half - 1 : 2 * half - 1]
    labels = seen[half : 2 * half]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels), logits.argmax(axis=-1)
