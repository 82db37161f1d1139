"""Matrix factorisation: factors of films from the world's ratings, and of a new person from a few ratings.

Source: docs/semantics/recommender.md.
"""

import dataclasses
import functools
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import movielens
from wnn_jax.narrow import in_32_bits


@dataclasses.dataclass(frozen=True)
class FactorConfig:
    """Matrix factorisation with biases.

    Attributes:
      factors: k, the number of factors of a film and of a person.
      steps: the number of steps of Adam; each step uses all ratings.
      rate: step size of Adam.
      decay: weight of the squared factors and biases in the loss of each rating.
      bias_shrink: ridge of a new person's bias.
      shrink: ridge of a new person's factors.
      spread: width in stars of the logistic that turns expected stars into chances of label bits (`prior`).

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/recommender.md.
    """

    factors: int = 16
    steps: int = 100
    rate: float = 0.05
    decay: float = 0.12
    bias_shrink: float = 3.0
    shrink: float = 12.0
    spread: float = 0.45

    def __post_init__(self):
        # The numbers become float32: the limits keep them above 0.
        above = Limits(least=1e-30, most=1e30)
        checks.fields(
            self,
            factors=Limits(least=1),
            steps=Limits(least=0),
            decay=Limits(least=0, most=1e30),
            **dict.fromkeys(("rate", "bias_shrink", "shrink", "spread"), above),
        )


class Factors(NamedTuple):
    """The factors of F films.

    Attributes:
      mean: ``float32 []``, the mean of all ratings.
      bias: ``float32 [F]``, the bias of each film; 0 for a film that nobody rated.
      film: ``float32 [F, k]``, the factors of each film; 0 for a film that nobody rated.

    Source: docs/semantics/recommender.md.
    """

    mean: jax.Array
    bias: jax.Array
    film: jax.Array


def factorise(key: jax.Array, config: FactorConfig, ratings: movielens.Ratings, films: int) -> Factors:
    """Fit factors and biases to the ratings of the world.

    Args:
      key: draws the first factors.
      config: sizes and training.
      ratings: the ratings of the world; their times are not used.
      films: F, the number of films of the data set.

    Raises:
      ValueError: there is no rating, a film is not one of the F films, or a rating is not finite.

    Source: docs/semantics/recommender.md.
    """
    movielens.check_ratings(ratings, films)
    if not len(ratings.user):
        raise ValueError("the world has 0 ratings, and a factorisation needs some: give a larger data set")
    people, user = np.unique(ratings.user, return_inverse=True)
    arrays = _Arrays(
        jnp.asarray(user, jnp.int32),
        jnp.asarray(ratings.film, jnp.int32),
        jnp.asarray(ratings.stars, jnp.float32),
    )
    return _factorise(key, config, arrays, len(people), films)


class _Arrays(NamedTuple):
    user: jax.Array
    film: jax.Array
    stars: jax.Array


@in_32_bits
@functools.partial(jax.jit, static_argnames=("config", "users", "films"))
def _factorise(key, config: FactorConfig, ratings: _Arrays, users: int, films: int) -> Factors:
    user, film, stars = ratings
    keys, mean = jax.random.split(key), stars.mean()
    params = {
        "user": 0.1 * jax.random.normal(keys[0], (users, config.factors), dtype=jnp.float32),
        "film": 0.1 * jax.random.normal(keys[1], (films, config.factors), dtype=jnp.float32),
        "user_bias": jnp.zeros(users, dtype=jnp.float32),
        "film_bias": jnp.zeros(films, dtype=jnp.float32),
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
    seen = jnp.zeros(films, dtype=jnp.float32).at[film].set(1.0)
    return Factors(mean, params["film_bias"] * seen, params["film"] * seen[:, None])


def fold_in(factors: Factors, config: FactorConfig, film, stars, asked) -> jax.Array:
    """Estimate the ratings of new people; ridge regression finds their bias and factors.

    The biases and factors of the films stay as they are.

    Args:
      factors: the factors of the films.
      config: the ridges.
      film: integers ``[U, n]``, the films that the people rated; -1 is padding.
      stars: ``float32 [U, n]``, the ratings; any number where ``film`` is -1.
      asked: integers ``[U, q]``, the films to estimate.

    Returns:
      ``float32 [U, q]``, the expected stars, cut to 0.5 .. 5.

    Raises:
      ValueError: an array has another type or shape, a film is not one of those with factors, or the rating
        of a film is not finite.

    Source: docs/semantics/recommender.md.
    """
    count = len(factors.bias)
    checks.array("film", film, "integers", {"U": None, "n": None}, Limits(-1, count - 1))
    checks.array("asked", asked, "integers", {"U": None, "q": None}, Limits(0, count - 1))
    if stars.shape != film.shape or film.shape[0] != asked.shape[0]:
        raise ValueError(
            f"film, stars and asked have shapes {list(film.shape)}, {list(stars.shape)} and "
            f"{list(asked.shape)}: give [U, n], [U, n] and [U, q]"
        )
    checks.entries("stars", np.where(np.asarray(film) >= 0, np.asarray(stars), np.float32(0)))
    return _fold_in(factors, np.float32(config.bias_shrink), np.float32(config.shrink), film, stars, asked)


@jax.jit
def _fold_in(factors: Factors, bias_shrink, shrink, film, stars, asked) -> jax.Array:
    def one(film, stars, asked):
        design = jnp.concatenate([jnp.ones((len(factors.bias), 1), dtype=jnp.float32), factors.film], 1)
        there = (film >= 0)[:, None]
        x = jnp.where(there, design[film], 0.0)
        rest = jnp.where(there[:, 0], stars - factors.mean - factors.bias[film], 0.0)
        ridge = jnp.full(x.shape[1], shrink).at[0].set(bias_shrink)
        solved = jnp.linalg.solve(x.T @ x + jnp.diag(ridge), x.T @ rest)
        return factors.mean + factors.bias[asked] + design[asked] @ solved

    return jnp.clip(jax.vmap(one)(film, stars, asked), 0.5, 5.0)


def prior(config: FactorConfig, stars: jax.Array, whole: bool = False) -> jax.Array:
    """Turn expected stars into the chance of every label bit, by a logistic around the expected stars.

    Args:
      config: the width of the logistic.
      stars: ``float32 [U, q]``, the expected stars.
      whole: whether labels are whole stars, as published; the label bits are then equal in pairs.

    Returns:
      ``float32 [U, q, 10]``.

    Source: docs/semantics/recommender.md.
    """
    levels = jnp.arange(1, 11, dtype=jnp.float32) / 2
    levels = jnp.ceil(levels) if whole else levels
    return jax.nn.sigmoid((stars[..., None] - levels + (0.5 if whole else 0.25)) / config.spread)


def code_bits(factors: Factors) -> np.ndarray:
    """Turn the factors of films into bits, ``bool [k, F]``.

    A bit is set if the factor lies above its median over the rated films. A film that nobody rated sets no
    bit.

    Source: docs/semantics/recommender.md.
    """
    film = np.asarray(factors.film)
    seen = (film != 0).any(1, keepdims=True)
    middle = np.nanmedian(np.where(seen, film, np.nan), 0) if seen.any() else 0.0
    return ((film > middle) & seen).T
