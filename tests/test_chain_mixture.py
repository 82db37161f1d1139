"""Two chain models of different trees, mixed on tokens: the weight, exactness, resuming, saving."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from chain_texts import text_of_words
from hypothesis import given, settings
from hypothesis import strategies as st

from wnn_jax import chain
from wnn_jax.chain import fitted, joint, mixture
from wnn_jax.data import text

KEY = jax.random.key(0)
NEURONS = chain.BYTES[:4]
READOUT = chain.ReadoutConfig(folds=3, tokens=900, epochs=1)


def config_of(mode):
    first = chain.ChainConfig(mode=mode, neurons=NEURONS, memory_mib=2, chunk=512, readout=READOUT)
    return chain.MixtureConfig(first, dataclasses.replace(first, tree="plain"))


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return text_of_words(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def corpus(words):
    return text.load(words)


@pytest.fixture(scope="module", params=["static", "online"])
def model(request, corpus):
    return chain.fit(KEY, config_of(request.param), corpus)


costs = st.lists(st.tuples(st.floats(0, 60), st.floats(0, 60)), max_size=40)


@given(costs, st.floats(-4, 4), st.sampled_from([0.0, 0.02, 0.5, 1.0]))
@settings(deadline=None)
def test_the_weight_follows_its_rule(pairs, balance, rate):
    first, second = np.array(pairs, float).reshape(-1, 2).T
    nats, after = chain.mix(first, second, balance, rate)
    odds = balance
    for at, (a, b) in enumerate(pairs):
        w = 1 / (1 + math.exp(-odds))
        whole = w * math.exp(-a) + (1 - w) * math.exp(-b)
        assert nats[at] == pytest.approx(-math.log(whole), rel=1e-9, abs=1e-9)
        odds += rate * (w * math.exp(-a) / whole - w)
    assert after == pytest.approx(odds, rel=1e-9, abs=1e-9)
    # A mixture is never dearer than its best part by more than the cost of choosing it at the start.
    if not rate and len(pairs):
        w = 1 / (1 + math.exp(-balance))
        assert (nats <= np.minimum(first - math.log(w), second - math.log(1 - w)) + 1e-9).all()


@given(costs, st.integers(0, 40))
@settings(deadline=None)
def test_a_text_in_two_parts_has_the_weight_of_the_whole(pairs, cut):
    first, second = np.array(pairs, float).reshape(-1, 2).T
    whole, after = chain.mix(first, second, 0.0, 0.02)
    begun, between = chain.mix(first[:cut], second[:cut], 0.0, 0.02)
    rest, end = chain.mix(first[cut:], second[cut:], between, 0.02)
    np.testing.assert_array_equal(np.concatenate([begun, rest]), whole)
    assert end == after


def test_the_weight_goes_to_the_better_model():
    cheap, dear = np.full(2000, 1.0), np.full(2000, 3.0)
    nats, balance = chain.mix(cheap, dear, 0.0, 0.02)
    assert nats[0] > nats[-1] > 1.0
    assert balance > 2
    assert chain.mix(dear, cheap, 0.0, 0.02)[1] == pytest.approx(-balance)
    with pytest.raises(ValueError, match="second"):
        chain.mix(cheap, dear[:-1], 0.0, 0.02)
    with pytest.raises(ValueError, match="rate=nan is out of range"):
        chain.mix(cheap, dear, 0.0, math.nan)


@given(st.floats(0.05, 0.95), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_a_constant_weight_is_the_best_one(share, seed):
    rng = np.random.default_rng(seed)
    first, second = np.where(rng.random((1, 400)) < share, [[0.5], [2.0]], [[2.5], [0.7]])
    balance = chain.constant_balance(first, second)
    best = chain.mix(first, second, balance, 0.0)[0].mean()
    for step in (-0.05, 0.05):
        if abs(balance) < 4.5:  # the weight ends at 0.01 and 0.99
            assert best <= chain.mix(first, second, balance + step, 0.0)[0].mean()
    assert chain.constant_balance(first[:0], second[:0]) == 0.0


def test_all_probabilities_sum_to_one_and_are_those_of_scoring(model, corpus):
    ids = corpus.test[:6]
    scored = chain.score(model, ids)
    at = model
    for place, token in enumerate(ids):
        shares = chain.probabilities(at)
        assert shares.sum() == pytest.approx(1, abs=1e-5)
        # While an online model reads a token, it learns each turn of it before the next.
        near = {"rel": 1e-4, "abs": 1e-5} if model.config.mode == "static" else {"rel": 0.1, "abs": 0.05}
        assert -math.log(shares[token]) == pytest.approx(scored.nats[place], **near)
        at = chain.score(at, [token]).model
    assert at.balance == scored.model.balance
    assert (at.balance == model.balance) == (model.config.mode == "static")


def test_the_best_token_is_that_of_brute_force(model, corpus):
    # Text that no model has seen: the two name different tokens at some places.
    ids = np.random.default_rng(1).permutation(corpus.test[:30])
    found = chain.score(model, ids, argmax=True)
    np.testing.assert_array_equal(found.nats, chain.score(model, ids).nats)
    at, disagreed = model, 0
    for place, token in enumerate(ids):
        shares = chain.probabilities(at)
        assert shares[found.best[place]] >= shares.max() * (1 - 1e-6)
        if shares.max() > np.sort(shares)[-2] * (1 + 1e-5):
            assert found.best[place] == shares.argmax()
        parts = [chain.probabilities(one).argmax() for one in (at.first, at.second)]
        disagreed += parts[0] != parts[1]
        at = chain.score(at, [token]).model
    assert disagreed


def test_later_tokens_change_no_earlier_score(model, corpus):
    ids = corpus.test[:200]
    other = np.concatenate([ids[:120], ids[120:][::-1]])
    one, two = chain.score(model, ids).nats, chain.score(model, other).nats
    np.testing.assert_array_equal(one[:120], two[:120])
    assert not np.array_equal(one[120:], two[120:])


def test_a_mixture_is_its_two_models(model, corpus):
    ids = corpus.test[:300]
    before = jax.tree.map(np.array, (model.first.memory, model.second.memory))
    parts = [chain.score(one, ids).nats for one in (model.first, model.second)]
    rate = model.config.rate if model.config.mode == "online" else 0.0
    expected, _ = chain.mix(*parts, model.balance, rate)
    np.testing.assert_array_equal(chain.score(model, ids).nats, expected)
    after = jax.tree.map(np.array, (model.first.memory, model.second.memory))
    jax.tree.map(np.testing.assert_array_equal, before, after)
    begun = chain.score(model, ids[:100])
    rest = chain.score(begun.model, ids[100:], donate=True)
    np.testing.assert_array_equal(np.concatenate([begun.nats, rest.nats]), expected)


def test_fitting_then_scoring_is_evaluating(model, corpus):
    steps = []
    corpus = corpus._replace(test=corpus.test[:150])
    done = chain.evaluate(KEY, model.config, corpus, on_step=steps.append)
    np.testing.assert_array_equal(done.nats, chain.score(model, corpus.test).nats)
    assert steps[-1] == ("scoring", 150, 150)
    assert steps[0].stage == ("fitting" if model.config.mode == "static" else "reading")
    assert all(0 <= step.done <= step.total for step in steps)
    assert done.reliability is None
    with_best = chain.evaluate(KEY, model.config, corpus, argmax=True)
    np.testing.assert_array_equal(with_best.nats, done.nats)
    np.testing.assert_array_equal(with_best.best, chain.score(model, corpus.test, argmax=True).best)
    assert with_best.model.balance == done.model.balance


def test_the_weight_of_static_models_is_learnt_on_text_that_they_have_not_seen(model, corpus):
    if model.config.mode == "online":
        return
    cut = len(corpus.train) - len(corpus.train) // 10
    parted = corpus._replace(train=corpus.train[:cut], test=corpus.train[cut:])
    parts = [chain.evaluate(KEY, one, parted).nats for one in (model.config.first, model.config.second)]
    assert model.balance == chain.constant_balance(*parts)


@pytest.mark.parametrize("argmax", [False, True])
def test_a_stopped_run_ends_the_same(model, corpus, tmp_path, monkeypatch, argmax):
    monkeypatch.setattr(mixture, "_BLOCK", 50)
    corpus = corpus._replace(test=corpus.test[:150])
    whole = chain.evaluate(KEY, model.config, corpus, argmax=argmax)

    def stop(step):
        if step.stage == "scoring" and step.total == 150:  # not the held-out text of static models
            raise InterruptedError

    how = {"argmax": argmax, "resume": tmp_path / "run", "save_every": 4, "save_seconds": 0.0}
    with pytest.raises(InterruptedError):
        chain.evaluate(KEY, model.config, corpus, **how, on_step=stop)
    steps = []
    resumed = chain.evaluate(KEY, model.config, corpus, **how, on_step=steps.append)
    assert steps[0] == ("scoring", 100, 150) if argmax else {x.stage for x in steps} <= {"scoring"}
    np.testing.assert_array_equal(resumed.nats, whole.nats)
    np.testing.assert_array_equal(resumed.best, whole.best)
    memories = [(one.model.first.memory, one.model.second.memory) for one in (resumed, whole)]
    jax.tree.map(np.testing.assert_array_equal, *memories)
    assert resumed.model.balance == whole.model.balance
    with pytest.raises(ValueError, match="progress of other work"):
        chain.evaluate(jax.random.key(1), model.config, corpus, **how)
    with pytest.raises(ValueError, match="progress"):
        chain.evaluate(KEY, model.config.first, corpus, resume=tmp_path / "run")


KILLED = """
import sys, jax, numpy as np
from wnn_jax import chain
from wnn_jax.data import text
first = chain.ChainConfig(mode="online", neurons=chain.BYTES[:4], memory_mib=2, chunk=64)
config = chain.MixtureConfig(first, chain.ChainConfig(**{**vars(first), "tree": "plain"}))
corpus = text.load(text.TextConfig(sys.argv[1]))
done = chain.evaluate(jax.random.key(0), config, corpus, resume=sys.argv[2], save_every=1)
np.save(sys.argv[3], done.nats)
"""


def test_a_killed_run_ends_with_the_same_bits(words, tmp_path):
    def command(run):
        return [sys.executable, "-c", KILLED, words.corpus, str(tmp_path / run), str(tmp_path / f"{run}.npy")]

    env = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}
    killed = subprocess.Popen(command("killed"), env=env)
    folders = [tmp_path / "killed" / name / "steps" for name in ("first", "second")]
    deadline = time.monotonic() + 120
    while not all(x.exists() and any(y.name.isdecimal() for y in x.iterdir()) for x in folders):
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed.npy").exists()
    for run in ("killed", "calm"):
        subprocess.run(command(run), env=env, check=True, timeout=240)
    np.testing.assert_array_equal(np.load(tmp_path / "killed.npy"), np.load(tmp_path / "calm.npy"))


def test_an_error_in_one_model_ends_the_other(model, corpus, monkeypatch):
    real = fitted.evaluate

    def broken(key, config, *args, **how):
        if config.tree == "plain":
            raise RuntimeError("the second model is broken")
        return real(key, config, *args, **how)

    monkeypatch.setattr(fitted, "evaluate", broken)
    with pytest.raises(RuntimeError, match="the second model is broken"):
        chain.evaluate(KEY, model.config, corpus)


def test_draws_are_those_of_the_mixture(model):
    nucleus = chain.WritingConfig(top_p=0.9, repetition_penalty=1.5)
    one = chain.generate(jax.random.key(2), model, "bits ", 30, nucleus)
    assert one == chain.generate(jax.random.key(2), model, "bits ", 30, nucleus)
    assert chain.generate(jax.random.key(2), model, "bits ", 40, nucleus).startswith(one)
    pieces, warm = [], chain.WritingConfig(temperature=0.8)
    free = chain.generate(jax.random.key(3), model, "bits ", 40, warm, on_text=pieces.append)
    assert free == "bits " + "".join(pieces)
    # The nucleus of almost no probability is the best token.
    greedy = chain.generate(jax.random.key(4), model, "bits ", 8, chain.WritingConfig(top_p=1e-6)).encode()
    ids = list(greedy)
    frozen = model
    if model.config.mode == "static":  # an online model would learn the prompt in scoring
        found = chain.score(frozen, ids, argmax=True)
        np.testing.assert_array_equal(found.best[5:], ids[5:])


def test_draws_have_the_frequencies_of_the_mixture(model):
    shares = joint.shares(model, 1.0)
    plain, before = chain.WritingConfig(), np.zeros(0, np.int32)
    drawn = [joint.draw(jax.random.key(seed), model, plain, before)[1] for seed in range(100)]
    found = np.bincount(drawn, minlength=len(shares)) / 100
    # Half the sum of differences; 100 draws of this distribution differ by less than 0.3.
    assert 0.5 * np.abs(found - shares).sum() < 0.3


def test_a_penalty_in_a_mixture_divides_the_probability_of_recent_tokens(model):
    """At this penalty a recent token is never drawn, by proposals or from all probabilities."""
    often = np.argsort(-joint.shares(model, 1.0))[:3].astype(np.int32)
    for writing in (
        chain.WritingConfig(repetition_penalty=1e6),
        chain.WritingConfig(repetition_penalty=1e6, top_k=2),
    ):
        drawn = {joint.draw(jax.random.key(seed), model, writing, often)[1] for seed in range(12)}
        assert not drawn & set(often.tolist())
        assert len(drawn) <= (writing.top_k or len(drawn))


def test_a_saved_mixture_is_the_same_mixture(model, words, corpus, tmp_path):
    folder = chain.save(tmp_path / "model", model, words, {"ce": 1.0})
    found = chain.load(folder)
    assert isinstance(found, chain.MixtureModel)
    assert (found.config, found.balance) == (model.config, model.balance)
    nats = chain.score(model, corpus.test[:50]).nats
    np.testing.assert_array_equal(chain.score(found, corpus.test[:50]).nats, nats)
    moved = model._replace(balance=model.balance + 1)
    chain.save(folder, moved, words)
    assert chain.load(folder).balance == moved.balance
    with pytest.raises(ValueError, match="choose another folder"):
        chain.save(folder, model.first, words)
    single = tmp_path / "single"
    chain.save(single, model.first, words)
    with pytest.raises(ValueError, match="holds no mixture of chain models"):
        chain.save(single, model, words)
    mark = folder / "mixture.sealed"
    mark.write_bytes(mark.read_bytes()[:-1] + b" ")
    with pytest.raises(ValueError, match="is damaged"):
        chain.load(folder)


def test_a_mixture_refuses_what_makes_none(model, corpus):
    static, online = config_of("static"), config_of("online")
    with pytest.raises(ValueError, match="two models of one mode, got static and online"):
        chain.MixtureConfig(static.first, online.first)
    with pytest.raises(ValueError, match=r"rate=2\.0 is out of range"):
        chain.MixtureConfig(static.first, static.second, rate=2.0)
    with pytest.raises(ValueError, match="config is of type str: give a ChainConfig or MixtureConfig"):
        chain.fit(KEY, "two trees", corpus)
    with pytest.raises(ValueError, match="outside the 256 ids"):
        chain.score(model, [300])
    with pytest.raises(ValueError, match="balance=nan is out of range"):
        chain.score(model._replace(balance=math.nan), [3])
    with pytest.raises(ValueError, match="prompt=3 is of type int: give a str"):
        chain.generate(KEY, model, 3)
