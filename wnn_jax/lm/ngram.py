"""Count baselines over token ids: uniform, unigram, interpolated modified Kneser-Ney, and a cache.

    for name, prediction in ngram.baselines(corpus.train, corpus.test, corpus.vocabulary):
        print(name, prediction.nats.mean())

The code is NumPy on sorted arrays. Every k-gram of the training text gets an id, its place among the sorted
keys ``id(first k - 1 tokens) * V + last token``; a binary search finds it.

Source: Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling"
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from wnn_jax import checks
from wnn_jax.checks import Limits


class Prediction(NamedTuple):
    """The scores of N tokens.

    Attributes:
      nats: ``float [N]``, the negative log-probability of each token.
      best: ``int32 [N]``, the most probable id at each token's place; -1 if it is not known.

    Source: docs/glossary.md
    """

    nats: np.ndarray
    best: np.ndarray


class _Order(NamedTuple):
    """All k-grams of one order, sorted by key. A context is the id of a (k - 1)-gram."""

    keys: np.ndarray  # int64 [G]
    probability: np.ndarray  # float64 [G], of the last token after the first k - 1 tokens
    backoff: np.ndarray  # float64 [contexts], weight of the order below; 1 if no token followed
    best: np.ndarray  # int32 [contexts], most probable token
    best_probability: np.ndarray  # float64 [contexts]


class KneserNey(NamedTuple):
    """A fitted Kneser-Ney model.

    Attributes:
      orders: the tables of the orders 1 to n.
      history: ``int64 [n - 1]``, the last tokens of the training text.
      vocabulary: V.

    Source: Chen and Goodman 1999
    """

    orders: tuple[_Order, ...]
    history: np.ndarray
    vocabulary: int


def baselines(
    train: np.ndarray,
    tokens: np.ndarray,
    vocabulary: int,
    orders: Sequence[int] = (2, 5),
    cached: bool = False,
) -> Iterator[tuple[str, Prediction]]:
    """Score a text with the baselines of every language model, one after another.

    Args:
      train: ``int [M]``, the training text.
      tokens: ``int [N]``, the text to score; it continues the training text.
      vocabulary: V.
      orders: orders of the Kneser-Ney models.
      cached: whether to add a row in which a cache of recent tokens is mixed into the last order, see
        `fit_cache`.

    Yields:
      The name of a row and its prediction. The guesses of the row with a cache are not known.

    Raises:
      ValueError: the training text is shorter than an order.

    Source: Chen and Goodman 1999 (Kneser-Ney); Kuhn and De Mori 1990 (cache)
    """
    yield "uniform", uniform(vocabulary, tokens)
    yield "unigram (add 0.1)", unigram(train, tokens, vocabulary, add=0.1)
    prediction = None
    for order in orders:
        prediction = kneser_ney(train, tokens, order, vocabulary)
        yield f"Kneser-Ney {order}", prediction
    if cached and prediction:
        window, weight = fit_cache(train, vocabulary, orders[-1])
        nats = mixed(prediction.nats, cache(train, tokens, window), weight)
        unknown = np.full(len(tokens), -1)  # the best token of a mixture needs all V probabilities
        yield f"Kneser-Ney {orders[-1]} + cache of {window}", Prediction(nats, unknown)


def check_ids(name: str, x: Any, vocabulary: int) -> np.ndarray:
    """Check ids, and return them as an array.

    Args:
      name: the name of the ids, for the message.
      x: ``int [N]``; a list is taken too.
      vocabulary: V.

    Returns:
      ``int [N]``.

    Raises:
      ValueError: they are no whole numbers ``[N]``, or one is outside the vocabulary.

    Source: docs/glossary.md
    """
    vocabulary = checks.integer("vocabulary", vocabulary, Limits(least=1))
    found = np.asarray(x)
    found = found if found.size else found.astype(np.int64)  # NumPy takes an empty list for one of floats
    checks.array(name, found, "integers", {"N": None}, Limits(least=0, most=vocabulary - 1))
    return found


def uniform(vocabulary: int, tokens: np.ndarray) -> Prediction:
    """Give every id the same probability.

    Args:
      vocabulary: V.
      tokens: ``int [N]``, the text to score.

    Returns:
      ``log(V)`` nats for each token; the guess is id 0.

    Raises:
      ValueError: an id is outside the vocabulary.

    Source: docs/glossary.md
    """
    tokens = check_ids("tokens", tokens, vocabulary)
    nats = np.full(len(tokens), np.log(vocabulary))
    return Prediction(nats, np.zeros(len(tokens), np.int32))


def unigram(train: np.ndarray, tokens: np.ndarray, vocabulary: int, add: float = 0.1) -> Prediction:
    """Give every id its frequency in the training text.

    Args:
      train: ``int [M]``, the training text.
      tokens: ``int [N]``, the text to score.
      vocabulary: V.
      add: number that is added to the count of every id, so that none is impossible.

    Returns:
      The nats of each token; the guess is the most frequent id, the lowest on ties.

    Raises:
      ValueError: an id is outside the vocabulary, or the number to add is not above 0.

    Source: docs/glossary.md
    """
    counts = np.bincount(check_ids("train", train, vocabulary), minlength=vocabulary)
    return frequencies(counts, tokens, add)


def frequencies(counts: np.ndarray, tokens: np.ndarray, add: float = 0.1) -> Prediction:
    """Do as `unigram` with the counts of a training text.

    Args:
      counts: ``int [V]``, how often each id occurs.
      tokens: ``int [N]``, the text to score.
      add: see `unigram`.

    Raises:
      ValueError: see `unigram`.

    Source: docs/glossary.md
    """
    checks.array("counts", np.asarray(counts), "integers", {"V": None}, Limits(least=0))
    tokens, add = check_ids("tokens", tokens, len(counts)), checks.number("add", add, Limits(above=0))
    smoothed = counts + add
    nats = -np.log(smoothed / smoothed.sum())
    return Prediction(nats[tokens], np.full(len(tokens), smoothed.argmax(), np.int32))


def fit_kneser_ney(train: np.ndarray, order: int, vocabulary: int) -> KneserNey:
    """Fit interpolated Kneser-Ney smoothing with modified discounts.

    The highest order uses counts of n-grams. A lower order uses continuation counts: the number of distinct
    tokens before a k-gram. Each order has three discounts, from its counts of counts. The unigrams are
    interpolated with the uniform distribution 1 / V.

    Args:
      train: ``int [M]``, the training text.
      order: n, at least 1.
      vocabulary: V.

    Returns:
      The fitted model.

    Raises:
      ValueError: the order is below 1, the text is shorter than the order, or an id is outside the
        vocabulary.

    Source: Chen and Goodman 1999, section 3 and eq. 26
    """
    train = check_ids("train", train, vocabulary).astype(np.int64)
    order = checks.integer("order", order, Limits(least=1))
    if len(train) < order:
        raise ValueError(
            f"order {order} needs at least {order} tokens, got {len(train)}: the order must be 1 to "
            "the number of tokens"
        )
    # ids[k][i] is the id of the k-gram that ends at position i.
    ids, keys, representative = [np.zeros(len(train), np.int64)], [], []
    for k in range(1, order + 1):
        key = np.full(len(train), -1, np.int64)
        key[k - 1 :] = np.roll(ids[-1], 1)[k - 1 :] * vocabulary + train[k - 1 :]
        found, first, inverse = np.unique(key[k - 1 :], return_index=True, return_inverse=True)
        keys.append(found)
        representative.append(first + k - 1)
        ids.append(np.concatenate([np.full(k - 1, -1), inverse]))

    orders: list[_Order] = []
    for k in range(1, order + 1):
        count = len(keys[k - 1])
        if k == order:
            counts = np.bincount(ids[k][k - 1 :], minlength=count)
        else:
            counts = np.bincount(ids[k][representative[k]], minlength=count)
        contexts = len(keys[k - 2]) if k > 1 else 1
        if orders:
            suffix = ids[k - 1][representative[k - 1]]
            lower = orders[-1].probability[suffix]
            # The context without its first token. A context ends one position before its k-gram.
            shorter = ids[k - 2][representative[k - 2]]
            lower_best = orders[-1].best[shorter], orders[-1].best_probability[shorter]
        else:
            lower = np.full(count, 1 / vocabulary)
            lower_best = np.zeros(1, np.int32), np.full(1, 1 / vocabulary)
        orders.append(_fit_order(keys[k - 1], counts, contexts, vocabulary, lower, lower_best))
    return KneserNey(tuple(orders), train[len(train) - order + 1 :], vocabulary)


def _fit_order(keys, counts, contexts, vocabulary, lower, lower_best) -> _Order:
    context, token = keys // vocabulary, keys % vocabulary
    discount = _discounts(counts)
    kind = np.minimum(counts, 3)
    total = np.bincount(context, counts, minlength=contexts)
    freed = np.bincount(context, discount[kind], minlength=contexts)
    seen = total > 0
    backoff = np.where(seen, freed / np.where(seen, total, 1), 1.0)
    safe = np.where(seen, total, 1)[context]
    probability = (counts - discount[kind]) / safe + backoff[context] * lower
    # A token that never followed the context has at most the score of the lower order's best token. So the
    # best token is that one, or one of the tokens that followed the context.
    best, best_probability = lower_best[0].copy(), backoff * lower_best[1]
    rank = np.lexsort((token, -probability, context))
    first = rank[np.r_[True, context[rank][1:] != context[rank][:-1]]]
    better = probability[first] > best_probability[context[first]]
    winners = first[better]
    best[context[winners]] = token[winners]
    best_probability[context[winners]] = probability[winners]
    return _Order(keys, probability, backoff, best.astype(np.int32), best_probability)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """Compute the discounts ``[0, D1, D2, D3+]`` from the counts of counts.

    If one of the counts of counts is 0, as in a short text or where every byte occurs often, the discounts
    are 1/2, 1 and 3/2, as in KenLM. A discount of 0 would leave no probability for unseen tokens.
    """
    n1, n2, n3, n4 = (np.count_nonzero(counts == c) for c in (1, 2, 3, 4))
    if n1 and n2 and n3 and n4:
        y = n1 / (n1 + 2 * n2)
        found = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        if np.all(found[1:] > 0):
            return found
    return np.array([0, 0.5, 1.0, 1.5])


def predict(model: KneserNey, tokens: np.ndarray) -> Prediction:
    """Score a text that continues the training text. The model does not learn from it.

    Args:
      model: a fitted model.
      tokens: ``int [N]``, the text.

    Returns:
      The nats ``float64 [N]`` and the most probable ids ``int32 [N]``.

    Raises:
      ValueError: an id is outside the vocabulary.

    Source: Chen and Goodman 1999
    """
    tokens = check_ids("tokens", tokens, model.vocabulary).astype(np.int64)
    n = len(model.orders)
    stream = np.concatenate([model.history, tokens])
    count = len(stream)
    context = np.zeros(count, np.int64)  # id of the (k-1)-gram before each position; -1 if training lacks it
    probability = np.full(count, 1 / model.vocabulary)
    best = np.zeros(count, np.int32)
    for order in model.orders:
        known = context >= 0
        key = np.where(known, context * model.vocabulary + stream, -1)
        place = np.minimum(np.searchsorted(order.keys, key), len(order.keys) - 1)
        seen = known & (order.keys[place] == key)
        weight = np.where(known, order.backoff[np.maximum(context, 0)], 1.0)
        probability = np.where(seen, order.probability[place], weight * probability)
        best = np.where(known, order.best[np.maximum(context, 0)], best)
        gram = np.where(seen, place, -1)
        context = np.concatenate([[-1], gram[:-1]])
    return Prediction(-np.log(probability[n - 1 :]), best[n - 1 :])


def kneser_ney(train: np.ndarray, tokens: np.ndarray, order: int, vocabulary: int) -> Prediction:
    """Fit Kneser-Ney to a training text, and score a text that continues it.

    Args:
      train: ``int [M]``, the training text.
      tokens: ``int [N]``, the text to score.
      order: n, at least 1.
      vocabulary: V.

    Returns:
      The nats ``float64 [N]`` and the most probable ids ``int32 [N]``.

    Raises:
      ValueError: the order is below 1, or the training text is shorter than the order.

    Source: Chen and Goodman 1999, section 3 and eq. 26
    """
    return predict(fit_kneser_ney(train, order, vocabulary), tokens)


def fit_cache(
    train: np.ndarray,
    vocabulary: int,
    order: int = 5,
    windows: Sequence[int] = (500, 1000, 2000, 5000),
    weights: Sequence[float] = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3),
) -> tuple[int, float]:
    """Choose the window and the weight of a cache for Kneser-Ney.

    A model of the first nine tenths of the training text scores the last tenth, with a cache of every window
    and weight.

    Args:
      train: ``int [M]``, the training text.
      vocabulary: V.
      order: order of the Kneser-Ney model.
      windows: windows to try, in tokens.
      weights: weights to try.

    Returns:
      The window and the weight with the lowest mean nats; the first of equal ones.

    Raises:
      ValueError: there is no window or no weight, an id is outside the vocabulary, or the text is too short.

    Source: Kuhn and De Mori 1990, "A Cache-Based Natural Language Model for Speech Recognition"
    """
    if not windows or not weights:
        raise ValueError(f"a cache has {len(windows)} windows and {len(weights)} weights to try: give some")
    train = check_ids("train", train, vocabulary)
    cut = len(train) * 9 // 10
    nats = kneser_ney(train[:cut], train[cut:], order, vocabulary).nats
    ce = {
        (window, weight): mixed(nats, cache(train[:cut], train[cut:], window), weight).mean()
        for window in windows
        for weight in weights
    }
    return min(ce, key=lambda pair: ce[pair])


def cache(history: np.ndarray, tokens: np.ndarray, window: int) -> np.ndarray:
    """Compute how often each token occurs among the tokens just before it.

    Args:
      history: ``int [M]``, the tokens before the text.
      tokens: ``int [N]``, the text.
      window: number of tokens before each token, at least 1; all earlier tokens if there are fewer.

    Returns:
      ``float64 [N]``, the share of the window that is the token; 0 for a first token without history.

    Raises:
      ValueError: the window is below 1, or an id is below 0.

    Source: Kuhn and De Mori 1990
    """
    window = checks.integer("window", window, Limits(least=1))
    history, tokens = check_ids("history", history, checks.MOST), check_ids("tokens", tokens, checks.MOST)
    if not len(tokens):
        return np.zeros(0)
    stream = np.concatenate([np.asarray(history, np.int64), np.asarray(tokens, np.int64)])[
        -len(tokens) - window :
    ]
    place = np.arange(len(stream))
    # Among the sorted keys the occurrences of one token are neighbours, in the order of their places.
    key = stream * len(stream) + place
    order = np.sort(key)
    first = np.searchsorted(order, stream * len(stream) + np.maximum(place - window, 0))
    seen = np.searchsorted(order, key) - first
    return (seen / np.maximum(np.minimum(place, window), 1))[-len(tokens) :]


def mixed(nats: np.ndarray, share: np.ndarray, weight: float) -> np.ndarray:
    """Mix two distributions, and return the nats of the mixture.

    Args:
      nats: ``float [N]``, the nats of each token under the first distribution.
      share: ``float [N]``, its probability under the second.
      weight: weight of the second, in [0, 1).

    Returns:
      ``float64 [N]``, the negative logarithm of ``(1 - weight) exp(-nats) + weight * share``.

    Raises:
      ValueError: the weight is not in [0, 1), an entry is out of range, or the arrays differ in length.

    Source: docs/glossary.md
    """
    weight = checks.number("weight", weight, Limits(least=0, below=1))
    # A probability that was rounded to above 1 has nats just below 0.
    checks.array("nats", nats, "numbers", {"N": None}, Limits(least=-1))
    checks.array("share", share, "numbers", {"N": len(nats)}, Limits(least=0, most=1))
    return -np.log((1 - weight) * np.exp(-nats) + weight * share)
