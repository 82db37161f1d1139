"""Studies of the associative memory alone, for `experiments.eam`: rows and pictures."""

import dataclasses
import pathlib
from collections.abc import Collection
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared import machine, plots, tables
from wnn_jax import eam
from wnn_jax.eam import memory, stages, studies

_PATTERNS = (410.0, 205.0, 82.0)
_SAMPLE = 20_000


class Study(NamedTuple):
    """All that a study may use.

    Attributes:
      results, workdir: where its rows and pictures go.
      key: of the memories that it fills.
      model: all that was trained.
      written: the patterns of the training text.
      fresh: patterns of the text that is scored.
      windows: ``int32 [N, T + 1]`` of the text that is scored.
    """

    results: tables.Results
    workdir: pathlib.Path
    key: jax.Array
    model: eam.Eam
    written: eam.Patterns
    fresh: eam.Patterns
    windows: np.ndarray

    def fill(self, config: eam.EamConfig, patterns: eam.Patterns, locations: int) -> memory.Store:
        """A memory of patterns."""
        return stages.fill(self.key, config, patterns, locations).store

    def judge(self, store: memory.Store) -> tuple[float, float]:
        """Cosine of fresh patterns and what is read, and nats of the teacher's head on what is read."""
        model = self.model
        cosine = studies.reconstruction(model.config.memory, store, self.fresh)
        windows = self.windows[: 1 + _SAMPLE // model.config.window]
        return cosine, studies.completion(model.config, model.teacher, model.project, store, windows)


def run(
    names: Collection[str],
    results: tables.Results,
    workdir: pathlib.Path,
    key: jax.Array,
    model: eam.Eam,
    train: np.ndarray,
    scored: np.ndarray,
) -> None:
    """The studies of these names: reconstruction, continual, merge, time."""
    if not names:
        return
    written, fresh = (stages.gather(model.config, model.teacher, model.project, x) for x in (train, scored))
    fresh = eam.Patterns(*(x[:_SAMPLE] for x in fresh))
    study = Study(results, workdir, key, model, written, fresh, scored)
    if "reconstruction" in names:
        reconstruct(study)
    if "continual" in names:
        continue_writing(study)
    if "merge" in names:
        merge(study)
    if "time" in names:
        measure_speed(study, train)


def reconstruct(study: Study) -> None:
    """Cosine of a state and what is read at its key, by patterns a location and by how locations begin."""
    table, points = {}, []
    written, config = study.written, study.model.config
    count = len(written.keys)
    every = np.linspace(0, count - 1, _SAMPLE).astype(int)
    sample = eam.Patterns(*(x[every] for x in written))
    for start, patterns in (*(("kmeans", x) for x in _PATTERNS), ("random", _PATTERNS[-1])):
        locations = max(config.memory.nearest, round(count / patterns))
        if start == "kmeans" and locations == config.locations(count):
            store = study.model.store
        else:
            store = study.fill(dataclasses.replace(config, start=start), written, locations)
        cosine, nats = study.judge(store)
        old = studies.reconstruction(config.memory, store, sample)
        used = int(store.used)
        study.results.add(
            f"reconstruction, {start}, {patterns:g} patterns",
            **{"locations": used, "held_out": cosine, "written": old, "teacher_head_ce": nats},
        )
        name = f"{start}, {count / used:.0f} patterns a location"
        table[name] = [f"{used:,}", f"{cosine:.3f}", f"{old:.3f}", f"{nats:.3f}"]
        if start == "kmeans":
            points.append((count / used, cosine, old))
    columns = ["locations", "held out", "written", "CE, teacher's head"]
    tables.print_grid("cosine of what is read", table, columns)
    plots.reconstruction(study.workdir / "reconstruction.png", np.array(points))


def continue_writing(study: Study) -> None:
    """The first tenth of the writes, read again after a tenth, half, and all of them."""
    shares, curves = (0.1, 0.5, 1.0), {}
    for start in ("kmeans", "random"):
        config = dataclasses.replace(study.model.config, start=start)
        curves[start] = studies.continual(study.key, config, study.written, shares, _SAMPLE)
        study.results.add(f"continual, {start}", shares=list(shares), cosine=curves[start])
    table = {f"locations begin as {name}": [f"{x:.3f}" for x in curve] for name, curve in curves.items()}
    tables.print_grid("cosine of the first tenth, after", table, [f"{share:.0%}" for share in shares])
    plots.continual(study.workdir / "continual.png", shares, curves)


def merge(study: Study) -> None:
    """Two stores of half the text each, and both as one, beside the store of all of it."""
    config = dataclasses.replace(study.model.config, start="kmeans")
    count = len(study.written.keys)
    locations = max(config.memory.nearest, config.locations(count) // 2)
    first, second = (
        study.fill(config, eam.Patterns(*(x[half] for x in study.written)), locations)
        for half in (slice(count // 2), slice(count // 2, None))
    )
    stores = {
        "first half": first,
        "second half": second,
        "merged": memory.merge(first, second),
        "all at once": study.model.store,
    }
    table, cosines = {}, {}
    for name, store in stores.items():
        cosine, nats = study.judge(store)
        used = int(store.used)
        study.results.add(f"merge: {name}", locations=used, held_out=cosine, teacher_head_ce=nats)
        table[name] = [f"{used:,}", f"{cosine:.3f}", f"{nats:.3f}"]
        cosines[name] = [cosine]
    tables.print_grid("stores", table, ["locations", "held out", "CE, teacher's head"])
    plots.bars(study.workdir / "merge.png", cosines, "cosine of held-out states and what is read")


def measure_speed(study: Study, train: np.ndarray) -> None:
    """Writes a second beside the product that bounds them; tokens a second of teacher and student."""
    results, model = study.results, study.model
    writes, bound = _writes_a_second(study)
    words = f"{writes / bound:.0%} of the {bound:,.0f} that the product with all addresses allows"
    print(f"{writes:,.0f} writes a second, {words}")
    results.add("writes", writes_per_second=writes, bound=bound)
    table, bars = {}, {}
    models = {"teacher": eam.predictor(model, "teacher"), "EAM": eam.predictor(model)}
    for windows in (1, 16):
        ids = train[:windows, :-1]
        for name, predict in models.items():
            rate = ids.size / machine.clock(lambda predict=predict, ids=ids: predict(ids), 5)
            results.add(f"inference: {name}", windows=windows, tokens_per_second=rate)
            table.setdefault(name, []).append(f"{rate:,.0f}")
            bars[f"{name}, {windows} at once"] = [rate]
    tables.print_grid("tokens a second, windows at once", table, ["1", "16"])
    plots.bars(study.workdir / "time.png", bars, "tokens a second")


def _writes_a_second(study: Study) -> tuple[float, float]:
    """Of the memory, and of the product of keys and addresses alone."""
    store, written = study.model.store, study.written
    batch = min(study.model.config.batch, len(written.keys))
    count = min(16, len(written.keys) // batch)
    shape = count, batch, -1
    keys, values = (jnp.asarray(x[: count * batch].reshape(shape), jnp.float32) for x in written)
    config = study.model.config.memory
    scores = jax.jit(lambda keys, addresses: jax.lax.map(lambda k: (k @ addresses.T).max(), keys))
    bound = keys[..., 0].size / machine.clock(lambda: scores(keys, store.addresses), 5)

    def copied() -> memory.Store:
        return jax.tree.map(jnp.copy, store)

    writing = machine.clock(lambda: memory.write_all(study.key, config, copied(), keys, values, 0), 5)
    return keys[..., 0].size / (writing - machine.clock(copied, 5)), bound
