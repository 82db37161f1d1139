"""Draws tokens by rules that may keep only the most probable ones.

This is the contract of the native kernels (metal_ext/src/chain_drawing.h), with all V probabilities at hand.
The kernels look at few of them and draw the same token from the same numbers.

A token's *weight* is its probability, divided by the repetition penalty if it is among the last tokens.

Source: docs/semantics/chain.md
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wnn_jax.chain import tokentree
from wnn_jax.chain.config import WritingConfig

_FURTHER = 128  # random numbers of a token beyond those of its first proposal


def columns(writing: WritingConfig, depth: int) -> int:
    """Returns how many random numbers there are for a token, of which a draw may use fewer.

    Args:
      writing: the settings of drawing.
      depth: D, the number of turns of the longest path.

    Source: docs/semantics/chain.md
    """
    return depth if writing.plain else 2 * (depth + 1) + _FURTHER


def with_temperature(one: jax.Array, temperature: float) -> jax.Array:
    """Divides the log-odds of a bit's probability by a temperature.

    Args:
      one: ``float32 [...]``, P(bit = 1).
      temperature: a positive number; 1 changes nothing.

    Source: docs/semantics/chain.md
    """
    if temperature == 1.0:
        return one
    return jax.nn.sigmoid(jnp.clip(jnp.log(one / (1.0 - one)) / temperature, -30.0, 30.0))


def factor(writing: WritingConfig) -> float:
    """Returns the number by which the probability of a recent token is multiplied, rounded to ``float32``.

    Source: docs/semantics/chain.md
    """
    return float(np.float32(1.0 / writing.repetition_penalty))


def recent(before: np.ndarray, writing: WritingConfig) -> np.ndarray:
    """Returns the last tokens, which the repetition penalty is for; fewer at the start of a text.

    Args:
      before: ids ``int32 [N]``.
      writing: the settings of drawing.

    Source: docs/semantics/chain.md
    """
    return before[max(0, len(before) - writing.remembered) :]


def kept(weights: Any, writing: WritingConfig, xp: Any) -> tuple[Any, Any, Any]:
    """Sorts all tokens and finds how many of them the rules keep.

    ``top_k`` keeps the first k, ``top_p`` the fewest of these that have this part of their weight, and
    ``min_p`` those that have at least this part of the first one's weight.

    Args:
      weights: floats ``[V]``, the weight of every token.
      writing: the settings of drawing.
      xp: `numpy` or `jax.numpy`.

    Returns:
      all ids ``int [V]`` in falling order of weight, the lower id first on a tie; the sums ``[V]`` of their
      weights; and the number of tokens that are kept, at least 1.

    Source: docs/semantics/chain.md
    """
    order = xp.argsort(-weights, stable=True)
    falling = weights[order]
    mass = xp.cumsum(falling)
    size = min(writing.top_k or len(weights), len(weights))
    fits = xp.arange(len(weights)) < size
    if writing.top_p < 1:
        fits &= xp.concatenate([xp.zeros(1, mass.dtype), mass[:-1]]) < writing.top_p * mass[size - 1]
    fits &= falling >= writing.min_p * falling[0]
    return order, mass, xp.maximum(fits.sum(), 1)


def chosen(order: Any, mass: Any, size: Any, chance: Any, xp: Any) -> Any:
    """Returns one of the first ``size`` tokens of `kept`, in proportion to their weights.

    Args:
      order: see `kept`.
      mass: see `kept`.
      size: see `kept`.
      chance: the random number in [0, 1) that chooses.
      xp: `numpy` or `jax.numpy`.

    Source: docs/semantics/chain.md
    """
    return order[xp.minimum((mass <= chance * mass[size - 1]).sum(), size - 1)]


def draw(
    tree: tokentree.TokenTree,
    one: jax.Array,
    shares: jax.Array,
    recent: jax.Array,
    chance: jax.Array,
    writing: WritingConfig,
    depth: int,
) -> jax.Array:
    """Draws a token ``int32 []`` from all probabilities.

    A token is proposed turn by turn, each with the next random number; one more number decides whether a
    recent token stays. The first proposal that the rules keep is the token. If too few numbers are left for
    a proposal, or both ``top_k`` and ``top_p`` cut, the last number chooses among the kept tokens.

    Args:
      tree: the token tree.
      one: ``float32 [M]``, P(bit = 1) at every node, with the temperature.
      shares: ``float32 [V]``, the probabilities of the tokens.
      recent: ``int32 [W]``, the last tokens, -1 for none.
      chance: ``float32``, the `columns` random numbers.
      writing: the settings of drawing.
      depth: D, the number of turns of the longest path.

    Source: docs/semantics/chain.md
    """
    seen = jnp.zeros(shares.shape, bool).at[jnp.where(recent < 0, len(shares), recent)].set(True, mode="drop")
    weights = jnp.where(seen, shares * factor(writing), shares)
    order, mass, size = kept(weights, writing, jnp)
    keeps = jnp.zeros(shares.shape, bool).at[order].set(jnp.arange(len(shares)) < size)
    last = len(chance) - 1

    def turn(carry):
        node, at = carry
        return tree.children[node, (chance[at] < one[node]).astype(jnp.int32)], at + 1

    def propose(carry):
        at, _ = carry
        leaf, at = jax.lax.while_loop(lambda carry: carry[0] >= 0, turn, (jnp.int32(0), at))
        token = -1 - leaf
        stays = ~seen[token] | (chance[at] < factor(writing))
        return at + seen[token], jnp.where(stays & keeps[token], token, -1)

    def going(carry):
        at, token = carry
        return (token < 0) & (at + depth + 1 <= last)

    token = jnp.int32(-1)
    if not (writing.top_k and writing.top_p < 1):
        _, token = jax.lax.while_loop(going, propose, (jnp.int32(0), token))
    return jnp.where(token < 0, chosen(order, mass, size, chance[last], jnp), token).astype(jnp.int32)
