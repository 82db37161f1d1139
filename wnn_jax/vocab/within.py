"""What a step does to one position: operations on a state ``[N, T, V]`` that look at no other position.

An operation is a frozen dataclass of sizes with two pure functions, found by its type in `OPERATIONS`:
``init(key, sizes, width)`` gives a dict of arrays, ``apply(sizes, params, x, context)`` a ``[N, T, width]``.
(After urmzd/exp-agi-models, spec eam_recommender_vocab 4.)
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

SPREAD = 0.02

Params = dict[str, Any]

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
gelu = ACTIVATIONS["gelu"]


class Context(NamedTuple):
    """What an operation may know beside the state.

    Attributes:
      leaky: whether fading memories read the future, which is the published fault.
      turn, turns: the step's number and how many there are: they place its window of words.
      key: draws the noise of hard choices; None takes the likeliest.
    """

    leaky: bool
    turn: int
    turns: int
    key: jax.Array | None


class Operation(NamedTuple):
    """Two pure functions: ``init(key, sizes, width)`` and ``apply(sizes, params, x, context)``."""

    init: Callable[[jax.Array, Any, int], Params]
    apply: Callable[[Any, Params, jax.Array, Context], jax.Array]


def normal(key: jax.Array, *shape: int, spread: float = SPREAD) -> jax.Array:
    """``float32 shape`` of standard deviation ``spread``."""
    return spread * jax.random.normal(key, shape)


def rms_norm(x: jax.Array) -> jax.Array:
    """Scaled to a mean square of 1 along the last axis."""
    # Less than elsewhere: the mean square of a one-hot state is 1 / V.
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-7)


@dataclasses.dataclass(frozen=True)
class Form:
    """How a map from V words to C channels, and by its transpose back, is made of its weights.

    Attributes:
      kind: "dense", "fourier" and "dct" (combinations of a few waves over word numbers), "soft fourier" and
        "soft dct" (each channel a softmax over words), "fft" (the same waves by fast transform), "diagonal"
        (a factor a word), "same" (no weights).
      waves: first and last harmonic.
      spread: of the first weights.
    """

    kind: str = "dense"
    waves: tuple[int, int] = (1, 16)
    spread: float = SPREAD

    @property
    def count(self) -> int:
        return self.waves[1] - self.waves[0] + 1


def form_init(key: jax.Array, form: Form, width: int, channels: int) -> Params:
    """Weights under "w"; none for "same".

    Raises:
      ValueError: there are fewer waves over so few words.
    """
    most = width - 1 if "dct" in form.kind else width // 2
    if form.kind not in ("dense", "diagonal", "same") and form.waves[1] > most:
        raise ValueError(f"{width} words have {most} waves, of which wave {form.waves[1]} is none")
    if form.kind == "same":
        return {}
    if form.kind == "diagonal":
        return {"w": jnp.ones(width)}
    if form.kind == "dense":
        return {"w": normal(key, width, channels, spread=form.spread)}
    return {"w": normal(key, channels, (1 if "dct" in form.kind else 2) * form.count, spread=form.spread)}


def waves(kind: str, width: int, first: int, last: int) -> np.ndarray:
    """``float32 [V, 2 K]``, cosines and sines in turn; ``[V, K]`` of DCT-II."""
    words, number = np.arange(width)[:, None], np.arange(first, last + 1)
    if "dct" in kind:
        return np.cos(np.pi * number * (2 * words + 1) / (2 * width)).astype(np.float32)
    angle = 2 * np.pi * number * words / width
    return np.stack([np.cos(angle), np.sin(angle)], -1).reshape(width, -1).astype(np.float32)


def _matrix(form: Form, weights: jax.Array, width: int) -> jax.Array:
    if form.kind == "dense":
        return weights
    mixed = jnp.asarray(waves(form.kind, width, *form.waves)) @ weights.T
    return jax.nn.softmax(mixed, axis=0) if form.kind.startswith("soft") else mixed


def into(form: Form, params: Params, x: jax.Array) -> jax.Array:
    """Words ``[..., V]`` to channels ``[..., C]``."""
    if form.kind in ("same", "diagonal"):
        return x * params.get("w", 1.0)
    weights = params["w"]
    if form.kind == "fft":
        first, last = form.waves
        spectrum = jnp.fft.rfft(x)[..., first : last + 1]
        return jnp.concatenate([spectrum.real, spectrum.imag], -1) @ weights.T
    return x @ _matrix(form, weights, x.shape[-1])


def back(form: Form, params: Params, x: jax.Array, width: int) -> jax.Array:
    """Channels ``[..., C]`` to words ``[..., V]``."""
    if form.kind in ("same", "diagonal"):
        return x * params.get("w", 1.0)
    weights = params["w"]
    if form.kind == "fft":
        first, last = form.waves
        real, imaginary = jnp.split(x @ weights, 2, axis=-1)
        room = [(0, 0)] * (x.ndim - 1) + [(first, width // 2 - last)]
        return jnp.fft.irfft(jnp.pad(jax.lax.complex(real, imaginary), room), n=width)
    return x @ _matrix(form, weights, width).T


@dataclasses.dataclass(frozen=True)
class Channels:
    """Read words into C channels, mix them, bend them, write them back.

    Attributes:
      channels: C.
      read, write: forms.
      mix: "full" (C x C and a bias), "low" (a diagonal, rank and a bias), "bias", or "bank": an operation of
        each of `bends`, weighed by one learned softmax that knows nothing of the state.
      rank: of "low".
      bends: activations of a bank, or those of which one is chosen at each position, hard, where `chosen`.
      chosen: whether the state chooses.
      scaled: whether the branch ends in a factor of its own, at first 0.1.
    """

    channels: int
    read: Form = Form()
    write: Form = Form()
    mix: str = "full"
    rank: int = 8
    bends: tuple[str, ...] = ("gelu",)
    chosen: bool = False
    scaled: bool = True


def _channels_init(key: jax.Array, sizes: Channels, width: int) -> Params:
    c, (read, write, mix, more) = sizes.channels, jax.random.split(key, 4)
    params: Params = {
        "read": form_init(read, sizes.read, width, c),
        "write": form_init(write, sizes.write, width, c),
    }
    count = len(sizes.bends)
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
            "diagonal": jnp.full(c, SPREAD),
            "down": normal(down, c, sizes.rank),
            "up": normal(up, sizes.rank, c),
        }
    if sizes.chosen:
        params["choice"] = normal(more, width, count)
    if sizes.scaled:
        params["scale"] = jnp.array(0.1)
    return params


def bent(sizes: Channels, params: Params, x: jax.Array, context: Context) -> jax.Array:
    """What the channels hold ``[N, T, C]`` before they are written."""
    z = into(sizes.read, params["read"], x)
    if sizes.mix == "bank":
        every = jnp.einsum("ntc,bcd->bntd", z, params["bank"]) + params["biases"][:, None, None]
        return jnp.tensordot(jax.nn.softmax(params["odds"]), _bend(sizes.bends, every), 1)
    if sizes.mix == "full":
        z = z @ params["mix"]
    if sizes.mix == "low":
        z = z * params["diagonal"] + z @ params["down"] @ params["up"]
    z = z + params["bias"]
    if not sizes.chosen:
        return ACTIVATIONS[sizes.bends[0]](z)
    one = hard(x @ params["choice"], context.key)
    return jnp.einsum("ntb,bntc->ntc", one, _bend(sizes.bends, jnp.stack([z] * len(sizes.bends))))


def written(sizes: Channels, params: Params, z: jax.Array, width: int) -> jax.Array:
    """Channels ``[N, T, C]`` as words."""
    return back(sizes.write, params["write"], z, width) * params.get("scale", 1.0)


def _channels(sizes: Channels, params: Params, x: jax.Array, context: Context) -> jax.Array:
    return written(sizes, params, bent(sizes, params, x, context), x.shape[-1])


def _bend(bends: tuple[str, ...], every: jax.Array) -> jax.Array:
    return jnp.stack([ACTIVATIONS[name](z) for name, z in zip(bends, every, strict=True)])


def hard(logits: jax.Array, key: jax.Array | None) -> jax.Array:
    """One-hot choices forward, the slopes of their softmax backward; with a key, drawn (Jang et al. 2017)."""
    if key is not None:
        logits = logits + jax.random.gumbel(key, logits.shape)
    soft = jax.nn.softmax(logits)
    return jax.nn.one_hot(logits.argmax(-1), logits.shape[-1]) + soft - jax.lax.stop_gradient(soft)


@dataclasses.dataclass(frozen=True)
class Graph:
    """Words that excite words: a matrix of low rank, a diagonal and a bias."""

    rank: int


def _graph_init(key: jax.Array, sizes: Graph, width: int) -> Params:
    source, target = jax.random.split(key)
    return {
        "from": normal(source, width, sizes.rank),
        "to": normal(target, width, sizes.rank),
        "diagonal": jnp.zeros(width),
        "bias": jnp.zeros(width),
        "scale": jnp.array(0.1),
    }


def _graph(sizes: Graph, params: Params, x: jax.Array, context: Context) -> jax.Array:
    excited = x @ params["from"] @ params["to"].T + x * params["diagonal"] + params["bias"]
    return gelu(excited) * params["scale"]


@dataclasses.dataclass(frozen=True)
class Gate:
    """Each word times a sigmoid of what a narrow layer makes of them all; near 1 at first."""

    inner: int


def _gate_init(key: jax.Array, sizes: Gate, width: int) -> Params:
    down, up = jax.random.split(key)
    return {
        "down": normal(down, width, sizes.inner),
        "up": normal(up, sizes.inner, width, spread=0.01),
        "bias": jnp.full(width, 2.0),
    }


def _gate(sizes: Gate, params: Params, x: jax.Array, context: Context) -> jax.Array:
    return x * jax.nn.sigmoid(x @ params["down"] @ params["up"] + params["bias"])


@dataclasses.dataclass(frozen=True)
class Policy:
    """A small network looks at the state and says what is read, which operations act, and what is written."""

    bends: tuple[str, ...] = ("gelu", "relu", "relu2", "silu", "tanh", "sigmoid", "same", "negative")


def _policy_init(key: jax.Array, sizes: Policy, width: int) -> Params:
    down, up, bank = jax.random.split(key, 3)
    acts = 2 * width + len(sizes.bends)
    return {
        "down": normal(down, width, 2 * width),
        "down_bias": jnp.zeros(2 * width),
        "up": normal(up, 2 * width, acts),
        "up_bias": jnp.zeros(acts),
        "bank": normal(bank, len(sizes.bends), width, width),
    }


def _policy(sizes: Policy, params: Params, x: jax.Array, context: Context) -> jax.Array:
    seen = gelu(x @ params["down"] + params["down_bias"]) @ params["up"] + params["up_bias"]
    read, odds, write = jnp.split(seen, [x.shape[-1], x.shape[-1] + len(sizes.bends)], axis=-1)
    every = jnp.einsum("ntc,bcd->bntd", x * jax.nn.softmax(read), params["bank"])
    acted = jnp.einsum("ntb,bntc->ntc", jax.nn.softmax(odds), _bend(sizes.bends, every))
    return acted * jax.nn.sigmoid(write)


@dataclasses.dataclass(frozen=True)
class Branches:
    """Small networks side by side, weighed by a softmax of the state."""

    branches: int
    inner: int


def _branches_init(key: jax.Array, sizes: Branches, width: int) -> Params:
    down, up = jax.random.split(key)
    return {
        "down": normal(down, sizes.branches, width, sizes.inner, spread=0.1),
        "up": normal(up, sizes.branches, sizes.inner, width, spread=0.1),
        "bias": jnp.zeros(sizes.inner),
        "gate": jnp.zeros((width, sizes.branches)),
        "gate_bias": jnp.ones(sizes.branches),
    }


def _branches(sizes: Branches, params: Params, x: jax.Array, context: Context) -> jax.Array:
    inner = gelu(jnp.einsum("ntk,bkh->ntbh", x, params["down"]) + params["bias"])
    share = jax.nn.softmax(x @ params["gate"] + params["gate_bias"])
    return jnp.einsum("ntbh,bhk->ntk", inner * share[..., None], params["up"])


@dataclasses.dataclass(frozen=True)
class Bands:
    """Channels of low, middle and high waves; what the low ones hold gates the high ones."""

    low: Channels
    middle: Channels
    high: Channels


def _bands_init(key: jax.Array, sizes: Bands, width: int) -> Params:
    *keys, gate = jax.random.split(key, 4)
    bands = zip(("low", "middle", "high"), keys, strict=True)
    params: Params = {name: _channels_init(each, getattr(sizes, name), width) for name, each in bands}
    c = sizes.low.channels
    return params | {"gate": normal(gate, c, c), "bias": jnp.zeros(c), "scales": jnp.ones(3)}


def _bands(sizes: Bands, params: Params, x: jax.Array, context: Context) -> jax.Array:
    each = {name: bent(getattr(sizes, name), params[name], x, context) for name in ("low", "middle", "high")}
    each["high"] = each["high"] * jax.nn.sigmoid(each["low"] @ params["gate"] + params["bias"])
    parts = [written(getattr(sizes, name), params[name], z, x.shape[-1]) for name, z in each.items()]
    return jnp.tensordot(params["scales"], jnp.stack(parts), 1)


@dataclasses.dataclass(frozen=True)
class Largest:
    """The words of the largest magnitudes, and those that equal the last of them; all others become 0."""

    keep: int


def _largest(sizes: Largest, params: Params, x: jax.Array, context: Context) -> jax.Array:
    size = jnp.abs(jax.lax.stop_gradient(x))
    least = jax.lax.top_k(size, min(sizes.keep, x.shape[-1]))[0][..., -1:]
    return jnp.where(size >= least, x, 0.0)


@dataclasses.dataclass(frozen=True)
class Factor:
    """The state times a learned number, or as it is."""

    learned: bool = True


def _factor_init(key: jax.Array, sizes: Factor, width: int) -> Params:
    return {"factor": jnp.array(1.0)} if sizes.learned else {}


def _factor(sizes: Factor, params: Params, x: jax.Array, context: Context) -> jax.Array:
    return x * params.get("factor", 1.0)


OPERATIONS: dict[type, Operation] = {
    Channels: Operation(_channels_init, _channels),
    Graph: Operation(_graph_init, _graph),
    Gate: Operation(_gate_init, _gate),
    Policy: Operation(_policy_init, _policy),
    Branches: Operation(_branches_init, _branches),
    Bands: Operation(_bands_init, _bands),
    Largest: Operation(lambda key, sizes, width: {}, _largest),
    Factor: Operation(_factor_init, _factor),
}
