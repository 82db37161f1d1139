"""The student: an encoder that finds where to read in the memory, and a decoder of the values read.

Once both are trained, the teacher is dropped. The published student is trained in two steps: the encoder
copies the teacher's keys, and then the decoder is trained on the values that are read at the encoder's keys.
The repaired student trains both further together, through the read. Its decoder begins as the teacher's own
head, sees the encoder's state beside the values read, and copies the teacher's distribution as well as the
text.

Shapes: N windows, T tokens of a window, V vocabulary, K size of a key, D size of a value, d width of
the encoder.

Source: openai/parameter-golf PR 1146; docs/semantics/eam.md
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax import checks, transformer
from wnn_jax.eam import memory
from wnn_jax.eam.memory import MemoryConfig
from wnn_jax.transformer import Params, TransformerConfig


@dataclasses.dataclass(frozen=True)
class StudentConfig:
    """The sizes of a student.

    Attributes:
      encoder: sizes of the transformer that finds keys.
      keys: size of a key, K.
      values: size of a value, D, which is the width of the teacher.
      hidden: number of units in the decoder's hidden layer.
      memory: how the memory is read.
      repaired: whether the decoder adds to the teacher's head and sees the encoder's state.
      reads: whether the student reads the memory. One that does not decodes the encoder's state in place of
        the values read, so its values must be as wide as its encoder.

    Raises:
      ValueError: a value is out of range, or a student without memory has values of another width.

    Source: docs/semantics/eam.md
    """

    encoder: TransformerConfig
    keys: int
    values: int
    hidden: int
    memory: MemoryConfig = MemoryConfig()
    repaired: bool = True
    reads: bool = True

    def __post_init__(self):
        size = checks.Limits(least=1, most=1 << 16)
        checks.fields(self, keys=size, values=size, hidden=size)
        if not self.reads and self.values != self.encoder.width:
            raise ValueError(
                f"a student without memory decodes its encoder's states, of width {self.encoder.width}, in "
                f"place of values of width {self.values}: give both the same width"
            )


class Student(NamedTuple):
    """The parts that are left when the teacher is dropped.

    Attributes:
      params: the parameters of encoder and decoder.
      store: the memory.

    Source: docs/semantics/eam.md
    """

    params: Params
    store: memory.Store


def projection(key: jax.Array, values: int, keys: int) -> jax.Array:
    """Draws a matrix ``float32 [D, K]`` with orthonormal columns, which maps the teacher's states to keys.

    Args:
      key: the random key.
      values: D.
      keys: K, at most D.

    Source: docs/semantics/eam.md
    """
    return jnp.linalg.qr(jax.random.normal(key, (values, keys), jnp.float32))[0]


def init(key: jax.Array, config: StudentConfig, embedding: jax.Array | None = None) -> Params:
    """Draws the first parameters of a student.

    Args:
      key: the random key of all parameters.
      config: the sizes of the student.
      embedding: ``float32 [V, D]``, the teacher's embedding, as which the head of a repaired decoder begins.

    Raises:
      ValueError: the student is repaired and ``embedding`` is missing.

    Source: docs/semantics/eam.md
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
            "in_bias": jnp.zeros(config.hidden, jnp.float32),
            "out": transformer.linear(keys[3], config.hidden, vocabulary),
            "out_bias": jnp.zeros(vocabulary, jnp.float32),
        },
    }
    if config.repaired:
        if embedding is None:
            raise ValueError(
                "a repaired decoder needs an embedding for its head, got None: give the teacher's embedding"
            )
        blank = jnp.zeros((config.hidden, vocabulary), jnp.float32)
        params["decoder"] |= {"head": jnp.array(embedding, jnp.float32), "out": blank}
    return params


def encode(config: StudentConfig, params: Params, ids: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the states ``[N, T, d]`` and the unit keys ``[N, T, K]`` that the encoder gives to windows.

    Args:
      config: the sizes of the student.
      params: the parameters of the encoder.
      ids: ``int32 [N, T]``.

    Source: docs/semantics/eam.md
    """
    states = transformer.hidden(config.encoder, params["trunk"], ids)
    return states, memory.unit(states @ params["key"])


def decode(config: StudentConfig, params: Params, read: jax.Array, states: jax.Array) -> jax.Array:
    """Returns logits ``[..., V]`` of the next token.

    Args:
      config: the sizes of the student.
      params: the parameters of the decoder.
      read: ``[..., D]``, the values read from the memory.
      states: ``[..., d]``, the encoder's states; only a repaired decoder uses them.

    Source: docs/semantics/eam.md
    """
    x = jnp.concatenate([read, states], -1) if config.repaired else read
    logits = jax.nn.gelu(x @ params["in"] + params["in_bias"]) @ params["out"] + params["out_bias"]
    if config.repaired:
        logits = logits + transformer.rms_norm(read) @ params["head"].T
    return transformer.cap(logits)


def apply(
    config: StudentConfig, student: Student, means: jax.Array, ids: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Runs a student on windows; place t sees the tokens up to t.

    Args:
      config: the sizes of the student.
      student: its parameters and its memory.
      means: ``float32 [L, D]``, the `memory.contents` of the memory.
      ids: ``int32 [N, T]``.

    Returns:
      logits ``[N, T, V]`` of the next token, and keys ``[N, T, K]``.

    Source: docs/semantics/eam.md
    """
    states, keys = encode(config, student.params["encoder"], ids)
    if not config.reads:
        return decode(config, student.params["decoder"], states, states), keys
    read = memory.read(config.memory, student.store, means, keys.reshape(-1, config.keys))
    read = read.reshape(*ids.shape, config.values)
    return decode(config, student.params["decoder"], read, states), keys


def key_loss(config: StudentConfig, params: Params, _, batch: Any) -> jax.Array:
    """Returns 1 minus the mean cosine of the encoder's keys and the teacher's keys.

    Args:
      config: the sizes of the student.
      params: the parameters of the encoder.
      batch: ids ``int32 [N, T]`` and the teacher's keys ``[N, T, K]``.

    Source: docs/semantics/eam.md
    """
    ids, keys = batch
    return 1.0 - (encode(config, params, ids)[1] * keys).sum(-1).mean()


def decoder_loss(config: StudentConfig, params: Params, _, batch: Any) -> jax.Array:
    """Returns the mean nats of the next token, as published; the encoder is frozen.

    Args:
      config: the sizes of the student.
      params: the parameters of the decoder.
      batch: the values read ``[N, T, D]`` and the next tokens ``int32 [N, T]``.

    Source: docs/semantics/eam.md
    """
    read, targets = batch
    logits = decode(config, params, read.astype(jnp.float32), read)
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


def joint_loss(
    config: StudentConfig,
    trunk: TransformerConfig,
    share: float,
    params: Params,
    fixed: tuple[Params, memory.Store, jax.Array],
    windows: jax.Array,
) -> jax.Array:
    """Returns the mean of the nats of the next token and the cross-entropy to the teacher's distribution.

    Args:
      config: the sizes of the student.
      trunk: the sizes of the teacher.
      share: the weight of the teacher's distribution, from 0 to 1; at 0 the teacher is not run.
      params: the parameters of the student.
      fixed: the teacher's parameters, the memory, and its `memory.contents`; they get no gradient.
      windows: ``int32 [N, T + 1]``.

    Source: docs/semantics/eam.md
    """
    teacher, store, means = fixed
    logits, _ = apply(config, Student(params, store), means, windows[:, :-1])
    return taught_loss(trunk, teacher, share, logits, windows)


def taught_loss(
    trunk: TransformerConfig, teacher: Params, share: float, logits: jax.Array, windows: jax.Array
) -> jax.Array:
    """Returns the `joint_loss` of logits ``[N, T, V]`` for windows ``int32 [N, T + 1]``.

    Source: docs/semantics/eam.md
    """
    text = optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]).mean()
    if not share:
        return text
    wanted = jax.nn.log_softmax(transformer.apply(trunk, teacher, windows[:, :-1]))
    copied = optax.softmax_cross_entropy(logits, jnp.exp(jax.lax.stop_gradient(wanted))).mean()
    return (1 - share) * text + share * copied


class Predictions(NamedTuple):
    """The distribution of the next token at every place of a text, and the keys there.

    Attributes:
      log_probs: ``float32 [..., V]``, log-probabilities of the next token.
      keys: ``float32 [..., K]``, unit vectors: where the model reads in its memory.

    Source: docs/semantics/eam.md
    """

    log_probs: jax.Array | np.ndarray
    keys: jax.Array | np.ndarray


@functools.partial(jax.jit, static_argnums=0)
def predict_by_student(
    config: StudentConfig, student: Student, means: jax.Array, ids: jax.Array
) -> Predictions:
    """Returns the student's `Predictions` for windows.

    Args:
      config: the sizes of the student.
      student: its parameters and its memory.
      means: ``float32 [L, D]``, the `memory.contents` of the memory.
      ids: ``int32 [N, T]``.

    Source: docs/semantics/eam.md
    """
    logits, keys = apply(config, student, means, ids)
    return Predictions(jax.nn.log_softmax(logits), keys)


@functools.partial(jax.jit, static_argnums=0)
def predict_by_teacher(
    config: TransformerConfig, params: Params, project: jax.Array, ids: jax.Array
) -> Predictions:
    """Returns the teacher's `Predictions` for windows, with the keys that its states project to.

    Args:
      config: the sizes of the teacher.
      params: its parameters.
      project: ``float32 [D, K]``, from `projection`.
      ids: ``int32 [N, T]``.

    Source: docs/semantics/eam.md
    """
    states = transformer.hidden(config, params, ids)
    logits = transformer.head(config, params, states)
    return Predictions(jax.nn.log_softmax(logits), memory.unit(states @ project))


@functools.partial(jax.jit, static_argnums=0)
def patterns(
    config: TransformerConfig, params: Params, project: jax.Array, ids: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the patterns of windows: the teacher's unit keys ``[N, T, K]`` and states ``[N, T, D]``.

    Args:
      config: the sizes of the teacher.
      params: its parameters.
      project: ``float32 [D, K]``, from `projection`.
      ids: ``int32 [N, T]``.

    Source: docs/semantics/eam.md
    """
    states = transformer.hidden(config, params, ids)
    return memory.unit(states @ project), states
