"""Scores a static chain model behind gates.

A bit gate is applied to the turns of a token's path. A token gate needs the probabilities of all V tokens, so
every node of the token tree must be read at each place. That takes long, so token and dual gates are tried
only at the first places of a text.

Shape letter of this module: D turns of the longest path.

Source: docs/semantics/gates.md
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import chain, ram
from wnn_jax.chain import fitted, reader, static, tokentree
from wnn_jax.gates import engram, ram_gates
from wnn_jax.gates.config import GatingConfig
from wnn_jax.gates.gate import OnStep, apply
from wnn_jax.lm import bitwise, tiered_layer

CONTEXT = 4  # number of tokens that the RAM gates of a chain model see


class ChainScores(NamedTuple):
    """The scores of a chain model by kind of gate; ``none`` is the model without gates.

    Attributes:
      whole: scores of the whole text, without gates and behind bit and engram gates. Behind these gates the
        best ids are not known and are -1.
      first: scores of the first places of the text, without gates and behind token and dual gates; empty if
        neither kind was chosen.

    Source: docs/semantics/gates.md
    """

    whole: dict[str, bitwise.Scores]
    first: dict[str, bitwise.Scores]


def on_chain(
    key: jax.Array,
    gating: GatingConfig,
    model: chain.ChainModel,
    train: np.ndarray,
    tokens: np.ndarray,
    without: bitwise.Scores,
    *,
    fit_key: jax.Array,
    places: int = 512,
    on_step: OnStep | None = None,
) -> ChainScores:
    """Score a static chain model behind each kind of gate.

    Args:
      key: draws the connectivity of the gates.
      gating: kinds of gates, and their sizes.
      model: the model, fitted on the training text.
      train: ``int [M]``, the training text.
      tokens: ``int [N]``, the text to score; it continues the training text.
      without: the model's scores of ``tokens`` without gates.
      fit_key: the key with which the model was fitted. Engram gates learn on the end of the training text
        from a model that is fitted with this key on the rest.
      places: number of first places at which token and dual gates are tried, at most.
      on_step: called with the number of places that have been read behind token gates.

    Returns:
      The scores.

    Raises:
      ValueError: a gate reads more address bits than the context has, or the training text is too short.

    Source: docs/semantics/gates.md
    """
    turn_key, engram_key, token_key = jax.random.split(key, 3)
    network, pieces = model.network, model.tokenizer.pieces
    start = static.stand_after(network, model.memory, train)
    kinds, whole, first = gating.ram_kinds, {"none": without}, {}
    if kinds:
        sizes = bitwise.BitwiseConfig(len(pieces), CONTEXT, 1, 1)
        words = bitwise.examples(sizes, np.concatenate([train[-CONTEXT:], tokens])).words
        turns = turn_openness(turn_key, gating.ram, network, CONTEXT, train, words)
        if "bit" in kinds:
            nats = read_frozen(network, start, tokens, turns)
            whole["bit"] = bitwise.Scores(nats, jnp.full(len(nats), -1, jnp.int32))
        slow = [kind for kind in kinds if kind != "bit"]
        if slow:
            places = min(places, len(tokens))
            order = tiered_layer.rank_tokens(train, len(pieces))
            tier = ram_gates.single_tier(len(pieces), CONTEXT)
            layer = ram_gates.token_layer(token_key, gating.ram, tier, order, train)
            votes = votes_by_id(layer, words[:, :places])
            first = chain_behind_ram_gates(
                gating.ram, slow, network, start, tokens[:places], turns, votes, on_step
            )
    if "engram" in gating.kinds:

        def refit(first: np.ndarray, rest: np.ndarray) -> jax.Array:
            # Nothing of the rest may be known: the token tree is made without it too.
            build = functools.partial(fitted.wired, model.config, pieces=pieces)
            known = build(first)
            empty: Any = chain.empty(model.config, known)
            early = static.fit(fit_key, known, empty, first, model.config.readout, build=build)
            return read_frozen(known, early, rest)

        whole["engram"] = engram.score(
            engram_key, gating.engram, gating.ram, pieces, train, tokens, without.nats, refit
        )
    return ChainScores(whole, first)


def read_frozen(
    network: chain.Network, memory: chain.StaticMemory, tokens: np.ndarray, turns: jax.Array | None = None
) -> jax.Array:
    """Score a text with a memory that no longer learns, behind gates on its turns if they are given.

    Args:
      network: the network of the model.
      memory: the memory, in its state before the first token.
      tokens: ``int [N]``, the text.
      turns: ``float32 [16, N]``, the openness of the gates, from `turn_openness`; None for no gates.

    Returns:
      The nats of each token, ``float32 [N]``.

    Source: docs/semantics/gates.md
    """
    _, reading = chain.read(network, memory, tokens)
    if turns is not None:
        reading = reading._replace(ones=gate_turns(turns, reading.ones))
    return jnp.asarray(chain.nats(network, reading))


def turn_openness(
    key: jax.Array,
    gate: ram_gates.RamGateConfig,
    network: chain.Network,
    context: int,
    train: np.ndarray,
    words: jax.Array,
) -> jax.Array:
    """Fit the gates of the first 16 turns of a chain model, and read their openness.

    The gate of a turn learns only from tokens whose path has that turn.

    Args:
      key: draws the connectivity of the gates.
      gate: settings of the gates.
      network: the network of the model.
      context: C, the number of tokens that the gates see.
      train: ``int [M]``, the training text.
      words: ``uint32 [W, N]``, packed contexts of C tokens to read, from `bitwise.examples`.

    Returns:
      ``float32 [16, N]``, in [0, 1].

    Raises:
      ValueError: a gate reads more address bits than the context has, or the text is not longer than it.

    Source: docs/semantics/gates.md
    """
    config = bitwise.BitwiseConfig(network.lexicon.shape[0], context, 1, 1)
    taught = bitwise.examples(config, train).words
    bits, there = (x[:, : tokentree.CODE_BITS].T for x in chain.turns(network, train[context:]))
    index = np.concatenate([np.flatnonzero(x) for x in there])
    label = np.concatenate([bit[where] for bit, where in zip(bits, there, strict=True)])
    ends = np.cumsum([0, *there.sum(axis=1)])
    span = jnp.asarray(np.stack([ends[:-1], ends[1:]], axis=1), jnp.int32)
    targets = jnp.broadcast_to(jnp.asarray(label), (len(there), len(label)))
    examples = ram.Examples(taught[:, index], targets, span=span)
    return _bit_openness(key, gate, config.input_bits, examples, words)


def gate_turns(openness: jax.Array, ones: jax.Array) -> jax.Array:
    """Put gates on the first 16 turns; later turns stay as they are.

    Args:
      openness: ``float32 [16, N]``, from `turn_openness`.
      ones: ``float32 [N, D]``, the probability of bit 1 at every turn.

    Returns:
      ``float32 [N, D]``, the gated probabilities.

    Source: docs/semantics/gates.md
    """
    gates = openness.T[:, : ones.shape[1]]
    first = jnp.exp(apply(ram_gates.bit_gate(gates), jnp.log(ones[:, : gates.shape[1]])))
    return ones.at[:, : gates.shape[1]].set(first)


def chain_behind_ram_gates(
    gate: ram_gates.RamGateConfig,
    kinds: Sequence[str],
    network: chain.Network,
    memory: chain.StaticMemory,
    tokens: np.ndarray,
    turns: jax.Array,
    votes: jax.Array,
    on_step: OnStep | None = None,
) -> dict[str, bitwise.Scores]:
    """Score a static chain model without gates and behind each kind of RAM gate.

    Every place reads every node of the token tree, so this is for some hundred places, not for a whole text.

    Args:
      gate: settings of the gates.
      kinds: kinds of `RAM_KINDS`.
      network: the network of the model.
      memory: the memory of the model, in its state before the first token.
      tokens: ``int [N]``, the text.
      turns: ``float32 [16, N]``, the openness of the gates of turns, from `turn_openness`.
      votes: ``int32 [V, N]``, the votes of the token gates by id, from `votes_by_id`.
      on_step: called with the number of places that have been read.

    Returns:
      Scores of N tokens by kind of gate; ``none`` is the model without gates. On ties the lowest id is best.

    Source: docs/semantics/gates.md
    """
    rows: dict[str, list] = {kind: [] for kind in ("none", *kinds)}
    for i in range(len(tokens)):
        token = jnp.asarray(tokens[i], jnp.int32)
        one = _node_chances(network, memory)
        for kind, row in rows.items():
            row.append(_place_scores(kind, gate, network.tree, one, turns[:, i], votes[:, i], token))
        memory, _ = chain.read(network, memory, tokens[i : i + 1])
        if on_step:
            on_step("token gates", i + 1, len(tokens))
    scores = {}
    for kind, row in rows.items():
        nats, best = zip(*row, strict=True)
        scores[kind] = bitwise.Scores(jnp.stack(nats), jnp.stack(best))
    return scores


_bit_openness = jax.jit(ram_gates.bit_openness, static_argnums=(1, 2))
_node_chances = jax.jit(reader.node_chances)


@functools.partial(jax.jit, static_argnames=("kind", "gate"))
def _place_scores(kind: str, gate: ram_gates.RamGateConfig, tree, one, turns, votes, token):
    if kind in ("bit", "dual"):
        depth = reader.depths(tree)
        openness = jnp.where(depth < len(turns), turns[jnp.minimum(depth, len(turns) - 1)], 1.0)
        one = jnp.exp(apply(ram_gates.bit_gate(openness), jnp.log(one)))
    log_p = jnp.log(reader.token_chances(tree, one))
    if kind in ("token", "dual"):
        log_p = apply(ram_gates.token_gate(gate, ram_gates.openness(gate, votes)), log_p)
    return jax.nn.logsumexp(log_p) - log_p[token], jnp.argmax(log_p).astype(jnp.int32)


def votes_by_id(layer: tiered_layer.OneHotLayer, words: jax.Array) -> jax.Array:
    """Read the votes of all clusters of a one-hot layer at some places, sorted by token id.

    Args:
      layer: the layer.
      words: ``uint32 [W, N]``, packed contexts of a few places, because the result has V rows.

    Returns:
      ``int32 [V, N]``.

    Source: docs/semantics/gates.md
    """
    votes = np.zeros((layer.config.vocabulary, words.shape[1]), np.int32)
    for (chunk,) in tiered_layer.votes([layer], words):
        ids = np.asarray(chunk.ids)
        own = np.broadcast_to(chunk.votes, (len(ids), words.shape[1]))
        votes[ids[ids >= 0]] = own[ids >= 0]
    return jnp.asarray(votes)
