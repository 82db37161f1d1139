"""Objectives that let `wnn_jax.search` search for mappings, and the mapping of a genome that it found.

A genome ``[K, n, T]`` gives each class neurons of its own, as many as the bounds allow, and each neuron the
input bits that it reads. The search fits it on a part of the rows and scores it on another; rows that it was
not given, such as test rows, never take part.

    column, level = encoders.places(encoder)
    data = objective.examples(levels, column, level, labels, classes)
    goal = ClassObjective(search.Bounds(len(column), max_neurons=40, max_bits=10), classes)
    found = search.run(key, search.tabu(goal), data)
    mapping, owner = objective.mapping_of(found.genome, column, level)
    table = counts.write(mapping, counts.empty(mapping, 2**10, classes), levels, labels)
    table = objective.serve(table, owner)

Shape letters are those of `layer`, and n neurons of one class; M scored rows.

Source: docs/semantics/classify.md, docs/semantics/search.md
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, ram
from wnn_jax.checks import Limits
from wnn_jax.classify.layer import UNUSED, Mapping, dense
from wnn_jax.search.moves import Bounds

_CLUSTERS = Limits(least=1)


@dataclasses.dataclass(frozen=True)
class ClassObjective:
    """The objective of one class out of K: the loss is the cross-entropy, the mean nats of a row.

    The score of a class is the sum of its neurons' votes, and the probabilities are a softmax of the scores.
    The accuracy is the share of rows whose class has the largest score, the lowest of equal ones. It is
    `wnn_jax.search.Separable`, so every algorithm of the search takes it.

    Attributes:
      bounds: the genomes that may be visited.
      clusters: K, the number of classes.
      memory: the kind of cells that votes are read from.
      sharpness: the factor of the mean vote of ``bounds.max_neurons`` neurons in the softmax.

    Raises:
      ValueError: a setting has another type or is out of range.

    Source: docs/semantics/classify.md
    """

    bounds: Bounds
    clusters: int
    memory: ram.RamConfig = ram.RamConfig()
    sharpness: float = 16.0

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.fields(self, clusters=_CLUSTERS, sharpness=Limits(above=0))

    def score(self, votes: jax.Array, neurons: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Score one genome, see `wnn_jax.search.Objective`."""
        logits = self._logits(votes)
        nats = jax.nn.logsumexp(logits, axis=0) - jnp.where(targets, logits, 0.0).sum(axis=0)
        right = _chosen(votes) == jnp.argmax(targets, axis=0)
        return nats.mean(), right.mean(dtype=jnp.float32)

    def others(self, votes: jax.Array, neurons: jax.Array) -> jax.Array:
        """Compute the logarithm of the sum of the other classes, see `wnn_jax.search.Separable`."""
        logits = self._logits(votes)
        apart = jnp.eye(len(votes), dtype=bool)[:, :, None]
        return jax.nn.logsumexp(jnp.where(apart, -jnp.inf, logits), axis=1)  # [K, M]

    def losses(
        self, others: jax.Array, targets: jax.Array, votes: jax.Array, neurons: jax.Array
    ) -> jax.Array:
        """Compute the losses as far as they depend on one class, see `wnn_jax.search.Separable`."""
        logits = self._logits(votes)
        return jnp.logaddexp(others, logits) - jnp.where(targets, logits, 0.0)

    def _logits(self, votes: jax.Array) -> jax.Array:
        return votes.astype(jnp.float32) * (self.sharpness / (ram.UNIT * self.bounds.max_neurons))


@dataclasses.dataclass(frozen=True)
class ClassRates:
    """The objective of a rate that no sum over rows gives, such as the macro F1.

    The genetic algorithm, random search and the grid take it; tabu search and annealing judge one class
    alone, which these rates do not allow.

    Attributes:
      bounds: the genomes that may be visited.
      clusters: K, the number of classes.
      rate: the loss. ``error``: the share of rows that are classified wrong; ``macro_f1``: 1 less the mean F1
        of the classes that occur; ``false_positives``: the share of the rows of class `negative` that are
        given another class. The accuracy is always the share of rows that are classified right: a fitness
        such as ``harmonic_rank`` weighs both.
      negative: the class of normal rows, for ``false_positives``.
      memory: the kind of cells that votes are read from.

    Raises:
      ValueError: a setting has another type or is out of range.

    Source: docs/semantics/classify.md
    """

    bounds: Bounds
    clusters: int
    rate: Literal["error", "macro_f1", "false_positives"] = "macro_f1"
    negative: int = 0
    memory: ram.RamConfig = ram.RamConfig()

    def __post_init__(self) -> None:
        """Check the fields."""
        checks.fields(self, clusters=_CLUSTERS, negative=Limits(least=0, most=self.clusters - 1))

    def score(self, votes: jax.Array, neurons: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Score one genome, see `wnn_jax.search.Objective`."""
        chosen = jnp.arange(len(votes), dtype=jnp.int32)[:, None] == _chosen(votes)  # [K, M]
        hits = (chosen & targets).sum(axis=1, dtype=jnp.float32)
        accuracy = hits.sum() / votes.shape[1]
        if self.rate == "error":
            return 1.0 - accuracy, accuracy
        shown = targets.sum(axis=1, dtype=jnp.float32)
        if self.rate == "false_positives":
            normal = shown[self.negative]
            return (normal - hits[self.negative]) / jnp.maximum(normal, 1.0), accuracy
        # F1 = 2 hits / (called + shown), 0 for a class that is never called.
        f1 = 2.0 * hits / jnp.maximum(chosen.sum(axis=1, dtype=jnp.float32) + shown, 1.0)
        occurs = shown > 0
        return 1.0 - jnp.where(occurs, f1, 0.0).sum() / jnp.maximum(occurs.sum(), 1), accuracy


def _chosen(votes: jax.Array) -> jax.Array:
    return jnp.argmax(votes, axis=0).astype(jnp.int32)


def examples(levels: Any, column: Any, level: Any, labels: Any, classes: int) -> ram.Examples:
    """Make the examples of a search from levels: all bits of the encoder, and one target bit for each class.

    Args:
      levels: ``uint8 [N, J]``, training rows.
      column: ``int32 [I]``, the column of each bit, from `encoders.places`.
      level: ``uint8 [I]``, the level of each bit.
      labels: integers ``[N]``, 0 to K - 1.
      classes: K.

    Returns:
      The examples. The search validates on the last ones, so give the rows in random order.

    Raises:
      ValueError: an array has a wrong type, shape or entry.

    Source: docs/semantics/classify.md
    """
    checks.array("levels", levels, "uint8", {"N": None, "J": None})
    checks.array("labels", labels, "integers", {"N": len(levels)}, Limits(least=0, most=classes - 1))
    checks.array("column", column, "integers", {"I": None}, Limits(least=0, most=levels.shape[1] - 1))
    bits = np.asarray(levels)[:, np.asarray(column)] >= np.asarray(level)
    return ram.examples(bits, np.asarray(labels)[:, None] == np.arange(classes))


def mapping_of(genome: Any, column: Any, level: Any) -> tuple[Mapping, np.ndarray]:
    """Turn a genome into neurons with a dense table each, of which each serves one class.

    Args:
      genome: integers ``[K, n, T]``: the bit that each connection reads; -1 where there is none.
      column: ``int32 [I]``, the column of each bit, from `encoders.places`.
      level: ``uint8 [I]``, the level of each bit.

    Returns:
      The mapping, and the class that each table serves, ``int32 [M]``. Neurons without any
      connection are left out.

    Raises:
      ValueError: the genome is no array of three axes, names a bit that is not there, or has no neuron.

    Source: docs/semantics/classify.md
    """
    column, level, genome = np.asarray(column), np.asarray(level), np.asarray(genome)
    limits = Limits(least=-1, most=len(column) - 1)
    checks.array("genome", genome, "integers", {"K": None, "n": None, "T": None}, limits)
    present = (genome >= 0).any(axis=2)
    if not present.any():
        raise ValueError(f"the genome of shape {list(genome.shape)} has no neuron: give one that has")
    pins = genome[present]
    # Connections that are not there come last.
    pins = np.take_along_axis(pins, np.argsort(pins < 0, axis=1, kind="stable"), axis=1)
    used = pins >= 0
    mapping = Mapping(
        column=jnp.asarray(np.where(used, column[pins], 0), jnp.int32),
        level=jnp.asarray(np.where(used, level[pins], UNUSED), jnp.uint8),
        table=jnp.arange(len(pins), dtype=jnp.int32),
        hashes=jnp.asarray(dense(pins.shape[1])),
    )
    return mapping, np.nonzero(present)[0].astype(np.int32)


def serve(counts: Any, owner: Any) -> np.ndarray:
    """Keep of each table only the cells of the class that it serves; all others become 0.

    Args:
      counts: integers ``[M, S, K]``.
      owner: integers ``[M]``, the class of each table.

    Returns:
      The cells, of the type that they had.

    Raises:
      ValueError: there is not one class for each table.

    Source: docs/semantics/classify.md
    """
    counts = np.asarray(counts)
    checks.array("counts", counts, "integers", {"M": None, "S": None, "K": None})
    limits = Limits(least=0, most=counts.shape[2] - 1)
    checks.array("owner", owner, "integers", {"M": len(counts)}, limits)
    return counts * (np.asarray(owner)[:, None, None] == np.arange(counts.shape[2]))
