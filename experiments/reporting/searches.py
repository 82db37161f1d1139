"""The views of a search: its population as dots that move, what it accepted, its speed and its winner."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.reporting import charts, lines, measures
from experiments.reporting.charts import COLOURS, Chart
from experiments.reporting.following import Progress
from experiments.reporting.reading import Run
from experiments.reporting.rows import FOLDER
from experiments.shared.views import thinned

_FRAMES = 60  # steps whose populations are drawn
_GENOMES = 200  # genomes of a population that are drawn
_BENCHMARK = "benchmark-search"
_CASES = {"ga": "mutants", "tabu": "tabu"}  # the case of the benchmark for an algorithm


def draw(run: Run) -> list[Chart]:
    """The charts of the search that a run made; none where it made no search."""
    steps = [step for step in run.progress.steps if populated(step)] if run.progress else []
    return [_population(run, steps), _accepted(run, steps)] if steps else []


def populated(step: Mapping[str, Any]) -> bool:
    """Whether a step of progress is one of a search, with its population."""
    found = step.get("population")
    return isinstance(found, list) and bool(found) and measures.is_number(step.get("candidates"))


def dots(step: Mapping[str, Any], frame: int = 0) -> list[dict[str, Any]]:
    """The genomes of a population as the points of a picture.

    Args:
      step: the step of progress.
      frame: its number in a picture that moves.
    """
    shown = [one for one in step["population"][:_GENOMES] if isinstance(one, list) and len(one) == 2]
    known = [one for one in shown if all(map(measures.is_number, one))]
    return [{"loss": loss, "size": size, "frame": frame, "work": str(step["work"])} for loss, size in known]


def scatter(data: Sequence[Mapping[str, Any]], frames: int) -> dict[str, Any]:
    """The specification of a population: loss against size.

    Args:
      data: the points of all frames, see `dots`.
      frames: the number of frames; the slider under the picture chooses one of several.
    """
    titles = {"size": "tables (mebibits)", "loss": "loss on the scored fold (nats)"}
    encoding: dict[str, Any] = {}
    for axis, key in (("x", "size"), ("y", "loss")):
        found = [point[key] for point in data]
        room = 0.02 * (max(found) - min(found)) or 0.01 if found else 0.0
        scale = (
            {"domain": [min(found) - room, max(found) + room], "nice": False}
            if frames > 1
            else {"zero": False}
        )
        encoding[axis] = {"field": key, "type": "quantitative", "scale": scale}
        encoding[axis]["axis"] = {"title": titles[key], "tickCount": 5}
    works = list(dict.fromkeys(point["work"] for point in data))
    hues = {"domain": works, "range": list(itertools.islice(itertools.cycle(COLOURS), len(works)))}
    encoding["color"] = {"field": "work", "type": "nominal", "legend": charts.LEGEND}
    encoding["color"] |= {"scale": hues} if works else {"scale": {"range": list(COLOURS)}}
    tip = [{"field": key, "title": title, "format": ",.5~g"} for key, title in titles.items()]
    encoding["tooltip"] = [*tip, {"field": "work", "title": "algorithm"}]
    mark = {"type": "point", "filled": True, "size": 45, "opacity": 0.6}
    if frames < 2:
        return charts.spec_of(list(data), 220, mark=mark, encoding=encoding)
    bind = {"input": "range", "min": 0, "max": frames - 1, "step": 1, "name": "recorded step "}
    moves = {"params": [{"name": "frame", "value": frames - 1, "bind": bind}]}
    moves |= {"transform": [{"filter": "datum.frame==frame"}], "usermeta": {"frames": frames}}
    return charts.spec_of(list(data), 220, mark=mark, encoding=encoding, **moves)


def _population(run: Run, steps: Sequence[Mapping[str, Any]]) -> Chart:
    thin = thinned(len(steps), _FRAMES)
    data = [point for frame, i in enumerate(thin) for point in dots(steps[i], frame)]
    alt = f"The loss of each genome of the population against its size, at {len(thin)} recorded steps."
    return Chart(f"Population, {run.name}", alt, scatter(data, len(thin)), " ".join(speeds(run, steps)))


def _accepted(run: Run, steps: Sequence[Mapping[str, Any]]) -> Chart:
    data = []
    for number, step in enumerate(steps, 1):
        if step["candidates"] and measures.is_number(step.get("accepted")):
            share = 100 * step["accepted"] / step["candidates"]
            data.append({"x": number, "y": share, "low": share, "high": share, "line": str(step["work"])})
    titles = "recorded step", "candidates that were accepted (%)"
    names = list(dict.fromkeys(point["line"] for point in data))
    spec = charts.line_spec(data, *titles, False)
    return Chart(f"Acceptance, {run.name}", charts.alt_of(titles, names, len(data)), spec)


def speeds(run: Run, steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence on the speed of each algorithm, beside the benchmark's where it has the same case."""
    found, known = [], _benchmark()
    model = run.head.get("config", {}).get("model", {}) if isinstance(run.head.get("config"), Mapping) else {}
    cells = model.get("memory", {}).get("cells", "ternary") if isinstance(model, Mapping) else "ternary"
    for work in dict.fromkeys(str(step["work"]) for step in steps):
        own = [
            step for step in steps if str(step["work"]) == work and measures.is_number(step.get("searched"))
        ]
        seconds = own[-1]["searched"] - own[0]["searched"] if own else 0
        if seconds <= 0:
            continue
        # Not every step has a line: each line stands for the steps since the one before.
        tried = sum(b["candidates"] * (b["done"] - a["done"]) for a, b in itertools.pairwise(own))
        case = f"search:{_CASES.get(work.split('+')[0].split(',')[0])}:{cells}:"
        beside = next(
            (f"; the benchmark's {row} has {rate}" for row, rate in known.items() if row.startswith(case)), ""
        )
        found.append(f"{work}: {measures.write(tried / seconds)} genomes a second{beside}.")
    return found


def _benchmark() -> dict[str, str]:
    """The speeds of searches that the benchmark measured, with their machine; none without kept results."""
    found: dict[str, str] = {}
    path, machine = FOLDER / "benchmark.jsonl", "another machine"
    if not path.is_file():
        return found
    for _, record in lines.records(path, []):
        if record.get("run") != _BENCHMARK:
            continue
        machine = str(record.get("device", machine))
        if measures.is_number(record.get("genomes_per_s")):
            found[str(record["row"])] = f"{measures.write(record['genomes_per_s'])} ({machine})"
    return found


def winner(run: Run) -> dict[str, Any] | None:
    """The genome that the search of a run found: a line for each cluster, and Python code that makes it."""
    genome = run.views.genome
    if genome is None:
        return None
    shape = ", ".join(map(str, genome["shape"]))
    try:
        given = np.array(genome["genome"], str(genome["dtype"])) if genome["genome"] else None
    except (ValueError, TypeError, OverflowError):
        given = None
    if given is None or given.ndim != 3:
        return {"run": run.name, "shape": shape, "lines": [], "code": ""}
    used, numbers = given >= 0, json.dumps(given.tolist(), separators=(",", ":"))
    return {
        "run": run.name,
        "shape": shape,
        "lines": [
            {
                "neurons": int(one.any(axis=1).sum()),
                "bits": f"{one.sum(axis=1)[one.any(axis=1)].mean():.1f}" if one.any() else measures.DASH,
                "inputs": len(np.unique(cluster[one])),
                "first": ", ".join(map(str, cluster[0][one[0]])),
            }
            for cluster, one in zip(given, used, strict=True)
        ],
        "code": f"import numpy as np\n\ngenome = np.array({numbers}, np.{given.dtype})",
    }


def frame(progress: Progress) -> list[dict[str, Any]]:
    """The newest population of a search that works; none where none is known."""
    newest = progress.steps[-1] if progress.steps else {}
    return dots(newest) if populated(newest) else []
