"""A gate: it keeps some of a probability and adds something in its place.

    p'  =  keep * p + add                                                        (`apply`)

That one line serves every model, bitwise, tiered or chain, because each of them is made of probabilities
of *bits* (code bits; one-hot clusters; turns of a path) that make up probabilities of *tokens*:

    kind     applied to             keep                 add
    bit      each bit               g                    (1 - g) * rest, a guess that does not look
    token    each token, and the    g + leak             nothing
             V tokens normalised
    dual     bit, and then token
    engram   each token             1 - g of an order    g * (what its n-grams predict)

where g, the gate's openness, is in [0, 1]. Bit, token and dual gates are RAM neurons (`ram_gates`); engram
gates read a hashed memory of n-grams (`engram`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wnn_jax.lm.tally import OnStep

__all__ = ["KINDS", "RAM_KINDS", "LogGate", "OnStep", "apply"]

KINDS = ("token", "bit", "dual", "engram")
RAM_KINDS = KINDS[:3]


class LogGate(NamedTuple):
    """Logarithms of what is kept and of what is added, in shapes that broadcast against what they gate.

    Attributes:
      keep: ``float32 [...]``.
      add: ``float32 [...]``, or None for nothing.
    """

    keep: jax.Array
    add: jax.Array | None = None


def apply(gate: LogGate, log_p: jax.Array) -> jax.Array:
    """Log of the gated probability, of bits or tokens, normalised only if keep and add sum to 1 with p."""
    kept = gate.keep + log_p
    return kept if gate.add is None else jnp.logaddexp(kept, gate.add)
