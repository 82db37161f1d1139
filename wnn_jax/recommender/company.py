"""Bits of items from the people who used them, and lists of items by the votes of a person's rows.

Every item draws a random code of -1 and 1. A person sums the codes of the items that the person used, and an
item adds up the sums of its people: items that the same kinds of people use get sums that point the same way
(random indexing). The signs of the sums are the bits of the item. Sums are integers: a person is taken out
again exactly.

Shapes: F items, B bits, U people.

Source: Kanerva, Kristoferson and Holst 2000, "Random indexing of text samples for latent semantic analysis";
Charikar 2002, "Similarity estimation techniques from rounding algorithms"; docs/semantics/recommender.md.
"""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np
import scipy.sparse

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.data import movielens

_ONE = 1 << 20  # the votes of a row at distance 0
WHOLE = 1024  # the weight of a row that has no age
_CHUNK = 1024  # items that are asked at once


@dataclasses.dataclass(frozen=True)
class CompanyConfig:
    """How items get bits, and how the rows of a person vote for a list.

    Attributes:
      bits: B, the number of bits of an item.
      scale: the distance at which the votes of a row fall by a factor e, as a share of the bits.
      half_life: the number of later rows at which the votes of a row are halved.
      popularity: the exponent of the number of an item's people, by which its votes are multiplied; the
        default is what held-out items chose most often (docs/results/recommender.md).
      stars: whether a row votes with its stars; otherwise all rows vote alike.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/recommender.md.
    """

    bits: int = 512
    scale: float = 0.2
    half_life: float = float("inf")
    popularity: float = 0.15
    stars: bool = True

    def __post_init__(self):
        checks.fields(
            self,
            bits=Limits(least=32, most=1 << 14),
            scale=Limits(least=1e-3, most=1e3),
            half_life=Limits(least=1e-3, most=1e30, endless=True),
            popularity=Limits(0, 4),
        )


class Company(NamedTuple):
    """The sums of F items.

    Attributes:
      codes: ``int8 [F, B]``, the random code of each item, -1 or 1.
      sums: ``int64 [F, B]``, the sum of its people's sums.
      weight: ``int64 [F]``, the sum of its people's numbers of items.
      people: ``int64 [F]``, the number of its people.

    Source: docs/semantics/recommender.md.
    """

    codes: np.ndarray
    sums: np.ndarray
    weight: np.ndarray
    people: np.ndarray


def empty(key: jax.Array, bits: int, items: int) -> Company:
    """Draw the codes of items that nobody has used yet.

    Args:
      key: draws the codes.
      bits: B, the number of bits of an item.
      items: F, the number of items.

    Source: docs/semantics/recommender.md.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    codes = rng.choice(np.array([-1, 1], np.int8), (items, bits))
    nothing = np.zeros(items, np.int64)
    return Company(codes, np.zeros((items, bits), np.int64), nothing, nothing)


def add(company: Company, ratings: movielens.Ratings, sign: int = 1) -> Company:
    """Add the items that people used, or take the same people out again.

    Args:
      company: the sums.
      ratings: all items that these people used; stars and times do not count.
      sign: 1 to add, -1 to take out. Sums from which people were taken out equal sums that never had them.

    Raises:
      ValueError: an item is not one of the F items, or the sign is another number.

    Source: docs/semantics/recommender.md.
    """
    items = len(company.people)
    movielens.check_ratings(ratings, items)
    if sign not in (1, -1):
        raise ValueError(f"sign={sign} is not possible: give 1 to add people, or -1 to take them out")
    used = matrix(ratings, int(ratings.user.max(initial=-1)) + 1, items).astype(np.int64)
    theirs = used @ company.codes.astype(np.int64)
    each, count = np.asarray(used.sum(1)).ravel(), np.asarray(used.sum(0)).ravel()
    return Company(
        company.codes,
        company.sums + sign * (used.T @ theirs),
        company.weight + sign * (used.T @ each),
        company.people + sign * count,
    )


class Signs(NamedTuple):
    """The bits of F items.

    Attributes:
      bits: ``bool [F, B]``, the bits of each item; an item that nobody used has none.
      people: ``int64 [F]``, the number of its people.

    Source: docs/semantics/recommender.md.
    """

    bits: np.ndarray
    people: np.ndarray


def signs(company: Company) -> Signs:
    """Make the bits of items: a bit is set where a sum is above the mean of all items, by their weights.

    Source: docs/semantics/recommender.md.
    """
    mean = company.sums.sum(0) / max(1, int(company.weight.sum()))
    bits = (company.sums - company.weight[:, None] * mean > 0) & (company.people > 0)[:, None]
    return Signs(bits, company.people)


def matrix(
    ratings: movielens.Ratings, people: int, items: int, values: np.ndarray | None = None
) -> scipy.sparse.csr_array:
    """Return a sparse matrix ``[people, items]`` of ratings: 1 where there is one, or the given values.

    Source: docs/semantics/recommender.md.
    """
    values = np.ones(len(ratings.user)) if values is None else values
    return scipy.sparse.csr_array((values, (ratings.user, ratings.film)), shape=(people, items))


def weights(ratings: movielens.Ratings, half_life: float, stars: bool = False) -> np.ndarray:
    """Return the weight of each row, integers as ``float64 [N]``: halved by age, and in proportion to stars.

    The age of a row is the number of later rows of the same person.

    Args:
      ratings: the rows, ordered by user and then by time.
      half_life: the age at which a row weighs half.
      stars: whether a row weighs in proportion to its stars.

    Source: docs/semantics/recommender.md.
    """
    age = np.searchsorted(ratings.user, ratings.user, side="right") - 1 - np.arange(len(ratings.user))
    found = WHOLE * np.exp2(-age / half_life)
    return np.round(found * ratings.stars / 5 if stars else found)


class Apart(NamedTuple):
    """How many bits apart items are.

    Attributes:
      items: integers ``[n]``, the items that people have rows of and that the world knows.
      bits: ``uint16 [n, F]``, the distance of each from every item.

    Source: docs/semantics/recommender.md.
    """

    items: np.ndarray
    bits: np.ndarray


def distances(known: Signs, ratings: movielens.Ratings) -> Apart:
    """Count the bits in which the items of rows differ from every item.

    Args:
      known: the bits of the items.
      ratings: the rows.

    Source: docs/semantics/recommender.md.
    """
    items, width = known.bits.shape
    found = np.unique(ratings.film)
    found = found[known.people[found] > 0]
    sides = np.where(known.bits, np.float32(1), np.float32(-1))
    bits = np.empty((len(found), items), np.uint16)
    for start in range(0, items, _CHUNK):
        part = slice(start, start + _CHUNK)
        # Products of -1 and 1 are whole numbers, which float32 adds exactly.
        bits[:, part] = (width - sides[found] @ sides[part].T) / 2
    return Apart(found, bits)


def votes(
    config: CompanyConfig, known: Signs, ratings: movielens.Ratings, people: int, apart: Apart | None = None
) -> np.ndarray:
    """Return the votes for every item, ``float64 [U, F]``.

    A row votes ``round(2^20 exp(-distance / (scale B)))`` times its weight; all are integers, so that a
    deleted row leaves no trace. Rows of items that nobody else used do not vote. The number of an item's
    people, in proportion to the most popular item's, counts as one more row at the greatest distance. An item
    that nobody else used gets no votes.

    Args:
      config: how rows vote.
      known: the bits of the items, made without these people.
      ratings: the rows of the people, ordered by user and then by time.
      people: U, the number of people.
      apart: the `distances` of these rows, if they are asked several times.

    Source: docs/semantics/recommender.md.
    """
    items, width = known.bits.shape
    apart = distances(known, ratings) if apart is None else apart
    table = _table(config, width)
    theirs = matrix(ratings, people, items, weights(ratings, config.half_life, config.stars))[:, apart.items]
    count = known.people / max(1, int(known.people.max(initial=0)))
    out = np.empty((people, items))
    for start in range(0, items, _CHUNK):
        part = slice(start, start + _CHUNK)
        out[:, part] = theirs @ table[apart.bits[:, part]] + table[-1] * count[part]
    return out * known.people.astype(float) ** config.popularity * (known.people > 0)


def reasons(config: CompanyConfig, known: Signs, ratings: movielens.Ratings, item: int) -> np.ndarray:
    """Return the share of an item's votes that each row of one person gives, ``float64 [N]``.

    Args:
      config: how rows vote.
      known: the bits of the items.
      ratings: the rows of one person, in order of time.
      item: the item that is voted for.

    Source: docs/semantics/recommender.md.
    """
    apart = (known.bits[ratings.film] != known.bits[item]).sum(1)
    found = _table(config, known.bits.shape[1])[apart] * weights(ratings, config.half_life, config.stars)
    found = found * (known.people[ratings.film] > 0)
    return found / max(1.0, found.sum())


def _table(config: CompanyConfig, width: int) -> np.ndarray:
    """Return the votes of a row at each distance, integers as ``float64 [B + 1]``; at least 1."""
    return np.maximum(1, np.round(_ONE * np.exp(-np.arange(width + 1) / (config.scale * width))))
