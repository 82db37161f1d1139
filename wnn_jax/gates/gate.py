"""The definition of a gate: it keeps a part of a probability, and adds another probability.

    p'  =  keep * p + add                                                        (`apply`)

This formula serves bitwise, tiered and chain models. Each of them has probabilities of *bits* (code bits,
one-hot clusters, or turns of a token's path), from which it makes the probabilities of *tokens*:

    kind     applied to             keep                 add
    bit      each bit               g                    (1 - g) * rest, where rest is a fixed guess
    token    each token, then all   g + leak             nothing
             V are normalised
    dual     bit, and then token
    engram   each token             1 - g of an order    g * (the prediction of the order's n-grams)

Here g, the openness of the gate, is in [0, 1]. Bit, token and dual gates are made of RAM neurons
(`ram_gates`); engram gates read a hashed memory of n-grams (`engram`).

Source: docs/semantics/gates.md
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax.lm.tally import OnStep

__all__ = ["KINDS", "RAM_KINDS", "LogGate", "OnStep", "apply"]

KINDS = ("token", "bit", "dual", "engram")
RAM_KINDS = KINDS[:3]


class LogGate(NamedTuple):
    """A gate in logarithms. Its arrays must broadcast with the log-probabilities to which it is applied.

    Attributes:
      keep: ``float32 [...]``, the logarithm of the factor that is kept.
      add: ``float32 [...]``, the logarithm of the probability that is added; None adds nothing.

    Source: docs/semantics/gates.md
    """

    keep: jax.Array
    add: jax.Array | None = None


def apply(gate: LogGate, log_p: jax.Array) -> jax.Array:
    """Apply a gate to the log-probabilities of bits or tokens.

    Args:
      gate: the gate.
      log_p: ``float32 [...]``.

    Returns:
      ``float32 [...]``, the logarithm of ``keep * p + add``. It is not normalised: the caller must normalise
      over the V tokens behind token gates.

    Source: docs/semantics/gates.md
    """
    kept = gate.keep + log_p
    return kept if gate.add is None else jnp.logaddexp(kept, gate.add)
