"""Every command runs as a user runs it, and every bad input ends with one line."""

import pathlib
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from commands import call, rows_of, run

from wnn_jax.saving import checkpoint

GOLDEN = pathlib.Path(__file__).parent / "golden"
QUICK = ["--neurons=4", "--bits=6", "--context=2", "--curve_points=2"]
FIELDS = {
    *("experiment", "row", "ce", "ppl", "accuracy", "bits_per_byte", "train_tokens"),
    *("eval_tokens", "seconds", "config", "versions", "device", "seed"),
}


def test_bitwise_end_to_end(tmp_path, corpus):
    workdir, model = tmp_path / "run", tmp_path / "model"
    flags = [f"--corpus={corpus}", f"--workdir={workdir}", *QUICK]
    done = call("bitwise", *flags, f"--checkpoint={model}", "--sample_rate=0.5", "--cells=quad_weighted")
    assert done.returncode == 0, done.stderr
    rows = rows_of(workdir)
    names = [row["row"] for row in rows]
    assert names[-1] == "bitwise quad_weighted"
    assert {"uniform", "bit marginals", "unigram (add 0.1)", "Kneser-Ney 5"} < set(names)
    for row in rows:
        assert row.keys() >= FIELDS
        assert row["experiment"] == "bitwise"
        assert np.isfinite(row["ce"])
        assert row["row"] in done.stdout
    by_name = {row["row"]: row for row in rows}
    assert by_name["uniform"]["ce"] == pytest.approx(np.log(256))
    assert by_name["Kneser-Ney 5"]["ce"] < by_name["unigram (add 0.1)"]["ce"] < np.log(256)
    for picture in ("bit_accuracy.png", "reliability.png", "learning_curve.png"):
        assert (workdir / picture).read_bytes().startswith(b"\x89PNG")

    # The restored model has the same scores to the last bit, and the command prints that.
    again = call("bitwise", f"--restore={model}", f"--workdir={tmp_path / 'again'}", "--curve_points=0")
    assert again.returncode == 0, again.stderr
    assert "every score equals the saved one" in again.stdout
    assert rows_of(tmp_path / "again")[-1]["ce"] == rows[-1]["ce"]
    # A model without its tables is refused on another training text.
    corpus.write_text(corpus.read_text().replace("memory", "memories"))
    other = call("bitwise", f"--restore={model}", f"--workdir={workdir}")
    assert other.returncode == 2
    assert "the training text is not the one" in other.stderr


@pytest.mark.long
def test_bitwise_saves_its_table_when_asked(tmp_path, corpus):
    flags = [f"--corpus={corpus}", f"--workdir={tmp_path / 'run'}", *QUICK, "--curve_points=0"]
    assert call("bitwise", *flags).returncode == 0
    model = tmp_path / "model"
    saved = call("bitwise", *flags, "--save_table", f"--checkpoint={model}")
    assert saved.returncode == 0, saved.stderr
    fused, kept = (row for row in rows_of(tmp_path / "run") if row["row"] == "bitwise count")
    assert fused["ce"] == kept["ce"], "the table must score as the fused path does"
    # A model with its tables needs the training text for the baselines only.
    corpus.write_text(corpus.read_text().replace("memory", "memories", 1))
    restored = call("bitwise", f"--restore={model}", f"--workdir={tmp_path / 'run'}", "--curve_points=0")
    assert restored.returncode == 0, restored.stderr


def test_a_checkpoint_of_version_0_1_scores_as_it_did(tmp_path):
    """Version 0.1.0 saved the checkpoint, in a folder with this words.txt:

    python -m experiments.bitwise --corpus=words.txt --neurons=3 --bits=5 --context=2 --cells=quad_weighted
    --sample_rate=0.5 --save_table --checkpoint=model
    """
    (tmp_path / "words.txt").write_text("".join(f"word {i} of many\n" for i in range(300)))
    with tarfile.open(GOLDEN / "bitwise_0.1.tar.xz") as archive:
        # Python before 3.11.4 has no filters.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path / "model")
    done = call("bitwise", "--restore=model", "--curve_points=0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "every score equals the saved one" in done.stdout
    assert rows_of(tmp_path / "runs" / "bitwise")[-1]["ce"] == pytest.approx(2.9721, abs=1e-4)


@pytest.mark.long
def test_benchmark_smoke(tmp_path):
    done = run(
        *("benchmark", "--bits=6", "--neurons=8", "--examples=500", "--repeats=1", f"--workdir={tmp_path}"),
        *("--table=orders", "--table=cells"),
    )
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path)
    assert len(rows) == (22 if any(":native:" in row["row"] for row in rows) else 10)
    assert all(row["ns"] > 0 and row["peak_mib"] > 10 for row in rows)
    assert "flat/xla" in done.stdout
    assert "one/bound" in done.stdout


SEARCH = [
    *("--neurons=6", "--bits=8", "--context=2", "--curve_points=0", "--search=ga,tabu"),
    *("--phases=grid,all", "--grid_neurons=4,6", "--grid_bits=6,8", "--min_neurons=3", "--population=4"),
    *("--elites=1", "--sites=2", "--neighbours=2", "--generations=4", "--rotate=2", "--check=2"),
    *("--adapt_every=3", "--mutation=0.1", "--save_every=2"),
]


# The same search with one algorithm and one phase compiles in a third of the time.
BRIEF = ["--search=tabu", "--phases=grid,connections"]


@pytest.mark.long
@pytest.mark.parametrize("flags", [pytest.param(BRIEF, id="tabu"), pytest.param([], id="ga+tabu")])
def test_search_end_to_end(tmp_path, corpus, flags):
    workdir = tmp_path / "run"
    done = run("bitwise", f"--corpus={corpus}", *SEARCH, *flags, f"--workdir={workdir}", "--tensorboard")
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in rows_of(workdir)}
    name = "bitwise count, tabu" if flags else "bitwise count, ga+tabu"
    assert rows[name]["ce"] < rows["bitwise count, random"]["ce"]
    for picture in ("search", "connections", "size"):
        assert (workdir / f"{picture}.png").read_bytes()[:4] == b"\x89PNG"
    assert list((workdir / "tensorboard").iterdir())
    assert "grid " in done.stdout


@pytest.mark.long
def test_a_killed_search_continues_to_the_same_bits(tmp_path, corpus):
    def flags(name):
        return [
            f"--corpus={corpus}",
            *SEARCH,
            f"--workdir={tmp_path / name}",
            f"--checkpoint={tmp_path / name}.model",
        ]

    done = run("bitwise", *flags("whole"))
    assert done.returncode == 0, done.stderr
    resume = tmp_path / "progress"
    resumed = [*flags("killed"), f"--resume={resume}"]
    command = [sys.executable, "-m", "experiments.bitwise", *resumed]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    saved = resume / "steps"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not (
        saved.is_dir() and any(x.name.isdigit() for x in saved.iterdir())
    ):
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    assert saved.is_dir()
    again = run("bitwise", *resumed)
    assert again.returncode == 0, again.stderr
    one, two = (checkpoint.load(f"{tmp_path / name}.model") for name in ("whole", "killed"))
    np.testing.assert_array_equal(one.connections, two.connections)
    assert one.metrics == two.metrics

    other = run("bitwise", *resumed, "--seed=1")
    assert other.returncode == 2
    assert "holds the progress of other work, which differs in seed" in other.stderr


def bad(*flags):
    return pytest.param(list(flags), id=flags[0])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--corpus=nowhere.txt"], "cannot read the corpus nowhere.txt"),
        (["--corpus=empty.txt"], "the corpus empty.txt is empty"),
        (["--corpus=broken.txt"], "byte 0xff at offset 6 (line 1)"),
        (["--corpus=tiny.txt", "--train_tokens=2"], "a context of 3 needs more than 3 tokens, got 2"),
        (["--bits=25", "--context=16"], "bits=25 is out of range"),
        (
            ["--corpus=words.txt", "--search=ga", "--population=3", "--elites=3"],
            "a population of 3 cannot keep 3 elites",
        ),
        (["--corpus=words.txt", "--search=tabu", "--neighbours=0"], "neighbours=0 is out of range"),
        (
            ["--corpus=words.txt", "--search=tabu", "--min_neurons=9", "--max_neurons=4"],
            "no genome has 9 to 4 neurons",
        ),
        (
            ["--corpus=words.txt", "--search=tabu", "--bits=6", "--min_bits=9"],
            "no genome has 9 to 6 address bits",
        ),
        (["--search=hill", "--corpus=words.txt"], "--search has no 'hill': choose from ga, tabu"),
        (
            ["--corpus=words.txt", "--search=ga", "--phases=grid", "--grid_bits=99"],
            "must lie within the bounds",
        ),
        (["--corpus=words.txt", "--search=tabu", "--fitness=accuracy"], "needs the fitness loss"),
        (["--search=ga", "--cache_mib=0", "--corpus=words.txt"], "more than cache_mib 0"),
        (["--search=ga", "--num_processes=2"], "several processes need --coordinator"),
        (["--resume=r", "--num_processes=2", "--coordinator=localhost:1"], "the progress of one process"),
        (["--search=tabu", "--sites=2", "--neurons=4", "--resume=foreign"], "holds no progress that"),
        (["--bits=20", "--context=1"], "bits=20 are more than the 8 input bits"),
        (["--cells=bloom"], "--cells=bloom"),
        (["--neurones=3"], "Unknown command line flag 'neurones'"),
        (["--neurons=many"], "--neurons=many"),
        (["corpus.txt"], "unexpected argument 'corpus.txt'"),
        (["--tokenizer=words"], "unknown tokenizer 'words'"),
        (["--sample_rate=2"], "sample_rate=2.0 is out of range"),
        (["--workdir=file/run"], "cannot write to the workdir file/run: Not a directory"),
        (["--restore=nowhere"], "nowhere is not a wnn_jax checkpoint"),
        (["--checkpoint=foreign"], "foreign exists and is not a wnn_jax checkpoint"),
        (["--save_table", "--neurons=2000", "--bits=24"], "leave out --save_table, or lower --bits"),
        (["--eval_corpus=tiny.txt", "--corpus=tiny.txt"], "overlaps the training text"),
    ],
    ids=lambda x: "".join(x)[-40:] if isinstance(x, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, flags, message):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "broken.txt").write_bytes(b"bytes \xff\n")
    (tmp_path / "tiny.txt").write_text("a few words\n")
    (tmp_path / "words.txt").write_text("".join(f"word {i} of many\n" for i in range(300)))
    (tmp_path / "file").touch()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "cat.png").touch()
    before = sorted(x.name for x in tmp_path.iterdir())
    done = call("bitwise", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert "results and pictures" not in done.stdout
    left = {x.name for x in tmp_path.iterdir()} - set(before)
    assert left <= {"runs"}, "nothing half-written beside the empty workdir"
    assert not list((tmp_path / "runs").rglob("*.png"))
