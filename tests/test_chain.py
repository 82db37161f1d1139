"""The chain model: it equals its oracle on every backend, is causal and sums to one."""

import functools
import importlib.util
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chain_reference import Oracle
from chain_texts import NETWORK, PIECES, TEXT, TREE, V

from wnn_jax import chain
from wnn_jax.chain import constants, model, reader
from wnn_jax.chain.config import SETS
from wnn_jax.ram import backend

LOG_SLOTS = 12
RULES = (
    chain.WritingConfig(),
    chain.WritingConfig(repetition_penalty=2.0, repetition_window=9, top_p=0.9, min_p=0.02, temperature=1.3),
)


# Models of few neurons and sets.
MATCHED = (*chain.WORDS[:6], "node expected expected_strength", "node punctuation since_quote")
FEW = chain.network(TREE, PIECES, MATCHED, ("one", "class9", "kind"))
PARTED = chain.network(TREE, PIECES, chain.WORDS[:12], ("one", "kind_class", "kind", "shape_depth"))


def online(log_slots=LOG_SLOTS, room=500, network=NETWORK, **parts):
    return chain.empty_online(network, log_slots, room=room, **parts)


def counting(log_slots=LOG_SLOTS):
    return chain.empty_static(NETWORK, log_slots)


def read(tokens, memory=None, network=NETWORK, **options):
    memory = online() if memory is None else memory
    return chain.read(network, memory, tokens, **{"learn": True, "block": 1024, **options})


def copied(memory):
    return jax.tree.map(jnp.array, memory)


def test_the_text_has_both_kinds_of_paths():
    assert 0 < TREE.spelled.sum() < len(TREE.spelled)
    assert (np.diff(TREE.start) > 0).all()


@pytest.mark.parametrize(
    ("network", "lists", "runs"),
    [(NETWORK, True, True), (PARTED, True, False), (FEW, False, False)],
    ids=["all", "without runs", "few"],
)
def test_equals_the_oracle(network, lists, runs):
    """There are enough cells that none is replaced; the ring of the text wraps around twice."""
    tokens = TEXT[:420]
    described = MATCHED if network is FEW else chain.WORDS[: network.view.shape[0]]
    sets = [SETS[k] for k in network.sets.tolist()]
    oracle = Oracle(TREE, PIECES, described, sets, 200, 12 if lists else None, runs)
    wanted = [oracle.read(int(token)) for token in tokens]
    memory = online(16, room=200, network=network, lists=lists, runs=runs)
    ones = np.asarray(read(tokens, memory, network)[1].ones)
    for token, row, want in zip(tokens, ones, wanted, strict=True):
        np.testing.assert_allclose(row[: len(want)], want, atol=3e-5, err_msg=f"token {token}")
        assert not row[len(want) :].any()


def test_a_distribution_wherever_it_is_asked_for():
    learnt, _ = read(TEXT[:200])
    for memory in (learnt, online()):
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
    for name, x in before._asdict().items():
        same = np.array_equal(getattr(moved, name), x)
        assert same == (name not in ("text", "match_table", "position", "registers", "followed", "line")), (
            name
        )
    # The memory that was given is unchanged.
    jax.tree.map(np.testing.assert_array_equal, memory, before)


def test_learning_helps_and_forgets_what_changed():
    nats = chain.nats(NETWORK, read(np.concatenate([TEXT, TEXT]))[1])
    assert nats[len(TEXT) :].mean() < 0.5 * nats[: len(TEXT)].mean()


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
    for writing in (chain.WritingConfig(top_p=1e-6), chain.WritingConfig(top_k=1)):
        _, greedy = chain.sample(jax.random.key(4), NETWORK, memory, 10, writing)
        assert greedy.tolist() == best
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
    with pytest.raises(ValueError, match="room=80 is out of range: give a whole number above 80"):
        online(room=80)
    with pytest.raises(ValueError, match=r"lists has 0 lists for a neuron: give a power of two up to 2\^26"):
        chain.read(NETWORK, online(4)._replace(lists=jnp.zeros((24, 0, 8), jnp.uint32)), TEXT[:3])
    with pytest.raises(ValueError, match="unknown view or field 'token9'"):
        chain.network(TREE, PIECES, ("node token9",))
    with pytest.raises(ValueError, match="unknown set of weights 'kinds'"):
        chain.network(TREE, PIECES, sets=("one", "kinds"))
    with pytest.raises(ValueError, match=f"the tree has {V} ids, but there are {V - 1} pieces"):
        chain.network(TREE, PIECES[1:])
    with pytest.raises(ValueError, match="memory_mib=1 is too few MiB for the tables of 100000 neurons"):
        chain.log_slots_for(1, 100_000, 16)


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
        model.read_ids(network, memory, TEXT[:3], learn=True, argmax=False, block=16384)


@pytest.mark.parametrize(
    ("name", "value", "limits"),
    [
        ("weights", np.nan, "of at least -1000000000 and at most 1000000000"),
        ("weights", 1e30, "of at least -1000000000 and at most 1000000000"),
        ("finals", -np.inf, "of at least -1000000000 and at most 1000000000"),
        ("sums", -1.0, "of at least 0 and at most 1e+30"),
        ("recent", np.nan, "of at least 0 and at most 1e+30"),
        ("maps", np.inf, "of at least 0 and at most 1e+30"),
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
    ):
        with pytest.raises(ValueError, match=f"^{words}$"):
            call()


@pytest.mark.parametrize("name", ["count", "block"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1, 0, 1e38, None, "1", True])
def test_numbers_out_of_range_are_refused(name, value):
    if name == "count" and value == 0 and value is not True:
        return
    memory = online(4, room=100)
    call = functools.partial(chain.sample, jax.random.key(0), NETWORK, memory, **{"count": 1, name: value})
    if name == "block":
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


def test_a_small_integer_of_numpy_counts_as_any_other():
    """`np.int8` holds no block of 128 tokens."""
    memory = online(4, room=100)
    draws = [chain.sample(jax.random.key(3), NETWORK, memory, count)[1] for count in (np.int8(5), 5)]
    np.testing.assert_array_equal(*draws)


def test_settings_name_the_modes_of_the_kernel():
    callback = chain.BitCallback(lambda one: 0)
    numbers = reader.kernel_settings(counting(4), chain.ReadSettings("decoded", callback=callback))
    assert numbers["mode"] == 2
    assert numbers["log_slots"] == 4
    assert numbers["callback"] == callback.address != 0


def test_the_kernels_header_has_the_library_s_constants():
    """After a change of a constant: python metal_ext/constants.py, and build the kernels."""
    path = pathlib.Path(__file__).parents[1] / "metal_ext" / "constants.py"
    spec = importlib.util.spec_from_file_location("kernel_constants", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PATH.read_text() == script.header()
    assert f"kMapStates = {constants.MAP_STATES};" in script.header()


@pytest.fixture
def plain(monkeypatch):
    """Run the JAX contract instead of the native kernels; it is traced anew."""

    def switch():
        monkeypatch.setattr(backend, "chosen", lambda: "xla")
        jax.clear_caches()

    yield switch
    jax.clear_caches()


def numbers_of(memory, found):
    return {**{f"memory {name}": np.array(x) for name, x in memory._asdict().items()}, "ones": found.ones}


def everything():
    """Return all that a backend computes, as arrays by name."""
    memory, found = read(TEXT[:160], argmax=True)
    out = numbers_of(memory, found) | {"best": np.asarray(found.best)}
    out["distribution"] = chain.distribution(NETWORK, memory)
    for number, writing in enumerate(RULES):
        memory, out[str(writing)] = chain.sample(jax.random.key(number), NETWORK, memory, 12, writing)
    return out


def aged(network, **parts):
    """Return a memory in which the 16 bits of a cell's time are about to wrap around."""
    memory = online(2, room=90, network=network, **parts)
    return memory._replace(position=memory.position.at[0].set((1 << 18) - 100))


def small(network, **parts):
    """Read on with one bucket for all contexts of a neuron, and with a short ring."""
    memory, found = read(TEXT[:300], aged(network, **parts), network)
    assert (np.asarray(memory.slots)[..., 0] > 0).any(axis=(1, 2)).all()
    return numbers_of(memory, found)


@pytest.mark.parametrize(
    "compute",
    [
        everything,
        functools.partial(small, PARTED, runs=False),
        functools.partial(small, FEW, lists=False, runs=False),
    ],
    ids=["everything", "without runs", "few"],
)
def test_native_equals_the_contract(plain, compute):
    if backend.chosen() == "xla":
        pytest.skip("the native kernels are not installed")
    ours = compute()
    plain()
    wanted = compute()
    for name, want in wanted.items():
        if np.issubdtype(want.dtype, np.floating):
            np.testing.assert_allclose(ours[name], want, atol=2e-6, rtol=2e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(ours[name], want, err_msg=name)


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same_bits(threads, monkeypatch):
    if backend.chosen() == "xla":
        pytest.skip("the native kernels are not installed")
    wanted = everything() | small(PARTED)
    monkeypatch.setenv("WNN_JAX_THREADS", str(threads))
    ours = everything() | small(PARTED)
    for name, want in wanted.items():
        np.testing.assert_array_equal(ours[name], want, err_msg=name)


@pytest.mark.parametrize("threads", ["0", "17", "two", "-1", "1.5"])
def test_a_number_of_threads_out_of_range_is_refused(threads, monkeypatch):
    monkeypatch.setenv("WNN_JAX_THREADS", threads)
    with pytest.raises(
        ValueError, match=f"^WNN_JAX_THREADS='{threads}' is no number of threads: use 1 to 16$"
    ):
        read(TEXT[:3])
