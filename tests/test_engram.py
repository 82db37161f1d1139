"""Content gating: its rows equal dicts, and its mixture is one distribution."""

from collections import Counter, defaultdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wnn_jax.chain import lexicon
from wnn_jax.gates import RamGateConfig, apply, engram

V = 12
CONFIG = engram.EngramConfig(orders=(1, 2), heads=3, row_bits=4)
PLANTED = engram.EngramConfig((1, 2), 2, 12)  # enough rows that every context has its own row
GATE = RamGateConfig(neurons=8, address_bits=8)
TRAIN, HELD = 5000, 500  # training tokens; held-out or scored tokens. Few shapes are compiled
LONGEST = max(CONFIG.orders)
rows_of = jax.jit(engram.rows, static_argnums=0)
CANONICAL = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1], np.int32)  # 10 is 0 again, and 11 is 1


def text(length, seed):
    rng = np.random.default_rng(seed)
    follows = rng.permutation(V)
    tokens = [0]
    for _ in range(length - 1):
        tokens.append(int(follows[tokens[-1]]) if rng.random() < 0.5 else int(rng.integers(V)))
    return np.array(tokens)


@given(st.integers(0, 1000))
def test_rows_equal_dicts(seed):
    """16 rows are shared by up to 100 bigrams; of the rows of a context the one written least is read."""
    tokens, asked = text(120, seed), text(40, seed + 1)
    memory = engram.fit(CONFIG, CANONICAL, tokens)
    found = jax.device_get(engram.look_up(CONFIG, memory, jnp.asarray(asked)))
    written = np.asarray(rows_of(CONFIG, jnp.asarray(CANONICAL), jnp.asarray(tokens)))
    read = np.asarray(rows_of(CONFIG, jnp.asarray(CANONICAL), jnp.asarray(asked)))
    for o in range(len(CONFIG.orders)):
        tables = []
        for head in written[o]:
            table = defaultdict(Counter)
            for row, token in zip(head, tokens[LONGEST:], strict=True):
                table[row][token] += 1
            tables.append(table)
        for i, token in enumerate(asked[LONGEST:]):
            rows = [table.get(row, Counter()) for table, row in zip(tables, read[o, :, i], strict=True)]
            least = min(rows, key=lambda row: row.total())
            share = least[token] / max(least.total(), 1)
            assert found.share[o, i] == pytest.approx(share)
            assert found.known[o, i] == (least.total() > 0)


def test_canonical_ids_address_alike():
    """Token 10 counts as token 0 in a context, but not as a target."""
    rows = np.asarray(rows_of(CONFIG, jnp.asarray(CANONICAL), jnp.asarray([0, 10, 3, 10, 0, 3])))
    np.testing.assert_array_equal(rows[..., 0], rows[..., 3])
    assert np.any(rows[..., 0] != rows[..., 1])
    pieces = [b"The", b" the", b"the", b"THE ", b" ", b"  ", b"then"]
    folded = lexicon.folded(pieces)
    assert folded.tolist() == [0, 0, 0, 0, 1, 2, 3]


def test_heads_are_a_guard_against_collisions():
    """With one head half of the contexts that never came find a row of another; with four hardly any."""
    many = 1 << 10
    pairs = np.stack([np.arange(0, 2 * many, 2), np.arange(1, 2 * many, 2)], axis=1)
    train, others = pairs[: many // 4].reshape(-1), pairs[many // 2 :].reshape(-1)
    found = {}
    for heads in (1, 4):
        config = engram.EngramConfig((2,), heads, 10)
        memory = engram.fit(config, np.arange(2 * many), train)
        found[heads] = float(engram.look_up(config, memory, jnp.asarray(others)).known.mean())
    assert found[1] > 0.25
    assert found[4] < 0.06


def test_the_order_of_the_windows_does_not_matter():
    cycle = np.tile(text(30, 0), 3)
    one, two = (engram.fit(CONFIG, CANONICAL, cycle[first : first + 60 + LONGEST]) for first in (0, 11))
    jax.tree.map(np.testing.assert_array_equal, one, two)


def taught(train, held_out, key=0):
    memory = engram.fit(CONFIG, CANONICAL, train)
    found = engram.look_up(CONFIG, memory, jnp.asarray(np.concatenate([train[-LONGEST:], held_out])))
    log_p = jnp.full(len(held_out), -np.log(V))
    return memory, engram.teach(jax.random.key(key), GATE, found, log_p)


def test_the_mixture_sums_to_one():
    """The probabilities of all tokens at a place sum to 1, for any probabilities of the model below."""
    train = text(TRAIN + HELD, 2)
    memory, gates = taught(train[:TRAIN], train[TRAIN:])
    rng = np.random.default_rng(0)
    below = jnp.asarray(rng.dirichlet(np.ones(V)), jnp.float32)
    contexts = rng.integers(V, size=(5, LONGEST))
    # Every context is followed by every token, one pair after another; the end is padding.
    runs = np.concatenate([np.repeat(contexts, V, axis=0), np.tile(np.arange(V), 5)[:, None]], axis=1)
    stream = np.resize(runs, HELD + LONGEST)
    found = engram.look_up(CONFIG, memory, jnp.asarray(stream))
    log_p = jnp.log(below[stream[LONGEST:]])
    for gate in engram.open_gates(GATE, gates, found):
        log_p = apply(gate, log_p)
    chances = np.exp(np.asarray(log_p))[:: LONGEST + 1][: 5 * V].reshape(5, V)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-5)


def test_an_unknown_context_leaves_the_model_alone():
    memory = engram.fit(PLANTED, np.arange(V), np.resize([1, 2, 3], TRAIN))
    found = engram.look_up(PLANTED, memory, jnp.asarray(np.resize([7, 8, 9], HELD + LONGEST)))
    log_p = jnp.full(HELD, -2.0)
    gates = engram.teach(jax.random.key(0), GATE, found, log_p)
    for gate in engram.open_gates(GATE, gates, found):
        np.testing.assert_array_equal(apply(gate, log_p), log_p)


def test_content_gates_must_help_where_the_last_tokens_tell_the_next():
    """In half of the places the next token is a function of the last two; the model below is uniform."""
    rng = np.random.default_rng(0)
    follows = rng.integers(V, size=(V, V))
    tokens = [0, 1]
    for _ in range(TRAIN + HELD - 2):
        known = follows[tokens[-2], tokens[-1]]
        tokens.append(int(known if rng.random() < 0.5 else rng.integers(V)))
    tokens = np.array(tokens)
    train, rest = tokens[:TRAIN], tokens[TRAIN:]
    uniform = jnp.full(HELD, -np.log(V))
    nats = engram.nats(
        jax.random.key(0), PLANTED, GATE, np.arange(V, dtype=np.int32), train, rest, uniform, uniform
    )
    share = 0.5 + 0.5 / V
    best = -share * np.log(share) - (1 - share) * np.log(0.5 / V)
    assert np.log(V) > best + 0.5
    assert best - 0.1 < nats.mean() < best + 0.15


def test_where_rows_know_nothing_gates_close():
    """Tokens are drawn at random, so that rows hold noise: gates must cost next to nothing."""
    tokens = np.random.default_rng(0).integers(V, size=TRAIN + HELD)
    log_p = jnp.full(HELD, -np.log(V))
    train, rest = tokens[:TRAIN], tokens[TRAIN:]
    nats = engram.nats(jax.random.key(0), CONFIG, GATE, CANONICAL, train, rest, log_p, log_p)
    assert nats.mean() < np.log(V) + 0.02


def test_no_place_reads_its_future():
    tokens = text(TRAIN + HELD, 3)
    train, rest = tokens[:TRAIN], tokens[TRAIN:]
    changed = rest.copy()
    changed[40:] = (rest[40:] + 1) % V
    log_p = jnp.full(len(rest), -2.0)
    one, two = (
        engram.nats(jax.random.key(0), CONFIG, GATE, CANONICAL, train, x, log_p, log_p)
        for x in (rest, changed)
    )
    np.testing.assert_array_equal(one[:40], two[:40])
    assert np.any(one[40:] != two[40:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"orders": ()}, "orders must be 1 or more, and rise"),
        ({"orders": (3, 2)}, "orders must be 1 or more, and rise"),
        ({"heads": 0}, "heads=0 is out of range: give a whole number of at least 1"),
        ({"row_bits": 25}, "row_bits=25 is out of range: give a whole number of at least 1 and at most 24"),
    ],
)
def test_configs_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        engram.EngramConfig(**arguments)


def test_a_text_as_short_as_an_n_gram_is_refused():
    with pytest.raises(ValueError, match="n-grams of 2 tokens need more than 2 tokens, got 2"):
        engram.fit(CONFIG, CANONICAL, np.array([1, 2]))


def test_gates_are_taught_on_the_last_tenth_by_a_model_that_has_not_seen_it():
    """`score` equals `nats` with the probabilities that a refitted model gives to the held-out tenth."""
    tokens = text(TRAIN + HELD, 3)
    train, rest = tokens[:TRAIN], tokens[TRAIN:]
    pieces = [b"t%d" % (i % 10) for i in range(V)]  # ids 10 and 11 have the same text as 0 and 1
    without = jnp.full(len(rest), 2.0)
    split = []

    def refit(first, held_out):
        split.append((first, held_out))
        return jnp.full(len(held_out), 2.0)

    scores = engram.score(jax.random.key(0), CONFIG, GATE, pieces, train, rest, without, refit)
    (first, held_out), *_ = split
    assert len(held_out) == HELD
    np.testing.assert_array_equal(np.concatenate([first, held_out]), train)
    same = engram.nats(
        jax.random.key(0), CONFIG, GATE, CANONICAL, train, rest, -without, jnp.full(len(held_out), -2.0)
    )
    np.testing.assert_array_equal(scores.nats, same)
    assert set(scores.best.tolist()) == {-1}
