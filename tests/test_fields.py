"""The fields of a place: each equals its oracle on every backend, for any text and any vocabulary."""

import inspect
import re

import fields_reference
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fields_reference import Text, mix
from hypothesis import given, settings
from hypothesis import strategies as st

from wnn_jax import chain
from wnn_jax.chain import backend, contexts, fields, lexicon, tokentree
from wnn_jax.chain.constants import FIELDS, MATCHED, SHAPES, Flag, Lexicon
from wnn_jax.ram import backend as kernels

V, SIZE = 700, 240
ENGLISH = """ = The Old Mill =

The mill stood by the river (it was built in 1834, and burned in 1901). "Who would grind there now?" she
asked. Nobody knew! The old man said: "Wait... and see." [note 3]

 = = History = =

John Smith, Jr. came to Leeds in 1852; he bought the mill for £300, then sold it.
"""
HINDI = """पुरानी चक्की

नदी के किनारे एक चक्की थी। उसे १८३४ में बनाया गया था (और १९०१ में जल गई)। "अब वहाँ कौन पीसेगा?" उसने पूछा।
किसी को पता नहीं था।

Старая мельница

У реки стояла «мельница». Кто будет молоть? Никто не знал! 磨坊在河边。「谁来磨？」她问。没有人知道……
"""  # noqa: RUF001
ODD = [
    *(b"", b"\n", b"\n\n", b"a\n  b c\n\n", b" \n\t", b" (", b"))", b"{[", b'"', b"\xff", b"\xe0\xa4"),
    *(b" The", b"3", b". ", b'!"', b"  ", b"\t", b"x" * 300, b"(" * 20, b")" * 17, b" 1st", b"end.)\n q"),
    *(b"\nAt", b"i", b". a", b"\n\n\n"),
    *"\u3002 \u201c \u201d \u00ab \uff08 \uff5d \u0416 \u01c5x \u00e9 \u0905\u093e\u0964".encode().split(),
]


def words(text):
    """Cut a text into words with the blank before them, marks and line breaks."""
    return re.findall(rb" ?[\w\x80-\xff]+|\n+|[ \t]+|[^\w\s]", text)


def shreds(text, seed):
    """Cut a text anywhere, also within characters."""
    rng, parts = np.random.default_rng(seed), []
    while text:
        size = int(rng.integers(1, 7))
        parts, text = [*parts, text[:size]], text[size:]
    return parts


PYTHON = inspect.getsource(fields_reference.Text).encode()
TEXTS = {
    "english": words(ENGLISH.encode()),
    "python": words(PYTHON),
    "other scripts": words(HINDI.encode()),
    "shreds": shreds(HINDI.encode(), 0),
    "odd": [ODD[i] for i in np.random.default_rng(1).integers(0, len(ODD), SIZE)],
}


@jax.jit
def _observed(network, state, tokens):
    if backend.native():
        return backend.observe(network, state, tokens)[:2]

    def one(state, token):
        seen = contexts.hash_fields(network, fields.fields(network.lexicon, state.registers))
        return fields.remember(network.lexicon, state, token), seen

    state, hashes = jax.lax.scan(one, state, tokens)
    return state, hashes.T


def observed(network, state, tokens):
    """Return the state after a text, and the hashes of the fields at each of its places."""
    moved, hashes = _observed(network, state, jnp.asarray(tokens, jnp.int32))
    return moved, np.asarray(hashes)


def network_of(pieces, rank):
    tree = tokentree.plain(len(pieces))._replace(rank=rank)
    return chain.network(tree, pieces, [f"node {name}" for name in FIELDS])


def wanted(network, pieces, tokens):
    """Return the hashes of the fields by the oracle at each place; a neuron observes one field."""
    text = Text(pieces, np.asarray(network.tree.codes), np.asarray(network.tree.rank))
    rows = []
    for token in tokens:
        rows.append([mix(k + 1, text.field(name)) for k, name in enumerate(FIELDS)])
        text.add(int(token))
    return np.array(rows, np.uint32).T


def same(network, pieces, tokens):
    _, hashes = observed(network, fields.empty(), tokens)
    for name, ours, want in zip(FIELDS, hashes, wanted(network, pieces, tokens), strict=True):
        np.testing.assert_array_equal(ours, want, err_msg=name)
    return hashes


@pytest.fixture(scope="module", params=["native", "xla"])
def either(request):
    """Run a test with the native kernels and with the JAX contract."""
    if request.param == "native" and kernels.chosen() == "xla":
        pytest.skip("the native kernels are not installed")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "xla":
            patch.setattr(kernels, "chosen", lambda: "xla")
        jax.clear_caches()
        yield request.param
    jax.clear_caches()


def vocabulary(pieces):
    """Return V pieces that begin with the given ones."""
    known = list(dict.fromkeys(pieces))
    return known + [b"<%d>" % i for i in range(V - len(known))]


@pytest.mark.parametrize("kind", TEXTS)
def test_fields_equal_the_oracle(either, kind):
    parts = (TEXTS[kind] * 9)[:SIZE]
    pieces = vocabulary(parts)
    rank = np.random.default_rng(0).integers(0, 300, V).astype(np.int32)
    hashes = same(network_of(pieces, rank), pieces, [pieces.index(part) for part in parts])
    if kind == "python":
        # A test of a field that never changes would prove nothing.
        changing = [name for name, row in zip(FIELDS, hashes, strict=True) if len(set(row.tolist())) > 2]
        assert changing == [name for name in FIELDS if name not in MATCHED]


PIECES = vocabulary([*ODD, *words(ENGLISH.encode())])
NETWORK = network_of(PIECES, np.arange(V, dtype=np.int32) * 7 % 300)


@settings(max_examples=25)
@given(st.lists(st.integers(0, len(ODD) + 20), min_size=40, max_size=40))
def test_fields_equal_the_oracle_for_any_tokens(either, tokens):
    same(NETWORK, PIECES, tokens)


def test_fields_of_bytes(either):
    pieces = [bytes([i]) for i in range(256)]
    tree = tokentree.plain(256)
    network = chain.network(tree, pieces, [f"node {name}" for name in FIELDS])
    tokens = np.frombuffer((ENGLISH[:200] + HINDI[:40]).encode(), np.uint8)
    same(network, pieces, tokens)


def test_the_state_of_a_part_is_the_state_of_the_whole(either):
    tokens = np.random.default_rng(3).integers(0, len(ODD) + 60, SIZE)
    whole, _ = observed(NETWORK, fields.empty(), tokens)
    state, _ = observed(NETWORK, fields.empty(), tokens[:40])
    state, _ = observed(NETWORK, state, tokens[40:])
    jax.tree.map(np.testing.assert_array_equal, state, whole)
    assert np.count_nonzero(whole.followed) > SIZE
    assert np.count_nonzero(whole.line) > 100


@pytest.mark.parametrize(
    ("piece", "shape"),
    [
        (b"", 1),
        (b" ", 33),
        (b"a\n", 2),
        (b"2026", 3),
        (b" 3rd", 36),
        (b"12", 5),
        (b"it's", 6),
        (b",", 21),
        (b".", 23),
        (b"of", 9),
        (b" then", 42),
        ("миру".encode(), 10),
        (b"others", 11),
        (b"understand", 12),
        ("\u0416".encode(), 13),
        (b" NATO", 46),
        (b"iPod", 15),
        (b" London", 48),
        ("\u78e8".encode(), 25),
        ("\u78e8\u574a".encode(), 26),
        ("\u0905\u093e\u0915".encode(), 8),
        (b"\xa4\xa8", 27),
        (b"\xe0", 28),
    ],
)
def test_shapes_by_hand(piece, shape):
    assert lexicon.shape(piece) == shape < SHAPES


def test_suffixes_and_quotes_by_hand():
    assert [lexicon.suffix(x) for x in (b"", b"a", b"ab", b"abcde")] == [1, 98, 0x6163, 0x16466]
    assert [lexicon.quotes(x) for x in (b"a", b'"', b'("', b")\n")] == [0b1010, 0b1001, 0b1101, 0]


def test_flags_by_hand():
    def flags(piece, rank=150):
        row = lexicon.lexicon([piece, b"a"], np.zeros(2, np.int32), np.array([rank, 0]))[0]
        return {flag for flag in Flag if int(row[Lexicon.FLAGS]) & flag}

    word = {Flag.FILLED, Flag.LETTER}
    assert flags(b"at", 149) == word
    assert flags(b" At") == word | {Flag.CONTENT, Flag.CAPITAL, Flag.BEGINS}
    assert flags(b"x") == word
    assert flags("٣".encode()) == {Flag.CONTENT, Flag.NUMBER, Flag.FILLED}
    marks = {Flag.PUNCTUATION, Flag.FILLED}
    assert flags('।"'.encode()) == marks | {Flag.SENTENCE}
    assert flags(b"\n (") == marks | {Flag.BREAK, Flag.BEGINS}
    assert flags(b")\n") == {Flag.BREAK, Flag.HEAD_FILLED}
    assert flags("\u3000".encode()) == flags(b"\x1c") == {Flag.FILLED}
    assert flags(b" x\n\n ") == {Flag.BREAK, Flag.LINE, Flag.HEAD_FILLED, Flag.HEAD_LETTER, Flag.BEGINS}
    assert flags(b"") == set()


def test_a_rank_counts_the_tokens_that_are_more_frequent():
    tree = tokentree.clustered(np.array([2, 2, 1, 1, 2, 0, 4]), [bytes([97 + i]) for i in range(5)], 2)
    assert tree.rank.tolist() == [2, 1, 0, 4, 3]
    assert tokentree.plain(3).rank.tolist() == [3, 3, 3]
