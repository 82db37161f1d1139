"""One number that orders genomes; lower is better. Rank-based ones depend on the whole pool."""

import dataclasses
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

Kind = Literal["loss", "accuracy", "harmonic_rank", "normalized"]
FITNESSES: tuple[str, ...] = get_args(Kind)


class GenomeScores(NamedTuple):
    """How good genomes are, each of the population's shape.

    Attributes:
      loss: float32, of the objective: nats, for those of this library.
      accuracy: float32 in [0, 1], of the objective.
      mebibits: float32, of the genome's tables.
    """

    loss: jax.Array
    accuracy: jax.Array
    mebibits: jax.Array


@dataclasses.dataclass(frozen=True)
class FitnessConfig:
    """How genomes are ordered.

    Attributes:
      fitness: ``loss``; ``accuracy``; ``harmonic_rank``, the weighted harmonic mean of a genome's ranks by
        loss and by accuracy; or ``normalized``, the weighted mean of both scaled to [0, 1] over the pool.
      loss_weight: of the loss in the two means.
      accuracy_weight: of the accuracy in the two means.
      accuracy_floor: below it a genome is as bad as can be.
      size_weight: what a mebibit of table costs, added to the loss.

    Raises:
      ValueError: a value is out of range.
    """

    fitness: Kind = "loss"
    loss_weight: float = 1.0
    accuracy_weight: float = 1.0
    accuracy_floor: float = 0.0
    size_weight: float = 0.0

    def __post_init__(self):
        if self.fitness not in FITNESSES:
            raise ValueError(f"unknown fitness {self.fitness!r}: choose one of {', '.join(FITNESSES)}")
        if min(self.loss_weight, self.accuracy_weight, self.size_weight, self.accuracy_floor) < 0:
            raise ValueError("the weights and the accuracy floor of a fitness must be 0 or more")
        if self.loss_weight + self.accuracy_weight == 0:
            raise ValueError("the weights of loss and accuracy are both 0: give one of them a weight")

    @property
    def separable(self) -> bool:
        """Whether a change of one cluster can be judged without the rest: what local search needs."""
        return self.fitness == "loss" and self.accuracy_floor == 0.0


def fitness_of(config: FitnessConfig, scores: GenomeScores) -> jax.Array:
    """Fitness ``float32 [P]`` of a pool's scores; lower is better, and equal scores get equal fitness.

    A NaN is the worst there is, infinity, and so is an accuracy below the floor.

    Args:
      scores: `GenomeScores` of P genomes.
    """
    loss = jnp.where(jnp.isnan(scores.loss), jnp.inf, scores.loss + config.size_weight * scores.mebibits)
    wrong = jnp.where(jnp.isnan(scores.accuracy), jnp.inf, 1.0 - scores.accuracy)
    if config.fitness == "loss":
        value = loss
    elif config.fitness == "accuracy":
        value = wrong
    elif config.fitness == "harmonic_rank":
        weights = config.loss_weight + config.accuracy_weight
        value = weights / (config.loss_weight / _rank(loss) + config.accuracy_weight / _rank(wrong))
    else:
        weights = config.loss_weight + config.accuracy_weight
        value = (config.loss_weight * _scaled(loss) + config.accuracy_weight * _scaled(wrong)) / weights
    bad = jnp.isinf(loss) | jnp.isinf(wrong) | (scores.accuracy < config.accuracy_floor)
    return jnp.where(bad, jnp.inf, value)


def _rank(values: jax.Array) -> jax.Array:
    """1 for the lowest; equal values share the better rank."""
    return 1.0 + (values[None, :] < values[:, None]).sum(axis=1)


def _scaled(values: jax.Array) -> jax.Array:
    """To [0, 1] over the finite ones; all 0 if they are equal."""
    finite = jnp.isfinite(values)
    least = jnp.where(finite, values, jnp.inf).min()
    span = jnp.where(finite, values, -jnp.inf).max() - least
    return jnp.where(span > 0, (values - least) / jnp.where(span > 0, span, 1.0), 0.0)
