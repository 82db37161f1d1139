"""The models of a comparison: published models by name, with and without repairs, and ablations."""

import dataclasses
from collections.abc import Collection
from typing import Literal, NamedTuple

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.vocab import repairs as mend
from wnn_jax.vocab import zoo
from wnn_jax.vocab.model import VocabConfig, count_parameters

HOPS = (1, 2, 4, 8)
LEAST, MOST = 32, 8192
Ablation = Literal["none", "hops", "repairs"]


class Variant(NamedTuple):
    """A model to train.

    Attributes:
      name: its name in a table.
      config: the model, changed by those repairs that concern it.
      repairs: all repairs that it is trained with, from `repairs.REPAIRS`.

    Source: docs/semantics/vocab.md
    """

    name: str
    config: VocabConfig
    repairs: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """The name without spaces and commas."""
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
    """Makes a published model, with sizes reduced in proportion to the vocabulary, and repairs it.

    Args:
      name: either of its names, as in `zoo.NAMES`.
      vocabulary: V, 32 to 8,192.
      repairs: names from `repairs.REPAIRS`; those that change nothing are dropped. By default those that suit
        the model; empty for the model as published.
      hops: number of steps of the residual stream; v4 and v16 have their own number, or this one if it is
        less.
      rank: rank of v8's word graph.
      leaky: whether decaying memories read the future, as they did when published.
      title: name in tables; ``name`` by default.

    Raises:
      ValueError: the model or a repair is unknown, or the vocabulary is too small or too large.

    Source: docs/semantics/vocab.md
    """
    checks.integer("vocabulary", vocabulary)
    if not LEAST <= vocabulary <= MOST:
        raise ValueError(
            f"these models take {LEAST} to {MOST:,} ids, got {vocabulary:,}, and a state has a number for "
            "each id: choose another tokenizer"
        )
    repairs = mend.suited(name) if repairs is None else tuple(repairs)
    mend.check(repairs)
    sizes = dataclasses.replace(zoo.scaled(vocabulary, hops), rank=rank)
    config = zoo.config(name, vocabulary, sizes, leaky)
    repairs = mend.effective(config, repairs)
    return Variant(title or name, mend.repair(config, repairs), repairs)


def sized_variant(name: str, vocabulary: int, hops: int, parameters: int) -> Variant:
    """Makes v8 or v9 with its suited repairs and about a given number of parameters, whatever its hops.

    The rank of v8's graph, or the state and the hidden units of v9, are those that come nearest; v9's state
    is a multiple of 4. A rank above the vocabulary adds parameters and no new graphs. The repair "bigram" is
    left out, because sequences are not one text.

    Args:
      name: either name of v8 or v9.
      vocabulary: V, 32 to 8,192.
      hops: number of steps of the residual stream.
      parameters: the number of parameters.

    Raises:
      ValueError: the model is another one, or none comes within a twentieth of the number.

    Source: docs/semantics/vocab.md
    """
    known = zoo.known(name)
    if known not in ("v8_graph", "v9_meta"):
        raise ValueError(f"{name} has no single size to fit: choose v8_graph or v9_meta")
    repairs = tuple(x for x in mend.suited(known) if x != "bigram")
    base = zoo.scaled(vocabulary, checks.integer("hops", hops, Limits(least=1, most=10_000)))
    chosen = (
        _nearest(known, vocabulary, repairs, base, parameters, ("rank",), 1)
        if known == "v8_graph"
        else _nearest(known, vocabulary, repairs, base, parameters, ("state", "inner"), 4)
    )
    if known == "v9_meta":
        chosen = _nearest(known, vocabulary, repairs, chosen, parameters, ("inner",), 1)
    published = zoo.config(known, vocabulary, chosen)
    repairs = mend.effective(published, repairs)
    config = mend.repair(published, repairs)
    size = count_parameters(config)
    if abs(size - parameters) > parameters / 20:
        raise ValueError(
            f"{name} with {hops} hops and {vocabulary} ids has {size} parameters where {parameters} are "
            "asked for: ask for more"
        )
    return Variant(f"{name}, {hops} hop{'s' * (hops > 1)}", config, repairs)


def _nearest(
    known, vocabulary, repairs, sizes: zoo.Sizes, parameters: int, names, multiple: int
) -> zoo.Sizes:
    """Returns the sizes with one number in all named places that comes nearest to the parameters."""

    def count(number: int) -> int:
        changed = dataclasses.replace(sizes, **dict.fromkeys(names, number))
        return count_parameters(mend.repair(zoo.config(known, vocabulary, changed), repairs))

    one, two = count(multiple), count(2 * multiple)  # the count is a straight line in the number
    number = multiple * max(1, 1 + round((parameters - one) / (two - one)))
    return dataclasses.replace(sizes, **dict.fromkeys(names, number))


@dataclasses.dataclass(frozen=True)
class ComparisonConfig:
    """The settings of a comparison of models.

    Attributes:
      models: names of the models to train (each model has two names, and both are known), or all.
      repairs: repairs of every model, from rate, warmup, scores, gain, fades, frequency or cluster, muon,
        bigram; by default those that suit each model; empty for none.
      published: whether each model is also trained without repairs.
      leaky: whether each model is also trained as published, with memories that read the future.
      hops: number of steps of the residual stream; v4 and v16 have their own number, or this one if it is
        less.
      rank: rank of v8's word graph.
      ablate: what is varied: nothing (none), the number of hops, or the repairs one by one.

    Raises:
      ValueError: a model, a repair or an ablation is unknown, or a number is not positive.

    Source: docs/semantics/vocab.md
    """

    models: tuple[str, ...] = ("v8_graph", "v9_meta")
    repairs: tuple[str, ...] | None = None
    published: bool = True
    leaky: bool = False
    hops: int = 8
    rank: int = 8
    ablate: Ablation = "none"

    def __post_init__(self):
        some = Limits(least=1, most=10_000)
        checks.fields(self, hops=some, rank=some)
        for name in self.names:
            zoo.known(name)
        mend.check(self.repairs or ())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the models."""
        return tuple(zoo.NAMES) if self.models == ("all",) else self.models


def compare(config: ComparisonConfig, vocabulary: int) -> list[Variant]:
    """Returns the models of a comparison, in the order of its table.

    Raises:
      ValueError: there is nothing to train, or the vocabulary is too small or too large.

    Source: docs/semantics/vocab.md
    """
    found = [each for name in config.names for each in _compare_one(config, name, vocabulary)]
    if not found:
        raise ValueError("nothing to train: published is off and no repairs are given; turn on one of them")
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
