"""The search of `experiments.bitwise`: its flags, the algorithms they ask for, the bar and the pictures."""

import dataclasses
import pathlib
from typing import Any, Literal

import jax
import numpy as np
from tqdm import tqdm

from experiments.shared import plots
from experiments.shared.commandline import Group
from wnn_jax import ram, search
from wnn_jax.lm import bitwise, objective


@dataclasses.dataclass(frozen=True)
class SearchFlags:
    """What is searched, by which algorithms.

    Attributes:
      search: algorithms that look for a better connectivity, one after another; none leaves it as it is.
      phases: what each of them may change, one after another: grid, all, or neurons, bits and connections
        joined by +.
      min_neurons: fewest neurons a cluster; by default as many as --neurons.
      max_neurons: most neurons a cluster; by default as many as --neurons.
      min_bits: fewest address bits a neuron.
      max_bits: most address bits a neuron; by default --bits.
      resume: folder to save the search's progress to, and to continue from.
      tensorboard: whether TensorBoard events go to the workdir too.
      coordinator: host:port of process 0, to search on several hosts.
      num_processes: the number of processes of such a search.
      process_id: which of them this is.
    """

    search: tuple[Literal["ga", "tabu", "annealing", "random"], ...] = ()
    phases: tuple[str, ...] = ("all",)
    min_neurons: int | None = None
    max_neurons: int | None = None
    min_bits: int = 4
    max_bits: int | None = None
    resume: str | None = None
    tensorboard: bool = False
    coordinator: str | None = None
    num_processes: int = 1
    process_id: int = 0

    def __post_init__(self):
        several = self.num_processes > 1 or self.coordinator
        if several and (not self.coordinator or not 0 <= self.process_id < self.num_processes):
            raise ValueError(
                "several processes need --coordinator=host:port and --process_id from 0 to "
                f"--num_processes - 1, got process {self.process_id} of {self.num_processes}"
            )
        if several and self.resume:
            raise ValueError("--resume saves the progress of one process: drop it, or --num_processes")
        _phases(self)

    def connect(self) -> None:
        """Join the other processes, before JAX is used."""
        if self.coordinator:
            jax.distributed.initialize(self.coordinator, self.num_processes, self.process_id)


GROUPS = {
    "search": Group(SearchFlags),
    "search_run": Group(
        search.RunConfig,
        names={"steps": "generations", **{x: f"adapt_{x}" for x in ("prune", "weak", "error", "used")}},
    ),
    "search_fitness": Group(search.FitnessConfig),
    "search_ga": Group(search.GeneticConfig, given=("dimensions",)),
    "search_tabu": Group(search.TabuConfig, given=("dimensions",)),
    "search_annealing": Group(search.AnnealingConfig, given=("dimensions",)),
    "search_random": Group(search.RandomConfig, given=("neurons",)),
    "search_grid": Group(search.GridConfig),
}


def settings(options: Any) -> dict[str, Any]:
    """Everything that decides the result of a search, as plain data."""
    made: dict[str, Any] = {name: getattr(options, name) for name in GROUPS}
    return {name: dataclasses.asdict(_config(x)) for name, x in made.items()}


def _config(group: Any) -> Any:
    """A group's config, its given fields left at their defaults."""
    return group() if callable(group) else group


def algorithms(options: Any, model: bitwise.BitwiseConfig) -> list[search.SearchAlgorithm]:
    """The algorithms that the flags ask for, in their order.

    Raises:
      ValueError: an algorithm refuses its settings.
    """
    chosen = options.search
    sizes = chosen.max_neurons, chosen.max_bits, chosen.min_neurons, chosen.min_bits
    asked = objective.BitwiseObjective(model, objective.bounds(model, *sizes))
    judged = {"fitness": options.search_fitness, "mesh": search.mesh()}
    make = {"ga": search.genetic, "tabu": search.tabu, "annealing": search.annealing}
    made = []
    for name, dimensions in _phases(chosen):
        if name == "grid":
            made.append(search.grid(asked, options.search_grid, **judged))
        elif name == "random":
            made.append(search.random_search(asked, options.search_random(neurons=model.neurons), **judged))
        else:
            config = getattr(options, f"search_{name}")(dimensions=dimensions)
            made.append(make[name](asked, config, **judged))
    return made


def _phases(chosen: SearchFlags) -> list[tuple[str, tuple[str, ...]]]:
    """Algorithms and the dimensions they may change: all of them for each phase; a grid is a phase alone."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for phase in chosen.phases:
        if phase == "grid":
            found.append(("grid", ()))
            continue
        dimensions = search.DIMENSIONS if phase == "all" else tuple(phase.split("+"))
        unknown = [name for name in dimensions if name not in search.DIMENSIONS]
        if unknown:
            raise ValueError(
                f"unknown phase {unknown[0]!r}: use grid, all, or {', '.join(search.DIMENSIONS)} joined by +"
            )
        found += [(name, dimensions) for name in chosen.search]
    if chosen.search and not found:
        raise ValueError("a search needs at least one phase: --phases is empty")
    return found


def run(options: Any, model: bitwise.BitwiseConfig, train: ram.Examples, start: jax.Array) -> search.Result:
    """Search with a bar for each algorithm; says how far it came if it is interrupted."""
    made, config = algorithms(options, model), options.search_run
    mebibytes = search.votes_mebibytes(config, made, *train.targets.shape)
    quiet = options.search.process_id != 0
    last: list[search.Report] = []
    bars: dict[str, tqdm] = {}
    if not quiet:
        print(f"search: {mebibytes:.0f} MiB of votes kept")

    def show(report: search.Report) -> None:
        if report.phase not in bars:
            for bar in bars.values():
                bar.close()
            total = 1 if report.phase == "grid" else config.steps
            bars[report.phase] = tqdm(
                total=total,
                initial=report.step - 1,
                desc=report.phase,
                unit="gen",
                leave=False,
                disable=quiet,
            )
        bars[report.phase].set_postfix_str(f"best {report.best:.4f} mean {report.mean:.4f}")
        bars[report.phase].update()
        last.append(report)

    key = jax.random.key(options.common.seed)
    try:
        return search.run(key, made, train, config, start=start, resume=options.search.resume, on_step=show)
    except KeyboardInterrupt:
        checked = [report.validation for report in last if report.validation is not None]
        best = f"validation {min(checked):.4f}" if checked else "not yet validated"
        print(f"stopped; best so far: {best}")
        raise
    finally:
        for bar in bars.values():
            bar.close()


def show(workdir: pathlib.Path, start: jax.Array, result: search.Result, context: int, events: bool) -> None:
    """Pictures of a search, its history, and a table of its phases."""
    checks = [line for line in result.history if line.validation is not None]
    print(f"{'phase':>24} {'generation':>10} {'fits':>12} {'best':>9} {'validation':>11} {'Mibit':>9}")
    for i, line in enumerate(checks):
        if i + 1 == len(checks) or checks[i + 1].phase != line.phase:
            print(
                f"{line.phase:>24} {line.step:>10} {line.fits:>12,} {line.best:>9.4f} "
                f"{line.validation:>11.4f} {line.mebibits:>9.0f}"
            )
    plots.search_curve(workdir / "search.png", result.history)
    plots.connections(workdir / "connections.png", np.asarray(start), result.genome, context)
    plots.size_against_loss(workdir / "size.png", checks)
    if events:
        from tensorboardX import SummaryWriter

        with SummaryWriter(str(workdir / "tensorboard")) as writer:
            for step, line in enumerate(result.history):
                for name in ("best", "mean", "validation", "mebibits"):
                    if getattr(line, name) is not None:
                        writer.add_scalar(f"search/{name}", getattr(line, name), step)
