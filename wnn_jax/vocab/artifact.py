"""A trained model as a few bytes: its data, the order of its words, and int8 matrices."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.data import tokenizers
from wnn_jax.saving import packing
from wnn_jax.vocab import mixing, model, operation, pointwise

_FORMAT = "wnn_jax vocab 1"
# Classes and fields under the names that files have for them, which stay as classes are renamed.
_CLASSES = {
    "VocabConfig": model.VocabConfig,
    "Move": model.Sublayer,
    "Inside": model.Subspace,
    "Form": operation.WordMap,
    "Linear": mixing.LinearAttention,
    "Coupled": mixing.CoupledAttention,
    "Scales": mixing.MultiScaleAttention,
    "Attention": mixing.SoftmaxAttention,
    "Convolution": mixing.Convolution,
    "Average": mixing.MovingAverage,
    "Channels": pointwise.Mlp,
    "Graph": pointwise.WordGraph,
    "Gate": pointwise.WordGate,
    "Policy": pointwise.Policy,
    "Branches": pointwise.Experts,
    "Bands": pointwise.Bands,
    "Largest": pointwise.TopK,
    "Factor": pointwise.Factor,
}
_FIELDS = {
    model.VocabConfig: {"moves": "sublayers", "early": "early_loss", "forgets": "drop_input"},
    model.Sublayer: {"does": "operation", "beside": "parallel", "again": "factor_per_use"},
    model.Subspace: {"moves": "sublayers", "unsure": "by_entropy"},
    operation.WordMap: {"spread": "stddev"},
    mixing.LinearAttention: {
        "form": "query_key",
        "fades": "decays",
        "divide": "divisor",
        "unit": "unit_length",
        "shifted": "rate_shift",
    },
    mixing.MultiScaleAttention: {"fades": "decays", "unit": "unit_length"},
    mixing.SoftmaxAttention: {"pairs": "kv_heads", "gain": "query_gain"},
    mixing.MovingAverage: {"fade": "decay"},
    pointwise.Mlp: {"bends": "activations", "chosen": "routed"},
    pointwise.Policy: {"bends": "activations"},
    pointwise.Experts: {"branches": "experts"},
}


def pack(lm: model.VocabModel) -> bytes:
    """Bytes from which `unpack` makes the model again, with the precision of int8 and without a tokenizer."""
    leaves = {
        f"params{jax.tree_util.keystr(path)}": np.asarray(x)
        for path, x in jax.tree_util.tree_flatten_with_path(lm.params)[0]
    }
    about = {"config": describe(lm.config), "places": lm.places.tolist(), "window": lm.window}
    return packing.pack(_FORMAT, about, packing.packed_leaves(leaves))


def unpack(data: bytes, tokenizer: tokenizers.Tokenizer | None = None) -> model.VocabModel:
    """The model that was packed.

    Args:
      data: bytes of `pack`.
      tokenizer: the tokenizer of its ids, where texts are to be inspected.

    Raises:
      ValueError: the bytes are damaged, or something else; or the tokenizer has another number of ids.
    """
    about, arrays = packing.unpack(_FORMAT, data)
    config, leaves = _config(about["config"]), packing.unpacked_leaves(arrays)
    if tokenizer and len(tokenizer.pieces) != config.vocabulary:
        raise ValueError(f"the model has {config.vocabulary} ids and the tokenizer {len(tokenizer.pieces)}")
    shape = jax.eval_shape(lambda: model.init(jax.random.key(0), config))
    paths, tree = jax.tree_util.tree_flatten_with_path(shape)
    params = [jnp.asarray(leaves[f"params{jax.tree_util.keystr(path)}"]) for path, _ in paths]
    places = np.array(about["places"], np.int32)
    # Files were first written without their window, which was 64.
    window = about.get("window", 64)
    return model.VocabModel(config, jax.tree_util.tree_unflatten(tree, params), places, window, tokenizer)


def describe(config: Any) -> Any:
    """Nested config dataclasses as JSON data: each a list of its name and its fields."""
    if dataclasses.is_dataclass(config):
        kind = type(config)
        (name,) = (name for name, known in _CLASSES.items() if known is kind)
        stored = {field: name for name, field in _FIELDS.get(kind, {}).items()}
        fields = [f.name for f in dataclasses.fields(config)]
        return [name, {stored.get(f, f): describe(getattr(config, f)) for f in fields}]
    return {"of": [describe(x) for x in config]} if isinstance(config, tuple) else config


def _config(data: Any) -> Any:
    """The config that `describe` described."""
    if isinstance(data, list):
        kind = _CLASSES[data[0]]
        names: dict[str, str] = _FIELDS.get(kind, {})
        fields: dict[str, Any] = {names.get(str(name), str(name)): _config(x) for name, x in data[1].items()}
        return kind(**fields)
    return tuple(map(_config, data["of"])) if isinstance(data, dict) else data
