"""The speed of long work along its way."""

import time

import numpy as np


class Pace:
    """Notes when parts of one stage of some work were done.

    Attributes:
      stage: the stage; others are not noted.
    """

    def __init__(self, stage: str):
        self.stage = stage
        self._done: list[int] = []
        self._at: list[float] = []

    def note(self, stage: str, done: int) -> None:
        """Take down that ``done`` pieces of a stage are done now."""
        if stage == self.stage:
            self._done.append(done)
            self._at.append(time.perf_counter())

    def tenths(self) -> list[float] | None:
        """Return the pieces a second of ten parts of equal size, in their order.

        The parts lie between the first and the last note; times between two notes are interpolated. None if
        there are fewer than eleven notes, too few to tell ten parts apart.
        """
        if len(self._done) < 11:
            return None
        ends = np.linspace(self._done[0], self._done[-1], 11)
        return [float(x) for x in np.diff(ends) / np.diff(np.interp(ends, self._done, self._at))]
