"""Commands run as a user runs them."""

import json
import os
import subprocess
import sys


def run(module, *flags, cwd=None):
    command = [sys.executable, "-m", f"experiments.{module}", *flags]
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env, timeout=240)


def rows_of(workdir):
    return [json.loads(line) for line in (workdir / "results.jsonl").read_text().splitlines()]
