"""The causal transformer whose hidden states are remembered, and the trunk that the encoder shares with it.

Blocks as the published system has them (spec eam_recommender_vocab 2.2): RMS norms without weights, pre-norm
attention without biases, an MLP of squared leaky ReLUs, a tied head under a soft cap. Positions are an
option; the published trunk has none.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

CAP = 30.0

Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class TrunkConfig:
    """Sizes of a causal transformer without a head.

    Attributes:
      vocabulary: V.
      width: D, a multiple of the heads.
      layers, heads: blocks, and heads of each.
      expand: hidden units of a block's MLP, in widths.
      window: tokens it sees at once.
      positions: whether it learns a vector for every place in the window.
      spread: standard deviation of the first embeddings.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    expand: int
    window: int
    positions: bool = False
    spread: float = 0.005

    def __post_init__(self):
        if self.width % self.heads or self.window < 2:
            raise ValueError(
                f"a trunk needs a width that its heads divide and a window of at least 2, got width "
                f"{self.width}, {self.heads} heads and window {self.window}"
            )


def init(key: jax.Array, config: TrunkConfig) -> Params:
    """Parameters at random: linear maps uniform within ``1 / sqrt(inputs)``."""
    d, keys = config.width, iter(jax.random.split(key, 2 + 4 * config.layers))
    params: Params = {"embedding": config.spread * jax.random.normal(next(keys), (config.vocabulary, d))}
    place = jax.random.normal(next(keys), (config.window, d))
    if config.positions:
        params["place"] = 0.02 * place
    params["blocks"] = [
        {
            "qkv": linear(next(keys), d, 3 * d),
            "out": linear(next(keys), d, d),
            "up": linear(next(keys), d, config.expand * d),
            "down": linear(next(keys), config.expand * d, d),
        }
        for _ in range(config.layers)
    ]
    return params


def linear(key: jax.Array, inputs: int, outputs: int) -> jax.Array:
    """``float32 [inputs, outputs]``."""
    return jax.random.uniform(key, (inputs, outputs), minval=-1.0, maxval=1.0) / np.sqrt(inputs)


def rms_norm(x: jax.Array) -> jax.Array:
    """Scaled to a mean square of 1 along the last axis."""
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6)


def cap(logits: jax.Array) -> jax.Array:
    """Within `CAP` of 0, smoothly."""
    return CAP * jnp.tanh(logits / CAP)


def hidden(config: TrunkConfig, params: Params, ids: jax.Array) -> jax.Array:
    """Normed states ``float32 [N, T, D]`` of windows ``int32 [N, T]``: place t knows the tokens up to t."""
    windows, length = ids.shape
    x = rms_norm(params["embedding"][ids])
    if config.positions:
        x = x + params["place"][:length]
    for block in params["blocks"]:
        split = (windows, length, 3, config.heads, config.width // config.heads)
        query, key, value = jnp.moveaxis((rms_norm(x) @ block["qkv"]).reshape(split), 2, 0)
        seen = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        x = x + seen.reshape(windows, length, config.width) @ block["out"]
        up = jax.nn.leaky_relu(rms_norm(x) @ block["up"], 0.5)
        x = x + (up * up) @ block["down"]
    return rms_norm(x)


def head(params: Params, states: jax.Array) -> jax.Array:
    """Logits ``[..., V]`` of states, by the embedding itself."""
    return cap(states @ params["embedding"].T)


def loss(config: TrunkConfig, params: Params, _, windows: jax.Array) -> jax.Array:
    """Mean nats of the tokens ``1 ..`` of windows ``int32 [N, T + 1]``."""
    logits = head(params, hidden(config, params, windows[:, :-1]))
    return optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]).mean()


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How parameters are trained: AdamW with warm-up over a twentieth of the steps and a cosine to a tenth.

    Attributes:
      rate: peak step size.
      batch: windows a step.
      epochs: passes over the windows.
      decay: AdamW's.
    """

    rate: float
    batch: int
    epochs: int
    decay: float = 0.01

    def optimiser(self, steps: int) -> optax.GradientTransformation:
        """For so many steps in all, of gradients clipped to length 1."""
        schedule = optax.warmup_cosine_decay_schedule(
            0.0, self.rate, max(1, steps // 20), max(2, steps), self.rate / 10
        )
        return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=self.decay))
