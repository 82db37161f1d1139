"""Configures tiered models: sizes, training rules, named sets of tiers and named variants.

Source: docs/semantics/tiered.md
"""

import dataclasses
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from wnn_jax import checks, ram
from wnn_jax.checks import Limits
from wnn_jax.lm import bitwise
from wnn_jax.ram import bits

Negatives = Literal["top", "drawn", "all", "none"]
NEGATIVES: tuple[Negatives, ...] = get_args(Negatives)
PRESETS = {
    "five": "50,15,20;50,13,18;400,9,10;20000,7,9;rest,5,8",
    "three": "100,15,20;400,10,12;rest,5,8",
    "two": "50,15,16;rest,7,10",
}


class Tier(NamedTuple):
    """A tier: tokens of neighbouring frequency ranks, whose clusters have the same size.

    Attributes:
      clusters: number of tokens of the tier; None for all tokens that are left.
      neurons: number of neurons of each cluster.
      address_bits: number of input bits that a neuron reads.

    Source: docs/semantics/tiered.md
    """

    clusters: int | None
    neurons: int
    address_bits: int


def parse(tiers: str) -> tuple[Tier, ...]:
    """Parse tiers from a string.

    Args:
      tiers: ``COUNT,NEURONS,BITS;...;rest,NEURONS,BITS``, or the name of one of `PRESETS`.

    Returns:
      The tiers, the most frequent tokens first.

    Raises:
      ValueError: the string has another form.

    Source: docs/semantics/tiered.md
    """
    parsed = []
    for part in PRESETS.get(tiers, tiers).split(";"):
        count, *sizes = part.strip().split(",")
        if len(sizes) != 2 or not all(x.strip().isdecimal() for x in sizes + [count] * (count != "rest")):
            raise ValueError(
                f"a tier is COUNT,NEURONS,BITS or rest,NEURONS,BITS, got {part!r}: separate tiers by "
                f"semicolons, or use a preset: {', '.join(PRESETS)}"
            )
        parsed.append(Tier(None if count == "rest" else int(count), int(sizes[0]), int(sizes[1])))
    return tuple(parsed)


def default_tiers(vocabulary: int) -> tuple[Tier, ...]:
    """Choose the tiers for a vocabulary.

    Args:
      vocabulary: V.

    Returns:
      The preset ``five``, or ``two`` if V is at most 20,500.

    Source: docs/semantics/tiered.md
    """
    return parse("five" if vocabulary > 20_500 else "two")


@dataclasses.dataclass(frozen=True)
class TieredConfig:
    """Configures a tiered model. Hashable, so it may be a static argument of `jit`.

    Attributes:
      vocabulary: number of token ids, V.
      tiers: tiers of tokens and the sizes of their clusters, see `Tier`. Only the last may take the rest. By
        default see `default_tiers`.
      context: number of tokens that the model sees, C.
      memory: the kind of cells.
      negatives: the clusters that are written FALSE at an example: those of the ``top`` most frequent tokens
        (as published), ``drawn`` ones of these, ``all`` others, or ``none``.
      calibrated: whether the readout is learnt from held-out text; otherwise the score is the published one.
      top: number of the most frequent tokens that may be negatives.
      draws: number of negatives of each example that are drawn uniformly, if negatives are ``drawn``.

    Raises:
      ValueError: the negatives are unknown, a size is out of range, the sample rate is below 1, or the tiers
        do not hold exactly V tokens.

    Source: docs/semantics/tiered.md
    """

    vocabulary: int
    tiers: tuple[Tier, ...] = ()
    context: int = 4
    memory: ram.RamConfig = ram.RamConfig("count")
    negatives: Negatives = "all"
    calibrated: bool = True
    top: int = 1000
    draws: int = 5

    def __post_init__(self):
        checks.fields(
            self,
            vocabulary=Limits(least=1),
            context=Limits(least=1),
            top=Limits(least=1),
            draws=Limits(least=1),
        )
        tiers = self.tiers or default_tiers(self.vocabulary)
        object.__setattr__(self, "tiers", tuple(_tier(i, one) for i, one in enumerate(tiers)))
        if self.memory.sample_rate < 1.0:
            raise ValueError(
                f"tiered models write every example, so sample_rate must be 1, got "
                f"{self.memory.sample_rate}: leave it at 1"
            )
        fixed = sum(tier.clusters or 0 for tier in self.tiers)
        rest = [tier.clusters is None for tier in self.tiers]
        if any(rest[:-1]) or (not rest[-1] and fixed != self.vocabulary):
            raise ValueError(
                f"the tiers hold {fixed} tokens of {self.vocabulary}, but must hold all: let the last tier, "
                "and no other, take the rest"
            )
        if fixed > self.vocabulary - rest[-1]:
            raise ValueError(
                f"the tiers need at least {fixed + rest[-1]} tokens, but there are "
                f"{self.vocabulary}: use smaller tiers"
            )
        for tier in self.tiers:
            # A bitwise model has the same limits on its sizes.
            bitwise.BitwiseConfig(self.vocabulary, self.context, tier.neurons, tier.address_bits)

    @property
    def input_bits(self) -> int:
        """I = C * B, the number of bits of the context."""
        return self.context * bits.code_length(self.vocabulary)

    @property
    def borders(self) -> tuple[int, ...]:
        """The first rank of every tier, and V."""
        first = np.cumsum([0, *(tier.clusters or 0 for tier in self.tiers)])
        return (*first[:-1].tolist(), self.vocabulary)


def _tier(place: int, tier: Any) -> Tier:
    """Check one tier, which a file gives as a list.

    Raises:
      ValueError: it has not three numbers, or one is not a whole number above 0.
    """
    if not isinstance(tier, (tuple, list)) or len(tier) != len(Tier._fields):
        raise ValueError(f"tiers[{place}]={tier!r} is no tier: give clusters, neurons and address bits")
    for name, x in zip(Tier._fields, tier, strict=True):
        if name != "clusters" or x is not None:
            checks.integer(f"{name} of tiers[{place}]", x, Limits(least=1))
    return Tier(*tier)


class Variant(NamedTuple):
    """A way to train and to read a tiered model: the fields of a `TieredConfig` that are not sizes.

    Attributes:
      memory: the kind of cells.
      negatives: the clusters that are written FALSE at an example.
      calibrated: whether the readout is learnt from held-out text.

    Source: docs/semantics/tiered.md
    """

    memory: ram.RamConfig
    negatives: Negatives
    calibrated: bool

    def config(self, vocabulary: int, **sizes) -> TieredConfig:
        """Make the config of this variant for a vocabulary.

        Args:
          vocabulary: V.
          **sizes: other fields of a `TieredConfig`.

        Returns:
          The config.

        Raises:
          ValueError: a size is out of range.
        """
        return TieredConfig(vocabulary, **self._asdict(), **sizes)


VariantName = Literal[
    "published", "empty_half", "drawn", "true_wins_calibrated", "count_uncalibrated", "repaired"
]
VARIANTS: dict[VariantName, Variant] = {
    "published": Variant(ram.RamConfig("true_wins", 0.0), "top", False),
    "empty_half": Variant(ram.RamConfig("true_wins", 0.5), "top", False),
    "drawn": Variant(ram.RamConfig("true_wins", 0.0), "drawn", False),
    "true_wins_calibrated": Variant(ram.RamConfig("true_wins", 0.0), "top", True),
    "count_uncalibrated": Variant(ram.RamConfig("count", 0.0), "all", False),
    "repaired": Variant(ram.RamConfig("count", 0.0), "all", True),
}
