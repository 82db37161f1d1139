"""The picture of `experiments.compress`."""

import pathlib
from collections.abc import Mapping

from experiments.compressing.programs import Packed
from experiments.shared import plots
from experiments.shared.plots import plt

_ACROSS = 3


def size_and_speed(path: pathlib.Path, found: Mapping[str, Mapping[str, Packed]], sizes: Mapping[str, int]):
    """Draw bits a byte against the speed of compressing; a panel for each file, a dot for each program.

    Args:
      path: the picture to write.
      found: the numbers of each program, by file.
      sizes: the bytes of each file.
    """
    across = min(_ACROSS, len(found))
    down = -(-len(found) // across)
    figure, panels = plt.subplots(down, across, figsize=(4.4 * across, 0.4 + 3.3 * down), squeeze=False)
    for axes in panels.flat[len(found) :]:
        axes.axis("off")
    for axes, (file, programs) in zip(panels.flat, found.items(), strict=False):
        # Neighbours in size have their names on different sides of their dots.
        for rank, (name, one) in enumerate(sorted(programs.items(), key=lambda item: item[1].size)):
            x, y = sizes[file] / one.pack_seconds, 8 * one.size / sizes[file]
            color = "tab:blue" if name.startswith("chain") else "0.45"
            axes.scatter([x], [y], s=22, color=color)
            place = (4, 5 if rank % 2 else -11)
            axes.annotate(name, (x, y), xytext=place, textcoords="offset points", fontsize=7, color=color)
        axes.set(
            xscale="log", xlabel="bytes a second of one core, compressing", ylabel="bits a byte", title=file
        )
        axes.margins(x=0.3, y=0.15)
    figure.suptitle("Size and speed; lower and further right is better")
    plots.save(figure, path)
