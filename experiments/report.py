"""Write the pages of the docs and the README from their templates and the rows behind their numbers.

python -m experiments.report --docs

Templates stand in results/pages, rows in results/*.jsonl.
"""

import dataclasses
import sys

from experiments.reporting import pages, rows
from experiments.shared.commandline import Command, Group
from wnn_jax import checks


@dataclasses.dataclass(frozen=True)
class Options:
    """The choice between checking the pages and writing them.

    Attributes:
      docs: write the pages that differ from their rows; without it they are only named.

    Raises:
      ValueError: a value is out of range.
    """

    docs: bool = False

    def __post_init__(self):
        checks.fields(self)


def main(options) -> int:
    """Write or name the stale pages; 1 if pages are stale and stay so."""
    kept = rows.Kept()
    changed = pages.write(kept) if options.report.docs else pages.stale(kept)
    for path in changed:
        print(
            f"{'written' if options.report.docs else 'differs from its rows'}: {path.relative_to(pages.ROOT)}"
        )
    if not changed:
        print(f"all {len(pages.targets())} pages agree with their rows")
    return int(bool(changed) and not options.report.docs)


COMMAND = Command("report", __doc__, main, report=Group(Options))

if __name__ == "__main__":
    sys.exit(COMMAND.run())
