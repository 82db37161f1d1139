"""The pictures of a report as Vega-Lite specifications; they hold numbers of rows and nothing else.

Source: https://vega.github.io/vega-lite/docs/
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.reporting import measures
from experiments.reporting.comparing import System, Table
from experiments.reporting.reading import Run

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
# The colours of Okabe and Ito, which colour-blind people can tell apart, and lighter ones on dark pages.
# Source: Okabe and Ito, Color Universal Design (2008).
COLOURS = tuple(f"var(--hue{i})" for i in range(7))
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
    spec = _spec(data, 18 * len(data) + 10, encoding=shared, layer=[rule, point])
    alt = f"Dots: the {measure.title} of {len(data)} systems, {better} is better; the table has the numbers."
    left = len(table.systems) - len(shown)
    return Chart(f"{measure.title.capitalize()} of table {table.number}", alt, spec, _left(left, "systems"))


def _dot(place: int, system: System, table: Table, twice: bool) -> dict[str, Any]:
    measure, factor = table.measure, table.measure.factor
    found = [factor * x for x in system.values(measure.key)]
    kind = "baseline" if system.baseline else "best honest" if place == table.best else "system"
    return {
        "label": _short(f"{place + 1} {system.name}{f' · {system.bases[0]}' if twice else ''}"),
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
    about = _LISTS.get(key, (f"{_short(key)} along the list", "place in the list", _short(key)))
    if key.endswith(".ce"):
        about = ("Cross-entropy of each tier", "tier", "nats a token")
    data = []
    for name, seeds in shown:
        length = min(map(len, seeds))
        table = np.stack([one[:length] for one in seeds])
        thin = np.unique(np.linspace(0, length - 1, min(length, _POINTS)).astype(int))
        for i in thin:
            x = tokens[i] if tokens and len(tokens) >= length else int(i) + 1
            low, high = table[:, i].min(), table[:, i].max()
            point = {"x": x, "y": table[:, i].mean(), "low": low, "high": high, "line": _short(name)}
            data.append({k: v if isinstance(v, str) else float(v) for k, v in point.items()})
    note = _left(len(lines) - len(shown), "lines")
    spec = _lines(data, about[1], about[2], bool(tokens))
    return Chart(f"{about[0]}, {base}", _alt(about, list(lines)[:_LINES], len(data)), spec, note)


def growth(runs: Sequence[Run]) -> list[Chart]:
    """The losses of rows that have the number of their training tokens, as lines over that number."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        for record in run.records():
            tokens, loss = record.get("tokens"), record.get("ce")
            if isinstance(tokens, int) and tokens > 0 and measures.is_number(loss):
                name = re.sub(r", [\d,]+$", "", str(record["row"]))
                point = {"x": tokens, "y": loss, "low": loss, "high": loss, "line": _short(name)}
                found.setdefault(run.base, []).append(point)
    charts = []
    for base, data in found.items():
        names = list(dict.fromkeys(point["line"] for point in data))
        kept = [point for point in data if point["line"] in names[:_LINES]]
        about = "Cross-entropy against the training text", "training tokens", "cross-entropy (nats a token)"
        note = _left(len(names) - _LINES, "lines")
        alt, spec = _alt(about, names[:_LINES], len(kept)), _lines(kept, *about[1:], True)
        charts.append(Chart(f"{about[0]}, {base}", alt, spec, note))
    return charts


def progress(run: Run) -> Chart | None:
    """The progress of a run: the losses of its search, or the share of its work that is done."""
    points = run.progress.new(0) if run.progress else []
    if not points:
        return None
    thin = np.unique(np.linspace(0, len(points) - 1, min(len(points), _LINES * _POINTS)).astype(int))
    names = list(dict.fromkeys(point["line"] for point in points))
    kept = [point | {"line": _short(point["line"])} for point in (points[i] for i in thin)]
    kept = [point for point in kept if point["line"] in [_short(name) for name in names[:_LINES]]]
    losses = any("best" in step for step in run.progress.steps) if run.progress else False
    about = "Progress", "seconds since it began", "loss (nats)" if losses else "share that is done (%)"
    note = _left(len(names) - _LINES, "kinds of work")
    spec = _lines(kept, *about[1:], False)
    return Chart(f"Progress, {run.name}", _alt(about, names[:_LINES], len(kept)), spec, note)


def live(losses: bool) -> dict[str, Any]:
    """The specification of a picture of progress whose points come later.

    Args:
      losses: whether the points are losses of a search, or else shares of work that is done.
    """
    spec = _lines([], "seconds since it began", "loss (nats)" if losses else "share that is done (%)", False)
    for layer in spec["layer"]:
        for channel in ("color", "strokeDash"):
            layer["encoding"][channel]["scale"] = {"range": list(COLOURS if channel == "color" else _DASHES)}
    return spec


def _alt(about: Sequence[str], names: Sequence[str], points: int) -> str:
    return f"Lines of {about[2]} against {about[1]}: {', '.join(names)}; {points} points."


def _left(count: int, what: str) -> str:
    return f"{count} more {what} are not drawn." if count > 0 else ""


def _lines(data: list[dict[str, Any]], x: str, y: str, log: bool) -> dict[str, Any]:
    names = list(dict.fromkeys(point["line"] for point in data))
    across: dict[str, Any] = {"field": "x", "type": "quantitative", "axis": {"title": x, "tickCount": 6}}
    across["scale"] = {"type": "log", "nice": False} if log else {"zero": False, "nice": False}
    if not log and max((point["x"] for point in data), default=21) <= 20:
        across["axis"] |= {"tickMinStep": 1, "format": "d"}
    up = {"type": "quantitative", "scale": {"zero": False}, "axis": {"title": y, "tickCount": 5}}
    legend = {
        "title": None,
        "orient": "top",
        "columns": 1,
        "labelLimit": 300,
        "symbolType": "stroke",
        "symbolOpacity": 1,
    }
    hues = {"domain": names, "range": list(COLOURS[: len(names)])}
    colour = {"field": "line", "type": "nominal", "scale": hues, "legend": legend}
    dash = {"field": "line", "type": "nominal", "legend": legend}
    dash["scale"] = {"domain": names, "range": list(_DASHES[: len(names)])}
    ends = {"mark": {"type": "rule", "opacity": 0.45, "strokeWidth": 3}}
    ends["encoding"] = {"y": {"field": "low", **up}, "y2": {"field": "high"}, "color": colour}
    tip = [{"field": "line", "title": "line"}, {"field": "x", "title": x, "format": ","}]
    tip.append({"field": "y", "title": y, "format": ",.4~f"})
    line = {"mark": {"type": "line", "point": {"size": 22}, "strokeWidth": 2}}
    line["encoding"] = {"y": {"field": "y", **up}, "color": colour, "strokeDash": dash, "tooltip": tip}
    ranges = any(point["low"] != point["high"] for point in data)
    return _spec(data, 220, encoding={"x": across}, layer=[ends, line] if ranges else [line])


def _spec(data: list[dict[str, Any]], height: int, **more: Any) -> dict[str, Any]:
    size = {"width": "container", "height": height, "autosize": {"type": "fit-x", "contains": "padding"}}
    return {"$schema": SCHEMA, "data": {"values": data}, **size, **more}


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
