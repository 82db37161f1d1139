"""A small vocabulary, a text with phrases that come back, and its token tree, for tests of chain models."""

import numpy as np

from wnn_jax import chain
from wnn_jax.chain import tokentree

_WORDS = [
    b" the",
    b" cat",
    b" sat",
    b" on",
    b" mat",
    b".",
    b"\n",
    b"The",
    b"s",
    b"cat",
    b" a",
    b"\xc3\xa9t",
    b"-in-",
]
PIECES = [*_WORDS, *(b" w%d" % i for i in range(24)), *(bytes([i]) for i in b"xyzq")]
V = len(PIECES)


def stream(length, seed=0):
    """Draw a text in which phrases come back among random tokens."""
    rng = np.random.default_rng(seed)
    phrases = [rng.integers(0, V, rng.integers(3, 9)) for _ in range(12)]
    parts = [phrases[i] if rng.random() < 0.7 else rng.integers(0, V, 2) for i in rng.integers(0, 12, length)]
    return np.concatenate(parts)[:length].astype(np.int32)


TEXT = stream(900)
TREE = tokentree.clustered(TEXT, PIECES, rare=12)
NETWORK = chain.network(TREE, PIECES)
