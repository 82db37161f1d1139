"""The numbers of a picture: a line of ``views.jsonl`` beside its PNG file, which a report draws again.

A matplotlib figure holds all that it shows, so no picture has to name its numbers twice.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import collections, colors, container, image, ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from wnn_jax import files

FILE = "views.jsonl"
_POINTS = 400  # points of a line that are kept; a longer one is thinned
_CELLS = 100_000  # cells of a map that are kept; a larger one is left out
_GENOME = 100_000  # numbers of a genome that are kept


def keep(figure: Figure, path: pathlib.Path) -> None:
    """Append the numbers of a picture to the file beside it.

    Args:
      figure: the picture.
      path: the file of the picture.

    Raises:
      ValueError: the file cannot be written.
    """
    shown = [axes for axes in figure.axes if axes.get_label() != "<colorbar>" and axes.has_data()]
    if len(shown) > 1 and all(axes.images or not axes.axison for axes in shown):
        panels = [_album(shown)] if not any(axes.axison for axes in shown) else [_panel(x) for x in shown]
    else:
        panels = [_panel(axes) for axes in shown]
    _name_by_colour([line for panel in panels for line in panel.get("lines", [])])
    title = figure.get_suptitle()
    _append(path.parent, {"picture": path.name, "title": _line(title), "panels": panels})


def keep_genome(workdir: pathlib.Path, genome: np.ndarray) -> None:
    """Append the genome that a search found, or its shape where it has too many numbers.

    Args:
      workdir: the folder of the run.
      genome: ``int [K, n, T]``: the input bits that each neuron of each cluster reads; -1 is an unused slot.

    Raises:
      ValueError: the file cannot be written.
    """
    shape, dtype = list(genome.shape), str(genome.dtype)
    numbers = genome.tolist() if genome.size <= _GENOME else None
    _append(workdir, {"genome": numbers, "shape": shape, "dtype": dtype})


def _append(workdir: pathlib.Path, record: dict[str, Any]) -> None:
    files.append(workdir / FILE, json.dumps(plain(record)))


def plain(value: Any) -> Any:
    """JSON data: numbers of six digits, and None in place of what JSON has no word for, NaN and infinity."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def thinned(count: int, most: int) -> np.ndarray:
    """The places of at most ``most`` of ``count`` things, evenly spaced, with the first and the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))


def _line(text: str) -> str:
    return " ".join(text.split())


def _panel(axes: Axes) -> dict[str, Any]:
    """The numbers of one part of a picture, with its titles."""
    panel: dict[str, Any] = {"title": _line(axes.get_title()), "lines": [], "bars": [], "rules": []}
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        kind = "linear" if axis.get_scale() == "linear" else "log"
        # Panels above each other have one title for the axis that they share.
        siblings = axes.get_shared_x_axes().get_siblings(axes) if name == "x" else [axes]
        said = [axis.get_label_text(), *(one.get_xlabel() for one in siblings if name == "x")]
        title = next((text for text in said if text), "")
        panel[name] = {"title": _line(title), "scale": kind, "ticks": _ticks(axis)}
    errors = [one for one in axes.containers if isinstance(one, container.ErrorbarContainer)]
    caps = [line for one in errors for line in one.lines[1]]
    ranged = {id(one.lines[0]): one for one in errors if one.lines[0] is not None}
    for line in axes.lines:
        if line in caps:
            continue
        if line.is_transform_set() and line.get_transform() != axes.transData:
            panel["rules"].append(_rule(line))
        else:
            panel["lines"].append(_curve(line, ranged.get(id(line)), axes))
    panel["lines"] += _alone(axes, panel["lines"])
    for one in axes.containers:
        if isinstance(one, container.BarContainer):
            panel["bars"].append(_bars(one))
    if axes.images:
        panel["map"] = _map(axes.images[0], axes)
    return panel


def _ticks(axis: Axis) -> list[list[Any]] | None:
    """The places and words of ticks that a picture chose; None where matplotlib chooses them."""
    locator = axis.get_major_locator()
    if not isinstance(locator, ticker.FixedLocator):
        return None
    places = list(locator())
    words = axis.get_major_formatter().format_ticks(places)
    return [[float(at), _line(word)] for at, word in zip(places, words, strict=True)]


def _name_by_colour(lines: Sequence[dict[str, Any]]) -> None:
    """Give lines without a name that of a line of the same colour: a picture names each colour once."""
    names = {line["colour"]: line["name"] for line in reversed(lines) if line["name"]}
    for line in lines:
        line["name"] = line["name"] or names.get(line["colour"], "")


def _rule(line: Line2D) -> dict[str, Any]:
    """A line across the whole picture."""
    x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
    upright = x[0] == x[-1]
    return {"name": _name(line), ("x" if upright else "y"): float(x[0] if upright else y[0])}


def _curve(line: Line2D, errors: Any, axes: Axes) -> dict[str, Any]:
    x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
    kept = thinned(len(x), _POINTS) if len(x) else []
    found = {"name": _name(errors or line), "grey": _is_grey(line.get_color())}
    found["colour"] = colors.to_hex(line.get_color())
    found |= {"x": x[kept].tolist(), "y": y[kept].tolist()}
    if errors is not None and errors.lines[2]:
        ends = np.array([segment[:, 1] for segment in errors.lines[2][0].get_segments()])
        if len(ends) == len(x):
            found |= {"low": ends.min(axis=1)[kept].tolist(), "high": ends.max(axis=1)[kept].tolist()}
    dots = [one for one in axes.collections if isinstance(one, collections.PathCollection)]
    for one in dots:  # dots over the points of a line give the points their sizes
        if len(one.get_sizes()) == len(x) and np.array_equal(
            np.asarray(one.get_offsets()), np.stack([x, y], 1)
        ):
            found["size"] = np.asarray(one.get_sizes(), float)[kept].tolist()
    return found


def _alone(axes: Axes, lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Dots that lie on no line, each set with its label or with the words beside its only dot."""
    words = {tuple(text.xy): text.get_text() for text in axes.texts if isinstance(text, Annotation)}
    on_lines = [(line["x"], line["y"]) for line in lines if "size" in line]
    found = []
    for one in axes.collections:
        if not isinstance(one, collections.PathCollection):
            continue
        x, y = np.asarray(one.get_offsets(), float).T.tolist()
        if x and (x, y) not in on_lines:
            name = _name(one) or (words.get((x[0], y[0]), "") if len(x) == 1 else "")
            colour: Any = one.get_facecolor()[0]
            about = {"name": _line(name), "grey": _is_grey(colour), "colour": colors.to_hex(colour)}
            found.append({**about, "x": x, "y": y})
    return found


def _bars(bars: container.BarContainer) -> dict[str, Any]:
    across = bars.orientation == "horizontal"
    at = [
        (p.get_y() + p.get_height() / 2) if across else (p.get_x() + p.get_width() / 2) for p in bars.patches
    ]
    ends = [p.get_width() if across else p.get_height() for p in bars.patches]
    found = {"name": _name(bars), "across": across, "at": at, "end": ends}
    found["grey"] = [_is_grey(p.get_facecolor()) for p in bars.patches]
    if bars.errorbar is not None and bars.errorbar.lines[2]:
        segments = np.array([s[:, 0 if across else 1] for s in bars.errorbar.lines[2][0].get_segments()])
        if len(segments) == len(ends):
            found |= {"low": segments.min(axis=1).tolist(), "high": segments.max(axis=1).tolist()}
    return found


def _map(shown: image.AxesImage, axes: Axes) -> dict[str, Any]:
    """The cells of a map, row by row from the top one of the array, and the words that stand in them."""
    values = np.asarray(shown.get_array(), float)
    if values.ndim != 2 or values.size > _CELLS:
        return {"rows": int(values.shape[0]), "columns": int(values.shape[1]), "values": None}
    words = {}
    for text in axes.texts:
        column, row = text.get_position()
        words[f"{round(row)},{round(column)}"] = text.get_text()
    low, high = shown.get_clim()
    found = {"rows": values.shape[0], "columns": values.shape[1], "values": values.ravel().tolist()}
    found |= {"low": low, "high": high, "words": words, "up": shown.origin == "lower"}
    bar = shown.colorbar
    return {**found, "unit": _line(bar.ax.get_ylabel() or bar.ax.get_xlabel()) if bar else ""}


def _album(shown: Sequence[Axes]) -> dict[str, Any]:
    """Small images as one map, five to a row, with an empty cell between two of them."""
    axes = [one for one in shown if one.images]
    images = [np.asarray(one.images[0].get_array(), float) for one in axes]
    height, width = images[0].shape
    across = min(5, len(images))
    down = -(-len(images) // across)
    values = np.full((down * (height + 1) - 1, across * (width + 1) - 1), np.nan)
    for place, one in enumerate(images):
        top, left = place // across * (height + 1), place % across * (width + 1)
        values[top : top + height, left : left + width] = one
    low, high = axes[0].images[0].get_clim()
    found = {"rows": values.shape[0], "columns": values.shape[1], "low": low, "high": high, "unit": ""}
    found |= {"values": values.ravel().tolist(), "words": {}, "up": False}
    names = [_line(one.get_title()) for one in axes]
    return {"title": "", "album": names, "across": across, "map": found}


def _name(artist: Any) -> str:
    label = str(artist.get_label() or "")
    return "" if label.startswith("_") else _line(label)


def _is_grey(color: Any) -> bool:
    red, green, blue = colors.to_rgb(color)
    return red == green == blue
