import os
import pathlib
import shutil
import tempfile

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("default", max_examples=25, deadline=None, derandomize=True)
settings.load_profile("default")


# The tests spend most of their time on compilation by XLA, and most of that on optimisation by LLVM: without
# it the programs compile in a sixth of the time. WNN_JAX_TESTS_OPTIMISED=1 compiles as users do; CI runs a
# part of the tests so.
if not os.environ.get("WNN_JAX_TESTS_OPTIMISED"):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"


def pytest_configure(config):
    """Share compiled programs among all processes of a test run: workers and commands inherit the folder.

    A folder that the user names in JAX_COMPILATION_CACHE_DIR stays, and makes the next run quicker too.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="wnn_jax_compiled_")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


@pytest.fixture(scope="session")
def data():
    """Return the folder of real texts; without it a test is skipped, and the reason is printed."""
    root = os.environ.get("WNN_JAX_DATA")
    if not root:
        pytest.skip("WNN_JAX_DATA is not set: no real data on this machine")
    return pathlib.Path(root)


@pytest.fixture(scope="session")
def gpt2():
    if not os.environ.get("TIKTOKEN_CACHE_DIR"):
        pytest.skip("TIKTOKEN_CACHE_DIR is not set: the GPT-2 vocabulary would be downloaded")
    return "gpt2"


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory):
    """Give tests a token cache of their own, so that they do not write to the user's."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WNN_JAX_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def freed(request):
    """Free the programs that a long test compiled: a process can hold some ten thousand, and then aborts."""
    yield
    if request.node.get_closest_marker("long"):
        import jax  # not above: the flags of XLA are set first

        jax.clear_caches()


@pytest.fixture
def corpus(tmp_path):
    rng = np.random.default_rng(0)
    words = ["tables", "read", "bits", "and", "write", "cells.\n", "of", "memory"]
    path = tmp_path / "corpus.txt"
    path.write_text(" ".join(rng.choice(words, 4000)))
    return path


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no chromium with a chromedriver: the page is not opened in a browser")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver, service_args=["--log-level=OFF"])
    opened = webdriver.Chrome(options=options, service=service)
    yield opened
    opened.quit()
