"""Baselines of a weightless recommender: constants, means, copied ratings, small networks and item-kNN.

Source: docs/semantics/recommender.md.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import movielens
from wnn_jax.narrow import in_32_bits
from wnn_jax.recommender import fields, protocol
from wnn_jax.recommender.protocol import Estimate, Holdout


def constant(holdout: Holdout, stars: float) -> Estimate:
    """Estimate ``stars`` for every person and film.

    Raises:
      ValueError: the stars are not within 0 .. 5.

    Source: docs/semantics/recommender.md.
    """
    checks.number("stars", stars, Limits(0, 5))
    return protocol.from_stars(np.full(holdout.asked.shape, stars))


def user_mean(holdout: Holdout) -> Estimate:
    """Estimate the mean of the ratings shown of the person; gaps do not count.

    Raises:
      ValueError: a person is shown no rating.

    Source: docs/semantics/recommender.md.
    """
    _check(holdout, gaps=True)
    return protocol.from_stars(np.repeat(np.nanmean(holdout.stars, 1)[:, None], holdout.asked.shape[1], 1))


def user_median(holdout: Holdout) -> Estimate:
    """Estimate the median of the ratings shown of the person; gaps do not count.

    With an even number of ratings the median is the mean of the two in the middle.

    Raises:
      ValueError: a person is shown no rating.

    Source: docs/semantics/recommender.md.
    """
    _check(holdout, gaps=True)
    return protocol.from_stars(np.repeat(np.nanmedian(holdout.stars, 1)[:, None], holdout.asked.shape[1], 1))


def copied(key: jax.Array, holdout: Holdout) -> Estimate:
    """Estimate for every film a rating drawn at random from those shown of the person.

    The holdout must have no gaps: every person is shown n ratings.

    Raises:
      ValueError: the holdout has a gap.

    Source: docs/semantics/recommender.md.
    """
    _check(holdout)
    at = jax.random.randint(key, holdout.asked.shape, 0, holdout.film.shape[1], dtype=jnp.int32)
    return protocol.from_stars(np.take_along_axis(holdout.stars, np.asarray(at), 1))


def _check(holdout: Holdout, gaps: bool = False) -> None:
    """Check that people are shown ratings.

    Raises:
      ValueError: a person has no rating, or a gap where no gaps may be.
    """
    least = (holdout.film >= 0).sum(1).min(initial=holdout.film.shape[1])
    if least < (1 if gaps else max(1, holdout.film.shape[1])):
        wanted = "at least one" if gaps else f"{holdout.film.shape[1]} of each, without gaps"
        raise ValueError(f"a person is shown {least} ratings: show {wanted}")


@dataclasses.dataclass(frozen=True)
class MlpConfig:
    """Settings of one small network for each person. The default layers are those of arXiv 2511.05499.

    Attributes:
      hidden: units of each hidden layer.
      rate: step size of Adam.
      steps: the number of steps; each step uses all training rows of a person.
      published: whether to train as published: on all rows, with a loss that takes the sigmoid of a sigmoid.
        Otherwise a fifth of the rows (at least one) is held out, and the weights of the step with the lowest
        loss on those rows are kept.

    Raises:
      ValueError: a value has another type or is out of range.

    Source: docs/semantics/recommender.md.
    """

    hidden: tuple[int, ...] = (32, 16)
    rate: float = 3e-3
    steps: int = 300
    published: bool = False

    def __post_init__(self):
        checks.fields(
            self, hidden=Limits(least=1), rate=Limits(least=1e-30, most=1e30), steps=Limits(least=0)
        )


PUBLISHED_MLP = MlpConfig(rate=1e-3, steps=25, published=True)


def mlp(
    key: jax.Array,
    config: MlpConfig,
    rows: jax.Array | np.ndarray,
    labels: jax.Array | np.ndarray,
    queries: jax.Array | np.ndarray,
) -> jax.Array:
    """Train a network for every person and predict the label bits of the queries.

    Args:
      key: draws the first weights and the rows that are held out.
      config: sizes and training.
      rows: ``bool [U, n, I]``, the input bits of the rated films, without padding.
      labels: ``bool [U, n, L]``, the label bits of the ratings.
      queries: ``bool [U, q, I]``, the input bits of the films asked.

    Returns:
      The chance of each label bit, ``float32 [U, q, L]``.

    Raises:
      ValueError: an array has another type or shape, or there is no row to train on.

    Source: docs/semantics/recommender.md; the published training is that of arXiv 2511.05499.
    """
    checks.array("rows", rows, "booleans", {"U": None, "n": None, "I": None})
    people, count, width = rows.shape
    checks.integer("the number of rows", count, Limits(least=1))
    checks.array("labels", labels, "booleans", {"U": people, "n": count, "L": None})
    checks.array("queries", queries, "booleans", {"U": people, "q": None, "I": width})
    return _mlp(key, config, rows, labels, queries)


@in_32_bits
@functools.partial(jax.jit, static_argnums=1)
def _mlp(key, config: MlpConfig, rows, labels, queries) -> jax.Array:
    keys = jax.random.split(key, rows.shape[0])
    return jax.vmap(lambda *x: _mlp_one(config, *x))(keys, rows, labels, queries)


def _mlp_one(config: MlpConfig, key, rows, labels, queries) -> jax.Array:
    sizes = (rows.shape[1], *config.hidden, labels.shape[1])
    keys = jax.random.split(key, len(sizes))
    # The published network starts from PyTorch's default weights: uniform within 1 / sqrt(inputs).
    params = [
        (
            jax.random.uniform(k, (a, b), minval=-1, maxval=1, dtype=jnp.float32) / np.sqrt(a),
            jax.random.uniform(jax.random.fold_in(k, 1), (b,), minval=-1, maxval=1, dtype=jnp.float32)
            / np.sqrt(a),
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
class NeighbourConfig:
    """Settings of item-kNN, which estimates a rating from the person's ratings of similar films.

    Attributes:
      nearest: the number of most similar rated films that are averaged.
      shrink: the number of common raters at which a similarity is halved.
      bias_shrink: the number of ratings at which the bias of a film or person of the world is halved.
      own_shrink: the number of ratings at which the bias of a new person is halved.

    Raises:
      ValueError: a value has another type or is out of range.

    Source: docs/semantics/recommender.md.
    """

    nearest: int = 30
    shrink: float = 10.0
    bias_shrink: float = 5.0
    own_shrink: float = 3.0

    def __post_init__(self):
        above = Limits(above=0)
        checks.fields(self, nearest=Limits(least=1), shrink=above, bias_shrink=above, own_shrink=above)


class Neighbours(NamedTuple):
    """The ratings of the world, split into a mean, biases and residuals.

    Attributes:
      mean: the mean of all ratings.
      bias: ``float64 [F]``, the bias of each film.
      film: ``float32 [people, F]``, each rating less the mean and both biases; 0 where there is no rating.
      rated: ``float32 [people, F]``, 1 where there is a rating, else 0.

    Source: docs/semantics/recommender.md.
    """

    mean: float
    bias: np.ndarray
    film: np.ndarray
    rated: np.ndarray


def fit_neighbours(config: NeighbourConfig, ratings: movielens.Ratings, films: int) -> Neighbours:
    """Subtract the mean and the biases from the ratings of the world.

    Args:
      config: the shrinkage of the biases.
      ratings: the ratings of the world.
      films: F, the number of films of the data set.

    Raises:
      ValueError: there is no rating, or the ratings are not as `movielens.Ratings` describes them.

    Source: docs/semantics/recommender.md.
    """
    movielens.check_ratings(ratings, films)
    if not len(ratings.user):
        raise ValueError("the world has 0 ratings, and item-kNN needs some: give a larger data set")
    film, stars, shrink = ratings.film, ratings.stars, config.bias_shrink
    people, user = np.unique(ratings.user, return_inverse=True)
    mean = float(np.mean(stars))
    total = np.bincount(film, stars - mean, minlength=films)
    bias = total / (np.bincount(film, minlength=films) + shrink)
    own = np.bincount(user, stars - mean - bias[film]) / (np.bincount(user) + shrink)
    rest = np.zeros((len(people), films), np.float32)
    rest[user, film] = stars - mean - bias[film] - own[user]
    rated = np.zeros((len(people), films), np.float32)
    rated[user, film] = 1
    return Neighbours(mean, bias, rest, rated)


def ask_neighbours(config: NeighbourConfig, model: Neighbours, holdout: Holdout) -> Estimate:
    """Estimate ratings from the person's bias and the person's ratings of the most similar films.

    The similarity of two films is the cosine of their residuals over the people who rated both, shrunk where
    those people are few. Films of negative similarity do not count. Films that tie for the last place among
    the nearest all count. Estimates are cut to 0.5 .. 5 stars.

    Args:
      config: the number of neighbours and the shrinkage.
      model: the residuals of the world, from `fit_neighbours`.
      holdout: the ratings shown and the films asked; gaps are skipped.

    Raises:
      ValueError: a film is not one of the model's.

    Source: docs/semantics/recommender.md.
    """
    films = len(model.bias)
    checks.array("film", holdout.film, "integers", {"U": None, "n": None}, Limits(-1, films - 1))
    checks.array("asked", holdout.asked, "integers", {"U": None, "q": None}, Limits(0, films - 1))
    shrink, nearest = config.shrink, config.nearest
    out = np.zeros(holdout.asked.shape)
    for i, (film, stars, asked) in enumerate(zip(holdout.film, holdout.stars, holdout.asked, strict=True)):
        known = film >= 0
        film, rest = film[known], stars[known] - model.mean - model.bias[film[known]]
        own = rest.sum() / (len(rest) + config.own_shrink)
        a, b = model.film[:, asked], model.film[:, film]
        both = model.rated[:, asked].T @ model.rated[:, film]
        norm = np.sqrt((a**2).T @ model.rated[:, film] * (model.rated[:, asked].T @ b**2))
        alike = np.maximum(a.T @ b / np.maximum(norm, 1e-9), 0.0) * both / (both + shrink)
        if len(film) > nearest:
            alike = np.where(alike >= np.partition(alike, -nearest, 1)[:, -nearest, None], alike, 0.0)
        out[i] = model.mean + model.bias[asked] + own + alike @ (rest - own) / (alike.sum(1) + 0.5)
    return protocol.from_stars(np.clip(out, 0.5, 5.0))


def mlp_estimate(key: jax.Array, config: MlpConfig, film_bits: np.ndarray, holdout: Holdout) -> Estimate:
    """Train `mlp` on the ratings that a holdout shows, and estimate the films that it asks.

    Args:
      key: draws the first weights and the rows that are held out.
      config: sizes and training.
      film_bits: ``bool [I, F]``, the input bits of each film.
      holdout: the ratings shown, without gaps, and the films asked.

    Raises:
      ValueError: the holdout has a gap.

    Source: docs/semantics/recommender.md.
    """
    _check(holdout)
    labels = fields.stars_to_bits(holdout.stars)
    bit = ((labels[..., None] >> np.arange(fields.STAR_BITS, dtype=np.uint32)) & 1).astype(bool)
    of_film = film_bits.T
    chances = mlp(key, config, of_film[holdout.film], bit, of_film[holdout.asked])
    return protocol.from_chances(np.asarray(chances))


def plain(key: jax.Array) -> dict[str, protocol.Recommender]:
    """Return the baselines that use no fact about films, by the names of their result rows.

    Args:
      key: draws the copied ratings.

    Source: docs/semantics/recommender.md.
    """
    always = {f"always {stars:g} stars": functools.partial(constant, stars=stars) for stars in (3, 3.5, 4)}
    return always | {
        "copy of a rating": functools.partial(copied, key),
        "user mean": user_mean,
        "user median": user_median,
    }


def networks(key: jax.Array, film_bits: np.ndarray) -> dict[str, protocol.Recommender]:
    """Return the two networks of `mlp`, as published and trained right, by the names of their result rows.

    Args:
      key: draws the first weights and the rows that are held out.
      film_bits: ``bool [I, F]``, the input bits of each film.

    Source: docs/semantics/recommender.md.
    """
    kinds = {"as published": PUBLISHED_MLP, "trained right": MlpConfig()}
    return {
        f"MLP a person, {name}": functools.partial(mlp_estimate, key, config, film_bits)
        for name, config in kinds.items()
    }


def neighbours(config: NeighbourConfig, ratings: movielens.Ratings, films: int) -> protocol.Recommender:
    """Fit item-kNN to the ratings of the world and return it as a recommender.

    Args:
      config: the number of neighbours and the shrinkage.
      ratings: the ratings of the world.
      films: F, the number of films of the data set.

    Source: docs/semantics/recommender.md.
    """
    return functools.partial(ask_neighbours, config, fit_neighbours(config, ratings, films))
