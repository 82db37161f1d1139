"""The associative memory as a user holds it: any keys, any number of rows, NumPy in and out."""

import ast
import dataclasses
import importlib.util
import pathlib
import sys

import jax
import numpy as np
import pytest

from wnn_jax import eam
from wnn_jax.data import streams, text, tokenizers
from wnn_jax.eam import associative, memory, studies

KEY = jax.random.key(0)


def some(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 8)) * 3, rng.normal(size=(count, 5))


def cosine(x, y):
    return ((x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)).mean()


@pytest.fixture(scope="module")
def written():
    keys, values = some(300)
    blank = eam.create(KEY, eam.MemoryConfig(nearest=1), keys, locations=300, width=5)
    return blank, eam.write(blank, keys, values)


def test_write_and_read():
    keys, values = some(300)
    memory = eam.create(KEY, eam.MemoryConfig(nearest=1), keys, locations=300, width=5)
    memory = eam.write(memory, keys, values)
    read = eam.read(memory, keys)
    assert isinstance(read, np.ndarray)
    assert read.dtype == np.float32
    assert cosine(read, values) > 0.99
    assert cosine(read[1:], values[:-1]) < 0.2


def test_a_write_leaves_the_old_memory_as_it_was(written):
    blank, after = written
    keys = some(300)[0]
    assert not eam.read(blank, keys).any()
    assert eam.read(after, keys).any(1).all()


@pytest.mark.parametrize("count", [1, 31, 33])
def test_rows_are_read_alike_whatever_comes_with_them(written, count):
    keys = some(300)[0]
    whole = eam.read(written[1], keys)
    np.testing.assert_allclose(eam.read(written[1], keys[:count]), whole[:count], rtol=1e-5, atol=1e-6)
    # The length of a key has no effect.
    np.testing.assert_allclose(eam.read(written[1], 7 * keys[:count]), whole[:count], rtol=1e-4, atol=1e-5)


def test_no_length_compiles_anew(written):
    for count in (1, 33):
        eam.write(written[0], *some(count))
        eam.read(written[1], some(count)[0])
    sizes = associative._write._cache_size(), associative._read._cache_size()
    for count in (2, 7, 32, 40, 1024, 1030):
        eam.write(written[0], *some(count))
        eam.read(written[1], some(count)[0])
    assert (associative._write._cache_size(), associative._read._cache_size()) == sizes


def test_padding_writes_nothing(written):
    blank = written[0]
    keys, values = (np.asarray(x, np.float32) for x in some(20, seed=1))
    units = keys / np.linalg.norm(keys, axis=1, keepdims=True)
    plain = jax.jit(memory.write, static_argnums=0)(blank.config, blank.store, units, values)
    for x, y in zip(eam.write(blank, keys, values).store, plain, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
    zeros = eam.write(blank, np.zeros((3, 8)), np.ones((3, 5))).store
    for x, y in zip(zeros, blank.store, strict=True):
        np.testing.assert_array_equal(x, y)


def test_no_rows_are_fine(written):
    nothing = np.zeros((0, 8)), np.zeros((0, 5))
    assert eam.read(written[1], nothing[0]).shape == (0, 5)
    assert eam.write(written[1], *nothing).store is written[1].store


def test_two_memories_become_one(written):
    keys, values = some(300)
    both = eam.merge(eam.write(written[0], keys[:150], values[:150]), written[0])
    assert int(both.store.used) == 600
    with pytest.raises(ValueError, match="different configs"):
        eam.merge(both, both._replace(config=eam.MemoryConfig()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, k, v: eam.read(m, k[:, :7]), r"keys must have the shape \[N, 8\], got \[300, 7\]"),
        (lambda m, k, v: eam.read(m, k[0]), r"keys must have the shape \[N, 8\], got \[8\]"),
        (lambda m, k, v: eam.write(m, k, v[:, :4]), r"values must have the shape \[N, 5\], got \[300, 4\]"),
        (lambda m, k, v: eam.write(m, k, v[:9]), "300 keys and 9 values"),
        (lambda m, k, v: eam.write(m, k * np.nan, v), "keys must be finite, got 300 rows that are not"),
        (lambda m, k, v: eam.create(KEY, m.config, k, locations=301, width=5), "must be 1 to 300, got 301"),
        (lambda m, k, v: eam.create(KEY, m.config, k, locations=0, width=5), "got 0"),
        (
            lambda m, k, v: eam.create(KEY, m.config, k, locations=9, width=0),
            "width=0 is out of range: give a whole number of at least 1",
        ),
        (
            lambda m, k, v: eam.MemoryConfig(nearest=0),
            "nearest=0 is out of range: give a whole number of at least 1",
        ),
        (
            lambda m, k, v: eam.MemoryConfig(eta=2.0),
            "eta=2.0 is out of range: give a finite number of at most 1",
        ),
        (
            lambda m, k, v: eam.MemoryConfig(damping=0.0),
            r"damping=0\.0 is out of range: give a finite number above 0",
        ),
        (
            lambda m, k, v: eam.MemoryConfig(grow=-1),
            "grow=-1 is out of range: give a whole number of at least 0",
        ),
    ],
)
def test_bad_rows_are_refused(written, call, message):
    with pytest.raises(ValueError, match=message):
        call(written[1], *some(300))


def imported(module, seen):
    """Return the names of all packages that a module imports, itself or through modules of wnn_jax."""
    names = {module, module.rpartition(".")[0] or module}
    if module in seen:
        return set()
    seen.add(module)
    for node in ast.parse(pathlib.Path(importlib.util.find_spec(module).origin).read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    inside = {name for name in names if name.split(".")[0] == "wnn_jax" and is_module(name)}
    outside = {name.split(".")[0] for name in names} - {"wnn_jax"}
    return outside.union(*(imported(name, seen) for name in inside))


def is_module(name):
    path = pathlib.Path(eam.__file__).parents[2].joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def test_the_core_packages_are_enough():
    core = {"jax", "numpy", "optax", "orbax"}
    found = imported("wnn_jax.eam", set()) - set(sys.stdlib_module_names)
    assert {"jax", "optax"} <= found <= core


SIZES = eam.TrunkConfig(width=16, layers=1, heads=2, expand=2)
BRIEF = eam.LearningConfig(rate=1e-2, batch=8, epochs=2)
TINY = eam.EamConfig(
    vocabulary=9,
    window=8,
    teacher=SIZES,
    encoder=SIZES,
    keys=4,
    hidden=8,
    patterns=20.0,
    batch=32,
    teaching=BRIEF,
    encoding=BRIEF,
    decoding=BRIEF,
    joining=BRIEF,
)
WINDOWS = streams.cut(np.tile(np.arange(9), 60), 8)


@pytest.mark.long
def test_a_language_model_of_a_memory_and_its_resuming(tmp_path):
    whole = eam.fit(KEY, TINY, WINDOWS)
    scores = eam.score(eam.predictor(whole, "teacher"), WINDOWS)
    assert scores.nats.mean() < 0.7 * np.log(9)
    gate = eam.fit_mixture(eam.predictor(whole), WINDOWS[:30])
    mixed = eam.score_with_neighbours(eam.predictor(whole), gate, WINDOWS[30:])
    assert mixed.error < 1e-4
    np.testing.assert_allclose(
        mixed.model.nats, eam.score(eam.predictor(whole), WINDOWS[30:]).nats, rtol=1e-5
    )
    steps, dead = [], []

    def killed(step):
        """Kill every stage once, after a part of it is done."""
        steps.append(step.stage)
        if 0 < step.done < step.total and step.stage not in dead:
            dead.append(step.stage)
            raise KeyboardInterrupt

    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            eam.fit(KEY, TINY, WINDOWS, resume=tmp_path, on_step=killed)
    assert sorted(dead) == ["decoder", "encoder", "memory", "student", "teacher"]
    resumed = eam.fit(KEY, TINY, WINDOWS, resume=tmp_path, on_step=killed)
    for part in ("teacher", "store", "published", "repaired"):
        jax.tree.map(np.testing.assert_array_equal, getattr(whole, part), getattr(resumed, part))
    steps.clear()
    loaded = eam.fit(KEY, TINY, WINDOWS, resume=tmp_path, on_step=killed)
    assert not steps, "a stage that is saved whole was begun again"
    jax.tree.map(np.testing.assert_array_equal, whole.repaired, loaded.repaired)
    others = (jax.random.key(1), TINY, WINDOWS), (KEY, dataclasses.replace(TINY, patterns=30.0), WINDOWS)
    for other, name in zip((*others, (KEY, TINY, WINDOWS[1:])), ("seed", "config", "tokens"), strict=True):
        with pytest.raises(ValueError, match=rf"differs in {name}.*: choose another folder"):
            eam.fit(*other, resume=tmp_path)

    texts = eam.EamTexts(WINDOWS, WINDOWS[:30], WINDOWS[30:])
    parts = {part.name: part for part in eam.compare(whole, texts)}
    np.testing.assert_allclose(parts["EAM + kNN"].nats, mixed.mixture.nats, rtol=1e-5)
    assert parts["EAM + kNN, oracle: not a model"].best is None
    packed = eam.pack(TINY.student(repaired=True), whole.student())
    assert parts["EAM, int8 and back"].about["model_bytes"] == len(packed)
    subject = studies.prepare(KEY, whole, texts)
    assert studies.compare_merged(subject)["all at once"] == studies.recall(subject, whole.store)


def test_parts_of_a_corpus():
    tokenizer = tokenizers.parse_tokenizer("bytes")("")
    corpus = text.Corpus(np.arange(200), np.arange(0), np.arange(100), tokenizer, "numbers")
    texts = eam.cut_texts(corpus, 8, eam.Amounts(train=170, tail=50, scored=30))
    # Without a validation split, the last tenth of the training text chooses the settings.
    for part, first, last in zip(texts, (0, 153, 0), (152, 169, 24), strict=True):
        np.testing.assert_array_equal(streams.stream(part), np.arange(first, last + 1))
    other = eam.cut_texts(corpus._replace(validation=np.arange(50, 80)), 8, eam.Amounts(170, 20, 30))
    np.testing.assert_array_equal(streams.stream(other.tail), np.arange(50, 67))
    assert len({texts.digest(), other.digest(), texts._replace(tail=other.tail).digest()}) == 3
    with pytest.raises(ValueError, match="8 tokens hold no window of 8"):
        eam.cut_texts(corpus, 8, eam.Amounts(170, 50, 8))


def test_how_much_of_a_teacher_is_kept():
    assert eam.transfer(3.0, teacher=2.0, unigram=4.0) == (0.5, 0.5)
    assert eam.transfer(2.0, teacher=2.0, unigram=4.0) == (1.0, 1.0)
    nats = np.repeat([1.0, 2.0, 3.0, 9.0], [100, 100, 100, 50])  # the rest fills no block and does not count
    mean, error = eam.difference(nats, np.ones(350))
    assert mean == pytest.approx((100 + 200 + 400) / 350)
    assert error == pytest.approx(1 / np.sqrt(3))
    assert np.isnan(eam.difference(nats[:150], np.ones(150)).error)


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        (WINDOWS[:, 1:], r"windows must have the shape \[N, 9\] with at least one row, got \[67, 8\]"),
        (WINDOWS + 1, r"ids must be 0 to 8 \(vocabulary 9\), got 1 to 9"),
    ],
)
def test_bad_windows_are_refused(windows, message):
    with pytest.raises(ValueError, match=message):
        eam.fit(KEY, TINY, windows)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"keys": 17}, "at most the teacher's width, 16, got 17"),
        ({"patterns": 0.0}, r"patterns=0\.0 is out of range: give a finite number above 0"),
        ({"start": "grid"}, "unknown start 'grid': choose one of kmeans, random"),
    ],
)
def test_bad_configs_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **values)
    with pytest.raises(
        ValueError, match=r"rate=0\.0 is out of range: give a finite number above 0 and at most 1"
    ):
        eam.LearningConfig(rate=0.0, batch=1, epochs=1)
