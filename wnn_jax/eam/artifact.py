"""Packs a student and its memory into a few bytes: int8 counters, float16 for most other arrays."""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, files, transformer
from wnn_jax.eam import distill, memory
from wnn_jax.saving import folders, packing

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
    with files.contents(packing.naming(data)):
        config = _config(about["config"], len(arrays))
        return config, _student(config, arrays)


def _config(given: dict[str, Any], arrays: int) -> distill.StudentConfig:
    """Makes the sizes of a student from JSON data.

    Raises:
      ValueError: a setting is unknown, missing or refused, or there are more blocks than arrays.
    """
    encoder = {**given["encoder"], "style": "eam", "dropout": 0.0}
    config = checks.made(distill.StudentConfig, {**given, "encoder": encoder}, "it")
    for part in (config, config.encoder, config.memory):
        checks.fields(part)
    for name, size in (("keys", config.keys), ("values", config.values), ("hidden", config.hidden)):
        checks.integer(name, size, checks.Limits(least=1))
    # The form of the parameters is made block by block: blocks that are not there must not be tried.
    checks.integer("layers", config.encoder.layers, checks.Limits(least=0, most=arrays))
    for name in ("vocabulary", "width", "heads", "expand", "window"):
        checks.integer(name, getattr(config.encoder, name), checks.Limits(least=1))
    return config


def _student(config: distill.StudentConfig, arrays: dict[str, np.ndarray]) -> distill.Student:
    """Makes a student from its arrays.

    Raises:
      ValueError: an array has another shape or type than the student's sizes give it, or is not finite.
    """
    encoder, struct = config.encoder, jax.ShapeDtypeStruct
    blank = struct((encoder.vocabulary, config.values), jnp.float32)
    shape = jax.eval_shape(lambda table: distill.init(jax.random.key(0), config, table), blank)
    paths, form = jax.tree_util.tree_flatten_with_path(shape)
    names = [f"student{jax.tree_util.keystr(path)}" for path, _ in paths]
    count = len(arrays["memory/weights"])
    expected = {
        "memory/addresses": struct((count, config.keys), np.float16),
        "memory/means": struct((count, config.values), np.int8),
        "memory/steps": struct((count, 1), np.float16),
        "memory/weights": struct((count,), np.float32),
    }
    expected |= {name: struct(x.shape, np.float16) for name, (_, x) in zip(names, paths, strict=True)}
    folders.check_form(arrays, expected)
    for name, x in arrays.items():
        checks.entries(name, x, checks.Limits(least=0) if name == "memory/weights" else checks.Limits())
    leaves = [jnp.asarray(arrays[name], jnp.float32) for name in names]
    weights = jnp.asarray(arrays["memory/weights"])
    means = jnp.asarray(packing.float_rows(arrays["memory/means"], arrays["memory/steps"]))
    store = memory.Store(
        memory.unit(jnp.asarray(arrays["memory/addresses"], jnp.float32)),
        means * weights[:, None],
        weights,
        jnp.int32(len(weights)),
        jnp.float32(config.memory.eta_least),
    )
    return distill.Student(jax.tree_util.tree_unflatten(form, leaves), store)


def code_bytes() -> int:
    """Returns the size in bytes of the source files that unpack and run a student.

    Source: docs/semantics/eam.md
    """
    files = (__file__, distill.__file__, memory.__file__, packing.__file__, transformer.__file__)
    return sum(pathlib.Path(file).stat().st_size for file in files)
