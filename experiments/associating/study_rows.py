"""Studies of the associative memory by itself, for `experiments.eam`: rows, tables and pictures."""

import pathlib
from collections.abc import Collection

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared import machine, plots, tables
from wnn_jax import eam
from wnn_jax.eam import memory, studies


def run(
    names: Collection[str],
    results: tables.Results,
    workdir: pathlib.Path,
    subject: studies.Subject,
    train: np.ndarray,
) -> None:
    """Run the named studies.

    Args:
      names: some of reconstruction, continual, merge and time.
      results: the rows of the run.
      workdir: the folder for pictures.
      subject: the model and the patterns of the studies.
      train: integers ``[windows, T + 1]``, the training windows, for the study of time.
    """
    if "reconstruction" in names:
        reconstruct(results, workdir, subject)
    if "continual" in names:
        continue_writing(results, workdir, subject)
    if "merge" in names:
        merge(results, workdir, subject)
    if "time" in names:
        measure_speed(results, workdir, subject, train)


def reconstruct(results: tables.Results, workdir: pathlib.Path, subject: studies.Subject) -> None:
    """Measure the cosine of a state and the read at its key, by patterns a location and by start."""
    table, points = {}, []
    for found in studies.compare_sizes(subject):
        row = f"reconstruction, {found.start}, {found.patterns:g} patterns"
        results.add(row, **found.recall._asdict(), written=found.written)
        locations, cosine, nats = found.recall
        patterns = len(subject.written.keys) / locations
        cells = [f"{locations:,}", f"{cosine:.3f}", f"{found.written:.3f}", f"{nats:.3f}"]
        table[f"{found.start}, {patterns:.0f} patterns a location"] = cells
        if found.start == "kmeans":
            points.append((patterns, cosine, found.written))
    columns = ["locations", "held out", "written", "CE, teacher's head"]
    tables.print_grid("cosine of a state and the read at its key", table, columns)
    plots.reconstruction(workdir / "reconstruction.png", np.array(points))


def continue_writing(results: tables.Results, workdir: pathlib.Path, subject: studies.Subject) -> None:
    """Read the first tenth of the patterns again, after a tenth, half and all of the patterns are written."""
    curves, shares = studies.compare_starts(subject), studies.SHARES
    for start, curve in curves.items():
        results.add(f"continual, {start}", shares=list(shares), cosine=curve)
    table = {f"locations begin as {name}": [f"{x:.3f}" for x in curve] for name, curve in curves.items()}
    title = "cosine of the first tenth, after writing"
    tables.print_grid(title, table, [f"{share:.0%}" for share in shares])
    plots.continual(workdir / "continual.png", shares, curves)


def merge(results: tables.Results, workdir: pathlib.Path, subject: studies.Subject) -> None:
    """Compare two stores of half the text each, the two merged, and one store of the whole text."""
    table, cosines = {}, {}
    for name, found in studies.compare_merged(subject).items():
        results.add(f"merge: {name}", **found._asdict())
        table[name] = [f"{found.locations:,}", f"{found.held_out:.3f}", f"{found.teacher_head_ce:.3f}"]
        cosines[name] = [found.held_out]
    tables.print_grid("stores", table, ["locations", "held out", "CE, teacher's head"])
    plots.bars(workdir / "merge.png", cosines, "cosine of held-out states and the reads at their keys")


def measure_speed(
    results: tables.Results, workdir: pathlib.Path, subject: studies.Subject, train: np.ndarray
) -> None:
    """Measure writes a second, beside the matrix product that bounds them, and tokens a second of models."""
    writes, bound = _writes_a_second(subject)
    words = f"{writes / bound:.0%} of {bound:,.0f}, the rate of the product with all addresses alone"
    print(f"{writes:,.0f} writes a second, {words}")
    results.add("writes", writes_per_second=writes, bound=bound)
    table, bars = {}, {}
    models = {"teacher": eam.predictor(subject.model, "teacher"), "EAM": eam.predictor(subject.model)}
    for windows in (1, 16):
        ids = train[:windows, :-1]
        for name, predict in models.items():
            rate = ids.size / machine.clock(lambda predict=predict, ids=ids: predict(ids), 5)
            results.add(f"inference: {name}", windows=windows, tokens_per_second=rate)
            table.setdefault(name, []).append(f"{rate:,.0f}")
            bars[f"{name}, {windows} at once"] = [rate]
    tables.print_grid("tokens a second, windows at once", table, ["1", "16"])
    plots.bars(workdir / "time.png", bars, "tokens a second")


def _writes_a_second(subject: studies.Subject) -> tuple[float, float]:
    """Return the writes a second of the memory, and of the product of keys and addresses alone."""
    store, written, config = subject.model.store, subject.written, subject.model.config
    batch = min(config.batch, len(written.keys))
    count = min(16, len(written.keys) // batch)
    keys, values = (jnp.asarray(x[: count * batch].reshape(count, batch, -1), jnp.float32) for x in written)
    scores = jax.jit(lambda keys, addresses: jax.lax.map(lambda k: (k @ addresses.T).max(), keys))
    bound = keys[..., 0].size / machine.clock(lambda: scores(keys, store.addresses), 5)

    def copied() -> memory.Store:
        return jax.tree.map(jnp.copy, store)

    def write() -> memory.Store:
        return memory.write_all(subject.key, config.memory, copied(), keys, values, 0)

    return keys[..., 0].size / (machine.clock(write, 5) - machine.clock(copied, 5)), bound
