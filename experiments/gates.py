"""The flags of `--gating` for commands that read flags as globals."""

import dataclasses
from typing import Any

from absl import flags

from experiments.shared.gates import add, bar
from wnn_jax import gates

__all__ = ["add", "bar", "check", "config", "define_flags", "settings"]

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_list("gating", [], f"Also score the model behind gates: {', '.join(gates.KINDS)}.")
    flags.DEFINE_integer("gate_neurons", 8, "Neurons of each gate.")
    flags.DEFINE_integer("gate_bits", 12, "Address bits of a gate's neuron.")
    flags.DEFINE_bool("gate_soft", True, "Gates as open as the share of their neurons that say so.")
    flags.DEFINE_integer("gate_threshold", None, "Neurons that open a hard gate; default: half of them.")
    flags.DEFINE_enum("gate_untrained", "closed", gates.UNTRAINED, "What a cell never written to says.")
    flags.DEFINE_float("gate_leak", 0.1, "What a closed token gate lets through.")
    flags.DEFINE_list("engram_orders", ["2", "3"], "Lengths of the n-grams of content gating, rising.")
    flags.DEFINE_integer("engram_heads", 4, "Hash heads of each order.")
    flags.DEFINE_integer("engram_rows", 18, "log2 of the rows of a head.")


def check(context: int, vocabulary: int) -> None:
    """Refuse bad flags before any work.

    Raises:
      ValueError: a kind is unknown, or a size out of range.
    """
    config().check(context, vocabulary)


def config() -> gates.GatingConfig:
    """Gates by the flags."""
    if not all(order.strip().isdecimal() for order in FLAGS.engram_orders):
        raise ValueError(f"--engram_orders takes integers, got {','.join(FLAGS.engram_orders)}")
    sizes = FLAGS.gate_neurons, FLAGS.gate_bits, FLAGS.gate_soft, FLAGS.gate_threshold
    ram = gates.RamGateConfig(*sizes, FLAGS.gate_untrained, FLAGS.gate_leak)
    orders = tuple(int(order) for order in FLAGS.engram_orders)
    engram = gates.EngramConfig(orders, FLAGS.engram_heads, FLAGS.engram_rows)
    return gates.GatingConfig(tuple(FLAGS.gating), ram, engram)


def settings() -> dict[str, Any]:
    """All of gating that decides numbers, as plain data; nothing without it."""
    return {"gates": dataclasses.asdict(config())} if FLAGS.gating else {}
