"""Progress bars of long work, in the form of callbacks for the library."""

import contextlib
from collections.abc import Callable, Iterator

from tqdm import tqdm

from experiments.shared import running


@contextlib.contextmanager
def bar(name: str = "", unit: str = "id") -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar and give its callback ``on_step(work, done, total)``.

    The bar shows one kind of work at a time: when ``work`` changes, it begins again. The callback also
    writes the progress of the command that runs.

    Args:
      name: the text before the kind of work.
      unit: the unit of ``done`` and ``total``.
    """
    lines = running.lines()
    with tqdm(unit=unit, unit_scale=unit == "B", leave=False, delay=0.1, desc=name) as shown:

        def on_step(work: str, done: int, total: int) -> None:
            shown.total = total
            title = ", ".join(x for x in (name, work) if x)
            shown.set_description_str(title, refresh=False)
            shown.update(done - shown.n)
            if lines:
                lines.note(title, done, total, unit)

        yield on_step
