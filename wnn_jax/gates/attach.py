"""Where gates meet models: bitwise, tiered and chain behind RAM gates, all by `layers.attach`.

A bit gate is attached to what a model's own bits say: code bits, one-hot clusters, turns of a path. A token
gate is attached to the tokens these make up, which are then normalised over all V. Content gates need nothing
of a model but the probability it gave the token that came: `engram.nats`.

In a one-hot code the bits *are* the tokens, so a tiered model has one layer of gates for both, and what its
clusters say without looking is not 1/2 but how often their token comes.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import chain, ram
from wnn_jax.chain import reader, tokentree
from wnn_jax.gates import layers
from wnn_jax.lm import bitwise, tally, tiered, tiered_readout

RAM_KINDS = ("token", "bit", "dual")
Watch = Callable[[Iterable], Iterable]  # hands on chunks as they come, and may show a progress bar


def on_bitwise(
    key: jax.Array,
    gate: layers.GateConfig,
    kinds: Sequence[str],
    config: bitwise.BitwiseConfig,
    train: np.ndarray,
    evaluated: ram.Examples,
    logs: tuple[jax.Array, jax.Array],
    tokens: np.ndarray,
    watch: Watch = iter,
) -> dict[str, bitwise.Scores]:
    """Scores of a bitwise model behind each kind of gate.

    Args:
      key: draws the gates' connectivity.
      gate, kinds: what the gates are; of `RAM_KINDS`.
      train: the training text.
      evaluated: what is scored, N examples; ``tokens`` are their targets.
      logs: ``float32 [B, N]`` of bit 1 and of bit 0, from `bitwise.log_probabilities`.
    """
    bit_key, token_key = jax.random.split(key)
    scores, gated = {}, logs
    if "bit" in kinds or "dual" in kinds:
        taught = bitwise.examples(config, train)
        openness = _bit_gates(bit_key, gate, config.input_bits, taught, evaluated.words)
        one = layers.bit(openness)
        gated = layers.attach(one, logs[0]), layers.attach(one, logs[1])
    if "bit" in kinds:
        scores["bit"] = bitwise.score(config, *gated, evaluated.targets)
    by_kind = {kind: x for kind, x in (("token", logs), ("dual", gated)) if kind in kinds}
    if by_kind:
        order = tiered.ranked(train, config.vocabulary)
        alone = layers.alone(config.vocabulary, config.context)
        layer = layers.token_layer(token_key, gate, alone, order, train)
        tallies, came = {kind: tally.empty(len(tokens)) for kind in by_kind}, jnp.asarray(tokens, jnp.int32)
        for (chunk,) in watch(tiered.votes([layer], evaluated.words)):
            keep = layers.token(gate, layers.opened(gate, chunk.votes))
            alike = len(chunk.votes) < len(chunk.ids)
            # Ids whose gates are alike still have scores of their own.
            piece = max(1, tiered.VOTES // max(len(tokens), 1)) if alike else len(chunk.ids)
            for first in range(0, len(chunk.ids), piece):
                ids = chunk.ids[first : first + piece]
                for kind, x in by_kind.items():
                    said = layers.attach(keep, _token_scores(config, *x, ids))
                    tallies[kind] = tally.add(tallies[kind], ids, said, came)
        scores |= {kind: tally.finish(x) for kind, x in tallies.items()}
    return scores


_bit_gates = jax.jit(layers.bit_gates, static_argnums=(1, 2))
_token_scores = jax.jit(bitwise.token_scores, static_argnums=0)


def on_tiered(
    key: jax.Array,
    gate: layers.GateConfig,
    kinds: Sequence[str],
    layer: tiered.Layer,
    readout: tiered_readout.Readout | None,
    train: np.ndarray,
    words: jax.Array,
    tokens: np.ndarray,
    watch: Watch = iter,
) -> dict[str, bitwise.Scores]:
    """Scores of a tiered model without gates, as ``none``, and behind each kind, in one pass.

    Args:
      key: draws the gates' connectivity.
      gate, kinds: what the gates are; of `RAM_KINDS`, or none.
      layer, readout: the model; without a readout its published score.
      train: the training text, M ids.
      words, tokens: what is scored.
    """
    config, voters = layer.config, [layer]
    if kinds:
        voters.append(layers.token_layer(key, gate, config, layer.model.order, train))
    came = jnp.asarray(tokens, jnp.int32)
    tallies = {kind: tally.empty(len(tokens)) for kind in ("none", *kinds)}
    for chunks in watch(tiered.votes(voters, words)):
        chunk = chunks[0]
        share = tiered_readout.shares(config, chunk.tier, chunk.votes)
        said = _tiered_scores(
            tuple(tallies), gate, readout, chunk.tier, share, chunk.frequency, chunks[-1].votes
        )
        tallies = {kind: tally.add(x, chunk.ids, said[kind], came) for kind, x in tallies.items()}
    return {kind: tally.finish(x) for kind, x in tallies.items()}


@functools.partial(jax.jit, static_argnames=("kinds", "gate"))
def _tiered_scores(
    kinds, gate: layers.GateConfig, readout, tier, share, often, votes
) -> dict[str, jax.Array]:
    """Scores of some clusters without gates and behind them, what they share computed once."""
    openness = layers.opened(gate, votes)
    shares = {"none": share, "token": share}
    if "bit" in kinds or "dual" in kinds:
        behind = jnp.exp(layers.attach(layers.bit(openness, often), jnp.log(share)))
        shares |= {"bit": behind, "dual": behind}
    said = {kind: tiered_readout.log_scores(readout, tier, shares[kind], often) for kind in kinds}
    token = layers.token(gate, openness)
    return {kind: layers.attach(token, x) if kind in ("token", "dual") else x for kind, x in said.items()}


def turn_gates(
    key: jax.Array,
    gate: layers.GateConfig,
    model: chain.Network,
    context: int,
    train: np.ndarray,
    words: jax.Array,
) -> jax.Array:
    """How open the gates of a chain model's first turns are, ``float32 [16, N]``.

    Each turn's gate is taught only by tokens whose path goes so far.

    Args:
      key: draws the gates' connectivity.
      context: C, tokens that the gates see.
      words: ``uint32 [W, N]`` to read, of a bitwise model of that context.
    """
    config = bitwise.BitwiseConfig(model.lexicon.shape[1], context, 1, 1)
    taught = bitwise.examples(config, train).words
    turned, there = (x[:, : tokentree.CODE_BITS].T for x in chain.turns(model, train[context:]))
    index = np.concatenate([np.flatnonzero(x) for x in there])
    label = np.concatenate([bit[where] for bit, where in zip(turned, there, strict=True)])
    ends = np.cumsum([0, *there.sum(axis=1)])
    span = jnp.asarray(np.stack([ends[:-1], ends[1:]], axis=1), jnp.int32)
    targets = jnp.broadcast_to(jnp.asarray(label), (len(there), len(label)))
    return _bit_gates(key, gate, config.input_bits, ram.Examples(taught[:, index], targets, span=span), words)


def gated_turns(openness: jax.Array, ones: jax.Array) -> jax.Array:
    """P(bit = 1) ``float32 [N, D]`` of turns behind gates ``[16, N]``; later turns have none."""
    gates = openness.T[:, : ones.shape[1]]
    first = jnp.exp(layers.attach(layers.bit(gates), jnp.log(ones[:, : gates.shape[1]])))
    return ones.at[:, : gates.shape[1]].set(first)


def on_chain_places(
    gate: layers.GateConfig,
    kinds: Sequence[str],
    model: chain.Network,
    memory: chain.StaticMemory,
    tokens: np.ndarray,
    turns: jax.Array,
    votes: jax.Array,
    watch: Watch = iter,
) -> tuple[chain.StaticMemory, dict[str, bitwise.Scores]]:
    """Scores of a frozen chain model without gates, as ``none``, and behind each kind.

    Token gates need the probability of all V tokens at a place, which costs a look at every node of the tree:
    for some places, not for a text.

    Args:
      memory: stands before the first token; consumed, and handed back behind the last.
      turns: ``float32 [16, N]`` from `turn_gates`.
      votes: ``int32 [V, N]`` of token gates, by id.
    """
    found: dict[str, list] = {kind: [] for kind in ("none", *kinds)}
    for i in watch(range(len(tokens))):
        token = jnp.asarray(tokens[i], jnp.int32)
        one = _node_chances(model, memory)
        for kind, rows in found.items():
            rows.append(_chain_scores(kind, gate, model.tree, one, turns[:, i], votes[:, i], token))
        memory, _ = chain.read(model, memory, tokens[i : i + 1], learn=False)
    scores = {}
    for kind, rows in found.items():
        nats, best = zip(*rows, strict=True)
        scores[kind] = bitwise.Scores(jnp.stack(nats), jnp.stack(best))
    return memory, scores


_node_chances = jax.jit(reader.node_chances)


@functools.partial(jax.jit, static_argnames=("kind", "gate"))
def _chain_scores(kind: str, gate: layers.GateConfig, tree, one, turns, votes, token):
    if kind in ("bit", "dual"):
        depth = reader.depths(tree)
        openness = jnp.where(depth < len(turns), turns[jnp.minimum(depth, len(turns) - 1)], 1.0)
        one = jnp.exp(layers.attach(layers.bit(openness), jnp.log(one)))
    said = jnp.log(reader.token_chances(tree, one))
    if kind in ("token", "dual"):
        said = layers.attach(layers.token(gate, layers.opened(gate, votes)), said)
    return jax.nn.logsumexp(said) - said[token], jnp.argmax(said).astype(jnp.int32)


def by_id(chunks: Iterator[tuple[tiered.Chunk, ...]], vocabulary: int) -> jax.Array:
    """Votes ``int32 [V, N]`` of a layer, of few places: all chunks side by side in the order of ids."""
    found = None
    for (chunk,) in chunks:
        ids = np.asarray(chunk.ids)
        votes = np.broadcast_to(chunk.votes, (len(ids), chunk.votes.shape[1]))
        found = np.zeros((vocabulary, votes.shape[1]), np.int32) if found is None else found
        found[ids[ids >= 0]] = votes[ids >= 0]
    return jnp.asarray(found)
