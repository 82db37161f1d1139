"""The repairs of the published models; each can be applied alone.

A repair changes the model ("scores", "gain", "fades"), the recipe of its training ("rate", "warmup", "muon"),
the order of its words ("frequency", "cluster") or its first parameters ("bigram").

Source: docs/semantics/vocab.md
"""

import dataclasses
from collections.abc import Collection
from typing import Any

from wnn_jax.vocab import mixing, model, pointwise, zoo
from wnn_jax.vocab.recipe import Recipe

REPAIRS = {
    "rate": "Adam at 0.004 instead of 0.03",
    "warmup": "the rate rises for a tenth of the steps",
    "scores": "queries and keys have length 1",
    "gain": "the readout sees only a learned share of the input word, at first 0",
    "fades": "memories with one decay rate at first lose half per position; dense ones get four rates",
    "frequency": "words are numbered by how often they occur",
    "cluster": "words are numbered so that near numbers have words with similar neighbours",
    "muon": "Muon trains the matrices",
    "bigram": "the first word graph begins with bigram counts",
}
# Chosen on validation text (movie reviews, 51,200 and 102,400 training tokens). An order of words helped
# where words with near numbers share weights. Maps made of waves learned nothing at the lower rate. Muon was
# not better.
_DENSE = ("rate", "warmup", "scores", "gain", "fades")
_WAVES = ("warmup", "scores", "gain", "fades", "frequency")
_WINDOWS = (*_DENSE, "frequency")
_SUITED = {
    **dict.fromkeys(("v3_assoc", "v4_golf", "v5_gauss", "v6_wave", "v7_lgp"), _WAVES),
    "v2_conv": ("warmup", "gain", "cluster"),
    **dict.fromkeys(("v12_sparse", "v13_embed", "v14_adaptive", "v15_predictive", "v16_columnar"), _WINDOWS),
    "v8_graph": (*_DENSE, "bigram"),
}
_PUBLISHED_DECAYS, _FOUR_DECAYS = (3.0,), (-2.0, 0.0, 2.0, 4.0)


def check(repairs: Collection[str]) -> None:
    """Refuses unknown repairs, and two orders of words at once.

    Raises:
      ValueError: a repair is unknown, or both "frequency" and "cluster" are given.

    Source: docs/semantics/vocab.md
    """
    unknown = [name for name in repairs if name not in REPAIRS]
    if unknown:
        raise ValueError(f"unknown repair {unknown[0]!r}: choose among {', '.join(REPAIRS)}")
    if {"frequency", "cluster"} <= set(repairs):
        raise ValueError("the repairs frequency and cluster both order the words, got both: use one of them")


def suited(name: str) -> tuple[str, ...]:
    """Returns the repairs that suit a published model, by either of its names.

    Source: docs/semantics/vocab.md
    """
    old = {new: old for old, new in zoo.NAMES.items()}.get(name, name)
    return _SUITED.get(old, _DENSE)


def effective(config: model.VocabConfig, repairs: Collection[str]) -> tuple[str, ...]:
    """Returns those repairs that change something of a model or of its training.

    Source: docs/semantics/vocab.md
    """

    def changes(name: str) -> bool:
        if name == "bigram":
            return word_graph(config) is not None
        if name in ("scores", "gain", "fades"):
            return repair(config, [name]) != config
        return True

    return tuple(filter(changes, repairs))


def word_graph(config: model.VocabConfig) -> int | None:
    """Returns the index of the first sublayer that is a word graph; None without one.

    Source: docs/semantics/vocab.md
    """
    graphs = (isinstance(sublayer.operation, pointwise.WordGraph) for sublayer in config.sublayers)
    return next((i for i, is_graph in enumerate(graphs) if is_graph), None)


def recipe(repairs: Collection[str]) -> Recipe:
    """Returns the published recipe, changed by those repairs that concern it.

    Source: docs/semantics/vocab.md
    """
    return Recipe(
        rate=0.004 if "rate" in repairs else 0.03,
        warmup=0.1 if "warmup" in repairs else 0.0,
        muon_rate=0.01 if "muon" in repairs else 0.0,
    )


def repair(config: model.VocabConfig, repairs: Collection[str]) -> model.VocabConfig:
    """Returns the model, changed by those repairs that concern it: "scores", "gain", "fades".

    Source: docs/semantics/vocab.md
    """

    def operation(old: Any) -> Any:
        if isinstance(old, model.Subspace):
            return dataclasses.replace(old, sublayers=tuple(map(sublayer, old.sublayers)))
        if isinstance(old, mixing.CoupledAttention):
            return dataclasses.replace(old, slow=operation(old.slow), fast=operation(old.fast))
        if isinstance(old, mixing.MultiScaleAttention) and "scores" in repairs:
            return dataclasses.replace(old, unit_length=True)
        if isinstance(old, mixing.LinearAttention):
            return _repair_attention(old, repairs)
        return old

    def sublayer(old: model.Sublayer) -> model.Sublayer:
        return dataclasses.replace(old, operation=operation(old.operation))

    drop_input = config.drop_input or "gain" in repairs
    return dataclasses.replace(
        config, sublayers=tuple(map(sublayer, config.sublayers)), drop_input=drop_input
    )


def _repair_attention(old: mixing.LinearAttention, repairs: Collection[str]) -> mixing.LinearAttention:
    if "scores" in repairs:
        old = dataclasses.replace(old, unit_length=True, divisor=1.0)
    if "fades" in repairs and old.decays == _PUBLISHED_DECAYS:
        heads = old.query_key.kind == "dense" and not old.adaptive and old.channels % 4 == 0
        old = dataclasses.replace(old, decays=_FOUR_DECAYS if heads else (0.0,))
    return old
