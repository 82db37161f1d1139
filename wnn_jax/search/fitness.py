"""Fitness: one number for each genome, by which a search orders genomes. Lower is better.

A fitness that is made of ranks depends on all genomes of the pool.

Source: docs/semantics/search.md
"""

import dataclasses
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from wnn_jax import checks
from wnn_jax.checks import Limits

Kind = Literal["loss", "accuracy", "harmonic_rank", "normalized"]
FITNESSES: tuple[str, ...] = get_args(Kind)


class GenomeScores(NamedTuple):
    """The scores of genomes. All arrays have the shape of the population, such as ``[P]``.

    Attributes:
      loss: ``float32 [...]``, the objective's loss; the objectives of this library give nats.
      accuracy: ``float32 [...]``, the objective's accuracy, in [0, 1].
      mebibits: ``float32 [...]``, the size of the genome's tables, in 2^20 bits.

    Source: docs/semantics/search.md
    """

    loss: jax.Array
    accuracy: jax.Array
    mebibits: jax.Array


@dataclasses.dataclass(frozen=True)
class FitnessConfig:
    """Configures the order of genomes.

    Attributes:
      fitness: the number that orders genomes. ``loss`` and ``accuracy`` order by one score; ``harmonic_rank``
        is the weighted harmonic mean of a genome's ranks by loss and by accuracy; ``normalized`` is the
        weighted mean of loss and error, each scaled to [0, 1] over the pool.
      loss_weight: weight of the loss in ``harmonic_rank`` and ``normalized``.
      accuracy_weight: weight of the accuracy in ``harmonic_rank`` and ``normalized``.
      accuracy_floor: least accuracy; a genome below it gets the worst fitness.
      size_weight: amount that each mebibit of tables adds to the loss.

    Raises:
      ValueError: the fitness is unknown, a number is out of range, or both weights are 0.

    Source: docs/semantics/search.md
    """

    fitness: Kind = "loss"
    loss_weight: float = 1.0
    accuracy_weight: float = 1.0
    accuracy_floor: float = 0.0
    size_weight: float = 0.0

    def __post_init__(self):
        weight = Limits(least=0)
        checks.fields(
            self,
            loss_weight=weight,
            accuracy_weight=weight,
            accuracy_floor=Limits(least=0, most=1),
            size_weight=weight,
        )
        if self.loss_weight + self.accuracy_weight == 0:
            raise ValueError(
                "loss_weight and accuracy_weight are both 0, but one must be above 0: set one of them to 1"
            )

    @property
    def separable(self) -> bool:
        """Whether a change of one cluster can be judged without the other clusters, as local search does."""
        return self.fitness == "loss" and self.accuracy_floor == 0.0


def fitness_of(config: FitnessConfig, scores: GenomeScores) -> jax.Array:
    """Compute the fitness of a pool of genomes; lower is better.

    Args:
      config: the kind of fitness and its weights.
      scores: scores of P genomes, arrays ``[P]``.

    Returns:
      ``float32 [P]``. Equal scores get equal fitness. The fitness is infinite, the worst, if a score is NaN
      or the accuracy is below the floor.

    Source: docs/semantics/search.md
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
    """Rank values from 1 for the lowest; equal values share the better rank."""
    return 1.0 + (values[None, :] < values[:, None]).sum(axis=1).astype(jnp.float32)


def _scaled(values: jax.Array) -> jax.Array:
    """Scale values to [0, 1] by the range of the finite ones; all become 0 if these are equal."""
    finite = jnp.isfinite(values)
    least = jnp.where(finite, values, jnp.inf).min()
    span = jnp.where(finite, values, -jnp.inf).max() - least
    return jnp.where(span > 0, (values - least) / jnp.where(span > 0, span, 1.0), 0.0)
