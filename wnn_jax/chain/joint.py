"""Reads two mixed chain models place by place: all probabilities of the mixture, its best token, and draws.

Source: docs/semantics/chain.md
"""

import dataclasses
import functools

import jax
import numpy as np

from wnn_jax.chain import drawing, mixing, reader
from wnn_jax.chain import model as models
from wnn_jax.chain.config import WritingConfig
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.fitted import ChainModel
from wnn_jax.chain.memory import Memory
from wnn_jax.chain.mixing import MixtureModel

_PROPOSALS = 8  # draws of a token before all probabilities are computed


@functools.partial(jax.jit, static_argnames="temperature")
def _shares(network: Network, memory: Memory, temperature: float) -> jax.Array:
    one = drawing.with_temperature(reader.node_chances(network, memory), temperature)
    return reader.token_chances(network.tree, one)


def shares(model: MixtureModel, temperature: float) -> np.ndarray:
    """Returns the probability ``float64 [V]`` of every token to come next.

    It reads every node of both trees: for 50,000 ids about a third of a second.

    Args:
      model: the mixture, at the place in question.
      temperature: divides the log-odds of every turn of both models; 1 changes nothing.

    Source: docs/semantics/chain.md
    """
    first, second = (
        np.asarray(_shares(one.network, one.memory, temperature), np.float64)
        for one in (model.first, model.second)
    )
    return model.weight * first + (1.0 - model.weight) * second


def read_with_best(model: MixtureModel, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, MixtureModel]:
    """Reads tokens as in scoring, and finds the most probable token at each place before it is read.

    The token that is best for both models is best for the mixture, whatever the weight. Where they name
    different tokens, `shares` decides; the lowest id wins a tie.

    Args:
      model: the mixture; the tables of online models are consumed.
      tokens: ids ``int32 [N]``.

    Returns:
      nats ``float64 [N]``, the best tokens ``int32 [N]``, and the model after the tokens.

    Source: docs/semantics/chain.md
    """
    costs, best = np.zeros((2, len(tokens))), np.zeros(len(tokens), np.int32)
    rate, start = mixing.rate(model.config), model.balance
    for at in range(len(tokens)):
        token = tokens[at : at + 1]
        named = [_best(one, token) for one in (model.first, model.second)]
        best[at] = named[0] if named[0] == named[1] else np.argmax(shares(model, 1.0))
        first, costs[:1, at] = _read(model.first, token)
        second, costs[1:, at] = _read(model.second, token)
        _, balance = mixing.mix(costs[0, at : at + 1], costs[1, at : at + 1], model.balance, rate)
        model = model._replace(first=first, second=second, balance=balance)
    return mixing.mix(costs[0], costs[1], start, rate)[0], best, model


def _best(one: ChainModel, token: np.ndarray) -> int:
    how = {"learn": False, "argmax": True, "block": 1}
    return int(models.read_ids(one.network, one.memory, token, **how)[1].best[0])


def _read(one: ChainModel, token: np.ndarray) -> tuple[ChainModel, np.ndarray]:
    how = {"learn": one.config.mode == "online", "argmax": False, "block": 1}
    memory, reading = models.read_ids(one.network, one.memory, token, **how)
    return one._replace(memory=memory), models.nats(one.network, reading)


def draw(
    key: jax.Array, model: MixtureModel, writing: WritingConfig, recent: np.ndarray
) -> tuple[MixtureModel, int]:
    """Draws the next token of the mixture, which becomes context and is not learnt.

    Without a rule that cuts, one of the models is drawn by the weight, and then its token; one more number
    decides whether a recent token stays. After 8 tokens that did not stay, and wherever a rule cuts, one
    number chooses among all tokens that are kept.

    Args:
      key: the random key.
      model: the mixture at the place to continue.
      writing: the rules of drawing.
      recent: ids ``int32 [N]``, the tokens that the repetition penalty is for.

    Returns:
      the mixture after the token, and the token.

    Source: docs/semantics/chain.md
    """
    last, *keys = jax.random.split(key, _PROPOSALS + 1)
    if dataclasses.replace(writing, repetition_penalty=1.0).plain:
        for one in keys:
            token, chance = _proposed(one, model, writing.temperature)
            if token not in recent or chance < drawing.factor(writing):
                return _after(model, token), token
    weights = shares(model, writing.temperature)
    weights[recent] *= drawing.factor(writing)
    order, mass, size = drawing.kept(weights, writing, np)
    token = int(drawing.chosen(order, mass, size, float(jax.random.uniform(last, (), "float32")), np))
    return _after(model, token), token


def _proposed(key: jax.Array, model: MixtureModel, temperature: float) -> tuple[int, float]:
    """Draws a token of the mixture, and a number in [0, 1)."""
    which, turns = jax.random.split(key)
    choice, chance = np.asarray(jax.random.uniform(which, (2,), "float32"), np.float64)
    one = model.first if choice < model.weight else model.second
    writing = WritingConfig(temperature=temperature)
    _, tokens = models.draw(turns, one.network, models.own(one.memory), 1, writing, np.zeros(0, np.int32))
    return int(tokens[0]), float(chance)


def _after(model: MixtureModel, token: int) -> MixtureModel:
    how = {"learn": False, "argmax": False, "block": 1}
    ids = np.array([token], np.int32)
    first, second = (
        one._replace(memory=models.read_ids(one.network, one.memory, ids, **how)[0])
        for one in (model.first, model.second)
    )
    return model._replace(first=first, second=second)
