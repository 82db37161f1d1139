"""Classify the rows of a table with table memories, beside the baselines that they have to beat.

python -m experiments.classify --data=digits
"""

import dataclasses
import itertools
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, Literal, get_args

import jax
import numpy as np

from experiments.classifying import baselines, choosing, detection, drift, models, pictures
from experiments.classifying.baselines import Name
from experiments.classifying.models import Cells, Fitted, Search, Settings
from experiments.recommending.common import mean_range
from experiments.shared import bars, machine, tables
from experiments.shared.commandline import Command, Group
from wnn_jax import checks, export
from wnn_jax.checks import Limits
from wnn_jax.classify import explain
from wnn_jax.classify.distort import DistortConfig
from wnn_jax.classify.encoders import EncoderConfig
from wnn_jax.classify.fitting import TrainingConfig
from wnn_jax.classify.mapping import MappingConfig
from wnn_jax.classify.regression import RegressionConfig
from wnn_jax.classify.residual import ResidualConfig
from wnn_jax.data.tables import TableConfig, TableData, load

_MOST_SIMULATED = 1000  # test rows on which a circuit is compared with Python


@dataclasses.dataclass(frozen=True)
class ClassifyRun:
    """The models of a run.

    Attributes:
      baselines: the baselines to run.
      cells: the kinds of cells to fit.
      sizes: the sizes of our models, KiB of tables.
      seeds: the number of mappings of each size; the first is drawn from --seed.
      search: how mappings are searched for: trained cells by residuals, count cells by an algorithm over
        genomes that give each class neurons of its own. none draws them.
      search_steps: the steps of a search over genomes.
      export: the language to write our first model of the largest size in; the compiled or simulated model is
        compared with it.

    Raises:
      ValueError: a value is out of range.
    """

    baselines: tuple[Name, ...] = get_args(Name)
    cells: tuple[Cells, ...] = ("trained", "count")
    sizes: tuple[float, ...] = (2.0, 8.0, 32.0)
    seeds: int = 3
    search: Search = "none"
    search_steps: int = 60
    export: Literal["c", "verilog"] | None = None

    def __post_init__(self):
        checks.fields(
            self,
            sizes=Limits(above=0, most=1 << 20),
            seeds=Limits(least=1, most=1000),
            search_steps=Limits(least=1),
        )
        if not self.cells or not self.sizes:
            raise ValueError("--cells and --sizes name no model: give at least one of each")


def main(options: Any) -> None:
    run: ClassifyRun = options.run
    seeds = range(options.common.seed, options.common.seed + run.seeds)
    checks.integer("the last seed", seeds[-1], checks.SEED)
    workdir = tables.make_workdir(options.common.workdir)
    if options.drift.drift:
        about = {"experiment": "classify", "config": dataclasses.asdict(options.drift)}
        drift.run(options.drift, tables.Results(workdir, about), workdir, seeds)
        print(f"results and picture in {workdir}")
        return
    data = load(options.table)
    if not data.labels and (run.export or run.search != "none"):
        raise ValueError(f"the target of {options.table.data} is a number: leave out --export and --search")
    settings = settings_for(options, data)
    print(f"{data.description}\n{machine.device()}, {machine.backend_name()}; seeds {list(seeds)}")
    about = {title: dataclasses.asdict(getattr(settings, title)) for title in settings._fields[:-1]}
    about |= {"table": dataclasses.asdict(options.table), "run": dataclasses.asdict(run)}
    if not options.choice.folds:
        for kind in run.cells:  # the smallest model fails here, before any work
            models.number_of_tables(settings, data, kind, min(run.sizes))
    about["choice"] = dataclasses.asdict(options.choice)
    results = tables.Results(workdir, {"experiment": "classify", "data": data.description, "config": about})
    others = add_baselines(results, run, data, options.common.seed)
    if options.choice.folds:
        found = add_chosen(results, options.choice, run, settings, data, seeds)
    else:
        found = add_models(results, run, settings, data, seeds)
    show(results, data, others, found)
    if len(data.labels) == 2:
        detect(results, run, settings, data, others, found, seeds)
    draw(workdir, run, data, others, found)
    if run.export:
        write(results, workdir, run, data, next(iter(found.values()))[max(run.sizes)][0])
    print(f"results and pictures in {workdir}")


def settings_for(options: Any, data: TableData) -> Settings:
    """Complete the settings by what follows from the table: its categories, and pixels share thresholds."""
    encoder = options.encoder(categories=tuple(sorted(data.categories)), shared=data.image is not None)
    mapping = options.mapping(tables=1)
    residual = options.residual
    if options.run.search != "residuals":
        residual = dataclasses.replace(residual, rounds=0)
    return Settings(
        *(encoder, mapping, options.training, residual, options.regression, options.distort),
        options.run.search_steps,
    )


def add_baselines(results: tables.Results, run: ClassifyRun, data: TableData, seed: int) -> dict[str, Any]:
    """Run the baselines, and add their rows."""
    found = {}
    for name in bars.each(run.baselines, "baselines", "baseline"):
        scored = baselines.run(name, data, seed)
        if scored is None:
            print(f"no row for {name}: it is not installed")
            continue
        row = baselines.LABELS[name][0 if data.labels else 1]
        found[row] = scored
        results.add(row, **described(data, scored), seed=seed)
    return found


def described(data: TableData, scored: baselines.Scored) -> dict[str, float]:
    """Return the numbers of a row."""
    speed = len(data.y_test) / max(scored.seconds, 1e-9)
    more = {"kib": scored.kib, "train_seconds": scored.train_seconds, "rows_per_second": speed}
    return {**baselines.judged(data, scored.predicted), **more}


def add_models(
    results: tables.Results, run: ClassifyRun, settings: Settings, data: TableData, seeds: Sequence[int]
) -> dict[str, dict[float, list[Fitted]]]:
    """Fit our models of all kinds and sizes, and add their rows; return them by kind and size."""
    kinds: dict[str, Any] = {kind: kind for kind in run.cells}
    if run.search == "residuals":
        kinds = {f"{kind}, searched" if kind == "trained" else kind: kind for kind in run.cells}
    if run.search in models.GENOMES:
        kinds[f"count, {run.search}"] = run.search
    work = [(name, kind, size, settings) for name, kind in kinds.items() for size in run.sizes]
    return fit_all(results, work, data, seeds)


def add_chosen(
    results: tables.Results,
    choice: choosing.ChoiceConfig,
    run: ClassifyRun,
    settings: Settings,
    data: TableData,
    seeds: Sequence[int],
) -> dict[str, dict[float, list[Fitted]]]:
    """Choose kind and settings of each size on the training rows, fit them, and add their rows."""
    work = []
    for size in run.sizes:
        one = choosing.choose(results, choice, settings, data, run.cells, size, seeds[0])
        work.append(("chosen", one.cells, size, one.settings))
    return fit_all(results, work, data, seeds)


def fit_all(
    results: tables.Results, work: Sequence[Any], data: TableData, seeds: Sequence[int]
) -> dict[str, dict[float, list[Fitted]]]:
    """Fit the models of a list of name, kind, size and settings, one for each seed."""
    found: dict[str, dict[float, list[Fitted]]] = {}
    models_to_fit = list(itertools.product(work, seeds))
    for (name, kind, size, settings), seed in bars.each(models_to_fit, "models", "model"):
        fit: Any = models.fit_genome if kind in models.GENOMES else models.fit
        fit = fit if data.labels else models.fit_number
        one = fit(jax.random.key(seed), settings, data, kind, size)
        found.setdefault(name, {}).setdefault(size, []).append(one)
        results.add(
            f"ours, {name}", **described(data, one.scored), **shape_of(one, data), size=size, seed=seed
        )
    return found


def shape_of(one: Fitted, data: TableData) -> dict[str, float]:
    """Return the tables and neurons of a classifier, and the share of the test rows whose best score ties."""
    if one.model is None:
        return {}
    scores = models.model.scores(one.model, data.X_test)
    ties = float(((scores == scores.max(axis=1, keepdims=True)).sum(axis=1) > 1).mean())
    return {"tables": len(one.model.cells), "neurons": len(one.model.mapping.table), "ties": ties}


def show(results: tables.Results, data: TableData, others: dict, found: dict) -> None:
    """Print all rows in one table, by size; of several mappings the mean, and the range in brackets."""
    rows: list[tuple[float, str, list[dict[str, Any]]]] = []
    for name in others:
        mine = [row for row in results.rows if row["row"] == name]
        rows.append((mine[0]["kib"], name, mine))
    for name, by_size in found.items():
        for size in by_size:
            mine = [row for row in results.rows if row["row"] == f"ours, {name}" and row["size"] == size]
            rows.append((float(np.mean([row["kib"] for row in mine])), f"ours, {name}", mine))
    cells = {}
    keys = ("accuracy", "macro_f1") if data.labels else ("r2", "mean_error")
    for kib, name, mine in sorted(rows, key=lambda one: one[0]):
        values = [[row[key] for row in mine] for key in keys]
        seconds, speed = (np.mean([row[key] for row in mine]) for key in ("train_seconds", "rows_per_second"))
        ties = [row["ties"] for row in mine if "ties" in row]
        cells[f"{name}, {kib:,.1f} KiB"] = [
            *(mean_range(x, 4) for x in values),
            f"{np.mean(ties):.1%}" if ties else "-",
            f"{seconds:.2f}",
            f"{speed:,.0f}",
        ]
    heads = [*(key.replace("_f1", " F1").replace("_", " ") for key in keys), "ties", "train s", "rows/s"]
    tables.print_grid("test rows, by size (range over mappings)", cells, heads)


def detect(
    results: tables.Results,
    run: ClassifyRun,
    settings: Settings,
    data: TableData,
    others: dict[str, baselines.Scored],
    found: dict[str, dict[float, list[Fitted]]],
    seeds: Sequence[int],
) -> None:
    """Report what each model finds of class 1 at a few false-positive rates, and what novelty adds."""
    decisions = {
        name: [detection.Decision(one.positive)] for name, one in others.items() if one.positive is not None
    }
    new = {
        size: [detection.novelty(jax.random.key(seed), settings, data, size) for seed in seeds]
        for size in run.sizes
    }
    for size, some in new.items():
        decisions[f"novelty, {size:g} KiB"] = some
    for name, by_size in found.items():
        for size, some in by_size.items():
            votes = [detection.votes(one, data) for one in some]
            decisions[f"ours, {name}, {size:g} KiB"] = votes
            both = [detection.together(a, b) for a, b in zip(votes, new[size], strict=True)]
            decisions[f"ours, {name} + novelty, {2 * size:g} KiB"] = both
    detection.report(results, data, decisions)


def draw(workdir: pathlib.Path, run: ClassifyRun, data: TableData, others: dict, found: dict) -> None:
    """Draw the pictures of the first mapping of the largest size, and the accuracy by size."""
    size, key = max(run.sizes), "accuracy" if data.labels else "r2"

    def score(scored: baselines.Scored) -> float:
        return baselines.judged(data, scored.predicted)[key]

    points = {}
    for name, by_size in found.items():
        sized = ((np.mean([one.scored.kib for one in some]), some) for some in by_size.values())
        points[f"ours, {name}"] = {float(kib): [score(one.scored) for one in some] for kib, some in sized}
    dots = {name: (scored.kib, score(scored)) for name, scored in others.items()}
    pictures.by_size(workdir / "size.png", points, dots, f"{key} on the test rows")
    if not data.labels:
        return
    first = next(iter(found.values()))[size][0]
    pictures.confusion(workdir / "confusion.png", data.y_test, first.scored.predicted, data.labels)
    counted = next((some[size][0] for some in found.values() if some[size][0].curve is not None), None)
    if counted is None or counted.curve is None or counted.model is None:
        return
    curve = counted.curve
    pictures.bleaching(workdir / "bleaching.png", curve.thresholds, curve.accuracy, curve.ties, curve.chosen)
    if len(counted.model.mapping.hashes) == 1:
        images = explain.mental_images(
            counted.model.mapping, counted.written, counted.model.encoder.source, data.X.shape[1]
        )
        pictures.mental_images(workdir / "mental_images.png", images, data.labels, data.names, data.image)


def write(
    results: tables.Results, workdir: pathlib.Path, run: ClassifyRun, data: TableData, one: Fitted
) -> None:
    """Export a model, compare what it computes with Python on test rows, and add the row.

    Raises:
      ValueError: a score differs.
    """
    assert one.model is not None
    rows = data.X_test[: None if run.export == "c" else _MOST_SIMULATED]
    named = one.model._replace(labels=data.labels)
    if run.export == "c":
        path = workdir / "model.h"
        export.c(named, path, tests=rows[:2])
    else:
        path = workdir / "model.v"
        export.verilog(named, path)
    report = export.verify(named, rows, backend="c" if run.export == "c" else "verilator", path=path)
    if not report.equal:
        raise ValueError(
            f"{path} differs from the model in {report.wrong:,} scores of {report.rows:,} rows: report it "
            "with the command line"
        )
    parts = export.size(named)._asdict()
    numbers = {"simulator": report.backend, "rows": report.rows, "microseconds": report.microseconds}
    results.add(f"exported, {run.export}", **numbers, **parts)
    print(
        f"exported {path}: all scores of {report.rows:,} test rows, run by {report.backend}, equal Python's"
    )
    print("bytes: " + ", ".join(f"{parts[x]:,} {x}" for x in ("tables", "encoder", "pins", "constants")))


COMMAND = Command(
    "classify",
    __doc__,
    main,
    table=Group(TableConfig),
    run=Group(ClassifyRun),
    encoder=Group(
        EncoderConfig(bits=4),
        names={"kind": "thresholds", "bits": "threshold_bits"},
        given=("categories", "shared", "widths"),
    ),
    mapping=Group(MappingConfig(), given=("tables",)),
    training=Group(TrainingConfig(), names={"bits": "cell_bits"}),
    residual=Group(
        ResidualConfig(),
        names={field.name: f"search_{field.name}" for field in dataclasses.fields(ResidualConfig)},
    ),
    regression=Group(
        RegressionConfig(),
        names={field.name: f"number_{field.name}" for field in dataclasses.fields(RegressionConfig)},
    ),
    distort=Group(
        DistortConfig(),
        names={field.name: f"distort_{field.name}" for field in dataclasses.fields(DistortConfig)},
    ),
    choice=Group(
        choosing.ChoiceConfig,
        names={
            field.name: "choose" if field.name == "folds" else f"choose_{field.name}"
            for field in dataclasses.fields(choosing.ChoiceConfig)
        },
    ),
    drift=Group(drift.DriftConfig),
)

if __name__ == "__main__":
    sys.exit(COMMAND.run())
