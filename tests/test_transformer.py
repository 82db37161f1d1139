"""The transformer is causal, scores each token once and as in one window, and learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wnn_jax import transformer

# One layer is enough here: test_eam.py tests two layers.
CONFIG = transformer.TransformerConfig(20, layers=1, width=16, heads=2, window=8, dropout=0.1)
TOKENS = np.random.default_rng(0).integers(0, 20, 400)


@pytest.fixture(scope="module")
def model():
    return transformer.Transformer(CONFIG, transformer.init(jax.random.key(0), CONFIG))


@pytest.fixture(scope="module")
def logits(model):
    """Return the logits after every token of a window; its end is padding, which no token before it reads."""
    apply = jax.jit(transformer.apply, static_argnums=0)

    def of(tokens):
        padded = np.pad(tokens, (0, CONFIG.window - len(tokens)))
        return apply(CONFIG, model.params, jnp.asarray(padded))[: len(tokens)]

    return of


def test_the_future_is_not_read(logits):
    one = logits(TOKENS[:8])
    other = logits(np.concatenate([TOKENS[:5], (TOKENS[5:8] - 1) % 20]))
    np.testing.assert_array_equal(one[:5], other[:5])
    assert (one[5:] != other[5:]).any()


@pytest.mark.parametrize("count", [1, 4, 11])
def test_every_token_once_and_from_its_past(model, logits, count):
    nats, best = transformer.score(model, TOKENS[:100], TOKENS[100 : 100 + count])
    for i in range(count):
        begin = 100 + i // 4 * 4 - 4
        last = logits(TOKENS[begin : 100 + i])[-1]
        shares = jax.nn.softmax(last)
        assert nats[i] == pytest.approx(-np.log(shares[TOKENS[100 + i]]), abs=1e-5)
        assert best[i] == last.argmax()
    with pytest.raises(ValueError, match="8 tokens of history, got 7"):
        transformer.score(model, TOKENS[:7], TOKENS[7:9])


def test_it_learns_and_stops():
    fitting = transformer.FitConfig(epochs=4, batch=4, rate=1e-2)
    pattern = np.tile([1, 2, 3, 4, 5], 400)
    checks, repeated = [], []
    model = transformer.fit(jax.random.key(1), CONFIG, fitting, pattern, checks.append)
    least = min(check.nats for check in checks)
    assert least < 0.3 < checks[0].nats
    transformer.fit(jax.random.key(1), CONFIG, fitting, pattern, repeated.append)
    assert [check.nats for check in repeated] == [check.nats for check in checks]
    held = pattern[: len(pattern) * 19 // 20], pattern[len(pattern) * 19 // 20 :]
    assert transformer.score(model, *held)[0].mean() == pytest.approx(least), "not the best of all checks"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: transformer.TransformerConfig(20, width=15, heads=2), "width 15"),
        (lambda: dataclasses.replace(CONFIG, style="gpt3"), "unknown style 'gpt3'"),
        (
            lambda: transformer.FitConfig(epochs=0),
            "epochs=0 is out of range: give a whole number of at least 1",
        ),
        (
            lambda: transformer.fit(jax.random.key(1), CONFIG, transformer.FitConfig(), TOKENS[:100]),
            "longer than the window of 8",
        ),
    ],
)
def test_bad_sizes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
