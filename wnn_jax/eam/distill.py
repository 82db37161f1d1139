"""The student: an encoder that finds where to read in the memory, and a decoder of what was read.

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

from wnn_jax import transformer
from wnn_jax.eam import memory
from wnn_jax.eam.memory import MemoryConfig
from wnn_jax.transformer import Params, TransformerConfig


@dataclasses.dataclass(frozen=True)
class StudentConfig:
    """Sizes of a student.

    Attributes:
      encoder: the transformer that finds keys.
      keys: numbers of a key, K.
      values: numbers of a value, D, the width of the teacher.
      hidden: units of the decoder's hidden layer.
      memory: how the memory is read.
      repaired: whether the decoder adds to the teacher's head and sees the encoder's state.
    """

    encoder: TransformerConfig
    keys: int
    values: int
    hidden: int
    memory: MemoryConfig = MemoryConfig()
    repaired: bool = True


class Student(NamedTuple):
    """All that is left when the teacher is dropped.

    Attributes:
      params: of encoder and decoder.
      store: the memory.
    """

    params: Params
    store: memory.Store


def projection(key: jax.Array, values: int, keys: int) -> jax.Array:
    """``float32 [D, K]`` with orthonormal columns: from the teacher's states to keys."""
    return jnp.linalg.qr(jax.random.normal(key, (values, keys)))[0]


def init(key: jax.Array, config: StudentConfig, embedding: jax.Array | None = None) -> Params:
    """Parameters at random.

    Args:
      key: of all of them.
      config: sizes.
      embedding: ``[V, D]``, the teacher's, as which the head of a repaired decoder begins.

    Raises:
      ValueError: a repaired decoder has no embedding to begin with.
    """
    keys = jax.random.split(key, 4)
    encoder, vocabulary = config.encoder, config.encoder.vocabulary
    inputs = config.values + (encoder.width if config.repaired else 0)
    params: Params = {
        "encoder": {
            "trunk": transformer.init(keys[0], encoder),
            "key": transformer.linear(keys[1], encoder.width, config.keys),
        },
        "decoder": {
            "in": transformer.linear(keys[2], inputs, config.hidden),
            "in_bias": jnp.zeros(config.hidden),
            "out": transformer.linear(keys[3], config.hidden, vocabulary),
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
    states = transformer.hidden(config.encoder, params["trunk"], ids)
    return states, memory.unit(states @ params["key"])


def decode(config: StudentConfig, params: Params, read: jax.Array, states: jax.Array) -> jax.Array:
    """Logits ``[..., V]`` of what was read ``[..., D]`` and the encoder's states."""
    x = jnp.concatenate([read, states], -1) if config.repaired else read
    logits = jax.nn.gelu(x @ params["in"] + params["in_bias"]) @ params["out"] + params["out_bias"]
    if config.repaired:
        logits = logits + transformer.rms_norm(read) @ params["head"].T
    return transformer.cap(logits)


def apply(
    config: StudentConfig, student: Student, means: jax.Array, ids: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Logits ``[N, T, V]`` and keys ``[N, T, K]`` of windows: place t knows the tokens up to t.

    Args:
      config: sizes.
      student: parameters and memory.
      means: the memory's `memory.contents`.
      ids: ``int32 [N, T]``.
    """
    states, keys = encode(config, student.params["encoder"], ids)
    read = memory.read(config.memory, student.store, means, keys.reshape(-1, config.keys))
    read = read.reshape(*ids.shape, config.values)
    return decode(config, student.params["decoder"], read, states), keys


def key_loss(config: StudentConfig, params: Params, _, batch: Any) -> jax.Array:
    """1 less the mean cosine of the encoder's keys and the teacher's: ``(ids [N, T], keys [N, T, K])``."""
    ids, keys = batch
    return 1.0 - (encode(config, params, ids)[1] * keys).sum(-1).mean()


def decoder_loss(config: StudentConfig, params: Params, _, batch: Any) -> jax.Array:
    """Nats of the next token, as published: ``(read [N, T, D], targets [N, T])``, the encoder frozen."""
    read, targets = batch
    logits = decode(config, params, read.astype(jnp.float32), read)
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


def joint_loss(
    config: StudentConfig,
    trunk: TransformerConfig,
    params: Params,
    fixed: tuple[Params, memory.Store, jax.Array],
    windows: jax.Array,
) -> jax.Array:
    """Half the nats of the next token, half the cross-entropy to the teacher's distribution.

    Args:
      config: sizes of the student.
      trunk: sizes of the teacher.
      params: the student's.
      fixed: the teacher's parameters, the memory, and its `memory.contents`.
      windows: ``int32 [N, T + 1]``.
    """
    teacher, store, means = fixed
    logits, _ = apply(config, Student(params, store), means, windows[:, :-1])
    wanted = jax.nn.log_softmax(transformer.apply(trunk, teacher, windows[:, :-1]))
    text = optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]).mean()
    copied = optax.softmax_cross_entropy(logits, jnp.exp(jax.lax.stop_gradient(wanted))).mean()
    return 0.5 * text + 0.5 * copied


class Predictions(NamedTuple):
    """The distribution of the next token at every place of a text, and where the model looks.

    Attributes:
      log_probs: ``float32 [..., V]``.
      keys: ``float32 [..., K]``, unit vectors.
    """

    log_probs: jax.Array | np.ndarray
    keys: jax.Array | np.ndarray


@functools.partial(jax.jit, static_argnums=0)
def predict_by_student(
    config: StudentConfig, student: Student, means: jax.Array, ids: jax.Array
) -> Predictions:
    """The student's `Predictions` for windows ``int32 [N, T]``; ``means`` is the `memory.contents`."""
    logits, keys = apply(config, student, means, ids)
    return Predictions(jax.nn.log_softmax(logits), keys)


@functools.partial(jax.jit, static_argnums=0)
def predict_by_teacher(
    config: TransformerConfig, params: Params, project: jax.Array, ids: jax.Array
) -> Predictions:
    """The teacher's `Predictions` for windows ``int32 [N, T]``, with the keys that its states project to."""
    states = transformer.hidden(config, params, ids)
    logits = transformer.head(config, params, states)
    return Predictions(jax.nn.log_softmax(logits), memory.unit(states @ project))


@functools.partial(jax.jit, static_argnums=0)
def patterns(
    config: TransformerConfig, params: Params, project: jax.Array, ids: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The teacher's unit keys ``[N, T, K]`` and states ``[N, T, D]`` of windows, to be written."""
    states = transformer.hidden(config, params, ids)
    return memory.unit(states @ project), states
