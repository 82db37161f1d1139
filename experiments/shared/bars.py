"""Progress bars of long work, as the callbacks that the library takes."""

import contextlib
from collections.abc import Callable, Iterator

from tqdm import tqdm


@contextlib.contextmanager
def bar(name: str = "", unit: str = "id") -> Iterator[Callable[[str, int, int], None]]:
    """A bar as an ``on_step(work, done, total)``, which begins again with each kind of work.

    Args:
      name: stands before the kind of work.
      unit: of what is done.
    """
    with tqdm(unit=unit, unit_scale=unit == "B", leave=False, delay=0.1, desc=name) as shown:

        def on_step(work: str, done: int, total: int) -> None:
            shown.total = total
            shown.set_description_str(", ".join(x for x in (name, work) if x), refresh=False)
            shown.update(done - shown.n)

        yield on_step
