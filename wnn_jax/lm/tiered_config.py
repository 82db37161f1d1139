"""Sizes and training rules of tiered models, and the named ones."""

import dataclasses
from typing import Literal, NamedTuple

import numpy as np

from wnn_jax import ram
from wnn_jax.lm import bitwise
from wnn_jax.ram import bits

NEGATIVES = ("top", "drawn", "all", "none")
PRESETS = {
    "five": "50,15,20;50,13,18;400,9,10;20000,7,9;rest,5,8",
    "three": "100,15,20;400,10,12;rest,5,8",
    "two": "50,15,16;rest,7,10",
}


class Tier(NamedTuple):
    """A number of tokens, by falling frequency, and the size of their clusters.

    Attributes:
      clusters: the number of tokens; None: all that are left.
      neurons: neurons of each cluster.
      address_bits: input bits a neuron observes.
    """

    clusters: int | None
    neurons: int
    address_bits: int


def parse(tiers: str) -> tuple[Tier, ...]:
    """``count,neurons,bits;...;rest,neurons,bits``, or the name of one of `PRESETS`.

    Raises:
      ValueError: it is not of that form.
    """
    parsed = []
    for part in PRESETS.get(tiers, tiers).split(";"):
        count, *sizes = part.strip().split(",")
        if len(sizes) != 2 or not all(x.strip().isdecimal() for x in sizes + [count] * (count != "rest")):
            raise ValueError(
                f"a tier is COUNT,NEURONS,BITS or rest,NEURONS,BITS, and presets are {', '.join(PRESETS)}; "
                f"got {part!r}"
            )
        parsed.append(Tier(None if count == "rest" else int(count), int(sizes[0]), int(sizes[1])))
    return tuple(parsed)


def default_tiers(vocabulary: int) -> tuple[Tier, ...]:
    """The preset ``five``, or ``two`` where the vocabulary is too small for it."""
    return parse("five" if vocabulary > 20_500 else "two")


@dataclasses.dataclass(frozen=True)
class TieredConfig:
    """Sizes and training of a tiered model. Hashable: static under `jit`.

    Attributes:
      vocabulary: V.
      tiers: see `Tier`; only the last may take the rest. By default see `default_tiers`.
      context: C, tokens seen.
      memory: the cells.
      negatives: which clusters are written FALSE at an example: those of the ``top`` most frequent tokens (as
        the predecessor's model does), ``drawn`` ones of these (as its search does), ``all``, or ``none``.
      calibrated: whether the score is learnt from held-out text, see `tiered_readout`; else as published.
      top: how many of the most frequent tokens are negatives.
      draws: negatives an example, where they are drawn, uniformly.

    Raises:
      ValueError: a size is out of range, or the tiers do not hold V tokens.
    """

    vocabulary: int
    tiers: tuple[Tier, ...] = ()
    context: int = 4
    memory: ram.RamConfig = ram.RamConfig("count")
    negatives: Literal["top", "drawn", "all", "none"] = "all"
    calibrated: bool = True
    top: int = 1000
    draws: int = 5

    def __post_init__(self):
        if not self.tiers:
            object.__setattr__(self, "tiers", default_tiers(self.vocabulary))
        if self.negatives not in NEGATIVES:
            raise ValueError(f"unknown negatives {self.negatives!r}: choose one of {', '.join(NEGATIVES)}")
        if min(self.top, self.draws) < 1:
            raise ValueError(f"negatives need top and draws of at least 1, got {self.top} and {self.draws}")
        if self.memory.sample_rate < 1.0:
            raise ValueError(
                f"tiered models write every example, sample_rate must be 1, got {self.memory.sample_rate}"
            )
        fixed = sum(tier.clusters or 0 for tier in self.tiers)
        rest = [tier.clusters is None for tier in self.tiers]
        if any(rest[:-1]) or (not rest[-1] and fixed != self.vocabulary):
            raise ValueError(
                f"the tiers hold {fixed} tokens of {self.vocabulary}: "
                "the last one, and only it, takes the rest"
            )
        if fixed > self.vocabulary - rest[-1]:
            raise ValueError(f"the tiers want {fixed + rest[-1]} tokens and there are {self.vocabulary}")
        for tier in self.tiers:
            # The bitwise model's rules of sizes are these.
            bitwise.BitwiseConfig(self.vocabulary, self.context, tier.neurons, tier.address_bits)

    @property
    def input_bits(self) -> int:
        """I, of all neurons."""
        return self.context * bits.code_length(self.vocabulary)

    @property
    def borders(self) -> tuple[int, ...]:
        """The first rank of every tier, and V."""
        first = np.cumsum([0, *(tier.clusters or 0 for tier in self.tiers)])
        return (*first[:-1].tolist(), self.vocabulary)


class Variant(NamedTuple):
    """The fields of a `TieredConfig` that say how a model is trained and read, whatever its sizes.

    Attributes:
      memory, negatives, calibrated: as there.
    """

    memory: ram.RamConfig
    negatives: Literal["top", "drawn", "all", "none"]
    calibrated: bool

    def config(self, vocabulary: int, **sizes) -> TieredConfig:
        """The model of this kind for V ids; ``sizes`` are the other fields of a `TieredConfig`."""
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
