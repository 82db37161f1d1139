"""Show runs as one page, or write the pages of the docs from the rows behind their numbers.

python -m experiments.report runs/chain runs/bitwise --output=report.html
python -m experiments.report results --output=report.html --pictures=pictures
python -m experiments.report runs --live
python -m experiments.report --docs

RUNS are workdirs of commands, folders that hold some, or the folder results of the repository. The page is
one file: it needs no network and no server. With --live the page is served on this machine instead, and shows
new steps of commands that work in the folders as they come. Without RUNS, the command checks the pages of the
docs and the README; their templates stand in results/pages, their rows in results/*.jsonl.
"""

import dataclasses
import pathlib
import sys

from experiments.reporting import drawings, live, onepage, pages, rows
from experiments.shared.commandline import Command, Group
from wnn_jax import checks, files


@dataclasses.dataclass(frozen=True)
class Options:
    """The runs to show, and the place to write them to.

    Attributes:
      runs: folders of runs; none: the pages of the docs are checked.
      output: the file of the page.
      pictures: a folder to write each picture of the page to as an SVG file; by default none are written.
      title: the title of the page.
      live: serve the page instead of writing it, and push new steps to it.
      host: with --live, the address to listen at; any other than 127.0.0.1 shows the runs to the network.
      port: with --live, the port; 0 takes a free one.
      docs: write the pages of the docs that differ from their rows; without it they are only named.

    Raises:
      ValueError: a value is out of range, --docs is given with runs, or --live or
        --pictures without.
    """

    runs: tuple[str, ...] = ()
    output: str = "report.html"
    pictures: str | None = None
    title: str = "Runs"
    live: bool = False
    host: str = "127.0.0.1"
    port: int = 8765
    docs: bool = False

    def __post_init__(self):
        checks.fields(self, port=checks.Limits(least=0, most=65535))
        if self.live and not self.runs:
            raise ValueError("--live needs runs to show: give folders of runs")
        if self.pictures and (self.live or not self.runs):
            raise ValueError("--pictures needs runs, and no --live: give folders of runs")
        if self.runs and self.docs:
            raise ValueError(f"--docs takes no runs, got {self.runs[0]!r}: leave out one of them")


def main(options) -> int:
    """Write the page of runs, or look after the pages of the docs."""
    if options.report.live:
        live.serve(options.report.runs, *(getattr(options.report, x) for x in ("title", "host", "port")))
        return 0
    if options.report.runs:
        return show(options.report)
    return documents(options.report.docs)


def show(options: Options) -> int:
    """Write the page of some runs, and their pictures where they are asked for."""
    made = onepage.page(options.runs, options.title).encode()
    files.write(pathlib.Path(options.output), made)
    print(f"{options.output}: {len(made):,} bytes; open it in a browser")
    if options.pictures:
        written = drawings.write(options.runs, pathlib.Path(options.pictures))
        print(f"{options.pictures}: {len(written)} pictures")
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
