"""Measures what each context neuron and each part of a chain model is worth, on training text.

A model is fitted again without it on the first part of a sample of the training text, and scored on the rest.
The text that the project evaluates is not read.

Source: docs/semantics/chain.md
"""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.chain import fitted
from wnn_jax.chain import model as models
from wnn_jax.chain.config import ChainConfig
from wnn_jax.chain.constants import FIELDS, VIEWS
from wnn_jax.chain.contexts import Network
from wnn_jax.data.text import Corpus
from wnn_jax.saving.progress import Answers, digest

_ROOM = 18  # MiB of tables for each neuron: a million cells, enough for a sample
_SCORED = 4  # the last quarter of a sample is scored


class Worth(NamedTuple):
    """The cost of a model without one of its parts.

    Attributes:
      nats: the mean cost of a scored token without the part, in nats.
      worth: the nats that the part saves a token; negative if the model is better without it.
      error: the standard error of ``worth``, from the differences of single tokens.

    Source: docs/semantics/chain.md
    """

    nats: float
    worth: float
    error: float


@checks.classes
def ablate(
    key: jax.Array,
    config: ChainConfig,
    corpus: Corpus,
    which: Literal["contexts", "parts"],
    tokens: int = 100_000,
    *,
    resume: str | pathlib.Path | None = None,
    on_step: Callable[[str, int, int], None] | None = None,
) -> dict[str, Worth]:
    """Fits and scores a model without each context neuron, or without each part.

    Parts are fields and views, with all context neurons that use them; the weight sets and the inputs of an
    online model that its settings name; the clustered order of the tree; and the spelling of rare tokens. All
    models but those without one of the last two have the same tree, which is made of the first three quarters
    of the sample. The last quarter is scored.

    Args:
      key: see `face.fit`.
      config: the settings of the whole model.
      corpus: its training text is used.
      which: ``contexts`` or ``parts``.
      tokens: the size of the sample, which is the beginning of the training text.
      resume: a folder in which results are kept; a run that was killed continues with the next part.
      on_step: called with the name of a part, the number of models that are done, and the number of all.

    Returns:
      the worth of each part by its name; ``all`` is the whole model.

    Raises:
      ValueError: the sample is longer than the training text or too short, ``which`` is unknown, the model
        has a single context neuron, or the folder holds the progress of other work.

    Source: docs/semantics/chain.md
    """
    if which not in ("contexts", "parts"):
        raise ValueError(f"which={which!r} is unknown: choose contexts or parts")
    tokens = checks.integer("tokens", tokens, checks.Limits(least=2 * _SCORED, most=len(corpus.train)))
    cut = tokens - tokens // _SCORED
    sample = corpus._replace(train=corpus.train[:cut], test=corpus.train[cut:tokens])
    room = min(config.memory_mib, _ROOM * len(config.described))
    config = dataclasses.replace(config, memory_mib=room)
    network = fitted.build(config, sample)
    variants = _contexts(config) if which == "contexts" else _parts(config)
    made = list(variants)
    about = {"chain": dataclasses.asdict(config), "sample": digest(corpus.train[:tokens]), "which": which}
    about["seed"] = np.asarray(jax.random.key_data(key)).tolist()
    answers = Answers(resume, about)

    def nats(changed: ChainConfig) -> np.ndarray:
        wired = _wired(config, changed, network, sample)
        return fitted.evaluate(key, changed, sample, network=wired).nats

    whole = nats(config)
    found = {"all": Worth(float(whole.mean()), 0.0, 0.0)}
    for place, (name, changed) in enumerate(made):
        if on_step:
            on_step(name, place, len(made))
        known = answers.get(name, lambda c=changed: list(_worth(nats(c), whole)))
        found[name] = Worth(*(checks.number(name, x) for x in known))
    if on_step:
        on_step("all", len(made), len(made))
    return found


def _worth(nats: np.ndarray, whole: np.ndarray) -> Worth:
    dearer = nats - whole
    return Worth(float(nats.mean()), float(dearer.mean()), float(dearer.std() / math.sqrt(len(dearer))))


Variant = tuple[str, ChainConfig]


def _contexts(config: ChainConfig) -> Iterator[Variant]:
    """Yields the settings without each context neuron, by a name of it."""
    every = config.described
    if len(every) < 2:
        raise ValueError("a model of one context neuron has nothing to leave out: give it more neurons")
    for i, one in enumerate(every):
        view, _, fields = one.partition(" ")
        yield f"{view}: {fields or 'no field'}", _with_neurons(config, every[:i] + every[i + 1 :])


def _parts(config: ChainConfig) -> Iterator[Variant]:
    """Yields the settings without each part, by its name."""
    used = {name for one in config.described for name in one.split()}
    for kind, names in (("field", FIELDS), ("view", VIEWS)):
        for name in names:
            left = tuple(one for one in config.described if name not in one.split())
            if name in used and left:
                yield f"{kind}: {name}", _with_neurons(config, left)
    if config.mode == "online":
        for name in config.sets[1:]:  # the first one is needed: what no other row has seen begins with it
            sets = tuple(one for one in config.sets if one != name)
            yield f"weight set: {name}", dataclasses.replace(config, sets=sets)
        for name in ("lists", "runs"):
            if getattr(config, name):
                yield f"input: {name}", dataclasses.replace(config, **{name: False})
    if config.tree == "clustered":
        yield "tree: clustered", dataclasses.replace(config, tree="plain")
        if config.rare:
            yield "tree: spelling", dataclasses.replace(config, rare=0)


def _with_neurons(config: ChainConfig, neurons: tuple[str, ...]) -> ChainConfig:
    return dataclasses.replace(config, neurons=neurons, without=())


def _wired(config: ChainConfig, changed: ChainConfig, network: Network, sample: Corpus) -> Network:
    if (changed.tree, changed.rare) != (config.tree, config.rare):
        return fitted.build(changed, sample)
    return models.network(network.tree, sample.pieces, changed.described, changed.sets)
