"""Commands, with their flags, clocks, tables and pictures. The models and the studies are in `wnn_jax`."""

import importlib.util
import logging
import os
import signal
import sys


def _leave(*_) -> None:
    """End the process as an interrupt must, with exit code 130, where nothing has begun yet."""
    sys.stdout.flush()
    os._exit(130)


# A command is being started: until its work begins, modules are imported, and some of them swallow
# interrupts. In other programs that import this package the interrupt is theirs.
if sys.argv[0] == "-m":
    signal.signal(signal.SIGINT, _leave)

# Matplotlib says so when a user has no home for its fonts; the output of a command is its table.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

_NEEDED = ("absl", "matplotlib", "psutil", "tqdm")

if _missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
    print(f"error: {_missing[0]} is not installed: run pip install 'wnn_jax[experiments]'", file=sys.stderr)
    sys.exit(2)
