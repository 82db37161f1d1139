"""Studies of the memory alone: what it gives back, what later writes do to early ones, merging, time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.remembering import stages
from experiments.shared import machine, plots, tables
from wnn_jax.eam import distill, memory, teacher

_PATTERNS = (410.0, 205.0, 82.0)
_SAMPLE = 20_000


def run(
    results: tables.Results, workdir, plan: stages.Plan, taught, held, written, student, scored, which
) -> None:
    """The studies that were asked for."""
    fresh = stages.patterns(plan, taught, scored)
    fresh = tuple(x[:_SAMPLE] for x in fresh)
    if "reconstruction" in which:
        reconstruction(results, workdir, plan, taught, held, written, fresh, scored)
    if "continual" in which:
        continual(results, workdir, plan, written)
    if "merge" in which:
        merge(results, workdir, plan, taught, held, written, fresh, scored)
    if "time" in which:
        speed(results, workdir, plan, taught, held, written, student)


def reconstruction(results, workdir, plan: stages.Plan, taught, held, written, fresh, scored) -> None:
    """Cosine of a state and what is read at its key, by patterns a location and by how locations begin."""
    table, points = {}, []
    keys, values = written
    every = np.linspace(0, len(keys) - 1, _SAMPLE).astype(int)
    for start in ("kmeans", "random"):
        for patterns in _PATTERNS:
            locations = max(plan.least, round(len(keys) / patterns))
            if start == "kmeans" and locations == plan.locations:
                store = held
            elif start == "random" and patterns != _PATTERNS[-1]:
                continue
            else:
                store = stages.store(plan, keys, values, locations, start)
            config = memory.MemoryConfig()
            cosine = distill.reconstruction(config, store, *fresh)
            old = distill.reconstruction(config, store, keys[every], values[every])
            nats = completion(plan, taught, store, scored[: 1 + _SAMPLE // plan.preset.window])
            used = int(store.used)
            results.add(
                f"reconstruction, {start}, {patterns:g} patterns",
                **{"locations": used, "held_out": cosine, "written": old, "teacher_head_ce": nats},
            )
            name = f"{start}, {len(keys) / used:.0f} patterns a location"
            table[name] = [f"{used:,}", f"{cosine:.3f}", f"{old:.3f}", f"{nats:.3f}"]
            if start == "kmeans":
                points.append((len(keys) / used, cosine, old))
    tables.print_grid(
        "cosine of what is read", table, ["locations", "held out", "written", "CE, teacher's head"]
    )
    plots.reconstruction(workdir / "reconstruction.png", np.array(points))


def completion(plan: stages.Plan, taught, store: memory.Memory, windows: np.ndarray) -> float:
    """Nats of a text where the teacher's head sees what is read at the teacher's keys, not its state."""
    project, means = stages.project(plan), memory.contents(store)
    total = 0.0
    for start in range(0, len(windows), 8):
        total += float(_completion(plan.trunk, taught, project, store, means, windows[start : start + 8]))
    return total / windows[:, 1:].size


@functools.partial(jax.jit, static_argnums=0)
def _completion(trunk, taught, project, store, means, windows) -> jax.Array:
    keys, values = distill.patterns(trunk, taught, project, windows[:, :-1])
    read = memory.read(memory.MemoryConfig(), store, means, keys.reshape(-1, keys.shape[-1]))
    said = jax.nn.log_softmax(teacher.head(taught, teacher.rms_norm(read).reshape(values.shape)))
    return -jnp.take_along_axis(said, windows[:, 1:, None], -1).sum()


def continual(results, workdir, plan: stages.Plan, written) -> None:
    """The first tenth of the writes, read again after a tenth, half, and all of them."""
    keys, values = written
    config, batch = memory.MemoryConfig(), plan.preset.batch
    early = len(keys) // 10
    some = np.linspace(0, early - 1, min(_SAMPLE, early)).astype(int)
    shares, curves = (0.1, 0.5, 1.0), {}
    for start in ("kmeans", "random"):
        # Locations begin as they would have, from what had come by then.
        store = stages.store(plan, keys[:early], values[:early], min(plan.locations, early), start)
        every = plan.preset.every if start == "random" else 0
        done, curve = early // batch, []
        for share in shares:
            count = int(share * len(keys)) // batch - done
            if count > 0:
                part = slice(done * batch, (done + count) * batch)
                more = (x[part].reshape(count, batch, -1) for x in (keys, values))
                store = memory.write_all(jax.random.fold_in(plan.key, done), config, store, *more, every)
                done += count
            curve.append(distill.reconstruction(config, store, keys[some], values[some]))
        curves[start] = curve
        results.add(f"continual, {start}", shares=list(shares), cosine=curve)
    table = {f"locations begin as {name}": [f"{x:.3f}" for x in curve] for name, curve in curves.items()}
    tables.print_grid("cosine of the first tenth, after", table, [f"{share:.0%}" for share in shares])
    plots.continual(workdir / "continual.png", shares, curves)


def merge(results, workdir, plan: stages.Plan, taught, held, written, fresh, scored) -> None:
    """Two stores of half the text each, and both as one, beside the store of all of it."""
    keys, values = written
    middle = len(keys) // 2
    half = max(plan.least, plan.locations // 2)
    first = stages.store(plan, keys[:middle], values[:middle], half, "kmeans")
    second = stages.store(plan, keys[middle:], values[middle:], half, "kmeans")
    stores = {
        "first half": first,
        "second half": second,
        "merged": memory.merge(first, second),
        "all at once": held,
    }
    windows = scored[: 1 + _SAMPLE // plan.preset.window]
    table, cosines = {}, {}
    for name, store in stores.items():
        cosine = distill.reconstruction(memory.MemoryConfig(), store, *fresh)
        nats = completion(plan, taught, store, windows)
        results.add(f"merge: {name}", locations=int(store.used), held_out=cosine, teacher_head_ce=nats)
        table[name] = [f"{int(store.used):,}", f"{cosine:.3f}", f"{nats:.3f}"]
        cosines[name] = [cosine]
    tables.print_grid("stores", table, ["locations", "held out", "CE, teacher's head"])
    plots.bars(workdir / "merge.png", cosines, "cosine of held-out states and what is read")


def speed(results, workdir, plan: stages.Plan, taught, held, written, student) -> None:
    """Writes a second beside the product that bounds them; tokens a second of teacher and student."""
    batch = min(plan.preset.batch, len(written[0]))
    count = min(16, len(written[0]) // batch)
    keys, values = (
        jnp.asarray(x[: count * batch].reshape(count, batch, x.shape[1]), jnp.float32) for x in written
    )
    config = memory.MemoryConfig()
    scores = jax.jit(lambda keys, addresses: jax.lax.map(lambda k: (k @ addresses.T).max(), keys))
    bound = keys[..., 0].size / machine.clock(lambda: scores(keys, held.addresses), 5)
    blank = lambda: jax.tree.map(jnp.copy, held)  # noqa: E731
    copied = machine.clock(blank, 5)
    wrote = machine.clock(lambda: memory.write_all(plan.key, config, blank(), keys, values, 0), 5) - copied
    writes = keys[..., 0].size / wrote
    words = f"{writes / bound:.0%} of the {bound:,.0f} that the product with all addresses allows"
    print(f"{writes:,.0f} writes a second, {words}")
    results.add("writes", writes_per_second=writes, bound=bound)
    setup, model = student
    means, project = memory.contents(model.memory), stages.project(plan)
    table, bars = {}, {}
    for windows in (1, 16):
        ids = plan.train[:windows, :-1]
        for name, call in (
            ("teacher", lambda ids=ids: distill.ask_teacher(plan.trunk, taught, project, ids)),
            ("EAM", lambda ids=ids: distill.ask_student(setup, model, means, ids)),
        ):
            rate = ids.size / machine.clock(call, 5)
            results.add(f"inference: {name}", windows=windows, tokens_per_second=rate)
            table.setdefault(name, []).append(f"{rate:,.0f}")
            bars[f"{name}, {windows} at once"] = [rate]
    tables.print_grid("tokens a second, windows at once", table, ["1", "16"])
    plots.bars(workdir / "time.png", bars, "tokens a second")
