"""Trains the readout of a static chain model on turns of text that was left out.

Both layers are trained together by the loss of their result. The rows of a set start from one common row, and
learn how they differ from it; a row that was never chosen stays the common one.

Source: docs/semantics/chain_static.md
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax import checks
from wnn_jax.chain import given, static_inputs, static_mixer
from wnn_jax.chain.config import ReadoutConfig
from wnn_jax.chain.constants import RANGE, STATIC_FINALS, STATIC_ROWS, StaticSet
from wnn_jax.chain.contexts import Network
from wnn_jax.checks import Limits
from wnn_jax.narrow import in_32_bits

ROUNDS = 16  # parts of the training; a fit that is interrupted continues after the last whole round
_WARM = 50  # steps in which the step size rises
_MEMORY = 0.99  # of the squared gradients of AdamW


class Examples(NamedTuple):
    """L turns as the readout sees them.

    Attributes:
      inputs: ``float32 [L, I]``, see `static_inputs.inputs`.
      rows: ``int32 [L, 8]``, see `static_mixer.choose_rows`.
      bit: ``int32 [L]``, the bit that came.

    Source: docs/semantics/chain_static.md
    """

    inputs: jax.Array
    rows: jax.Array
    bit: jax.Array


class FitState(NamedTuple):
    """The place of a fit: a fit that was interrupted counts the folds again and continues from it.

    Attributes:
      trained: the arrays of the readout's training, in the order of JAX.
      rounds: the number of rounds that they were trained for.

    Source: docs/semantics/chain_static.md
    """

    trained: tuple[jax.Array, ...] = ()
    rounds: int = 0

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the state as arrays by name."""
        found = {f"trained{i}": np.asarray(x) for i, x in enumerate(self.trained)}
        return found | {"rounds": np.array(self.rounds)}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "FitState":
        """Makes the state again from its `arrays`.

        Raises:
          ValueError: an array has another type.
        """
        trained = []
        for place in range(sum(name.startswith("trained") for name in arrays)):
            checks.array("trained", arrays[f"trained{place}"], "numbers")
            trained.append(jnp.asarray(arrays[f"trained{place}"]))
        return cls(tuple(trained), checks.integer("rounds", arrays["rounds"].item()))


OnState = Callable[[FitState], None]


class _Weights(NamedTuple):
    """How the weights differ from the start: all rows, the rows of each set, and the second layer."""

    common: jax.Array  # float32 [I]
    rows: jax.Array  # float32 [rows, I]
    finals: jax.Array  # float32 [final rows, 8]


def _loss(start: _Weights, moved: _Weights, x: jax.Array, rows: jax.Array, bit: jax.Array) -> jax.Array:
    """Returns the mean loss of the readout."""
    common, each, finals = jax.tree.map(jnp.add, start, moved)
    places = rows + static_mixer.FIRST[:-1]
    own = [(each[places[:, k]] * x).sum(axis=1) for k in range(len(StaticSet))]
    logit = jnp.clip((x @ common)[:, None] + jnp.stack(own, axis=1), -RANGE, RANGE)
    ends = [
        (finals[static_mixer.FINAL_FIRST[k] + rows[:, one]] * logit).sum(axis=1)
        for k, one in enumerate(STATIC_FINALS)
    ]
    dot = jnp.stack(ends).mean(axis=0)
    return optax.sigmoid_binary_cross_entropy(dot, bit.astype(jnp.float32)).mean()


def _check(network: Network, met: Examples) -> None:
    size = met.bit.shape[0]
    if not size:
        raise ValueError("the readout is trained on at least one turn, got none: give a longer text")
    given.network(network)
    inputs = static_inputs.size(network.view.shape[0])
    checks.array("inputs", met.inputs, "float32", {"L": size, "I": inputs})
    checks.array("rows", met.rows, "int32", {"L": size, "sets": len(StaticSet)}, Limits(least=0))
    if (np.asarray(met.rows.max(axis=0)) >= np.array(STATIC_ROWS)).any():
        raise ValueError(f"rows has a row of a set beyond its number of rows: give less than {STATIC_ROWS}")
    checks.array("bit", met.bit, "int32", {"L": size}, Limits(least=0, most=1))


@in_32_bits
def train_readout(
    key: jax.Array,
    network: Network,
    met: Examples,
    config: ReadoutConfig,
    *,
    state: FitState = FitState(),
    on_state: OnState | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Trains the two layers of the readout by AdamW.

    Args:
      key: draws the order of the examples.
      network: the wiring.
      met: the examples.
      config: the settings for training the readout.
      state: the place from which training continues.
      on_state: called with a `FitState` after every round.

    Returns:
      ``weights`` and ``finals`` in the shapes of `memory.StaticMemory`.

    Raises:
      ValueError: there is no example, or an array of the network or the examples is not of one.

    Source: AdamW (Loshchilov and Hutter 2019); docs/semantics/chain_static.md
    """
    _check(network, met)
    size = met.bit.shape[0]
    batch = min(config.batch, size)
    steps = max(1, config.epochs * (size // batch))
    first, finals = static_mixer.start(met.inputs.shape[1])
    start = _Weights(jnp.asarray(first[0]), jnp.zeros(first.shape, jnp.float32), jnp.asarray(finals))
    falling = optax.linear_schedule(config.step_size, 0.1 * config.step_size, steps)
    rising = optax.linear_schedule(0.0, 1.0, _WARM)
    optimizer = optax.adamw(
        lambda step: falling(step) * rising(step + 1), b2=_MEMORY, weight_decay=config.decay
    )
    moved = jax.tree.map(jnp.zeros_like, start)
    leaves, form = jax.tree.flatten((moved, optimizer.init(moved)))
    carry = jax.tree.unflatten(form, state.trained or leaves)

    # The examples are an argument: as constants of the compiled program they would be copied several times.
    @jax.jit
    def train_round(carry, order, met):
        def one(carry, index):
            moved, moments = carry
            part = jax.tree.map(lambda x: x[index], met)
            gradient = jax.grad(_loss, argnums=1)(start, moved, *part)
            update, moments = optimizer.update(gradient, moments, moved)
            return (optax.apply_updates(moved, update), moments), None

        return jax.lax.scan(one, carry, order)[0]

    orders = (jax.random.permutation(jax.random.fold_in(key, i), size) for i in range(config.epochs))
    order = jnp.concatenate([one[: size // batch * batch].reshape(-1, batch) for one in orders])
    borders = np.linspace(0, len(order), ROUNDS + 1).astype(int)
    for done in range(state.rounds, ROUNDS):
        carry = train_round(carry, order[borders[done] : borders[done + 1]], met)
        if on_state:
            on_state(FitState(tuple(jax.tree.leaves(carry)), done + 1))
    common, rows, finals = jax.tree.map(jnp.add, start, carry[0])
    return common + rows, finals
