"""Runs a whole search: folds, validation, patience, a budget, several algorithms, and resuming.

The examples are used in three ways. The last part is for *validation* only. The rest is cut into folds:
genomes are *fitted* on all folds but one, and *scored* on that one. The search returns the genome with the
best validation loss, the price of its size included.

Source: docs/semantics/search.md
"""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from wnn_jax import checks, files
from wnn_jax.narrow import in_32_bits
from wnn_jax.ram import connectivity, given
from wnn_jax.saving import folders, progress
from wnn_jax.search import cut, evaluate, moves
from wnn_jax.search.adaptation import AdaptationConfig, adapt
from wnn_jax.search.base import Evaluator, SearchAlgorithm, SearchState, StepInfo
from wnn_jax.search.fitness import GenomeScores
from wnn_jax.search.objective import Fold
from wnn_jax.search.report import Report, Result, RunConfig

_GAIN = 1e-4  # a validation loss counts as a gain if it is lower than the best by more than this


@in_32_bits
def run(
    key: jax.Array,
    algorithms: SearchAlgorithm | Sequence[SearchAlgorithm],
    data: Any,
    config: RunConfig = RunConfig(),
    *,
    start: Any = None,
    resume: str | pathlib.Path | None = None,
    on_step: Callable[[Report], None] | None = None,
) -> Result:
    """Search for a better connectivity. Each algorithm starts from the genomes of the one before.

    Args:
      key: draws everything. A draw depends only on the key and the number of the step, so a resumed search
        ends with the same bits.
      algorithms: one or several, such as ``tabu(objective)``; all must have the same objective, fitness and
        mesh.
      data: N examples in their order, from `ram.examples` or, for a text, `bitwise.examples`; for an
        objective that is `Whole`, its own data.
      config: settings of the run.
      start: ``int [K, n, T]``, the first genome; by default a random genome of the largest size.
      resume: a folder to which progress is saved, and from which it is continued. A search that is killed
        loses at most ``save_every`` steps; one that is interrupted from the keyboard is saved first.
      on_step: called with a `Report` after every step.

    Returns:
      The result, with the genome that has the lowest sum of validation loss and price of its size.

    Raises:
      ValueError: there is no algorithm, the algorithms differ in objective, fitness or mesh, the examples are
        too few for the folds, the votes need more than ``cache_mib``, the start is outside the bounds, an
        objective that is `Whole` has no start or is to adapt, or the folder holds the progress of other work.

    Source: docs/semantics/search.md
    """
    chosen = (algorithms,) if isinstance(algorithms, SearchAlgorithm) else tuple(algorithms)
    search = _prepare(key, chosen, data, config, start, on_step)
    return _run(search, _open(search, resume))


@dataclasses.dataclass(frozen=True)
class _Search:
    """The parts of one search that do not change while it runs."""

    key: jax.Array
    algorithms: tuple[SearchAlgorithm, ...]
    config: RunConfig
    evaluator: Evaluator
    start: jax.Array
    parts: cut.Cut
    on_step: Callable[[Report], None] | None
    compiled: "_Compiled"


class _Compiled(NamedTuple):
    """The compiled functions that a search calls between steps."""

    fold: Callable[..., Fold]
    rescore: Callable[[Fold, SearchState], SearchState]
    score: Callable[[Fold, jax.Array], GenomeScores]
    adapt: Callable[[jax.Array, Fold, jax.Array], jax.Array]


@functools.cache
def _compiled(evaluator: Evaluator, folds: int, adaptation: AdaptationConfig) -> _Compiled:
    def adapted(key, data, genomes):
        pairs = jax.random.split(key, len(genomes)), genomes
        return jax.lax.map(lambda x: adapt(x[0], evaluator, adaptation, data, x[1]), pairs)

    return _Compiled(
        fold=_jit(evaluator, lambda parts, index: cut.fold_of(evaluator, parts, index, folds)),
        rescore=_jit(evaluator, lambda data, state: evaluate.rescore(evaluator, data, state)),
        score=_jit(evaluator, lambda data, genomes: evaluate.evaluated(evaluator, data, genomes)[1]),
        adapt=_jit(evaluator, adapted),
    )


def _prepare(key, algorithms, data, config, start, on_step) -> _Search:
    if not algorithms:
        raise ValueError("a search needs at least one algorithm, got none: give one, such as tabu")
    evaluator = algorithms[0].evaluator
    if any(x.evaluator != evaluator for x in algorithms):
        raise ValueError(
            "the algorithms of a search must have the same objective, fitness and mesh, but these differ: "
            "make all of them with the same ones"
        )
    if evaluator is None:
        raise ValueError(
            f"the algorithm {algorithms[0].name} has no objective over layers of RAM neurons: search with "
            "the function of its own room, such as classify.fit"
        )
    given.key(key)
    objective, bounds = evaluator.objective, evaluator.objective.bounds
    if evaluator.whole and (start is None or config.adapt_every):
        raise ValueError(
            f"{type(objective).__name__} judges genomes as a whole: give it a start, and adapt_every=0, got "
            f"start={'None' if start is None else 'a genome'} and adapt_every={config.adapt_every}"
        )
    parts = cut.cut(key, evaluator, algorithms, data, config)
    if start is None:
        draw_key = jax.random.fold_in(key, 2**31 - 1)
        sizes = bounds.max_neurons, bounds.max_bits
        start = connectivity.random(draw_key, objective.clusters, *sizes, bounds.input_bits)
    given.connections(start, bounds.input_bits, objective.clusters)
    start = moves.pad(jnp.asarray(start).astype(connectivity.dtype_for(bounds.input_bits)), bounds)
    mesh = evaluator.mesh
    return _Search(
        key=key,
        algorithms=algorithms,
        config=config,
        evaluator=evaluator,
        start=evaluate.replicate(mesh, start),
        parts=parts,
        on_step=on_step,
        compiled=_compiled(evaluator, config.folds, config.adaptation),
    )


def _jit(evaluator: Evaluator, function):
    if evaluator.whole:
        return function  # its objective runs on the host
    if evaluator.mesh is None:
        return jax.jit(function)
    return jax.jit(function, out_shardings=NamedSharding(evaluator.mesh, PartitionSpec()))


def _open(search: _Search, resume) -> progress.Progress | None:
    """Open the folder of the progress. Of several processes only the first saves; the others get None."""
    if resume is None or jax.process_index():
        return None
    settings = dataclasses.asdict(dataclasses.replace(search.config, save_every=1, cache_mib=1))
    about = {
        "search": [[x.name, repr(x.config)] for x in search.algorithms],
        "run": settings,
        "objective": repr(search.evaluator.objective) + repr(search.evaluator.fitness),
        "data": search.parts.digest,
        "start": progress.digest(search.start),
        "seed": np.asarray(jax.random.key_data(search.key)).tolist(),
    }
    return progress.Progress(resume, about)


def _run(search: _Search, saved: progress.Progress | None) -> Result:
    latest = saved.latest(functools.partial(_taken, search)) if saved else None
    arrays = None
    if latest:
        arrays, result = latest
        genomes = evaluate.replicate(search.evaluator.mesh, jnp.asarray(arrays["genomes"]))
    else:
        loss = float(search.compiled.score(search.parts.tail, search.start[None]).loss[0])
        result, genomes = Result(np.asarray(search.start), loss, loss), _first_genomes(search)
    while result.phase < len(search.algorithms):
        result, genomes = _run_phase(search, result, genomes, arrays, saved)
        result = result._replace(phase=result.phase + 1, step=0, fits=0, stale=0)
        arrays = None
        if saved:
            _save(saved, result, {"genomes": genomes})
    return result


def _taken(search: _Search, arrays, about) -> tuple[dict[str, Any], Result]:
    """Check saved progress, and make its result.

    Raises:
      ValueError: the genomes do not fit the search.
    """
    objective, start = search.evaluator.objective, search.start
    sizes = dict(zip("KnT", start.shape, strict=True))
    limits = checks.Limits(least=-1, most=objective.bounds.input_bits - 1)
    for name in {"genomes", "best", "winner"} & arrays.keys():
        many: dict[str, int | None] = {"P": None} if name == "genomes" else {}
        checks.array(name, arrays[name], start.dtype.name, many | sizes, limits)
    history = tuple(Report(*line)._replace(population=()) for line in about.pop("history"))
    result = Result(genome=arrays["winner"], history=history, **about)
    for name in ("phase", "step", "fits", "stale"):
        checks.integer(name, getattr(result, name), checks.Limits(least=0, most=2**53))
    if not len(arrays["genomes"]):
        raise ValueError("it has no genomes")
    return arrays, result


def _first_genomes(search: _Search) -> jax.Array:
    """Make the first population: the start, and random genomes of its size if the objective has votes."""
    bounds, clusters = search.evaluator.objective.bounds, search.evaluator.objective.clusters
    count = max(x.population for x in search.algorithms) - 1
    if not count or search.evaluator.whole:
        return search.start[None]
    sizes = connectivity.neurons_present(search.start).max(), (search.start >= 0).sum(axis=-1).max()
    keys = jax.random.split(jax.random.fold_in(search.key, 0), count)
    others = jax.vmap(lambda key: moves.sized(key, bounds, clusters, *sizes))(keys)
    genomes = jnp.concatenate([search.start[None], others.astype(search.start.dtype)])
    return evaluate.replicate(search.evaluator.mesh, genomes)


def _run_phase(search: _Search, result: Result, genomes, arrays, saved) -> tuple[Result, jax.Array]:
    """Run one algorithm to its end, from its saved state if there is one.

    Returns:
      The result, and the genomes of the algorithm, the fittest first.
    """
    algorithm, config = search.algorithms[result.phase], search.config
    mesh, steps = search.evaluator.mesh, algorithm.steps or config.steps
    phase_key = jax.random.fold_in(search.key, 1 + result.phase)
    init, step = _jit(search.evaluator, algorithm.init), _jit(search.evaluator, algorithm.step)
    data = _fold(search, result.step)
    state = init(
        data, genomes[jnp.resize(jnp.arange(len(genomes), dtype=jnp.int32), (algorithm.population,))]
    )
    if arrays is not None and result.step:
        with files.contents(str(saved.folder)):
            restored = _restored(state, arrays)
        state = search.compiled.rescore(data, evaluate.replicate(mesh, restored))
    clock, whole = time.perf_counter(), (result, state)
    try:
        while result.step < steps and not _exhausted(config, result):
            key = evaluate.replicate(mesh, jax.random.fold_in(phase_key, result.step))
            state, info = step(key, data, state)
            result = result._replace(step=result.step + 1, fits=result.fits + int(info.fits))
            if config.adapt_every and result.step % config.adapt_every == 0:
                adapt_key = evaluate.replicate(mesh, jax.random.fold_in(key, 1))
                grown = search.compiled.adapt(adapt_key, data, state.genomes)
                state = search.compiled.rescore(data, state._replace(genomes=grown))
            if config.rotate and result.step % config.rotate == 0:
                data = _fold(search, result.step)
                state = search.compiled.rescore(data, state)
            now = time.perf_counter()
            result, clock = result._replace(seconds=result.seconds + now - clock), now
            checked = result.step % config.check == 0 or result.step == steps
            result = _reported(search, result, algorithm.name, state, info, checked)
            whole = result, state
            if saved and result.step % config.save_every == 0:
                _save(saved, result, _arrays(state))
    except KeyboardInterrupt:
        # An interrupt may come within a step, whose report would be lost: the last whole step is saved.
        if saved:
            _save(saved, whole[0], _arrays(whole[1]))
        raise
    pool = jnp.concatenate([state.best[None], state.genomes])
    scores = jax.tree.map(lambda x, y: jnp.concatenate([x[None], y]), state.best_scores, state.scores)
    return result, evaluate.fittest_first(search.evaluator, pool, scores)


def _fold(search: _Search, step: int) -> Fold:
    config = search.config
    index = step // config.rotate % config.folds if config.rotate else 0
    place = evaluate.replicate(search.evaluator.mesh, jnp.int32(index))
    return search.compiled.fold(search.parts.stream, place)


def _exhausted(config: RunConfig, result: Result) -> bool:
    spent = config.fit_budget is not None and result.fits >= config.fit_budget
    return spent or bool(config.patience and result.stale >= config.patience)


def _reported(
    search: _Search, result: Result, phase: str, state: SearchState, info: StepInfo, checked: bool
) -> Result:
    """Add the report of a step to the result, and its best genome if that costs least in validation."""
    validation = None
    if checked:
        validation = float(search.compiled.score(search.parts.tail, state.best[None]).loss[0])
        change = _costs(search, state.best, validation) - _costs(search, result.genome, result.loss)
        result = result._replace(stale=0 if change < -_GAIN else result.stale + 1)
        if change < 0:
            result = result._replace(genome=np.asarray(state.best), loss=validation)
    scores = jax.device_get(state.scores)
    report = Report(
        phase=phase,
        step=result.step,
        fits=result.fits,
        candidates=int(info.candidates),
        best=float(state.best_scores.loss),
        mean=float(info.loss.mean()),
        mebibits=float(state.best_scores.mebibits),
        validation=validation,
        seconds=result.seconds,
        accepted=int(info.accepted),
        population=tuple(zip(scores.loss.tolist(), scores.mebibits.tolist(), strict=True)),
    )
    if search.on_step:
        search.on_step(report)
    return result._replace(history=(*result.history, report._replace(population=())))


def _costs(search: _Search, genome, loss: float) -> float:
    """Add the price of a genome's size to its loss."""
    return loss + search.evaluator.fitness.size_weight * float(
        evaluate.sizes(search.evaluator, genome[None])[0]
    )


def _arrays(state: SearchState) -> dict[str, Any]:
    """Return the arrays of a state that are saved: all but votes and scores, which can be computed again."""
    memory = {f"memory_{i}": x for i, x in enumerate(jax.tree.leaves(state.memory))}
    return {"genomes": state.genomes, "best": state.best, "step": state.step, **memory}


def _restored(state: SearchState, arrays) -> SearchState:
    folders.check_form({name: x for name, x in arrays.items() if name != "winner"}, _arrays(state))
    tree = jax.tree.structure(state.memory)
    memory = [jnp.asarray(arrays[f"memory_{i}"]) for i in range(tree.num_leaves)]
    return state._replace(
        genomes=jnp.asarray(arrays["genomes"]),
        best=jnp.asarray(arrays["best"]),
        memory=jax.tree.unflatten(tree, memory),
        step=jnp.asarray(arrays["step"]),
    )


def _save(saved: progress.Progress, result: Result, arrays: dict[str, Any]) -> None:
    about = {**result._asdict(), "history": [list(line) for line in result.history]}
    winner = about.pop("genome")
    saved.save({**arrays, "winner": winner}, about)
