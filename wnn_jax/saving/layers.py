"""Saves fitted layers in checkpoints, and loads them.

Source: docs/architecture.md.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, files, ram
from wnn_jax.ram import given
from wnn_jax.saving import checkpoint


def save(
    path: str | pathlib.Path, layer: ram.Layer, metrics: Mapping[str, Any] | None = None
) -> pathlib.Path:
    """Write a layer with its table as the next version of a checkpoint, and return the version's folder.

    Args:
      path: the folder of the checkpoint; it is made if it is missing.
      layer: the fitted layer.
      metrics: JSON data to keep with the layer, such as its scores.

    Raises:
      ValueError: ``path`` holds something that is not a checkpoint, or cannot be written.

    Source: docs/architecture.md.
    """
    arrays = {**layer.table._asdict(), "seed": jax.random.key_data(layer.seed)}
    config = {"layer": dataclasses.asdict(layer.config), "draws": str(jax.random.key_impl(layer.seed))}
    return checkpoint.save(path, layer.connections, config, metrics or {}, arrays)


def load(path: str | pathlib.Path) -> ram.Layer:
    """Read a layer that `save` wrote.

    Args:
      path: the folder of the checkpoint, whose newest version is read, or the folder of one version.

    Returns:
      The layer: it predicts, and learns on, as the saved one would.

    Raises:
      ValueError: there is no checkpoint, it is damaged, or it holds something else than a layer.

    Source: docs/architecture.md.
    """
    found = checkpoint.load(path)
    arrays = dict(found.table or {})
    if "layer" not in found.config or set(arrays) != {*ram.Table._fields, "seed"}:
        raise ValueError(f"{path} holds no layer: give a folder that saving.layers.save wrote")
    with files.contents(str(path)):
        config = checks.made(ram.LayerConfig, found.config["layer"], "it")
        seed = jax.random.wrap_key_data(arrays.pop("seed"), impl=found.config["draws"])
        connections = jnp.asarray(np.asarray(found.connections))
        return ram.Layer(config, connections, table(config.memory, arrays, connections), seed)


def table(memory: ram.RamConfig, arrays: Mapping[str, Any], connections: jax.Array) -> ram.Table:
    """Make a table of arrays from a checkpoint, if they are one.

    Args:
      memory: the kind of its cells.
      arrays: the fields of `ram.Table` by name.
      connections: ``int [K, n, T]``, the connectivity that the table belongs to.

    Raises:
      ValueError: a field is missing, has another shape or type, or holds what no writing leaves there.

    Source: docs/architecture.md.
    """
    if arrays.keys() != {*ram.Table._fields}:
        raise ValueError(f"it has the arrays {', '.join(sorted(arrays))}, which are not those of a table")
    made = ram.Table(**{name: jnp.asarray(x) for name, x in arrays.items()})
    given.connections(connections)
    given.table(memory, made, connections.shape)
    return made
