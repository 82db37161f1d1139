"""Encoders that turn the facts of films, and ratings, into bits.

An encoder is a tuple of fields. Each field turns one column of facts into a few bits. A new field goes to the
end: the bits of the old fields keep their places, and an old key becomes a new key by adding 0 bits. A fact
that is not known and a category that is not listed set no bit, unless the field's table says otherwise.

Source: docs/semantics/recommender.md.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.ram import bits

STAR_BITS = 10

Columns = Mapping[str, Any]
"""Facts of F films by name: numbers ``[F]``, NaN where not known; or F strings; or F tuples of strings."""


@dataclasses.dataclass(frozen=True)
class Field:
    """A code table that turns one column of facts into bits.

    Attributes:
      name: the name of the column.
      values: the listed strings, or ascending edges. ``values[i]`` reads row i of the table; a number reads
        row j if j edges are at most the number.
      codes: the table, rows of 0 and 1: one row for each string, or one row more than there are edges. A set
        of strings reads the OR of their rows; an empty set sets no bit.
      other: the row of a value that is not listed or not known.

    Raises:
      ValueError: the rows are too few or too many or differ in length, the edges are not finite or do not
        ascend, or a code holds other numbers than 0 and 1.

    Source: docs/semantics/recommender.md.
    """

    name: str
    values: tuple[str, ...] | tuple[float, ...]
    codes: tuple[tuple[int, ...], ...]
    other: tuple[int, ...]

    def __post_init__(self):
        rows = len(self.values) + self.numeric
        if len(self.codes) != rows or {len(code) for code in self.codes} != {len(self.other)}:
            raise ValueError(
                f"field {self.name!r} has {len(self.values)} values and {len(self.codes)} codes of "
                f"{sorted({len(code) for code in self.codes})} bits, other has {len(self.other)}: "
                f"give {rows} codes of one length"
            )
        for edge in self.values if self.numeric else ():
            checks.number(f"an edge of field {self.name!r}", edge)
        if self.numeric and list(self.values) != sorted(self.values):
            raise ValueError(f"the edges of field {self.name!r} must ascend, got {self.values}")
        if wrong := [bit for code in (*self.codes, self.other) for bit in code if bit not in (0, 1)]:
            raise ValueError(f"a code of field {self.name!r} holds {wrong[0]}: give bits, 0 or 1")

    @property
    def numeric(self) -> bool:
        """Whether the column holds numbers."""
        return bool(self.values) and not isinstance(self.values[0], str)

    @property
    def width(self) -> int:
        """The number of bits of the field."""
        return len(self.other)


def one_hot(name: str, values: Sequence[str]) -> Field:
    """Make a field with one bit for each string; a set of strings sets several bits (multi-hot).

    A string that is not listed sets no bit.

    Source: docs/semantics/recommender.md.
    """
    codes = np.eye(len(values), dtype=int)
    return Field(name, tuple(values), tuple(map(tuple, codes.tolist())), (0,) * len(values))


def thermometer(name: str, edges: Sequence[float]) -> Field:
    """Make a field whose bit i is set if the number is at least ``edges[i]``.

    Near numbers differ in few bits. A number that is not known sets no bit.

    Source: docs/semantics/recommender.md.
    """
    codes = np.tri(len(edges) + 1, len(edges), -1, dtype=int)
    return Field(name, tuple(edges), tuple(map(tuple, codes.tolist())), (0,) * len(edges))


# The ten genres of arXiv 2511.05499, in its order.
GENRES = ["drama", "comedy", "action", "romance", "documentary", "thriller", "adventure", "fantasy"]
GENRES += ["crime", "horror"]
MORE_GENRES = ["sci-fi", "children", "animation", "mystery", "war", "musical", "western", "imax", "film-noir"]

# The 26 bits of arXiv 2511.05499 as its code makes them: its edges 1 to 4 cut TMDB votes of 0 to 10.
PUBLISHED = (
    one_hot("genres", GENRES),
    Field(
        "vote_average",
        (1.0, 2.0, 3.0, 4.0),
        ((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 1, 1)),
        (1,) * 3,
    ),
    Field(
        "language",
        ("en", "fr", "de", "ja", "it", "es"),
        ((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 1, 0)),
        (1, 1, 1),
    ),
    Field(
        "vote_count",
        tuple(range(100, 1000, 100)),
        tuple(map(tuple, np.eye(10, dtype=int).tolist())),
        (0,) * 9 + (1,),
    ),
)

# The facts that the published fields were meant to hold, and the mean and number of earlier users' ratings.
# Without metadata the fields of language, votes and popularity set no bit.
DEFAULT = (
    one_hot("genres", GENRES),
    thermometer("vote_average", (5.5, 6.0, 6.5, 7.0, 7.5)),
    one_hot("language", ("en", "fr", "de", "ja", "it", "es")),
    thermometer("vote_count", (50, 200, 500, 1000, 2000, 4000)),
    thermometer("crowd_stars", (2.5, 3.0, 3.25, 3.5, 3.75, 4.0, 4.25)),
    thermometer("crowd_count", (2, 5, 10, 20, 40, 80)),
    thermometer("popularity", (1.0, 3.0, 6.0, 10.0, 20.0)),
)


def width(fields: Sequence[Field]) -> int:
    """Return I, the number of bits of an encoder.

    Source: docs/semantics/recommender.md.
    """
    return sum(field.width for field in fields)


def encode(fields: Sequence[Field], columns: Columns) -> np.ndarray:
    """Encode the facts of F films: ``bool [I, F]``, field after field.

    Args:
      fields: the encoder.
      columns: the facts by name. Of a column that is missing, every value counts as not known.

    Raises:
      ValueError: columns differ in length, or a column holds numbers and its field strings, or the reverse.

    Source: docs/semantics/recommender.md.
    """
    if not fields:
        raise ValueError("an encoder of 0 fields encodes nothing: give at least one field")
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1:
        raise ValueError(f"the columns describe {sorted(lengths)} films: give columns of one length")
    films = lengths.pop()
    return np.concatenate([_encode_field(field, columns.get(field.name), films) for field in fields])


def _encode_field(field: Field, column, films: int) -> np.ndarray:
    codes, other = np.array(field.codes, bool), np.array(field.other, bool)
    if column is None or not field.values:
        return np.repeat(other[:, None], films, 1)
    given = isinstance(column, np.ndarray) and column.dtype.kind in "fiu" and column.ndim == 1
    if given != field.numeric:
        raise ValueError(
            f"field {field.name!r} encodes {'numbers' if field.numeric else 'strings'}, but its column holds "
            f"{'numbers' if given else 'strings'}: give another column, or another field"
        )
    if field.numeric:
        level = np.searchsorted(np.array(field.values, float), column, side="right")
        return np.where(
            np.isnan(column.astype(float)), other[:, None], codes[np.minimum(level, len(codes) - 1)].T
        )
    row = {value: code for value, code in zip(field.values, codes, strict=True)}
    out = np.zeros((films, field.width), bool)
    for film, value in enumerate(column):
        for name in (value,) if isinstance(value, str) else value:
            out[film] |= row.get(name, other)
    return out.T


def pack(film_bits: np.ndarray) -> jax.Array:
    """Pack bits ``bool [I, F]`` into keys ``uint32 [F, W]``, which agents hold.

    Raises:
      ValueError: the bits are not bits.

    Source: docs/semantics/recommender.md.
    """
    checks.array("film_bits", film_bits, "booleans", {"I": None, "F": None})
    return bits.pack(jnp.asarray(film_bits)).T


def film_keys(fields: Sequence[Field], columns: Columns) -> jax.Array:
    """Encode the facts of F films and pack them into keys ``uint32 [F, W]``.

    Raises:
      ValueError: see `encode`.

    Source: docs/semantics/recommender.md.
    """
    return pack(encode(fields, columns))


def bit_of(fields: Sequence[Field], name: str, value: str) -> int:
    """Find the place, among the I bits, of the one bit that ``value`` sets in field ``name``.

    Raises:
      ValueError: no field of that name lists the value, or the value does not set exactly one bit.

    Source: docs/semantics/recommender.md.
    """
    place = 0
    for field in fields:
        if field.name == name and value in field.values:
            code = field.codes[field.values.index(value)]
            if sum(code) == 1:
                return place + code.index(1)
        place += field.width
    known = [value for field in fields if field.name == name for value in field.values]
    there_are = f"use one of {', '.join(map(str, known))}" if known else "there is no such field"
    raise ValueError(f"{value!r} has no bit of its own among {name}: {there_are}")


def stars_to_bits(stars: np.ndarray) -> np.ndarray:
    """Turn ratings of 0 .. 5 stars in halves into labels, ``uint32`` of the same shape.

    A label is a thermometer: bit i is set if the rating is at least ``(i + 1) / 2`` stars.

    Raises:
      ValueError: a rating is not within 0 .. 5, or not a whole number of halves.

    Source: docs/semantics/recommender.md.
    """
    stars = np.asarray(stars)
    checks.array("stars", stars, "numbers", limits=Limits(0, 5))
    halves = np.round(2 * stars)
    wrong = np.argwhere(halves != 2 * stars)
    if len(wrong):
        place = tuple(wrong[0].tolist())
        raise ValueError(f"stars{list(place)}={stars[place]:g} is not a whole number of halves: round it")
    return ((1 << halves.astype(np.uint32)) - 1).astype(np.uint32)


def bits_to_stars(labels: np.ndarray) -> np.ndarray:
    """Turn labels into ratings, ``float32`` of the same shape: half a star for each bit that is set.

    Raises:
      ValueError: the labels are not whole numbers, or one is negative.

    Source: docs/semantics/recommender.md.
    """
    checks.array("labels", np.asarray(labels), "integers", limits=Limits(least=0))
    return (np.bitwise_count(np.asarray(labels)) / 2).astype(np.float32)
