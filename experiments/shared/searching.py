"""The search of `experiments.bitwise`: its flags, progress bar and pictures."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments.shared import bars, plots, views
from experiments.shared.commandline import Group
from wnn_jax import checks, lm, ram, search


@dataclasses.dataclass(frozen=True)
class SearchRun:
    """The processes of a search, and the files that it writes.

    Attributes:
      resume: folder to save the progress of the search to, and to continue from.
      tensorboard: whether to write TensorBoard events to the workdir too.
      coordinator: host:port of process 0, to search in several processes or on several hosts.
      num_processes: the number of processes of the search.
      process_id: the number of this process, from 0.
    """

    resume: str | None = None
    tensorboard: bool = False
    coordinator: str | None = None
    num_processes: int = 1
    process_id: int = 0

    def __post_init__(self):
        checks.fields(self, num_processes=checks.Limits(least=1), process_id=checks.Limits(least=0))
        several = self.num_processes > 1 or self.coordinator
        if several and (not self.coordinator or not 0 <= self.process_id < self.num_processes):
            raise ValueError(
                "several processes need --coordinator=host:port and --process_id from 0 to "
                f"--num_processes - 1, got process {self.process_id} of {self.num_processes}"
            )
        if several and self.resume:
            raise ValueError(
                "--resume saves the progress of one process: leave out --resume, or search in one process"
            )

    def connect(self) -> None:
        """Connect to the other processes. It must be called before JAX is used."""
        if self.coordinator:
            jax.distributed.initialize(self.coordinator, self.num_processes, self.process_id)


GROUPS = {
    "search": Group(search.SearchPlan, names={"algorithms": "search"}, given=("dimensions", "neurons")),
    "sizes": Group(lm.GenomeSizes),
    "steps": Group(
        search.RunConfig,
        names={"steps": "generations", **{x: f"adapt_{x}" for x in ("prune", "weak", "error", "used")}},
    ),
    "search_run": Group(SearchRun),
}


def run(options: Any, model: lm.BitwiseConfig, train: ram.Examples, start: jax.Array) -> search.Result:
    """Search, with a progress bar for each algorithm. After an interrupt, print the best loss so far."""
    asked = lm.BitwiseObjective(model, options.sizes.bounds(model))
    plan = options.search()
    plan = dataclasses.replace(plan, random=dataclasses.replace(plan.random, neurons=model.neurons))
    made, config = plan.build(asked, search.mesh()), options.steps
    quiet = options.search_run.process_id != 0
    if not quiet:
        votes = search.votes_mebibytes(config, made, *train.targets.shape)
        print(f"search: {votes:.0f} MiB for the votes that are kept")
    checked = list[float]()
    key, resume = jax.random.key(options.common.seed), options.search_run.resume
    try:
        with bars.bar(unit="gen", quiet=quiet) as on_step:
            show = shown(on_step, config, checked)
            return search.run(key, made, train, config, start=start, resume=resume, on_step=show)
    except KeyboardInterrupt:
        print(f"stopped; best so far: validation {min(checked):.4f}" if checked else "stopped")
        raise


def shown(
    on_step: bars.Shown, config: search.RunConfig, checked: list[float] | None = None
) -> Callable[[search.Report], None]:
    """Make the callback of a search that shows its steps with a bar; it adds validation losses to a list."""

    def show(report: search.Report) -> None:
        total = 1 if report.phase == "grid" else config.steps
        losses = {"best": report.best, "mean": report.mean, "validation": report.validation}
        counts = {"candidates": report.candidates, "accepted": report.accepted, "searched": report.seconds}
        sizes = {"mebibits": report.mebibits, "population": report.population}
        on_step(report.phase, report.step, total, **losses, **counts, **sizes)
        if checked is not None and report.validation is not None:
            checked.append(report.validation)

    return show


def show(workdir: pathlib.Path, start: jax.Array, result: search.Result, context: int, events: bool) -> None:
    """Draw the pictures of a search, print the table of its phases, and write its TensorBoard events."""
    checks = [line for line in result.history if line.validation is not None]
    print(f"search: validation {result.start_loss:.4f} at the start, {result.loss:.4f} at the end")
    print(f"{'phase':>24} {'generation':>10} {'fits':>12} {'best':>9} {'validation':>11} {'Mibit':>9}")
    for line, after in zip(checks, [*checks[1:], None], strict=True):
        if after is None or after.phase != line.phase:
            print(
                f"{line.phase:>24} {line.step:>10} {line.fits:>12,} {line.best:>9.4f} "
                f"{line.validation:>11.4f} {line.mebibits:>9.0f}"
            )
    plots.search_curve(workdir / "search.png", result.history)
    plots.connections(workdir / "connections.png", np.asarray(start), result.genome, context)
    views.keep_genome(workdir, result.genome)
    plots.size_against_loss(workdir / "size.png", checks)
    if events:
        from tensorboardX import SummaryWriter

        with SummaryWriter(str(workdir / "tensorboard")) as writer:
            for step, line in enumerate(result.history):
                for name in ("best", "mean", "validation", "mebibits"):
                    if getattr(line, name) is not None:
                        writer.add_scalar(f"search/{name}", getattr(line, name), step)
