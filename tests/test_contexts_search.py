"""The search for context neurons: its moves, its loss, and a field that it has to find."""

import dataclasses

import jax
import numpy as np
import pytest
from commands import call, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from wnn_jax import chain, search
from wnn_jax.chain import genomes
from wnn_jax.chain.constants import FIELDS, VIEWS
from wnn_jax.chain.neurons import WORDS
from wnn_jax.data import text
from wnn_jax.ram.connectivity import UNUSED

LETTERS = "abcdefgh"
CONFIG = chain.ChainConfig(
    mode="online", tree="plain", neurons=("node", "node token1"), memory_mib=1, chunk=512
)
BOUNDS = genomes.context_bounds(6, 3)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A letter follows from the one three places before it, but for one in ten."""
    rng, letters = np.random.default_rng(0), [0, 1, 2]
    while len(letters) < 2400:
        letters.append((3 * letters[-3] + 1) % 8 if rng.random() < 0.9 else int(rng.integers(8)))
    path = tmp_path_factory.mktemp("letters") / "corpus.txt"
    path.write_text("".join(LETTERS[x] for x in letters))
    return path


@pytest.fixture(scope="module")
def corpus(path):
    return text.load(text.TextConfig(str(path)))


@pytest.fixture(scope="module")
def data(corpus):
    return chain.ContextText(chain.build(CONFIG, corpus), corpus.train[:400])


def neurons_of(genome):
    return [tuple(x for x in row if x != UNUSED) for row in genome.tolist()]


def check_neuron(neuron, bounds):
    assert sum(x < len(VIEWS) for x in neuron) == 1
    assert list(neuron) == sorted(set(neuron))
    assert 0 <= neuron[0] <= neuron[-1] < genomes.INPUTS
    assert len(neuron) <= bounds.max_bits


neuron = st.tuples(
    st.integers(0, len(VIEWS) - 1),
    st.frozensets(st.integers(len(VIEWS), genomes.INPUTS - 1), max_size=3),
)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.frozensets(neuron, min_size=1, max_size=6),
    st.integers(1, 6),
    st.integers(1, 3),
    st.sets(st.sampled_from(search.DIMENSIONS), min_size=1),
)
def test_moves_stay_within_the_bounds_and_the_dimensions(seed, neurons, sites, candidates, dimensions):
    genome = np.full((6, 4), UNUSED, np.int16)
    for row, (view, fields) in zip(genome, neurons, strict=False):
        row[: 1 + len(fields)] = view, *sorted(fields)
    genome = np.random.default_rng(seed).permutation(genome)
    rng = np.random.default_rng(seed)
    places, moves = genomes.propose(rng, BOUNDS, tuple(dimensions), genome, sites, candidates)
    assert places.shape == (sites,)
    assert moves.shape == (sites, candidates, 4)
    assert len(set(places.tolist())) == sites
    there = neurons_of(genome)
    made = []
    for s, c in np.ndindex(sites, candidates):
        old, new = there[places[s]], neurons_of(moves[s])[c]
        if new == old:
            continue
        made.append(new)
        if new:
            check_neuron(new, BOUNDS)
        if "neurons" not in dimensions:
            assert bool(old) == bool(new)
        if old and new and "bits" not in dimensions and "connections" not in dimensions:
            raise AssertionError("a neuron that stays may not change")
        if old and new and "connections" not in dimensions:
            assert set(old) < set(new) or set(new) < set(old)
        if not new:
            assert len(neurons) > BOUNDS.min_neurons
    kept = [x for x in made if x]
    assert len(set(kept)) == len(kept)
    assert not set(kept) & set(there)


def test_every_kind_of_move_comes():
    genome = genomes.genome_of(("node token1 token2", "byte word"), BOUNDS)[0]
    kinds = set()
    for seed in range(60):
        places, moves = genomes.propose(np.random.default_rng(seed), BOUNDS, search.DIMENSIONS, genome, 4, 1)
        for place, move in zip(places, moves[:, 0], strict=True):
            old, new = (set(neurons_of(row[None])[0]) for row in (genome[place], move))
            sizes = len(old - new), len(new - old)
            view = bool(old) and bool(new) and min(old) != min(new)
            kinds.add((bool(old), bool(new), *(sizes if old and new else ()), view))
    assert {
        (False, True, False),
        (True, False, False),
    } <= kinds  # an empty slot is filled; a neuron is dropped
    assert {(True, True, 0, 1, False), (True, True, 1, 0, False), (True, True, 1, 1, False)} <= kinds
    assert (True, True, 1, 1, True) in kinds


def test_the_hand_made_neurons_are_a_genome_and_back():
    bounds = genomes.context_bounds(30, 4)
    genome = genomes.genome_of(WORDS, bounds)
    assert genome.shape == (1, 30, 5)
    for one, other in zip(genomes.described_of(genome), WORDS, strict=True):
        assert one.split()[0] == other.split()[0]
        assert sorted(one.split()) == sorted(other.split())
    turned = tuple(" ".join([one.split()[0], *reversed(one.split()[1:])]) for one in WORDS)
    np.testing.assert_array_equal(genomes.genome_of(turned, bounds), genome)
    for row in neurons_of(genome[0])[: len(WORDS)]:
        check_neuron(row, bounds)
    with pytest.raises(ValueError, match="24 neurons of up to 4 fields are outside the bounds of 9 neurons"):
        genomes.genome_of(WORDS, genomes.context_bounds(9, 4))
    with pytest.raises(ValueError, match="unknown view or field 'token99'"):
        genomes.genome_of(["node token99"], bounds)
    for bad in (np.full((1, 2, 3), -1), np.array([[[0, 1, 4]]]), np.array([[[4, 5, -1]]])):
        with pytest.raises(ValueError, match="does not read exactly one name of a node"):
            genomes.described_of(bad)


def test_the_loss_is_that_of_a_model_that_reads_the_part_from_empty(data):
    objective = chain.ContextObjective(BOUNDS, log_slots=8, unscored=0.25)
    lists = (
        ("node token1", "node token3"),
        ("node", "node token1 token2", "byte word"),
    )
    both = np.stack([genomes.genome_of(one, BOUNDS) for one in lists])
    both[0] = np.roll(both[0], 1, axis=1)  # an empty slot in front changes nothing
    losses = objective.losses(data, both)
    assert losses.shape == (2, 300)
    assert losses.dtype == np.float32
    for found, described in zip(losses, lists, strict=True):
        pieces = [bytes([x]) for x in range(256)]
        network = chain.network(data.network.tree, pieces, described)
        memory = chain.empty_online(network, 8)
        _, reading = chain.read(network, memory, data.tokens, learn=True)
        np.testing.assert_allclose(found, chain.nats(network, reading)[100:], rtol=1e-5)
    many = dataclasses.replace(objective, threads=2)
    np.testing.assert_array_equal(many.losses(data, both), losses)
    np.testing.assert_array_equal(objective.mebibits(both), np.array([2, 3]) * 256 * 128 / 2**20)


def test_the_loss_of_a_token_knows_no_later_token(data):
    objective = chain.ContextObjective(BOUNDS, log_slots=8, unscored=0.0)
    genome = genomes.genome_of(("node token1", "node token3"), BOUNDS)[None]
    losses = objective.losses(data, genome)[0]
    other = data.tokens.copy()
    other[250] = ord("z")
    changed = objective.losses(data._replace(tokens=other), genome)[0]
    np.testing.assert_array_equal(changed[:250], losses[:250])
    assert (changed[250:] != losses[250:]).all()
    short = objective.shorter(data)
    assert len(short.tokens) == 100
    np.testing.assert_array_equal(objective.losses(short, genome)[0], losses[:100])
    assert dataclasses.replace(objective, screened=1.0).shorter(data) is None


QUICK = chain.ContextSearchConfig(
    most_neurons=4,
    most_fields=2,
    price=0.001,
    run=search.RunConfig(steps=4, folds=2, rotate=2, validation=3, check=2, save_every=1),
    tabu=search.TabuConfig(sites=4, neighbours=3, tenure=2),
)


def test_a_search_finds_the_field_that_the_text_follows(corpus, tmp_path):
    reports = []
    found = chain.search_contexts(jax.random.key(0), CONFIG, corpus, QUICK, on_step=reports.append)
    assert found.start == ("node", "node token1")
    # A letter is known by any of these.
    third = {"token3", "folded3", "class9_3", "class12_3", "suffix3"}
    assert any(third & set(one.split()) for one in found.neurons)
    assert found.loss < found.start_loss - 0.3
    assert 0 < found.error < 0.1
    assert list(found.result.history) == [report._replace(population=()) for report in reports]

    def stop(report):
        if report.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chain.search_contexts(jax.random.key(0), CONFIG, corpus, QUICK, resume=tmp_path, on_step=stop)
    again = chain.search_contexts(jax.random.key(0), CONFIG, corpus, QUICK, resume=tmp_path)
    np.testing.assert_array_equal(again.result.genome, found.result.genome)
    assert again[:5] == found[:5]


def test_the_text_that_is_held_out_chooses_nothing(corpus):
    """What is held out changes its own loss, and neither the neurons nor the losses of the search."""
    kept = int(len(corpus.train) * (1 - QUICK.held_out))
    other = corpus.train.copy()
    other[kept:] = np.random.default_rng(1).permutation(other[kept:])
    quick = dataclasses.replace(QUICK, run=dataclasses.replace(QUICK.run, steps=2))
    one, two = (
        chain.search_contexts(jax.random.key(0), CONFIG, corpus._replace(train=x), quick)
        for x in (corpus.train, other)
    )
    np.testing.assert_array_equal(one.result.genome, two.result.genome)
    assert [line._replace(seconds=0.0) for line in one.result.history] == [
        line._replace(seconds=0.0) for line in two.result.history
    ]
    assert one.loss != two.loss


def test_the_command_writes_both_lists_and_the_gain(path, tmp_path):
    flags = [
        f"--corpus={path}",
        "--tree=plain",
        "--neurons=node,node token1",
        "--memory_mib=1",
        "--most_neurons=4",
    ]
    flags += ["--steps=2", "--folds=2", "--validation=2", "--check=1", "--sites=3", "--neighbours=3"]
    done = call("contexts", *flags, f"--workdir={tmp_path}", f"--resume={tmp_path / 'progress'}")
    assert done.returncode == 0, done.stderr
    hand, found, about = rows_of(tmp_path)
    assert hand["contexts"] == ["node", "node token1"]
    assert about["gain"] == pytest.approx(hand["ce"] - found["ce"])
    assert about["validation"][1] <= about["validation"][0]
    assert about["candidates"] == 2 * 10
    assert chain.ChainConfig(mode="online", neurons=tuple(found["contexts"])).described
    assert f"gain {about['gain']:.4f}" in done.stdout
    assert (tmp_path / "contexts.png").exists()


def test_what_cannot_be_searched_is_refused(corpus):
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="contexts are searched for an online model, got a static one"):
        chain.search_contexts(key, dataclasses.replace(CONFIG, mode="static"), corpus, QUICK)
    with pytest.raises(ValueError, match="2 neurons of up to 1 fields are outside the bounds of 1 neurons"):
        chain.search_contexts(key, CONFIG, corpus, dataclasses.replace(QUICK, most_neurons=1))
    with pytest.raises(ValueError, match="tabu search with 4 sites needs at least 4 neurons"):
        chain.search_contexts(key, CONFIG, corpus, dataclasses.replace(QUICK, most_neurons=2))
    with pytest.raises(ValueError, match="the bounds have 7 input bits, but neurons have"):
        chain.ContextObjective(search.Bounds(7, max_neurons=2, max_bits=2))
    with pytest.raises(ValueError, match=f"fields={len(FIELDS) + 1} is out of range"):
        genomes.context_bounds(3, len(FIELDS) + 1)
    for name in ("price", "held_out", "unscored", "screened"):
        with pytest.raises(ValueError, match=f"{name}=-1 is out of range"):
            chain.ContextSearchConfig(**{name: -1})
