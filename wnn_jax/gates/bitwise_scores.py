"""Scores a bitwise model behind gates.

Source: docs/semantics/gates.md
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import ram
from wnn_jax.gates import engram, ram_gates
from wnn_jax.gates.config import GatingConfig
from wnn_jax.gates.gate import OnStep, apply
from wnn_jax.lm import bitwise, tally, tiered_layer


def on_bitwise(
    key: jax.Array,
    gating: GatingConfig,
    config: bitwise.BitwiseConfig,
    connections: jax.Array,
    votes: jax.Array,
    train: np.ndarray,
    tokens: np.ndarray,
    pieces: list[bytes],
    fit_and_read: Callable[[np.ndarray, jax.Array], jax.Array],
    on_step: OnStep | None = None,
) -> dict[str, bitwise.Scores]:
    """Score a bitwise model without gates and behind each kind of gate.

    Args:
      key: draws the connectivity of the gates.
      gating: kinds of gates, and their sizes.
      config: sizes of the model.
      connections: ``int [B, n, T]``, the connectivity of the model.
      votes: ``int32 [B, N]``, the votes of the model for the scored tokens.
      train: ``int [M]``, the training text.
      tokens: ``int [N]``, the text to score; it continues the training text.
      pieces: the bytes of each of the V ids.
      fit_and_read: a function of a text ``int [M']`` and of packed contexts ``uint32 [W, H]``. It fits the
        model on the text and returns its votes ``int32 [B, H]`` on the contexts. Only engram gates call it:
        they learn on the end of the training text from a model that was fitted on the rest.
      on_step: called with the number of ids whose token gates have been fitted and read.

    Returns:
      Scores of N tokens by kind of gate; ``none`` is the model without gates. Behind engram gates the best
      ids are not known and are -1.

    Raises:
      ValueError: a gate reads more address bits than the context has, or the training text is too short.

    Source: docs/semantics/gates.md
    """
    ram_key, engram_key = jax.random.split(key)
    logs = bitwise.log_probabilities(votes, connections)
    evaluated = bitwise.examples(config, np.concatenate([train[-config.context :], tokens]))
    scores = {"none": bitwise.score(config, *logs, evaluated.targets)}
    scores |= bitwise_behind_ram_gates(
        key=ram_key,
        gate=gating.ram,
        kinds=gating.ram_kinds,
        config=config,
        train=train,
        evaluated=evaluated,
        logs=logs,
        tokens=tokens,
        on_step=on_step,
    )
    if "engram" in gating.kinds:

        def refit(first: np.ndarray, rest: np.ndarray) -> jax.Array:
            held_out = bitwise.examples(config, np.concatenate([first[-config.context :], rest]))
            votes = fit_and_read(first, held_out.words)
            return bitwise.cross_entropy(config, connections, votes, held_out.targets)

        scores["engram"] = engram.score(
            engram_key, gating.engram, gating.ram, pieces, train, tokens, scores["none"].nats, refit
        )
    return scores


def bitwise_behind_ram_gates(
    key: jax.Array,
    gate: ram_gates.RamGateConfig,
    kinds: Sequence[str],
    config: bitwise.BitwiseConfig,
    train: np.ndarray,
    evaluated: ram.Examples,
    logs: tuple[jax.Array, jax.Array],
    tokens: np.ndarray,
    on_step: OnStep | None = None,
) -> dict[str, bitwise.Scores]:
    """Score a bitwise model behind each kind of RAM gate.

    Args:
      key: draws the connectivity of the gates.
      gate: settings of the gates.
      kinds: kinds of `RAM_KINDS`.
      config: sizes of the model.
      train: ``int [M]``, the training text.
      evaluated: N examples to score; ``tokens`` are their targets.
      logs: two ``float32 [B, N]``, the log-probabilities of bit 1 and bit 0, from
        `bitwise.log_probabilities`.
      tokens: ``int [N]``, the text to score.
      on_step: called with the number of ids whose token gates have been fitted and read.

    Returns:
      Scores of N tokens by kind of gate.

    Raises:
      ValueError: a gate reads more address bits than the context has.

    Source: docs/semantics/gates.md
    """
    bit_key, token_key = jax.random.split(key)
    scores, gated = {}, logs
    if "bit" in kinds or "dual" in kinds:
        taught = bitwise.examples(config, train)
        openness = _bit_openness(bit_key, gate, config.input_bits, taught, evaluated.words)
        one = ram_gates.bit_gate(openness)
        gated = apply(one, logs[0]), apply(one, logs[1])
    if "bit" in kinds:
        scores["bit"] = bitwise.score(config, *gated, evaluated.targets)
    ungated = {kind: x for kind, x in (("token", logs), ("dual", gated)) if kind in kinds}
    if ungated:
        order = tiered_layer.rank_tokens(train, config.vocabulary)
        sizes = ram_gates.single_tier(config.vocabulary, config.context)
        layer = ram_gates.token_layer(token_key, gate, sizes, order, train)
        scores |= _behind_token_gates(gate, layer, config, evaluated.words, ungated, tokens, on_step)
    return scores


def _behind_token_gates(gate, layer, config, words, ungated, tokens, on_step) -> dict[str, bitwise.Scores]:
    """Score tokens behind token gates, from the log-probabilities of bits in ``ungated`` by kind."""
    tallies, targets = {kind: tally.empty(len(tokens)) for kind in ungated}, jnp.asarray(tokens, jnp.int32)
    done = 0
    for (chunk,) in tiered_layer.votes([layer], words):
        keep = ram_gates.token_gate(gate, ram_gates.openness(gate, chunk.votes))
        alike = len(chunk.votes) < len(chunk.ids)
        # Ids that share their gate's votes still have different scores.
        size = max(1, tiered_layer.VOTES // max(len(tokens), 1)) if alike else len(chunk.ids)
        for first in range(0, len(chunk.ids), size):
            ids = chunk.ids[first : first + size]
            for kind, x in ungated.items():
                log_p = apply(keep, _token_scores(config, *x, ids))
                tallies[kind] = tally.add(tallies[kind], ids, log_p, targets)
        done += chunk.size
        if on_step:
            on_step("token gates", done, config.vocabulary)
    return {kind: tally.finish(x) for kind, x in tallies.items()}


_bit_openness = jax.jit(ram_gates.bit_openness, static_argnums=(1, 2))
_token_scores = jax.jit(bitwise.token_scores, static_argnums=0)
