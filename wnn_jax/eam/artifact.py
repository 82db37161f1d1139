"""Packs a student and its memory into a few bytes: int8 counters, float16 for most other arrays."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import transformer
from wnn_jax.eam import distill, memory
from wnn_jax.saving import packing

_FORMAT = "wnn_jax eam 1"
# The fields of an encoder's config that differ between encoders; the style of an encoder is always eam.
_ENCODER = ("vocabulary", "width", "layers", "heads", "expand", "window", "positions", "spread")


def pack(config: distill.StudentConfig, student: distill.Student) -> bytes:
    """Packs a student into bytes from which `unpack` makes it again, with the precision of int8 and float16.

    The counters are kept as means, rounded to 127 steps on each side of 0 up to the largest of their row. The
    weights are float32, because sums of strengths overflow float16.

    Args:
      config: the sizes of the student.
      student: the student.

    Source: docs/semantics/eam.md
    """
    used = int(student.store.used)
    means = np.asarray(memory.contents(student.store))[:used]
    whole, steps = packing.int8_rows(means)
    arrays = {
        "memory/addresses": np.asarray(student.store.addresses)[:used].astype(np.float16),
        "memory/means": whole,
        "memory/steps": steps,
        "memory/weights": np.asarray(student.store.weights)[:used].astype(np.float32),
    }
    leaves = jax.tree_util.tree_flatten_with_path(student.params)[0]
    arrays |= {f"student{jax.tree_util.keystr(path)}": np.asarray(x).astype(np.float16) for path, x in leaves}
    encoder = {name: getattr(config.encoder, name) for name in _ENCODER}
    return packing.pack(_FORMAT, {"config": {**dataclasses.asdict(config), "encoder": encoder}}, arrays)


def unpack(data: bytes) -> tuple[distill.StudentConfig, distill.Student]:
    """Makes a student again from the bytes of `pack`.

    Args:
      data: bytes of `pack`.

    Returns:
      the sizes of the student, and the student.

    Raises:
      ValueError: the bytes are damaged, or hold something else.

    Source: docs/semantics/eam.md
    """
    about, arrays = packing.unpack(_FORMAT, data)
    given = about["config"]
    config = distill.StudentConfig(
        **{
            **given,
            "encoder": transformer.TransformerConfig(**given["encoder"], style="eam", dropout=0.0),
            "memory": memory.MemoryConfig(**given["memory"]),
        }
    )
    blank = jnp.zeros((config.encoder.vocabulary, config.values), jnp.float32)
    shape = jax.eval_shape(lambda: distill.init(jax.random.key(0), config, blank))
    paths, form = jax.tree_util.tree_flatten_with_path(shape)
    leaves = [jnp.asarray(arrays[f"student{jax.tree_util.keystr(path)}"], jnp.float32) for path, _ in paths]
    weights = jnp.asarray(arrays["memory/weights"])
    means = jnp.asarray(packing.float_rows(arrays["memory/means"], arrays["memory/steps"]))
    store = memory.Store(
        memory.unit(jnp.asarray(arrays["memory/addresses"], jnp.float32)),
        means * weights[:, None],
        weights,
        jnp.int32(len(weights)),
        jnp.float32(config.memory.eta_least),
    )
    return config, distill.Student(jax.tree_util.tree_unflatten(form, leaves), store)


def code_bytes() -> int:
    """Returns the size in bytes of the source files that unpack and run a student.

    Source: docs/semantics/eam.md
    """
    files = (__file__, distill.__file__, memory.__file__, packing.__file__, transformer.__file__)
    return sum(pathlib.Path(file).stat().st_size for file in files)
