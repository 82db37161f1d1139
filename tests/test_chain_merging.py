"""Counting apart, merging and forgetting give the tables of one count, to the bit, in full buckets too."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chain_texts import NETWORK, TEXT, V, stream
from hypothesis import given, settings
from hypothesis import strategies as st

from wnn_jax import chain
from wnn_jax.chain import counting, ledger, static
from wnn_jax.chain.constants import ORDERS
from wnn_jax.data import tokenizers
from wnn_jax.ram import backend

SMALL, LARGE = 4, 13  # log2 of the cells of a row: most buckets overflow, or hardly any


@functools.cache
def base(log_slots):
    """Return a model with the discounts of a text, as a fit leaves them."""
    memory, text = static.observe(NETWORK, chain.empty_static(NETWORK, log_slots), TEXT)
    memory = static.count(NETWORK, memory, text)
    return chain.ChainModel(chain.ChainConfig(), tokenizers.parse_tokenizer("bytes")(""), NETWORK, memory)


def same(one, other):
    """Compare all arrays of two models."""
    for name, want in other.memory._asdict().items():
        np.testing.assert_array_equal(getattr(one.memory, name), want, err_msg=name)
    jax.tree.map(np.testing.assert_array_equal, one.books, other.books)


spans = st.tuples(st.integers(0, 99), st.integers(0, 60)).map(lambda x: TEXT[x[0] : sum(x)].tolist())
documents = st.lists(st.lists(st.integers(0, V - 1), max_size=12) | spans, max_size=4)


@pytest.mark.parametrize("log_slots", [2, SMALL, LARGE])
@settings(deadline=None, max_examples=8)
@given(ours=documents, theirs=documents, which=st.integers(0, 9))
def test_merged_and_forgotten_models_are_those_that_counted_so(log_slots, ours, theirs, which):
    model, both = base(log_slots), [*ours, *theirs]
    merged = chain.merge(chain.count(model, ours), chain.count(model, theirs))
    same(merged, chain.count(model, both))
    if both:
        gone = both[which % len(both)]
        both.remove(gone)
        same(chain.forget(merged, gone), chain.count(model, both))


def test_a_document_is_counted_as_a_text_of_its_own():
    model = base(LARGE)
    counted = chain.count(model, [TEXT])
    np.testing.assert_array_equal(counted.memory.slots, model.memory.slots)
    parts = [TEXT[:300], TEXT[300:]]
    apart = [static.observe(NETWORK, chain.empty_static(NETWORK, LARGE), part)[1] for part in parts]
    joined = jax.tree.map(lambda *x: jnp.concatenate(x, axis=-1), *apart)
    wanted = static.count(NETWORK, chain.empty_static(NETWORK, LARGE), joined)
    found = chain.count(model._replace(memory=model.memory._replace(discounts=wanted.discounts)), parts)
    np.testing.assert_array_equal(found.memory.slots, wanted.slots)
    assert not np.array_equal(found.memory.slots, counted.memory.slots)


def test_what_a_document_drove_out_of_a_full_bucket_comes_back():
    model, rest, gone = base(SMALL), TEXT[:200], stream(150, seed=9)
    before, both = (chain.count(model, docs) for docs in ([rest], [rest, gone]))
    kept = [np.asarray(one.memory.slots)[..., 0] for one in (before, both)]
    assert (kept[0][..., -1] > 0).mean() > 0.5  # most buckets are full
    driven_out = [set(a.ravel().tolist()) - set(b.ravel().tolist()) for a, b in zip(*kept, strict=True)]
    assert sum(map(len, driven_out)) > 10
    same(chain.forget(both, gone), before)


def test_the_ledger_is_a_counter():
    hashes, tokens = np.asarray(static.observe(NETWORK, base(LARGE).memory, TEXT[:80])[1].hashes), TEXT[:80]
    held = ledger.of(hashes, tokens)
    for c in (0, ORDERS - 1, ORDERS + 3):
        longer = hashes[c + 1] if c + 1 < ORDERS else np.zeros(80, np.uint32)
        wanted: dict = {}
        for triple in zip(hashes[c].tolist(), tokens.tolist(), longer.tolist(), strict=True):
            wanted[triple] = wanted.get(triple, 0) + 1
        found = ledger.row(held, c)
        assert [*zip(found[0].tolist(), found[2].tolist(), found[1].tolist(), strict=True)] == sorted(wanted)
        assert dict(zip(sorted(wanted), found[3].tolist(), strict=True)) == wanted
        pairs = ledger.followers(found, continued=True)
        assert pairs[2].sum() == len(wanted)


def test_nothing_is_left_of_the_only_document():
    model = base(LARGE)
    empty = chain.forget(chain.count(model, [TEXT]), TEXT)
    same(empty, chain.count(model, []))
    assert not np.asarray(empty.memory.slots).any()
    assert not any(np.asarray(x).any() for x in jax.tree.leaves(empty.books))
    twice = chain.forget(chain.count(model, [TEXT[:50], TEXT[:50]]), TEXT[:50])
    same(twice, chain.count(model, [TEXT[:50]]))


def test_the_models_stand_at_the_beginning_of_a_text():
    model = chain.count(base(LARGE), [TEXT[:99]])
    read = model._replace(memory=static.stand_after(NETWORK, model.memory, TEXT[:40]))
    for found in (chain.count(read, [TEXT[:99]]), chain.merge(read, chain.count(model, []))):
        same(found, model)
    same(chain.forget(chain.merge(read, chain.count(model, [TEXT[:9]])), TEXT[:9]), model)


def test_forgetting_by_the_kernel_is_counting_anew(monkeypatch):
    if backend.chosen() == "xla":
        pytest.skip("the native kernels are not installed")
    docs = [TEXT[:150], TEXT[100:160], stream(40, seed=3)]
    counted = chain.count(base(SMALL), docs)
    ours = chain.forget(counted, docs[1])
    monkeypatch.setattr(backend, "chosen", lambda: "xla")
    same(chain.forget(counted, docs[1]), ours)
    with pytest.raises(ValueError, match="did not count"):
        chain.forget(ours, docs[1])


@pytest.mark.parametrize("donate", [False, True])
def test_tables_are_given_away_only_on_request(donate):
    counted = chain.count(base(SMALL), [TEXT[:100], TEXT[100:130]])
    with pytest.raises(ValueError, match=r"did not count this document: .* order 1 of Kneser-Ney"):
        chain.forget(counted, stream(30, seed=11), donate=donate)
    wanted = chain.count(base(SMALL), [TEXT[:100]])
    same(chain.forget(counted, TEXT[100:130], donate=donate), wanted)
    if not donate:
        same(chain.forget(counted, TEXT[100:130]), wanted)


def other_readout(model):
    return model._replace(memory=model.memory._replace(weights=model.memory.weights + 1))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: chain.merge(m, base(SMALL)), "has no ledger"),
        (lambda m: chain.forget(base(SMALL), TEXT[:9]), "has no ledger"),
        (lambda m: chain.merge(m, other_readout(m)), "differ in their weights"),
        (lambda m: chain.merge(m, chain.count(base(LARGE), [])), "differ in their size of the tables"),
        (lambda m: chain.count(m, [[V]]), f"token {V} at place 0"),
        (lambda m: chain.forget(m, TEXT[1:50]), "did not count this document"),
        (lambda m: chain.count(m._replace(memory=chain.empty_static(NETWORK, SMALL)), []), "no discounts"),
        (lambda m: chain.count(m._replace(memory=chain.empty_online(NETWORK, SMALL)), []), "an online model"),
    ],
)
def test_what_cannot_be_exact_is_refused(call, words):
    model = chain.count(base(SMALL), [TEXT[:50]])
    with pytest.raises(ValueError, match=words):
        call(model)
    same(model, chain.count(base(SMALL), [TEXT[:50]]))


PROCESS = """
import hashlib, json, sys
import jax
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
if int(sys.argv[2]) > 1:
    jax.distributed.initialize(sys.argv[3], int(sys.argv[2]), int(sys.argv[4]))
import numpy as np
import test_chain_merging as tests
found = {"devices": len(jax.devices())}
for log_slots in (tests.SMALL, tests.LARGE):
    found[str(log_slots)] = tests.digest_of(tests.shared(log_slots))
print(json.dumps(found))
"""


def shared(log_slots):
    """Count on all devices of all processes."""
    memory, text = static.observe(NETWORK, chain.empty_static(NETWORK, log_slots), TEXT)
    memory = static.count(NETWORK, memory, text, counting.mesh())
    model = base(log_slots)._replace(memory=memory)
    return chain.count(model, [TEXT[:100], TEXT[300:420]], counting.mesh())


def digest_of(model):
    from wnn_jax.saving.progress import digest

    return digest(*jax.tree.leaves((model.memory, model.books)))


def processes(devices, count):
    """Count in ``count`` processes with some devices each, and return what each of them found."""
    root = pathlib.Path(__file__).parents[1]
    port = 40_000 + os.getpid() % 20_000 + count
    path = os.pathsep.join([str(root), str(root / "tests"), os.environ.get("PYTHONPATH", "")])
    numbers = [str(devices), str(count), f"127.0.0.1:{port}"]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, *numbers, str(i)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": path},
        )
        for i in range(count)
    ]
    ended = [one.communicate(timeout=400) for one in running]
    for one, (_, errors) in zip(running, ended, strict=True):
        assert one.returncode == 0, errors[-2000:]
    return [json.loads(output.splitlines()[-1]) for output, _ in ended]


@pytest.mark.long
@pytest.mark.parametrize(("devices", "count"), [(3, 1), (1, 2), (2, 2), (1, 4)])
def test_devices_and_processes_count_the_same_tables(devices, count):
    wanted = {str(n): digest_of(shared(n)) for n in (SMALL, LARGE)}
    for found in processes(devices, count):
        assert found == {"devices": devices * count, **wanted}
