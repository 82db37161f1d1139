"""Token trees hold every id once, for any text and any pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wnn_jax.chain import constants, tokentree


def check(tree, vocabulary):
    """Check that paths lead to leaves, that children agree, and that one pass over all turns sums to one."""
    assert tree.children.shape == (vocabulary - 1, 2)
    leaves = sorted(-1 - child for child in tree.children.ravel() if child < 0)
    assert leaves == list(range(vocabulary))
    inner = tree.children[tree.children >= 0]
    assert sorted(inner) == list(range(1, vocabulary - 1))
    for token in range(vocabulary):
        node = 0
        for entry in range(tree.start[token], tree.start[token + 1]):
            assert tree.node[entry] == node
            child = tree.children[node, tree.bit[entry]]
            assert child < 0 or child > node
            node = child
        assert node == -1 - token
    assert len(np.unique(tree.names[0])) == vocabulary - 1
    assert ((tree.kind >= 0) & (tree.kind < constants.KINDS)).all()
    coded = tree.spelled == 0
    np.testing.assert_array_equal(tree.names[1:, coded], np.stack([tree.names[0, coded]] * 2))
    one = np.random.default_rng(0).random(vocabulary - 1)
    turns = np.where(tree.bit, one[tree.node], 1 - one[tree.node])
    assert np.multiply.reduceat(turns, tree.start[:-1]).sum() == pytest.approx(1)


@given(
    st.lists(st.binary(max_size=5), min_size=2, max_size=40, unique=True),
    st.integers(0, 6),
    st.integers(0, 9),
)
def test_every_id_once(pieces, rare, seed):
    rng = np.random.default_rng(seed)
    train = rng.choice(len(pieces), 200, p=rng.dirichlet(np.full(len(pieces), 0.3)))
    check(tokentree.clustered(train, pieces, rare), len(pieces))


@given(st.integers(2, 300))
def test_plain_trees(vocabulary):
    check(tokentree.plain(vocabulary), vocabulary)


def test_a_plain_tree_of_bytes_is_their_digits():
    tree = tokentree.plain(256)
    assert tree.depth == 8
    for token in (0, 1, 37, 255):
        turns = tree.bit[tree.start[token] : tree.start[token + 1]]
        assert int("".join(map(str, turns)), 2) == token
        assert tree.codes[token] == token << 8


def test_rare_tokens_are_spelled_and_alike_ones_are_near():
    rng = np.random.default_rng(0)
    # Ids 0-3 and ids 4-7 are two classes that alternate; 8 is rare, 9 never comes, 10 comes in one part only.
    train = np.stack([rng.integers(0, 4, 3000), rng.integers(4, 8, 3000)], axis=1).ravel()
    train[7] = 8
    train[100:140] = 10
    pieces = [bytes([97 + i]) * (1 + i % 3) for i in range(11)]
    tree = tokentree.clustered(train, pieces, rare=16)
    check(tree, 11)
    turns = [tree.bit[tree.start[i] : tree.start[i + 1]].tolist() for i in range(11)]
    assert [turn[0] for turn in turns] == [0] * 8 + [1] * 3
    assert len({turn[1] for turn in turns[:4]}) == 1
    assert len({turn[1] for turn in turns[4:8]}) == 1
    assert turns[0][1] != turns[4][1]
    # Spelled nodes with the same last byte share a name, at any place of the tree.
    words = [b"e", b"xxab", b"xxac", b"yyab", b"yyac"]
    several = tokentree.clustered(np.zeros(50, int), words, rare=16)
    check(several, 5)
    assert [len(np.unique(names)) for names in several.names] == [4, 3, 4]


def test_deep_pieces_need_no_deep_recursion():
    check(tokentree.clustered(np.zeros(20, int), [b"x", *(b"-" * i for i in range(1, 200))], rare=16), 200)


def test_bad_vocabularies():
    with pytest.raises(ValueError, match="at least 2 tokens, got 1"):
        tokentree.plain(1)
    with pytest.raises(ValueError, match="same bytes"):
        tokentree.clustered(np.zeros(20, int), [b"a", b"b", b"b"])
