"""The pictures of a report as Vega-Lite specifications; they hold numbers of rows and nothing else.

Source: https://vega.github.io/vega-lite/docs/
"""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.reporting import measures
from experiments.reporting.comparing import System, Table
from experiments.reporting.reading import Run
from experiments.shared.views import thinned

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
# The colours of Okabe and Ito, which colour-blind people can tell apart, and lighter ones on dark pages.
# Source: Okabe and Ito, Color Universal Design (2008).
COLOURS = tuple(f"var(--hue{i})" for i in range(7))
LEGEND: dict[str, Any] = {"title": None, "orient": "top", "columns": 1, "labelLimit": 300}
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [1, 0], [6, 3], [2, 2])
_POINTS = 120  # points of a line; a longer list is thinned
_LINES = 7  # lines of a picture
_SYSTEMS = 40  # systems of a picture
_LONGEST = 44  # characters of a label

# What the lists of rows are: the title of the picture, of its x axis, of its y axis.
_LISTS = {
    "bit_accuracy": (
        "Accuracy of each bit of a token",
        "bit of the token, the most significant first",
        "accuracy",
    ),
    "tokens_per_second_by_tenth": (
        "Speed along the training text",
        "tenth of the training text",
        "tokens a second",
    ),
    "curve": ("Score along the stream", "place in the stream", "score"),
    "cosine": ("Recall of what was written first", "number of further parts written", "cosine"),
    "train_share": ("Share of the training tokens in each tier", "tier", "share"),
    "test_share": ("Share of the test tokens in each tier", "tier", "share"),
    "scores": ("Scores before and after a feature was added", "measurement", "score"),
    "microseconds": ("Time of training", "training tokens", "microseconds a token"),
}


@dataclasses.dataclass(frozen=True)
class Chart:
    """A picture.

    Attributes:
      title: its heading.
      alt: what it shows, in a sentence, for those who do not see it.
      spec: the Vega-Lite specification.
      note: what it leaves out; empty where it leaves out nothing.
    """

    title: str
    alt: str
    spec: dict[str, Any]
    note: str = ""


def dots(table: Table) -> Chart | None:
    """The systems of a table as dots with the range of their seeds; None where there is one system."""
    measure, shown = table.measure, table.systems[:_SYSTEMS]
    names = [system.name for system in table.systems]
    twice = {name for name in names if names.count(name) > 1}
    data = [_dot(i, system, table, system.name in twice) for i, system in enumerate(shown)]
    if len(data) < 2:
        return None
    better = "low" if measure.lower else "high"
    shared = {
        "y": {"field": "label", "type": "nominal", "sort": None, "axis": {"title": None, "labelLimit": 210}}
    }
    scale = {"zero": False, "nice": True}
    x = {"type": "quantitative", "scale": scale, "axis": {"title": measure.axis, "tickCount": 5}}
    rule = {"mark": {"type": "rule", "strokeWidth": 2}}
    rule["encoding"] = {"x": {"field": "low", **x}, "x2": {"field": "high"}}
    point = {"mark": {"type": "point", "filled": True, "size": 75, "opacity": 1}, "encoding": {}}
    point["encoding"] = {
        "x": {"field": "mean", **x},
        "shape": _kinds(["square", "circle", "diamond"]),
    }
    point["encoding"]["tooltip"] = [
        {"field": "system", "title": "system"},
        {"field": "written", "title": measure.title},
        {"field": "seeds", "title": "seeds"},
        {"field": "runs", "title": "runs"},
    ]
    shared["color"] = _kinds([COLOURS[6], COLOURS[0], COLOURS[1]])
    spec = spec_of(data, 18 * len(data) + 10, encoding=shared, layer=[rule, point])
    alt = f"Dots: the {measure.title} of {len(data)} systems, {better} is better; the table has the numbers."
    more = len(table.systems) - len(shown)
    return Chart(f"{measure.title.capitalize()} of table {table.number}", alt, spec, left(more, "systems"))


def _dot(place: int, system: System, table: Table, twice: bool) -> dict[str, Any]:
    measure, factor = table.measure, table.measure.factor
    found = [factor * x for x in system.values(measure.key)]
    kind = "baseline" if system.baseline else "best honest" if place == table.best else "system"
    return {
        "label": short(f"{place + 1} {system.name}{f' · {system.bases[0]}' if twice else ''}"),
        "system": system.name,
        "mean": float(np.mean(found)),
        "low": min(found),
        "high": max(found),
        "written": measure.write(system.mean(measure.key)),
        "seeds": len(system.seeds),
        "runs": ", ".join(system.runs[:4]),
        "kind": kind,
    }


def _kinds(values: Sequence[str]) -> dict[str, Any]:
    return {
        "field": "kind",
        "type": "nominal",
        "scale": {"domain": ["baseline", "system", "best honest"], "range": list(values)},
        "legend": {"title": None, "orient": "top"},
    }


def curves(runs: Sequence[Run]) -> list[Chart]:
    """The lists that rows hold as lines, a picture for each run and key; seeds share a picture."""
    found: dict[tuple[str, str], dict[str, list[np.ndarray]]] = {}
    places: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        for record in run.records():
            for key, values in _lists(record):
                place = run.base, key
                found.setdefault(place, {}).setdefault(_line_name(record, key), []).append(values)
                tokens = record.get("tokens")
                if not isinstance(tokens, list) or len(tokens) != len(values):
                    continue
                if all(measures.is_number(x) and x > 0 for x in tokens):
                    places[place] = [float(x) for x in tokens]
    return [_curve(place, lines, places.get(place)) for place, lines in found.items()]


def _lists(record: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """The lists of at least three numbers in a row, also in lists of records and one level down."""
    for key, value in record.items():
        inside = value.items() if isinstance(value, Mapping) and key != "config" else [("", value)]
        for inner, one in inside:
            path = f"{key}.{inner}" if inner else key
            if not isinstance(one, list) or len(one) < 3 or key in ("tokens", "seeds", "config"):
                continue
            if all(isinstance(x, Mapping) and measures.is_number(x.get("ce")) for x in one):
                yield f"{path}.ce", np.array([x["ce"] for x in one], float)
            elif all(map(measures.is_number, one)):
                yield path, np.array(one, float)


def _line_name(record: Mapping[str, Any], key: str) -> str:
    """The name of a line: the row, or the part of a row that holds several lists of one kind."""
    parts = key.split(".")
    return parts[1] if parts[0] == "tiers" and len(parts) == 3 else str(record["row"])


def _curve(
    place: tuple[str, str], lines: Mapping[str, list[np.ndarray]], tokens: Sequence[float] | None
) -> Chart:
    base, key = place
    shown = list(lines.items())[:_LINES]
    about = _LISTS.get(key, (f"{short(key)} along the list", "place in the list", short(key)))
    if key.endswith(".ce"):
        about = ("Cross-entropy of each tier", "tier", "nats a token")
    data = []
    for name, seeds in shown:
        length = min(map(len, seeds))
        table = np.stack([one[:length] for one in seeds])
        thin = thinned(length, _POINTS)
        for i in thin:
            x = tokens[i] if tokens and len(tokens) >= length else int(i) + 1
            low, high = table[:, i].min(), table[:, i].max()
            point = {"x": x, "y": table[:, i].mean(), "low": low, "high": high, "line": short(name)}
            data.append({k: v if isinstance(v, str) else float(v) for k, v in point.items()})
    note = left(len(lines) - len(shown), "lines")
    spec = line_spec(data, about[1], about[2], bool(tokens))
    return Chart(f"{about[0]}, {base}", alt_of(about[1:], list(lines)[:_LINES], len(data)), spec, note)


def growth(runs: Sequence[Run]) -> list[Chart]:
    """The losses of rows that have the number of their training tokens, as lines over that number."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        for record in run.records():
            tokens, loss = record.get("tokens"), record.get("ce")
            if isinstance(tokens, int) and tokens > 0 and measures.is_number(loss):
                name = re.sub(r", [\d,]+$", "", str(record["row"]))
                point = {"x": tokens, "y": loss, "low": loss, "high": loss, "line": short(name)}
                found.setdefault(run.base, []).append(point)
    charts = []
    for base, data in found.items():
        names = list(dict.fromkeys(point["line"] for point in data))
        kept = [point for point in data if point["line"] in names[:_LINES]]
        about = "Cross-entropy against the training text", "training tokens", "cross-entropy (nats a token)"
        note = left(len(names) - _LINES, "lines")
        alt, spec = alt_of(about[1:], names[:_LINES], len(kept)), line_spec(kept, *about[1:], True)
        charts.append(Chart(f"{about[0]}, {base}", alt, spec, note))
    return charts


def progress(run: Run) -> list[Chart]:
    """The progress of a run: the shares of its work that are done, and the losses of its steps."""
    return [chart for losses in (False, True) if (chart := _progress(run, losses))]


def _progress(run: Run, losses: bool) -> Chart | None:
    points = run.progress.new(0, losses) if run.progress else []
    if not points:
        return None
    thin = thinned(len(points), _LINES * _POINTS)
    names = list(dict.fromkeys(point["line"] for point in points))
    kept = [point | {"line": short(point["line"])} for point in (points[i] for i in thin)]
    kept = [point for point in kept if point["line"] in [short(name) for name in names[:_LINES]]]
    titles, note = _steps(losses), left(len(names) - _LINES, "kinds of work")
    title = f"{'Losses of the steps' if losses else 'Progress'}, {run.name}"
    return Chart(title, alt_of(titles, names[:_LINES], len(kept)), line_spec(kept, *titles, False), note)


def _steps(losses: bool) -> tuple[str, str]:
    """The titles of the axes of a picture of progress."""
    return "seconds since it began", "loss (nats)" if losses else "share that is done (%)"


def live(losses: bool) -> dict[str, Any]:
    """The specification of a picture of progress whose points come later.

    Args:
      losses: whether the points are losses of a search, or else shares of work that is done.
    """
    spec = line_spec([], *_steps(losses), False)
    for layer in spec["layer"]:
        for channel in ("color", "strokeDash"):
            layer["encoding"][channel]["scale"] = {"range": list(COLOURS if channel == "color" else _DASHES)}
    return spec


def alt_of(axes: Sequence[str], names: Sequence[str], points: int) -> str:
    """The text of a picture of lines for those who do not see it.

    Args:
      axes: the titles of the x axis and of the y axis.
      names: the names of the lines.
      points: the number of all points.
    """
    return f"{axes[1]} against {axes[0]}: {', '.join(names)}; {points} points."


def left(count: int, what: str) -> str:
    """The note of a picture that leaves things out; empty where it leaves out nothing."""
    return f"{count} more {what} are not drawn." if count > 0 else ""


def line_spec(
    data: list[dict[str, Any]], x: str, y: str, log: bool, colours: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The specification of lines.

    Args:
      data: the points: ``x``, ``y``, the ends ``low`` and ``high`` of a bar, and ``line``, the name.
      x: the title of the x axis.
      y: the title of the y axis.
      log: whether the x axis is logarithmic.
      colours: the colours of the lines, by their names; by default each has the next one.
    """
    names = list(dict.fromkeys(point["line"] for point in data))
    if colours is None:
        colours = dict(zip(names, itertools.cycle(COLOURS)))
    across: dict[str, Any] = {"field": "x", "type": "quantitative", "axis": {"title": x, "tickCount": 6}}
    across["scale"] = {"type": "log", "nice": False} if log else {"zero": False, "nice": False}
    if not log and max((point["x"] for point in data), default=21) <= 20:
        whole = all(float(point["x"]).is_integer() for point in data)
        across["axis"] |= {"tickMinStep": 1, "format": "d"} if whole else {}
    up = {"type": "quantitative", "scale": {"zero": False}, "axis": {"title": y, "tickCount": 5}}
    legend = LEGEND | {"symbolType": "stroke", "symbolOpacity": 1}
    hues = {"domain": names, "range": [colours[name] for name in names]}
    colour = {"field": "line", "type": "nominal", "scale": hues, "legend": legend}
    dashes = list(itertools.islice(itertools.cycle(_DASHES), len(names)))
    dash = {"field": "line", "type": "nominal", "legend": legend, "scale": {"domain": names, "range": dashes}}
    ends = {"mark": {"type": "rule", "opacity": 0.45, "strokeWidth": 3}}
    ends["encoding"] = {"y": {"field": "low", **up}, "y2": {"field": "high"}, "color": colour}
    tip = [{"field": "line", "title": "line"}, {"field": "x", "title": x, "format": ","}]
    tip.append({"field": "y", "title": y, "format": ",.4~f"})
    line = {"mark": {"type": "line", "point": {"size": 22}, "strokeWidth": 2}}
    line["encoding"] = {"y": {"field": "y", **up}, "color": colour, "strokeDash": dash, "tooltip": tip}
    ranges = any(point["low"] != point["high"] for point in data)
    return spec_of(data, 220, encoding={"x": across}, layer=[ends, line] if ranges else [line])


def spec_of(data: list[Any], height: int, **more: Any) -> dict[str, Any]:
    """The specification of a picture as wide as its place and ``height`` pixels high."""
    size = {"width": "container", "height": height, "autosize": {"type": "fit-x", "contains": "padding"}}
    return {"$schema": SCHEMA, "data": {"values": data}, **size, **more}


def short(text: str) -> str:
    """A label that is not too long."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
