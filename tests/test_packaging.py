"""Installations: the wheel, the core alone, a missing extra, a missing compiler."""

import importlib
import os
import pathlib
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest

from wnn_jax import optional

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Only these packages may be imported with the library; the others are imported when they are needed.
LIGHT = """
import sys
import jax
before = set(sys.modules)
import wnn_jax
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
HEAVY = {
    "absl",
    "datasets",
    "matplotlib",
    "optax",
    "orbax",
    "psutil",
    "scipy",
    "sentencepiece",
} | {"sklearn", "tensorboardX", "tiktoken", "tokenizers", "tqdm"}


def test_importing_the_library_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True, cwd=ROOT)
    imported = set(done.stdout.split())
    assert "wnn_jax" in imported
    assert not imported & HEAVY


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    message = r"^nowhere is not installed: run pip install 'wnn_jax\[text\]'$"
    for module in ("nowhere", "nowhere.below"):
        with pytest.raises(ValueError, match=message):
            optional.need(module, "text")
        with pytest.raises(ModuleNotFoundError, match=message):
            optional.need(module, "text")
    assert optional.need("importlib.metadata", "text") is importlib.import_module("importlib.metadata")


def test_a_command_without_its_extra_ends_with_one_line():
    code = (
        "import importlib.util as util; find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'psutil' else find(name, *rest)\n"
        "import experiments"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == "error: psutil is not installed: run pip install 'wnn_jax[experiments]'\n"


def test_what_a_package_itself_lacks_is_its_own_error(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import nowhere")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'nowhere'") as caught:
        optional.need("needs_more", "text")
    assert not isinstance(caught.value, ValueError)


def test_every_extra_that_the_library_names_exists():
    named = set()
    for file in (ROOT / "wnn_jax").rglob("*.py"):
        for call in file.read_text().split("optional.need(")[1:]:
            named.add(call.split(")")[0].split(",")[1].strip().strip('"'))
    assert named <= set(PROJECT["optional-dependencies"])
    assert "text" in named


def venv(folder):
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    return folder / "venv" / "bin"


def pip(folder, *arguments, path=None):
    """Run pip install in a new virtual environment; return the exit code and the output."""
    env = {**os.environ, **({"PATH": path} if path else {})}
    command = [venv(folder) / "pip", "install", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    return done.returncode, done.stdout + done.stderr


def copied(name, folder):
    skipped = shutil.ignore_patterns("build", "runs", ".git", ".venv", "__pycache__")
    return shutil.copytree(ROOT / name, folder / "source", ignore=skipped)


CORE = """
import importlib, pathlib, runpy, sys
sys.path.insert(0, sys.argv[1])
import jax, numpy as np
import wnn_jax
from wnn_jax import optional, ram
from wnn_jax.data import text
from wnn_jax.lm import bitwise
from wnn_jax.saving import checkpoint
assert pathlib.Path(wnn_jax.__file__).is_relative_to(sys.argv[1])
corpus = text.load(text.TextConfig(tokenizer="bytes"))
config = bitwise.BitwiseConfig(corpus.vocabulary, neurons=2, address_bits=4)
connections = bitwise.init(jax.random.key(0), config)
train, test = bitwise.examples(config, corpus.train[:2000]), bitwise.examples(config, corpus.test[:100])
votes = ram.fit_and_read(None, config.memory, connections, train, test.words)
assert float(bitwise.cross_entropy(config, connections, votes, test.targets).mean()) < 8 * np.log(2)
checkpoint.save("model", connections, {}, {})
assert np.array_equal(checkpoint.load("model").connections, connections)
rng, door = np.random.default_rng(0), runpy.run_path(sys.argv[2])
X = rng.random((600, 12)) < 0.5
Y = np.stack([X[:, 0] & X[:, 5], X[:, 2] | X[:, 3]], axis=1)
names = {"wnn": wnn_jax, "key": jax.random.key(0), "X": X[:500], "Y": Y[:500], "X_new": X[500:]}
names |= {"keys": rng.normal(size=(200, 8)), "values": rng.normal(size=(200, 5))}
names |= {"folder": "progress", "reports": []}
for name in ("OWN_BITS", "SEARCH", "MEMORY"):
    exec(door[name], names)
assert ((wnn_jax.predict(names["layer"], X[500:]) > 0.5) == Y[500:]).mean() > 0.95
assert names["read"].shape == (200, 5)
try:
    text.load(text.TextConfig(tokenizer="bpe:300"))
except ValueError as error:
    assert "tokenizers is not installed: run pip install 'wnn_jax[text]'" in str(error), error
else:
    raise AssertionError("the core must not have the extras")
"""


@pytest.mark.long
def test_the_wheel_holds_the_library_and_runs_on_the_core_alone(tmp_path):
    """The wheel is installed with its requirements only, and runs outside the checkout."""
    source = copied(".", tmp_path)
    python = venv(tmp_path)
    subprocess.run([python / "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "dist", source], check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if "dist-info" not in name}
    promised = {str(x.relative_to(ROOT)) for x in (ROOT / "wnn_jax").rglob("*.py")} | {"wnn_jax/py.typed"}
    assert held == promised
    subprocess.run([python / "pip", "install", "-q", wheel], check=True)
    installed = next((tmp_path / "venv").glob("lib/*/site-packages"))
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python / "python", "-c", CORE, installed, ROOT / "tests" / "snippets" / "door.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=tmp_path)
    assert not done.returncode, done.stderr[-2000:]


@pytest.mark.long
def test_the_library_installs_without_a_compiler(tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    code, said = pip(tmp_path, "--no-deps", "-e", str(copied(".", tmp_path)), path=str(empty))
    assert code == 0, said


@pytest.mark.long
@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="no C++ compiler")
def test_a_compile_error_fails_loudly(tmp_path):
    source = copied("metal_ext", tmp_path)
    kernels = source / "src" / "row.h"
    kernels.write_text(kernels.read_text() + '\nint broken = "not a number";\n')
    code, said = pip(tmp_path, str(source))
    assert code != 0
    assert "row.h" in said
    assert "error:" in said
