"""The programs that compile, simulate and synthesise what is exported: found, run, and named where missing.

Source: docs/semantics/export.md
"""

import pathlib
import shutil
import subprocess

_PACKAGES = {
    "gcc": "gcc",
    "g++": "g++",
    "make": "make",
    "size": "binutils",
    "nm": "binutils",
    "iverilog": "iverilog",
    "vvp": "iverilog",
    "verilator": "verilator",
    "yosys": "yosys",
    "avr-gcc": "gcc-avr avr-libc",
    "avr-g++": "gcc-avr",
    "avr-size": "binutils-avr",
    "simavr": "simavr",
}


class MissingProgramError(ValueError):
    """Says that a program is not installed, and which Debian package has it.

    Source: docs/semantics/export.md
    """


class FailedProgramError(ValueError):
    """Says that a program refused what it was given, with the first line of its complaint.

    Source: docs/semantics/export.md
    """


def missing(*programs: str) -> list[str]:
    """Return those of the programs that are not installed.

    Source: docs/semantics/export.md
    """
    return [one for one in programs if not shutil.which(one)]


def need(*programs: str) -> None:
    """Check that programs are installed.

    Args:
      *programs: their names; each must be known to this module.

    Raises:
      MissingProgramError: one is not installed. The message names the Debian packages to install.

    Source: docs/semantics/export.md
    """
    if lacking := missing(*programs):
        packages = " ".join(dict.fromkeys(_PACKAGES[one] for one in lacking))
        raise MissingProgramError(f"{', '.join(lacking)} not found: run apt-get install {packages}")


def run(folder: pathlib.Path, *command: str, seconds: float = 600) -> str:
    """Run a program in a folder and return what it printed.

    Args:
      folder: the folder.
      *command: the program, one that `need` knows or a path, and its arguments.
      seconds: the time after which it is stopped.

    Raises:
      MissingProgramError: the program is not installed.
      FailedProgramError: it ended with an error, or took longer.

    Source: docs/semantics/export.md
    """
    if command[0] in _PACKAGES:
        need(command[0])
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise FailedProgramError(
            f"{command[0]} took longer than {seconds} s: give a smaller model or fewer rows"
        ) from error
    if done.returncode:
        said = [line for line in done.stdout.splitlines() if line.strip()]
        first = next((line for line in said if "rror" in line), said[0] if said else "it said nothing")
        raise FailedProgramError(f"{command[0]} ended with code {done.returncode}: {first.strip()[:300]}")
    return done.stdout
