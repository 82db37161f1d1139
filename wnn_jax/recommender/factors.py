"""Matrix factorisation: the films of the world, and a new person folded in from a few ratings."""

import dataclasses
import functools
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax.data import movielens


@dataclasses.dataclass(frozen=True)
class FactorConfig:
    """Matrix factorisation with biases.

    Attributes:
      factors: k, the number of factors of a film and of a person.
      steps: steps of Adam, each on all ratings.
      rate: step size of Adam.
      decay: squared penalty of factors and biases, for each rating.
      bias_shrink: ridge of a new person's bias.
      shrink: ridge of a new person's factors.
      spread: width in stars of the logistic that turns expected stars into chances of label bits (`prior`).
    """

    factors: int = 16
    steps: int = 100
    rate: float = 0.05
    decay: float = 0.12
    bias_shrink: float = 3.0
    shrink: float = 12.0
    spread: float = 0.45

    def __post_init__(self):
        if self.factors < 1 or self.steps < 0:
            raise ValueError(
                f"factors must be at least 1 and steps not negative, got {self.factors} and {self.steps}"
            )
        positive = {name: getattr(self, name) for name in ("rate", "bias_shrink", "shrink", "spread")}
        for name, value in positive.items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if not self.decay >= 0:
            raise ValueError(f"decay must not be negative, got {self.decay}")


class Factors(NamedTuple):
    """Films as everybody's ratings describe them.

    Attributes:
      mean: ``float32 []``, of all ratings.
      bias: ``float32 [F]``; 0 for films nobody rated.
      film: ``float32 [F, k]``; the same.
    """

    mean: jax.Array
    bias: jax.Array
    film: jax.Array


def factorise(key: jax.Array, config: FactorConfig, ratings: movielens.Ratings, films: int) -> Factors:
    """Fit the ratings of the world.

    Args:
      key: the first factors.
      config: sizes and training.
      ratings: of anybody; times do not count.
      films: F.
    """
    people, user = np.unique(ratings.user, return_inverse=True)
    arrays = _Arrays(jnp.asarray(user), jnp.asarray(ratings.film), jnp.asarray(ratings.stars, jnp.float32))
    return _factorise(key, config, arrays, len(people), films)


class _Arrays(NamedTuple):
    user: jax.Array
    film: jax.Array
    stars: jax.Array


@functools.partial(jax.jit, static_argnames=("config", "users", "films"))
def _factorise(key, config: FactorConfig, ratings: _Arrays, users: int, films: int) -> Factors:
    user, film, stars = ratings
    keys, mean = jax.random.split(key), stars.mean()
    params = {
        "user": 0.1 * jax.random.normal(keys[0], (users, config.factors)),
        "film": 0.1 * jax.random.normal(keys[1], (films, config.factors)),
        "user_bias": jnp.zeros(users),
        "film_bias": jnp.zeros(films),
    }

    def loss(p):
        u, f, a, b = p["user"][user], p["film"][film], p["user_bias"][user], p["film_bias"][film]
        error = mean + a + b + (u * f).sum(1) - stars
        return (error**2 + config.decay * ((u**2).sum(1) + (f**2).sum(1) + a**2 + b**2)).mean()

    optimiser = optax.adam(config.rate)

    def step(carry, _):
        params, state = carry
        updates, state = optimiser.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    fitted = jax.lax.scan(step, (params, optimiser.init(params)), None, config.steps)[0][0]
    params = cast(dict[str, jax.Array], fitted)
    seen = jnp.zeros(films).at[film].set(1.0)
    return Factors(mean, params["film_bias"] * seen, params["film"] * seen[:, None])


def fold_in(factors: Factors, config: FactorConfig, film, stars, asked) -> jax.Array:
    """Expect stars of new people: their bias and factors by ridge regression, the films' held fixed.

    Args:
      factors: the world's.
      config: its ridges.
      film, stars: ``[U, n]``, what the people rated; -1 and any number where there are fewer than n.
      asked: ``[U, q]`` films.

    Returns:
      ``float32 [U, q]`` stars, within 0.5 .. 5.
    """
    return _fold_in(factors, np.float32(config.bias_shrink), np.float32(config.shrink), film, stars, asked)


@jax.jit
def _fold_in(factors: Factors, bias_shrink, shrink, film, stars, asked) -> jax.Array:
    def one(film, stars, asked):
        design = jnp.concatenate([jnp.ones((len(factors.bias), 1)), factors.film], 1)
        there = (film >= 0)[:, None]
        x = jnp.where(there, design[film], 0.0)
        rest = jnp.where(there[:, 0], stars - factors.mean - factors.bias[film], 0.0)
        ridge = jnp.full(x.shape[1], shrink).at[0].set(bias_shrink)
        solved = jnp.linalg.solve(x.T @ x + jnp.diag(ridge), x.T @ rest)
        return factors.mean + factors.bias[asked] + design[asked] @ solved

    return jnp.clip(jax.vmap(one)(film, stars, asked), 0.5, 5.0)


def prior(config: FactorConfig, stars: jax.Array, whole: bool = False) -> jax.Array:
    """Expected stars ``[U, q]`` as the chance of every label bit, ``[U, q, 10]``: a logistic about the stars.

    With ``whole`` the labels are of whole stars, as published, and bits come in pairs.
    """
    levels = jnp.arange(1, 11) / 2
    levels = jnp.ceil(levels) if whole else levels
    return jax.nn.sigmoid((stars[..., None] - levels + (0.5 if whole else 0.25)) / config.spread)


def code_bits(factors: Factors) -> np.ndarray:
    """A film's factors as bits ``bool [k, F]``: whether each lies above its median over the rated films.

    Films that nobody rated have no bit.
    """
    film = np.asarray(factors.film)
    seen = (film != 0).any(1, keepdims=True)
    middle = np.nanmedian(np.where(seen, film, np.nan), 0) if seen.any() else 0.0
    return ((film > middle) & seen).T
