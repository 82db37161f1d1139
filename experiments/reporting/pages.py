"""Pages of the docs and the README, made from templates and the rows behind their numbers.

A template is Markdown with Jinja's marks. It holds the words; a measured number is an expression over rows:

    {% set chain = rows("chain-b", row="chain, static") %}
    {{ chain.ce | mean(3) }} nats, {{ (rows("chain-b", row="Kneser-Ney 5").ce - chain.ce) | mean(2) }} fewer
"""

import fnmatch
import functools
import importlib
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.reporting import rows as kept_rows
from wnn_jax import files, optional

ROOT = kept_rows.FOLDER.parent
TEMPLATES = kept_rows.FOLDER / "pages"
# Words that look like measured numbers and are not: in code, in links, in names of versions and papers.
_QUOTED = re.compile(
    r"```.*?```|`[^`\n]*`|\]\([^)]*\)|https?://\S+|\{[{%#].*?[}%#]\}"
    r"|Python 3\.\d+|arXiv [\d.]+|version [\d.]+",
    re.S,
)
_MEASURED = re.compile(r"\d[\d,]*\.\d+|\.\d+|\d{1,3}(?:,\d{3})+|\d+ ?%")


class Rows:
    """Rows of one kind, mostly one a seed; a key of theirs, read as an attribute, is an array over them."""

    def __init__(self, records: Sequence[Mapping[str, Any]], name: str):
        self._records, self._name = records, name

    def __getattr__(self, key: str) -> np.ndarray:
        """The numbers under ``key``, one a row; NaN where a row has none.

        Raises:
          ValueError: a row lacks the key.
        """
        missing = [record for record in self._records if key not in record]
        if missing:
            keys = ", ".join(sorted(missing[0]))
            raise ValueError(f"{self._name} has no {key!r}, only {keys}")
        values = [record[key] for record in self._records]
        numbers = all(x is None or isinstance(x, int | float) for x in values)
        return np.array([np.nan if x is None else x for x in values] if numbers else values, None)

    def __getitem__(self, position: int) -> Mapping[str, Any]:
        return self._records[position]

    def __len__(self) -> int:
        return len(self._records)


def select(kept: kept_rows.Kept, *runs: str, **wanted: Any) -> Rows:
    """The rows of some runs, of all their seeds, that have the given values.

    Args:
      kept: all rows there are.
      runs: names of runs; a name without a seed means all its seeds.
      wanted: values that a row must have, by key. ``row`` is its name, in which * stands for any letters.

    Raises:
      ValueError: there is no such run, or no such row.
    """
    found, names = [], ", ".join(runs)
    for run in runs:
        own = [name for name in kept.rows if name == run or name.startswith(f"{run}@")]
        if not own:
            raise ValueError(f"results/ holds no run {run}")
        found += [{**kept.heads[name], **row} for name in own for row in kept.rows[name]]
    name = wanted.pop("row", "*")
    chosen = [
        record
        for record in found
        if fnmatch.fnmatchcase(record["row"], name)
        and all(record.get(key) == value for key, value in wanted.items())
    ]
    if not chosen:
        there = sorted({record["row"] for record in found})
        raise ValueError(f"{names} has no row {name!r} with {wanted}; its rows: {', '.join(there)}")
    return Rows(chosen, f"{names} {name}")


def select_any(kept: kept_rows.Kept, *runs: str, **wanted: Any) -> Rows:
    """The rows that `select` gives, of those runs that were measured; none where there is no such row."""
    measured = [run for run in runs if any(name == run or name.startswith(f"{run}@") for name in kept.rows)]
    try:
        return select(kept, *measured, **wanted)
    except ValueError:
        return Rows([], f"{', '.join(runs)} {wanted}")


def mean(values: Any, digits: int = 3, sign: str = "") -> str:
    """The mean of the values, with commas between thousands; a dash where it is not known."""
    average = float(np.mean(np.asarray(values, float)))
    return "-" if np.isnan(average) else f"{average:{sign},.{digits}f}"


def spread(values: Any, digits: int = 3, sign: str = "") -> str:
    """The mean, and behind it the range in brackets where there are several values."""
    numbers = np.asarray(values, float)
    width = f" ({np.ptp(numbers):.{digits}f})" if numbers.size > 1 else ""
    return mean(numbers, digits, sign) + width


def each(values: Any, digits: int = 3) -> str:
    """All values, in the order of their seeds."""
    return ", ".join(f"{x:,.{digits}f}" for x in np.asarray(values, float).ravel())


def percent(values: Any, digits: int = 1) -> str:
    """The mean as a share of a hundred."""
    return f"{mean(100 * np.asarray(values, float), digits)} %"


def commands() -> list[str]:
    """The names of all commands."""
    modules = sorted((ROOT / "experiments").glob("*.py"))
    return [path.stem for path in modules if "\nCOMMAND = Command(" in path.read_text(encoding="utf-8")]


def help_of(name: str) -> str:
    """Return the text that a command prints with --help."""
    return importlib.import_module(f"experiments.{name}").COMMAND.help()


def seeds(chosen: Rows) -> str:
    """The seeds that rows are of, in words."""
    *first, last = sorted({seed for record in chosen for seed in record.get("seeds") or [record["seed"]]})
    return f"seeds {', '.join(map(str, first))} and {last}" if first else f"seed {last}"


def render(name: str, kept: kept_rows.Kept) -> str:
    """The page of one template.

    Args:
      name: the template's path inside ``results/pages``.
      kept: all rows there are.

    Raises:
      ValueError: it names a run, a row or a key that is not there.
    """
    jinja = optional.need("jinja2", "docs")
    environment = jinja.Environment(
        loader=jinja.FileSystemLoader(TEMPLATES),
        undefined=jinja.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"mean": mean, "spread": spread, "each": each, "percent": percent}
    environment.globals |= {"rows": functools.partial(select, kept), "plan": kept_rows.plan()}
    environment.globals["measured"] = functools.partial(select_any, kept)
    environment.globals |= {"commands": commands(), "help": help_of, "seeds": seeds}
    return environment.get_template(name).render()


def targets() -> dict[str, pathlib.Path]:
    """The page or picture that each template makes: the README at the top, all others under ``docs``."""
    paths = (path for ending in ("md", "svg") for path in TEMPLATES.rglob(f"*.{ending}"))
    names = sorted(path.relative_to(TEMPLATES).as_posix() for path in paths)
    folders = {name: ROOT if name == "README.md" else ROOT / "docs" for name in names}
    return {name: folder / name for name, folder in folders.items()}


def stale(kept: kept_rows.Kept) -> list[pathlib.Path]:
    """The pages that differ from what their templates and rows make today."""
    return [
        path
        for name, path in targets().items()
        if not path.exists() or path.read_text(encoding="utf-8") != render(name, kept)
    ]


def write(kept: kept_rows.Kept) -> list[pathlib.Path]:
    """Write the pages that are stale, and return their paths."""
    pages = {path: name for name, path in targets().items()}
    changed = stale(kept)
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, render(pages[path], kept).encode())
    return changed


def typed_numbers(template: str) -> list[str]:
    """Numbers with a fraction, a comma or a percent sign that a template holds as plain text."""
    return _MEASURED.findall(_QUOTED.sub(" ", template))
