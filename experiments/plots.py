"""Pictures of a run. Every function takes arrays and writes one PNG."""

import pathlib
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np

from wnn_jax import metrics

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # after the choice of its backend

_SIZE = (7.0, 4.2)


def _save(figure, path: pathlib.Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def bit_accuracy(path: pathlib.Path, model: np.ndarray, marginal: np.ndarray, label: str) -> None:
    """Accuracy of every bit of the token beside always guessing its commoner value."""
    figure, axes = plt.subplots(figsize=_SIZE)
    place = np.arange(len(model))
    axes.bar(place - 0.2, marginal, 0.4, color="0.75", label="always the commoner value")
    axes.bar(place + 0.2, model, 0.4, color="tab:blue", label=label)
    axes.set(xlabel="bit of the token id (0 = most significant)", ylabel="accuracy")
    axes.set_ylim(max(0.0, min(model.min(), marginal.min()) - 0.05), 1.0)
    axes.set_xticks(place)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False)
    axes.set_title("What each bit's neurons add to its marginal")
    _save(figure, path)


def reliability(path: pathlib.Path, curves: Mapping[str, metrics.Reliability]) -> None:
    """Predicted against observed frequency of ones; the size of a dot is the share of predictions."""
    figure, axes = plt.subplots(figsize=(5.2, 5.0))
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="calibrated")
    for label, curve in curves.items():
        line = axes.plot(curve.predicted, curve.observed, linewidth=1, label=label)[0]
        area = 600 * curve.size / curve.size.sum()
        axes.scatter(curve.predicted, curve.observed, s=area, color=line.get_color(), alpha=0.5)
    axes.set(xlabel="predicted P(bit = 1)", ylabel="observed share of ones")
    axes.set_title("Reliability of the bits (dot area: share of predictions)")
    axes.legend(loc="upper left")
    _save(figure, path)


def learning_curve(path: pathlib.Path, tokens: Sequence[int], curves: Mapping[str, Sequence[float]]) -> None:
    """Cross-entropy of the same held-out text against the number of training tokens."""
    figure, axes = plt.subplots(figsize=_SIZE)
    for label, values in curves.items():
        axes.plot(tokens, values, marker="o", markersize=4, label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(tokens, [f"{count:,}" for count in tokens])
    axes.minorticks_off()
    axes.set(xlabel="training tokens", ylabel="cross-entropy (nats a token)")
    axes.set_title("Cross-entropy of the evaluated text; lower is better")
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)
