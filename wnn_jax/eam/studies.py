"""Studies of a memory alone: how well it gives back what was written, also after later writes."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import transformer
from wnn_jax.eam import distill, memory, stages
from wnn_jax.eam.config import EamConfig
from wnn_jax.eam.memory import MemoryConfig, Store
from wnn_jax.eam.stages import Patterns
from wnn_jax.transformer import Params, TransformerConfig


def reconstruction(config: MemoryConfig, store: Store, patterns: Patterns, batch: int = 4096) -> float:
    """Mean cosine of the values of patterns and what is read at their keys."""
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
    """Nats a token where the teacher's head sees what is read at the teacher's keys, not the teacher's state.

    Args:
      config: sizes.
      teacher: its parameters.
      project: from its states to keys.
      store: the memory.
      windows: ``int32 [N, T + 1]`` of the text that is scored.
      batch: windows at once.
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
    """Mean cosine of the first tenth of the patterns, read again after each share of all was written.

    Args:
      key: of the memory.
      config: how it begins and is written; locations begin from what has come by the first tenth.
      patterns: what is written, in order.
      shares: of the patterns, ascending, from a tenth on.
      sample: patterns of the first tenth that are read, at most.
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
