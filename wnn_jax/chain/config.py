"""Settings of a chain model."""

import dataclasses
from typing import Literal

from wnn_jax.chain.constants import FIELDS, VIEWS

# What the context neurons of a model of words observe, and by which name they know a node. The first six
# are those whose having been seen before chooses the mixer's gains.
WORDS = (
    ("node", ""),
    ("node", "token1"),
    ("node", "token1 token2"),
    ("node", "token1 token2 token3"),
    ("node", "token1 class9_2"),
    ("node", "token2"),
    ("node", "token1 token2 token3 token4"),
    ("node", "token1 token3"),
    ("node", "token3"),
    ("node", "token2 token3"),
    ("node", "class9_1"),
    ("node", "class9_1 class9_2"),
    ("node", "class6_1 class6_2 class6_3"),
    ("node", "class12_1 class12_2"),
    ("node", "token1 class6_2 class6_3"),
    ("node", "word last_word"),
    ("node", "last_word"),
    ("byte", ""),
    ("bytes3", ""),
    ("byte", "word"),
    ("bytes3", "word"),
    ("bytes3", "bytes3"),
    ("byte", "token1"),
    ("node", "word bytes3"),
)
# And those of a model of bytes.
BYTES = (
    ("node", ""),
    ("node", "token1"),
    ("node", "token1 token2"),
    ("node", "token1 token2 token3"),
    ("node", "token1 token2 token3 token4"),
    ("node", "word token1"),
    ("node", "token1 token2 token3 token4 token5"),
    ("node", "token1 token2 token3 token4 token5 token6"),
    ("node", "word last_word"),
    ("node", "last_word token1"),
    ("node", "token2 token3"),
    ("node", "token1 token3"),
    ("node", "token2"),
    ("node", "token3 token4"),
    ("node", "word token1 last_word"),
    ("node", "folded1 folded2 folded3"),
)


@dataclasses.dataclass(frozen=True)
class ReadoutConfig:
    """How the readout of a static model is trained.

    Attributes:
      folds: parts of the training text; each is read after it was taken out of the counts.
      tokens: training tokens that the readout learns from, spread over the folds.
      epochs: passes over what was read.
      batch: bits a step.
      step_size: first step size of AdamW, which falls to 0 along a cosine.
      decay: AdamW's pull back to the start, where every input counts alike.

    Raises:
      ValueError: a value is out of range.
    """

    folds: int = 10
    tokens: int = 150_000
    epochs: int = 2
    batch: int = 4096
    step_size: float = 0.002
    decay: float = 1.0

    def __post_init__(self):
        if self.folds < 2:
            raise ValueError(f"a readout needs at least 2 folds, got folds={self.folds}")
        for name in ("tokens", "epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"a readout's {name} must be at least 1, got {getattr(self, name)}")
        if self.tokens < self.folds:
            raise ValueError(
                f"a readout reads a token a fold or more, got {self.tokens} of {self.folds} folds"
            )
        if self.step_size <= 0 or self.decay < 0:
            raise ValueError(
                f"a readout's step_size must be above 0 and its decay at least 0, got {self.step_size} and "
                f"{self.decay}"
            )


@dataclasses.dataclass(frozen=True)
class ChainConfig:
    """Settings of a chain model.

    Attributes:
      mode: ``static``: counts of the training text, frozen, and a trained readout. ``online``: one pass over
        the text, in which each token is scored before it is written.
      tree: how tokens become bits: ``clustered`` by what stands around them, with rare ones spelled, or
        ``plain`` ids.
      rare: tokens seen fewer times are spelled by bytes; 0 spells none.
      neurons: what the context neurons observe: those for ``words`` or those for ``bytes``.
      without: fields and views of neurons; the context neurons that observe any of them are left out.
      memory_mib: most MiB of tables, at 12 bytes a cell.
      rate: step size of the online mixer.
      chunk: tokens a call; the numbers do not depend on it.
      readout: how the readout of a static model is trained.

    Raises:
      ValueError: a value is unknown or out of range, or no neuron is left.
    """

    mode: Literal["static", "online"] = "static"
    tree: Literal["clustered", "plain"] = "clustered"
    rare: int = 16
    neurons: Literal["words", "bytes"] = "words"
    without: tuple[str, ...] = ()
    memory_mib: int = 1536
    rate: float = 0.03
    chunk: int = 16384
    readout: ReadoutConfig = ReadoutConfig()

    def __post_init__(self):
        known = {"mode": ("static", "online"), "tree": ("clustered", "plain"), "neurons": ("words", "bytes")}
        for name, choices in known.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}: choose of {', '.join(choices)}")
        if unknown := set(self.without) - {*FIELDS, *VIEWS}:
            choices = ", ".join((*FIELDS, *VIEWS))
            raise ValueError(f"without={sorted(unknown)[0]} names no field or view: choose of {choices}")
        if not self.described:
            raise ValueError(f"without={','.join(self.without)} leaves no context neuron: name fewer")
        if self.rare < 0 or self.rate <= 0:
            raise ValueError(f"rare must be at least 0 and rate above 0, got {self.rare} and {self.rate}")
        if self.memory_mib < 1 or self.chunk < 1:
            small = "memory_mib" if self.memory_mib < 1 else "chunk"
            raise ValueError(f"{small}={getattr(self, small)} is too few: give at least 1")

    @property
    def described(self) -> tuple[tuple[str, str], ...]:
        """View and fields of each context neuron."""
        every = WORDS if self.neurons == "words" else BYTES
        dropped = set(self.without)
        return tuple(one for one in every if not dropped & {*one[1].split(), one[0]})
