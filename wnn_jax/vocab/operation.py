"""The parts that operations on a state ``[N, T, V]`` are made of: maps between words and channels.

An operation is a frozen dataclass of sizes with two pure functions, which `mixing.OPERATIONS` and
`pointwise.OPERATIONS` hold by its type. ``init(key, sizes, width)`` returns a dict of arrays, and
``apply(sizes, params, x, context)`` returns ``[N, T, width]``.

Source: urmzd/exp-agi-models; docs/semantics/vocab.md
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits

STDDEV = 0.02

Params = dict[str, Any]
MapKind = Literal["dense", "fourier", "dct", "soft fourier", "soft dct", "fft", "diagonal", "same"]


class StepContext(NamedTuple):
    """Facts that an operation can use besides the state.

    Attributes:
      leaky: whether decaying memories read the future, which is the published fault.
      use: the number of this use of a step.
      uses: the number of all uses; together with `use` it decides the window of words.
      key: draws the noise of hard choices; with None the most probable choice is taken.

    Source: docs/semantics/vocab.md
    """

    leaky: bool
    use: int
    uses: int
    key: jax.Array | None


class Operation(NamedTuple):
    """Two pure functions: ``init(key, sizes, width)`` and ``apply(sizes, params, x, context)``.

    Attributes:
      init: draws the parameters.
      apply: returns the change ``[N, T, width]`` of a state.

    Source: docs/semantics/vocab.md
    """

    init: Callable[[jax.Array, Any, int], Params]
    apply: Callable[[Any, Params, jax.Array, StepContext], jax.Array]


def normal(key: jax.Array, *shape: int, stddev: float = STDDEV) -> jax.Array:
    """Draws normal numbers ``float32 shape`` with mean 0.

    Source: docs/semantics/vocab.md
    """
    return stddev * jax.random.normal(key, shape, jnp.float32)


def rms_norm(x: jax.Array) -> jax.Array:
    """Scales ``x`` to a mean square of 1 along the last axis.

    Source: Zhang and Sennrich 2019; docs/semantics/vocab.md
    """
    # A smaller epsilon than usual: the mean square of a one-hot state is 1 / V.
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-7)


@dataclasses.dataclass(frozen=True)
class WordMap:
    """A linear map from V words to C channels; its transpose maps back to words.

    Attributes:
      kind: "dense": all weights are learned. "fourier", "dct": each channel combines a few waves over the
        numbers of words. "soft fourier", "soft dct": each channel is a softmax over words of such a
        combination. "fft": the waves of "fourier", by fast transform. "diagonal": one factor for each word, C
        = V. "same": no weights, C = V.
      waves: the first and the last harmonic of the kinds that have waves.
      stddev: standard deviation of the initial weights.

    Raises:
      ValueError: the kind is unknown.

    Source: docs/semantics/vocab.md
    """

    kind: MapKind = "dense"
    waves: tuple[int, int] = (1, 16)
    stddev: float = STDDEV

    def __post_init__(self):
        if self.kind not in get_args(MapKind):
            kinds = ", ".join(get_args(MapKind))
            raise ValueError(f"unknown kind {self.kind!r} of word map: choose one of {kinds}")
        checks.fields(self, waves=Limits(least=0, most=1 << 20), stddev=Limits(least=0, most=1e3))
        if self.waves[1] < self.waves[0]:
            raise ValueError(
                f"waves={self.waves} has no wave: give the first and the last harmonic, in this order"
            )

    @property
    def wave_count(self) -> int:
        """The number of harmonics."""
        return self.waves[1] - self.waves[0] + 1


def init_map(key: jax.Array, word_map: WordMap, width: int, channels: int) -> Params:
    """Draws the weights of a map, under "w"; the kind "same" has none.

    Args:
      key: the random key.
      word_map: the kind of map.
      width: V.
      channels: C.

    Raises:
      ValueError: the last wave is higher than this number of words allows.

    Source: docs/semantics/vocab.md
    """
    kind, last = word_map.kind, word_map.waves[1]
    most = width - 1 if "dct" in kind else width // 2
    if kind not in ("dense", "diagonal", "same") and last > most:
        raise ValueError(
            f"the last wave must be at most {most} for {width} words, got {last}: use fewer harmonics"
        )
    if kind == "same":
        return {}
    if kind == "diagonal":
        return {"w": jnp.ones(width)}
    if kind == "dense":
        return {"w": normal(key, width, channels, stddev=word_map.stddev)}
    weights = (1 if "dct" in kind else 2) * word_map.wave_count
    return {"w": normal(key, channels, weights, stddev=word_map.stddev)}


def waves(kind: MapKind, width: int, first: int, last: int) -> np.ndarray:
    """Returns waves over the numbers of words: cosines and sines in turn, or the cosines of DCT-II.

    Args:
      kind: a kind with waves.
      width: V.
      first: the first harmonic.
      last: the last harmonic, so that K = last - first + 1.

    Returns:
      ``float32 [V, 2 K]``; ``[V, K]`` for DCT-II.

    Source: docs/semantics/vocab.md
    """
    words, number = np.arange(width)[:, None], np.arange(first, last + 1)
    if "dct" in kind:
        return np.cos(np.pi * number * (2 * words + 1) / (2 * width)).astype(np.float32)
    angle = 2 * np.pi * number * words / width
    return np.stack([np.cos(angle), np.sin(angle)], -1).reshape(width, -1).astype(np.float32)


def _matrix(word_map: WordMap, weights: jax.Array, width: int) -> jax.Array:
    """Returns the matrix ``[V, C]`` of a map."""
    if word_map.kind == "dense":
        return weights
    mixed = jnp.asarray(waves(word_map.kind, width, *word_map.waves)) @ weights.T
    return jax.nn.softmax(mixed, axis=0) if word_map.kind.startswith("soft") else mixed


def to_channels(word_map: WordMap, params: Params, x: jax.Array) -> jax.Array:
    """Maps words ``[..., V]`` to channels ``[..., C]``.

    Source: docs/semantics/vocab.md
    """
    if word_map.kind in ("same", "diagonal"):
        return x * params.get("w", 1.0)
    weights = params["w"]
    if word_map.kind == "fft":
        first, last = word_map.waves
        spectrum = jnp.fft.rfft(x)[..., first : last + 1]
        return jnp.concatenate([spectrum.real, spectrum.imag], -1) @ weights.T
    return x @ _matrix(word_map, weights, x.shape[-1])


def to_words(word_map: WordMap, params: Params, x: jax.Array, width: int) -> jax.Array:
    """Maps channels ``[..., C]`` to words ``[..., V]``, where V is ``width``.

    Source: docs/semantics/vocab.md
    """
    if word_map.kind in ("same", "diagonal"):
        return x * params.get("w", 1.0)
    weights = params["w"]
    if word_map.kind == "fft":
        first, last = word_map.waves
        real, imaginary = jnp.split(x @ weights, 2, axis=-1)
        room = [(0, 0)] * (x.ndim - 1) + [(first, width // 2 - last)]
        return jnp.fft.irfft(jnp.pad(jax.lax.complex(real, imaginary), room), n=width)
    return x @ _matrix(word_map, weights, width).T
