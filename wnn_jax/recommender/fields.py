"""Films to bits, ratings to bits.

An encoder is a tuple of fields; each turns one column of facts into a few bits, and new fields go to the end,
so the bits of old ones stay where they were and an old key is a new key whose last bits are 0. Facts that are
not known, and categories that are not listed, set no bit unless the field's table says otherwise.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.ram import bits

STAR_BITS = 10

Columns = Mapping[str, Any]
"""Facts by name: ``float [F]`` with NaN where not known, or F strings, or F tuples of strings."""


@dataclasses.dataclass(frozen=True)
class Field:
    """One column of facts as bits: which row of a code table a value reads.

    Attributes:
      name: the column.
      values: what the column may hold. Strings: row i is that of ``values[i]``. Numbers are edges, ascending:
        x reads the row of how many edges are at most x.
      codes: the table, rows of 0 and 1: a row for every string, or one row more than there are edges. A value
        that is a set of strings reads the OR of its rows.
      other: the row of a value that is not listed or not known.
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
        if self.numeric and list(self.values) != sorted(self.values):
            raise ValueError(f"the edges of field {self.name!r} must ascend, got {self.values}")

    @property
    def numeric(self) -> bool:
        """Whether the column holds numbers."""
        return not isinstance(self.values[0], str)

    @property
    def width(self) -> int:
        """The number of its bits."""
        return len(self.other)


def one_hot(name: str, values: Sequence[str]) -> Field:
    """A bit a string; a set of strings sets several (multi-hot)."""
    codes = np.eye(len(values), dtype=int)
    return Field(name, tuple(values), tuple(map(tuple, codes.tolist())), (0,) * len(values))


def thermometer(name: str, edges: Sequence[float]) -> Field:
    """Bit i is set where the number is at least ``edges[i]``: near numbers differ in few bits."""
    codes = np.tri(len(edges) + 1, len(edges), -1, dtype=int)
    return Field(name, tuple(edges), tuple(map(tuple, codes.tolist())), (0,) * len(edges))


# The published ten, in its order.
GENRES = ["drama", "comedy", "action", "romance", "documentary", "thriller", "adventure", "fantasy"]
GENRES += ["crime", "horror"]
MORE_GENRES = ["sci-fi", "children", "animation", "mystery", "war", "musical", "western", "imax", "film-noir"]

# The 26 bits of arXiv 2511.05499 as its code has them: TMDB votes of 0 to 10 are cut at 1 to 4.
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

# The facts that the published fields were meant to hold, and what earlier users thought of the film.
# Metadata without language or TMDB popularity sets none of their bits.
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
    """I, the bits of an encoder."""
    return sum(field.width for field in fields)


def encode(fields: Sequence[Field], columns: Columns) -> np.ndarray:
    """``bool [I, F]``: the bits of F films, field after field.

    A column that is missing altogether reads as not known everywhere.

    Raises:
      ValueError: columns of different lengths, or numbers where a field expects strings or the reverse.
    """
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1:
        raise ValueError(f"the columns describe {sorted(lengths)} films: give one length")
    films = lengths.pop()
    return np.concatenate([_encode_field(field, columns.get(field.name), films) for field in fields])


def _encode_field(field: Field, column, films: int) -> np.ndarray:
    codes, other = np.array(field.codes, bool), np.array(field.other, bool)
    if column is None:
        return np.repeat(other[:, None], films, 1)
    given = isinstance(column, np.ndarray) and column.dtype.kind in "fiu"
    if given != field.numeric:
        raise ValueError(
            f"field {field.name!r} has {'numbers' if field.numeric else 'strings'} for values and its column "
            f"{'numbers' if given else 'strings'}"
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
    """Bits ``bool [I, F]`` to keys ``uint32 [F, W]``, as agents hold them."""
    return bits.pack(jnp.asarray(film_bits)).T


def film_keys(fields: Sequence[Field], columns: Columns) -> jax.Array:
    """The keys ``uint32 [F, W]`` of F films: `encode`, then `pack`."""
    return pack(encode(fields, columns))


def bit_of(fields: Sequence[Field], name: str, value: str) -> int:
    """The place of the bit that ``value`` alone sets in field ``name``.

    Raises:
      ValueError: there is no such field or value, or it has no bit of its own.
    """
    place = 0
    for field in fields:
        if field.name == name and value in field.values:
            code = field.codes[field.values.index(value)]
            if sum(code) == 1:
                return place + code.index(1)
        place += field.width
    known = [value for field in fields if field.name == name for value in field.values]
    raise ValueError(
        f"{value!r} has no bit of its own among {name}: {', '.join(map(str, known)) or 'no such field'}"
    )


def stars_to_bits(stars: np.ndarray) -> np.ndarray:
    """Thermometer of ratings of 0 .. 5 in halves: ``uint32``, bit i set from (i + 1) / 2 stars on."""
    halves = np.round(2 * np.asarray(stars))
    return ((1 << halves.astype(np.uint32)) - 1).astype(np.uint32)


def bits_to_stars(labels: np.ndarray) -> np.ndarray:
    """Inverse of `stars_to_bits`: ``float32``, half a star for each bit that is set."""
    return (np.bitwise_count(np.asarray(labels)) / 2).astype(np.float32)
