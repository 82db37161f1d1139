"""Pictures of chain models: the cost along a text, the reliability of turns, the worth of parts."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

from experiments.shared import plots
from wnn_jax import chain, metrics
from wnn_jax import growth as laws_of

# Okabe and Ito's colours, which people with any kind of colour vision tell apart; marks and dashes help too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
MARKS = "osD^v"
_BLOCKS = 32


def along_text(path: pathlib.Path, curves: Mapping[str, np.ndarray], grey: Sequence[str] = ()) -> None:
    """Draw the cross-entropy of each model along the evaluated text, as means over blocks of it.

    Args:
      path: the file to write.
      curves: the nats of each token ``[N]``, by the name of the model.
      grey: the names to draw in grey, such as baselines.
    """
    count = len(next(iter(curves.values())))
    size = max(1, count // _BLOCKS)
    blocks = count // size
    places = (np.arange(blocks) + 0.5) * size / 1000
    figure, axes = plt.subplots(figsize=(7.6, 5.4))
    colors = iter(COLORS * len(curves))
    for name, nats in curves.items():
        means = np.asarray(nats)[: blocks * size].reshape(blocks, size).mean(axis=1)
        label = f"{name}: {np.mean(nats):.3f}"
        color, dashes = ("0.55", "--") if name in grey else (next(colors), "-")
        axes.plot(places, means, linewidth=1.6, label=label, color=color, linestyle=dashes)
    axes.set(xlabel="place in the evaluated text (thousand tokens)", ylabel="cross-entropy (nats a token)")
    axes.set_title(f"Cost along the text, means over {size:,} tokens; lower is better", fontsize="medium")
    axes.margins(x=0.01)
    axes.grid(alpha=0.3)
    columns = 2 if len(curves) > 1 else 1
    axes.legend(title="model: mean", loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=columns)
    plots.save(figure, path)


def reliability(path: pathlib.Path, curves: Mapping[str, metrics.Reliability]) -> None:
    """Draw predicted against observed frequencies of ones at turns, above the number of turns of each bin.

    Args:
      path: the file to write.
      curves: the curve of each model, by its name.
    """
    figure, (axes, below) = plt.subplots(2, 1, figsize=(5.6, 7.0), sharex=True, height_ratios=(3, 1))
    axes.plot([0, 1], [0, 1], color="0.55", linestyle="--", linewidth=1, label="calibrated")
    for i, (name, curve) in enumerate(curves.items()):
        color, mark = COLORS[i % len(COLORS)], MARKS[i % len(MARKS)]
        look = {"color": color, "marker": mark, "markersize": 5, "linewidth": 1}
        off = np.average(np.abs(curve.observed - curve.predicted), weights=curve.size)
        axes.plot(curve.predicted, curve.observed, label=f"{name}: off by {off:.4f} on average", **look)
        below.plot(curve.predicted, curve.size / 1000, **look)
    axes.set(ylabel="observed share of ones", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_title("Reliability of the turns' probabilities, in 20 bins", fontsize="medium")
    below.set(xlabel="predicted P(bit = 1)", ylabel="turns (thousand)")
    below.set_ylim(bottom=0)
    for panel in (axes, below):
        panel.grid(alpha=0.3)
    axes.legend(loc="upper left", frameon=False)
    plots.save(figure, path)


def worth(path: pathlib.Path, found: Mapping[str, chain.Worth], title: str) -> None:
    """Draw what each part saves, the most valuable first, with whiskers of two standard errors.

    Args:
      path: the file to write.
      found: the worth of each part, by its name.
      title: the title of the picture.
    """
    order = sorted(found, key=lambda name: -found[name].worth)
    figure, axes = plt.subplots(figsize=(7.6, 1.4 + 0.24 * len(order)))
    values, errors = (np.array([getattr(found[x], y) for x in order]) for y in ("worth", "error"))
    colors = [COLORS[0] if value >= 0 else COLORS[1] for value in values]
    whiskers = {"ecolor": "0.3", "error_kw": {"linewidth": 1}}
    axes.barh(np.arange(len(order)), values, xerr=2 * errors, color=colors, height=0.7, **whiskers)
    axes.set_yticks(np.arange(len(order)), order, fontsize="small")
    axes.invert_yaxis()
    axes.axvline(0, color="0.3", linewidth=1)
    if max(values, default=0) > 0.5:
        axes.set_xscale("symlog", linthresh=0.01)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set(xlabel="nats a token that it saves; orange: better without\n(whiskers: two standard errors)")
    axes.set_title(title, fontsize="medium")
    axes.margins(y=0.01)
    axes.grid(alpha=0.3, axis="x")
    plots.save(figure, path)


def growth(
    path: pathlib.Path,
    sizes: Sequence[int],
    losses: Mapping[str, Sequence[float]],
    microseconds: Mapping[str, Sequence[float]],
    laws: Mapping[str, laws_of.Extrapolation],
) -> None:
    """Draw losses and training times against the training tokens, and the laws up to their target.

    Args:
      path: the file to write.
      sizes: the numbers of training tokens ``[P]``.
      losses: the mean nats of a token at each size, by the name of the model.
      microseconds: the time of training a token at each size.
      laws: the law of each model; dashes and whiskers say where it is extrapolated.
    """
    figure, (axes, below) = plt.subplots(2, 1, figsize=(7.6, 8.4), sharex=True, height_ratios=(3, 1.3))
    for i, (name, values) in enumerate(losses.items()):
        law, color = laws[name], COLORS[i % len(COLORS)]
        look = {"color": color, "marker": MARKS[i % len(MARKS)], "markersize": 5, "linewidth": 1.4}
        axes.plot(sizes, values, label=f"{name}: {law.loss:.2f}", **look)
        far = np.geomspace(sizes[0], law.target, 100)
        axes.plot(far, law.law.at(far), color=color, linestyle="--", linewidth=1)
        whiskers = [[max(0.0, law.loss - law.loss_low)], [max(0.0, law.loss_high - law.loss)]]
        axes.errorbar([law.target], [law.loss], whiskers, color=color, capsize=3, linewidth=1)
        below.plot(sizes, microseconds[name], **look)
    axes.set_xscale("log")
    target = next(iter(laws.values())).target
    end = 2 * max(target, sizes[-1])
    axes.axvspan(sizes[-1], end, color="0.95", zorder=0)
    axes.set_xlim(sizes[0] / 1.5, end)
    axes.set(ylabel="cross-entropy (nats a token)")
    axes.set_title(
        "Loss against training text; dashes are power laws, grey is extrapolated", fontsize="medium"
    )
    below.set(xlabel="training tokens", ylabel="microseconds a\ntraining token", yscale="log")
    for panel in (axes, below):
        panel.grid(alpha=0.3)
    axes.legend(title=f"model: extrapolated to {target:,.0f} tokens")
    plots.save(figure, path)
