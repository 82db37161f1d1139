"""Helpers that run a command as a user runs it."""

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys


def run(module, *flags, cwd=None, stdin=None, timeout=240):
    command = [sys.executable, "-m", f"experiments.{module}", *flags]
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    how = {"capture_output": True, "text": True, "check": False, "timeout": timeout, "input": stdin}
    return subprocess.run(command, cwd=cwd, env=env, **how)


def call(module, *flags, cwd=None):
    """Run a command in this process, so that nothing is imported or compiled twice."""
    command = importlib.import_module(f"experiments.{module}").COMMAND
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(cwd or "."):
        code = command.run([str(flag) for flag in flags])
    return subprocess.CompletedProcess([module, *flags], code, out.getvalue(), err.getvalue())


def rows_of(workdir):
    return [json.loads(line) for line in (workdir / "results.jsonl").read_text().splitlines()]
