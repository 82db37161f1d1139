"""Packs a trained model into a few bytes: its config, the order of its words, and int8 matrices."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax import checks, files
from wnn_jax.data import tokenizers
from wnn_jax.saving import folders, packing
from wnn_jax.vocab import mixing, model, operation, pointwise

_FORMAT = "wnn_jax vocab 1"
_MOST_STEPS = 1000  # the most steps of a packed model; published ones have 1 to 12
# The names of classes and fields in files; these names stay the same when a class is renamed.
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
    """Packs a model into bytes from which `unpack` makes it again, with the precision of int8.

    The tokenizer is not packed.

    Source: docs/semantics/vocab.md
    """
    leaves = {
        f"params{jax.tree_util.keystr(path)}": np.asarray(x)
        for path, x in jax.tree_util.tree_flatten_with_path(lm.params)[0]
    }
    about = {"config": describe(lm.config), "places": lm.places.tolist(), "window": lm.window}
    return packing.pack(_FORMAT, about, packing.packed_leaves(leaves))


def unpack(data: bytes, tokenizer: tokenizers.Tokenizer | None = None) -> model.VocabModel:
    """Makes a model again from the bytes of `pack`.

    Args:
      data: bytes of `pack`.
      tokenizer: the tokenizer of the model's ids; only `inspect` needs it.

    Raises:
      ValueError: the bytes are damaged or hold something else, or the tokenizer has another number of ids.

    Source: docs/semantics/vocab.md
    """
    about, arrays = packing.unpack(_FORMAT, data)
    with files.contents(packing.naming(data)):
        config = _config(about["config"])
        if not isinstance(config, model.VocabConfig):
            raise ValueError("its config is not that of a model")
        leaves = packing.unpacked_leaves(arrays)
        params, places = _params(config, leaves), _places(about["places"], config.vocabulary)
        # The first files did not hold the window, which was 64.
        window = checks.integer("window", about.get("window", 64), checks.Limits(least=1))
    if tokenizer and len(tokenizer.pieces) != config.vocabulary:
        raise ValueError(
            f"the model has {config.vocabulary} ids, but the tokenizer has {len(tokenizer.pieces)}: give the "
            "tokenizer that the model was trained with"
        )
    return model.VocabModel(config, params, places, window, tokenizer)


def _params(config: model.VocabConfig, leaves: dict[str, np.ndarray]) -> Any:
    """Makes the parameters from their arrays.

    Raises:
      ValueError: an array has another shape or type than the config gives it, or is not finite.
    """
    # The form of the parameters is made step by step: steps that are not there must not be tried.
    uses = config.steps * config.columns
    checks.integer("steps", uses // config.repeats, checks.Limits(least=1, most=_MOST_STEPS))
    checks.integer("repeats", config.repeats, checks.Limits(least=1, most=_MOST_STEPS))
    shape = jax.eval_shape(lambda: model.init(jax.random.key(0), config))
    paths, tree = jax.tree_util.tree_flatten_with_path(shape)
    names = [f"params{jax.tree_util.keystr(path)}" for path, _ in paths]
    folders.check_form(leaves, {name: x for name, (_, x) in zip(names, paths, strict=True)})
    for name in names:
        checks.entries(name, leaves[name])
    return jax.tree_util.tree_unflatten(tree, [jnp.asarray(leaves[name]) for name in names])


def _places(given: Any, vocabulary: int) -> np.ndarray:
    """Makes the order of the words.

    Raises:
      ValueError: it is not an order of all words.
    """
    places = np.array(given)
    checks.array("places", places, "integers", {"V": vocabulary})
    if not np.array_equal(np.sort(places), np.arange(vocabulary)):
        raise ValueError("its places are not an order of its words")
    return places.astype(np.int32)


def describe(config: Any) -> Any:
    """Returns nested config dataclasses as JSON data: each is a list of its name and its fields.

    Source: docs/semantics/vocab.md
    """
    if dataclasses.is_dataclass(config):
        kind = type(config)
        (name,) = (name for name, known in _CLASSES.items() if known is kind)
        stored = {field: name for name, field in _FIELDS.get(kind, {}).items()}
        fields = [f.name for f in dataclasses.fields(config)]
        return [name, {stored.get(f, f): describe(getattr(config, f)) for f in fields}]
    return {"of": [describe(x) for x in config]} if isinstance(config, tuple) else config


def _config(data: Any) -> Any:
    """Makes the config that `describe` turned into JSON data.

    Raises:
      ValueError: a field has another type than its class states.
    """
    if isinstance(data, list):
        kind = _CLASSES[data[0]]
        names: dict[str, str] = _FIELDS.get(kind, {})
        fields: dict[str, Any] = {names.get(str(name), str(name)): _config(x) for name, x in data[1].items()}
        made = kind(**fields)
        checks.fields(made)
        return made
    return tuple(map(_config, data["of"])) if isinstance(data, dict) else data
