"""What surrounds a command while it runs: the words that it was called with, its interrupts and warnings."""

import contextlib
import contextvars
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence

_LINE: contextvars.ContextVar[str | None] = contextvars.ContextVar("line", default=None)


def line() -> str | None:
    """The command that runs, as a user types it; None where the work was not started by a command."""
    return _LINE.get()


@contextlib.contextmanager
def command(name: str, arguments: Sequence[str]) -> Iterator[None]:
    """Run a command: `line` names it, an interrupt ends it, and a warning is one line.

    Args:
      name: the name of the module in ``experiments``.
      arguments: the words behind it.
    """
    token = _LINE.set(shlex.join(["python", "-m", f"experiments.{name}", *arguments]))
    try:
        with _interrupts(), _warnings():
            yield
    finally:
        _LINE.reset(token)


@contextlib.contextmanager
def _warnings() -> Iterator[None]:
    """Print the warnings of the library in one line each, without the line of code that gave them."""
    usual = warnings.formatwarning

    def one_line(message, category, *place, **more) -> str:
        if category is not UserWarning:
            return usual(message, category, *place, **more)
        return f"warning: {' '.join(str(message).split())}\n"

    warnings.formatwarning = one_line
    try:
        yield
    finally:
        warnings.formatwarning = usual


@contextlib.contextmanager
def _interrupts() -> Iterator[None]:
    """Raise an interrupt as a KeyboardInterrupt, again each second until one is handled.

    The first may be lost: JAX calls Python at each garbage collection, where Python ignores what is raised.
    """
    main = threading.get_ident()
    if main != threading.main_thread().ident:
        yield
        return
    left, begun = threading.Event(), threading.Event()

    def repeat() -> None:
        while not left.wait(1.0):
            found = sys._current_exceptions().get(main)
            handled = found[1] if isinstance(found, tuple) else found  # Python 3.11 has tuples
            if not isinstance(handled, KeyboardInterrupt):  # while one is handled, the work is being saved
                signal.pthread_kill(main, signal.SIGINT)

    def interrupted(*_) -> None:
        if not begun.is_set():
            begun.set()
            threading.Thread(target=repeat, daemon=True).start()
        raise KeyboardInterrupt

    def unraisable(ignored) -> None:
        if not issubclass(ignored.exc_type, KeyboardInterrupt):
            hook(ignored)

    handler, hook = signal.signal(signal.SIGINT, interrupted), sys.unraisablehook
    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        left.set()
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, handler or signal.SIG_DFL)
