"""The causal transformer whose hidden states are remembered, and the trunk that the encoder shares with it.

Blocks as the published system has them (spec eam_recommender_vocab 2.2): RMS norms without weights, pre-norm
attention without biases, an MLP of squared leaky ReLUs, a tied head under a soft cap. Positions are an
option; the published trunk has none.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

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


def cut(tokens: np.ndarray, window: int) -> np.ndarray:
    """Windows ``int32 [N, window + 1]`` of a stream that overlap in one token, so that each is a target once.

    The first token is no target; what does not fill a window at the end is left out.

    Raises:
      ValueError: there is no whole window.
    """
    count = (len(tokens) - 1) // window
    if count < 1:
        raise ValueError(f"{len(tokens)} tokens hold no window of {window} and a target")
    return np.stack([tokens[i * window : (i + 1) * window + 1] for i in range(count)]).astype(np.int32)


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


class Trained(NamedTuple):
    """Where training stands after an epoch; all arrays are in host memory.

    Attributes:
      done: epochs.
      loss: mean of the last.
      params: what was learnt.
      leaves: parameters and the optimiser's state, to go on from.
    """

    done: int
    loss: float
    params: Params
    leaves: list[np.ndarray]


def train(
    key: jax.Array,
    config: TrainConfig,
    params: Params,
    loss_of: Callable[[Params, Any, Any], jax.Array],
    fixed: Any,
    data: Any,
    start: tuple[int, list[np.ndarray]] | None = None,
) -> Iterator[Trained]:
    """Epochs of ``loss_of(params, fixed, batch)``, each yielded as it ends.

    Args:
      key: decides the order of each epoch, by its number alone, so that training resumes to the same end.
      config: rates and sizes.
      params: where to begin.
      loss_of: pure; it is compiled once.
      fixed: a pytree that is not trained.
      data: a pytree of arrays ``[N, ...]`` in host memory; batches are rows of it.
      start: epochs done, and the leaves then, to go on from there.
    """
    count = len(jax.tree.leaves(data)[0])
    batch = min(config.batch, count)
    steps = count // batch
    total = steps * config.epochs
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, config.rate, max(1, total // 20), max(2, total), config.rate / 10
    )
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=config.decay))
    step = jax.jit(functools.partial(_step, optimiser, loss_of), donate_argnums=0)
    state = jax.tree.map(jnp.array, (params, optimiser.init(params)))
    done = 0
    if start:
        done, leaves = start
        state = jax.tree.unflatten(jax.tree.structure(state), [jnp.asarray(x) for x in leaves])
    for epoch in range(done, config.epochs):
        order = np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), count))
        losses = []
        for i in range(steps):
            rows = order[i * batch : (i + 1) * batch]
            state, value = step(state, fixed, jax.tree.map(lambda x, rows=rows: x[rows], data))
            losses.append(value)
        reached = jax.tree.map(np.array, state)  # copies: the buffers are given away
        yield Trained(epoch + 1, float(np.mean(losses)), reached[0], jax.tree.leaves(reached))


def _step(optimiser, loss_of, state, fixed, batch):
    params, memory = state
    value, slopes = jax.value_and_grad(loss_of)(params, fixed, batch)
    updates, memory = optimiser.update(slopes, memory, params)
    return (optax.apply_updates(params, updates), memory), value
