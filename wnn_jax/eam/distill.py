"""The student: an encoder that says where to read in the memory, and a decoder that says what it means.

Once both are trained the teacher is dropped. As published, the encoder copies the teacher's keys, the memory
is read, and a decoder is trained on what was read. Repaired, both go on together through the read itself, the
decoder begins as the teacher's own head, sees the encoder's state beside what was read, and copies the
teacher's distribution as well as the text.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax.eam import memory as eam
from wnn_jax.eam import teacher
from wnn_jax.eam.teacher import Params, TrunkConfig


@dataclasses.dataclass(frozen=True)
class StudentConfig:
    """Sizes of a student.

    Attributes:
      encoder: its trunk.
      keys: K.
      values: D, the width of the teacher.
      hidden: units of the decoder's hidden layer.
      memory: how the memory is read.
      repaired: whether the decoder adds to the teacher's head and sees the encoder's state.
    """

    encoder: TrunkConfig
    keys: int
    values: int
    hidden: int
    memory: eam.MemoryConfig = eam.MemoryConfig()
    repaired: bool = True


class Model(NamedTuple):
    """All that is left when the teacher is dropped."""

    student: Params
    memory: eam.Memory


def projection(key: jax.Array, values: int, keys: int) -> jax.Array:
    """``float32 [D, K]`` with orthonormal columns: from the teacher's states to keys."""
    return jnp.linalg.qr(jax.random.normal(key, (values, keys)))[0]


def init(key: jax.Array, config: StudentConfig, embedding: jax.Array | None = None) -> Params:
    """Parameters at random; ``embedding [V, D]``, the teacher's, is the head a repaired decoder begins as."""
    keys = jax.random.split(key, 4)
    encoder, vocabulary = config.encoder, config.encoder.vocabulary
    inputs = config.values + (encoder.width if config.repaired else 0)
    params: Params = {
        "encoder": {
            "trunk": teacher.init(keys[0], encoder),
            "key": teacher.linear(keys[1], encoder.width, config.keys),
        },
        "decoder": {
            "in": teacher.linear(keys[2], inputs, config.hidden),
            "in_bias": jnp.zeros(config.hidden),
            "out": teacher.linear(keys[3], config.hidden, vocabulary),
            "out_bias": jnp.zeros(vocabulary),
        },
    }
    if config.repaired:
        if embedding is None:
            raise ValueError("a repaired decoder begins as the teacher's head: give its embedding")
        params["decoder"] |= {"head": jnp.array(embedding), "out": jnp.zeros((config.hidden, vocabulary))}
    return params


def encode(config: StudentConfig, params: Params, ids: jax.Array) -> tuple[jax.Array, jax.Array]:
    """States ``[N, T, d]`` and unit keys ``[N, T, K]`` of windows ``int32 [N, T]``."""
    states = teacher.hidden(config.encoder, params["trunk"], ids)
    return states, eam.unit(states @ params["key"])


def decode(config: StudentConfig, params: Params, read: jax.Array, states: jax.Array) -> jax.Array:
    """Logits ``[..., V]`` of what was read ``[..., D]`` and the encoder's states."""
    x = jnp.concatenate([read, states], -1) if config.repaired else read
    logits = jax.nn.gelu(x @ params["in"] + params["in_bias"]) @ params["out"] + params["out_bias"]
    if config.repaired:
        logits = logits + teacher.rms_norm(read) @ params["head"].T
    return teacher.cap(logits)


def logits(
    config: StudentConfig, model: Model, means: jax.Array, ids: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Logits ``[N, T, V]`` and keys ``[N, T, K]`` of windows: place t knows the tokens up to t.

    Args:
      config: sizes.
      model: the student and the memory.
      means: the memory's `eam.contents`.
      ids: ``int32 [N, T]``.
    """
    states, keys = encode(config, model.student["encoder"], ids)
    read = eam.read(config.memory, model.memory, means, keys.reshape(-1, config.keys))
    read = read.reshape(*ids.shape, config.values)
    return decode(config, model.student["decoder"], read, states), keys


def key_loss(config: StudentConfig, params: Params, _, batch: Any) -> jax.Array:
    """1 less the mean cosine of the encoder's keys and the teacher's: ``(ids [N, T], keys [N, T, K])``."""
    ids, keys = batch
    return 1.0 - (encode(config, params, ids)[1] * keys).sum(-1).mean()


def decoder_loss(config: StudentConfig, params: Params, _, batch: Any) -> jax.Array:
    """Nats of the next token, as published: ``(read [N, T, D], targets [N, T])``, the encoder frozen."""
    read, targets = batch
    said = decode(config, params, read.astype(jnp.float32), read)
    return optax.softmax_cross_entropy_with_integer_labels(said, targets).mean()


def joint_loss(
    config: StudentConfig,
    trunk: TrunkConfig,
    params: Params,
    fixed: tuple[Params, eam.Memory, jax.Array],
    windows: jax.Array,
) -> jax.Array:
    """Half the nats of the next token, half the cross-entropy to what the teacher says; ``[N, T + 1]``."""
    taught, memory, means = fixed  # the teacher, the memory, its contents
    said, _ = logits(config, Model(params, memory), means, windows[:, :-1])
    told = jax.nn.log_softmax(teacher.head(taught, teacher.hidden(trunk, taught, windows[:, :-1])))
    text = optax.softmax_cross_entropy_with_integer_labels(said, windows[:, 1:]).mean()
    copied = optax.softmax_cross_entropy(said, jnp.exp(jax.lax.stop_gradient(told))).mean()
    return 0.5 * text + 0.5 * copied


class Told(NamedTuple):
    """What a model says of a text, place by place.

    Attributes:
      log_probs: ``float32 [N, T, V]``, or what a caller keeps of it.
      keys: ``float32 [N, T, K]``, where it looks.
    """

    log_probs: jax.Array
    keys: jax.Array


@functools.partial(jax.jit, static_argnums=0)
def ask_student(config: StudentConfig, model: Model, means: jax.Array, ids: jax.Array) -> Told:
    """The student's distribution at every place of windows ``int32 [N, T]``."""
    said, keys = logits(config, model, means, ids)
    return Told(jax.nn.log_softmax(said), keys)


@functools.partial(jax.jit, static_argnums=0)
def ask_teacher(config: TrunkConfig, params: Params, project: jax.Array, ids: jax.Array) -> Told:
    """The teacher's, with the keys its states project to."""
    states = teacher.hidden(config, params, ids)
    return Told(jax.nn.log_softmax(teacher.head(params, states)), eam.unit(states @ project))


@functools.partial(jax.jit, static_argnums=0)
def patterns(
    config: TrunkConfig, params: Params, project: jax.Array, ids: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What is written of windows ``[N, T]``: unit keys ``[N, T, K]`` and values ``[N, T, D]``."""
    states = teacher.hidden(config, params, ids)
    return eam.unit(states @ project), states


def all_patterns(
    config: TrunkConfig, params: Params, project: jax.Array, windows: np.ndarray, batch: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """`patterns` of many windows ``[N, T]``, in host memory: float16 keys and values."""
    keys = np.empty((*windows.shape, project.shape[1]), np.float16)
    values = np.empty((*windows.shape, config.width), np.float16)
    for start in range(0, len(windows), batch):
        some = slice(start, start + batch)
        keys[some], values[some] = patterns(config, params, project, windows[some])
    return keys, values


def reconstruction(
    config: eam.MemoryConfig, memory: eam.Memory, keys: np.ndarray, values: np.ndarray, batch: int = 4096
) -> float:
    """Mean cosine of values ``[n, D]`` and what is read at their keys ``[n, K]``."""
    means = eam.contents(memory)
    total = 0.0
    for start in range(0, len(keys), batch):
        some = slice(start, start + batch)
        total += float(_cosines(config, memory, means, keys[some], values[some]))
    return total / len(keys)


@functools.partial(jax.jit, static_argnums=0)
def _cosines(config: eam.MemoryConfig, memory: eam.Memory, means, keys, values) -> jax.Array:
    read = eam.read(config, memory, means, keys.astype(jnp.float32))
    return (eam.unit(read) * eam.unit(values.astype(jnp.float32))).sum()
