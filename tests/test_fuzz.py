"""Random calls and random contents of the kernels' buffers must end in results or refusals, never in a crash.

A quick share runs by default; ``-m long`` runs the whole, the kernels with sanitizers too.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import fuzz
import fuzz_chain
import fuzz_models
import fuzz_ram
import jax
import pytest

from wnn_jax.ram import backend

HERE = pathlib.Path(__file__).parent
SOURCES = HERE.parent / "metal_ext"
SYSTEMS = [fuzz_ram, fuzz_models, fuzz_chain]
CALLS = {
    fuzz_ram: 2_500,
    fuzz_models: 750,
    fuzz_chain: 1_750,
}  # of the long run
SANITIZERS = "-O1 -g -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all -DWNN_CLONES="

reason, _ = backend._register()
needs_extension = pytest.mark.skipif(
    bool(reason) or jax.default_backend() != "cpu", reason=f"no native kernels here: {reason}"
)
needs_gcc = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("g++"),
    reason="no g++ on Linux to build the sanitized kernels",
)
shares = pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.long)])
by_system = pytest.mark.parametrize("system", SYSTEMS, ids=lambda x: x.__name__)


@needs_extension
@shares
@by_system
def test_random_calls_end_alike_on_all_backends(monkeypatch, system, whole):
    count = CALLS[system] if whole else 40
    found = fuzz.calls(monkeypatch, system, range(count))
    print(f"{system.__name__}: {count} calls: {found}")
    assert sum(sum(x.values()) for x in found.values()) == count
    assert sum(x.get("refused", 0) for x in found.values()) > count // 3


@needs_extension
@pytest.mark.parametrize("count", [20, pytest.param(1_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("system", [x for x in SYSTEMS if x.KERNELS], ids=lambda x: x.__name__)
def test_random_contents_crash_no_kernel(system, count):
    found = fuzz.kernels(system, range(count))
    print(f"{system.__name__}: {count} contents of each kernel: {found}")
    assert all(x.get("results") for x in found.values())


def sanitized(folder):
    """Build the kernels with sanitizers into ``folder``, as a package that Python finds there."""
    package = folder / "wnn_metal_ext"
    package.mkdir()
    shutil.copy(SOURCES / "wnn_metal_ext" / "__init__.py", package)
    sources = sorted(map(str, (SOURCES / "src").glob("*.cc")))
    command = ["g++", "-shared", "-fPIC", "-std=c++17", "-ffp-contract=off", *SANITIZERS.split(), *sources]
    command += ["-isystem", jax.ffi.include_dir(), "-o", str(package / "wnn_kernels.so"), "-pthread"]
    subprocess.run(command, check=True)
    return folder


def preloaded():
    """Name the sanitizers' libraries, which Python must load before the kernels."""
    names = ("libasan.so", "libubsan.so")
    return ":".join(
        subprocess.run(
            ["g++", f"-print-file-name={name}"], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name in names
    )


@needs_gcc
@pytest.mark.long
def test_random_contents_are_clean_under_sanitizers(tmp_path):
    """ASan and UBSan end the process at the first access out of bounds or undefined operation."""
    library = sanitized(tmp_path)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(library), str(HERE), str(HERE.parent)]),
        "LD_PRELOAD": preloaded(),
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    command = [sys.executable, str(HERE / "fuzz.py"), "500", *(x.__name__ for x in SYSTEMS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert not done.returncode, done.stderr[-4000:]
    assert done.stdout.count("results") >= sum(len(x.KERNELS) for x in SYSTEMS)
