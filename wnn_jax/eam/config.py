"""The settings of an associative memory as a language model, and the presets."""

import dataclasses
from typing import Literal

import optax

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.eam.distill import StudentConfig
from wnn_jax.eam.memory import MemoryConfig
from wnn_jax.transformer import TransformerConfig


@dataclasses.dataclass(frozen=True)
class TrunkConfig:
    """The sizes of a transformer that learns from text.

    Attributes:
      width: size of a state, a multiple of the number of heads.
      layers: number of blocks.
      heads: number of attention heads in a block.
      expand: number of hidden units in a block's MLP, as a multiple of the width.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/eam.md
    """

    width: int = 128
    layers: int = 4
    heads: int = 4
    expand: int = 3

    def __post_init__(self):
        size = Limits(least=1, most=1 << 16)
        checks.fields(self, width=size, layers=Limits(least=1, most=1000), heads=size, expand=size)


@dataclasses.dataclass(frozen=True)
class LearningConfig:
    """The settings of training a stage with AdamW.

    The rate rises to its peak in the first twentieth of the steps, and falls along a cosine to a tenth of it.

    Attributes:
      rate: peak step size.
      batch: number of windows in a step.
      epochs: number of passes over the windows.
      decay: weight decay.

    Raises:
      ValueError: a number is out of range, or a step takes more than all of a weight away.

    Source: docs/semantics/eam.md
    """

    rate: float
    batch: int
    epochs: int
    decay: float = 0.01

    def __post_init__(self):
        some = Limits(least=1)
        checks.fields(self, rate=Limits(above=0, most=1), batch=some, epochs=some, decay=Limits(least=0))
        # A step takes the share rate * decay of every weight away. Beyond all of it the weights grow.
        if self.rate * self.decay > 1:
            raise ValueError(
                f"decay must be at most 1 / rate, got decay={self.decay} and rate={self.rate}: lower one"
            )

    def optimiser(self, steps: int) -> optax.GradientTransformation:
        """Returns the optimiser for a number of steps in all; it clips gradients to length 1."""
        schedule = optax.warmup_cosine_decay_schedule(
            0.0, self.rate, max(1, steps // 20), max(2, steps), self.rate / 10
        )
        return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=self.decay))


@dataclasses.dataclass(frozen=True)
class EamConfig:
    """The settings of an associative memory as a language model: teacher, memory and student.

    Attributes:
      vocabulary: number of ids, V.
      window: number of tokens that teacher and student see at once.
      positions: whether teacher and encoder learn positions; the published ones do not.
      teacher: sizes of the transformer whose states are written.
      teaching: how the teacher is trained on the text.
      keys: size of a key, K.
      memory: how the memory is written and read.
      patterns: number of patterns written for each location.
      start: where locations begin. kmeans: all of them at means of keys. random, as published: a third of
        them at random, and regulation adds the rest.
      batch: number of patterns that are written at once.
      every: number of batches between two regulations of a memory that starts at random.
      encoder: sizes of the transformer that finds keys without the teacher.
      encoding: how the encoder learns the teacher's keys.
      hidden: number of units in the decoder's hidden layer.
      decoding: how the decoder learns to predict tokens from read values.
      joining: how encoder and decoder are trained further together, through the read.

    Raises:
      ValueError: a value is unknown or out of range, or the keys are wider than the teacher.

    Source: openai/parameter-golf PR 1146; docs/semantics/eam.md
    """

    vocabulary: int = 1024
    window: int = 128
    positions: bool = False
    teacher: TrunkConfig = TrunkConfig()
    teaching: LearningConfig = LearningConfig(rate=3e-3, batch=16, epochs=3, decay=0.1)
    keys: int = 64
    memory: MemoryConfig = MemoryConfig()
    patterns: float = 82.0
    start: Literal["kmeans", "random"] = "kmeans"
    batch: int = 1024
    every: int = 2
    encoder: TrunkConfig = TrunkConfig(layers=2, heads=2, expand=2)
    encoding: LearningConfig = LearningConfig(rate=3e-3, batch=16, epochs=2)
    hidden: int = 256
    decoding: LearningConfig = LearningConfig(rate=1e-3, batch=16, epochs=2)
    joining: LearningConfig = LearningConfig(rate=2e-3, batch=16, epochs=1)

    def __post_init__(self):
        size, some = Limits(least=1, most=1 << 16), Limits(least=1)
        checks.fields(
            self,
            vocabulary=Limits(least=1, most=1 << 24),
            window=Limits(least=2, most=1 << 20),
            keys=size,
            patterns=Limits(above=0, most=1e9),
            batch=some,
            every=some,
            hidden=size,
        )
        if self.keys > self.teacher.width:
            raise ValueError(
                f"keys must be at most the teacher's width, {self.teacher.width}, got {self.keys}: a key is "
                "a projection of the teacher's state"
            )

    @property
    def teacher_trunk(self) -> TransformerConfig:
        """The sizes of the teacher's transformer."""
        return self._trunk(self.teacher, spread=0.005)

    def student(self, repaired: bool) -> StudentConfig:
        """Returns the sizes of the student, as published or repaired."""
        encoder = self._trunk(self.encoder, spread=1.0)
        return StudentConfig(encoder, self.keys, self.teacher.width, self.hidden, self.memory, repaired)

    def locations(self, patterns: int) -> int:
        """Returns the number of locations for a number of patterns, at least as many as a read reaches."""
        return max(self.memory.nearest, round(patterns / self.patterns))

    def _trunk(self, sizes: TrunkConfig, spread: float) -> TransformerConfig:
        return TransformerConfig(
            self.vocabulary,
            **dataclasses.asdict(sizes),
            window=self.window,
            positions=self.positions,
            style="eam",
            spread=spread,
            dropout=0.0,
        )


SMALL = EamConfig()

# The published sizes, with a number of locations that fits the published 16 MB.
PUBLISHED = EamConfig(
    window=512,
    teacher=TrunkConfig(width=512, layers=8, heads=8, expand=3),
    teaching=LearningConfig(rate=3e-4, batch=64, epochs=5),
    keys=256,
    patterns=373.0,
    batch=512,
    encoding=LearningConfig(rate=1e-3, batch=32, epochs=10),
    hidden=1024,
    decoding=LearningConfig(rate=3e-4, batch=32, epochs=10),
    joining=LearningConfig(rate=1e-3, batch=32, epochs=3),
)

PRESETS = {"small": SMALL, "full": PUBLISHED}

# Teachers of growing strength for one memory and one student: their states have one width.
TEACHERS = {
    "plain": SMALL,
    "positions": dataclasses.replace(
        SMALL, positions=True, teaching=LearningConfig(rate=3e-3, batch=16, epochs=8, decay=0.1)
    ),
    "deep": dataclasses.replace(
        SMALL,
        positions=True,
        teacher=TrunkConfig(layers=6, expand=4),
        teaching=LearningConfig(rate=2e-3, batch=16, epochs=12, decay=0.2),
    ),
}
