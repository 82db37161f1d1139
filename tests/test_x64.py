"""The same seed gives the same bits under JAX_ENABLE_X64=1."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import x64_results

PATH = pathlib.Path(x64_results.__file__)


@pytest.mark.parametrize(
    "systems", [x64_results.QUICK, pytest.param(x64_results.LONG, marks=pytest.mark.long)]
)
def test_results_do_not_depend_on_64_bit_types(tmp_path, systems):
    file = tmp_path / "wide.npz"
    environment = {**os.environ, "JAX_ENABLE_X64": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, PATH, file, *systems], env=environment, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    wide, here = np.load(file), x64_results.results(*systems)
    assert set(wide.files) == set(here)
    other = [x for x in here if wide[x].dtype != here[x].dtype or wide[x].tobytes() != here[x].tobytes()]
    assert not other, f"{len(other)} of {len(here)} arrays differ: {other[:20]}"
