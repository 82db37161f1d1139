"""Every search algorithm passes the same tests on a planted problem; delta evaluation equals the oracle."""

import dataclasses
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import NamedTuple

import hostile
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wnn_jax import ram, search
from wnn_jax.lm import bitwise, objective
from wnn_jax.ram import connectivity
from wnn_jax.search import evaluate, local, moves

CONTEXT, BITS = 4, 3
INPUTS = CONTEXT * BITS


@dataclasses.dataclass(frozen=True)
class WholeTokens:
    """An objective as a user writes it: the share of tokens whose bits are all on the right side of 1/2.

    It has no method that evaluates changes.
    """

    bounds: search.Bounds
    clusters: int
    memory: ram.RamConfig = ram.RamConfig()

    def score(self, votes, neurons, targets):
        one, _ = ram.shares(votes, neurons[:, None])
        hits = ((one > 0.5) == targets).all(axis=0)
        # Hits alone give no direction where all tokens miss; the distance of the bits from 1/2 does.
        off = jnp.abs(one - targets).max(axis=0)
        return off.mean(), hits.mean(dtype=jnp.float32)


class Problem(NamedTuple):
    """The data, the objective, and the connections to find."""

    evaluator: search.Evaluator
    fold: search.Fold
    examples: ram.Examples

    @property
    def objective(self):
        return self.evaluator.objective


@functools.cache
def planted(
    kind="bitwise",
    cells="count",
    *,
    length=400,
    noise=0.05,
    fitness="loss",
    vocabulary=8,
    rate=1.0,
    devices=1,
):
    """Make a stream whose next token is a function of the token before last: three input bits decide it.

    The best connectivity reads exactly these bits; a random neuron with four of twelve bits seldom does.
    """
    rng = np.random.default_rng(0)
    tokens = list(rng.integers(vocabulary, size=CONTEXT))
    for _ in range(400):
        token = (3 * tokens[-2] + 1) % vocabulary if rng.random() > noise else rng.integers(vocabulary)
        tokens.append(int(token))
    memory = ram.RamConfig(cells, sample_rate=rate)
    model = bitwise.BitwiseConfig(vocabulary, context=CONTEXT, neurons=3, address_bits=4, memory=memory)
    bounds = search.Bounds(INPUTS, max_neurons=4, max_bits=5, min_neurons=1, min_bits=2, group=BITS)
    asked = {
        "bitwise": objective.BitwiseObjective(model, bounds),
        "bits": search.TargetBits(bounds, model.clusters, memory),
        "own": WholeTokens(bounds, model.clusters, memory),
    }[kind]
    mesh = search.mesh() if devices > 1 else None
    evaluator = search.Evaluator(asked, search.FitnessConfig(fitness), mesh)
    seed = ram.seeds(jax.random.key(5), memory, model.clusters, bounds.max_neurons)
    examples = bitwise.examples(model, np.array(tokens))
    return Problem(evaluator, search.fold(examples, seed, jnp.int32(1), 4), examples)


def genomes_of(problem, count, seed=0):
    bounds, clusters = problem.objective.bounds, problem.objective.clusters

    def one(key):
        return moves.pad(connectivity.random(key, clusters, 3, 4, INPUTS), bounds)

    return jax.vmap(one)(jax.random.split(jax.random.key(seed), count))


MAKE = {
    "ga": (search.genetic, search.GeneticConfig(population=8, elites=2, mutation=0.15)),
    "tabu": (search.tabu, search.TabuConfig(starts=3, sites=2, neighbours=3, tenure=3, share=5)),
    "annealing": (search.annealing, search.AnnealingConfig(starts=3, temperature=1e-3, cooling=0.95)),
    "random": (search.random_search, search.RandomConfig(starts=8, neurons=3)),
}
OBJECTIVES = ("bitwise", "bits", "own")
every_algorithm = pytest.mark.parametrize("name", MAKE)
# Every algorithm with one objective, and every objective with one algorithm that evaluates changes only.
battery = pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "bitwise") for name in MAKE),
        *(("tabu", kind) for kind in OBJECTIVES[1:]),
        *(
            pytest.param(name, kind, marks=pytest.mark.long)
            for name in MAKE
            if name != "tabu"
            for kind in OBJECTIVES[1:]
        ),
    ],
)


def algorithm_of(name, evaluator):
    make, config = MAKE[name]
    return make(evaluator.objective, config, evaluator.fitness, evaluator.mesh)


@functools.cache
def compiled(name, evaluator):
    make, config = MAKE[name]
    algorithm = make(evaluator.objective, config, evaluator.fitness, evaluator.mesh)
    return jax.jit(algorithm.init), jax.jit(algorithm.step), algorithm.population


full_votes = jax.jit(evaluate.full_votes, static_argnums=0)
score = jax.jit(evaluate.score, static_argnums=0)
revote = jax.jit(evaluate.revote, static_argnums=0)
neighbours = jax.jit(evaluate.neighbours, static_argnums=0)
rescore = jax.jit(evaluate.rescore, static_argnums=0)


@functools.cache
def run(name, kind="bitwise", cells="count", *, steps, seed=1, **more):
    """Run a search; return the state after each step and the reports. The tests share cached runs."""
    return go_on(name, planted(kind, cells, **more), steps, seed=seed)


def go_on(name, problem, steps, *, state=None, first=0, seed=1):
    init, step, population = compiled(name, problem.evaluator)
    if state is None:
        state = init(problem.fold, genomes_of(problem, population))
    states, infos = [state], []
    for i in range(first, steps):
        state, info = step(jax.random.fold_in(jax.random.key(seed), i), problem.fold, state)
        states.append(state)
        infos.append(info)
    return states, infos


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


STEPS = 12


@battery
def test_it_finds_the_planted_connections(name, kind):
    """The search gains at least half of what the genome that reads only the right bits gains."""
    problem = planted(kind)
    # Bits 6, 7 and 8 are the token before last (the context is oldest first).
    ideal = moves.pad(jnp.array([[[6, 7, 8]]] * problem.objective.clusters), problem.objective.bounds)[None]
    least = float(score(problem.evaluator, problem.fold, ideal, votes_of(problem, ideal)).loss[0])
    steps = {"tabu": 30, "annealing": 60, "ga": 100, "random": STEPS}[name]
    states, _ = run(name, kind, steps=steps)
    start, end = float(states[0].best_scores.loss), float(states[-1].best_scores.loss)
    assert least < start
    # Random search draws larger genomes too, and is here for comparison: it may find nothing.
    assert end <= start if name == "random" else end < (start + least) / 2


def votes_of(problem, genomes):
    return full_votes(problem.evaluator, problem.fold, genomes)


@battery
def test_it_never_returns_worse_than_it_has_seen(name, kind):
    problem = planted(kind)
    states, infos = run(name, kind, steps=STEPS)
    seen = np.inf
    for state, info in zip(states[1:], infos, strict=True):
        seen = min(seen, float(info.loss.min()))
        assert float(state.best_scores.loss) <= seen
    last = states[-1]
    best = last.best[None]
    again = score(problem.evaluator, problem.fold, best, votes_of(problem, best))
    np.testing.assert_allclose(again.loss[0], last.best_scores.loss, rtol=1e-6)


@every_algorithm
def test_it_is_deterministic(name):
    one, _ = run(name, steps=STEPS)
    other, _ = go_on(name, planted(), 4)
    assert_same(one[4], other[-1])
    third, _ = go_on(name, planted(), 4, seed=2)
    assert (np.asarray(third[-1].genomes) != np.asarray(one[4].genomes)).any()


def assert_votes_are_full(problem, states):
    for state in states:
        assert_same(state.votes, votes_of(problem, state.genomes))
        assert_same(state.scores, score(problem.evaluator, problem.fold, state.genomes, state.votes))


@battery
def test_votes_carried_are_those_of_a_full_evaluation(name, kind):
    """Delta evaluation makes no error that grows with the steps."""
    assert_votes_are_full(planted(kind), run(name, kind, steps=STEPS)[0][:5])


@pytest.mark.long
@every_algorithm
def test_votes_of_sampled_quad_cells_are_carried_too(name):
    """Sampled quad cells are the hardest case, because the order of examples and the samples matter."""
    hard = planted("bitwise", "quad_weighted", rate=0.6)
    assert_votes_are_full(hard, run(name, "bitwise", "quad_weighted", rate=0.6, steps=4)[0])


@battery
def test_it_continues_where_it_was(name, kind):
    problem = planted(kind)
    whole, _ = run(name, kind, steps=STEPS)
    # A file keeps everything except the votes, which are computed again.
    kept = whole[3]._replace(votes=jnp.zeros_like(whole[3].votes))
    kept = rescore(problem.evaluator, problem.fold, kept)
    rest, _ = go_on(name, problem, 6, state=kept, first=3)
    assert_same(rest[-1], whole[6])


@every_algorithm
def test_genomes_stay_within_the_bounds(name):
    bounds = planted().objective.bounds
    for state in run(name, steps=STEPS)[0]:
        lengths = np.asarray((state.genomes >= 0).sum(axis=-1))
        present = (lengths > 0).sum(axis=-1)
        assert ((present >= bounds.min_neurons) & (present <= bounds.max_neurons)).all()
        assert ((lengths == 0) | ((lengths >= bounds.min_bits) & (lengths <= bounds.max_bits))).all()
        assert (np.asarray(state.genomes) < INPUTS).all()


@pytest.mark.long
@pytest.mark.parametrize("fitness", search.FITNESSES)
def test_ga_improves_under_every_fitness(fitness):
    problem = planted(fitness=fitness)
    bounds, clusters = problem.objective.bounds, problem.objective.clusters
    # Two input bits cannot tell eight tokens apart, so that the accuracy can improve too.
    keys = jax.random.split(jax.random.key(0), MAKE["ga"][1].population)
    poor = jax.vmap(lambda key: moves.sized(key, bounds, clusters, 1, 2))(keys)
    states, _ = go_on("ga", problem, 25, state=compiled("ga", problem.evaluator)[0](problem.fold, poor))
    pool = jax.tree.map(lambda *x: jnp.stack(x), states[0].best_scores, states[-1].best_scores)
    start, end = search.fitness_of(problem.evaluator.fitness, pool)
    assert end <= start
    # Two ranks may change places, but one of them must improve.
    assert pool.loss[1] < pool.loss[0] or pool.accuracy[1] > pool.accuracy[0]


def test_local_search_wants_a_separable_fitness():
    problem = planted(fitness="harmonic_rank")
    for name in ("tabu", "annealing"):
        with pytest.raises(ValueError, match="judges one cluster at a time"):
            algorithm_of(name, problem.evaluator)


def scores(loss, accuracy):
    return search.GenomeScores(jnp.array(loss), jnp.array(accuracy), jnp.array([8.0] * len(loss)))


def test_fitness_orders_as_it_says():
    pool = scores([2.0, 1.0, 3.0, np.nan], [0.5, 0.1, 0.2, 0.9])
    order = {
        kind: np.argsort(
            np.asarray(search.fitness_of(search.FitnessConfig(kind), pool)), kind="stable"
        ).tolist()
        for kind in search.FITNESSES
    }
    assert order["loss"] == [1, 0, 2, 3]
    assert order["accuracy"] == [0, 2, 1, 3]
    # Ranks by loss 2, 1, 3 and by accuracy (the NaN's .9 is first) 2, 4, 3: harmonic means 2, 1.6, 3.
    assert order["harmonic_rank"] == [1, 0, 2, 3]
    # Scaled losses .5, 0, 1 and errors .5, 1, .875: means .5, .5, .94; a tie keeps its order.
    assert order["normalized"][2:] == [2, 3]
    floor = search.fitness_of(search.FitnessConfig(accuracy_floor=0.15), pool)
    assert np.isinf(np.asarray(floor)).tolist() == [False, True, False, True]
    heavy = search.fitness_of(search.FitnessConfig(size_weight=0.25), pool)
    np.testing.assert_allclose(heavy[:3], [4.0, 3.0, 5.0])


@given(st.integers(0, 2**31 - 1), st.sampled_from(ram.CELLS), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_delta_equals_full(seed, cells, share):
    """Genomes change in one neuron or in all, and their sizes change too."""
    problem = planted("bitwise", cells, rate=0.6)
    before, other = genomes_of(problem, 2, seed), genomes_of(problem, 2, seed + 1)
    rng = np.random.default_rng(seed)
    changed = rng.random(before.shape[:3]) < share
    after = jnp.where(jnp.asarray(changed)[..., None], other, before)
    after = after.at[0, 1, 2].set(connectivity.UNUSED)
    votes = votes_of(problem, before)
    assert_same(revote(problem.evaluator, problem.fold, votes, before, after), votes_of(problem, after))


@functools.cache
def proposals(evaluator):
    return jax.jit(lambda key, genomes: local.propose(key, evaluator, None, search.DIMENSIONS, genomes, 2, 2))


@pytest.mark.parametrize(
    ("kind", "vocabulary"),
    [
        ("bitwise", 8),
        ("bitwise", 5),
        ("bits", 8),
        ("own", 8),
        pytest.param("bitwise", 6, marks=pytest.mark.long),
    ],
)
@given(seed=st.integers(0, 2**31 - 1))
@settings(max_examples=5)
def test_neighbours_change_the_fitness_by_what_they_say(kind, vocabulary, seed):
    """The change equals that of scoring whole genomes, for vocabularies that fill their code or do not."""
    problem = planted(kind, vocabulary=vocabulary)
    evaluator, fold = problem.evaluator, problem.fold
    genomes = genomes_of(problem, 1, seed)
    votes = votes_of(problem, genomes)
    places, drawn = proposals(evaluator)(jax.random.key(seed), genomes)
    found = neighbours(evaluator, fold, genomes, votes, places, drawn)
    base = score(evaluator, fold, genomes, votes).loss[0]
    rng = np.random.default_rng(seed)
    for _ in range(3):
        k, s, c = rng.integers(problem.objective.clusters), rng.integers(2), rng.integers(2)
        child = genomes.at[0, k, places[0, k, s]].set(drawn[0, k, s, c])
        exact = votes_of(problem, child)
        assert_same(exact[0, k], votes[0, k] + found.votes[0, k, s, c])
        loss = score(evaluator, fold, child, exact).loss[0]
        np.testing.assert_allclose(found.change[0, k, s, c], loss - base, atol=2e-5)


@functools.cache
def moves_of(bounds, dimensions):
    """Make moves at several places of a cluster; they are compiled once for each set of dimensions."""

    def one(key, cluster, place):
        return moves.move(key, bounds, dimensions, cluster, place)

    return jax.jit(jax.vmap(one, (0, None, 0)))


ALONE = [(name,) for name in search.DIMENSIONS]
PAIRS = [tuple(x for x in search.DIMENSIONS if x != name) for name in search.DIMENSIONS]


@pytest.mark.parametrize(
    "dimensions", [*ALONE, search.DIMENSIONS, *(pytest.param(x, marks=pytest.mark.long) for x in PAIRS)]
)
@given(seed=st.integers(0, 2**31 - 1))
@settings(max_examples=10)
def test_moves_change_only_what_they_may(dimensions, seed):
    bounds = search.Bounds(INPUTS, max_neurons=4, max_bits=5, min_neurons=2, min_bits=2)
    key = jax.random.key(seed)
    cluster = moves.pad(connectivity.random(key, 1, 3, 3, INPUTS), bounds)[0]
    places = jnp.arange(4)
    moved = moves_of(bounds, dimensions)(jax.random.split(key, 4), cluster, places)
    before, after = np.asarray(cluster), np.asarray(moved)
    length = (after >= 0).sum(axis=1)
    assert ((length == 0) | ((length >= 2) & (length <= 5))).all()
    if "neurons" not in dimensions:
        assert ((length > 0) == ((before >= 0).any(axis=1))).all()
    if "bits" not in dimensions:
        assert set(length[length > 0]) <= {3}
    if dimensions == ("bits",):
        for old, new in zip(before[:3], after[:3], strict=True):
            old, new = set(old[old >= 0]), new[new >= 0]
            assert len(set(new) & old) >= min(len(old), len(new)) - 0 or len(set(new)) < len(new)
    if dimensions == ("neurons",):
        assert all(
            (new == old).all() or (new < 0).all() for old, new in zip(before[:3], after[:3], strict=True)
        )


def test_every_input_bit_can_be_reached():
    """Moves must reach every input bit; the predecessor's moved by two places and never left their token."""
    bounds = search.Bounds(64, max_neurons=2, max_bits=4, min_bits=4)
    keys, cluster = jax.random.split(jax.random.key(0), 500), jnp.zeros((2, 4), jnp.int8)
    moved = moves_of(bounds, ("connections",))(keys, cluster, jnp.zeros(500, jnp.int32))
    assert set(np.unique(np.asarray(moved))) == set(range(64))


def test_folds_neither_overlap_nor_lose_a_token():
    count = 103
    words = jnp.arange(count, dtype=jnp.uint32)[None]
    examples = ram.Examples(words, jnp.zeros((1, count), bool))
    scored = []
    for index in range(4):
        fold = search.fold(examples, jnp.zeros((1, 1), jnp.uint32), jnp.int32(index), 4)
        fitted, held = set(np.asarray(fold.train.words[0])), set(np.asarray(fold.words[0]))
        assert not fitted & held
        assert len(fitted | held) == 100
        scored += sorted(held)
    assert scored == list(range(100))


def test_adaptation_prunes_grows_and_keeps_to_the_bounds():
    problem = planted()
    genome = genomes_of(problem, 1)[0]
    config = search.AdaptationConfig()
    adapt = jax.jit(lambda key, fold, genome: search.adapt(key, problem.evaluator, config, fold, genome))
    adapted = np.asarray(adapt(jax.random.key(0), problem.fold, genome))
    lengths = (adapted >= 0).sum(axis=-1)
    assert ((lengths == 0) | ((lengths >= 2) & (lengths <= 5))).all()
    assert ((lengths > 0).sum(axis=-1) >= 1).all()
    assert (adapted != np.asarray(genome)).any()
    # Nothing is written, so that all cells are EMPTY: every neuron loses one of its four connections. Such
    # clusters have an error of 1/2, so each of them gets one more neuron.
    train = problem.fold.train
    silent = problem.fold._replace(train=train._replace(weight=jnp.zeros(train.targets.shape[1], bool)))
    shed = (np.asarray(adapt(jax.random.key(0), silent, genome)) >= 0).sum(axis=-1)
    assert ((np.asarray(genome) >= 0).sum(axis=-1) == [4, 4, 4, 0]).all()
    assert (shed == 3).all()


# A whole search.

RUN = search.RunConfig(steps=6, folds=3, rotate=2, check=3, save_every=2, adapt_every=4)


def whole(problem, config=RUN, names=("tabu",), **more):
    chosen = [algorithm_of(name, problem.evaluator) for name in names]
    return search.run(jax.random.key(3), chosen, problem.examples, config, **more)


def test_a_run_reports_validates_and_returns_its_best_by_validation():
    problem, reports = planted(), []
    found = whole(problem, on_step=reports.append)
    assert [report.step for report in reports] == list(range(1, 7))
    assert list(found.history) == [report._replace(population=()) for report in reports]
    for report in reports:
        assert len(report.population) == algorithm_of("tabu", problem.evaluator).population
        assert min(loss for loss, _ in report.population) >= report.best - 1e-6
        assert 0 <= report.accepted <= report.candidates
    validated = [report.validation for report in reports if report.validation is not None]
    assert [report.step for report in reports if report.validation is not None] == [3, 6]
    assert found.loss == min(found.start_loss, *validated)
    count = problem.examples.targets.shape[1] // 10 * 9
    kept = ram.Examples(problem.examples.words[:, :count], problem.examples.targets[:, :count])
    seed = jnp.zeros(found.genome.shape[:2], jnp.uint32)
    tail = search.Fold(kept, problem.examples.words[:, count:], problem.examples.targets[:, count:], seed)
    genome = jnp.asarray(found.genome)[None]
    alone = score(problem.evaluator, tail, genome, full_votes(problem.evaluator, tail, genome))
    np.testing.assert_allclose(alone.loss[0], found.loss, rtol=1e-6)


def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    """Runs end between two saves, after an adaptation and a change of the fold, and within a checked step."""
    problem = planted()
    names = ("tabu", "annealing")
    expected = whole(problem, names=names)
    for *stop, how in (("tabu", 5, SystemExit), ("annealing", 3, KeyboardInterrupt)):

        def kill(report, stop=stop, how=how):
            if [report.phase, report.step] == stop:
                raise how

        with pytest.raises(how):
            whole(problem, names=names, resume=tmp_path, on_step=kill)
    found = whole(problem, names=names, resume=tmp_path)
    np.testing.assert_array_equal(found.genome, expected.genome)
    assert found.loss == expected.loss
    assert [line._replace(seconds=0.0) for line in found.history] == [
        line._replace(seconds=0.0) for line in expected.history
    ]
    other = problem._replace(examples=problem.examples._replace(targets=~problem.examples.targets))
    with pytest.raises(ValueError, match="holds the progress of other work, which differs in data"):
        whole(other, names=names, resume=tmp_path)
    with pytest.raises(ValueError, match="holds the progress of other work, which differs in run"):
        whole(problem, dataclasses.replace(RUN, folds=4), names=names, resume=tmp_path)
    kept = {x: x.with_name(f"kept{x.name}") for x in (tmp_path / "steps").iterdir()}
    for folder, copy in kept.items():
        shutil.copytree(folder, copy)
    for change in (
        lambda arrays, about: arrays.update(winner=arrays["winner"] + 100),
        lambda arrays, about: arrays.update(genomes=arrays["genomes"] - 7),
        lambda arrays, about: arrays.update(genomes=arrays["genomes"][:, :1]),
        lambda arrays, about: arrays.pop("winner"),
        lambda arrays, about: about.update(phase=-1),
        lambda arrays, about: about.update(history=[3]),
        lambda arrays, about: about.clear(),
    ):
        for folder, copy in kept.items():
            shutil.rmtree(folder)
            shutil.copytree(copy, folder)
            hostile.rewritten(folder, change, "progress")
            shutil.rmtree(folder.with_name("replaced"))
        with pytest.raises(ValueError, match=f"does not hold what it should .*remove {tmp_path}"):
            whole(problem, names=names, resume=tmp_path)


def test_patience_and_budget_end_a_run():
    problem = planted()
    patient = dataclasses.replace(RUN, steps=200, check=1, patience=2, adapt_every=0)
    found = whole(problem, patient)
    assert len(found.history) < 200
    spent = whole(problem, dataclasses.replace(RUN, steps=200, fit_budget=200, adapt_every=0))
    fits = [report.fits for report in spent.history]
    assert fits[-1] >= 200 > fits[-2]


def test_phases_hand_on_their_genomes():
    problem = planted()
    grid = search.grid(problem.objective, search.GridConfig((2, 4), (3, 5)))
    config = dataclasses.replace(RUN, steps=2, adapt_every=0)
    found = search.run(
        jax.random.key(3), [grid, algorithm_of("tabu", problem.evaluator)], problem.examples, config
    )
    assert [(line.phase, line.step) for line in found.history] == [("grid", 1), ("tabu", 1), ("tabu", 2)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: search.GeneticConfig(population=4, elites=4), "4 cannot keep 4 elites"),
        (lambda: search.TabuConfig(neighbours=0), "neighbours=0 is out of range"),
        (
            lambda: search.AnnealingConfig(cooling=1.5),
            "cooling=1.5 is out of range: give a finite number above 0 and at most 1",
        ),
        (lambda: search.AnnealingConfig(starts=0), "starts=0 is out of range"),
        (lambda: search.RandomConfig(starts=0), "starts=0 is out of range"),
        (lambda: search.FitnessConfig("perplexity"), "unknown fitness"),
        (lambda: search.RunConfig(steps=0), "steps=0 is out of range: give a whole number of at least 1"),
        (lambda: search.RunConfig(folds=1), "folds=1 is out of range: give a whole number of at least 2"),
        (lambda: search.Bounds(12, 4, 3, 5, 2), "no genome has 5 to 4 neurons"),
        (lambda: search.Bounds(12, 4, 13, 1, 2), "no genome has 2 to 13 address bits of 12"),
        (lambda: search.Bounds(12, 4, 3, 1, 2, group=5), "12 input bits do not fall into groups of 5"),
        (lambda: search.grid(planted().objective, search.GridConfig((9,), (3,))), "within the bounds 1 to 4"),
        (lambda: search.tabu(planted().objective), "16 sites needs at least 16 neurons"),
        (lambda: whole(planted(), names=()), "at least one algorithm"),
        (lambda: whole(planted(), search.RunConfig(folds=50)), "need at least 500 examples, got 400"),
        (lambda: whole(planted(), search.RunConfig(cache_mib=0)), "more than cache_mib 0"),
        (lambda: whole(planted(), start=np.zeros((3, 9, 2), int)), "outside the bounds of 4 neurons"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


DEVICES = """
import json, sys
import jax
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
if int(sys.argv[2]) > 1:
    jax.distributed.initialize(sys.argv[3], int(sys.argv[2]), int(sys.argv[4]))
sys.path[:0] = ["tests"]
import numpy as np
import test_search
count = len(jax.devices())
found = {}
for name, kind in (("ga", "bitwise"), ("tabu", "bitwise"), ("tabu", "bits"), ("tabu", "own")):
    problem = test_search.planted(kind, devices=count)
    result = test_search.whole(problem, names=(name,))
    history = [line._replace(seconds=0.0) for line in result.history]
    found[name + kind] = [result.genome.tolist(), result.loss, history]
print(json.dumps({"devices": count, **found}))
"""


def processes(devices, count=1):
    """Search in ``count`` processes with some devices each, and return the result of each process."""
    root = pathlib.Path(__file__).parents[1]
    port = 20_000 + os.getpid() % 20_000
    env = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}"}
    commands = [
        [sys.executable, "-c", DEVICES, str(devices), str(count), f"127.0.0.1:{port}", str(i)]
        for i in range(count)
    ]
    running = [
        subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root, env=env)
        for c in commands
    ]
    ended = [process.communicate(timeout=240) for process in running]
    for process, (_, errors) in zip(running, ended, strict=True):
        assert process.returncode == 0, errors[-2000:]
    return [json.loads(output.splitlines()[-1]) for output, _ in ended]


@pytest.mark.long
def test_devices_and_processes_change_nothing():
    """One device, eight devices, and two processes on loopback find the same genomes and scores."""
    (one,) = processes(1)
    (eight,) = processes(8)
    two = processes(2, count=2)
    assert (one.pop("devices"), eight.pop("devices")) == (1, 8)
    assert [found.pop("devices") for found in two] == [4, 4]
    assert one == eight
    assert one == two[0] == two[1]


def test_bounds_of_more_input_bits_than_the_examples_hold_are_refused():
    X, Y = np.zeros((40, 24), bool), np.ones((40, 2), bool)
    objective = search.TargetBits(search.Bounds(40, max_neurons=2, max_bits=3), clusters=2)
    algorithm = search.tabu(objective, search.TabuConfig(sites=2, neighbours=4))
    with pytest.raises(ValueError, match="have 40 input bits, but the examples have at most 32"):
        search.run(jax.random.key(0), algorithm, ram.examples(X, Y), search.RunConfig(steps=1))
