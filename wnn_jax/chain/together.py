"""Runs two pieces of work at once: two chain models read a text, each in a thread of its own.

XLA lets other threads run while it computes, so that two models take the time of one on two cores. They share
nothing, and the results are those of one after the other.

Source: docs/semantics/chain.md
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from wnn_jax.chain.fitted import ChainStep, OnStep

T = TypeVar("T")
_STAGES = ("fitting", "reading", "scoring")


class _Stopped(Exception):
    """Ends one piece of work because the other one has failed."""


def both(first: Callable[[OnStep], T], second: Callable[[OnStep], T], on_step: OnStep | None) -> tuple[T, T]:
    """Runs two functions at once and returns their results.

    If one raises an exception, or the user interrupts, the other ends at its next step.

    Args:
      first: gets an ``on_step`` to call; it runs in the calling thread.
      second: the same; it runs in another thread.
      on_step: called at each step of either with the `ChainStep` of the one that is behind; not before both
        have taken a step, or have ended.

    Source: docs/semantics/chain.md
    """
    lock, failed, reached, ended = threading.Lock(), threading.Event(), {}, set()

    def run(which: int, work: Callable[[OnStep], T]) -> T:
        def show(step: ChainStep) -> None:
            if failed.is_set():
                raise _Stopped
            with lock:
                reached[which] = step
                if on_step and len({*reached, *ended}) == 2:
                    on_step(min(reached.values(), key=_share))

        try:
            found = work(show)
            ended.add(which)
            return found
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(run, 1, second)
        try:
            found = run(0, first)
        except _Stopped:
            later.result()  # raises what ended the second
            raise
        return found, later.result()


def _share(step: ChainStep) -> tuple[int, float]:
    return _STAGES.index(step.stage), step.done / max(step.total, 1)
