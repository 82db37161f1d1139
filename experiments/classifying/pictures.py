"""Pictures of `experiments.classify`. Each function takes arrays and writes one PNG file."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.shared import plots
from experiments.shared.plots import plt

_SIZE = (7.0, 4.2)
_MOST_LABELS = 30  # labels beyond that are numbers only


def confusion(path: pathlib.Path, y: np.ndarray, predicted: np.ndarray, labels: Sequence[str]) -> None:
    """Draw the share of the test rows of each class that each class was predicted for."""
    classes = len(labels)
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (y, predicted), 1)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = 3.4 + 0.35 * min(classes, _MOST_LABELS)
    figure, axes = plt.subplots(figsize=(side + 0.8, side))
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if classes <= 12:
        for (i, j), count in np.ndenumerate(counts):
            color = "white" if share[i, j] > 0.5 else "0.3"
            axes.text(j, i, f"{count:,}" if count else "", ha="center", va="center", color=color, fontsize=7)
    if classes <= _MOST_LABELS:
        axes.set_xticks(np.arange(classes), labels, rotation=90)
        axes.set_yticks(np.arange(classes), labels)
    axes.set(xlabel="predicted", ylabel="true", title="Test rows by true and predicted class")
    figure.colorbar(image, ax=axes, label="share of the rows of a class", shrink=0.8)
    plots.save(figure, path)


def mental_images(
    path: pathlib.Path, images: np.ndarray, labels: Sequence[str], names: Sequence[str], shape
) -> None:
    """Draw what the counts of each class remember of each feature: an image if the features are pixels.

    Args:
      path: the file to write.
      images: ``[K, F]``, from 0 to 1.
      labels: the names of the classes.
      names: the names of the features.
      shape: the height and width of an image, or None.
    """
    title = "What each class was written with: share of bits that are 1"
    if shape is None:
        wide = 2.5 + 0.25 * min(len(names), 60)
        figure, axes = plt.subplots(figsize=(wide, 3.6 + 0.3 * min(len(labels), 40)))
        picture = axes.imshow(images, cmap="viridis", vmin=0, vmax=1, aspect="auto")
        axes.set_yticks(np.arange(len(labels)), labels)
        if len(names) <= 60:
            axes.set_xticks(np.arange(len(names)), names, rotation=90)
        axes.set_title(title)
        figure.colorbar(picture, ax=axes)
        plots.save(figure, path)
        return
    across = min(5, len(labels))
    down = -(-len(labels) // across)
    figure, panels = plt.subplots(down, across, figsize=(1.5 * across, 0.5 + 1.7 * down), squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    for axes, image, label in zip(panels.flat, images, labels, strict=False):
        axes.imshow(image.reshape(shape), cmap="gray_r", vmin=0, vmax=max(float(images.max()), 1e-9))
        axes.set_title(label)
    figure.suptitle(title)
    plots.save(figure, path)


def by_size(
    path: pathlib.Path,
    points: Mapping[str, Mapping[float, Sequence[float]]],
    others: Mapping[str, tuple[float, float]],
    label: str,
) -> None:
    """Draw a score against the size of a model; a line for each kind of cells, a dot for each baseline.

    Args:
      path: the file to write.
      points: for each kind of model, its scores by its size in KiB, one score for each seed.
      others: the size and the score of each baseline.
      label: the score, in words.
    """
    figure, axes = plt.subplots(figsize=_SIZE)
    for name, by_kib in points.items():
        sizes = sorted(by_kib)
        means = np.array([np.mean(by_kib[size]) for size in sizes])
        least, most = (np.array([end(by_kib[size]) for size in sizes]) for end in (min, max))
        axes.errorbar(
            sizes, means, yerr=[means - least, most - means], marker="o", markersize=4, capsize=2, label=name
        )
    best = [max(scores) for by_kib in points.values() for scores in by_kib.values()]
    bottom = max(0.0, min(best) - 0.1)
    for i, (name, (size, score)) in enumerate(others.items()):
        # A trivial baseline far below would leave no room for the others.
        shown = name if score > bottom else f"{name}: {score:.3f}, below the picture"
        axes.plot([size], [score], "sD^vPX"[i % 6], color="0.5", label=shown)
    axes.set_ylim(bottom=bottom)
    axes.set_xscale("log")
    axes.set(xlabel="size (KiB)", ylabel=label)
    axes.set_title("Score against size: tables of our models, saved sizes of the baselines")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    plots.save(figure, path)


def bleaching(
    path: pathlib.Path, thresholds: np.ndarray, accuracy: np.ndarray, ties: np.ndarray, chosen: int
) -> None:
    """Draw the leave-one-out accuracy on the training rows, and the share of ties, by the threshold."""
    figure, axes = plt.subplots(figsize=_SIZE)
    axes.plot(thresholds, accuracy, marker="o", markersize=4, label="accuracy, each row left out")
    axes.plot(thresholds, ties, marker="o", markersize=4, color="0.6", label="share of ties")
    axes.axvline(chosen, color="tab:red", linewidth=1, label=f"chosen: {chosen}")
    axes.set_xscale("log")
    axes.set(xlabel="count from which on a cell votes", ylabel="share of the training rows", ylim=(0, 1))
    axes.set_title("Bleaching, chosen on the training rows")
    axes.grid(alpha=0.3)
    axes.legend()
    plots.save(figure, path)


def drift(path: pathlib.Path, curves: Mapping[str, np.ndarray], block: int, change: int) -> None:
    """Draw the accuracy on the rows of a stream, each predicted before it was learnt.

    Args:
      path: the file to write.
      curves: the accuracy of each block of rows.
      block: the number of rows of a block.
      change: the number of rows after which the classes begin to change places.
    """
    figure, axes = plt.subplots(figsize=_SIZE)
    for name, curve in curves.items():
        axes.plot((np.arange(len(curve)) + 1) * block, curve, linewidth=1.2, label=name)
    axes.axvline(change, color="0.6", linewidth=1)
    axes.set(xlabel="rows of the stream (line: the drift begins)", ylabel="accuracy on the next rows")
    axes.set_title("A stream that drifts, with and without decay")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    plots.save(figure, path)
