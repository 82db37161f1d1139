import os
import pathlib

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("default", max_examples=25, deadline=None, derandomize=True)
settings.load_profile("default")


@pytest.fixture
def data():
    """The folder of real texts; tests that need it say why they are skipped without."""
    root = os.environ.get("WNN_JAX_DATA")
    if not root:
        pytest.skip("WNN_JAX_DATA is not set: no real data on this machine")
    return pathlib.Path(root)


@pytest.fixture
def gpt2():
    if not os.environ.get("TIKTOKEN_CACHE_DIR"):
        pytest.skip("TIKTOKEN_CACHE_DIR is not set: the GPT-2 vocabulary would be downloaded")
    return "gpt2"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Token caches of tests stay out of the user's."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("WNN_JAX_CACHE", str(folder))
    return folder


@pytest.fixture
def corpus(tmp_path):
    rng = np.random.default_rng(0)
    words = ["tables", "read", "bits", "and", "write", "cells.\n", "of", "memory"]
    path = tmp_path / "corpus.txt"
    path.write_text(" ".join(rng.choice(words, 4000)))
    return path
