"""Counts in the training text that a model starts from, before the first step of training."""

from collections.abc import Collection

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.optional import need
from wnn_jax.vocab import model
from wnn_jax.vocab.operation import Params
from wnn_jax.vocab.repairs import word_graph


def places(repairs: Collection[str], tokens: np.ndarray, vocabulary: int) -> np.ndarray:
    """Numbers the words of a model; returns the number ``int32 [V]`` of each id.

    Words that are equal under the chosen order keep the order of their ids.

    Args:
      repairs: "frequency" numbers words by how often they occur, the most frequent as 0. "cluster" numbers
        them along the first direction of a spectral embedding of the words before and after each, as positive
        pointwise mutual information; it needs scikit-learn. Without either, every id keeps its own number.
      tokens: ``int32 [N]``, the training text.
      vocabulary: V.

    Source: spectral embedding (Belkin and Niyogi 2003); docs/semantics/vocab.md
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
    """Returns coordinates ``float64 [V]`` along which words with similar neighbours are near each other."""
    manifold = need("sklearn.manifold", "vocab")
    near = []
    for counts in (pairs, pairs.T):
        expected = counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum()
        near.append(np.log(np.maximum(counts, 1e-9) / np.maximum(expected, 1e-9)).clip(0) * (counts > 0))
    rows = np.concatenate(near, 1)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    # A small similarity between all words connects those that never occurred with the rest.
    alike = rows @ rows.T + 1e-3
    return manifold.spectral_embedding(alike, n_components=1, random_state=0, drop_first=True)[:, 0]


def bigram_params(config: model.VocabConfig, params: Params, tokens: np.ndarray) -> Params:
    """Returns parameters whose first word graph holds the bigram counts of a text.

    The logarithms of Witten-Bell's estimates, minus those of the unigram, become a matrix of the graph's rank
    (by SVD, with rows weighted by how often the words occur). The unigram becomes the graph's bias, raised to
    where GELU is almost linear.

    Args:
      config: a model with a word graph.
      params: its first parameters.
      tokens: ``int32 [N]``, the training text in the word numbers of the model.

    Raises:
      ValueError: the model has no word graph.

    Source: Witten and Bell 1991; docs/semantics/vocab.md
    """
    at = word_graph(config)
    if at is None:
        raise ValueError(
            "the repair bigram needs a word graph, and this model has none: drop the repair, or use v8_graph"
        )
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
    shown = jax.nn.gelu(jnp.asarray(source @ target.T + bias, jnp.float32))
    graph = {
        **params["steps"][0][at],
        "from": jnp.asarray(source * even / np.sqrt(v), jnp.float32),
        "to": jnp.asarray(target / even, jnp.float32),
        "bias": jnp.asarray(bias, jnp.float32),
        "scale": jnp.float32(1.0),
    }
    first = [*params["steps"][0][:at], graph, *params["steps"][0][at + 1 :]]
    # The readout scales a state to a mean square of 1; this factor restores the size of the logarithms.
    typical = np.average(np.sqrt(np.square(shown).mean(1)), weights=total[:, 0] + 1e-9)
    return {**params, "steps": [first, *params["steps"][1:]], "scale": jnp.array(typical, jnp.float32)}


def _pairs(tokens: np.ndarray, vocabulary: int) -> np.ndarray:
    """Returns how often each word (a column) followed each word (a row), ``float64 [V, V]``."""
    both = tokens[:-1].astype(np.int64) * vocabulary + tokens[1:]
    return np.bincount(both, minlength=vocabulary**2).reshape(vocabulary, vocabulary).astype(np.float64)
