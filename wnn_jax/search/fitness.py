"""One number that orders genomes; lower is better. Rank-based ones depend on the whole pool."""

import dataclasses

import jax
import jax.numpy as jnp

FITNESSES = ("ce", "accuracy", "harmonic_rank", "normalized")


@dataclasses.dataclass(frozen=True)
class FitnessConfig:
    """What makes a genome fit.

    Attributes:
      kind: ``ce``; ``accuracy``; ``harmonic_rank``, the weighted harmonic mean of a genome's ranks by CE
        and by accuracy; or ``normalized``, the weighted mean of both scaled to [0, 1] over the pool
        (spec ram_lm 4.5).
      ce_weight, accuracy_weight: of the two means.
      accuracy_floor: below it a genome is as bad as can be.
      size_weight: nats that a mebibit of table costs, added to the CE.

    Raises:
      ValueError: a value is out of range.
    """

    kind: str = "ce"
    ce_weight: float = 1.0
    accuracy_weight: float = 1.0
    accuracy_floor: float = 0.0
    size_weight: float = 0.0

    def __post_init__(self):
        if self.kind not in FITNESSES:
            raise ValueError(f"unknown fitness {self.kind!r}: choose one of {', '.join(FITNESSES)}")
        if min(self.ce_weight, self.accuracy_weight, self.size_weight, self.accuracy_floor) < 0:
            raise ValueError("the weights and the accuracy floor of a fitness must be 0 or more")
        if self.ce_weight + self.accuracy_weight == 0:
            raise ValueError("the weights of CE and accuracy are both 0: give one of them a weight")

    @property
    def separable(self) -> bool:
        """Whether a change of one cluster can be judged without the rest: what local search needs."""
        return self.kind == "ce" and self.accuracy_floor == 0.0


def fitness(config: FitnessConfig, scores) -> jax.Array:
    """Fitness ``float32 [P]`` of a pool's `Scores`; a NaN is the worst there is, and so is a score below
    the accuracy floor. Equal scores get equal fitness."""
    ce = jnp.where(jnp.isnan(scores.ce), jnp.inf, scores.ce + config.size_weight * scores.table)
    wrong = jnp.where(jnp.isnan(scores.accuracy), jnp.inf, 1.0 - scores.accuracy)
    if config.kind == "ce":
        value = ce
    elif config.kind == "accuracy":
        value = wrong
    elif config.kind == "harmonic_rank":
        weights = config.ce_weight + config.accuracy_weight
        value = weights / (config.ce_weight / _rank(ce) + config.accuracy_weight / _rank(wrong))
    else:
        weights = config.ce_weight + config.accuracy_weight
        value = (config.ce_weight * _scaled(ce) + config.accuracy_weight * _scaled(wrong)) / weights
    bad = jnp.isinf(ce) | jnp.isinf(wrong) | (scores.accuracy < config.accuracy_floor)
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
