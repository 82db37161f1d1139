"""Operations that mix positions: each position of a state ``[N, T, V]`` reads earlier positions.

All are causal. In a leaky model the decay masks are reversed, so that a position reads only later positions.
The published table was measured with this fault (urmzd/exp-agi-models, commit daaff06).

Source: urmzd/exp-agi-models; docs/semantics/vocab.md
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.vocab.fading import CHUNK, recall_in_chunks
from wnn_jax.vocab.operation import (
    Operation,
    Params,
    StepContext,
    WordMap,
    init_map,
    normal,
    rms_norm,
    to_channels,
    to_words,
)

_CHANNELS = Limits(least=1, most=1 << 20)
_DECAY = Limits(least=-1e3, most=1e3)  # logits: beyond these a memory keeps all or nothing


def decay_weights(rates: jax.Array, length: int, leaky: bool) -> jax.Array:
    """Returns the share ``[..., T, T]`` of position s that is left at position t.

    It is ``sigmoid(rate) ** (t - s - 1)`` for s < t, and 0 for all other s.

    Args:
      rates: logits; ``[..., 1, 1]``, or ``[..., 1, T]`` where each position s has its own rate.
      length: T.
      leaky: whether s must be later than t instead.

    Source: docs/semantics/vocab.md
    """
    apart = np.arange(length)[:, None] - np.arange(length)
    apart = -apart if leaky else apart
    left = jnp.exp(jax.nn.log_sigmoid(rates) * np.maximum(apart - 1, 0))
    return jnp.where(apart > 0, left, 0.0)


def recall(query: jax.Array, key: jax.Array, value: jax.Array, left: jax.Array) -> jax.Array:
    """Returns sums of values ``[N, T, H, D]``, weighted by similarity and by the share that is left.

    The similarity is the dot product of query and key; there is no softmax.

    Args:
      query: ``[N, T, H, D]``, or one head ``[N, T, 1, D]`` that serves all heads; so for ``key``.
      key: ``[N, T, H, D]``.
      value: ``[N, T, H, D]``.
      left: `decay_weights`, ``[H, T, T]`` or ``[N, H, T, T]``.

    Source: linear attention (Katharopoulos et al. 2020); docs/semantics/vocab.md
    """
    scores = jnp.einsum("nthd,nshd->nhts", query, key) * left
    return jnp.einsum("nhts,nshd->nthd", scores, value)


@dataclasses.dataclass(frozen=True)
class LinearAttention:
    """Linear attention whose memory decays.

    Attributes:
      channels: C of queries, keys and values, a multiple of the number of heads.
      query_key: the map from words to queries and keys.
      value: the map from words to values; `query_key` by default.
      write: the map from channels back to words; `query_key` by default.
      decays: the initial logit of each head's decay rate; the number of entries is the number of heads.
      divisor: the number that scores are divided by.
      unit_length: whether queries and keys are scaled to length 1.
      rate_shift: whether each use of a repeated step adds its own learned shift to the rates.
      adaptive: whether each position has its own decay rate, a linear map of the state there, instead of one
        rate for each head.

    Raises:
      ValueError: the number of heads does not divide the channels, or an adaptive memory has several heads.

    Source: docs/semantics/vocab.md
    """

    channels: int
    query_key: WordMap = WordMap()
    value: WordMap | None = None
    write: WordMap | None = None
    decays: tuple[float, ...] = (3.0,)
    divisor: float = 1.0
    unit_length: bool = False
    rate_shift: bool = False
    adaptive: bool = False

    def __post_init__(self):
        checks.fields(self, channels=_CHANNELS, decays=_DECAY, divisor=Limits(above=0, most=1e9))
        heads = len(self.decays)
        if not heads or self.channels % heads or (self.adaptive and heads > 1):
            raise ValueError(
                "linear attention needs channels that the number of heads divides, and one head if it is "
                f"adaptive, got {self.channels} channels and {heads} heads: change channels or decays"
            )


def _linear_init(key: jax.Array, sizes: LinearAttention, width: int) -> Params:
    maps = {"q": sizes.query_key, "k": sizes.query_key, "v": _value(sizes), "o": _write_map(sizes)}
    params: Params = {
        name: init_map(each, word_map, width, sizes.channels)
        for (name, word_map), each in zip(maps.items(), jax.random.split(key, 4), strict=True)
    }
    params["scale"] = jnp.array(0.1)
    if sizes.adaptive:
        params |= {"fade": jnp.zeros(width), "fade_bias": jnp.array(sizes.decays[0])}
    else:
        params["fades"] = jnp.array(sizes.decays)
    if sizes.rate_shift:
        params["shift"] = jnp.zeros(len(sizes.decays))
    return params


def _value(sizes: LinearAttention) -> WordMap:
    return sizes.value or sizes.query_key


def _write_map(sizes: LinearAttention) -> WordMap:
    return sizes.write or sizes.query_key


def _unit(x: jax.Array) -> jax.Array:
    """Scales vectors to length 1 along the last axis."""
    return x * jax.lax.rsqrt((x * x).sum(-1, keepdims=True) + 1e-12)


def _recall_channels(sizes: LinearAttention, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    """Returns the values that each position recalls from the memory, ``[N, T, C]``."""
    query, key = (to_channels(sizes.query_key, params[name], x) for name in "qk")
    value = to_channels(_value(sizes), params["v"], x)
    if sizes.unit_length:
        query, key = _unit(query), _unit(key)
    rates = (
        (x @ params["fade"] + params["fade_bias"])[:, None] if sizes.adaptive else params["fades"][:, None]
    )
    rates = rates + params["shift"][:, None] if sizes.rate_shift else rates
    query, key, value = (y.reshape(*y.shape[:2], len(sizes.decays), -1) for y in (query, key, value))
    if x.shape[1] > 2 * CHUNK and not (context.leaky or sizes.adaptive):
        recalled = recall_in_chunks(query, key, value, rates[:, 0]) / sizes.divisor
    else:
        left = decay_weights(rates[..., None, :], x.shape[1], context.leaky) / sizes.divisor
        recalled = recall(query, key, value, left)
    return recalled.reshape(*x.shape[:2], -1)


def _write(sizes: LinearAttention, params: Params, recalled: jax.Array, width: int) -> jax.Array:
    return to_words(_write_map(sizes), params["o"], recalled, width) * params["scale"]


def _linear(sizes: LinearAttention, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    return _write(sizes, params, _recall_channels(sizes, params, x, context), x.shape[-1])


@dataclasses.dataclass(frozen=True)
class CoupledAttention:
    """Two memories: the values recalled from the slow one gate those recalled from the fast one.

    Attributes:
      slow: the memory that gates.
      fast: the memory that is gated, with as many channels.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/vocab.md
    """

    slow: LinearAttention
    fast: LinearAttention

    def __post_init__(self):
        checks.fields(self)
        if self.slow.channels != self.fast.channels:
            raise ValueError(
                f"both memories need equal channels, got {self.slow.channels} and {self.fast.channels}: give "
                "one number to both"
            )


def _coupled_init(key: jax.Array, sizes: CoupledAttention, width: int) -> Params:
    slow, fast, gate = jax.random.split(key, 3)
    c = sizes.slow.channels
    return {
        "slow": _linear_init(slow, sizes.slow, width),
        "fast": _linear_init(fast, sizes.fast, width),
        "gate": normal(gate, c, c),
        "bias": jnp.zeros(c),
        "scales": jnp.ones(2),
    }


def _coupled(sizes: CoupledAttention, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    slow = _recall_channels(sizes.slow, params["slow"], x, context)
    fast = _recall_channels(sizes.fast, params["fast"], x, context)
    fast = fast * jax.nn.sigmoid(slow @ params["gate"] + params["bias"])
    first = _write(sizes.slow, params["slow"], slow, x.shape[-1])
    second = _write(sizes.fast, params["fast"], fast, x.shape[-1])
    return params["scales"][0] * first + params["scales"][1] * second


@dataclasses.dataclass(frozen=True)
class MultiScaleAttention:
    """Memories with one query and different decay rates, weighted by a softmax of the state.

    Attributes:
      channels: C of each memory.
      decays: the initial logit of each memory's decay rate.
      unit_length: whether queries and keys are scaled to length 1.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/vocab.md
    """

    channels: int
    decays: tuple[float, ...] = (0.0, 3.0, 5.0)
    unit_length: bool = False

    def __post_init__(self):
        checks.fields(self, channels=_CHANNELS, decays=_DECAY)
        if not self.decays:
            raise ValueError("decays has no entry: give the decay rate of at least one memory")


def _scales_init(key: jax.Array, sizes: MultiScaleAttention, width: int) -> Params:
    q, k, v, o, gate = jax.random.split(key, 5)
    count, c = len(sizes.decays), sizes.channels
    return {
        "q": normal(q, width, c),
        "k": normal(k, width, count * c),
        "v": normal(v, width, count * c),
        "o": normal(o, width, c),
        "gate": normal(gate, width, count),
        "fades": jnp.array(sizes.decays),
        "scale": jnp.array(0.1),
    }


def _scales(sizes: MultiScaleAttention, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    count = len(sizes.decays)
    key, value = ((x @ params[name]).reshape(*x.shape[:2], count, -1) for name in "kv")
    query = jnp.broadcast_to((x @ params["q"])[:, :, None], key.shape)
    if sizes.unit_length:
        query, key = _unit(query), _unit(key)
    left = decay_weights(params["fades"][:, None, None], x.shape[1], context.leaky)
    share = jax.nn.softmax(x @ params["gate"])
    mixed = jnp.einsum("nthd,nth->ntd", recall(query, key, value, left), share)
    return mixed @ params["o"].T * params["scale"]


@dataclasses.dataclass(frozen=True)
class SoftmaxAttention:
    """Softmax attention whose channels are the words, with rotary positions and normed queries and keys.

    Attributes:
      heads: number of heads of queries; twice this number must divide V.
      kv_heads: number of heads of keys and values; it must divide `heads`.
      base: base of the wavelengths of rotary positions.
      query_gain: initial factor of queries.

    Raises:
      ValueError: a value is out of range.

    Source: Vaswani et al. 2017; docs/semantics/vocab.md
    """

    heads: int = 8
    kv_heads: int = 4
    base: float = 1e4
    query_gain: float = 1.5

    def __post_init__(self):
        heads = Limits(least=1, most=1 << 16)
        more = {"base": Limits(above=0, most=1e9), "query_gain": Limits(least=-1e3, most=1e3)}
        checks.fields(self, heads=heads, kv_heads=heads, **more)


def _attention_init(key: jax.Array, sizes: SoftmaxAttention, width: int) -> Params:
    if sizes.heads % sizes.kv_heads or width % (2 * sizes.heads):
        raise ValueError(
            "attention needs kv_heads that divide heads, and 2 * heads that divide the number of words, got "
            f"{sizes.kv_heads} kv_heads, {sizes.heads} heads and {width} words: change the heads"
        )
    q, k, v = jax.random.split(key, 3)
    narrow = width // sizes.heads * sizes.kv_heads
    return {
        "q": normal(q, width, width),
        "k": normal(k, width, narrow),
        "v": normal(v, width, narrow),
        "o": jnp.zeros((width, width)),
        "gain": jnp.full(sizes.heads, sizes.query_gain),
    }


def _attention(sizes: SoftmaxAttention, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    each = x.shape[-1] // sizes.heads
    query, key, value = ((x @ params[name]).reshape(*x.shape[:2], -1, each) for name in "qkv")
    query, key = (rotate(rms_norm(y), sizes.base) for y in (query, key))
    query = query * params["gain"][:, None]
    seen = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    return seen.reshape(x.shape) @ params["o"]


def rotate(x: jax.Array, base: float) -> jax.Array:
    """Rotates heads ``[N, T, H, D]`` by their positions; the first half of D is paired with the second.

    Args:
      x: ``[N, T, H, D]``; D is even.
      base: base of the wavelengths.

    Source: RoFormer (Su et al. 2021); docs/semantics/vocab.md
    """
    length, half = x.shape[1], x.shape[-1] // 2
    angle = np.arange(length)[:, None] * base ** (-np.arange(half) / half)
    cosine, sine = (f(angle).astype(np.float32)[:, None] for f in (np.cos, np.sin))
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cosine + second * sine, second * cosine - first * sine], -1)


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A causal convolution of each word separately.

    Attributes:
      taps: number of positions that it sees, including the present one.
      gated: whether each position is scaled by the mean of `taps` sigmoids of its state.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/vocab.md
    """

    taps: int = 16
    gated: bool = False

    def __post_init__(self):
        checks.fields(self, taps=Limits(least=1, most=1 << 16))


def _convolution_init(key: jax.Array, sizes: Convolution, width: int) -> Params:
    params = {"taps": normal(key, sizes.taps, width), "bias": jnp.zeros(width)}
    return params | ({"gate": jnp.zeros((width, sizes.taps))} if sizes.gated else {})


def _convolution(sizes: Convolution, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    length = x.shape[1]
    past = jnp.pad(x, ((0, 0), (sizes.taps - 1, 0), (0, 0)))
    # A sum of shifted arrays: XLA's grouped convolution of V groups is far slower on a CPU.
    summed = sum(past[:, i : i + length] * params["taps"][i] for i in range(sizes.taps)) + params["bias"]
    if sizes.gated:
        summed = summed * jax.nn.sigmoid(x @ params["gate"]).mean(-1, keepdims=True)
    return summed


@dataclasses.dataclass(frozen=True)
class MovingAverage:
    """A sum of each word over the past, which decays at a rate of that word.

    Attributes:
      decay: the initial logit of the decay rates.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/vocab.md
    """

    decay: float = 4.0

    def __post_init__(self):
        checks.fields(self, decay=_DECAY)


def _average_init(key: jax.Array, sizes: MovingAverage, width: int) -> Params:
    return {"fades": jnp.full(width, sizes.decay), "scale": jnp.array(0.1)}


def _average(sizes: MovingAverage, params: Params, x: jax.Array, context: StepContext) -> jax.Array:
    past = jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    rates = jnp.broadcast_to(jax.nn.sigmoid(params["fades"]), x.shape)

    def combine(a, b):
        return a[0] * b[0], b[0] * a[1] + b[1]

    return jax.lax.associative_scan(combine, (rates, past), axis=1)[1] * params["scale"]


OPERATIONS: dict[type, Operation] = {
    LinearAttention: Operation(_linear_init, _linear),
    CoupledAttention: Operation(_coupled_init, _coupled),
    MultiScaleAttention: Operation(_scales_init, _scales),
    SoftmaxAttention: Operation(_attention_init, _attention),
    Convolution: Operation(_convolution_init, _convolution),
    MovingAverage: Operation(_average_init, _average),
}
