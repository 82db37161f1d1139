"""Which gates are attached to a language model, and their sizes."""

import dataclasses
from typing import Literal

from wnn_jax.gates import content, layers


@dataclasses.dataclass(frozen=True)
class GatingConfig:
    """Gates of a model.

    Attributes:
      kinds: which gates; of `layers.KINDS`. None leaves the model as it is.
      ram: RAM gates: of bits, of tokens, or of both.
      orders: lengths of the n-grams of content gates, rising.
      heads: hash heads of each of these orders.
      row_bits: log2 of the rows of a head.
    """

    kinds: tuple[Literal["token", "bit", "dual", "engram"], ...] = ()
    ram: layers.GateConfig = layers.GateConfig(soft=True, leak=0.1)
    orders: tuple[int, ...] = (2, 3)
    heads: int = 4
    row_bits: int = 18

    def __post_init__(self):
        unknown = [kind for kind in self.kinds if kind not in layers.KINDS]
        if unknown:
            raise ValueError(f"unknown gating {unknown[0]!r}: choose of {', '.join(layers.KINDS)}")

    @property
    def ram_kinds(self) -> tuple[str, ...]:
        """The kinds that are gates of RAM neurons."""
        return tuple(kind for kind in layers.KINDS[:3] if kind in self.kinds)

    def content(self, vocabulary: int) -> content.EngramConfig:
        """Content gates for a vocabulary of V ids.

        Raises:
          ValueError: a size is out of range.
        """
        gate = layers.GateConfig(self.ram.neurons, self.ram.address_bits, leak=1e-3)
        return content.EngramConfig(vocabulary, self.orders, self.heads, self.row_bits, gate)

    def check(self, context: int, vocabulary: int) -> None:
        """Refuse sizes that do not fit a model, before any work.

        Raises:
          ValueError: a gate cannot observe as many bits of ``context`` tokens.
        """
        if self.kinds:
            self.content(vocabulary)
            # A gate is as wide as what it reads: the same rule, and the same words, as the model's neurons.
            layers.alone(vocabulary, context, self.ram.address_bits)
