"""One page of any runs, in one file: no network, no server. The words stand in ``page/page.html.j2``."""

import functools
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments.reporting import charts, comparing, measures, pictures, reading, searches
from experiments.reporting.comparing import System, Table
from experiments.reporting.reading import Run
from experiments.shared import views
from wnn_jax import optional

FOLDER = pathlib.Path(__file__).parent / "page"
MOST = 5_000_000  # bytes of a page
_KEPT = (1000, 250, 60, 15, 4)  # rows of a run and pictures that are kept: fewer, if the page is too large
_COLUMNS = 9  # columns of numbers in a table of results
_SHOWN = 300  # systems in a table of results
_CELL = 160  # characters of a cell of all rows
_CONFIG = 30_000  # characters of the settings of a run


def page(paths: Sequence[str | pathlib.Path], title: str = "Runs") -> str:
    """Make the page of some runs.

    Args:
      paths: folders of runs, as `reading.read` takes them.
      title: the title of the page.

    Returns:
      The page, at most `MOST` bytes of UTF-8.

    Raises:
      ValueError: a path is not a folder, or even the fewest rows make the page too large.
    """
    size, count = 0, 0
    for most in _KEPT:
        runs, problems = reading.read(paths, most)
        made = render(runs, problems, title, most=most)
        size, count = len(made.encode()), len(runs)
        if size <= MOST:
            return made
    raise ValueError(f"the page of {count} runs has {size:,} bytes, more than {MOST:,}: give fewer runs")


class Layout(NamedTuple):
    """The parts of a page that are made of results.

    Attributes:
      tables: what the template needs of each table.
      unranked: a line for each reason why rows are in no table.
      charts: all pictures, those of the tables first.
      first: the number of pictures of tables.
      problems: a line for each picture that cannot be drawn.
    """

    tables: list[dict[str, Any]]
    unranked: list[str]
    charts: list[charts.Chart]
    first: int
    problems: list[str]


def layout(runs: Sequence[Run], most: int = _KEPT[0]) -> Layout:
    """Sort the rows of runs into tables, and draw their pictures.

    Args:
      runs: the runs.
      most: the number of pictures besides those of tables.
    """
    tables, unranked = comparing.tables(runs)
    drawn: list[charts.Chart] = []
    shown = [_table(table, tables, drawn) for table in tables]
    first, lost = len(drawn), list[str]()
    for run in runs:
        drawn += charts.progress(run) + searches.draw(run)
        drawn += pictures.draw(run.name, run.views, lost)
    # The lists in the rows of a run that made pictures are in its pictures.
    drawn += charts.growth(runs) + charts.curves([run for run in runs if not run.views.pictures])
    if left := charts.left(len(drawn) - first - most, "pictures"):
        lost.append(left.rstrip("."))
    return Layout(shown, unranked, drawn[: first + most], first, lost)


def render(
    runs: Sequence[Run], problems: Sequence[str], title: str, live: bool = False, most: int = _KEPT[0]
) -> str:
    """The page of runs that were read.

    Args:
      runs: the runs.
      problems: a line for everything that could not be read.
      title: the title of the page.
      live: whether the page asks the server that it came from for new steps.
      most: the number of pictures besides those of tables.
    """
    jinja = optional.need("jinja2", "report")
    safe = optional.need("markupsafe", "report").Markup
    environment = jinja.Environment(
        loader=jinja.FileSystemLoader(FOLDER),
        undefined=jinja.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
    )
    parts = layout(runs, most)
    large = [run for run in runs if run.more]
    more = [f"{run.name}: {run.more:,} rows after the first {len(run.rows):,} are not shown" for run in large]
    made = environment.get_template("page.html.j2").render(
        title=title,
        live=live,
        problems=[*problems, *parts.problems, *more],
        runs=[_overview(run) for run in runs],
        count=f"{sum(len(run.rows) + run.more for run in runs):,}",
        heads={"runs": _heads(*_OVERVIEW), "short": _heads(*_SHORT), "genome": _heads(*_GENOME)},
        tables=parts.tables,
        unranked=parts.unranked,
        charts=list(enumerate(parts.charts))[parts.first :],
        winners=[winner for run in runs if (winner := searches.winner(run))],
        style=safe((FOLDER / "page.css").read_text(encoding="utf-8")),
        script=safe((FOLDER / "page.js").read_text(encoding="utf-8")),
        live_script=safe((FOLDER / "live.js").read_text(encoding="utf-8")),
        bundle=safe(_bundle()),
        data=safe(_data(runs, parts.charts)),
        footer="Made by experiments.report of wnn_jax. Every number stands in a row of a run.",
    )
    # Names of files and JSON may hold halves of characters, which UTF-8 has no bytes for.
    return made.encode("utf-8", "replace").decode()


@functools.cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that cannot end its element."""
    bundle = optional.need("vl_convert", "report").javascript_bundle()
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


_OVERVIEW = ("run", "command", "when", "seeds", "#rows", "#seconds", "state", "where", "details")
_GENOME = ("#cluster", "#neurons", "#bits of an address", "#input bits read", "its first neuron reads")
_SHORT = ("#table", "test", "best honest row", "measure", "#value", "verdict")


def _heads(*titles: str) -> list[dict[str, Any]]:
    """The heads of columns; # begins the title of a column of numbers."""
    return [{"title": title.lstrip("#"), "number": title.startswith("#")} for title in titles]


def _overview(run: Run) -> dict[str, Any]:
    head = run.head
    versions = head["versions"] if isinstance(head.get("versions"), Mapping) else {}
    took = head.get("command_seconds")
    if not measures.is_number(took):
        parts = [row["seconds"] for row in run.rows if measures.is_number(row.get("seconds"))]
        took = sum(parts) if parts else None
    own = {str(row["seed"]) for row in run.records() if "seed" in row}
    given = head.get("seeds", head.get("seed"))
    seeds = sorted(own) or (given if isinstance(given, list) else [given])
    words = [str(head[key]) for key in ("device", "backend") if key in head]
    line = head.get("command")
    return {
        "name": run.name,
        "command": str(head.get("experiment") or _experiment(line)),
        "when": str(head.get("time", "not recorded")).replace("T", " ").removesuffix("+00:00"),
        "seeds": ", ".join(str(seed) for seed in seeds if seed is not None),
        "rows": len(run.rows) + run.more,
        "seconds": _plain(took),
        "took": measures.DASH if took is None else f"{took:,.1f}",
        "state": _state(run),
        "where": ", ".join(words),
        "place": run.place,
        "printed": str(head.get("printed", "")),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "line": line if isinstance(line, str) else "",
    }


def _state(run: Run) -> str:
    """Whether the command of a run works, ended, failed or was stopped, where that is known."""
    if run.progress:
        return run.progress.state
    return "ended" if "command_seconds" in run.head else measures.DASH


def _experiment(line: Any) -> str:
    """The command of a command line; empty where it is none of ours."""
    found = re.match(r"python -m experiments\.(\w+)", line) if isinstance(line, str) else None
    return found[1] if found else ""


def _table(table: Table, tables: Sequence[Table], pictures: list[charts.Chart]) -> dict[str, Any]:
    """The parts of a table that the template needs of results; its picture is added to ``pictures``."""
    columns = _columns(table)
    verdicts = {id(system): line for system, line in comparing.verdicts(table, tables)}
    rows = [_row(i, table, columns, verdicts) for i in range(min(len(table.systems), _SHOWN))]
    chart = charts.dots(table)
    if chart:
        pictures.append(chart)
    titles = [f"#{one.title}" for one in columns]
    titles.insert(1, "#range of seeds")
    winner = None if table.best is None else table.systems[table.best]
    return {
        "number": table.number,
        "title": table.title,
        "measure": table.measure.title,
        "warnings": table.warnings,
        "why": table.why,
        "heads": _heads("system", *titles, "verdict", "runs"),
        "rows": rows,
        "left": max(len(table.systems) - _SHOWN, 0),
        "chart": chart,
        "place": len(pictures) - 1,
        "winner": winner
        and {
            "name": winner.name,
            "first": table.measure.write(winner.mean(table.measure.key)),
            "verdict": verdicts[id(winner)],
        },
    }


def _columns(table: Table) -> list[measures.Measure]:
    """The columns of numbers: what ranks the rows, and whatever else a system has."""
    there = [one for one in measures.COLUMNS if any(system.values(one.key) for system in table.systems)]
    return [table.measure, *(one for one in there if one.key != table.measure.key)][:_COLUMNS]


def _row(
    place: int, table: Table, columns: Sequence[measures.Measure], verdicts: Mapping[int, str]
) -> dict[str, Any]:
    system = table.systems[place]
    means = [(one, system.mean(one.key)) for one in columns]
    cells = [{"value": _plain(mean), "text": one.write(mean)} for one, mean in means]
    more = f" and {len(system.bases) - 1} more" if len(system.bases) > 1 else ""
    found = system.values(table.measure.key)
    width = max(found) - min(found) if len(found) > 1 and system.seeded else None
    return {
        "name": system.name,
        "kind": "baseline" if system.baseline else "best" if place == table.best else "system",
        "badge": _badge(place, system, table),
        "cells": [cells[0], {"value": _plain(width), "text": table.measure.write(width)}, *cells[1:]],
        "verdict": verdicts.get(id(system), ""),
        "runs": system.bases[0] + more,
    }


def _badge(place: int, system: System, table: Table) -> str:
    if system.baseline:
        return "baseline"
    if not system.honest:
        return "not a model"
    return "best" if place == table.best else ""


def _plain(value: float | None) -> float | str:
    return "" if value is None else value


def _data(runs: Sequence[Run], pictures: Sequence[charts.Chart]) -> str:
    """The data of the script as JSON that cannot end its element."""
    configs: dict[str, int] = {}
    kept = []
    for run in runs:
        config = json.dumps(views.plain(run.head.get("config") or {}), sort_keys=True)
        config = config if len(config) <= _CONFIG else '{"settings": "too long to show"}'
        keys = (key for row in run.rows for key in row if key != "config")
        columns = list(dict.fromkeys(["row", *keys]))[:60]
        rows = [[_cell(row.get(key)) for key in columns] for row in run.rows]
        place = configs.setdefault(config, len(configs))
        kept.append({"name": run.name, "config": place, "columns": columns, "rows": rows, "more": run.more})
    data = {
        "charts": [views.plain(chart.spec) for chart in pictures],
        "configs": [json.loads(config) for config in configs],
        "runs": kept,
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate({ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"})


def _cell(value: Any) -> Any:
    """A value of a row as a number of six digits or as a short text."""
    if measures.is_number(value):
        return float(f"{value:.6g}") if isinstance(value, float) or abs(value) > 1 << 53 else value
    if value is None or isinstance(value, float):
        return None
    text = value if isinstance(value, str) else json.dumps(views.plain(value), ensure_ascii=False)
    return text if len(text) <= _CELL else f"{text[: _CELL - 1]}…"
