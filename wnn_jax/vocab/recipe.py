"""The optimiser of vocabulary-space models: Adam, or Muon for matrices, with a schedule of the rate."""

import dataclasses

import jax
import optax

from wnn_jax import checks
from wnn_jax.checks import Limits


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The settings of the optimiser; the defaults are the published recipe.

    Gradients are clipped to length 1.

    Attributes:
      rate: highest rate of Adam; it falls to 0 in a straight line.
      warmup: share of the steps, at the beginning, in which the rate rises.
      muon_rate: highest rate of Muon for weights with two or more dimensions; with 0 Adam trains all weights.

    Raises:
      ValueError: a value is out of range.

    Source: Muon (Jordan 2024); urmzd/exp-agi-models; docs/semantics/vocab.md
    """

    rate: float = 0.03
    warmup: float = 0.0
    muon_rate: float = 0.0

    def __post_init__(self):
        rate = Limits(least=0, most=1)
        checks.fields(self, rate=rate, warmup=rate, muon_rate=rate)

    def optimiser(self, steps: int) -> optax.GradientTransformation:
        """Returns the optimiser of a training of ``steps`` steps in all."""
        rise = int(self.warmup * steps)

        def falling(rate: float) -> optax.Schedule:
            # The rise begins above 0, so that the first step changes something.
            up = optax.linear_schedule(rate / (rise + 1), rate, rise)
            return optax.join_schedules([up, optax.linear_schedule(rate, 0.0, steps - rise)], [rise])

        if not self.muon_rate:
            rule = optax.adam(falling(self.rate))
        else:
            from optax import contrib

            rule = contrib.muon(
                falling(self.muon_rate),
                adam_learning_rate=falling(self.rate),
                muon_weight_dimension_numbers=_matrices,
            )
        return optax.chain(optax.clip_by_global_norm(1.0), rule)


def _matrices(params):
    """Returns the two matrix dimensions of each array; None for vectors and taps of convolutions."""
    from optax import contrib

    def one(path, x):
        vectors = x.ndim < 2 or getattr(path[-1], "key", None) == "taps"
        return None if vectors else contrib.MuonDimensionNumbers(x.ndim - 2, x.ndim - 1)

    return jax.tree_util.tree_map_with_path(one, params)
