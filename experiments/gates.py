"""Gates on a language model: the flags of `--gating`, and the rows it adds. A part of three commands."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from tqdm import tqdm

from experiments.shared import tables
from wnn_jax import metrics
from wnn_jax.chain import contexts
from wnn_jax.data import text
from wnn_jax.gates import content, layers
from wnn_jax.lm import bitwise

FLAGS = flags.FLAGS

_TAUGHT = 0.1  # of the training text, its end, teaches content gates


def define_flags() -> None:
    flags.DEFINE_list("gating", [], f"Also score the model behind gates: {', '.join(layers.KINDS)}.")
    flags.DEFINE_integer("gate_neurons", 8, "Neurons of each gate.")
    flags.DEFINE_integer("gate_bits", 12, "Address bits of a gate's neuron.")
    flags.DEFINE_bool("gate_soft", True, "Gates as open as the share of their neurons that say so.")
    flags.DEFINE_integer("gate_threshold", None, "Neurons that open a hard gate; default: half of them.")
    flags.DEFINE_enum("gate_untrained", "closed", layers.UNTRAINED, "What a cell never written to says.")
    flags.DEFINE_float("gate_leak", 0.1, "What a closed token gate lets through.")
    flags.DEFINE_list("engram_orders", ["2", "3"], "Lengths of the n-grams of content gating, rising.")
    flags.DEFINE_integer("engram_heads", 4, "Hash heads of each order.")
    flags.DEFINE_integer("engram_rows", 18, "log2 of the rows of a head.")


def check(context: int, vocabulary: int) -> None:
    """Refuse bad flags before any work.

    Raises:
      ValueError: a kind is unknown, or a size out of range.
    """
    unknown = [kind for kind in FLAGS.gating if kind not in layers.KINDS]
    if unknown:
        raise ValueError(f"unknown gating {unknown[0]!r}: choose of {', '.join(layers.KINDS)}")
    if FLAGS.gating:
        config()
        engram_config(vocabulary)
        # A gate is as wide as what it reads: the same rule, and the same words, as the model's neurons.
        layers.alone(vocabulary, context, FLAGS.gate_bits)


def config() -> layers.GateConfig:
    """RAM gates by the flags."""
    sizes = FLAGS.gate_neurons, FLAGS.gate_bits, FLAGS.gate_soft, FLAGS.gate_threshold
    return layers.GateConfig(*sizes, FLAGS.gate_untrained, FLAGS.gate_leak)


def engram_config(vocabulary: int) -> content.EngramConfig:
    """Content gates by the flags."""
    if not all(order.strip().isdecimal() for order in FLAGS.engram_orders):
        raise ValueError(f"--engram_orders takes integers, got {','.join(FLAGS.engram_orders)}")
    orders = tuple(int(order) for order in FLAGS.engram_orders)
    gate = layers.GateConfig(FLAGS.gate_neurons, FLAGS.gate_bits, leak=1e-3)
    return content.EngramConfig(vocabulary, orders, FLAGS.engram_heads, FLAGS.engram_rows, gate)


def settings() -> dict[str, Any]:
    """All of gating that decides numbers, as plain data; nothing without it."""
    if not FLAGS.gating:
        return {}
    content = {"orders": FLAGS.engram_orders, "heads": FLAGS.engram_heads, "row_bits": FLAGS.engram_rows}
    return {"gating": {"kinds": FLAGS.gating, **dataclasses.asdict(config()), "engram": content}}


def ram_kinds() -> list[str]:
    """The kinds of RAM gates that were asked for."""
    return [kind for kind in layers.KINDS[:3] if kind in FLAGS.gating]


def watch(name: str, total: int, unit: str = "id") -> Callable[[Iterable], Iterator]:
    """A progress bar over places, or over chunks of clusters by the ids they stand for."""

    def watched(work: Iterable) -> Iterator:
        with tqdm(total=total, unit=unit, leave=False, desc=name) as bar:
            for item in work:
                yield item
                bar.update(int(np.count_nonzero(item[0].ids >= 0)) if isinstance(item, tuple) else 1)

    return watched


def add(results: tables.Results, name: str, scored: Mapping[str, Any], corpus: text.Corpus, seconds: float):
    """A row for each kind of gate, with how much it changed a token's nats: mean and its standard error.

    Args:
      scored: `bitwise.Scores` by kind, and those without gates as ``none``.
    """
    without = np.asarray(scored["none"].nats, np.float64)
    tokens = corpus.test[: len(without)]
    for kind, found in scored.items():
        if kind == "none":
            continue
        nats, best = np.asarray(found.nats, np.float64), np.asarray(found.best)
        summary = metrics.summarize(nats, best, tokens, corpus.token_bytes)._asdict()
        if best[0] < 0:
            summary["accuracy"] = float("nan")
        change = nats - without
        error = float(change.std() / np.sqrt(len(change)))
        results.add(
            f"{name} + {kind}", **summary, seconds=seconds, change=float(change.mean()), change_error=error
        )


def behind_engram(
    key: jax.Array,
    corpus: text.Corpus,
    nats: jax.Array,
    refit: Callable[[np.ndarray, np.ndarray], jax.Array],
) -> bitwise.Scores:
    """Scores of the evaluated text behind content gates; which token is the best is not known, and -1.

    Args:
      nats: without gates.
      refit: fits the model on its first argument alone, and gives the nats of its second, which follows.
    """
    train = corpus.train
    cut = len(train) - max(1, round(len(train) * _TAUGHT))
    held_out = refit(train[:cut], train[cut:])
    canonical = contexts.folded(corpus.pieces)
    sizes = engram_config(corpus.vocabulary)
    gated = content.nats(key, sizes, canonical, train, corpus.test, -nats, -held_out)
    return bitwise.Scores(gated, jnp.full(len(gated), -1))
