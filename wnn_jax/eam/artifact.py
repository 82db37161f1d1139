"""A student and its memory as a few bytes: int8 counters, float16 for the rest, compressed."""

import dataclasses
import io
import json
import lzma
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.eam import distill, memory, teacher

_FORMAT = "wnn_jax eam 1"


def pack(config: distill.StudentConfig, model: distill.Model) -> bytes:
    """Bytes from which `unpack` makes the model again, less the precision of int8 and float16.

    Counters are kept as means, each row's largest 127 steps from 0. Weights are float32: sums of strengths
    overflow float16.
    """
    used = int(model.memory.used)
    means = np.asarray(memory.contents(model.memory))[:used]
    steps = np.abs(means).max(1, keepdims=True) / 127
    arrays = {
        "memory/addresses": np.asarray(model.memory.addresses)[:used].astype(np.float16),
        "memory/means": np.round(means / np.maximum(steps, 1e-30)).astype(np.int8),
        "memory/steps": steps.astype(np.float16),
        "memory/weights": np.asarray(model.memory.weights)[:used].astype(np.float32),
    }
    leaves = jax.tree_util.tree_flatten_with_path(model.student)[0]
    arrays |= {f"student{jax.tree_util.keystr(path)}": np.asarray(x).astype(np.float16) for path, x in leaves}
    about = json.dumps({"format": _FORMAT, "config": dataclasses.asdict(config)})
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, about=np.array(about), **arrays)
    return lzma.compress(file.getvalue(), preset=6)


def unpack(data: bytes) -> tuple[distill.StudentConfig, distill.Model]:
    """The model of `pack`.

    Raises:
      ValueError: the bytes are damaged, or something else.
    """
    try:
        found = np.load(io.BytesIO(lzma.decompress(data)), allow_pickle=False)
        about = json.loads(str(found["about"]))
        arrays: dict[str, Any] = {name: found[name] for name in found.files}
    except (lzma.LZMAError, ValueError, KeyError, OSError) as error:
        raise ValueError(f"these {len(data)} bytes are no packed memory, or are damaged: {error}") from error
    if about.get("format") != _FORMAT:
        raise ValueError(f"the format is {about.get('format')!r} and this reads {_FORMAT!r}")
    given = about["config"]
    config = distill.StudentConfig(
        **{
            **given,
            "encoder": teacher.TrunkConfig(**given["encoder"]),
            "memory": memory.MemoryConfig(**given["memory"]),
        }
    )
    blank = jnp.zeros((config.encoder.vocabulary, config.values))
    shape = jax.eval_shape(lambda: distill.init(jax.random.key(0), config, blank))
    paths, form = jax.tree_util.tree_flatten_with_path(shape)
    leaves = [jnp.asarray(arrays[f"student{jax.tree_util.keystr(path)}"], jnp.float32) for path, _ in paths]
    weights = jnp.asarray(arrays["memory/weights"])
    means = jnp.asarray(arrays["memory/means"], jnp.float32) * jnp.asarray(
        arrays["memory/steps"], jnp.float32
    )
    store = memory.Memory(
        memory.unit(jnp.asarray(arrays["memory/addresses"], jnp.float32)),
        means * weights[:, None],
        weights,
        jnp.int32(len(weights)),
        jnp.float32(config.memory.eta_least),
    )
    return config, distill.Model(jax.tree_util.tree_unflatten(form, leaves), store)


def code_bytes() -> int:
    """Bytes of the source that the model needs besides: this package."""
    return sum(path.stat().st_size for path in pathlib.Path(__file__).parent.glob("*.py"))
