"""Configures the gates of a language model: their kinds and their sizes.

Source: docs/semantics/gates.md
"""

import dataclasses
from typing import Literal

from wnn_jax import checks
from wnn_jax.gates import gate, ram_gates
from wnn_jax.gates.engram import EngramConfig
from wnn_jax.gates.ram_gates import RamGateConfig


@dataclasses.dataclass(frozen=True)
class GatingConfig:
    """Configures the gates of a model.

    Attributes:
      kinds: kinds of gates; the model is scored behind each kind alone. Without a kind it has no gates.
      ram: sizes of the neurons of all gates, and settings of bit and token gates.
      engram: sizes of the memory of n-grams that engram gates read.

    Raises:
      ValueError: a kind is unknown.

    Source: docs/semantics/gates.md
    """

    kinds: tuple[Literal["token", "bit", "dual", "engram"], ...] = ()
    ram: RamGateConfig = RamGateConfig()
    engram: EngramConfig = EngramConfig()

    def __post_init__(self):
        checks.fields(self)

    @property
    def ram_kinds(self) -> tuple[str, ...]:
        """The chosen kinds that are made of RAM neurons: token, bit and dual."""
        return tuple(kind for kind in gate.RAM_KINDS if kind in self.kinds)

    def check(self, context: int, vocabulary: int) -> None:
        """Refuse gates that do not fit a model, before any work is done.

        Args:
          context: C, the number of tokens that the gates see.
          vocabulary: V.

        Raises:
          ValueError: a gate reads more address bits than the context has input bits.
        """
        if self.kinds:
            # Gates have the same limits on their sizes, and the same messages, as the neurons of a model.
            ram_gates.single_tier(vocabulary, context, self.ram.address_bits)
