"""Commands run as a user runs them."""

import atexit
import contextlib
import functools
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile

# Imports a command once, and forks for every call of it: what takes seconds is the import.
_SERVER = """
import importlib, json, os, sys
module = importlib.import_module("experiments." + sys.argv[1])
for line in sys.stdin:
    flags, folder, files = json.loads(line)
    child = os.fork()
    if not child:
        for number, name in enumerate([os.devnull, *files]):
            os.dup2(os.open(name, os.O_RDWR), number)
        os.chdir(folder)
        sys.exit(module.COMMAND.run(flags))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def run(module, *flags, cwd=None, stdin=None, timeout=240):
    command = [sys.executable, "-m", f"experiments.{module}", *flags]
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    how = {"capture_output": True, "text": True, "check": False, "timeout": timeout, "input": stdin}
    return subprocess.run(command, cwd=cwd, env=env, **how)


def run_forked(module, *flags, cwd):
    """The same from a process that has imported the command before: for many short calls."""
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        server = _server(module)
        server.stdin.write(json.dumps([flags, str(cwd), [out.name, err.name]]) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess([module, *flags], code, out.read(), err.read())


@functools.cache
def _server(module):
    command = [sys.executable, "-c", _SERVER, module]
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = subprocess.Popen(command, text=True, env=env, **pipes)
    atexit.register(server.kill)
    return server


def call(module, *flags, cwd=None):
    """A command in this process: nothing is imported or compiled twice."""
    command = importlib.import_module(f"experiments.{module}").COMMAND
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(cwd or "."):
        code = command.run([str(flag) for flag in flags])
    return subprocess.CompletedProcess([module, *flags], code, out.getvalue(), err.getvalue())


def rows_of(workdir):
    return [json.loads(line) for line in (workdir / "results.jsonl").read_text().splitlines()]
