"""The seventeen published models as data: their sublayers in order, with their sizes.

Each model has two published names, and both are known. The sizes are those of the logged runs, not the
defaults of the published classes. v12 and v13 ran some steps side by side that do not touch each other's
words. Here these steps run one after the other, which gives the same sums at the published sizes.

Source: urmzd/exp-agi-models; docs/semantics/vocab.md
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from wnn_jax import checks
from wnn_jax.vocab.mixing import (
    Convolution,
    CoupledAttention,
    LinearAttention,
    MovingAverage,
    MultiScaleAttention,
    SoftmaxAttention,
)
from wnn_jax.vocab.model import Sublayer, Subspace, VocabConfig
from wnn_jax.vocab.operation import MapKind, WordMap
from wnn_jax.vocab.pointwise import Bands, Experts, Factor, Mlp, Policy, TopK, WordGate, WordGraph

NAMES = {
    "v1_attention": "v1_shared_attn",
    "v2_conv": "v2_conv",
    "v3_assoc": "v3_fourier_linattn",
    "v4_golf": "v4_weight_shared",
    "v5_gauss": "v5_fft_linattn",
    "v6_wave": "v6_banded_fourier",
    "v7_lgp": "v7_soft_ops",
    "v8_graph": "v8_lowrank_vv",
    "v9_meta": "v9_linattn",
    "v10_policy": "v10_state_cond_op",
    "v11_brainwave": "v11a_mixed_ops",
    "v11_tpg": "v11b_hard_routing",
    "v12_sparse": "v12_vocab_slice",
    "v13_embed": "v13_with_embedding",
    "v14_adaptive": "v14_data_dependent",
    "v15_predictive": "v15_aux_loss",
    "v16_columnar": "v16_multi_branch",
}

_BANK = ("same", "relu", "gelu", "square", "negative", "magnitude", "tanh", "sigmoid")
_SAME = WordMap("same")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes that models share, as published for 1024 words.

    Attributes:
      steps: number of steps of the residual stream, except in v4 and v16.
      twice: number of steps of v4, each of which is used twice.
      each: number of steps of each of v16's columns.
      channels: C of layers made of waves.
      harmonics: number of waves of Fourier and DCT maps, a multiple of 4.
      heads: number of heads of attention over words; half as many are for keys and values.
      taps: number of positions that a convolution sees.
      rank: rank of the word graph.
      low: rank of the factored mix of v4.
      state: number of channels of dense memories.
      inner: number of hidden units of dense layers; the gate of v11_brainwave has `state`.
      window: number of words that a step reads.
      narrow: number of words that a step of a column reads.
      embedding: width of v13's table.
      keep: number of words that v15 keeps.

    Raises:
      ValueError: a value is out of range.

    Source: urmzd/exp-agi-models; docs/semantics/vocab.md
    """

    steps: int = 8
    twice: int = 5
    each: int = 3
    channels: int = 128
    harmonics: int = 16
    heads: int = 8
    taps: int = 16
    rank: int = 8
    low: int = 8
    state: int = 64
    inner: int = 128
    window: int = 256
    narrow: int = 128
    embedding: int = 128
    keep: int = 128

    def __post_init__(self):
        size = checks.Limits(least=1, most=1 << 16)
        checks.fields(self, **{field.name: size for field in dataclasses.fields(self)})


def scaled(vocabulary: int, steps: int = 8) -> Sizes:
    """Returns the published sizes, reduced in proportion to a vocabulary of at least 32 words.

    Args:
      vocabulary: V.
      steps: number of steps of the residual stream.

    Source: docs/semantics/vocab.md
    """
    full, part = Sizes(), vocabulary / 1024

    def small(size: int, least: int, multiple: int = 1) -> int:
        return max(least, int(size * part) // multiple * multiple)

    return Sizes(
        steps=steps,
        twice=min(steps, full.twice),
        each=min(steps, full.each),
        channels=small(full.channels, 8, 4),
        harmonics=small(full.harmonics, 4, 4),
        heads=small(full.heads, 2, 2),
        taps=full.taps,
        rank=full.rank,
        low=small(full.low, 2),
        state=small(full.state, 4),
        inner=small(full.inner, 8),
        window=small(full.window, 8),
        narrow=small(full.narrow, 8, 4),
        embedding=small(full.embedding, 8),
        keep=small(full.keep, 8),
    )


def known(name: str) -> str:
    """Returns the first of the two names of a model, which is a key of `NAMES`, by either name.

    Raises:
      ValueError: the model is unknown.

    Source: docs/semantics/vocab.md
    """
    names = {**{new: old for old, new in NAMES.items()}, **{old: old for old in NAMES}}
    if name not in names:
        choices = f"{', '.join(NAMES)}, or the other names {', '.join(NAMES.values())}"
        raise ValueError(f"unknown model {name!r}: choose one of {choices}")
    return names[name]


def config(name: str, vocabulary: int = 1024, sizes: Sizes | None = None, leaky: bool = False) -> VocabConfig:
    """Returns a published model as a `VocabConfig`; it is causal unless ``leaky``.

    Args:
      name: either of its names, as in `NAMES`.
      vocabulary: V.
      sizes: the sizes; the published ones by default.
      leaky: whether its decaying memories read the future instead of the past, as they did when published.

    Raises:
      ValueError: the model is unknown.

    Source: docs/semantics/vocab.md
    """
    sizes = sizes or Sizes()
    fields = {"steps": sizes.steps, **_MODELS[known(name)](vocabulary, sizes)}
    return VocabConfig(vocabulary=vocabulary, leaky=leaky, **fields)


def _waves(s: Sizes, kind: MapKind = "fourier") -> WordMap:
    return WordMap(kind, (1, s.harmonics))


def _fourier_mlp(s: Sizes) -> Mlp:
    return Mlp(s.channels, _waves(s, "soft fourier"), _waves(s))


def _fourier_memory(s: Sizes) -> Sublayer:
    return Sublayer(LinearAttention(s.channels, _waves(s)), "one")


def _dense_mlp(s: Sizes) -> Mlp:
    return Mlp(s.inner, mix="bias")


def _window(size: int, inner: Any, by_entropy: bool = False) -> Sublayer:
    """Returns a memory and another operation on a window of words."""
    memory = Sublayer(LinearAttention(size, divisor=size**0.5), "one")
    sublayers = (memory, Sublayer(inner, replaces=True))
    return Sublayer(Subspace(size, sublayers, by_entropy=by_entropy), normed=False)


def _window_mlp(s: Sizes) -> Mlp:
    coarse = WordMap(stddev=0.1)
    return Mlp(2 * s.window, coarse, coarse, mix="bias", scaled=False)


def _v1_attention(v: int, s: Sizes) -> dict[str, Any]:
    attention = SoftmaxAttention(s.heads, s.heads // 2)
    return {
        "sublayers": (
            Sublayer(attention, "vector", shared=("*",), group="attention"),
            Sublayer(_fourier_mlp(s), "vector"),
        )
    }


def _v2_conv(v: int, s: Sizes) -> dict[str, Any]:
    return {"sublayers": (Sublayer(Convolution(s.taps), "vector"), Sublayer(_fourier_mlp(s), "vector"))}


def _v3_assoc(v: int, s: Sizes) -> dict[str, Any]:
    return {"sublayers": (_fourier_memory(s), Sublayer(_fourier_mlp(s), "one"))}


def _v4_golf(v: int, s: Sizes) -> dict[str, Any]:
    decays = (1.0, 7 / 3, 11 / 3, 5.0)
    memory = LinearAttention(s.channels, _waves(s), decays=decays, unit_length=True, rate_shift=True)
    mlp = Mlp(s.channels, _waves(s, "soft fourier"), _waves(s), mix="low", rank=s.low)
    return {
        "steps": 2 * s.twice,
        "repeats": 2,
        "sublayers": (
            Sublayer(memory, "one", shared=("q", "k"), group="memory", factor_per_use=True),
            Sublayer(mlp, "one", factor_per_use=True),
            Sublayer(Factor(), normed=False, replaces=True),
        ),
    }


def _v5_gauss(v: int, s: Sizes) -> dict[str, Any]:
    fast = _waves(s, "fft")
    return {
        "sublayers": (
            Sublayer(LinearAttention(s.channels, fast), "one"),
            Sublayer(Mlp(s.channels, fast, fast), "one"),
        )
    }


def _v6_wave(v: int, s: Sizes) -> dict[str, Any]:
    quarter, half = s.harmonics // 4, s.harmonics // 2
    ranges = (1, quarter), (quarter + 1, half), (half + 1, s.harmonics)
    low, middle, high = (
        Mlp(s.channels, WordMap("soft fourier", waves), WordMap("fourier", waves)) for waves in ranges
    )
    slow = LinearAttention(s.channels, low.read, write=low.write, decays=(4.0,))
    fast = LinearAttention(s.channels, high.read, write=high.write, decays=(2.0,))
    return {"sublayers": (Sublayer(CoupledAttention(slow, fast)), Sublayer(Bands(low, middle, high)))}


def _v7_lgp(v: int, s: Sizes) -> dict[str, Any]:
    bank = Mlp(s.channels, _waves(s, "soft fourier"), _waves(s), mix="bank", activations=_BANK)
    return {
        "sublayers": (
            _fourier_memory(s),
            Sublayer(bank, "one", shared=("bank", "biases"), group="bank"),
        )
    }


def _v8_graph(v: int, s: Sizes) -> dict[str, Any]:
    memory = LinearAttention(v, WordMap("diagonal"), _SAME, _SAME)
    return {"sublayers": (Sublayer(memory, "one"), Sublayer(WordGraph(s.rank), "one"))}


def _v9_meta(v: int, s: Sizes) -> dict[str, Any]:
    return {"sublayers": (Sublayer(LinearAttention(s.state), "one"), Sublayer(_dense_mlp(s), "one"))}


def _v10_policy(v: int, s: Sizes) -> dict[str, Any]:
    sublayers = (
        Sublayer(LinearAttention(s.state, write=_SAME), normed=False),
        Sublayer(Policy(), normed=False, replaces=True, shared=("bank",), group="bank"),
    )
    return {"sublayers": (Sublayer(Subspace(s.state, sublayers, window=False)),)}


def _v11_brainwave(v: int, s: Sizes) -> dict[str, Any]:
    def memory(decay: float) -> Sublayer:
        attention = LinearAttention(s.state, decays=(decay,))
        return Sublayer(attention, shared=("q", "k", "v", "o"), group="memory")

    return {
        "sublayers": (
            Sublayer(MovingAverage()),
            memory(4.0),
            Sublayer(WordGate(s.state), normed=False, replaces=True),
            Sublayer(_dense_mlp(s)),
            memory(1.0),
        )
    }


def _v11_tpg(v: int, s: Sizes) -> dict[str, Any]:
    mlp = Mlp(s.inner, mix="bias", activations=("gelu", "relu", "silu", "tanh"), routed=True)
    return {
        "halting": True,
        "sublayers": (Sublayer(MultiScaleAttention(s.state), "one"), Sublayer(mlp, "one")),
    }


def _v12_sparse(v: int, s: Sizes) -> dict[str, Any]:
    return {"sublayers": (_window(s.window, _window_mlp(s)),)}


def _v13_embed(v: int, s: Sizes) -> dict[str, Any]:
    return {"sublayers": (_window(s.window, _window_mlp(s)),), "embedding": s.embedding}


def _v14_adaptive(v: int, s: Sizes) -> dict[str, Any]:
    memory = LinearAttention(s.window, divisor=s.window**0.5, adaptive=True)
    window = Subspace(s.window, (Sublayer(memory, "one"), Sublayer(Factor(learned=False), replaces=True)))
    return {
        "sublayers": (
            Sublayer(Convolution(s.taps, gated=True), "vector"),
            Sublayer(window, normed=False),
            Sublayer(Mlp(s.channels, _waves(s, "soft dct"), _waves(s, "dct")), parallel=True),
        )
    }


def _v15_predictive(v: int, s: Sizes) -> dict[str, Any]:
    return {
        "early_loss": 0.1,
        "sublayers": (
            _window(s.window, _window_mlp(s), by_entropy=True),
            Sublayer(TopK(s.keep), normed=False, replaces=True),
        ),
    }


def _v16_columnar(v: int, s: Sizes) -> dict[str, Any]:
    return {
        "steps": s.each,
        "columns": 4,
        "sublayers": (_window(s.narrow, Experts(4, s.narrow // 2)),),
    }


_MODELS: dict[str, Callable[[int, Sizes], dict[str, Any]]] = {
    "v1_attention": _v1_attention,
    "v2_conv": _v2_conv,
    "v3_assoc": _v3_assoc,
    "v4_golf": _v4_golf,
    "v5_gauss": _v5_gauss,
    "v6_wave": _v6_wave,
    "v7_lgp": _v7_lgp,
    "v8_graph": _v8_graph,
    "v9_meta": _v9_meta,
    "v10_policy": _v10_policy,
    "v11_brainwave": _v11_brainwave,
    "v11_tpg": _v11_tpg,
    "v12_sparse": _v12_sparse,
    "v13_embed": _v13_embed,
    "v14_adaptive": _v14_adaptive,
    "v15_predictive": _v15_predictive,
    "v16_columnar": _v16_columnar,
}
