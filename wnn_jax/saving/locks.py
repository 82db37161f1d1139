"""Locks on folders: two processes do not write the same checkpoint or progress.

The lock is the operating system's own (``flock``): it ends with its process, also when that is killed, and
so no lock is ever left over. Where the system has none, such as on some network drives, folders stay open to
all.

Source: docs/architecture.md.
"""

import contextlib
import os
import pathlib
import time
import weakref
from typing import BinaryIO

FILE = ".lock"  # in the folder; it says who holds the lock, or held it last
_held: "weakref.WeakValueDictionary[pathlib.Path, Lock]" = weakref.WeakValueDictionary()


class Lock:
    """A lock that this process holds for as long as the object lives."""

    def __init__(self, file: BinaryIO | None):
        self._file = file
        if file:
            weakref.finalize(self, file.close)  # which gives the lock back

    @property
    def certain(self) -> bool:
        """Whether the system has locks: only then does this one keep others out."""
        return self._file is not None


def hold(folder: str | os.PathLike, wait: float = 0.0) -> Lock:
    """Lock a folder against other processes. The same process may hold it several times.

    Args:
      folder: the folder, which must exist.
      wait: the number of seconds to wait for another process.

    Raises:
      ValueError: another process holds the folder; the message names it.

    Source: docs/architecture.md.
    """
    root = pathlib.Path(folder).resolve()
    if root in _held:
        return _held[root]
    file = _locked(root, wait)
    if file:
        with contextlib.suppress(OSError):  # on a full disk the lock holds, but does not say who holds it
            file.truncate(0)
            file.write(f"process {os.getpid()} on {os.uname().nodename}".encode())
    lock = _held[root] = Lock(file)
    return lock


def _locked(root: pathlib.Path, wait: float) -> BinaryIO | None:
    """Open the lock's file and lock it; None where the system has no locks.

    Raises:
      ValueError: another process holds it for longer than ``wait`` seconds.
    """
    try:
        import fcntl

        file = open(root / FILE, "ab+", buffering=0)  # noqa: SIM115 - it stays open for as long as the lock
    except (ImportError, OSError):
        return None
    until = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(0.1)
                continue
            file.seek(0)
            holder = file.read(200).decode(errors="replace") or "another process"
            file.close()
            raise ValueError(
                f"{root} is in use by {holder}: wait for its end, or choose another folder"
            ) from None
        except OSError:
            file.close()
            return None
