"""Cuts the data of a search: folds that genomes are fitted and scored on, and a part for validation only.

Source: docs/semantics/search.md
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax import ram
from wnn_jax.ram import given
from wnn_jax.saving import progress
from wnn_jax.search import evaluate
from wnn_jax.search.base import Evaluator, SearchAlgorithm
from wnn_jax.search.objective import Fold, fold
from wnn_jax.search.report import RunConfig


class Stream(NamedTuple):
    """The examples that are cut into folds, and the seeds of the neurons that read them.

    Attributes:
      examples: `ram.Examples`.
      seeds: ``uint32 [K, n]``.

    Source: docs/semantics/search.md
    """

    examples: ram.Examples
    seeds: jax.Array


class Cut(NamedTuple):
    """The data of a search, cut in two.

    Attributes:
      stream: a `Stream`, or data of an objective that is `Whole`.
      tail: the examples for validation: a `Fold`, or data of an objective that is `Whole`.
      digest: text that is different for different data.

    Source: docs/semantics/search.md
    """

    stream: Any
    tail: Any
    digest: list[str]


def cut(
    key: jax.Array,
    evaluator: Evaluator,
    algorithms: Sequence[SearchAlgorithm],
    data: Any,
    config: RunConfig,
) -> Cut:
    """Check the data of a search, and cut off the part for validation.

    Args:
      key: draws the seeds of the neurons.
      evaluator: gives the objective and the mesh.
      algorithms: the algorithms of the search.
      data: `ram.Examples`, or data of an objective that is `Whole`.
      config: gives the numbers of parts.

    Raises:
      ValueError: the data do not fit the objective, are too few for the folds, or their votes need more than
        ``cache_mib``.

    Source: docs/semantics/search.md
    """
    objective, bounds = evaluator.objective, evaluator.objective.bounds
    if evaluator.whole:
        count = objective.count(data)
        _check_count(config, count)
        kept = _kept(config, count)
        stream, tail = objective.part(data, 0, kept), objective.part(data, kept, count)
        return Cut(stream, tail, [progress.digest(*jax.tree.leaves(data))])
    given.examples(data)
    clusters, count = data.targets.shape
    if clusters != objective.clusters:
        raise ValueError(
            f"the objective has {objective.clusters} clusters, but the examples have {clusters} targets: the "
            "numbers must be equal"
        )
    held = 32 * data.words.shape[0]
    if bounds.input_bits > held:
        raise ValueError(
            f"the bounds have {bounds.input_bits} input bits, but the examples have at most {held}: give the "
            "number of columns of X"
        )
    _check_count(config, count)
    _check_memory(config, algorithms, clusters, count)
    seeds = ram.seeds(key, objective.memory, clusters, bounds.max_neurons)
    kept = _kept(config, count)
    words, targets = jnp.asarray(data.words), jnp.asarray(data.targets)
    first = ram.Examples(words[:, :kept], targets[:, :kept])
    tail = Fold(first, words[:, kept:], targets[:, kept:], seeds)
    stream, tail = evaluate.replicate(evaluator.mesh, (Stream(first, seeds), tail))
    return Cut(stream, tail, [progress.digest(x) for x in (data.words, data.targets)])


def fold_of(evaluator: Evaluator, stream: Any, index: Any, folds: int) -> Any:
    """Make the fold that scores one part of the stream.

    Args:
      evaluator: gives the objective.
      stream: the stream of a `Cut`.
      index: ``int32 []``, the number of the part.
      folds: number of parts.

    Returns:
      A `Fold`; of an objective that is `Whole`, the part alone.

    Source: docs/semantics/search.md
    """
    if not evaluator.whole:
        return fold(stream.examples, stream.seeds, index, folds)
    size = evaluator.objective.count(stream) // folds
    return evaluator.objective.part(stream, int(index) * size, (int(index) + 1) * size)


def _kept(config: RunConfig, count: int) -> int:
    return count // config.validation * (config.validation - 1)


def _check_count(config: RunConfig, count: int) -> None:
    if count < config.validation * config.folds:
        raise ValueError(
            f"{config.folds} folds and a validation part of 1 in {config.validation} need at least "
            f"{config.validation * config.folds} examples, got {count}: give more, or use fewer folds"
        )


def _check_memory(config: RunConfig, algorithms, clusters: int, count: int) -> None:
    mebibytes = votes_mebibytes(config, algorithms, clusters, count)
    if mebibytes > config.cache_mib:
        scored = _kept(config, count) // config.folds
        raise ValueError(
            f"the votes of {_genomes(algorithms)} genomes on {scored:,} examples take "
            f"{mebibytes:.0f} MiB, more than cache_mib {config.cache_mib}: raise folds, or lower population "
            "or starts"
        )


def votes_mebibytes(
    config: RunConfig, algorithms: Sequence[SearchAlgorithm], clusters: int, count: int
) -> float:
    """Compute the memory that a search needs for the votes of its population.

    Args:
      config: gives the folds and the validation part.
      algorithms: the algorithms of the search; the largest population counts.
      clusters: K.
      count: number of examples.

    Returns:
      MiB, for votes of 4 bytes.

    Source: docs/semantics/search.md
    """
    return _genomes(algorithms) * clusters * (_kept(config, count) // config.folds) * 4 / 2**20


def _genomes(algorithms: Sequence[SearchAlgorithm]) -> int:
    return max(x.population for x in algorithms) + 1
