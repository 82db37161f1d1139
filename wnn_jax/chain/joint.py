"""Reads two mixed chain models place by place: all probabilities of the mixture, its best token, and draws.

Source: docs/semantics/chain.md
"""

import functools

import jax
import numpy as np

from wnn_jax.chain import mixing, reader
from wnn_jax.chain import model as models
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.fitted import ChainModel
from wnn_jax.chain.memory import Memory
from wnn_jax.chain.mixing import MixtureModel


@functools.partial(jax.jit, static_argnames="temperature")
def _shares(network: Network, memory: Memory, temperature: float) -> jax.Array:
    one = reader.with_temperature(reader.node_chances(network, memory), temperature)
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


def follow(model: MixtureModel, tokens: np.ndarray) -> MixtureModel:
    """Returns the mixture after tokens that become context and are not learnt; the weight stays.

    Args:
      model: the mixture.
      tokens: ids ``int [N]``.

    Source: docs/semantics/chain.md
    """

    def moved(one: ChainModel) -> ChainModel:
        return one._replace(memory=models.read(one.network, one.memory, tokens)[0])

    return model._replace(first=moved(model.first), second=moved(model.second))


def draw(key: jax.Array, model: MixtureModel, temperature: float, top_p: float) -> tuple[MixtureModel, int]:
    """Draws the next token of the mixture, which becomes context and is not learnt.

    With ``top_p`` 1 one of the models is drawn by the weight, and then its token. Below 1 the fewest most
    probable tokens that together have the probability ``top_p`` are kept, the lower id first on a tie, and
    one of them is drawn in proportion.

    Args:
      key: the random key.
      model: the mixture at the place to continue.
      temperature: divides the log-odds of every turn of both models; 1 changes nothing.
      top_p: the probability of the tokens to draw from.

    Returns:
      the mixture after the token, and the token.

    Source: docs/semantics/chain.md
    """
    which, turns = jax.random.split(key)
    chance = float(jax.random.uniform(which, (), "float32"))
    if top_p < 1:
        token = nucleus(shares(model, temperature), top_p, chance)
    else:
        one = model.first if chance < model.weight else model.second
        token = int(models.draw(turns, one.network, one.memory, 1, temperature, 1.0)[1][0])
    return _after(model, token), token


def _after(model: MixtureModel, token: int) -> MixtureModel:
    how = {"learn": False, "argmax": False, "block": 1}
    ids = np.array([token], np.int32)
    first, second = (
        one._replace(memory=models.read_ids(one.network, one.memory, ids, **how)[0])
        for one in (model.first, model.second)
    )
    return model._replace(first=first, second=second)


def nucleus(shares: np.ndarray, top_p: float, chance: float) -> int:
    """Draws one of the fewest most probable ids that together have the probability ``top_p``.

    Args:
      shares: ``float64 [V]``, the probability of every id; the lower id comes first on a tie.
      top_p: a probability, above 0 and at most 1.
      chance: the random number in [0, 1) that chooses.

    Source: docs/semantics/chain.md
    """
    order = np.argsort(-shares, kind="stable")
    mass = np.cumsum(shares[order])
    last = min(int(np.searchsorted(mass, top_p)), len(mass) - 1)
    return int(order[min(int(np.searchsorted(mass, chance * mass[last], side="right")), last)])
