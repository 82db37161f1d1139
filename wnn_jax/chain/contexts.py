"""The cells that context neurons address by the fields that they observe.

A neuron hashes the fields (`fields`) that it is connected to. This hash and the name of a node of the token
tree address a cell: they give a bucket of the neuron's row, and a tag within the bucket. All arithmetic is
exact, in ``uint32``.

Source: docs/semantics/chain.md
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.chain import tokentree
from wnn_jax.chain.constants import FIELDS, MOST_NEURONS, VIEWS
from wnn_jax.hashing import mix


class Network(NamedTuple):
    """The wiring of a chain model: the parts that stay the same while it is fitted and while it reads.

    Attributes:
      tree: a `tokentree.TokenTree` of arrays.
      lexicon: ``uint32 [V, 23]``, see `constants.Lexicon`.
      connections: ``int32 [n, T]``: the fields that each of n context neurons observes, as places in
        `FIELDS`; -1 where it observes fewer than T.
      view: ``int32 [n]``: which of the three names of a node each neuron uses, as a place in `VIEWS`.
      sets: ``int32 [K]``: the sets of weights of an online model, see `WeightSet`; the first is
        `WeightSet.ONE`.

    Source: docs/semantics/chain.md
    """

    tree: tokentree.TokenTree
    lexicon: jax.Array
    connections: jax.Array
    view: jax.Array
    sets: jax.Array


def wire(described: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the connections ``int32 [n, T]`` and the views ``int32 [n]`` of context neurons.

    Args:
      described: for each neuron its view, one of `VIEWS`, and the fields that it observes, separated by
        spaces.

    Raises:
      ValueError: a view or a field is unknown, or no neuron or more than 256 are described.

    Source: docs/semantics/chain.md
    """
    words = [one.split() or [""] for one in described]
    views, wired = [row[0] for row in words], [row[1:] for row in words]
    unknown = [view for view in views if view not in VIEWS]
    unknown += [name for row in wired for name in row if name not in FIELDS]
    if unknown or not described:
        raise ValueError(
            (f"unknown view or field {unknown[0]!r}" if unknown else "no neuron is described")
            + f": name one of the views {', '.join(VIEWS)}, then some of the fields {', '.join(FIELDS)}"
        )
    if len(described) > MOST_NEURONS:
        raise ValueError(
            f"{len(described)} context neurons are described: give at most {MOST_NEURONS} of them"
        )
    connections = np.full((len(wired), max(1, *(len(row) for row in wired))), -1, np.int32)
    for row, names in zip(connections, wired, strict=True):
        row[: len(names)] = [FIELDS.index(name) for name in names]
    return connections, np.array([VIEWS.index(view) for view in views], np.int32)


def hash_fields(network: Network, fields: jax.Array) -> jax.Array:
    """Returns the hash ``uint32 [n]`` of the fields that each neuron observes at one place.

    Args:
      network: the wiring.
      fields: ``uint32 [F]``, the fields of the place.

    Source: docs/semantics/chain.md
    """
    h = jnp.arange(1, network.view.shape[0] + 1, dtype=jnp.uint32)
    for t in range(network.connections.shape[1]):
        field = network.connections[:, t]
        h = jnp.where(field >= 0, mix(h, fields[jnp.maximum(field, 0)]), h)
    return h


def address(network: Network, log_slots: int, hashes: jax.Array, node: jax.Array):
    """Returns the buckets and the tags that the neurons address at nodes.

    Args:
      network: the wiring.
      log_slots: log2 of the number of cells in a neuron's row.
      hashes: ``uint32 [n]``, the hash of each neuron's fields.
      node: ``int32 [...]``, nodes of the token tree.

    Returns:
      the buckets ``int32 [n, ...]`` and the tags ``uint32 [n, ...]``, from 1 to 65,535.

    Source: docs/semantics/chain.md
    """
    view = network.view.reshape(-1, *[1] * node.ndim)
    return spread(mix(hashes.reshape(view.shape), network.tree.names[view, node[None]]), log_slots)


def spread(h: jax.Array, log_slots: int):
    """Splits a hash into a bucket ``int32 [...]`` and a tag ``uint32 [...]``.

    Both are high bits of a product of the hash, each with its own factor, so neither determines the other.

    Args:
      h: ``uint32 [...]``, the hash.
      log_slots: log2 of the number of cells in a row.

    Source: docs/semantics/chain.md
    """
    bucket = (h * jnp.uint32(0x9E3779B1)) >> (34 - log_slots) if log_slots > 2 else jnp.zeros_like(h)
    return bucket.astype(jnp.int32), jnp.maximum((h * jnp.uint32(0x2545F491)) >> 16, 1)
