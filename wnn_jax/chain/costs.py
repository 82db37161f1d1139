"""Measures the time of training for texts of growing length."""

import dataclasses
import time
from typing import NamedTuple

import jax
import numpy as np

from wnn_jax import checks
from wnn_jax.chain import fitted, given, static
from wnn_jax.chain import model as models
from wnn_jax.chain.config import ChainConfig
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.online import OnlineMemory


class TrainingCost(NamedTuple):
    """The time of training on texts of growing length, with the time of compiling.

    Attributes:
      tokens: the lengths of the texts in tokens.
      microseconds: the time per training token for each text, by what is trained: ``static: counts``, without
        the readout, and ``online``.

    Source: docs/semantics/chain.md
    """

    tokens: list[int]
    microseconds: dict[str, list[float]]


def training_cost(config: ChainConfig, network: Network, tokens: np.ndarray, points: int) -> TrainingCost:
    """Trains on beginnings of a text, each twice as long as the one before, and measures the time.

    Args:
      config: the settings of the model; both modes are measured.
      network: the wiring.
      tokens: ids ``int [N]``; the last beginning is all of them.
      points: the number of beginnings.

    Raises:
      ValueError: the memory is too small, a token is outside the vocabulary, or the text is too short to be
        halved that often.

    Source: docs/semantics/chain.md
    """
    points = checks.integer("points", points, checks.Limits(least=0, most=31))
    tokens = given.tokens(network, tokens)
    sizes = [len(tokens) >> shift for shift in range(points - 1, -1, -1)]
    if sizes and not sizes[0]:
        raise ValueError(f"{len(tokens)} tokens cannot be halved {points - 1} times: ask for fewer points")
    spent: dict[str, list[float]] = {"static: counts": [], "online": []}
    for size in sizes:
        for name, times in spent.items():
            mode = "online" if name == "online" else "static"
            memory = fitted.empty(dataclasses.replace(config, mode=mode), network)
            jax.block_until_ready(memory)
            begun = time.perf_counter()
            if isinstance(memory, OnlineMemory):
                how = {"learn": True, "block": config.chunk}
                memory, _ = models.read(network, memory, tokens[:size], **how)
            else:
                memory, observed = static.observe(network, memory, tokens[:size])
                memory = static.count(network, memory, observed)
            jax.block_until_ready(memory)
            times.append(1e6 * (time.perf_counter() - begun) / size)
            del memory  # frees it before the next one is made
    return TrainingCost(sizes, spent)
