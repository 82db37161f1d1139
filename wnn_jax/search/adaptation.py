"""Grows and prunes genomes between the steps of a search, by statistics of their neurons on the data.

Source: docs/semantics/search.md
"""

import dataclasses

import jax
import jax.numpy as jnp

from wnn_jax import checks, ram
from wnn_jax.checks import Limits
from wnn_jax.ram.connectivity import UNUSED
from wnn_jax.search import evaluate
from wnn_jax.search.base import Evaluator
from wnn_jax.search.moves import move
from wnn_jax.search.objective import Fold


@dataclasses.dataclass(frozen=True)
class AdaptationConfig:
    """Configures when a neuron or a connection is added or removed.

    Attributes:
      prune: the largest share of a cluster's neurons that may be removed at once, the worst first.
      weak: a neuron is removed only if its worth is below this share of the mean worth in its cluster.
      error: mean |p - target| above which a cluster gains a neuron, and a neuron gains a connection.
      used: share of scored examples on which a neuron reads another value than an EMPTY cell has. Below this
        share the neuron loses a connection; otherwise it may gain one.

    Raises:
      ValueError: a number is out of range.

    Source: docs/semantics/search.md
    """

    prune: float = 0.1
    weak: float = 0.5
    error: float = 0.35
    used: float = 0.5

    def __post_init__(self):
        share = Limits(least=0, most=1)
        checks.fields(self, prune=share, weak=Limits(least=0), error=share, used=share)


def adapt(key: jax.Array, evaluator: Evaluator, config: AdaptationConfig, fold: Fold, genome: jax.Array):
    """Grow and prune a genome once, within its bounds.

    - *Connections*: a neuron that mostly reads the value of an EMPTY cell loses the connection whose input
      bit has the lowest entropy. A neuron that mostly reads other values and still has a large error gains
      the input bit with the highest entropy among those that it does not read.
    - *Neurons*: the worth of a neuron is its accuracy times its mean distance from the cluster's vote. Of the
      worst neurons of a cluster, those with a worth below ``weak`` of the mean are removed. A cluster with a
      large error and a free slot gains a copy of its best neuron with some connections moved.

    The first of equal neurons or bits is taken.

    Args:
      key: draws the connections of new neurons.
      evaluator: gives the objective, with its cells and bounds.
      config: thresholds.
      fold: examples to fit the neurons on, and M examples to judge them on.
      genome: ``int [K, n, T]``.

    Returns:
      The new genome, ``int [K, n, T]``.

    Source: docs/semantics/search.md
    """
    bounds = evaluator.objective.bounds
    clusters, size, _ = genome.shape
    ones = jax.lax.map(lambda word: _ones(word), fold.words).reshape(-1)[: bounds.input_bits]
    share = ones / fold.words.shape[1]
    empty = ram.empty_votes(evaluator.objective.memory, fold.train)
    entropy = -(_plogp(share) + _plogp(1 - share))

    def cluster(args):
        key, k, neurons, seed, targets = args
        single = neurons[:, None]
        votes = evaluate.group_votes(evaluator, fold, single, seed[:, None], jnp.full(size, k))
        present = jnp.any(neurons != UNUSED, axis=-1).astype(jnp.int32)
        share, _ = ram.shares(votes, present[:, None])
        error = jnp.abs(share - targets).mean(axis=-1)
        used = (votes != empty[k]).mean(axis=-1)
        together, _ = ram.shares(votes.sum(axis=0), present.sum())
        unlike = jnp.abs(share - together).mean(axis=-1)
        wrong = jnp.abs(together - targets).mean()
        neurons = jax.vmap(_resize, (0, 0, 0, None, None, None))(
            neurons, used, error, entropy, bounds, config
        )
        return _turnover(key, evaluator, config, neurons, (1 - error) * unlike, wrong)

    keys = jax.random.split(key, clusters)
    # One cluster at a time, because its neurons need n x M votes.
    return jax.lax.map(
        cluster, (keys, jnp.arange(clusters, dtype=jnp.int32), genome, fold.seed, fold.targets)
    )


def _ones(word: jax.Array) -> jax.Array:
    return jax.vmap(lambda bit: ((word >> bit) & 1).sum())(jnp.arange(32, dtype=jnp.uint32))


def _plogp(p: jax.Array) -> jax.Array:
    return jnp.where(p > 0, p * jnp.log2(jnp.maximum(p, 1e-30)), 0.0)


def _resize(neuron, used, error, entropy, bounds, config):
    """Remove one connection of a neuron, or add one, or leave it as it is."""
    length = (neuron != UNUSED).sum()
    slots = jnp.arange(neuron.shape[0], dtype=jnp.int32)
    known = jnp.where(neuron == UNUSED, jnp.inf, entropy[jnp.maximum(neuron, 0)])
    packed = jnp.argsort(known == jnp.inf, stable=True)
    neuron, known = neuron[packed], known[packed]
    sheds = (used < config.used) & (length > bounds.min_bits)
    least = jnp.argmin(known)
    shed = jnp.where(slots == least, neuron[jnp.maximum(length - 1, 0)], neuron)
    shed = jnp.where(slots == length - 1, UNUSED, shed)
    read = (
        jnp.zeros(bounds.input_bits, bool)
        .at[jnp.where(neuron == UNUSED, bounds.input_bits, neuron)]
        .set(True)
    )
    grows = (used >= config.used) & (error > config.error) & (length < bounds.max_bits) & (length > 0)
    richest = jnp.argmax(jnp.where(read, -1.0, entropy))
    grown = jnp.where(slots == length, richest.astype(neuron.dtype), neuron)
    return jnp.where(sheds & (length > 0), shed, jnp.where(grows & ~read.all(), grown, neuron))


def _turnover(key, evaluator, config, neurons, worth, wrong):
    """Remove the weak neurons of a cluster, and add one if the cluster's error is large."""
    bounds = evaluator.objective.bounds
    present = jnp.any(neurons != UNUSED, axis=-1)
    count = present.sum()
    worth = jnp.where(present, worth, jnp.inf)
    mean = jnp.where(present, worth, 0.0).sum() / jnp.maximum(count, 1)
    rank = jnp.argsort(jnp.argsort(worth))
    most = jnp.minimum(jnp.floor(config.prune * count), count - bounds.min_neurons)
    goes = present & (rank < most) & (worth < config.weak * mean)
    neurons = jnp.where(goes[:, None], UNUSED, neurons)
    alive = present & ~goes
    slot, best = jnp.argmin(alive), jnp.argmax(jnp.where(alive, worth, -jnp.inf))
    child = move(key, bounds, ("connections",), neurons, best)
    comes = (wrong > config.error) & ~alive.all()
    return jnp.where(comes & (jnp.arange(neurons.shape[0], dtype=jnp.int32) == slot)[:, None], child, neurons)
