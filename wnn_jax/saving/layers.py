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

from wnn_jax import checks, ram
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
    config = checks.made(ram.LayerConfig, found.config["layer"], f"the checkpoint {path}")
    seed = jax.random.wrap_key_data(arrays.pop("seed"), impl=found.config["draws"])
    connections = jnp.asarray(np.asarray(found.connections))
    return ram.Layer(config, connections, ram.Table(**arrays), seed)
