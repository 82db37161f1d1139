"""The speed of long work along its way."""

import numpy as np

from experiments.shared import pace


def test_the_speeds_of_ten_parts_are_those_of_the_clock(monkeypatch):
    clock = iter(np.concatenate([[0.0], np.cumsum([1.0] * 10 + [2.0] * 10)]))
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(clock))
    noted = pace.Pace("reading")
    for done in range(100, 2200, 100):
        noted.note("reading", done)
        noted.note("scoring", done)
    np.testing.assert_allclose(noted.tenths(), [100.0] * 5 + [50.0] * 5)


def test_ten_notes_are_too_few_for_ten_parts():
    noted = pace.Pace("reading")
    for done in range(10):
        noted.note("reading", done)
    assert noted.tenths() is None
