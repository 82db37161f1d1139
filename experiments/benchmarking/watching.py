"""The cases of the table watching: the time that commands spend on their steps while a page shows them."""

import importlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import psutil

from experiments.shared import running

Numbers = dict[str, float]

# A search of short steps and a training of long ones.
_SMALL = ["--neurons=16", "--population=12", "--bits=8", "--context=4", "--generations=100000"]
_WAYS = {"search": ("bitwise", ["--search=ga", *_SMALL]), "chain": ("chain", ["--preset=best"])}


def planned() -> list[str]:
    """List the cases."""
    return ["watching:search:60:0", "watching:chain:60:0"]


def run(seed: int, way: str, size: str) -> Numbers:
    """Time one case: a command, and a page of another process that follows it.

    Args:
      seed: the seed of the command.
      way: ``search`` or ``chain``.
      size: the seconds after which the command is stopped; it may end before.
    """
    name, arguments = _WAYS[way]
    # Commands are imported here: the memory of other cases is measured too.
    command = importlib.import_module(f"experiments.{name}").COMMAND
    if way == "chain" and os.environ.get("WNN_JAX_DATA"):  # the built-in text is read in less than a minute
        arguments = [*arguments, "--corpus=wikitext2", "--tokenizer=bpe:1024"]
    given = [*arguments, f"--seed={seed}"]
    with tempfile.TemporaryDirectory() as folder:
        clock = _Clock(float(size))
        server = _serve(folder)
        try:
            threading.Thread(target=_listen, args=(server,), daemon=True).start()
            begun = time.perf_counter()
            command.run([*given, f"--workdir={folder}"])
            seconds = time.perf_counter() - begun
            used = psutil.Process(server.pid).cpu_times()
        finally:
            clock.remove()
            server.kill()
            server.wait()
        lines = (pathlib.Path(folder) / running.PROGRESS).read_bytes().count(b"\n")
    rates = {"steps_per_second": clock.calls / seconds, "lines_per_second": lines / seconds}
    return {
        "seconds": seconds,
        "seconds_spent": clock.spent,
        "server_seconds": used.user + used.system,
        **rates,
    }


def show(found: dict[str, Numbers]) -> None:
    """Print the table."""
    print(f"\n{'watching':>10}{'steps/s':>12}{'lines/s':>9}{'seconds':>9}{'of them spent':>15}{'server':>9}")
    for case in planned():
        one, took = found[case], found[case]["seconds"]
        print(
            f"{case.split(':')[1]:>10}{one['steps_per_second']:>12,.1f}{one['lines_per_second']:>9.2f}{took:>9.1f}"
            f"{one['seconds_spent'] / took:>15.3%}{one['server_seconds'] / took:>9.2%}"
        )
    print(
        "of them spent: the share of the command's time on writing its steps. server: CPU time of the page's "
        "process, as a share of the same time; it has a core of its own where there is one."
    )


class _Clock:
    """Times `running.Lines.note`, and stops the command after some seconds."""

    def __init__(self, most: float):
        self.calls, self.spent, self._note = 0, 0.0, running.Lines.note
        begun = time.perf_counter()

        def timed(*given, **numbers) -> None:
            before = time.perf_counter()
            self._note(*given, **numbers)
            self.spent += time.perf_counter() - before
            self.calls += 1
            if before - begun > most:
                raise KeyboardInterrupt

        running.Lines.note = timed

    def remove(self) -> None:
        running.Lines.note = self._note


def _serve(folder: str) -> subprocess.Popen:
    """Serve the page of a folder in a process of its own."""
    arguments = [sys.executable, "-m", "experiments.report", folder, "--live", "--port=0"]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def _listen(server: subprocess.Popen) -> None:
    """Read the events of the page, as a browser does, until the server ends."""
    found = re.search(r"http://\S+", server.stdout.readline() if server.stdout else "")
    try:
        with urllib.request.urlopen(f"{found[0]}events" if found else "") as events:
            for _ in events:
                pass
    except (OSError, ValueError):
        pass
