"""Which models are compared: the published ones by name, with and without repairs, and ablations of both."""

import dataclasses
from collections.abc import Collection
from typing import Literal, NamedTuple, get_args

from wnn_jax.vocab import repairs as mend
from wnn_jax.vocab import zoo
from wnn_jax.vocab.model import VocabConfig

HOPS = (1, 2, 4, 8)
LEAST, MOST = 32, 8192
Ablation = Literal["none", "hops", "repairs"]


class Variant(NamedTuple):
    """A model to train.

    Attributes:
      name: its name in a table.
      config: the model, with those of the repairs that change it.
      repairs: of `repairs.REPAIRS`, all that it is trained with.
    """

    name: str
    config: VocabConfig
    repairs: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """Its name without spaces and commas."""
        return self.name.replace(", ", "-").replace(" ", "_")


def variant(
    name: str,
    vocabulary: int,
    *,
    repairs: Collection[str] | None = None,
    hops: int = 8,
    rank: int = 8,
    leaky: bool = False,
    title: str = "",
) -> Variant:
    """A published model, its sizes made small in proportion to the vocabulary, and repaired.

    Args:
      name: either of its names, as in `zoo.NAMES`.
      vocabulary: V, 32 to 8,192.
      repairs: names of `repairs.REPAIRS`, of which those that change nothing are left out; by default those
        that suit the model; empty for the model as published.
      hops: steps of the residual stream; v4 and v16 have their own number, or this one if it is less.
      rank: rank of v8's word graph.
      leaky: whether fading memories read the future, as they did when published.
      title: name in tables; by default ``name``.

    Raises:
      ValueError: there is no such model or repair, or the vocabulary is too small or too large.
    """
    if not LEAST <= vocabulary <= MOST:
        raise ValueError(
            f"a state has a number a word, so these models take {LEAST} to {MOST:,} ids, not {vocabulary:,}: "
            "choose another tokenizer"
        )
    repairs = mend.suited(name) if repairs is None else tuple(repairs)
    mend.check(repairs)
    sizes = dataclasses.replace(zoo.scaled(vocabulary, hops), rank=rank)
    config = zoo.config(name, vocabulary, sizes, leaky)
    repairs = mend.effective(config, repairs)
    return Variant(title or name, mend.repair(config, repairs), repairs)


@dataclasses.dataclass(frozen=True)
class ComparisonConfig:
    """Which models are compared.

    Attributes:
      models: models by either of their names, or all.
      repairs: repairs of every model, of rate, warmup, scores, gain, fades, frequency or cluster, muon,
        bigram; by default those that suit each; empty for none.
      published: whether each model is also trained without repairs.
      leaky: whether each is also trained as published and reading the future.
      hops: steps of the residual stream; v4 and v16 have their own number, or this one if it is less.
      rank: rank of v8's word graph.
      ablate: vary the number of hops, or the repairs one by one.

    Raises:
      ValueError: there is no such model, repair or ablation, or a number is not positive.
    """

    models: tuple[str, ...] = ("v8_graph", "v9_meta")
    repairs: tuple[str, ...] | None = None
    published: bool = True
    leaky: bool = False
    hops: int = 8
    rank: int = 8
    ablate: Ablation = "none"

    def __post_init__(self):
        for name in self.names:
            zoo.known(name)
        mend.check(self.repairs or ())
        for name in ("hops", "rank"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.ablate not in get_args(Ablation):
            raise ValueError(f"no ablation {self.ablate!r}: there are {', '.join(get_args(Ablation))}")

    @property
    def names(self) -> tuple[str, ...]:
        """The models by name."""
        return tuple(zoo.NAMES) if self.models == ("all",) else self.models


def compare(config: ComparisonConfig, vocabulary: int) -> list[Variant]:
    """The models of a comparison, in the order of its table.

    Raises:
      ValueError: there are none, or the vocabulary is too small or too large.
    """
    found = [each for name in config.names for each in _compare_one(config, name, vocabulary)]
    if not found:
        raise ValueError("nothing to train: neither published models nor repairs are asked for")
    return found


def _compare_one(config: ComparisonConfig, name: str, vocabulary: int) -> list[Variant]:
    def make(title: str, repairs: Collection[str], leaky: bool = False, hops: int = 0) -> Variant:
        sizes = {"hops": hops or config.hops, "rank": config.rank}
        return variant(name, vocabulary, repairs=repairs, leaky=leaky, title=title, **sizes)

    chosen = mend.suited(name) if config.repairs is None else config.repairs
    found = []
    if config.published:
        found.append(make(f"{name}, as published", ()))
    if config.leaky:
        found.append(make(f"{name}, as published, leaky", (), leaky=True))
    if config.ablate == "hops":
        found += [make(f"{name}, {n} hop{'s' * (n > 1)}", chosen, hops=n) for n in HOPS]
    elif config.ablate == "repairs":
        fit = make(name, chosen).repairs
        found += [make(f"{name}, only {one}", (one,)) for one in fit]
        found += [make(f"{name}, without {one}", tuple(x for x in fit if x != one)) for one in fit]
    if chosen and config.ablate != "hops":
        found.append(make(name, chosen))
    return found
