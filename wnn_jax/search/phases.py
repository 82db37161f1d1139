"""What a longer search is made of: folds of the training stream, grids, and phases that follow each other."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax import ram
from wnn_jax.ram import connectivity
from wnn_jax.ram.connectivity import DIMENSIONS
from wnn_jax.search import evaluate, local
from wnn_jax.search.base import Data, Objective, State, take
from wnn_jax.search.fitness import fitness

ALGORITHMS = ("ga", "tabu", "annealing", "random")


class Phase(NamedTuple):
    """One algorithm at work on some dimensions of the genome.

    Attributes:
      algorithm: one of `ALGORITHMS`, or ``grid``.
      dimensions: what it may change.
    """

    algorithm: str
    dimensions: tuple[str, ...]

    @property
    def name(self) -> str:
        return (
            self.algorithm
            if self.dimensions == DIMENSIONS
            else f"{self.algorithm}:{'+'.join(self.dimensions)}"
        )


def parse(algorithms: list[str], phases: list[str]) -> list[Phase]:
    """Every algorithm in turn on each of the phases' dimensions; ``grid`` is a phase of its own.

    Args:
      algorithms: of `ALGORITHMS`.
      phases: each ``grid``, ``all``, or dimensions joined by ``+``.

    Raises:
      ValueError: a name is unknown, or there is nothing to do.
    """
    for name in algorithms:
        if name not in ALGORITHMS:
            raise ValueError(f"unknown search {name!r}: choose from {', '.join(ALGORITHMS)}")
    made = []
    for phase in phases:
        if phase == "grid":
            made.append(Phase("grid", ("neurons", "bits")))
            continue
        dimensions = DIMENSIONS if phase == "all" else tuple(phase.split("+"))
        unknown = [name for name in dimensions if name not in DIMENSIONS]
        if unknown:
            raise ValueError(
                f"unknown phase {unknown[0]!r}: use grid, all, or {', '.join(DIMENSIONS)} joined by +"
            )
        made += [Phase(name, dimensions) for name in algorithms]
    if not made:
        raise ValueError("a search needs at least one algorithm and one phase")
    return made


def fold(examples: ram.Examples, seed: jax.Array, index: jax.Array, folds: int) -> Data:
    """One contiguous part of a stream to score on, the others to fit on.

    Args:
      examples: N of them; the last ``N % folds`` are left out.
      seed: ``uint32 [K, n]``, from `ram.seeds`.
      index: ``int32 []``, below ``folds``.

    Returns:
      The scored part, and the others in their order, those after it before those that precede it.
    """
    size = examples.targets.shape[1] // folds

    def parts(x):
        cut = jnp.roll(x[..., : folds * size], -(index + 1) * size, axis=-1)
        return cut[..., :-size], cut[..., -size:]

    words, scored = parts(examples.words)
    targets, wanted = parts(examples.targets)
    weight = None if examples.weight is None else parts(examples.weight)[0]
    return Data(ram.Examples(words, targets, weight), scored, wanted, seed)


def rescore(objective: Objective, data: Data, state: State) -> State:
    """A state on other data: votes and scores of the population and of the best, elites and all."""
    genomes = jnp.concatenate([state.genomes, state.best[None]])
    votes, scores = evaluate.evaluated(objective, data, genomes)
    moved = state._replace(
        votes=votes[:-1], scores=take(scores, slice(None, -1)), best_scores=take(scores, -1)
    )
    best, best_scores = local.keep_best(objective, moved, moved.genomes, moved.scores)
    return moved._replace(best=best, best_scores=best_scores)


def grid(key: jax.Array, objective: Objective, neurons: list[int], address_bits: list[int]) -> jax.Array:
    """A random genome ``[G, K, n, T]`` of every size, neurons first.

    Raises:
      ValueError: a size is outside the bounds.
    """
    bounds = objective.bounds
    for values, low, high, name in (
        (neurons, bounds.min_neurons, bounds.max_neurons, "neurons"),
        (address_bits, bounds.min_bits, bounds.max_bits, "address bits"),
    ):
        outside = [value for value in values if not low <= value <= high]
        if outside or not values:
            raise ValueError(f"the grid's {name} {values} must lie within the bounds {low} to {high}")
    sizes = [(n, t) for n in neurons for t in address_bits]
    keys = jax.random.split(key, len(sizes))
    made = [
        connectivity.sized(k, bounds, objective.model.clusters, jnp.int32(n), jnp.int32(t))
        for k, (n, t) in zip(keys, sizes, strict=True)
    ]
    return jnp.stack(made)


def handed_on(objective: Objective, genomes: jax.Array, scores) -> jax.Array:
    """What one phase leaves to the next: its genomes, fittest first."""
    return genomes[jnp.argsort(fitness(objective.fitness, scores), stable=True)]
