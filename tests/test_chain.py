"""The chain model: it equals its oracle on every backend, is causal, sums to one, and ignores the order."""

import functools
import importlib.util
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chain_reference import Oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from wnn_jax import chain
from wnn_jax.chain import constants, model, reader, static, tokentree
from wnn_jax.ram import backend

WORDS = [
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
PIECES = [*WORDS, *(b" w%d" % i for i in range(24)), *(bytes([i]) for i in b"xyzq")]
V = len(PIECES)
LOG_SLOTS = 12


def stream(length, seed=0):
    """Draw a text in which phrases come back among random tokens."""
    rng = np.random.default_rng(seed)
    phrases = [rng.integers(0, V, rng.integers(3, 9)) for _ in range(12)]
    parts = [phrases[i] if rng.random() < 0.7 else rng.integers(0, V, 2) for i in rng.integers(0, 12, length)]
    return np.concatenate(parts)[:length].astype(np.int32)


TEXT = stream(900)
TREE = tokentree.clustered(TEXT, PIECES, rare=12)
NETWORK = chain.network(TREE, PIECES)


def online(log_slots=LOG_SLOTS, room=500):
    return chain.empty_online(NETWORK, log_slots, room)


def counting(log_slots=LOG_SLOTS):
    return chain.empty_static(NETWORK, log_slots)


def read(tokens, memory=None, **options):
    memory = online() if memory is None else memory
    return chain.read(NETWORK, memory, tokens, **{"learn": True, **options})


def fit(tokens):
    config = chain.ReadoutConfig(folds=3, tokens=600, epochs=2, batch=256)
    return static.fit(jax.random.key(0), NETWORK, counting(), tokens, config)


@pytest.fixture(scope="module")
def fitted():
    return fit(TEXT[:700])


@pytest.fixture(scope="module")
def counted():
    _, whole = static.observe(NETWORK, counting(), TEXT[:700])
    return static.count(NETWORK, counting(), whole)


def copied(memory):
    return jax.tree.map(jnp.array, memory)


def test_the_text_has_both_kinds_of_paths():
    assert 0 < TREE.spelled.sum() < len(TREE.spelled)
    assert (np.diff(TREE.start) > 0).all()


def test_equals_the_oracle():
    tokens = TEXT[:420]
    oracle = Oracle(TREE, PIECES, chain.WORDS, rate=0.03)
    wanted = [oracle.read(int(token)) for token in tokens]
    memory = online(18)  # enough cells that none is pushed out
    ones = np.asarray(read(tokens, memory)[1].ones)
    for token, row, want in zip(tokens, ones, wanted, strict=True):
        np.testing.assert_allclose(row[: len(want)], want, atol=3e-5, err_msg=f"token {token}")
        assert not row[len(want) :].any()


def test_a_distribution_in_every_mode(fitted):
    learnt, _ = read(TEXT[:200])
    frozen, _ = chain.read(NETWORK, fitted, TEXT[:50])
    for memory in (learnt, frozen, online()):
        for token in (3, 17, 40):
            shares = chain.distribution(NETWORK, memory)
            assert shares.shape == (V,)
            assert shares.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
            memory, found = chain.read(NETWORK, memory, np.array([token]), argmax=True)
            assert chain.nats(NETWORK, found)[0] == pytest.approx(-np.log(shares[token]), abs=1e-4)
            assert found.best[0] == shares.argmax()


def test_a_distribution_while_it_learns():
    """Later turns of a token are predicted after its earlier turns are learnt, and all V still sum to one."""
    memory, _ = read(TEXT[:60])
    shares = [np.exp(-chain.nats(NETWORK, read(np.array([v]), copied(memory))[1])[0]) for v in range(V)]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert np.abs(shares - chain.distribution(NETWORK, memory)).max() > 0


def test_the_future_is_not_read():
    before, after = TEXT[:300].copy(), TEXT[:300].copy()
    after[200:] = (after[200:] + 7) % V
    one, other = (np.asarray(read(tokens)[1].ones) for tokens in (before, after))
    np.testing.assert_array_equal(one[:200], other[:200])
    assert (one[200:] != other[200:]).any()


@pytest.mark.parametrize("cut", [1, 77, 299])
def test_reading_in_pieces_is_reading_at_once(cut):
    whole_memory, whole = read(TEXT[:300])
    memory, first = read(TEXT[:cut])
    memory, second = read(TEXT[cut:300], memory)
    np.testing.assert_array_equal(np.concatenate([first.ones, second.ones]), whole.ones)
    jax.tree.map(np.testing.assert_array_equal, memory, whole_memory)


def test_blocks_change_nothing():
    """A text that does not fill its last block is padded; the padding changes no number, to the last bit."""
    whole_memory, whole = read(TEXT[:300])
    memory, parts = read(TEXT[:300], block=64)
    jax.tree.map(np.testing.assert_array_equal, (memory, parts), (whole_memory, whole))
    assert whole.tokens.tolist() == TEXT[:300].tolist()
    assert chain.read(NETWORK, memory, [])[1].ones.shape == (0, NETWORK.tree.depth)


def test_no_length_compiles_anew():
    memory, _ = read(TEXT[:5])
    memory, _ = read(TEXT[:5], memory, learn=False)
    known = model._read_learning._cache_size(), model._read_frozen._cache_size()
    for length in (1, 2, 33, 511):
        memory, _ = read(TEXT[:length], memory)
        memory, found = read(TEXT[:length], memory, learn=False)
        assert found.ones.shape == (length, NETWORK.tree.depth)
    assert known == (model._read_learning._cache_size(), model._read_frozen._cache_size())


def test_without_learning_only_the_place_in_the_text_moves():
    memory, _ = read(TEXT[:100])
    before = copied(memory)
    moved, _ = read(TEXT[100:150], memory, learn=False)
    for name in ("slots", "gain", "gain_sum", "offset", "offset_sum", "match_share", "match_gain", "refined"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(before, name))
    assert (np.asarray(moved.registers) != np.asarray(before.registers)).any()
    # The memory that was given is unchanged.
    jax.tree.map(np.testing.assert_array_equal, memory, before)


def test_learning_helps_and_forgets_what_changed():
    nats = chain.nats(NETWORK, read(np.concatenate([TEXT, TEXT]))[1])
    assert nats[len(TEXT) :].mean() < 0.5 * nats[: len(TEXT)].mean()


@settings(max_examples=10)
@given(st.permutations(range(6)), st.sampled_from([2, 5, 7]))
def test_counts_do_not_know_the_order(order, log_slots):
    """Counts are equal for any order of the examples and any parts of the text, even if buckets overflow."""
    _, whole = static.observe(NETWORK, counting(2), TEXT[:120])
    at_once = static.count(NETWORK, counting(log_slots), whole)
    memory = counting(log_slots)
    for i in order:
        memory = static.count(NETWORK, memory, static.part(whole, 20 * i, 20 * i + 20))
    np.testing.assert_array_equal(memory.slots, at_once.slots)
    kept = static.part(whole, 20, 60)
    there = copied(memory)
    memory = static.count(NETWORK, memory, kept, sign=-1)
    assert (np.asarray(memory.slots) != np.asarray(there.slots)).any()
    memory = static.count(NETWORK, memory, kept)
    np.testing.assert_array_equal(memory.slots, there.slots)


def test_fitting_leaves_all_of_the_text_in_the_counts(fitted, counted):
    np.testing.assert_array_equal(fitted.slots, counted.slots)


def test_the_readout_beats_counting_alone(fitted):
    test = TEXT[700:]
    alone = static.unweighted_nats(NETWORK, fitted, test)
    assert all(np.isfinite(nats).all() for nats in alone.values())
    parts = static.unweighted_nats(NETWORK, fitted, test, block=100)
    for name, nats in alone.items():
        np.testing.assert_array_equal(nats, parts[name])
    _, found = chain.read(NETWORK, fitted, test)
    assert chain.nats(NETWORK, found).mean() < min(nats.mean() for nats in alone.values())


def test_backoff_by_hand():
    """One node, two neurons: 1/2 becomes (3 + 1/2) / 5 by the first and then (1 + 0.7) / 3 by the second."""
    tree = tokentree.plain(2)
    network = chain.network(tree, [b"a", b"b"], (("node", "token1"), ("node", "")))
    memory, seen = static.observe(network, chain.empty_static(network, 6), np.array([0, 1, 1, 0]))
    memory = static.count(network, memory, seen)
    # The context "" has all four bits: two zeros and two ones. After "b" came "b" and "a".
    memory = memory._replace(registers=memory.registers.at[0].set(2))
    nats = static.unweighted_nats(network, memory, np.array([1]))
    assert nats["backoff"][0] == pytest.approx(-np.log((1 + 0.5) / 3))
    assert nats["vote"][0] == pytest.approx(-np.log(0.5))


def test_sampling():
    memory, _ = read(TEXT)
    again = memory
    _, one = chain.sample(jax.random.key(3), NETWORK, memory, 40)
    _, other = chain.sample(jax.random.key(3), NETWORK, memory, 40)
    np.testing.assert_array_equal(one, other)
    best = []
    for _ in range(10):
        shares = chain.distribution(NETWORK, again)
        best.append(int(shares.argmax()))
        again, _ = chain.read(NETWORK, again, np.array(best[-1:]))
    for options in ({"top_p": 1e-6}, {"temperature": 0.01, "top_p": 0.5}):
        _, greedy = chain.sample(jax.random.key(4), NETWORK, memory, 10, **options)
        assert greedy.tolist()[: len(best)] == best or options.get("temperature")
    draws = [chain.sample(jax.random.key(i), NETWORK, memory, 1)[1][0] for i in range(300)]
    shares = chain.distribution(NETWORK, memory)
    often = shares.argmax()
    assert np.mean(np.array(draws) == often) == pytest.approx(shares[often], abs=0.12)


def test_bad_arguments():
    memory = counting(4)
    with pytest.raises(ValueError, match=f"outside the {V} ids"):
        chain.read(NETWORK, memory, np.array([V]))
    with pytest.raises(ValueError, match="learn=True needs an online memory"):
        chain.read(NETWORK, memory, TEXT[:3], learn=True)
    with pytest.raises(ValueError, match="log_slots=1 is out of range: give a whole number of at least 2"):
        counting(1)
    with pytest.raises(ValueError, match="room=64 is out of range: give a whole number above 64"):
        online(room=64)
    with pytest.raises(ValueError, match="unknown field or view 'token9'"):
        chain.network(TREE, PIECES, (("node", "token9"),))
    with pytest.raises(ValueError, match=f"the tree has {V} ids, but there are {V - 1} pieces"):
        chain.network(TREE, PIECES[1:])
    with pytest.raises(ValueError, match="memory_mib=1 is too few MiB for the tables of 100000 neurons"):
        chain.log_slots_for(1, 100_000)
    with pytest.raises(ValueError, match=r"at least 3 tokens.*StaticMemory and 2 tokens"):
        static.fit(jax.random.key(0), NETWORK, memory, TEXT[:2], chain.ReadoutConfig(folds=3))


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("child", "a child must come after its parent"),
        ("path", "must follow its children from the root"),
        ("kind", r"kind\[0\]=5\d\d\d is out of range: give integers of at least 0 and at most 4159"),
        ("view", r"view\[0\]=3 is out of range: give integers of at least 0 and at most 2"),
        ("text", rf"text\[0\]=-1 is out of range: give integers of at least 0 and at most {V - 1}"),
    ],
)
def test_what_would_lead_a_kernel_astray_is_refused(broken, words):
    tree, memory, view = NETWORK.tree, online(4, room=100), NETWORK.view
    if broken == "child":
        tree = tree._replace(children=jnp.asarray(tree.children).at[3, 0].set(1))
    if broken == "path":
        tree = tree._replace(bit=1 - jnp.asarray(tree.bit))
    if broken == "kind":
        tree = tree._replace(kind=jnp.asarray(tree.kind) + 5000)
    if broken == "view":
        view = view + 3
    if broken == "text":
        memory = memory._replace(text=memory.text - 1)
    network = NETWORK._replace(tree=tree, view=view)
    with pytest.raises(ValueError, match=words):
        chain.read(network, memory, TEXT[:3], learn=True)
    if backend.chosen() == "xla":
        return
    # The kernel refuses them too: inside `jit` it is the only one that sees the entries.
    with pytest.raises(jax.errors.JaxRuntimeError, match="wnn: "):
        model.read_ids(network, memory, TEXT[:3], learn=True, argmax=False, rate=0.03, block=16384)


@pytest.mark.parametrize(
    ("name", "value", "limits"),
    [
        ("gain", np.nan, "of at least -1000000000 and at most 1000000000"),
        ("offset", np.inf, "of at least -1000000000 and at most 1000000000"),
        ("gain", 1e30, "of at least -1000000000 and at most 1000000000"),
        ("gain_sum", -1.0, "of at least 0 and at most 1e+30"),
        ("offset_sum", np.nan, "of at least 0 and at most 1e+30"),
        ("match_share", 1.0, "above 0 and below 1"),
        ("match_gain", -np.inf, "of at least -1000000000 and at most 1000000000"),
        ("refined", np.nan, "of at least 0 and at most 1"),
    ],
)
def test_a_memory_with_numbers_that_no_memory_has_is_refused(name, value, limits):
    memory = online(4, room=100)
    x = np.array(getattr(memory, name))
    place = tuple(n // 2 for n in x.shape)
    x[place] = value
    where = f"{name}[{', '.join(map(str, place))}]={x[place]}"
    words = re.escape(f"{where} is out of range: give finite numbers {limits}")
    broken = memory._replace(**{name: jnp.asarray(x)})
    for call in (
        lambda: chain.read(NETWORK, broken, TEXT[:3]),
        lambda: chain.sample(jax.random.key(0), NETWORK, broken, 3),
        lambda: chain.distribution(NETWORK, broken),
        lambda: static.observe(NETWORK, broken, TEXT[:3]),
    ):
        with pytest.raises(ValueError, match=f"^{words}$"):
            call()


@pytest.mark.parametrize("name", ["temperature", "top_p", "count", "rate", "block"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1, 0, 1e38, None, "1", True])
def test_numbers_out_of_range_are_refused(name, value):
    if name == "count" and value == 0 and value is not True:
        return
    memory = online(4, room=100)
    call = functools.partial(chain.sample, jax.random.key(0), NETWORK, memory, **{"count": 1, name: value})
    if name in ("rate", "block"):
        call = functools.partial(chain.read, NETWORK, memory, TEXT[:3], learn=True, **{name: value})
    with pytest.raises(ValueError, match=rf"^{name}=.*: give a (whole|finite) number ") as refused:
        call()
    assert str(value) in str(refused.value)


@pytest.mark.parametrize("tokens", [[0.0, 1.0], [[0, 1]], "text", [None], [True], 3])
def test_what_is_no_text_is_refused(tokens):
    with pytest.raises(ValueError, match=r"^tokens has (dtype|shape) .*: give "):
        chain.read(NETWORK, counting(4), tokens)


def test_a_memory_that_was_given_away_is_refused():
    memory = online(4, room=100)
    after, _ = chain.read(NETWORK, memory, TEXT[:3], learn=True)
    with pytest.raises(ValueError, match="the memory was given away to an earlier call"):
        chain.read(NETWORK, memory, TEXT[:3], learn=True)
    assert chain.read(NETWORK, after, TEXT[:3])[1].tokens.tolist() == TEXT[:3].tolist()


def test_no_text_at_all():
    reading = chain.read(NETWORK, counting(4), [])[1]
    assert (len(reading.tokens), len(model.nats(NETWORK, reading))) == (0, 0)
    found = static.unweighted_nats(NETWORK, counting(4), TEXT[:0])
    assert [len(x) for x in found.values()] == [0, 0]


def test_settings_name_the_modes_of_the_kernel():
    callback = chain.BitCallback(lambda one: 0)
    numbers = reader.kernel_settings(counting(4), chain.ReadSettings("decoded", callback=callback))
    assert numbers["mode"] == 2
    assert numbers["log_slots"] == 4
    assert numbers["callback"] == callback.address != 0
    assert not numbers["online"]


def test_the_kernels_header_has_the_library_s_constants():
    """After a change of a constant: python metal_ext/constants.py, and build the kernels."""
    path = pathlib.Path(__file__).parents[1] / "metal_ext" / "constants.py"
    spec = importlib.util.spec_from_file_location("kernel_constants", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PATH.read_text() == script.header()
    assert f"kGainRows = {constants.GAIN_ROWS};" in script.header()


@pytest.fixture
def plain(monkeypatch):
    """Run the JAX contract instead of the native kernels; it is traced anew."""

    def switch():
        monkeypatch.setattr(backend, "chosen", lambda: "xla")
        jax.clear_caches()

    yield switch
    jax.clear_caches()


def everything(tokens):
    """Return all that a backend computes, as arrays by name."""
    memory, found = read(tokens[:160], argmax=True)
    out = {f"memory {name}": np.array(x) for name, x in memory._asdict().items()}
    out |= {"ones": np.asarray(found.ones), "best": np.asarray(found.best)}
    out["distribution"] = chain.distribution(NETWORK, memory)
    memory, out["nucleus"] = chain.sample(jax.random.key(0), NETWORK, memory, 8, 0.8, 0.7)
    memory, out["sampled"] = chain.sample(jax.random.key(1), NETWORK, memory, 8)
    counted, whole = static.observe(NETWORK, counting(4), tokens)
    counted = static.count(NETWORK, counted, whole)
    out["counts"] = np.array(counted.slots)
    part = static.part(whole, 20, 60)
    counted = static.count(NETWORK, counted, part, sign=-1)
    out["fewer"] = np.array(counted.slots)
    met = static.read_counts(NETWORK, counted, part)
    out["zeros"], out["met"] = np.asarray(met.zeros), np.asarray(met.ones)
    counted, found = chain.read(NETWORK, counted, tokens[:5], argmax=True)
    out["static"], out["static best"] = np.asarray(found.ones), np.asarray(found.best)
    return out


def test_native_equals_the_contract(plain):
    if backend.chosen() == "xla":
        pytest.skip("the native kernels are not installed")
    ours = everything(TEXT[:170])
    plain()
    wanted = everything(TEXT[:170])
    for name, want in wanted.items():
        if np.issubdtype(want.dtype, np.floating):
            np.testing.assert_allclose(ours[name], want, atol=2e-6, rtol=2e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(ours[name], want, err_msg=name)
    assert ours["counts"].any()
    assert (ours["fewer"] != ours["counts"]).any()
