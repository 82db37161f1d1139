"""Makes distorted copies of images, so that cells are trained on shapes that the rows do not show.

Each copy is turned, scaled, sheared and bent by amounts of its own. The bend is a smooth random field of
moves, as Simard and others use it.

Source: Simard, Steinkraus and Platt 2003, "Best Practices for Convolutional Neural Networks Applied to Visual
Document Analysis"; docs/semantics/classify.md
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits

_BLOCK = 2000  # images that are distorted at a time


@dataclasses.dataclass(frozen=True)
class DistortConfig:
    """Configures the distorted copies of images.

    Attributes:
      copies: copies of each image beside the image itself.
      turn: the largest turn, in degrees.
      scale: the largest change of size, as a share.
      shear: the largest shear, in pixels along the row for each pixel along the column.
      bend: the standard deviation of the moves of a pixel, in pixels.
      smooth: the standard deviation of the Gauss filter that smooths the moves, in pixels.

    Raises:
      ValueError: a value is out of range.

    Source: docs/semantics/classify.md
    """

    copies: int = 0
    turn: float = 6.0
    scale: float = 0.08
    shear: float = 0.05
    bend: float = 0.5
    smooth: float = 4.0

    def __post_init__(self):
        some = Limits(least=0, most=90)
        checks.fields(
            self,
            copies=Limits(least=0, most=1000),
            turn=some,
            scale=Limits(least=0, below=1),
            shear=Limits(least=0, most=1),
            bend=some,
            smooth=Limits(above=0, most=90),
        )


def copies(
    rng: np.random.Generator, config: DistortConfig, X: np.ndarray, image: tuple[int, int]
) -> np.ndarray:
    """Distort images.

    Args:
      rng: draws the distortions.
      config: their sizes, and the number of copies.
      X: numbers ``[N, F]``, the pixels of the images row by row.
      image: height and width.

    Returns:
      ``[copies * N, F]`` of the dtype of ``X``, one whole copy after another; whole numbers are rounded.

    Source: docs/semantics/classify.md
    """
    height, width = image
    out = np.empty((config.copies * len(X), height * width), X.dtype)
    filter_y, filter_x = _filter(height, config.smooth), _filter(width, config.smooth)
    for first in range(0, len(out), _BLOCK):
        rows = np.arange(first, min(first + _BLOCK, len(out)))
        moves = [_smooth(rng, len(rows), config, filter_y, filter_x) for _ in range(2)]
        turned = _turned(rng, len(rows), config, height, width)
        y, x = (turned[axis] + moves[axis] for axis in range(2))
        block = _sample(X[rows % len(X)].reshape(-1, height, width).astype(np.float32), y, x)
        whole = np.issubdtype(X.dtype, np.integer)
        out[rows] = (np.rint(block) if whole else block).reshape(len(rows), -1)
    return out


def _filter(size: int, smooth: float) -> np.ndarray:
    """Make the matrix of a Gauss filter; its rows have sums of squares of 1, so that noise keeps its size."""
    distance = np.arange(size)[:, None] - np.arange(size)
    weights = np.exp(-0.5 * (distance / smooth) ** 2)
    return (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype(np.float32)


def _smooth(rng: np.random.Generator, count: int, config: DistortConfig, filter_y, filter_x) -> np.ndarray:
    noise = rng.standard_normal((count, len(filter_y), len(filter_x)), dtype=np.float32)
    return np.float32(config.bend) * (filter_y @ noise @ filter_x.T)


def _turned(rng: np.random.Generator, count: int, config: DistortConfig, height: int, width: int):
    """Return the places, y and x, that each image takes its pixels from, before the bend."""

    def draw(most: float) -> np.ndarray:
        return rng.uniform(-most, most, (count, 1, 1)).astype(np.float32)

    angle, size, shear = np.deg2rad(draw(config.turn)), 1 + draw(config.scale), draw(config.shear)
    middle = (height - 1) / 2, (width - 1) / 2
    y, x = np.meshgrid(np.arange(height) - middle[0], np.arange(width) - middle[1], indexing="ij")
    y, x = y.astype(np.float32), x.astype(np.float32)
    along = x + shear * y
    return (
        middle[0] + (y * np.cos(angle) - along * np.sin(angle)) * size,
        middle[1] + (y * np.sin(angle) + along * np.cos(angle)) * size,
    )


@jax.jit
def _sample(images, y, x):
    """Interpolate images at places that lie between pixels; what lies outside is taken from the edge."""
    height, width = images.shape[1:]
    y, x = jnp.clip(y, 0, height - 1.001), jnp.clip(x, 0, width - 1.001)
    top, left = y.astype(jnp.int32), x.astype(jnp.int32)
    down, right = y - top, x - left
    flat = images.reshape(len(images), -1)

    def pixel(row, column):
        place = (row * width + column).reshape(len(images), -1)
        return jnp.take_along_axis(flat, place, axis=1).reshape(images.shape)

    upper = pixel(top, left) * (1 - right) + pixel(top, left + 1) * right
    lower = pixel(top + 1, left) * (1 - right) + pixel(top + 1, left + 1) * right
    return upper * (1 - down) + lower * down
