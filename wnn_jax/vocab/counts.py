"""The parts of a model that are counted in the training text before the first step of training."""

from collections.abc import Collection

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.optional import need
from wnn_jax.vocab import model
from wnn_jax.vocab.operation import Params
from wnn_jax.vocab.repairs import word_graph


def places(repairs: Collection[str], tokens: np.ndarray, vocabulary: int) -> np.ndarray:
    """The number ``int32 [V]`` of each id inside a model; ids that are equal keep their order.

    Args:
      repairs: "frequency" numbers words by how often they occur, the most frequent 0. "cluster" numbers them
        along the first direction of a spectral embedding (Belkin and Niyogi 2003) of the words before and
        after each, as positive pointwise mutual information; it needs scikit-learn. Without either, every id
        keeps its own number.
      tokens: the training text, ``int32``.
      vocabulary: V.
    """
    along = np.arange(vocabulary, dtype=np.float64)
    if "frequency" in repairs:
        along = -np.bincount(tokens, minlength=vocabulary).astype(np.float64)
    if "cluster" in repairs:
        along = _spectral(_pairs(tokens, vocabulary))
    order = np.argsort(along, kind="stable")
    found = np.empty(vocabulary, np.int32)
    found[order] = np.arange(vocabulary)
    return found


def _spectral(pairs: np.ndarray) -> np.ndarray:
    """Coordinates ``float64 [V]`` along which words of like neighbours are near."""
    manifold = need("sklearn.manifold", "vocab")
    near = []
    for counts in (pairs, pairs.T):
        expected = counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum()
        near.append(np.log(np.maximum(counts, 1e-9) / np.maximum(expected, 1e-9)).clip(0) * (counts > 0))
    rows = np.concatenate(near, 1)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    # A little similarity of all joins words that never occurred to the rest.
    alike = rows @ rows.T + 1e-3
    return manifold.spectral_embedding(alike, n_components=1, random_state=0, drop_first=True)[:, 0]


def bigram_params(config: model.VocabConfig, params: Params, tokens: np.ndarray) -> Params:
    """Parameters whose first word graph holds the counts of a text's pairs of words.

    Logarithms of Witten-Bell's estimates, less those of the words alone, become a matrix of the graph's rank
    (SVD, rows weighed by how often they occur); the words alone become its bias, lifted to where GELU is
    almost linear.

    Args:
      config: a model with a word graph.
      params: its first parameters.
      tokens: the training text, in the numbers of the model.

    Raises:
      ValueError: the model has no word graph.
    """
    at = word_graph(config)
    if at is None:
        raise ValueError("the repair bigram fills a word graph, which only v8_graph has")
    rank, v = config.sublayers[at].operation.rank, config.vocabulary
    counts = _pairs(tokens, v)
    total, kinds = counts.sum(1, keepdims=True), np.maximum((counts > 0).sum(1, keepdims=True), 1)
    alone = (counts.sum(0) + 0.1) / (counts.sum() + 0.1 * v)
    after = np.log((counts + kinds * alone) / (total + kinds))
    weight = np.sqrt(total + 1)
    left, size, right = np.linalg.svd(weight * (after - np.log(alone)), full_matrices=False)
    source, target = left[:, :rank] * np.sqrt(size[:rank]) / weight, right[:rank].T * np.sqrt(size[:rank])
    even = np.sqrt(np.linalg.norm(target) / max(np.linalg.norm(source), 1e-9))
    bias = np.log(alone) - np.log(alone).mean() + 2.0
    shown = jax.nn.gelu(source @ target.T + bias)
    graph = {
        **params["steps"][0][at],
        "from": jnp.asarray(source * even / np.sqrt(v), jnp.float32),
        "to": jnp.asarray(target / even, jnp.float32),
        "bias": jnp.asarray(bias, jnp.float32),
        "scale": jnp.array(1.0),
    }
    first = [*params["steps"][0][:at], graph, *params["steps"][0][at + 1 :]]
    # The readout scales a state to a mean square of 1; the logarithms were larger.
    typical = np.average(np.sqrt(np.square(shown).mean(1)), weights=total[:, 0] + 1e-9)
    return {**params, "steps": [first, *params["steps"][1:]], "scale": jnp.array(typical, jnp.float32)}


def _pairs(tokens: np.ndarray, vocabulary: int) -> np.ndarray:
    """How often each word followed each, ``float64 [V, V]``."""
    both = tokens[:-1].astype(np.int64) * vocabulary + tokens[1:]
    return np.bincount(both, minlength=vocabulary**2).reshape(vocabulary, vocabulary).astype(np.float64)
