"""Which gates are applied to a language model, and their sizes."""

import dataclasses
from typing import Literal

from wnn_jax.gates import gate, ram_gates
from wnn_jax.gates.engram import EngramConfig
from wnn_jax.gates.ram_gates import RamGateConfig


@dataclasses.dataclass(frozen=True)
class GatingConfig:
    """Gates of a model.

    Attributes:
      kinds: which gates, each kind alone; none leaves the model as it is.
      ram: sizes of all gates' neurons, and how bit and token gates are read.
      engram: the memory of n-grams that engram gates read.

    Raises:
      ValueError: a kind is unknown.
    """

    kinds: tuple[Literal["token", "bit", "dual", "engram"], ...] = ()
    ram: RamGateConfig = RamGateConfig()
    engram: EngramConfig = EngramConfig()

    def __post_init__(self):
        unknown = [kind for kind in self.kinds if kind not in gate.KINDS]
        if unknown:
            raise ValueError(f"unknown gating {unknown[0]!r}: choose of {', '.join(gate.KINDS)}")

    @property
    def ram_kinds(self) -> tuple[str, ...]:
        """The kinds that are gates of RAM neurons."""
        return tuple(kind for kind in gate.RAM_KINDS if kind in self.kinds)

    def check(self, context: int, vocabulary: int) -> None:
        """Refuse sizes that do not fit a model, before any work.

        Raises:
          ValueError: a gate cannot observe as many bits of ``context`` tokens.
        """
        if self.kinds:
            # A gate is as wide as what it reads: the same rule, and the same message, as the model's neurons.
            ram_gates.single_tier(vocabulary, context, self.ram.address_bits)
