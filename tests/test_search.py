"""Every search algorithm through one battery, on a planted problem; delta evaluation against the oracle."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wnn_jax import ram, search
from wnn_jax.lm import bitwise
from wnn_jax.ram import connectivity
from wnn_jax.search import local

CONTEXT, BITS = 4, 3
INPUTS = CONTEXT * BITS


def planted(cells="count", *, length=600, noise=0.05, fitness="ce", mesh=None, vocabulary=8, rate=1.0):
    """A stream whose next token is a function of the token before last: only three input bits tell.

    The best connectivity reads exactly those; a random one of four of twelve seldom does.
    """
    rng = np.random.default_rng(0)
    tokens = list(rng.integers(vocabulary, size=CONTEXT))
    for _ in range(length):
        token = (3 * tokens[-2] + 1) % vocabulary if rng.random() > noise else rng.integers(vocabulary)
        tokens.append(int(token))
    memory = ram.RamConfig(cells, sample_rate=rate)
    config = bitwise.BitwiseConfig(vocabulary, context=CONTEXT, neurons=3, address_bits=4, memory=memory)
    bounds = connectivity.Bounds(INPUTS, 1, 4, 2, 5, group=BITS)
    objective = search.Objective(config, bounds, search.FitnessConfig(fitness), mesh)
    seed = ram.seeds(jax.random.key(5), memory, config.clusters, bounds.max_neurons)
    data = search.fold(bitwise.examples(config, np.array(tokens)), seed, jnp.int32(1), 4)
    return objective, data


def genomes_of(objective, count, seed=0):
    def one(key):
        return connectivity.pad(bitwise.init(key, objective.model), objective.bounds)

    return jax.vmap(one)(jax.random.split(jax.random.key(seed), count))


ALGORITHMS = {
    "ga": lambda o: search.genetic(o, search.GeneticConfig(population=8, elites=2, mutation=0.15)),
    "tabu": lambda o: search.tabu(o, search.TabuConfig(sites=2, neighbours=3, tenure=3, share=5)),
    "annealing": lambda o: search.annealing(o, search.AnnealingConfig(temperature=1e-3, cooling=0.95)),
    "random": lambda o: search.random_search(o, search.RandomConfig(population=8, neurons=3)),
}
POPULATION = {"ga": 8, "tabu": 3, "annealing": 3, "random": 8}
every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


@functools.cache
def compiled(name, objective):
    algorithm = ALGORITHMS[name](objective)
    return jax.jit(algorithm.init), jax.jit(algorithm.step)


full_votes = jax.jit(search.full_votes, static_argnums=0)
score = jax.jit(search.score, static_argnums=0)
revote = jax.jit(search.revote, static_argnums=0)
neighbours = jax.jit(search.neighbours, static_argnums=0)
rescore = jax.jit(search.rescore, static_argnums=0)


def run(name, objective, data, steps, *, state=None, first=0, seed=1):
    """States after each step, and what they reported."""
    init, step = compiled(name, objective)
    if state is None:
        state = init(data, genomes_of(objective, POPULATION[name]))
    states, infos = [state], []
    for i in range(first, steps):
        state, info = step(jax.random.fold_in(jax.random.key(seed), i), data, state)
        states.append(state)
        infos.append(info)
    return states, infos


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize(
    "name", ["annealing", *(pytest.param(x, marks=pytest.mark.long) for x in ALGORITHMS if x != "annealing")]
)
def test_it_finds_the_planted_connections(name):
    """At least half of the way from the start to a genome that reads just what matters."""
    objective, data = planted()
    # Bits 6, 7 and 8 are the token before last (the context is oldest first).
    told = jnp.array([[[6, 7, 8]]] * objective.model.clusters)
    told = connectivity.pad(told, objective.bounds)[None]
    ideal = float(score(objective, data, told, full_votes(objective, data, told)).ce[0])
    states, _ = run(name, objective, data, 60)
    start, end = float(states[0].best_scores.ce), float(states[-1].best_scores.ce)
    assert ideal < start
    # Random search draws larger genomes too, and is here for comparison: it may find nothing.
    assert end <= start if name == "random" else end < (start + ideal) / 2


@every_algorithm
def test_it_never_returns_worse_than_it_has_seen(name):
    objective, data = planted()
    states, infos = run(name, objective, data, 15)
    seen = np.inf
    for state, info in zip(states[1:], infos, strict=True):
        seen = min(seen, float(info.ce.min()))
        assert float(state.best_scores.ce) <= seen
    last = states[-1]
    again = score(objective, data, last.best[None], full_votes(objective, data, last.best[None]))
    np.testing.assert_allclose(again.ce[0], last.best_scores.ce, rtol=1e-6)


@every_algorithm
def test_it_is_deterministic(name):
    objective, data = planted()
    one, _ = run(name, objective, data, 4)
    other, _ = run(name, objective, data, 4)
    assert_same(one[-1], other[-1])
    third, _ = run(name, objective, data, 4, seed=2)
    assert (np.asarray(third[-1].genomes) != np.asarray(one[-1].genomes)).any()


@pytest.mark.long
@every_algorithm
def test_votes_carried_are_those_of_a_full_evaluation(name):
    """Delta evaluation, step after step, drifts by nothing; sampled quad cells are the hardest case."""
    objective, data = planted("quad_weighted", length=300, rate=0.6)
    states, _ = run(name, objective, data, 6)
    for state in states:
        assert_same(state.votes, full_votes(objective, data, state.genomes))
        assert_same(state.scores, score(objective, data, state.genomes, state.votes))


@every_algorithm
def test_it_continues_where_it_was(name):
    objective, data = planted()
    whole, _ = run(name, objective, data, 6)
    half, _ = run(name, objective, data, 3)
    # What a file keeps: everything but the votes, which rescoring brings back.
    kept = half[-1]._replace(votes=jnp.zeros_like(half[-1].votes))
    rest, _ = run(name, objective, data, 6, state=rescore(objective, data, kept), first=3)
    assert_same(rest[-1], whole[-1])


@every_algorithm
def test_genomes_stay_within_the_bounds(name):
    objective, data = planted()
    bounds = objective.bounds
    for state in run(name, objective, data, 12)[0]:
        lengths = np.asarray((state.genomes >= 0).sum(axis=-1))
        present = (lengths > 0).sum(axis=-1)
        assert ((present >= bounds.min_neurons) & (present <= bounds.max_neurons)).all()
        assert ((lengths == 0) | ((lengths >= bounds.min_bits) & (lengths <= bounds.max_bits))).all()
        assert (np.asarray(state.genomes) < INPUTS).all()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["normalized", "ce", "accuracy", "harmonic_rank"])
def test_ga_improves_under_every_fitness(kind):
    objective, data = planted(fitness=kind)
    # Two input bits cannot tell eight tokens apart: there is something to gain in accuracy too.
    keys = jax.random.split(jax.random.key(0), POPULATION["ga"])
    poor = jax.vmap(lambda key: connectivity.sized(key, objective.bounds, objective.model.clusters, 1, 2))(
        keys
    )
    states, _ = run("ga", objective, data, 25, state=compiled("ga", objective)[0](data, poor))
    pool = jax.tree.map(lambda *x: jnp.stack(x), states[0].best_scores, states[-1].best_scores)
    start, end = search.fitness(objective.fitness, pool)
    assert end <= start
    # Two ranks may trade places; something must have become better.
    assert pool.ce[1] < pool.ce[0] or pool.accuracy[1] > pool.accuracy[0]


def test_local_search_wants_a_separable_fitness():
    objective, _ = planted(fitness="harmonic_rank")
    for name in ("tabu", "annealing"):
        with pytest.raises(ValueError, match="judges one cluster at a time"):
            ALGORITHMS[name](objective)


def scores(ce, accuracy):
    return search.Scores(jnp.array(ce), jnp.array(accuracy), jnp.array([8.0] * len(ce)))


def test_fitness_orders_as_it_says():
    pool = scores([2.0, 1.0, 3.0, np.nan], [0.5, 0.1, 0.2, 0.9])
    order = {
        kind: np.argsort(np.asarray(search.fitness(search.FitnessConfig(kind), pool)), kind="stable").tolist()
        for kind in search.FITNESSES
    }
    assert order["ce"] == [1, 0, 2, 3]
    assert order["accuracy"] == [0, 2, 1, 3]
    # Ranks by CE 2, 1, 3 and by accuracy (the NaN's .9 is first) 2, 4, 3: harmonic means 2, 1.6, 3.
    assert order["harmonic_rank"] == [1, 0, 2, 3]
    # Scaled CE .5, 0, 1 and errors .5, 1, .875: means .5, .5, .94; a tie keeps its order.
    assert order["normalized"][2:] == [2, 3]
    floor = search.fitness(search.FitnessConfig(accuracy_floor=0.15), pool)
    assert np.isinf(np.asarray(floor)).tolist() == [False, True, False, True]
    heavy = search.fitness(search.FitnessConfig(size_weight=0.25), pool)
    np.testing.assert_allclose(heavy[:3], [4.0, 3.0, 5.0])


@given(st.integers(0, 2**31 - 1), st.sampled_from(ram.CELLS), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_delta_equals_full(seed, cells, share):
    """Any genomes, from one changed neuron to all; sizes change too."""
    objective, data = planted(cells, length=300, rate=0.6)
    before, other = genomes_of(objective, 2, seed), genomes_of(objective, 2, seed + 1)
    rng = np.random.default_rng(seed)
    changed = rng.random(before.shape[:3]) < share
    after = jnp.where(jnp.asarray(changed)[..., None], other, before)
    after = after.at[0, 1, 2].set(connectivity.UNUSED)
    votes = full_votes(objective, data, before)
    assert_same(revote(objective, data, votes, before, after), full_votes(objective, data, after))


@pytest.mark.long
@given(st.integers(0, 2**31 - 1), st.sampled_from([5, 8, 6]))
def test_neighbours_change_the_fitness_by_what_they_say(seed, vocabulary):
    """Against scoring each neighbour's whole genome; a vocabulary that fills its code and others."""
    objective, data = planted(length=300, vocabulary=vocabulary)
    genomes = genomes_of(objective, 1, seed)
    votes = full_votes(objective, data, genomes)
    places, moves = local.propose(jax.random.key(seed), objective, connectivity.DIMENSIONS, genomes, 2, 2)
    found = neighbours(objective, data, genomes, votes, places, moves)
    base = score(objective, data, genomes, votes).ce[0]
    rng = np.random.default_rng(seed)
    for _ in range(3):
        k, s, c = rng.integers(objective.model.clusters), rng.integers(2), rng.integers(2)
        child = genomes.at[0, k, places[0, k, s]].set(moves[0, k, s, c])
        exact = full_votes(objective, data, child)
        assert_same(exact[0, k], votes[0, k] + found.votes[0, k, s, c])
        ce = score(objective, data, child, exact).ce[0]
        np.testing.assert_allclose(found.change[0, k, s, c], ce - base, atol=2e-5)


@given(st.integers(0, 2**31 - 1), st.sets(st.sampled_from(connectivity.DIMENSIONS), min_size=1))
def test_moves_change_only_what_they_may(seed, dimensions):
    bounds = connectivity.Bounds(INPUTS, 2, 4, 2, 5)
    key = jax.random.key(seed)
    cluster = connectivity.pad(connectivity.random(key, 1, 3, 3, INPUTS), bounds)[0]
    dimensions = tuple(name for name in connectivity.DIMENSIONS if name in dimensions)
    places = jnp.arange(4)
    moved = jax.vmap(lambda k, j: connectivity.move(k, bounds, dimensions, cluster, j))(
        jax.random.split(key, 4), places
    )
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
    """The predecessor's moves crept by two places and never left their token."""
    bounds = connectivity.Bounds(64, 1, 2, 4, 4)
    cluster = jnp.zeros((2, 4), jnp.int8)
    keys = jax.random.split(jax.random.key(0), 500)
    moved = jax.vmap(lambda k: connectivity.move(k, bounds, ("connections",), cluster, jnp.int32(0)))(keys)
    assert set(np.unique(np.asarray(moved))) == set(range(64))


def test_folds_neither_overlap_nor_lose_a_token():
    count = 103
    words = jnp.arange(count, dtype=jnp.uint32)[None]
    examples = ram.Examples(words, jnp.zeros((1, count), bool))
    scored = []
    for index in range(4):
        data = search.fold(examples, jnp.zeros((1, 1), jnp.uint32), jnp.int32(index), 4)
        fitted, held = set(np.asarray(data.train.words[0])), set(np.asarray(data.words[0]))
        assert not fitted & held
        assert len(fitted | held) == 100
        scored += sorted(held)
    assert scored == list(range(100))


def test_adaptation_prunes_grows_and_keeps_to_the_bounds():
    objective, data = planted()
    genome = genomes_of(objective, 1)[0]
    adapt = jax.jit(functools.partial(search.adapt, objective=objective, config=search.AdaptationConfig()))
    adapted = np.asarray(adapt(jax.random.key(0), data=data, genome=genome))
    lengths = (adapted >= 0).sum(axis=-1)
    assert ((lengths == 0) | ((lengths >= 2) & (lengths <= 5))).all()
    assert ((lengths > 0).sum(axis=-1) >= 1).all()
    assert (adapted != np.asarray(genome)).any()
    # With nothing written all cells are empty: every neuron sheds one of its four connections. Such clusters
    # err half the time, so each grows a neuron too.
    silent = data._replace(train=data.train._replace(weight=jnp.zeros(data.train.targets.shape[1], bool)))
    shed = (np.asarray(adapt(jax.random.key(0), data=silent, genome=genome)) >= 0).sum(axis=-1)
    assert ((np.asarray(genome) >= 0).sum(axis=-1) == [4, 4, 4, 0]).all()
    assert (shed == 3).all()


def test_phases_are_parsed():
    names = [phase.name for phase in search.parse(["ga", "tabu"], ["grid", "neurons", "bits+connections"])]
    assert names == [
        "grid:neurons+bits", "ga:neurons", "tabu:neurons", "ga:bits+connections", "tabu:bits+connections",
    ]  # fmt: skip
    for algorithms, phases, message in [
        (["hill"], ["all"], "unknown search 'hill'"),
        (["ga"], ["axons"], "unknown phase 'axons'"),
        ([], ["all"], "at least one algorithm"),
    ]:
        with pytest.raises(ValueError, match=message):
            search.parse(algorithms, phases)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: search.GeneticConfig(population=4, elites=4), "4 cannot keep 4 elites"),
        (lambda: search.TabuConfig(neighbours=0), "at least 1 neighbour"),
        (lambda: search.AnnealingConfig(cooling=1.5), "cooling in"),
        (lambda: search.FitnessConfig("perplexity"), "unknown fitness"),
        (lambda: connectivity.Bounds(12, 5, 4, 2, 3), "no genome has 5 to 4 neurons"),
        (lambda: connectivity.Bounds(12, 1, 4, 2, 13), "no genome has 2 to 13 address bits of 12"),
        (lambda: connectivity.Bounds(12, 1, 4, 2, 3, group=5), "12 input bits do not fall into groups of 5"),
        (lambda: search.grid(jax.random.key(0), planted()[0], [9], [3]), "must lie within the bounds 1 to 4"),
        (lambda: search.tabu(planted()[0], search.TabuConfig(sites=5)), "5 sites needs as many neurons"),
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
import numpy as np, jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import test_search
devices = jax.devices()
mesh = Mesh(np.array(devices), ("population",)) if len(devices) > 1 else None
objective, data = test_search.planted(length=300, mesh=mesh)
found = {}
for name in ("ga", "tabu"):
    algorithm = test_search.ALGORITHMS[name](objective)
    genomes = test_search.genomes_of(objective, test_search.POPULATION[name])
    key = jax.random.key(0)
    options = {} if mesh is None else {"out_shardings": NamedSharding(mesh, PartitionSpec())}
    placed, genomes, key = test_search.search.replicate(mesh, (data, genomes, key))
    state = jax.jit(algorithm.init, **options)(placed, genomes)
    step = jax.jit(algorithm.step, **options)
    for _ in range(3):
        state, info = step(key, placed, state)
    found[name] = [np.asarray(state.scores.ce).tolist(), np.asarray(state.genomes).tolist()]
print(json.dumps({"devices": len(devices), **found}))
"""


def processes(devices, count=1):
    """What each of ``count`` processes of so many devices found."""
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
    """One device, eight of one process, and two processes on loopback: the same genomes and scores."""
    (one,) = processes(1)
    (eight,) = processes(8)
    two = processes(2, count=2)
    assert (one.pop("devices"), eight.pop("devices")) == (1, 8)
    assert [found.pop("devices") for found in two] == [4, 4]
    assert one == eight
    assert one == two[0] == two[1]
