"""Draws the pins of neurons: of the whole input, of windows of an image, and of tables slid over positions.

A draw returns tables, and `neurons` makes the mapping: one neuron for each position of each table. A table
slid over the positions of an image is read at each of them by the same pins, moved.

Shape letters are those of `layer`, and Q positions of a table.

Source: docs/semantics/classify.md
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.classify.layer import UNUSED, Mapping, dense

MAX_DENSE = 20  # most pins of a dense table
MAX_PINS = 64


@dataclasses.dataclass(frozen=True)
class MappingConfig:
    """Configures the neurons: the number of tables, their pins, and where the pins lie.

    Attributes:
      tables: number of tables, M.
      address_bits: pins of a neuron, T; fewer if the input has fewer bits.
      windows: sides of square windows of an image, in pixels. The pins of a table lie in one window, whose
        side is drawn from these. Empty: the pins lie anywhere.
      slide: a table is read at ``slide * slide`` positions of the image.
      stride: pixels from one position to the next.
      entry_bits: log2 of the entries of a hashed table; None for a dense table, which has an entry for each
        address.
      hashes: hashes of a hashed table.

    Raises:
      ValueError: a size is out of range, or a dense table has more than 20 pins.

    Source: docs/semantics/classify.md
    """

    tables: int = 200
    address_bits: int = 6
    windows: tuple[int, ...] = ()
    slide: int = 1
    stride: int = 1
    entry_bits: int | None = None
    hashes: int = 2

    def __post_init__(self):
        one = Limits(least=1)
        checks.fields(
            self,
            tables=Limits(least=1, most=1 << 20),
            address_bits=Limits(least=1, most=MAX_PINS),
            windows=one,
            slide=one,
            stride=one,
            entry_bits=Limits(least=1, most=24),
            hashes=Limits(least=1, most=8),
        )
        if self.entry_bits is None and self.address_bits > MAX_DENSE:
            raise ValueError(
                f"address_bits={self.address_bits} is too large for a dense table: give at most {MAX_DENSE}, "
                "or set entry_bits for a hashed table"
            )
        if self.slide > 1 and not self.windows:
            raise ValueError(f"slide={self.slide} needs windows: give the sides of windows in pixels")

    @property
    def entries(self) -> int:
        """S, the number of entries of a table."""
        return 1 << (self.address_bits if self.entry_bits is None else self.entry_bits)


class Inputs(NamedTuple):
    """The bits that pins may read.

    Attributes:
      feature: ``int32 [B]``, the feature of each bit.
      column: ``int32 [B]``, its column.
      level: ``uint8 [B]``, its level.
      image: height and width, if the features are pixels by rows; or None.
      width: columns of a row of the image, which may have a margin.

    Source: docs/semantics/classify.md
    """

    feature: np.ndarray
    column: np.ndarray
    level: np.ndarray
    image: tuple[int, int] | None = None
    width: int = 0


class Tables(NamedTuple):
    """The pins of tables at their first position.

    Attributes:
      column: ``int32 [M, T]``.
      level: ``uint8 [M, T]``.

    Source: docs/semantics/classify.md
    """

    column: np.ndarray
    level: np.ndarray


def generator(key: jax.Array) -> np.random.Generator:
    """Make a generator of NumPy that a key seeds.

    Args:
      key: a key of JAX.

    Source: docs/architecture.md
    """
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())


def draw(rng: np.random.Generator, config: MappingConfig, inputs: Inputs, count: int) -> Tables:
    """Draw tables. The pins of a table are different bits, and of different features where there are enough.

    Args:
      rng: draws them.
      config: says where pins may lie.
      inputs: the bits.
      count: number of tables.

    Returns:
      The tables. Unused pins, where the input has too few bits, come last.

    Raises:
      ValueError: there is no bit, or a window is larger than the image or holds too few bits.

    Source: docs/semantics/classify.md
    """
    if not len(inputs.column):
        raise ValueError("the encoder made no bit, because no feature varies: give rows that differ")
    if config.windows:
        return _windows(rng, config, inputs, count)
    return _anywhere(rng, config, inputs, count)


def _anywhere(rng: np.random.Generator, config: MappingConfig, inputs: Inputs, count: int) -> Tables:
    """Deal features like cards, so that all are read about equally often, and draw a bit of each."""
    order = np.argsort(inputs.feature, kind="stable")
    _, first, sizes = np.unique(inputs.feature[order], return_index=True, return_counts=True)
    pins = min(config.address_bits, len(order))
    if pins > len(first):
        return _tables(config, inputs, order[_choose(rng, count, len(order), pins)])
    decks = -(-count * pins // len(first))
    cards = rng.permuted(np.tile(np.arange(len(first)), (decks, 1)), axis=1).ravel()[: count * pins]
    feature = cards.reshape(count, pins)
    sorted_rows = np.sort(feature, axis=1)
    # A neuron whose cards come from two decks may hold one twice.
    twice = (sorted_rows[:, 1:] == sorted_rows[:, :-1]).any(axis=1)
    feature[twice] = _choose(rng, int(twice.sum()), len(first), pins)
    return _tables(config, inputs, order[first[feature] + rng.integers(sizes[feature])])


def _windows(rng: np.random.Generator, config: MappingConfig, inputs: Inputs, count: int) -> Tables:
    if inputs.image is None:
        raise ValueError("windows need an image: give its height and width, or leave windows empty")
    height, width = inputs.image
    span, largest = (config.slide - 1) * config.stride, max(config.windows)
    if largest + span > min(height, width):
        raise ValueError(
            f"a window of {largest} pixels, slid by {span}, does not fit an image of {height} x {width}: "
            "lower windows, slide or stride"
        )
    bits = np.bincount(inputs.feature, minlength=height * width)
    if (bits != bits[0]).any():
        raise ValueError("windows need the same thresholds for all pixels: set shared in the encoder")
    each = int(bits[0])
    order = np.argsort(inputs.feature, kind="stable")
    side = rng.choice(np.asarray(config.windows), count)
    pins = min(config.address_bits, min(config.windows) ** 2 * each)
    chosen = np.zeros((count, pins), np.int64)
    for one in np.unique(side):
        here = np.flatnonzero(side == one)
        free = np.array([height, width]) - one - span + 1
        corner = rng.integers(free, size=(len(here), 2))
        place = _choose(rng, len(here), one * one * each, pins)
        y, x = corner[:, :1] + place // each // one, corner[:, 1:] + place // each % one
        chosen[here] = order[(y * width + x) * each + place % each]
    return _tables(config, inputs, chosen)


def _choose(rng: np.random.Generator, count: int, among: int, pins: int) -> np.ndarray:
    """Draw ``[count, pins]`` different numbers below ``among`` in each row, in random order."""
    if pins == among:
        return rng.permuted(np.tile(np.arange(among), (count, 1)), axis=1)
    return np.argpartition(rng.random((count, among)), pins, axis=1)[:, :pins]


def _tables(config: MappingConfig, inputs: Inputs, chosen: np.ndarray) -> Tables:
    count, pins = chosen.shape
    column = np.zeros((count, config.address_bits), np.int32)
    level = np.full((count, config.address_bits), UNUSED, np.uint8)
    column[:, :pins], level[:, :pins] = inputs.column[chosen], inputs.level[chosen]
    return Tables(column, level)


def neurons(config: MappingConfig, tables: Tables, width: int, hashes: np.ndarray | None = None) -> Mapping:
    """Make the neurons: one for each position of each table.

    Args:
      config: gives the positions.
      tables: the pins at the first position.
      width: columns of a row of the image; any number if tables are not slid.
      hashes: ``uint32 [H, T]``, of hashed tables; None for dense ones.

    Returns:
      The mapping of ``R = M * Q`` neurons, table by table.

    Source: docs/semantics/classify.md
    """
    steps = np.arange(config.slide, dtype=np.int32) * config.stride
    offset = (steps[:, None] * width + steps).ravel().astype(np.int32)  # [Q]
    used = tables.level != UNUSED
    column = np.where(used[:, None], tables.column[:, None] + offset[:, None], 0)
    level = np.repeat(tables.level[:, None], len(offset), axis=1)
    pins = tables.column.shape[1]
    return Mapping(
        jnp.asarray(column.reshape(-1, pins).astype(np.int32)),
        jnp.asarray(level.reshape(-1, pins)),
        jnp.asarray(np.repeat(np.arange(len(used), dtype=np.int32), len(offset))),
        jnp.asarray(dense(pins) if hashes is None else hashes),
    )


def draw_hashes(rng: np.random.Generator, config: MappingConfig) -> np.ndarray | None:
    """Draw the hashes of hashed tables, which all neurons share.

    Args:
      rng: draws them.
      config: gives their number and the entries of a table.

    Returns:
      ``uint32 [H, T]``, or None if the tables are dense.

    Source: Carter and Wegman 1979, "Universal Classes of Hash Functions" (H3); docs/semantics/classify.md
    """
    if config.entry_bits is None:
        return None
    shape = (config.hashes, config.address_bits)
    return rng.integers(0, config.entries, shape, dtype=np.uint32)
