"""The time that training costs, by the length of the text."""

import dataclasses
import time
from typing import NamedTuple

import jax
import numpy as np

from wnn_jax.chain import fitted, static
from wnn_jax.chain import model as models
from wnn_jax.chain.config import ChainConfig
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.memory import OnlineMemory


class TrainingCost(NamedTuple):
    """The time of training on growing texts, with what compiles in it.

    Attributes:
      tokens: lengths of the texts.
      microseconds: a training token of each text, by what is trained: ``static: counts``, without the
        readout, and ``online``.
    """

    tokens: list[int]
    microseconds: dict[str, list[float]]


def training_cost(config: ChainConfig, network: Network, tokens: np.ndarray, points: int) -> TrainingCost:
    """Train on the first tokens of a text, half of the next number each time, and measure the time.

    Args:
      config: of the model; both its modes are measured.
      network: its wiring.
      tokens: ``[N]`` ids, all of which the last point trains on.
      points: the number of texts.

    Raises:
      ValueError: the memory is too small, or a text has no token.
    """
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
                how = {"learn": True, "rate": config.rate, "block": config.chunk}
                memory, _ = models.read(network, memory, tokens[:size], **how)
            else:
                memory, observed = static.observe(network, memory, tokens[:size])
                memory = static.count(network, memory, observed)
            jax.block_until_ready(memory)
            times.append(1e6 * (time.perf_counter() - begun) / size)
            del memory  # before the next is made
    return TrainingCost(sizes, spent)
