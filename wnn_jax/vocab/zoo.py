"""The seventeen published models as data: which moves, with which sizes, in which order.

Both sets of names are known. Sizes are those of the runs that were logged, not the defaults of their classes
(spec eam_recommender_vocab 4.2). Where v12 and v13 ran steps side by side that touch none of each other's
words, they run one after the other here: at the published sizes the sums are the same.
"""

import dataclasses
from typing import Any

from wnn_jax.vocab.cross import Attention, Average, Convolution, Coupled, Linear, Scales
from wnn_jax.vocab.skeleton import Inside, Move, VocabConfig
from wnn_jax.vocab.within import Bands, Branches, Channels, Factor, Form, Gate, Graph, Largest, Policy

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

BANK = ("same", "relu", "gelu", "square", "negative", "magnitude", "tanh", "sigmoid")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes that variants share, as published for 1024 words.

    Attributes:
      steps: of the residual stream, but in v4 and v16.
      twice: steps of v4, each used twice over.
      each: steps of each of v16's columns.
      channels, harmonics: C and the waves of Fourier and DCT forms; harmonics are a multiple of 4.
      heads: of attention over words; half as many keys and values.
      taps: places of a convolution.
      rank: of the word graph.
      low: rank of the factored mix of v4.
      state: channels of dense memories.
      inner: hidden units of dense layers; the gate of v11_brainwave has `state`.
      window, narrow: words a step reads, and those that a column's step reads.
      embedding: width of v13's table.
      keep: words that v15 keeps.
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


def scaled(vocabulary: int, steps: int = 8) -> Sizes:
    """The published sizes made small in proportion to a vocabulary of at least 32 words."""
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


def config(name: str, vocabulary: int = 1024, sizes: Sizes | None = None, leaky: bool = False) -> VocabConfig:
    """A published model, causal.

    Args:
      name: of either set, as in `NAMES`.
      vocabulary: V.
      sizes: other than the published.
      leaky: whether its fading memories read the future instead of the past, as they did when published.

    Raises:
      ValueError: there is no such model.
    """
    known = {**{new: old for old, new in NAMES.items()}, **{old: old for old in NAMES}}
    if name not in known:
        raise ValueError(f"no model {name!r}: there are {', '.join(NAMES)} or {', '.join(NAMES.values())}")
    fields = _models(vocabulary, sizes or Sizes())[known[name]]
    steps = fields.pop("steps", (sizes or Sizes()).steps)
    return VocabConfig(vocabulary, steps, leaky=leaky, **fields)


def _models(v: int, s: Sizes) -> dict[str, dict[str, Any]]:
    waves, soft = Form("fourier", (1, s.harmonics)), Form("soft fourier", (1, s.harmonics))
    fast = Form("fft", (1, s.harmonics))
    dct, soft_dct = Form("dct", (1, s.harmonics)), Form("soft dct", (1, s.harmonics))
    bands = (
        (1, s.harmonics // 4),
        (s.harmonics // 4 + 1, s.harmonics // 2),
        (s.harmonics // 2 + 1, s.harmonics),
    )
    low, middle, high = (
        Channels(s.channels, Form("soft fourier", band), Form("fourier", band)) for band in bands
    )
    slow, quick = (
        Linear(s.channels, band.read, write=band.write, fades=(fade,))
        for band, fade in ((low, 4.0), (high, 2.0))
    )
    same, word = Form("same"), Form("diagonal")

    fourier = Channels(s.channels, soft, waves)
    assoc = Move(Linear(s.channels, waves), "one")
    mlp = Channels(s.inner, mix="bias")
    brain = Move(Linear(s.state, fades=(4.0,)), shared=("q", "k", "v", "o"), group="memory")

    def sliced(k: int, inner: Any, **more: Any) -> tuple[Move, ...]:
        memory = Linear(k, divide=k**0.5)
        moves = (Move(memory, "one"), Move(inner, replaces=True))
        return (Move(Inside(k, moves, **more), normed=False),)

    coarse = Form(spread=0.1)
    window = Channels(2 * s.window, coarse, coarse, mix="bias", scaled=False)
    adaptive = Move(Linear(s.window, divide=s.window**0.5, adaptive=True), "one")

    return {
        "v1_attention": {
            "moves": (
                Move(Attention(s.heads, s.heads // 2), "vector", shared=("*",), group="attention"),
                Move(fourier, "vector"),
            )
        },
        "v2_conv": {"moves": (Move(Convolution(s.taps), "vector"), Move(fourier, "vector"))},
        "v3_assoc": {"moves": (assoc, Move(fourier, "one"))},
        "v4_golf": {
            "steps": 2 * s.twice,
            "repeats": 2,
            "moves": (
                Move(
                    Linear(s.channels, waves, fades=(1.0, 7 / 3, 11 / 3, 5.0), unit=True, shifted=True),
                    "one",
                    shared=("q", "k"),
                    group="memory",
                    again=True,
                ),
                Move(Channels(s.channels, soft, waves, mix="low", rank=s.low), "one", again=True),
                Move(Factor(), normed=False, replaces=True),
            ),
        },
        "v5_gauss": {
            "moves": (Move(Linear(s.channels, fast), "one"), Move(Channels(s.channels, fast, fast), "one"))
        },
        "v6_wave": {"moves": (Move(Coupled(slow, quick)), Move(Bands(low, middle, high)))},
        "v7_lgp": {
            "moves": (
                assoc,
                Move(
                    Channels(s.channels, soft, waves, mix="bank", bends=BANK),
                    "one",
                    shared=("bank", "biases"),
                    group="bank",
                ),
            )
        },
        "v8_graph": {"moves": (Move(Linear(v, word, same, same), "one"), Move(Graph(s.rank), "one"))},
        "v9_meta": {"moves": (Move(Linear(s.state), "one"), Move(mlp, "one"))},
        "v10_policy": {
            "moves": (
                Move(
                    Inside(
                        s.state,
                        (
                            Move(Linear(s.state, write=same), normed=False),
                            Move(Policy(), normed=False, replaces=True, shared=("bank",), group="bank"),
                        ),
                        window=False,
                    )
                ),
            )
        },
        "v11_brainwave": {
            "moves": (
                Move(Average()),
                brain,
                Move(Gate(s.state), normed=False, replaces=True),
                Move(mlp),
                dataclasses.replace(brain, does=dataclasses.replace(brain.does, fades=(1.0,))),
            )
        },
        "v11_tpg": {
            "halting": True,
            "moves": (
                Move(Scales(s.state), "one"),
                Move(
                    Channels(s.inner, mix="bias", bends=("gelu", "relu", "silu", "tanh"), chosen=True), "one"
                ),
            ),
        },
        "v12_sparse": {"moves": sliced(s.window, window)},
        "v13_embed": {"moves": sliced(s.window, window), "embedding": s.embedding},
        "v14_adaptive": {
            "moves": (
                Move(Convolution(s.taps, gated=True), "vector"),
                Move(Inside(s.window, (adaptive, Move(Factor(learned=False), replaces=True))), normed=False),
                Move(Channels(s.channels, soft_dct, dct), beside=True),
            )
        },
        "v15_predictive": {
            "early": 0.1,
            "moves": (
                *sliced(s.window, window, unsure=True),
                Move(Largest(s.keep), normed=False, replaces=True),
            ),
        },
        "v16_columnar": {
            "steps": s.each,
            "columns": 4,
            "moves": sliced(s.narrow, Branches(4, s.narrow // 2)),
        },
    }
