"""Progress bars of long work, in the form of callbacks for the library."""

import contextlib
import numbers
from collections.abc import Collection, Iterator
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

from experiments.shared import running

_Thing = TypeVar("_Thing")


class Shown(Protocol):
    """The callback of a bar, see `bar`."""

    def __call__(self, work: str, done: int, total: int | None, **numbers: Any) -> None: ...


@contextlib.contextmanager
def bar(name: str = "", unit: str = "id", quiet: bool = False) -> Iterator[Shown]:
    """Show a progress bar and give its callback ``on_step(work, done, total, **numbers)``.

    The bar shows one kind of work at a time: when ``work`` changes, it begins again. The numbers stand behind
    the bar. The callback also writes the progress of the command that runs, lists of numbers included.

    Args:
      name: the text before the kind of work.
      unit: the unit of ``done`` and ``total``.
      quiet: whether nothing is shown and written: another process does.
    """
    lines, last = None if quiet else running.lines(), None
    look = {"unit": unit, "unit_scale": unit in ("B", "lookup"), "leave": False, "delay": 0.1}
    with tqdm(**look, desc=name, disable=quiet) as shown:

        def on_step(work: str, done: int, total: int | None, **values: Any) -> None:
            nonlocal last
            title = ", ".join(x for x in (name, work) if x)
            if last not in (None, work):
                shown.reset(total)
            last, shown.total = work, total
            said = [f"{key} {x:.4f}" for key, x in values.items() if isinstance(x, numbers.Real)]
            shown.set_description_str(title, refresh=False)
            shown.set_postfix_str(", ".join(said), refresh=False)
            shown.update(done - shown.n)
            if lines:
                lines.note(title, done, total, unit, **values)

        yield on_step


def each(things: Collection[_Thing], name: str, unit: str) -> Iterator[_Thing]:
    """Give things one by one, with a progress bar that counts those that are done.

    Args:
      things: the things.
      name: the name of the work.
      unit: the name of one thing.
    """
    with bar(name, unit) as on_step:
        for done, thing in enumerate(things):
            on_step("", done, len(things))
            yield thing
        on_step("", len(things), len(things))
