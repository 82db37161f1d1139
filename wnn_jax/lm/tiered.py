"""The tiered RAM language model: one cluster of RAM neurons a token, larger where tokens are frequent.

    config = tiered.TieredConfig(corpus.vocabulary)
    model = tiered.fit(key, config, corpus.train)
    scores = tiered.score(model, corpus.test)
    print(scores.nats.mean())

Tokens are ranked by their frequency in the training text and cut into tiers; every tier is a memory of its
own, with its own number of neurons and address bits. How clusters are trained and read is in `tiered_layer`,
how their votes become probabilities in `tiered_readout`. As published, the model is `VARIANTS`'
``published``; the default is ``repaired``.
"""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from wnn_jax import ram
from wnn_jax.lm import bitwise, ngram, tally, tiered_layer, tiered_readout
from wnn_jax.lm.tiered_config import (
    NEGATIVES,
    PRESETS,
    VARIANTS,
    Tier,
    TieredConfig,
    Variant,
    VariantName,
    default_tiers,
    parse,
)

__all__ = [
    "NEGATIVES",
    "PRESETS",
    "VARIANTS",
    "Tier",
    "TierSummary",
    "TierTable",
    "TieredConfig",
    "TieredKeys",
    "TieredModel",
    "Variant",
    "VariantName",
    "by_tier",
    "default_tiers",
    "fit",
    "needed_bytes",
    "parse",
    "score",
    "split",
    "tier_table",
]


class TieredKeys(NamedTuple):
    """Keys of what is drawn: connectivity, the readout's places, negatives, and gates' connectivity."""

    wiring: jax.Array
    readout: jax.Array
    negatives: jax.Array
    gates: jax.Array
    engram: jax.Array


class TieredModel(NamedTuple):
    """A model of a training text. Its tables are not kept: they are fitted again whenever it is read.

    Attributes:
      layer: the neurons and the examples they are written.
      readout: None for the published score.
      history: ``[C]`` the last tokens of the training text, which a scored text continues.
    """

    layer: tiered_layer.OneHotLayer
    readout: tiered_readout.Readout | None
    history: np.ndarray


def split(key: jax.Array) -> TieredKeys:
    """The keys of a model and its gates from one."""
    return TieredKeys(*jax.random.split(key, len(TieredKeys._fields)))


def fit(
    key: jax.Array,
    config: TieredConfig,
    tokens: np.ndarray,
    readout: tiered_readout.Readout | None = None,
) -> TieredModel:
    """A model of a training text.

    Args:
      key: draws the connectivity, the negatives, and the places on which a readout is calibrated.
      config: of the model.
      tokens: ``[M + C]`` ids.
      readout: a calibrated model takes this one; by default it learns its own from the end of the text.

    Raises:
      ValueError: an id is not below V, or the text is no longer than the context.
    """
    keys = split(key)
    wiring = tiered_layer.init(keys.wiring, config, tokens)
    if config.calibrated and readout is None:
        readout = tiered_readout.calibrate(keys.readout, config, tokens)
    layer = tiered_layer.one_hot_layer(keys.negatives, config, wiring, tokens)
    history = np.asarray(tokens)[len(tokens) - config.context :]
    return TieredModel(layer, readout if config.calibrated else None, history)


def score(model: TieredModel, tokens: np.ndarray, on_step: tally.OnStep | None = None) -> bitwise.Scores:
    """Nats of a text that continues the training text, and the best id at each of its places.

    Every cluster is fitted, read and dropped, a few at a time.

    Args:
      model: from `fit`.
      tokens: ``[N]`` ids.
      on_step: hears how many ids have been fitted and read.
    """
    config = model.layer.config
    words, targets = tiered_layer.inputs(config, np.concatenate([model.history, tokens]))
    chunks = (chunk for (chunk,) in tiered_layer.votes([model.layer], words))
    return tiered_readout.score(config, model.readout, chunks, targets, on_step)


class TierSummary(NamedTuple):
    """Scores of the tokens of one tier.

    Attributes:
      ce: mean nats a token; None where no token of the text is of the tier.
      accuracy: share of the tokens that were the best guess; None likewise.
    """

    ce: float | None
    accuracy: float | None


def by_tier(
    config: TieredConfig, tier: np.ndarray, scores: ngram.Prediction, tokens: np.ndarray
) -> list[TierSummary]:
    """Scores by tier, of this model or of any other.

    Args:
      config: whose tiers they are.
      tier: ``[N]`` of each token, from `tiered_layer.tier_of`.
      scores: nats and best guesses ``[N]``.
      tokens: ``[N]`` ids.
    """
    nats, best = scores
    table = []
    for number in range(len(config.tiers)):
        here = tier == number
        if not here.any():
            table.append(TierSummary(None, None))
            continue
        table.append(TierSummary(float(nats[here].mean()), float((best[here] == tokens[here]).mean())))
    return table


class TierTable(NamedTuple):
    """Scores of a text tier by tier.

    Attributes:
      ranks: the first and the last rank of every tier, from 1.
      train_share: share of the training text's tokens that are of a tier.
      share: share of the scored tokens.
      rows: scores by tier of every model, by its name.
    """

    ranks: list[tuple[int, int]]
    train_share: list[float]
    share: list[float]
    rows: dict[str, list[TierSummary]]


def tier_table(
    config: TieredConfig, train: np.ndarray, tokens: np.ndarray, models: Mapping[str, ngram.Prediction]
) -> TierTable:
    """Scores by tier of some models, tiered or not.

    Args:
      config: whose tiers they are.
      train: the training text, by whose frequencies tokens are ranked.
      tokens: ``[N]`` ids that were scored.
      models: nats and best guesses ``[N]`` by a model's name.
    """
    order = tiered_layer.rank_tokens(train, config.vocabulary)
    train_tier, tier = (tiered_layer.tier_of(config, order, x) for x in (train, tokens))
    count = len(config.tiers)
    return TierTable(
        ranks=[(first + 1, last) for first, last in itertools.pairwise(config.borders)],
        train_share=(np.bincount(train_tier, minlength=count) / len(train)).tolist(),
        share=(np.bincount(tier, minlength=count) / len(tokens)).tolist(),
        rows={name: by_tier(config, tier, scores, tokens) for name, scores in models.items()},
    )


def needed_bytes(config: TieredConfig, train: np.ndarray, tokens: np.ndarray) -> int:
    """Memory to fit and score: votes of a chunk in a few forms, words, a row a thread, the readout sample."""
    chunk = 8 * 4 * max(tiered_layer.VOTES, len(tokens))
    words = 4 * -(-config.input_bits // 32) * (len(train) + len(tokens))
    row = max(ram.row_bytes(config.memory, tier.address_bits) for tier in config.tiers)
    sample = 4 * 4 * tiered_readout.PLACES * len(np.unique(train))
    return chunk + words + 4 * row + sample
