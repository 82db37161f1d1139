"""Pictures of a run. Each function takes arrays and writes one PNG file, and its numbers beside it."""

import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np

from experiments.shared import views
from wnn_jax import files, metrics, search

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # pyplot must be imported after the backend is chosen

_SIZE = (7.0, 4.2)


def save(figure, path: pathlib.Path) -> None:
    """Write a picture, and close it."""
    figure.tight_layout()
    _write(figure, path)


def _write(figure, path: pathlib.Path) -> None:
    with files.writing(path) as file:
        figure.savefig(file, dpi=120, format="png")
    views.keep(figure, path)
    plt.close(figure)


def bit_accuracy(path: pathlib.Path, model: np.ndarray, marginal: np.ndarray, label: str) -> None:
    """Draw the accuracy of each bit of the token, beside that of always guessing the commoner value."""
    figure, axes = plt.subplots(figsize=_SIZE)
    place = np.arange(len(model))
    axes.bar(place - 0.2, marginal, 0.4, color="0.75", label="always the commoner value")
    axes.bar(place + 0.2, model, 0.4, color="tab:blue", label=label)
    axes.set(xlabel="bit of the token id (0 = most significant)", ylabel="accuracy")
    axes.set_ylim(max(0.0, min(model.min(), marginal.min()) - 0.05), 1.0)
    axes.set_xticks(place)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, frameon=False)
    axes.set_title("Accuracy of each bit, beside guessing its commoner value")
    save(figure, path)


def reliability(path: pathlib.Path, curves: Mapping[str, metrics.Reliability]) -> None:
    """Draw predicted against observed frequencies of ones; the area of a dot is its share of predictions."""
    figure, axes = plt.subplots(figsize=(5.2, 5.0))
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="calibrated")
    for label, curve in curves.items():
        line = axes.plot(curve.predicted, curve.observed, linewidth=1, label=label)[0]
        area = 600 * curve.size / curve.size.sum()
        axes.scatter(curve.predicted, curve.observed, s=area, color=line.get_color(), alpha=0.5)
    axes.set(xlabel="predicted P(bit = 1)", ylabel="observed share of ones")
    axes.set_title("Reliability of the bits (dot area: share of predictions)")
    axes.legend(loc="upper left")
    save(figure, path)


def learning_curve(path: pathlib.Path, tokens: Sequence[int], curves: Mapping[str, Sequence[float]]) -> None:
    """Draw the cross-entropy of one held-out text against the number of training tokens."""
    title = "Cross-entropy of the evaluated text; lower is better"
    _against_tokens(path, tokens, curves, "cross-entropy (nats a token)", title)


def training_cost(path: pathlib.Path, tokens: Sequence[int], curves: Mapping[str, Sequence[float]]) -> None:
    """Draw the microseconds a training token against the number of training tokens."""
    _against_tokens(path, tokens, curves, "microseconds a token", "Training time a token")


def _against_tokens(path, tokens, curves, unit: str, title: str) -> None:
    figure, axes = plt.subplots(figsize=_SIZE)
    for label, values in curves.items():
        axes.plot(tokens, values, marker="o", markersize=4, label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(tokens, [f"{count:,}" for count in tokens])
    axes.minorticks_off()
    axes.set(xlabel="training tokens", ylabel=unit)
    axes.set_ylim(bottom=0 if unit.startswith("micro") else None)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)


def search_curve(path: pathlib.Path, history: Sequence[search.Report]) -> None:
    """Draw the best and mean cross-entropy of each generation, on the scored fold and on validation text."""
    figure, axes = plt.subplots(figsize=_SIZE)
    steps = np.arange(1, len(history) + 1)
    axes.plot(steps, [line.mean for line in history], color="0.7", linewidth=1, label="mean, scored fold")
    axes.plot(steps, [line.best for line in history], color="tab:blue", label="best, scored fold")
    checked = [i for i, line in enumerate(history) if line.validation is not None]
    validation = np.array([history[i].validation for i in checked], float)
    axes.plot(steps[checked], validation, color="tab:red", marker=".", label="best, validation text")
    for i in range(1, len(history)):
        if history[i].phase != history[i - 1].phase:
            axes.axvline(i + 0.5, color="0.85", linewidth=1)
    axes.set(xlabel="generation (a line where a phase ends)", ylabel="cross-entropy (nats a token)")
    axes.set_title("The search; its curve jumps when the scored fold changes")
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)


def connections(path: pathlib.Path, before: np.ndarray, after: np.ndarray, context: int) -> None:
    """Draw the number of neurons of each cluster that read each input bit, before and after a search."""
    figure, panels = plt.subplots(2, 1, figsize=(_SIZE[0], 6.0), sharex=True)
    inputs = int(max(before.max(), after.max())) + 1
    counts = [
        np.stack([np.bincount(cluster[cluster >= 0], minlength=inputs) for cluster in genome])
        for genome in (before, after)
    ]
    top = max(count.max() for count in counts)
    images = []
    for axes, count, label in zip(panels, counts, ("before", "after"), strict=True):
        look = {"vmin": 0, "vmax": top, "cmap": "viridis", "interpolation": "nearest"}
        images.append(axes.imshow(count, aspect="auto", **look))
        axes.set(ylabel=f"cluster, {label}")
        for token in range(1, context):
            axes.axvline(token * inputs / context - 0.5, color="white", linewidth=0.5)
    panels[1].set_xlabel("input bit, oldest token first (white: token borders)")
    panels[0].set_title("The number of neurons that read each input bit")
    figure.colorbar(images[0], ax=panels, label="neurons")
    _write(figure, path)


def size_against_loss(path: pathlib.Path, checks: Sequence[search.Report]) -> None:
    """Draw the validation cross-entropy of the best genomes against the size of their tables."""
    figure, axes = plt.subplots(figsize=_SIZE)
    for name in dict.fromkeys(line.phase for line in checks):
        lines = [line for line in checks if line.phase == name]
        sizes = [line.mebibits / 8 for line in lines]
        axes.plot(
            sizes, np.array([line.validation for line in lines], float), marker=".", linewidth=0.7, label=name
        )
    axes.set(xlabel="tables (MiB)", ylabel="validation cross-entropy (nats a token)")
    axes.set_title("Size against cross-entropy, best genome by generation")
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)


def by_ratings(path: pathlib.Path, rows: Sequence[Mapping[str, Any]], value: str, label: str) -> None:
    """Draw a score, the mean over seeds, against the number of ratings of a person; baselines are grey."""
    figure, axes = plt.subplots(figsize=(8.0, 5.0))
    grey = ("always", "copy", "user")
    axes.set_prop_cycle(color=matplotlib.colormaps["tab20"](range(20)))
    for name in dict.fromkeys(row["row"] for row in rows):
        mine = [row for row in rows if row["row"] == name]
        sizes = sorted({row["shown"] for row in mine})
        means = [np.mean([row[value] for row in mine if row["shown"] == size]) for size in sizes]
        plain = name.startswith(grey)
        line = axes.plot(sizes, means, marker="o", markersize=4, linewidth=1, label=name)[0]
        if plain:
            line.set(color="0.6", linestyle="--")
    axes.set_xscale("log")
    sizes = sorted({row["shown"] for row in rows})
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set(xlabel="ratings of a person (four fifths of them learnt)", ylabel=label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    save(figure, path)


def latency(path: pathlib.Path, rows: Sequence[int], curves: Mapping[str, Sequence[float]]) -> None:
    """Draw the microseconds an answer against the number of rows of an agent."""
    figure, axes = plt.subplots(figsize=_SIZE)
    for label, values in curves.items():
        axes.loglog(rows, values, marker="o", markersize=4, label=label)
    axes.axhline(1000, color="0.7", linestyle="--", label="1 ms")
    axes.set(xlabel="rows of the agent", ylabel="microseconds an answer")
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)


def forgetting(path: pathlib.Path, means: Mapping[str, np.ndarray], heads: Sequence[str]) -> None:
    """Draw the mean stars of films of the forgotten genre and of other films, before and after."""
    figure, axes = plt.subplots(figsize=_SIZE)
    width = 0.8 / len(means)
    for i, (name, values) in enumerate(means.items()):
        axes.bar(
            np.arange(len(heads)) + (i - (len(means) - 1) / 2) * width,
            values[: len(heads)],
            width,
            label=name,
        )
    axes.set_xticks(np.arange(len(heads)), heads)
    axes.set(ylabel="mean stars", ylim=(0, 5))
    axes.grid(alpha=0.3, axis="y")
    axes.legend()
    save(figure, path)


def drift(path: pathlib.Path, curves: Mapping[str, np.ndarray], flip: int) -> None:
    """Draw the share of ratings predicted within one star, a running mean of five, about the flip."""
    figure, axes = plt.subplots(figsize=(8.0, 4.6))
    for name, curve in curves.items():
        smooth = np.convolve(curve, np.ones(5) / 5, "valid")
        axes.plot(np.arange(len(smooth)) - flip, smooth, linewidth=1.2, label=name)
    axes.axvline(0, color="0.6", linewidth=1)
    axes.set(xlabel="ratings since tastes flipped (mean of five)", ylabel="share within one star")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    save(figure, path)


def by_distance(
    path: pathlib.Path,
    title: str,
    curves: Mapping[str, Mapping[int, float]],
    gray: Collection[str],
    trained: int,
) -> None:
    """Draw accuracies against the distance to what is asked for.

    Args:
      path: the file to write.
      title: the title.
      curves: the accuracy at each distance, by row; NaN where it is not known.
      gray: the rows to draw in gray, such as baselines.
      trained: the largest distance of training, where a line is drawn.
    """
    figure, axes = plt.subplots(figsize=(8.0, 4.6))
    colors = iter(matplotlib.colormaps["tab20"](range(20)))
    for name, curve in curves.items():
        line = axes.plot(list(curve), list(curve.values()), marker="o", markersize=3, label=name)[0]
        if name in gray:
            line.set(color="0.6", linestyle="--")
        else:
            line.set(color=next(colors))
    distances = sorted({distance for curve in curves.values() for distance in curve})
    axes.axvline(trained, color="0.8", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_xticks(distances, map(str, distances))
    axes.minorticks_off()
    axes.set(xlabel="distance in tokens (line: the largest of training)", ylabel="accuracy", title=title)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    save(figure, path)


def bars(
    path: pathlib.Path, values: Mapping[str, Sequence[float]], label: str, gray: Collection[str] = ()
) -> None:
    """Draw a bar for each row: the mean over seeds, with whiskers from the lowest to the highest.

    Args:
      path: the file to write.
      values: the values of each row, one for each seed.
      label: the label of the axis.
      gray: the rows to draw in gray, such as baselines.
    """
    figure, axes = plt.subplots(figsize=(_SIZE[0], 1.2 + 0.35 * len(values)))
    means = np.array([np.mean(x) for x in values.values()])
    ends = np.array([[m - min(x), max(x) - m] for m, x in zip(means, values.values(), strict=True)]).T
    colors = ["0.6" if name in gray else "tab:blue" for name in values]
    axes.barh(np.arange(len(values)), means, xerr=ends, color=colors, alpha=0.8)
    axes.set_yticks(np.arange(len(values)), list(values))
    axes.invert_yaxis()
    low, high = min(min(x) for x in values.values()), max(max(x) for x in values.values())
    axes.set(xlabel=label, xlim=(max(0.0, low - max(0.05, high - low)), None))
    axes.grid(alpha=0.3, axis="x")
    save(figure, path)


def reconstruction(path: pathlib.Path, points: np.ndarray) -> None:
    """Draw the cosine of reads at held-out and written keys by patterns a location, beside published ones.

    Args:
      path: the file to write.
      points: ``[n, 3]``: patterns a location, the cosine of held-out keys, the cosine of written keys.
    """
    figure, axes = plt.subplots(figsize=_SIZE)
    axes.plot([410, 205, 82], [0.768, 0.805, 0.844], color="0.6", linestyle="--", label="published")
    for column, label in ((1, "held out"), (2, "written")):
        axes.plot(points[:, 0], points[:, column], marker="o", markersize=4, label=label)
    axes.set_xscale("log")
    axes.set_xticks(points[:, 0], [f"{x:.0f}" for x in points[:, 0]])
    axes.minorticks_off()
    axes.set(xlabel="patterns a location", ylabel="cosine of a state and the read at its key")
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)


def continual(path: pathlib.Path, shares: Sequence[float], curves: Mapping[str, Sequence[float]]) -> None:
    """Draw the cosine of the first tenth of the patterns against the share of the text that is written."""
    figure, axes = plt.subplots(figsize=_SIZE)
    for name, curve in curves.items():
        axes.plot(
            [100 * x for x in shares], curve, marker="o", markersize=4, label=f"locations begin: {name}"
        )
    axes.set(xlabel="% of the text written", ylabel="cosine of the first tenth of the patterns")
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)


def hops(path: pathlib.Path, words: Sequence[str], best: np.ndarray, share: np.ndarray) -> None:
    """Draw the most probable next word at each place after each hop; darker means more probable.

    Args:
      path: the file to write.
      words: the words of the text.
      best: the most probable next words ``[hops + 1, T]``.
      share: their probabilities ``[hops + 1, T]``.
    """
    figure, axes = plt.subplots(figsize=(1.2 + 0.8 * len(words), 1.2 + 0.4 * len(best)))

    def shown(word: str) -> str:
        return repr(word)[1:-1].replace(" ", "\u2423")

    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto", origin="lower")
    for (hop, place), word in np.ndenumerate(best):
        color = "white" if share[hop, place] > 0.5 else "black"
        axes.text(place, hop, shown(word), ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(np.arange(len(words)), [shown(word) for word in words])
    axes.set_yticks(np.arange(len(best)))
    axes.set(xlabel="the word at a place", ylabel="hops", title="The most probable next word after each hop")
    save(figure, path)


def tiers(path: pathlib.Path, names: Sequence[str], table: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw the cross-entropy and accuracy of each row on the tokens of each tier."""
    figure, panels = plt.subplots(2, 1, figsize=(_SIZE[0], 6.4), sharex=True)
    width = 0.8 / len(table)
    for axes, value in zip(panels, ("ce", "accuracy"), strict=True):
        for i, (row, values) in enumerate(table.items()):
            heights = [np.nan if x[value] is None else x[value] for x in values]
            place = np.arange(len(names)) + (i - (len(table) - 1) / 2) * width
            baseline = not row.startswith("tiered")
            axes.bar(place, heights, width, label=row, color=f"{0.55 + 0.2 * i}" if baseline else f"C{i}")
        axes.grid(alpha=0.3, axis="y")
    panels[0].set_ylabel("cross-entropy (nats)")
    panels[1].set_ylabel("accuracy")
    panels[0].set_title("By tier. Cross-entropy: lower is better; accuracy: higher is better")
    panels[1].legend(fontsize="small")
    panels[1].set_xticks(np.arange(len(names)), names)
    panels[1].set_xlabel("rank of the token in the training text")
    save(figure, path)
