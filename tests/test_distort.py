"""Distorted copies of images: no distortion is the image itself; a copy keeps type, size and most ink."""

import numpy as np
import pytest

from wnn_jax.classify import ClassifyConfig, DistortConfig, distort, fit

STILL = DistortConfig(copies=2, turn=0, scale=0, shear=0, bend=0)
BAR = np.zeros((5, 12, 10), np.uint8)
BAR[:, 3:9, 4:6] = 200


def test_no_distortion_is_the_image_itself():
    X = np.random.default_rng(0).integers(0, 256, (3, 120)).astype(np.uint8)
    made = distort.copies(np.random.default_rng(1), STILL, X, (12, 10))
    assert made.dtype == X.dtype
    # The last row and column lie on the edge, from which a thousandth of a pixel is cut.
    assert np.abs(made.astype(int) - np.tile(X, (2, 1)).astype(int)).max() <= 1


def test_copies_differ_and_keep_their_ink():
    X = BAR.reshape(5, -1)
    made = distort.copies(np.random.default_rng(1), DistortConfig(copies=3), X, (12, 10))
    assert made.shape == (15, 120)
    assert len(np.unique(made, axis=0)) == 15
    assert np.abs(made.sum(axis=1) / X[0].sum() - 1).max() < 0.4


def test_the_same_numbers_are_drawn_from_the_same_seed():
    X = BAR.reshape(5, -1).astype(np.float32)
    one, other = (
        distort.copies(np.random.default_rng(4), DistortConfig(copies=1), X, (12, 10)) for _ in "ab"
    )
    np.testing.assert_array_equal(one, other)


def test_rows_that_are_no_images_are_refused():
    import jax

    with pytest.raises(ValueError, match=r"copies=2 distorts images: give the height and width"):
        fit(jax.random.key(0), ClassifyConfig(distort=STILL), BAR.reshape(5, -1), [0, 1, 0, 1, 1])
