"""The command tiered, and gates in all commands: end to end, killed and resumed, and every bad input."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import call, rows_of, run

from wnn_jax.saving import checkpoint

QUICK = ["--tiers=20,4,6;rest,2,4", "--context=2", "--top=10", "--gate_bits=6", "--engram_rows=8"]
GATING = "--gating=token,bit,dual,engram"
KINDS = ("token", "bit", "dual", "engram")


ALL = "published,empty_half,drawn,true_wins_calibrated,count_uncalibrated,repaired"


@pytest.mark.long
@pytest.mark.parametrize(
    ("variants", "kinds"),
    [
        pytest.param("published,empty_half,repaired", "engram", id="some"),
        pytest.param(ALL, ",".join(KINDS), id="all"),
    ],
)
def test_tiered_end_to_end(tmp_path, corpus, variants, kinds):
    flags = [f"--corpus={corpus}", f"--workdir={tmp_path / 'run'}", *QUICK]
    done = call("tiered", *flags, f"--gating={kinds}", f"--variants={variants}")
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in rows_of(tmp_path / "run")}
    low, high = np.log(1 + 255 / np.e), np.log(1 + 255 * np.e)
    for name in variants.split(","):
        row = rows[f"tiered {name}"]
        assert row["clamped_ce"] <= row["ce"]
        if name not in ("true_wins_calibrated", "repaired"):
            assert low <= row["ce"] <= high
        for kind in kinds.split(","):
            behind = rows[f"tiered {name} + {kind}"]
            assert behind["change"] == pytest.approx(behind["ce"] - row["ce"], abs=1e-6)
            assert behind["change_error"] > 0
    assert rows["tiered published"]["ce"] < rows["tiered empty_half"]["ce"]
    assert rows["tiered repaired"]["ce"] < rows["unigram (add 0.1)"]["ce"] < low
    assert rows["tiered repaired + engram"]["accuracy"] is None
    assert "tiered published: inside that band" in done.stdout
    assert "tiered repaired: outside that band" in done.stdout
    assert len(rows["by tier"]["tiers"]["tiered repaired"]) == 2
    assert (tmp_path / "run" / "tiers.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_gating_on_the_bitwise_command(tmp_path, corpus):
    sizes = ["--neurons=4", "--bits=6", "--context=2", "--curve_points=0"]
    flags = [f"--corpus={corpus}", f"--workdir={tmp_path}", *sizes, *QUICK[3:], GATING, "--nogate_soft"]
    done = run("bitwise", *flags)
    assert done.returncode == 0, done.stderr
    rows = {row["row"]: row for row in rows_of(tmp_path)}
    for kind in KINDS:
        assert np.isfinite(rows[f"bitwise count + {kind}"]["ce"])
    assert rows["bitwise count + token"]["ce"] < rows["bitwise count"]["ce"]
    assert rows["bitwise count"]["config"]["gates"]["ram"]["soft"] is False


@pytest.mark.long
def test_gating_on_the_chain_command(tmp_path, corpus):
    sizes = ["--memory_mib=30", "--chunk=2000", "--readout_tokens=3000", "--epochs=1", "--gate_places=20"]
    flags = [f"--corpus={corpus}", *sizes, *QUICK[3:], "--preset=static", "--noaccuracy"]
    stands = []
    for name, more in (("gated", [GATING]), ("plain", [])):
        folders = f"--workdir={tmp_path / name}", f"--checkpoint={tmp_path / name / 'saved'}"
        done = run("chain", *flags, *more, *folders)
        assert done.returncode == 0, done.stderr
        stands.append(checkpoint.load(tmp_path / name / "saved").table["registers"])
    np.testing.assert_array_equal(*stands, "reading behind gates moved the model that was saved")
    rows = {row["row"]: row for row in rows_of(tmp_path / "gated")}
    assert rows["chain, static + engram"]["ce"] < rows["unigram (add 0.1)"]["ce"]
    assert rows["chain, static + bit"]["ce"] > rows["chain, static"]["ce"] - 1
    some = rows["chain, static, first 20"]
    for kind in ("token", "dual"):
        behind = rows[f"chain, static, first 20 + {kind}"]
        assert behind["change"] == pytest.approx(behind["ce"] - some["ce"], abs=1e-6)


@pytest.mark.long
def test_a_killed_tiered_run_continues_to_the_same_rows(tmp_path, corpus):
    def flags(name):
        return [f"--corpus={corpus}", *QUICK, "--variants=published,repaired", f"--workdir={tmp_path / name}"]

    assert call("tiered", *flags("whole")).returncode == 0
    resume = tmp_path / "progress"
    command = [sys.executable, "-m", "experiments.tiered", *flags("killed"), f"--resume={resume}"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first = resume / "published" / "steps" / "1"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not first.exists():
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert first.exists()
    resumed = call("tiered", *flags("resumed"), f"--resume={resume}")
    assert resumed.returncode == 0, resumed.stderr
    one, two = ({x["row"]: x for x in rows_of(tmp_path / name)} for name in ("whole", "resumed"))
    for name in ("tiered published", "tiered repaired"):
        assert one[name]["ce"] == two[name]["ce"]
        assert one[name]["accuracy"] == two[name]["accuracy"]
        assert one[name]["readout"] == two[name]["readout"]
    other = call("tiered", *flags("other"), f"--resume={resume}", "--seed=1")
    assert other.returncode == 2
    assert "differs in seed" in other.stderr


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        ("tiered", ["--variants=best"], "--variants has no 'best'"),
        ("tiered", ["--tiers=four"], "a tier is COUNT,NEURONS,BITS or rest,NEURONS,BITS"),
        ("tiered", ["--tiers=300,4,4;rest,2,2"], "the tiers need at least 301 tokens, but there are 256"),
        ("tiered", ["--tiers=rest,4,40"], "address_bits=40 is out of range"),
        ("tiered", ["--top=0"], "top=0 is out of range"),
        ("tiered", ["--gating=soft"], "--gating has no 'soft'"),
        ("tiered", ["--tiers=five"], "the tiers need at least 20501 tokens, but there are 256"),
        ("bitwise", ["--gating=token", "--gate_bits=30"], "gate_bits=30 is out of range"),
        ("bitwise", ["--gating=token", "--gate_bits=20", "--context=2", "--bits=8"], "address_bits=20 are"),
        ("bitwise", ["--gating=engram", "--engram_orders=3,2"], "orders must be 1 or more, and rise"),
        ("bitwise", ["--gating=engram", "--engram_orders=two"], "--engram_orders takes ints between commas"),
        ("chain", ["--gating=bit", "--preset=fast"], "--gating needs static among the --preset"),
        ("chain", ["--gating=bit", "--gate_leak=0"], "leak=0.0 is out of range"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, command, flags, message):
    (tmp_path / "words.txt").write_text("".join(f"word {i} of many\n" for i in range(300)))
    done = call(command, "--corpus=words.txt", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list((tmp_path / "runs").rglob("*.png"))
