"""Searches with an objective that judges genomes as a whole: a toy whose best genome is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wnn_jax import ram, search
from wnn_jax.search import evaluate, whole

INPUTS, NEURONS = 9, 5


@dataclasses.dataclass(frozen=True)
class Hidden:
    """Each example costs 1 less for each of three hidden inputs that a neuron reads, and .1 for each neuron.

    Its data are integers; an example costs noise that depends on it alone. A neuron reads one input.
    """

    bounds: search.Bounds = search.Bounds(INPUTS, max_neurons=NEURONS, max_bits=1)
    clusters: int = 1
    short: int = 0
    runs: list = dataclasses.field(default_factory=list, compare=False, repr=False)

    def count(self, data):
        return len(data)

    def part(self, data, first, last):
        return data[first:last]

    def shorter(self, data):
        return data[: self.short] if self.short else None

    def losses(self, data, genomes):
        self.runs.append((len(data), len(genomes)))
        noise = (np.asarray(data) * 7919 % 101) / 101.0
        found = [len({1, 4, 7} & set(genome.ravel().tolist())) for genome in genomes]
        neurons = (genomes >= 0).any(axis=-1).sum(axis=(1, 2))
        return (5.0 - np.array(found) + 0.1 * neurons)[:, None] + noise

    def propose(self, key, data, dimensions, genomes, sites, candidates):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
        size = genomes.shape[0], 1, NEURONS
        places = np.argsort(rng.random(size), axis=-1)[..., :sites].astype(np.int32)
        return places, rng.integers(-1, INPUTS, (*places.shape, candidates, 1)).astype(np.int8)

    def mebibits(self, genomes):
        return (genomes >= 0).sum(axis=(1, 2, 3)).astype(np.float32)


START = np.array([[[0], [2], [-1], [-1], [-1]]], np.int8)
DATA = np.arange(600)
RUN = search.RunConfig(steps=25, folds=3, rotate=5, validation=4, check=5, save_every=2)
TABU = search.TabuConfig(sites=4, neighbours=2, tenure=2)


def algorithm_of(name, objective, **fitness):
    if name == "tabu":
        return search.tabu(objective, TABU, search.FitnessConfig(**fitness))
    return search.annealing(objective, search.AnnealingConfig(starts=2, temperature=0.01))


@pytest.mark.parametrize("short", [0, 40])
@pytest.mark.parametrize("name", ["tabu", "annealing"])
def test_a_search_finds_the_hidden_inputs(name, short):
    objective = Hidden(short=short)
    found = search.run(jax.random.key(1), algorithm_of(name, objective), DATA, RUN, start=START)
    assert {1, 4, 7} <= set(found.genome.ravel().tolist())
    noise = (DATA[450:] * 7919 % 101 / 101).mean()
    assert found.start_loss == pytest.approx(5.2 + noise, abs=1e-5)
    assert found.loss < 2.6 + noise
    lengths = {length for length, _ in objective.runs}
    assert lengths == {150} | ({short} if short else set())


def test_the_price_of_size_counts_in_validation():
    """A hidden input gains 1 and its neuron costs 2, so the neurons go, although the loss rises."""
    start = np.array([[[1], [4], [7], [-1], [-1]]], np.int8)
    algorithm = algorithm_of("tabu", Hidden(), size_weight=2.0)
    found = search.run(jax.random.key(1), algorithm, DATA, RUN, start=start)
    assert (found.genome >= 0).sum() <= 1
    assert found.loss > found.start_loss + 1


def test_a_killed_search_resumes_to_the_same_bits(tmp_path):
    names = ("tabu", "annealing")
    algorithms = [algorithm_of(name, Hidden(short=40)) for name in names]

    def run(**more):
        return search.run(jax.random.key(3), algorithms, DATA, RUN, start=START, **more)

    expected = run()
    for *stop, how in (("tabu", 7, SystemExit), ("annealing", 4, KeyboardInterrupt)):

        def kill(report, stop=stop, how=how):
            if [report.phase, report.step] == stop:
                raise how

        with pytest.raises(how):
            run(resume=tmp_path, on_step=kill)
    found = run(resume=tmp_path)
    np.testing.assert_array_equal(found.genome, expected.genome)
    assert found.loss == expected.loss
    assert [line._replace(seconds=0.0) for line in found.history] == [
        line._replace(seconds=0.0) for line in expected.history
    ]
    with pytest.raises(ValueError, match="the progress of other work, which differs in data"):
        search.run(jax.random.key(3), algorithms, DATA + 1, RUN, start=START, resume=tmp_path)


def test_a_change_is_that_of_the_mean_with_the_error_of_the_differences():
    evaluator = search.Evaluator(Hidden(), search.FitnessConfig(size_weight=0.25))
    genomes = np.stack([START, START])
    places, moves = Hidden().propose(jax.random.key(0), DATA, (), genomes, 3, 2)
    found = evaluate.neighbours(
        evaluator, DATA, jnp.asarray(genomes), whole.losses(evaluator, DATA, genomes), places, moves
    )
    for p, s, c in np.ndindex(2, 3, 2):
        after = genomes[p].copy()
        after[0, places[p, 0, s]] = moves[p, 0, s, c]
        both = Hidden().losses(DATA, np.stack([genomes[p], after])).astype(np.float32)
        size = np.diff(Hidden().mebibits(np.stack([genomes[p], after])))[0]
        at = p, 0, s, c
        assert found.change[at] == pytest.approx(np.diff(both.mean(axis=1))[0] + 0.25 * size, abs=1e-5)
        assert found.error[at] == pytest.approx(np.std(both[1] - both[0]) / np.sqrt(600), abs=1e-6)
        assert found.table[at] == found.neurons[at] == size


def test_only_the_better_half_of_a_first_judgement_is_run_in_whole():
    objective = Hidden(short=50)
    evaluator = search.Evaluator(objective)
    losses = whole.losses(evaluator, DATA, START[None])
    objective.runs.clear()
    moves = np.arange(8, dtype=np.int8).reshape(1, 1, 4, 2, 1)
    change, _, _ = whole.neighbours(evaluator, DATA, (START[None], losses), np.arange(4)[None, None], moves)
    # The neurons 1, 4 and 7 are better; of the rest, the first move changes nothing, and is the first.
    # Two moves change nothing, and equal genomes are run once.
    assert objective.runs == [(50, 1), (50, 7), (600, 4)]
    assert np.flatnonzero(np.isfinite(change)).tolist() == [0, 1, 4, 7]
    assert change[0, 0, 0, 1] == pytest.approx(-1, abs=1e-6)


def test_moves_that_do_not_add_up_are_halved():
    evaluator = search.Evaluator(Hidden())
    before = START[None], whole.losses(evaluator, DATA, START[None])
    places = np.arange(4)[None, None]

    def together(*inputs, best):
        moves = np.array(inputs, np.int8).reshape(1, 1, 4, 1, 1)
        single = np.array([-1.0, -0.9, -0.8, -0.7]).reshape(1, 1, 4, 1)
        return whole.together(evaluator, DATA, before, (places, moves, single), np.array([[best]]), 0.0)

    taken, change = together(1, 4, 7, 8, best=-1.0)
    assert taken.all()
    assert change[0, 0] == pytest.approx(-2.8, abs=1e-5)
    taken, change = together(1, 4, 1, 4, best=-1.9)  # four together gain 1.8, the first two 2
    assert taken.ravel().tolist() == [True, True, False, False]
    assert change[0, 0] == pytest.approx(-2.0, abs=1e-5)
    _, change = together(1, 1, 1, 1, best=-1.0)
    assert not change[0, 0] < -1.0


def test_scores_are_the_mean_loss_and_the_mean_probability():
    evaluator = search.Evaluator(Hidden())
    genomes = np.stack([START, np.full_like(START, -1)])
    scores = whole.score(evaluator, genomes, whole.losses(evaluator, DATA, genomes))
    each = Hidden().losses(DATA, genomes)
    np.testing.assert_allclose(scores.loss, each.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(scores.accuracy, np.exp(-each).mean(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(scores.mebibits, [2, 0])


def test_what_needs_votes_is_refused():
    objective = Hidden()
    for make in (search.genetic, search.random_search, search.grid):
        with pytest.raises(ValueError, match="Hidden judges genomes as a whole: use tabu search with one st"):
            make(objective)
    with pytest.raises(ValueError, match="has one start, got starts=2: lower it to 1"):
        search.tabu(objective, dataclasses.replace(TABU, starts=2))
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("population",))
    with pytest.raises(ValueError, match="objective is of type Hidden and runs on the host: give no mesh"):
        search.Evaluator(objective, mesh=mesh)
    tabu, adapting = algorithm_of("tabu", objective), dataclasses.replace(RUN, adapt_every=2)
    with pytest.raises(ValueError, match="give it a start, and adapt_every=0, got start=None and adapt_"):
        search.run(jax.random.key(0), tabu, DATA, RUN)
    with pytest.raises(ValueError, match="got start=a genome and adapt_every=2"):
        search.run(jax.random.key(0), tabu, DATA, adapting, start=START)
    with pytest.raises(ValueError, match="need at least 12 examples, got 11"):
        search.run(jax.random.key(0), tabu, DATA[:11], RUN, start=START)
    with pytest.raises(ValueError, match="without memory: give an Objective"):
        search.Evaluator(ram.RamConfig())
