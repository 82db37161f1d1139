"""Commands, with their flags, clocks, tables and pictures. The models and the studies are in `wnn_jax`."""

import importlib.util
import sys

_NEEDED = ("absl", "matplotlib", "psutil", "tqdm")

if _missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
    print(f"error: {_missing[0]} is not installed: run pip install 'wnn_jax[experiments]'", file=sys.stderr)
    sys.exit(2)
