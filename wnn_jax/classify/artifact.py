"""Packs a fitted classifier into bytes, with its encoder, and unpacks it.

Source: docs/architecture.md
"""

from typing import Any

import numpy as np

from wnn_jax import checks
from wnn_jax.classify.encoders import Encoder
from wnn_jax.classify.layer import Mapping
from wnn_jax.classify.model import Classifier
from wnn_jax.saving import packing

_KIND = "classifier 1"
_PARTS = {"encoder": Encoder, "mapping": Mapping}


def pack(model: Classifier) -> bytes:
    """Pack a classifier into bytes, with its encoder.

    Args:
      model: the classifier; its labels are strings, numbers or booleans.

    Raises:
      ValueError: the model is larger than a packed model may be.

    Source: docs/architecture.md
    """
    parts = {"encoder": model.encoder, "mapping": model.mapping}
    arrays = {f"{part}/{name}": x for part, whole in parts.items() for name, x in whole._asdict().items()}
    about = {"temperature": float(model.temperature), "labels": list(model.labels)}
    return packing.pack(_KIND, about, {**arrays, "cells": model.cells})


def unpack(data: bytes) -> Classifier:
    """Unpack the bytes of `pack`.

    Args:
      data: the bytes.

    Raises:
      ValueError: the bytes are damaged, or hold something else.

    Source: docs/architecture.md
    """
    about, arrays = packing.unpack(_KIND, data)
    name = packing.naming(data)
    encoder, mapping = (_part(arrays, part, kind, name) for part, kind in _PARTS.items())
    model = Classifier(encoder, mapping, arrays["cells"], about["temperature"], tuple(about["labels"]))
    _check(model, name)
    return model


def _part(arrays: dict[str, np.ndarray], part: str, kind: Any, name: str) -> Any:
    """Make a part of a model of its arrays.

    Raises:
      ValueError: an array is missing.
    """
    names = [f"{part}/{x}" for x in kind._fields]
    if missing := [x for x in names if x not in arrays]:
        raise ValueError(f"{name} lacks the array {missing[0]}: give another copy")
    return kind(*(arrays[x] for x in names))


def _check(model: Classifier, name: str) -> None:
    """Check that the parts of a model fit each other.

    Raises:
      ValueError: they do not.
    """
    encoder, mapping, cells = model.encoder, model.mapping, model.cells
    try:
        checks.array("cells", cells, "int8", {"M": None, "S": None, "K": len(model.labels)})
        sizes = {"R": len(mapping.table), "T": mapping.hashes.shape[-1]}
        columns = checks.Limits(0, len(encoder.source) - 1)
        checks.array("column", mapping.column, "int32", sizes, columns)
        checks.array("level", mapping.level, "uint8", sizes)
        checks.array("table", mapping.table, "int32", {"R": None}, checks.Limits(0, len(cells) - 1))
        checks.array("hashes", mapping.hashes, "uint32", {"H": None, "T": None})
        checks.array("kind", encoder.kind, "int8", {"J": len(encoder.source)}, checks.Limits(0, 3))
        checks.array("threshold", encoder.threshold, "float32", {"I": int(encoder.start[-1])})
        checks.number("temperature", model.temperature, checks.Limits(above=0))
        if int(np.bitwise_or.reduce(mapping.hashes, axis=None)) >= cells.shape[1]:
            raise ValueError(f"a hash is larger than the {cells.shape[1]} entries of a table")
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"{name} holds no classifier: {error}") from error
