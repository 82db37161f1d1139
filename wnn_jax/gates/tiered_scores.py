"""Scores a tiered model behind gates.

In a one-hot code each bit is a token, so one layer of gates serves as bit gates and as token gates. The fixed
guess of a closed bit gate is the frequency of the token, not 1/2.

Source: docs/semantics/gates.md
"""

import dataclasses
import functools
import hashlib
import pathlib
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.gates import engram, ram_gates
from wnn_jax.gates.config import GatingConfig
from wnn_jax.gates.gate import OnStep, apply
from wnn_jax.lm import bitwise, tally, tiered, tiered_layer, tiered_readout
from wnn_jax.saving import progress


class TieredScores(NamedTuple):
    """The scores of a tiered model, and the time that they took.

    Attributes:
      scores: `bitwise.Scores` by kind of gate; ``none`` is the model without gates.
      readout: the readout of a calibrated model, see `tiered_readout.Readout`; None for the published score.
      seconds: time of fitting and scoring.

    Source: docs/semantics/gates.md
    """

    scores: dict[str, bitwise.Scores]
    readout: tiered_readout.Readout | None
    seconds: float


def fit_tiered(
    key: jax.Array,
    config: tiered.TieredConfig,
    gating: GatingConfig,
    train: np.ndarray,
    tokens: np.ndarray,
    pieces: list[bytes],
    *,
    resume: str | pathlib.Path | None = None,
    on_step: OnStep | None = None,
) -> TieredScores:
    """Fit a tiered model and score it without gates and behind each kind, or load the saved scores.

    Args:
      key: draws the model and its gates, see `on_tiered`.
      config: sizes and training rules of the model.
      gating: kinds of gates, and their sizes.
      train: ``int [M]``, the training text.
      tokens: ``int [N]``, the text to score; it continues the training text.
      pieces: the bytes of each of the V ids.
      resume: a folder. Complete scores are saved to it; scores that it holds already are loaded instead of
        computed.
      on_step: called with the number of ids whose clusters have been fitted and read.

    Returns:
      The scores.

    Raises:
      ValueError: the folder holds the progress of other work, or see `on_tiered`.

    Source: docs/semantics/gates.md
    """
    saved = None
    if resume is not None:
        saved = progress.Progress(resume, _describe(key, config, gating, train, tokens, pieces))
    if saved and (found := saved.latest(_loaded)):
        return found
    started = time.perf_counter()
    model = tiered.fit(key, config, train)
    scores = on_tiered(key, gating, model, train, tokens, pieces, on_step)
    jax.block_until_ready(scores)
    result = TieredScores(scores, model.readout, time.perf_counter() - started)
    if saved:
        arrays = {f"{kind}_{field}": x for kind, one in scores.items() for field, x in one._asdict().items()}
        readout = tiered_readout.as_lists(model.readout)
        saved.save(arrays, {"kinds": list(scores), "seconds": result.seconds, "readout": readout})
    return result


def _describe(
    key: jax.Array,
    config: tiered.TieredConfig,
    gating: GatingConfig,
    train: np.ndarray,
    tokens: np.ndarray,
    pieces: list[bytes],
) -> dict[str, Any]:
    """Describe the work as JSON data that differs for every other work."""
    ids = b"".join(b"%d:%s" % (len(one), one) for one in pieces)
    digests = (hashlib.sha256(x) for x in (train.tobytes(), tokens.tobytes(), ids))
    return {
        "model": dataclasses.asdict(config),
        "gates": dataclasses.asdict(gating),
        "text": [x.hexdigest() for x in digests],
        "seed": np.asarray(jax.random.key_data(key)).tolist(),
    }


def _loaded(arrays, about) -> TieredScores:
    names = bitwise.Scores._fields
    scores = {
        kind: bitwise.Scores(*(jnp.asarray(arrays[f"{kind}_{name}"]) for name in names))
        for kind in about["kinds"]
    }
    lists = {name: jnp.asarray(values, jnp.float32) for name, values in about["readout"].items()}
    return TieredScores(scores, tiered_readout.Readout(**lists) if lists else None, about["seconds"])


def on_tiered(
    key: jax.Array,
    gating: GatingConfig,
    model: tiered.TieredModel,
    train: np.ndarray,
    tokens: np.ndarray,
    pieces: list[bytes],
    on_step: OnStep | None = None,
) -> dict[str, bitwise.Scores]:
    """Score a tiered model without gates and behind each kind of gate.

    Args:
      key: the key with which the model was fitted; the gates use parts of it that the model does not.
      gating: kinds of gates, and their sizes.
      model: the model, from `tiered.fit`.
      train: ``int [M]``, the training text.
      tokens: ``int [N]``, the text to score; it continues the training text.
      pieces: the bytes of each of the V ids.
      on_step: called with the number of ids whose clusters have been fitted and read.

    Returns:
      Scores of N tokens by kind of gate; ``none`` is the model without gates. Behind engram gates the best
      ids are not known and are -1.

    Raises:
      ValueError: a gate reads more address bits than the context has, or the training text is too short.

    Source: docs/semantics/gates.md
    """
    keys, config = tiered.split(key), model.layer.config
    words, _ = tiered_layer.inputs(config, np.concatenate([model.history, tokens]))
    scores = tiered_behind_ram_gates(
        key=keys.gates,
        gate=gating.ram,
        kinds=gating.ram_kinds,
        layer=model.layer,
        readout=model.readout,
        train=train,
        words=words,
        tokens=tokens,
        on_step=on_step,
    )
    if "engram" in gating.kinds:

        def refit(first: np.ndarray, rest: np.ndarray) -> jax.Array:
            early = tiered.fit(key, config, first, model.readout)
            return tiered.score(early, rest, on_step).nats

        scores["engram"] = engram.score(
            keys.engram, gating.engram, gating.ram, pieces, train, tokens, scores["none"].nats, refit
        )
    return scores


def tiered_behind_ram_gates(
    key: jax.Array,
    gate: ram_gates.RamGateConfig,
    kinds: Sequence[str],
    layer: tiered_layer.OneHotLayer,
    readout: tiered_readout.Readout | None,
    train: np.ndarray,
    words: jax.Array,
    tokens: np.ndarray,
    on_step: OnStep | None = None,
) -> dict[str, bitwise.Scores]:
    """Score a tiered model without gates and behind each kind of RAM gate, in one pass over its clusters.

    Args:
      key: draws the connectivity of the gates.
      gate: settings of the gates.
      kinds: kinds of `RAM_KINDS`; may be empty.
      layer: the layer of the model.
      readout: the readout of the model; None for its published score.
      train: ``int [M]``, the training text.
      words: ``uint32 [W, N]``, packed contexts of the text to score.
      tokens: ``int [N]``, the text to score.
      on_step: called with the number of ids whose clusters have been fitted and read.

    Returns:
      Scores of N tokens by kind of gate; ``none`` is the model without gates.

    Raises:
      ValueError: a gate reads more address bits than the context has.

    Source: docs/semantics/gates.md
    """
    config, layers = layer.config, [layer]
    if kinds:
        layers.append(ram_gates.token_layer(key, gate, config, layer.wiring.order, train))
    targets, done = jnp.asarray(tokens, jnp.int32), 0
    tallies = {kind: tally.empty(len(tokens)) for kind in ("none", *kinds)}
    for chunks in tiered_layer.votes(layers, words):
        chunk = chunks[0]
        share = tiered_readout.shares(config, chunk.tier, chunk.votes)
        log_p = _cluster_scores(
            tuple(tallies), gate, readout, chunk.tier, share, chunk.frequency, chunks[-1].votes
        )
        tallies = {kind: tally.add(x, chunk.ids, log_p[kind], targets) for kind, x in tallies.items()}
        done += chunk.size
        if on_step:
            on_step("fit and read", done, config.vocabulary)
    return {kind: tally.finish(x) for kind, x in tallies.items()}


@functools.partial(jax.jit, static_argnames=("kinds", "gate"))
def _cluster_scores(
    kinds, gate: ram_gates.RamGateConfig, readout, tier, share, frequency, votes
) -> dict[str, jax.Array]:
    """Compute the scores of some clusters by kind of gate; the work that the kinds share is done once."""
    openness = ram_gates.openness(gate, votes)
    shares = {"none": share, "token": share}
    if "bit" in kinds or "dual" in kinds:
        behind = jnp.exp(apply(ram_gates.bit_gate(openness, frequency), jnp.log(share)))
        shares |= {"bit": behind, "dual": behind}
    log_p = {kind: tiered_readout.log_scores(readout, tier, shares[kind], frequency) for kind in kinds}
    token = ram_gates.token_gate(gate, openness)
    return {kind: apply(token, x) if kind in ("token", "dual") else x for kind, x in log_p.items()}
