"""How a vocabulary-space model is trained, and what mends the published ones, each repair by itself.

The published recipe is Adam at 0.03, falling to 0 in a straight line (spec eam_recommender_vocab 4.1).
Repairs (4.3) change the model, its first parameters, the numbers of its words, or the recipe.
"""

import dataclasses
from collections.abc import Collection

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import contrib
from sklearn import manifold

from wnn_jax.vocab import cross, skeleton, within, zoo

REPAIRS = {
    "rate": "Adam at 0.004 instead of 0.03",
    "warmup": "the rate rises for a tenth of the steps",
    "scores": "queries and keys of length 1",
    "gain": "the word at a place is read out only by a learned share, at first 0",
    "fades": "memories of one rate begin at half a place, dense ones in four heads with a rate each",
    "frequency": "words numbered by how often they come",
    "cluster": "words numbered so that neighbours come in like places",
    "muon": "Muon for matrices",
    "bigram": "the first word graph begins at the counts of pairs",
}
# Chosen on validation text (movie reviews, 51,200 and 102,400 training tokens): words in order help where
# neighbours share weights; maps made of waves learn nothing at the lower rate; Muon was not better.
_DENSE = ("rate", "warmup", "scores", "gain", "fades")
_WAVES = ("warmup", "scores", "gain", "fades", "frequency")
_SLICED = (*_DENSE, "frequency")
_CHOSEN = {
    **dict.fromkeys(("v3_assoc", "v4_golf", "v5_gauss", "v6_wave", "v7_lgp"), _WAVES),
    "v2_conv": ("warmup", "gain", "cluster"),
    **dict.fromkeys(("v12_sparse", "v13_embed", "v14_adaptive", "v15_predictive", "v16_columnar"), _SLICED),
    "v8_graph": (*_DENSE, "bigram"),
}
_PUBLISHED_FADE, _HEADS = (3.0,), (-2.0, 0.0, 2.0, 4.0)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the steps of training are taken; gradients are clipped to length 1.

    Attributes:
      rate: of Adam, at its highest; it falls to 0 in a straight line.
      warmup: share of the steps in which it rises first.
      matrices: rate of Muon (Jordan 2024) for weights of two dimensions and more; 0 leaves them to Adam.
    """

    rate: float = 0.03
    warmup: float = 0.0
    matrices: float = 0.0

    def optimiser(self, steps: int) -> optax.GradientTransformation:
        """For so many steps in all."""
        rise = int(self.warmup * steps)

        def falling(rate: float) -> optax.Schedule:
            # The first step of a rise is not one of length 0.
            up = optax.linear_schedule(rate / (rise + 1), rate, rise)
            return optax.join_schedules([up, optax.linear_schedule(rate, 0.0, steps - rise)], [rise])

        if not self.matrices:
            rule = optax.adam(falling(self.rate))
        else:
            rule = contrib.muon(
                falling(self.matrices),
                adam_learning_rate=falling(self.rate),
                muon_weight_dimension_numbers=_matrices,
            )
        return optax.chain(optax.clip_by_global_norm(1.0), rule)


def _matrices(params):
    def one(path, x):
        vectors = x.ndim < 2 or getattr(path[-1], "key", None) == "taps"
        return None if vectors else contrib.MuonDimensionNumbers(x.ndim - 2, x.ndim - 1)

    return jax.tree_util.tree_map_with_path(one, params)


def check(repairs: Collection[str]) -> None:
    """Refuse repairs that there are not, and two orders at once.

    Raises:
      ValueError: which, and what there is.
    """
    unknown = [name for name in repairs if name not in REPAIRS]
    if unknown:
        raise ValueError(f"no repair {unknown[0]!r}: there are {', '.join(REPAIRS)}")
    if {"frequency", "cluster"} <= set(repairs):
        raise ValueError("words have one order: of the repairs frequency and cluster take one")


def chosen(name: str) -> tuple[str, ...]:
    """The repairs that suit a published model, by either of its names."""
    old = {new: old for old, new in zoo.NAMES.items()}.get(name, name)
    return _CHOSEN.get(old, _DENSE)


def fitting(config: skeleton.VocabConfig, repairs: Collection[str]) -> tuple[str, ...]:
    """Those of the repairs that change something of a model or of how it is trained."""

    def fits(name: str) -> bool:
        if name == "bigram":
            return _graph(config) is not None
        if name in ("scores", "gain", "fades"):
            return repaired(config, [name]) != config
        return True

    return tuple(filter(fits, repairs))


def _graph(config: skeleton.VocabConfig) -> int | None:
    """Which move is a word graph."""
    return next((i for i, move in enumerate(config.moves) if isinstance(move.does, within.Graph)), None)


def recipe(repairs: Collection[str]) -> Recipe:
    """The published recipe with those of the repairs that are its own."""
    return Recipe(
        rate=0.004 if "rate" in repairs else 0.03,
        warmup=0.1 if "warmup" in repairs else 0.0,
        matrices=0.01 if "muon" in repairs else 0.0,
    )


def repaired(config: skeleton.VocabConfig, repairs: Collection[str]) -> skeleton.VocabConfig:
    """The model with those of the repairs that are its own: "scores", "gain", "fades"."""

    def mended(does):
        if isinstance(does, skeleton.Inside):
            return dataclasses.replace(does, moves=tuple(map(moved, does.moves)))
        if isinstance(does, cross.Coupled):
            return dataclasses.replace(does, slow=mended(does.slow), fast=mended(does.fast))
        if isinstance(does, cross.Scales) and "scores" in repairs:
            return dataclasses.replace(does, unit=True)
        if isinstance(does, cross.Linear):
            if "scores" in repairs:
                does = dataclasses.replace(does, unit=True, divide=1.0)
            if "fades" in repairs and does.fades == _PUBLISHED_FADE:
                heads = does.form.kind == "dense" and not does.adaptive and does.channels % 4 == 0
                does = dataclasses.replace(does, fades=_HEADS if heads else (0.0,))
        return does

    def moved(move: skeleton.Move) -> skeleton.Move:
        return dataclasses.replace(move, does=mended(move.does))

    forgets = config.forgets or "gain" in repairs
    return dataclasses.replace(config, moves=tuple(map(moved, config.moves)), forgets=forgets)


def places(repairs: Collection[str], tokens: np.ndarray, vocabulary: int) -> np.ndarray:
    """The number ``int32 [V]`` that each id gets; equals keep the order of their ids.

    Args:
      repairs: "frequency" numbers by how often a word comes, the most frequent 0. "cluster" numbers along the
        first direction of a spectral embedding (Belkin and Niyogi 2003) of what comes before and after a
        word, as positive pointwise mutual information. Without either, ids stay.
      tokens: the training text.
      vocabulary: V.
    """
    along = np.arange(vocabulary, dtype=np.float64)
    if "frequency" in repairs:
        along = -np.bincount(tokens, minlength=vocabulary).astype(np.float64)
    if "cluster" in repairs:
        pairs = _pairs(tokens, vocabulary)
        near = []
        for counts in (pairs, pairs.T):
            expected = counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum()
            near.append(np.log(np.maximum(counts, 1e-9) / np.maximum(expected, 1e-9)).clip(0) * (counts > 0))
        rows = np.concatenate(near, 1)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        # A little of everything joins words that never came to the rest.
        alike = rows @ rows.T + 1e-3
        along = manifold.spectral_embedding(alike, n_components=1, random_state=0, drop_first=True)[:, 0]
    order = np.argsort(along, kind="stable")
    found = np.empty(vocabulary, np.int32)
    found[order] = np.arange(vocabulary)
    return found


def start(
    repairs: Collection[str], config: skeleton.VocabConfig, params: within.Params, tokens: np.ndarray
) -> within.Params:
    """First parameters; by "bigram" those whose first word graph holds the counts of a text's pairs.

    Logarithms of Witten-Bell's estimates, less those of the words alone, become a matrix of the graph's rank
    (SVD, rows weighed by how often they come); the words alone become its bias, lifted to where GELU does
    not bend.

    Raises:
      ValueError: "bigram", and the model has no word graph.
    """
    if "bigram" not in repairs:
        return params
    at = _graph(config)
    if at is None:
        raise ValueError("the repair bigram fills a word graph, which only v8_graph has")
    rank, v = config.moves[at].does.rank, config.vocabulary
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
    """``float64 [V, V]``: how often each word came after each."""
    both = tokens[:-1].astype(np.int64) * vocabulary + tokens[1:]
    return np.bincount(both, minlength=vocabulary**2).reshape(vocabulary, vocabulary).astype(np.float64)
