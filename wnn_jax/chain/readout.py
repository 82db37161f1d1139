"""The readout of a static chain model: gains and offsets, trained on the counts of text that was left out.

Source: docs/semantics/chain.md
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax import checks
from wnn_jax.chain import given, mixer
from wnn_jax.chain.config import ReadoutConfig
from wnn_jax.chain.constants import CLASSES
from wnn_jax.chain.contexts import Network
from wnn_jax.chain.memory import StaticMemory
from wnn_jax.checks import Limits
from wnn_jax.narrow import in_32_bits

CLASS = Limits(least=0, most=CLASSES - 1)


class BitCounts(NamedTuple):
    """The counts that each of the L bits of a text meets, and the other inputs of the readout.

    Attributes:
      zeros: ``int32 [n, L]``, the counts of zeros.
      ones: ``int32 [n, L]``, the counts of ones.
      node: ``int32 [L]``, the node of each bit.
      bit: ``int32 [L]``, the bit that came.
      classes: ``int32 [2, L]``, the classes of the last two tokens.

    Source: docs/semantics/chain.md
    """

    zeros: jax.Array
    ones: jax.Array
    node: jax.Array
    bit: jax.Array
    classes: jax.Array


class FitState(NamedTuple):
    """The place of a fit: a fit that was interrupted continues from it.

    Attributes:
      met: the counts that the first folds met.
      trained: the arrays of the readout's training, in the order of JAX.
      epochs: the number of epochs that they were trained for.

    Source: docs/semantics/chain.md
    """

    met: tuple[BitCounts, ...] = ()
    trained: tuple[jax.Array, ...] = ()
    epochs: int = 0

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the state as arrays by name; counts have the smallest type that holds them."""
        found = {f"trained{i}": np.asarray(x) for i, x in enumerate(self.trained)}
        for fold, counts in enumerate(self.met):
            for name, x in counts._asdict().items():
                whole = np.asarray(x)
                found[f"{name}{fold}"] = whole.astype(np.min_scalar_type(whole.max(initial=0)))
        return found | {"epochs": np.array(self.epochs)}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "FitState":
        """Makes the state again from its `arrays`.

        Raises:
          ValueError: an array is missing, or has another type or shape.
        """
        met, trained = [], []
        for fold in range(sum(name.startswith("node") for name in arrays)):
            bits = arrays[f"node{fold}"].shape[0]
            for name in BitCounts._fields:
                shape = {} if name in ("node", "bit") else {"rows": None}
                checks.array(name, arrays[f"{name}{fold}"], "integers", {**shape, "L": bits})
            whole = (jnp.asarray(arrays[f"{name}{fold}"], jnp.int32) for name in BitCounts._fields)
            met.append(BitCounts(*whole))
        for place in range(sum(name.startswith("trained") for name in arrays)):
            checks.array("trained", arrays[f"trained{place}"], "numbers")
            trained.append(jnp.asarray(arrays[f"trained{place}"]))
        return cls(tuple(met), tuple(trained), checks.integer("epochs", arrays["epochs"].item()))


OnState = Callable[[FitState], None]


def _check_bits(network: Network, memory: StaticMemory, met: BitCounts) -> None:
    if not met.bit.shape[0]:
        raise ValueError("the readout is trained on at least one bit, got none: give a longer text")
    given.network(network)
    given.memory(network, memory)
    bits = {"L": met.bit.shape[0]}
    for name in ("zeros", "ones"):
        checks.array(name, getattr(met, name), "int32", {"n": network.view.shape[0], **bits})
    checks.array("node", met.node, "int32", bits, Limits(least=0, most=network.tree.children.shape[0] - 1))
    checks.array("bit", met.bit, "int32", bits, Limits(least=0, most=1))
    checks.array("classes", met.classes, "int32", {"tokens": 2, **bits}, CLASS)


@in_32_bits
def train_readout(
    key: jax.Array,
    network: Network,
    memory: StaticMemory,
    met: BitCounts,
    config: ReadoutConfig,
    *,
    state: FitState = FitState(),
    on_state: OnState | None = None,
):
    """Trains gains and offsets that predict bits from the counts they met: logistic regression by AdamW.

    Args:
      key: draws the order of the batches.
      network: the wiring.
      memory: a static memory, whose gains and offsets are the start.
      met: the counts and the bits.
      config: the settings for training the readout.
      state: the place from which training continues.
      on_state: called with a `FitState` after every epoch.

    Returns:
      ``gain`` and ``offset`` in the shapes of `StaticMemory`.

    Raises:
      ValueError: there is no bit, or an array of the network, the memory or the counts is not of one.

    Source: docs/semantics/chain.md
    """
    _check_bits(network, memory, met)
    size = met.bit.shape[0]
    batch = min(config.batch, size)
    steps = config.epochs * (size // batch)
    optimizer = optax.adamw(optax.cosine_decay_schedule(config.step_size, steps), weight_decay=config.decay)
    start = memory.gain, memory.offset
    inputs = memory.gain.shape[1]
    real = (jnp.arange(inputs) < network.view.shape[0]).astype(jnp.float32)

    def loss(moved, rows: BitCounts):
        weights = jax.tree.map(jnp.add, start, moved)
        seen = mixer.evidence(inputs, rows.zeros, rows.ones)
        chosen = mixer.choose_rows(network, rows.node, seen, rows.classes)
        dot = mixer.logit(weights[0], weights[1] * real, chosen, seen.odds)
        return optax.sigmoid_binary_cross_entropy(dot, rows.bit.astype(jnp.float32)).mean()

    def one(carry, index):
        moved, state = carry
        rows = jax.tree.map(lambda x: x[..., index], met)
        value, gradient = jax.value_and_grad(loss)(moved, rows)
        update, state = optimizer.update(gradient, state, moved)
        return (optax.apply_updates(moved, update), state), value

    @jax.jit
    def epoch(carry, order):
        return jax.lax.scan(one, carry, order)

    moved = jax.tree.map(jnp.zeros_like, start)
    leaves, form = jax.tree.flatten((moved, optimizer.init(moved)))
    carry = jax.tree.unflatten(form, state.trained or leaves)
    for done, epoch_key in list(enumerate(jax.random.split(key, config.epochs)))[state.epochs :]:
        order = jax.random.permutation(epoch_key, size)[: size // batch * batch].reshape(-1, batch)
        carry, _ = epoch(carry, order)
        if on_state:
            on_state(FitState(trained=tuple(jax.tree.leaves(carry)), epochs=done + 1))
    gain, offset = jax.tree.map(jnp.add, start, carry[0])
    return gain, offset * real
