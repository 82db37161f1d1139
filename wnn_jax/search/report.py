"""The settings of a search, the report of each of its steps, and its result.

Source: docs/semantics/search.md
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.search.adaptation import AdaptationConfig


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Configures the run of a search.

    Attributes:
      steps: number of steps of each algorithm.
      folds: number of folds; genomes are scored on one and fitted on the others.
      rotate: number of steps after which another fold is scored; 0 for never.
      validation: number of equal parts of the examples; the last part is only for validation.
      check: number of steps between two validations of the best genome.
      patience: number of validations without a gain after which an algorithm ends; 0 for never.
      fit_budget: number of fitted neurons after which an algorithm ends; by default there is no limit.
      adapt_every: number of steps between two rounds that grow and prune genomes by statistics; 0 for never.
      adaptation: thresholds of these rounds.
      save_every: number of steps between two saves.
      cache_mib: most memory for the votes of the population, in MiB.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/search.md
    """

    steps: int = 200
    folds: int = 3
    rotate: int = 10
    validation: int = 10
    check: int = 20
    patience: int = 0
    fit_budget: int | None = None
    adapt_every: int = 0
    adaptation: AdaptationConfig = AdaptationConfig()
    save_every: int = 20
    cache_mib: int = 4096

    def __post_init__(self):
        checks.fields(
            self,
            steps=Limits(least=1),
            folds=Limits(least=2),
            rotate=Limits(least=0),
            validation=Limits(least=2),
            check=Limits(least=1),
            patience=Limits(least=0),
            fit_budget=Limits(least=0),
            adapt_every=Limits(least=0),
            save_every=Limits(least=1),
            cache_mib=Limits(least=0),
        )


class Report(NamedTuple):
    """The report of one step of a search.

    Attributes:
      phase: name of the algorithm.
      step: number of steps that the algorithm has done.
      fits: number of neurons that the algorithm has fitted.
      candidates: number of genomes that this step scored.
      best: loss of the fittest genome on the scored fold.
      mean: mean loss of the population.
      mebibits: size of the tables of the fittest genome.
      validation: validation loss of the fittest genome; None if this step did not validate.
      seconds: time of the search so far, over all its runs.
      accepted: number of candidates that this step took.
      population: loss on the scored fold and mebibits of each genome of the population. The history of a
        result does not keep them.

    Source: docs/semantics/search.md
    """

    phase: str
    step: int
    fits: int
    candidates: int
    best: float
    mean: float
    mebibits: float
    validation: float | None
    seconds: float
    accepted: int = 0
    population: tuple[tuple[float, float], ...] = ()


class Result(NamedTuple):
    """The result of a search, or its state between two steps.

    Attributes:
      genome: NumPy ``int [K, n, T]``, the genome with the lowest sum of validation loss and price of its
        size (`FitnessConfig.size_weight`); the earliest of equal ones.
      loss: its validation loss.
      start_loss: validation loss of the genome with which the search began.
      history: a report for every step.
      phase: number of algorithms that have ended.
      step: number of steps of the current algorithm.
      fits: number of neurons that the current algorithm has fitted.
      stale: number of its validations since the last gain.
      seconds: time of the search, over all its runs.

    Source: docs/semantics/search.md
    """

    genome: np.ndarray
    loss: float
    start_loss: float
    history: tuple[Report, ...] = ()
    phase: int = 0
    step: int = 0
    fits: int = 0
    stale: int = 0
    seconds: float = 0.0
