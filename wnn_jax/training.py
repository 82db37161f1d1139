"""Trains a pytree of parameters by minibatches; a stopped training resumes to the same result, bit for bit.

Source: docs/architecture.md
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax import checks
from wnn_jax.checks import Limits
from wnn_jax.narrow import in_32_bits
from wnn_jax.saving import folders, progress

Loss = Callable[[Any, Any, Any], jax.Array]  # loss(params, fixed, batch), see `train`


@dataclasses.dataclass(frozen=True)
class Steps:
    """The number and the size of the training steps.

    Attributes:
      count: number of steps in all; the passes over the data follow from it.
      batch: rows of a step, at most the number of rows. Rows that do not fill a batch are left out of a pass.
      report: number of steps between two reports.

    Raises:
      ValueError: a value is out of range.

    Source: docs/architecture.md
    """

    count: int
    batch: int
    report: int

    def __post_init__(self):
        checks.fields(self, count=Limits(least=0), batch=Limits(least=1), report=Limits(least=1))


class Trained(NamedTuple):
    """The state that training has reached. All arrays are in host memory.

    Attributes:
      done: number of steps taken.
      params: the parameters after these steps.
      losses: for each report, the mean loss of its steps. Training ends when one is NaN or infinite.
      seconds: time of the steps, over all runs.
      rate: steps a second, the median over the reports of this run. The first report includes compilation and
        is left out, so the rate is NaN until the second.

    Source: docs/architecture.md
    """

    done: int
    params: Any
    losses: list[float]
    seconds: float
    rate: float

    @property
    def finite(self) -> bool:
        """Whether no loss was NaN or infinite."""
        return bool(np.isfinite(self.losses).all())


def train(
    key: jax.Array,
    optimiser: optax.GradientTransformation,
    steps: Steps,
    params: Any,
    loss: Loss,
    data: Any,
    *,
    fixed: Any = None,
    saved: progress.Progress | None = None,
    on_step: Callable[[Trained], None] | None = None,
) -> Trained:
    """Minimise ``loss(params, fixed, batch)`` over the batches of some data.

    Args:
      key: draws the order of the rows. The order of a pass depends only on the key and the pass's number, so
        training that resumes gives the same result.
      optimiser: turns gradients into updates. Its schedule may depend on the number of steps.
      steps: number of steps, rows of a batch, and steps between reports.
      params: the first parameters, a pytree of arrays.
      loss: a pure function that returns a ``float32 []``; it is compiled once.
      data: a pytree of arrays ``[N, ...]`` in host memory; a batch is some rows of each. It may be a function
        that makes this pytree; the function is called only if a step is left.
      fixed: a pytree that is not trained.
      saved: the folder to save to and to resume from. Training is saved at reports, for at most about a
        twentieth of the time, and always at the end.
      on_step: called with the state at every report and at the end.

    Returns:
      The state after the last step. Training ends early after a loss that is NaN or infinite.

    Source: docs/architecture.md
    """
    step = in_32_bits(jax.jit(functools.partial(_step, optimiser, loss), donate_argnums=0))
    state, reached = _begin(optimiser, params, saved)
    if reached.done >= steps.count or not reached.finite:
        return reached
    data = data() if callable(data) else data
    count = len(jax.tree.leaves(data)[0])
    batch = min(steps.batch, count)
    order, losses, rates = None, [], []
    started, stored, cost = time.perf_counter(), 0.0, 0.0
    for number in range(reached.done, steps.count):
        turn, at = divmod(number, count // batch)
        if at == 0 or order is None:
            order = np.asarray(jax.random.permutation(jax.random.fold_in(key, turn), count))
        rows = order[at * batch : (at + 1) * batch]
        state, value = step(state, fixed, jax.tree.map(lambda x, rows=rows: x[rows], data))
        losses.append(value)
        done = number + 1
        if done % steps.report and done < steps.count:
            continue
        # A copy, because the next step donates the buffers.
        params, mean = jax.tree.map(np.array, state[0]), float(np.mean(losses))
        now = time.perf_counter()
        rates.append((done - reached.done) / (now - started))
        rate = float(np.median(rates[1:])) if len(rates) > 1 else float("nan")
        spent = reached.seconds + now - started
        reached, losses = Trained(done, params, [*reached.losses, mean], spent, rate), []
        last = done == steps.count or not reached.finite
        if saved and (last or now - stored > 20 * cost):
            _save(saved, state, reached)
            stored = time.perf_counter()
            cost = stored - now
        if on_step:
            on_step(reached)
        if not reached.finite:
            break
        started = time.perf_counter()
    return reached


@in_32_bits
def _begin(optimiser, params, saved: progress.Progress | None) -> tuple[Any, Trained]:
    """Make the first state, or load the saved one: parameters with the optimiser's state, and a `Trained`."""
    state = jax.tree.map(jnp.array, (params, optimiser.init(params)))

    def take(arrays, about):
        folders.check_form(arrays, _named(state))
        leaves = [jnp.asarray(arrays[name]) for name in _named(state)]
        whole = jax.tree.unflatten(jax.tree.structure(state), leaves)
        done = checks.integer("done", about["done"], checks.Limits(least=0))
        losses, seconds = [float(x) for x in about["losses"]], float(about["seconds"])
        return whole, Trained(done, jax.tree.map(np.array, whole[0]), losses, seconds, float("nan"))

    latest = saved.latest(take) if saved else None
    return latest or (state, Trained(0, params, [], 0.0, float("nan")))


def _named(state) -> dict[str, Any]:
    return {f"{i:04d}": x for i, x in enumerate(jax.tree.leaves(state))}


def _save(saved: progress.Progress, state, reached: Trained) -> None:
    arrays = {name: np.array(x) for name, x in _named(state).items()}
    saved.save(arrays, {"done": reached.done, "losses": reached.losses, "seconds": reached.seconds})


def _step(optimiser, loss, state, fixed, batch):
    params, memory = state
    value, slopes = jax.value_and_grad(loss)(params, fixed, batch)
    updates, memory = optimiser.update(slopes, memory, params)
    return (optax.apply_updates(params, updates), memory), value
