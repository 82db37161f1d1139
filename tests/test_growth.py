"""Growth curves: the fit of a power law, its bootstrap, and the command."""

import hypothesis
import jax
import numpy as np
import pytest
import scipy.optimize
from commands import call, rows_of
from hypothesis import strategies as st

from wnn_jax import growth

SIZES = 1000 * 2.0 ** np.arange(7)


@hypothesis.given(st.floats(0, 4), st.floats(1, 50), st.integers(20, 300))
def test_a_law_is_found_again(floor, scale, exponent):
    law = growth.PowerLaw(floor, scale, exponent / 400)
    found = growth.power_law(SIZES, law.at(SIZES))
    np.testing.assert_allclose(found, law, rtol=1e-6, atol=1e-6)


def test_no_other_law_is_nearer():
    rng = np.random.default_rng(0)
    losses = growth.PowerLaw(2, 20, 0.3).at(SIZES) + rng.normal(0, 0.05, 7)
    found = growth.power_law(SIZES, losses)

    def error(numbers):
        return np.sum((numbers[0] + numbers[1] * (SIZES / 1e4) ** -numbers[2] - losses) ** 2)

    begun = found.floor, found.scale * 1e4**-found.exponent, found.exponent
    best = scipy.optimize.minimize(error, begun, bounds=[(0, None), (0, None), (1 / 400, 1)])
    assert error(begun) <= best.fun + 1e-5
    rising = growth.power_law(SIZES, losses[::-1])
    assert rising.scale == 0
    assert rising.floor == pytest.approx(losses.mean())


def test_the_interval_is_that_of_the_blocks():
    rng = np.random.default_rng(1)
    law = growth.PowerLaw(1, 30, 0.25)
    hard = rng.gamma(2, 0.5, 1000)  # how hard each token is, for every model
    nats = law.at(SIZES)[:, None] * hard / hard.mean()
    found = growth.extrapolate(jax.random.key(0), SIZES, nats, 1e7, blocks=40, draws=400)
    assert found.loss == pytest.approx(float(law.at(1e7)), rel=1e-6)
    assert found.off < 1e-9
    # The blocks scale the whole law here, so its interval is that of the mean of the blocks.
    means = hard.reshape(40, 25).mean(axis=1) / hard.mean()
    spread = 1.645 * means.std() / np.sqrt(40) * found.loss
    assert found.loss_high - found.loss == pytest.approx(spread, rel=0.3)
    assert found.loss - found.loss_low == pytest.approx(spread, rel=0.3)
    assert found.low.exponent == found.high.exponent == found.law.exponent
    again = growth.extrapolate(jax.random.key(0), SIZES, nats, 1e7, blocks=40, draws=400)
    assert again == found


def test_the_interval_holds_the_truth_where_losses_are_noisy():
    rng, law, held = np.random.default_rng(2), growth.PowerLaw(2, 20, 0.25), 0
    for i in range(40):
        nats = law.at(SIZES)[:, None] + rng.normal(0, 0.02, (7, 1)) + rng.normal(0, 0.1, 400)
        found = growth.extrapolate(jax.random.key(i), SIZES, nats, 1e6, blocks=20, draws=200)
        held += found.loss_low <= law.at(1e6) <= found.loss_high
    assert 28 <= held < 40


def test_clear_errors():
    with pytest.raises(ValueError, match="3 numbers, and there are 2 sizes"):
        growth.power_law([1, 2], [3, 2])
    with pytest.raises(ValueError, match="blocks=9 is out of range"):
        growth.extrapolate(jax.random.key(0), SIZES, np.ones((7, 8)), 1e6, blocks=9)


def test_the_curve_of_a_small_text(tmp_path, corpus):
    flags = [f"--corpus={corpus}", f"--workdir={tmp_path}", "--preset=fast", "--doublings=2"]
    quick = ["--memory_mib=4", "--chunk=500", "--neurons=node,node token1", "--scored_tokens=400"]
    done = call("growth", *flags, *quick, "--blocks=10", "--draws=50", "--target=1000000")
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path)
    for name in ("Kneser-Ney 5", "Kneser-Ney 5 + cache", "chain, fast"):
        points = [row for row in rows if row["row"].startswith(f"{name}, ")]
        whole = points[-1]["train_tokens"]
        assert [row["tokens"] for row in points] == [whole >> 2, whole >> 1, whole]
        assert points[0]["ce"] > points[-1]["ce"]
        law = next(row["extrapolated"] for row in rows if row["row"] == f"power law, {name}")
        assert law["target"] == 1_000_000
        assert law["loss"] < points[0]["ce"]
    assert "are extrapolated from" in done.stdout
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    short = call("growth", f"--corpus={corpus}", f"--workdir={tmp_path}", "--doublings=20")
    assert short.returncode == 2
    assert "lower them" in short.stderr
