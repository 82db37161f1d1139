"""What a weightless recommender has to beat: constants, means, weights, neighbours; the hybrid's weights."""

import dataclasses
import functools
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax.recommender.protocol import Answer, Task, of_bits, of_stars


def constant(task: Task, stars: float) -> Answer:
    """The same for everybody."""
    return of_stars(np.full(task.asked.shape, stars))


def user_mean(task: Task) -> Answer:
    """The mean of what a person was seen to give."""
    return of_stars(np.repeat(np.nanmean(task.stars, 1)[:, None], task.asked.shape[1], 1))


def user_median(task: Task) -> Answer:
    """The median of what a person was seen to give; halfway where two are in the middle."""
    return of_stars(np.repeat(np.nanmedian(task.stars, 1)[:, None], task.asked.shape[1], 1))


def copied(key: jax.Array, task: Task) -> Answer:
    """One of a person's shown ratings at random, for every film asked."""
    at = jax.random.randint(key, task.asked.shape, 0, task.film.shape[1])
    return of_stars(np.take_along_axis(task.stars, np.asarray(at), 1))


@dataclasses.dataclass(frozen=True)
class MlpConfig:
    """One small network a person, 32 and 16 hidden units as published.

    Attributes:
      hidden: units of each hidden layer.
      rate: step size of Adam.
      steps: most steps, each on all of a person's rows.
      published: train as published: the sigmoid of the outputs fed to a loss that takes another sigmoid,
        25 steps at ``rate`` 1e-3 on all rows; else a fifth of the rows (one at least) says when to stop.
    """

    hidden: tuple[int, ...] = (32, 16)
    rate: float = 3e-3
    steps: int = 300
    published: bool = False


PUBLISHED_MLP = MlpConfig(rate=1e-3, steps=25, published=True)


@functools.partial(jax.jit, static_argnums=1)
def mlp(
    key: jax.Array, config: MlpConfig, rows: jax.Array, labels: jax.Array, queries: jax.Array
) -> jax.Array:
    """Train a network for every person and ask it: chances ``float32 [U, q, L]``.

    Args:
      key: first weights, and the rows held out.
      config: sizes and training.
      rows: ``bool [U, n, I]``, all of them given.
      labels: ``bool [U, n, L]``.
      queries: ``bool [U, q, I]``.
    """
    keys = jax.random.split(key, rows.shape[0])
    return jax.vmap(lambda *x: _mlp_one(config, *x))(keys, rows, labels, queries)


def _mlp_one(config: MlpConfig, key, rows, labels, queries) -> jax.Array:
    sizes = (rows.shape[1], *config.hidden, labels.shape[1])
    keys = jax.random.split(key, len(sizes))
    # PyTorch's first weights, as published: uniform within 1 / sqrt(inputs).
    params = [
        (
            jax.random.uniform(k, (a, b), minval=-1, maxval=1) / np.sqrt(a),
            jax.random.uniform(jax.random.fold_in(k, 1), (b,), minval=-1, maxval=1) / np.sqrt(a),
        )
        for k, a, b in zip(keys[1:], sizes[:-1], sizes[1:], strict=True)
    ]

    def logits(params, x):
        x = x.astype(jnp.float32)
        for weight, bias in params[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        return (
            jax.nn.sigmoid(x @ params[-1][0] + params[-1][1])
            if config.published
            else x @ params[-1][0] + params[-1][1]
        )

    def loss(params, kept):
        each = optax.sigmoid_binary_cross_entropy(logits(params, rows), labels.astype(jnp.float32)).mean(1)
        return (each * kept).sum() / jnp.maximum(kept.sum(), 1)

    count = rows.shape[0]
    held = 0 if config.published else max(1, count // 5)
    watched = jax.random.permutation(keys[0], count) < held
    optimiser = optax.adam(config.rate)

    def step(carry, _):
        params, state, best, kept = carry
        checked = loss(params, watched) if held else 0.0
        better = checked < best if held else True
        kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), params, kept)
        updates, state = optimiser.update(jax.grad(loss)(params, ~watched), state)
        return (optax.apply_updates(params, updates), state, jnp.minimum(checked, best), kept), None

    start = (params, optimiser.init(params), jnp.inf, params)
    (last, _, _, kept), _ = jax.lax.scan(step, start, None, config.steps)
    final = logits(last if config.published else kept, queries)
    # The published network's outputs are chances already.
    return final if config.published else jax.nn.sigmoid(final)


@dataclasses.dataclass(frozen=True)
class FactorConfig:
    """Matrix factorisation with biases.

    Attributes:
      factors: k.
      steps, rate: of Adam, each step on all ratings.
      decay: squared penalty of factors and biases, a rating.
      spread: stars in which a prior falls from sure to unsure, see `prior`.
      bias_shrink, shrink: ridge of a new person's bias and of their factors.
    """

    factors: int = 16
    steps: int = 100
    rate: float = 0.05
    decay: float = 0.12
    bias_shrink: float = 3.0
    shrink: float = 12.0
    spread: float = 0.45


class Factors(NamedTuple):
    """What the world says of films.

    Attributes:
      mean: ``float32 []``, of all ratings.
      bias: ``float32 [F]``; 0 for films nobody rated.
      film: ``float32 [F, k]``; the same.
    """

    mean: jax.Array
    bias: jax.Array
    film: jax.Array


def factorise(key: jax.Array, config: FactorConfig, user, film, stars, films: int) -> Factors:
    """Fit the world's ratings: three arrays of as many entries."""
    people, user = np.unique(user, return_inverse=True)
    arrays = jnp.asarray(user), jnp.asarray(film), jnp.asarray(stars, jnp.float32)
    return _factorise(key, config, *arrays, len(people), films)


@functools.partial(jax.jit, static_argnums=(1, 5, 6))
def _factorise(key, config: FactorConfig, user, film, stars, users: int, films: int) -> Factors:
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


@functools.partial(jax.jit, static_argnums=1)
def fold_in(factors: Factors, config: FactorConfig, film, stars, asked) -> jax.Array:
    """New people's ratings: their bias and factors by ridge regression, the films' held fixed.

    Args:
      factors: the world's.
      config: its ridges.
      film, stars: ``[U, n]``, shown; -1 and anything where there are fewer.
      asked: ``[U, q]``.

    Returns:
      ``float32 [U, q]`` stars, within 0.5 .. 5.
    """

    def one(film, stars, asked):
        design = jnp.concatenate([jnp.ones((len(factors.bias), 1)), factors.film], 1)
        there = (film >= 0)[:, None]
        x = jnp.where(there, design[film], 0.0)
        rest = jnp.where(there[:, 0], stars - factors.mean - factors.bias[film], 0.0)
        ridge = jnp.full(x.shape[1], config.shrink).at[0].set(config.bias_shrink)
        solved = jnp.linalg.solve(x.T @ x + jnp.diag(ridge), x.T @ rest)
        return factors.mean + factors.bias[asked] + design[asked] @ solved

    return jnp.clip(jax.vmap(one)(film, stars, asked), 0.5, 5.0)


def prior(config: FactorConfig, stars: jax.Array, whole: bool = False) -> jax.Array:
    """Expected stars ``[U, q]`` as the chance of every label bit, ``[U, q, 10]``: a logistic about them."""
    levels = jnp.arange(1, 11) / 2
    levels = jnp.ceil(levels) if whole else levels
    return jax.nn.sigmoid((stars[..., None] - levels + (0.5 if whole else 0.25)) / config.spread)


def code_bits(factors: Factors) -> np.ndarray:
    """``bool [k, F]``: the side of every factor's median, over films somebody rated, a film lies on.

    All are 0 for films nobody rated.
    """
    film = np.asarray(factors.film)
    seen = (film != 0).any(1, keepdims=True)
    middle = np.nanmedian(np.where(seen, film, np.nan), 0) if seen.any() else 0.0
    return ((film > middle) & seen).T


class Neighbours(NamedTuple):
    """The world as unit vectors of films: ``film [people, F]`` and ``bias [F]`` about ``mean``."""

    mean: float
    bias: np.ndarray
    film: np.ndarray
    rated: np.ndarray


def fit_neighbours(user, film, stars, films: int, shrink: float = 5.0) -> Neighbours:
    """Item-kNN: films as the world's ratings of them, less each person's mean."""
    people, user = np.unique(user, return_inverse=True)
    mean = float(np.mean(stars))
    total = np.bincount(film, stars - mean, minlength=films)
    bias = total / (np.bincount(film, minlength=films) + shrink)
    own = np.bincount(user, stars - mean - bias[film]) / (np.bincount(user) + shrink)
    rest = np.zeros((len(people), films), np.float32)
    rest[user, film] = stars - mean - bias[film] - own[user]
    rated = np.zeros((len(people), films), np.float32)
    rated[user, film] = 1
    return Neighbours(mean, bias, rest, rated)


def ask_neighbours(model: Neighbours, task: Task, nearest: int = 30, shrink: float = 10.0) -> Answer:
    """A person's bias, and what they gave the films most like the one asked.

    Cosine of the films' vectors over the people who rated both, shrunk by how few those are; negative ones
    do not speak.
    """
    out = np.zeros(task.asked.shape)
    for i, (film, stars, asked) in enumerate(zip(task.film, task.stars, task.asked, strict=True)):
        known = film >= 0
        film, rest = film[known], stars[known] - model.mean - model.bias[film[known]]
        own = rest.sum() / (len(rest) + 3.0)
        a, b = model.film[:, asked], model.film[:, film]
        both = model.rated[:, asked].T @ model.rated[:, film]
        norm = np.sqrt((a**2).T @ model.rated[:, film] * (model.rated[:, asked].T @ b**2))
        alike = np.maximum(a.T @ b / np.maximum(norm, 1e-9), 0.0) * both / (both + shrink)
        if len(film) > nearest:
            alike = np.where(alike >= np.partition(alike, -nearest, 1)[:, -nearest, None], alike, 0.0)
        out[i] = model.mean + model.bias[asked] + own + alike @ (rest - own) / (alike.sum(1) + 0.5)
    return of_stars(np.clip(out, 0.5, 5.0))


def mlp_answer(
    key: jax.Array, config: MlpConfig, task: Task, film_bits: np.ndarray, labels: np.ndarray
) -> Answer:
    """`mlp` on a task without gaps; ``film_bits`` are ``[I, F]``, ``labels`` ``uint32 [U, n]``."""
    bit = (labels[..., None] >> np.arange(10, dtype=np.uint32)) & 1
    at = film_bits.T
    return of_bits(np.asarray(mlp(key, config, at[task.film], bit.astype(bool), at[task.asked])))
