"""The settings of a chain model."""

import dataclasses
from typing import Literal

from wnn_jax import checks
from wnn_jax.chain import contexts, given
from wnn_jax.chain.constants import FIELDS, MATCHED, VIEWS, WeightSet
from wnn_jax.chain.neurons import (
    BEST_BYTES,
    BEST_WORDS,
    BYTES,
    FAST_WORDS,
    IN_CONTEXT,
    STATIC_WORDS,
    WORDS,
)
from wnn_jax.checks import Limits

# A static model is fixed after training, but a neuron that reads one of these fields remembers the text that
# is read: its title, and what followed when a context stood last.
IN_CONTEXT_FIELDS = ("title", "next_")


SETS = tuple(one.name.lower() for one in WeightSet)


@dataclasses.dataclass(frozen=True)
class ReadoutConfig:
    """The settings for training the readout of a static model.

    Attributes:
      folds: number of parts of the training text. Each part is read by a model of the other parts, which has
        its own token tree.
      tokens: number of training tokens that the readout learns from, shared equally among the folds.
      epochs: number of passes over the tokens that the readout learns from.
      batch: number of turns in a training step.
      step_size: first step size of AdamW; it falls to a tenth.
      decay: weight decay of AdamW; it pulls the weights back to the start, where all inputs have equal
        weights.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/chain.md
    """

    folds: int = 5
    tokens: int = 300_000
    epochs: int = 1
    batch: int = 512
    step_size: float = 0.001
    decay: float = 0.1

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
      neurons: the context neurons. Each names its view (node, byte or bytes3: the name by which it knows a
        node), and then the fields that it observes.
      without: fields (token1, class9_2, word ...) and views (node, byte, bytes3) to leave out; every context
        neuron that uses one of them is dropped.
      sets: the sets of weights of an online model. What each is named after chooses a row of it.
      lists: whether the neurons of an online model list the tokens that followed their contexts last.
      runs: whether contexts after which only one bit ever came are an input of their own in an online model.
      memory_mib: largest size of the tables in MiB. A cell has 16 bytes, and 18 in an online model with
        lists.
      chunk: number of tokens in a call; the results do not depend on it.
      readout: settings for training the readout of a static model.

    Raises:
      ValueError: a value is unknown or out of range, no context neuron is left, or one of a static model
        observes what a match expects.

    Source: docs/semantics/chain.md
    """

    mode: Literal["static", "online"] = "static"
    tree: Literal["clustered", "plain"] = "clustered"
    rare: int = 16
    neurons: tuple[str, ...] = WORDS
    without: tuple[str, ...] = ()
    sets: tuple[str, ...] = SETS
    lists: bool = True
    runs: bool = False
    memory_mib: int = 1536
    chunk: int = 16384
    readout: ReadoutConfig = ReadoutConfig()

    def __post_init__(self):
        checks.fields(
            self,
            rare=Limits(least=0),
            memory_mib=Limits(least=1, most=1 << 20),
            chunk=given.BLOCK,
        )
        if unknown := set(self.without) - {*FIELDS, *VIEWS}:
            choices = ", ".join((*FIELDS, *VIEWS))
            raise ValueError(f"without={sorted(unknown)[0]} is not a field or view: choose among {choices}")
        contexts.wire(self.neurons)
        if not self.described:
            raise ValueError(
                f"without={','.join(self.without)} leaves no context neuron: name fewer fields and views"
            )
        matched = [name for one in self.described for name in one.split() if name in MATCHED]
        if matched and self.mode == "static":
            raise ValueError(
                f"a static model has no matches, but a neuron observes {matched[0]}: name it in without, or "
                "choose mode=online"
            )
        if self.sets[:1] != ("one",) or len(set(self.sets)) != len(self.sets) or set(self.sets) - set(SETS):
            raise ValueError(
                f"sets={','.join(self.sets)} must begin with one, and name each once: choose among "
                f"{', '.join(SETS)}"
            )

    @property
    def described(self) -> tuple[str, ...]:
        """The context neurons that are not left out."""
        dropped = set(self.without)
        return tuple(one for one in self.neurons if not dropped & set(one.split()))

    @property
    def in_context(self) -> bool:
        """Whether a neuron reads a field by which the model remembers the text that it reads."""
        return any(field.startswith(IN_CONTEXT_FIELDS) for one in self.described for field in one.split())


@dataclasses.dataclass(frozen=True)
class MixtureConfig:
    """The settings of two chain models that are mixed: P(token) = w P1(token) + (1 - w) P2(token).

    Attributes:
      first: the settings of the first model.
      second: the settings of the second model, which should have another tree.
      rate: step size of the weight's log-odds after each token. It applies to online models; two static
        models have a constant weight, which is learnt on the end of the training text.

    Raises:
      ValueError: a value is out of range, or one model is static and the other online.

    Source: docs/semantics/chain.md
    """

    first: ChainConfig
    second: ChainConfig
    rate: float = 0.02

    def __post_init__(self):
        checks.fields(self, rate=given.RATE)
        if self.first.mode != self.second.mode:
            raise ValueError(
                f"a mixture has two models of one mode, got {self.first.mode} and {self.second.mode}: give "
                "both the same mode"
            )

    @property
    def mode(self) -> Literal["static", "online"]:
        """The mode of both models."""
        return self.first.mode

    @property
    def in_context(self) -> bool:
        """Whether a neuron of a model reads a field by which it remembers the text that it reads."""
        return self.first.in_context or self.second.in_context


@dataclasses.dataclass(frozen=True)
class WritingConfig:
    """How a model continues a text: the rules by which tokens are drawn, in their order, and where it stops.

    Attributes:
      temperature: number that divides the log-odds of each turn; below 1 makes probable tokens more probable,
        1 draws from the model's own distribution. In a mixture it applies before the two models mix.
      repetition_penalty: number that divides the probability of each token that is among the last ones; 1 for
        no penalty. The penalty of other programs that is subtracted from log-odds is the log of this number.
      repetition_window: number of last tokens, of the prompt and of those drawn, that the penalty is for.
      top_k: number of most probable tokens to draw from; 0 draws from all.
      top_p: draw only from the most probable tokens, as few as have this part of the probability together;
        after top_k, this part of what it leaves.
      min_p: draw only from tokens that have at least this part of the probability of the most probable one.
      stop: texts that end the writing; the first of them that is complete is cut off.

    Raises:
      ValueError: a number is out of range, or a text of ``stop`` is empty.

    Source: docs/semantics/chain.md
    """

    temperature: float = 1.0
    repetition_penalty: float = 1.0
    repetition_window: int = 64
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    stop: tuple[str, ...] = ()

    def __post_init__(self):
        checks.fields(
            self,
            temperature=given.TEMPERATURE,
            repetition_penalty=Limits(least=1, most=1e6),
            repetition_window=Limits(least=1, most=1 << 16),
            top_k=Limits(least=0, most=1 << 24),
            top_p=given.TOP_P,
            min_p=Limits(least=0, most=1),
        )
        if "" in self.stop:
            raise ValueError("stop has an empty text, which would end the writing at once: leave it out")

    @property
    def plain(self) -> bool:
        """Whether any token may be drawn, with the probability that the temperature gives it."""
        cuts = self.top_k > 0 or self.top_p < 1 or self.min_p > 0
        return not cuts and self.repetition_penalty == 1

    @property
    def remembered(self) -> int:
        """W, the number of last tokens that decide what is drawn."""
        return 0 if self.repetition_penalty == 1 else self.repetition_window


# The best static models found, without and with what the text so far says (docs/results/chain.md).
STATIC = ChainConfig(neurons=STATIC_WORDS, memory_mib=4096)
STATIC_IN_CONTEXT = ChainConfig(neurons=(*STATIC_WORDS, *IN_CONTEXT), memory_mib=4096)
FAST = ChainConfig(
    mode="online",
    neurons=FAST_WORDS,
    sets=("one", "kind", "seen", "match", "shape_depth", "kind_class", "class1", "token"),
    lists=False,
    memory_mib=2048,
)
BEST = ChainConfig(
    mode="online",
    neurons=BEST_WORDS,
    sets=(*FAST.sets, "depth", "shape"),
    memory_mib=4096,
)
# The second tree spells fewer tokens.
TWO_TREES = MixtureConfig(BEST, dataclasses.replace(BEST, rare=6))
STATIC_TWO_TREES = MixtureConfig(STATIC, dataclasses.replace(STATIC, rare=6))

# Models of bytes that compress, see `archive`.
BYTES_BEST = ChainConfig(
    mode="online",
    tree="plain",
    neurons=BEST_BYTES,
    sets=("one", "hits", "kind", "match", "seen", "byte", "byte_before", "kind_class", "shape_depth"),
    lists=False,  # of bytes they take a fifth of the time and gain less than a thousandth
    runs=True,
    memory_mib=4096,
)
BYTES_FAST = dataclasses.replace(
    BYTES_BEST, neurons=BYTES, sets=("one", "kind", "match", "seen", "byte"), memory_mib=1536
)
