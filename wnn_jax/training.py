"""Minibatch training of a pytree of parameters, resumable to the last bit."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wnn_jax.saving import progress

Loss = Callable[[Any, Any, Any], jax.Array]  # of parameters, what is not trained, and a batch


@dataclasses.dataclass(frozen=True)
class Steps:
    """How long parameters are trained.

    Attributes:
      count: steps in all, over as many passes over the data as they take.
      batch: rows a step, no more than there are; what does not fill a batch is left out of a pass.
      report: steps between two reports.
    """

    count: int
    batch: int
    report: int


class Trained(NamedTuple):
    """Where training stands; all arrays are in host memory.

    Attributes:
      done: steps.
      params: what was learnt.
      losses: mean loss of the steps before each report. Training ends at one that is not finite.
      seconds: spent on the steps, over all runs.
      rate: steps a second, the median over the reports of this run; NaN after the first, which compiles.
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
    """Steps that make ``loss(params, fixed, batch)`` small.

    Args:
      key: decides the order of each pass over the data, by its number alone, so that training resumes to the
        same end.
      optimiser: of the gradients; it may know the number of steps.
      params: where to begin.
      loss: pure; it is compiled once.
      data: a pytree of arrays ``[N, ...]`` in host memory; batches are rows of it. It may be a function that
        makes them, which is called only if there is a step left.
      fixed: a pytree that is not trained.
      saved: where training is saved at a report, and resumed from; saving takes at most a twentieth of the
        time, but for the last.
      on_step: called at every report and at the end.
    """
    step = jax.jit(functools.partial(_step, optimiser, loss), donate_argnums=0)
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
        # A copy, for the buffers are given away.
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


def _begin(optimiser, params, saved: progress.Progress | None) -> tuple[Any, Trained]:
    """Parameters with the optimiser's state, and where training stands: where it was saved, if it was."""
    state = jax.tree.map(jnp.array, (params, optimiser.init(params)))
    latest = saved.latest() if saved else None
    if latest is None:
        return state, Trained(0, params, [], 0.0, float("nan"))
    arrays, about = latest
    leaves = [jnp.asarray(arrays[f"{i:04d}"]) for i in range(len(arrays))]
    state = jax.tree.unflatten(jax.tree.structure(state), leaves)
    params = jax.tree.map(np.array, state[0])
    return state, Trained(about["done"], params, about["losses"], about["seconds"], float("nan"))


def _save(saved: progress.Progress, state, reached: Trained) -> None:
    arrays = {f"{i:04d}": np.array(x) for i, x in enumerate(jax.tree.leaves(state))}
    saved.save(arrays, {"done": reached.done, "losses": reached.losses, "seconds": reached.seconds})


def _step(optimiser, loss, state, fixed, batch):
    params, memory = state
    value, slopes = jax.value_and_grad(loss)(params, fixed, batch)
    updates, memory = optimiser.update(slopes, memory, params)
    return (optax.apply_updates(params, updates), memory), value
