"""The settings of a chain model."""

import dataclasses
from typing import Literal

from wnn_jax import checks
from wnn_jax.chain import given
from wnn_jax.chain.constants import FIELDS, VIEWS
from wnn_jax.checks import Limits

# The context neurons of a model of words: the view (the name by which the neuron knows a node) and the fields
# that it observes. Whether each of the first six has seen its context before chooses gains of the mixer.
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
# The context neurons of a model of bytes.
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
    """The settings for training the readout of a static model.

    Attributes:
      folds: number of parts of the training text; each part is read while its own counts are left out.
      tokens: number of training tokens that the readout learns from, shared equally among the folds.
      epochs: number of passes over the tokens that the readout learns from.
      batch: number of bits in a training step.
      step_size: first step size of AdamW; it falls to 0 along a cosine.
      decay: weight decay of AdamW; it pulls the weights back to the start, where all inputs have equal
        weights.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/chain.md
    """

    folds: int = 10
    tokens: int = 150_000
    epochs: int = 2
    batch: int = 4096
    step_size: float = 0.002
    decay: float = 1.0

    def __post_init__(self):
        some = Limits(least=1)
        checks.fields(
            self,
            folds=Limits(least=2),
            tokens=some,
            epochs=Limits(least=1, most=100_000),
            batch=some,
            step_size=Limits(above=0, most=1),
            decay=Limits(least=0),
        )
        if self.tokens < self.folds:
            raise ValueError(
                f"a readout needs at least one token for each fold, got {self.tokens} tokens for "
                f"{self.folds} folds: raise tokens or lower folds"
            )
        # A step takes the share step_size * decay of every weight away. Beyond all of it the weights grow.
        if self.step_size * self.decay > 1:
            raise ValueError(
                f"a readout's decay must be at most 1 / step_size, got {self.decay} and {self.step_size}: "
                "lower one of them"
            )


@dataclasses.dataclass(frozen=True)
class ChainConfig:
    """The settings of a chain model.

    Attributes:
      mode: ``static`` counts the training text once and trains a readout; ``online`` reads the text once and
        writes each token after scoring it.
      tree: how a token becomes bits. ``clustered`` groups frequent tokens by their neighbours in the text and
        spells rare ones; ``plain`` takes the binary digits of the id.
      rare: tokens seen fewer times than this are spelled byte by byte; 0 spells none.
      neurons: the set of context neurons, made for texts of ``words`` or of ``bytes``.
      without: fields (token1, class9_2, word ...) and views (node, byte, bytes3) to leave out; every context
        neuron that uses one of them is dropped.
      memory_mib: largest size of the tables in MiB; a cell has 12 bytes.
      rate: step size of the online mixer.
      chunk: number of tokens in a call; the results do not depend on it.
      readout: settings for training the readout of a static model.

    Raises:
      ValueError: a value is unknown or out of range, or no context neuron is left.

    Source: docs/semantics/chain.md
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
        checks.fields(
            self,
            rare=Limits(least=0),
            memory_mib=Limits(least=1, most=1 << 20),
            rate=given.RATE,
            chunk=given.BLOCK,
        )
        if unknown := set(self.without) - {*FIELDS, *VIEWS}:
            choices = ", ".join((*FIELDS, *VIEWS))
            raise ValueError(f"without={sorted(unknown)[0]} is not a field or view: choose among {choices}")
        if not self.described:
            raise ValueError(
                f"without={','.join(self.without)} leaves no context neuron: name fewer fields and views"
            )

    @property
    def described(self) -> tuple[tuple[str, str], ...]:
        """The view and the fields of each context neuron."""
        every = WORDS if self.neurons == "words" else BYTES
        dropped = set(self.without)
        return tuple(one for one in every if not dropped & {*one[1].split(), one[0]})


# Models of bytes that compress, see `archive`.
BYTES_BEST = ChainConfig(mode="online", tree="plain", neurons="bytes", memory_mib=1024, rate=0.02)
BYTES_FAST = dataclasses.replace(BYTES_BEST, without=("token5", "last_word", "folded1"))
