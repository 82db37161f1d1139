"""The drawn tasks: a reader of the rule alone finds every scored place, its distance and its best answer."""

import jax
import numpy as np
import pytest

from wnn_jax.data import tasks

SMALL = {"distances": (8, 16, 32), "room": 64, "asked": 2}


def induction(past):
    """Return the answer and the distance after ``? symbol``: what followed the symbol last time."""
    if len(past) < 3 or past[-2] != tasks.ASK:
        return None
    earlier = [i for i in range(len(past) - 1) if past[i] == past[-1]]
    return past[earlier[-1] + 1], len(past) - (earlier[-1] + 1)


def recall(past):
    """Return the value that followed the key when it stood there before."""
    keys = set(tasks.SYMBOLS[:14])
    if past[-1] not in keys or past.index(past[-1]) == len(past) - 1:
        return None
    first = past.index(past[-1])
    return past[first + 1], len(past) - (first + 1)


def brackets(past):
    """Return the bracket that closes the innermost open one."""
    if past[-1] != tasks.ASK:
        return None
    kinds, stack = list(tasks.SYMBOLS[:4]), []
    for place, token in enumerate(past):
        if token in kinds[:2]:
            stack.append((kinds.index(token), place))
        elif token in kinds[2:]:
            assert stack.pop()[0] == kinds.index(token) - 2
    kind, place = stack[-1]
    return kinds[2 + kind], len(past) - place


def agreement(past):
    """Return the verb of the class of the last subject."""
    if past[-1] != tasks.ASK:
        return None
    place = len(past) - 1 - past[::-1].index(tasks.SUBJECT) + 1
    return tasks.SYMBOLS[12] + (past[place] - tasks.SYMBOLS[0]) % tasks.CLASSES, len(past) - place


def counting(past):
    """Return the number of ticks since the count began, modulo four, as a digit."""
    if past[-1] != tasks.ASK:
        return None
    place = len(past) - 1 - past[::-1].index(tasks.SUBJECT)
    return tasks.SYMBOLS[0] + past[place:].count(tasks.SYMBOLS[4]) % tasks.CLASSES, len(past) - place


ORACLES = {f.__name__: f for f in (induction, recall, brackets, agreement, counting)}


@pytest.mark.parametrize("name", tasks.NAMES)
def test_the_past_decides_what_is_scored_and_the_best_answer(name):
    config = tasks.TaskConfig(name, **SMALL)
    drawn = jax.tree.map(np.asarray, tasks.draw(jax.random.key(1), config, 24))
    assert drawn.tokens.shape == (24, config.length)
    assert drawn.tokens.dtype == np.int32
    assert drawn.tokens.min() == tasks.START
    assert drawn.tokens.max() < tasks.VOCABULARY
    for row, tokens in enumerate(drawn.tokens.tolist()):
        for place in range(1, config.length):
            found, far = ORACLES[name](tokens[:place]) or (0, 0)
            if far > config.distances[-1]:  # brackets only
                found, far = 0, 0
            assert drawn.distance[row, place] == far
            assert drawn.answer[row, place] == found
    scored = drawn.distance > 0
    right = drawn.answer == drawn.tokens
    if name == "agreement":
        assert set(np.unique(drawn.chance[scored & right])) == {np.float32(0.9)}
        assert np.allclose(drawn.chance[scored & ~right], 0.1 / 3)
    else:
        assert right[scored].all()
        assert (drawn.chance == 1).all()


@pytest.mark.parametrize("name", tasks.NAMES)
def test_every_distance_is_asked_and_counted_once(name):
    config = tasks.TaskConfig(name, **SMALL)
    drawn = tasks.draw(jax.random.key(2), config, 30)
    parts = np.stack([tasks.in_range(drawn, config, d) for d in config.distances])
    assert (parts.sum(0) == (np.asarray(drawn.distance) > 0)).all()
    assert parts.any((1, 2)).all()
    if name in ("induction", "recall"):
        assert (parts.sum(2) == config.asked).all()
    if name != "brackets":
        assert set(np.unique(drawn.distance)) == {0, *config.distances}


@pytest.mark.parametrize("name", tasks.NAMES)
def test_keys_share_no_sequence_and_one_key_gives_one(name):
    config = tasks.TaskConfig(name, **SMALL)
    one, again, other = (np.asarray(tasks.draw(jax.random.key(k), config, 50).tokens) for k in (1, 1, 2))
    assert (one == again).all()
    assert len(np.unique(np.concatenate([one, other]), axis=0)) == 100


def test_agreement_lies_as_often_as_it_says():
    drawn = tasks.draw(jax.random.key(3), tasks.TaskConfig("agreement", **SMALL, wrong=0.3), 400)
    best = tasks.optimum(drawn)
    assert best.accuracy == pytest.approx(0.7, abs=0.03)
    assert best.nats == pytest.approx(-0.7 * np.log(0.7) - 0.3 * np.log(0.1), abs=0.06)
    nothing = tasks.optimum(drawn, np.zeros(drawn.tokens.shape, bool))
    assert np.isnan(nothing).all()


def test_a_symbol_of_induction_may_have_been_followed_by_something_else_before():
    config = tasks.TaskConfig("induction", **SMALL)
    drawn = jax.tree.map(np.asarray, tasks.draw(jax.random.key(4), config, 60))
    changed = 0
    for tokens, distance in zip(drawn.tokens, drawn.distance, strict=True):
        for place in np.flatnonzero(distance):
            earlier = np.flatnonzero(tokens[: place - 1] == tokens[place - 1])
            changed += len(earlier) == 2 and tokens[earlier[0] + 1] != tokens[place]
    assert changed > 60


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": "chess"}, "chess"),
        ({"distances": (8, 8)}, "must rise"),
        ({"distances": (10, 20)}, "multiples of 4"),
        ({"distances": ()}, "must rise"),
        ({"task": "recall", "asked": 5}, "need 20 keys"),
        ({"distances": (8, 64), "room": 8, "asked": 2}, "may not fit"),
        ({"wrong": 0.8}, "wrong"),
        ({"room": 1}, "room"),
    ],
)
def test_bad_settings_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        tasks.TaskConfig(**fields)


def test_sequences_make_a_corpus_of_lines():
    drawn = tasks.draw(jax.random.key(5), tasks.TaskConfig("recall", **SMALL), 3)
    corpus = tasks.as_corpus(drawn)
    assert corpus.vocabulary == tasks.VOCABULARY == len(set(corpus.pieces))
    text = b"".join(corpus.pieces[i] for i in corpus.train).decode()
    assert text.count("\n") == 3
    assert (corpus.tokenizer.encode(text) == np.asarray(drawn.tokens).ravel()).all()
    assert len(corpus.test) == 0


def test_bad_calls_are_refused():
    config = tasks.TaskConfig("recall", **SMALL)
    with pytest.raises(ValueError, match="count"):
        tasks.draw(jax.random.key(0), config, 0)
    drawn = tasks.draw(jax.random.key(0), config, 1)
    with pytest.raises(ValueError, match="distance=9"):
        tasks.in_range(drawn, config, 9)
