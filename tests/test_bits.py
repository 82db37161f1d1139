"""Codes and windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wnn_jax.ram import bits, connectivity


def test_code_length():
    assert [bits.code_length(v) for v in (1, 2, 3, 256, 257, 50257)] == [1, 1, 2, 8, 9, 16]
    with pytest.raises(ValueError, match="vocabulary=0 is out of range"):
        bits.code_length(0)


def test_codes_are_most_significant_first():
    assert bits.unpack_code(jnp.asarray([6, 1]), 4).astype(int).T.tolist() == [
        [0, 1, 1, 0],
        [0, 0, 0, 1],
    ]


def test_gray_neighbours_differ_in_one_bit():
    codes = np.asarray(bits.unpack_code(bits.gray(jnp.arange(1024)), 10))
    assert np.all((codes[:, 1:] != codes[:, :-1]).sum(axis=0) == 1)
    assert len(np.unique(codes, axis=1).T) == 1024


def test_windowshold_the_past_oldest_first():
    tokens = jnp.asarray([5, 2, 7, 1, 4])
    window = bits.windows(bits.unpack_code(tokens, 3), 2)
    assert window.shape == (6, 3)
    assert window[:, 0].astype(int).tolist() == [1, 0, 1, 0, 1, 0]  # 5 then 2, to predict 7
    assert window[:, 2].astype(int).tolist() == [1, 1, 1, 0, 0, 1]  # 7 then 1, to predict 4


def test_random_connectivity_has_distinct_bits_of_every_position():
    drawn = np.asarray(connectivity.random(jax.random.key(0), 4, 50, 7, 12))
    assert drawn.shape == (4, 50, 7)
    assert drawn.dtype == np.int8
    assert all(len(set(neuron)) == 7 for neuron in drawn.reshape(-1, 7).tolist())
    share = np.bincount(drawn.ravel(), minlength=12) / drawn.size
    assert np.all(np.abs(share - 1 / 12) < 0.02)


@pytest.mark.parametrize("address_bits", [0, 13])
def test_random_connectivity_refuses(address_bits):
    with pytest.raises(ValueError, match=f"1 to 12 address bits, .* got {address_bits}"):
        connectivity.random(jax.random.key(0), 1, 1, address_bits, 12)


def test_the_smallest_type_that_holds_the_bits():
    assert [connectivity.dtype_for(i).name for i in (64, 128, 129, 1024)] == [
        "int8",
        "int8",
        "int16",
        "int16",
    ]
