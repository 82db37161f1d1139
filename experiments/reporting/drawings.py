"""The charts of a page as SVG files, for papers and for the docs. They have the light colours of the page."""

import json
import pathlib
import re
import unicodedata
from collections.abc import Sequence

from experiments.reporting import onepage, reading
from experiments.reporting.charts import Chart
from experiments.shared import views
from wnn_jax import files, optional

_WIDTH = 460  # pixels
_INK = "#1b1f24"
_AXIS = {"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": 500, "gridOpacity": 0.5}
_CONFIG = {"background": "white", "font": "DejaVu Sans, sans-serif", "view": {"stroke": None}}
# A text for each mark would make the files three times as large; a page gives its own text for a picture.
_CONFIG |= {"axis": _AXIS, "padding": 8, "aria": False}


def write(paths: Sequence[str | pathlib.Path], folder: pathlib.Path) -> list[pathlib.Path]:
    """Write each chart of the page of some runs as an SVG file, named by its title.

    Args:
      paths: folders of runs, as `reading.read` takes them.
      folder: the folder to write to; it is made if it is missing.

    Returns:
      The files. Those of charts with the same title end with a number.

    Raises:
      ValueError: a path is not a folder, or a file cannot be written.
    """
    runs, _ = reading.read(paths)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot make the folder {folder}: {error.strerror}") from error
    written: list[pathlib.Path] = []
    for chart in onepage.layout(runs).charts:
        name = _file_name(chart.title)
        same = sum(re.fullmatch(rf"{re.escape(name)}(_\d+)?", path.stem) is not None for path in written)
        path = folder / f"{name}{f'_{same + 1}' if same else ''}.svg"
        files.write(path, svg(chart).encode())
        written.append(path)
    return written


def svg(chart: Chart) -> str:
    """A chart as SVG; one that moves shows all its frames at once."""
    spec = json.loads(_plain_colours(json.dumps(views.plain(chart.spec))))
    spec |= {"width": _WIDTH, "autosize": {"type": "pad"}}
    meta = spec.pop("usermeta", {})
    if "frames" in meta:
        del spec["params"], spec["transform"]
    return optional.need("vl_convert", "report").vegalite_to_svg(spec, config=_CONFIG)


def _plain_colours(text: str) -> str:
    """The names of colours in a specification replaced by the light colours of the style sheet."""
    light = (onepage.FOLDER / "page.css").read_text(encoding="utf-8").partition("}")[0]
    colours = dict(re.findall(r"(--\w+):(#\w+)", light))
    return re.sub(r"var\((--\w+)\)", lambda found: colours[found[1]], text).replace("currentColor", _INK)


def _file_name(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:80] or "picture"
