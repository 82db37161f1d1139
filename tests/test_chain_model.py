"""Chain models in Python's own types: fit, score, generate, save, resume, compress."""

import dataclasses
import pathlib
import tarfile

import hostile
import jax
import numpy as np
import pytest
from chain_texts import text_of_words

from wnn_jax import chain
from wnn_jax.data import text
from wnn_jax.saving.progress import Progress

QUICK = chain.ChainConfig(
    neurons=chain.BYTES, memory_mib=6, chunk=512, readout=chain.ReadoutConfig(folds=3, tokens=900, epochs=1)
)
GOLDEN = pathlib.Path(__file__).parent / "golden" / "chain_edition_1.tar.xz"


def config_of(mode):
    return dataclasses.replace(QUICK, mode=mode)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return text_of_words(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def corpus(words):
    return text.load(words)


@pytest.fixture(scope="module", params=["static", "online"])
def model(request, corpus):
    return chain.fit(jax.random.key(0), config_of(request.param), corpus)


def test_a_model_of_a_text_in_four_lines(words):
    corpus = text.load(words)
    model = chain.fit(jax.random.key(0), config_of("online"), corpus)
    nats = chain.score(model, "read of cells and tables").nats
    written = chain.generate(jax.random.key(1), model, "The game", 200)
    assert nats.shape == (24,)
    assert 0 < nats.mean() < 3
    assert written.startswith("The game")
    assert len(written.encode()) >= 208


def test_bytes_and_back_in_two_lines(corpus):
    data = corpus.train[:600].astype(np.uint8).tobytes()
    packed = chain.compress(data)
    assert chain.decompress(packed) == data
    assert len(packed) < len(data)


def test_a_model_is_not_changed_by_what_is_asked_of_it(model, corpus):
    before = jax.tree.map(np.array, model.memory)
    found = chain.score(model, corpus.test, argmax=True)
    again = chain.score(model, corpus.test)
    np.testing.assert_array_equal(found.nats, again.nats)
    assert np.isfinite(found.nats).all()
    assert np.mean(found.best == corpus.test) > 0.5
    assert (again.best == -1).all()
    nucleus = chain.WritingConfig(top_p=0.9)
    one = chain.generate(jax.random.key(2), model, "bits ", 70, nucleus)
    assert one == chain.generate(jax.random.key(2), model, "bits ", 70, nucleus)
    jax.tree.map(np.testing.assert_array_equal, model.memory, before)
    # The model that is returned has read the text; an online model has also learnt it.
    second = chain.score(found.model, corpus.test[:300]).nats.mean()
    first = chain.score(model, corpus.test[:300]).nats.mean()
    learnt = not np.array_equal(found.model.memory.slots, before.slots)
    assert learnt == (model.config.mode == "online")
    assert second < first or not learnt


def test_the_end_of_one_text_is_the_start_of_the_next(model, corpus):
    whole = chain.score(model, corpus.test[:400]).nats
    first = chain.score(model, corpus.test[:150])
    rest = chain.score(first.model, corpus.test[150:400], donate=True)
    np.testing.assert_array_equal(np.concatenate([first.nats, rest.nats]), whole)


def test_scores_of_a_text_are_those_of_its_bytes(model):
    data = "bits and cells"
    ids = np.frombuffer(data.encode(), np.uint8)
    np.testing.assert_array_equal(chain.score(model, data).nats, chain.score(model, ids).nats)
    with pytest.raises(ValueError, match="outside the 256 ids"):
        chain.score(model, [300])


def test_fit_then_score_is_evaluate_and_a_stopped_run_ends_the_same(model, corpus, tmp_path):
    config, key = model.config, jax.random.key(0)
    steps = []
    whole = chain.evaluate(key, config, corpus, on_step=steps.append)
    np.testing.assert_array_equal(whole.nats, chain.score(model, corpus.test).nats)
    assert steps[-1] == ("scoring", len(corpus.test), len(corpus.test))
    assert steps[0].stage == ("fitting" if config.mode == "static" else "reading")

    def stop(step):
        if step.stage == "scoring":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        chain.evaluate(key, config, corpus, resume=tmp_path / "run", save_every=1, on_step=stop)
    later = []
    resumed = chain.evaluate(key, config, corpus, resume=tmp_path / "run", save_every=1, on_step=later.append)
    assert {step.stage for step in later} == {"scoring"}
    np.testing.assert_array_equal(resumed.nats, whole.nats)
    jax.tree.map(np.testing.assert_array_equal, resumed.model.memory, whole.model.memory)
    assert resumed.seconds > 0
    with pytest.raises(ValueError, match="other work, which differs in seed"):
        chain.evaluate(jax.random.key(1), config, corpus, resume=tmp_path / "run")
    shorter = corpus._replace(test=corpus.test[:-1])
    with pytest.raises(ValueError, match=r"other work, which differs in argmax .*, test"):
        chain.evaluate(key, config, shorter, argmax=True, resume=tmp_path / "run")


def test_a_saved_model_is_the_same_model(model, words, corpus, tmp_path):
    chain.save(tmp_path / "model", model, words, {"ce": 1.0})
    found = chain.load(tmp_path / "model")
    assert found.config == model.config
    np.testing.assert_array_equal(
        chain.score(found, corpus.test[:50]).nats, chain.score(model, corpus.test[:50]).nats
    )
    later = tmp_path / "later"
    path = chain.save(later, model, words)
    hostile.resealed(path, lambda about: about["about"]["config"].update(edition=9))
    with pytest.raises(ValueError, match="edition 9, but this wnn_jax reads edition 6"):
        chain.load(later)


@pytest.mark.parametrize("model", ["static"], indirect=True)
def test_a_saved_model_keeps_its_books(model, words, corpus, tmp_path):
    gone = corpus.test[:40]
    counted = chain.count(model, [corpus.train[:90], gone])
    chain.save(tmp_path / "model", counted, words)
    loaded = chain.load(tmp_path / "model")
    jax.tree.map(np.testing.assert_array_equal, loaded.books, counted.books)
    one, other = (chain.forget(x, gone).memory for x in (loaded, counted))
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("mode", ["static", "online"])
def test_a_model_with_other_cells_is_refused_by_its_edition(tmp_path, mode):
    with tarfile.open(GOLDEN) as file:
        # Python before 3.11.4 has no filters.
        file.extraction_filter = getattr(tarfile, "data_filter", None)
        file.extractall(tmp_path)
    with pytest.raises(ValueError, match="edition 1, which this wnn_jax cannot continue: it reads edition 6"):
        chain.load(tmp_path / mode)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mode": "both"}, "unknown mode 'both': choose one of static, online"),
        ({"tree": "oak"}, "unknown tree 'oak'"),
        ({"without": ("token9",)}, "without=token9 is not a field or view"),
        ({"without": ("node", "byte", "bytes3")}, "leaves no context neuron"),
        (
            {"memory_mib": 0},
            "memory_mib=0 is out of range: give a whole number of at least 1 and at most 1048576",
        ),
        ({"chunk": 0}, "chunk=0 is out of range: give a whole number of at least 1 and at most 4194304"),
        ({"rare": -1}, "rare=-1 is out of range: give a whole number of at least 0"),
        ({"neurons": ()}, "no neuron is described"),
        ({"neurons": ("node token9",)}, "unknown view or field 'token9'"),
        (
            {"neurons": ("node", "node token1 expected"), "mode": "static"},
            "a static model has no matches, but a neuron observes expected: name it in without",
        ),
        ({"sets": ("kind", "one")}, "sets=kind,one must begin with one, and name each once"),
        ({"sets": ("one", "kinds")}, "sets=one,kinds must begin with one, and name each once"),
        ({"chunk": 2.5}, "chunk=2.5 is not a whole number: give a whole number of at least 1"),
    ],
)
def test_a_config_refuses_what_makes_no_model(values, words):
    with pytest.raises(ValueError, match=words):
        chain.ChainConfig(**values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"folds": 1}, "folds=1"),
        ({"epochs": 0}, "epochs=0 is out of range: give a whole number of at least 1"),
        ({"decay": 1e30}, "decay must be at most 1 / step_size, got 1e.30 and 0.001"),
        ({"tokens": 4}, "got 4 tokens for 5 folds"),
        ({"step_size": 0.0}, "step_size=0.0 is out of range: give a finite number above 0 and at most 1"),
    ],
)
def test_a_readout_refuses_what_trains_nothing(values, words):
    with pytest.raises(ValueError, match=words):
        chain.ReadoutConfig(**values)


def test_fitting_continues_where_it_was_saved(corpus, tmp_path):
    config, key = config_of("online"), jax.random.key(0)
    first = chain.fit(key, config, corpus, resume=tmp_path / "run")
    steps = []
    again = chain.fit(key, config, corpus, resume=tmp_path / "run", on_step=steps.append)
    assert steps == []
    jax.tree.map(np.testing.assert_array_equal, again.memory, first.memory)


@pytest.mark.parametrize("saves", [2, 4])
def test_a_fit_that_was_stopped_between_rounds_ends_the_same(corpus, tmp_path, monkeypatch, saves):
    readout = chain.ReadoutConfig(folds=3, tokens=900, epochs=2)
    config, key = dataclasses.replace(config_of("static"), readout=readout), jax.random.key(0)
    whole = chain.fit(key, config, corpus)
    save = Progress.save

    def stopping(self, arrays, data):
        save(self, arrays, data)
        if max(int(x.name) for x in (self.folder / "steps").iterdir()) == saves:
            raise InterruptedError

    monkeypatch.setattr(Progress, "save", stopping)
    nothing = corpus._replace(test=corpus.test[:0])
    where = {"resume": tmp_path / "run", "save_seconds": 0.0}
    with pytest.raises(InterruptedError):
        chain.evaluate(key, config, nothing, **where)
    monkeypatch.setattr(Progress, "save", save)
    steps = []
    resumed = chain.evaluate(key, config, nothing, **where, on_step=steps.append)
    assert len(steps) == 4  # the folds, which are counted again, and the end
    jax.tree.map(np.testing.assert_array_equal, resumed.model.memory, whole.memory)


def test_the_cost_of_training_is_measured_on_growing_texts(corpus):
    config = config_of("static")
    network = chain.build(config, corpus)
    cost = chain.training_cost(config, network, corpus.train[:2000], points=2)
    assert cost.tokens == [1000, 2000]
    assert set(cost.microseconds) == {"static: counts", "online"}
    assert all(len(times) == 2 and min(times) > 0 for times in cost.microseconds.values())
    with pytest.raises(ValueError, match="3 tokens cannot be halved 2 times"):
        chain.training_cost(config, network, corpus.train[:3], points=3)


def test_counts_alone_are_asked_of_a_static_model(model, corpus):
    if model.config.mode == "online":
        with pytest.raises(ValueError, match="unweighted needs a static model"):
            chain.unweighted(model, corpus)
        return
    found = chain.unweighted(model, corpus)
    assert set(found) == {"vote", "backoff"}
    assert all(len(nats) == len(corpus.test) and (nats > 0).all() for nats in found.values())
