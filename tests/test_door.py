"""The library as a new user meets it: every room in a few lines, and three files that a user would write."""

import pathlib
import runpy
import tempfile

import jax
import numpy as np
import pytest
from snippets import door

import wnn_jax as wnn

FOLDER = pathlib.Path(__file__).parent / "snippets"


def run(code, most, **names):
    """Run code of at most a number of lines, and return the names that it defines."""
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= most
    space = {"wnn": wnn, "key": jax.random.key(0), **names}
    exec(code, space)
    return space


@pytest.fixture(scope="module")
def bits():
    rng = np.random.default_rng(0)
    X = rng.random((600, 12)) < 0.5
    Y = np.stack([X[:, 0] & X[:, 5], X[:, 2] | X[:, 3]], axis=1)
    return {"X": X[:500], "Y": Y[:500], "X_new": X[500:], "Y_new": Y[500:]}


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    rng = np.random.default_rng(0)
    words = ["tables", "read", "bits", "and", "write", "cells.\n", "of", "memory"]
    path = tmp_path_factory.mktemp("door") / "words.txt"
    path.write_text(" ".join(rng.choice(words, 2000)))
    return str(path)


def test_own_bits(bits):
    found = run(door.OWN_BITS, 3, **bits)
    assert found["probabilities"].shape == (100, 2)
    assert found["probabilities"].dtype == np.float32
    assert ((found["probabilities"] > 0.5) == bits["Y_new"]).mean() > 0.85


def test_a_chain_model(text_file):
    found = run(door.CHAIN, 4, text_file=text_file)
    assert found["nats"].shape == (len("tables read bits of memory"),)
    assert found["nats"].mean() < 1.5
    assert found["text"].startswith("tables")
    assert len(found["text"]) > 150


def test_a_search(bits):
    with tempfile.TemporaryDirectory() as folder:
        reports = []
        found = run(door.SEARCH, 5, folder=folder, reports=reports, **bits)
    assert list(found["result"].history) == [report._replace(population=()) for report in reports]
    assert ((wnn.predict(found["layer"], bits["X_new"]) > 0.5) == bits["Y_new"]).mean() > 0.95


def test_a_recommender():
    found = run(door.RECOMMENDER, 4)
    assert len(found["best"]) == 8
    assert len(wnn.recommender.ratings(found["person"])) == 2


def test_an_associative_memory():
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(200, 8)) * 3, rng.normal(size=(200, 5))
    read = run(door.MEMORY, 3, keys=keys, values=values)["read"]
    likeness = (read * values).sum(1) / np.linalg.norm(read, axis=1) / np.linalg.norm(values, axis=1)
    assert likeness.mean() > 0.99


def test_a_vocabulary_space_model(text_file):
    found = run(door.VOCABULARY_SPACE, 5, text_file=text_file)
    assert np.isfinite(found["nats"]).all()
    assert len(found["nats"]) == len(found["best"]) == 200 - 9
    assert found["hops"]


def test_bytes_and_back():
    data = b"tables read bits and write cells. " * 20
    found = run(door.COMPRESSION, 2, data=data)
    assert found["again"] == data
    assert len(found["packed"]) < len(data) / 3


def test_an_objective_of_ones_own():
    assert runpy.run_path(str(FOLDER / "own_objective.py"))["found"] == [3, 7, 10]


def test_a_mapping_of_ones_own():
    accuracy = runpy.run_path(str(FOLDER / "own_mapping.py"))["accuracy"]
    assert accuracy["patches"] > 0.9 > accuracy["random"]


def test_a_corpus_of_ones_own():
    nats = runpy.run_path(str(FOLDER / "own_corpus.py"))["nats"]
    assert nats["chain"] < nats["bitwise"] < nats["unigram"]


def test_every_name_of_the_door_is_there():
    for name in wnn.__all__:
        assert getattr(wnn, name) is not None
    with pytest.raises(AttributeError, match="wnn_jax has no 'bloom'"):
        wnn.bloom  # noqa: B018
    for room in wnn.__all__:
        public = getattr(getattr(wnn, room), "__all__", ())
        assert all(hasattr(getattr(wnn, room), name) for name in public)
