"""The model that learns while it reads: one turn of it, in plain JAX.

A turn is predicted from the inputs of all parts, and then each part learns its bit. The parts are the cells
of the neurons (`cells`), the maps of their states (`maps`), their lists of tokens (`lists`), the matches
(`matches`), the recent bits of the node (`recency`), the weights that mix all these (`weights`), and the maps
that refine the result (`refinement`).

This is the contract of the native kernels (metal_ext/src/chain_online_kernel.h and what it includes, and
chain_online_reader.h). Counts, hashes and choices agree to the bit. Probabilities agree to a few units in the
sixth digit, because XLA adds floats in its own order.

Every write of a large array depends on all that was read from it in the turn. Otherwise XLA could not be sure
that it may write in place, and would copy the array in every turn. So a prediction has all that was read.

Source: docs/semantics/chain.md
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax.chain import cells, fields, lists, maps, matches, recency, refinement, weights
from wnn_jax.chain.constants import BIAS, CLASSES, FIELDS, LEAST, SET_ROWS, SHAPES, WeightSet
from wnn_jax.chain.contexts import Network, hash_fields
from wnn_jax.chain.online import OnlineMemory

NODES = 1024  # nodes that are predicted at once


class Place(NamedTuple):
    """A place in a text, before its token is known.

    Attributes:
      hashes: ``uint32 [n]``, the hash of the fields that each neuron observes.
      facts: what chooses weights and maps.
      now: ``uint32 []``, the number of tokens that were read.
      listed: the tokens that followed the same contexts last; None in a model without lists.
      matches: the tokens that the matches expect.

    Source: docs/semantics/chain.md
    """

    hashes: jax.Array
    facts: weights.Facts
    now: jax.Array
    listed: lists.Listed | None
    matches: matches.Matches


class Prediction(NamedTuple):
    """A prediction of a bit, with all that is needed to learn from it.

    Attributes:
      one: ``float32 []``, P(bit = 1).
      found: the cells of the neurons.
      states: the entries of the maps of their states.
      runs: the entries of the maps of their runs; None in a model without runs.
      expected: the bits that the matches expect.
      recent: ``float32 [3, 2]``, the recent bits of the node.
      mixed: the mixture of all inputs.
      refined: the refined mixture.

    Source: docs/semantics/chain.md
    """

    one: jax.Array
    found: cells.Cells
    states: maps.Entries
    runs: maps.Entries | None
    expected: matches.Expected
    recent: jax.Array
    mixed: weights.Mixed
    refined: refinement.Refined


def begin(network: Network, memory: OnlineMemory) -> tuple[OnlineMemory, Place]:
    """Prepares for a token: finds the matches, hashes its contexts, and finds what the lists expect.

    Args:
      network: the wiring.
      memory: the memory; only what follows the text changes.

    Source: docs/semantics/chain.md
    """
    memory, found = matches.begin(memory)
    seen = matches.fill(fields.fields(network.lexicon, memory.registers), found)
    hashes, now = hash_fields(network, seen), memory.position[0]
    listed = lists.look_up(network, memory, hashes) if len(memory.lists) else None
    return memory, Place(hashes, _facts(seen), now, listed, found)


def _facts(seen: jax.Array) -> weights.Facts:
    """Returns the facts that choose rows, from the fields of a place.

    The lexicon may have any entries, but each fact has its rows.
    """
    field = {name: seen[place] for place, name in enumerate(FIELDS)}

    def below(name, rows):
        return jnp.minimum(field[name], rows - 1).astype(jnp.int32)

    return weights.Facts(
        class1=below("class6_1", CLASSES),
        class2=below("class6_2", CLASSES),
        class9=below("class9_1", SET_ROWS[WeightSet.CLASS9]),
        shape=below("shape1", SHAPES),
        token1=field["token1"],
        token2=field["token2"],
        word=field["word"],
        byte=field["bytes1"].astype(jnp.int32),
        byte_before=(field["bytes2"] >> 8).astype(jnp.int32),
    )


def predict(
    network: Network, memory: OnlineMemory, place: Place, node: jax.Array, depth: jax.Array
) -> Prediction:
    """Predicts the bit at a node.

    Args:
      network: the wiring.
      memory: the memory.
      place: the place in the text.
      node: ``int32 []``.
      depth: ``int32 []``, the depth of the node.

    Source: docs/semantics/chain.md
    """
    tree, now = network.tree, place.now
    zone = tree.spelled[node]
    found = cells.find(network, memory, place.hashes, node, now)
    state = cells.states(found, zone, depth, now)
    states = maps.look_up(memory.maps, state, found.known)
    runs = maps.look_up(memory.run_maps, *cells.runs(found, state)) if len(memory.run_maps) else None
    expected = matches.expect(tree, memory, place.matches, node, depth)
    recent = recency.counts(memory, node, now)
    inputs = [*cells.odds(found, now), maps.odds(states)]
    inputs += [] if place.listed is None else [lists.odds(tree, place.listed, node, depth)]
    inputs += [] if runs is None else [maps.odds(runs)]
    inputs += [expected.odds, recency.odds(recent), expected.centred]
    inputs = jnp.concatenate([*inputs, jnp.full(1, BIAS, jnp.float32)])
    inputs = jnp.pad(inputs, (0, memory.weights.shape[1] - inputs.shape[0]))
    longest, matched = jnp.maximum(expected.longest, 0), expected.longest >= 0
    turn = weights.Turn(
        kind=tree.kind[node],
        zone=zone,
        depth=depth,
        hits=cells.hits(found),
        known=found.known.sum(dtype=jnp.int32),
        neurons=state.shape[0],
        expected=jnp.where(matched, expected.bit[longest], -1),
        step=place.matches.step[longest],
    )
    mixed = weights.mix(memory, network.sets, inputs, weights.choose(place.facts, turn))
    guess = jnp.where(matched, place.matches.guess[longest], -1)
    where = refinement.places(tree, place.facts, node, guess)
    refined = refinement.refine(memory, mixed.odds, where)
    one = weights.between(refined.one, LEAST, 1.0 - LEAST)
    return Prediction(one, found, states, runs, expected, recent, mixed, refined)


def chances(
    network: Network, memory: OnlineMemory, place: Place, node: jax.Array, depth: jax.Array
) -> jax.Array:
    """Returns P(bit = 1), ``float32 [N]``, at many nodes of one place.

    Args:
      network: the wiring.
      memory: the memory.
      place: the place in the text.
      node: ``int32 [N]``.
      depth: ``int32 [N]``, the depths of the nodes.

    Source: docs/semantics/chain.md
    """

    def one(turn):
        return predict(network, memory, place, *turn).one

    return jax.lax.map(one, (node, depth), batch_size=NODES)


def learn(
    memory: OnlineMemory, place: Place, node: jax.Array, bit: jax.Array, said: Prediction
) -> OnlineMemory:
    """Learns the bit at a node.

    Args:
      memory: the memory.
      place: the place in the text.
      node: ``int32 []``.
      bit: ``int32 []``.
      said: what this memory predicted.

    Source: docs/semantics/chain.md
    """
    memory = refinement.learn(memory, said.refined, bit)
    memory = weights.learn(memory, said.mixed, bit)
    memory = recency.learn(memory, node, said.recent, bit, place.now)
    memory = matches.learn(memory, said.expected, bit)
    memory = memory._replace(maps=_moved(memory.maps, said.states, bit))
    if said.runs is not None:
        memory = memory._replace(run_maps=_moved(memory.run_maps, said.runs, bit))
    return cells.learn(memory, said.found, bit, place.now)


def _moved(known: jax.Array, entries: maps.Entries, bit: jax.Array) -> jax.Array:
    return maps.write(known, entries, maps.moved(entries, bit))


def end(network: Network, memory: OnlineMemory, place: Place, token: jax.Array, learn: bool) -> Any:
    """Adds a token to the text, and with ``learn`` to the lists of its contexts.

    Args:
      network: the wiring.
      memory: the memory.
      place: the place in the text.
      token: ``int32 []``.
      learn: whether the lists change too.

    Source: docs/semantics/chain.md
    """
    if learn and place.listed is not None:
        memory = lists.add(memory, place.hashes, token)
    memory = matches.end(memory, token)
    return fields.put(memory, fields.remember(network.lexicon, fields.of(memory), token))
