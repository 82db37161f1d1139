"""Minibatch training of a pytree of parameters, resumable to the last bit, and the windows it reads."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax


def cut(tokens: np.ndarray, window: int) -> np.ndarray:
    """Windows ``int32 [N, window + 1]`` of a stream that overlap in one token, so that each is a target once.

    The first token is no target; what does not fill a window at the end is left out.

    Raises:
      ValueError: there is no whole window.
    """
    count = (len(tokens) - 1) // window
    if count < 1:
        raise ValueError(f"{len(tokens)} tokens hold no window of {window} and a target")
    return np.stack([tokens[i * window : (i + 1) * window + 1] for i in range(count)]).astype(np.int32)


def stream(windows: np.ndarray) -> np.ndarray:
    """The tokens that `cut` made windows of, each once."""
    return np.concatenate([windows[:, :-1].ravel(), windows[-1:, -1]])


def overlapping(tokens: np.ndarray, window: int) -> np.ndarray:
    """Windows ``int32 [N, window + 1]`` of a stream, each half a window after the one before.

    The targets of their second halves are the stream's, each once, after the first half window.

    Raises:
      ValueError: the window is odd, or there is no whole one.
    """
    if window % 2 or len(tokens) <= window:
        raise ValueError(
            f"windows that overlap by half need an even length and a token more, got {len(tokens)} tokens "
            f"and windows of {window}"
        )
    halves = cut(tokens, window // 2)
    return np.concatenate([halves[:-1, :-1], halves[1:]], axis=1)


class Trained(NamedTuple):
    """Where training stands; all arrays are in host memory.

    Attributes:
      done: steps.
      loss: mean since the last time.
      params: what was learnt.
      leaves: parameters and the optimiser's state, to go on from.
    """

    done: int
    loss: float
    params: Any
    leaves: list[np.ndarray]


def named(leaves: list[np.ndarray]) -> dict[str, np.ndarray]:
    """`Trained.leaves` by name, to be saved."""
    return {f"{i:04d}": x for i, x in enumerate(leaves)}


def unnamed(arrays: Mapping[str, np.ndarray], params: Any) -> tuple[Any, list[np.ndarray]]:
    """What `named` gave, as parameters of the same form as ``params`` and as all leaves."""
    leaves = [arrays[f"{i:04d}"] for i in range(len(arrays))]
    form = jax.tree.structure(params)
    return jax.tree.unflatten(form, leaves[: form.num_leaves]), leaves


def train(
    key: jax.Array,
    optimiser: optax.GradientTransformation,
    batch: int,
    steps: int,
    every: int,
    params: Any,
    loss_of: Callable[[Any, Any, Any], jax.Array],
    fixed: Any,
    data: Any,
    start: tuple[int, list[np.ndarray]] | None = None,
) -> Iterator[Trained]:
    """Steps that make ``loss_of(params, fixed, batch)`` small, yielded ``every`` so many and at the end.

    Args:
      key: decides the order of each pass over the data, by its number alone, so that training resumes to the
        same end.
      optimiser: of the gradients; it may know the number of steps.
      batch: rows a step, no more than there are; what does not fill a batch is left out of a pass.
      steps: in all, over as many passes as they take.
      every: steps.
      params: where to begin.
      loss_of: pure; it is compiled once.
      fixed: a pytree that is not trained.
      data: a pytree of arrays ``[N, ...]`` in host memory; batches are rows of it.
      start: steps done, and the leaves then, to go on from there.
    """
    count = len(jax.tree.leaves(data)[0])
    each = count // batch
    step = jax.jit(functools.partial(_step, optimiser, loss_of), donate_argnums=0)
    state = jax.tree.map(jnp.array, (params, optimiser.init(params)))
    done, order, losses = 0, np.array([]), []
    if start:
        done, leaves = start
        state = jax.tree.unflatten(jax.tree.structure(state), [jnp.asarray(x) for x in leaves])
    for number in range(done, steps):
        turn, at = divmod(number, each)
        if at == 0 or number == done:
            order = np.asarray(jax.random.permutation(jax.random.fold_in(key, turn), count))
        rows = order[at * batch : (at + 1) * batch]
        state, value = step(state, fixed, jax.tree.map(lambda x, rows=rows: x[rows], data))
        losses.append(value)
        if (number + 1) % every == 0 or number + 1 == steps:
            reached = jax.tree.map(np.array, state)  # copies: the buffers are given away
            yield Trained(number + 1, float(np.mean(losses)), reached[0], jax.tree.leaves(reached))
            losses = []


def _step(optimiser, loss_of, state, fixed, batch):
    params, memory = state
    value, slopes = jax.value_and_grad(loss_of)(params, fixed, batch)
    updates, memory = optimiser.update(slopes, memory, params)
    return (optax.apply_updates(params, updates), memory), value
