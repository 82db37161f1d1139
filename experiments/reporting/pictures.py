"""The pictures that commands made, drawn again from their numbers as charts of a page."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.reporting import charts, measures
from experiments.reporting.charts import COLOURS, Chart
from experiments.reporting.views import Views

_GREY = "var(--soft)"
_LINES = 14  # lines of a picture
_WIDTH = 440  # pixels of a picture on a wide screen, about
_FEW = 4  # points of a line below which they are drawn large
_BAR = 24  # pixels of a bar that lies


def draw(name: str, views: Views, problems: list[str]) -> list[Chart]:
    """The charts of the pictures of a run.

    Args:
      name: the name of the run, which the titles end with.
      views: its pictures.
      problems: gets a line for each picture that holds something else than numbers.
    """
    made = []
    for file, record in views.pictures.items():
        try:
            made += [_chart(name, file, record, i) for i in range(len(record["panels"]))]
        except (AttributeError, KeyError, TypeError, ValueError, IndexError):
            problems.append(f"{name}: the numbers of {file} cannot be drawn")
    return made


def _chart(name: str, file: str, record: Mapping[str, Any], place: int) -> Chart:
    panel = record["panels"][place]
    titles = [x["title"] for x in (panel, *record["panels"]) if x["title"]]
    said = (titles or [record["title"] or _axis(panel, "x" if _lies(panel) else "y") or file])[0]
    title = f"{said[:1].upper()}{said[1:]}, {name}"
    if len(record["panels"]) > 1:
        title += f": {_axis(panel, 'y')}"
    if "map" in panel:
        return _map(title, panel)
    if panel["bars"]:
        return _bars(title, panel)
    return _curves(title, panel)


def _axis(panel: Mapping[str, Any], name: str) -> str:
    """The title of an axis; the word for it, where it has none."""
    return str(panel[name]["title"] or {"x": "place", "y": "value"}[name]) if name in panel else "image"


def _lies(panel: Mapping[str, Any]) -> bool:
    """Whether the bars of a panel lie."""
    return bool(panel.get("bars")) and bool(panel["bars"][0]["across"])


def _curves(title: str, panel: Mapping[str, Any]) -> Chart:
    """Lines over numbers; those of baselines are grey."""
    shown = [one for one in panel["lines"] if one["x"]][:_LINES]
    names, data = _distinct([str(one["name"]) for one in shown]), []
    for name, one in zip(names, shown, strict=True):
        ends = one.get("low", one["y"]), one.get("high", one["y"])
        sizes = one.get("size") or [None] * len(one["x"])
        for x, y, low, high, size in zip(one["x"], one["y"], *ends, sizes, strict=True):
            if all(map(measures.is_number, (x, y, low, high))):
                share = {} if size is None else {"share": size}
                data.append({"x": x, "y": y, "low": low, "high": high, "line": name, **share})
    hues, titles = itertools.cycle(COLOURS), (_axis(panel, "x"), _axis(panel, "y"))
    colours = {name: _GREY if one["grey"] else next(hues) for name, one in zip(names, shown, strict=True)}
    spec = charts.line_spec(data, *titles, panel["x"]["scale"] == "log", colours)
    if shown and max(len(one["x"]) for one in shown) < _FEW and spec["layer"]:
        spec["layer"][-1]["mark"]["point"] = {"size": 60}
    if any("share" in point for point in data):
        spec["layer"].append(_dots())
    if panel["y"]["scale"] == "log":
        for layer in spec["layer"]:
            layer["encoding"]["y"]["scale"] = {"type": "log", "nice": False}
    spec["layer"] += [_rule(one) for one in panel["rules"]]
    note = charts.left(len(panel["lines"]) - len(shown), "lines")
    return Chart(title, charts.alt_of(titles, names, len(data)), spec, note)


def _dots() -> dict[str, Any]:
    """Dots over the points of a line, whose area says what share of all they stand for."""
    encoding: dict[str, Any] = {"size": {"field": "share", "type": "quantitative", "legend": None}}
    encoding |= {"y": {"field": "y", "type": "quantitative"}, "color": {"field": "line", "type": "nominal"}}
    return {"mark": {"type": "point", "filled": True, "opacity": 0.5}, "encoding": encoding}


def _rule(one: Mapping[str, Any]) -> dict[str, Any]:
    axis = "x" if "x" in one else "y"
    mark = {"type": "rule", "strokeDash": [4, 3], "color": _GREY}
    encoding: dict[str, Any] = {axis: {"datum": one[axis], "type": "quantitative"}}
    if one["name"]:
        encoding["description"] = {"value": one["name"]}
    return {"data": {"values": [{}]}, "mark": mark, "encoding": encoding}


def _bars(title: str, panel: Mapping[str, Any]) -> Chart:
    """Bars in groups, with whiskers from the lowest to the highest where there are any."""
    across = _lies(panel)
    along, up = ("y", "x") if across else ("x", "y")
    names = _distinct([str(one["name"]) for one in panel["bars"]])
    words, data = panel[along]["ticks"] or [], []
    for name, one in zip(names, panel["bars"], strict=True):
        for i, (at, end) in enumerate(zip(one["at"], one["end"], strict=True)):
            if not all(map(measures.is_number, (at, end))):
                continue
            word = min(words, key=lambda tick, at=at: abs(tick[0] - at))[1] if words else f"{round(at)}"
            kind = "baseline" if len(names) == 1 and one["grey"][i] else name
            ends = {"low": one["low"][i], "high": one["high"][i]} if "low" in one else {}
            data.append({"at": charts.short(str(word)), "end": end, "line": kind, **ends})
    kinds = list(dict.fromkeys(point["line"] for point in data))
    hues = itertools.cycle(COLOURS)
    grey = {name for name, one in zip(names, panel["bars"], strict=True) if all(one["grey"])} | {"baseline"}
    colours = [_GREY if kind in grey else next(hues) for kind in kinds]
    titles = [_axis(panel, along), _axis(panel, up)]
    value = {"type": "quantitative", "axis": {"title": titles[1], "tickCount": 5}}
    value["scale"] = {"zero": not any("low" in point for point in data), "nice": True}
    value["scale"] |= {"type": "symlog", "constant": 0.01} if panel[up]["scale"] == "log" else {}
    axis = {"title": None if across else titles[0], "labelLimit": 210, "labelAngle": 0}
    shared = {along: {"field": "at", "type": "nominal", "sort": None, "axis": axis}}
    legend = None if len(kinds) == 1 else charts.LEGEND
    colour = {
        "field": "line",
        "type": "nominal",
        "legend": legend,
        "scale": {"domain": kinds, "range": colours},
    }
    offset = {} if len(names) == 1 else {f"{along}Offset": {"field": "line", "sort": kinds}}
    tip = [{"field": "at", "title": titles[0]}, {"field": "line", "title": "bar"}]
    tip.append({"field": "end", "title": titles[1], "format": ",.4~g"})
    whiskers = any("low" in point for point in data)
    mark = {"type": "point", "filled": True, "size": 60} if whiskers else {"type": "bar"}
    layer = [
        {"mark": mark, "encoding": {up: {"field": "end", **value}, "color": colour, "tooltip": tip, **offset}}
    ]
    if whiskers:
        ends = {up: {"field": "low", **value}, f"{up}2": {"field": "high"}, "color": colour, **offset}
        layer.append({"mark": {"type": "rule", "strokeWidth": 2}, "encoding": ends})
    height = max(120, _BAR * len({point["at"] for point in data})) if across else 220
    spec = charts.spec_of(data, height, encoding=shared, layer=layer)
    return Chart(title, charts.alt_of(titles, kinds, len(data)), spec)


def _map(title: str, panel: Mapping[str, Any]) -> Chart:
    """A map of cells; a list of names stands for the small images that it is made of."""
    cells = panel["map"]
    rows, columns, values = cells["rows"], cells["columns"], cells["values"]
    if values is None:
        note = f"The map of {rows:,} by {columns:,} cells is too large for a page: see its PNG file."
        return Chart(
            title,
            f"A map of {rows} by {columns} cells, not drawn.",
            charts.spec_of([], 1, mark="point"),
            note,
        )
    if len(values) != rows * columns:
        raise ValueError("a map of another size than it says")
    place = [
        {"window": [{"op": "row_number", "as": "i"}]},
        {"calculate": f"(datum.i-1)%{columns}", "as": "column"},
        {"calculate": f"floor((datum.i-1)/{columns})", "as": "row"},
        {"filter": "datum.data!==false"},
    ]
    axes = {name: None if "album" in panel else _ticked(panel[name], name) for name in "xy"}
    # Without domains the gaps between images, which have no data, would be left out.
    places = {
        "x": {"domain": list(range(columns))},
        "y": {"domain": list(range(rows))[:: -1 if cells["up"] else 1]},
    }
    scale = {"domain": [cells["low"], cells["high"]], "scheme": "viridis"}
    legend = {"title": cells["unit"] or None, "gradientLength": 120} if "album" not in panel else None
    seen = [{"field": "column", "title": _axis(panel, "x")}, {"field": "row", "title": _axis(panel, "y")}]
    encoding = {
        "x": {"field": "column", "type": "ordinal", "axis": axes["x"], "scale": places["x"]},
        "y": {"field": "row", "type": "ordinal", "axis": axes["y"], "scale": places["y"]},
        "color": {"field": "data", "type": "quantitative", "scale": scale, "legend": legend},
        "tooltip": [*seen, {"field": "data", "title": cells["unit"] or "value", "format": ",.4~g"}],
    }
    layer: list[dict[str, Any]] = [{"mark": {"type": "rect"}, "encoding": encoding}]
    if cells["words"]:
        layer.append(_words(cells, encoding))
    height = min(420, max(100, 22 * rows if rows <= 20 else 4 * rows))
    if "album" in panel:
        height = min(420, max(60, round(_WIDTH * rows / columns)))
    # Vega takes no null in place of a record.
    spec = charts.spec_of([False if x is None else x for x in values], height, transform=place, layer=layer)
    names = panel.get("album", [])
    note = f"In the order of reading: {', '.join(map(str, names))}." if names else ""
    alt = f"A map of {rows} rows and {columns} columns; {_axis(panel, 'y')} against {_axis(panel, 'x')}."
    return Chart(title, alt, spec | {"usermeta": {"cells": len(values)}}, note)


def _words(cells: Mapping[str, Any], encoding: Mapping[str, Any]) -> dict[str, Any]:
    """The words that stand in the cells of a map."""
    places = [(*map(int, place.split(",")), str(word)) for place, word in cells["words"].items()]
    values = [
        {"row": row, "column": column, "word": word, "dark": cells["values"][row * cells["columns"] + column]}
        for row, column, word in places
    ]
    middle = (cells["low"] + cells["high"]) / 2
    ink = {"condition": {"test": f"datum.dark>{middle}", "value": "#000"}, "value": "#fff"}
    own = {axis: encoding[axis] for axis in "xy"} | {"text": {"field": "word"}, "color": ink}
    return {"data": {"values": values}, "mark": {"type": "text", "fontSize": 11}, "encoding": own}


def _ticked(axis: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The axis of a map: its words where it has some, else numbers with room between them."""
    shown: dict[str, Any] = {"title": axis["title"] or None, "labelOverlap": True, "labelLimit": 120}
    if axis["ticks"]:
        words = {int(at): str(word) for at, word in axis["ticks"]}
        shown["labelExpr"] = f"({json.dumps(words)})[datum.value]"
        shown["labelAngle"] = 0 if name == "y" or all(len(word) < 4 for word in words.values()) else -90
    return shown


def _distinct(names: Sequence[str]) -> list[str]:
    """Names for lines of a picture, numbered where several are the same or none is given."""
    shown = [charts.short(name) for name in names]
    twice = {name for name in shown if not name or shown.count(name) > 1}
    if len(shown) == 1:
        return [shown[0] or "values"]
    return [f"{name or 'values'} {i}" if name in twice else name for i, name in enumerate(shown, 1)]
