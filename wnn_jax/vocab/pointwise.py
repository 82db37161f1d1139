"""Operations on single positions: they see no other position of a state ``[N, T, V]``."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from wnn_jax import checks
from wnn_jax.vocab.operation import (
    STDDEV,
    Operation,
    Params,
    StepContext,
    WordMap,
    init_map,
    normal,
    to_channels,
    to_words,
)

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "same": lambda x: x,
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "square": jnp.square,
    "negative": jnp.negative,
    "magnitude": jnp.abs,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "relu2": lambda x: jnp.square(jax.nn.relu(x)),
}
_SIZE = checks.Limits(least=1, most=1 << 20)
Mix = Literal["full", "low", "bias", "bank"]
gelu = ACTIVATIONS["gelu"]


def _check_activations(names: tuple[str, ...]) -> None:
    unknown = [name for name in names if name not in ACTIVATIONS]
    if unknown or not names:
        raise ValueError(
            (f"unknown activation {unknown[0]!r}" if unknown else "no activation is given")
            + f": choose among {', '.join(ACTIVATIONS)}"
        )


@dataclasses.dataclass(frozen=True)
class Mlp:
    """A layer that maps words to C channels, mixes them, applies an activation, and maps back to words.

    Attributes:
      channels: C.
      read: the map from words to channels.
      write: the map from channels to words.
      mix: how channels are mixed. "full": a C x C matrix and a bias. "low": a diagonal, a matrix of low rank
        and a bias. "bias": a bias alone. "bank": a matrix and a bias for each of `activations`; their results
        are weighted by one learned softmax that does not see the state.
      rank: rank of "low".
      activations: the activations of a bank, or those that `routed` chooses from; otherwise only the first is
        applied.
      routed: whether the state chooses one of the activations at each position, by a hard choice.
      scaled: whether the result has a learned factor, at first 0.1.

    Raises:
      ValueError: the mix or an activation is unknown.

    Source: docs/semantics/vocab.md
    """

    channels: int
    read: WordMap = WordMap()
    write: WordMap = WordMap()
    mix: Mix = "full"
    rank: int = 8
    activations: tuple[str, ...] = ("gelu",)
    routed: bool = False
    scaled: bool = True

    def __post_init__(self):
        checks.fields(self, channels=_SIZE, rank=_SIZE)
        _check_activations(self.activations)


def _mlp_init(key: jax.Array, sizes: Mlp, width: int) -> Params:
    c, (read, write, mix, more) = sizes.channels, jax.random.split(key, 4)
    params: Params = {
        "read": init_map(read, sizes.read, width, c),
        "write": init_map(write, sizes.write, width, c),
    }
    count = len(sizes.activations)
    if sizes.mix == "bank":
        params |= {
            "odds": jnp.zeros(count),
            "bank": normal(mix, count, c, c),
            "biases": jnp.zeros((count, c)),
        }
    else:
        params["bias"] = jnp.zeros(c)
    if sizes.mix == "full":
        params["mix"] = normal(mix, c, c)
    if sizes.mix == "low":
        down, up = jax.random.split(mix)
        params |= {
            "diagonal": jnp.full(c, STDDEV),
            "down": normal(down, c, sizes.rank),
            "up": normal(up, sizes.rank, c),
        }
    if sizes.routed:
        params["choice"] = normal(more, width, count)
    if sizes.scaled:
        params["scale"] = jnp.array(0.1)
    return params


def hidden(sizes: Mlp, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    """Returns the channels ``[N, T, C]`` of an `Mlp` before they are mapped back to words.

    Args:
      sizes: the layer.
      params: its parameters.
      x: the state ``[N, T, V]``.
      context: gives the key that draws hard choices.

    Source: docs/semantics/vocab.md
    """
    z = to_channels(sizes.read, params["read"], x)
    if sizes.mix == "bank":
        every = jnp.einsum("ntc,bcd->bntd", z, params["bank"]) + params["biases"][:, None, None]
        return jnp.tensordot(jax.nn.softmax(params["odds"]), _activate(sizes.activations, every), 1)
    if sizes.mix == "full":
        z = z @ params["mix"]
    if sizes.mix == "low":
        z = z * params["diagonal"] + z @ params["down"] @ params["up"]
    z = z + params["bias"]
    if not sizes.routed:
        return ACTIVATIONS[sizes.activations[0]](z)
    one = hard(x @ params["choice"], context.key)
    every = _activate(sizes.activations, jnp.stack([z] * len(sizes.activations)))
    return jnp.einsum("ntb,bntc->ntc", one, every)


def write(sizes: Mlp, params: Params, z: jax.Array, width: int) -> jax.Array:
    """Maps the channels ``[N, T, C]`` of an `Mlp` to words ``[N, T, V]``, where V is ``width``.

    Source: docs/semantics/vocab.md
    """
    return to_words(sizes.write, params["write"], z, width) * params.get("scale", 1.0)


def _mlp(sizes: Mlp, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    return write(sizes, params, hidden(sizes, params, x, context), x.shape[-1])


def _activate(names: tuple[str, ...], every: jax.Array) -> jax.Array:
    """Applies each activation to its own array of ``every``, ``[activations, ...]``."""
    return jnp.stack([ACTIVATIONS[name](z) for name, z in zip(names, every, strict=True)])


def hard(logits: jax.Array, key: jax.Array | None) -> jax.Array:
    """Returns one-hot choices of the shape of ``logits``; their gradient is that of the softmax.

    With a key the choices are drawn; without a key the most probable ones are taken, the first on ties.

    Args:
      logits: ``[..., n]``.
      key: the random key, or None.

    Source: Gumbel-softmax (Jang et al. 2017); docs/semantics/vocab.md
    """
    if key is not None:
        logits = logits + jax.random.gumbel(key, logits.shape, logits.dtype)
    soft = jax.nn.softmax(logits)
    return (
        jax.nn.one_hot(logits.argmax(-1), logits.shape[-1], dtype=soft.dtype)
        + soft
        - jax.lax.stop_gradient(soft)
    )


@dataclasses.dataclass(frozen=True)
class WordGraph:
    """A graph of words that excite words: a matrix of low rank, a diagonal and a bias.

    Attributes:
      rank: rank of the matrix.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/vocab.md
    """

    rank: int

    def __post_init__(self):
        checks.fields(self, rank=_SIZE)


def _graph_init(key: jax.Array, sizes: WordGraph, width: int) -> Params:
    source, target = jax.random.split(key)
    return {
        "from": normal(source, width, sizes.rank),
        "to": normal(target, width, sizes.rank),
        "diagonal": jnp.zeros(width),
        "bias": jnp.zeros(width),
        "scale": jnp.array(0.1),
    }


def _graph(sizes: WordGraph, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    excited = x @ params["from"] @ params["to"].T + x * params["diagonal"] + params["bias"]
    return gelu(excited) * params["scale"]


@dataclasses.dataclass(frozen=True)
class WordGate:
    """A gate that scales each word by a sigmoid of a narrow layer that sees all words; at first near 1.

    Attributes:
      inner: number of hidden units of the layer.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/vocab.md
    """

    inner: int

    def __post_init__(self):
        checks.fields(self, inner=_SIZE)


def _gate_init(key: jax.Array, sizes: WordGate, width: int) -> Params:
    down, up = jax.random.split(key)
    return {
        "down": normal(down, width, sizes.inner),
        "up": normal(up, sizes.inner, width, stddev=0.01),
        "bias": jnp.full(width, 2.0),
    }


def _gate(sizes: WordGate, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    return x * jax.nn.sigmoid(x @ params["down"] @ params["up"] + params["bias"])


@dataclasses.dataclass(frozen=True)
class Policy:
    """A small network that sees the state and chooses words to read, activations to use, and words to write.

    Attributes:
      activations: the activations it chooses from; each has a matrix of its own.

    Raises:
      ValueError: an activation is unknown.

    Source: docs/semantics/vocab.md
    """

    activations: tuple[str, ...] = ("gelu", "relu", "relu2", "silu", "tanh", "sigmoid", "same", "negative")

    def __post_init__(self):
        checks.fields(self)
        _check_activations(self.activations)


def _policy_init(key: jax.Array, sizes: Policy, width: int) -> Params:
    down, up, bank = jax.random.split(key, 3)
    acts = 2 * width + len(sizes.activations)
    return {
        "down": normal(down, width, 2 * width),
        "down_bias": jnp.zeros(2 * width),
        "up": normal(up, 2 * width, acts),
        "up_bias": jnp.zeros(acts),
        "bank": normal(bank, len(sizes.activations), width, width),
    }


def _policy(sizes: Policy, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    seen = gelu(x @ params["down"] + params["down_bias"]) @ params["up"] + params["up_bias"]
    read, odds, write = jnp.split(seen, [x.shape[-1], x.shape[-1] + len(sizes.activations)], axis=-1)
    every = jnp.einsum("ntc,bcd->bntd", x * jax.nn.softmax(read), params["bank"])
    acted = jnp.einsum("ntb,bntc->ntc", jax.nn.softmax(odds), _activate(sizes.activations, every))
    return acted * jax.nn.sigmoid(write)


@dataclasses.dataclass(frozen=True)
class Experts:
    """A soft mixture of small networks, weighted by a softmax of the state.

    Attributes:
      experts: number of networks.
      inner: number of hidden units of each.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/vocab.md
    """

    experts: int
    inner: int

    def __post_init__(self):
        checks.fields(self, experts=_SIZE, inner=_SIZE)


def _experts_init(key: jax.Array, sizes: Experts, width: int) -> Params:
    down, up = jax.random.split(key)
    return {
        "down": normal(down, sizes.experts, width, sizes.inner, stddev=0.1),
        "up": normal(up, sizes.experts, sizes.inner, width, stddev=0.1),
        "bias": jnp.zeros(sizes.inner),
        "gate": jnp.zeros((width, sizes.experts)),
        "gate_bias": jnp.ones(sizes.experts),
    }


def _experts(sizes: Experts, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    inner = gelu(jnp.einsum("ntk,bkh->ntbh", x, params["down"]) + params["bias"])
    share = jax.nn.softmax(x @ params["gate"] + params["gate_bias"])
    return jnp.einsum("ntbh,bhk->ntk", inner * share[..., None], params["up"])


@dataclasses.dataclass(frozen=True)
class Bands:
    """Three layers of low, middle and high waves; the channels of the low layer gate those of the high one.

    Attributes:
      low: the layer that gates.
      middle: the layer between them.
      high: the layer that is gated, with as many channels as `low`.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/vocab.md
    """

    low: Mlp
    middle: Mlp
    high: Mlp

    def __post_init__(self):
        checks.fields(self)


def _bands_init(key: jax.Array, sizes: Bands, width: int) -> Params:
    *keys, gate = jax.random.split(key, 4)
    bands = zip(("low", "middle", "high"), keys, strict=True)
    params: Params = {name: _mlp_init(each, getattr(sizes, name), width) for name, each in bands}
    c = sizes.low.channels
    return params | {"gate": normal(gate, c, c), "bias": jnp.zeros(c), "scales": jnp.ones(3)}


def _bands(sizes: Bands, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    each = {
        name: hidden(getattr(sizes, name), params[name], x, context) for name in ("low", "middle", "high")
    }
    each["high"] = each["high"] * jax.nn.sigmoid(each["low"] @ params["gate"] + params["bias"])
    parts = [write(getattr(sizes, name), params[name], z, x.shape[-1]) for name, z in each.items()]
    return jnp.tensordot(params["scales"], jnp.stack(parts), 1)


@dataclasses.dataclass(frozen=True)
class TopK:
    """Keeps the words with the largest magnitudes and sets the others to 0; ties with the last are kept.

    Attributes:
      keep: number of words.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/vocab.md
    """

    keep: int

    def __post_init__(self):
        checks.fields(self, keep=_SIZE)


def _top_k(sizes: TopK, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    size = jnp.abs(jax.lax.stop_gradient(x))
    least = jax.lax.top_k(size, min(sizes.keep, x.shape[-1]))[0][..., -1:]
    return jnp.where(size >= least, x, 0.0)


@dataclasses.dataclass(frozen=True)
class Factor:
    """Multiplies the state by a number, or leaves it as it is.

    Attributes:
      learned: whether there is such a number, which is learned.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/vocab.md
    """

    learned: bool = True

    def __post_init__(self):
        checks.fields(self)


def _factor_init(key: jax.Array, sizes: Factor, width: int) -> Params:
    return {"factor": jnp.array(1.0)} if sizes.learned else {}


def _factor(sizes: Factor, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    return x * params.get("factor", 1.0)


OPERATIONS: dict[type, Operation] = {
    Mlp: Operation(_mlp_init, _mlp),
    WordGraph: Operation(_graph_init, _graph),
    WordGate: Operation(_gate_init, _gate),
    Policy: Operation(_policy_init, _policy),
    Experts: Operation(_experts_init, _experts),
    Bands: Operation(_bands_init, _bands),
    TopK: Operation(lambda key, sizes, width: {}, _top_k),
    Factor: Operation(_factor_init, _factor),
}
