"""The cases of the table export: what exported models cost, and whether they compute what Python computes.

The cells are random: neither time nor equality depends on training. The images are those of MNIST where its
files are, otherwise the digits of scikit-learn.
"""

import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from wnn_jax import export
from wnn_jax.classify import Classifier, EncoderConfig, MappingConfig, encoders, model
from wnn_jax.classify.mapping import generator
from wnn_jax.data import tables
from wnn_jax.data.tables import TableConfig

_SHAPES = {
    "flat": MappingConfig(432, 5, windows=(7,)),
    "slid": MappingConfig(216, 6, windows=(5,), slide=2),
    "small": MappingConfig(48, 5, windows=(7,)),
}
_SIMULATED = 1000  # rows of a circuit
_SHOWN = 4  # rows on the simulated Arduino

Numbers = dict[str, float]


def planned() -> list[str]:
    """List the cases."""
    return [f"export:{way}:{shape}:0" for way in ("c", "avr") for shape in ("flat", "slid")] + [
        "export:verilator:small:0",
        "export:area:small:0",
    ]


def run(seed: int, way: str, shape: str) -> Numbers:
    """Export a model of random cells, run it on test images, and measure it.

    Raises:
      ValueError: a score differs from Python's, or a program is missing.
    """
    data = tables.load(TableConfig("mnist" if os.environ.get("WNN_JAX_DATA") else "digits"))
    rng, classes = generator(jax.random.key(seed)), len(data.labels)
    encoder = encoders.fit(EncoderConfig("linear", bits=2, shared=True), data.X)
    mapping = model.draw_mapping(rng, _SHAPES[shape], encoder, data.image)
    cells = rng.choice(np.array([-1, 1], np.int8), (_SHAPES[shape].tables, _SHAPES[shape].entries, classes))
    made = Classifier(encoder, mapping, cells, 0.1, data.labels)
    return _WAYS[way](made, data.X_test)


def _c(made: Classifier, X: np.ndarray) -> Numbers:
    times = {}
    for flag in ("-O3", "-O2", "-Os"):
        report = _equal(export.verify(made, X, backend="c", optimise=flag))
        times[f"microseconds{flag.replace('-', '_')}"] = report.microseconds or 0.0
    return {"rows": len(X), **times, **{f"{name}_kib": kib for name, kib in export.size(made).kib.items()}}


def _avr(made: Classifier, X: np.ndarray) -> Numbers:
    report = _equal(export.verify(made, X[:_SHOWN], backend="avr"))
    most = max(report.cycles)
    return {
        "rows": _SHOWN,
        "cycles": most,
        "milliseconds": most / 16_000,
        "flash": report.flash or 0,
        "ram": report.ram or 0,
    }


def _verilator(made: Classifier, X: np.ndarray) -> Numbers:
    report = _equal(export.verify(made, X[:_SIMULATED], backend="verilator"))
    return {"rows": report.rows, "seconds": report.seconds}


def _area(made: Classifier, X: np.ndarray) -> Numbers:
    found = export.area(made)
    return {**found._asdict(), "total": found.total}


_WAYS: dict[str, Callable[[Classifier, np.ndarray], Numbers]] = {
    "c": _c,
    "avr": _avr,
    "verilator": _verilator,
    "area": _area,
}


def _equal(report: Any) -> Any:
    if not report.equal:
        raise ValueError(
            f"{report.wrong} scores of {report.backend} differ from Python's: report it with the case"
        )
    return report


def show(found: dict[str, Numbers]) -> None:
    """Print the numbers of each case."""
    print("\nexported models, every score equal to Python's")
    for case, numbers in found.items():
        _, way, shape, _ = case.split(":")
        if case.startswith("export:"):
            print(
                f"{way:>10} {shape:<6}" + ", ".join(f"{name} {value:,.4g}" for name, value in numbers.items())
            )
    print(
        "flat: 432 tables of 5 pins; slid: 216 of 6 pins, each read at 4 places; small: 48 of 5 pins; 10\n"
        "classes, 1 bit a cell. c: microseconds a row by the flag of gcc, one core. avr: the most cycles of\n"
        "a row on a simulated Arduino Uno at 16 MHz, bytes of program and tables, and of memory.\n"
        "area: lookup tables of 6 inputs, by part."
    )
