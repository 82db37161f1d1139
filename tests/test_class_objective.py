"""Searching for the mappings of classifiers with the algorithms of the search room."""

import jax
import numpy as np
import pytest

from wnn_jax import search
from wnn_jax.classify import bleaching, counts, objective
from wnn_jax.classify.layer import UNUSED, read
from wnn_jax.ram import connectivity
from wnn_jax.search import Bounds

K, FEATURES, WIDTH = 3, 8, 2
COLUMN = np.repeat(np.arange(FEATURES, dtype=np.int32), WIDTH)
LEVEL = np.tile(np.arange(1, WIDTH + 1, dtype=np.uint8), FEATURES)
BOUNDS = Bounds(FEATURES * WIDTH, max_neurons=6, max_bits=3)
CE = objective.ClassObjective(BOUNDS, K)


def rows_of(seed, rows):
    """Two features tell the classes apart, and only together; six are noise."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, WIDTH + 1, (rows, FEATURES)).astype(np.uint8)
    labels = (levels[:, 1].astype(int) + levels[:, 4]) % K
    return levels, np.where(rng.random(rows) < 0.1, rng.integers(0, K, rows), labels)


LEVELS, LABELS = rows_of(0, 900)
DATA = objective.examples(LEVELS, COLUMN, LEVEL, LABELS, K)


def votes_of(seed, rows=40):
    rng = np.random.default_rng(seed)
    votes = rng.integers(0, 6, (K, rows)).astype(np.int32) << 20
    return votes, np.full(K, 6, np.int32), rng.integers(0, K, rows)


def test_the_loss_is_that_of_a_softmax_of_the_votes():
    votes, neurons, labels = votes_of(1)
    loss, accuracy = CE.score(votes, neurons, labels == np.arange(K)[:, None])
    p = np.exp(votes / 2**20 / 6 * 16)
    p /= p.sum(axis=0)
    assert loss == pytest.approx(-np.log(p[labels, np.arange(40)]).mean(), rel=1e-5)
    assert accuracy == pytest.approx((votes.argmax(axis=0) == labels).mean())


def test_a_change_of_one_class_changes_its_own_part_as_it_changes_the_loss():
    votes, neurons, labels = votes_of(2)
    targets = labels == np.arange(K)[:, None]
    before = CE.score(votes, neurons, targets)[0]
    for k in range(K):
        changed = votes.copy()
        changed[k] = votes_of(3 + k)[0][k]
        others = CE.others(votes, neurons)[k]
        part = [CE.losses(others, targets[k], x[k], neurons[k]).mean() for x in (votes, changed)]
        after = CE.score(changed, neurons, targets)[0]
        assert float(after - before) == pytest.approx(float(part[1] - part[0]), abs=1e-5)


@pytest.mark.parametrize("rate", ["error", "macro_f1", "false_positives"])
def test_rates_are_those_of_scikit_learn(rate):
    metrics = pytest.importorskip("sklearn.metrics")
    votes, neurons, labels = votes_of(7)
    goal = objective.ClassRates(BOUNDS, K, rate, negative=1)
    loss, accuracy = goal.score(votes, neurons, labels == np.arange(K)[:, None])
    chosen = votes.argmax(axis=0)
    wanted = {
        "error": (chosen != labels).mean(),
        "macro_f1": 1 - metrics.f1_score(labels, chosen, average="macro"),
        "false_positives": (chosen[labels == 1] != 1).mean(),
    }
    assert loss == pytest.approx(wanted[rate], abs=1e-6)
    assert accuracy == pytest.approx((chosen == labels).mean())


ALGORITHMS = {
    "tabu": (search.tabu(CE, search.TabuConfig(sites=4, neighbours=3)), 12),
    "annealing": (search.annealing(CE), 40),
    "genetic": (search.genetic(CE, search.GeneticConfig(population=12, elites=2, mutation=0.1)), 20),
    "genetic_macro_f1": (
        search.genetic(
            objective.ClassRates(BOUNDS, K), search.GeneticConfig(population=12, elites=2, mutation=0.1)
        ),
        20,
    ),
}


@pytest.mark.parametrize(
    "name",
    [x if x == "tabu" else pytest.param(x, marks=pytest.mark.long) for x in ALGORITHMS],
)
def test_every_algorithm_beats_a_random_mapping_on_validation_rows(name):
    algorithm, steps = ALGORITHMS[name]
    config = search.RunConfig(steps=steps, folds=2, validation=3, check=steps // 4)
    found = search.run(jax.random.key(1), algorithm, DATA, config)
    assert found.loss < found.start_loss - 0.02
    fresh, labels = rows_of(5, 600)  # rows that the search never had
    random = connectivity.random(jax.random.key(2), K, BOUNDS.max_neurons, BOUNDS.max_bits, BOUNDS.input_bits)

    def accuracy(genome):
        mapping, owner = objective.mapping_of(genome, COLUMN, LEVEL)
        table = counts.write(mapping, counts.empty(mapping, 8, K), LEVELS, LABELS)
        table = objective.serve(table, owner)
        chosen = bleaching.choose(mapping, table, LEVELS, LABELS).chosen
        scores = np.asarray(read(mapping, bleaching.freeze(table, chosen), fresh))
        return (scores.argmax(axis=1) == labels).mean()

    assert accuracy(found.genome) > accuracy(random)


def test_tabu_refuses_a_rate_of_no_single_class():
    with pytest.raises(ValueError, match="tabu"):
        search.tabu(objective.ClassRates(BOUNDS, K))


def test_the_neurons_of_a_genome_serve_one_class_each():
    genome = np.full((K, 2, 3), -1)
    genome[0, 0], genome[2, 0], genome[2, 1] = [3, -1, 5], [0, 1, 15], [7, -1, -1]
    mapping, owner = objective.mapping_of(genome, COLUMN, LEVEL)
    assert owner.tolist() == [0, 2, 2]
    assert mapping.column.tolist() == [[1, 2, 0], [0, 0, 7], [3, 0, 0]]
    assert mapping.level.tolist() == [[2, 2, UNUSED], [1, 2, 2], [2, UNUSED, UNUSED]]
    table = objective.serve(np.ones((3, 8, K), np.int32), owner)
    assert (table.any(axis=1) == (owner[:, None] == np.arange(K))).all()
    with pytest.raises(ValueError, match="has no neuron"):
        objective.mapping_of(genome[1:2], COLUMN, LEVEL)
    with pytest.raises(ValueError, match="genome"):
        objective.mapping_of(genome + 20, COLUMN, LEVEL)
