"""A small vocabulary, a text with phrases that come back, and its token tree, for tests of chain models."""

import numpy as np

from wnn_jax import chain
from wnn_jax.chain import tokentree
from wnn_jax.data import text

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


def text_of_words(folder):
    """Write a text of 500 random words to a folder, and return its settings."""
    rng = np.random.default_rng(0)
    path = folder / "corpus.txt"
    path.write_text(" ".join(rng.choice(["tables", "read", "bits", "and", "write", "cells.\n", "of"], 500)))
    return text.TextConfig(str(path))


TEXT = stream(900)
TREE = tokentree.clustered(TEXT, PIECES, rare=12)
NETWORK = chain.network(TREE, PIECES)
