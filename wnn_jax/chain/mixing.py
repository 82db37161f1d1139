"""Two chain models of different trees, mixed as probabilities of tokens: the model and its weight.

The tree decides which mistakes a model makes: tokens that stand far apart in it share little. Two trees make
different mistakes, so the mixture

    P(token) = w P1(token) + (1 - w) P2(token)

costs less than each. It is exact, because a mixture of two distributions is one.

Source: docs/semantics/chain.md
"""

import math
from typing import NamedTuple

import numpy as np

from wnn_jax import checks
from wnn_jax.chain import given
from wnn_jax.chain.config import MixtureConfig
from wnn_jax.chain.fitted import ChainModel
from wnn_jax.data.tokenizers import Tokenizer

LEAST_WEIGHT = 0.01  # of a model in a mixture of static models
BALANCE = checks.Limits(least=-100, most=100)
_RATE = given.RATE._replace(least=0, above=-math.inf)
_COSTS = checks.Limits(least=0)


class MixtureModel(NamedTuple):
    """Two fitted chain models and the weight with which they are mixed.

    Attributes:
      config: the settings that it was made with.
      first: the first model.
      second: the second model, at the same place in the text.
      balance: the log-odds of w, the weight of the first model.

    Source: docs/semantics/chain.md
    """

    config: MixtureConfig
    first: ChainModel
    second: ChainModel
    balance: float

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of both models."""
        return self.first.tokenizer

    @property
    def weight(self) -> float:
        """The weight w of the first model, between 0 and 1."""
        return sigmoid(self.balance)


def check(model: MixtureModel) -> None:
    """Checks both models of a mixture and their weight.

    Args:
      model: the mixture.

    Raises:
      ValueError: an array of a model is not of one, the vocabularies differ, or the balance is not a number
        between -100 and 100.

    Source: docs/architecture.md
    """
    for one in (model.first, model.second):
        given.network(one.network)
        given.memory(one.network, one.memory)
    sizes = [one.network.lexicon.shape[1] for one in (model.first, model.second)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"the models of a mixture have {sizes[0]} and {sizes[1]} ids: give two of one vocabulary"
        )
    checks.number("balance", model.balance, BALANCE)


def rate(config: MixtureConfig) -> float:
    """Returns the step size of the weight: 0 for static models, whose weight is constant.

    Source: docs/semantics/chain.md
    """
    return config.rate if config.mode == "online" else 0.0


def mix(first: np.ndarray, second: np.ndarray, balance: float, rate: float) -> tuple[np.ndarray, float]:
    """Mixes the costs of the same tokens for two models; the weight learns from each token after it.

    Args:
      first: floats ``[N]``, the negative log-probability of each token for the first model.
      second: the same for the second model.
      balance: the log-odds of the first model's weight before the first token.
      rate: the step size: the log-odds move by ``rate * (posterior - w)``, where the posterior is the first
        model's part of the token's probability. 0 keeps the weight.

    Returns:
      nats ``float64 [N]`` of the mixture, and the balance after the last token.

    Raises:
      ValueError: the arrays are not of one length, or a number is not finite or out of range.

    Source: exponentiated gradient (Kivinen and Warmuth 1997); docs/semantics/chain.md
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    checks.array("first", first, "numbers", {"N": None}, _COSTS)
    checks.array("second", second, "numbers", {"N": len(first)}, _COSTS)
    before = np.full(len(first), checks.number("balance", balance, BALANCE))
    if checks.number("rate", rate, _RATE):
        for at, ahead in enumerate((second - first).tolist()):
            before[at] = balance
            moved = balance + rate * (sigmoid(balance + ahead) - sigmoid(balance))
            balance = min(max(moved, BALANCE.least), BALANCE.most)
    # -log w = log(1 + exp(-balance))
    costs = first + np.logaddexp(0.0, -before), second + np.logaddexp(0.0, before)
    return -np.logaddexp(-costs[0], -costs[1]), float(balance)


def constant_balance(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the log-odds of the constant weight under which the tokens are most probable.

    Args:
      first: floats ``[N]``, the negative log-probability of each token for the first model.
      second: the same for the second model.

    Returns:
      the balance of a weight between 0.01 and 0.99; 0 if there is no token.

    Raises:
      ValueError: the arrays are not of one length, or a number is not finite.

    Source: expectation maximisation (Dempster, Laird and Rubin 1977); docs/semantics/chain.md
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    checks.array("first", first, "numbers", {"N": None}, _COSTS)
    checks.array("second", second, "numbers", {"N": len(first)}, _COSTS)
    ratio = np.exp(np.clip(second - first, -500.0, 500.0))
    weight = 0.5
    for _ in range(200 if len(first) else 0):
        odds = ratio * (weight / (1.0 - weight))
        weight = min(max(float(np.mean(odds / (1.0 + odds))), LEAST_WEIGHT), 1.0 - LEAST_WEIGHT)
    return math.log(weight / (1.0 - weight))


def sigmoid(x: float) -> float:
    """Returns 1 / (1 + exp(-x)) of any finite number.

    Source: docs/semantics/chain.md
    """
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))
