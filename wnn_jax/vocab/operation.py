"""The parts that operations on a state ``[N, T, V]`` are made of: maps between words and channels.

An operation is a frozen dataclass of sizes with two pure functions, found by its type in
`mixing.OPERATIONS` and `pointwise.OPERATIONS`: ``init(key, sizes, width)`` gives a dict of arrays,
``apply(sizes, params, x, context)`` gives ``[N, T, width]``. (After urmzd/exp-agi-models.)
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

STDDEV = 0.02

Params = dict[str, Any]
MapKind = Literal["dense", "fourier", "dct", "soft fourier", "soft dct", "fft", "diagonal", "same"]


class StepContext(NamedTuple):
    """Facts that an operation may know beside the state.

    Attributes:
      leaky: whether fading memories read the future, which is the published fault.
      use: the number of this use of a step.
      uses: the number of uses in all; with `use` it decides the window of words.
      key: draws the noise of hard choices; with None the likeliest is chosen.
    """

    leaky: bool
    use: int
    uses: int
    key: jax.Array | None


class Operation(NamedTuple):
    """Two pure functions: ``init(key, sizes, width)`` and ``apply(sizes, params, x, context)``."""

    init: Callable[[jax.Array, Any, int], Params]
    apply: Callable[[Any, Params, jax.Array, StepContext], jax.Array]


def normal(key: jax.Array, *shape: int, stddev: float = STDDEV) -> jax.Array:
    """Normal numbers ``float32 shape`` of mean 0."""
    return stddev * jax.random.normal(key, shape)


def rms_norm(x: jax.Array) -> jax.Array:
    """``x`` scaled to a mean square of 1 along the last axis."""
    # A smaller epsilon than usual: the mean square of a one-hot state is 1 / V.
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-7)


@dataclasses.dataclass(frozen=True)
class WordMap:
    """How a linear map from V words to C channels, and its transpose back to words, is made of its weights.

    Attributes:
      kind: "dense"; "fourier" and "dct": each channel combines a few waves over the numbers of words;
        "soft fourier" and "soft dct": each channel is a softmax over words of such a combination; "fft": the
        waves of "fourier" by fast transform; "diagonal": a factor a word, C = V; "same": no weights, C = V.
      waves: first and last harmonic of the kinds that have waves.
      stddev: standard deviation of the initial weights.

    Raises:
      ValueError: there is no such kind.
    """

    kind: MapKind = "dense"
    waves: tuple[int, int] = (1, 16)
    stddev: float = STDDEV

    def __post_init__(self):
        if self.kind not in get_args(MapKind):
            raise ValueError(f"no kind {self.kind!r} of word map: there are {', '.join(get_args(MapKind))}")

    @property
    def wave_count(self) -> int:
        """The number of harmonics."""
        return self.waves[1] - self.waves[0] + 1


def init_map(key: jax.Array, word_map: WordMap, width: int, channels: int) -> Params:
    """Weights under "w"; none for "same".

    Args:
      key: draws them.
      word_map: the kind of map.
      width: V.
      channels: C.

    Raises:
      ValueError: this number of words has no wave as high as the last.
    """
    kind, last = word_map.kind, word_map.waves[1]
    most = width - 1 if "dct" in kind else width // 2
    if kind not in ("dense", "diagonal", "same") and last > most:
        raise ValueError(f"{width} words have {most} waves, so there is no wave {last}: use fewer harmonics")
    if kind == "same":
        return {}
    if kind == "diagonal":
        return {"w": jnp.ones(width)}
    if kind == "dense":
        return {"w": normal(key, width, channels, stddev=word_map.stddev)}
    weights = (1 if "dct" in kind else 2) * word_map.wave_count
    return {"w": normal(key, channels, weights, stddev=word_map.stddev)}


def waves(kind: MapKind, width: int, first: int, last: int) -> np.ndarray:
    """Waves over word numbers: ``float32 [V, 2 K]`` cosines and sines in turn; of DCT-II ``[V, K]``."""
    words, number = np.arange(width)[:, None], np.arange(first, last + 1)
    if "dct" in kind:
        return np.cos(np.pi * number * (2 * words + 1) / (2 * width)).astype(np.float32)
    angle = 2 * np.pi * number * words / width
    return np.stack([np.cos(angle), np.sin(angle)], -1).reshape(width, -1).astype(np.float32)


def _matrix(word_map: WordMap, weights: jax.Array, width: int) -> jax.Array:
    """``[V, C]``."""
    if word_map.kind == "dense":
        return weights
    mixed = jnp.asarray(waves(word_map.kind, width, *word_map.waves)) @ weights.T
    return jax.nn.softmax(mixed, axis=0) if word_map.kind.startswith("soft") else mixed


def to_channels(word_map: WordMap, params: Params, x: jax.Array) -> jax.Array:
    """Words ``[..., V]`` to channels ``[..., C]``."""
    if word_map.kind in ("same", "diagonal"):
        return x * params.get("w", 1.0)
    weights = params["w"]
    if word_map.kind == "fft":
        first, last = word_map.waves
        spectrum = jnp.fft.rfft(x)[..., first : last + 1]
        return jnp.concatenate([spectrum.real, spectrum.imag], -1) @ weights.T
    return x @ _matrix(word_map, weights, x.shape[-1])


def to_words(word_map: WordMap, params: Params, x: jax.Array, width: int) -> jax.Array:
    """Channels ``[..., C]`` to words ``[..., V]``, V being ``width``."""
    if word_map.kind in ("same", "diagonal"):
        return x * params.get("w", 1.0)
    weights = params["w"]
    if word_map.kind == "fft":
        first, last = word_map.waves
        real, imaginary = jnp.split(x @ weights, 2, axis=-1)
        room = [(0, 0)] * (x.ndim - 1) + [(first, width // 2 - last)]
        return jnp.fft.irfft(jnp.pad(jax.lax.complex(real, imaginary), room), n=width)
    return x @ _matrix(word_map, weights, width).T
