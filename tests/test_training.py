"""Windows of a stream, and training that continues where it stopped."""

import shutil

import hostile
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wnn_jax import training
from wnn_jax.data import streams
from wnn_jax.saving import progress

KEY = jax.random.key(0)


def test_windows_score_every_token_once():
    tokens = np.arange(20)
    windows = streams.cut(tokens, 6)
    np.testing.assert_array_equal(windows[:, 1:].ravel(), tokens[1:19])
    np.testing.assert_array_equal(streams.stream(windows), tokens[:19])
    with pytest.raises(ValueError, match="6 tokens hold no window of 6"):
        streams.cut(tokens[:6], 6)


def test_overlapping_windows_score_every_token_once_after_half_a_window():
    tokens = np.arange(20)
    windows = streams.overlapping(tokens, 6)
    assert (np.diff(windows) == 1).all()
    np.testing.assert_array_equal(windows[:, 4:].ravel(), tokens[4:19])
    for bad in (5, 20):
        with pytest.raises(ValueError, match=f"20 tokens and windows of {bad}"):
            streams.overlapping(tokens, bad)


def table_loss(params, fixed, windows):
    """Return the loss of a bigram table."""
    logits = params[windows[:, :-1]] + fixed
    return optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]).mean()


@pytest.mark.parametrize(("report", "stops"), [(5, [5, 10, 15, 20, 22]), (22, [22])])
def test_training_resumes_to_the_same_end_and_learns(tmp_path, report, stops):
    windows = streams.cut(np.tile(np.arange(11), 40), 6)
    steps = training.Steps(22, 8, report)  # two passes and a part of a third
    params = np.zeros((11, 11), np.float32)
    reports = []

    def run(on_step=reports.append, saved=None):
        optimiser = optax.adam(0.3)
        how = {"fixed": np.float32(0), "saved": saved, "on_step": on_step}
        return training.train(KEY, optimiser, steps, params, table_loss, windows, **how)

    whole = run()
    assert [x.done for x in reports] == stops
    assert whole.losses[-1] < (0.5 if len(stops) > 1 else 0.9) * np.log(11)
    for stop in range(1, len(stops)):

        def killed(reached, stop=stop):
            if len(reached.losses) == stop:
                raise KeyboardInterrupt

        folder = tmp_path / str(stop)
        with pytest.raises(KeyboardInterrupt):
            run(killed, progress.Progress(folder, {}))
        again = run(None, progress.Progress(folder, {}))
        np.testing.assert_array_equal(again.params, whole.params)
        assert again.losses == whole.losses
        finished = run(None, progress.Progress(folder, {}))
        np.testing.assert_array_equal(finished.params, whole.params)


def test_the_data_of_finished_training_is_not_made(tmp_path):
    made = []

    def data():
        made.append(0)
        return np.arange(8)

    def run():
        saved = progress.Progress(tmp_path / "saved", {})
        steps = training.Steps(2, 4, 1)
        return training.train(KEY, optax.sgd(0.1), steps, np.float32(1), table, data, saved=saved)

    def table(params, fixed, rows):
        return params * rows.mean()

    first, second = run(), run()
    assert len(made) == 1
    assert first.params == second.params
    assert first.losses == second.losses


def test_a_loss_that_is_no_number_ends_training():
    def loss(params, fixed, rows):
        return params * jnp.where(rows.min() < 8, jnp.nan, 1.0)

    found = training.train(KEY, optax.sgd(0.1), training.Steps(6, 4, 1), np.float32(1), loss, np.arange(12))
    assert not found.finite
    assert found.done == len(found.losses) < 6


def test_a_pass_reads_every_row_once():
    seen = []

    def loss(params, fixed, rows):
        jax.debug.callback(lambda x: seen.extend(x.tolist()), rows)
        return params**2

    training.train(KEY, optax.sgd(0.1), training.Steps(6, 4, 6), np.float32(1), loss, np.arange(12))
    jax.effects_barrier()
    assert sorted(seen[:12]) == sorted(seen[12:]) == list(range(12))
    assert seen[:12] != seen[12:]


def test_progress_of_other_arrays_is_refused(tmp_path):
    def run():
        saved = progress.Progress(tmp_path / "saved", {})
        steps = training.Steps(2, 4, 1)
        loss = lambda params, fixed, rows: params * rows.mean()  # noqa: E731
        return training.train(KEY, optax.sgd(0.1), steps, np.float32(1), loss, np.arange(8), saved=saved)

    run()
    for change in (
        lambda arrays, about: arrays.update({"0000": np.zeros(3, np.float32)}),
        lambda arrays, about: arrays.update({"0000": np.zeros((), np.float64)}),
        lambda arrays, about: arrays.update({"9999": np.zeros(3)}),
        lambda arrays, about: about.update(done=-1),
        lambda arrays, about: about.update(done="2"),
        lambda arrays, about: about.update(losses=3),
        lambda arrays, about: about.pop("seconds"),
    ):
        steps = tmp_path / "saved" / "steps"
        kept = tmp_path / "kept"
        shutil.copytree(steps, kept)
        for folder in list(steps.iterdir()):
            hostile.rewritten(folder, change, "progress")
            shutil.rmtree(steps / "replaced")
        with pytest.raises(ValueError, match=f"remove {tmp_path / 'saved'}"):
            run()
        shutil.rmtree(steps)
        kept.rename(steps)
