"""The speed of chain models that write, by the rule of drawing.

Source: docs/results/chain.md
"""

import time
from collections.abc import Mapping
from typing import Any

import jax

from experiments.shared import tables
from wnn_jax import chain

RULES = {
    "all tokens": chain.WritingConfig(),
    "top_k 50": chain.WritingConfig(top_k=50),
    "top_p 0.9": chain.WritingConfig(top_p=0.9),
    "min_p 0.05": chain.WritingConfig(min_p=0.05),
    "top_k 50, top_p 0.9": chain.WritingConfig(top_k=50, top_p=0.9),
    "repetition penalty 1.3": chain.WritingConfig(repetition_penalty=1.3),
    "repetition penalty 1.3, top_p 0.9": chain.WritingConfig(repetition_penalty=1.3, top_p=0.9),
}
MIXTURE_PART = 32  # a mixture, which computes all probabilities, draws this part of the tokens


def speeds(seed: int, model: Any, tokens: int) -> dict[str, float]:
    """Measure how many tokens a second a model writes after the text that it has read.

    Each rule writes twice, with two keys, and the second time counts: the first one compiles.

    Args:
      seed: the seed of the keys.
      model: a fitted model or mixture.
      tokens: the number of tokens to draw by each rule; a mixture draws a part of them.

    Returns:
      tokens a second, by the name of the rule.

    Source: docs/results/chain.md
    """
    if isinstance(model, chain.MixtureModel):
        tokens = max(1, tokens // MIXTURE_PART)
    found = {}
    for name, writing in RULES.items():
        for turn in range(2):
            begun = time.perf_counter()
            chain.generate(jax.random.fold_in(jax.random.key(seed), turn), model, "", tokens, writing)
            found[name] = tokens / (time.perf_counter() - begun)
    return found


def add(results: tables.Results, found: Mapping[str, Mapping[str, float]]) -> None:
    """Add and print a row for each model and rule.

    Args:
      results: the rows of this command.
      found: the tokens a second of each rule, by the name of the model's row.

    Source: docs/results/chain.md
    """
    for row, rules in found.items():
        for rule, speed in rules.items():
            results.add(f"{row}, writing, {rule}", tokens_per_second={"writing": speed})
    if found:
        cells = {rule: tuple(f"{rules[rule]:,.0f}" for rules in found.values()) for rule in RULES}
        tables.print_grid("written tokens a second", cells, tuple(found))
