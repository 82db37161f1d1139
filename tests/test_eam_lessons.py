"""Students that learn without parts of what a student has, and the reader that is weightless."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import call, rows_of

from wnn_jax import eam
from wnn_jax.eam import distill, lessons, reading
from wnn_jax.eam.config import LearningConfig, TrunkConfig

KEY = jax.random.key(0)
QUICK = LearningConfig(rate=3e-3, batch=8, epochs=1)
SIZES = eam.EamConfig(
    vocabulary=7,
    window=8,
    teacher=TrunkConfig(width=16, layers=1, heads=2),
    teaching=QUICK,
    keys=4,
    patterns=8.0,
    batch=32,
    encoder=TrunkConfig(width=16, layers=1, heads=2),
    encoding=QUICK,
    hidden=8,
    decoding=QUICK,
    joining=QUICK,
)


def windows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 7, (count, 9)).astype(np.int32)


@pytest.fixture(scope="module")
def model():
    return eam.fit(KEY, SIZES, windows(24))


def unit(x: np.ndarray) -> np.ndarray:
    return x / max(np.linalg.norm(x), 1e-8)


def test_tables_of_contexts_give_the_keys_of_a_plain_count():
    """The oracle keeps a dict for each context, keyed by the tokens themselves: no two rows are mixed up."""
    config = reading.ReaderConfig(contexts=((0,), (0, 2), (1, 0)), log_rows=20, doubt=0.5)
    rng, ids = np.random.default_rng(1), windows(6)[:, :8]
    keys = rng.normal(size=(6, 8, 4)).astype(np.float32)
    reader = reading.fill(config, ids, keys)
    tables: list[dict] = [{}, {}, {}]

    def seen(n, t, context):
        return tuple(int(ids[n, t - d]) if t >= d else None for d in context)

    for n, t in np.ndindex(6, 8):
        for table, context in zip(tables, config.contexts, strict=True):
            table.setdefault(seen(n, t, context), []).append(keys[n, t])
    found, unseen = reading.find(config, reader, ids), reading.find(config, reader, ids, keys)
    for n, t in np.ndindex(6, 8):
        for got, without in ((found, False), (unseen, True)):
            expected = np.zeros(4)
            for table, context in zip(tables, config.contexts, strict=True):
                rows = [x for x in table[seen(n, t, context)] if not (without and x is keys[n, t])]
                rows = [x for x in rows if not (without and np.array_equal(x, keys[n, t]))]
                if rows:
                    share = len(rows) / (len(rows) + 0.5)
                    expected = (1 - share) * expected + share * np.mean(rows, axis=0)
            np.testing.assert_allclose(got[n, t], unit(expected), atol=2e-5)


def test_a_reader_does_not_see_the_future_and_knows_where_a_window_begins():
    config, ids = reading.ReaderConfig(log_rows=16), windows(5)
    changed = ids.copy()
    changed[:, 4:] = 6 - changed[:, 4:]
    before, after = (np.asarray(reading.addresses(config, jnp.asarray(x))) for x in (ids, changed))
    np.testing.assert_array_equal(before[:, :, :4], after[:, :, :4])
    assert (before[:, :, 4:] != after[:, :, 4:]).any()
    first = reading.addresses(reading.ReaderConfig(contexts=((1,),)), jnp.zeros((1, 2), jnp.int32))
    assert first[0, 0, 0] != first[0, 0, 1], "no token is another context than token 0"


def test_a_student_with_a_weightless_reader_is_a_model_and_runs_no_encoder(model):
    student = reading.fit(KEY, reading.ReaderConfig(log_rows=8), model, windows(24))
    predict = reading.predictor(student)
    found = predict(windows(3, seed=2)[:, :-1])
    np.testing.assert_allclose(np.exp(found.log_probs).sum(-1), 1, atol=1e-5)
    changed = windows(3, seed=2)[:, :-1].copy()
    changed[:, 5:] = 6 - changed[:, 5:]
    np.testing.assert_allclose(predict(changed).log_probs[:, :5], found.log_probs[:, :5], atol=1e-6)
    assert set(student.decoder) == set(model.repaired["decoder"])
    assert eam.score(predict, windows(24)).nats.mean() < np.log(7) + 0.1


@pytest.mark.parametrize("lesson", [lessons.Lesson(teacher=False), lessons.Lesson(memory=False)])
def test_a_student_learns_without_a_part(model, lesson):
    found = lessons.learn(KEY, model, windows(24), lesson)
    other = model._replace(store=jax.tree.map(jnp.zeros_like, model.store))
    other = other._replace(
        teacher=model.teacher if lesson.teacher else jax.tree.map(jnp.ones_like, model.teacher)
    )
    predict = eam.student_predictor(found.config, found.student)
    np.testing.assert_allclose(np.exp(predict(windows(2)[:, :-1]).log_probs).sum(-1), 1, atol=1e-5)
    if lesson.memory:  # what it lacks has no effect on what it learns
        other = other._replace(store=model.store)
    again = lessons.learn(KEY, other, windows(24), lesson)
    for one, two in zip(
        jax.tree.leaves(found.student.params), jax.tree.leaves(again.student.params), strict=True
    ):
        np.testing.assert_array_equal(one, two)


def test_names_say_what_a_student_lacks():
    names = [lessons.Lesson(teacher=there, memory=there).name for there in (True, False)]
    assert names == ["student", "student without teacher and without memory"]


def test_another_text_is_trained_into_the_weights_or_written_into_the_memory(model):
    other = np.full((16, 9), 3, np.int32)
    tuned, written = lessons.tune(KEY, model, other).student, lessons.write(KEY, model, other)
    sizes = model.config.student(repaired=True)
    np.testing.assert_array_equal(tuned.store.counters, model.store.counters)
    assert written.params is model.repaired
    assert float(written.store.weights.sum()) > float(model.store.weights.sum())
    before, after = (
        eam.score(eam.student_predictor(sizes, one), other).nats.mean() for one in (model.student(), tuned)
    )
    assert after < before


def test_a_student_without_memory_needs_values_as_wide_as_its_encoder(model):
    sizes = model.config.student(repaired=True)
    with pytest.raises(ValueError, match="of width 16, in place of values of width 9"):
        dataclasses.replace(sizes, values=9, reads=False)
    with pytest.raises(ValueError, match="must name at least one distance"):
        reading.ReaderConfig(contexts=((0,), ()))
    assert distill.StudentConfig(sizes.encoder, 4, 16, 8, reads=False).values == 16


@pytest.mark.long
def test_the_study_of_teachers_and_again(tmp_path, corpus):
    flags = [f"--corpus={corpus}", "--tokens=6000", "--scored=8000", "--teachers=plain", f"--other={corpus}"]
    flags += [f"--resume={tmp_path / 'saved'}"]
    done = call("teachers", *flags, f"--workdir={tmp_path / 'first'}")
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row.get("ce") for row in rows_of(tmp_path / "first")}
    assert rows["plain: student"] == rows["plain: student, before the other text"]
    assert rows["plain: student"] != rows["plain: student, trained on the other text"]
    again = call("teachers", *flags, f"--workdir={tmp_path / 'again'}")
    assert {row["row"]: row.get("ce") for row in rows_of(tmp_path / "again")} == rows
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--teachers="], "--teachers names no teacher: give one or more of plain, positions, deep"),
        (["--tokens=0"], "tokens=0 is out of range"),
        (["--tokens=4000", "--other=missing.txt"], "--other=missing.txt cannot be read as UTF-8 text"),
        (["--tokens=4000", "--other=short.txt"], "has no two windows of 128 tokens"),
    ],
)
def test_bad_flags_of_the_study_are_one_line(tmp_path, flags, message):
    (tmp_path / "words.txt").write_text("".join(f"word {i} of many\n" for i in range(600)))
    (tmp_path / "short.txt").write_text("short " * 30)
    done = call("teachers", "--corpus=words.txt", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
