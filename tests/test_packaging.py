"""What an installation does where a compiler is missing, or metal_ext is broken. Long: pip builds twice."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
pytestmark = pytest.mark.long


def pip(folder, *arguments, path=None):
    """pip install into a fresh virtual environment; its return code and what it said."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    env = {**os.environ, **({"PATH": path} if path else {})}
    command = [folder / "venv" / "bin" / "pip", "install", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    return done.returncode, done.stdout + done.stderr


def copied(name, folder):
    skipped = shutil.ignore_patterns("build", "runs", ".git", "__pycache__")
    return shutil.copytree(ROOT / name, folder / "source", ignore=skipped)


def test_the_library_installs_without_a_compiler(tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    code, said = pip(tmp_path, "--no-deps", "-e", str(copied(".", tmp_path)), path=str(empty))
    assert code == 0, said


@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="no C++ compiler")
def test_a_compile_error_fails_loudly(tmp_path):
    source = copied("metal_ext", tmp_path)
    kernels = source / "src" / "row.h"
    kernels.write_text(kernels.read_text() + '\nint broken = "not a number";\n')
    code, said = pip(tmp_path, str(source))
    assert code != 0
    assert "row.h" in said
    assert "error:" in said
