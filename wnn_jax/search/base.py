"""What every search carries, reports and is told."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax import ram
from wnn_jax.lm import bitwise
from wnn_jax.ram import connectivity
from wnn_jax.search.fitness import FitnessConfig


class Data(NamedTuple):
    """What genomes are fitted on and scored on.

    Attributes:
      train: examples to write; a weight of False keeps one out (`phases.fold`).
      words: ``uint32 [W, M]`` inputs of the examples to score.
      targets: ``bool [K, M]``.
      seed: ``uint32 [K, n]``, from `ram.seeds`.
    """

    train: ram.Examples
    words: jax.Array
    targets: jax.Array
    seed: jax.Array


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is searched for. Hashable: static under `jit`.

    Attributes:
      model: the bitwise model; its own numbers of neurons and bits are ignored.
      bounds: the genomes to visit.
      fitness: what makes one better than another.
      mesh: devices over which neurons are spread, along an axis ``population``; None for one.
    """

    model: bitwise.BitwiseConfig
    bounds: connectivity.Bounds
    fitness: FitnessConfig = FitnessConfig()
    mesh: jax.sharding.Mesh | None = None

    @property
    def cell_bits(self) -> int:
        """Bits of one cell, as a table that is kept would hold it: 2 a quad or ternary cell, 32 a count."""
        return 32 if self.model.memory.cells == "count" else 2


class Scores(NamedTuple):
    """How good genomes are, each of the population's shape.

    Attributes:
      ce: float32 nats a token, exact over all ids.
      accuracy: float32 share of tokens that were the most probable id.
      table: float32 mebibits of its tables.
    """

    ce: jax.Array
    accuracy: jax.Array
    table: jax.Array


class State(NamedTuple):
    """What a search carries from step to step.

    Attributes:
      genomes: ``[P, K, n, T]``.
      votes: ``int32 [P, K, M]`` of every genome on the scored examples.
      scores: of every genome.
      best, best_scores: the fittest genome ``[K, n, T]`` seen on this data, and its scores.
      memory: the algorithm's own; a pytree.
      step: ``int32 []`` steps done.
    """

    genomes: jax.Array
    votes: jax.Array
    scores: Scores
    best: jax.Array
    best_scores: Scores
    memory: Any
    step: jax.Array


class Info(NamedTuple):
    """What a step reports, and nothing carries.

    Attributes:
      candidates: genomes that were scored.
      fits: neurons that were fitted and read for it: the work.
      accepted: candidates that were taken over.
      ce: float32 ``[P]`` of the population.
    """

    candidates: jax.Array
    fits: jax.Array
    accepted: jax.Array
    ce: jax.Array


class SearchAlgorithm(NamedTuple):
    """Two pure functions, for `jit`.

    ``init(data, genomes) -> State`` scores a population; ``step(key, data, state) -> (State, Info)``.
    """

    init: Callable[[Data, jax.Array], State]
    step: Callable[[jax.Array, Data, State], tuple[State, Info]]


def take(tree: Any, index: Any) -> Any:
    """Entry ``index`` of every leaf."""
    return jax.tree.map(lambda x: x[index], tree)


def select(condition: jax.Array, one: Any, other: Any) -> Any:
    """`jnp.where` on the leading axes of every leaf."""

    def pick(x, y):
        return jnp.where(condition.reshape(condition.shape + (1,) * (x.ndim - condition.ndim)), x, y)

    return jax.tree.map(pick, one, other)
