"""How a position reads those before it: operations as in `within`, on a state ``[N, T, V]``.

All are causal. A context that leaks turns the fading masks round, so that a position reads only what comes
after it: the fault under which the published table was measured (urmzd/exp-agi-models, commit daaff06).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.vocab.within import Context, Form, Operation, Params, back, form_init, into, normal, rms_norm


def fading(rates: jax.Array, length: int, leaky: bool) -> jax.Array:
    """``[..., T, T]``: how much of place s is left at t, ``sigmoid(rate) ** (t - s - 1)`` for s < t, else 0.

    Args:
      rates: logits; ``[..., 1, 1]``, or ``[..., 1, T]`` where each place fades at its own.
      length: T.
      leaky: whether s is after t instead.
    """
    apart = np.arange(length)[:, None] - np.arange(length)
    apart = -apart if leaky else apart
    left = jnp.exp(jax.nn.log_sigmoid(rates) * np.maximum(apart - 1, 0))
    return jnp.where(apart > 0, left, 0.0)


def recall(query: jax.Array, key: jax.Array, value: jax.Array, left: jax.Array) -> jax.Array:
    """Sums of values by similarity and by what is left of them, without a softmax: ``[N, T, H, D]``.

    Args:
      query, key, value: ``[N, T, H, D]``; one head of query or key serves all.
      left: ``[H, T, T]`` or ``[N, H, T, T]``.
    """
    scores = jnp.einsum("nthd,nshd->nhts", query, key) * left
    return jnp.einsum("nhts,nshd->nthd", scores, value)


@dataclasses.dataclass(frozen=True)
class Linear:
    """Linear attention whose memory fades.

    Attributes:
      channels: C of queries, keys and values, a multiple of the heads.
      form: of queries and keys; of values and of the way back where these have none.
      value, write: forms of values and of the way back.
      fades: first logit of each head's rate.
      divide: of scores.
      unit: whether queries and keys are scaled to length 1.
      shifted: whether a shift of the rates is kept beside them, for steps that share all else.
      adaptive: whether a linear map of what was at a place says how it fades, instead of one rate a head.

    Raises:
      ValueError: the heads do not divide the channels, or a memory that adapts has several.
    """

    channels: int
    form: Form = Form()
    value: Form | None = None
    write: Form | None = None
    fades: tuple[float, ...] = (3.0,)
    divide: float = 1.0
    unit: bool = False
    shifted: bool = False
    adaptive: bool = False

    def __post_init__(self):
        heads = len(self.fades)
        if self.channels % heads or (self.adaptive and heads > 1):
            raise ValueError(
                f"a fading memory needs channels that its heads divide, and one head where it adapts, "
                f"got {self.channels} channels and {heads} heads"
            )


def _linear_init(key: jax.Array, sizes: Linear, width: int) -> Params:
    forms = (sizes.form, sizes.form, sizes.value or sizes.form, sizes.write or sizes.form)
    params: Params = {
        name: form_init(each, made, width, sizes.channels)
        for name, made, each in zip("qkvo", forms, jax.random.split(key, 4), strict=True)
    }
    params["scale"] = jnp.array(0.1)
    if sizes.adaptive:
        params |= {"fade": jnp.zeros(width), "fade_bias": jnp.array(sizes.fades[0])}
    else:
        params["fades"] = jnp.array(sizes.fades)
    if sizes.shifted:
        params["shift"] = jnp.zeros(len(sizes.fades))
    return params


def _unit(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt((x * x).sum(-1, keepdims=True) + 1e-12)


def _recalled(sizes: Linear, params: Params, x: jax.Array, context: Context) -> jax.Array:
    """``[N, T, C]``."""
    query, key = (into(sizes.form, params[name], x) for name in "qk")
    value = into(sizes.value or sizes.form, params["v"], x)
    if sizes.unit:
        query, key = _unit(query), _unit(key)
    rates = (
        (x @ params["fade"] + params["fade_bias"])[:, None] if sizes.adaptive else params["fades"][:, None]
    )
    rates = rates + params["shift"][:, None] if sizes.shifted else rates
    left = fading(rates[..., None, :], x.shape[1], context.leaky) / sizes.divide
    query, key, value = (y.reshape(*y.shape[:2], len(sizes.fades), -1) for y in (query, key, value))
    return recall(query, key, value, left).reshape(*x.shape[:2], -1)


def _written(sizes: Linear, params: Params, recalled: jax.Array, width: int) -> jax.Array:
    return back(sizes.write or sizes.form, params["o"], recalled, width) * params["scale"]


def _linear(sizes: Linear, params: Params, x: jax.Array, context: Context) -> jax.Array:
    return _written(sizes, params, _recalled(sizes, params, x, context), x.shape[-1])


@dataclasses.dataclass(frozen=True)
class Coupled:
    """Two memories; what the slow one recalls gates what the fast one does."""

    slow: Linear
    fast: Linear


def _coupled_init(key: jax.Array, sizes: Coupled, width: int) -> Params:
    slow, fast, gate = jax.random.split(key, 3)
    c = sizes.slow.channels
    return {
        "slow": _linear_init(slow, sizes.slow, width),
        "fast": _linear_init(fast, sizes.fast, width),
        "gate": normal(gate, c, c),
        "bias": jnp.zeros(c),
        "scales": jnp.ones(2),
    }


def _coupled(sizes: Coupled, params: Params, x: jax.Array, context: Context) -> jax.Array:
    slow = _recalled(sizes.slow, params["slow"], x, context)
    fast = _recalled(sizes.fast, params["fast"], x, context)
    fast = fast * jax.nn.sigmoid(slow @ params["gate"] + params["bias"])
    first = _written(sizes.slow, params["slow"], slow, x.shape[-1])
    second = _written(sizes.fast, params["fast"], fast, x.shape[-1])
    return params["scales"][0] * first + params["scales"][1] * second


@dataclasses.dataclass(frozen=True)
class Scales:
    """Memories of one query that fade at different rates, weighed by a softmax of the state.

    Attributes:
      channels: C of each.
      fades: first logits of their rates.
      unit: whether queries and keys are scaled to length 1.
    """

    channels: int
    fades: tuple[float, ...] = (0.0, 3.0, 5.0)
    unit: bool = False


def _scales_init(key: jax.Array, sizes: Scales, width: int) -> Params:
    q, k, v, o, gate = jax.random.split(key, 5)
    count, c = len(sizes.fades), sizes.channels
    return {
        "q": normal(q, width, c),
        "k": normal(k, width, count * c),
        "v": normal(v, width, count * c),
        "o": normal(o, width, c),
        "gate": normal(gate, width, count),
        "fades": jnp.array(sizes.fades),
        "scale": jnp.array(0.1),
    }


def _scales(sizes: Scales, params: Params, x: jax.Array, context: Context) -> jax.Array:
    count = len(sizes.fades)
    key, value = ((x @ params[name]).reshape(*x.shape[:2], count, -1) for name in "kv")
    query = jnp.broadcast_to((x @ params["q"])[:, :, None], key.shape)
    if sizes.unit:
        query, key = _unit(query), _unit(key)
    left = fading(params["fades"][:, None, None], x.shape[1], context.leaky)
    share = jax.nn.softmax(x @ params["gate"])
    mixed = jnp.einsum("nthd,nth->ntd", recall(query, key, value, left), share)
    return mixed @ params["o"].T * params["scale"]


@dataclasses.dataclass(frozen=True)
class Attention:
    """Softmax attention over words themselves: normed queries and keys, turned by their places.

    Attributes:
      heads, pairs: of queries, and of keys and values; the pairs divide the heads, and twice the heads V.
      base: of the turns' wavelengths.
      gain: first factor of queries.
    """

    heads: int = 8
    pairs: int = 4
    base: float = 1e4
    gain: float = 1.5


def _attention_init(key: jax.Array, sizes: Attention, width: int) -> Params:
    if sizes.heads % sizes.pairs or width % (2 * sizes.heads):
        raise ValueError(
            f"attention needs heads that its pairs divide and that divide the words into even parts, got "
            f"{sizes.heads} heads, {sizes.pairs} pairs and {width} words"
        )
    q, k, v = jax.random.split(key, 3)
    narrow = width // sizes.heads * sizes.pairs
    return {
        "q": normal(q, width, width),
        "k": normal(k, width, narrow),
        "v": normal(v, width, narrow),
        "o": jnp.zeros((width, width)),
        "gain": jnp.full(sizes.heads, sizes.gain),
    }


def _attention(sizes: Attention, params: Params, x: jax.Array, context: Context) -> jax.Array:
    each = x.shape[-1] // sizes.heads
    query, key, value = ((x @ params[name]).reshape(*x.shape[:2], -1, each) for name in "qkv")
    query, key = (turned(rms_norm(y), sizes.base) for y in (query, key))
    query = query * params["gain"][:, None]
    seen = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    return seen.reshape(x.shape) @ params["o"]


def turned(x: jax.Array, base: float) -> jax.Array:
    """Heads ``[N, T, H, D]`` turned by their places, half of D against half (Su et al. 2021)."""
    length, half = x.shape[1], x.shape[-1] // 2
    angle = np.arange(length)[:, None] * base ** (-np.arange(half) / half)
    cosine, sine = (f(angle).astype(np.float32)[:, None] for f in (np.cos, np.sin))
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cosine + second * sine, second * cosine - first * sine], -1)


@dataclasses.dataclass(frozen=True)
class Convolution:
    """Each word's last few places, weighed.

    Attributes:
      taps: places, with the present one.
      gated: whether the mean of as many sigmoids of the state scales a position.
    """

    taps: int = 16
    gated: bool = False


def _convolution_init(key: jax.Array, sizes: Convolution, width: int) -> Params:
    params = {"taps": normal(key, sizes.taps, width), "bias": jnp.zeros(width)}
    return params | ({"gate": jnp.zeros((width, sizes.taps))} if sizes.gated else {})


def _convolution(sizes: Convolution, params: Params, x: jax.Array, context: Context) -> jax.Array:
    length = x.shape[1]
    past = jnp.pad(x, ((0, 0), (sizes.taps - 1, 0), (0, 0)))
    # Shifted sums: XLA's grouped convolution of V groups is far slower on a CPU.
    summed = sum(past[:, i : i + length] * params["taps"][i] for i in range(sizes.taps)) + params["bias"]
    if sizes.gated:
        summed = summed * jax.nn.sigmoid(x @ params["gate"]).mean(-1, keepdims=True)
    return summed


@dataclasses.dataclass(frozen=True)
class Average:
    """Each word's sum over the past, fading at its own rate.

    Attributes:
      fade: first logit of the rates.
    """

    fade: float = 4.0


def _average_init(key: jax.Array, sizes: Average, width: int) -> Params:
    return {"fades": jnp.full(width, sizes.fade), "scale": jnp.array(0.1)}


def _average(sizes: Average, params: Params, x: jax.Array, context: Context) -> jax.Array:
    past = jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    rates = jnp.broadcast_to(jax.nn.sigmoid(params["fades"]), x.shape)

    def joined(a, b):
        return a[0] * b[0], b[0] * a[1] + b[1]

    return jax.lax.associative_scan(joined, (rates, past), axis=1)[1] * params["scale"]


OPERATIONS: dict[type, Operation] = {
    Linear: Operation(_linear_init, _linear),
    Coupled: Operation(_coupled_init, _coupled),
    Scales: Operation(_scales_init, _scales),
    Attention: Operation(_attention_init, _attention),
    Convolution: Operation(_convolution_init, _convolution),
    Average: Operation(_average_init, _average),
}
