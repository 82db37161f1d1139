"""Scores of a tiered model behind gates.

In a one-hot code the bits *are* the tokens, so a tiered model has one layer of gates for both, and what its
clusters say without looking is not 1/2 but how often their token comes.
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
    """Scores of a tiered model and what they took.

    Attributes:
      scores: `bitwise.Scores` by kind of gate; without gates as ``none``.
      readout: of the calibrated model, see `tiered_readout.Readout`; None for the published score.
      seconds: spent.
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
    """A tiered model fitted and scored, without gates and behind each kind; or its scores as they were saved.

    Args:
      key: see `on_tiered`.
      config: of the model.
      gating: which gates, and their sizes.
      train: the training text, M ids.
      tokens: ``[N]`` ids to score, which continue the training text.
      pieces: the bytes of each of the V ids.
      resume: a folder to save the scores to once they are complete, and to read them from instead of making
        them again.
      on_step: hears how many ids have been fitted and read.

    Raises:
      ValueError: the folder holds the progress of other work.
    """
    saved = None
    if resume is not None:
        saved = progress.Progress(resume, _describe(key, config, gating, train, tokens, pieces))
    if saved and (found := saved.latest()):
        return _loaded(*found)
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
    """JSON data that tells this work from other work."""
    digests = (hashlib.sha256(x) for x in (train.tobytes(), tokens.tobytes(), b"\n".join(pieces)))
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
    """Scores of a tiered model without gates, as ``none``, and behind each kind of gate.

    Args:
      key: with which the model was fitted; its gates draw from it what the model did not.
      gating: which gates, and their sizes.
      model: from `tiered.fit`.
      train: the training text, M ids.
      tokens: ``[N]`` ids to score, which continue the training text.
      pieces: the bytes of each of the V ids.
      on_step: hears how many ids have been fitted and read.
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
    """Scores of a tiered model without gates, as ``none``, and behind each kind of RAM gate, in one pass.

    Args:
      key: draws the gates' connectivity.
      gate: sizes of the gates, and how they are read.
      kinds: of `RAM_KINDS`, or none.
      layer, readout: the model; without a readout its published score.
      train: the training text, M ids.
      words, tokens: ``uint32 [W, N]`` and ``[N]`` to score.
      on_step: hears how many ids have been fitted and read.
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
    """Scores of some clusters without gates and behind them, what they share computed once."""
    openness = ram_gates.openness(gate, votes)
    shares = {"none": share, "token": share}
    if "bit" in kinds or "dual" in kinds:
        behind = jnp.exp(apply(ram_gates.bit_gate(openness, frequency), jnp.log(share)))
        shares |= {"bit": behind, "dual": behind}
    log_p = {kind: tiered_readout.log_scores(readout, tier, shares[kind], frequency) for kind in kinds}
    token = ram_gates.token_gate(gate, openness)
    return {kind: apply(token, x) if kind in ("token", "dual") else x for kind, x in log_p.items()}
