"""A student and its memory as a few bytes: int8 counters, float16 for the rest, compressed."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.eam import distill, memory, teacher
from wnn_jax.saving import packing

_FORMAT = "wnn_jax eam 1"


def pack(config: distill.StudentConfig, model: distill.Model) -> bytes:
    """Bytes from which `unpack` makes the model again, less the precision of int8 and float16.

    Counters are kept as means, each row's largest 127 steps from 0. Weights are float32: sums of strengths
    overflow float16.
    """
    used = int(model.memory.used)
    means = np.asarray(memory.contents(model.memory))[:used]
    whole, steps = packing.int8_rows(means)
    arrays = {
        "memory/addresses": np.asarray(model.memory.addresses)[:used].astype(np.float16),
        "memory/means": whole,
        "memory/steps": steps,
        "memory/weights": np.asarray(model.memory.weights)[:used].astype(np.float32),
    }
    leaves = jax.tree_util.tree_flatten_with_path(model.student)[0]
    arrays |= {f"student{jax.tree_util.keystr(path)}": np.asarray(x).astype(np.float16) for path, x in leaves}
    return packing.pack(_FORMAT, {"config": dataclasses.asdict(config)}, arrays)


def unpack(data: bytes) -> tuple[distill.StudentConfig, distill.Model]:
    """The model of `pack`.

    Raises:
      ValueError: the bytes are damaged, or something else.
    """
    about, arrays = packing.unpack(_FORMAT, data)
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
    means = jnp.asarray(packing.float_rows(arrays["memory/means"], arrays["memory/steps"]))
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
