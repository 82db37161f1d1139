"""Count baselines over token ids: uniform, unigram, interpolated modified Kneser-Ney, a cache.

    for name, prediction in ngram.baselines(corpus.train, corpus.test, corpus.vocabulary):
        print(name, prediction.nats.mean())

Host code in NumPy, on sorted arrays: every k-gram of the training stream gets an id, found by
binary search in the sorted keys ``id(first k - 1 tokens) * V + last token``.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class Prediction(NamedTuple):
    """Scores of N tokens: ``nats [N]`` of those that came, and the ``best [N]`` guess, -1 if not known."""

    nats: np.ndarray
    best: np.ndarray


class _Order(NamedTuple):
    """All k-grams of one order, sorted by key.

    ``probability`` is that of the last token after the first k - 1; contexts are (k-1)-gram ids.
    """

    keys: np.ndarray  # int64 [G]
    probability: np.ndarray  # float64 [G]
    backoff: np.ndarray  # float64 [contexts], weight of the order below; 1 where nothing was seen
    best: np.ndarray  # int32 [contexts], most probable token
    best_probability: np.ndarray  # float64 [contexts]


class KneserNey(NamedTuple):
    """A fitted model: orders 1 .. n, and the end of the training stream."""

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
    """The rows that every language model is compared with, each made when it is asked for.

    Args:
      train: ids of the training stream.
      tokens: ``[N]`` ids that continue it.
      vocabulary: V.
      orders: of Kneser-Ney.
      cached: also mix a cache of recent tokens into the last of these, see `fit_cache`.

    Yields:
      A row's name and its prediction.
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
        unknown = np.full(len(tokens), -1)  # a mixture's best token
        yield f"Kneser-Ney {orders[-1]} + cache of {window}", Prediction(nats, unknown)


def uniform(vocabulary: int, tokens: np.ndarray) -> Prediction:
    """Every id alike; the guess is id 0."""
    nats = np.full(len(tokens), np.log(vocabulary))
    return Prediction(nats, np.zeros(len(tokens), np.int32))


def unigram(train: np.ndarray, tokens: np.ndarray, vocabulary: int, add: float = 0.1) -> Prediction:
    """Training frequencies with ``add`` added to every count."""
    counts = np.bincount(train, minlength=vocabulary) + add
    nats = -np.log(counts / counts.sum())
    return Prediction(nats[tokens], np.full(len(tokens), counts.argmax(), np.int32))


def fit_kneser_ney(train: np.ndarray, order: int, vocabulary: int) -> KneserNey:
    """Interpolated modified Kneser-Ney (Chen and Goodman 1999, section 3 and eq. 26).

    The top order uses raw counts, lower ones continuation counts (distinct left neighbours); each
    order has three discounts from its counts of counts; below the unigram stands uniform 1 / V.

    Args:
      train: ids of the training stream.
      order: n, at least 1.
      vocabulary: V.

    Raises:
      ValueError: the stream is shorter than the order.
    """
    train = np.asarray(train, np.int64)
    if order < 1 or len(train) < order:
        raise ValueError(f"order {order} needs at least {max(order, 1)} tokens, got {len(train)}")
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
            # The context without its first token; the context ends one position earlier.
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
    # A token not seen after the context cannot beat the lower order's best one: that one scores at
    # least as much here, seen or not. So the best is it, or one of those seen.
    best, best_probability = lower_best[0].copy(), backoff * lower_best[1]
    rank = np.lexsort((token, -probability, context))
    first = rank[np.r_[True, context[rank][1:] != context[rank][:-1]]]
    better = probability[first] > best_probability[context[first]]
    winners = first[better]
    best[context[winners]] = token[winners]
    best_probability[context[winners]] = probability[winners]
    return _Order(keys, probability, backoff, best.astype(np.int32), best_probability)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """Discounts ``[0, D1, D2, D3+]`` from the counts of counts.

    A stream too small or an alphabet too full to have all of them (bytes often lack a unigram seen
    once) gets 1/2, 1, 3/2, KenLM's fallback: a discount of 0 would leave unseen tokens without any
    probability.
    """
    n1, n2, n3, n4 = (np.count_nonzero(counts == c) for c in (1, 2, 3, 4))
    if n1 and n2 and n3 and n4:
        y = n1 / (n1 + 2 * n2)
        found = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        if np.all(found[1:] > 0):
            return found
    return np.array([0, 0.5, 1.0, 1.5])


def predict(model: KneserNey, tokens: np.ndarray) -> Prediction:
    """Score a stream that continues the training stream; nothing of it is learnt.

    Args:
      tokens: ``[N]`` ids.
    """
    tokens = np.asarray(tokens, np.int64)
    n = len(model.orders)
    stream = np.concatenate([model.history, tokens])
    count = len(stream)
    context = np.zeros(count, np.int64)  # id of the (k-1)-gram before each position, -1 if unseen
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
    """`fit_kneser_ney` on a training stream, and `predict` of what continues it."""
    return predict(fit_kneser_ney(train, order, vocabulary), tokens)


def fit_cache(
    train: np.ndarray,
    vocabulary: int,
    order: int = 5,
    windows: Sequence[int] = (500, 1000, 2000, 5000),
    weights: Sequence[float] = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3),
) -> tuple[int, float]:
    """Window and weight of the cache that helps Kneser-Ney most on the last tenth of the training stream."""
    cut = len(train) * 9 // 10
    nats = kneser_ney(train[:cut], train[cut:], order, vocabulary).nats
    ce = {
        (window, weight): mixed(nats, cache(train[:cut], train[cut:], window), weight).mean()
        for window in windows
        for weight in weights
    }
    return min(ce, key=lambda pair: ce[pair])


def cache(history: np.ndarray, tokens: np.ndarray, window: int) -> np.ndarray:
    """Share ``float64 [N]`` of each token among the ``window`` tokens before it, in a text that continues.

    Args:
      history: tokens before the first one.
      tokens: ``[N]``.
      window: at least 1; all tokens so far where there are fewer.
    """
    stream = np.concatenate([np.asarray(history, np.int64), np.asarray(tokens, np.int64)])[
        -len(tokens) - window :
    ]
    place = np.arange(len(stream))
    # Occurrences of a token are neighbours among the sorted keys, in the order of their places.
    key = stream * len(stream) + place
    order = np.sort(key)
    first = np.searchsorted(order, stream * len(stream) + np.maximum(place - window, 0))
    seen = np.searchsorted(order, key) - first
    return (seen / np.maximum(np.minimum(place, window), 1))[-len(tokens) :]


def mixed(nats: np.ndarray, share: np.ndarray, weight: float) -> np.ndarray:
    """Nats of ``(1 - weight) exp(-nats) + weight * share``, a mixture of two distributions."""
    return -np.log((1 - weight) * np.exp(-nats) + weight * share)
