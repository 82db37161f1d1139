"""Growth curves: how the loss of a model falls with the amount of training text, as a power law.

    law = growth.power_law([1000, 2000, 4000], [5.0, 4.6, 4.3])
    found = growth.extrapolate(jax.random.key(0), sizes, nats, target=100_000_000)

Source: Hestness et al. 2017, "Deep Learning Scaling is Predictable, Empirically"; Efron and Tibshirani 1993
(bootstrap).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits

_EXPONENTS = np.arange(1, 401) / 400
_INTERVAL = 5, 95  # percent: the interval holds nine of ten draws


class PowerLaw(NamedTuple):
    """A law ``floor + scale * size ** -exponent``.

    Attributes:
      floor: the loss that no amount of text removes, at least 0.
      scale: at least 0.
      exponent: from 1/400 to 1, in steps of 1/400.

    Source: Hestness et al. 2017
    """

    floor: float
    scale: float
    exponent: float

    def at(self, size: np.ndarray | float) -> np.ndarray:
        """Return the loss at sizes, ``float64``."""
        return self.floor + self.scale * np.asarray(size, np.float64) ** -self.exponent


class Extrapolation(NamedTuple):
    """A power law that was fitted to measured losses, and what it says of a size that was not measured.

    The intervals hold nine of ten bootstrap draws. They say how far the choice of the held-out text, and the
    distances of the losses from the law, move the law. They do not say whether the law holds beyond the
    measured sizes.

    Attributes:
      law: the law of the mean losses.
      low: the lower end of the interval of each of its numbers.
      high: the upper end.
      target: the size that was not measured.
      loss: the loss that the law says of it.
      loss_low: the lower end of its interval.
      loss_high: the upper end.
      off: the largest distance of a mean loss from the law.

    Source: Efron and Tibshirani 1993
    """

    law: PowerLaw
    low: PowerLaw
    high: PowerLaw
    target: float
    loss: float
    loss_low: float
    loss_high: float
    off: float


def power_law(sizes: Sequence[float] | np.ndarray, losses: Sequence[float] | np.ndarray) -> PowerLaw:
    """Fit a power law to losses by least squares.

    For each exponent the best floor and scale have a closed form; neither is negative. The exponent with the
    least squared error is taken, the smallest one on a tie.

    Args:
      sizes: ``[P]``, at least three different amounts of training text, above 0.
      losses: ``[P]``, the loss after each.

    Raises:
      ValueError: there are fewer than three sizes, or a number is out of range.

    Source: Hestness et al. 2017
    """
    sizes, losses = _checked(sizes, np.asarray(losses, np.float64)[:, None])
    return PowerLaw(*(float(x[0]) for x in _fit(sizes, losses[:, 0][None])))


def extrapolate(
    key: jax.Array,
    sizes: Sequence[float] | np.ndarray,
    nats: np.ndarray,
    target: float,
    blocks: int = 50,
    draws: int = 1000,
) -> Extrapolation:
    """Fit a power law to mean losses, and bootstrap it over blocks of the held-out text.

    A draw takes as many blocks as there are, with repetition, the same ones for every size. What they are
    above or below the mean loss is added to the law, and so is, at each size, the distance of a random size's
    mean loss from the law, times ``sqrt(P / (P - 3))``, because the three numbers of the law were fitted to
    these losses. A law is fitted to each draw.

    Args:
      key: the random key of the draws.
      sizes: ``[P]``, at least three different amounts of training text, above 0.
      nats: ``[P, N]``, the loss of each token of one held-out text after each amount.
      target: the size of which the law is asked.
      blocks: the number of equal runs into which the held-out text is cut; tokens that are left over at its
        end belong to no block, but to the mean.
      draws: the number of draws.

    Raises:
      ValueError: there are fewer than three sizes or too few tokens, or a number is out of range.

    Source: Efron and Tibshirani 1993, chapters 8 (blocks) and 9 (residuals)
    """
    sizes, nats = _checked(sizes, nats)
    checks.integer("blocks", blocks, Limits(least=2, most=nats.shape[1]))
    checks.integer("draws", draws, Limits(least=1, most=1 << 20))
    checks.number("target", target, Limits(above=0))
    length = nats.shape[1] // blocks
    means = nats[:, : blocks * length].reshape(len(sizes), blocks, length).mean(axis=2)
    chosen = np.asarray(jax.random.randint(key, (draws, blocks), 0, blocks, np.int32))
    moved = np.stack([row[chosen].mean(axis=1) - row.mean() for row in means], axis=1)
    whole = nats.mean(axis=1)
    law = PowerLaw(*(float(x[0]) for x in _fit(sizes, whole[None])))
    rest = (whole - law.at(sizes)) * np.sqrt(len(sizes) / max(len(sizes) - 3, 1))
    places = jax.random.randint(jax.random.fold_in(key, 1), moved.shape, 0, len(sizes), np.int32)
    drawn = _fit(sizes, np.maximum(law.at(sizes) + moved + rest[np.asarray(places)], 0.0))
    said = drawn[0] + drawn[1] * float(target) ** -drawn[2]
    ends = [[float(np.percentile(x, end)) for x in (*drawn, said)] for end in _INTERVAL]
    return Extrapolation(
        law=law,
        low=PowerLaw(*ends[0][:3]),
        high=PowerLaw(*ends[1][:3]),
        target=float(target),
        loss=float(law.at(target)),
        loss_low=ends[0][3],
        loss_high=ends[1][3],
        off=float(np.abs(law.at(sizes) - whole).max()),
    )


def _checked(sizes: Sequence[float] | np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sizes, losses = np.asarray(sizes, np.float64), np.asarray(losses, np.float64)
    checks.array("sizes", sizes, "numbers", {"P": None}, Limits(above=0))
    checks.array("losses", losses, "numbers", {"P": len(sizes), "N": None}, Limits(least=0))
    if len(np.unique(sizes)) < 3:
        raise ValueError(
            f"a power law has 3 numbers, and there are {len(sizes)} sizes: give 3 different ones"
        )
    return sizes, losses


def _fit(sizes: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return floors, scales and exponents ``float64 [D]`` for losses ``[D, P]``."""
    best = np.full(len(losses), np.inf)
    found = np.zeros((3, len(losses)))
    for exponent in _EXPONENTS:
        x = (sizes / sizes.max()) ** -exponent
        apart = x - x.mean()
        scale = np.maximum(losses @ apart / (apart @ apart), 0.0)
        floor = losses.mean(axis=1) - scale * x.mean()
        scale = np.where(floor < 0, losses @ x / (x @ x), scale)
        floor = np.maximum(floor, 0.0)
        error = ((losses - floor[:, None] - scale[:, None] * x) ** 2).sum(axis=1)
        better = error < best
        best = np.where(better, error, best)
        mine = np.stack([floor, scale * sizes.max() ** exponent, np.full(len(losses), exponent)])
        found = np.where(better, mine, found)
    return found[0], found[1], found[2]
