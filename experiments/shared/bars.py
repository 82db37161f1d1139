"""Progress bars of long work, in the form of callbacks for the library."""

import contextlib
from collections.abc import Callable, Iterator

from tqdm import tqdm


@contextlib.contextmanager
def bar(name: str = "", unit: str = "id") -> Iterator[Callable[[str, int, int], None]]:
    """Show a progress bar and give its callback ``on_step(work, done, total)``.

    The bar shows one kind of work at a time: when ``work`` changes, it begins again.

    Args:
      name: the text before the kind of work.
      unit: the unit of ``done`` and ``total``.
    """
    with tqdm(unit=unit, unit_scale=unit == "B", leave=False, delay=0.1, desc=name) as shown:

        def on_step(work: str, done: int, total: int) -> None:
            shown.total = total
            shown.set_description_str(", ".join(x for x in (name, work) if x), refresh=False)
            shown.update(done - shown.n)

        yield on_step
