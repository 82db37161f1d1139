"""Studies of a memory alone: how well it gives back written values, also after later writes.

    subject = studies.prepare(key, model, texts)
    for found in studies.compare_sizes(subject): print(found)

Source: docs/semantics/eam.md
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import transformer
from wnn_jax.eam import distill, memory, stages
from wnn_jax.eam.config import EamConfig
from wnn_jax.eam.fitted import Eam
from wnn_jax.eam.memory import MemoryConfig, Store
from wnn_jax.eam.stages import Patterns
from wnn_jax.eam.texts import EamTexts
from wnn_jax.transformer import Params, TransformerConfig

PATTERNS = (410.0, 205.0, 82.0)  # the number of writes for each location, as published
SHARES = (0.1, 0.5, 1.0)  # of all writes
_SAMPLE = 20_000


def reconstruction(config: MemoryConfig, store: Store, patterns: Patterns, batch: int = 4096) -> float:
    """Returns the mean cosine of the values of patterns and the values read at their keys.

    Args:
      config: how the memory is read.
      store: the memory.
      patterns: the keys to read at and the values to compare with.
      batch: the number of patterns that are read at once.

    Raises:
      ValueError: there is no pattern.

    Source: docs/semantics/eam.md
    """
    if not len(patterns.keys):
        raise ValueError("a memory is compared with patterns, got none: give at least one")
    means = memory.contents(store)
    total = 0.0
    for start in range(0, len(patterns.keys), batch):
        keys, values = (x[start : start + batch] for x in patterns)
        total += float(_cosines(config, store, means, keys, values))
    return total / len(patterns.keys)


@functools.partial(jax.jit, static_argnums=0)
def _cosines(config: MemoryConfig, store: Store, means, keys, values) -> jax.Array:
    read = memory.read(config, store, means, keys.astype(jnp.float32))
    return (memory.unit(read) * memory.unit(values.astype(jnp.float32))).sum()


def completion(
    config: EamConfig, teacher: Params, project: jax.Array, store: Store, windows: np.ndarray, batch: int = 8
) -> float:
    """Returns the nats per token of the teacher's head on values read at the teacher's keys.

    The head sees the values read from the memory instead of the teacher's own states.

    Args:
      config: the sizes.
      teacher: the parameters of the teacher.
      project: ``float32 [D, K]``, maps its states to keys.
      store: the memory.
      windows: ``int32 [N, T + 1]``, the text to score.
      batch: the number of windows that are scored at once.

    Source: docs/semantics/eam.md
    """
    means = memory.contents(store)
    total = 0.0
    for start in range(0, len(windows), batch):
        some = windows[start : start + batch]
        total += float(_completion(config.teacher_trunk, config.memory, teacher, project, store, means, some))
    return total / windows[:, 1:].size


@functools.partial(jax.jit, static_argnums=(0, 1))
def _completion(
    trunk: TransformerConfig, config: MemoryConfig, teacher: Params, project, store: Store, means, windows
) -> jax.Array:
    keys, values = distill.patterns(trunk, teacher, project, windows[:, :-1])
    read = memory.read(config, store, means, keys.reshape(-1, keys.shape[-1]))
    states = transformer.rms_norm(read).reshape(values.shape)
    log_probs = jax.nn.log_softmax(transformer.head(trunk, teacher, states))
    return -jnp.take_along_axis(log_probs, windows[:, 1:, None], -1).sum()


def continual(
    key: jax.Array,
    config: EamConfig,
    patterns: Patterns,
    shares: Sequence[float] = (0.1, 0.5, 1.0),
    sample: int = 20_000,
) -> list[float]:
    """Measures how well the first tenth of the patterns is remembered while the others are written.

    Args:
      key: the random key of the memory.
      config: how the memory begins and is written; its locations begin from the keys of the first tenth.
      patterns: the patterns, in the order of writing.
      shares: the shares of all patterns after which the memory is read, ascending, from a tenth on.
      sample: the largest number of patterns of the first tenth that are read.

    Returns:
      the mean cosine of the values and the values read, after each share.

    Source: docs/semantics/eam.md
    """
    count, batch = len(patterns.keys), config.batch
    early = count // 10
    some = np.linspace(0, early - 1, min(sample, early)).astype(int)
    first, read = (Patterns(*(x[at] for x in patterns)) for at in (slice(early), some))
    store = stages.fill(key, config, first, min(config.locations(count), early)).store
    done, curve = early // batch, []
    for share in shares:
        end = int(share * count) // batch
        if end > done:
            write_key = jax.random.fold_in(key, done)
            store = stages.write_batches(write_key, config, store, patterns, done, end)
            done = end
        curve.append(reconstruction(config.memory, store, read))
    return curve


class Subject(NamedTuple):
    """A model whose memory is studied.

    Attributes:
      key: the random key of the memories that studies fill.
      model: the result of `fit`.
      written: the patterns of the training text.
      fresh: patterns of the scored text, which were never written.
      windows: ``int32 [N, T + 1]``, the first windows of the scored text.

    Source: docs/semantics/eam.md
    """

    key: jax.Array
    model: Eam
    written: Patterns
    fresh: Patterns
    windows: np.ndarray


class Recall(NamedTuple):
    """How well a memory gives back the states of text that was never written.

    Attributes:
      locations: the number of locations in use.
      held_out: the mean cosine of a state and the value read at its key.
      teacher_head_ce: nats per token of the teacher's head on the values read.

    Source: docs/semantics/eam.md
    """

    locations: int
    held_out: float
    teacher_head_ce: float


class Reconstruction(NamedTuple):
    """The reconstruction by a memory of one size.

    Attributes:
      start: where locations begin; see `EamConfig.start`.
      patterns: the requested number of writes for each location.
      recall: of text that was never written.
      written: the mean cosine of states that were written and the values read at their keys.

    Source: docs/semantics/eam.md
    """

    start: str
    patterns: float
    recall: Recall
    written: float


def prepare(key: jax.Array, model: Eam, texts: EamTexts) -> Subject:
    """Computes the patterns that the studies of a model need, all from the teacher's states.

    Args:
      key: the random key of the memories that studies fill.
      model: the result of `fit`.
      texts: the text that was written, and the text that is scored.

    Source: docs/semantics/eam.md
    """
    written, fresh = (
        stages.gather(model.config, model.teacher, model.project, windows)
        for windows in (texts.train, texts.scored)
    )
    some = texts.scored[: 1 + _SAMPLE // model.config.window]
    return Subject(key, model, written, Patterns(*(x[:_SAMPLE] for x in fresh)), some)


def recall(subject: Subject, store: Store) -> Recall:
    """Measures how well a store gives back the states of text that was never written.

    Source: docs/semantics/eam.md
    """
    model = subject.model
    cosine = reconstruction(model.config.memory, store, subject.fresh)
    nats = completion(model.config, model.teacher, model.project, store, subject.windows)
    return Recall(int(store.used), cosine, nats)


def compare_sizes(subject: Subject) -> Iterator[Reconstruction]:
    """Measures memories with fewer and fewer writes for each location, then the largest with a random start.

    Source: docs/semantics/eam.md
    """
    written, config = subject.written, subject.model.config
    count = len(written.keys)
    places = np.linspace(0, count - 1, _SAMPLE).astype(int)
    sample = Patterns(*(x[places] for x in written))
    for start, patterns in (*(("kmeans", x) for x in PATTERNS), ("random", PATTERNS[-1])):
        locations = max(config.memory.nearest, round(count / patterns))
        if start == "kmeans" and locations == config.locations(count):
            store = subject.model.store
        else:
            store = _fill(subject, start, written, locations)
        found = recall(subject, store)
        yield Reconstruction(start, patterns, found, reconstruction(config.memory, store, sample))


def compare_starts(subject: Subject) -> dict[str, list[float]]:
    """Runs `continual` for both starts of locations.

    Returns:
      the mean cosines after each of `SHARES`, by start.

    Source: docs/semantics/eam.md
    """
    curves = {}
    for start in ("kmeans", "random"):
        config = dataclasses.replace(subject.model.config, start=start)
        curves[start] = continual(subject.key, config, subject.written, SHARES, _SAMPLE)
    return curves


def compare_merged(subject: Subject) -> dict[str, Recall]:
    """Measures two stores of half the text each, the two merged, and one store of the whole text.

    Returns:
      the `Recall` by ``first half``, ``second half``, ``merged`` and ``all at once``.

    Source: docs/semantics/eam.md
    """
    config, count = subject.model.config, len(subject.written.keys)
    locations = max(config.memory.nearest, config.locations(count) // 2)
    first, second = (
        _fill(subject, "kmeans", Patterns(*(x[half] for x in subject.written)), locations)
        for half in (slice(count // 2), slice(count // 2, None))
    )
    stores = {
        "first half": first,
        "second half": second,
        "merged": memory.merge(first, second),
        "all at once": subject.model.store,
    }
    return {name: recall(subject, store) for name, store in stores.items()}


def _fill(subject: Subject, start, patterns: Patterns, locations: int) -> Store:
    config = dataclasses.replace(subject.model.config, start=start)
    return stages.fill(subject.key, config, patterns, locations).store
