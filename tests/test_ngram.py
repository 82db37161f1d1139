"""Kneser-Ney equals a direct version with dicts, and sums to one."""

from collections import Counter

import numpy as np
import pytest

from wnn_jax.lm import ngram

V = 12


def stream(seed, count):
    """Draw a stream like a text: a Markov chain with a Zipf law, so that all counts of counts exist."""
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(1 / np.arange(1, V + 1), size=V)
    tokens = [0]
    for _ in range(count - 1):
        tokens.append(int(rng.choice(V, p=rows[tokens[-1]])))
    return np.array(tokens)


def dict_kneser_ney(train, order, history, token):
    """Compute P(token | history) directly by the textbook formulas."""
    grams = {order: Counter(tuple(train[i : i + order]) for i in range(len(train) - order + 1))}
    for k in range(order - 1, 0, -1):
        grams[k] = Counter(gram[1:] for gram in grams[k + 1])
    probability = 1 / V
    for k in range(1, order + 1):
        kinds = Counter(grams[k].values())
        n1, n2, n3, n4 = (kinds[c] for c in (1, 2, 3, 4))
        discount = [0, 0.5, 1, 1.5]
        if n1 * n2 * n3 * n4:
            y = n1 / (n1 + 2 * n2)
            found = [0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
            discount = found if min(found[1:]) > 0 else discount
        context = tuple(history[len(history) - k + 1 :]) if k > 1 else ()
        after = {gram[-1]: c for gram, c in grams[k].items() if gram[:-1] == context}
        if not after:
            break
        total = sum(after.values())
        freed = sum(discount[min(c, 3)] for c in after.values())
        count = after.get(token, 0)
        probability = (count - discount[min(count, 3)]) / total + freed / total * probability
    return probability


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_kneser_ney_equals_the_textbook(order):
    train, tokens = stream(0, 400), stream(1, 60)
    got = ngram.predict(ngram.fit_kneser_ney(train, order, V), tokens)
    whole = np.concatenate([train, tokens])
    for i in range(len(tokens)):
        history = tuple(whole[: len(train) + i].tolist())
        table = [dict_kneser_ney(train.tolist(), order, history, t) for t in range(V)]
        assert sum(table) == pytest.approx(1)
        assert np.exp(-got.nats[i]) == pytest.approx(table[tokens[i]])
        assert table[got.best[i]] == pytest.approx(max(table))


def test_an_unseen_token_has_a_probability():
    model = ngram.fit_kneser_ney(stream(0, 200), 3, V + 1)
    assert np.isfinite(ngram.predict(model, np.array([V, V, 3])).nats).all()


def test_unigram_and_uniform():
    train, tokens = np.array([1, 1, 2]), np.array([1, 0, 2])
    got = ngram.unigram(train, tokens, 3, add=0.5)
    np.testing.assert_allclose(np.exp(-got.nats), np.array([2.5, 0.5, 1.5]) / 4.5)
    assert got.best.tolist() == [1, 1, 1]
    np.testing.assert_allclose(ngram.uniform(3, tokens).nats, np.log(3))


def test_a_stream_shorter_than_the_order_is_refused():
    with pytest.raises(ValueError, match="order 5 needs at least 5 tokens, got 4"):
        ngram.fit_kneser_ney(np.arange(4), 5, V)


def test_the_cache_is_chosen_on_the_end_of_the_training_text():
    """Each run of sixty tokens uses three words only, so that recent tokens come again."""
    rng = np.random.default_rng(0)
    bursts = np.concatenate([rng.choice(rng.integers(0, 900, 3), 60) for _ in range(30)])
    assert ngram.fit_cache(bursts, 900, windows=(20, 1000), weights=(0.0, 0.3)) == (20, 0.3)
