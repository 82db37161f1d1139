"""The command classify runs as a user runs it: on digits, on a CSV file, and on a stream."""

import json
import time

import numpy as np
import pytest
from commands import call, rows_of

from experiments.classifying import choosing
from wnn_jax.data.tables import TableData

QUICK = ("--baselines=majority,linear", "--sizes=1", "--seeds=1", "--epochs=2")


def test_digits_with_pictures_and_an_exported_model(tmp_path):
    done = call("classify", *QUICK, f"--workdir={tmp_path}", "--export=c")
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in rows_of(tmp_path)}
    exported = rows.pop("exported, c")
    assert exported["rows"] == 599
    assert exported["tables"] <= 1024 < exported["tables"] + exported["pins"] + exported["encoder"]
    assert set(rows) == {"majority", "logistic regression", "ours, trained", "ours, count"}
    for row in rows.values():
        assert row["experiment"] == "classify"
        assert row["row"] in done.stdout
        assert 0 < row["macro_f1"] <= row["accuracy"] + 0.1
        assert row["kib"] > 0
    for name in ("ours, trained", "ours, count"):
        assert rows[name]["accuracy"] > rows["majority"]["accuracy"] + 0.4
        assert rows[name]["kib"] <= 1
    for picture in ("size", "confusion", "bleaching", "mental_images"):
        assert (tmp_path / f"{picture}.png").stat().st_size > 5_000
    assert "all scores of 599 test rows, run by c, equal Python's" in done.stdout
    assert "wnn_predict" in (tmp_path / "model.h").read_text()


def flowers(tmp_path, rows=90):
    """A table with words, a missing value, and a label that the size and the colour decide."""
    rng = np.random.default_rng(0)
    size, colour = rng.normal(size=rows), rng.choice(["red", "blue"], rows)
    lines = [f"{s:.3f},{c},{'tall' if s > 0 else c}" for s, c in zip(size, colour, strict=True)]
    lines[3] = ",red,red"
    path = tmp_path / "flowers.csv"
    path.write_text("\n".join(["size,colour,kind", *lines]))
    return path


def test_a_csv_file_with_words_and_missing_values(tmp_path):
    path = flowers(tmp_path)
    flags = ("--target=kind", "--baselines=majority,neighbours,forest", "--sizes=0.5", "--seeds=2")
    done = call("classify", f"--data=csv:{path}", *flags, "--address_bits=3", f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path)
    assert [row["seed"] for row in rows if row["row"] == "ours, count"] == [0, 1]
    assert all(row["accuracy"] > 0.8 for row in rows if row["row"] != "majority")
    assert "3 classes" in done.stdout


def test_settings_are_chosen_on_training_rows(tmp_path):
    lists = ("--choose=3", "--choose_address_bits=1,3,12", "--choose_noise=0,0.05")
    flags = (*lists, "--baselines=majority", "--sizes=0.5", "--seeds=2", "--epochs=2")
    done = call("classify", "--data=uci:iris", *flags, f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path)
    tried = {row["row"]: row["accuracy"] for row in rows if row["row"].startswith("choice: ")}
    # A table of 12 address bits is larger than the size; count cells have no noise.
    assert set(tried) == {
        *(f"choice: trained address_bits={bits} noise={noise}" for bits in (1, 3) for noise in (0.0, 0.05)),
        *(f"choice: count address_bits={bits}" for bits in (1, 3)),
    }
    best = max(tried, key=lambda name: tried[name])
    assert f"{best.removeprefix('choice: ')} has accuracy {tried[best]:.4f} in 3 parts" in done.stdout
    ours = [row for row in rows if row["row"] == "ours, chosen"]
    assert [row["seed"] for row in ours] == [0, 1]
    entries = 1 << int(best.split("address_bits=")[1].split()[0])
    assert all(row["tables"] == int(0.5 * 8192 / entries / 3) for row in ours)


def test_parts_of_the_choice_share_no_row():
    order = np.random.default_rng(0).permutation(11)
    data = TableData(
        *(np.arange(11.0)[:, None], np.arange(11), np.full((4, 1), -1.0), np.full(4, -1)),
        *(("x",), {}, ("a", "b"), None, ""),
    )
    parts = [choosing.fold(data, order, 3, number) for number in range(3)]
    for part in parts:
        assert sorted([*part.y, *part.y_test]) == list(range(11))
        np.testing.assert_array_equal(part.X_test[:, 0], part.y_test)
    assert len(set(np.concatenate([part.y_test for part in parts]))) == 9


def test_a_regression(tmp_path):
    flags = ("--baselines=majority,linear", "--sizes=2", "--seeds=1", "--address_bits=4")
    done = call("classify", "--data=uci:diabetes", *flags, f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in rows_of(tmp_path)}
    assert rows["ridge regression"]["r2"] > 0.4
    for name in ("ours, trained", "ours, count"):
        assert rows[name]["r2"] > rows["mean"]["r2"] + 0.1
        assert rows[name]["kib"] <= 2
    assert (tmp_path / "size.png").stat().st_size > 5_000
    assert not (tmp_path / "confusion.png").exists()


def test_detection_of_one_of_two_classes(tmp_path):
    flags = ("--baselines=majority,linear", "--sizes=2", "--seeds=1", "--epochs=4")
    done = call("classify", "--data=uci:breast_cancer", *flags, f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in rows_of(tmp_path)}
    assert "detection: majority" not in rows
    for name in ("logistic regression", "novelty, 2 KiB", "ours, trained, 2 KiB"):
        recalls = [rows[f"detection: {name}"][f"recall_at_{rate}"] for rate in (0.01, 0.027, 0.05, 0.1)]
        assert recalls == sorted(recalls)
        assert recalls[-1] > 0.3
    row = rows["detection: ours, trained + novelty, 4 KiB"]
    assert 0 <= row["false_positive_rate"] < 0.3
    assert row["recall"] > 0.5


def test_a_stream_that_drifts(tmp_path):
    done = call(
        *("classify", "--drift", "--drift_rows=3000", "--drift_begins=1000", "--drift_half=200"),
        *("--drift_window=400", "--drift_block=100", "--seeds=1", f"--workdir={tmp_path}"),
    )
    assert done.returncode == 0, done.stderr
    rows = {row["row"].removeprefix("drift: "): row for row in rows_of(tmp_path)}
    keep, decay, window = (rows[name] for name in rows if name != "majority")
    assert keep["before"] > 0.85
    for one in (decay, window):
        assert one["last_quarter"] > keep["last_quarter"] + 0.2
        assert len(one["curve"]) == 29
    assert (tmp_path / "drift.png").stat().st_size > 5_000


@pytest.mark.long
def test_searches(tmp_path):
    flags = (*QUICK, f"--workdir={tmp_path}")
    for search in ("residuals", "genetic", "tabu", "annealing"):
        done = call("classify", *flags, f"--search={search}", "--search_steps=5", "--search_rounds=3")
        assert done.returncode == 0, done.stderr
    rows = {row["row"]: row["accuracy"] for row in rows_of(tmp_path)}
    assert rows["ours, trained, searched"] > rows["ours, trained"]
    assert {"ours, count, genetic", "ours, count, tabu", "ours, count, annealing"} < set(rows)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--data=uci:other",), "unknown data 'uci:other': choose one of digits, mnist"),
        (("--data=csv:none.csv",), "cannot read none.csv"),
        (("--data=uci:diabetes", "--export=c"), "the target of uci:diabetes is a number: leave out --export"),
        (("--sizes=0.01",), "--sizes=0.01 KiB holds no table: one of 64 entries and 10 classes has"),
        (("--choose_noise=0.1",), "--choose_noise needs --choose of at least 2 parts, got 0"),
        (("--choose=2", "--choose_noise=3"), "noise"),
        (("--choose=2", "--sizes=0.01"), "--sizes=0.01 KiB holds no table of any setting"),
        (("--sizes=",), "--cells and --sizes name no model"),
        (("--address_bits=21",), "address_bits=21 is too large for a dense table"),
        (("--windows=9",), "window"),
        (("--drift", "--drift_begins=100"), "--drift_begins=100 must be at least --drift_block=200"),
        (("--search=other",), "search"),
    ],
)
def test_bad_input_ends_with_one_line(tmp_path, flags, message):
    done = call("classify", f"--workdir={tmp_path}", "--baselines=majority", *flags, cwd=tmp_path)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]


@pytest.mark.long
def test_benchmark(tmp_path):
    done = call("benchmark", "--table=classify", f"--workdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    rows = {row["row"].split(":")[1]: row for row in rows_of(tmp_path)}
    assert {"same", "one pass", "count", "trained", "forest"} <= set(rows)
    assert all(row["accuracy"] > 0.7 and row["rows_per_second"] > 100 for row in rows.values())
    assert "learnt a second" in done.stdout
    assert "to count a row in a neuron" in done.stdout


def test_of_a_tie_wisardpkg_takes_the_last_label_also_for_rows_it_does_not_know():
    package = pytest.importorskip("wisardpkg")
    for labels in (["10", "2"], ["2", "10"]):
        made = package.Wisard(2)
        made.train([[0, 1, 0, 1]] * 2, labels)
        assert made.classify([[0, 1, 0, 1], [1, 0, 1, 0]]) == ["2", "2"]


def test_the_mapping_of_wisardpkg_is_that_of_the_second_of_the_clock():
    package = pytest.importorskip("wisardpkg")

    def mapping():
        made = package.Wisard(3)
        made.train([[0] * 60], ["a"])
        return json.loads(made.json())["classes"]["a"]["mapping"]

    time.sleep(1 - time.time() % 1 + 0.02)
    found = [mapping() for _ in range(4)]
    assert all(one == found[0] for one in found)
    time.sleep(1.1)
    assert mapping() != found[0]
