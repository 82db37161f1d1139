"""The tiered RAM language model: one cluster of RAM neurons for each token, larger for frequent tokens.

    config = tiered.TieredConfig(corpus.vocabulary)
    model = tiered.fit(key, config, corpus.train)
    scores = tiered.score(model, corpus.test)
    print(scores.nats.mean())

Tokens are ranked by their frequency in the training text and cut into tiers. The clusters of a tier have the
tier's number of neurons and address bits. `tiered_layer` fits and reads clusters, and `tiered_readout` turns
their votes into probabilities. ``published`` of `VARIANTS` is the model as it was published; the default is
``repaired``.

Source: docs/semantics/tiered.md
"""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from wnn_jax import checks, ram
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
from wnn_jax.ram import given

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
    """The keys of a tiered model and of its gates.

    Attributes:
      wiring: draws the connectivity.
      readout: draws the places on which the readout is calibrated.
      negatives: draws the negatives.
      gates: draws the connectivity of RAM gates.
      engram: draws the connectivity of engram gates.

    Source: docs/semantics/tiered.md
    """

    wiring: jax.Array
    readout: jax.Array
    negatives: jax.Array
    gates: jax.Array
    engram: jax.Array


class TieredModel(NamedTuple):
    """A tiered model of a training text. Its tables are not stored: every reading fits them anew.

    Attributes:
      layer: the neurons, and the examples with which they are written.
      readout: the calibrated readout; None for the published score.
      history: ``int [C]``, the last tokens of the training text, which a scored text continues.

    Source: docs/semantics/tiered.md
    """

    layer: tiered_layer.OneHotLayer
    readout: tiered_readout.Readout | None
    history: np.ndarray


def split(key: jax.Array) -> TieredKeys:
    """Split a key into the keys of a model and its gates.

    Args:
      key: the key of the model.

    Returns:
      Independent keys.

    Source: docs/semantics/tiered.md
    """
    return TieredKeys(*jax.random.split(key, len(TieredKeys._fields)))


def fit(
    key: jax.Array,
    config: TieredConfig,
    tokens: np.ndarray,
    readout: tiered_readout.Readout | None = None,
) -> TieredModel:
    """Fit a tiered model to a training text.

    Args:
      key: draws the connectivity, the negatives, and the places on which the readout is calibrated.
      config: sizes and training rules.
      tokens: ``int [M + C]``, the training text.
      readout: the readout of a calibrated model; by default it is learnt from the end of the text.

    Returns:
      The model.

    Raises:
      ValueError: an id is outside the vocabulary, or the text is not longer than the context.

    Source: docs/semantics/tiered.md
    """
    given.key(key)
    keys = split(key)
    tokens = bitwise.check_tokens(tiered_layer.inputs_config(config), tokens)
    wiring = tiered_layer.init(keys.wiring, config, tokens)
    if config.calibrated and readout is None:
        readout = tiered_readout.calibrate(keys.readout, config, tokens)
    layer = tiered_layer.one_hot_layer(keys.negatives, config, wiring, tokens)
    history = np.asarray(tokens)[len(tokens) - config.context :]
    return TieredModel(layer, readout if config.calibrated else None, history)


def score(model: TieredModel, tokens: np.ndarray, on_step: tally.OnStep | None = None) -> bitwise.Scores:
    """Score a text that continues the training text. Clusters are fitted, read and dropped, some at a time.

    Args:
      model: from `fit`.
      tokens: ``int [N]``, the text.
      on_step: called with the number of ids whose clusters have been fitted and read.

    Returns:
      Nats and best ids, arrays ``[N]``; on ties the lowest id.

    Raises:
      ValueError: there is no token, or an id is outside the vocabulary.

    Source: docs/semantics/tiered.md
    """
    config = model.layer.config
    tokens = ngram.check_ids("tokens", tokens, config.vocabulary)
    words, targets = tiered_layer.inputs(config, np.concatenate([model.history, tokens]))
    chunks = (chunk for (chunk,) in tiered_layer.votes([model.layer], words))
    return tiered_readout.score(config, model.readout, chunks, targets, on_step)


class TierSummary(NamedTuple):
    """The scores of a text's tokens that belong to one tier.

    Attributes:
      ce: mean nats of these tokens; None if the text has none.
      accuracy: share of these tokens that were the best guess; None if the text has none.

    Source: docs/semantics/tiered.md
    """

    ce: float | None
    accuracy: float | None


def by_tier(
    config: TieredConfig, tier: np.ndarray, scores: ngram.Prediction, tokens: np.ndarray
) -> list[TierSummary]:
    """Summarise the scores of any model tier by tier.

    Args:
      config: gives the tiers.
      tier: ``int [N]``, the tier of each token, from `tiered_layer.tier_of`.
      scores: nats and best guesses, arrays ``[N]``.
      tokens: ``int [N]``, the text.

    Returns:
      A summary for each tier.

    Raises:
      ValueError: the arrays differ in length.

    Source: docs/semantics/tiered.md
    """
    nats, best = (np.asarray(x) for x in scores)
    tier, tokens = np.asarray(tier), np.asarray(tokens)
    for name, x in {"tier": tier, "best": best, "tokens": tokens}.items():
        checks.array(name, x, "integers", {"N": nats.size})
    table = []
    for number in range(len(config.tiers)):
        here = tier == number
        if not here.any():
            table.append(TierSummary(None, None))
            continue
        table.append(TierSummary(float(nats[here].mean()), float((best[here] == tokens[here]).mean())))
    return table


class TierTable(NamedTuple):
    """The scores of several models on a text, tier by tier.

    Attributes:
      ranks: the first and the last rank of every tier; ranks start at 1.
      train_share: for each tier, its share of the tokens of the training text.
      share: for each tier, its share of the scored tokens.
      rows: for each model, by its name, a summary for each tier.

    Source: docs/semantics/tiered.md
    """

    ranks: list[tuple[int, int]]
    train_share: list[float]
    share: list[float]
    rows: dict[str, list[TierSummary]]


def tier_table(
    config: TieredConfig, train: np.ndarray, tokens: np.ndarray, models: Mapping[str, ngram.Prediction]
) -> TierTable:
    """Summarise the scores of several models tier by tier; the models need not be tiered.

    Args:
      config: gives the tiers.
      train: ``int [M]``, the training text, whose frequencies rank the tokens.
      tokens: ``int [N]``, the scored text.
      models: nats and best guesses, arrays ``[N]``, by the name of each model.

    Returns:
      The table.

    Raises:
      ValueError: a text is empty, an id is outside the vocabulary, or arrays differ in length.

    Source: docs/semantics/tiered.md
    """
    if not len(train) or not len(tokens):
        raise ValueError(f"the texts have {len(train)} and {len(tokens)} tokens: give at least one of each")
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
    """Estimate the memory that fitting and scoring need.

    The estimate adds several copies of a chunk's votes, the packed words, four rows of cells, and the sample
    on which the readout is calibrated.

    Args:
      config: sizes of the model.
      train: ``int [M]``, the training text.
      tokens: ``int [N]``, the text to score.

    Returns:
      Bytes.

    Source: docs/architecture.md
    """
    chunk = 8 * 4 * max(tiered_layer.VOTES, len(tokens))
    words = 4 * -(-config.input_bits // 32) * (len(train) + len(tokens))
    row = max(ram.row_bytes(config.memory, tier.address_bits) for tier in config.tiers)
    sample = 4 * 4 * tiered_readout.PLACES * len(np.unique(train))
    return chunk + words + 4 * row + sample
