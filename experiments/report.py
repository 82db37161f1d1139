"""Show runs as one page, or write the pages of the docs from the rows behind their numbers.

python -m experiments.report runs/chain runs/bitwise --output=report.html
python -m experiments.report results --output=report.html
python -m experiments.report --docs

RUNS are workdirs of commands, folders that hold some, or the folder results of the repository. The page is
one file: it needs no network and no server. Without RUNS, the command checks the pages of the docs and the
README; their templates stand in results/pages, their rows in results/*.jsonl.
"""

import dataclasses
import pathlib
import sys

from experiments.reporting import onepage, pages, rows
from experiments.shared.commandline import Command, Group
from wnn_jax import checks, files


@dataclasses.dataclass(frozen=True)
class Options:
    """What to show, and where to write it.

    Attributes:
      runs: folders of runs; none: the pages of the docs are checked.
      output: the file of the page.
      title: the title of the page.
      docs: write the pages of the docs that differ from their rows; without it they are only named.

    Raises:
      ValueError: a value is out of range, or --docs is given with runs.
    """

    runs: tuple[str, ...] = ()
    output: str = "report.html"
    title: str = "Runs"
    docs: bool = False

    def __post_init__(self):
        checks.fields(self)
        if self.runs and self.docs:
            raise ValueError(f"--docs takes no runs, got {self.runs[0]!r}: leave out one of them")


def main(options) -> int:
    """Write the page of runs, or look after the pages of the docs."""
    if options.report.runs:
        return show(options.report)
    return documents(options.report.docs)


def show(options: Options) -> int:
    """Write the page of some runs."""
    made = onepage.page(options.runs, options.title).encode()
    files.write(pathlib.Path(options.output), made)
    print(f"{options.output}: {len(made):,} bytes; open it in a browser")
    return 0


def documents(write: bool) -> int:
    """Write or name the stale pages of the docs; 1 if pages are stale and stay so."""
    kept = rows.Kept()
    changed = pages.write(kept) if write else pages.stale(kept)
    for path in changed:
        print(f"{'written' if write else 'differs from its rows'}: {path.relative_to(pages.ROOT)}")
    if not changed:
        print(f"all {len(pages.targets())} pages agree with their rows")
    return int(bool(changed) and not write)


COMMAND = Command("report", __doc__, main, report=Group(Options, words="runs"))

if __name__ == "__main__":
    sys.exit(COMMAND.run())
