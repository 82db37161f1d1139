"""Fading counts of the bits that came at each node of the tree, whatever the context, in three speeds.

Source: docs/semantics/chain.md
"""

import jax
import jax.numpy as jnp

from wnn_jax.chain.constants import DECAY, RECENT_SHIFTS, RECENT_SMOOTH
from wnn_jax.chain.online import OnlineMemory


def decay(passed: jax.Array) -> jax.Array:
    """Returns the share ``float32 [3]`` of each count that is left after ``uint32 []`` tokens.

    Source: docs/semantics/chain.md
    """
    steps = []
    for shift in RECENT_SHIFTS:
        faster = jnp.where(passed < 1 << 24, passed << max(shift, 0), 1 << 25)
        steps.append(faster if shift > 0 else passed >> -shift)
    step = jnp.stack(steps)
    halvings = jnp.minimum(step >> 8, 61)
    # 2^(-16 - halvings), of whose bits only the exponent is not 0
    scale = jax.lax.bitcast_convert_type((127 - 16 - halvings) << 23, jnp.float32)
    return jnp.where(halvings > 60, 0.0, jnp.array(DECAY, jnp.float32)[step & 255] * scale)


def counts(memory: OnlineMemory, node: jax.Array, now: jax.Array) -> jax.Array:
    """Returns the counts ``float32 [3, 2]`` of zeros and ones at a node, faded until now.

    Args:
      memory: the memory that has the counts.
      node: ``int32 []``.
      now: ``uint32 []``, the number of tokens that were read.

    Source: docs/semantics/chain.md
    """
    return memory.recent[node] * decay(now - memory.recent_at[node])[:, None]


def odds(counted: jax.Array) -> jax.Array:
    """Returns the log-odds ``float32 [3]`` of counts ``float32 [3, 2]``.

    Source: docs/semantics/chain.md
    """
    smooth = counted + RECENT_SMOOTH
    return jnp.log(smooth[:, 1] / smooth[:, 0])


def learn(
    memory: OnlineMemory, node: jax.Array, counted: jax.Array, bit: jax.Array, now: jax.Array
) -> OnlineMemory:
    """Counts a bit at a node.

    Args:
      memory: the memory that has the counts.
      node: ``int32 []``.
      counted: ``float32 [3, 2]``, the counts at the node, faded until now.
      bit: ``int32 []``.
      now: ``uint32 []``, the number of tokens that were read.

    Source: docs/semantics/chain.md
    """
    more = (jnp.arange(2, dtype=jnp.int32) == bit).astype(jnp.float32)
    return memory._replace(
        recent=memory.recent.at[node].set(counted + more), recent_at=memory.recent_at.at[node].set(now)
    )
