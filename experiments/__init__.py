"""Commands: flags, clocks, tables and pictures. What a researcher decides from Python is in `wnn_jax`."""

import importlib.util
import sys

_NEEDED = ("absl", "matplotlib", "psutil", "tqdm")

if _missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
    print(f"error: {_missing[0]} is not installed: run pip install 'wnn_jax[experiments]'", file=sys.stderr)
    sys.exit(2)
