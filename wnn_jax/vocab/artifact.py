"""A trained vocabulary-space model as a few bytes: its data, the order of its words, int8 matrices."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.saving import packing
from wnn_jax.vocab import skeleton, within

_FORMAT = "wnn_jax vocab 1"
_KINDS = {
    kind.__name__: kind
    for kind in (skeleton.VocabConfig, skeleton.Move, skeleton.Inside, within.Form, *skeleton.OPERATIONS)
}


def pack(config: skeleton.VocabConfig, params: within.Params, places: np.ndarray) -> bytes:
    """Bytes from which `unpack` makes the model again, less the precision of int8.

    Args:
      config: the model.
      params: its parameters.
      places: the number of each id, as in `recipe.places`.
    """
    leaves = {
        f"params{jax.tree_util.keystr(path)}": np.asarray(x)
        for path, x in jax.tree_util.tree_flatten_with_path(params)[0]
    }
    return packing.pack(
        _FORMAT, {"config": _told(config), "places": places.tolist()}, packing.packed_leaves(leaves)
    )


def unpack(data: bytes) -> tuple[skeleton.VocabConfig, within.Params, np.ndarray]:
    """The arguments of `pack`.

    Raises:
      ValueError: the bytes are damaged, or something else.
    """
    about, arrays = packing.unpack(_FORMAT, data)
    config, leaves = _made(about["config"]), packing.unpacked_leaves(arrays)
    shape = jax.eval_shape(lambda: skeleton.init(jax.random.key(0), config))
    paths, form = jax.tree_util.tree_flatten_with_path(shape)
    found = [jnp.asarray(leaves[f"params{jax.tree_util.keystr(path)}"]) for path, _ in paths]
    return config, jax.tree_util.tree_unflatten(form, found), np.array(about["places"], np.int32)


def _told(x: Any) -> Any:
    """Nested dataclasses as JSON data: each a list of its name and its fields."""
    if dataclasses.is_dataclass(x):
        return [type(x).__name__, {f.name: _told(getattr(x, f.name)) for f in dataclasses.fields(x)}]
    return {"of": [_told(y) for y in x]} if isinstance(x, tuple) else x


def _made(x: Any) -> Any:
    if isinstance(x, list):
        return _KINDS[x[0]](**{name: _made(value) for name, value in x[1].items()})
    return tuple(map(_made, x["of"])) if isinstance(x, dict) else x
